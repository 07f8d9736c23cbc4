//! Policies: written by REST, obeyed at once on every way to a tool, a resource or a prompt.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::mcp::{Client, names};
/// How long a change may take to be seen by another process.
const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn make(gateway: &Gateway, policy: Value) -> Value {
    gateway.post("/policies", &policy).expect(201).json()
}

fn deny(name: &str, expression: &str) -> Value {
    json!({"name": name, "effect": "deny", "expression": expression})
}

fn call(tool: &str, arguments: &Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
}

/// The sentence of the refusal of a call, or nothing.
fn refused(gateway: &Gateway, token: &str, tool: &str, arguments: &Value) -> Option<String> {
    let answer = gateway.ask_as(Some(token), "POST", "/rpc", Some(&call(tool, arguments)));
    let body = answer.json();
    let error = body.get("error")?;
    assert_eq!((answer.status, &error["code"]), (403, &json!(-32003)), "{body}");
    Some(error["message"].as_str().expect("a sentence").to_owned())
}

#[test]
fn a_policy_holds_from_the_moment_it_is_written_until_it_is_deleted() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let arguments = json!({"amount": 5000});
    let refused = |arguments: &Value| refused(&gateway, gateway.token(), "up-echo", arguments);
    assert_eq!(refused(&arguments), None);
    let mut policy = deny("limit", "tool.original_name == 'echo' && arguments.amount > 1000");
    policy["message"] = "at most 1000".into();
    let made = make(&gateway, policy);
    let path = format!("/policies/{}", made["id"].as_str().expect("an id"));
    assert_eq!(refused(&arguments).as_deref(), Some("Access denied: at most 1000"));
    assert_eq!(refused(&json!({"amount": 10})), None);
    assert_eq!(upstream.call_count("echo"), 2, "what was denied never went upstream");
    let printed = gateway.printed();
    assert!(printed.contains("policy limit denies it"), "the operator is told why");

    gateway.ask("PUT", &path, Some(&json!({"enforcement": "dry_run"}))).expect(200);
    assert_eq!(refused(&arguments), None);
    eventually("what was not denied is told", PATIENCE, || {
        gateway.printed().contains("a policy on trial would have denied").then_some(())
    });
    gateway.ask("PUT", &path, Some(&json!({"enforcement": "enforce"}))).expect(200);
    assert!(refused(&arguments).is_some());
    gateway.ask("DELETE", &path, None).expect(200);
    assert_eq!(refused(&arguments), None);
    assert_eq!(gateway.get(&path).status, 404);
}

#[test]
fn a_policy_looks_at_the_caller_the_token_and_the_request() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let token = |groups: Value| {
        let claims = json!({"sub": "user@example.com", "iss": "mcpgateway",
            "aud": "mcpgateway-api", "groups": groups});
        gateway.token_with(&["-d", &claims.to_string()])
    };
    let (ops, dev) = (token(json!(["ops"])), token(json!(["dev"])));
    let expression = "caller.is_admin || ('ops' in jwt.groups && caller.ip == '127.0.0.1' \
        && caller.email == 'user@example.com' && request.method == 'tools/call' \
        && request.time > timestamp('2020-01-01T00:00:00Z') && tool.gateway == 'up')";
    make(&gateway, json!({"name": "ops", "effect": "allow", "expression": expression}));
    let none = json!({});
    assert_eq!(refused(&gateway, gateway.token(), "up-echo", &none), None);
    assert_eq!(refused(&gateway, &ops, "up-echo", &none), None);
    assert_eq!(
        refused(&gateway, &dev, "up-echo", &none).as_deref(),
        Some("Access denied: denied by policy ops")
    );
}

#[test]
fn a_policy_of_a_virtual_server_is_for_that_one_alone() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    let path = gateway.open_server(&[&added]);
    let id = path.split('/').nth(2).expect("a path with an id").to_owned();
    let mut policy = deny("closed", "server.id == request.server_id");
    policy["server_id"] = id.into();
    make(&gateway, policy);
    let client = Client::legacy(&gateway, &path);
    let answer = client.send("tools/call", json!({"name": "echo", "arguments": {}}));
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], -32003);
    assert_eq!(refused(&gateway, gateway.token(), "up-echo", &json!({})), None);
}

#[test]
fn an_argument_that_stands_twice_gets_past_no_policy() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    make(&gateway, deny("limit", "arguments.amount > 1000"));
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":
        {"name":"up-echo","arguments":{"amount":9999,"amount":1}}}"#;
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let sent = crate::harness::wire::request("POST", "/rpc", &headers, twice.as_bytes());
    let answer = gateway.wire().send(sent).answer();
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(upstream.call_count("echo"), 0);
}

#[test]
fn policies_are_asked_about_our_own_resources_and_prompts_by_rest_too() {
    let gateway = Gateway::start();
    let resource = json!({"uri": "note://a", "name": "a", "content": "x", "tags": ["secret"]});
    let resource = gateway.post("/resources", &json!({"resource": resource})).expect(200).json();
    let prompt = json!({"name": "hello", "template": "Hi {{ who }}"});
    gateway.post("/prompts", &json!({"prompt": prompt})).expect(200);
    make(&gateway, deny("secrets", "'secret' in resource.tags"));
    make(&gateway, deny("names", "prompt.name == 'hello' && arguments.who == 'me'"));
    let read = gateway.rpc_answer("resources/read", json!({"uri": "note://a"}));
    assert_eq!(read["error"]["message"], "Access denied: denied by policy secrets", "{read}");
    let path = format!("/resources/{}", resource["id"].as_str().expect("an id"));
    assert_eq!(gateway.get(&path).status, 403);
    let get = |who: &str| {
        let params = json!({"name": "hello", "arguments": {"who": who}});
        gateway.rpc_answer("prompts/get", params)["error"]["code"].clone()
    };
    assert_eq!((get("me"), get("you")), (json!(-32003), Value::Null));
}

#[test]
fn a_policy_is_obeyed_by_every_process_on_the_database() {
    let folder = TempDir::new().expect("a temporary folder");
    let url = format!("sqlite:///{}", folder.path().join("one.db").display());
    let start = || {
        let setup: Setup = Gateway::setup();
        setup.set("DATABASE_URL", &url).set("CHANGE_POLL_INTERVAL", "0.05").start()
    };
    let (one, other) = (start(), start());
    let upstream = Faulty::legacy();
    one.add(&upstream.registration("up"));
    make(&one, deny("all", "true"));
    eventually("the policy is obeyed elsewhere", PATIENCE, || {
        let answer = other.post("/rpc", &call("up-echo", &json!({})));
        (answer.status == 403).then_some(())
    });
}

#[test]
fn only_administrators_write_policies_and_what_is_wrong_is_named() {
    let gateway = Gateway::start();
    let user = gateway.token_with(&["--username", "user@example.com"]);
    let body = deny("mine", "true");
    for (method, path) in [("POST", "/policies"), ("GET", "/policies"), ("POST", "/policies/test")]
    {
        let answer = gateway.ask_as(Some(&user), method, path, Some(&body));
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
    for (field, value, said) in [
        ("expression", json!("tool.nmae == 'x'"), "there is no tool.nmae"),
        ("effect", json!("perhaps"), "allow or deny"),
        ("actions", json!(["tools.fly"]), "tools.execute"),
        ("server_id", json!("nowhere"), "There is no virtual server nowhere"),
    ] {
        let mut body = body.clone();
        body[field] = value;
        let answer = gateway.post("/policies", &body).expect(422).text();
        assert!(answer.contains(said), "{field}: {answer}");
    }
    make(&gateway, body.clone());
    gateway.post("/policies", &body).expect(409);
}

#[test]
fn what_policies_would_decide_can_be_asked_by_rest_and_on_the_command_line() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let body = json!({
        "expression": "tool.original_name == 'echo' && arguments.n > 3 && !caller.is_admin",
        "user": "user@example.com", "tool": "up-echo", "arguments": {"n": 5},
    });
    let trial = gateway.post("/policies/test", &body).expect(200).json();
    assert_eq!(
        (&trial["decision"], &trial["policies"][0]["result"]),
        (&json!("deny"), &json!(true))
    );
    assert_eq!(trial["variables"]["tool.original_name"], "echo");
    assert_eq!(upstream.call_count("echo"), 0, "nothing was called");

    make(&gateway, deny("limit", "arguments.n > 3"));
    let url = format!("http://127.0.0.1:{}", gateway.port());
    let run = |arguments: &[&str]| {
        let mut command = gateway.command(&["policy", "test"]);
        command.args(arguments).env("RINGWAY_URL", &url).env("RINGWAY_TOKEN", gateway.token());
        let output = command.output().expect("the binary starts");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), told + &String::from_utf8_lossy(&output.stderr))
    };
    let stored = run(&["--as", "a@example.com", "--tool", "up-echo", "--arguments", r#"{"n":9}"#]);
    assert!(
        stored.0 == Some(2) && stored.1.starts_with("deny: policy limit denies it"),
        "{stored:?}"
    );
    let alone = run(&["caller.is_admin", "--context", r#"{"caller":{"is_admin":false}}"#]);
    assert!(alone.0 == Some(0) && alone.1.starts_with("allow: "), "{alone:?}");
    let wrong = run(&["caller.", "--context", "{}"]);
    assert_eq!(wrong.0, Some(1), "{wrong:?}");
}

#[test]
fn a_policy_that_names_it_decides_what_lists_show() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let all = gateway.tool_names();
    let mut policy = deny("hidden", "tool.original_name == 'echo' && !caller.is_admin");
    policy["actions"] = json!(["tools.read"]);
    make(&gateway, policy);
    assert_eq!(gateway.tool_names(), all);
    let user = gateway.token_with(&["--username", "user@example.com"]);
    let names = || {
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}});
        let answer = gateway.ask_as(Some(&user), "POST", "/rpc", Some(&list)).expect(200).json();
        names(&answer["result"]["tools"], "name")
    };
    let seen = names();
    assert!(!seen.contains(&"up-echo".to_owned()) && seen.len() == all.len() - 1, "{seen:?}");
    // It is about lists alone.
    assert_eq!(refused(&gateway, &user, "up-echo", &json!({})), None);
}

#[test]
fn an_agent_is_called_by_rest_only_if_its_tool_may_be_called() {
    let gateway = Gateway::start();
    let agent =
        json!({"name": "helper", "endpoint_url": "http://127.0.0.1:9/", "visibility": "public"});
    gateway.post("/a2a", &json!({"agent": agent})).expect(201);
    let policy = deny("helpers", "tool.integration_type == 'A2A' && arguments.query == 'secrets'");
    make(&gateway, policy);
    let ask = |query: &str| {
        let body = json!({"parameters": {"query": query}});
        gateway.post("/a2a/helper/invoke", &body)
    };
    let denied = ask("secrets");
    assert_eq!(denied.status, 403, "{}", denied.text());
    assert!(denied.text().contains("Access denied: denied by policy helpers"));
    assert_eq!(ask("weather").status, 503, "it is asked, and nobody answers there");
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "message/send",
        "params": {"query": "secrets"}});
    gateway.post("/a2a/helper/jsonrpc", &call).expect(403);
}
