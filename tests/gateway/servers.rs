//! Virtual servers: what they hold, how their tools are named, what they refuse.

use serde_json::{Value, json};

use crate::harness::faulty::{Faulty, TOOLS};
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, names};

fn tool_ids(gateway: &Gateway, names: &[&str]) -> Vec<Value> {
    let tools = gateway.get("/tools?limit=0").expect(200).json();
    let tools = tools.as_array().expect("a list").clone();
    let wanted =
        tools.into_iter().filter(|tool| names.contains(&tool["name"].as_str().unwrap_or("")));
    wanted.map(|tool| tool["id"].clone()).collect()
}

fn path(server: &Value) -> String {
    format!("/servers/{}", server["id"].as_str().expect("a server has an id"))
}

#[test]
fn holds_the_chosen_tools_under_the_contract_s_names() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let ids = tool_ids(&gateway, &["up-echo", "up-slow"]);
    let body = json!({ "server": { "name": "two", "description": "two of them", "associated_tools": ids } });
    let made = gateway.post("/servers", &body).expect(201).json();
    assert_eq!(made["name"], "two");
    assert_eq!(made["enabled"], true);
    assert_eq!(made["associatedTools"].as_array().map(Vec::len), Some(2), "{made}");
    let listed = gateway.get(&format!("{}/tools", path(&made))).expect(200).json();
    assert_eq!(names(&listed, "name"), ["up-echo", "up-slow"]);
    let client = Client::legacy(&gateway, &format!("{}/mcp", path(&made)));
    assert_eq!(
        names(&client.result("tools/list", json!({}))["tools"], "name"),
        ["up-echo", "up-slow"]
    );
    let call = json!({ "name": "up-echo", "arguments": { "k": "v" } });
    assert_eq!(client.result("tools/call", call)["structuredContent"], json!({ "k": "v" }));
    let outside = client.ask("tools/call", json!({ "name": "up-faithful", "arguments": {} }));
    assert_eq!(outside["error"]["code"], -32602, "{outside}");
}

#[test]
fn follows_an_upstream_with_an_empty_prefix() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    let open = gateway.open_server(&[&added]);
    let client = Client::legacy(&gateway, &open);
    let before = names(&client.result("tools/list", json!({}))["tools"], "name");
    assert_eq!(before.len(), TOOLS.len());
    assert!(before.contains(&"wrong_id".to_owned()), "{before:?}");
    let call = json!({ "name": "echo", "arguments": { "k": 1 } });
    assert_eq!(client.result("tools/call", call)["structuredContent"], json!({ "k": 1 }));
    upstream.add_tool(json!({ "name": "late", "inputSchema": { "type": "object" } }));
    let id = added["id"].as_str().expect("an id");
    gateway.ask("POST", &format!("/gateways/{id}/tools/refresh"), None).expect(200);
    let after = names(&client.result("tools/list", json!({}))["tools"], "name");
    assert!(after.contains(&"late".to_owned()), "{after:?}");
}

#[test]
fn refuses_an_empty_prefix_while_two_names_would_collide() {
    let gateway = Gateway::start();
    let (one, other) = (Faulty::legacy(), Faulty::legacy());
    let ids = [gateway.add(&one.registration("one")), gateway.add(&other.registration("other"))]
        .map(|added| added["id"].clone());
    let server = json!({ "name": "both", "associated_gateways": ids, "tool_prefix": "" });
    let text = gateway.post("/servers", &json!({ "server": server })).expect(422).text();
    assert!(text.contains("tool_prefix") && text.contains("echo"), "{text}");
    let prefixed = json!({ "name": "both", "associated_gateways": ids });
    let made = gateway.post("/servers", &json!({ "server": prefixed })).expect(201).json();
    let client = Client::legacy(&gateway, &format!("{}/mcp", path(&made)));
    let tools = names(&client.result("tools/list", json!({}))["tools"], "name");
    assert!(tools.contains(&"one-echo".to_owned()) && tools.contains(&"other-echo".to_owned()));
}

#[test]
fn reports_two_tools_that_would_get_one_name() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    upstream.add_tool(json!({ "name": "Echo", "inputSchema": { "type": "object" } }));
    let added = gateway.add(&upstream.registration("up"));
    let tools = gateway.tool_names();
    assert_eq!(tools.iter().filter(|name| *name == "up-echo").count(), 1, "{tools:?}");
    let read = gateway.get(&format!("/gateways/{}", added["id"].as_str().expect("an id"))).json();
    assert!(read["skippedTools"].to_string().contains("Echo"), "{read}");
}

#[test]
fn changes_switches_off_and_deletes_a_server() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    let body = json!({ "server": { "name": "one", "associated_gateways": [added["id"]] } });
    let made = gateway.post("/servers", &body).expect(201).json();
    gateway.post("/servers", &body).expect(409);
    let changed =
        gateway.ask("PUT", &path(&made), Some(&json!({ "name": "uno" }))).expect(200).json();
    assert_eq!(changed["name"], "uno");
    assert_eq!(gateway.get(&path(&made)).expect(200).json()["name"], "uno");
    gateway.ask("POST", &format!("{}/state?activate=false", path(&made)), None).expect(200);
    let mcp = format!("{}/mcp", path(&made));
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    gateway.post(&mcp, &ping).expect(404);
    gateway.ask("DELETE", &path(&made), None).expect(200);
    gateway.get(&path(&made)).expect(404);
    gateway.post(&mcp, &ping).expect(404);
}

#[test]
fn accepts_an_id_of_the_caller_s_choice() {
    let gateway = Gateway::start();
    let id = "123e4567-e89b-42d3-a456-426614174000";
    let body = json!({ "server": { "id": id, "name": "mine" } });
    let made = gateway.post("/servers", &body).expect(201).json();
    assert_eq!(made["id"], id.replace('-', ""));
    gateway.get(&format!("/servers/{}", id.replace('-', ""))).expect(200);
    gateway.post("/servers", &json!({ "server": { "id": "no uuid", "name": "x" } })).expect(422);
}
