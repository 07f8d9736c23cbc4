//! What an upstream says reaches the client byte for byte, and what the client says the upstream.

use serde_json::{Value, json};

use crate::harness::faulty::{FAITHFUL, Faulty};
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, envelope, names};
use crate::harness::upstreams::{Served, everything_stdio, time_stdio};
use crate::harness::wire::request;

#[test]
fn relays_a_result_byte_for_byte() {
    let gateway = Gateway::start();
    let (old, new) = (Faulty::legacy(), Faulty::modern());
    gateway.add(&old.registration("old"));
    gateway.add(&new.registration("new"));
    let (legacy, modern) = (Client::legacy(&gateway, "/mcp"), Client::modern(&gateway, "/mcp"));
    for (client, name) in [(&legacy, "old-faithful"), (&modern, "new-faithful")] {
        let answer =
            client.send("tools/call", json!({ "name": name, "arguments": {} })).expect(200);
        assert!(answer.text().contains(FAITHFUL), "{name}: {}", answer.text());
    }
    // Where the eras differ, members come and go; those that stay keep their bytes.
    for (client, name) in [(&modern, "old-faithful"), (&legacy, "new-faithful")] {
        let answer =
            client.send("tools/call", json!({ "name": name, "arguments": {} })).expect(200);
        for member in [
            r#"[{"type":"text","text":"\u00e9\/ é \ud83d\ude00","x-unknown":{"b":1,"a":[]}}"#,
            r#"{"big":12345678901234567890123,"tiny":-0.0,"list":[1, 2,3]}"#,
            "1.50e+2",
            r#""vendor.example/x":"kept""#,
            r#"{"deep":[[[]]]}"#,
        ] {
            assert!(answer.text().contains(member), "{name}: {member} not in {}", answer.text());
        }
    }
}

#[test]
fn relays_arguments_byte_for_byte() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let arguments = r#"{ "b":1.0e2, "a" :12345678901234567890, "\u00e9":"\/" }"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"x":[],"arguments":{arguments},"name":"up-echo","_meta":{{"vendor.example/k":"v"}}}}}}"#
    );
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    gateway.wire().send(request("POST", "/rpc", &headers, body.as_bytes())).answer().expect(200);
    let seen = upstream.seen();
    let call = seen.iter().find(|seen| seen.tool() == Some("echo")).expect("the call arrived");
    let expected: Value = serde_json::from_str(arguments).expect("it is JSON");
    assert_eq!(call.body["params"]["arguments"], expected);
    assert_eq!(call.body["params"]["_meta"]["vendor.example/k"], "v");
    assert_eq!(call.body["params"]["x"], json!([]));
}

#[test]
fn relays_an_upstream_s_error_with_its_data() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let envelope = gateway.rpc("tools/call", json!({ "name": "up-rpc-error", "arguments": {} }));
    let expected = json!({ "code": -32602, "message": "refused", "data": { "why": "test" } });
    assert_eq!(envelope["error"], expected);
    assert_eq!(envelope["id"], 7);
}

#[test]
fn streams_progress_before_the_result() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let client = Client::legacy(&gateway, "/mcp");
    let meta = json!({ "progressToken": "my-token" });
    let params = json!({ "name": "up-stream", "arguments": {}, "_meta": meta });
    let answer = client.send("tools/call", params).expect(200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let events = answer.events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0]["method"], "notifications/progress");
    assert_eq!(events[0]["params"]["progressToken"], "my-token");
    assert_eq!(events[1]["result"]["content"][0]["text"], "streamed");
    let plain = json!({ "name": "up-stream", "arguments": {} });
    let plain = client.post(&envelope("tools/call", &plain), &[("Accept", "application/json")]);
    assert_eq!(plain.expect(200).json()["result"]["content"][0]["text"], "streamed");
}

/// What every way to reach npm's everything server must show.
fn assert_everything(gateway: &Gateway, added: &Value) {
    let open = gateway.open_server(&[added]);
    for client in [Client::legacy(gateway, &open), Client::modern(gateway, &open)] {
        let era = client.version().to_owned();
        let tools = names(&client.result("tools/list", json!({}))["tools"], "name");
        assert!(tools.len() >= 10 && tools.contains(&"echo".to_owned()), "{era}: {tools:?}");
        let call = json!({ "name": "echo", "arguments": { "message": "grüße" } });
        let result = client.result("tools/call", call);
        assert_eq!(result["content"][0]["text"], "Echo: grüße", "{era}: {result}");
        let sum = json!({ "name": "get-sum", "arguments": { "a": 2, "b": 3 } });
        let result = client.result("tools/call", sum).to_string();
        assert!(result.contains('5'), "{era}: {result}");
        let structured =
            json!({ "name": "get-structured-content", "arguments": { "location": "Chicago" } });
        let result = client.result("tools/call", structured);
        assert!(result["structuredContent"].is_object(), "{era}: {result}");
        let resources = client.result("resources/list", json!({}))["resources"].clone();
        let uri = resources[0]["uri"].clone();
        let read = client.result("resources/read", json!({ "uri": uri }));
        assert_eq!(read["contents"][0]["uri"], uri, "{era}");
        let templates = client.result("resources/templates/list", json!({}));
        assert!(!templates["resourceTemplates"].as_array().expect("a list").is_empty(), "{era}");
        let prompts = names(&client.result("prompts/list", json!({}))["prompts"], "name");
        assert!(prompts.contains(&"simple-prompt".to_owned()), "{era}: {prompts:?}");
        let prompt = client.result("prompts/get", json!({ "name": "simple-prompt" }));
        assert!(prompt["messages"][0]["content"]["text"].is_string(), "{era}: {prompt}");
        let wrong = client.ask("prompts/get", json!({ "name": "args-prompt", "arguments": {} }));
        assert!(wrong["error"]["code"].is_i64(), "{era}: {wrong}");
    }
}

#[test]
fn serves_npm_s_everything_server_over_stdio() {
    let gateway = Gateway::start();
    let added = gateway.add(&everything_stdio("everything"));
    assert_everything(&gateway, &added);
}

#[test]
fn serves_npm_s_everything_server_over_streamable_http() {
    let upstream = Served::everything_http();
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("everything"));
    assert_everything(&gateway, &added);
}

#[test]
fn serves_npm_s_everything_server_over_sse() {
    let upstream = Served::everything_sse();
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("everything"));
    assert_everything(&gateway, &added);
}

#[test]
fn serves_npm_s_everything_server_over_a_websocket() {
    let upstream = Served::socket("everything");
    let gateway = Gateway::start();
    // The URL says which transport it is.
    let added = gateway.add(&json!({ "name": "everything", "url": upstream.url() }));
    assert_eq!(added["transport"], "WEBSOCKET");
    assert_everything(&gateway, &added);
}

#[test]
fn serves_pypi_s_time_server_over_stdio() {
    let gateway = Gateway::start();
    gateway.add(&time_stdio("time"));
    let names = gateway.tool_names();
    assert_eq!(names, ["time-convert-time", "time-get-current-time"]);
    let result = gateway.call("time-get-current-time", json!({ "timezone": "Europe/Berlin" }));
    assert!(result["content"][0]["text"].to_string().contains("Europe/Berlin"), "{result}");
}

#[test]
fn keeps_the_answers_of_concurrent_calls_apart() {
    let gateway = Gateway::start();
    let http = Faulty::legacy();
    gateway.add(&http.registration("http"));
    gateway.add(&crate::harness::upstreams::wayward_stdio("stdio", ""));
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let gateway = &gateway;
            scope.spawn(move || {
                for round in 0..25 {
                    let mine = json!({ "worker": worker, "round": round });
                    let result = gateway.call("http-echo", mine.clone());
                    assert_eq!(result["structuredContent"], mine);
                    let result = gateway.call("stdio-echo", mine.clone());
                    assert_eq!(result["structuredContent"]["value"], mine);
                }
            });
        }
    });
}
