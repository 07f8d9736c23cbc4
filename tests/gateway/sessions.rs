//! Sessions of clients of the revisions with a handshake: whose they are, how they end, what their
//! streams tell, and how an answer that broke off is taken up again.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::faulty::Faulty;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{LEGACY, envelope, modern_request};
use crate::harness::wire::{Answer, Wire, request};

/// A client that shook hands, and whose requests come by connections of their own.
pub struct Client<'a> {
    gateway: &'a Gateway,
    token: String,
    session: String,
}

impl<'a> Client<'a> {
    pub fn open(gateway: &'a Gateway, token: &str) -> Client<'a> {
        Client::able(gateway, token, &json!({}))
    }

    /// One that can be asked this.
    pub fn able(gateway: &'a Gateway, token: &str, capabilities: &Value) -> Client<'a> {
        let mut client = Client { gateway, token: token.to_owned(), session: String::new() };
        let info = json!({"name": "test", "version": "1"});
        let params =
            json!({"protocolVersion": LEGACY, "capabilities": capabilities, "clientInfo": info});
        let answer = client.post(&envelope("initialize", &params)).expect(200);
        client.session = answer.header("mcp-session-id").expect("an id").to_owned();
        assert!(client.session.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
        client
    }

    /// The same session, as somebody else or by another process would come with it.
    pub fn by(&self, gateway: &'a Gateway, token: &str) -> Client<'a> {
        Client { gateway, token: token.to_owned(), session: self.session.clone() }
    }

    pub fn ask(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Wire {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![
            ("Authorization", bearer.as_str()),
            ("Accept", "application/json, text/event-stream"),
            ("Content-Type", "application/json"),
            ("MCP-Protocol-Version", LEGACY),
        ];
        if !self.session.is_empty() {
            all.push(("Mcp-Session-Id", &self.session));
        }
        all.extend(headers);
        let mut wire = self.gateway.wire();
        wire.send(request(method, "/mcp", &all, body.as_bytes()));
        wire
    }

    pub fn post(&self, message: &Value) -> Answer {
        self.ask("POST", &[], &message.to_string()).answer()
    }

    fn ping(&self) -> u16 {
        self.post(&envelope("ping", &json!({}))).status
    }

    /// Opens the stream of the session; it begins with an event that only has an id.
    pub fn stream(&self, headers: &[(&str, &str)]) -> Wire {
        let mut wire = self.ask("GET", headers, "");
        let head = wire.head().expect("an answer");
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        wire
    }
}

fn text(wire: &mut Wire) -> String {
    String::from_utf8(wire.chunk().expect("an event")).expect("text")
}

/// The id of the last event of a text.
fn last_id(events: &str) -> String {
    let mut ids = events.lines().rev().filter_map(|line| line.strip_prefix("id: "));
    ids.next().unwrap_or_else(|| panic!("no id in {events}")).to_owned()
}

fn token_of(gateway: &Gateway, email: &str) -> String {
    let claims = json!({
        "sub": email, "token_use": "session", "iss": "mcpgateway", "aud": "mcpgateway-api",
    });
    gateway.token_with(&["-d", &claims.to_string()])
}

#[test]
fn a_session_is_its_user_s_alone_and_ends_everywhere_when_it_is_deleted() {
    let folder = TempDir::new().expect("a temporary folder");
    let url = format!("sqlite:///{}", folder.path().join("one.db").display());
    let gateway = Gateway::setup().set("DATABASE_URL", &url).start();
    let client = Client::open(&gateway, gateway.token());
    let stranger = client.by(&gateway, &token_of(&gateway, "eve@example.com"));
    // Connections are spread over the shards, so several of them meet every one.
    for _ in 0..8 {
        assert_eq!(client.ping(), 200);
        assert_eq!(stranger.ping(), 404);
    }
    for method in ["GET", "DELETE"] {
        let answer = stranger.ask(method, &[], "").answer();
        assert_eq!(answer.status, 404, "{method}: {}", answer.text());
    }
    let mut forged = client.by(&gateway, gateway.token());
    forged.session.replace_range(8..9, if &forged.session[8..9] == "A" { "B" } else { "A" });
    assert_eq!(forged.ping(), 404);
    let mut stream = client.stream(&[]);
    text(&mut stream);
    client.ask("DELETE", &[], "").answer().expect(204);
    assert!(stream.chunk().is_none(), "its stream ends");
    for _ in 0..8 {
        assert_eq!(client.ping(), 404);
    }
    let answer = client.ask("DELETE", &[], "").answer();
    assert_eq!(answer.status, 404, "{}", answer.text());
}

#[test]
fn the_stream_of_a_session_tells_of_lists_that_change_and_the_newest_one_goes_on() {
    let gateway = Gateway::start();
    let client = Client::open(&gateway, gateway.token());
    let mut first = client.stream(&[]);
    let id = last_id(&text(&mut first));
    let mut second = client.stream(&[]);
    text(&mut second);
    assert!(first.chunk().is_none(), "another stream took its place");
    let tool = |name: &str| {
        let tool = json!({"name": name, "url": "http://127.0.0.1:9/", "request_type": "GET"});
        gateway.post("/tools", &json!({"tool": tool, "visibility": "public"})).expect(200);
    };
    tool("one");
    let told = text(&mut second);
    assert!(told.contains("notifications/tools/list_changed"), "{told}");
    assert!(!told.contains("resources") && !told.contains("prompts"), "{told}");
    drop(second);
    // Who comes back with what it saw last is told what it missed.
    let mut third = client.stream(&[("Last-Event-ID", &id)]);
    text(&mut third);
    let told = text(&mut third);
    assert!(told.contains("notifications/tools/list_changed"), "{told}");
}

#[test]
fn who_may_not_see_what_changed_is_not_told() {
    let gateway = Gateway::start();
    let client = Client::open(&gateway, &token_of(&gateway, "eve@example.com"));
    let mut stream = client.stream(&[]);
    text(&mut stream);
    let make = |name: &str, visibility: &str| {
        let tool = json!({"name": name, "url": "http://127.0.0.1:9/", "request_type": "GET"});
        gateway.post("/tools", &json!({"tool": tool, "visibility": visibility})).expect(200);
    };
    make("hidden", "private");
    let prompt = json!({"name": "shown", "template": "x", "arguments": []});
    gateway.post("/prompts", &json!({"prompt": prompt, "visibility": "public"})).expect(200);
    let told = text(&mut stream);
    assert!(told.contains("prompts/list_changed") && !told.contains("tools"), "{told}");
}

#[test]
fn an_answer_that_broke_off_is_taken_up_again_by_its_client_alone() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let client = Client::open(&gateway, gateway.token());
    let meta = json!({"progressToken": "p"});
    let call =
        envelope("tools/call", &json!({"name": "up-stream", "arguments": {}, "_meta": meta}));
    let mut wire = client.ask("POST", &[], &call.to_string());
    assert_eq!(wire.head().expect("an answer").status, 200);
    let primed = last_id(&text(&mut wire));
    drop(wire);
    let resume = |client: &Client<'_>| {
        let mut stream = client.stream(&[("Last-Event-ID", &primed)]);
        let mut all = String::new();
        while let Some(chunk) = stream.chunk() {
            all.push_str(&String::from_utf8(chunk).expect("text"));
        }
        all
    };
    for _ in 0..4 {
        let rest = resume(&client);
        assert!(rest.contains("notifications/progress"), "{rest}");
        assert!(rest.contains("streamed") && rest.contains("test-1"), "{rest}");
    }
    // The same id in another session is no id of a stream of it.
    let other = Client::open(&gateway, gateway.token());
    let mut stream = other.stream(&[("Last-Event-ID", &primed)]);
    other.ask("DELETE", &[], "").answer().expect(204);
    while let Some(chunk) = stream.chunk() {
        let told = String::from_utf8(chunk).expect("text");
        assert!(!told.contains("streamed"), "{told}");
    }
}

#[test]
fn a_client_without_a_handshake_listens_to_what_it_names() {
    let gateway = Gateway::start();
    let note = json!({"name": "note", "uri": "note://one", "content": "x"});
    gateway.post("/resources", &json!({"resource": note, "visibility": "public"})).expect(200);
    let wanted = json!({
        "toolsListChanged": true, "resourceSubscriptions": ["note://one", "note://nowhere"],
    });
    let params = json!({"notifications": wanted});
    let mut wire = gateway.wire();
    wire.send(modern_request(&gateway, "/mcp", "subscriptions/listen", params));
    assert_eq!(wire.head().expect("an answer").status, 200);
    let first = text(&mut wire);
    let data = first.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let first: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        first["params"]["notifications"],
        json!({"toolsListChanged": true, "resourceSubscriptions": ["note://one"]})
    );
    let id = "io.modelcontextprotocol/subscriptionId";
    assert_eq!(first["params"]["_meta"][id], "test-1");
    let found = gateway.get("/resources").expect(200).json();
    let target = format!("/resources/{}", found[0]["id"].as_str().expect("an id"));
    let change = json!({"content": "y"});
    gateway.ask("PUT", &target, Some(&change)).expect(200);
    let told = text(&mut wire);
    assert!(told.contains("notifications/resources/updated"), "{told}");
    assert!(told.contains("note://one") && told.contains(id), "{told}");
    let prompt = json!({"name": "unasked", "template": "x", "arguments": []});
    gateway.post("/prompts", &json!({"prompt": prompt, "visibility": "public"})).expect(200);
    let tool = json!({"name": "one", "url": "http://127.0.0.1:9/", "request_type": "GET"});
    gateway.post("/tools", &json!({"tool": tool, "visibility": "public"})).expect(200);
    let told = text(&mut wire);
    assert!(told.contains("notifications/tools/list_changed") && told.contains(id), "{told}");
    assert!(!told.contains("prompts"), "{told}");
}

#[test]
fn without_sessions_every_request_stands_alone() {
    let gateway = Gateway::setup().set("USE_STATEFUL_SESSIONS", "false").start();
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Accept", "application/json, text/event-stream"),
        ("Content-Type", "application/json"),
    ];
    let info = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": info});
    let body = envelope("initialize", &params).to_string();
    let answer = gateway.wire().send(request("POST", "/mcp", &headers, body.as_bytes())).answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("mcp-session-id"), None);
    assert!(answer.json()["result"]["capabilities"]["tools"].get("listChanged").is_none());
    for method in ["GET", "DELETE"] {
        let answer = gateway.wire().send(request(method, "/mcp", &headers, b"")).answer();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
    }
}
