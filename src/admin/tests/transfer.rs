//! Exports and imports.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::harness::{Gateway, Request, failure};
use crate::failure::UpstreamKind;

/// A gateway with an upstream, an agent and two servers, one of them switched off.
fn filled() -> Gateway {
    let gateway = Gateway::new();
    let post = |path: &str, body: Value| {
        let (status, answer) = gateway.send(Request::post(path, &body.to_string()));
        assert!(matches!(status, 200 | 201), "{path}: {answer}");
        answer
    };
    let upstream = json!({"name": "time", "url": "http://time.example/mcp", "tags": ["clock"],
        "transport": "STREAMABLEHTTP", "auth_type": "bearer", "auth_token": "tok-1"});
    let upstream = post("/gateways", upstream);
    let command = json!({"name": "local", "command": ["run", "it"], "env": {"KEY": "env-1"}});
    post("/gateways", command);
    let agent = json!({"agent": {"name": "Helper", "endpoint_url": "http://a.example/",
        "description": "Helps", "config": {"x": 1}, "tags": ["aid"], "auth_type": "query_param",
        "auth_query_param_key": "k", "auth_query_param_value": "q-1"}});
    post("/a2a", agent);
    let tool = json!({"tool": {"name": "fetch_it", "url": "http://api.example/items/{id}",
        "integration_type": "REST", "request_type": "GET", "description": "Fetches",
        "headers": {"X-Plain": "1"}, "auth_type": "basic", "auth_username": "me",
        "auth_password": "pw-1", "timeout_ms": 500,
        "input_schema": {"type": "object", "properties": {"id": {"type": "string"}}}}});
    post("/tools", tool);
    let note = json!({"uri": "note://one", "name": "one", "content": "text"});
    let note = post("/resources", json!({"resource": note}));
    let bytes =
        json!({"uri": "note://two", "name": "two", "blob": "AAEC", "mime_type": "image/png"});
    post("/resources", json!({"resource": bytes}));
    let prompt = json!({"name": "welcome", "template": "Hi {{ who }}",
        "arguments": [{"name": "who", "description": "whom", "required": true}]});
    let prompt = post("/prompts", json!({"prompt": prompt}));
    post("/roots", json!({"uri": "https://root.example/here", "name": "r"}));
    let names = ["time-convert-time", "a2a-helper", "fetch-it"];
    let tools = names.map(|name| gateway.tool_id(name));
    let server = json!({"server": {"name": "all", "description": "d", "associated_tools": tools,
        "associated_resources": [note["id"]], "associated_prompts": [prompt["id"]],
        "associated_gateways": [upstream["id"]], "tool_prefix": "my_", "auth_required": false}});
    post("/servers", server);
    let off = post("/servers", json!({"server": {"name": "off"}, "visibility": "private"}));
    let path = format!("/servers/{}/state?activate=false", off["id"].as_str().unwrap());
    post(&path, json!({}));
    gateway
}

fn export(gateway: &Gateway, query: &str) -> Value {
    let (status, body) = gateway.send(Request::get(&format!("/export{query}")));
    assert_eq!(status, 200, "{body}");
    body
}

fn import(gateway: &Gateway, order: Value) -> Value {
    let (status, body) = gateway.send(Request::post("/import", &order.to_string()));
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["status"], "completed");
    assert_eq!(body["progress"]["processed"], body["progress"]["total"]);
    body
}

/// What of an export is the same wherever and whenever it is made.
fn lasting(mut export: Value) -> Value {
    export["exported_at"].take();
    for list in export["entities"].as_object_mut().unwrap().values_mut() {
        for entity in list.as_array_mut().unwrap() {
            for name in ["created_at", "updated_at"] {
                entity[name].take();
            }
            // Each sealing gives another text.
            for name in ["auth_value", "env_sealed"] {
                if let Some(sealed) = entity.get_mut(name) {
                    assert!(sealed.take().is_string());
                }
            }
        }
    }
    export
}

/// What proves us to whom.
fn secrets(gateway: &Gateway) -> Vec<(String, Vec<(String, String)>)> {
    let catalog = crate::admin::Backend::catalog(gateway);
    let upstreams = catalog.upstreams().map(|it| {
        let environment = it.environment.clone().into_iter();
        (it.record.name.clone(), it.headers.iter().cloned().chain(environment).collect())
    });
    let agents = catalog.agents().map(|it| (it.record.name.clone(), it.headers.clone()));
    let tools = catalog.tools().map(|it| (it.record.name.clone(), it.credentials.clone()));
    let mut all: Vec<_> = upstreams.chain(agents).chain(tools).collect();
    all.sort();
    all
}

#[test]
fn what_is_exported_imports_into_an_empty_gateway_and_exports_the_same() {
    let source = filled();
    let first = export(&source, "?include_inactive=true");
    assert_eq!(first["encryption_method"], "AES-256-GCM");
    assert_eq!(first["source_gateway"], "http://127.0.0.1:4444");
    assert_eq!(first["exported_by"], "admin@example.com");
    let counts = json!({"gateways": 2, "a2a_agents": 1, "tools": 1, "resources": 2, "prompts": 1,
        "servers": 2, "roots": 1});
    assert_eq!(first["metadata"]["entity_counts"], counts);
    assert_eq!(
        first["metadata"]["dependencies"]["servers_to_tools"],
        json!({"all": ["time-convert-time", "a2a-helper", "fetch-it"]})
    );
    let text = first.to_string();
    for secret in ["tok-1", "env-1", "q-1", "pw-1"] {
        assert!(!text.contains(secret), "{secret} is in the export");
    }
    let target = Gateway::new();
    let done = import(&target, json!({"import_data": first}));
    assert_eq!((&done["errors"], &done["warnings"]), (&json!([]), &json!([])));
    assert_eq!(done["progress"]["created"], 10);
    let second = export(&target, "?include_inactive=true");
    assert_eq!(lasting(second), lasting(first.clone()));
    assert_eq!(secrets(&target), secrets(&source));
    assert_eq!(target.tool_names(), source.tool_names());
    // And once more over itself: nothing is made twice.
    let again = import(&target, json!({"import_data": first, "conflict_strategy": "update"}));
    assert_eq!((&again["progress"]["updated"], &again["errors"]), (&json!(10), &json!([])));
    assert_eq!(lasting(export(&target, "?include_inactive=true")), lasting(first));
    target.assert_stored();
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let exported = export(&filled(), "?include_inactive=true");
    let target = Gateway::new();
    target.upstream(|_| Err(failure(UpstreamKind::Unreachable, "nobody is asked")));
    let order = json!({"import_data": exported, "dry_run": true});
    let done = import(&target, order);
    assert_eq!(done["dry_run"], true);
    assert_eq!((&done["progress"]["created"], &done["errors"]), (&json!(10), &json!([])));
    let warnings = done["warnings"].to_string();
    assert!(warnings.contains("Would import gateway: time"), "{warnings}");
    assert!(warnings.contains("Would import server: all"), "{warnings}");
    assert_eq!(target.sequence(), 0, "nothing was written");
    let (_, listed) = target.send(Request::get("/import/status"));
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[test]
fn a_taken_name_is_dealt_with_as_the_strategy_says() {
    let exported = export(&filled(), "");
    let target = filled();
    let with = |strategy: &str| {
        let order = json!({"import_data": exported, "conflict_strategy": strategy,
            "selected_entities": {"a2a_agents": ["Helper"], "servers": []}});
        import(&target, order)
    };
    let done = with("skip");
    assert_eq!((&done["progress"]["skipped"], &done["progress"]["total"]), (&json!(2), &json!(2)));
    let done = with("fail");
    assert_eq!(done["progress"]["failed"], 2);
    assert_eq!(done["errors"][0], "Failed to import agent Helper: agent name conflict: Helper");
    let done = with("rename");
    assert_eq!((&done["progress"]["created"], &done["errors"]), (&json!(2), &json!([])));
    let (_, agents) = target.send(Request::get("/a2a"));
    let mut names: Vec<_> =
        agents.as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names[0], "Helper");
    assert!(names[1].starts_with("Helper_imported_"), "{names:?}");
    let (status, body) = target.send(Request::post("/import?conflict_strategy=guess", "{}"));
    assert_eq!(status, 422, "{body}");
}

#[test]
fn one_entity_that_fails_does_not_stop_the_others() {
    let target = Gateway::new();
    target.upstream(|upstream| match &*upstream.record.name {
        "away" => Err(failure(UpstreamKind::Unreachable, "connection refused")),
        _ => Ok(super::harness::inventory(&["echo"])),
    });
    let entities = json!({
        "gateways": [
            {"name": "away", "url": "http://away.example/mcp"},
            {"name": "here", "url": "http://here.example/mcp", "auth_type": "bearer",
             "auth_value": "not sealed by anybody"},
            {"name": "good", "url": "http://good.example/mcp", "auth_type": "oauth"},
            {"url": "http://nameless.example/mcp"},
        ],
        "tools": [{"name": "x", "integration_type": "MCP", "url": "http://x.example"}],
        "servers": [{"name": "s", "tool_ids": ["good-echo", "lost"]}],
    });
    let data = json!({"version": "2025-03-26", "exported_at": "now", "entities": entities});
    let done = import(&target, json!({"import_data": data}));
    let expected = json!({"total": 6, "processed": 6, "created": 2, "updated": 0, "skipped": 1,
        "failed": 3});
    assert_eq!(done["progress"], expected, "{done}");
    let errors = done["errors"].to_string();
    assert!(errors.contains("away") && errors.contains("connection refused"), "{errors}");
    assert!(errors.contains("rekey_secret"), "{errors}");
    let warnings = done["warnings"].to_string();
    assert!(warnings.contains("there is no tool lost"), "{warnings}");
    assert!(warnings.contains("(oauth) are not in the export"), "{warnings}");
    let (_, servers) = target.send(Request::get("/servers"));
    assert_eq!(servers[0]["associatedTools"], json!(["good-echo"]));
}

#[test]
fn what_is_no_export_is_refused_with_every_fault() {
    let gateway = Gateway::new();
    let order = json!({"import_data": {"version": "", "entities": {"cats": [], "tools": [1]}},
        "dry_run": "maybe"});
    let (status, body) = gateway.send(Request::post("/import", &order.to_string()));
    assert_eq!(status, 422);
    let text = body.to_string();
    for part in ["version", "exported_at", "cats", "tools", "dry_run"] {
        assert!(text.contains(part), "{part} is not named in {text}");
    }
    assert_eq!(gateway.send(Request::post("/import", "{}")).0, 422);
    assert_eq!(gateway.send(Request::post("/import", "{}").by_user()).0, 403);
    assert_eq!(gateway.send(Request::get("/export").by_user()).0, 403);
    assert_eq!(gateway.send(Request::get("/export?types=cats")).0, 422);
}

#[test]
fn the_progress_of_imports_is_kept_and_forgotten() {
    let gateway = Gateway::new();
    let data = json!({"version": "1", "exported_at": "now", "entities": {}});
    let done = import(&gateway, json!({"import_data": data}));
    let path = format!("/import/status/{}", done["import_id"].as_str().unwrap());
    assert_eq!(gateway.send(Request::get(&path)), (200, done));
    assert_eq!(gateway.send(Request::get("/import/status/none")).0, 404);
    let (_, kept) = gateway.send(Request::post("/import/cleanup", ""));
    assert_eq!(kept["removed_count"], 0);
    let (_, gone) = gateway.send(Request::post("/import/cleanup?max_age_hours=0", ""));
    assert_eq!(gone["removed_count"], 1);
    assert_eq!(gateway.send(Request::get("/import/status")).1, json!([]));
}

#[test]
fn exports_are_filtered_by_kind_tag_and_choice() {
    let gateway = filled();
    let names = |export: &Value, kind: &str| -> Vec<String> {
        let list = export["entities"][kind].as_array().cloned().unwrap_or_default();
        list.iter().map(|each| each["name"].as_str().unwrap().to_owned()).collect()
    };
    let only = export(&gateway, "?types=gateways,servers&exclude_types=servers");
    assert_eq!(only["entities"].as_object().unwrap().len(), 1);
    assert_eq!(names(&only, "gateways"), ["local", "time"]);
    let tagged = export(&gateway, "?tags=clock");
    assert_eq!(
        (names(&tagged, "gateways"), names(&tagged, "servers")),
        (vec!["time".into()], vec![])
    );
    assert_eq!(names(&export(&gateway, ""), "servers"), ["all"], "what is off stays out");
    let order = json!({"servers": ["all"]}).to_string();
    let (status, chosen) = gateway.send(Request::post("/export/selective", &order));
    assert_eq!(status, 200, "{chosen}");
    assert_eq!(
        (names(&chosen, "servers"), names(&chosen, "gateways")),
        (vec!["all".into()], vec!["time".into()])
    );
    assert_eq!(names(&chosen, "a2a_agents"), ["Helper"]);
    let path = "/export/selective?include_dependencies=false";
    let (_, chosen) = gateway.send(Request::post(path, &order));
    assert_eq!(chosen["entities"].as_object().unwrap().len(), 1);
}

/// What one random registry is made of: requests that make entities. Some may be refused (a name that
/// is taken, say); what was made is what counts.
fn registry() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let entity = prop_oneof![tool(), resource(), prompt(), upstream(), agent(), root(), server()];
    prop::collection::vec(entity, 0..14)
}

/// A name with every character that names may have, now and then an odd one.
fn name() -> impl Strategy<Value = String> {
    "[A-Za-z][A-Za-z0-9_. -]{0,10}[A-Za-z0-9]".prop_map(|name| name.replace("  ", " "))
}

/// A text for people, with whatever people write.
fn prose() -> impl Strategy<Value = String> {
    "[ -~é名🦀\n\t\"\\\\]{0,24}".prop_map(|text| text.replace('<', "("))
}

fn common() -> impl Strategy<Value = (String, String, Vec<String>, &'static str)> {
    let tags = prop::collection::vec("[a-z][a-z0-9]{1,6}", 0..3);
    (name(), prose(), tags, prop_oneof![Just("public"), Just("private")])
}

/// How an upstream, an agent or a tool is proved to.
fn credentials() -> impl Strategy<Value = Value> {
    let secret = "[!-~]{1,12}".prop_filter("it is not a mask", |text| !text.contains('*'));
    (0..4_u8, secret).prop_map(|(way, secret)| match way {
        0 => json!({}),
        1 => json!({"auth_type": "bearer", "auth_token": secret}),
        2 => json!({"auth_type": "basic", "auth_username": "me", "auth_password": secret}),
        _ => json!({"auth_type": "authheaders",
                    "auth_headers": [{"key": "X-One", "value": secret}, {"key": "X-Two", "value": "2"}]}),
    })
}

fn with(mut fields: Value, more: &Value) -> Value {
    let more = more.as_object().cloned().unwrap_or_default();
    fields.as_object_mut().unwrap().extend(more);
    fields
}

fn tool() -> impl Strategy<Value = (&'static str, Value)> {
    let verb = prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("PATCH"), Just("DELETE")];
    (common(), verb, credentials(), prop::option::of(1..60_000_u32), any::<bool>()).prop_map(
        |((name, description, tags, visibility), verb, auth, timeout, deprecated)| {
            let name = name.replace(' ', "_");
            let tool = json!({"name": name, "integration_type": "REST", "request_type": verb,
                "url": "http://api.example/items/{id}", "description": description, "tags": tags,
                "timeout_ms": timeout, "deprecated": deprecated, "headers": {"X-Plain": "1"},
                "input_schema": {"type": "object", "properties": {"id": {"type": "string"}}}});
            ("/tools", json!({"tool": with(tool, &auth), "visibility": visibility}))
        },
    )
}

fn resource() -> impl Strategy<Value = (&'static str, Value)> {
    let content = prop_oneof![
        prose().prop_map(|text| json!({"content": format!("x{text}")})),
        Just(json!({"blob": "AAEC/w==", "mime_type": "image/png"})),
    ];
    (common(), content).prop_map(|((name, description, tags, visibility), content)| {
        let uri = format!("note://{}", name.replace(' ', "_"));
        let resource = json!({"uri": uri, "name": name, "description": description, "tags": tags});
        let resource = with(resource, &content);
        ("/resources", json!({"resource": resource, "visibility": visibility}))
    })
}

fn prompt() -> impl Strategy<Value = (&'static str, Value)> {
    (common(), prose(), any::<bool>()).prop_map(
        |((name, description, tags, visibility), text, required)| {
            let template = format!("{} {{{{ who }}}}", text.replace(['{', '}', '%', '#'], ""));
            let prompt = json!({"name": name, "description": description, "tags": tags,
            "template": template, "arguments": [{"name": "who", "required": required}]});
            ("/prompts", json!({"prompt": prompt, "visibility": visibility}))
        },
    )
}

fn upstream() -> impl Strategy<Value = (&'static str, Value)> {
    (common(), credentials()).prop_map(|((name, description, tags, visibility), auth)| {
        let url =
            format!("http://{}.example/mcp", name.to_lowercase().replace([' ', '.', '_'], "-"));
        let upstream = json!({"name": name, "url": url, "description": description, "tags": tags,
            "visibility": visibility, "transport": "STREAMABLEHTTP"});
        ("/gateways", with(upstream, &auth))
    })
}

fn agent() -> impl Strategy<Value = (&'static str, Value)> {
    (common(), credentials()).prop_map(|((name, description, tags, visibility), auth)| {
        let agent = json!({"name": name, "endpoint_url": "http://a.example/",
            "description": description, "tags": tags, "config": {"x": [1, null, "é"]}});
        ("/a2a", json!({"agent": with(agent, &auth), "visibility": visibility}))
    })
}

fn root() -> impl Strategy<Value = (&'static str, Value)> {
    ("[a-z]{1,8}", prop::option::of(name())).prop_map(|(place, name)| {
        ("/roots", json!({"uri": format!("file:///srv/{place}"), "name": name}))
    })
}

/// A server that chooses some of what was made before it: which, is settled when it is made.
fn server() -> impl Strategy<Value = (&'static str, Value)> {
    (common(), any::<u64>(), prop::option::of("[a-z]{1,4}_")).prop_map(
        |((name, description, tags, visibility), choice, prefix)| {
            let server = json!({"name": name, "description": description, "tags": tags,
                "tool_prefix": prefix, "choice": choice});
            ("/servers", json!({"server": server, "visibility": visibility}))
        },
    )
}

/// Makes the entities that can be made.
fn make(gateway: &Gateway, orders: Vec<(&'static str, Value)>) {
    let mut made: Vec<(&str, String)> = Vec::new();
    for (path, mut body) in orders {
        if path == "/servers" {
            let choice = body["server"]["choice"].as_u64().unwrap();
            let of = |kind: &str| {
                let chosen = made
                    .iter()
                    .enumerate()
                    .filter(|(place, (made, _))| *made == kind && choice >> (place % 64) & 1 == 1);
                chosen.map(|(_, (_, id))| id.clone()).collect::<Vec<_>>()
            };
            body["server"] = with(
                body["server"].take(),
                &json!({"associated_tools": of("/tools"), "associated_resources": of("/resources"),
                    "associated_prompts": of("/prompts"), "associated_gateways": of("/gateways"),
                    "associated_a2a_agents": of("/a2a")}),
            );
        }
        let (status, answer) = gateway.send(Request::post(path, &body.to_string()));
        assert!(matches!(status, 200 | 201 | 409 | 422), "{path} {body}: {answer}");
        if let (200 | 201, Some(id)) = (status, answer["id"].as_str()) {
            made.push((path, id.to_owned()));
        }
    }
}

/// The lists of an export, in an order of their own: it is that of the records' ids.
fn sorted(mut export: Value) -> Value {
    for list in export["entities"].as_object_mut().unwrap().values_mut() {
        list.as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    export["metadata"]["dependencies"].take();
    export
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever is registered, an export of it imports into an empty gateway without a word, and what
    /// that exports is the same, secrets included.
    #[test]
    fn any_registry_comes_through_export_and_import_as_it_was(orders in registry()) {
        let source = Gateway::new();
        make(&source, orders);
        let first = export(&source, "?include_inactive=true");
        let target = Gateway::new();
        let done = import(&target, json!({"import_data": first}));
        prop_assert_eq!((&done["errors"], &done["warnings"]), (&json!([]), &json!([])));
        let second = export(&target, "?include_inactive=true");
        prop_assert_eq!(sorted(lasting(second)), sorted(lasting(first)));
        prop_assert_eq!(secrets(&target), secrets(&source));
    }
}
