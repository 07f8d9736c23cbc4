//! Clients whose connection is their session: HTTP+SSE and WebSockets.

use serde_json::{Value, json};

use crate::harness::faulty::Faulty;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{LEGACY, envelope};
use crate::harness::tools::tools;
use crate::harness::upstreams::Served;
use crate::harness::wire::{Answer, Wire, request};

/// A stream of HTTP+SSE.
struct Stream<'a> {
    gateway: &'a Gateway,
    token: String,
    wire: Wire,
    /// What came and was not looked at.
    unread: String,
    /// Where messages go, below the address of the gateway.
    endpoint: String,
}

impl<'a> Stream<'a> {
    fn open(gateway: &'a Gateway, token: &str, path: &str) -> Stream<'a> {
        let bearer = format!("Bearer {token}");
        let mut wire = gateway.wire();
        wire.send(request("GET", path, &[("Authorization", &bearer)], b""));
        let head = wire.head().expect("an answer");
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("x-mcp-sse"), Some("true"));
        let (token, unread, endpoint) = (token.to_owned(), String::new(), String::new());
        let mut stream = Stream { gateway, token, wire, unread, endpoint };
        let (event, endpoint) = stream.event().expect("a first event");
        assert_eq!(event, "endpoint");
        let (_, target) = endpoint.split_once("://").expect("a whole address");
        stream.endpoint = target[target.find('/').expect("a path")..].to_owned();
        assert_eq!(stream.event().expect("a second event"), ("keepalive".into(), "{}".into()));
        stream
    }

    /// The next event: its name and data. None once the stream ended.
    fn event(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines().filter_map(|line| line.strip_prefix(name));
                    lines.next().map(str::to_owned)
                };
                let (name, data) = (field("event: "), field("data: "));
                self.unread = rest.to_owned();
                if let (Some(name), Some(data)) = (name, data) {
                    return Some((name, data));
                }
                continue;
            }
            self.unread.push_str(&String::from_utf8(self.wire.chunk()?).expect("text"));
        }
    }

    /// The next message.
    fn message(&mut self) -> Value {
        loop {
            let (name, data) = self.event().expect("the stream is open");
            if name == "message" {
                return serde_json::from_str(&data).expect("JSON");
            }
        }
    }

    fn post_as(&self, gateway: &Gateway, token: &str, message: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = message.to_string();
        gateway.wire().send(request("POST", &self.endpoint, &headers, body.as_bytes())).answer()
    }

    fn post(&self, message: &Value) {
        let answer = self.post_as(self.gateway, &self.token, message).expect(202);
        assert_eq!(answer.json(), json!({"status": "success"}));
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.post(&envelope(method, &params));
        self.message()
    }

    fn shake_hands(&mut self) -> Value {
        let info = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": info});
        let answer = self.ask("initialize", params);
        self.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        answer["result"].clone()
    }
}

fn token_of(gateway: &Gateway, email: &str) -> String {
    let claims = json!({
        "sub": email, "token_use": "session", "iss": "mcpgateway", "aud": "mcpgateway-api",
    });
    gateway.token_with(&["-d", &claims.to_string()])
}

fn make_tool(gateway: &Gateway, name: &str) {
    let tool = json!({"name": name, "url": "http://127.0.0.1:9/", "request_type": "GET"});
    gateway.post("/tools", &json!({"tool": tool, "visibility": "public"})).expect(200);
}

#[test]
fn messages_that_are_posted_anywhere_are_answered_by_the_stream() {
    let gateway = Gateway::setup().set("SHARDS", 2).start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    let open = gateway.open_server(&[&added]);
    for path in ["/sse", &open.replace("/mcp", "/sse")] {
        let mut stream = Stream::open(&gateway, gateway.token(), path);
        assert!(stream.endpoint.starts_with(&path.replace("/sse", "/message?session_id=")));
        let agreed = stream.shake_hands();
        assert_eq!(agreed["protocolVersion"], LEGACY);
        assert_eq!(agreed["capabilities"]["tools"]["listChanged"], true);
        assert!(agreed["capabilities"].get("logging").is_some(), "{agreed}");
        // Each comes by a connection of its own, so both shards get some.
        for _ in 0..8 {
            let listed = stream.ask("tools/list", json!({}));
            assert!(listed["result"]["tools"].to_string().contains("echo"), "{listed}");
            assert_eq!(stream.ask("ping", json!({}))["result"], json!({}));
        }
        let unknown = stream.ask("no/such", json!({}));
        assert_eq!(unknown["error"]["code"], -32601);
    }
}

#[test]
fn what_an_upstream_tells_on_the_way_comes_before_the_answer() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let mut stream = Stream::open(&gateway, gateway.token(), "/sse");
    stream.shake_hands();
    let meta = json!({"progressToken": "p"});
    let params = json!({"name": "up-stream", "arguments": {}, "_meta": meta});
    let first = stream.ask("tools/call", params);
    assert_eq!(first["method"], "notifications/progress");
    assert_eq!(first["params"]["progressToken"], "p");
    assert!(stream.message()["result"].to_string().contains("streamed"));
}

#[test]
fn a_stream_is_its_user_s_alone_and_ends_with_its_connection() {
    let gateway = Gateway::start();
    let mut stream = Stream::open(&gateway, gateway.token(), "/sse");
    stream.shake_hands();
    let stranger = token_of(&gateway, "eve@example.com");
    let ping = envelope("ping", &json!({}));
    for _ in 0..4 {
        stream.post_as(&gateway, &stranger, &ping).expect(404);
    }
    let Stream { endpoint, wire, .. } = stream;
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let ask = |target: &str, body: &str| {
        gateway.wire().send(request("POST", target, &headers, body.as_bytes())).answer()
    };
    let answer = ask("/message", &ping.to_string()).expect(400);
    assert_eq!(answer.json(), json!({"detail": "Missing session_id"}));
    ask("/message?session_id=x", &ping.to_string()).expect(404);
    let answer = ask(&endpoint, "{").expect(400);
    assert_eq!(answer.json()["error"]["code"], -32700);
    drop(wire);
    // It is noticed within a moment, and then there is no such stream, wherever one asks.
    while ask(&endpoint, &ping.to_string()).status == 202 {}
}

#[test]
fn a_stream_tells_of_lists_that_change_and_of_nothing_before_the_handshake() {
    let gateway = Gateway::start();
    let mut stream = Stream::open(&gateway, gateway.token(), "/sse");
    make_tool(&gateway, "one");
    stream.shake_hands();
    make_tool(&gateway, "two");
    assert_eq!(stream.message()["method"], "notifications/tools/list_changed");
}

/// Has the official TypeScript client do all that one does over a connection that is its session.
fn visit(transport: &str, scheme: &str, path: &str) {
    let upstream = Served::conformance();
    let gateway = Gateway::setup().set("SHARDS", 2).start();
    let mut registration = upstream.registration("ref");
    registration["protocol"] = "legacy".into();
    gateway.add(&registration);
    let plan = json!({
        "transport": transport,
        "url": gateway.url(path).replace("http", scheme),
        "token": gateway.token(),
        "prefix": "ref-",
        "change": {"url": gateway.url("/tools"), "token": gateway.token()},
    });
    let mut client = tools().node("clients/conversation.mjs");
    let output = client.arg(plan.to_string()).output().expect("the client starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client failed: {error}");
    let seen: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert!(seen["tools"].to_string().contains("ref-test-simple-text"), "{seen}");
    let text = "This is a simple text response for testing.";
    assert_eq!(seen["plain"], text);
    assert_eq!(seen["atOnce"], json!(vec![text; 8]));
    assert_eq!(seen["progress"], json!([0, 50, 100]));
    assert_eq!(seen["withProgress"], "progress reported");
    assert_eq!(seen["logged"].as_array().expect("lines").len(), 3, "{seen}");
    assert_eq!(seen["sampling"], "LLM response: forty-two");
    assert!(seen["elicitation"].to_string().contains("Ada"), "{seen}");
    assert_eq!(seen["asked"], json!(["sampling", "elicitation"]));
    assert_eq!(seen["givenUp"], "given up");
    assert_eq!(seen["made"], 200);
}

#[test]
fn the_typescript_client_does_everything_over_sse() {
    visit("sse", "http", "/sse");
}

#[test]
fn the_python_client_is_asked_and_answers_over_sse() {
    let upstream = Served::conformance();
    for era in ["legacy", "modern"] {
        let gateway = Gateway::setup().set("SHARDS", 2).start();
        let mut registration = upstream.registration("ref");
        registration["protocol"] = era.into();
        let added = gateway.add(&registration);
        let open = gateway.open_server(&[&added]).replace("/mcp", "/sse");
        let (call, said) = match era {
            "legacy" => ("test_sampling", "LLM response: forty-two"),
            _ => ("test_input_required_result_multiple_inputs", "all three came"),
        };
        let plan = json!({
            "url": gateway.url(&open),
            "token": null,
            "mode": "legacy",
            "transport": "sse",
            "calls": [{"name": call, "arguments": {"prompt": "?"}}],
        });
        let mut client = tools().python("clients/questions.py");
        let output = client.arg(plan.to_string()).output().expect("the client starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the client failed: {error}");
        let seen: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
        assert_eq!(seen["told"][0]["text"], said, "{seen}");
    }
}
