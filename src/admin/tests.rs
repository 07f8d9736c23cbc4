//! The REST contract, request by request: a real store on SQLite, and an upstream that answers
//! what the test says.

mod agents;
mod apidoc;
mod audit;
mod gateways;
mod harness;
mod offers;
mod openapi;
mod people;
mod rbac;
mod servers;
mod sso;
mod tags;
mod teams;
mod tools;
mod transfer;

use serde_json::json;

use crate::auth::settle::{Standing, settle};
use crate::catalog::People;
use crate::safety;
use crate::settings;
use harness::{Gateway, Request};
use net::http1::Method;

#[test]
fn probes_answer_everybody() {
    let gateway = Gateway::new();
    for (path, expected) in [
        ("/health", json!({"status": "healthy"})),
        ("/ready", json!({"status": "ready"})),
        ("/v1/health/", json!({"status": "healthy"})),
    ] {
        let (status, body) = gateway.send(Request::get(path).by_nobody());
        assert_eq!((status, body), (200, expected), "{path}");
    }
    let (status, body) = gateway.send(Request::get("/").by_nobody());
    assert_eq!(status, 200);
    assert_eq!(body["name"], "Ringway");
    assert_eq!(body["ui_enabled"], false);
}

#[test]
fn readiness_says_why_not_and_to_try_again() {
    let gateway = Gateway::new();
    *gateway.ready.borrow_mut() = Err("the catalog is being loaded".to_owned());
    let answer = gateway.answer(Request::get("/ready").by_nobody());
    assert_eq!(answer.status, 503);
    assert!(answer.retry_after);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body, json!({"status": "not ready", "error": "the catalog is being loaded"}));
}

#[test]
fn security_is_judged_by_the_settings_and_told_to_administrators() {
    let judged = |file: &str| {
        let mut gateway = Gateway::new();
        let loaded = settings::parse(file, [], &[]).unwrap();
        gateway.rules.security = safety::Report::new(&loaded.settings);
        gateway.send(Request::get("/health/security")).1
    };
    let body = judged("");
    assert_eq!((&body["status"], &body["score"]), (&json!("healthy"), &json!(100)));
    assert_eq!((&body["warning_count"], &body["warnings"]), (&json!(0), &json!([])));
    let body = judged("AUTH_REQUIRED=false\nJWT_SECRET_KEY=short");
    assert_eq!(body["score"], 80);
    assert_eq!(body["checks"]["authentication"], false);
    assert_eq!(body["checks"]["secure_secrets"], false);
    assert_eq!(body["warning_count"], 2);
    let gateway = Gateway::new();
    assert_eq!(gateway.send(Request::get("/health/security").by_nobody()).0, 401);
}

#[test]
fn everything_else_wants_to_know_who_asks() {
    let gateway = Gateway::new();
    for path in ["/version", "/gateways", "/tools", "/tools/x", "/servers", "/servers/x/tools"] {
        let (status, body) = gateway.send(Request::get(path).by_nobody());
        assert_eq!((status, body), (401, json!({"detail": "Not authenticated"})), "{path}");
    }
}

#[test]
fn only_an_administrator_writes_and_the_answer_names_the_permission() {
    let gateway = Gateway::new();
    for (method, path, permission) in [
        (Method::Post, "/gateways", "gateways.create"),
        (Method::Put, "/gateways/x", "gateways.update"),
        (Method::Delete, "/gateways/x", "gateways.delete"),
        (Method::Post, "/gateways/x/state", "gateways.update"),
        (Method::Post, "/gateways/x/tools/refresh", "gateways.update"),
        (Method::Post, "/tools", "tools.create"),
        (Method::Post, "/tools/bulk", "tools.create"),
        (Method::Put, "/tools/x", "tools.update"),
        (Method::Post, "/tools/x/state", "tools.update"),
        (Method::Delete, "/tools/x", "tools.delete"),
        (Method::Post, "/servers", "servers.create"),
        (Method::Put, "/servers/x", "servers.update"),
        (Method::Delete, "/servers/x", "servers.delete"),
        (Method::Post, "/servers/x/toggle", "servers.update"),
    ] {
        let (status, body) = gateway.send(Request::new(method, path).by_user());
        assert_eq!(status, 403, "{method:?} {path}");
        let expected = format!("Insufficient permissions. Required: {permission}");
        assert_eq!(body["detail"], expected.as_str(), "{method:?} {path}");
    }
}

#[test]
fn a_token_does_no_more_than_its_scopes_say() {
    let gateway = Gateway::new();
    let scoped = |permissions: &[&str], server_id: Option<&str>| {
        let mut caller = crate::auth::Caller::operator();
        caller.scopes = Some(crate::auth::Scopes {
            server_id: server_id.map(str::to_owned),
            permissions: permissions.iter().map(ToString::to_string).collect(),
            ..Default::default()
        });
        let standing = Standing::new(&settings::parse("", [], &[]).unwrap().settings.auth);
        settle(&caller, &People::default(), &standing, 0).unwrap().0
    };
    let reader = scoped(&["tools.read"], None);
    for (request, expected) in [
        (Request::get("/tools"), 200),
        (Request::get("/gateways"), 403),
        (Request::new(Method::Delete, "/gateways/x"), 403),
        (Request::get("/version"), 200),
    ] {
        assert_eq!(gateway.send(request.by(&reader)).0, expected);
    }
    let bound = scoped(&[], Some("aa"));
    for (path, expected) in
        [("/tools", 403), ("/servers", 403), ("/servers/bb", 403), ("/servers/aa", 404)]
    {
        assert_eq!(gateway.send(Request::get(path).by(&bound)).0, expected, "{path}");
    }
}

#[test]
fn unknown_paths_ids_and_methods_are_told_apart() {
    let gateway = Gateway::new();
    for (request, status, body) in [
        (Request::get("/nothing"), 404, json!({"detail": "Not Found"})),
        (
            Request::get("/gateways/x"),
            404,
            json!({"message": "Gateway not found: x", "detail": "Gateway not found: x"}),
        ),
        (
            Request::new(Method::Delete, "/gateways/x"),
            404,
            json!({"message": "Gateway not found: x", "detail": "Gateway not found: x"}),
        ),
        (
            Request::post("/gateways/x/state", ""),
            404,
            json!({"message": "Gateway not found: x", "detail": "Gateway not found: x"}),
        ),
        (Request::get("/tools/x"), 404, json!({"detail": "Tool not found: x"})),
        (Request::get("/servers/x"), 404, json!({"detail": "Server not found: x"})),
        (Request::get("/servers/x/prompts"), 404, json!({"detail": "Server not found: x"})),
    ] {
        assert_eq!(gateway.send(request), (status, body));
    }
    let answer = gateway.answer(Request::new(Method::Delete, "/gateways"));
    assert_eq!((answer.status, answer.allow), (405, Some("GET, HEAD, POST")));
}

#[test]
fn version_tells_of_the_process_and_shows_settings_to_administrators_only() {
    let gateway = Gateway::new();
    let (status, body) = gateway.send(Request::get("/version"));
    assert_eq!(status, 200);
    assert_eq!(body["app"]["name"], "Ringway");
    assert_eq!(body["app"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(body["app"]["mcp_protocol_version"], "2026-07-28");
    assert_eq!(body["database"]["dialect"], "sqlite");
    assert_eq!(body["redis"]["available"], false);
    assert_eq!(body["settings"]["HOST"], "127.0.0.1");
    assert!(body["uptime_seconds"].as_i64().unwrap() > 0);
    let (_, body) = gateway.send(Request::get("/version").by_user());
    assert_eq!(body.get("settings"), None);
}

#[test]
fn a_query_that_cannot_be_read_names_each_parameter() {
    let gateway = Gateway::new();
    let path = "/tools?include_inactive=maybe&limit=-1&cursor=%21&visibility=all&unknown=x";
    let (status, body) = gateway.send(Request::get(path));
    assert_eq!(status, 422);
    let places: Vec<_> =
        body["detail"].as_array().unwrap().iter().map(|each| &each["loc"]).collect();
    assert_eq!(
        json!(places),
        json!([
            ["query", "include_inactive"],
            ["query", "visibility"],
            ["query", "cursor"],
            ["query", "limit"]
        ])
    );
    assert_eq!(body["detail"][0]["input"], "maybe");
}
