//! What is counted of API tokens.

use serde_json::json;

use super::{ANN, api_token, start, user};
use crate::harness::gateway::Gateway;

#[test]
fn what_a_token_was_used_for_is_told_to_its_owner_and_outlives_the_gateway() {
    let gateway = start();
    let ann = user(&gateway, ANN);
    let as_ann = |method: &str, path: &str| gateway.ask_as(Some(&ann), method, path, None);
    let server =
        gateway.post("/servers", &json!({ "server": { "name": "one" } })).expect(201).json();
    let server = server["id"].as_str().expect("an id").to_owned();
    let scope = json!({ "name": "bound", "scope": { "server_id": server } });
    let (bound_id, bound) = api_token(&gateway, &ann, &scope);
    let (id, token) = api_token(&gateway, &ann, &json!({ "name": "free" }));
    let shown = |id: &str| as_ann("GET", &format!("/tokens/{id}")).expect(200).json();
    assert_eq!(shown(&id)["last_used"], json!(null));
    let usage = |id: &str| as_ann("GET", &format!("/tokens/{id}/usage?days=1")).expect(200).json();
    assert_eq!(usage(&id)["total_requests"], 0);

    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    for (method, path, expected) in [
        ("GET", "/tools", 200),
        ("GET", "/v1/tools/nothing", 404),
        ("GET", "/auth/email/admin/users", 403),
        ("POST", "/rpc", 200),
        ("GET", "/no-such-thing", 404),
    ] {
        let body = (method == "POST").then_some(&ping);
        gateway.ask_as(Some(&token), method, path, body).expect(expected);
    }
    let told = usage(&id);
    let counts = ["total_requests", "successful_requests", "blocked_requests", "period_days"]
        .map(|name| &told[name]);
    assert_eq!(counts, [&json!(5), &json!(2), &json!(1), &json!(1)], "{told}");
    assert_eq!(told["success_rate"], 0.4);
    let top = json!([["/tools", 2], ["/auth", 1], ["/rpc", 1], ["other", 1]]);
    assert_eq!(told["top_endpoints"], top);
    assert!(shown(&id)["last_used"].is_string());
    let list = as_ann("GET", "/tokens").expect(200).json();
    assert!(list["tokens"][0]["last_used"].is_string(), "{list}");

    gateway.ask_as(Some(&bound), "POST", "/mcp", Some(&ping)).expect(403);
    let told = usage(&bound_id);
    assert_eq!(
        (&told["blocked_requests"], &told["success_rate"]),
        (&json!(1), &json!(0.0)),
        "{told}"
    );

    let other = user(&gateway, "bob@example.com");
    let path = format!("/tokens/{id}/usage");
    gateway.ask_as(Some(&other), "GET", &path, None).expect(404);
    for days in ["0", "367", "x"] {
        as_ann("GET", &format!("{path}?days={days}")).expect(422);
    }
}

#[test]
fn what_was_counted_when_a_gateway_ends_is_stored() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let start = || super::setup().data(folder.path()).start();
    let count = |gateway: &Gateway, id: &str| {
        gateway.get(&format!("/tokens/{id}/usage")).expect(200).json()["total_requests"].clone()
    };
    let gateway = start();
    super::session_of(&gateway, super::ROOT, super::PASSWORD);
    let ann = user(&gateway, ANN);
    let (id, token) = api_token(&gateway, &ann, &json!({ "name": "robot" }));
    for _ in 0..3 {
        gateway.ask_as(Some(&token), "GET", "/tools", None).expect(200);
    }
    gateway.stop();
    assert_eq!(count(&start(), &id), 3);
}
