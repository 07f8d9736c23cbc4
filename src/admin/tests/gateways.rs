//! Upstreams: what may be registered, what comes back, and what is stored.

use serde_json::{Value, json};
use storage::record::Transport;

use super::harness::{Gateway, Request, failure, inventory, made};
use crate::failure::UpstreamKind;

/// The places that a 422 names, in order.
fn places(body: &Value) -> Vec<String> {
    let details = body["detail"].as_array().unwrap_or_else(|| panic!("{body}"));
    let place = |each: &Value| {
        let parts = each["loc"].as_array().unwrap();
        parts[1..]
            .iter()
            .map(|part| part.to_string().replace('"', ""))
            .collect::<Vec<_>>()
            .join(".")
    };
    details.iter().map(place).collect()
}

fn create(gateway: &Gateway, body: Value) -> (u16, Value) {
    gateway.send(Request::post("/gateways", &body.to_string()))
}

/// Every field and its form: what scripts of ContextForge read.
#[test]
fn a_new_upstream_is_answered_with_the_fields_of_the_contract() {
    let gateway = Gateway::new();
    let (status, mut body) = create(
        &gateway,
        json!({
            "name": "fast_time", "url": "http://127.0.0.1:9000/mcp", "description": "Times",
            "auth_type": "bearer", "auth_token": "hunter2", "tags": ["Time Zone"],
            "passthrough_headers": ["X-Tenant-Id"], "unknown_field": 1,
        }),
    );
    assert_eq!(status, 200, "{body}");
    let id = body["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 32);
    for name in ["id", "createdAt", "updatedAt", "lastSeen", "lastRefreshAt"] {
        let value = body[name].take();
        assert!(name == "id" || value.as_str().unwrap().ends_with('Z'), "{name}: {value}");
    }
    let mut expected = made(
        "api",
        None,
        json!({
            "id": null, "name": "fast_time", "slug": "fast-time", "url": "http://127.0.0.1:9000/mcp",
            "description": "Times", "transport": "STREAMABLEHTTP", "command": null,
            "protocol": "auto", "era": "legacy", "sessionMode": "shared", "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {"listChanged": true}},
            "serverInfo": {"name": "scripted", "version": "1"}, "instructions": "Be kind.",
            "enabled": true, "reachable": true, "lastSeen": null, "lastError": null,
            "lastRefreshAt": null, "passthroughHeaders": ["X-Tenant-Id"], "caCertificate": null,
            "authType": "bearer", "authValue": "*****", "authUsername": null, "authPassword": null,
            "authToken": "*****", "authHeaderKey": null, "authHeaderValue": null,
            "authHeaders": null, "env": null, "oauthConfig": null,
            "toolCount": 2, "resourceCount": 2, "promptCount": 1, "skippedTools": [],
            "tags": [{"id": "time-zone", "label": "time-zone"}],
        }),
    );
    let unused = "statusMessage nextRetryAt lifecycleClaimedBy lifecycleClaimedAt signingAlgorithm \
                  lifecycleClaimExpiresAt identityPropagation refreshIntervalSeconds clientCert \
                  caCertificateSig clientKey authQueryParamKey authQueryParamValueMasked \
                  authHeadersUnmasked authPasswordUnmasked authTokenUnmasked authHeaderValueUnmasked";
    for name in unused.split(' ') {
        expected[name] = Value::Null;
    }
    expected["status"] = "active".into();
    expected["registrationAttempts"] = 0.into();
    expected["gatewayMode"] = "cache".into();
    assert_eq!(body, expected);
    assert_eq!(gateway.tool_names(), ["fast-time-convert-time", "fast-time-get-system-time"]);
    gateway.assert_stored();
}

#[test]
fn faults_are_named_all_at_once_and_nothing_is_asked_or_stored() {
    let gateway = Gateway::new();
    let (status, body) = create(
        &gateway,
        json!({
            "name": "<b>", "url": "ftp://x", "transport": "pigeon", "protocol": "new",
            "session_mode": "mine",
            "visibility": "all", "tags": ["x"], "auth_type": "basic", "auth_username": "me",
            "passthrough_headers": ["X Y"], "ca_certificate": "none", "description": 1,
        }),
    );
    assert_eq!(status, 422);
    assert!(body["message"].as_str().unwrap().starts_with("Validation failed:"), "{body}");
    let expected = [
        "name",
        "description",
        "url",
        "transport",
        "protocol",
        "session_mode",
        "ca_certificate",
        "passthrough_headers",
        "tags",
        "visibility",
        "auth_password",
    ];
    assert_eq!(places(&body), expected);
    let first = &body["detail"][0];
    assert_eq!(first["type"], "value_error");
    assert_eq!(first["loc"], json!(["body", "name"]));
    assert_eq!(first["input"], "<b>");
    assert_eq!(body["detail"][10]["type"], "missing");
    assert!(gateway.asked.borrow().is_empty());
    assert_eq!(gateway.sequence(), 0);
}

#[test]
fn what_must_be_there_is_asked_for() {
    let gateway = Gateway::new();
    for (body, expected) in [
        (json!({}), vec!["name", "url"]),
        (json!({"name": "a"}), vec!["url"]),
        (json!({"name": "a", "transport": "STDIO"}), vec!["command"]),
        (json!({"name": "a", "url": "http://h/", "command": "x"}), vec!["command"]),
        (json!({"name": "a", "transport": "SSE", "command": "x"}), vec!["command", "url"]),
        (
            json!({"name": "a", "transport": "STDIO", "url": "http://h/"}),
            vec!["transport", "command"],
        ),
        (json!({"name": "a", "command": ""}), vec!["command"]),
        (json!({"name": "a", "command": "echo 'x"}), vec!["url", "command"]),
        (json!({"name": "a", "url": "http://h/", "env": {"A": "b"}}), vec!["env"]),
        (json!({"name": "a", "command": "x", "env": {"A=B": "c", "D": []}}), vec!["env", "env"]),
        (json!({"name": "a", "command": "x", "auth_token": "t"}), vec!["auth_type"]),
        (json!({"name": "a", "url": "http://h/", "visibility": "team"}), vec!["visibility"]),
        (json!({"name": "!!", "url": "http://h/"}), vec!["name"]),
        (json!({"name": "x".repeat(256), "url": "http://h/"}), vec!["name"]),
    ] {
        let (status, answer) = create(&gateway, body.clone());
        assert_eq!(status, 422, "{body}: {answer}");
        let mut found = places(&answer);
        found.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(found, expected, "{body}: {answer}");
    }
}

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    let gateway = Gateway::new();
    for (body, kind) in [("{", "json_invalid"), ("", "json_invalid"), ("[]", "dict_type")] {
        let (status, answer) = gateway.send(Request::post("/gateways", body));
        assert_eq!(status, 422);
        assert_eq!(answer["detail"][0]["type"], kind);
    }
}

#[test]
fn a_name_or_url_that_exists_is_a_conflict_even_by_another_spelling() {
    let gateway = Gateway::new();
    create(&gateway, json!({"name": "Fast Time", "url": "http://127.0.0.1:9000/mcp"}));
    let sequence = gateway.sequence();
    for (body, part) in [
        (json!({"name": "fast_time", "url": "http://other.example/"}), "name already exists"),
        (json!({"name": "other", "url": "http://localhost:9000/mcp"}), "URL already exists"),
    ] {
        let (status, answer) = create(&gateway, body);
        assert_eq!(status, 409);
        assert!(answer["message"].as_str().unwrap().contains(part), "{answer}");
        assert_eq!(answer["detail"], answer["message"]);
    }
    assert_eq!(gateway.sequence(), sequence);
    let (status, _) = create(
        &gateway,
        json!({"name": "fast_time", "url": "http://x.example/", "visibility": "private"}),
    );
    assert_eq!(status, 200, "a private name is nobody else's business");
}

#[test]
fn an_upstream_that_cannot_be_reached_is_503_and_stored_nowhere() {
    let gateway = Gateway::new();
    gateway.upstream(|_| Err(failure(UpstreamKind::Unreachable, "connection refused")));
    let answer = gateway.answer(Request::post(
        "/gateways",
        r#"{"name": "time", "url": "http://time.example/mcp?key=secret"}"#,
    ));
    assert_eq!(answer.status, 503);
    assert!(answer.retry_after);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let text = "Unable to connect to gateway time: tried streamable HTTP at \
                http://time.example/mcp: connection refused";
    assert_eq!(body, json!({"message": text, "detail": text}));
    assert_eq!(gateway.asked.borrow().len(), 1, "SSE would be refused as well");
    assert_eq!(gateway.sequence(), 0);
}

#[test]
fn an_address_that_is_not_allowed_is_the_fault_of_the_field() {
    let gateway = Gateway::new();
    gateway
        .upstream(|_| Err(failure(UpstreamKind::Refused, "169.254.169.254 is a metadata service")));
    let (status, body) =
        create(&gateway, json!({"name": "time", "url": "http://169.254.169.254/"}));
    assert_eq!((status, places(&body)), (422, vec!["url".to_owned()]));
}

#[test]
fn without_a_transport_streamable_http_is_tried_and_then_sse() {
    let gateway = Gateway::new();
    gateway.upstream(|upstream| match upstream.record.transport {
        Transport::Sse => Ok(inventory(&["now"])),
        _ => Err(failure(UpstreamKind::Status(405), "Method Not Allowed")),
    });
    let (status, body) = create(&gateway, json!({"name": "time", "url": "http://h.example/sse"}));
    assert_eq!((status, &body["transport"]), (200, &json!("SSE")));
    let tried: Vec<_> = gateway.asked.borrow().iter().map(|asked| asked.transport).collect();
    assert_eq!(tried, [Transport::StreamableHttp, Transport::Sse]);
}

#[test]
fn when_both_transports_fail_both_stories_are_told() {
    let gateway = Gateway::new();
    gateway.upstream(|_| Err(failure(UpstreamKind::Status(404), "Not Found")));
    let (status, body) = create(&gateway, json!({"name": "time", "url": "http://h.example/x"}));
    assert_eq!(status, 503);
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("streamable HTTP at http://h.example/x"), "{message}");
    assert!(message.contains("HTTP with SSE at http://h.example/x"), "{message}");
}

#[test]
fn a_transport_that_is_named_is_the_only_one_tried() {
    let gateway = Gateway::new();
    gateway.upstream(|_| Err(failure(UpstreamKind::Status(405), "")));
    let (status, _) = create(
        &gateway,
        json!({"name": "time", "url": "http://h.example/", "transport": "STREAMABLEHTTP"}),
    );
    assert_eq!((status, gateway.asked.borrow().len()), (503, 1));
    gateway.upstream(|_| Err(failure(UpstreamKind::Status(401), "")));
    create(&gateway, json!({"name": "time", "url": "http://h.example/"}));
    assert_eq!(gateway.asked.borrow().len(), 2, "another transport needs the same credentials");
}

#[test]
fn a_command_comes_as_a_line_or_as_words_with_its_environment() {
    let gateway = Gateway::new();
    for (name, command) in
        [("one", json!("npx -y 'a b' stdio")), ("two", json!(["npx", "-y", "a b", "stdio"]))]
    {
        let body = json!({"name": name, "command": command, "env": {"KEY": "hunter2", "N": 1}});
        let (status, body) = create(&gateway, body);
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["transport"], "STDIO");
        assert_eq!(body["url"], Value::Null);
        assert_eq!(body["command"], json!(["npx", "-y", "a b", "stdio"]));
        assert_eq!(body["env"], json!({"KEY": "*****", "N": "*****"}));
    }
    let asked = gateway.asked.borrow();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(asked[0].environment, [pair("KEY", "hunter2"), pair("N", "1")]);
    assert_eq!(asked[0].command, asked[1].command);
    let (_, list) = gateway.send(Request::get("/gateways").by_user());
    assert_eq!(list[0]["command"], Value::Null, "arguments are for administrators");
}

#[test]
fn commands_are_refused_where_the_setting_is_off_and_it_is_named() {
    let mut gateway = Gateway::new();
    gateway.rules.stdio_allowed = false;
    for body in [
        json!({"name": "a", "command": "npx x"}),
        json!({"name": "a", "transport": "STDIO", "command": ["npx"]}),
        json!({"name": "a", "transport": "stdio"}),
    ] {
        let (status, answer) = create(&gateway, body);
        assert_eq!(status, 403);
        assert!(answer["message"].as_str().unwrap().contains("ALLOW_STDIO_UPSTREAMS=true"));
    }
    assert!(gateway.asked.borrow().is_empty());
}

#[test]
fn credentials_reach_the_upstream_and_are_masked_in_every_answer() {
    for (fields, headers, shown) in [
        (
            json!({"auth_type": "basic", "auth_username": "me", "auth_password": "hunter2"}),
            vec![("Authorization", "Basic bWU6aHVudGVyMg==")],
            json!({"authType": "basic", "authUsername": "me", "authPassword": "*****"}),
        ),
        (
            json!({"auth_token": "hunter2"}),
            vec![("Authorization", "Bearer hunter2")],
            json!({"authType": "bearer", "authToken": "*****"}),
        ),
        (
            json!({"auth_type": "authheaders", "auth_header_key": "X-Key",
                   "auth_header_value": "hunter2"}),
            vec![("X-Key", "hunter2")],
            json!({"authType": "authheaders", "authHeaderKey": "X-Key",
                   "authHeaderValue": "*****"}),
        ),
        (
            json!({"auth_type": "authheaders", "auth_headers": [
                {"key": "X-B", "value": "hunter2"}, {"key": "X-A", "value": "hunter2 too"}]}),
            vec![("X-A", "hunter2 too"), ("X-B", "hunter2")],
            json!({"authType": "authheaders", "authHeaders": [
                {"key": "X-A", "value": "*****"}, {"key": "X-B", "value": "*****"}]}),
        ),
        (json!({"auth_type": ""}), vec![], json!({"authType": null, "authValue": null})),
    ] {
        let gateway = Gateway::new();
        let mut body = json!({"name": "time", "url": "http://h.example/"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let (status, answer) = create(&gateway, body);
        assert_eq!(status, 200, "{fields}: {answer}");
        for (name, value) in shown.as_object().unwrap() {
            assert_eq!(&answer[name], value, "{fields}: {name}");
        }
        let expected: Vec<(String, String)> =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(gateway.asked.borrow()[0].headers, expected);
        let (_, list) = gateway.send(Request::get("/gateways"));
        assert!(!list.to_string().contains("hunter2"));
        assert!(!format!("{:?}", gateway.store).contains("hunter2"));
        gateway.assert_stored();
    }
}

#[test]
fn faulty_credentials_are_named_and_never_repeated() {
    let gateway = Gateway::new();
    for (fields, expected) in [
        (json!({"auth_type": "basic"}), vec!["auth_password", "auth_username"]),
        (json!({"auth_type": "bearer"}), vec!["auth_token"]),
        (json!({"auth_type": "bearer", "auth_token": "*****"}), vec!["auth_token"]),
        (json!({"auth_type": "bearer", "auth_token": "hunter2\r\nX: y"}), vec!["auth_token"]),
        (
            json!({"auth_type": "bearer", "auth_token": ["hunter2"]}),
            vec!["auth_token", "auth_token"],
        ),
        (json!({"auth_type": "oauth"}), vec!["auth_type"]),
        (json!({"auth_type": "authheaders"}), vec!["auth_headers"]),
        (
            json!({"auth_type": "authheaders", "auth_headers": [
                {"key": "X Y", "value": "hunter2"}, {"key": "Host", "value": "hunter2"},
                {"value": "hunter2"}, {"key": "X-A"}, {"key": "X-B", "value": "*****"},
                {"key": "X-C", "value": "1"}, {"key": "x-c", "value": "2"}]}),
            vec![
                "auth_headers.0.key",
                "auth_headers.1.key",
                "auth_headers.2.key",
                "auth_headers.3.value",
                "auth_headers.4.value",
                "auth_headers.6.key",
            ],
        ),
    ] {
        let mut body = json!({"name": "time", "url": "http://h.example/"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let (status, answer) = create(&gateway, body);
        assert_eq!(status, 422, "{fields}: {answer}");
        let mut found = places(&answer);
        found.sort();
        assert_eq!(found, expected, "{fields}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
}

#[test]
fn sending_back_what_was_read_changes_nothing_but_the_version() {
    let gateway = Gateway::new();
    for extra in [
        json!({"name": "one", "url": "http://one.example/", "auth_token": "hunter2"}),
        json!({"name": "two", "url": "http://two.example/", "auth_username": "me",
               "auth_password": "p:w"}),
        json!({"name": "three", "url": "http://three.example/", "auth_type": "authheaders",
               "auth_headers": [{"key": "X-A", "value": "1"}], "tags": ["time"]}),
        json!({"name": "four", "command": "npx x", "env": {"KEY": "hunter2"}}),
    ] {
        let (status, read) = create(&gateway, extra);
        assert_eq!(status, 200, "{read}");
        let asked = gateway.asked.borrow().len();
        let path = format!("/gateways/{}", read["id"].as_str().unwrap());
        let before = gateway.catalog_record(&path);
        let (status, again) = gateway.send(Request::put(&path, &read.to_string()));
        assert_eq!(status, 200, "{again}");
        assert_eq!(again["version"], 2);
        assert_eq!(gateway.asked.borrow().len(), asked, "nothing to ask anew");
        let after = gateway.catalog_record(&path);
        assert_eq!(before, after);
    }
}

#[test]
fn new_credentials_are_tried_at_once() {
    let gateway = Gateway::new();
    let (_, read) =
        create(&gateway, json!({"name": "t", "url": "http://h.example/", "auth_token": "old"}));
    let path = format!("/gateways/{}", read["id"].as_str().unwrap());
    let (status, _) = gateway.send(Request::put(&path, r#"{"authToken": "new"}"#));
    assert_eq!(status, 200);
    assert_eq!(gateway.asked.borrow()[1].headers[0].1, "Bearer new");
    gateway.upstream(|_| Err(failure(UpstreamKind::Status(401), "no")));
    let (status, body) = gateway.send(Request::put(&path, r#"{"auth_token": "wrong"}"#));
    assert_eq!(status, 503, "{body}");
    assert_eq!(
        gateway.catalog_record(&path).0,
        [("Authorization".to_owned(), "Bearer new".to_owned())]
    );
    let (status, body) = gateway.send(Request::put(&path, r#"{"auth_type": "none"}"#));
    assert_eq!(status, 503, "{body}");
}

#[test]
fn renaming_an_upstream_renames_its_tools_and_keeps_their_ids() {
    let gateway = Gateway::new();
    // Both directions make one tool take the former name of another.
    gateway.upstream_has(&["c", "b_c", "b_b_c"]);
    let read = gateway.register("a");
    let path = format!("/gateways/{}", read["id"].as_str().unwrap());
    let id = gateway.tool_id("a-b-c");
    for (name, expected) in [
        ("a b", ["a-b-b-b-c", "a-b-b-c", "a-b-c"]),
        ("a", ["a-b-b-c", "a-b-c", "a-c"]),
        ("z", ["z-b-b-c", "z-b-c", "z-c"]),
    ] {
        let (status, body) = gateway.send(Request::put(&path, &json!({"name": name}).to_string()));
        assert_eq!(status, 200, "{name}: {body}");
        assert_eq!(gateway.tool_names(), expected);
    }
    assert_eq!(gateway.tool_id("z-b-c"), id);
    assert_eq!(gateway.asked.borrow().len(), 1, "a name is no reason to ask again");
    gateway.assert_stored();
}

#[test]
fn a_rename_that_would_take_a_name_from_another_upstream_is_refused() {
    let gateway = Gateway::new();
    gateway.upstream_has(&["b_c"]);
    gateway.register("a");
    gateway.upstream_has(&["c"]);
    let other = gateway.register("x");
    let path = format!("/gateways/{}", other["id"].as_str().unwrap());
    let (status, body) = gateway.send(Request::put(&path, r#"{"name": "a b"}"#));
    assert_eq!(status, 409);
    assert!(body["message"].as_str().unwrap().contains("a-b-c"), "{body}");
    assert_eq!(gateway.tool_names(), ["a-b-c", "x-c"]);
}

#[test]
fn a_tool_whose_name_is_taken_is_left_out_and_reported() {
    let gateway = Gateway::new();
    gateway.upstream_has(&["get_time", "get-time", "x"]);
    let read = gateway.register("a");
    assert_eq!(
        read["skippedTools"],
        json!(["tool get-time: its name a-get-time would be that of get_time too"])
    );
    assert_eq!(gateway.tool_names(), ["a-get-time", "a-x"]);
}

#[test]
fn a_refresh_keeps_adds_and_removes_and_writes_only_what_changed() {
    let gateway = Gateway::new();
    let read = gateway.register("time");
    let path = format!("/gateways/{}/tools/refresh", read["id"].as_str().unwrap());
    let kept = gateway.tool_id("time-convert-time");
    gateway.upstream_has(&["get_system_time", "convert_time"]);
    let sequence = gateway.sequence();
    let (status, body) = gateway.send(Request::post(&path, ""));
    assert_eq!((status, &body["success"]), (200, &json!(true)));
    assert_eq!(gateway.sequence(), sequence + 1, "only the upstream's own record");
    gateway.upstream_has(&["convert_time", "zone"]);
    let (_, body) = gateway.send(Request::post(&path, ""));
    let counts = |kind: &str| {
        ["Added", "Updated", "Removed"].map(|what| body[format!("{kind}{what}")].as_u64().unwrap())
    };
    assert_eq!(counts("tools"), [1, 1, 1], "convert_time has another place now");
    assert_eq!(counts("resources"), [0, 0, 0]);
    assert_eq!(counts("prompts"), [0, 0, 0]);
    assert_eq!(gateway.tool_names(), ["time-convert-time", "time-zone"]);
    assert_eq!(gateway.tool_id("time-convert-time"), kept);
    gateway.assert_stored();
}

#[test]
fn a_refresh_that_fails_changes_nothing() {
    let gateway = Gateway::new();
    let read = gateway.register("time");
    let path = format!("/gateways/{}/tools/refresh", read["id"].as_str().unwrap());
    gateway.upstream(|_| Err(failure(UpstreamKind::Broken, "after 3 bytes")));
    let sequence = gateway.sequence();
    let (status, body) = gateway.send(Request::post(&path, ""));
    assert_eq!(status, 503);
    let message = body["message"].as_str().unwrap();
    assert!(message.starts_with("Unable to connect to gateway time: tried"), "{message}");
    assert!(message.contains("after 3 bytes"), "{message}");
    assert_eq!(gateway.sequence(), sequence);
}

#[test]
fn switching_off_hides_the_tools_and_switching_on_reads_them_again() {
    let gateway = Gateway::new();
    let read = gateway.register("time");
    let id = read["id"].as_str().unwrap();
    for action in ["state", "toggle"] {
        let off = format!("/gateways/{id}/{action}?activate=false");
        let (status, body) = gateway.send(Request::post(&off, ""));
        assert_eq!(status, 200);
        assert_eq!(body["status"], "success");
        assert_eq!(body["message"], format!("Gateway {id} deactivated"));
        assert_eq!(body["gateway"]["enabled"], false);
        assert!(body["gateway"].get("last_refresh_at").is_some(), "snake_case: {body}");
        assert_eq!(gateway.send(Request::get("/tools")).1, json!([]));
        assert_eq!(gateway.send(Request::get("/gateways")).1, json!([]));
        let (_, all) = gateway.send(Request::get("/tools?include_inactive=true"));
        assert_eq!(all[0]["enabled"], false);
        gateway.upstream_has(&["other"]);
        let on = format!("/gateways/{id}/{action}");
        let (status, body) = gateway.send(Request::post(&on, ""));
        assert_eq!((status, &body["gateway"]["enabled"]), (200, &json!(true)));
        assert_eq!(gateway.tool_names(), ["time-other"]);
    }
    let sequence = gateway.sequence();
    gateway.send(Request::post(&format!("/gateways/{id}/state?activate=true"), ""));
    assert_eq!(gateway.sequence(), sequence, "it was on already");
    let (status, _) = gateway.send(Request::post(&format!("/gateways/{id}/state?activate=x"), ""));
    assert_eq!(status, 422);
}

#[test]
fn an_upstream_that_is_off_is_changed_without_being_asked() {
    let gateway = Gateway::new();
    let read = gateway.register("time");
    let path = format!("/gateways/{}", read["id"].as_str().unwrap());
    gateway.send(Request::post(&format!("{path}/state?activate=false"), ""));
    gateway.upstream(|_| Err(failure(UpstreamKind::Unreachable, "")));
    let (status, body) = gateway.send(Request::put(&path, r#"{"url": "http://new.example/"}"#));
    assert_eq!((status, &body["url"]), (200, &json!("http://new.example/")));
    let (status, _) = gateway.send(Request::post(&format!("{path}/tools/refresh"), ""));
    assert_eq!(status, 409);
}

#[test]
fn deleting_takes_the_offers_along_and_out_of_every_server() {
    let gateway = Gateway::new();
    let read = gateway.register("time");
    let id = read["id"].as_str().unwrap();
    let tool = gateway.tool_id("time-convert-time");
    let body = json!({"server": {"name": "s", "associated_tools": [tool],
                                 "associated_gateways": [id]}});
    let (status, server) = gateway.send(Request::post("/servers", &body.to_string()));
    assert_eq!(status, 201, "{server}");
    let (status, body) = gateway.send(Request::delete(&format!("/gateways/{id}")));
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({"status": "success", "message": format!("Gateway {id} deleted successfully")})
    );
    assert_eq!(gateway.tool_names(), Vec::<String>::new());
    let path = format!("/servers/{}", server["id"].as_str().unwrap());
    let (_, server) = gateway.send(Request::get(&path));
    assert_eq!(server["associatedToolIds"], json!([]));
    assert_eq!(server["associatedGateways"], json!([]));
    assert_eq!(gateway.send(Request::get(&format!("/gateways/{id}"))).0, 404);
}

#[test]
fn if_match_guards_against_a_change_in_between() {
    let gateway = Gateway::new();
    let read = gateway.register("time");
    let path = format!("/gateways/{}", read["id"].as_str().unwrap());
    let change =
        |version| gateway.send(Request::put(&path, r#"{"description": "x"}"#).if_match(version)).0;
    assert_eq!(change("\"1\""), 200);
    assert_eq!(change("\"1\""), 412);
    assert_eq!(change("2"), 200);
    assert_eq!(change("*"), 200);
    assert_eq!(change("yesterday"), 400);
    assert_eq!(gateway.send(Request::delete(&path).if_match("1")).0, 412);
    assert_eq!(gateway.send(Request::delete(&path).if_match("4")).0, 200);
}

#[test]
fn a_long_description_is_cut_and_an_empty_one_is_none() {
    let gateway = Gateway::new();
    let body = json!({"name": "t", "url": "http://h.example/", "description": "é".repeat(101)});
    let (_, read) = create(&gateway, body);
    assert_eq!(read["description"].as_str().unwrap().chars().count(), 100);
    let path = format!("/gateways/{}", read["id"].as_str().unwrap());
    let (_, read) = gateway.send(Request::put(&path, r#"{"description": null}"#));
    assert!(read["description"].is_string(), "null leaves a field as it is");
    let (_, read) = gateway.send(Request::put(&path, r#"{"description": ""}"#));
    assert_eq!(read["description"], Value::Null);
}

#[test]
fn a_user_sees_what_is_public_and_what_is_theirs() {
    let gateway = Gateway::new();
    gateway.register("open");
    let body = json!({"name": "mine", "url": "http://m.example/", "visibility": "private",
                      "owner_email": "user@example.com"});
    create(&gateway, body);
    let body = json!({"name": "theirs", "url": "http://t.example/", "visibility": "private"});
    let (_, theirs) = create(&gateway, body);
    let names = |request: Request<'_>| {
        let (_, list) = gateway.send(request);
        let mut names: Vec<_> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|each| each["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(Request::get("/gateways").by_user()), ["mine", "open"]);
    assert_eq!(names(Request::get("/gateways")), ["mine", "open", "theirs"]);
    assert_eq!(names(Request::get("/gateways?visibility=private")), ["mine", "theirs"]);
    let tools = names(Request::get("/tools").by_user());
    assert!(tools.iter().all(|name| !name.starts_with("theirs")), "{tools:?}");
    let path = format!("/gateways/{}", theirs["id"].as_str().unwrap());
    assert_eq!(gateway.send(Request::get(&path).by_user()).0, 404);
}

impl Gateway {
    /// The opened secrets of the upstream at this path, and its record without audit.
    fn catalog_record(&self, path: &str) -> (Vec<(String, String)>, String) {
        use crate::admin::Backend;
        let catalog = self.catalog();
        let upstream = catalog.upstream(path.rsplit('/').next().unwrap()).unwrap();
        let mut record = storage::record::Gateway::clone(&upstream.record);
        record.audit = Default::default();
        (upstream.headers.clone(), format!("{record:?} {:?}", upstream.environment))
    }
}
