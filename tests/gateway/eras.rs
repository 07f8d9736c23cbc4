//! Clients and upstreams of different eras: what an upstream asks reaches the client in the words of
//! its own revision, and the answer comes back.

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, MODERN, envelope};
use crate::harness::tools::tools;
use crate::harness::upstreams::{Served, everything_stdio};

/// The tools that ask in the way of an era, and what they say once they were answered.
fn questions(upstream: &str) -> Vec<(&'static str, Value, &'static str)> {
    let none = json!({});
    match upstream {
        "everything" => vec![
            ("trigger-sampling-request", json!({"prompt": "?", "maxTokens": 9}), "forty-two"),
            ("trigger-elicitation-request", none, "provided the requested information"),
        ],
        "legacy" => vec![
            ("test_sampling", json!({"prompt": "?"}), "LLM response: forty-two"),
            ("test_elicitation", json!({"message": "?"}), "\"username\": \"Ada\""),
        ],
        _ => vec![
            ("test_input_required_result_elicitation", none.clone(), "Hello, Ada!"),
            ("test_input_required_result_sampling", none.clone(), "The model said: forty-two"),
            ("test_input_required_result_list_roots", none.clone(), "roots: file:///project"),
            ("test_input_required_result_request_state", none.clone(), "state-ok"),
            ("test_input_required_result_multiple_inputs", none.clone(), "all three came"),
            ("test_input_required_result_multi_round", none, "Ada likes Ada"),
        ],
    }
}

/// Has the official client call every tool that asks, through an open virtual server.
fn assert_answered(gateway: &Gateway, path: &str, mode: &str, upstream: &str) {
    let questions = questions(upstream);
    let calls =
        questions.iter().map(|(name, arguments, _)| json!({"name": name, "arguments": arguments}));
    let plan = json!({
        "url": gateway.url(path), "token": null, "mode": mode, "calls": calls.collect::<Vec<_>>(),
    });
    let mut client = tools().python("clients/questions.py");
    let output = client.arg(plan.to_string()).output().expect("the client starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{mode} client, {upstream} upstream: {error}");
    let seen: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    for ((name, _, expected), told) in questions.iter().zip(seen["told"].as_array().expect("told"))
    {
        let text = told["text"].as_str().expect("a text");
        assert!(text.contains(expected), "{mode} client, {upstream} upstream, {name}: {text}");
        assert_eq!(told["isError"], false, "{name}");
    }
    assert!(seen["asked"].as_array().is_some_and(|asked| asked.len() >= questions.len()), "{seen}");
}

#[test]
fn what_an_upstream_asks_is_answered_by_clients_of_either_era() {
    let upstream = Served::conformance();
    for era in ["legacy", "modern"] {
        let gateway = Gateway::start();
        let mut registration = upstream.registration(era);
        registration["protocol"] = era.into();
        let added = gateway.add(&registration);
        let open = gateway.open_server(&[&added]);
        for mode in ["legacy", MODERN] {
            assert_answered(&gateway, &open, mode, era);
        }
    }
}

/// There the requests of all clients share one connection.
#[test]
fn what_an_upstream_asks_over_stdio_or_sse_is_answered_too() {
    let sse = Served::everything_sse();
    for mode in ["shared", "per_client"] {
        let gateway = Gateway::start();
        for mut registration in [everything_stdio("stdio"), sse.registration("sse")] {
            registration["session_mode"] = mode.into();
            let added = gateway.add(&registration);
            assert_eq!(added["sessionMode"], mode);
            let open = gateway.open_server(&[&added]);
            for client in ["legacy", MODERN] {
                assert_answered(&gateway, &open, client, "everything");
            }
        }
    }
}

/// Calls a tool as a client that can be asked, with the answers and the state of the round before.
fn round(client: &Client<'_>, tool: &str, further: Value) -> Value {
    let mut params = json!({"name": tool, "arguments": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    }});
    let further = further.as_object().expect("members").clone();
    params.as_object_mut().expect("an object").extend(further);
    let headers = [("Mcp-Method", "tools/call"), ("Mcp-Name", tool)];
    client.post(&envelope("tools/call", &params), &headers).json()
}

#[test]
fn the_state_of_an_upstream_is_good_for_the_request_of_its_caller_alone() {
    let upstream = Served::conformance();
    let gateway = Gateway::start();
    let mut registration = upstream.registration("up");
    registration["protocol"] = "modern".into();
    gateway.add(&registration);
    let tool = "up-test-input-required-result-request-state";
    let owner = Client::modern(&gateway, "/mcp");
    let asked = round(&owner, tool, json!({}))["result"].clone();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let state = asked["requestState"].as_str().expect("a state").to_owned();
    let answers = json!({"confirm": {"action": "accept", "content": {"ok": true}}});
    let with = |state: &str| json!({"requestState": state, "inputResponses": answers});

    let claims = json!({
        "sub": "eve@example.com", "token_use": "session", "iss": "mcpgateway",
        "aud": "mcpgateway-api",
    });
    let token = gateway.token_with(&["-d", &claims.to_string()]);
    let stranger = Client::modern_with(&gateway, "/mcp", Some(&token));
    let mut forged = state.clone();
    let middle = forged.len() / 2;
    let other = if &forged[middle..=middle] == "A" { "B" } else { "A" };
    forged.replace_range(middle..=middle, other);
    let elsewhere = "up-test-input-required-result-multi-round";
    for (client, tool, state) in [
        (&stranger, tool, state.as_str()),
        (&owner, elsewhere, state.as_str()),
        (&owner, tool, forged.as_str()),
        (&owner, tool, "asked-once"),
    ] {
        let error = round(client, tool, with(state))["error"].clone();
        assert_eq!(error["code"], -32602, "{tool} {state}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("requestState")));
    }
    // The upstream has its own bytes back.
    let done = round(&owner, tool, with(&state))["result"].clone();
    assert!(done.to_string().contains("state-ok"), "{done}");
}
