//! What callers see when an upstream fails, and what the gateway may try again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::faulty::{Era, Faulty};
use crate::harness::gateway::Gateway;

fn call(gateway: &Gateway, tool: &str, arguments: Value) -> Value {
    gateway.rpc("tools/call", json!({ "name": format!("up-{tool}"), "arguments": arguments }))
}

/// The error's text, or that of a result that says it is one.
#[track_caller]
fn failure(envelope: &Value) -> String {
    assert_eq!(envelope["id"], 7, "{envelope}");
    let error = &envelope["error"]["message"];
    let told = if error.is_string() { error } else { &envelope["result"]["content"][0]["text"] };
    assert!(error.is_string() || envelope["result"]["isError"] == true, "no failure: {envelope}");
    told.as_str().unwrap_or_else(|| panic!("no text in {envelope}")).to_owned()
}

#[test]
fn tells_which_upstream_failed_and_goes_on_serving() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    for (tool, arguments) in [
        ("cut", json!({})),
        ("cut_stream", json!({})),
        ("garbage", json!({})),
        ("wrong_id", json!({})),
        ("hang_up", json!({})),
        ("deep", json!({ "depth": 100_000 })),
        ("status", json!({ "status": 500 })),
        ("status", json!({ "status": 503 })),
        ("status", json!({ "status": 301 })),
        ("status", json!({ "status": 401 })),
    ] {
        let envelope = call(&gateway, &tool.replace('_', "-"), arguments);
        let told = failure(&envelope);
        assert!(told.contains("up"), "{tool} does not name the upstream: {told}");
        let echo = call(&gateway, "echo", json!({ "after": tool }));
        assert_eq!(echo["result"]["structuredContent"]["after"], tool, "{echo}");
    }
}

#[test]
fn gives_up_on_a_slow_upstream_in_time() {
    let gateway = Gateway::setup().set("TOOL_TIMEOUT", 1).start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let quick = call(&gateway, "slow", json!({ "milliseconds": 100 }));
    assert_eq!(quick["result"]["content"][0]["text"], "slept");
    let start = Instant::now();
    failure(&call(&gateway, "silent", json!({})));
    assert!(start.elapsed() >= Duration::from_millis(900), "gave up after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(10), "gave up after {:?}", start.elapsed());
    assert_eq!(upstream.call_count("silent"), 1, "a call that may have run was sent again");
}

#[test]
fn relays_a_large_result_and_bounds_a_huge_one() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let size = 2_000_000;
    let large = call(&gateway, "huge", json!({ "size": size }));
    assert_eq!(large["result"]["content"][0]["text"].as_str().map(str::len), Some(size));
    failure(&call(&gateway, "huge", json!({ "size": 20_000_000 })));
    let echo = call(&gateway, "echo", json!({ "n": 1 }));
    assert_eq!(echo["result"]["structuredContent"]["n"], 1);
}

#[test]
fn never_repeats_a_call_that_may_have_run() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    // A first call, so that the next ones find an idle connection.
    call(&gateway, "echo", json!({}));
    for (count, tool) in [(1, "hang_up"), (1, "cut"), (1, "cut_stream"), (1, "wrong_id")] {
        failure(&call(&gateway, &tool.replace('_', "-"), json!({})));
        assert_eq!(upstream.call_count(tool), count, "{tool}");
    }
}

#[test]
fn sends_again_what_an_upstream_that_had_closed_never_read() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    for round in 1..=20 {
        let closed = upstream.closed_count();
        let left = call(&gateway, "then-close", json!({}));
        assert_eq!(left["result"]["content"][0]["text"], "goodbye", "{left}");
        upstream.wait_for_closed(closed + 1);
        let echo = call(&gateway, "echo", json!({ "round": round }));
        assert_eq!(echo["result"]["structuredContent"]["round"], round, "{echo}");
        assert_eq!(upstream.call_count("echo"), round, "sent twice in round {round}");
    }
}

#[test]
fn keeps_its_connections_to_an_upstream() {
    let gateway = Gateway::setup().set("SHARDS", 1).start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    for n in 0..30 {
        call(&gateway, "echo", json!({ "n": n }));
    }
    let seen = upstream.seen();
    let calls = seen.iter().filter(|seen| seen.tool() == Some("echo"));
    let connections: std::collections::BTreeSet<usize> =
        calls.map(|seen| seen.connection).collect();
    assert!(connections.len() <= 2, "30 calls one after the other took {connections:?}");
}

#[test]
fn opens_a_new_session_when_the_upstream_forgot_the_old_one() {
    for forgotten in [404, 400] {
        let gateway = Gateway::start();
        let upstream = Faulty::start(Era::Legacy { forgotten });
        gateway.add(&upstream.registration("up"));
        for round in 1..=3 {
            upstream.forget_sessions();
            let echo = call(&gateway, "echo", json!({ "round": round }));
            assert_eq!(echo["result"]["structuredContent"]["round"], round, "{forgotten}: {echo}");
        }
        let initialized =
            upstream.seen().into_iter().filter(|seen| seen.body["method"] == "initialize");
        assert!(initialized.count() >= 3, "{forgotten}");
    }
}

#[test]
fn asks_an_upstream_for_its_era_once() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    for n in 0..10 {
        call(&gateway, "echo", json!({ "n": n }));
    }
    let seen = upstream.seen();
    let probes = seen.iter().filter(|seen| seen.body["method"] == "server/discover").count();
    assert!(probes <= 1, "probed {probes} times");
    let pinned = Faulty::legacy();
    let mut registration = pinned.registration("pinned");
    registration["protocol"] = json!("legacy");
    gateway.add(&registration);
    let seen = pinned.seen();
    assert!(seen.iter().all(|seen| seen.body["method"] != "server/discover"), "a pin was ignored");
}

#[test]
fn refuses_metadata_addresses_always() {
    let gateway = Gateway::setup()
        .set("SSRF_ALLOW_LOCALHOST", "true")
        .set("SSRF_ALLOW_PRIVATE_NETWORKS", "true")
        .start();
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://169.254.1.1/mcp",
        "http://2852039166/mcp",
        "http://0xa9fea9fe/mcp",
        "http://169.254.169.254.:80/mcp",
        "http://[::ffff:169.254.169.254]/mcp",
        "http://[fe80::1]/mcp",
        "http://0.0.0.0:1/mcp",
    ] {
        let start = Instant::now();
        let body = json!({ "name": "meta", "url": url, "transport": "STREAMABLEHTTP" });
        let answer = gateway.post("/gateways", &body);
        assert!([400, 403, 422, 503].contains(&answer.status), "{url}: {}", answer.text());
        assert!(
            answer.text().contains("url") || answer.text().contains("address"),
            "{}",
            answer.text()
        );
        // Refused, not tried: an attempt would hang, for nobody answers there.
        assert!(start.elapsed() < Duration::from_secs(5), "{url}: {:?}", start.elapsed());
    }
}

#[test]
fn refuses_loopback_upstreams_when_the_operator_says_so() {
    let gateway = Gateway::setup().set("SSRF_ALLOW_LOCALHOST", "false").start();
    let upstream = Faulty::legacy();
    let answer = gateway.post("/gateways", &upstream.registration("up"));
    assert!([400, 403, 422, 503].contains(&answer.status), "{}", answer.text());
    assert!(upstream.seen().is_empty(), "the upstream was reached");
}
