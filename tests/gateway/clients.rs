//! The official clients, unchanged, through the gateway.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{LEGACY, MODERN};
use crate::harness::tools::tools;
use crate::harness::upstreams::{Served, everything_stdio};

/// What each client does: see tests/clients/official.py.
fn plan(url: &str, token: Option<&str>, mode: &str, prefix: &str) -> Value {
    json!({
        "url": url,
        "token": token,
        "mode": mode,
        "tool": { "name": format!("{prefix}test_simple_text"), "arguments": {} },
        "resource": "test://static-text",
        "prompt": {
            "name": format!("{prefix}test_prompt_with_arguments"),
            "arguments": { "arg1": "one", "arg2": "two" },
        },
        "complete": {
            "prompt": format!("{prefix}test_prompt_with_arguments"),
            "argument": "arg1",
            "value": "par",
        },
    })
}

fn visit(mut command: Command, plan: &Value) -> Value {
    let output = command.arg(plan.to_string()).output().expect("the client starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client failed: {error}");
    serde_json::from_slice(&output.stdout).expect("the client prints one line of JSON")
}

/// What a client must have seen, whatever its language and era.
#[track_caller]
fn assert_seen(seen: &Value, version: &str, tool: &str) {
    assert_eq!(seen["protocolVersion"], version, "{seen}");
    assert!(seen["tools"].as_array().is_some_and(|tools| tools.contains(&json!(tool))), "{seen}");
    assert_eq!(
        seen["call"]["content"],
        json!([{ "type": "text", "text": "This is a simple text response for testing." }])
    );
    assert_eq!(seen["read"]["contents"][0]["uri"], "test://static-text");
    assert_eq!(
        seen["prompt"]["messages"][0]["content"]["text"],
        "Prompt with arguments: arg1='one', arg2='two'"
    );
    assert_eq!(seen["completion"]["completion"]["values"], json!(["paris", "park", "party"]));
}

/// The reference upstream behind a gateway, and the path of an open virtual server over it.
fn reference() -> (Served, Gateway, String) {
    let upstream = Served::conformance();
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("ref"));
    let open = gateway.open_server(&[&added]);
    (upstream, gateway, open)
}

fn python() -> Command {
    tools().python("clients/official.py")
}

fn typescript(generation: &str) -> Command {
    let mut command = tools().node("clients/official.mjs");
    command.arg(generation);
    command
}

#[test]
fn the_python_client_works_in_every_mode() {
    let (_upstream, gateway, open) = reference();
    for (mode, version) in [("auto", MODERN), ("legacy", LEGACY), (MODERN, MODERN)] {
        let url = gateway.url(&open);
        let seen = visit(python(), &plan(&url, Some(gateway.token()), mode, ""));
        assert_seen(&seen, version, "test_simple_text");
    }
}

#[test]
fn the_typescript_client_v1_works() {
    let (_upstream, gateway, open) = reference();
    let plan = plan(&gateway.url(&open), Some(gateway.token()), "legacy", "");
    assert_seen(&visit(typescript("v1"), &plan), LEGACY, "test_simple_text");
}

#[test]
fn the_typescript_client_v2_works_in_every_mode() {
    let (_upstream, gateway, open) = reference();
    for (mode, version) in [("auto", MODERN), ("legacy", LEGACY), (MODERN, MODERN)] {
        let plan = plan(&gateway.url(&open), Some(gateway.token()), mode, "");
        assert_seen(&visit(typescript("v2"), &plan), version, "test_simple_text");
    }
}

#[test]
fn clients_see_every_upstream_at_mcp_under_prefixed_names() {
    let (_upstream, gateway, _open) = reference();
    gateway.add(&everything_stdio("everything"));
    let plan = plan(&gateway.url("/mcp"), Some(gateway.token()), "auto", "ref-");
    let mut plan = plan;
    plan["tool"]["name"] = json!("ref-test-simple-text");
    plan["prompt"]["name"] = json!("ref-test-prompt-with-arguments");
    plan["complete"]["prompt"] = json!("ref-test-prompt-with-arguments");
    for (command, version) in [(python(), MODERN), (typescript("v2"), MODERN)] {
        let seen = visit(command, &plan);
        assert_seen(&seen, version, "ref-test-simple-text");
        assert!(seen["tools"].to_string().contains("everything-echo"), "{seen}");
    }
}

#[test]
fn clients_work_without_a_token_on_an_open_server() {
    let (_upstream, gateway, open) = reference();
    let seen = visit(python(), &plan(&gateway.url(&open), None, "auto", ""));
    assert_seen(&seen, MODERN, "test_simple_text");
}
