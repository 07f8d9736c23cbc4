//! Tools out of OpenAPI documents, through the REST API.

use serde_json::{Value, json};

use super::harness::{Gateway, Request};
use crate::failure::{Failure, UpstreamKind};

const GENERATE: &str = "/v1/tools/generate-schemas-from-openapi";

/// An API of two operations.
fn api() -> Value {
    json!({
        "openapi": "3.0.3",
        "info": {"title": "Sums"},
        "servers": [{"url": "http://sums.example/v1"}],
        "paths": {
            "/sums/{id}": {"get": {"operationId": "getSum", "responses": {"200": {"content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Sum"}}}}}}},
            "/sums": {"post": {"operationId": "addSum", "requestBody": {"required": true, "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Sum"}}}}}},
        },
        "components": {"schemas": {"Sum": {"type": "object", "required": ["a"],
            "properties": {"a": {"type": "number"}}}}},
    })
}

/// A gateway that finds `text` at one URL, and nothing elsewhere.
fn with_page(place: &'static str, text: String) -> Gateway {
    let gateway = Gateway::new();
    *gateway.pages.borrow_mut() = Box::new(move |url| match url == place {
        true => Ok(text.clone().into_bytes()),
        false => Err(Failure::upstream("h", UpstreamKind::Status(404), "not there", false)),
    });
    gateway
}

#[test]
fn generates_the_schemas_of_one_operation_in_the_contracts_shape() {
    let gateway = with_page("http://sums.example/openapi.json", api().to_string());
    let body = json!({"url": "http://sums.example/sums", "request_type": "POST"});
    let (status, answer) = gateway.send(Request::post(GENERATE, &body.to_string()));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["success"], true);
    assert_eq!(answer["spec_url"], "http://sums.example/openapi.json");
    assert_eq!(answer["input_schema"]["required"], json!(["a"]));
    assert_eq!(answer["output_schema"], Value::Null);
    let body = json!({"url": "http://sums.example/v1/sums/{id}"});
    let (status, answer) = gateway.send(Request::post(GENERATE, &body.to_string()));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["output_schema"]["properties"]["a"], json!({"type": "number"}));
}

#[test]
fn says_in_the_contracts_shape_why_there_are_no_schemas() {
    let gateway = with_page("http://h/spec", api().to_string());
    let swagger = with_page("http://h/spec", r#"{"swagger": "2.0"}"#.to_owned());
    for (gateway, body, expected, part) in [
        (&gateway, json!({"url": "ftp://h/sums"}), 400, "http or https"),
        (&gateway, json!({"url": "http://h/sums"}), 502, "HTTP 404"),
        (
            &gateway,
            json!({"url": "http://h/none", "openapi_url": "http://h/spec"}),
            404,
            "GET /none",
        ),
        (&swagger, json!({"url": "http://h/sums", "openapi_url": "http://h/spec"}), 422, "Swagger"),
    ] {
        let (status, answer) = gateway.send(Request::post(GENERATE, &body.to_string()));
        assert_eq!((status, &answer["success"]), (expected, &json!(false)), "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(part), "{answer}");
    }
    let refused = Gateway::new();
    *refused.pages.borrow_mut() =
        Box::new(|_| Err(Failure::upstream("h", UpstreamKind::Refused, "loopback", false)));
    let (status, answer) = refused.send(Request::post(GENERATE, r#"{"url": "http://h/sums"}"#));
    assert_eq!(status, 400);
    assert_eq!(answer["message"], "Security validation failed: loopback");
    let (status, answer) = refused.send(Request::post(GENERATE, "{}"));
    assert_eq!(status, 422);
    assert_eq!(answer["detail"][0]["loc"], json!(["body", "url"]));
}

const IMPORT: &str = "/tools/import-openapi";

#[test]
fn a_dry_run_shows_the_tools_without_their_secrets_and_makes_none() {
    let gateway = Gateway::new();
    let mut api = api();
    api["components"]["securitySchemes"] =
        json!({"key": {"type": "apiKey", "in": "header", "name": "X-Key"}});
    api["security"] = json!([{"key": []}]);
    let body = json!({"document": api, "dry_run": true, "visibility": "private",
        "credentials": {"key": "hush"}});
    let (status, report) = gateway.send(Request::post(IMPORT, &body.to_string()));
    assert_eq!(status, 200, "{report}");
    assert_eq!((&report["source"], &report["dry_run"]), (&json!("sums"), &json!(true)));
    assert_eq!(report["created"].as_array().unwrap().len(), 2);
    let tool = &report["tools"][0];
    assert_eq!(tool["name"], "getSum");
    assert_eq!(tool["auth_headers"], json!([{"key": "X-Key", "value": "********"}]));
    assert_eq!(tool["visibility"], "private");
    assert_eq!(tool["extensionMetadata"]["openapi"]["operation"], "GET /sums/{id}");
    assert!(!report.to_string().contains("hush"));
    assert_eq!(gateway.tool_names(), Vec::<String>::new());
}

#[test]
fn takes_a_document_as_a_text_too() {
    let gateway = Gateway::new();
    let body = json!({"document": api().to_string(), "dry_run": true, "tags": "none"});
    let (status, report) = gateway.send(Request::post(IMPORT, &body.to_string()));
    assert_eq!((status, &report["filtered_count"]), (200, &json!(2)), "{report}");
}

#[test]
fn an_import_that_cannot_be_says_what_is_wrong_with_it() {
    let gateway = with_page("http://h/spec", "openapi: 5\n".to_owned());
    for (body, place, part) in [
        (json!({}), "url", "a url or a document"),
        (json!({"url": "http://h/spec", "document": "x"}), "document", "not both"),
        (json!({"url": "http://h/spec"}), "url", "OpenAPI 5"),
        (json!({"document": "]"}), "document", "YAML"),
        (json!({"document": {"swagger": "2.0"}}), "document", "Swagger 2.0"),
        (json!({"document": "x", "credentials": {"key": 1}}), "credentials", "texts"),
        (json!({"document": "x", "dry_run": "perhaps"}), "dry_run", "true or false"),
    ] {
        let (status, answer) = gateway.send(Request::post(IMPORT, &body.to_string()));
        assert_eq!(status, 422, "{body}: {answer}");
        assert_eq!(answer["detail"][0]["loc"], json!(["body", place]), "{answer}");
        assert!(answer["detail"][0]["msg"].as_str().unwrap().contains(part), "{answer}");
    }
}

fn import(gateway: &Gateway, body: &Value) -> Value {
    let (status, report) = gateway.send(Request::post(IMPORT, &body.to_string()));
    assert_eq!(status, 200, "{report}");
    report
}

/// How many entries each list of a report has: created, updated, unchanged, removed, failed.
fn counts(report: &Value) -> [usize; 5] {
    ["created", "updated", "unchanged", "removed", "failed"]
        .map(|list| report[list].as_array().expect(list).len())
}

#[test]
fn an_import_makes_tools_and_another_changes_only_what_changed() {
    let gateway = Gateway::new();
    let mut body = json!({"document": api(), "prefix": "sums-"});
    let first = import(&gateway, &body);
    assert_eq!(counts(&first), [2, 0, 0, 0, 0], "{first}");
    assert_eq!(gateway.tool_names(), ["sums-addsum", "sums-getsum"]);
    let path = format!("/tools/{}", first["created"][1]["id"].as_str().unwrap());
    let (_, tool) = gateway.send(Request::get(&path));
    assert_eq!(tool["integrationType"], "REST");
    assert_eq!(tool["url"], "http://sums.example/v1/sums");
    assert_eq!(tool["inputSchema"]["required"], json!(["a"]));
    let again = import(&gateway, &body);
    assert_eq!(counts(&again), [0, 0, 2, 0, 0], "{again}");
    body["document"]["paths"]["/sums"]["post"]["operationId"] = json!("createSum");
    body["document"]["paths"]["/sums"]["post"]["summary"] = json!("Adds.");
    let changed = import(&gateway, &body);
    assert_eq!(counts(&changed), [0, 1, 1, 0, 0], "{changed}");
    assert_eq!(gateway.tool_names(), ["sums-addsum", "sums-getsum"], "it keeps its name");
    let (_, tool) = gateway.send(Request::get(&path));
    assert_eq!(tool["description"], "Adds.");
}

#[test]
fn what_is_gone_is_told_and_deleted_only_if_that_is_asked() {
    let gateway = Gateway::new();
    import(&gateway, &json!({"document": api()}));
    let mut less = api();
    less["paths"].as_object_mut().unwrap().remove("/sums");
    let told = import(&gateway, &json!({"document": less}));
    assert_eq!((counts(&told), &told["pruned"]), ([0, 0, 1, 1, 0], &json!(false)), "{told}");
    assert_eq!(told["removed"][0]["operation"], "POST /sums");
    assert_eq!(gateway.tool_names().len(), 2);
    let filtered = import(&gateway, &json!({"document": api(), "methods": "get", "prune": true}));
    assert_eq!(counts(&filtered), [0, 0, 1, 0, 0], "a filter deletes nothing: {filtered}");
    let dry = import(&gateway, &json!({"document": less, "prune": true, "dry_run": true}));
    assert_eq!((counts(&dry)[3], gateway.tool_names().len()), (1, 2));
    let pruned = import(&gateway, &json!({"document": less, "prune": true}));
    assert_eq!((counts(&pruned)[3], &pruned["pruned"]), (1, &json!(true)), "{pruned}");
    assert_eq!(gateway.tool_names(), ["getsum"]);
}

#[test]
fn a_tool_that_cannot_be_made_is_told_and_the_others_are_made() {
    let gateway = Gateway::new();
    let tool = json!({"tool": {"name": "getSum", "url": "http://h/", "request_type": "GET"}});
    let (status, answer) = gateway.send(Request::post("/tools", &tool.to_string()));
    assert_eq!(status, 200, "{answer}");
    let report = import(&gateway, &json!({"document": api()}));
    assert_eq!(counts(&report), [1, 0, 0, 0, 1], "{report}");
    assert_eq!(report["failed"][0]["operation"], "GET /sums/{id}");
    assert!(report["failed"][0]["error"].to_string().contains("getsum"), "{report}");
}

#[test]
fn credentials_are_kept_sealed_and_can_be_given_anew() {
    let gateway = Gateway::new();
    let mut api = api();
    api["components"]["securitySchemes"] =
        json!({"key": {"type": "apiKey", "in": "header", "name": "X-Key"}});
    api["security"] = json!([{"key": []}]);
    let body = |secret: &str| json!({"document": api, "credentials": {"key": secret}});
    let report = import(&gateway, &body("hush-1"));
    assert_eq!(counts(&report), [2, 0, 0, 0, 0], "{report}");
    let again = import(&gateway, &body("hush-2"));
    assert_eq!(counts(&again), [0, 2, 0, 0, 0], "{again}");
    let without = import(&gateway, &json!({"document": api}));
    assert_eq!(
        counts(&without),
        [0, 0, 2, 0, 0],
        "secrets are no reason to change a tool: {without}"
    );
    let (_, tools) = gateway.send(Request::get("/tools"));
    assert!(!tools.to_string().contains("hush"), "{tools}");
}
