//! HTTP/1.1 as the gateway speaks it: connections, bodies, methods and bounds.

use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::gateway::Gateway;
use crate::harness::tools::tools;
use crate::harness::wire::request;

/// A ping over /rpc with the administrator's token.
fn ping(gateway: &Gateway, headers: &[(&str, &str)]) -> Vec<u8> {
    let bearer = format!("Bearer {}", gateway.token());
    let mut all = vec![("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    all.extend(headers);
    request("POST", "/rpc", &all, br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)
}

#[test]
fn keeps_a_connection_for_many_requests() {
    let gateway = Gateway::start();
    let mut wire = gateway.wire();
    for _ in 0..20 {
        wire.send(request("GET", "/health", &[], b"")).answer().expect(200);
        assert_eq!(wire.send(ping(&gateway, &[])).answer().expect(200).json()["result"], json!({}));
    }
}

#[test]
fn answers_pipelined_requests_in_their_order() {
    let gateway = Gateway::start();
    let mut wire = gateway.wire();
    let mut bytes = Vec::new();
    for id in 0..30 {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let bearer = format!("Bearer {}", gateway.token());
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        bytes.extend(request("POST", "/rpc", &headers, body.as_bytes()));
        bytes.extend(request("GET", "/nowhere", &headers, b""));
    }
    wire.send(bytes);
    for id in 0..30 {
        assert_eq!(wire.answer().expect(200).json()["id"], json!(id));
        wire.answer().expect(404);
    }
}

#[test]
fn closes_after_the_answer_when_the_client_asks_so_and_after_http_1_0() {
    let gateway = Gateway::start();
    let mut wire = gateway.wire();
    let answer = wire.send(ping(&gateway, &[("Connection", "close")])).answer().expect(200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(wire.closes());
    let mut old = gateway.wire();
    old.send("GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").answer().expect(200);
    assert!(old.closes());
}

#[test]
fn reads_a_chunked_body_however_it_is_cut() {
    let gateway = Gateway::start();
    let head = format!(
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        gateway.token()
    );
    let body = "5;name=value\r\n{\"jso\r\n1f\r\nnrpc\":\"2.0\",\"id\":4,\"method\":\"pi\r\n\
                4\r\nng\"}\r\n0\r\nTrailer: ignored\r\n\r\n";
    let mut wire = gateway.wire();
    for size in [1, 3, 7, 1000] {
        for piece in (head.clone() + body).as_bytes().chunks(size) {
            wire.send(piece);
        }
        assert_eq!(wire.answer().expect(200).json()["id"], json!(4), "in pieces of {size} bytes");
    }
}

#[test]
fn says_100_continue_before_it_reads_the_body() {
    let gateway = Gateway::start();
    let whole = ping(&gateway, &[("Expect", "100-continue")]);
    let head = whole.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends") + 4;
    let mut wire = gateway.wire();
    assert_eq!(wire.send(&whole[..head]).answer().status, 100);
    assert_eq!(wire.send(&whole[head..]).answer().expect(200).json()["result"], json!({}));
}

#[test]
fn refuses_without_100_continue_what_it_would_not_read() {
    let gateway = Gateway::start();
    let head = "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 50\r\nExpect: 100-continue\r\n\r\n";
    gateway.wire().send(head).answer().expect(401);
}

#[test]
fn answers_head_as_get_without_a_body() {
    let gateway = Gateway::start();
    let full = gateway.wire().send(request("GET", "/health", &[], b"")).answer().expect(200);
    let mut wire = gateway.wire();
    let head = wire.send(request("HEAD", "/health", &[], b"")).head().expect("a head came");
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some(full.body.len().to_string().as_str()));
    wire.send(request("GET", "/health", &[], b"")).answer().expect(200);
}

#[test]
fn tells_by_options_and_405_which_methods_a_path_takes() {
    let gateway = Gateway::start();
    let options = gateway.wire().send(request("OPTIONS", "/rpc", &[], b"")).answer();
    assert!(options.status == 200 || options.status == 204, "{options:?}");
    let allow = options.header("allow").expect("OPTIONS has Allow");
    assert!(allow.contains("POST") && allow.contains("OPTIONS"), "{allow}");
    for (method, path, wanted) in [
        ("DELETE", "/rpc", "POST"),
        ("PATCH", "/gateways", "GET"),
        ("POST", "/health", "GET"),
        ("GET", "/mcp", "POST"),
    ] {
        let answer = gateway.ask(method, path, None).expect(405);
        let allow = answer.header("allow").unwrap_or_else(|| panic!("{method} {path}: no Allow"));
        assert!(allow.contains(wanted), "{method} {path}: Allow: {allow}");
    }
    let brew = gateway.ask("BREW", "/health", None);
    assert!([405, 501].contains(&brew.status), "{brew:?}");
    gateway.get("/nowhere/at/all").expect(404);
}

#[test]
fn wants_json_where_it_reads_json() {
    let gateway = Gateway::start();
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/html")];
    gateway.wire().send(request("POST", "/rpc", &headers, b"{}")).answer().expect(415);
    let charset = [headers[0], ("Content-Type", "application/json; charset=utf-8")];
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    gateway.wire().send(request("POST", "/rpc", &charset, body)).answer().expect(200);
}

#[test]
fn bounds_the_target_the_head_and_the_body() {
    let gateway = Gateway::start();
    let long = format!("/{}", "a".repeat(64 * 1024));
    gateway.wire().send(request("GET", &long, &[], b"")).answer().expect(414);
    let value = "v".repeat(128 * 1024);
    gateway.wire().send(request("GET", "/health", &[("X-Long", &value)], b"")).answer().expect(431);
    let many: String = (0..1000).map(|index| format!("X-{index}: v\r\n")).collect();
    let head = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    gateway.wire().send(head).answer().expect(431);
    let claim = format!(
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 9000000000\r\n\r\n",
        gateway.token()
    );
    gateway.wire().send(claim).answer().expect(413);
}

#[test]
fn gives_up_on_a_client_that_sends_half_a_head() {
    let gateway = Gateway::setup().set("CLIENT_HEAD_TIMEOUT", 1).start();
    let mut slow = gateway.wire();
    slow.send("GET /health HTTP/1.1\r\nHost: loc").answer().expect(408);
    assert!(slow.closes());
    let mut body = gateway.wire();
    body.send(&ping(&gateway, &[])[..200]);
    gateway.get("/health").expect(200);
}

#[test]
fn speaks_tls_when_it_has_a_certificate() {
    let folder = TempDir::new().expect("a temporary folder");
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let make = tools().python("clients/tls.py").arg("make").args([&certificate, &key]).status();
    assert!(make.expect("the script starts").success());
    let mut gateway = Gateway::setup()
        .set("SSL", "true")
        .set("CERT_FILE", certificate.display())
        .set("KEY_FILE", key.display())
        .launch();
    let url = format!("https://localhost:{}/ready", gateway.port());
    let mut get: Command = tools().python("clients/tls.py");
    let output = get.arg("get").arg(&url).arg(&certificate).output().expect("the script starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("TLSv1.3 200 "), "{text} {}", String::from_utf8_lossy(&output.stderr));
    gateway.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.ended().code(), Some(0));
}
