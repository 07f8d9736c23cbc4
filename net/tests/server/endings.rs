//! How things end: panics, idle connections, clients that leave, a server that drains.

use std::time::Duration;

use net::http1::server::Limits;

use crate::harness::{get, limits, on_each_driver, post};

#[test]
fn a_panic_costs_its_request_and_others_are_served() {
    on_each_driver(&limits(), |server| {
        let mut beside = server.connect();
        assert_eq!(beside.send(get("/before")).answer().status, 200);
        for path in ["/panic", "/nothing"] {
            let mut client = server.connect();
            let broken = client.send(post(path, "x") + &get("/behind")).answer();
            assert_eq!((broken.status, broken.closes()), (500, true), "{path}");
            assert_eq!(client.end().rest(), "", "{path}");
            assert_eq!(beside.send(get("/after")).answer().body, "/after ");
            assert_eq!(server.connect().send(get("/new")).answer().body, "/new ");
        }
    });
}

#[test]
fn a_connection_that_gave_its_buffer_back_is_served_on() {
    on_each_driver(&limits(), |server| {
        let mut early = server.connect();
        let mut used = server.connect();
        assert_eq!(used.send(get("/one")).answer().body, "/one ");
        // Nothing tells when a buffer is given back; it is after half a second.
        std::thread::sleep(Duration::from_millis(800));
        for client in [&mut early, &mut used] {
            assert_eq!(client.send(post("/two", "x")).answer().body, "/two x");
        }
    });
}

#[test]
fn an_idle_connection_is_closed_in_the_end() {
    let limits = Limits { idle_within: Duration::from_millis(700), ..limits() };
    on_each_driver(&limits, |server| {
        let mut client = server.connect();
        assert_eq!(client.send(get("/one")).answer().status, 200);
        assert_eq!(client.rest(), "");
    });
}

#[test]
fn draining_ends_idle_connections_and_finishes_what_is_in_flight() {
    on_each_driver(&limits(), |server| {
        let mut idle = server.connect();
        assert_eq!(idle.send(get("/one")).answer().status, 200);
        let mut busy = server.connect();
        busy.send(get("/slow"));
        server.expect("slow");
        server.drain();
        assert_eq!(idle.rest(), "");
        server.release();
        server.expect("finished");
        assert_eq!(busy.answer().body, "at last");
        assert_eq!(busy.rest(), "");
        server.expect("drained");
    });
}

#[test]
fn leaving_cancels_a_request_that_asked_for_it() {
    on_each_driver(&limits(), |server| {
        let mut client = server.connect();
        client.send(get("/cancel"));
        server.expect("waiting");
        drop(client);
        server.expect("cancelled");
    });
}

#[test]
fn leaving_cancels_nothing_else() {
    on_each_driver(&limits(), |server| {
        let mut client = server.connect();
        client.send(get("/slow"));
        server.expect("slow");
        drop(client);
        server.release();
        server.expect("finished");
    });
}
