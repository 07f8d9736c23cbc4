//! Tasks of upstreams of the stateless revision (extension `io.modelcontextprotocol/tasks`).

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, MODERN, envelope, modern_request};
use crate::harness::tools::tools;
use crate::harness::upstreams::Served;
use crate::harness::wire::Wire;

/// The scenarios of the official suite; none of them is scored there, and that of notifications, which
/// no server must send, checks nothing without them.
const SCENARIOS: [&str; 9] = [
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
];

/// Runs every scenario against `url`; none may fail.
fn assert_conforming(url: &str) {
    let program = tools().package_file("@modelcontextprotocol/conformance/dist/index.js");
    for scenario in SCENARIOS {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let mut command: Command = tools().node(&program);
        command.args(["server", "--url", url, "--spec-version", MODERN, "--force"]);
        command.args(["--scenario", scenario]);
        let output = command.arg("-o").arg(folder.path()).output().expect("the suite starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{scenario}: {text}");
        assert!(!text.contains("Passed: 0/"), "{scenario} checked nothing: {text}");
        assert!(text.contains("Passed: "), "{scenario} did not run: {text}");
    }
}

#[test]
fn conforms_to_every_scenario_of_tasks_as_the_upstream_does() {
    let upstream = Served::tasks();
    assert_conforming(&upstream.url());
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("tasks"));
    let open = gateway.open_server(&[&added]);
    assert_conforming(&gateway.url(&open));
}

/// Asks as a client that declares tasks, or not.
fn ask(client: &Client<'_>, method: &str, mut params: Value, declares: bool) -> Value {
    let extensions = json!({"io.modelcontextprotocol/tasks": {}});
    let declared = if declares { json!({"extensions": extensions}) } else { json!({}) };
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": declared,
    });
    let name = params["taskId"].as_str().or(params["name"].as_str()).unwrap_or("").to_owned();
    let headers = [("Mcp-Method", method), ("Mcp-Name", name.as_str())];
    client.post(&envelope(method, &params), &headers).json()
}

/// A stream that listens to tasks, and the messages that came by it.
pub struct TaskStream(Wire);

impl TaskStream {
    /// Listens as the administrator to tasks with these ids, declaring that it knows them or not; and
    /// gives back those that are promised.
    pub fn open(gateway: &Gateway, path: &str, ids: &[&str], declares: bool) -> (Self, Value) {
        let extensions = json!({"io.modelcontextprotocol/tasks": {}});
        let declared = if declares { json!({"extensions": extensions}) } else { json!({}) };
        let meta = json!({"io.modelcontextprotocol/clientCapabilities": declared});
        let params = json!({"notifications": {"taskIds": ids}, "_meta": meta});
        let mut wire = gateway.wire();
        wire.send(modern_request(gateway, path, "subscriptions/listen", params));
        assert_eq!(wire.head().expect("an answer").status, 200);
        let mut stream = TaskStream(wire);
        let first = stream.next();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        let promised = first["params"]["notifications"].clone();
        (stream, promised)
    }

    fn next(&mut self) -> Value {
        let text = String::from_utf8(self.0.chunk().expect("an event")).expect("text");
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
        serde_json::from_str(data).expect("JSON")
    }

    /// Reads on until a task is told to be like this; returns what is told of it.
    pub fn read_until(&mut self, status: &str) -> Value {
        loop {
            let message = self.next();
            assert_eq!(message["method"], "notifications/tasks", "{message}");
            let id = &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
            assert_eq!(id, "test-1", "{message}");
            if message["params"]["status"] == status {
                return message["params"].clone();
            }
        }
    }
}

#[test]
fn what_becomes_of_a_task_is_told_to_who_listens_to_it() {
    let upstream = Served::tasks();
    let gateway = Gateway::start();
    gateway.add(&upstream.registration("tasks"));
    let client = Client::modern(&gateway, "/mcp");
    let call = json!({"name": "tasks-confirm-delete", "arguments": {}});
    let created = ask(&client, "tools/call", call, true);
    let id = created["result"]["taskId"].as_str().expect("a task").to_owned();
    // Of others nothing is promised, nor to who knows no tasks.
    let ids = [&*id, "nothing of ours"];
    assert_eq!(TaskStream::open(&gateway, "/mcp", &ids, false).1, json!({}));
    let (mut stream, promised) = TaskStream::open(&gateway, "/mcp", &ids, true);
    assert_eq!(promised, json!({"taskIds": [id]}));
    let asked = stream.read_until("input_required");
    assert_eq!(asked["taskId"], id, "{asked}");
    assert!(asked.get("resultType").is_none(), "{asked}");
    let keys: Vec<_> = asked["inputRequests"].as_object().expect("requests").keys().collect();
    let word = json!({"action": "accept", "content": {"confirm": true}});
    let update = json!({"taskId": id, "inputResponses": {keys[0].as_str(): word}});
    ask(&client, "tasks/update", update, true);
    let ended = stream.read_until("completed");
    assert_eq!(ended["result"]["content"][0]["text"], "answered: accept", "{ended}");
}

#[test]
fn a_task_is_its_caller_s_alone() {
    let upstream = Served::tasks();
    let gateway = Gateway::start();
    let added = gateway.add(&upstream.registration("tasks"));
    let servers = [gateway.open_server(&[&added]), "/mcp".to_owned()];
    let tool = "tasks-confirm-delete";
    let call = json!({"name": tool, "arguments": {}});
    let owner = Client::modern(&gateway, "/mcp");
    let created = ask(&owner, "tools/call", call, true);
    let id = created["result"]["taskId"].as_str().expect("a task").to_owned();
    let task = json!({"taskId": id});
    assert_eq!(ask(&owner, "tasks/get", task.clone(), true)["result"]["taskId"], id);
    let claims = json!({
        "sub": "eve@example.com", "token_use": "session", "iss": "mcpgateway",
        "aud": "mcpgateway-api",
    });
    let token = gateway.token_with(&["-d", &claims.to_string()]);
    let stranger = Client::modern_with(&gateway, "/mcp", Some(&token));
    let elsewhere = Client::modern(&gateway, &servers[0]);
    let mut forged = id.clone();
    forged.replace_range(8..9, if &id[8..9] == "A" { "B" } else { "A" });
    let forged = json!({"taskId": forged});
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        for (client, task) in [(&stranger, &task), (&elsewhere, &task), (&owner, &forged)] {
            let error = ask(client, method, task.clone(), true)["error"].clone();
            assert_eq!(error["code"], -32602, "{method}: {error}");
            assert_eq!(error["message"], "Unknown task");
        }
        let error = ask(&owner, method, task.clone(), false)["error"].clone();
        assert_eq!(error["code"], -32021, "{method}: {error}");
    }
    // Nothing of that was for the upstream to hear.
    let shown = ask(&owner, "tasks/get", task.clone(), true);
    assert_eq!(shown["result"]["status"], "input_required", "{shown}");
    // A task of a tool that is not there any more is not there either.
    let id = added["id"].as_str().expect("an id");
    gateway.post(&format!("/gateways/{id}/state?activate=false"), &json!({})).expect(200);
    let error = ask(&owner, "tasks/get", task, true)["error"].clone();
    assert_eq!(error["message"], "Unknown task");
}
