//! Tasks of upstreams of revision 2025-11-25, for clients that know these, others, or none.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, LEGACY, MODERN, envelope};
use crate::harness::tools::tools;
use crate::harness::upstreams::{Served, everything_stdio};
use crate::tasks::TaskStream;

const TOOL: &str = "up-simulate-research-query";
const RELATED: &str = "io.modelcontextprotocol/related-task";

/// How long the research may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks as a modern client with these capabilities.
fn ask(client: &Client<'_>, method: &str, mut params: Value, capabilities: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    let name = params["taskId"].as_str().or(params["name"].as_str()).unwrap_or("").to_owned();
    let headers = [("Mcp-Method", method), ("Mcp-Name", name.as_str())];
    client.post(&envelope(method, &params), &headers).json()
}

fn call(ambiguous: bool) -> Value {
    json!({ "name": TOOL, "arguments": { "topic": "python", "ambiguous": ambiguous } })
}

/// What a client declares that can fill in forms, and knows tasks or does not.
fn declared(knows_tasks: bool) -> Value {
    let extensions = json!({ "io.modelcontextprotocol/tasks": {} });
    let extensions = if knows_tasks { extensions } else { json!({}) };
    json!({ "elicitation": {}, "extensions": extensions })
}

#[track_caller]
fn assert_report(label: &str, result: &Value, expected: &str) {
    let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{label}: {result}"));
    assert!(text.starts_with("# Research Report: python"), "{label}: {text}");
    assert!(text.contains(expected), "{label}: {text}");
    assert!(result["_meta"].get(RELATED).is_none(), "{label}: {result}");
}

/// Gateways over the reference server, each by another transport.
fn gateways() -> (Served, [(&'static str, Gateway); 2]) {
    let http = Served::everything_http();
    let by_http = Gateway::start();
    by_http.add(&http.registration("up"));
    let by_stdio = Gateway::start();
    by_stdio.add(&everything_stdio("up"));
    (http, [("http", by_http), ("stdio", by_stdio)])
}

#[test]
fn a_client_that_knows_no_tasks_has_the_result_of_one() {
    let (_upstream, gateways) = gateways();
    for (label, gateway) in &gateways {
        let modern = Client::modern(gateway, "/mcp");
        let answer = ask(&modern, "tools/call", call(false), json!({}));
        assert_report(label, &answer["result"], "Stage 1");
        assert_eq!(answer["result"]["resultType"], "complete", "{label}");
        let legacy = Client::legacy(gateway, "/mcp");
        assert_report(label, &legacy.result("tools/call", call(false)), "Stage 1");
        // It is asked meanwhile as in any other call.
        let answer = ask(&modern, "tools/call", call(true), declared(false));
        let result = &answer["result"];
        assert_eq!(result["resultType"], "input_required", "{label}: {answer}");
        let (key, request) = sole(&result["inputRequests"]);
        assert_eq!(request["method"], "elicitation/create", "{label}: {request}");
        assert!(request["params"]["_meta"].get(RELATED).is_none(), "{label}: {request}");
        let mut again = call(true);
        again["requestState"] = result["requestState"].clone();
        again["inputResponses"] = json!({ key: accepted() });
        let answer = ask(&modern, "tools/call", again, declared(false));
        assert_report(label, &answer["result"], "comedy");
    }
}

fn accepted() -> Value {
    json!({ "action": "accept", "content": { "interpretation": "comedy" } })
}

fn sole(object: &Value) -> (String, Value) {
    let object = object.as_object().unwrap_or_else(|| panic!("no object: {object}"));
    assert_eq!(object.len(), 1, "{object:?}");
    let (key, value) = object.iter().next().expect("there is one");
    (key.clone(), value.clone())
}

#[test]
fn a_client_of_the_extension_has_a_task_of_its_own() {
    let (_upstream, gateways) = gateways();
    for (label, gateway) in &gateways {
        let client = Client::modern(gateway, "/mcp");
        let tools = client.result("tools/list", json!({}));
        let tools = tools["tools"].as_array().expect("a list");
        let tool = tools.iter().find(|tool| tool["name"] == TOOL).expect("it is listed");
        assert!(tool["execution"].get("taskSupport").is_none(), "{label}: {tool}");
        let created = ask(&client, "tools/call", call(true), declared(true))["result"].clone();
        assert_eq!(created["resultType"], "task", "{label}: {created}");
        assert_eq!(created["status"], "working", "{label}: {created}");
        let task = json!({ "taskId": created["taskId"] });
        let get = || ask(&client, "tasks/get", task.clone(), declared(true))["result"].clone();
        let until = |status: &str| {
            eventually(status, PATIENCE, || Some(get()).filter(|task| task["status"] == status))
        };
        let asks = until("input_required");
        assert_eq!(asks["resultType"], "complete", "{label}: {asks}");
        assert_eq!(asks["taskId"], created["taskId"], "{label}: {asks}");
        let (key, request) = sole(&asks["inputRequests"]);
        assert_eq!(request["method"], "elicitation/create", "{label}: {request}");
        // Asking again changes nothing; to others there is no such task.
        assert_eq!(get()["inputRequests"], asks["inputRequests"], "{label}");
        assert_strangers_see_nothing(gateway, &task);
        let mut update = task.clone();
        update["inputResponses"] = json!({ key: accepted() });
        let taken = ask(&client, "tasks/update", update, declared(true));
        assert_eq!(taken["result"]["resultType"], "complete", "{label}: {taken}");
        let done = until("completed");
        assert_report(label, &done["result"], "comedy");
        assert!(done.get("inputRequests").is_none() && done["ttlMs"].is_u64(), "{label}: {done}");
    }
}

fn assert_strangers_see_nothing(gateway: &Gateway, task: &Value) {
    let claims = json!({
        "sub": "eve@example.com", "token_use": "session", "iss": "mcpgateway",
        "aud": "mcpgateway-api",
    });
    let token = gateway.token_with(&["-d", &claims.to_string()]);
    let stranger = Client::modern_with(gateway, "/mcp", Some(&token));
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let error = ask(&stranger, method, task.clone(), declared(true))["error"].clone();
        assert_eq!(error["message"], "Unknown task", "{method}: {error}");
    }
    let stranger = Client::legacy_with(gateway, "/mcp", LEGACY, Some(&token));
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let error = stranger.ask(method, task.clone())["error"].clone();
        assert_eq!(error["message"], "Unknown task", "{method}: {error}");
    }
}

#[test]
fn a_task_that_is_cancelled_ends_at_the_upstream_too_and_a_late_word_is_refused() {
    let (upstream, gateways) = gateways();
    let (label, gateway) = &gateways[0];
    let client = Client::modern(gateway, "/mcp");
    let created = ask(&client, "tools/call", call(false), declared(true))["result"].clone();
    let task = json!({ "taskId": created["taskId"] });
    let answer = ask(&client, "tasks/cancel", task.clone(), declared(true));
    assert_eq!(answer["result"]["resultType"], "complete", "{label}: {answer}");
    let shown = ask(&client, "tasks/get", task.clone(), declared(true))["result"].clone();
    assert_eq!(shown["status"], "cancelled", "{label}: {shown}");
    assert!(shown.get("result").is_none() && shown.get("error").is_none(), "{shown}");
    // The reference server logs what fails: writing to a task that was cancelled.
    eventually("the research notices", PATIENCE, || {
        upstream.printed().contains("cancelled").then_some(())
    });
    let error = Client::legacy(gateway, "/mcp").ask("tasks/cancel", task)["error"].clone();
    assert_eq!(error["code"], -32602, "{error}");
}

#[test]
fn a_task_is_followed_for_as_long_as_the_operator_says() {
    let upstream = Served::everything_http();
    let gateway = Gateway::setup().set("TASK_TIMEOUT", "2").start();
    gateway.add(&upstream.registration("up"));
    let client = Client::modern(&gateway, "/mcp");
    let created = ask(&client, "tools/call", call(false), declared(true))["result"].clone();
    assert_eq!(created["ttlMs"], 2000, "{created}");
    let task = json!({ "taskId": created["taskId"] });
    eventually("it is forgotten", PATIENCE, || {
        let answer = ask(&client, "tasks/get", task.clone(), declared(true));
        (answer["error"]["message"] == "Unknown task").then_some(())
    });
    // Whoever does not come back for it has it cancelled.
    eventually("the research notices", PATIENCE, || {
        upstream.printed().contains("cancelled").then_some(())
    });
}

#[test]
fn the_official_client_of_the_revision_runs_tasks_through_the_gateway() {
    let (_upstream, gateways) = gateways();
    for (label, gateway) in &gateways {
        let plan = json!({
            "url": gateway.url("/mcp"), "token": gateway.token(), "tool": TOOL, "answer": "comedy",
        });
        let mut command =
            tools().node(crate::harness::tools::tests_folder().join("clients/tasks.mjs"));
        let output = command.arg(plan.to_string()).output().expect("the client starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{label}: the client failed: {error}");
        let seen: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
        let expected = json!({ "cancel": {}, "requests": { "tools": { "call": {} } } });
        assert_eq!(seen["capabilities"], expected, "{label}: {seen}");
        assert_eq!(seen["support"], "required", "{label}: {seen}");
        assert_eq!(seen["asked"], 1, "{label}: {seen}");
        assert_eq!(seen["ids"], 1, "{label}: {seen}");
        assert_eq!(seen["last"], "result", "{label}: {seen}");
        assert_eq!(seen["related"], true, "{label}: {seen}");
        let text = seen["text"].as_str().expect("a report");
        assert!(text.contains("comedy"), "{label}: {text}");
        assert_eq!(seen["cancelled"], json!(["cancelled", "cancelled"]), "{label}: {seen}");
        assert_eq!(seen["refused"], -32602, "{label}: {seen}");
    }
}

#[test]
fn what_becomes_of_one_is_told_to_a_modern_client_that_listens_to_it() {
    let (_upstream, gateways) = gateways();
    for (label, gateway) in &gateways {
        let modern = Client::modern(gateway, "/mcp");
        let created = ask(&modern, "tools/call", call(false), declared(true));
        let id = created["result"]["taskId"].as_str().expect(label).to_owned();
        let (mut stream, promised) = TaskStream::open(gateway, "/mcp", &[&id], true);
        assert_eq!(promised, json!({"taskIds": [id]}), "{label}");
        let ended = stream.read_until("completed");
        assert_eq!(ended["taskId"], id, "{label}");
        assert_report(label, &ended["result"], "Stage 1");
    }
}
