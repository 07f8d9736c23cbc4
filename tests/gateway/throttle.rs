//! Rates and turns: what is too much is refused, exactly, over shards and over gateways.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::redis::Server as Redis;
use crate::harness::wire::Answer;

const PATIENCE: Duration = Duration::from_secs(30);

fn limited() -> Setup {
    Gateway::setup().set("RATE_LIMITING_ENABLED", "true").set("SHARDS", 2)
}

fn call(tool: &str, arguments: &Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
}

#[track_caller]
fn assert_refused(answer: &Answer, said: &str) {
    let body = answer.json();
    assert_eq!(answer.status, 429, "{body}");
    let after: u64 = answer.header("retry-after").expect("a time").parse().expect("seconds");
    assert!(after >= 1, "{after}");
    assert!(answer.header("ratelimit").expect("a field").contains(";r=0;"));
    assert!(answer.header("ratelimit-policy").is_some());
    if body.get("error").is_some() {
        assert_eq!(body["error"]["code"], -32005);
        assert_eq!(body["error"]["data"]["retryAfter"], after);
    }
    assert!(answer.text().contains(said), "{}", answer.text());
}

#[test]
fn uses_are_counted_over_all_shards_and_by_what_is_limited() {
    for scope in ["shared", "process"] {
        let gateway = limited()
            .set("RATE_LIMIT_SCOPE", scope)
            .set("RATE_LIMIT_PER_CALLER", "6/hour")
            .set("RATE_LIMIT_PER_TOOL", "4/hour")
            .start();
        let upstream = Faulty::legacy();
        gateway.add(&upstream.registration("up"));
        let ask = |tool: &str| gateway.post("/rpc", &call(tool, &json!({})));
        // Each on a connection of its own, so that both shards see some.
        for _ in 0..4 {
            ask("up-echo").expect(200);
        }
        assert_refused(&ask("up-echo"), "4 per hour for each tool");
        ask("up-faithful").expect(200);
        assert_refused(&ask("up-faithful"), "6 per hour for each caller");
        let other = gateway.token_with(&["--username", "other@example.com"]);
        let answer =
            gateway.ask_as(Some(&other), "POST", "/rpc", Some(&call("up-faithful", &json!({}))));
        assert_eq!(answer.status, 200, "another caller: {}", answer.text());
        assert_eq!(upstream.call_count("echo"), 4);
        // What uses nothing is not counted.
        assert!(!gateway.tool_names().is_empty());
    }
}

#[test]
fn two_gateways_on_one_redis_count_exactly_together() {
    let redis = Redis::start();
    let start = || {
        let setup = limited().set("CACHE_TYPE", "redis").set("REDIS_URL", redis.url());
        let gateway = setup.set("RATE_LIMIT_PER_CALLER", "20/hour").start();
        eventually("Redis is reached", PATIENCE, || {
            let version = gateway.get("/version").json();
            (version["redis"]["reachable"] == true).then_some(())
        });
        gateway
    };
    let (one, other) = (start(), start());
    let upstream = Faulty::legacy();
    for gateway in [&one, &other] {
        gateway.add(&upstream.registration("up"));
    }
    let allowed: usize = thread::scope(|scope| {
        let ask = |gateway: &Gateway| {
            let all = (0..10).map(|_| gateway.post("/rpc", &call("up-echo", &json!({}))).status);
            all.filter(|status| *status == 200).count()
        };
        let askers: Vec<_> = [&one, &other, &one, &other]
            .map(|gateway| scope.spawn(move || ask(gateway)))
            .into_iter()
            .collect();
        askers.into_iter().map(|asker| asker.join().expect("it asks")).sum()
    });
    assert_eq!(allowed, 20, "of forty calls");
    assert_eq!(upstream.call_count("echo"), 20);
}

#[test]
fn while_redis_is_away_each_gateway_counts_alone_and_says_so() {
    let mut redis = Redis::start();
    let gateway = limited()
        .set("CACHE_TYPE", "redis")
        .set("REDIS_URL", redis.url())
        .set("RATE_LIMIT_PER_CALLER", "3/hour")
        .start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    redis.kill();
    let ask = || gateway.post("/rpc", &call("up-echo", &json!({})));
    for _ in 0..3 {
        ask().expect(200);
    }
    assert_refused(&ask(), "3 per hour for each caller");
    assert!(gateway.printed().contains("counted by this process alone"));
}

#[test]
fn requests_of_the_rest_api_are_limited_by_their_tier_and_told_how_they_stand() {
    let gateway = limited()
        .set("RATE_LIMIT_MEDIUM_RPM", 2)
        .set("RATE_LIMIT_MEDIUM_BURST", 1)
        .set("RATE_LIMIT_CRITICAL_RPM", 2)
        .start();
    let first = gateway.get("/tools").expect(200);
    assert_eq!(first.header("ratelimit-policy"), Some("\"medium\";q=3;w=60"));
    assert!(first.header("ratelimit").expect("a field").starts_with("\"medium\";r=2;"));
    gateway.get("/tools").expect(200);
    gateway.get("/servers").expect(200);
    assert_refused(&gateway.get("/tools"), "2 per minute for each medium");
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_refused(&gateway.post("/rpc", &ping), "2 per minute for each medium");
    // Another caller, and what is of another tier.
    let other = gateway.token_with(&["--username", "other@example.com"]);
    gateway.ask_as(Some(&other), "GET", "/tools", None).expect(200);
    gateway.get("/version").expect(200);
    for _ in 0..5 {
        gateway.ask_as(None, "GET", "/health", None).expect(200);
    }
}

#[test]
fn passwords_cannot_be_guessed_faster_than_the_limit_unless_it_is_lifted() {
    let body = json!({"email": "nobody@example.com", "password": "a guess of somebody"});
    let gateway = limited().start();
    let guess = |gateway: &Gateway| gateway.ask_as(None, "POST", "/auth/login", Some(&body));
    // While they are counted, one more is allowed every six seconds.
    let mut answers = (0..40).map(|_| guess(&gateway));
    let allowed = answers.by_ref().take_while(|answer| answer.status == 401);
    assert!(allowed.count() >= 10);
    let refused = answers.next().expect("no forty guesses are heard");
    assert_refused(&refused, "10 per minute for each critical");
    let gateway = Gateway::setup().set("RATE_LIMIT_CRITICAL_RPM", 0).start();
    for _ in 0..12 {
        assert_eq!(guess(&gateway).status, 401);
    }
}

#[test]
fn only_so_many_calls_of_a_tool_run_at_once_and_the_next_waits_its_turn() {
    let gateway = limited().set("TOOL_CONCURRENT_LIMIT", 2).start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let slow = call("up-slow", &json!({"milliseconds": 300}));
    thread::scope(|scope| {
        let callers: Vec<_> =
            (0..6).map(|_| scope.spawn(|| gateway.post("/rpc", &slow).status)).collect();
        for caller in callers {
            assert_eq!(caller.join().expect("it calls"), 200);
        }
    });
    assert_eq!(upstream.call_count("slow"), 6);
}

#[test]
fn who_waits_too_long_for_a_turn_is_told_to_come_again() {
    let gateway =
        limited().set("TOOL_CONCURRENT_LIMIT", 1).set("UPSTREAM_POOL_TIMEOUT", "0.1").start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    thread::scope(|scope| {
        let silent = scope.spawn(|| {
            let mut wire = gateway.wire();
            let bearer = format!("Bearer {}", gateway.token());
            let headers =
                [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
            let body = call("up-silent", &json!({})).to_string();
            wire.send(crate::harness::wire::request("POST", "/rpc", &headers, body.as_bytes()));
            upstream.wait_for_calls("silent", 1);
            let late = gateway.post("/rpc", &call("up-silent", &json!({})));
            assert_eq!(late.status, 503, "{}", late.text());
            assert_eq!(late.header("retry-after"), Some("1"));
            gateway.post("/rpc", &call("up-echo", &json!({}))).expect(200);
        });
        silent.join().expect("the test holds");
    });
    assert_eq!(upstream.call_count("silent"), 1);
}
