//! Virtual servers.

use serde_json::{Value, json};

use super::harness::{Gateway, Request, made};

fn create(gateway: &Gateway, body: Value) -> (u16, Value) {
    gateway.send(Request::post("/servers", &body.to_string()))
}

fn faults(body: &Value) -> Vec<(String, String)> {
    let details = body["detail"].as_array().unwrap_or_else(|| panic!("{body}"));
    let fault = |each: &Value| {
        let place = each["loc"].as_array().unwrap().last().unwrap();
        (place.as_str().unwrap().to_owned(), each["msg"].as_str().unwrap().to_owned())
    };
    details.iter().map(fault).collect()
}

#[test]
fn a_new_server_is_201_with_the_fields_of_the_contract_and_ours() {
    let gateway = Gateway::new();
    let upstream = gateway.register("time");
    let tool = gateway.tool_id("time-convert-time");
    let (status, mut body) = create(
        &gateway,
        json!({"server": {
            "id": "3F2504E0-4F89-11D3-9A0C-0305E82C3301", "name": "My server",
            "description": "d", "icon": "https://x.example/i.png", "tags": "a1,b2",
            "associated_tools": tool, "associated_gateways": [upstream["id"]],
            "tool_prefix": "my_", "auth_required": false, "visibility": "private",
        }, "team_id": null, "visibility": "public"}),
    );
    assert_eq!(status, 201, "{body}");
    for name in ["createdAt", "updatedAt"] {
        assert!(body[name].take().is_string());
    }
    let expected = made(
        "api",
        None,
        json!({
            "id": "3f2504e04f8911d39a0c0305e82c3301", "name": "My server", "description": "d",
            "icon": "https://x.example/i.png", "enabled": true, "isActive": true,
            "associatedTools": ["time-convert-time"], "associatedToolIds": [tool],
            "associatedResources": [], "associatedPrompts": [], "associatedA2aAgents": [],
            "associatedGateways": [upstream["id"]], "toolPrefix": "my_", "toolOverrides": {},
            "authRequired": false,
            "oauthEnabled": false, "oauthConfig": null, "metrics": null,
            "tags": [{"id": "a1", "label": "a1"}, {"id": "b2", "label": "b2"}],
        }),
    );
    assert_eq!(body, expected);
    for id in ["3f2504e04f8911d39a0c0305e82c3301", "3F2504E0-4F89-11D3-9A0C-0305E82C3301"] {
        assert_eq!(gateway.send(Request::get(&format!("/servers/{id}"))).0, 200, "{id}");
    }
    gateway.assert_stored();
}

#[test]
fn a_flat_body_makes_a_server_too_and_defaults_ask_for_a_token() {
    let gateway = Gateway::new();
    let (status, body) = create(&gateway, json!({"name": "flat"}));
    assert_eq!(status, 201);
    assert_eq!(body["authRequired"], true);
    assert_eq!(body["toolPrefix"], Value::Null);
    assert_eq!(body["id"].as_str().unwrap().len(), 32);
}

#[test]
fn unknown_ids_are_named_each_of_them() {
    let gateway = Gateway::new();
    let (status, body) = create(
        &gateway,
        json!({"server": {"name": "s", "associated_tools": ["t1", "t2"],
            "associated_resources": "r1", "associated_prompts": ["p1"],
            "associated_gateways": ["g1"], "associated_a2a_agents": ["a1"]}}),
    );
    assert_eq!(status, 422);
    let faults = faults(&body);
    let fields: Vec<_> = faults.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "associated_tools",
            "associated_resources",
            "associated_prompts",
            "associated_a2a_agents",
            "associated_gateways"
        ]
    );
    assert!(faults[0].1.contains("t1") && faults[0].1.contains("t2"), "{faults:?}");
    assert_eq!(body["detail"][0]["loc"], json!(["body", "server", "associated_tools"]));
}

#[test]
fn tools_and_upstreams_may_be_chosen_by_name() {
    let gateway = Gateway::new();
    gateway.register("fast_time");
    let (status, body) = create(
        &gateway,
        json!({"name": "s", "associated_tools": ["fast-time-convert-time"],
               "associated_prompts": ["fast-time-greet"], "associated_gateways": ["fast-time"]}),
    );
    assert_eq!(status, 201, "{body}");
    assert_eq!(body["associatedTools"], json!(["fast-time-convert-time"]));
    assert_eq!(body["associatedPrompts"][0].as_str().unwrap().len(), 32);
}

#[test]
fn an_empty_prefix_is_refused_while_two_names_would_collide_and_both_are_named() {
    let gateway = Gateway::new();
    gateway.upstream_has(&["echo", "one"]);
    gateway.register("a");
    gateway.upstream_has(&["echo", "two"]);
    gateway.register("b");
    for prefix in ["", "x_"] {
        let (status, body) = create(
            &gateway,
            json!({"name": "s", "associated_tools": ["a-echo", "b-echo"], "tool_prefix": prefix}),
        );
        assert_eq!(status, 422);
        let faults = faults(&body);
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].0, "tool_prefix");
        assert!(faults[0].1.contains("a-echo and b-echo"), "{faults:?}");
    }
    let tools = json!(["a-echo", "a-one", "b-two"]);
    let (status, server) =
        create(&gateway, json!({"name": "s", "associated_tools": tools, "tool_prefix": ""}));
    assert_eq!((status, &server["toolPrefix"]), (201, &json!("")));
    let path = format!("/servers/{}", server["id"].as_str().unwrap());
    let (status, _) =
        gateway.send(Request::put(&path, r#"{"associatedTools": ["a-echo", "b-echo"]}"#));
    assert_eq!(status, 422);
    let change = r#"{"associatedTools": ["a-echo", "b-echo"], "tool_prefix": null}"#;
    let (status, server) = gateway.send(Request::put(&path, change));
    assert_eq!((status, &server["toolPrefix"]), (200, &Value::Null));
}

#[test]
fn other_faults_are_named_too() {
    let gateway = Gateway::new();
    let long = "x".repeat(65);
    for (body, expected) in [
        (json!({}), "name"),
        (json!({"server": {"description": "d"}}), "name"),
        (json!({"name": "s", "id": "no-uuid"}), "id"),
        (json!({"name": "s", "icon": "javascript:alert(1)"}), "icon"),
        (json!({"name": "s", "tool_prefix": "a b"}), "tool_prefix"),
        (json!({"name": "s", "tool_prefix": long}), "tool_prefix"),
        (json!({"name": "s", "auth_required": "no"}), "auth_required"),
        (json!({"server": {"name": "s"}, "visibility": "x"}), "visibility"),
    ] {
        let (status, answer) = create(&gateway, body.clone());
        assert_eq!(status, 422, "{body}");
        let fields: Vec<_> = faults(&answer).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, [expected], "{body}");
    }
    assert_eq!(gateway.sequence(), 0);
}

#[test]
fn a_name_or_id_that_exists_is_a_conflict() {
    let gateway = Gateway::new();
    let (_, server) = create(&gateway, json!({"name": "s"}));
    let (status, body) = create(&gateway, json!({"name": "s"}));
    assert_eq!(status, 409);
    assert_eq!(body["message"], "a server with name \"s\" exists already");
    assert_eq!(body["detail"], body["message"]);
    let (status, _) = create(&gateway, json!({"name": "t", "id": server["id"]}));
    assert_eq!(status, 409);
}

#[test]
fn sending_back_what_was_read_changes_nothing_but_the_version() {
    let gateway = Gateway::new();
    let upstream = gateway.register("time");
    let (_, read) = create(
        &gateway,
        json!({"name": "s", "associated_tools": ["time-convert-time"], "tags": ["x1"],
               "associated_gateways": [upstream["id"]], "tool_prefix": "p"}),
    );
    gateway.send(Request::post(
        &format!("/gateways/{}/state?activate=false", upstream["id"].as_str().unwrap()),
        "",
    ));
    let path = format!("/servers/{}", read["id"].as_str().unwrap());
    let (status, mut again) = gateway.send(Request::put(&path, &read.to_string()));
    assert_eq!(status, 200, "{again}");
    assert_eq!(again["version"], 2);
    assert_eq!(again["modifiedBy"], "admin@example.com");
    for name in
        ["version", "updatedAt", "modifiedBy", "modifiedFromIp", "modifiedVia", "modifiedUserAgent"]
    {
        again[name] = read[name].clone();
    }
    assert_eq!(again, read);
}

#[test]
fn switching_a_server_answers_with_it() {
    let gateway = Gateway::new();
    let (_, server) = create(&gateway, json!({"name": "s"}));
    let path = format!("/servers/{}", server["id"].as_str().unwrap());
    let (status, body) = gateway.send(Request::post(&format!("{path}/toggle?activate=false"), ""));
    assert_eq!(status, 200);
    assert_eq!((&body["enabled"], &body["isActive"]), (&json!(false), &json!(false)));
    assert_eq!(gateway.send(Request::get("/servers")).1, json!([]));
    let (_, list) =
        gateway.send(Request::get("/servers?include_inactive=true&include_pagination=1"));
    assert_eq!(list["servers"][0]["name"], "s");
    let (_, body) = gateway.send(Request::post(&format!("{path}/state?activate=true"), ""));
    assert_eq!(body["enabled"], true);
}

#[test]
fn a_deleted_server_is_gone() {
    let gateway = Gateway::new();
    let (_, server) = create(&gateway, json!({"name": "s"}));
    let id = server["id"].as_str().unwrap();
    let path = format!("/v1/servers/{id}/");
    let (status, body) = gateway.send(Request::delete(&path));
    assert_eq!(status, 200);
    assert_eq!(body["message"], format!("Server {id} deleted successfully"));
    assert_eq!(gateway.send(Request::get(&path)).0, 404);
    assert_eq!(gateway.send(Request::delete(&path)).0, 404);
}

#[test]
fn a_server_calls_tools_otherwise_and_clients_of_it_alone_see_that() {
    let gateway = Gateway::new();
    gateway.register("time");
    let id = gateway.tool_id("time-convert-time");
    let (status, server) = create(
        &gateway,
        json!({"name": "s", "associated_gateways": ["time"], "toolOverrides": {
            "time-convert-time": {"name": "turn", "description": "Turns."}}}),
    );
    assert_eq!(status, 201, "{server}");
    assert_eq!(server["toolOverrides"], json!({&id: {"name": "turn", "description": "Turns."}}));
    let catalog = crate::admin::Backend::catalog(&gateway);
    let view = &catalog.server(server["id"].as_str().unwrap()).unwrap().view;
    assert!(view.tools.get("turn").is_some() && view.tools.get("time-convert-time").is_none());
    assert_eq!(view.overrides.description(&id), Some("Turns."));
    assert!(catalog.everything.tools.get("time-convert-time").is_some());
    // Sending back what was read changes nothing.
    let target = format!("/servers/{}", server["id"].as_str().unwrap());
    let (status, again) = gateway.send(Request::put(&target, &server.to_string()));
    assert_eq!((status, &again["toolOverrides"]), (200, &server["toolOverrides"]));
    // The tool keeps its name here when it is written anew, and the override goes with an empty
    // object.
    let off = format!("/tools/{id}/state?activate=false");
    gateway.send(Request::post(&off, ""));
    let names = |gateway: &Gateway| {
        let catalog = crate::admin::Backend::catalog(gateway);
        let server = catalog.server(server["id"].as_str().unwrap()).unwrap();
        server.view.tools.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&gateway), ["time-get-system-time"]);
    gateway.send(Request::post(&off.replace("false", "true"), ""));
    assert_eq!(names(&gateway), ["time-get-system-time", "turn"]);
    let (_, server) = gateway.send(Request::put(&target, r#"{"tool_overrides": {}}"#));
    assert_eq!(server["toolOverrides"], json!({}));
    assert_eq!(names(&gateway), ["time-convert-time", "time-get-system-time"]);
}

#[test]
fn other_names_that_collide_or_cannot_be_are_refused() {
    let gateway = Gateway::new();
    gateway.register("time");
    for (overrides, part) in [
        (json!({"time-convert-time": {"name": "time-get-system-time"}}), "would both be"),
        (json!({"time-convert-time": {"name": "no good"}}), "letters"),
        (json!({"time-convert-time": "turn"}), "Input should be"),
        (json!({"nothing": {"name": "turn"}}), "no tool nothing"),
    ] {
        let body =
            json!({"name": "s", "associated_gateways": ["time"], "tool_overrides": overrides});
        let (status, body) = create(&gateway, body);
        assert_eq!(status, 422, "{body}");
        assert!(body.to_string().contains(part), "{body}");
    }
}
