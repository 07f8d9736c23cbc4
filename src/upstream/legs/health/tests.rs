//! Checks of scripted upstreams, on every driver of this machine.

use std::{io::Write, net::Shutdown, net::TcpStream};

use serde_json::json;
use storage::record::{Gateway, Transport};

use super::*;
use crate::{
    settings,
    upstream::http::tests::{AGES, Fake, Seen, answer, on_each_driver, result},
};

const JSON: &str = "content-type: application/json\r\n";

fn upstreams() -> Upstreams {
    let loaded = settings::parse("", Vec::new(), &[]).expect("the defaults are right");
    Upstreams::new(&loaded.settings, Vec::new())
}

/// The fake as it is registered: reached over streamable HTTP in this era.
fn registered(fake: &Fake, era: Era) -> Arc<Upstream> {
    let upstream = fake.upstream("/mcp");
    let record = Gateway {
        id: "fake".to_owned(),
        transport: Transport::StreamableHttp,
        era: Some(era),
        ..Gateway::clone(&upstream.record)
    };
    Arc::new(Upstream { record: Arc::new(record), ..upstream })
}

/// Answers the handshake of the legacy era; false for what is no part of it.
fn shake_hands(seen: &Seen, to: &mut TcpStream) -> bool {
    match seen.method() {
        "initialize" => {
            let offer = json!({"protocolVersion": "2025-06-18", "capabilities": {}});
            let text = result(&seen.body["id"], offer);
            answer(to, 200, &format!("{JSON}mcp-session-id: one\r\n"), &text);
        }
        "notifications/initialized" => answer(to, 202, "", ""),
        _ => return false,
    }
    true
}

fn discovered(seen: &Seen) -> String {
    let offer = json!({"supportedVersions": ["2026-07-28"], "capabilities": {}});
    result(&seen.body["id"], offer)
}

fn word(health: &Health) -> &'static str {
    match health {
        Health::Alive => "alive",
        Health::Changed => "changed",
        Health::Failed(_) => "failed",
        Health::Died { .. } => "died",
        Health::Unknown => "unknown",
    }
}

#[test]
fn takes_every_answer_to_a_ping_for_a_sign_of_life_and_keeps_its_session() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            if shake_hands(seen, to) {
                return;
            }
            let id = &seen.body["id"];
            let text = match seen.index {
                2 => result(id, json!({})),
                _ => {
                    let error = json!({"code": -32601, "message": "no"});
                    json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string()
                }
            };
            answer(to, 200, JSON, &text);
        });
        let (upstreams, upstream) = (upstreams(), registered(&fake, Era::Legacy));
        for _ in 0..2 {
            assert_eq!(word(&upstreams.check(&upstream, AGES).await), "alive");
        }
        assert_eq!(fake.methods()[2..], ["ping", "ping"]);
    });
}

#[test]
fn asks_a_modern_upstream_what_it_is() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| answer(to, 200, JSON, &discovered(seen)));
        let upstream = registered(&fake, Era::Modern);
        assert_eq!(word(&upstreams().check(&upstream, AGES).await), "alive");
        assert_eq!(fake.methods(), ["server/discover"]);
    });
}

#[test]
fn an_upstream_that_turns_us_away_breaks_off_or_is_out_of_order_fails() {
    on_each_driver(|| async {
        for status in [0, 401, 429, 500, 503] {
            let fake = Fake::new(move |seen, to| {
                if shake_hands(seen, to) {
                } else if status == 0 {
                    let _ = to.shutdown(Shutdown::Both);
                } else {
                    answer(to, status, "", "not now");
                }
            });
            let upstream = registered(&fake, Era::Legacy);
            let health = upstreams().check(&upstream, AGES).await;
            assert_eq!(word(&health), "failed", "{status}: {health:?}");
            let greetings = fake.methods().iter().filter(|method| *method == "initialize").count();
            assert_eq!(greetings, 1, "{status}: it was greeted anew");
        }
    });
}

#[test]
fn an_upstream_that_says_nothing_fails_when_its_time_is_over() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| {
            shake_hands(seen, to);
        });
        let upstream = registered(&fake, Era::Legacy);
        let health = upstreams().check(&upstream, Duration::from_millis(300)).await;
        let Health::Failed(Failure::Upstream(failure)) = health else { panic!("{health:?}") };
        assert!(matches!(failure.kind, UpstreamKind::Timeout(_)), "{failure:?}");
    });
}

#[test]
fn who_answers_without_understanding_a_ping_is_asked_for_the_handshake() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| match shake_hands(seen, to) {
            true => {}
            false => answer(to, 400, "content-type: text/plain\r\n", "what?"),
        });
        let upstream = registered(&fake, Era::Legacy);
        assert_eq!(word(&upstreams().check(&upstream, AGES).await), "alive");
    });
}

#[test]
fn an_upstream_that_speaks_another_era_now_has_changed() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| match seen.method() {
            "server/discover" => answer(to, 200, JSON, &discovered(seen)),
            _ => answer(to, 400, "content-type: text/plain\r\n", "what?"),
        });
        let upstream = registered(&fake, Era::Legacy);
        assert_eq!(word(&upstreams().check(&upstream, AGES).await), "changed");
    });
}

#[test]
fn brings_back_who_answers_with_what_it_offers_now() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| match seen.method() {
            "server/discover" => answer(to, 200, JSON, &discovered(seen)),
            _ => {
                let tools = json!([{"name": "now", "inputSchema": {"type": "object"}}]);
                answer(to, 200, JSON, &result(&seen.body["id"], json!({"tools": tools})));
            }
        });
        let upstream = registered(&fake, Era::Legacy);
        let inventory = upstreams().revive(&upstream, AGES).await.expect("it answers");
        assert_eq!((inventory.era, inventory.tools.len()), (Era::Modern, 1));
    });
}

/// It shakes hands at once, and then its lists trickle in for ever.
#[test]
fn gives_up_on_lists_that_never_end() {
    on_each_driver(|| async {
        let fake = Fake::new(|seen, to| match seen.method() {
            "server/discover" => answer(to, 200, JSON, &discovered(seen)),
            _ => {
                let _ = to.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{");
            }
        });
        let upstream = registered(&fake, Era::Modern);
        let pairs = [("FEDERATION_TIMEOUT".to_owned(), "0.3".to_owned())];
        let environment = pairs.map(|(name, value)| (name.into(), value.into()));
        let loaded = settings::parse("", environment, &[]).expect("it is long enough");
        let upstreams = Upstreams::new(&loaded.settings, Vec::new());
        let Err(Failure::Upstream(failure)) = upstreams.revive(&upstream, AGES).await else {
            panic!("it was read");
        };
        assert!(matches!(failure.kind, UpstreamKind::Timeout(_)), "{failure:?}");
        assert!(fake.methods().contains(&"tools/list".to_owned()), "it was not asked");
    });
}
