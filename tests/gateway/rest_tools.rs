//! REST tools through the whole gateway: what reaches the service, and what comes back.

use serde_json::{Value, json};

use crate::compat::echo::Echo;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::Client;

/// Registers a tool; gives the name that clients call.
#[track_caller]
fn made(gateway: &Gateway, tool: &Value) -> String {
    let made = gateway.post("/tools", &json!({ "tool": tool })).expect(200).json();
    made["name"].as_str().expect("a tool has a name").to_owned()
}

#[test]
fn arguments_go_where_the_tool_says_and_the_rest_into_the_body() {
    let (gateway, service) = (Gateway::start(), Echo::start());
    let name = made(
        &gateway,
        &json!({
            "name": "put_note", "integration_type": "REST", "request_type": "PUT",
            "base_url": service.url(), "path_template": "/notes/{folder}/{id}",
            "query_mapping": {"verbose": "v"},
            "inputSchema": {"type": "object", "required": ["folder", "id"], "properties": {
                "folder": {"type": "string"}, "id": {"type": "integer"},
                "verbose": {"type": "boolean"}, "text": {"type": "string"}}},
        }),
    );
    let arguments = json!({"folder": "a/b c", "id": 7, "verbose": true, "text": "hi"});
    for client in [Client::legacy(&gateway, "/mcp"), Client::modern(&gateway, "/mcp")] {
        let params = json!({"name": name, "arguments": arguments});
        let sent = client.result("tools/call", params)["structuredContent"].clone();
        assert_eq!(sent["method"], "PUT");
        assert_eq!(sent["path"], "/notes/a%2Fb%20c/7");
        assert_eq!(sent["query"], "v=true");
        assert_eq!(sent["body"], json!({"text": "hi"}));
    }
    let wrong = json!({"name": name, "arguments": {"folder": "a", "id": "seven"}});
    let refused = gateway.rpc("tools/call", wrong);
    assert!(refused.to_string().contains("/id"), "{refused}");
}

#[test]
fn a_filter_of_jq_makes_the_answer_and_one_that_never_ends_is_stopped() {
    let gateway = Gateway::setup().set("REST_FILTER_TIMEOUT", "1").start();
    let service = Echo::start();
    let tool = |name: &str, filter: &str| {
        json!({"name": name, "integration_type": "REST", "request_type": "POST",
            "url": format!("{}/things", service.url()), "jsonpath_filter": filter})
    };
    let name = made(&gateway, &tool("things", "{path, doubled: (.body.n * 2)}"));
    let answer = gateway.call(&name, json!({"n": 21}));
    let expected = json!({"path": "/things", "doubled": 42});
    assert_eq!(answer["structuredContent"], expected, "{answer}");
    let endless = made(&gateway, &tool("endless", "last(repeat(1))"));
    let answer = gateway.call(&endless, json!({}));
    assert_eq!(answer["isError"], true, "{answer}");
    let again = gateway.call(&name, json!({"n": 2}));
    assert_eq!(again["structuredContent"]["doubled"], 4, "{again}");
    for filter in ["{", "$.a[*].b"] {
        let refused = gateway.post("/tools", &json!({ "tool": tool("bad", filter) })).expect(422);
        assert!(refused.text().contains("jsonpath_filter"), "{}", refused.text());
    }
}

#[test]
fn a_service_that_fails_is_an_error_that_the_model_reads() {
    let (gateway, service) = (Gateway::start(), Echo::start());
    let tool = |name: &str, url: String| json!({"name": name, "integration_type": "REST", "request_type": "GET", "url": url});
    let teapot = made(&gateway, &tool("teapot", format!("{}/status/418", service.url())));
    let answer = gateway.call(&teapot, json!({}));
    assert_eq!(answer["isError"], true, "{answer}");
    assert!(answer.to_string().contains("418"), "{answer}");
    let gone = made(&gateway, &tool("gone", "http://127.0.0.1:1/".to_owned()));
    let answer = gateway.call(&gone, json!({}));
    assert_eq!(answer["isError"], true, "{answer}");
    let tools = gateway.get("/metrics").expect(200).json()["tools"].clone();
    let text = tools.to_string().to_lowercase();
    assert!(
        text.contains("\"failedexecutions\":2") || text.contains("\"failed_executions\":2"),
        "{tools}"
    );
}
