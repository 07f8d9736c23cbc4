//! Request heads: what passes, what is refused, and that cuts change nothing.

use super::*;

/// One line of text: what the parser made of `bytes`.
fn parse(bytes: &[u8]) -> String {
    let mut head = RequestHead::default();
    let result = head.parse(bytes, &HeadLimits::default());
    describe(&head, bytes, result)
}

fn describe(head: &RequestHead, bytes: &[u8], result: Result<Option<usize>, HeadError>) -> String {
    match result {
        Err(error) => format!("{} {error:?}", error.status()),
        Ok(None) => "more".to_owned(),
        Ok(Some(size)) => format!(
            "{size} {} {} {:?} {:?} {:?} {}{}",
            head.method_name(bytes),
            head.path(bytes),
            head.query(bytes),
            head.authority(bytes).unwrap_or("-"),
            head.framing(),
            if head.keep_alive() { "keep" } else { "close" },
            if head.expect_continue() { " expect" } else { "" },
        ),
    }
}

/// A request with these lines behind `Host`.
fn with(lines: &str) -> String {
    parse(format!("POST /mcp HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes())
}

const REQUEST: &[u8] = b"POST /servers/1/mcp?x=%20y&z HTTP/1.1\r\n\
    Host: localhost:4444\r\n\
    Content-Type: application/json\r\n\
    Accept:application/json, text/event-stream \t\r\n\
    X-Empty:\r\n\
    content-length: 250\r\n\r\n{\"jsonrpc\"";

#[test]
fn finds_everything_in_place() {
    let wanted = format!(
        "{} POST /servers/1/mcp Some(\"x=%20y&z\") \"localhost:4444\" Length(250) keep",
        REQUEST.len() - 10
    );
    assert_eq!(parse(REQUEST), wanted);
    let mut head = RequestHead::default();
    head.parse(REQUEST, &HeadLimits::default()).unwrap();
    assert_eq!(head.method(), Method::Post);
    assert_eq!(head.target(REQUEST), "/servers/1/mcp?x=%20y&z");
    assert_eq!(head.header(REQUEST, "ACCEPT"), Some(&b"application/json, text/event-stream"[..]));
    assert_eq!(head.header(REQUEST, "x-empty"), Some(&b""[..]));
    assert_eq!(head.header(REQUEST, "origin"), None);
    assert_eq!(head.fields().iter(REQUEST).count(), 5);
}

#[test]
fn every_prefix_wants_more_and_every_cut_gives_the_same_head() {
    let whole = parse(REQUEST);
    for first in 0..REQUEST.len() - 10 {
        assert_eq!(parse(&REQUEST[..first]), "more", "{first} bytes");
        for second in first..REQUEST.len() {
            let mut head = RequestHead::default();
            let mut last = Ok(None);
            for end in [first, second, REQUEST.len()] {
                last = head.parse(&REQUEST[..end], &HeadLimits::default());
                if last != Ok(None) {
                    break;
                }
            }
            assert_eq!(describe(&head, REQUEST, last), whole, "cut at {first} and {second}");
        }
    }
}

#[test]
fn a_head_is_used_again_for_the_next_request() {
    let mut head = RequestHead::default();
    let limits = HeadLimits::default();
    head.parse(REQUEST, &limits).unwrap();
    let next = b"GET / HTTP/1.0\r\n\r\n";
    let result = head.parse(next, &limits);
    assert_eq!(describe(&head, next, result), "18 GET / None \"-\" None close");
    assert!(head.fields().is_empty());
    assert_eq!(head.version(), Version::Http10);
}

#[test]
fn a_head_that_was_begun_can_be_forgotten() {
    let mut head = RequestHead::default();
    let limits = HeadLimits::default();
    let other = b"GET / HTTP/1.0\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    assert_eq!(head.parse(&REQUEST[..other.len() - 10], &limits), Ok(None));
    head.clear();
    assert_eq!(head.parse(other, &limits), Ok(Some(18)));
}

#[test]
fn the_buffer_may_move() {
    let mut head = RequestHead::default();
    head.parse(REQUEST, &HeadLimits::default()).unwrap();
    let moved = REQUEST.to_vec();
    assert_eq!(head.header(&moved, "host"), Some(&b"localhost:4444"[..]));
}

#[test]
fn body_lengths_that_two_readers_might_read_in_two_ways_are_refused() {
    for (lines, wanted) in [
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "400 ContentLength"),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "400 ContentLength"),
        ("Content-Length: 5, 5\r\n", "400 ContentLength"),
        ("Content-Length: 5,6\r\n", "400 ContentLength"),
        ("Content-Length: +5\r\n", "400 ContentLength"),
        ("Content-Length: -5\r\n", "400 ContentLength"),
        ("Content-Length: 5 5\r\n", "400 ContentLength"),
        ("Content-Length: 0x5\r\n", "400 ContentLength"),
        ("Content-Length: 5.0\r\n", "400 ContentLength"),
        ("Content-Length:\r\n", "400 ContentLength"),
        ("Content-Length: \u{665}\r\n", "400 ContentLength"),
        ("Content-Length: 18446744073709551616\r\n", "400 ContentLength"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "400 LengthAndEncoding"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "400 LengthAndEncoding"),
        ("Content-Length: 0\r\nTransfer-Encoding: gzip\r\n", "400 LengthAndEncoding"),
        ("Transfer-Encoding: chunked, chunked\r\n", "400 TransferEncoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "400 TransferEncoding"),
        ("Transfer-Encoding: chunked, gzip\r\n", "400 TransferEncoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "400 TransferEncoding"),
        ("Transfer-Encoding: chunked;q=1\r\n", "400 TransferEncoding"),
        ("Transfer-Encoding: chunked,\r\n", "400 TransferEncoding"),
        ("Transfer-Encoding:\r\n", "400 TransferEncoding"),
        ("Transfer-Encoding: gzip, chunked\r\n", "501 EncodingUnknown"),
        ("Transfer-Encoding: identity\r\n", "501 EncodingUnknown"),
        ("Transfer-Encoding: xchunked\r\n", "501 EncodingUnknown"),
        ("Transfer-Encoding: \"chunked\"\r\n", "501 EncodingUnknown"),
        ("Transfer-Encoding: \x0bchunked\r\n", "400 FieldValue"),
        ("Transfer-Encoding: \x0cchunked\r\n", "400 FieldValue"),
    ] {
        assert_eq!(with(lines), wanted, "{lines:?}");
    }
}

#[test]
fn body_lengths_with_one_meaning_pass() {
    for (lines, framing) in [
        ("", "None"),
        ("Content-Length: 0\r\n", "Length(0)"),
        ("Content-Length: 007\r\n", "Length(7)"),
        ("Content-Length: 18446744073709551615\r\n", "Length(18446744073709551615)"),
        ("Transfer-Encoding: chunked\r\n", "Chunked"),
        ("transfer-encoding: ChUnKeD\r\n", "Chunked"),
    ] {
        assert!(with(lines).contains(framing), "{lines:?}: {}", with(lines));
    }
    assert_eq!(
        parse(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "400 TransferEncoding"
    );
}

#[test]
fn lines_that_two_readers_might_split_in_two_ways_are_refused() {
    for (bytes, wanted) in [
        (&b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..], "400 LineEnd"),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", "400 LineEnd"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", "400 LineEnd"),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", "400 LineEnd"),
        (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "400 LineEnd"),
        (b"GET / HTTP/1.1\r\nX:\nHost: a\r\n\r\n", "400 LineEnd"),
        (b"GET / HTTP/1.0\n\r\n", "400 LineEnd"),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 FirstLine"),
        (b"GET / HTTP/1.1\rHost: a\r\n\r\n", "400 LineEnd"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", "400 LineEnd"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: y\r\n\r\n", "400 LineEnd"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\0\r\n\r\n", "400 FieldValue"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x7f\r\n\r\n", "400 FieldValue"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "400 FieldName"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\tfolded\r\n\r\n", "400 FieldName"),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 FieldName"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 FieldName"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", "400 FieldName"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", "400 FieldName"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n", "400 FieldName"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa9: y\r\n\r\n", "400 FieldName"),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 FirstLine"),
        (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 FirstLine"),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400 FirstLine"),
        (b"GET / a HTTP/1.1\r\nHost: a\r\n\r\n", "400 Target"),
        (b"GET /\r\n\r\n", "400 FirstLine"),
        (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 FirstLine"),
    ] {
        assert_eq!(parse(bytes), wanted, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let bytes = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(parse(bytes), "31 GET / None \"a\" None keep");
}

#[test]
fn what_is_not_http_1_is_refused_at_its_first_bytes() {
    for (bytes, wanted) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "400 Tls"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 Http2"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 Version"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "505 Version"),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", "505 Version"),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", "400 FirstLine"),
        (b"GET / HTTP/11\r\nHost: a\r\n\r\n", "505 Version"),
        (b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", "400 FirstLine"),
        (b"\x00\x00\x00", "400 FirstLine"),
        (b"SSH-2.0-OpenSSH_9\r\n", "400 FirstLine"),
        (b"{\"jsonrpc\":\"2.0\"}", "400 FirstLine"),
    ] {
        assert_eq!(parse(bytes), wanted, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn targets_have_one_of_four_forms() {
    let line = |target: &str| parse(format!("{target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
    for (target, wanted) in [
        ("GET /a/b", "GET /a/b None \"h\" None keep"),
        ("GET /a?", "GET /a Some(\"\") \"h\" None keep"),
        ("GET /a?b?c", "GET /a Some(\"b?c\") \"h\" None keep"),
        ("GET //a", "GET //a None \"h\" None keep"),
        ("GET /a[]{}|", "GET /a[]{}| None \"h\" None keep"),
        ("OPTIONS *", "OPTIONS * None \"h\" None keep"),
        ("GET http://other:81/a?b", "GET /a Some(\"b\") \"other:81\" None keep"),
        ("GET HTTPS://other", "GET / None \"other\" None keep"),
        ("GET http://other?b", "GET / Some(\"b\") \"other\" None keep"),
        ("GET http://[::1]:80/", "GET / None \"[::1]:80\" None keep"),
        ("CONNECT other:443", "CONNECT  None \"other:443\" None keep"),
    ] {
        let got = line(target);
        assert_eq!(got.split_once(' ').unwrap().1, wanted, "{target:?}");
    }
    for target in [
        "GET *",
        "GET a",
        "GET /a#b",
        "GET /a\\b",
        "GET /a<b",
        "GET /a\"b",
        "GET /\u{e9}",
        "OPTIONS **",
        "GET http://",
        "GET http:///a",
        "GET http://user@other/",
        "GET ftp://other/",
        "GET http:/a",
        "GET http://a b/",
        "GET http://a:x/",
        "CONNECT other",
        "CONNECT /",
        "CONNECT http://other:443",
        "GET other:443",
        "GET http://[::1/",
        "GET http://[zz]/",
    ] {
        let got = line(target);
        assert!(got == "400 Target" || got == "400 FirstLine", "{target:?}: {got}");
    }
}

#[test]
fn a_request_has_exactly_one_valid_host() {
    let lines = |lines: &str| parse(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes());
    for wrong in [
        "",
        "X: y\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nX: y\r\nhOST: b\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a,b\r\n",
        "Host: a/b\r\n",
        "Host: u@a\r\n",
        "Host: a:b\r\n",
        "Host: a:1:2\r\n",
        "Host: a:123456\r\n",
        "Host: [::1\r\n",
        "Host: [::1]x\r\n",
        "Host: ::1\r\n",
        "Host: \u{e9}\r\n",
        "Host: :80\r\n",
    ] {
        assert_eq!(lines(wrong), "400 Host", "{wrong:?}");
    }
    for right in ["a", "a.b-c_d:80", "127.0.0.1:4444", "[::1]", "[fe80::1]:80", "a:"] {
        assert!(lines(&format!("Host: {right}\r\n")).contains(right), "{right:?}");
    }
    assert_eq!(parse(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), "400 Host");
}

#[test]
fn the_connection_stays_open_as_both_sides_may_expect() {
    for (version, line, keep) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.1", "Connection: enclosed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let got = parse(format!("GET / HTTP/{version}\r\nHost: a\r\n{line}\r\n").as_bytes());
        assert_eq!(got.ends_with("keep"), keep, "{version} {line:?}");
    }
}

#[test]
fn only_http_1_1_waits_for_continue() {
    assert!(with("Expect: 100-Continue\r\n").ends_with("expect"));
    assert!(!with("Expect: 200-ok\r\n").ends_with("expect"));
    assert!(!parse(b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").ends_with("expect"));
}

#[test]
fn counts_a_header_that_is_there_twice() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nMcp-Name: x\r\nMCP-NAME: y\r\n\r\n";
    let mut head = RequestHead::default();
    head.parse(bytes, &HeadLimits::default()).unwrap();
    assert_eq!(head.fields().count(bytes, "mcp-name"), 2);
    let values: Vec<_> = head.fields().all(bytes, "mcp-name").collect();
    assert_eq!(values, [b"x", b"y"]);
}

#[test]
fn each_limit_has_its_own_status() {
    let limits = HeadLimits {
        head_size_max: 200,
        field_count_max: 3,
        field_size_max: 60,
        target_size_max: 40,
    };
    let parse = |text: String| {
        let mut head = RequestHead::default();
        let result = head.parse(text.as_bytes(), &limits);
        describe(&head, text.as_bytes(), result)
    };
    let start = "GET / HTTP/1.1\r\nHost: a\r\n";
    let fields = |count: usize| format!("{start}{}\r\n", "X: y\r\n".repeat(count));
    assert!(parse(fields(2)).starts_with("39 GET"));
    assert_eq!(parse(fields(3)), "431 FieldCount");
    assert_eq!(parse(format!("{start}X: {}\r\n\r\n", "y".repeat(60))), "431 FieldTooLong");
    let long = format!("X: {}\r\n", "y".repeat(50));
    assert_eq!(parse(format!("{start}{}", long.repeat(2) + &long[..50])), "more");
    assert_eq!(parse(format!("{start}{}", long.repeat(4))), "431 FieldCount");
    assert_eq!(parse(format!("{start}X: {}", "y".repeat(200))), "431 HeadTooLong");
    let target = "/".repeat(41);
    assert_eq!(parse(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")), "414 TargetTooLong");
    assert_eq!(parse(format!("GET {}", "/".repeat(80))), "414 TargetTooLong");
    assert_eq!(parse("\r\n".repeat(100)), "431 HeadTooLong");
    let target = "/".repeat(40);
    assert!(parse(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).contains(" GET //"));
}

#[test]
fn a_head_as_large_as_the_limit_passes_and_one_byte_more_does_not() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut head = RequestHead::default();
    for (head_size_max, is_ok) in [(text.len(), true), (text.len() - 1, false)] {
        let limits = HeadLimits { head_size_max, ..HeadLimits::default() };
        assert_eq!(head.parse(text, &limits).is_ok(), is_ok);
    }
}
