//! Requests that are refused: what is said, and whether the connection lives on.

use std::time::Duration;

use net::http1::server::Limits;

use crate::harness::{Server, chunked, get, limits, on_each_driver, post};

#[test]
fn a_refusal_keeps_the_connection_if_nothing_of_the_request_is_still_to_come() {
    on_each_driver(&limits(), |server| {
        let mut client = server.connect();
        for request in [get("/refuse"), post("/refuse", "all of it")] {
            let refused = client.send(request).answer();
            assert_eq!((refused.status, refused.closes()), (403, false));
        }
        assert_eq!(client.send(get("/after")).answer().body, "/after ");
    });
}

#[test]
fn a_refusal_closes_the_connection_and_is_read_though_the_body_still_comes() {
    on_each_driver(&limits(), |server| {
        let large = post("/refuse", &"x".repeat(500_000));
        for body in [large, chunked("/refuse") + "5\r\nhello\r\n"] {
            let mut client = server.connect();
            let (head, rest) = body.split_at(body.find("\r\n\r\n").unwrap() + 6);
            client.send(head);
            let refused = client.answer();
            assert_eq!((refused.status, refused.closes()), (403, true));
            // A reset would show here as an error, and would have discarded the refusal.
            assert_eq!(client.send(rest).end().rest(), "");
        }
    });
}

#[test]
fn a_body_that_is_too_large_is_answered_413_before_it_has_come() {
    on_each_driver(&limits(), |server| {
        let declared = post("/small", &"x".repeat(11)).replace(&"x".repeat(11), "");
        let counted = chunked("/small") + "b\r\nxxxxx";
        for head in [declared, counted] {
            let mut client = server.connect();
            let refused = client.send(head).answer();
            assert_eq!((refused.status, refused.closes()), (413, true));
            assert_eq!(client.send("x".repeat(300_000)).end().rest(), "");
        }
        let mut client = server.connect();
        assert_eq!(client.send(post("/small", &"x".repeat(10))).answer().status, 200);
    });
}

#[test]
fn what_is_no_request_is_refused_with_its_own_status() {
    on_each_driver(&limits(), |server| {
        let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(3000));
        let smuggled = chunked("/").replace("host: a", "host: a\r\ncontent-length: 3");
        for (status, request) in [
            (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
            (400, "nonsense\r\n\r\n".to_owned()),
            (400, smuggled + "0\r\n\r\n"),
            (400, chunked("/") + "zz\r\n"),
            (431, large),
            (505, get("/").replace("HTTP/1.1", "HTTP/2.0")),
        ] {
            let mut client = server.connect();
            let refused = client.send(&request).answer();
            assert_eq!((refused.status, refused.closes()), (status, true), "{request:.80}");
            assert_eq!(client.end().rest(), "", "{request:.80}");
        }
    });
}

#[test]
fn nothing_behind_a_refused_request_is_taken_for_another() {
    on_each_driver(&limits(), |server| {
        let mut client = server.connect();
        client.send("nonsense\r\n\r\n".to_owned() + &get("/behind"));
        assert_eq!(client.answer().status, 400);
        assert_eq!(client.end().rest(), "");
    });
}

#[test]
fn a_request_that_does_not_arrive_in_time_is_answered_408() {
    let short = Duration::from_millis(150);
    let limits = Limits { head_within: short, body_within: short, ..limits() };
    on_each_driver(&limits, |server| {
        let body = chunked("/") + "5\r\nhel";
        let counted = post("/", "hello").replace("hello", "hel");
        for part in ["GET / HTT", "GET / HTTP/1.1\r\nhost: a\r\n", &counted, &body] {
            let mut client = server.connect();
            let late = client.send(part).answer();
            assert_eq!((late.status, late.closes()), (408, true), "{part:?}");
            assert_eq!(client.end().rest(), "");
        }
    });
}

#[test]
fn who_says_nothing_is_left_without_a_word() {
    // Behind the moment at which an idle connection gives its buffer back.
    let limits = Limits { first_byte_within: Duration::from_millis(700), ..limits() };
    on_each_driver(&limits, |server| assert_eq!(server.connect().rest(), ""));
}

#[test]
fn a_body_that_breaks_off_is_no_request() {
    on_each_driver(&limits(), |server: &Server| {
        let counted = post("/slow", "hello").replace("hello", "hel");
        for part in [&counted, "GET / HTTP/1.1\r\nho"] {
            let mut client = server.connect();
            let told = client.send(part).end().rest();
            assert!(told.is_empty() || told.starts_with("HTTP/1.1 400"), "{part:?}: {told}");
        }
        assert!(server.events.try_recv().is_err(), "half a request was answered");
    });
}
