//! Clients and upstreams of different eras: what an upstream asks reaches the client in the words of
//! its own revision, and the answer comes back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::faulty::{Era, Faulty};
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
fn what_an_upstream_asks_over_stdio_sse_or_a_websocket_is_answered_too() {
    let (sse, socket) = (Served::everything_sse(), Served::socket("everything"));
    for mode in ["shared", "per_client"] {
        let gateway = Gateway::start();
        let registrations =
            [everything_stdio("stdio"), sse.registration("sse"), socket.registration("socket")];
        for mut registration in registrations {
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

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(60);

const LEGACY_ERA: Era = Era::Legacy { forgotten: 404 };

/// Waits until the record of an upstream says that it speaks this revision.
fn wait_for_revision(gateway: &Gateway, added: &Value, revision: &str) {
    let path = format!("/gateways/{}", added["id"].as_str().expect("an id"));
    eventually(revision, PATIENCE, || {
        (gateway.get(&path).expect(200).json()["protocolVersion"] == revision).then_some(())
    });
}

#[test]
fn an_upstream_that_changes_its_era_is_followed() {
    let upstream = Faulty::legacy();
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("up"));
    let clients = [Client::legacy(&gateway, "/mcp"), Client::modern(&gateway, "/mcp")];
    let call = |client: &Client<'_>| {
        client.ask("tools/call", json!({"name": "up-echo", "arguments": {"a": 1}}))
    };
    let works = |envelope: &Value| envelope["result"]["structuredContent"] == json!({"a": 1});
    for client in &clients {
        let envelope = call(client);
        assert!(works(&envelope), "{envelope}");
        // To a client of the stateless revision, an answer without a server is the gateway's.
        let server = &envelope["result"]["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(server["name"] == "Ringway", client.version() == MODERN, "{envelope}");
    }
    upstream.speak(Era::Modern);
    // The first call that fails is repeated in the other era: it was not executed.
    for client in &clients {
        let envelope = call(client);
        assert!(works(&envelope), "{envelope}");
        assert_eq!(envelope["result"].get("resultType").is_some(), client.version() == MODERN);
        // The upstream says nothing of itself, and nothing is said for it.
        assert_eq!(envelope["result"]["_meta"], Value::Null);
    }
    wait_for_revision(&gateway, &added, MODERN);
    upstream.speak(LEGACY_ERA);
    for client in &clients {
        // A shard that has not read the record yet waits before it probes again.
        eventually("it is called as before", PATIENCE, || works(&call(client)).then_some(()));
    }
    wait_for_revision(&gateway, &added, "2025-11-25");
}

#[test]
fn an_upstream_that_is_pinned_is_not_asked_what_it_speaks() {
    let upstream = Faulty::legacy();
    let gateway = Gateway::start();
    let mut registration = upstream.registration("up");
    registration["protocol"] = "legacy".into();
    gateway.add(&registration);
    upstream.speak(Era::Modern);
    for _ in 0..3 {
        let params = json!({"name": "up-echo", "arguments": {"a": 1}});
        let envelope = Client::modern(&gateway, "/mcp").ask("tools/call", params);
        assert!(envelope["error"]["code"].is_i64(), "{envelope}");
    }
    assert_eq!(upstream.count("server/discover"), 0);
}

#[test]
fn a_real_server_that_takes_the_place_of_another_is_spoken_to_in_its_own_era() {
    let mut upstream = Served::conformance();
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("up"));
    assert_eq!(added["protocolVersion"], MODERN, "{added}");
    let call = |name: &str, arguments: Value| {
        let params = json!({"name": name, "arguments": arguments});
        Client::legacy(&gateway, "/mcp").ask("tools/call", params)
    };
    let simple = call("up-test-simple-text", json!({}));
    assert!(simple.to_string().contains("simple text response"), "{simple}");
    upstream.restart_everything("streamableHttp");
    // It has no such tool, and says so itself.
    let unknown = call("up-test-simple-text", json!({}));
    assert!(unknown.to_string().contains("test_simple_text not found"), "{unknown}");
    eventually("its own tools are there", PATIENCE, || {
        let echoed = call("up-echo", json!({"message": "hello"}));
        (echoed["result"]["content"][0]["text"] == "Echo: hello").then_some(())
    });
}

#[test]
fn a_server_over_a_websocket_that_changes_its_era_is_followed() {
    let mut upstream = Served::socket("modern");
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("up"));
    let call = |name: &str, arguments: Value| {
        let params = json!({"name": name, "arguments": arguments});
        Client::modern(&gateway, "/mcp").ask("tools/call", params)
    };
    assert!(call("up-count", json!({})).to_string().contains("count of 2026-07-28"));
    upstream.restart_socket("everything");
    eventually("its own tools are there", PATIENCE, || {
        call("up-count", json!({}));
        let echoed = call("up-echo", json!({"message": "hello"}));
        (echoed["result"]["content"][0]["text"] == "Echo: hello").then_some(())
    });
    wait_for_revision(&gateway, &added, "2025-11-25");
    upstream.restart_socket("modern");
    eventually("it is what it was", PATIENCE, || {
        call("up-echo", json!({"message": "hello"}));
        let counted = call("up-count", json!({})).to_string();
        counted.contains("count of 2026-07-28").then_some(())
    });
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
    let added = gateway.add(&registration);
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
    let server = gateway.open_server(&[&added]);
    let by_server = Client::modern(&gateway, &server);
    let mut forged = state.clone();
    let middle = forged.len() / 2;
    let other = if &forged[middle..=middle] == "A" { "B" } else { "A" };
    forged.replace_range(middle..=middle, other);
    let elsewhere = "up-test-input-required-result-multi-round";
    for (client, tool, state) in [
        (&stranger, tool, state.as_str()),
        (&owner, elsewhere, state.as_str()),
        (&by_server, "test_input_required_result_request_state", state.as_str()),
        (&owner, tool, forged.as_str()),
        (&owner, tool, "asked-once"),
    ] {
        let error = round(client, tool, with(state))["error"].clone();
        assert_eq!(error["code"], -32602, "{tool} {state}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("requestState")));
    }
    let mut other_arguments = with(&state);
    other_arguments["arguments"] = json!({"other": true});
    let error = round(&owner, tool, other_arguments)["error"].clone();
    assert_eq!(error["code"], -32602, "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("requestState")));
    // The upstream has its own bytes back.
    let done = round(&owner, tool, with(&state))["result"].clone();
    assert!(done.to_string().contains("state-ok"), "{done}");
}
