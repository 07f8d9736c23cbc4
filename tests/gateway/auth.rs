//! Who may do what: tokens, their faults, Origin and Host.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::{Gateway, SECRET};
use crate::harness::mcp::{Client, LEGACY, names};
use crate::harness::wire::{Answer, request};

fn ping() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" })
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, 401, "{}", answer.text());
    let challenge = answer.header("www-authenticate").expect("401 has a challenge");
    assert!(challenge.starts_with("Bearer"), "{challenge}");
    assert!(answer.json()["detail"].is_string(), "{}", answer.text());
}

#[test]
fn refuses_every_guarded_path_without_a_token() {
    let gateway = Gateway::start();
    for (method, path) in [
        ("GET", "/version"),
        ("GET", "/gateways"),
        ("POST", "/gateways"),
        ("GET", "/v1/tools"),
        ("GET", "/servers"),
        ("POST", "/rpc"),
        ("POST", "/"),
        ("POST", "/mcp"),
    ] {
        assert_refused(&gateway.ask_as(None, method, path, Some(&ping())));
    }
    gateway.ask_as(None, "GET", "/health", None).expect(200);
    gateway.ask_as(None, "GET", "/ready", None).expect(200);
}

/// A token with this header and payload, and whatever stands for its signature.
fn forged(header: &Value, payload: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(payload))
}

#[test]
fn refuses_tokens_that_are_forged_expired_or_for_somebody_else() {
    let gateway = Gateway::start();
    let good = gateway.token_with(&["--username", "admin@example.com"]);
    gateway.ask_as(Some(&good), "POST", "/rpc", Some(&ping())).expect(200);
    let claims =
        json!({ "sub": "admin@example.com", "iss": "mcpgateway", "aud": "mcpgateway-api" });
    let signature = good.rsplit('.').next().expect("a token has three parts");
    let with = |name: &str, value: Value| {
        let mut data = claims.clone();
        data[name] = value;
        gateway.token_with(&["-d", &data.to_string()])
    };
    for (reason, token) in [
        ("no algorithm", forged(&json!({ "alg": "none" }), &claims, "")),
        (
            "another algorithm",
            gateway.token_with(&["--username", "admin@example.com", "--algo", "HS512"]),
        ),
        ("another payload", forged(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, signature)),
        (
            "another secret",
            gateway.token_with(&[
                "--username",
                "a@example.com",
                "--secret",
                &SECRET.replace('a', "b"),
            ]),
        ),
        ("expired", with("exp", json!(1_000_000_000))),
        ("not valid yet", with("nbf", json!(33_000_000_000_u64))),
        ("another issuer", with("iss", json!("somebody"))),
        ("another audience", with("aud", json!("somebody"))),
        ("no token at all", "abc".to_owned()),
        ("empty", String::new()),
    ] {
        let answer = gateway.ask_as(Some(&token), "POST", "/rpc", Some(&ping()));
        assert_eq!(answer.status, 401, "{reason}: {}", answer.text());
        assert_refused(&answer);
    }
}

#[test]
fn takes_a_token_from_the_authorization_header_only() {
    let gateway = Gateway::start();
    let path = format!("/mcp?token={0}&access_token={0}", gateway.token());
    assert_refused(&gateway.ask_as(None, "POST", &path, Some(&ping())));
    let headers = [("Authorization", "Basic YWRtaW46Y2hhbmdlbWU=")];
    assert_refused(&gateway.wire().send(request("GET", "/tools", &headers, b"")).answer());
}

#[test]
fn refuses_two_proofs_at_once_and_tokens_past_every_bound() {
    let gateway = Gateway::start();
    let good = format!("Bearer {}", gateway.token());
    let send = |fields: &[(&str, &str)]| {
        let mut all = vec![("Connection", "close"), ("Content-Type", "application/json")];
        all.extend_from_slice(fields);
        gateway.wire().send(request("POST", "/rpc", &all, ping().to_string().as_bytes())).answer()
    };
    send(&[("Authorization", &good)]).expect(200);
    // Whoever stands in front may have looked at the other one.
    for second in [good.as_str(), "Bearer x", "Basic YWRtaW46Y2hhbmdlbWU=", ""] {
        send(&[("Authorization", &good), ("authorization", second)]).expect(400);
        send(&[("Authorization", second), ("AUTHORIZATION", &good)]).expect(400);
    }
    let padded = |size: usize| format!("{good}{}", "A".repeat(size));
    assert_refused(&send(&[("Authorization", &padded(4_000))]));
    send(&[("Authorization", &padded(20_000))]).expect(431);
    for (reason, value) in [
        ("two parts", "Bearer a.b".to_owned()),
        ("four parts", format!("{good}.a")),
        ("two tokens", format!("{good}, {good}")),
        ("a token cut short", good[..good.len() - 1].to_owned()),
        ("padding", format!("{good}=")),
        ("a space inside", good.replacen('.', ". ", 1)),
        ("bytes that are no text", "Bearer \u{fffd}\u{fffd}.a.b".to_owned()),
        ("no scheme", good["Bearer ".len()..].to_owned()),
    ] {
        let answer = send(&[("Authorization", &value)]);
        assert_eq!(answer.status, 401, "{reason}: {}", answer.text());
    }
}

#[test]
fn lets_a_caller_who_is_no_admin_read_and_call_but_not_write() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    let id = added["id"].as_str().expect("an id");
    let user = gateway.token_with(&["--username", "user@example.com"]);
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "up-echo", "arguments": { "a": 1 } } });
    let answer = gateway.ask_as(Some(&user), "POST", "/rpc", Some(&call)).expect(200).json();
    assert_eq!(answer["result"]["structuredContent"], json!({ "a": 1 }));
    gateway.ask_as(Some(&user), "GET", "/tools", None).expect(200);
    let other = upstream.registration("other");
    let server = json!({ "server": { "name": "mine" } });
    for (method, path, body) in [
        ("POST", "/gateways".to_owned(), Some(&other)),
        ("PUT", format!("/gateways/{id}"), Some(&other)),
        ("DELETE", format!("/gateways/{id}"), None),
        ("POST", format!("/gateways/{id}/state?activate=false"), None),
        ("POST", format!("/gateways/{id}/tools/refresh"), None),
        ("POST", "/servers".to_owned(), Some(&server)),
    ] {
        let answer = gateway.ask_as(Some(&user), method, &path, body);
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        assert!(answer.json()["detail"].is_string(), "{}", answer.text());
    }
    let admin = gateway.token_with(&["--username", "user@example.com", "--admin"]);
    gateway.ask_as(Some(&admin), "POST", "/servers", Some(&server)).expect(201);
}

#[test]
fn opens_a_virtual_server_only_when_it_says_so() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    let open = gateway.open_server(&[&added]);
    let client = Client::legacy_with(&gateway, &open, LEGACY, None);
    let tools = names(&client.result("tools/list", json!({}))["tools"], "name");
    assert!(tools.contains(&"echo".to_owned()), "{tools:?}");
    let closed = json!({ "server": { "name": "closed", "associated_gateways": [added["id"]] } });
    let closed = gateway.post("/servers", &closed).expect(201).json();
    let path = format!("/servers/{}/mcp", closed["id"].as_str().expect("an id"));
    assert_refused(&gateway.ask_as(None, "POST", &path, Some(&ping())));
}

#[test]
fn serves_without_tokens_when_auth_is_off_and_then_only_on_loopback() {
    let gateway = Gateway::setup().set("AUTH_REQUIRED", "false").start();
    gateway.ask_as(None, "POST", "/rpc", Some(&ping())).expect(200);
    let mut open = Gateway::setup().set("AUTH_REQUIRED", "false").set("HOST", "0.0.0.0").launch();
    let status = open.ended();
    assert!(!status.success(), "an open gateway bound every address");
    // What it printed is read beside it.
    let says_why = || open.printed().contains("AUTH_REQUIRED").then_some(());
    eventually("it says why", Duration::from_secs(10), says_why);
}

#[test]
fn refuses_origins_and_hosts_that_are_not_listed() {
    let gateway = Gateway::start();
    let bearer = format!("Bearer {}", gateway.token());
    let local = format!("localhost:{}", gateway.port());
    let send = |host: &str, origin: Option<&str>| {
        let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
        let body = ping().to_string();
        let bytes = format!(
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\n{origin}Authorization: {bearer}\r\n\
             Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        gateway.wire().send(bytes).answer().status
    };
    assert_eq!(send(&local, None), 200);
    assert_eq!(send("127.0.0.1", Some(&format!("http://{local}"))), 200);
    assert_eq!(send(&local, Some("http://evil.example")), 403);
    assert_eq!(send(&local, Some("null")), 403);
    assert_eq!(send("evil.example", None), 403);
    assert_eq!(send("evil.example", Some("http://evil.example")), 403);
    assert_eq!(send("localhost.evil.example", None), 403);
}
