//! Safety on the web: who is believed, what browsers are told, and what nobody gets to see.

mod proof;
mod safety;
mod secrets;

use serde_json::{Value, json};

use crate::harness::faulty::Faulty;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::Client;
use crate::harness::wire::{Answer, request};

/// Sends a request with these fields and the administrator's token.
fn ask(
    gateway: &Gateway,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Answer {
    let bearer = format!("Bearer {}", gateway.token());
    let mut all = vec![("Authorization", bearer.as_str())];
    all.extend_from_slice(fields);
    send(gateway, method, target, &all, body)
}

/// Sends a request with these fields and no others.
fn send(
    gateway: &Gateway,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut all = vec![("Connection", "close"), ("Content-Type", "application/json")];
    all.extend_from_slice(fields);
    gateway.wire().send(request(method, target, &all, body.as_bytes())).answer()
}

fn new_server(name: &str) -> String {
    json!({ "server": { "name": name } }).to_string()
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// What every answer must carry.
#[track_caller]
fn assert_guarded(what: &str, answer: &Answer) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-xss-protection", "0"),
        ("x-download-options", "noopen"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{what}: {name} in {answer:?}");
        let count = answer.headers.iter().filter(|(known, _)| known == name).count();
        assert_eq!(count, 1, "{what}: {name} in {answer:?}");
    }
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'"), "{what}: {policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{what}: {policy}");
    assert!(answer.header("referrer-policy").is_some(), "{what}: {answer:?}");
    assert_eq!(answer.header("server"), None, "{what}");
    assert_eq!(answer.header("x-powered-by"), None, "{what}");
}

#[test]
fn every_answer_carries_what_keeps_browsers_from_harm() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    for (what, answer) in [
        ("probe", send(&gateway, "GET", "/health", &[], "")),
        ("page", send(&gateway, "GET", "/docs", &[], "")),
        ("document", ask(&gateway, "GET", "/openapi.json", &[], "")),
        ("list", ask(&gateway, "GET", "/tools", &[], "")),
        ("rpc", ask(&gateway, "POST", "/rpc", &[], PING)),
        ("mcp", ask(&gateway, "POST", "/mcp", &[], PING)),
        ("no token", send(&gateway, "GET", "/tools", &[], "")),
        ("no path", ask(&gateway, "GET", "/nothing", &[], "")),
        ("no method", ask(&gateway, "PATCH", "/tools", &[], "")),
        ("no JSON", ask(&gateway, "POST", "/servers", &[], "{")),
        ("foreign", ask(&gateway, "GET", "/tools", &[("Origin", "http://evil.example")], "")),
        ("no request", gateway.wire().send("nonsense\r\n\r\n").answer()),
        ("options", send(&gateway, "OPTIONS", "/rpc", &[], "")),
    ] {
        assert_guarded(what, &answer);
    }
    let client = Client::modern(&gateway, "/mcp");
    let stream = client.send(
        "tools/call",
        json!({ "name": "up-stream", "arguments": {},
        "_meta": { "progressToken": 1 } }),
    );
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_guarded("stream", &stream);
    let bare = Gateway::setup().set("SECURITY_HEADERS_ENABLED", "false").start();
    assert_eq!(send(&bare, "GET", "/health", &[], "").header("x-frame-options"), None);
}

#[test]
fn no_spelling_of_a_path_goes_around_the_door() {
    let gateway = Gateway::start();
    let guarded = ["/tools", "/gateways", "/version", "/openapi.json", "/auth/csrf-token"];
    for path in guarded {
        let (first, rest) = path[1..].split_at(1);
        let letter = first.as_bytes()[0];
        for spelling in [
            path.to_owned(),
            path.to_uppercase(),
            format!("{path}/"),
            format!("{path}//"),
            format!("/{path}"),
            format!("/v1{path}"),
            format!("/v1/v1{path}"),
            format!("/.{path}"),
            format!("/health/..{path}"),
            format!("/health/%2e%2e{path}"),
            format!("/health/..%2f{}", &path[1..]),
            format!("/docs/..{path}"),
            format!("/health;{path}"),
            format!("{path};x=/health"),
            format!("{path}%00"),
            format!("{path}%20"),
            format!("{path}?x=/health"),
            format!("/%{letter:02x}{rest}"),
            format!("/%25{letter:02x}{rest}"),
            format!("http://localhost{path}"),
        ] {
            let elsewhere = [("X-Original-URL", "/health"), ("X-Rewrite-URL", "/health")];
            for fields in [&[], elsewhere.as_slice()] {
                let answer = send(&gateway, "GET", &spelling, fields, "");
                let is_refused = matches!(answer.status, 400 | 401 | 404 | 405);
                assert!(is_refused, "{spelling}: {} {}", answer.status, answer.text());
            }
        }
    }
    for method in ["HEAD", "get", "Get", "PROPFIND", "TRACE"] {
        let bytes = request(method, "/tools", &[("Connection", "close")], b"");
        let head = gateway.wire().send(bytes).head().expect("an answer");
        assert!(matches!(head.status, 400 | 401 | 405 | 501), "{method}: {}", head.status);
    }
    let methods = [("X-HTTP-Method-Override", "GET"), ("X-HTTP-Method", "GET")];
    ask(&gateway, "PATCH", "/tools", &methods, "").expect(405);
}

#[test]
fn only_a_trusted_proxy_says_for_whom_it_speaks() {
    let fields = [
        ("X-Forwarded-For", "198.51.100.1, 203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=192.0.2.66;proto=https"),
    ];
    let made_from = |gateway: &Gateway| {
        let answer = ask(gateway, "POST", "/servers", &fields, &new_server("one")).expect(201);
        let is_https = answer.header("strict-transport-security").is_some();
        (answer.json()["createdFromIp"].clone(), is_https)
    };
    for (proxies, expected) in [
        ("", (json!("127.0.0.1"), false)),
        ("10.0.0.0/8", (json!("127.0.0.1"), false)),
        ("127.0.0.0/8,::1", (json!("203.0.113.9"), true)),
    ] {
        let gateway = Gateway::setup().set("TRUSTED_PROXIES", proxies).start();
        assert_eq!(made_from(&gateway), expected, "TRUSTED_PROXIES={proxies}");
    }
    let setup = Gateway::setup().set("TRUSTED_PROXIES", "127.0.0.1");
    let gateway = setup.set("TRUSTED_PROXY_HEADERS", "forwarded").start();
    assert_eq!(made_from(&gateway), (json!("192.0.2.66"), true));
}

#[test]
fn the_name_that_a_proxy_was_asked_by_must_be_ours_too() {
    let setup = Gateway::setup().set("TRUSTED_PROXIES", "127.0.0.1");
    let gateway = setup.set("ALLOWED_HOSTS", "mcp.example.com").start();
    let by = |host| ask(&gateway, "GET", "/version", &[("X-Forwarded-Host", host)], "").status;
    assert_eq!(by("mcp.example.com"), 200);
    assert_eq!(by("evil.example"), 403);
}

#[test]
fn pages_of_known_origins_can_call_and_read() {
    let gateway = Gateway::setup().set("ALLOWED_ORIGINS", "https://app.example").start();
    let origin = ("Origin", "https://app.example");
    for (method, target) in [("POST", "/mcp"), ("GET", "/tools"), ("DELETE", "/tools/x")] {
        let question = [
            origin,
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", "authorization, content-type"),
        ];
        // A browser asks without the token.
        let answer = send(&gateway, "OPTIONS", target, &question, "").expect(204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin.1), "{target}");
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some("authorization, content-type")
        );
        let methods = answer.header("access-control-allow-methods").unwrap_or_default();
        assert!(methods.contains(method), "{methods}");
    }
    for (answer, status) in [
        (ask(&gateway, "POST", "/mcp", &[origin], PING), 200),
        (ask(&gateway, "GET", "/tools", &[origin], ""), 200),
        (send(&gateway, "GET", "/tools", &[origin], ""), 401),
        (ask(&gateway, "GET", "/nothing", &[origin], ""), 404),
    ] {
        let answer = answer.expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin.1), "{status}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("vary"), Some("origin"));
        let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
        assert!(exposed.contains("mcp-session-id") && exposed.contains("www-authenticate"));
    }
}

#[test]
fn pages_of_unknown_origins_get_nothing_to_read() {
    let gateway = Gateway::setup().set("ALLOWED_ORIGINS", "https://app.example").start();
    for origin in ["https://evil.example", "https://app.example.evil.example", "null"] {
        let question = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
        for answer in [
            send(&gateway, "OPTIONS", "/mcp", &question, ""),
            ask(&gateway, "POST", "/mcp", &question[..1], PING),
        ] {
            let answer = answer.expect(403);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        }
    }
}

/// A session as a login makes one: its cookie.
fn session(gateway: &Gateway, id: &str) -> String {
    let claims = json!({
        "sub": "admin@example.com", "iss": "mcpgateway", "aud": "mcpgateway-api",
        "jti": id, "is_admin": true,
    });
    format!("jwt_token={}", gateway.token_with(&["-d", &claims.to_string()]))
}

/// The token against forged requests of a session, and the cookie with it.
fn csrf(gateway: &Gateway, session: &str) -> (String, String) {
    let answer = send(gateway, "GET", "/auth/csrf-token", &[("Cookie", session)], "").expect(200);
    let token = answer.json()["csrf_token"].as_str().expect("a token").to_owned();
    let set = answer.header("set-cookie").expect("a cookie").to_owned();
    let cookie = set.split(';').next().expect("a cookie has a value").to_owned();
    assert_eq!(cookie, format!("mcpgateway_csrf_token={token}"));
    assert!(set.contains("; SameSite=Strict") && !set.contains("HttpOnly"), "{set}");
    (token, cookie)
}

#[test]
fn a_change_that_only_a_cookie_proves_the_caller_of_must_be_meant() {
    let gateway = Gateway::start();
    let (ann, bob) = (session(&gateway, "1"), session(&gateway, "2"));
    let (token, cookie) = csrf(&gateway, &ann);
    let (other_token, other_cookie) = csrf(&gateway, &bob);
    let add = |name: &str, cookies: &str, token: Option<&str>| {
        let mut fields = vec![("Cookie", cookies)];
        fields.extend(token.map(|token| ("X-CSRF-Token", token)));
        send(&gateway, "POST", "/servers", &fields, &new_server(name))
    };
    let both = format!("{ann}; {cookie}");
    for (what, answer) in [
        ("no token", add("a", &both, None)),
        ("no cookie", add("a", &ann, Some(&token))),
        ("another session's", add("a", &format!("{ann}; {other_cookie}"), Some(&other_token))),
        ("two tokens", add("a", &both, Some(&other_token))),
        ("a planted one", add("a", &format!("{ann}; mcpgateway_csrf_token=x"), Some("x"))),
    ] {
        let detail = answer.expect(403).json()["detail"].to_string();
        assert!(detail.contains("CSRF validation failed"), "{what}: {detail}");
    }
    add("meant", &both, Some(&token)).expect(201);
    // What reads changes nothing, and what a page cannot forge needs no such token.
    send(&gateway, "GET", "/servers", &[("Cookie", &ann)], "").expect(200);
    ask(&gateway, "POST", "/servers", &[("Cookie", &ann)], &new_server("by token")).expect(201);
    let names: Vec<Value> = gateway.get("/servers").json().as_array().expect("a list").clone();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn cookies_are_for_the_rest_api_alone() {
    let gateway = Gateway::start();
    let session = session(&gateway, "1");
    for target in ["/mcp", "/rpc", "/"] {
        send(&gateway, "POST", target, &[("Cookie", &session)], PING).expect(401);
    }
    let off = Gateway::setup().set("CSRF_ENABLED", "false").start();
    let session = self::session(&off, "1");
    send(&off, "POST", "/servers", &[("Cookie", &session)], &new_server("a")).expect(201);
}
