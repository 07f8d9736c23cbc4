//! Clients and upstreams of different eras: what an upstream asks reaches the client in the words of
//! its own revision, and the answer comes back.

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::MODERN;
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
