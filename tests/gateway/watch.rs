//! What upstreams say by themselves, and who hears of it.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::faulty::{Era, Faulty, Mood};
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::mcp::{envelope, modern_request};
use crate::harness::tools::tools;
use crate::harness::upstreams::{Served, everything_stdio};
use crate::harness::wire::Wire;
use crate::sessions::Client;

const LEGACY_ERA: Era = Era::Legacy { forgotten: 404 };

/// How long something may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// The stream of a session, and what came by it.
struct Heard {
    wire: Wire,
    text: String,
}

impl Heard {
    fn of(client: &Client<'_>) -> Heard {
        let mut heard = Heard { wire: client.stream(&[]), text: String::new() };
        heard.until("id: ");
        heard
    }

    /// Reads until `text` came.
    #[track_caller]
    fn until(&mut self, text: &str) {
        while !self.text.contains(text) {
            let chunk = self.wire.chunk().unwrap_or_else(|| panic!("it ended: {}", self.text));
            self.text.push_str(&String::from_utf8(chunk).expect("events are text"));
        }
    }

    fn count(&self, text: &str) -> usize {
        self.text.matches(text).count()
    }
}

fn subscribe(client: &Client<'_>, method: &str, uri: &str) {
    client.post(&envelope(method, &json!({ "uri": uri }))).expect(200);
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

fn wait_for_tool(gateway: &Gateway, name: &str) {
    eventually(name, PATIENCE, || gateway.tool_names().contains(&name.to_owned()).then_some(()));
}

fn eras() -> [Era; 2] {
    [LEGACY_ERA, Era::Modern]
}

#[test]
fn a_list_that_changed_is_read_again_and_clients_are_told_once() {
    for era in eras() {
        let upstream = Faulty::talking(era);
        let gateway = Gateway::start();
        gateway.add(&upstream.registration("up"));
        upstream.wait_for_listeners(1);
        let client = Client::open(&gateway, gateway.token());
        let mut heard = Heard::of(&client);
        upstream.add_tool(tool("fresh"));
        for _ in 0..20 {
            upstream.say_changed("tools");
        }
        heard.until("tools/list_changed");
        wait_for_tool(&gateway, "up-fresh");
        // Nothing changed, as far as we can see: that it said so is told all the same, and nothing
        // comes twice of what was told before.
        upstream.say_changed("resources");
        heard.until("resources/list_changed");
        assert_eq!(heard.count("tools/list_changed"), 1, "{era:?}: {}", heard.text);
        let count = upstream.count("tools/list");
        assert!((2..=5).contains(&count), "{era:?}: its lists were read {count} times");
    }
}

#[test]
fn a_resource_that_changed_is_told_to_who_wants_to_know_on_every_node() {
    for era in eras() {
        let upstream = Faulty::talking(era);
        let folder = TempDir::new().expect("a temporary folder");
        let url = format!("sqlite:///{}", folder.path().join("one.db").display());
        let start = || {
            let setup: Setup = Gateway::setup().set("DATABASE_URL", &url);
            setup.set("CHANGE_POLL_INTERVAL", "0.05").start()
        };
        let (one, other) = (start(), start());
        one.add(&upstream.registration("up"));
        wait_for_tool(&other, "up-echo");
        upstream.wait_for_listeners(2);
        let clients = [Client::open(&one, one.token()), Client::open(&other, other.token())];
        let mut streams: Vec<_> = clients.iter().map(Heard::of).collect();
        for client in &clients {
            subscribe(client, "resources/subscribe", "talk://a");
        }
        upstream.wait_for_hearers("talk://a", 2);
        upstream.say_updated("talk://b");
        upstream.say_updated("talk://a");
        for heard in &mut streams {
            heard.until("resources/updated");
            assert!(heard.text.contains("talk://a") && !heard.text.contains("talk://b"));
        }
        // With the last stream that wants it, the subscription ends.
        subscribe(&clients[0], "resources/unsubscribe", "talk://a");
        drop(streams);
        for client in &clients {
            client.ask("DELETE", &[], "").answer().expect(204);
        }
        upstream.wait_for_subscriptions(&[]);
    }
}

/// What a client without a handshake hears of tools and of these resources, once it is acknowledged.
fn listen(gateway: &Gateway, uris: &[&str]) -> Heard {
    let wanted = json!({ "toolsListChanged": true, "resourceSubscriptions": uris });
    let params = json!({ "notifications": wanted });
    let mut wire = gateway.wire();
    wire.send(modern_request(gateway, "/mcp", "subscriptions/listen", params));
    assert_eq!(wire.head().expect("an answer").status, 200);
    let mut heard = Heard { wire, text: String::new() };
    heard.until("acknowledged");
    heard
}

#[test]
fn a_client_without_a_handshake_hears_of_an_upstream_s_resource() {
    for era in eras() {
        let upstream = Faulty::talking(era);
        let gateway = Gateway::start();
        gateway.add(&upstream.registration("up"));
        upstream.wait_for_listeners(1);
        let mut heard = listen(&gateway, &["talk://b"]);
        upstream.wait_for_subscriptions(&["talk://b"]);
        upstream.say_updated("talk://b");
        heard.until("resources/updated");
        upstream.say_changed("tools");
        heard.until("tools/list_changed");
        assert_eq!(heard.count("subscriptionId\":\"test-1\""), 3, "{}", heard.text);
    }
}

#[test]
fn of_two_that_have_a_resource_each_is_told_of_under_its_own_uri() {
    for era in eras() {
        let upstreams = [Faulty::talking(era), Faulty::talking(era)];
        let gateway = Gateway::start();
        gateway.add(&upstreams[0].registration("first"));
        let second = gateway.add(&upstreams[1].registration("second"));
        upstreams.iter().for_each(|upstream| upstream.wait_for_listeners(1));
        let id = second["id"].as_str().expect("it has an id");
        let named = format!("ringway.second.{}+talk://a", &id[..12]);
        let client = Client::open(&gateway, gateway.token());
        let mut heard = Heard::of(&client);
        subscribe(&client, "resources/subscribe", &named);
        upstreams[1].wait_for_subscriptions(&["talk://a"]);
        let mut listening = listen(&gateway, &[&named, "talk://b"]);
        upstreams[0].wait_for_subscriptions(&["talk://b"]);
        upstreams[0].say_updated("talk://a");
        upstreams[1].say_updated("talk://b");
        upstreams[1].say_updated("talk://a");
        heard.until(&named);
        listening.until(&format!("\"uri\":\"{named}"));
        upstreams[0].say_updated("talk://b");
        listening.until("\"uri\":\"talk://b\"");
        for text in [&heard.text, &listening.text] {
            let count = text.matches("resources/updated").count();
            assert_eq!(count, text.matches("\"uri\":").count(), "{era:?}: {text}");
            assert!(!text.contains("\"uri\":\"talk://a"), "{era:?}: {text}");
        }
        subscribe(&client, "resources/unsubscribe", &named);
        drop(listening);
        upstreams[1].wait_for_subscriptions(&[]);
    }
}

#[test]
fn an_upstream_that_was_away_is_listened_to_again_without_a_storm() {
    for era in eras() {
        let upstream = Faulty::talking(era);
        let gateway = Gateway::start();
        gateway.add(&upstream.registration("up"));
        upstream.wait_for_listeners(1);
        let client = Client::open(&gateway, gateway.token());
        let mut heard = Heard::of(&client);
        subscribe(&client, "resources/subscribe", "talk://a");
        upstream.wait_for_subscriptions(&["talk://a"]);
        upstream.wait_for_listeners(1);
        upstream.be(Mood::Away);
        upstream.forget_sessions();
        upstream.wait_for_listeners(0);
        let before = upstream.seen().len();
        upstream.add_tool(tool("meanwhile"));
        eventually("it is tried again", PATIENCE, || {
            (upstream.seen().len() > before).then_some(())
        });
        upstream.be(Mood::Well);
        upstream.wait_for_listeners(1);
        let attempt_count = upstream.seen().len() - before;
        assert!(attempt_count < 40, "{era:?}: {attempt_count} requests until it was back");
        // What changed while nobody listened is found, and its subscriptions are made again.
        wait_for_tool(&gateway, "up-meanwhile");
        heard.until("tools/list_changed");
        upstream.wait_for_subscriptions(&["talk://a"]);
        upstream.say_updated("talk://a");
        heard.until("resources/updated");
    }
}

#[test]
fn an_upstream_that_closes_its_stream_is_listened_to_again() {
    let upstream = Faulty::talking(LEGACY_ERA);
    let gateway = Gateway::start();
    gateway.add(&upstream.registration("up"));
    for _ in 0..3 {
        upstream.wait_for_listeners(1);
        upstream.hush();
        upstream.wait_for_listeners(0);
    }
    upstream.wait_for_listeners(1);
    upstream.add_tool(tool("later"));
    upstream.say_changed("tools");
    wait_for_tool(&gateway, "up-later");
}

#[test]
fn nobody_listens_where_that_is_switched_off_or_the_upstream_is() {
    let upstream = Faulty::talking(LEGACY_ERA);
    let gateway = Gateway::setup().set("UPSTREAM_WATCH_ENABLED", "false").start();
    gateway.add(&upstream.registration("up"));
    assert!(!gateway.tool_names().is_empty());
    drop(gateway);
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("up"));
    upstream.wait_for_listeners(1);
    let streams = upstream.seen().iter().filter(|seen| seen.http_method == "GET").count();
    assert_eq!(streams, 1, "the first gateway asked for none");
    let path = format!("/gateways/{}/state", added["id"].as_str().expect("an id"));
    gateway.post(&format!("{path}?activate=false"), &json!({})).expect(200);
    upstream.wait_for_listeners(0);
    gateway.post(&format!("{path}?activate=true"), &json!({})).expect(200);
    upstream.wait_for_listeners(1);
}

#[test]
fn a_child_tells_of_its_resources() {
    let gateway = Gateway::start();
    gateway.add(&everything_stdio("every"));
    let uri = "demo://resource/static/document/architecture.md";
    let client = Client::open(&gateway, gateway.token());
    let mut heard = Heard::of(&client);
    subscribe(&client, "resources/subscribe", uri);
    // The server tells of what it is subscribed to every few seconds, once it was asked to.
    let called = gateway.call("every-toggle-subscriber-updates", json!({}));
    assert!(called["content"][0]["text"].as_str().is_some_and(|text| text.contains("tarted")));
    heard.until("resources/updated");
    assert!(heard.text.contains(uri), "{}", heard.text);
}

#[test]
fn a_server_of_the_python_sdk_that_is_killed_is_heard_again_when_it_is_back() {
    let mut upstream = Served::conformance();
    let gateway = Gateway::start();
    let mut registration = upstream.registration("up");
    registration["protocol"] = "modern".into();
    gateway.add(&registration);
    let client = Client::open(&gateway, gateway.token());
    let hears = |list: &str, tool: &str| {
        // It tells only those who listen by then.
        let mut heard = Heard::of(&client);
        let until_heard = |heard: &mut Heard| {
            gateway.call(tool, json!({}));
            heard.wire.arrives(Duration::from_secs(2)).then(|| heard.until(list))
        };
        eventually(list, PATIENCE, || until_heard(&mut heard));
    };
    hears("tools/list_changed", "up-test-trigger-tool-change");
    let mut command = tools().python("upstreams/conformance.py");
    command.arg(upstream.port().to_string());
    upstream.restart(command);
    hears("prompts/list_changed", "up-test-trigger-prompt-change");
}

#[test]
fn a_call_whose_stream_the_upstream_closes_on_its_way_is_answered() {
    let upstream = Served::conformance();
    let gateway = Gateway::start();
    let mut registration = upstream.registration("up");
    registration["protocol"] = "legacy".into();
    gateway.add(&registration);
    let called = gateway.call("up-test-reconnection", json!({}));
    assert_eq!(called["content"][0]["text"], "resumed", "{called}");
}

#[test]
fn an_upstream_that_talks_without_end_holds_up_nobody() {
    let upstream = Faulty::talking(LEGACY_ERA);
    let gateway = Gateway::start();
    gateway.add(&upstream.registration("up"));
    upstream.wait_for_listeners(1);
    for number in 0..3000 {
        upstream.say_changed("tools");
        upstream.say_updated("talk://a");
        if number % 500 == 0 {
            let called = gateway.call("up-echo", json!({ "n": number }));
            assert_eq!(called["structuredContent"], json!({ "n": number }));
        }
    }
    upstream.add_tool(tool("last"));
    upstream.say_changed("tools");
    wait_for_tool(&gateway, "up-last");
    let count = upstream.count("tools/list");
    assert!(count <= 8, "its lists were read {count} times");
}
