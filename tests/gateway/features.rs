//! The official clients, and what they hear while they work: progress, logs, changes; and they ping,
//! subscribe, and give up calls.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{LEGACY, MODERN, names};
use crate::harness::tools::{rmcp_client, tools};
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
    // A server may log what belongs to no call as well.
    let heard = seen["logs"].as_array().expect("a list").iter().filter_map(Value::as_str);
    let heard: Vec<_> = heard.filter(|text| text.starts_with("Tool ")).collect();
    assert_eq!(heard, logs, "{label}: {seen}");
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

fn typescript(generation: &str) -> Command {
    let mut command = tools().node("clients/features.mjs");
    command.arg(generation);
    command
}

/// Has a TypeScript client visit, and answer what the tools of `asks` ask; each is a name, its
/// arguments, and what it says once it was answered.
fn visit_typescript(
    world: &World,
    (generation, mode): (&str, &str),
    version: &str,
    asks: &[(&str, Value, &str)],
) {
    let label = format!("{generation}-{mode}");
    let mut plan = world.plan(&label, mode);
    let calls =
        asks.iter().map(|(name, arguments, _)| json!({"name": name, "arguments": arguments}));
    plan["asks"] = calls.collect();
    let seen = visit(typescript(generation), &plan);
    assert_seen(&label, &seen, version);
    assert_heard(&label, &seen, ["tools/list_changed", "resources/updated"]);
    for ((name, _, expected), told) in asks.iter().zip(seen["told"].as_array().expect("a list")) {
        let told = told.as_str().expect("a text");
        assert!(told.contains(expected), "{label}, {name}: {told}");
    }
    assert!(seen["asked"].as_array().is_some_and(|asked| asked.len() >= asks.len()), "{seen}");
}

#[test]
fn typescript_clients_with_a_handshake_hear_what_happens_and_answer() {
    let world = World::start("legacy");
    let asks = [
        ("ref-test-sampling", json!({"prompt": "?"}), "LLM response: forty-two"),
        ("ref-test-elicitation", json!({"message": "?"}), "Ada"),
    ];
    for generation in ["v1", "v2"] {
        visit_typescript(&world, (generation, "legacy"), LEGACY, &asks);
    }
}

#[test]
fn typescript_clients_without_a_handshake_hear_what_happens_and_answer() {
    let world = World::start("modern");
    let none = json!({});
    let asks = [
        ("ref-test-input-required-result-sampling", none.clone(), "The model said: forty-two"),
        ("ref-test-input-required-result-elicitation", none.clone(), "Hello, Ada!"),
        ("ref-test-input-required-result-list-roots", none, "roots: file:///project"),
    ];
    for mode in ["auto", MODERN] {
        visit_typescript(&world, ("v2", mode), MODERN, &asks);
    }
}

/// Has the Rust client visit, and makes the changes that it waits to hear of as long as it runs. What
/// it is asked by the tools of `asks` is as for [`visit_typescript`].
fn visit_rust(world: &World, mode: &str, version: &str, asks: &[(&str, Value, &str)]) {
    let label = format!("rmcp-{mode}");
    let mut plan = world.plan(&label, mode);
    let calls =
        asks.iter().map(|(name, arguments, _)| json!({"name": name, "arguments": arguments}));
    plan["asks"] = calls.collect();
    let template = "demo://resource/dynamic/text/{resourceId}";
    plan["template"] = json!({"uri": template, "argument": "resourceId", "value": "12"});
    let mut command = Command::new(rmcp_client());
    command.arg(plan.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the client starts");
    let mut round = 0;
    while child.try_wait().expect("it can be asked").is_none() {
        round += 1;
        let name = format!("{label}-{round}");
        let tool = json!({"name": name, "url": "http://127.0.0.1:9/", "request_type": "GET"});
        world.gateway.post("/tools", &json!({"tool": tool, "visibility": "public"})).expect(200);
        let path = format!("/resources/{}", world.resource["id"].as_str().expect("an id"));
        let content = json!({"content": name});
        world.gateway.ask("PUT", &path, Some(&content)).expect(200);
        std::thread::sleep(Duration::from_millis(500));
    }
    let output = child.wait_with_output().expect("it has ended");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{label}: the client failed: {error}");
    let mut seen: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    seen["protocolVersion"] = seen["info"]["protocolVersion"].clone();
    assert_seen(&label, &seen, version);
    assert_heard(&label, &seen, ["tools/list_changed", "resources/updated"]);
    for ((name, _, expected), told) in asks.iter().zip(seen["told"].as_array().expect("a list")) {
        let told = told.as_str().expect("a text");
        assert!(told.contains(expected), "{label}, {name}: {told}");
    }
    assert_eq!(seen["completion"], json!(["12"]), "{label}: {seen}");
    assert_eq!(seen["read"]["contents"][0]["uri"], "note://one", "{label}: {seen}");
    for kind in ["tools", "resources", "templates", "prompts"] {
        assert!(seen[kind].as_u64().is_some_and(|count| count > 1), "{label}, {kind}: {seen}");
    }
}

#[test]
fn rust_clients_with_a_handshake_hear_what_happens_and_answer() {
    let world = World::start("legacy");
    let asks = [
        ("ref-test-sampling", json!({"prompt": "?"}), "LLM response: forty-two"),
        ("ref-test-elicitation", json!({"message": "?"}), "Ada"),
    ];
    visit_rust(&world, "legacy", LEGACY, &asks);
}

#[test]
fn rust_clients_without_a_handshake_hear_what_happens_and_answer() {
    let world = World::start("modern");
    let none = json!({});
    let asks = [
        ("ref-test-input-required-result-sampling", none.clone(), "The model said: forty-two"),
        ("ref-test-input-required-result-elicitation", none.clone(), "Hello, Ada!"),
        ("ref-test-input-required-result-list-roots", none, "roots: file:///project"),
    ];
    for mode in ["auto", "modern"] {
        visit_rust(&world, mode, MODERN, &asks);
    }
}

/// One command of the Inspector's command line, to what `reach` names.
fn inspect(reach: &[&str], era: &str, arguments: &[&str]) -> Value {
    let home = tempfile::TempDir::new().expect("a temporary folder");
    let program = "@modelcontextprotocol/inspector/clients/launcher/build/index.js";
    let mut command = tools().node(tools().package_file(program));
    command.env("HOME", home.path()).arg("--cli").args(reach).args(["--protocol-era", era]);
    let output = command.args(arguments).output();
    let output = output.expect("the Inspector starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{era} {arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn the_inspector_lists_calls_and_reads_in_every_era_over_all_that_it_speaks() {
    let upstream = Served::conformance();
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("ref"));
    let endpoint = gateway.open_server(&[&added]);
    let url = gateway.url(&endpoint);
    let events = gateway.url(&endpoint.replace("/mcp", "/sse"));
    let named = format!("MCP_SERVER_URL={url}");
    let http = [url.as_str(), "--transport", "http"];
    let sse = [events.as_str(), "--transport", "sse"];
    let stdio = [env!("CARGO_BIN_EXE_ringway"), "stdio", "--transport", "stdio", "-e", &named];
    let ways: [(&[&str], &str); 6] = [
        (&http, "legacy"),
        (&http, "auto"),
        (&http, "modern"),
        (&sse, "legacy"),
        (&stdio, "legacy"),
        (&stdio, "modern"),
    ];
    for (reach, era) in ways {
        let ask = |arguments: &[&str]| inspect(reach, era, arguments);
        let listed = ask(&["--method", "tools/list"]);
        assert!(names(&listed["tools"], "name").contains(&"test_simple_text".to_owned()));
        let called = ask(&["--method", "tools/call", "--tool-name", "test_simple_text"]);
        let text = &called["content"][0]["text"];
        assert_eq!(text, "This is a simple text response for testing.", "{era}");
        let read = ask(&["--method", "resources/read", "--uri", "test://static-text"]);
        assert_eq!(read["contents"][0]["uri"], "test://static-text", "{era}");
        let prompts = ask(&["--method", "prompts/list"]);
        assert!(names(&prompts["prompts"], "name").contains(&"test_simple_prompt".to_owned()));
    }
}
