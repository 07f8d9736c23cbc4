//! What the gateway offers without an upstream: its own resources and prompts, roots, and the
//! protocol by REST and by the names that older clients use.

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::mcp::Client;
use crate::harness::stream::Stream;

#[track_caller]
fn made(gateway: &Gateway, path: &str, body: &Value) -> Value {
    gateway.post(path, body).expect(200).json()
}

/// The fields that a refusal names.
#[track_caller]
fn faults(gateway: &Gateway, path: &str, body: &Value) -> Vec<String> {
    let answer = gateway.post(path, body).expect(422).json();
    let details = answer["detail"].as_array().expect("a list of faults").clone();
    let field = |fault: &Value| {
        let place = fault["loc"].as_array().and_then(|place| place.last());
        place.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut names: Vec<_> = details.iter().map(field).collect();
    names.sort();
    names
}

fn id_of(record: &Value) -> &str {
    record["id"].as_str().expect("a record has an id")
}

#[test]
fn a_resource_is_made_read_by_rest_and_by_mcp_changed_switched_and_deleted() {
    let gateway = Gateway::start();
    let record = made(
        &gateway,
        "/resources",
        &json!({"resource": {"uri": "note://one", "name": "Note", "content": "hello {x}",
            "mime_type": "text/markdown", "tags": ["a1"], "annotations": {"priority": 1}},
            "visibility": "public"}),
    );
    assert_eq!((&record["size"], &record["enabled"]), (&json!(9), &json!(true)));
    let path = format!("/resources/{}", id_of(&record));
    let read = gateway.get(&path).expect(200).json();
    assert_eq!((&read["text"], &read["mime_type"]), (&json!("hello {x}"), &json!("text/markdown")));
    for era in ["legacy", "modern"] {
        let client = match era {
            "legacy" => Client::legacy(&gateway, "/mcp"),
            _ => Client::modern(&gateway, "/mcp"),
        };
        let listed = client.result("resources/list", json!({}));
        assert_eq!(listed["resources"][0]["annotations"]["priority"], 1, "{era}");
        let read = client.result("resources/read", json!({"uri": "note://one"}));
        assert_eq!(read["contents"][0]["text"], "hello {x}", "{era}");
    }
    let changed = json!({"content": "changed", "description": "d"});
    let answer = gateway.ask("PUT", &path, Some(&changed)).expect(200);
    assert_eq!(answer.header("etag"), Some("\"2\""));
    assert_eq!(answer.json()["description"], "d");
    assert_eq!(gateway.get(&path).expect(200).json()["text"], "changed");
    let off = gateway.post(&format!("{path}/state?activate=false"), &json!({})).expect(200).json();
    assert_eq!((&off["status"], &off["resource"]["enabled"]), (&json!("success"), &json!(false)));
    assert!(off["resource"]["created_at"].is_string(), "the record is in snake_case");
    gateway.get(&path).expect(404);
    gateway.get(&format!("{path}/info")).expect(200);
    gateway.ask("DELETE", &path, None).expect(200);
    gateway.ask("DELETE", &path, None).expect(404);
}

#[test]
fn bytes_and_templates_are_resources_too() {
    let gateway = Gateway::start();
    let bytes =
        json!({"uri": "pic://one", "name": "Pic", "blob": "iVBORw0=", "mimeType": "image/png"});
    let record = made(&gateway, "/resources", &bytes);
    let read = gateway.get(&format!("/resources/{}", id_of(&record))).expect(200).json();
    assert_eq!((&read["blob"], &read["text"]), (&json!("iVBORw0="), &Value::Null));
    made(
        &gateway,
        "/resources",
        &json!({"resource": {"uri": "hi://{who}", "uri_template": "hi://{who}", "name": "Hi",
            "content": "Hello, {who}!"}}),
    );
    let client = Client::legacy(&gateway, "/mcp");
    let templates = client.result("resources/templates/list", json!({}));
    assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "hi://{who}");
    let read = client.result("resources/read", json!({"uri": "hi://you%20all"}));
    assert_eq!(read["contents"][0]["text"], "Hello, you all!");
    let listed = gateway.get("/resources/templates/list").expect(200).json();
    assert_eq!(listed["resource_templates"][0]["name"], "Hi");
    let tested = gateway.get("/resources/test/hi://me").expect(200).json();
    assert_eq!(tested["content"]["text"], "Hello, me!");
    gateway.get("/resources/test/ho://me").expect(404);
}

#[test]
fn a_resource_that_cannot_be_is_refused_with_every_fault() {
    let gateway = Gateway::start();
    let bad = json!({"resource": {"uri": "../x", "mime_type": "nonsense", "content": 5}});
    assert_eq!(
        faults(&gateway, "/resources", &bad),
        ["content", "content", "mime_type", "name", "uri"]
    );
    let long = json!({"uri": "a:b", "name": "n", "content": "x".repeat(102_401)});
    assert_eq!(faults(&gateway, "/resources", &long), ["content"]);
    let fine = json!({"uri": "a:b", "name": "n", "content": "x".repeat(102_400)});
    made(&gateway, "/resources", &fine);
    gateway.post("/resources", &fine).expect(409);
}

#[test]
fn a_prompt_is_rendered_by_rest_and_by_mcp_with_its_arguments_checked() {
    let gateway = Gateway::start();
    let record = made(
        &gateway,
        "/prompts",
        &json!({"prompt": {"name": "Greet me", "description": "Greets.",
            "template": "# User:\nI am {{ who|upper }}.\n# Assistant:\nHello{% if how %}, {{ how }}{% endif %}!",
            "arguments": [{"name": "who", "required": true}, {"name": "how"}]}}),
    );
    assert_eq!(
        (&record["name"], &record["originalName"]),
        (&json!("greet-me"), &json!("Greet me"))
    );
    let expected = json!([
        {"role": "user", "content": {"type": "text", "text": "I am JO."}},
        {"role": "assistant", "content": {"type": "text", "text": "Hello!"}},
    ]);
    assert!(record["template"].as_str().is_some_and(|text| text.contains("{{ who|upper }}")));
    let id = id_of(&record).to_owned();
    for name in [id.as_str(), "greet-me", "Greet%20me"] {
        let rendered = made(&gateway, &format!("/prompts/{name}"), &json!({"who": "Jo"}));
        assert_eq!(rendered["messages"], expected, "{name}");
        assert_eq!(rendered["description"], "Greets.");
    }
    let client = Client::modern(&gateway, "/mcp");
    let listed = client.result("prompts/list", json!({}));
    assert_eq!(listed["prompts"][0]["arguments"][0]["name"], "who");
    let params = json!({"name": "greet-me", "arguments": {"who": "Jo"}});
    assert_eq!(client.result("prompts/get", params)["messages"], expected);
    let missing = gateway.post(&format!("/prompts/{id}"), &json!({})).expect(422).json();
    assert!(missing.to_string().contains("who"), "{missing}");
    let refused = client.ask("prompts/get", json!({"name": "greet-me"}));
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    let completed = client.result(
        "completion/complete",
        json!({"ref": {"type": "ref/prompt", "name": "greet-me"}, "argument": {"name": "who", "value": "J"}}),
    );
    assert_eq!(completed["completion"]["values"], json!([]));
    let renamed = json!({"custom_name": "hail", "template": "Hail {{ who }}"});
    let changed = gateway.ask("PUT", &format!("/prompts/{id}"), Some(&renamed)).expect(200).json();
    assert_eq!(changed["name"], "hail");
    let rendered = made(&gateway, "/prompts/hail", &json!({"who": "Jo"}));
    assert_eq!(rendered["messages"][0]["content"]["text"], "Hail Jo");
    let metrics = gateway.get("/metrics").expect(200).json();
    assert!(metrics["prompts"].to_string().contains("6"), "{metrics}");
}

#[test]
fn a_template_that_is_wrong_or_could_do_harm_is_refused() {
    let gateway = Gateway::start();
    for template in [
        "Hello {{ who",
        "{{ ''.__class__ * 9 }}",
        "{% set x = a %}",
        "{% include 'x' %}",
        &"x".repeat(10_241),
    ] {
        let body = json!({"prompt": {"name": "p", "template": template}});
        assert_eq!(faults(&gateway, "/prompts", &body), ["template"], "{template:.40}");
    }
    let body = json!({"prompt": {"arguments": [{"name": "a b"}], "tags": ["!"]}});
    assert_eq!(faults(&gateway, "/prompts", &body), ["arguments", "name", "tags", "template"]);
}

#[test]
fn roots_are_kept_by_their_uris_and_seeded_from_the_settings() {
    let gateway = Gateway::setup().set("DEFAULT_ROOTS", "file:///seeded").start();
    let root = made(&gateway, "/roots", &json!({"uri": "file:///srv/data", "name": "Data"}));
    assert_eq!(root, json!({"uri": "file:///srv/data", "name": "Data", "_meta": null}));
    gateway.post("/roots", &json!({"uri": "file:///srv/data"})).expect(409);
    assert_eq!(faults(&gateway, "/roots", &json!({"uri": "no uri"})), ["uri"]);
    let listed = gateway.get("/roots").expect(200).json();
    let uris: Vec<_> = listed.as_array().expect("a list").iter().map(|root| &root["uri"]).collect();
    assert_eq!(uris, ["file:///seeded", "file:///srv/data"]);
    let encoded = "/roots/file%3A%2F%2F%2Fsrv%2Fdata";
    for path in [encoded, "/roots/file:///srv/data"] {
        assert_eq!(gateway.get(path).expect(200).json()["name"], "Data");
    }
    let renamed = gateway.ask("PUT", encoded, Some(&json!({"name": "D"}))).expect(200).json();
    assert_eq!(renamed["name"], "D");
    let exported = gateway.get("/roots/export?uri=file:///srv/data").expect(200).json();
    assert_eq!(exported["root"], json!({"uri": "file:///srv/data", "name": "D"}));
    gateway.ask("DELETE", encoded, None).expect(200);
    gateway.get(encoded).expect(404);
    let listed = gateway.rpc("roots/list", json!({}));
    assert_eq!(listed["result"]["roots"][0]["uri"], "file:///seeded", "{listed}");
}

#[test]
fn the_protocol_is_spoken_by_rest() {
    let gateway = Gateway::start();
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"}});
    for path in ["/protocol/initialize", "/initialize", "/v1/initialize"] {
        let answer = made(&gateway, path, &hello);
        assert_eq!(answer["protocolVersion"], "2025-11-25", "{path}");
    }
    gateway.post("/protocol/initialize", &json!({})).expect(400);
    let ping =
        made(&gateway, "/protocol/ping", &json!({"jsonrpc": "2.0", "id": 7, "method": "ping"}));
    assert_eq!(ping, json!({"jsonrpc": "2.0", "id": 7, "result": {}}));
    let pong = gateway.post("/protocol/ping", &json!({"id": 7, "method": "pong"})).expect(400);
    assert_eq!(pong.json()["error"]["code"], -32600);
    let note = json!({"method": "notifications/initialized"});
    assert_eq!(made(&gateway, "/notifications", &note), Value::Null);
    gateway.post("/protocol/sampling/createMessage", &json!({"messages": []})).expect(501);
}

#[test]
fn the_level_of_the_log_changes_while_the_gateway_runs() {
    let gateway = Gateway::setup().set("LOG_LEVEL", "error").start();
    made(&gateway, "/logging/setLevel", &json!({"level": "warning"}));
    assert!(!gateway.printed().contains("the level of the log was changed"));
    let answer = gateway.rpc("logging/setLevel", json!({"level": "info"}));
    assert_eq!(answer["result"], json!({}), "{answer}");
    crate::harness::eventually("the log to say so", std::time::Duration::from_secs(30), || {
        gateway.printed().contains("the level of the log was changed").then_some(())
    });
    assert_eq!(faults(&gateway, "/logging/setLevel", &json!({"level": "shouting"})), ["level"]);
    assert_eq!(faults(&gateway, "/logging/setLevel", &json!({})), ["level"]);
}

#[test]
fn rpc_knows_what_older_clients_call() {
    let gateway = Gateway::start();
    let upstream = crate::harness::faulty::Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let listed = gateway.rpc("list_tools", json!({}));
    let tools = listed["result"]["tools"].as_array().expect("a list").clone();
    assert!(tools.iter().any(|tool| tool["name"] == "up-echo" && tool["id"].is_string()));
    let gateways = gateway.rpc("list_gateways", json!({}));
    assert_eq!(gateways["result"]["gateways"][0]["name"], "up");
    let called = gateway.rpc("up-echo", json!({"text": "by name"}));
    assert_eq!(called["result"]["structuredContent"]["text"], "by name", "{called}");
    let unknown = gateway.rpc("no-such-method", json!({}));
    assert_eq!(unknown["error"]["code"], -32601);
}

#[test]
fn streams_tell_of_roots_and_of_resources_that_their_reader_may_see() {
    let gateway = Gateway::start();
    let user = gateway.token_with(&["-u", "user@example.com"]);
    let mut roots = Stream::open(&gateway, "GET", "/roots/changes", gateway.token());
    let mut all = Stream::open(&gateway, "POST", "/v1/resources/subscribe", gateway.token());
    let mut public = Stream::open(&gateway, "POST", "/resources/subscribe", &user);
    made(&gateway, "/roots", &json!({"uri": "file:///srv", "name": "srv"}));
    roots.read_until("\n\n");
    let event = roots.text.split_once("data: ").expect("an event has data").1;
    let expected = json!({"type": "root_added", "data": {"uri": "file:///srv", "name": "srv"}});
    assert_eq!(serde_json::from_str::<Value>(event).expect("data is JSON"), expected);
    let body = |name: &str, visibility: &str| {
        json!({"resource": {"uri": format!("note://{name}"), "name": name, "content": "x"},
               "visibility": visibility})
    };
    made(&gateway, "/resources", &body("hidden", "private"));
    let open = made(&gateway, "/resources", &body("open", "public"));
    all.read_until("note://hidden");
    all.read_until("note://open");
    public.read_until("note://open");
    assert!(!public.text.contains("note://hidden"), "{}", public.text);
    let path = format!("/resources/{}", id_of(&open));
    gateway.ask("PUT", &path, Some(&json!({"description": "told"}))).expect(200);
    public.read_until("resource_updated");
    gateway.ask("DELETE", &path, None).expect(200);
    public.read_until("resource_deleted");
    gateway.ask("DELETE", "/roots/file:///srv", None).expect(200);
    roots.read_until("root_removed");
}

#[test]
fn streams_are_bounded_in_number_show_that_they_live_and_end_with_the_gateway() {
    let gateway = Gateway::setup()
        .set("STREAMS_MAX", 1)
        .set("SHARDS", 1)
        .set("SSE_KEEPALIVE_INTERVAL", "0.5")
        .start();
    let mut stream = Stream::open(&gateway, "GET", "/roots/changes", gateway.token());
    stream.read_until(": keepalive");
    let refused = gateway.get("/roots/changes").expect(503);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(refused.text().contains("STREAMS_MAX"), "{}", refused.text());
    let reader = std::thread::spawn(move || stream.read_to_end());
    gateway.stop();
    reader.join().expect("the stream ended as it should");
}

#[test]
fn a_stream_of_roots_is_for_administrators() {
    let gateway = Gateway::start();
    let user = gateway.token_with(&["-u", "user@example.com"]);
    gateway.ask_as(Some(&user), "GET", "/roots/changes", None).expect(403);
    gateway.ask("POST", "/roots/changes", Some(&json!({}))).expect(405);
}
