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
