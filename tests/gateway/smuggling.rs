//! Requests that two readers could understand differently (RFC 9112 §11.2) are refused with 400,
//! and the connection with them.

use crate::harness::gateway::Gateway;

/// Heads that must be refused, each with the reason. `{t}` is a valid token.
const SHAPES: [(&str, &str); 21] = [
    (
        "two lengths",
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    ),
    (
        "two lengths in a list",
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2, 3\r\n\r\n{}",
    ),
    (
        "length and chunked",
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("signed length", "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: +2\r\n\r\n{}"),
    (
        "hexadecimal length",
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x2\r\n\r\n{}",
    ),
    ("empty length", "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: \r\n\r\n{}"),
    ("negative length", "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{}"),
    (
        "length beyond 64 bits",
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
    ),
    (
        "chunked is not last",
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked over HTTP/1.0",
        "POST /rpc HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "space before the colon",
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length : 2\r\n\r\n{}",
    ),
    ("folded header", "GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n c\r\n\r\n"),
    ("header name with a space", "GET /health HTTP/1.1\r\nHost: localhost\r\nX A: b\r\n\r\n"),
    ("bare CR in a value", "GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: b\rc\r\n\r\n"),
    ("NUL in a value", "GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: b\0c\r\n\r\n"),
    ("no Host", "GET /health HTTP/1.1\r\n\r\n"),
    ("two Hosts", "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"),
    ("space in the target", "GET /hea lth HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    (
        "chunk size that is no number",
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {t}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ),
    (
        "chunk longer than its size",
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {t}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    ),
];

#[test]
fn refuses_every_ambiguous_shape_and_closes_the_connection() {
    let gateway = Gateway::start();
    for (reason, shape) in SHAPES {
        let mut wire = gateway.wire();
        wire.send(shape.replace("{t}", gateway.token()));
        // Sent behind, as a smuggler would; it must never be answered.
        wire.send("GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = wire.answer();
        assert_eq!(answer.status, 400, "{reason}: {}", answer.text());
        assert!(wire.try_answer().is_none(), "{reason}: what came behind was answered");
    }
    gateway.get("/health").expect(200);
}

#[test]
fn refuses_a_transfer_coding_that_it_does_not_know() {
    let gateway = Gateway::start();
    let shape = "POST /rpc HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let mut wire = gateway.wire();
    let answer = wire.send(shape).answer();
    assert!([400, 501].contains(&answer.status), "{answer:?}");
    assert!(wire.closes());
}

#[test]
fn refuses_a_protocol_that_is_not_http_1() {
    let gateway = Gateway::start();
    for line in [
        "GET /health HTTP/2.0",
        "GET /health HTTP/1.9",
        "GET /health",
        "\x16\x03\x01\x02",
        "PRI * HTTP/2.0",
    ] {
        let mut wire = gateway.wire();
        wire.send(format!("{line}\r\nHost: localhost\r\n\r\n"));
        if let Some(answer) = wire.try_answer() {
            assert!([400, 505].contains(&answer.status), "{line:?}: {answer:?}");
        }
        assert!(wire.closes(), "{line:?}");
    }
}
