//! Tools made and changed by hand.

use serde_json::{Value, json};

use super::harness::{Gateway, Request};
use crate::settings::MASK;

fn create(gateway: &Gateway, body: Value) -> (u16, Value) {
    gateway.send(Request::post("/tools", &body.to_string()))
}

fn update(gateway: &Gateway, id: &str, body: Value) -> (u16, Value) {
    gateway.send(Request::put(&format!("/tools/{id}"), &body.to_string()))
}

fn made(gateway: &Gateway, tool: Value) -> Value {
    let (status, body) = create(gateway, json!({ "tool": tool }));
    assert_eq!(status, 200, "{body}");
    body
}

fn echo(gateway: &Gateway) -> Value {
    made(gateway, json!({"name": "rest_echo", "url": "https://api.example/echo/{id}?v=1"}))
}

fn id(tool: &Value) -> &str {
    tool["id"].as_str().unwrap_or_else(|| panic!("{tool}"))
}

/// A tool without what use changes.
fn still(mut tool: Value) -> Value {
    for name in ["metrics", "executionCount"] {
        tool[name].take();
    }
    tool
}

fn fields_at_fault(body: &Value) -> Vec<String> {
    let details = body["detail"].as_array().unwrap_or_else(|| panic!("{body}"));
    let place = |each: &Value| {
        let parts = each["loc"].as_array().unwrap().iter().skip(1);
        parts.map(|part| part.as_str().unwrap()).collect::<Vec<_>>().join(".")
    };
    details.iter().map(place).collect()
}

#[test]
fn a_rest_tool_has_every_field_of_the_contract_and_ours() {
    let gateway = Gateway::new();
    let sent = json!({
        "name": "rest_full", "displayName": "Full one", "title": "Full", "description": "Does it.",
        "base_url": "https://api.example/v1/", "path_template": "/users/{id}",
        "request_type": "post", "integration_type": "REST", "headers": {"X-Extra": "1"},
        "inputSchema": {"properties": {"id": {"type": "string"}}, "required": ["id"]},
        "outputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true},
        "jsonpath_filter": ".a", "query_mapping": {"q": "query"}, "header_mapping": {"h": "X-H"},
        "timeout_ms": 5000, "expose_passthrough": false, "allowlist": ["api.example"],
        "plugin_chain_pre": ["p"], "plugin_chain_post": ["q"], "deprecated": true,
        "extensionMetadata": {"a": 1}, "tags": ["Rest"], "visibility": "private",
        "body_format": "form", "concurrency_limit": 3, "response_size_max": 1000,
        "validate_arguments": false, "unknown": "ignored",
    });
    let (status, tool) =
        create(&gateway, json!({"tool": sent, "team_id": null, "visibility": "public"}));
    assert_eq!(status, 200, "{tool}");
    let expected = json!({
        "name": "rest-full", "originalName": "rest_full", "customName": "rest_full",
        "customNameSlug": "rest-full", "displayName": "Full one", "title": "Full",
        "description": "Does it.", "originalDescription": "Does it.",
        "url": "https://api.example/v1/users/{id}", "baseUrl": "https://api.example/v1/",
        "pathTemplate": "/users/{id}", "requestType": "POST", "integrationType": "REST",
        "headers": {"X-Extra": "1"}, "jsonpathFilter": ".a", "queryMapping": {"q": "query"},
        "headerMapping": {"h": "X-H"}, "timeoutMs": 5000, "exposePassthrough": false,
        "allowlist": ["api.example"], "pluginChainPre": ["p"], "pluginChainPost": ["q"],
    });
    let as_declared = json!({
        "inputSchema": {"properties": {"id": {"type": "string"}}, "required": ["id"],
                        "type": "object"},
        "outputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true},
        "deprecated": true, "extensionMetadata": {"a": 1}, "visibility": "private",
        "tags": [{"id": "rest", "label": "rest"}], "bodyFormat": "form", "concurrencyLimit": 3,
        "responseSizeMax": 1000, "validateArguments": false, "enabled": true, "reachable": true,
        "auth": null, "gatewayId": null, "gatewaySlug": "", "version": 1,
        "grpcServiceId": null, "createdVia": "api",
        "ownerEmail": "admin@example.com",
    });
    for (name, value) in
        expected.as_object().unwrap().iter().chain(as_declared.as_object().unwrap())
    {
        assert_eq!(&tool[name], value, "{name}");
    }
    let (status, read) = gateway.send(Request::get(&format!("/tools/{}", id(&tool))));
    assert_eq!((status, still(read)), (200, still(tool)));
    gateway.assert_stored();
}

#[test]
fn a_flat_body_and_the_visibility_beside_a_wrapper_count_too() {
    let gateway = Gateway::new();
    let (status, flat) = create(&gateway, json!({"name": "flat", "url": "http://a.example/"}));
    assert_eq!((status, &flat["name"]), (200, &json!("flat")));
    assert_eq!(flat["inputSchema"], json!({"type": "object", "properties": {}}));
    assert_eq!(flat["requestType"], "GET");
    let outer = json!({"tool": {"name": "o", "url": "http://a.example/"}, "visibility": "private"});
    assert_eq!(create(&gateway, outer).1["visibility"], "private");
}

#[test]
fn every_field_at_fault_is_named_at_once() {
    let gateway = Gateway::new();
    let (status, body) = create(
        &gateway,
        json!({"tool": {
            "name": "no good!", "url": "http://a.example/", "request_type": "FETCH",
            "integration_type": "SOAP", "headers": {"X Y": "1"}, "timeout_ms": "soon",
            "inputSchema": {"type": "array"}, "outputSchema": "text", "tags": ["<b>"],
            "annotations": {"readOnlyHint": "yes"}, "jsonpath_filter": "$.a", "body_format": "xml",
            "query_mapping": {"a": 1}, "concurrency_limit": -1, "visibility": "all",
            "gateway_id": "nowhere", "deprecated": 1,
        }}),
    );
    assert_eq!(status, 422);
    let mut found = fields_at_fault(&body);
    found.sort();
    let expected = [
        "annotations",
        "body_format",
        "concurrency_limit",
        "deprecated",
        "gateway_id",
        "headers",
        "input_schema",
        "integration_type",
        "jsonpath_filter",
        "name",
        "output_schema",
        "query_mapping",
        "request_type",
        "tags",
        "timeout_ms",
        "visibility",
    ];
    let expected: Vec<String> = expected.iter().map(|name| format!("tool.{name}")).collect();
    assert_eq!(found, expected);
    let (_, body) = create(&gateway, json!({"tool": {"name": "x", "url": "javascript:alert(1)"}}));
    assert_eq!(fields_at_fault(&body), ["tool.url"]);
    let (_, body) = create(&gateway, json!({"tool": {}}));
    assert_eq!(fields_at_fault(&body), ["tool.name", "tool.url"]);
    let filter = json!({"name": "x", "url": "http://a/", "jsonpath_filter": "no program"});
    assert_eq!(fields_at_fault(&create(&gateway, filter).1), ["jsonpath_filter"]);
}

#[test]
fn tools_of_servers_and_agents_are_not_made_by_hand() {
    let gateway = Gateway::new();
    for kind in ["MCP", "A2A"] {
        let tool = json!({"name": "x", "url": "http://a.example/", "integration_type": kind});
        let (status, body) = create(&gateway, json!({ "tool": tool }));
        assert_eq!(
            (status, fields_at_fault(&body)),
            (422, vec!["tool.integration_type".to_owned()])
        );
    }
}

#[test]
fn secrets_are_masked_and_a_mask_that_comes_back_keeps_them() {
    let gateway = Gateway::new();
    let tool = made(
        &gateway,
        json!({
            "name": "secretive", "url": "https://api.example/", "request_type": "POST",
            "auth_type": "basic", "auth_username": "me", "auth_password": "pa55word",
            "headers": {"X-API-Key": "k3y-s3cret", "Accept": "text/plain"},
        }),
    );
    assert_eq!(tool["headers"], json!({"Accept": "text/plain", "X-API-Key": MASK}));
    assert_eq!(tool["auth"]["authType"], "basic");
    assert_eq!(tool["auth"]["username"], "me");
    assert_eq!(tool["auth"]["password"], MASK);
    let credentials = |gateway: &Gateway| {
        let catalog = crate::admin::Backend::catalog(gateway);
        catalog.tool(id(&tool)).unwrap().credentials.clone()
    };
    let first = credentials(&gateway);
    assert_eq!(first.len(), 2);
    assert!(first.contains(&("X-API-Key".to_owned(), "k3y-s3cret".to_owned())), "{first:?}");
    let (status, again) = update(&gateway, id(&tool), tool.clone());
    assert_eq!(status, 200, "{again}");
    assert_eq!(credentials(&gateway), first);
    let stored = gateway.stored_tool(id(&tool));
    for secret in ["pa55word", "k3y-s3cret"] {
        assert!(!format!("{stored:?}").contains(secret));
        assert!(!again.to_string().contains(secret));
    }
    // What is not sent stays, what is sent anew replaces.
    let change = json!({"auth": {"auth_type": "bearer", "token": "t0ken"}});
    let (_, tool) = update(&gateway, id(&tool), change);
    assert_eq!(
        (&tool["auth"]["authType"], &tool["auth"]["username"]),
        (&json!("bearer"), &json!(""))
    );
    let found = credentials(&gateway);
    assert!(found.contains(&("Authorization".to_owned(), "Bearer t0ken".to_owned())));
    assert!(found.contains(&("X-API-Key".to_owned(), "k3y-s3cret".to_owned())));
    let (_, tool) = update(&gateway, id(&tool), json!({"auth_type": "none", "headers": {}}));
    assert_eq!((&tool["auth"], &tool["headers"]), (&Value::Null, &Value::Null));
    assert_eq!(credentials(&gateway), []);
}

#[test]
fn headers_and_query_parameters_may_prove_us() {
    let gateway = Gateway::new();
    let tool = made(
        &gateway,
        json!({"name": "h", "url": "https://a.example/", "auth_type": "authheaders",
               "auth_headers": [{"key": "X-A", "value": "1"}, {"key": "X-B", "value": "2"}]}),
    );
    let keys: Vec<_> =
        tool["auth"]["authHeaders"].as_array().unwrap().iter().map(|each| &each["key"]).collect();
    assert_eq!(json!(keys), json!(["X-A", "X-B"]));
    let tool = made(
        &gateway,
        json!({"name": "q", "url": "https://a.example/", "auth_type": "query_param",
               "auth_query_param_key": "key", "auth_query_param_value": "v4lue"}),
    );
    assert_eq!(tool["auth"]["authQueryParamKey"], "key");
    assert!(!tool.to_string().contains("v4lue"));
    let twice = json!({"name": "t", "url": "https://a.example/", "auth_type": "bearer",
                       "auth_token": "x", "headers": {"authorization": "y"}});
    assert_eq!(fields_at_fault(&create(&gateway, twice).1), ["headers"]);
}

#[test]
fn sending_back_what_was_read_changes_nothing_but_the_version() {
    let gateway = Gateway::new();
    gateway.register("time");
    for id in [id(&echo(&gateway)).to_owned(), gateway.tool_id("time-convert-time")] {
        let target = format!("/tools/{id}");
        let mut before = gateway.send(Request::get(&target)).1;
        let (status, mut after) = update(&gateway, &id, before.clone());
        assert_eq!(status, 200, "{after}");
        assert_eq!(after["version"], 2);
        for name in [
            "version",
            "updatedAt",
            "modifiedBy",
            "modifiedFromIp",
            "modifiedVia",
            "modifiedUserAgent",
        ] {
            before[name].take();
            after[name].take();
        }
        assert_eq!(still(before), still(after));
    }
}

#[test]
fn a_tool_of_an_upstream_is_renamed_and_described_here_and_a_refresh_leaves_it_so() {
    let gateway = Gateway::new();
    let upstream = gateway.register("time");
    let tool_id = gateway.tool_id("time-convert-time");
    let change = json!({"customName": "turn", "displayName": "Turn", "description": "Turns.",
                        "tags": ["mine"], "visibility": "private", "enabled": false});
    let (status, tool) = update(&gateway, &tool_id, change);
    assert_eq!(status, 200, "{tool}");
    let check = |tool: &Value| {
        for (name, expected) in [
            ("name", json!("time-turn")),
            ("originalName", json!("convert_time")),
            ("customName", json!("turn")),
            ("customNameSlug", json!("turn")),
            ("displayName", json!("Turn")),
            ("description", json!("Turns.")),
            ("originalDescription", json!("Does convert_time")),
            ("visibility", json!("private")),
            ("enabled", json!(false)),
            ("tags", json!([{"id": "mine", "label": "mine"}])),
        ] {
            assert_eq!(tool[name], expected, "{name}");
        }
    };
    check(&tool);
    let refresh = format!("/gateways/{}/tools/refresh", upstream["id"].as_str().unwrap());
    assert_eq!(gateway.send(Request::post(&refresh, "")).0, 200);
    check(&gateway.send(Request::get(&format!("/tools/{tool_id}"))).1);
    // Empty means as the upstream has it.
    let (_, tool) = update(&gateway, &tool_id, json!({"custom_name": "", "description": ""}));
    assert_eq!(tool["name"], "time-convert-time");
    assert_eq!(tool["description"], "Does convert_time");
    let (status, body) = update(&gateway, &tool_id, json!({"inputSchema": {"type": "object"}}));
    assert_eq!((status, fields_at_fault(&body)), (422, vec!["input_schema".to_owned()]));
}

#[test]
fn a_refresh_of_an_upstream_leaves_a_rest_tool_that_names_it_alone() {
    let gateway = Gateway::new();
    let upstream = gateway.register("time");
    let gateway_id = upstream["id"].as_str().unwrap();
    let tool = made(
        &gateway,
        json!({"name": "convert_time", "url": "https://a.example/", "gateway_id": gateway_id}),
    );
    assert_eq!(tool["name"], "convert-time");
    for body in [json!({"name": "times"}), json!({"visibility": "private"})] {
        let target = format!("/gateways/{gateway_id}");
        assert_eq!(gateway.send(Request::put(&target, &body.to_string())).0, 200);
    }
    let refresh = format!("/gateways/{gateway_id}/tools/refresh");
    let (status, done) = gateway.send(Request::post(&refresh, ""));
    assert_eq!((status, &done["toolsRemoved"]), (200, &json!(0)));
    let mut same = gateway.send(Request::get(&format!("/tools/{}", id(&tool)))).1;
    same["gatewaySlug"] = tool["gatewaySlug"].clone();
    assert_eq!(still(same), still(tool));
    let listed = format!("/tools?gateway_id={gateway_id}");
    assert_eq!(gateway.send(Request::get(&listed)).1.as_array().unwrap().len(), 3);
}

#[test]
fn switching_answers_with_the_tool_in_snake_case() {
    let gateway = Gateway::new();
    let tool = echo(&gateway);
    for (target, enabled) in
        [("state?activate=false", false), ("toggle?activate=true", true), ("state", true)]
    {
        let target = format!("/tools/{}/{target}", id(&tool));
        let (status, body) = gateway.send(Request::post(&target, ""));
        assert_eq!((status, &body["status"]), (200, &json!("success")));
        assert_eq!(body["tool"]["enabled"], enabled);
        assert_eq!(body["tool"]["original_name"], "rest_echo");
        assert_eq!(body["tool"]["displayName"], "Rest Echo");
        assert!(body["tool"].get("meta").is_some());
    }
    gateway.assert_stored();
}

#[test]
fn names_are_unique_within_their_circle() {
    let gateway = Gateway::new();
    let tool = echo(&gateway);
    let (status, body) = create(&gateway, json!({"name": "rest.echo", "url": "http://a.example/"}));
    assert_eq!(status, 409);
    assert!(body["message"].as_str().unwrap().contains("rest-echo"), "{body}");
    let other = made(
        &gateway,
        json!({"name": "rest_echo", "url": "http://a.example/", "visibility": "private"}),
    );
    assert_eq!(update(&gateway, id(&other), json!({"visibility": "public"})).0, 409);
    assert_eq!(update(&gateway, id(&tool), json!({"name": "rest_echo"})).0, 200);
}

#[test]
fn if_match_guards_a_change_and_a_deletion() {
    let gateway = Gateway::new();
    let tool = echo(&gateway);
    let target = format!("/tools/{}", id(&tool));
    let change =
        |version| gateway.answer(Request::put(&target, r#"{"title": "x"}"#).if_match(version));
    assert_eq!(change("\"7\"").status, 412);
    let answer = change("\"1\"");
    assert_eq!((answer.status, answer.etag), (200, Some(2)));
    assert_eq!(change("\"7\", \"2\"").etag, Some(3));
    assert_eq!(change("*").etag, Some(4));
    assert_eq!(gateway.send(Request::delete(&target).if_match("1")).0, 412);
    let (status, body) = gateway.send(Request::delete(&target).if_match("4"));
    assert_eq!((status, &body["status"]), (200, &json!("success")));
    assert_eq!(gateway.send(Request::delete(&target)).0, 404);
}

#[test]
fn many_tools_are_made_at_once_and_each_fault_is_said() {
    let gateway = Gateway::new();
    let tool = |name: &str| json!({"name": name, "url": "http://a.example/"});
    let import =
        |body: Value| gateway.send(Request::post("/admin/tools/import", &body.to_string()));
    let (status, done) = import(json!([tool("one"), {"tool": tool("two")}]));
    assert_eq!((status, &done["success"], &done["imported"]), (200, &json!(true), &json!(2)));
    assert_eq!(done["details"]["success"], json!(["one", "two"]));
    let bad = json!({"name": "bad one!", "url": "nonsense"});
    let (status, done) = import(json!([tool("one"), bad, tool("three")]));
    assert_eq!((status, &done["success"], &done["total"]), (200, &json!(false), &json!(3)));
    assert_eq!((&done["created_count"], &done["failed_count"]), (&json!(1), &json!(2)));
    assert_eq!(done["created"], json!([{"index": 2, "name": "three"}]));
    assert_eq!((&done["errors"][0]["index"], &done["errors"][1]["index"]), (&json!(0), &json!(1)));
    assert_eq!(done["errors"][1]["error"]["details"][0]["field"], "name");
    assert_eq!(gateway.tool_names(), ["one", "three", "two"]);
    let (_, list) = gateway.send(Request::get("/tools"));
    assert_eq!(list[0]["createdVia"], "import");
    assert!(list[0]["importBatchId"].is_string());
    assert_eq!(import(json!({"name": "x"})).0, 422);
    assert_eq!(import(json!([1, 2, 3, 4])).0, 413);
    assert_eq!(import(json!([1])).1["failed"], 1);
    assert_eq!(import(json!([])).0, 200);
    gateway.assert_stored();
}
