//! The leg against scripted upstreams, on every driver of this machine.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream as StdStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use net::span::Span;
use serde_json::{Value, json};
use shards::{Driver, Preference, driver, runtime, task, time};
use storage::record::{Era, Gateway};

use super::*;
use crate::upstream::{Event, LogWish, Outcome, Reply, discover};

/// Longer than any test takes.
pub(in crate::upstream) const AGES: Duration = Duration::from_secs(20);

pub(in crate::upstream) fn on_each_driver<F: Future<Output = ()> + 'static>(body: fn() -> F) {
    let best = driver::choose(Preference::Auto).expect("auto finds a driver").driver;
    for driver in [Driver::Epoll, best] {
        println!("driver: {driver}");
        let shard = std::thread::spawn(move || {
            runtime::block_on(driver, body()).expect("the driver starts");
        });
        if let Err(panic) = shard.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A request as the upstream saw it.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Seen {
    /// How many requests came before it, on all connections.
    pub(in crate::upstream) index: usize,
    /// The head, in small letters.
    pub(in crate::upstream) head: String,
    pub(in crate::upstream) body: Value,
}

impl Seen {
    pub(in crate::upstream) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    pub(in crate::upstream) fn has(&self, line: &str) -> bool {
        self.head.lines().any(|other| other == line)
    }
}

type Script = Box<dyn Fn(&Seen, &mut StdStream) + Send + Sync>;

/// An upstream that answers as its script says and remembers what it was asked.
pub(in crate::upstream) struct Fake {
    pub(in crate::upstream) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(in crate::upstream) fn new(
        script: impl Fn(&Seen, &mut StdStream) + Send + Sync + 'static,
    ) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, shared): (Arc<Script>, _) = (Arc::new(Box::new(script)), seen.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { return };
                let (script, seen) = (script.clone(), shared.clone());
                std::thread::spawn(move || serve(connection, &script, &seen));
            }
        });
        Fake { address, seen }
    }

    pub(in crate::upstream) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics with it").clone()
    }

    pub(in crate::upstream) fn methods(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.method().to_owned()).collect()
    }

    /// Waits until a request that fits was seen.
    pub(in crate::upstream) async fn wait_for(&self, fits: impl Fn(&Seen) -> bool) -> Seen {
        loop {
            if let Some(seen) = self.seen().into_iter().find(&fits) {
                return seen;
            }
            time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(in crate::upstream) fn upstream(&self, path: &str) -> Upstream {
        let url = Some(format!("http://{}{path}", self.address));
        let record = Gateway { name: "fake".to_owned(), url, ..Gateway::default() };
        Upstream {
            record: Arc::new(record),
            headers: vec![("Authorization".to_owned(), "Bearer s3cret".to_owned())],
            environment: Default::default(),
        }
    }

    pub(in crate::upstream) fn setup(&self) -> Setup {
        let address = self.address;
        Setup {
            limits: LegLimits {
                sessions: KeyedLimits::default(),
                connect_within: AGES,
                first_byte_within: AGES,
                answer_size_max: 100_000,
                connections_max: 8,
                waiting_max: 8,
                wait_within: Duration::from_secs(10),
                idle_max: 100,
                idle_within: AGES,
                answer_within: Duration::from_secs(5),
                ping_after: AGES,
                json_depth_max: 20,
            },
            resolver: Rc::new(move |_, _| Box::pin(async move { Ok(vec![address]) })),
            connector: None,
        }
    }

    fn leg(&self, era: Era) -> HttpLeg {
        HttpLeg::new(&self.upstream("/mcp"), era, self.setup()).expect("a leg")
    }
}

fn serve(mut connection: StdStream, script: &Script, all: &Mutex<Vec<Seen>>) {
    while let Some((head, body)) = read_request(&mut connection) {
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let seen = {
            let mut all = all.lock().expect("no test panics with it");
            let seen = Seen { index: all.len(), head: head.to_ascii_lowercase(), body };
            all.push(seen.clone());
            seen
        };
        script(&seen, &mut connection);
    }
}

fn read_request(connection: &mut StdStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let size = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; size.map_or(0, |size| size.parse().expect("a size"))];
    connection.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Answers with a status, further lines of the head and a body.
pub(in crate::upstream) fn answer(to: &mut StdStream, status: u16, lines: &str, body: &str) {
    let size = body.len();
    let text = format!("HTTP/1.1 {status} X\r\n{lines}content-length: {size}\r\n\r\n{body}");
    let _ = to.write_all(text.as_bytes());
}

pub(in crate::upstream) const JSON: &str = "content-type: application/json\r\n";

pub(in crate::upstream) fn result(id: &Value, result: Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

pub(in crate::upstream) fn error(id: Value, code: i32) -> String {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "no"}}).to_string()
}

/// Answers the handshake of the legacy era with session `id`; false for what is no part of it.
pub(in crate::upstream) fn shake_hands(seen: &Seen, to: &mut StdStream, id: &str) -> bool {
    match seen.method() {
        "initialize" => {
            let text = result(&seen.body["id"], json!({"protocolVersion": "2025-06-18"}));
            answer(to, 200, &format!("{JSON}mcp-session-id: {id}\r\n"), &text);
        }
        "notifications/initialized" => answer(to, 202, "", ""),
        _ => return false,
    }
    true
}

/// A request of a client that can be asked nothing.
pub(in crate::upstream) fn call<'a>(method: &'a str, params: &'a str) -> Outgoing<'a> {
    let plain = discover::plain(method, params.as_bytes(), AGES);
    Outgoing { capabilities: Capabilities::NONE, ..plain }
}

pub(in crate::upstream) fn value(reply: &Reply) -> Value {
    serde_json::from_slice(reply.raw()).expect("JSON")
}

pub(in crate::upstream) fn whole(answer: Result<Answer, Failure>) -> Reply {
    match answer.expect("an answer") {
        Answer::Whole(reply) => reply,
        Answer::Stream(_) => panic!("the answer streams"),
    }
}

pub(in crate::upstream) fn failed(answer: Result<Answer, Failure>) -> UpstreamFailure {
    match answer {
        Err(Failure::Upstream(failure)) => failure,
        Err(other) => panic!("{other:?}"),
        Ok(Answer::Whole(reply)) => panic!("{}", value(&reply)),
        Ok(Answer::Stream(_)) => panic!("a stream"),
    }
}

#[test]
fn asks_a_modern_upstream_on_behalf_of_a_legacy_client() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            answer(to, 200, JSON, &result(&seen.body["id"], json!({"content": []})));
        });
        let leg = fake.leg(Era::Modern);
        for _ in 0..2 {
            let mut outgoing = call("tools/call", r#"{"name":"grün"}"#);
            outgoing.name = Some("grün");
            outgoing.param_headers = vec![("Region", "eu".to_owned())];
            let reply = whole(leg.request(&outgoing).await);
            assert_eq!((reply.outcome, value(&reply)), (Outcome::Result, json!({"content": []})));
        }
        let seen = &fake.seen()[1];
        assert_eq!(seen.head.lines().next(), Some("post /mcp http/1.1"));
        for line in [
            &format!("host: {}", fake.address),
            "authorization: bearer s3cret",
            "content-type: application/json",
            "accept: application/json, text/event-stream",
            "mcp-protocol-version: 2026-07-28",
            "mcp-method: tools/call",
            "mcp-name: =?base64?z3ldvg4=?=",
            "mcp-param-region: eu",
        ] {
            assert!(seen.has(line), "{line} is not in {}", seen.head);
        }
        let meta = &seen.body["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "ringway");
        assert_eq!(seen.body["params"]["name"], "grün");
    });
}

#[test]
fn hands_up_what_concerns_era_and_headers_and_relays_other_errors() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| match seen.index {
            0 => answer(to, 400, JSON, &error(seen.body["id"].clone(), -32022)),
            1 => answer(to, 400, JSON, &error(Value::Null, -32020)),
            2 => answer(to, 404, JSON, &error(seen.body["id"].clone(), -32601)),
            _ => answer(to, 400, JSON, &error(Value::Null, -32000)),
        });
        let leg = fake.leg(Era::Modern);
        for code in [-32022, -32020] {
            match leg.request(&call("tools/list", "{}")).await {
                Err(Failure::Protocol(error)) => assert_eq!(error.code, code),
                other => panic!("{:?}", other.map(|_| ())),
            }
        }
        let reply = whole(leg.request(&call("tools/list", "{}")).await);
        assert_eq!((reply.outcome, &value(&reply)["code"]), (Outcome::Error, &json!(-32601)));
        let failure = failed(leg.request(&call("tools/list", "{}")).await);
        assert_eq!(failure.kind, UpstreamKind::Status(400));
    });
}

#[test]
fn opens_one_session_for_all_who_come_at_once() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            if !shake_hands(seen, to, "s-1") {
                answer(to, 200, JSON, &result(&seen.body["id"], json!({"n": seen.body["id"]})));
            }
        });
        let leg = fake.leg(Era::Legacy);
        let plain = || discover::plain("tools/list", b"{}", AGES);
        let ask = |leg: HttpLeg| async move { leg.request(&plain()).await };
        let tasks: Vec<_> = (0..5).map(|_| task::spawn(ask(leg.clone()))).collect();
        for task in tasks {
            whole(task.join().await.expect("no panic"));
        }
        let methods = fake.methods();
        assert_eq!(methods.iter().filter(|method| *method == "initialize").count(), 1);
        assert_eq!(methods.len(), 7);
        let seen = &fake.seen()[6];
        assert!(seen.has("mcp-session-id: s-1") && seen.has("mcp-protocol-version: 2025-06-18"));
        let result = leg.initialize_result(AGES).await.expect("it is open").expect("it has one");
        assert_eq!(result, br#"{"protocolVersion":"2025-06-18"}"#);
        leg.close().await;
        assert!(fake.seen()[7].head.starts_with("delete /mcp http/1.1\r\n"));
        assert!(fake.seen()[7].has("mcp-session-id: s-1"));
    });
}

#[test]
fn opens_a_lost_session_again_and_repeats_the_call() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            if shake_hands(seen, to, &format!("s-{}", seen.index)) {
                return;
            }
            match seen.index {
                2 => answer(to, 404, "", "Session not found"),
                6 => answer(to, 400, JSON, &error(Value::Null, -32000)),
                _ => answer(to, 200, JSON, &result(&seen.body["id"], json!({}))),
            }
        });
        let leg = fake.leg(Era::Legacy);
        for _ in 0..2 {
            whole(leg.request(&call("tools/call", "{}")).await);
        }
        let methods = fake.methods();
        let handshake = ["initialize", "notifications/initialized"];
        let call = ["tools/call"];
        let expected = [&handshake[..], &call, &handshake, &call, &call, &handshake, &call];
        assert_eq!(methods, expected.concat());
    });
}

#[test]
fn tells_who_waits_for_a_session_why_there_is_none() {
    on_each_driver(|| async {
        let fake = Fake::new(|_, to| answer(to, 503, "", "<h1>Down</h1>"));
        let leg = fake.leg(Era::Legacy);
        for _ in 0..2 {
            let failure = failed(leg.request(&call("tools/call", "{}")).await);
            assert_eq!(failure.kind, UpstreamKind::Status(503));
            assert!(failure.detail.contains("Down") && !failure.may_have_run, "{failure:?}");
        }
    });
}

#[test]
fn takes_a_server_without_initialize_as_it_is() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| match seen.method() {
            "initialize" => answer(to, 200, JSON, &error(seen.body["id"].clone(), -32601)),
            _ => answer(to, 200, JSON, &result(&seen.body["id"], json!({}))),
        });
        let leg = fake.leg(Era::Legacy);
        whole(leg.request(&call("tools/list", "{}")).await);
        assert_eq!(fake.methods(), ["initialize", "tools/list"]);
        assert_eq!(leg.initialize_result(AGES).await.expect("it is open"), None);
    });
}

#[test]
fn believes_no_answer_that_is_none() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| match seen.index {
            0 => answer(to, 200, JSON, &result(&json!(999), json!({}))),
            1 => answer(to, 202, "", ""),
            2 => answer(to, 200, JSON, "{\"jsonrpc\":"),
            3 => answer(to, 200, "content-type: text/html\r\n", "<html>"),
            4 => answer(to, 200, JSON, &format!("{}{}", "[".repeat(50_000), "]".repeat(50_000))),
            5 => answer(to, 200, JSON, r#"{"jsonrpc":"2.0","method":"notifications/x"}"#),
            _ => answer(to, 200, JSON, &result(&json!("6"), json!({}))),
        });
        let leg = fake.leg(Era::Modern);
        for index in 0..7 {
            let failure = failed(leg.request(&call("tools/list", "{}")).await);
            assert_eq!(failure.kind, UpstreamKind::Nonsense, "{index}: {failure:?}");
            assert!(failure.may_have_run);
        }
    });
}

#[test]
fn shows_the_text_of_an_http_error() {
    on_each_driver(|| async {
        let fake = Fake::new(|_, to| answer(to, 500, "", "  Internal\r\n\tbug "));
        let failure = failed(fake.leg(Era::Modern).request(&call("tools/call", "{}")).await);
        assert_eq!(failure.kind, UpstreamKind::Status(500));
        assert_eq!((failure.detail.as_str(), failure.may_have_run), ("Internal bug", true));
    });
}

pub(in crate::upstream) const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
    transfer-encoding: chunked\r\n\r\n";

pub(in crate::upstream) fn chunk(to: &mut StdStream, text: &str) {
    let _ = to.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes());
}

pub(in crate::upstream) fn event(to: &mut StdStream, message: &Value) {
    chunk(to, &format!("event: message\nid: 1\ndata: {message}\n\n"));
}

#[test]
fn takes_a_stream_that_holds_only_the_answer_for_a_plain_one() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            let _ = to.write_all(EVENTS.as_bytes());
            chunk(to, "id: 0\ndata: \n\n");
            event(to, &json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": {"a": 1}}));
            chunk(to, "");
        });
        let leg = fake.leg(Era::Modern);
        for _ in 0..2 {
            let reply = whole(leg.request(&call("tools/call", "{}")).await);
            assert_eq!(value(&reply), json!({"a": 1}));
            while leg.0.wire.pool.idle_count() == 0 {
                time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
}

#[test]
fn streams_notifications_answers_pings_and_restores_the_progress_token() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            if shake_hands(seen, to, "s") || seen.body.get("method").is_none() {
                return if seen.body.get("method").is_none() {
                    answer(to, 202, "", "")
                };
            }
            let token = seen.body["params"]["_meta"]["progressToken"].clone();
            let _ = to.write_all(EVENTS.as_bytes());
            event(to, &json!({"jsonrpc": "2.0", "id": "p1", "method": "ping"}));
            event(to, &json!({"jsonrpc": "2.0", "id": 7, "method": "roots/list"}));
            let progress = json!({"progressToken": token, "progress": 1});
            let method = "notifications/progress";
            event(to, &json!({"jsonrpc": "2.0", "method": method, "params": progress}));
            let method = "notifications/message";
            event(to, &json!({"jsonrpc": "2.0", "method": method, "params": {"data": 1}}));
            event(to, &json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": {}}));
            chunk(to, "");
        });
        let leg = fake.leg(Era::Legacy);
        let params = r#"{"name":"x","_meta":{"progressToken":"mine"}}"#;
        let mut outgoing = call("tools/call", params);
        let start = params.find("\"mine\"").expect("there");
        outgoing.progress_token = Some(Span::new(start, start + 6));
        outgoing.capabilities = Capabilities::NONE;
        let Ok(Answer::Stream(mut stream)) = leg.request(&outgoing).await else { panic!() };
        let mut messages = Vec::new();
        loop {
            match stream.next().await.expect("an event") {
                Event::Notification(bytes) => {
                    messages.push(serde_json::from_slice::<Value>(&bytes).expect("JSON"));
                }
                Event::Question(_) => panic!("nothing is asked"),
                Event::Reply(reply) => break assert_eq!(value(&reply), json!({})),
            }
        }
        assert_eq!(messages[0]["params"]["progressToken"], "mine");
        assert_eq!(messages[1]["params"]["data"], 1);
        assert!(stream.next().await.is_err());
        let pong = fake.wait_for(|seen| seen.body["id"] == "p1").await;
        assert_eq!(pong.body["result"], json!({}));
        assert!(pong.has("mcp-session-id: s"));
        let refusal = fake.wait_for(|seen| seen.body.get("error").is_some()).await;
        assert_eq!(
            (&refusal.body["id"], &refusal.body["error"]["code"]),
            (&json!(7), &json!(-32601))
        );
    });
}

#[test]
fn says_that_a_stream_ended_before_its_answer() {
    on_each_driver(|| async {
        let fake = Fake::new(|_, to| {
            let _ = to.write_all(EVENTS.as_bytes());
            chunk(to, ": only a comment\n\n");
            chunk(to, "");
        });
        let failure = failed(fake.leg(Era::Modern).request(&call("tools/call", "{}")).await);
        assert_eq!(failure.kind, UpstreamKind::Broken);
    });
}

#[test]
fn cancels_upstream_what_nobody_waits_for_any_more() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            if shake_hands(seen, to, "s") {
                return;
            }
            match seen.method() {
                "notifications/cancelled" => answer(to, 202, "", ""),
                _ if seen.body["params"]["stream"] == true => {
                    let _ = to.write_all(EVENTS.as_bytes());
                    event(to, &json!({"jsonrpc": "2.0", "method": "notifications/message"}));
                }
                _ => {}
            }
        });
        let leg = fake.leg(Era::Legacy);
        let cancelled_is = |id: Value| {
            move |seen: &Seen| {
                seen.method() == "notifications/cancelled" && seen.body["params"]["requestId"] == id
            }
        };
        let brief = Duration::from_millis(50);
        assert!(time::timeout(brief, leg.request(&call("tools/call", "{}"))).await.is_err());
        let id = fake.wait_for(|seen| seen.method() == "tools/call").await.body["id"].clone();
        fake.wait_for(cancelled_is(id)).await;

        let late = Outgoing { within: brief, ..call("tools/call", "{}") };
        let failure = failed(leg.request(&late).await);
        assert!(matches!(failure.kind, UpstreamKind::Timeout(_)), "{failure:?}");
        fake.wait_for(cancelled_is(json!(3))).await;

        let answer = leg.request(&call("tools/call", r#"{"stream":true}"#)).await;
        assert!(matches!(answer, Ok(Answer::Stream(_))));
        drop(answer);
        fake.wait_for(cancelled_is(json!(4))).await;
    });
}

#[test]
fn repeats_only_what_does_no_harm_twice() {
    on_each_driver(|| async {
        // Answers once per connection, reads the next request and closes.
        let fake = Fake::new(|seen, to| match seen.body["params"]["die"] {
            Value::Bool(true) if seen.index % 2 == 1 => {
                let _ = to.shutdown(std::net::Shutdown::Both);
            }
            _ => answer(to, 200, JSON, &result(&seen.body["id"], json!({}))),
        });
        for (method, repeats) in [("tools/list", true), ("tools/call", false)] {
            let leg = fake.leg(Era::Modern);
            if fake.seen().len() % 2 == 1 {
                whole(leg.request(&call(method, "{}")).await);
            }
            whole(leg.request(&call(method, "{}")).await);
            let outcome = leg.request(&call(method, r#"{"die":true}"#)).await;
            if repeats {
                whole(outcome);
            } else {
                let failure = failed(outcome);
                assert!(failure.kind == UpstreamKind::Broken && failure.may_have_run);
            }
        }
    });
}

#[test]
fn follows_redirects_within_the_origin_and_no_others() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            if seen.body["params"]["away"] == true {
                answer(to, 307, "location: http://127.0.0.2:1/mcp\r\n", "");
            } else if seen.head.starts_with("post /mcp/ ") {
                answer(to, 200, JSON, &result(&seen.body["id"], json!({})));
            } else {
                answer(to, 307, "location: /mcp/\r\n", "");
            }
        });
        let leg = fake.leg(Era::Modern);
        for _ in 0..2 {
            whole(leg.request(&call("tools/call", "{}")).await);
        }
        assert_eq!(fake.seen().len(), 3, "the way with the slash is remembered");
        let failure = failed(leg.request(&call("tools/call", r#"{"away":true}"#)).await);
        assert_eq!(failure.kind, UpstreamKind::Refused);
        assert!(failure.detail.contains("127.0.0.2:1"), "{failure:?}");
    });
}

#[test]
fn refuses_urls_and_headers_that_cannot_be_used() {
    let fake = Fake::new(|_, _| {});
    let refused = |upstream: &Upstream| match HttpLeg::new(upstream, Era::Modern, fake.setup()) {
        Err(Failure::Upstream(failure)) => failure.kind == UpstreamKind::Refused,
        _ => false,
    };
    for url in ["ftp://x/", "no url", "http://"] {
        let record = Gateway { url: Some(url.to_owned()), ..Gateway::default() };
        let upstream = Upstream { record: Arc::new(record), ..fake.upstream("/") };
        assert!(refused(&upstream), "{url}");
    }
    for name in ["Host", "content-Length", "a b", "Mcp-Session-Id"] {
        let headers = vec![(name.to_owned(), "x".to_owned())];
        assert!(refused(&Upstream { headers, ..fake.upstream("/") }), "{name}");
    }
}

#[test]
fn tells_a_legacy_upstream_a_level_of_log_messages_only_when_more_are_wanted() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| match seen.method() {
            "initialize" => {
                let capabilities = json!({"logging": {}});
                let hello = json!({"protocolVersion": "2025-06-18", "capabilities": capabilities});
                answer(to, 200, JSON, &result(&seen.body["id"], hello));
            }
            "notifications/initialized" => answer(to, 202, "", ""),
            // That it cannot is no reason not to call it.
            "logging/setLevel" => answer(to, 500, "", "no"),
            _ => answer(to, 200, JSON, &result(&seen.body["id"], json!({}))),
        });
        let leg = fake.leg(Era::Legacy);
        let ask = async |wish: Option<LogWish>| {
            let outgoing = Outgoing { log_level: wish, ..call("tools/call", "{}") };
            whole(leg.request(&outgoing).await);
        };
        let [debug, warning, error] = [0, 3, 4].map(|place| Some(LogWish::named(place)));
        for wish in [None, Some(LogWish::unnamed()), None] {
            ask(wish).await;
        }
        assert!(fake.seen().iter().all(|seen| seen.method() != "logging/setLevel"));
        for wish in [error, warning, None, error, debug, warning, debug] {
            ask(wish).await;
        }
        let seen = fake.seen();
        let told = seen.iter().filter(|seen| seen.method() == "logging/setLevel");
        let told: Vec<_> = told.map(|seen| &seen.body["params"]["level"]).collect();
        assert_eq!(told, ["info", "debug"]);
    });
}
