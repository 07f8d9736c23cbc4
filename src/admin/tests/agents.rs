//! A2A agents, and the tools that they are offered as.

use serde_json::{Value, json};

use super::harness::{Gateway, Request, made};

fn create(gateway: &Gateway, body: Value) -> (u16, Value) {
    gateway.send(Request::post("/a2a", &body.to_string()))
}

fn agent(gateway: &Gateway, name: &str) -> Value {
    let (status, body) =
        create(gateway, json!({"agent": {"name": name, "endpoint_url": "http://a.example/"}}));
    assert_eq!(status, 201, "{body}");
    body
}

fn tool(gateway: &Gateway, agent: &Value) -> Value {
    let path = format!("/tools/{}", agent["toolId"].as_str().unwrap());
    let (status, body) = gateway.send(Request::get(&path));
    assert_eq!(status, 200, "{body}");
    body
}

fn path(agent: &Value, rest: &str) -> String {
    format!("/a2a/{}{rest}", agent["id"].as_str().unwrap())
}

#[test]
fn a_new_agent_is_201_with_the_fields_of_the_contract_and_no_secret() {
    let gateway = Gateway::new();
    let (status, mut body) = create(
        &gateway,
        json!({"agent": {
            "name": "Weather Helper", "description": "Tells the weather",
            "endpoint_url": "https://a.example/run", "agent_type": "JSONRPC",
            "protocol_version": "0.3", "capabilities": {"streaming": false},
            "config": {"x": 1}, "tags": "sky", "auth_type": "bearer", "auth_token": "s3cret-token",
            "passthrough_headers": ["X-Tenant"],
        }, "visibility": "public"}),
    );
    assert_eq!(status, 201, "{body}");
    assert!(!body.to_string().contains("s3cret"));
    for name in ["createdAt", "updatedAt", "id", "toolId"] {
        assert!(body[name].take().is_string(), "{name}");
    }
    let expected = made(
        "api",
        None,
        json!({
            "id": null, "name": "Weather Helper", "slug": "weather-helper",
            "description": "Tells the weather", "endpointUrl": "https://a.example/run",
            "agentType": "jsonrpc", "protocolVersion": "0.3",
            "capabilities": {"streaming": false}, "config": {"x": 1}, "enabled": true,
            "isActive": true, "reachable": true, "lastInteraction": null, "metrics": null,
            "passthroughHeaders": ["X-Tenant"], "authType": "bearer", "authValue": "*****",
            "authUsername": null, "authPassword": null, "authToken": "*****",
            "authHeaderKey": null, "authHeaderValue": null, "authHeaders": null, "env": null,
            "authQueryParamKey": null, "authQueryParamValueMasked": null, "oauthConfig": null,
            "toolId": null, "uaid": null, "uaidRegistry": null, "uaidProto": null,
            "uaidNativeId": null, "tags": [{"id": "sky", "label": "sky"}],
        }),
    );
    assert_eq!(body, expected);
    gateway.assert_stored();
}

#[test]
fn an_agent_is_offered_as_a_tool_that_follows_it() {
    let gateway = Gateway::new();
    let agent = agent(&gateway, "Helper");
    let first = tool(&gateway, &agent);
    assert_eq!(first["name"], "a2a-helper");
    assert_eq!(first["originalName"], "a2a_helper");
    assert_eq!(first["integrationType"], "A2A");
    assert_eq!(first["description"], "A2A Agent: Helper");
    assert_eq!(first["inputSchema"]["required"], json!(["query"]));
    assert_eq!(first["annotations"]["a2a_agent_id"], agent["id"]);
    assert_eq!(gateway.catalog_tool_names(), ["a2a-helper"]);

    let change = json!({"name": "Aide", "tags": ["new"], "visibility": "private"}).to_string();
    let (status, body) = gateway.send(Request::put(&path(&agent, ""), &change));
    assert_eq!((status, &body["slug"], &body["version"]), (200, &json!("aide"), &json!(2)));
    let second = tool(&gateway, &body);
    assert_eq!((&second["id"], &second["name"]), (&first["id"], &json!("a2a-aide")));
    assert_eq!(second["visibility"], "private");
    let tags: Vec<_> = second["tags"].as_array().unwrap().iter().map(|tag| &tag["id"]).collect();
    assert_eq!(tags, ["new", "a2a", "agent"]);

    let (status, body) = gateway.send(Request::post(&path(&agent, "/state?activate=false"), ""));
    assert_eq!((status, &body["enabled"]), (200, &json!(false)));
    assert_eq!(tool(&gateway, &body)["enabled"], false);
    assert!(gateway.catalog_tool_names().is_empty());
    let (status, body) = gateway.send(Request::post(&path(&agent, "/toggle?activate=true"), ""));
    assert_eq!((status, &body["enabled"]), (200, &json!(true)));
    assert_eq!(gateway.catalog_tool_names(), ["a2a-aide"]);

    let (status, body) = gateway.send(Request::delete(&path(&agent, "")));
    assert_eq!((status, &body["status"]), (200, &json!("success")));
    assert_eq!(gateway.send(Request::get(&path(&agent, ""))).0, 404);
    assert!(gateway.tool_names().is_empty());
    gateway.assert_stored();
}

#[test]
fn every_kind_of_credentials_is_masked_and_the_mask_keeps_what_is_stored() {
    let gateway = Gateway::new();
    let body = json!({"name": "keyed", "endpoint_url": "http://a.example/",
        "auth_type": "query_param", "auth_query_param_key": "api_key",
        "auth_query_param_value": "v&lue"});
    let (status, body) = create(&gateway, body);
    assert_eq!(status, 201, "{body}");
    assert_eq!(body["authQueryParamKey"], "api_key");
    assert_eq!(body["authQueryParamValueMasked"], "*****");
    let secrets = |gateway: &Gateway| {
        let catalog = crate::admin::Backend::catalog(gateway);
        catalog.agents().next().unwrap().headers.clone()
    };
    assert_eq!(secrets(&gateway), [("?api_key".to_owned(), "v&lue".to_owned())]);
    let same = json!({"auth_type": "query_param", "auth_query_param_value": "*****"}).to_string();
    assert_eq!(gateway.send(Request::put(&path(&body, ""), &same)).0, 200);
    assert_eq!(secrets(&gateway), [("?api_key".to_owned(), "v&lue".to_owned())]);
    let old = json!({"auth_type": "api_key", "auth_value": "k1"}).to_string();
    let (_, shown) = gateway.send(Request::put(&path(&body, ""), &old));
    assert_eq!(shown["authType"], "bearer");
    assert_eq!(secrets(&gateway), [("Authorization".to_owned(), "Bearer k1".to_owned())]);
    let (_, shown) = gateway.send(Request::put(&path(&body, ""), r#"{"auth_type": "none"}"#));
    assert_eq!(shown["authType"], Value::Null);
    assert!(secrets(&gateway).is_empty());
}

#[test]
fn every_field_at_fault_is_named_at_once() {
    let gateway = Gateway::new();
    let body = json!({"agent": {"name": "a/b", "endpoint_url": "ftp://x", "capabilities": [1],
        "agent_type": "what is this", "auth_type": "oauth"}});
    let (status, body) = create(&gateway, body);
    assert_eq!(status, 422);
    let place = |each: &Value| each["loc"].as_array().unwrap().last().unwrap().clone();
    let mut fields: Vec<Value> = body["detail"].as_array().unwrap().iter().map(place).collect();
    fields.sort_by_key(Value::to_string);
    assert_eq!(fields, ["agent_type", "auth_type", "capabilities", "endpoint_url", "name"]);
    let (_, body) = create(&gateway, json!({"agent": {}}));
    let fields: Vec<Value> = body["detail"].as_array().unwrap().iter().map(place).collect();
    assert_eq!(fields, ["name", "endpoint_url"]);
    assert_eq!(gateway.sequence(), 0, "nothing was written");
}

#[test]
fn a_name_is_taken_once_and_unknown_agents_are_404() {
    let gateway = Gateway::new();
    let first = agent(&gateway, "Helper");
    let again = json!({"name": "helper", "endpoint_url": "http://b.example/"});
    assert_eq!(create(&gateway, again).0, 409);
    let own = path(&first, "");
    let stale = Request::put(&own, r#"{"description": "x"}"#).if_match("\"7\"");
    assert_eq!(gateway.send(stale).0, 412);
    for request in [
        Request::get("/a2a/nobody"),
        Request::put("/a2a/nobody", "{}"),
        Request::delete("/a2a/nobody"),
        Request::post("/a2a/nobody/state", ""),
        Request::post("/a2a/nobody/invoke", "{}"),
        Request::post("/a2a/invoke", r#"{"agent_id": "nobody"}"#),
    ] {
        assert_eq!(gateway.send(request).0, 404);
    }
}

#[test]
fn an_agent_is_called_by_name_by_id_and_in_its_own_protocol() {
    let gateway = Gateway::new();
    let agent = agent(&gateway, "My Helper");
    let body = json!({"parameters": {"query": "hi"}, "interaction_type": "query"}).to_string();
    let id = agent["id"].as_str().unwrap();
    let by_id = json!({"agent_id": id, "parameters": {"query": "hi"}}).to_string();
    for (path, body) in [
        ("/a2a/My%20Helper/invoke", &body),
        ("/a2a/my-helper/invoke", &body),
        ("/a2a/invoke", &by_id),
    ] {
        let (status, answer) = gateway.send(Request::post(path, body).by_user());
        assert_eq!(status, 200, "{path} {answer}");
        assert_eq!(answer["result"], json!({"n": 1.5}));
    }
    assert_eq!(gateway.invoked.borrow().len(), 3);
    let call = json!({"jsonrpc": "2.0", "method": "tasks/get", "params": {"id": "1"}, "id": 4});
    let (status, _) = gateway.send(Request::post("/a2a/my-helper/jsonrpc", &call.to_string()));
    assert_eq!(status, 200);
    for bad in ["{", "{}", r#"{"jsonrpc": "2.0", "method": "message/stream"}"#] {
        let (status, body) = gateway.send(Request::post("/a2a/my-helper/jsonrpc", bad));
        assert_eq!(status, 400, "{bad}");
        assert!(body["error"]["code"].as_i64().unwrap() <= -32600, "{body}");
    }
    let wrong = r#"{"parameters": 1}"#;
    assert_eq!(gateway.send(Request::post("/a2a/my-helper/invoke", wrong)).0, 422);
    gateway.send(Request::post(&path(&agent, "/state?activate=false"), ""));
    let (status, body) = gateway.send(Request::post("/a2a/my-helper/invoke", "{}"));
    assert_eq!((status, body["detail"].as_str()), (400, Some("A2A Agent 'my-helper' is disabled")));
}

#[test]
fn only_administrators_write_and_private_agents_are_their_owners() {
    let gateway = Gateway::new();
    let body =
        json!({"name": "mine", "endpoint_url": "http://a.example/", "visibility": "private"});
    let (_, agent) = create(&gateway, body);
    assert_eq!(gateway.send(Request::get(&path(&agent, "")).by_user()).0, 404);
    assert_eq!(gateway.send(Request::post("/a2a/mine/invoke", "{}").by_user()).0, 404);
    let (_, list) = gateway.send(Request::get("/a2a").by_user());
    assert_eq!(list, json!([]));
    let body = json!({"name": "x", "endpoint_url": "http://a.example/"}).to_string();
    assert_eq!(gateway.send(Request::post("/a2a", &body).by_user()).0, 403);
    assert_eq!(gateway.send(Request::get("/a2a").by_nobody()).0, 401);
    let (_, page) = gateway.send(Request::get("/a2a?include_pagination=true"));
    assert_eq!(page["agents"][0]["name"], "mine");
}

#[test]
fn without_agents_their_paths_are_not_there() {
    let mut gateway = Gateway::new();
    gateway.rules.a2a_enabled = false;
    assert_eq!(gateway.send(Request::get("/a2a")).0, 404);
    assert_eq!(gateway.send(Request::post("/a2a/x/invoke", "{}")).0, 404);
}
