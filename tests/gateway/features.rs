//! The official clients, and what they hear while they work: progress, logs, changes; and they ping,
//! subscribe, and give up calls.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{LEGACY, MODERN};
use crate::harness::tools::tools;
use crate::harness::upstreams::Served;

/// A gateway over the reference upstream, spoken to in the words of one era, and over a slow one.
struct World {
    _reference: Served,
    _everything: Served,
    gateway: Gateway,
    resource: Value,
}

impl World {
    fn start(era: &str) -> World {
        let (reference, everything) = (Served::conformance(), Served::everything_http());
        let gateway = Gateway::start();
        let mut registration = reference.registration("ref");
        registration["protocol"] = era.into();
        gateway.add(&registration);
        gateway.add(&everything.registration("slow"));
        let note = json!({"name": "note", "uri": "note://one", "content": "x"});
        let body = json!({"resource": note, "visibility": "public"});
        let resource = gateway.post("/resources", &body).expect(200).json();
        World { _reference: reference, _everything: everything, gateway, resource }
    }

    fn plan(&self, label: &str, mode: &str) -> Value {
        json!({
            "label": label,
            "url": self.gateway.url("/mcp"),
            "base": self.gateway.url(""),
            "token": self.gateway.token(),
            "mode": mode,
            "progress": "ref-test-tool-with-progress",
            "logging": "ref-test-tool-with-logging",
            "slow": {
                "name": "slow-trigger-long-running-operation",
                "arguments": { "duration": 120, "steps": 240 },
            },
            "resource": { "id": self.resource["id"], "uri": "note://one" },
        })
    }
}

fn visit(mut command: Command, plan: &Value) -> Value {
    let output = command.arg(plan.to_string()).output().expect("the client starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client failed: {error}");
    serde_json::from_slice(&output.stdout).expect("the client prints one line of JSON")
}

/// What a client must have seen, whatever its language and era.
#[track_caller]
fn assert_seen(label: &str, seen: &Value, version: &str) {
    assert_eq!(seen["protocolVersion"], version, "{label}: {seen}");
    let progress: Vec<f64> =
        seen["progress"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    assert_eq!(progress, [0.0, 50.0, 100.0], "{label}: {seen}");
    let logs = ["Tool execution started", "Tool processing data", "Tool execution completed"];
    assert_eq!(seen["logs"], json!(logs), "{label}: {seen}");
    assert_eq!(seen["cancelled"], true, "{label}: {seen}");
}

/// What a client must have heard of by its stream.
#[track_caller]
fn assert_heard(label: &str, seen: &Value, names: [&str; 2]) {
    let heard = seen["heard"].to_string();
    assert!(names.iter().all(|name| heard.contains(name)), "{label}: {heard}");
}

fn python(client: &str) -> Command {
    let mut command = tools().python("clients/features.py");
    command.arg(client);
    command
}

#[test]
fn python_clients_with_a_handshake_hear_what_happens() {
    let world = World::start("legacy");
    for client in ["mcp", "fastmcp"] {
        let label = format!("{client}-legacy");
        let seen = visit(python(client), &world.plan(&label, "legacy"));
        assert_seen(&label, &seen, LEGACY);
        assert_heard(&label, &seen, ["tools/list_changed", "resources/updated"]);
    }
}

#[test]
fn python_clients_without_a_handshake_hear_what_happens() {
    let world = World::start("modern");
    for (client, mode) in
        [("mcp", "auto"), ("mcp", MODERN), ("fastmcp", "auto"), ("fastmcp", MODERN)]
    {
        let label = format!("{client}-{mode}");
        let seen = visit(python(client), &world.plan(&label, mode));
        assert_seen(&label, &seen, MODERN);
        if client == "mcp" {
            assert_heard(&label, &seen, ["ToolsListChanged", "ResourceUpdated"]);
        }
    }
}
