//! Other ways to prove who one is: a proxy's word, basic authentication, a certificate.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use tempfile::TempDir;

use super::{PING, ask, new_server, send};
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::tools::tools;

const USER: &str = "X-Authenticated-User";

fn behind(proxies: &str) -> Setup {
    Gateway::setup()
        .set("MCP_CLIENT_AUTH_ENABLED", "false")
        .set("TRUST_PROXY_AUTH", "true")
        .set("TRUSTED_PROXIES", proxies)
}

#[test]
fn a_trusted_proxy_says_who_the_caller_is_and_the_caller_does_not() {
    let gateway = behind("127.0.0.1").start();
    let by = |fields: &[(&str, &str)]| send(&gateway, "POST", "/servers", fields, &new_server("a"));
    let made = by(&[(USER, "admin@example.com")]).expect(201).json();
    assert_eq!(made["createdBy"], "admin@example.com");
    by(&[(USER, "ann@example.com")]).expect(403);
    send(&gateway, "POST", "/mcp", &[(USER, "ann@example.com")], PING).expect(200);
    send(&gateway, "GET", "/tools", &[(USER, "ann@example.com")], "").expect(200);
    for (what, fields) in [
        ("nobody", vec![]),
        ("two", vec![(USER, "ann@example.com"), (USER, "admin@example.com")]),
        ("a list", vec![(USER, "ann@example.com, admin@example.com")]),
        ("empty", vec![(USER, "")]),
        ("another spelling", vec![("X_Authenticated_User", "admin@example.com")]),
    ] {
        let answer = by(&fields).expect(401);
        assert!(answer.json()["detail"].to_string().contains("roxy"), "{what}: {}", answer.text());
    }
    // A token is not looked at: whoever wants to be believed comes by the proxy.
    let answer = ask(&gateway, "GET", "/tools", &[], "").expect(401);
    assert!(answer.text().contains("Proxy authentication header required"), "{}", answer.text());
}

#[test]
fn an_open_server_knows_whom_a_proxy_names_and_takes_everybody_else_for_nobody() {
    let gateway = behind("127.0.0.1").start();
    let admin = [(USER, "admin@example.com")];
    let server = json!({ "server": { "name": "open", "auth_required": false } }).to_string();
    let made = send(&gateway, "POST", "/servers", &admin, &server).expect(201).json();
    let path = format!("/servers/{}/mcp", made["id"].as_str().expect("an id"));
    for fields in [&[], admin.as_slice(), &[("Authorization", "Bearer x")]] {
        send(&gateway, "POST", &path, fields, PING).expect(200);
    }
    send(&gateway, "POST", &path, &[(USER, "a"), (USER, "b")], PING).expect(401);
}

#[test]
fn a_proxy_that_is_not_named_is_not_believed_and_told_so() {
    let gateway = behind("10.0.0.1").start();
    let user = (USER, "admin@example.com");
    // Nor does a forged way through the named proxy help.
    for fields in [vec![user], vec![user, ("X-Forwarded-For", "10.0.0.1")]] {
        let answer = send(&gateway, "GET", "/tools", &fields, "").expect(401);
        assert!(answer.text().contains("not in TRUSTED_PROXIES"), "{}", answer.text());
    }
    // Where callers prove themselves, the field means nothing.
    let gateway = Gateway::setup().set("TRUSTED_PROXIES", "127.0.0.1").start();
    send(&gateway, "GET", "/tools", &[user], "").expect(401);
    let made = ask(&gateway, "POST", "/servers", &[(USER, "ann@example.com")], &new_server("a"));
    assert_eq!(made.expect(201).json()["createdBy"], "admin@example.com");
}

fn basic(pair: &str) -> String {
    format!("Basic {}", BASE64.encode(pair))
}

#[test]
fn basic_authentication_opens_what_it_is_switched_on_for() {
    let password = "tMk3qYw8PzLd";
    let (good, bad) = (basic(&format!("ops:{password}")), basic("ops:changeme"));
    let setup = || {
        let setup = Gateway::setup().set("BASIC_AUTH_USER", "ops");
        setup.set("BASIC_AUTH_PASSWORD", password)
    };
    let status = |gateway: &Gateway, target: &str, value: &str| {
        send(gateway, "GET", target, &[("Authorization", value)], "").status
    };
    let off = setup().start();
    assert_eq!(status(&off, "/tools", &good), 401);
    assert_eq!(status(&off, "/openapi.json", &good), 401);
    let api = setup().set("API_ALLOW_BASIC_AUTH", "true").start();
    assert_eq!((status(&api, "/tools", &good), status(&api, "/tools", &bad)), (200, 401));
    let made = send(&api, "POST", "/servers", &[("Authorization", &good)], &new_server("a"));
    assert_eq!(made.expect(201).json()["createdBy"], "ops");
    send(&api, "POST", "/mcp", &[("Authorization", &good)], PING).expect(401);
    assert!(!api.printed().contains(password));
    let docs = setup().set("DOCS_ALLOW_BASIC_AUTH", "true").start();
    assert_eq!((status(&docs, "/openapi.json", &good), status(&docs, "/tools", &good)), (200, 401));
    let challenge = send(&docs, "GET", "/openapi.json", &[], "").expect(401);
    let challenge = challenge.header("www-authenticate").unwrap_or_default().to_owned();
    assert!(challenge.starts_with("Basic realm="), "{challenge}");
    assert_eq!(send(&docs, "GET", "/tools", &[], "").header("www-authenticate"), Some("Bearer"));
}

#[test]
fn who_proves_two_things_at_once_proves_nothing() {
    let gateway = Gateway::start();
    let (good, bad) = (format!("Bearer {}", gateway.token()), "Bearer x".to_owned());
    for pair in [[&good, &bad], [&bad, &good], [&good, &good]] {
        let fields = pair.map(|value| ("Authorization", value.as_str()));
        for (method, target) in [("GET", "/tools"), ("POST", "/mcp")] {
            let answer = send(&gateway, method, target, &fields, PING).expect(400);
            assert!(answer.text().contains("Authorization must be sent once"), "{}", answer.text());
        }
    }
    // A header goes before a cookie: a browser sends a cookie by itself.
    let cookie = format!("jwt_token={}", gateway.token());
    send(&gateway, "GET", "/tools", &[("Authorization", &bad), ("Cookie", &cookie)], "")
        .expect(401);
}

/// A folder with the gateway's certificate, two authorities and what they signed.
fn certificates() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for arguments in [
        vec!["make", "cert.pem", "key.pem"],
        vec!["sign", "authority", "admin@example.com", "ann@example.com"],
        vec!["sign", "stranger", "admin@stranger.example"],
    ] {
        let mut script = tools().python("clients/tls.py");
        let status = script.args(arguments).current_dir(folder.path()).status();
        assert!(status.expect("the script starts").success());
    }
    folder
}

/// Asks by TLS with a certificate or without; gives status and body, or nothing if the handshake
/// failed.
fn ask_by_tls(
    gateway: &Gateway,
    folder: &TempDir,
    path: &str,
    own: Option<&str>,
) -> Option<String> {
    let url = format!("https://localhost:{}{path}", gateway.port());
    let mut get: Command = tools().python("clients/tls.py");
    get.args(["get", &url, "cert.pem"]).args(own.map(|own| format!("{own}.pem")));
    let output = get.current_dir(folder.path()).output().expect("the script starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.trim_start_matches("TLSv1.3 ").to_owned())
}

fn by_tls(folder: &TempDir) -> Setup {
    let path = |name: &str| folder.path().join(name).display().to_string();
    Gateway::setup()
        .set("CERT_FILE", path("cert.pem"))
        .set("KEY_FILE", path("key.pem"))
        .set("TLS_CLIENT_CA_FILE", path("authority.pem"))
}

#[test]
fn a_certificate_proves_who_the_client_is() {
    let folder = certificates();
    let gateway = by_tls(&folder).launch();
    let asked = |path: &str, own: Option<&str>| ask_by_tls(&gateway, &folder, path, own);
    assert!(asked("/ready", None).expect("an answer").starts_with("200 "));
    assert!(asked("/version", None).expect("an answer").starts_with("401 "));
    // Only an administrator is shown the settings.
    let version = asked("/version", Some("admin@example.com")).expect("an answer");
    assert!(version.starts_with("200 ") && version.contains("TLS_CLIENT_CA_FILE"), "{version}");
    let version = asked("/version", Some("ann@example.com")).expect("an answer");
    assert!(version.starts_with("200 ") && !version.contains("TLS_CLIENT_CA_FILE"), "{version}");
    assert_eq!(asked("/ready", Some("admin@stranger.example")), None);
}

#[test]
fn a_certificate_can_be_required_and_name_its_user_otherwise() {
    let folder = certificates();
    let setup =
        by_tls(&folder).set("TLS_CLIENT_CERT_REQUIRED", "true").set("TLS_CLIENT_USER", "cn");
    let gateway = setup.set("PLATFORM_ADMIN_EMAIL", "CN of ann@example.com").launch();
    let asked = |own: Option<&str>| ask_by_tls(&gateway, &folder, "/version", own);
    let version = asked(Some("ann@example.com")).expect("an answer");
    assert!(version.contains("TLS_CLIENT_CA_FILE"), "{version}");
    assert_eq!(asked(None), None);
}
