//! What an upstream says by the stream of its session that belongs to no request, while a call runs,
//! reaches the client whose call it is, in both eras of clients, and nobody else.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, MODERN, envelope};
use crate::harness::tools::tools;
use crate::harness::upstreams::Served;

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls tools by the official client, which answers what it is asked; returns what they told.
fn told(gateway: &Gateway, path: &str, mode: &str, calls: &[&str]) -> Vec<Value> {
    let calls: Vec<_> = calls.iter().map(|name| json!({"name": name, "arguments": {}})).collect();
    let plan = json!({"url": gateway.url(path), "token": null, "mode": mode, "calls": calls});
    let output = tools().python("clients/questions.py").arg(plan.to_string()).output();
    let output = output.expect("the client starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{mode} client: {error}");
    let seen: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    seen["told"].as_array().expect("told").clone()
}

#[test]
fn what_is_asked_there_is_answered_by_clients_of_either_era() {
    for kind in ["streams", "json"] {
        let upstream = Served::aside(kind);
        let gateway = Gateway::start();
        let added = gateway.add(&upstream.registration("up"));
        let open = gateway.open_server(&[&added]);
        for mode in ["legacy", MODERN] {
            let calls = ["elicit", "sample", "roots", "twice"];
            let told = told(&gateway, &open, mode, &calls);
            let answers = ["Ada", "forty-two", "file:///project", "},{"];
            for ((name, answer), told) in calls.iter().zip(answers).zip(told) {
                let text = told["text"].as_str().expect("a text");
                assert!(text.contains(answer), "{kind}, {mode} client, {name}: {text}");
                assert_eq!(told["isError"], false, "{kind}, {mode} client, {name}");
            }
        }
    }
}

/// Waits until the program of an upstream has printed this so often.
fn wait_for_print(upstream: &Served, text: &str, count: usize) {
    eventually(text, PATIENCE, || {
        (upstream.printed().matches(text).count() >= count).then_some(())
    });
}

#[test]
fn an_upstream_without_that_stream_is_called_as_before() {
    let upstream = Served::aside("deaf");
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("up"));
    let open = gateway.open_server(&[&added]);
    // The SDK drops what it has no stream for, and its own patience is longer than ours.
    assert_eq!(told(&gateway, &open, "legacy", &["log"])[0]["text"], "\"logged\"");
}

/// Calls a tool as a client of 2025-11-25; returns the messages of its answer's stream.
fn messages(client: &Client<'_>, tool: &str) -> Vec<Value> {
    let answer = client.send("tools/call", json!({"name": tool, "arguments": {}})).expect(200);
    match answer.header("content-type") {
        Some("text/event-stream") => answer.events(),
        _ => vec![answer.json()],
    }
}

fn is_log(message: &Value) -> bool {
    message["method"] == "notifications/message" && message["params"]["data"] == "by the way"
}

#[test]
fn log_messages_reach_the_client_that_named_their_level() {
    let upstream = Served::aside("streams");
    let gateway = Gateway::start();
    gateway.add(&upstream.registration("up"));
    let named = Client::legacy(&gateway, "/mcp");
    named.result("logging/setLevel", json!({"level": "info"}));
    let heard = messages(&named, "up-log");
    assert_eq!(heard.iter().filter(|message| is_log(message)).count(), 1, "{heard:?}");
    let modern = Client::modern(&gateway, "/mcp");
    let mut params = json!({"name": "up-log", "arguments": {}});
    params["_meta"]["io.modelcontextprotocol/logLevel"] = "info".into();
    let answer = modern.send("tools/call", params).expect(200);
    assert_eq!(answer.events().iter().filter(|message| is_log(message)).count(), 1);
    let silent = Client::legacy(&gateway, "/mcp");
    assert!(!messages(&silent, "up-log").iter().any(is_log));
}

#[test]
fn a_log_message_that_may_be_another_client_s_is_given_to_nobody() {
    let upstream = Served::aside("streams");
    let gateway = Gateway::setup().set("SHARDS", 1).start();
    gateway.add(&upstream.registration("up"));
    let named = Client::legacy(&gateway, "/mcp");
    named.result("logging/setLevel", json!({"level": "info"}));
    // Opens the stream, and shows that it is heard.
    assert!(messages(&named, "up-log").iter().any(is_log));
    let silent = Client::legacy(&gateway, "/mcp");
    std::thread::scope(|scope| {
        let other = scope.spawn(|| messages(&silent, "up-slow"));
        wait_for_print(&upstream, "runs", 1);
        // The other call runs until this one is over.
        let heard = messages(&named, "up-log");
        let other = other.join().expect("it is answered");
        assert!(!heard.iter().chain(&other).any(is_log), "{heard:?} {other:?}");
    });
    assert!(messages(&named, "up-log").iter().any(is_log));
}

#[test]
fn a_call_that_its_client_cancels_before_anything_was_answered_is_cancelled_there() {
    let upstream = Served::aside("streams");
    let gateway = Gateway::start();
    gateway.add(&upstream.registration("up"));
    for (round, listens) in [false, true].into_iter().enumerate() {
        let client = Client::legacy(&gateway, "/mcp");
        if listens {
            client.result("logging/setLevel", json!({"level": "info"}));
        }
        let call = envelope("tools/call", &json!({"name": "up-hang", "arguments": {}}));
        std::thread::scope(|scope| {
            let calling = scope.spawn(|| client.post(&call, &[]));
            wait_for_print(&upstream, "hangs", round + 1);
            let params = json!({"requestId": call["id"]});
            let method = "notifications/cancelled";
            let cancel = json!({"jsonrpc": "2.0", "method": method, "params": params});
            client.post(&cancel, &[]).expect(202);
            wait_for_print(&upstream, "cancelled", round + 1);
            // Who cancels wants no answer.
            let answer = calling.join().expect("the call ends").expect(200);
            assert_eq!(answer.text(), "");
        });
    }
}
