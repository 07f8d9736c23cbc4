//! Tools made by hand: written, guarded, listed, called and renamed, as scripts do it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{Client, names};
use crate::harness::wire::{Answer, request};

/// A REST service that answers every request with its first line and whether it was authorized.
fn service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head);
            let first = head.lines().next().unwrap_or_default();
            let authorized = head.contains("s3cret");
            let body = json!({"line": first, "authorized": authorized}).to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                body.len()
            );
            // Whoever went away does not need the answer.
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
        }
    });
    url
}

fn tool(name: &str, url: &str) -> Value {
    json!({"name": name, "url": url, "integration_type": "REST", "request_type": "GET"})
}

fn path(tool: &Value) -> String {
    format!("/tools/{}", tool["id"].as_str().expect("a tool has an id"))
}

/// Asks with a header of its own.
fn ask_with(
    gateway: &Gateway,
    method: &str,
    target: &str,
    header: (&str, &str),
    body: &Value,
) -> Answer {
    let authorization = format!("Bearer {}", gateway.token());
    let headers =
        [("Authorization", authorization.as_str()), ("Content-Type", "application/json"), header];
    gateway.wire().send(request(method, target, &headers, body.to_string().as_bytes())).answer()
}

#[test]
fn a_rest_tool_is_made_called_changed_and_deleted_and_its_secret_stays() {
    let gateway = Gateway::start();
    let url = format!("{}/items/{{id}}", service());
    let mut sent = tool("get_item", &url);
    sent["headers"] = json!({"X-API-Key": "s3cret"});
    sent["inputSchema"] = json!({"type": "object", "properties": {"id": {"type": "string"}}});
    let made = gateway.post("/tools", &json!({ "tool": sent })).expect(200);
    assert_eq!(made.header("etag"), Some("\"1\""));
    assert!(!made.text().contains("s3cret"));
    let made = made.json();
    assert_eq!(made["name"], "get-item");
    let answered = gateway.call("get-item", json!({"id": "a b", "q": 1}));
    let text = answered["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answered}"));
    let said: Value = serde_json::from_str(text).expect("the service answers JSON");
    assert_eq!(said, json!({"line": "GET /items/a%20b?q=1 HTTP/1.1", "authorized": true}));
    // What was read is sent back with another title: the mask stands for the secret.
    let mut read = gateway.get(&path(&made)).expect(200).json();
    read["title"] = json!("Item");
    gateway.ask("PUT", &path(&made), Some(&read)).expect(200);
    let listed = gateway.rpc("tools/list", json!({}));
    assert_eq!(listed["result"]["tools"][0]["title"], "Item", "{listed}");
    let answered = gateway.call("get-item", json!({"id": "x"}));
    assert!(answered.to_string().contains("true"), "{answered}");
    gateway.post(&format!("{}/state?activate=false", path(&made)), &json!({})).expect(200);
    assert!(gateway.tool_names().is_empty());
    gateway.ask("DELETE", &path(&made), None).expect(200);
    gateway.ask("DELETE", &path(&made), None).expect(404);
}

#[test]
fn a_stale_version_changes_nothing() {
    let gateway = Gateway::start();
    let made = gateway.post("/tools", &tool("t", "http://127.0.0.1:9/")).expect(200).json();
    let change = |etag: &str| {
        ask_with(&gateway, "PUT", &path(&made), ("If-Match", etag), &json!({"title": "x"}))
    };
    let first = change("\"1\"").expect(200);
    assert_eq!(first.header("etag"), Some("\"2\""));
    change("\"1\"").expect(412);
    change("*").expect(200);
    assert_eq!(gateway.get(&path(&made)).expect(200).header("etag"), Some("\"3\""));
}

#[test]
fn a_list_read_page_by_page_has_everything_once_while_it_changes() {
    let gateway = Gateway::start();
    let some = |word: &str| -> Vec<Value> {
        let url = "http://127.0.0.1:9/";
        (0..60).map(|number| tool(&format!("{word}{number}"), url)).collect()
    };
    for word in ["stays", "goes"] {
        let done = gateway.post("/tools/bulk", &json!(some(word))).expect(200).json();
        assert_eq!(done["imported"], 60, "{done}");
    }
    let all = gateway.get("/tools?limit=0").expect(200).json();
    let mut going: Vec<String> = (all.as_array().expect("a list").iter())
        .filter(|tool| tool["name"].as_str().is_some_and(|name| name.starts_with("goes")))
        .map(path)
        .collect();
    let mut seen = Vec::new();
    let mut target = "/tools?limit=7&include_pagination=true".to_owned();
    loop {
        let page = gateway.get(&target).expect(200).json();
        seen.extend(names(&page["tools"], "name"));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        target = format!("/tools?limit=7&include_pagination=true&cursor={cursor}");
        for path in going.drain(..going.len().min(5)) {
            gateway.ask("DELETE", &path, None).expect(200);
        }
        let late = tool(&format!("late{}", seen.len()), "http://127.0.0.1:9/");
        gateway.post("/tools", &late).expect(200);
    }
    let once: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(once.len(), seen.len(), "something came twice: {seen:?}");
    for number in 0..60 {
        assert!(once.contains(&format!("stays{number}")), "stays{number} was lost: {seen:?}");
    }
}

#[test]
fn a_server_calls_a_tool_by_a_name_and_a_description_of_its_own() {
    let gateway = Gateway::start();
    let made = gateway.post("/tools", &tool("plain", &service())).expect(200).json();
    let server = json!({"server": {
        "name": "s", "associated_tools": [made["id"]],
        "tool_overrides": {"plain": {"name": "fetch_it", "description": "Fetches it."}},
    }});
    let server = gateway.post("/servers", &server).expect(201).json();
    let client = Client::legacy(
        &gateway,
        &format!("/servers/{}/mcp", server["id"].as_str().expect("an id")),
    );
    let listed = client.result("tools/list", json!({}));
    assert_eq!(listed["tools"][0]["name"], "fetch_it");
    assert_eq!(listed["tools"][0]["description"], "Fetches it.");
    let call = client.result("tools/call", json!({"name": "fetch_it", "arguments": {}}));
    assert!(call["content"][0]["text"].as_str().expect("a text").contains("GET /"), "{call}");
    let usual = client.ask("tools/call", json!({"name": "plain", "arguments": {}}));
    assert_eq!(usual["error"]["code"], -32602, "{usual}");
    assert_eq!(gateway.tool_names(), ["plain"]);
}
