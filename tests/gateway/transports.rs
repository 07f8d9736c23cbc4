//! Clients whose connection is their session: HTTP+SSE and WebSockets.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{LEGACY, MODERN, envelope};
use crate::harness::redis::Server as Redis;
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
fn only_clients_of_the_revision_that_has_batches_may_send_them() {
    let gateway = Gateway::start();
    let batch = json!([
        {"jsonrpc": "2.0", "id": 7, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 8, "method": "tools/list"},
    ]);
    let mut stream = Stream::open(&gateway, gateway.token(), "/sse");
    let info = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": info});
    stream.ask("initialize", params);
    stream.post(&batch);
    let mut ids = [stream.message()["id"].clone(), stream.message()["id"].clone()];
    ids.sort_by_key(|id| id.as_u64());
    assert_eq!(ids, [7, 8]);
    let mut newer = Stream::open(&gateway, gateway.token(), "/sse");
    newer.shake_hands();
    newer.post(&batch);
    assert_eq!(newer.message()["error"]["code"], -32600);
}

#[test]
fn a_message_that_comes_to_another_node_reaches_its_stream() {
    let folder = TempDir::new().expect("a temporary folder");
    let url = format!("sqlite:///{}", folder.path().join("one.db").display());
    let redis = Redis::start();
    let start = || {
        let setup = Gateway::setup().set("DATABASE_URL", &url).set("CACHE_TYPE", "redis");
        setup.set("REDIS_URL", redis.url()).set("VALIDATION_MAX_RPC_PARAM_SIZE", 4 << 20).start()
    };
    let (one, other) = (start(), start());
    // What comes to the stream's own node needs no Redis, whichever shard it comes to.
    let mut stream = Stream::open(&one, one.token(), "/sse");
    stream.shake_hands();
    eventually("it is seen by the other", Duration::from_secs(30), || {
        one.printed().contains("seen by the other nodes").then_some(())
    });
    for gateway in [&other, &one, &other] {
        let list = envelope("tools/list", &json!({}));
        // A shard that has no connection to Redis yet says so.
        let taken = eventually("Redis is reached", Duration::from_secs(30), || {
            let answer = stream.post_as(gateway, gateway.token(), &list);
            (answer.status != 503).then_some(answer)
        });
        taken.expect(202);
        assert_eq!(stream.message()["result"]["tools"], json!([]));
    }
    // A large one comes in parts.
    let large = json!({"name": "nothing", "arguments": {"x": "x".repeat(3 << 20)}});
    for gateway in [&other, &one, &other] {
        stream.post_as(gateway, gateway.token(), &envelope("tools/call", &large)).expect(202);
        let answer = stream.message();
        assert_eq!(answer["error"]["message"], "Unknown tool: nothing", "{answer}");
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

#[test]
fn a_stream_tells_of_resources_that_its_client_subscribed_to() {
    let gateway = Gateway::start();
    let note = json!({"name": "note", "uri": "note://one", "content": "x"});
    let made = gateway.post("/resources", &json!({"resource": note, "visibility": "public"}));
    let target = format!("/resources/{}", made.expect(200).json()["id"].as_str().expect("an id"));
    let mut stream = Stream::open(&gateway, gateway.token(), "/sse");
    stream.shake_hands();
    let none = stream.ask("resources/subscribe", json!({"uri": "note://nowhere"}));
    assert_eq!(none["error"]["code"], -32002);
    let one = json!({"uri": "note://one"});
    assert_eq!(stream.ask("resources/subscribe", one.clone())["result"], json!({}));
    let change = |content: &str| {
        gateway.ask("PUT", &target, Some(&json!({"content": content}))).expect(200);
    };
    change("y");
    let methods = [stream.message(), stream.message()].map(|told| told["method"].clone());
    assert!(methods.contains(&json!("notifications/resources/updated")), "{methods:?}");
    assert!(methods.contains(&json!("notifications/resources/list_changed")), "{methods:?}");
    assert_eq!(stream.ask("resources/unsubscribe", one)["result"], json!({}));
    change("z");
    assert_eq!(stream.message()["method"], "notifications/resources/list_changed");
    assert_eq!(stream.ask("ping", json!({}))["result"], json!({}));
}

/// A WebSocket of a client that says what it likes.
struct Socket(Wire);

impl Socket {
    /// Asks for a socket; these header lines come besides. The answer, and the socket if it is one.
    fn ask(gateway: &Gateway, path: &str, more: &[(&str, &str)]) -> (Answer, Socket) {
        let mut headers = vec![
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        headers.extend(more);
        let mut wire = gateway.wire();
        let head = wire.send(request("GET", path, &headers, b"")).head().expect("an answer");
        (head, Socket(wire))
    }

    fn open(gateway: &Gateway) -> Socket {
        let bearer = format!("Bearer {}", gateway.token());
        let more = [("Authorization", bearer.as_str()), ("Sec-WebSocket-Protocol", "other, mcp")];
        let (head, socket) = Socket::ask(gateway, "/ws", &more);
        assert_eq!(head.status, 101);
        assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(head.header("sec-websocket-protocol"), Some("mcp"));
        socket
    }

    /// Sends a frame of that kind; its mask is zero, so the payload goes as it is.
    fn send(&mut self, opcode: u8, payload: &[u8]) -> &mut Socket {
        let mut frame = vec![0x80 | opcode, 0x80 | 127];
        frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        if payload.len() < 126 {
            frame = vec![0x80 | opcode, 0x80 | payload.len() as u8];
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        self.0.send(frame);
        self
    }

    /// Reads a frame: its kind and payload.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.0.take(2);
        let size = match head[1] {
            126 => self.0.take(2).iter().fold(0, |size, byte| size << 8 | usize::from(*byte)),
            127 => self.0.take(8).iter().fold(0, |size, byte| size << 8 | usize::from(*byte)),
            size => usize::from(size),
        };
        (head[0] & 15, self.0.take(size))
    }

    fn message(&mut self) -> Value {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, 1, "{}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).expect("JSON")
    }

    fn ask_for(&mut self, method: &str, params: Value) -> Value {
        self.send(1, envelope(method, &params).to_string().as_bytes()).message()
    }

    /// The code that the gateway closes with; it then closes the connection.
    fn closes(mut self) -> u16 {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, 8, "{}", String::from_utf8_lossy(&payload));
        self.send(8, &payload[..2]);
        assert!(self.0.closes());
        u16::from_be_bytes([payload[0], payload[1]])
    }
}

#[test]
fn a_socket_is_a_session_whose_messages_are_texts() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let mut socket = Socket::open(&gateway);
    let info = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": info});
    let agreed = socket.ask_for("initialize", params);
    assert_eq!(agreed["result"]["protocolVersion"], LEGACY);
    let meta = json!({"progressToken": "p"});
    let params = json!({"name": "up-stream", "arguments": {}, "_meta": meta});
    assert_eq!(socket.ask_for("tools/call", params)["method"], "notifications/progress");
    assert!(socket.message()["result"].to_string().contains("streamed"));
    let wrong = socket.send(1, b"{").message();
    assert_eq!((&wrong["error"]["code"], &wrong["id"]), (&json!(-32700), &Value::Null));
    socket.send(9, b"are you there");
    assert_eq!(socket.frame(), (10, b"are you there".to_vec()));
    make_tool(&gateway, "one");
    assert_eq!(socket.message()["method"], "notifications/tools/list_changed");
    socket.send(8, b"\x03\xe8");
    assert_eq!(socket.frame(), (8, b"\x03\xe8".to_vec()));
    assert!(socket.0.closes());
}

#[test]
fn a_client_without_a_handshake_listens_by_its_socket_until_it_cancels() {
    let gateway = Gateway::start();
    let mut socket = Socket::open(&gateway);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let discovered = socket.ask_for("server/discover", json!({"_meta": meta}));
    assert_eq!(discovered["result"]["supportedVersions"], json!([MODERN]));
    let wanted = json!({"toolsListChanged": true});
    let first =
        socket.ask_for("subscriptions/listen", json!({"notifications": wanted, "_meta": meta}));
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    make_tool(&gateway, "one");
    let told = socket.message();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    let id = &told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
    let cancelled = json!({"requestId": id, "_meta": meta});
    let cancelled =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled});
    socket.send(1, cancelled.to_string().as_bytes());
    // Messages are taken in their order, so it is cancelled once this is answered.
    socket.ask_for("server/discover", json!({"_meta": meta}));
    make_tool(&gateway, "two");
    // Nothing was told of the second tool before this answer.
    let listed = socket.ask_for("tools/list", json!({"_meta": meta}));
    assert_eq!(listed["result"]["tools"].as_array().map(Vec::len), Some(2), "{listed}");
}

#[test]
fn what_is_no_message_ends_a_socket_with_its_own_code() {
    let setup = Gateway::setup().set("MAX_BODY_SIZE_BYTES", 2048);
    let gateway = setup.set("VALIDATION_MAX_RPC_PARAM_SIZE", 1024).start();
    for (opcode, payload, code) in
        [(2, &b"x"[..], 1003), (1, b"\xff", 1007), (1, &[b' '; 2049], 1009), (3, b"", 1002)]
    {
        let mut socket = Socket::open(&gateway);
        socket.send(opcode, payload);
        assert_eq!(socket.closes(), code);
    }
}

#[test]
fn who_asks_for_a_socket_in_no_good_way_gets_none() {
    let gateway = Gateway::start();
    let bearer = format!("Bearer {}", gateway.token());
    let authorization = ("Authorization", bearer.as_str());
    let ask = |more: &[(&str, &str)]| Socket::ask(&gateway, "/ws", more).0.status;
    assert_eq!(ask(&[]), 401);
    assert_eq!(ask(&[authorization, ("Origin", "https://evil.example")]), 403);
    let token = format!("/ws?token={}", gateway.token());
    assert_eq!(Socket::ask(&gateway, &token, &[]).0.status, 401);
    let plain = gateway.get("/ws").expect(426);
    assert_eq!(plain.header("upgrade"), Some("websocket"));
    let nowhere = format!("/servers/{}/ws", "0".repeat(32));
    assert_eq!(Socket::ask(&gateway, &nowhere, &[authorization]).0.status, 404);
}

#[test]
fn a_socket_that_stays_silent_is_asked_for_a_sign_of_life_and_then_ended() {
    let gateway = Gateway::setup().set("WEBSOCKET_PING_INTERVAL", 0.2).start();
    let mut socket = Socket::open(&gateway);
    for _ in 0..2 {
        assert_eq!(socket.frame(), (9, Vec::new()));
        socket.send(10, b"");
    }
    assert_eq!(socket.frame(), (9, Vec::new()));
    assert!(socket.0.closes());
}

#[test]
fn what_was_asked_is_answered_before_the_gateway_stops() {
    let mut gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let mut stream = Stream::open(&gateway, gateway.token(), "/sse");
    stream.shake_hands();
    let call =
        envelope("tools/call", &json!({"name": "up-slow", "arguments": {"milliseconds": 700}}));
    stream.post(&call);
    let Stream { wire, unread, .. } = stream;
    let mut sockets = [Socket::open(&gateway), Socket::open(&gateway)];
    sockets[0].send(1, call.to_string().as_bytes());
    upstream.wait_for_calls("slow", 2);
    gateway.signal(Signal::TERM);
    let [mut busy, idle] = sockets;
    assert_eq!(idle.closes(), 1001);
    assert!(busy.message()["result"].is_object());
    assert_eq!(busy.closes(), 1001);
    let mut wire = wire;
    let mut told = unread;
    while let Some(chunk) = wire.chunk() {
        told.push_str(&String::from_utf8(chunk).expect("text"));
    }
    assert!(told.contains("\"result\""), "{told}");
    assert!(gateway.ended().success());
}

#[test]
fn what_a_client_cancels_ends_upstream_and_is_not_answered() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let mut stream = Stream::open(&gateway, gateway.token(), "/sse");
    stream.shake_hands();
    let call = json!({"name": "up-slow", "arguments": {"milliseconds": 60_000}});
    let call = json!({"jsonrpc": "2.0", "id": "long", "method": "tools/call", "params": call});
    stream.post(&call);
    upstream.wait_for_calls("slow", 1);
    let cancelled = json!({"requestId": "long"});
    stream
        .post(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled}));
    upstream.wait_for("notifications/cancelled", 1);
    // So does the end of the connection.
    stream.post(&call);
    upstream.wait_for_calls("slow", 2);
    let answer = stream.ask("ping", json!({}));
    assert_eq!(answer["result"], json!({}), "the first thing that is told");
    drop(stream);
    upstream.wait_for("notifications/cancelled", 2);
}

#[test]
fn a_token_that_is_revoked_ends_its_streams_and_sockets() {
    let setup = Gateway::setup().set("ARGON2ID_MEMORY_COST", 8).set("ARGON2ID_TIME_COST", 1);
    let gateway = setup.start();
    let user = json!({"email": "ada@example.com", "password": "correct horse battery"});
    gateway.post("/auth/email/admin/users", &user).expect(201);
    let login = gateway.ask_as(None, "POST", "/auth/login", Some(&user)).expect(200).json();
    let session = login["access_token"].as_str();
    let wanted = json!({"name": "short", "scope": {"permissions": ["servers.use"]}});
    let made = gateway.ask_as(session, "POST", "/tokens", Some(&wanted)).expect(201).json();
    let token = made["access_token"].as_str().expect("a token");
    let mut stream = Stream::open(&gateway, token, "/sse");
    stream.shake_hands();
    // Another token of the same user, which is good for more, may not go on with this stream.
    let ping = envelope("ping", &json!({}));
    stream.post_as(&gateway, session.expect("a token"), &ping).expect(404);
    let bearer = format!("Bearer {token}");
    let (head, socket) = Socket::ask(&gateway, "/ws", &[("Authorization", &bearer)]);
    assert_eq!(head.status, 101);
    let id = made["token"]["id"].as_str().expect("an id");
    let target = format!("/tokens/{id}");
    assert!(gateway.ask_as(session, "DELETE", &target, None).status < 300);
    assert!(stream.event().is_none());
    assert_eq!(socket.closes(), 1008);
}

#[test]
fn a_client_that_does_not_read_loses_its_connection_and_holds_up_nobody() {
    let gateway = Gateway::setup().set("CLIENT_WRITE_TIMEOUT", 0.5).start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let mut deaf = Socket::open(&gateway);
    let text = "x".repeat(200_000);
    let echo = json!({"name": "up-echo", "arguments": {"text": text}});
    let echo = envelope("tools/call", &echo).to_string();
    let before = upstream.call_count("echo");
    for _ in 0..60 {
        deaf.send(1, echo.as_bytes());
    }
    let mut other = Socket::open(&gateway);
    assert_eq!(other.ask_for("ping", json!({}))["result"], json!({}));
    upstream.wait_for_calls("echo", before + 1);
    // The kernel holds a few of its answers; the rest was never sent.
    let read = deaf.0.rest().len();
    assert!(read < 60 * text.len(), "{read}");
    assert_eq!(other.ask_for("ping", json!({}))["result"], json!({}));
}

#[test]
fn only_so_many_streams_are_open_at_once() {
    let gateway = Gateway::setup().set("SHARDS", 1).set("STREAMS_MAX", 2).start();
    let _stream = Stream::open(&gateway, gateway.token(), "/sse");
    let socket = Socket::open(&gateway);
    let bearer = format!("Bearer {}", gateway.token());
    let ask = || Socket::ask(&gateway, "/ws", &[("Authorization", &bearer)]);
    assert_eq!(ask().0.status, 503);
    drop(socket);
    while ask().0.status == 503 {}
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
fn the_typescript_client_does_everything_over_a_websocket() {
    visit("websocket", "ws", "/ws");
}

#[test]
fn a_socket_over_tls_carries_messages_both_ways_at_once() {
    let folder = TempDir::new().expect("a temporary folder");
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let make = tools().python("clients/tls.py").arg("make").args([&certificate, &key]).status();
    assert!(make.expect("the script starts").success());
    let setup = Gateway::setup().set("SSL", "true").set("CERT_FILE", certificate.display());
    let gateway = setup.set("KEY_FILE", key.display()).launch();
    let url = format!("wss://localhost:{}/ws", gateway.port());
    let seen = eventually("the gateway is up", Duration::from_secs(30), || {
        let mut client = tools().node("clients/socket.mjs");
        client.env("NODE_EXTRA_CA_CERTS", &certificate).args([&url, gateway.token()]);
        let output = client.output().expect("the client starts");
        let seen: Value = serde_json::from_slice(&output.stdout).ok()?;
        (seen["protocol"] == "mcp").then_some(seen)
    });
    assert_eq!(seen["ids"], json!((1..=21).collect::<Vec<_>>()), "{seen}");
    assert_eq!((&seen["code"], &seen["wasClean"]), (&json!(1000), &json!(true)));
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
