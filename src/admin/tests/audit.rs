//! What the audit trail is told of requests, and how it is read.

use net::http1::Method;
use serde_json::{Value, json};

use super::harness::{Gateway, Request};

/// The entries that a query finds, newest first.
fn entries(gateway: &Gateway, query: &str) -> Vec<Value> {
    let (status, page) = gateway.send(Request::get(&format!("/audit?{query}")));
    assert_eq!(status, 200, "{page}");
    page["entries"].as_array().unwrap().clone()
}

/// The one entry that a query finds.
fn entry(gateway: &Gateway, query: &str) -> Value {
    let mut found = entries(gateway, query);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn actions(found: &[Value]) -> Vec<&str> {
    found.iter().map(|entry| entry["action"].as_str().unwrap()).collect()
}

#[test]
fn a_change_is_told_with_what_was_there_before_and_after_and_no_secret() {
    let gateway = Gateway::new();
    let body = json!({
        "name": "clock", "url": "http://clock.example/mcp",
        "auth_type": "bearer", "auth_token": "hunter2",
    });
    let (_, made) = gateway.send(Request::post("/gateways", &body.to_string()));
    let id = made["id"].as_str().unwrap();
    let path = format!("/gateways/{id}");
    let change = json!({"description": "tells the time", "auth_token": "hunter3"}).to_string();
    gateway.send(Request::new(Method::Put, &path).with_body(&change));
    gateway.send(Request::post(&format!("{path}/state?activate=false"), ""));
    gateway.send(Request::new(Method::Delete, &path));

    let found = entries(&gateway, &format!("entity_id={id}"));
    let expected = ["gateways.delete", "gateways.update", "gateways.update", "gateways.create"];
    assert_eq!(actions(&found), expected);
    assert!(!json!(found).to_string().contains("hunter"), "{found:#?}");
    let [deleted, switched, updated, created] = &found[..] else { unreachable!() };
    assert_eq!(created["before"], Value::Null);
    assert_eq!(created["after"]["url"], "http://clock.example/mcp");
    assert_ne!(updated["before"]["description"], "tells the time");
    assert_eq!(updated["after"]["description"], "tells the time");
    assert_eq!(switched["before"]["enabled"], true);
    assert_eq!(switched["after"]["enabled"], false);
    assert_eq!(deleted["before"]["description"], "tells the time");
    assert_eq!(deleted["after"], Value::Null);
    for entry in &found {
        assert_eq!((&entry["entity"], &entry["entityName"]), (&json!("gateway"), &json!("clock")));
        assert_eq!((&entry["ip"], &entry["userAgent"]), (&json!("192.0.2.7"), &json!("tests/1")));
        assert_eq!((&entry["allowed"], &entry["succeeded"]), (&json!(true), &json!(true)));
    }
}

#[test]
fn prompts_resources_and_roots_are_told_as_records_and_not_as_what_they_hold() {
    let gateway = Gateway::new();
    let made = [
        ("/prompts", json!({"name": "hello", "template": "Hi {{ who }}"}), "prompt"),
        ("/resources", json!({"uri": "note://a", "name": "a", "content": "x"}), "resource"),
    ];
    for (path, body, kind) in made {
        let (_, made) = gateway.send(Request::post(path, &body.to_string()));
        let id = made["id"].as_str().unwrap();
        gateway.send(
            Request::new(Method::Put, &format!("{path}/{id}")).with_body("{\"tags\": [\"new\"]}"),
        );
        let found = entries(&gateway, &format!("entity_id={id}&entity={kind}"));
        assert_eq!(found.len(), 2, "{found:#?}");
        assert_eq!(found[0]["before"]["name"], body["name"]);
        assert_eq!(found[0]["before"]["tags"], json!([]));
        assert!(found[0]["after"]["tags"].to_string().contains("new"), "{found:#?}");
    }
    assert!(gateway.rpcs.borrow().is_empty(), "nothing was read or rendered for the trail");
    gateway.send(Request::post("/roots", "{\"uri\": \"file:///srv\"}"));
    assert_eq!(entry(&gateway, "action=roots.create")["entityName"], "file:///srv");
}

#[test]
fn a_refusal_is_told_with_its_reason_and_a_request_that_only_reads_is_not() {
    let gateway = Gateway::new();
    gateway.send(Request::get("/tools"));
    gateway.send(Request::get("/gateways/nothing"));
    let body = json!({"name": "x", "url": "http://x.example/mcp"}).to_string();
    gateway.send(Request::post("/gateways", &body).by_user());
    gateway.send(Request::get("/metrics").by_user());
    gateway.send(Request::get("/tools").by_nobody());
    let found = entries(&gateway, "allowed=false");
    assert_eq!(actions(&found), ["tools.read", "admin.metrics", "gateways.create"]);
    assert_eq!(found.len(), entries(&gateway, "").len());
    let words = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        (text("actor"), text("reason"), entry["status"].as_i64().unwrap())
    };
    let nobody = ("anonymous".to_owned(), "Not authenticated".to_owned(), 401);
    assert_eq!(words(&found[0]), nobody);
    let required = "Insufficient permissions. Required: gateways.create".to_owned();
    assert_eq!(words(&found[2]), ("user@example.com".to_owned(), required, 403));
    assert_eq!(found[2]["after"], Value::Null);
}

#[test]
fn a_change_that_fails_is_told_as_failed_and_leaves_no_after() {
    let gateway = Gateway::new();
    gateway.send(Request::post("/gateways", "{}"));
    let found = entry(&gateway, "action=gateways.create");
    assert_eq!((&found["succeeded"], &found["status"]), (&json!(false), &json!(422)));
    assert_eq!(found["after"], Value::Null);
    assert!(found["reason"].as_str().unwrap().contains("url"), "{found}");
}

#[test]
fn an_import_is_told_as_a_whole_and_entity_by_entity_and_its_rehearsal_only_as_a_whole() {
    let gateway = Gateway::new();
    gateway.send(Request::post("/roots", "{\"uri\": \"file:///srv\"}"));
    let (_, export) = gateway.send(Request::get("/export"));
    gateway.send(Request::new(Method::Delete, "/roots/file%3A%2F%2F%2Fsrv"));
    let before = entries(&gateway, "").len();
    let import = |dry_run| json!({"import_data": export, "dry_run": dry_run}).to_string();
    gateway.send(Request::post("/import", &import(true)));
    let found = entries(&gateway, "");
    assert_eq!(found.len(), before + 1);
    assert_eq!(found[0]["action"], "admin.import");
    gateway.send(Request::post("/import", &import(false)));
    let found = entries(&gateway, "");
    assert_eq!(actions(&found[..2]), ["admin.import", "roots.create"]);
    let exported = entry(&gateway, "action=admin.export");
    assert_eq!(exported["after"], Value::Null);
}

#[test]
fn pages_follow_each_other_and_lines_hold_the_same_entries() {
    let gateway = Gateway::new();
    for index in 0..7 {
        let body = json!({"uri": format!("file:///{index}\nforged line"), "name": "x\r\ny"});
        gateway.send(Request::post("/roots", &body.to_string()));
    }
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let (_, page) = gateway.send(Request::get(&format!("/audit?limit=3{cursor}")));
        paged.extend(page["entries"].as_array().unwrap().clone());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged.len(), 7);
    let answer = gateway.answer(Request::get("/audit/export"));
    assert!(answer.headers.contains("application/x-ndjson"));
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(text.lines().count(), 7, "no value breaks a line");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, paged);
    let cursor = lines[4]["cursor"].as_str().unwrap();
    let rest = gateway.answer(Request::get(&format!("/audit/export?cursor={cursor}&limit=1")));
    let rest: Value = serde_json::from_slice(&rest.body).unwrap();
    assert_eq!(rest, lines[5]);
}

#[test]
fn the_contract_s_list_has_its_names_and_leaves_out_as_many_as_it_is_told() {
    let gateway = Gateway::new();
    for index in 0..3 {
        let body = json!({"uri": format!("file:///{index}")}).to_string();
        gateway.send(Request::post("/roots", &body));
    }
    let list = |query: &str| {
        let path = format!("/api/logs/audit-trails?{query}");
        gateway.send(Request::get(&path)).1.as_array().unwrap().clone()
    };
    let found = list("resource_type=root&limit=1&offset=1");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["resource_name"], "file:///1");
    assert_eq!((&found[0]["success"], &found[0]["requires_review"]), (&json!(true), &json!(false)));
    assert!(list("requires_review=true").is_empty());
    assert!(list("start_time=2100-01-01T00:00:00Z").is_empty());
    let (status, _) = gateway.send(Request::get("/api/logs/audit-trails?offset=10001"));
    assert_eq!(status, 422);
}

#[test]
fn only_who_may_read_the_trail_reads_it_and_wrong_filters_are_named() {
    let gateway = Gateway::new();
    for path in ["/audit", "/audit/export", "/api/logs/audit-trails"] {
        assert_eq!(gateway.send(Request::get(path).by_user()).0, 403, "{path}");
        assert_eq!(gateway.send(Request::get(path).by_nobody()).0, 401, "{path}");
    }
    for query in ["from=yesterday", "allowed=perhaps", "cursor=x", "limit=-1"] {
        let (status, answer) = gateway.send(Request::get(&format!("/audit?{query}")));
        let name = query.split('=').next().unwrap();
        assert_eq!(status, 422, "{query}");
        assert!(answer["detail"].to_string().contains(name), "{answer}");
    }
}

#[test]
fn the_life_of_a_user_is_told_without_a_password_or_a_token() {
    let gateway = Gateway::new();
    let body = json!({
        "email": "new@example.com", "password": "hunter2-Hunter2!", "full_name": "New",
    });
    let (status, made) = gateway.send(Request::post("/auth/email/admin/users", &body.to_string()));
    assert_eq!(status, 201, "{made}");
    for password in ["hunter2-Hunter2!", "hunter3-wrong"] {
        let login = json!({"email": "new@example.com", "password": password}).to_string();
        gateway.send(Request::post("/auth/login", &login).by_nobody());
    }
    let path = "/auth/email/admin/users/new@example.com";
    let change = json!({"full_name": "Newer"}).to_string();
    gateway.send(Request::new(Method::Put, path).with_body(&change));
    gateway.send(Request::new(Method::Delete, path));

    let logins = entries(&gateway, "action=auth&actor=new@example.com");
    assert_eq!(actions(&logins), ["auth.login", "auth.login"]);
    assert_eq!(logins[0]["status"], 401, "{logins:#?}");
    assert_eq!(logins[0]["reason"], "The password is wrong");
    assert_eq!((&logins[1]["succeeded"], &logins[1]["after"]), (&json!(true), &Value::Null));
    let found = entries(&gateway, "entity=user");
    assert_eq!(actions(&found), ["users.delete", "users.update", "users.create"], "{found:#?}");
    assert_eq!(found[1]["before"]["full_name"], "New");
    assert_eq!(found[1]["after"]["full_name"], "Newer");
    assert!(found.iter().all(|entry| entry["entityName"] == "new@example.com"), "{found:#?}");
    let all = json!(entries(&gateway, "")).to_string();
    assert!(!all.contains("hunter") && !all.contains("eyJ"), "{all}");
}
