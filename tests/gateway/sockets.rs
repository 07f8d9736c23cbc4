//! Upstreams over WebSockets: real servers, and such as do what they should not.

use std::{collections::BTreeSet, thread, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, modern_request};
use crate::harness::tools::tools;
use crate::harness::upstreams::Served;

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the upstream printed this.
fn count(upstream: &Served, text: &str) -> usize {
    upstream.printed().lines().filter(|line| line.contains(text)).count()
}

fn wait_for_print(upstream: &Served, text: &str) {
    eventually(text, PATIENCE, || (count(upstream, text) > 0).then_some(()));
}

/// The messages of a method in the events of an answer.
fn notified(events: &[Value], method: &str) -> Vec<Value> {
    events.iter().filter(|event| event["method"] == method).cloned().collect()
}

#[test]
fn all_clients_share_a_socket_and_none_hears_what_is_another_s() {
    let upstream = Served::socket("everything");
    let gateway = Gateway::start();
    let mut registration = upstream.registration("up");
    registration["auth_type"] = "bearer".into();
    registration["auth_token"] = "s3cret".into();
    let added = gateway.add(&registration);
    assert_eq!(added["reachable"], true, "{added}");
    let clients = || [Client::legacy(&gateway, "/mcp"), Client::modern(&gateway, "/mcp")];
    thread::scope(|scope| {
        for (number, client) in (0..3).flat_map(|_| clients()).enumerate() {
            scope.spawn(move || {
                // Ids and tokens are the same for all.
                let steps = number + 2;
                let params = json!({
                    "name": "up-trigger-long-running-operation",
                    "arguments": {"duration": 1, "steps": steps},
                    "_meta": {"progressToken": "t"},
                });
                let events = client.send("tools/call", params).expect(200).events();
                let progress = notified(&events, "notifications/progress");
                let of = |event: &Value| event["params"]["total"] == json!(steps);
                assert!(progress.len() >= steps - 1, "{events:?}");
                assert!(progress.iter().all(of), "{events:?}");
                assert!(progress.iter().all(|event| event["params"]["progressToken"] == "t"));
                let last = events.last().expect("an answer");
                assert!(last["result"]["content"].to_string().contains("completed"), "{last}");
            });
        }
    });
    assert_eq!(count(&upstream, "opened without"), 0);
    assert!(count(&upstream, "opened Bearer s3cret mcp") > 0);
    // Each shard has one for all calls.
    let printed = upstream.printed();
    let calls = printed.lines().filter(|line| line.contains("trigger-long-running-operation\","));
    let sockets: BTreeSet<_> = calls.filter_map(|line| line.split(' ').nth(1)).collect();
    let shard_count = thread::available_parallelism().expect("it is known").get();
    assert!((1..=shard_count).contains(&sockets.len()), "{sockets:?}: {printed}");
}

#[test]
fn an_upstream_logs_from_the_level_on_that_its_most_curious_client_wants() {
    let upstream = Served::socket("everything");
    let gateway = Gateway::start();
    gateway.add(&upstream.registration("up"));
    let logs = |client: &Client<'_>, level: Option<&str>| -> Vec<String> {
        let mut params = json!({"name": "up-log", "arguments": {}, "_meta": {}});
        if let Some(level) = level {
            params["_meta"]["io.modelcontextprotocol/logLevel"] = level.into();
        }
        let answer = client.send("tools/call", params).expect(200);
        let is_stream = answer.text().contains("data:");
        let events = if is_stream { answer.events() } else { vec![answer.json()] };
        let levels = notified(&events, "notifications/message").into_iter();
        levels.map(|one| one["params"]["level"].as_str().expect("a level").to_owned()).collect()
    };
    let modern = Client::modern(&gateway, "/mcp");
    assert!(logs(&modern, None).is_empty());
    assert_eq!(count(&upstream, "logging/setLevel"), 0);
    let severe = ["critical", "alert", "emergency"];
    for _ in 0..5 {
        assert_eq!(logs(&modern, Some("critical")), severe);
    }
    let legacy = Client::legacy(&gateway, "/mcp");
    legacy.result("logging/setLevel", json!({"level": "alert"}));
    for _ in 0..3 {
        assert_eq!(logs(&legacy, None), severe[1..]);
    }
    let told = || count(&upstream, "logging/setLevel");
    // Once by each shard at most, and none of them again.
    let (critical, debug) = (told(), r#"{"level":"debug"}"#);
    assert!((1..=4).contains(&critical), "{critical}");
    legacy.result("logging/setLevel", json!({"level": "debug"}));
    for _ in 0..5 {
        let heard = logs(&legacy, None);
        assert_eq!(heard.len(), 8, "{heard:?}");
    }
    assert!(count(&upstream, debug) >= 1);
    assert!(told() <= 2 * critical + 4, "{}", upstream.printed());
    // Who wants less still gets less.
    assert_eq!(logs(&modern, Some("critical")), severe);
    assert!(logs(&modern, None).is_empty());
}

#[test]
fn a_list_that_changed_is_read_again() {
    for kind in ["everything", "modern"] {
        let upstream = Served::socket(kind);
        let gateway = Gateway::start();
        gateway.add(&upstream.registration("up"));
        let (name, arguments) = match kind {
            "modern" => {
                wait_for_print(&upstream, "subscriptions/listen");
                ("up-count", json!({"grow": true}))
            }
            _ => {
                // The sockets of the discovery, of the watch and of the call that is to come.
                eventually("it is watched", PATIENCE, || {
                    (count(&upstream, "notifications/initialized") >= 2).then_some(())
                });
                ("up-grow", json!({}))
            }
        };
        gateway.call(name, arguments);
        eventually(kind, PATIENCE, || {
            gateway.tool_names().contains(&"up-grown".to_owned()).then_some(())
        });
    }
}

#[test]
fn a_server_of_the_stateless_revision_is_spoken_to_in_its_own_words() {
    let upstream = Served::socket("modern");
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("up"));
    assert_eq!(added["protocolVersion"], "2026-07-28", "{added}");
    for client in [Client::legacy(&gateway, "/mcp"), Client::modern(&gateway, "/mcp")] {
        let params = json!({
            "name": "up-count", "arguments": {}, "_meta": {"progressToken": 7},
        });
        let events = client.send("tools/call", params).expect(200).events();
        assert_eq!(events[0]["params"]["progressToken"], 7, "{events:?}");
        let text = &events.last().expect("an answer")["result"]["content"][0]["text"];
        assert_eq!(text, "count of 2026-07-28");
    }
    assert_eq!(count(&upstream, "\"initialize\""), 0, "{}", upstream.printed());
    // A client that leaves cancels its call.
    let mut wire = gateway.wire();
    let params = json!({"name": "up-count", "arguments": {"hang": true}});
    wire.send(modern_request(&gateway, "/mcp", "tools/call", params));
    wait_for_print(&upstream, "\"hang\":true");
    drop(wire);
    wait_for_print(&upstream, "notifications/cancelled");
}

#[test]
fn an_upstream_that_gives_no_sign_of_life_is_given_up_long_before_its_calls_time_out() {
    let upstream = Served::socket("modern");
    let gateway = Gateway::setup().set("WEBSOCKET_PING_INTERVAL", 1).start();
    gateway.add(&upstream.registration("up"));
    let client = Client::modern(&gateway, "/mcp");
    std::thread::scope(|scope| {
        let params = json!({"name": "up-count", "arguments": {"hang": true}});
        let calling = scope.spawn(|| client.ask("tools/call", params));
        wait_for_print(&upstream, "\"hang\":true");
        upstream.freeze();
        let envelope = calling.join().expect("it is answered");
        let text = envelope["error"]["message"].as_str().expect("an error");
        assert!(text.contains("it gives no sign of life"), "{envelope}");
    });
}

#[test]
fn a_server_that_is_killed_in_mid_call_comes_back_by_itself() {
    let mut upstream = Served::socket("everything");
    let other = Served::socket("everything");
    let gateway = Gateway::start();
    gateway.add(&upstream.registration("up"));
    gateway.add(&other.registration("other"));
    let echo = |name: &str| {
        let params = json!({"name": format!("{name}-echo"), "arguments": {"message": "hello"}});
        let told = Client::modern(&gateway, "/mcp").ask("tools/call", params);
        told["result"]["content"].to_string().contains("Echo: hello")
    };
    let envelope = thread::scope(|scope| {
        let called = scope.spawn(|| {
            let params = json!({
                "name": "up-trigger-long-running-operation",
                "arguments": {"duration": 120, "steps": 2},
            });
            Client::modern(&gateway, "/mcp").ask("tools/call", params)
        });
        wait_for_print(&upstream, "trigger-long-running-operation");
        upstream.kill();
        called.join().expect("the call is answered")
    });
    assert!(envelope["error"]["message"].to_string().contains("up"), "{envelope}");
    // It was not executed again: nobody knows what the first time did.
    assert!(echo("other"));
    upstream.restart_socket("everything");
    eventually("it is back", PATIENCE, || echo("up").then_some(()));
    let calls = count(&upstream, "\"name\":\"trigger-long-running-operation\",\"arguments\"");
    assert_eq!(calls, 1, "{}", upstream.printed());
}

#[test]
fn what_a_bad_server_does_is_its_own_failure_alone() {
    let good = Served::socket("everything");
    let gateway =
        Gateway::setup().set("TOOL_TIMEOUT", 2).set("UPSTREAM_MAX_ANSWER_SIZE_BYTES", 1_000_000);
    let gateway = gateway.start();
    gateway.add(&good.registration("good"));
    let refused = Served::socket("closes");
    let body = refused.registration("closes");
    let answer = gateway.post("/gateways", &body);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("1008"), "{}", answer.text());
    let mut all = Vec::new();
    for (kind, told) in
        [("garbage", "2"), ("silent", "2"), ("binary", "no text"), ("oversized", "1000000 bytes")]
    {
        let bad = Served::socket(kind);
        gateway.add(&bad.registration(kind));
        let params = json!({"name": format!("{kind}-one"), "arguments": {}});
        let envelope = Client::modern(&gateway, "/mcp").ask("tools/call", params);
        let message = envelope["error"]["message"].to_string();
        assert!(message.contains(kind) && message.contains(told), "{kind}: {envelope}");
        all.push(bad);
        let echoed = gateway.call("good-echo", json!({"message": "hello"}));
        assert_eq!(echoed["content"][0]["text"], "Echo: hello", "{kind}");
    }
}

#[test]
fn a_server_is_reached_over_tls_only_if_its_certificate_is_trusted() {
    let folder = TempDir::new().expect("a temporary folder");
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let make = tools().python("clients/tls.py").arg("make").args([&certificate, &key]).status();
    assert!(make.expect("python starts").success());
    let upstream = Served::socket_over_tls("everything", &key, &certificate);
    let gateway = Gateway::start();
    let mut registration = upstream.registration("up");
    registration["url"] = upstream.url().replace("ws://", "wss://").into();
    let distrusted = gateway.post("/gateways", &registration);
    assert_eq!(distrusted.status, 503, "{}", distrusted.text());
    let pem = std::fs::read_to_string(&certificate).expect("it was made");
    registration["ca_certificate"] = pem.into();
    gateway.add(&registration);
    let result = gateway.call("up-echo", json!({"message": "hello"}));
    assert_eq!(result["content"][0]["text"], "Echo: hello");
}

#[test]
fn a_url_and_its_transport_must_fit() {
    let gateway = Gateway::start();
    for (url, transport, field) in [
        ("ws://localhost:1/", "SSE", "transport"),
        ("http://localhost:1/", "WEBSOCKET", "transport"),
        ("ws://me:secret@localhost:1/", "WEBSOCKET", "url"),
        ("wsx://localhost:1/", "", "url"),
    ] {
        let body = json!({"name": "up", "url": url, "transport": transport});
        let answer = gateway.post("/gateways", &body);
        assert_eq!(answer.status, 422, "{url}: {}", answer.text());
        assert!(answer.text().contains(field), "{url}: {}", answer.text());
        assert!(!answer.text().contains("secret"), "{url}: {}", answer.text());
    }
    let closed = Gateway::setup().set("SSRF_ALLOW_LOCALHOST", "false").start();
    let upstream = Served::socket("everything");
    let answer = closed.post("/gateways", &upstream.registration("up"));
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(count(&upstream, "opened"), 0);
}
