//! Requests that are answered: however they are cut, with every kind of body, one after the other.

use crate::harness::{chunked, get, limits, on_each_driver, post};

#[test]
fn answers_requests_that_come_in_one_piece_in_their_order() {
    on_each_driver(&limits(), |server| {
        let mut client = server.connect();
        let mut all = String::new();
        for index in 0..50 {
            all.push_str(&match index % 3 {
                0 => get(&format!("/{index}")),
                1 => post(&format!("/{index}"), "body"),
                _ => chunked(&format!("/{index}")) + "4\r\nbody\r\n0\r\n\r\n",
            });
        }
        client.send(&all);
        for index in 0..50 {
            let body = if index % 3 == 0 { "" } else { "body" };
            assert_eq!(client.answer().body, format!("/{index} {body}"));
        }
    });
}

/// The network chooses the cuts.
#[test]
fn answers_the_same_however_a_request_is_cut() {
    let requests = [
        (post("/echo", "hello"), "/echo hello"),
        (chunked("/echo") + "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nt: v\r\n\r\n", "/echo hello"),
        (get("/echo"), "/echo "),
    ];
    on_each_driver(&limits(), |server| {
        let mut client = server.connect();
        for (request, expected) in &requests {
            for cut in 1..request.len() {
                client.send(&request[..cut]).send(&request[cut..]);
                assert_eq!(client.answer().body, *expected, "cut at byte {cut} of {request:?}");
            }
        }
        for (request, expected) in &requests {
            for byte in request.bytes() {
                client.send([byte]);
            }
            assert_eq!(client.answer().body, *expected, "byte by byte");
        }
    });
}

#[test]
fn takes_bodies_larger_than_any_buffer() {
    on_each_driver(&limits(), |server| {
        let large = "x".repeat(1 << 20);
        let mut client = server.connect();
        client.send(post("/echo", &large));
        assert_eq!(client.answer().body.len(), "/echo ".len() + large.len());
        client.send(chunked("/echo"));
        for piece in large.as_bytes().chunks(70_000) {
            client.send(format!("{:x}\r\n", piece.len())).send(piece).send("\r\n");
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.answer().body.len(), "/echo ".len() + large.len());
        assert_eq!(client.send(get("/after")).answer().body, "/after ");
    });
}

#[test]
fn asks_for_a_body_that_waits_to_be_asked_for() {
    on_each_driver(&limits(), |server| {
        let head =
            post("/echo", "hello").replace("\r\n\r\nhello", "\r\nexpect: 100-continue\r\n\r\n");
        let mut client = server.connect();
        for _ in 0..2 {
            assert_eq!(client.send(&head).head().status, 100);
            assert_eq!(client.send("hello").answer().body, "/echo hello");
        }
        // A body that came along needs no asking.
        assert_eq!(client.send(format!("{head}hello")).answer().status, 200);
        // Who is refused is not asked; whether the body comes all the same, nobody knows.
        let refused = client.send(head.replace("/echo", "/refuse")).answer();
        assert_eq!((refused.status, refused.closes()), (403, true));
        assert_eq!(client.end().rest(), "");
    });
}

#[test]
fn answers_a_request_by_head_with_the_head_alone() {
    on_each_driver(&limits(), |server| {
        let mut client = server.connect();
        for path in ["/echo", "/stream"] {
            let head = client.send(get(path).replace("GET", "HEAD")).head();
            let framing = ["content-length: 6", "transfer-encoding: chunked"];
            assert!(framing.iter().any(|line| head.head.contains(line)), "{}", head.head);
            assert_eq!(client.send(get("/after")).answer().body, "/after ");
        }
    });
}

#[test]
fn streams_in_chunks_or_for_an_old_client_to_the_end_of_the_connection() {
    on_each_driver(&limits(), |server| {
        let mut client = server.connect();
        let head = client.send(get("/stream") + &get("/after")).head();
        assert!(head.head.contains("transfer-encoding: chunked"), "{}", head.head);
        let all = client.end().rest();
        let chunks = "3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n";
        let rest = all.strip_prefix(chunks).unwrap_or_else(|| panic!("{all:?}"));
        assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("/after "), "{rest:?}");

        let mut client = server.connect();
        let request = get("/stream").replace("HTTP/1.1", "HTTP/1.0");
        let head = client.send(request).head();
        assert!(head.closes() && !head.head.contains("chunked"), "{}", head.head);
        assert_eq!(client.rest(), "onetwothree");
    });
}

#[test]
fn keeps_or_closes_a_connection_as_the_client_says() {
    on_each_driver(&limits(), |server| {
        let old = get("/old").replace("HTTP/1.1", "HTTP/1.0");
        let close = get("/close").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        for last in [old.clone(), close] {
            let mut client = server.connect();
            let kept = old.replace("\r\n\r\n", "\r\nconnection: keep-alive\r\n\r\n");
            let answer = client.send(kept).answer();
            assert!(answer.head.contains("connection: keep-alive"), "{}", answer.head);
            assert!(!client.send(get("/more")).answer().closes());
            assert!(client.send(&last).answer().closes(), "{last}");
            assert_eq!(client.rest(), "");
        }
    });
}

#[test]
fn hands_the_connection_over_behind_an_answer_101_with_what_came_early() {
    on_each_driver(&limits(), |server| {
        let mut client = server.connect();
        client.send(format!("{}early ", get("/upgrade")));
        let head = client.head();
        assert_eq!(head.status, 101);
        assert!(!head.head.contains("content-length") && !head.closes());
        client.send("late").end();
        assert_eq!(client.rest(), "early late");
    });
}
