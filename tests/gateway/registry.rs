//! Upstreams and tools over REST: fields, status codes, the shapes of errors, and what stays.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::faulty::{Faulty, TOOLS};
use crate::harness::gateway::Gateway;
use crate::harness::port::Port;

fn id(entity: &Value) -> &str {
    entity["id"].as_str().unwrap_or_else(|| panic!("no id in {entity}"))
}

#[test]
fn registers_an_upstream_and_discovers_its_tools() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("Fast_Time"));
    assert!(id(&added).len() == 32 && !id(&added).contains('-'), "{added}");
    assert_eq!(added["name"], "Fast_Time");
    assert_eq!(added["slug"], "fast-time");
    assert_eq!(added["transport"], "STREAMABLEHTTP");
    assert_eq!(added["enabled"], true);
    assert_eq!(added["reachable"], true);
    assert_eq!(added["visibility"], "public");
    assert_eq!(added["toolCount"], TOOLS.len());
    for name in ["createdAt", "updatedAt"] {
        let time = added[name].as_str().unwrap_or_else(|| panic!("no {name} in {added}"));
        assert!(time.ends_with('Z') && time.contains('T'), "{name}: {time}");
    }
    let tools = gateway.get("/tools?limit=0").expect(200).json();
    let tools = tools.as_array().expect("a bare list");
    assert_eq!(tools.len(), TOOLS.len());
    let tool = tools.iter().find(|tool| tool["originalName"] == "wrong_id").expect("it is listed");
    assert_eq!(tool["name"], "fast-time-wrong-id");
    assert_eq!(tool["gatewayId"], added["id"]);
    assert_eq!(tool["gatewaySlug"], "fast-time");
    assert_eq!(tool["integrationType"], "MCP");
    assert_eq!(tool["inputSchema"]["additionalProperties"], true);
    let mut same = gateway.get(&format!("/tools/{}", id(tool))).expect(200).json();
    // A list says nothing of use unless it is asked to.
    same["metrics"] = Value::Null;
    same["executionCount"] = Value::Null;
    assert_eq!(&same, tool);
}

#[test]
fn serves_the_same_under_v1() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let added = gateway.post("/v1/gateways", &upstream.registration("up")).expect(200).json();
    let plain = gateway.get(&format!("/gateways/{}", id(&added))).expect(200).json();
    assert_eq!(gateway.get(&format!("/v1/gateways/{}", id(&added))).expect(200).json(), plain);
    let list = gateway.get("/v1/gateways").expect(200);
    assert_eq!(list.json(), json!([plain]));
    assert_eq!(list.header("deprecation"), None);
}

#[test]
fn changes_and_deletes_an_upstream() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    let path = format!("/gateways/{}", id(&added));
    let body = json!({ "name": "renamed", "description": "now with words" });
    let changed = gateway.ask("PUT", &path, Some(&body)).expect(200).json();
    assert_eq!(changed["name"], "renamed");
    assert_eq!(changed["description"], "now with words");
    assert_eq!(changed["url"], added["url"]);
    assert!(
        gateway.tool_names().contains(&"renamed-echo".to_owned()),
        "{:?}",
        gateway.tool_names()
    );
    let deleted = gateway.ask("DELETE", &path, None).expect(200).json();
    assert_eq!(deleted["status"], "success");
    let missing = gateway.get(&path).expect(404).json();
    assert!(missing["message"].is_string() || missing["detail"].is_string(), "{missing}");
    assert_eq!(gateway.tool_names(), Vec::<String>::new());
}

#[test]
fn switches_an_upstream_off_and_on() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    let path = format!("/gateways/{}", id(&added));
    let off = gateway.ask("POST", &format!("{path}/state?activate=false"), None).expect(200).json();
    assert_eq!(off["status"], "success", "{off}");
    assert_eq!(gateway.tool_names(), Vec::<String>::new());
    assert_eq!(gateway.get("/gateways").json(), json!([]));
    let all = gateway.get("/gateways?include_inactive=true").expect(200).json();
    assert_eq!(all[0]["enabled"], false);
    gateway.ask("POST", &format!("{path}/toggle?activate=true"), None).expect(200);
    assert!(gateway.tool_names().contains(&"up-echo".to_owned()));
}

#[test]
fn sees_new_tools_when_it_is_told_to_refresh() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    upstream.add_tool(json!({ "name": "late", "inputSchema": { "type": "object" } }));
    let path = format!("/gateways/{}/tools/refresh", id(&added));
    gateway.ask("POST", &path, None).expect(200);
    assert!(gateway.tool_names().contains(&"up-late".to_owned()));
    assert_eq!(gateway.call("up-late", json!({ "x": 2 }))["structuredContent"], json!({ "x": 2 }));
}

#[test]
fn answers_409_when_a_name_or_a_url_is_taken() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let other = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    for taken in [other.registration("up"), other.registration("UP"), upstream.registration("else")]
    {
        let answer = gateway.post("/gateways", &taken).expect(409).json();
        assert!(answer["message"].is_string(), "{answer}");
        assert_eq!(answer["detail"], answer["message"]);
    }
}

#[test]
fn answers_503_that_says_what_was_tried_when_nobody_listens() {
    let gateway = Gateway::start();
    let port = Port::take();
    let url = format!("http://localhost:{}/mcp", port.number);
    let body = json!({ "name": "gone", "url": url, "transport": "STREAMABLEHTTP" });
    let message = gateway.post("/gateways", &body).expect(503).json()["message"].to_string();
    assert!(message.contains(&port.number.to_string()), "{message}");
    assert!(message.to_lowercase().contains("refused"), "{message}");
    let missing = json!({ "name": "none", "transport": "STDIO", "command": "/no/such/program" });
    let message = gateway.post("/gateways", &missing).expect(503).json()["message"].to_string();
    assert!(message.contains("/no/such/program"), "{message}");
    assert_eq!(gateway.get("/gateways?include_inactive=true").json(), json!([]));
}

#[test]
fn answers_422_that_names_every_field() {
    let gateway = Gateway::start();
    for (body, fields) in [
        (json!({}), vec!["name", "url"]),
        (json!({ "name": "a", "url": "ftp://x/", "transport": "SSE" }), vec!["url"]),
        (json!({ "name": "a<b>", "url": "http://localhost:1/" }), vec!["name"]),
        (
            json!({ "name": "a", "url": "http://localhost:1/", "transport": "PIGEON" }),
            vec!["transport"],
        ),
        (json!({ "name": 5, "url": "http://u:p@localhost:1/" }), vec!["name", "url"]),
        (json!({ "name": "a".repeat(256), "url": "http://localhost:1/" }), vec!["name"]),
    ] {
        let text = gateway.post("/gateways", &body).expect(422).text();
        for field in fields {
            assert!(text.contains(&format!("\"{field}\"")), "{body}: {field} not in {text}");
        }
    }
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let cut = crate::harness::wire::request("POST", "/gateways", &headers, b"{\"name\":");
    let status = gateway.wire().send(cut).answer().status;
    assert!([400, 422].contains(&status), "cut JSON: {status}");
}

#[test]
fn answers_404_for_what_does_not_exist() {
    let gateway = Gateway::start();
    let none = "0".repeat(32);
    for (method, path) in [
        ("GET", format!("/gateways/{none}")),
        ("PUT", format!("/gateways/{none}")),
        ("DELETE", format!("/gateways/{none}")),
        ("POST", format!("/gateways/{none}/state?activate=true")),
        ("POST", format!("/gateways/{none}/tools/refresh")),
        ("GET", format!("/tools/{none}")),
        ("GET", format!("/servers/{none}")),
        ("DELETE", format!("/servers/{none}")),
        ("GET", format!("/servers/{none}/tools")),
        ("GET", "/gateways/..%2f..%2fetc".to_owned()),
    ] {
        let answer = gateway.ask(method, &path, (method == "PUT").then(|| json!({})).as_ref());
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
    }
}

#[test]
fn pages_lists_by_cursor() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let mut seen = Vec::new();
    let mut path = "/tools?limit=5&include_pagination=true".to_owned();
    loop {
        let page = gateway.get(&path).expect(200).json();
        let tools = page["tools"].as_array().expect("a page has tools");
        assert!(tools.len() <= 5);
        seen.extend(tools.iter().map(|tool| tool["name"].to_string()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/tools?limit=5&include_pagination=true&cursor={cursor}");
    }
    assert_eq!(seen.len(), TOOLS.len());
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), TOOLS.len(), "a tool came twice");
}

#[test]
fn keeps_everything_over_a_restart() {
    let folder = TempDir::new().expect("a temporary folder");
    let upstream = Faulty::legacy();
    let first = Gateway::setup().data(folder.path()).start();
    let added = first.add(&upstream.registration("up"));
    let server = first.open_server(&[&added]);
    let servers = first.get("/servers").json();
    let tools = first.get("/tools?limit=0").json();
    first.stop();
    let second = Gateway::setup().data(folder.path()).start();
    assert_eq!(second.get(&format!("/gateways/{}", id(&added))).json()["url"], added["url"]);
    assert_eq!(second.get("/servers").json(), servers);
    assert_eq!(second.get("/tools?limit=0").json(), tools);
    assert_eq!(second.call("up-echo", json!({ "n": 1 }))["structuredContent"], json!({ "n": 1 }));
    second
        .ask_as(
            None,
            "POST",
            &server,
            Some(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" })),
        )
        .expect(200);
}

#[test]
fn lets_one_bad_upstream_hurt_nobody_else() {
    let gateway = Gateway::setup().set("TOOL_TIMEOUT", 2).start();
    let good = Faulty::legacy();
    let bad = Faulty::legacy();
    gateway.add(&good.registration("good"));
    gateway.add(&bad.registration("bad"));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                gateway.rpc("tools/call", json!({ "name": "bad-silent", "arguments": {} }))
            });
        }
        bad.wait_for_calls("silent", 1);
        for n in 0..20 {
            let result = gateway.call("good-echo", json!({ "n": n }));
            assert_eq!(result["structuredContent"], json!({ "n": n }));
        }
    });
    drop(bad);
    let envelope = gateway.rpc("tools/call", json!({ "name": "bad-echo", "arguments": {} }));
    assert!(envelope["error"].is_object() || envelope["result"]["isError"] == true, "{envelope}");
    assert!(gateway.tool_names().contains(&"good-echo".to_owned()));
    assert_eq!(gateway.call("good-echo", json!({}))["structuredContent"], json!({}));
}
