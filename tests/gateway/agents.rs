//! A2A agents made with the official kit: called as tools, by REST, and in their own protocol; and a
//! registry that moves to another gateway by export and import.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, names};
use crate::harness::tools::tools;

/// An agent in a process of its own, ended when dropped.
struct Agent {
    child: Child,
    url: String,
}

impl Agent {
    /// Starts one that speaks 1.0, and 0.3 too if `speaks` is `both`.
    fn start(speaks: &str) -> Agent {
        let mut command = tools().node("agents/a2a.mjs");
        let mut child =
            command.arg(speaks).stdout(Stdio::piped()).spawn().expect("the agent starts");
        let out = child.stdout.take().expect("its output is piped");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("it prints its port");
        Agent { child, url: format!("http://127.0.0.1:{}/", line.trim()) }
    }

    fn register(&self, gateway: &Gateway, name: &str, version: &str) -> Value {
        let body = json!({ "agent": {
            "name": name, "endpoint_url": self.url, "protocol_version": version,
            "description": "Repeats what it is told", "auth_type": "bearer", "auth_token": "s3cret",
        } });
        gateway.post("/a2a", &body).expect(201).json()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn call(client: &Client, query: &str) -> Value {
    let call = json!({ "name": "a2a-repeater", "arguments": { "query": query } });
    client.result("tools/call", call)
}

#[test]
fn answers_as_a_tool_in_both_dialects_of_the_kit() {
    let agent = Agent::start("both");
    for version in ["1.0", "0.3"] {
        let gateway = Gateway::start();
        agent.register(&gateway, "Repeater", version);
        let client = Client::legacy(&gateway, "/mcp");
        let listed = client.result("tools/list", json!({}));
        assert_eq!(names(&listed["tools"], "name"), ["a2a-repeater"]);
        let said = call(&client, "hi");
        assert_eq!(said["content"][0]["text"], "you said hi", "{version} {said}");
        assert_eq!(said["structuredContent"], json!({ "asked": "hi" }), "{version}");
        let image = json!({ "type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png" });
        assert_eq!(said["content"][2], image, "{version}");
        assert_eq!(call(&client, "task")["content"][0]["text"], "the work is done", "{version}");
        let failed = call(&client, "fail");
        assert_eq!(failed["content"][0]["text"], "no luck", "{version} {failed}");
        assert_eq!(failed["isError"], true, "{version}");
    }
}

#[test]
fn finds_the_dialect_that_an_agent_understands() {
    let agent = Agent::start("one");
    let gateway = Gateway::start();
    agent.register(&gateway, "Repeater", "0.3");
    let client = Client::legacy(&gateway, "/mcp");
    assert_eq!(call(&client, "hi")["content"][0]["text"], "you said hi");
    let parameters = json!({ "parameters": { "query": "hi" }, "interaction_type": "query" });
    let answer = gateway.post("/a2a/Repeater/invoke", &parameters).expect(200).json();
    assert_eq!(answer["result"]["message"]["parts"][0]["text"], "you said hi", "{answer}");
    let message = json!({ "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "you" }] });
    let call = json!({ "jsonrpc": "2.0", "id": "x7", "method": "SendMessage",
        "params": { "message": message } });
    let answer = gateway.post("/a2a/repeater/jsonrpc", &call).expect(200).json();
    assert_eq!(answer["id"], "x7");
    assert_eq!(answer["result"]["message"]["parts"][0]["text"], "you said you", "{answer}");
}

#[test]
fn calls_count_for_the_agent_and_for_its_tool_and_a_setting_leaves_agents_out() {
    let agent = Agent::start("one");
    for (is_on, of_agent) in [("true", 3), ("false", 0)] {
        let gateway = Gateway::setup().set("MCPGATEWAY_A2A_METRICS_ENABLED", is_on).start();
        let made = agent.register(&gateway, "Repeater", "1.0");
        let client = Client::legacy(&gateway, "/mcp");
        call(&client, "hi");
        call(&client, "fail");
        gateway.post("/a2a/Repeater/invoke", &json!({"parameters": {"query": "hi"}})).expect(200);
        let path = format!("/a2a/{}", made["id"].as_str().expect("an id"));
        let metrics = gateway.get(&path).expect(200).json()["metrics"].clone();
        assert_eq!(metrics["totalExecutions"], of_agent, "{metrics}");
        let tools = gateway.get("/tools?include_metrics=true").expect(200).json();
        let of_tool = &tools[0]["metrics"];
        assert_eq!(
            (&of_tool["totalExecutions"], &of_tool["failedExecutions"]),
            (&json!(2), &json!(1))
        );
        let all = gateway.get("/metrics").expect(200).json();
        assert_eq!(all["a2aAgents"]["totalInteractions"], of_agent, "{all}");
        gateway.post("/metrics/reset?entity=a2a_agent", &json!({})).expect(200);
        let metrics = gateway.get(&path).expect(200).json()["metrics"].clone();
        assert_eq!(metrics["totalExecutions"], 0, "{metrics}");
    }
}

#[test]
fn an_agent_that_is_away_is_told_as_a_result_and_as_a_status() {
    let gateway = Gateway::start();
    let agent = Agent::start("one");
    agent.register(&gateway, "Repeater", "1.0");
    drop(agent);
    let client = Client::legacy(&gateway, "/mcp");
    let said = call(&client, "hi");
    assert_eq!(said["isError"], true);
    let text = said["content"][0]["text"].as_str().expect("text");
    assert!(text.starts_with("The agent Repeater cannot be reached"), "{text}");
    let answer = gateway.post("/a2a/Repeater/invoke", &json!({}));
    assert_eq!(answer.status, 503);
}

#[test]
fn without_a2a_an_agent_offers_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = Agent::start("one");
    {
        let gateway = Gateway::setup().data(folder.path()).start();
        agent.register(&gateway, "Repeater", "1.0");
    }
    let off = Gateway::setup().data(folder.path()).set("MCPGATEWAY_A2A_ENABLED", "false").start();
    assert_eq!(off.get("/a2a").status, 404);
    let client = Client::legacy(&off, "/mcp");
    assert_eq!(client.result("tools/list", json!({}))["tools"], json!([]));
    let call = json!({ "name": "a2a-repeater", "arguments": { "query": "hi" } });
    assert_eq!(client.ask("tools/call", call)["error"]["code"], -32602);
}

#[test]
fn a_registry_moves_to_a_gateway_with_another_secret() {
    let agent = Agent::start("one");
    let source = Gateway::setup().set("AUTH_ENCRYPTION_SECRET", "the secret of the source").start();
    agent.register(&source, "Repeater", "1.0");
    let tool = source.get("/tools").expect(200).json()[0]["id"].clone();
    let server = json!({ "server": { "name": "one", "associated_tools": [tool] } });
    source.post("/servers", &server).expect(201);
    let exported = source.get("/export").expect(200).json();
    assert!(!exported.to_string().contains("s3cret"));

    let target = Gateway::start();
    let refused = target.post("/import", &json!({ "import_data": exported })).expect(200).json();
    assert_eq!(refused["progress"]["failed"], 1, "{refused}");
    let order = json!({ "import_data": exported, "rekey_secret": "the secret of the source" });
    let done = target.post("/import", &order).expect(200).json();
    assert_eq!(done["errors"], json!([]), "{done}");
    let path = format!("/import/status/{}", done["import_id"].as_str().expect("an id"));
    assert_eq!(target.get(&path).expect(200).json(), done);
    assert_eq!(call(&Client::legacy(&target, "/mcp"), "hi")["content"][0]["text"], "you said hi");
    let servers = target.get("/servers").expect(200).json();
    assert_eq!(servers[0]["associatedTools"], json!(["a2a-repeater"]));
}
