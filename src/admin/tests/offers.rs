//! Tools, and what virtual servers offer.

use serde_json::{Value, json};

use super::harness::{Gateway, Request, made, never_used};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect()
}

#[test]
fn a_tool_has_the_fields_of_the_contract_and_the_upstreams_own_schema() {
    let gateway = Gateway::new();
    let upstream = gateway.register("fast_time");
    let path = format!("/tools/{}", gateway.tool_id("fast-time-get-system-time"));
    let (status, mut tool) = gateway.send(Request::get(&path));
    assert_eq!(status, 200);
    for name in ["id", "createdAt", "updatedAt"] {
        assert!(tool[name].take().is_string(), "{name}");
    }
    let expected = made(
        "federation",
        Some("fast_time"),
        json!({
            "id": null, "name": "fast-time-get-system-time", "originalName": "get_system_time",
            "customName": "get_system_time", "customNameSlug": "get-system-time",
            "displayName": "Get System Time", "title": null, "description": "Does get_system_time",
            "originalDescription": "Does get_system_time", "url": "http://fast_time.example/mcp",
            "integrationType": "MCP", "requestType": "STREAMABLEHTTP", "headers": null,
            "inputSchema": {"type": "object", "x": 1.5}, "outputSchema": null, "annotations": null,
            "jsonpathFilter": "", "auth": null, "gatewayId": upstream["id"],
            "gatewaySlug": "fast-time", "enabled": true, "isActive": true, "reachable": true,
            "executionCount": 0, "metrics": never_used(), "tags": [], "_meta": null,
        }),
    );
    let by_hand = json!({
        "baseUrl": null, "pathTemplate": null, "queryMapping": null, "headerMapping": null,
        "timeoutMs": null, "exposePassthrough": true, "allowlist": null, "pluginChainPre": null,
        "pluginChainPost": null, "bodyFormat": null, "concurrencyLimit": null,
        "responseSizeMax": null, "agentId": null, "grpcServiceId": null, "deprecated": false,
        "validateArguments": true, "extensionMetadata": null,
    });
    let mut expected = expected;
    expected.as_object_mut().unwrap().extend(by_hand.as_object().unwrap().clone());
    assert_eq!(tool, expected);
    let raw = gateway.answer(Request::get(&path)).body;
    let raw = String::from_utf8(raw).unwrap();
    assert!(raw.contains(r#""inputSchema":{"type":"object","x":1.50}"#), "byte for byte: {raw}");
}

#[test]
fn tools_are_filtered_and_paged() {
    let gateway = Gateway::new();
    gateway.upstream_has(&["a", "b", "c"]);
    let one = gateway.register("one");
    gateway.upstream_has(&["d", "e"]);
    gateway.register("two");
    let list = |target: &str| gateway.send(Request::get(target)).1;
    assert_eq!(list("/tools").as_array().unwrap().len(), 5);
    let of_one = format!("/tools?gateway_id={}", one["id"].as_str().unwrap());
    assert_eq!(names(&list(&of_one)), ["one-a", "one-b", "one-c"]);
    assert_eq!(list("/tools?gateway_id=null"), json!([]));
    assert_eq!(list("/tools?tags=x,y"), json!([]));
    assert_eq!(list("/tools?visibility=private"), json!([]));
    assert_eq!(names(&list("/v1/tools/?limit=2")), ["two-d", "two-e"], "the newest first");
    let page = list("/tools?limit=2&include_pagination=true");
    assert_eq!(names(&page["tools"]), ["two-d", "two-e"]);
    let cursor = page["nextCursor"].as_str().unwrap();
    let next = format!("/tools?limit=3&include_pagination=true&cursor={cursor}");
    let page = list(&next);
    assert_eq!(names(&page["tools"]), ["one-a", "one-b", "one-c"]);
    assert_eq!(page["nextCursor"], Value::Null);
}

#[test]
fn without_a_limit_a_page_has_the_count_of_the_setting_and_zero_means_all() {
    let mut gateway = Gateway::new();
    gateway.rules.page_count = 2;
    gateway.rules.page_count_max = 3;
    gateway.upstream_has(&["a", "b", "c", "d"]);
    gateway.register("one");
    for (query, expected) in [("", 2), ("?limit=1", 1), ("?limit=100", 3), ("?limit=0", 4)] {
        let (_, list) = gateway.send(Request::get(&format!("/tools{query}")));
        assert_eq!(list.as_array().unwrap().len(), expected, "{query}");
    }
}

#[test]
fn a_server_lists_what_it_chose_and_what_its_upstreams_offer() {
    let gateway = Gateway::new();
    gateway.upstream_has(&["a", "b"]);
    let one = gateway.register("one");
    gateway.upstream_has(&["c", "d"]);
    gateway.register("two");
    let body = json!({"server": {
        "name": "s", "associated_gateways": [one["id"]],
        "associated_tools": [gateway.tool_id("one-a"), gateway.tool_id("two-d")],
    }});
    let (_, server) = gateway.send(Request::post("/servers", &body.to_string()));
    let id = server["id"].as_str().unwrap();
    let list = |part: &str| gateway.send(Request::get(&format!("/servers/{id}/{part}"))).1;
    assert_eq!(names(&list("tools")), ["one-a", "one-b", "two-d"]);
    assert_eq!(names(&list("prompts")), ["one-greet"]);
    let uris: Vec<_> =
        list("resources").as_array().unwrap().iter().map(|each| each["uri"].clone()).collect();
    assert_eq!(json!(uris), json!(["demo://one", "demo://{id}"]));
    let prompt = &list("prompts")[0];
    assert_eq!(prompt["arguments"], json!([{"name": "who", "required": true}]));
    assert_eq!(prompt["originalName"], "greet");
    let resource = &list("resources")[1];
    assert_eq!(resource["uriTemplate"], "demo://{id}");
    assert_eq!(resource["mimeType"], "text/plain");
    let off = format!("/gateways/{}/state?activate=false", one["id"].as_str().unwrap());
    gateway.send(Request::post(&off, ""));
    assert_eq!(names(&list("tools")), ["two-d"]);
    assert_eq!(names(&list("tools?include_inactive=true")), ["one-a", "one-b", "two-d"]);
}

#[test]
fn an_answer_is_reshaped_by_the_query_and_by_the_body_of_an_older_contract() {
    let gateway = Gateway::new();
    gateway.upstream_has(&["a", "b"]);
    gateway.register("one");
    let asked = json!({"jsonpath": "$[?@.originalName == 'b']", "mapping": {"n": "$.name"}});
    let encoded: String =
        url::form_urlencoded::byte_serialize(asked.to_string().as_bytes()).collect();
    let by_query = format!("/tools?apijsonpath={encoded}");
    let expected = json!({"n": "one-b"});
    assert_eq!(gateway.send(Request::get(&by_query)), (200, expected.clone()));
    let wrapped = gateway.send(Request::get(&format!("{by_query}&include_pagination=true"))).1;
    assert_eq!(wrapped, json!({"tools": expected, "nextCursor": null}));
    let asked = asked.to_string();
    assert_eq!(gateway.send(Request::get("/tools").with_body(&asked)), (200, expected));
    let (status, body) = gateway.send(Request::get("/tools?apijsonpath=nonsense"));
    assert_eq!(status, 400);
    assert!(body["detail"].as_str().unwrap().contains("apijsonpath"), "{body}");
    let path = format!("/tools/{}", gateway.tool_id("one-a"));
    let asked = r#"{"jsonpath": "$", "mapping": {"id": "$.originalName"}}"#;
    assert_eq!(gateway.send(Request::get(&path).with_body(asked)).1, json!({"id": "a"}));
}

#[test]
fn a_single_read_carries_its_version_as_etag() {
    let gateway = Gateway::new();
    let upstream = gateway.register("one");
    let id = upstream["id"].as_str().unwrap();
    for target in
        [format!("/gateways/{id}"), format!("/tools/{}", gateway.tool_id("one-convert-time"))]
    {
        assert_eq!(gateway.answer(Request::get(&target)).etag, Some(1), "{target}");
    }
    assert_eq!(gateway.answer(Request::get("/tools")).etag, None);
}
