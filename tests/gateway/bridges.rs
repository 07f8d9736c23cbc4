//! `ringway stdio` and `ringway translate`, between the official client and real servers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::{Gateway, binary};
use crate::harness::mcp::{LEGACY, MODERN};
use crate::harness::port::Port;
use crate::harness::tools::tools;
use crate::harness::upstreams::Served;

/// Servers in Python and Node take their time on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// The visit of one client: see tests/clients/bridged.py.
#[track_caller]
fn visit(plan: &Value) -> Value {
    let mut seen = visits(plan);
    seen[0].take()
}

#[track_caller]
fn visits(plan: &Value) -> Value {
    let mut command = tools().python("clients/bridged.py");
    let output = command.arg(plan.to_string()).output().expect("the client starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client failed: {error}");
    let mut seen: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    seen["visits"].take()
}

/// The command by which a client starts `ringway`.
fn ringway(arguments: &[&str]) -> Value {
    let mut words = vec![json!(binary())];
    words.extend(arguments.iter().map(|argument| json!(argument)));
    Value::Array(words)
}

fn time_command() -> String {
    let program = tools().python.join("bin/mcp-server-time");
    format!("{} --local-timezone UTC", program.display())
}

/// `ringway translate --stdio`, listening.
struct Translating {
    child: Child,
    port: Port,
}

impl Translating {
    fn start(command: &str, arguments: &[&str]) -> Translating {
        let port = Port::take();
        let child = Command::new(binary())
            .args(["translate", "--stdio", command, "--port", &port.number.to_string()])
            .args(["--logLevel", "error"])
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .expect("ringway starts");
        let bridge = Translating { child, port };
        // A connection alone says little: forked siblings of this test may still hold a listener.
        let head = format!("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:{}", bridge.port.number);
        eventually("the bridge serves", WITHIN, || {
            bridge.try_ask(&head, "").ok().filter(|answer| answer.ends_with("ok"))
        });
        bridge
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port.number)
    }

    /// How many children it has.
    fn child_count(&self) -> usize {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        std::fs::read_to_string(path).map_or(0, |text| text.split_whitespace().count())
    }

    /// Sends a request by hand and gives the whole answer.
    fn ask(&self, head: &str, body: &str) -> String {
        self.try_ask(head, body).expect("it answers")
    }

    fn try_ask(&self, head: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port.number))?;
        let size = body.len();
        write!(stream, "{head}\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Translating {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ringway` with lines in and lines out.
struct Piped {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Piped {
    fn start(arguments: &[&str]) -> Piped {
        let mut child = Command::new(binary())
            .args(arguments)
            .env_remove("MCP_AUTH")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ringway starts");
        let output = child.stdout.take().expect("it is a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("nothing but JSON comes out");
                let _ = sender.send(line);
            }
        });
        let input = child.stdin.take();
        Piped { child, input, lines }
    }

    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it is open");
        writeln!(input, "{line}").expect("it reads");
    }

    #[track_caller]
    fn hear(&self) -> Value {
        self.lines.recv_timeout(WITHIN).expect("a line comes")
    }

    /// Ends its input, and waits for it to end.
    #[track_caller]
    fn end(mut self) -> Vec<Value> {
        self.input = None;
        let status = eventually("ringway ends", WITHIN, || self.child.try_wait().ok()?);
        assert!(status.success(), "{status}");
        self.lines.iter().collect()
    }
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

#[test]
fn a_stdio_client_works_with_a_gateway_in_every_mode() {
    let upstream = Served::conformance();
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("ref"));
    let open = gateway.open_server(&[&added]);
    let url = gateway.url(&open);
    let arguments = ["stdio", "--url", &url, "--auth", gateway.token(), "--log-level", "off"];
    for (mode, version) in [("auto", MODERN), ("legacy", LEGACY), (MODERN, MODERN)] {
        let calls = json!([{ "name": "test_simple_text", "arguments": {} }]);
        let seen = visit(&json!({ "stdio": ringway(&arguments), "mode": mode, "calls": calls }));
        assert_eq!(seen["protocolVersion"], version, "{seen}");
        let text = &seen["calls"][0]["content"][0]["text"];
        assert_eq!(text, "This is a simple text response for testing.", "{seen}");
    }
}

#[test]
fn what_a_server_asks_and_tells_meanwhile_reaches_a_stdio_client() {
    let everything = Served::everything_http();
    let url = everything.url();
    let arguments = ["translate", "--connect-streamable-http", &url, "--logLevel", "off"];
    let plan = json!({ "stdio": ringway(&arguments), "mode": "legacy", "calls": busy_calls() });
    assert_busy(&visit(&plan));
}

#[test]
fn a_stdio_client_reaches_a_server_over_sse() {
    let everything = Served::everything_sse();
    let url = everything.url();
    let arguments = ["translate", "--connect-sse", &url, "--logLevel", "off"];
    let plan = json!({ "stdio": ringway(&arguments), "mode": "legacy", "calls": busy_calls() });
    assert_busy(&visit(&plan));
}

/// Calls of the everything server during which it tells its progress, or asks for a sample.
fn busy_calls() -> Value {
    json!([
        { "name": "echo", "arguments": { "message": "hello" } },
        { "name": "trigger-long-running-operation", "arguments": { "duration": 1, "steps": 2 } },
        { "name": "trigger-sampling-request", "arguments": { "prompt": "p", "maxTokens": 5 } },
    ])
}

#[track_caller]
fn assert_busy(seen: &Value) {
    assert_eq!(seen["protocolVersion"], LEGACY, "{seen}");
    assert_eq!(seen["calls"][0]["content"][0]["text"], "Echo: hello", "{seen}");
    assert_eq!(seen["progress"], json!([1.0, 2.0]), "{seen}");
    assert!(seen["calls"][2].to_string().contains("sampled"), "{seen}");
}

#[test]
fn a_stdio_server_is_served_over_both_transports_to_several_clients() {
    let both = ["--expose-sse", "--expose-streamable-http"];
    let bridge = Translating::start(&tools().everything("stdio"), &both);
    for (transport, path) in [("sse", "/sse"), ("http", "/mcp")] {
        let plan = json!({
            transport: bridge.url(path), "mode": "legacy", "clients": 2, "calls": busy_calls(),
        });
        let seen = visits(&plan);
        assert_busy(&seen[0]);
        assert_busy(&seen[1]);
    }
    eventually("the servers of clients that left end", WITHIN, || {
        (bridge.child_count() == 0).then_some(())
    });
}

#[test]
fn a_stdio_server_of_either_era_is_served_as_it_is() {
    let bridge = Translating::start(&time_command(), &["--expose-streamable-http"]);
    let calls = json!([{ "name": "get_current_time", "arguments": { "timezone": "UTC" } }]);
    for (mode, version) in [("auto", MODERN), ("legacy", LEGACY), (MODERN, MODERN)] {
        let plan = json!({
            "http": bridge.url("/mcp"), "mode": mode, "clients": 2, "calls": calls,
        });
        for seen in visits(&plan).as_array().expect("two visits") {
            assert_eq!(seen["protocolVersion"], version, "{seen}");
            assert!(seen["calls"][0].to_string().contains("timezone"), "{seen}");
        }
    }
}

#[test]
fn without_sessions_all_clients_share_a_server() {
    let arguments = ["--expose-streamable-http", "--stateless", "--jsonResponse"];
    let bridge = Translating::start(&tools().everything("stdio"), &arguments);
    let calls = json!([{ "name": "echo", "arguments": { "message": "hello" } }]);
    let plan = json!({
        "http": bridge.url("/mcp"), "mode": "legacy", "clients": 3, "calls": calls,
    });
    for seen in visits(&plan).as_array().expect("three visits") {
        assert_eq!(seen["calls"][0]["content"][0]["text"], "Echo: hello", "{seen}");
    }
    assert_eq!(bridge.child_count(), 1);
}

#[test]
fn a_bridge_admits_no_foreign_page_and_no_more_servers_than_it_may() {
    let arguments = ["--expose-streamable-http", "--max-servers", "1", "--cors", "http://page"];
    let bridge = Translating::start("cat", &arguments);
    let host = format!("host: 127.0.0.1:{}", bridge.port.number);
    let health = bridge.ask(&format!("GET /healthz HTTP/1.1\r\n{host}"), "");
    assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("ok"), "{health}");
    let evil = format!("POST /mcp HTTP/1.1\r\n{host}\r\norigin: http://evil");
    assert!(bridge.ask(&evil, INITIALIZE).starts_with("HTTP/1.1 403"));
    let page = format!("GET /healthz HTTP/1.1\r\n{host}\r\norigin: http://page");
    assert!(bridge.ask(&page, "").contains("access-control-allow-origin: http://page"));
    let head = format!("POST /mcp HTTP/1.1\r\n{host}\r\naccept: application/json");
    let lost = bridge.ask(&format!("{head}\r\nmcp-session-id: x"), INITIALIZED);
    assert!(lost.starts_with("HTTP/1.1 404"), "{lost}");
    assert!(bridge.ask(&head, "{").starts_with("HTTP/1.1 400"));
    assert!(bridge.ask(&head, INITIALIZED).starts_with("HTTP/1.1 400"));
    // `cat` gives the request back, which is no answer: the session stays open and waits.
    let _waiting = TcpStream::connect(("127.0.0.1", bridge.port.number)).map(|mut stream| {
        let size = INITIALIZE.len();
        write!(stream, "{head}\r\ncontent-length: {size}\r\n\r\n{INITIALIZE}").expect("it reads");
        stream
    });
    eventually("a server is started", WITHIN, || (bridge.child_count() == 1).then_some(()));
    assert!(bridge.ask(&head, INITIALIZE).starts_with("HTTP/1.1 503"));
}

#[test]
fn a_header_becomes_a_variable_of_the_server() {
    let script = r#"sh -c 'read line; echo "{\"jsonrpc\":\"2.0\",\"id\":\"i\",\"result\":{\"tenant\":\"$TENANT\"}}"; cat'"#;
    let arguments =
        ["--expose-streamable-http", "--enable-dynamic-env", "--header-to-env", "X-Tenant=TENANT"];
    let bridge = Translating::start(script, &arguments);
    let head =
        format!("POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nx-tenant: blue", bridge.port.number);
    let answer = bridge.ask(&head, INITIALIZE);
    assert!(answer.contains(r#""tenant":"blue""#), "{answer}");
}

#[test]
fn a_session_that_is_lost_is_opened_again_behind_the_client() {
    let server = Faulty::legacy();
    let url = server.url();
    let mut piped =
        Piped::start(&["translate", "--connect-streamable-http", &url, "--logLevel", "off"]);
    piped.say(INITIALIZE);
    assert_eq!(piped.hear()["id"], "i");
    piped.say(INITIALIZED);
    server.wait_for("notifications/initialized", 1);
    server.forget_sessions();
    piped.say(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#);
    let answer = piped.hear();
    assert_eq!(answer["id"], 7, "{answer}");
    assert!(answer["result"]["tools"].is_array(), "{answer}");
    assert_eq!(server.count("initialize"), 2);
    assert_eq!(piped.end(), Vec::<Value>::new());
}

#[test]
fn bad_lines_and_a_server_that_is_not_there_are_answered() {
    let port = Port::take();
    let url = format!("http://127.0.0.1:{}", port.number);
    let mut piped = Piped::start(&["stdio", "--url", &url, "--log-level", "off"]);
    piped.say("nonsense");
    let answer = piped.hear();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(-32700)));
    piped.say("");
    piped.say(r#"{"jsonrpc":"2.0","id":1}"#);
    let answer = piped.hear();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(-32600)));
    piped.say(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#);
    // The end of the input does not cut off what is under way.
    let rest = piped.end();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!((&rest[0]["id"], &rest[0]["error"]["code"]), (&json!(2), &json!(-32000)));
}

#[test]
fn a_signal_ends_a_bridge_and_its_servers() {
    let mut bridge = Translating::start("cat", &["--expose-sse"]);
    let stream = TcpStream::connect(("127.0.0.1", bridge.port.number)).expect("it listens");
    let mut lines = BufReader::new(stream);
    let host = format!("127.0.0.1:{}", bridge.port.number);
    write!(lines.get_mut(), "GET /sse HTTP/1.1\r\nhost: {host}\r\n\r\n").expect("it reads");
    let mut line = String::new();
    while !line.contains("session_id=") {
        line.clear();
        assert!(lines.read_line(&mut line).expect("the stream goes on") > 0);
    }
    assert_eq!(bridge.child_count(), 1);
    kill_process(Pid::from_child(&bridge.child), Signal::TERM).expect("it is our own");
    let status = eventually("it ends", WITHIN, || bridge.child.try_wait().ok()?);
    assert!(status.success(), "{status}");
}
