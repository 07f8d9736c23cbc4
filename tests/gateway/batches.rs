//! Batches of JSON-RPC messages, which clients of revision 2025-03-26 may send.

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::upstreams::Served;
use crate::harness::wire::{Answer, request};

const REVISION: &str = "2025-03-26";

fn send(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let bearer = format!("Bearer {}", gateway.token());
    let mut all = vec![
        ("Authorization", bearer.as_str()),
        ("Accept", "application/json, text/event-stream"),
        ("Content-Type", "application/json"),
    ];
    all.extend(headers);
    let mut wire = gateway.wire();
    wire.send(request("POST", path, &all, body.to_string().as_bytes()));
    wire.answer()
}

fn ask(id: Value, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn note(method: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": method})
}

/// The messages of an answer, however they came.
fn messages(answer: &Answer) -> Vec<Value> {
    match answer.header("content-type") {
        Some("text/event-stream") => answer.events(),
        _ => answer.json().as_array().expect("an array").clone(),
    }
}

/// The one message with this id.
fn with_id<'a>(messages: &'a [Value], id: &Value) -> &'a Value {
    let mut found = messages.iter().filter(|message| message["id"] == *id);
    let first = found.next().unwrap_or_else(|| panic!("no {id} in {messages:?}"));
    assert!(found.next().is_none(), "{id} is answered twice: {messages:?}");
    first
}

#[test]
fn each_request_of_a_batch_is_answered_as_if_it_had_come_by_itself() {
    let gateway = Gateway::start();
    let batch = json!([
        ask(json!(1), "ping", json!({})),
        note("notifications/initialized"),
        ask(json!("a"), "tools/list", json!({})),
        ask(json!(2), "no/such", json!({})),
        ask(json!(3), "initialize", json!({"protocolVersion": REVISION})),
        17,
    ]);
    for headers in [&[("MCP-Protocol-Version", REVISION)][..], &[]] {
        let answer = send(&gateway, "/mcp", headers, &batch).expect(200);
        let messages = messages(&answer);
        assert_eq!(messages.len(), 5, "{messages:?}");
        assert_eq!(with_id(&messages, &json!(1))["result"], json!({}));
        assert!(with_id(&messages, &json!("a"))["result"]["tools"].is_array());
        assert_eq!(with_id(&messages, &json!(2))["error"]["code"], -32601);
        let refused = &with_id(&messages, &json!(3))["error"];
        assert_eq!(refused["code"], -32600, "{refused}");
        assert_eq!(with_id(&messages, &Value::Null)["error"]["code"], -32600);
        let answer = send(&gateway, "/mcp", headers, &json!([note("notifications/initialized")]));
        assert_eq!((answer.status, answer.text()), (202, String::new()));
    }
}

#[test]
fn only_the_revision_that_has_batches_gets_them_and_none_is_endless() {
    let gateway = Gateway::start();
    let ping = ask(json!(1), "ping", json!({}));
    for (version, batch, said) in [
        ("2025-11-25", json!([ping]), "one message at a time"),
        ("2025-06-18", json!([ping]), "one message at a time"),
        (REVISION, json!([]), "one message at least"),
        (REVISION, json!(vec![&ping; 101]), "100 messages at most"),
    ] {
        let answer = send(&gateway, "/mcp", &[("MCP-Protocol-Version", version)], &batch);
        let error = &answer.json()["error"];
        assert_eq!((answer.status, error["code"].as_i64()), (400, Some(-32600)), "{version}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains(said)), "{error}");
    }
}

#[test]
fn calls_of_one_batch_stream_side_by_side_and_all_come_to_their_end() {
    let upstream = Served::conformance();
    let gateway = Gateway::start();
    let mut registration = upstream.registration("reference");
    registration["protocol"] = "legacy".into();
    let added = gateway.add(&registration);
    let path = gateway.open_server(&[&added]);
    let info = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": info});
    let answer = send(&gateway, &path, &[], &ask(json!(0), "initialize", params)).expect(200);
    let session = answer.header("mcp-session-id").expect("a session").to_owned();
    let call = |id: i64, tool: &str| {
        let meta = json!({"progressToken": format!("token-{id}")});
        ask(json!(id), "tools/call", json!({"name": tool, "arguments": {}, "_meta": meta}))
    };
    let batch = json!([
        call(1, "test_tool_with_progress"),
        call(2, "test_tool_with_progress"),
        call(3, "test_simple_text"),
        call(4, "no_such_tool"),
    ]);
    let answer = send(&gateway, &path, &[("Mcp-Session-Id", &session)], &batch).expect(200);
    let messages = messages(&answer);
    for id in [1, 2, 3] {
        let result = &with_id(&messages, &json!(id))["result"];
        assert!(result["content"][0]["text"].is_string(), "{messages:?}");
    }
    assert!(with_id(&messages, &json!(4))["error"].is_object());
    for token in ["token-1", "token-2"] {
        let heard = |message: &&Value| message["params"]["progressToken"] == token;
        assert!(messages.iter().filter(heard).count() >= 2, "{messages:?}");
    }
}
