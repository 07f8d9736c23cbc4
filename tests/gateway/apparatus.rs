//! The apparatus of these tests, tested without a gateway: a fault that is not shown proves nothing.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::faulty::{Era, FAITHFUL, Faulty};
use crate::harness::tools::tests_folder;
use crate::harness::wire::{Answer, Wire, request};

fn port(upstream: &Faulty) -> u16 {
    let url = upstream.url();
    let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next());
    port.and_then(|port| port.parse().ok()).expect("the URL has a port")
}

fn send(wire: &mut Wire, session: &str, method: &str, params: &Value) -> Option<Answer> {
    let body = json!({ "jsonrpc": "2.0", "id": 3, "method": method, "params": params }).to_string();
    let headers = [("Mcp-Session-Id", session), ("Content-Type", "application/json")];
    wire.send(request("POST", "/mcp", &headers, body.as_bytes())).try_answer()
}

/// A session with the upstream, and the connection it was made on.
fn shake_hands(upstream: &Faulty) -> (Wire, String) {
    let mut wire = Wire::connect(port(upstream));
    let answer = send(&mut wire, "", "initialize", &json!({})).expect("an answer").expect(200);
    let session = answer.header("mcp-session-id").expect("a session").to_owned();
    (wire, session)
}

fn call(name: &str, arguments: Value) -> Value {
    json!({ "name": name, "arguments": arguments })
}

#[test]
fn the_faulty_upstream_answers_well_when_it_is_not_told_to_fail() {
    let upstream = Faulty::legacy();
    let (mut wire, session) = shake_hands(&upstream);
    let echo = call("echo", json!({ "a": 1 }));
    let answer = send(&mut wire, &session, "tools/call", &echo).expect("an answer").expect(200);
    assert_eq!(answer.json()["result"]["structuredContent"], json!({ "a": 1 }));
    let faithful = call("faithful", json!({}));
    let answer = send(&mut wire, &session, "tools/call", &faithful).expect("an answer");
    assert!(answer.text().contains(FAITHFUL));
    let streamed = send(&mut wire, &session, "tools/call", &call("stream", json!({})));
    assert_eq!(streamed.expect("an answer").events().len(), 1);
    assert_eq!(upstream.call_count("echo"), 1);
}

#[test]
fn the_faulty_upstream_fails_as_it_is_told_to() {
    let upstream = Faulty::start(Era::Legacy { forgotten: 400 });
    for tool in ["hang_up", "then_close"] {
        let (mut wire, session) = shake_hands(&upstream);
        let answer = send(&mut wire, &session, "tools/call", &call(tool, json!({})));
        assert_eq!(answer.is_some(), tool == "then_close");
        assert!(wire.closes(), "{tool}");
    }
    let (mut wire, session) = shake_hands(&upstream);
    let status = call("status", json!({ "status": 503 }));
    send(&mut wire, &session, "tools/call", &status).expect("an answer").expect(503);
    let wrong = send(&mut wire, &session, "tools/call", &call("wrong_id", json!({})));
    assert_ne!(wrong.expect("an answer").json()["id"], 3);
    upstream.forget_sessions();
    send(&mut wire, &session, "tools/list", &json!({})).expect("an answer").expect(400);
    let (mut wire, session) = shake_hands(&upstream);
    let bytes = request("POST", "/mcp", &[("Mcp-Session-Id", &session)], {
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"cut"}}"#
    });
    let head = wire.send(bytes).head().expect("a head");
    assert_eq!(head.header("content-length"), Some("900"));
    assert!(wire.rest().len() < 900);
}

#[test]
fn the_wayward_server_speaks_mcp_over_its_standard_streams() {
    let mut child = Command::new("python3")
        .args(["-u".as_ref(), tests_folder().join("upstreams/wayward.py").as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut ask = |method: &str, params: Value| -> Value {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        writeln!(input, "{message}").expect("the server reads");
        let line = lines.next().expect("a line").expect("it is text");
        serde_json::from_str(&line).expect("it is JSON")
    };
    assert_eq!(ask("initialize", json!({}))["result"]["serverInfo"]["name"], "wayward");
    let process = ask("tools/call", call("pid", json!({})));
    assert_eq!(process["result"]["structuredContent"]["value"], child.id());
    assert_eq!(ask("no/such", json!({}))["error"]["code"], -32601);
    drop(input);
    assert!(child.wait().expect("it ends").success(), "the end of input did not end it");
}

#[test]
fn the_wrapper_makes_the_kernel_refuse_io_uring() {
    let probe = "import ctypes; c = ctypes.CDLL(None, use_errno=True); \
                 r = c.syscall(425, 1, ctypes.create_string_buffer(120)); \
                 print(r, ctypes.get_errno())";
    let mut wrapped = Command::new(tests_folder().join("tools/without-io-uring"));
    let output = wrapped.args(["python3", "-c", probe]).output().expect("the wrapper starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "-1 1");
}
