//! The leg against scripted upstreams, on every driver of this machine.

use std::{
    io::Write,
    net::{Shutdown, TcpStream as StdStream},
    sync::{Arc, Mutex},
};

use net::span::Span;
use serde_json::{Value, json};
use shards::task;

use super::*;
use crate::upstream::http::tests::{
    AGES, Fake, Seen, answer, call, failed, on_each_driver, result, value, whole,
};
use crate::upstream::watch::Told;

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// The streams that were opened, newest last.
type Streams = Arc<Mutex<Vec<StdStream>>>;

/// Writes a message to the newest stream.
fn tell(streams: &Streams, message: &str) {
    let mut streams = streams.lock().expect("no test panics with it");
    let stream = streams.last_mut().expect("one is open");
    let _ = stream.write_all(format!("event: message\r\ndata: {message}\r\n\r\n").as_bytes());
}

/// An upstream that shakes hands by itself and leaves the rest to `script`.
fn upstream(script: impl Fn(&Seen, &mut StdStream, &Streams) + Send + Sync + 'static) -> Fake {
    let streams = Streams::default();
    Fake::new(move |seen, to| {
        if seen.head.starts_with("get /sse ") {
            let _ = to.write_all(STREAM.as_bytes());
            let mut streams = streams.lock().expect("no test panics with it");
            let endpoint = format!("event: endpoint\ndata: /post?session={}\n\n", streams.len());
            let _ = to.write_all(endpoint.as_bytes());
            return streams.push(to.try_clone().expect("a handle"));
        }
        match seen.method() {
            "initialize" => {
                answer(to, 202, "", "Accepted");
                let capabilities = json!({"resources": {"subscribe": true}});
                let hello = json!({"protocolVersion": "2024-11-05", "capabilities": capabilities});
                let text = result(&seen.body["id"], hello);
                tell(&streams, &text);
            }
            "notifications/initialized" => answer(to, 202, "", "Accepted"),
            _ => script(seen, to, &streams),
        }
    })
}

fn leg(fake: &Fake) -> LinkLeg {
    LinkLeg::new(&fake.upstream("/sse"), Medium::Sse, Era::Legacy, fake.setup()).expect("a leg")
}

#[test]
fn serves_all_who_ask_by_one_stream() {
    on_each_driver(|| async {
        let held = Mutex::new(Vec::new());
        let fake = upstream(move |seen, to, streams| {
            answer(to, 202, "", "Accepted");
            let mut held = held.lock().expect("no test panics with it");
            held.push((seen.body["id"].clone(), seen.body["params"]["n"].clone()));
            if held.len() == 4 {
                // The last one first.
                for (id, n) in held.drain(..).rev() {
                    tell(streams, &result(&id, json!({"n": n})));
                }
            }
        });
        let leg = leg(&fake);
        let ask = |leg: LinkLeg, n: usize| async move {
            let params = format!("{{\"n\":{n}}}");
            (n, leg.request(&call("tools/call", &params)).await)
        };
        let tasks: Vec<_> = (0..4).map(|n| task::spawn(ask(leg.clone(), n))).collect();
        for task in tasks {
            let (n, outcome) = task.join().await.expect("no panic");
            assert_eq!(value(&whole(outcome)), json!({"n": n}));
        }
        let seen = fake.seen();
        assert_eq!(seen.iter().filter(|seen| seen.head.starts_with("get ")).count(), 1);
        assert!(seen.last().expect("some").head.starts_with("post /post?session=0 http/1.1"));
        assert!(seen.iter().all(|seen| seen.has("authorization: bearer s3cret")));
        let initialize_result = leg.initialize_result(AGES).await.expect("it is open");
        let said: Value = serde_json::from_slice(&initialize_result).expect("JSON");
        assert_eq!(said["protocolVersion"], "2024-11-05");
    });
}

#[test]
fn gives_progress_to_the_client_that_asked_for_it() {
    on_each_driver(|| async {
        let fake = upstream(|seen, to, streams| {
            answer(to, 202, "", "");
            let params = &seen.body["params"];
            let progress =
                json!({"progressToken": params["_meta"]["progressToken"], "message": params["n"]});
            let method = "notifications/progress";
            let text = json!({"jsonrpc": "2.0", "method": method, "params": progress});
            tell(streams, &text.to_string());
            tell(streams, &result(&seen.body["id"], json!({})));
        });
        let leg = leg(&fake);
        for n in ["a", "b"] {
            let params = format!(r#"{{"n":"{n}","_meta":{{"progressToken":1}}}}"#);
            let at = params.find("1}").expect("there");
            let mut outgoing = call("tools/call", &params);
            outgoing.progress_token = Some(Span::new(at, at + 1));
            let Ok(Answer::Stream(mut stream)) = leg.request(&outgoing).await else { panic!() };
            let Ok(Event::Notification(bytes)) = stream.next().await else { panic!() };
            let message: Value = serde_json::from_slice(&bytes).expect("JSON");
            assert_eq!(message["params"], json!({"progressToken": 1, "message": n}));
            assert!(matches!(stream.next().await, Ok(Event::Reply(_))));
        }
    });
}

#[test]
fn fails_those_who_wait_when_the_stream_is_lost_and_opens_another() {
    on_each_driver(|| async {
        let fake = upstream(|seen, to, streams| {
            answer(to, 202, "", "");
            if seen.body["params"]["die"] == true {
                let streams = streams.lock().expect("no test panics with it");
                let _ = streams.last().expect("one is open").shutdown(Shutdown::Both);
            } else {
                tell(streams, &result(&seen.body["id"], json!({})));
            }
        });
        let leg = leg(&fake);
        for _ in 0..2 {
            let failure = failed(leg.request(&call("tools/call", r#"{"die":true}"#)).await);
            assert!(failure.kind == UpstreamKind::Broken && failure.may_have_run, "{failure:?}");
            whole(leg.request(&call("tools/call", "{}")).await);
        }
        let count = fake.seen().iter().filter(|seen| seen.head.starts_with("get ")).count();
        assert_eq!(count, 3);
    });
}

#[test]
fn opens_a_stream_again_when_its_session_is_not_known_any_more() {
    on_each_driver(|| async {
        let fake = upstream(|seen, to, streams| {
            if seen.head.starts_with("post /post?session=0 ") {
                return answer(to, 404, "", "Could not find session");
            }
            answer(to, 202, "", "");
            tell(streams, &result(&seen.body["id"], json!({"a": 1})));
        });
        let leg = leg(&fake);
        assert_eq!(value(&whole(leg.request(&call("tools/call", "{}")).await)), json!({"a": 1}));
    });
}

#[test]
fn answers_pings_and_cancels_what_nobody_waits_for() {
    on_each_driver(|| async {
        let fake = upstream(|seen, to, streams| {
            answer(to, 202, "", "");
            if seen.method() == "tools/call" {
                tell(streams, r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#);
            }
        });
        let leg = leg(&fake);
        let late = Outgoing { within: Duration::from_millis(50), ..call("tools/call", "{}") };
        let failure = failed(leg.request(&late).await);
        assert!(matches!(failure.kind, UpstreamKind::Timeout(_)), "{failure:?}");
        let id = fake.wait_for(|seen| seen.method() == "tools/call").await.body["id"].clone();
        fake.wait_for(|seen| seen.body["id"] == "p" && seen.body["result"] == json!({})).await;
        fake.wait_for(|seen| seen.body["params"]["requestId"] == id).await;
    });
}

#[test]
fn posts_to_no_other_origin() {
    on_each_driver(|| async {
        let fake = Fake::new(|_, to| {
            let endpoint = "event: endpoint\ndata: http://127.0.0.2:1/post\n\n";
            let _ = to.write_all(format!("{STREAM}{endpoint}").as_bytes());
        });
        let failure = failed(leg(&fake).request(&call("tools/call", "{}")).await);
        assert_eq!(failure.kind, UpstreamKind::Refused);
        assert!(failure.detail.contains("127.0.0.2:1"), "{failure:?}");
    });
}

#[test]
fn leaves_an_upstream_alone_for_a_while_that_has_just_failed() {
    on_each_driver(|| async {
        let fake = Fake::new(|_, to| answer(to, 503, "", "down"));
        let leg = leg(&fake);
        for _ in 0..3 {
            let failure = failed(leg.request(&call("tools/call", "{}")).await);
            assert_eq!(failure.kind, UpstreamKind::Status(503));
            assert!(!failure.may_have_run);
        }
        assert!(fake.seen().len() < 3);
    });
}

#[test]
fn listens_to_what_comes_by_the_stream_and_belongs_to_no_request() {
    on_each_driver(|| async {
        let fake = upstream(|seen, to, streams| {
            answer(to, 202, "", "Accepted");
            tell(streams, &result(&seen.body["id"], json!({})));
            let method = "notifications/resources/updated";
            let params = &seen.body["params"];
            let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
            tell(streams, &message.to_string());
            let streams = streams.lock().expect("no test panics with it");
            let _ = streams.last().expect("one is open").shutdown(Shutdown::Both);
        });
        let heard = Rc::<RefCell<Vec<Told>>>::default();
        let (sink, uri) = (heard.clone(), "a://b".to_owned());
        let wanted = move || std::collections::BTreeSet::from(["a://b".to_owned()]);
        let ear = Rc::new(Ear::new(move |told| sink.borrow_mut().push(told), wanted));
        let ended = leg(&fake).watch(&ear).await;
        assert!(is_kind(&ended.expect_err("its stream ended"), UpstreamKind::Broken));
        assert_eq!(*heard.borrow(), [Told::Began, Told::Updated(uri)]);
        let subscribed = fake.wait_for(|seen| seen.method() == "resources/subscribe").await;
        assert_eq!(subscribed.body["params"]["uri"], "a://b");
    });
}

#[test]
fn requests_that_were_not_written_are_known_when_a_socket_closes() {
    on_each_driver(|| async {
        let fake = Fake::new(|_, _| {});
        let wire = Wire::new(&fake.upstream("/ws"), fake.setup()).expect("a wire");
        let outbox = Outbox::default();
        let put = |id, size| outbox.put(&wire, id, vec![b'x'; size]);
        for id in [Some(1), None, Some(2), Some(3)] {
            put(id, 1).expect("it is open");
        }
        // What reads nothing is told nothing more, but one message passes however large it is.
        let failure = put(Some(4), 1 << 30).expect_err("too much waits");
        assert!(is_kind(&failure, UpstreamKind::Full));
        assert_eq!(outbox.take(), Some(b"x".to_vec()));
        assert_eq!(outbox.close(), [2, 3]);
        let failure = put(Some(5), 1).expect_err("it was closed");
        assert!(is_kind(&failure, UpstreamKind::SessionLost));
    });
}

#[test]
fn an_answer_that_opens_no_socket_says_why() {
    on_each_driver(|| async {
        let open = async |status: u16, lines: &'static str| {
            let fake = Fake::new(move |_, to| answer(to, status, lines, "what it says"));
            let (upstream, era) = (fake.upstream("/ws"), Era::Legacy);
            let leg = LinkLeg::new(&upstream, Medium::Socket, era, fake.setup()).expect("a leg");
            let failure = failed(leg.request(&call("tools/call", "{}")).await);
            let seen = &fake.seen()[0];
            let asked = ["get /ws ", "upgrade: websocket", "sec-websocket-protocol: mcp"];
            assert!(asked.iter().all(|part| seen.head.contains(part)), "{}", seen.head);
            assert!(seen.has("authorization: bearer s3cret"));
            assert!(!failure.may_have_run);
            failure
        };
        let refused = open(403, "").await;
        assert_eq!(refused.kind, UpstreamKind::Status(403));
        assert!(refused.detail.contains("what it says"));
        let plain = open(200, "").await;
        assert_eq!(plain.kind, UpstreamKind::Nonsense);
        assert!(plain.detail.contains("did not switch"), "{plain:?}");
        let blind = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n";
        let blind = open(101, blind).await;
        assert!(blind.detail.contains("without having read the key"), "{blind:?}");
    });
}
