//! Tokens and logins of a real authorization server, npm's oidc-provider.

use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::issuer::Issuer;
use crate::harness::tools::tools;
use crate::harness::upstreams::Served;
use crate::harness::wire::{Wire, request};

const ANN: &str = "ann@example.com";

/// A gateway with an upstream, and an authorization server that its virtual servers may name.
struct Stage {
    issuer: Issuer,
    gateway: Gateway,
    upstream: Value,
    _served: Served,
}

impl Stage {
    fn new(set: impl FnOnce(Setup) -> Setup) -> Stage {
        Stage::of(json!({"email": ANN, "name": "Ann", "groups": ["eng"]}), set)
    }

    fn of(who: Value, set: impl FnOnce(Setup) -> Setup) -> Stage {
        let issuer = Issuer::start(who);
        let served = Served::conformance();
        let setup = Gateway::setup().set("MCP_AUTHORIZATION_SERVERS", issuer.name());
        let gateway = set(setup.set("JWKS_REFETCH_INTERVAL", 1)).start();
        let upstream = gateway.add(&served.registration("ref"));
        Stage { issuer, gateway, upstream, _served: served }
    }

    /// A virtual server that takes tokens of the authorization server; its path.
    fn server(&self, name: &str) -> String {
        let config = json!({"issuer": self.issuer.name(), "scopes_required": ["mcp:use"]});
        let server = json!({"server": {"name": name, "associated_gateways": [self.upstream["id"]],
            "tool_prefix": "", "oauth_enabled": true, "oauth_config": config}});
        let made = self.gateway.post("/servers", &server).expect(201).json();
        format!("/servers/{}/mcp", made["id"].as_str().expect("a server has an id"))
    }

    /// What an official client sees that logs in by itself.
    fn visit(&self, client: fn() -> Command, path: &str) -> Value {
        let plan = json!({"url": self.gateway.url(path),
            "tool": {"name": "test_simple_text", "arguments": {}}});
        let output = client().arg(plan.to_string()).output().expect("the client starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the client failed: {error}");
        serde_json::from_slice(&output.stdout).expect("the client prints one line of JSON")
    }

    /// Asks an endpoint of MCP with a token: the status and what is said of it.
    fn ping(&self, token: Option<&str>, path: &str) -> (u16, String) {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list",
            "params": {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}});
        let sent = self.request(token, ("POST", path), &[], &body.to_string());
        let answer = self.gateway.wire().send(sent).answer();
        (answer.status, answer.header("www-authenticate").unwrap_or_default().to_owned())
    }

    fn request(
        &self,
        token: Option<&str>,
        (method, path): (&str, &str),
        more: &[(&str, &str)],
        body: &str,
    ) -> String {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(bearer.as_deref().map(|value| ("Authorization", value)));
        headers.extend(more);
        let bytes = request(method, path, &headers, body.as_bytes());
        // A token is for the address that its client knows, with the port.
        let host = format!("Host: localhost:{}", self.gateway.port());
        let text = String::from_utf8(bytes).expect("it is text");
        text.replacen("Host: localhost", &host, 1)
    }
}

fn typescript() -> Command {
    tools().node("clients/oauth.mjs")
}

fn python() -> Command {
    tools().python("clients/oauth.py")
}

#[test]
fn official_clients_log_in_by_what_a_virtual_server_says_of_itself() {
    let stage = Stage::new(|setup| setup);
    let path = stage.server("guarded");
    for client in [typescript, python] {
        let seen = stage.visit(client, &path);
        assert!(seen["tools"].to_string().contains("test_simple_text"), "{seen}");
        let text = "This is a simple text response for testing.";
        assert_eq!(seen["call"]["content"], json!([{"type": "text", "text": text}]));
        assert_ne!(seen["token"].as_str(), Some(stage.gateway.token()));
    }
}

#[test]
fn a_token_of_one_virtual_server_opens_no_other_and_says_where_to_get_one() {
    let stage = Stage::new(|setup| setup);
    let (one, two) = (stage.server("one"), stage.server("two"));
    let seen = stage.visit(typescript, &one);
    let token = seen["token"].as_str().expect("a token");
    assert_ne!(stage.ping(Some(token), &one).0, 401);
    for (path, token) in [(two.as_str(), Some(token)), ("/mcp", Some(token)), (&two, None)] {
        let (status, challenge) = stage.ping(token, path);
        let metadata = format!("/.well-known/oauth-protected-resource{path}\"");
        assert_eq!(status, 401, "{path}");
        assert!(challenge.starts_with("Bearer resource_metadata=\"http://"), "{challenge}");
        assert!(challenge.contains(&metadata), "{challenge}");
        assert_eq!(challenge.contains("invalid_token"), token.is_some(), "{challenge}");
    }
    // It is no token for the REST API either.
    stage.gateway.ask_as(Some(token), "GET", "/tools", None).expect(401);
    let metadata = format!("/.well-known/oauth-protected-resource{one}");
    let told = stage.gateway.ask_as(None, "GET", &metadata, None).expect(200).json();
    assert_eq!(told["authorization_servers"], json!([stage.issuer.name()]));
    assert!(told["resource"].as_str().is_some_and(|uri| uri.ends_with(&one)), "{told}");
}

/// The parts of a token, the first two decoded.
fn taken_apart(token: &str) -> (Value, Value, String) {
    let parts: Vec<&str> = token.split('.').collect();
    let read = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("it is base64");
        serde_json::from_slice(&bytes).expect("it is JSON")
    };
    (read(parts[0]), read(parts[1]), parts[2].to_owned())
}

fn put_together(header: &Value, claims: &Value, signature: &str) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", encode(header), encode(claims))
}

#[test]
fn whoever_brings_a_bad_token_is_told_what_is_wrong_with_it() {
    let stage = Stage::new(|setup| setup.set("JWKS_REFETCH_INTERVAL", 3600).set("SHARDS", 1));
    let path = stage.server("guarded");
    let good = stage.visit(typescript, &path)["token"].as_str().expect("a token").to_owned();
    assert_ne!(stage.ping(Some(&good), &path).0, 401);
    let (header, claims, signature) = taken_apart(&good);
    let with = |value: &Value, name: &str, other: Value| {
        let mut value = value.clone();
        value[name] = other;
        value
    };
    let admin = with(&claims, "email", json!("admin@example.com"));
    let secret = EncodingKey::from_secret(&stage.issuer.keys());
    let kid = header["kid"].as_str().map(str::to_owned);
    let symmetric = Header { kid, ..Header::new(Algorithm::HS256) };
    let confused = jsonwebtoken::encode(&symmetric, &admin, &secret).expect("it signs");
    let elsewhere = with(&claims, "iss", json!("https://evil.example"));
    for (token, expected) in [
        (put_together(&header, &admin, &signature), "The signature of the token is wrong"),
        (put_together(&with(&header, "alg", json!("none")), &admin, ""), "cannot be read"),
        (
            put_together(&with(&header, "alg", json!("PS256")), &admin, &signature),
            "a key that its issuer does not have",
        ),
        (confused, "The token is signed with another algorithm"),
        (put_together(&header, &elsewhere, &signature), "signed with another algorithm"),
        ("a.b.c".to_owned(), "The token cannot be read"),
        (good[..good.len() / 2].to_owned(), "The token cannot be read"),
    ] {
        let (status, challenge) = stage.ping(Some(&token), &path);
        assert!(status == 401 && challenge.contains(expected), "{expected}: {status} {challenge}");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    }
    let (status, _) = stage.ping(Some(&format!("{good}{}", "x".repeat(20_000))), &path);
    assert_eq!(status, 431);
    // Whatever keys tokens name, the issuer is not asked for each.
    let reads = stage.issuer.key_reads();
    for number in 0..20 {
        let named = with(&header, "kid", json!(format!("unknown {number}")));
        let (status, challenge) =
            stage.ping(Some(&put_together(&named, &claims, &signature)), &path);
        let expected = "The token names a key that its issuer does not have";
        assert!(status == 401 && challenge.contains(expected), "{status} {challenge}");
    }
    assert_eq!(stage.issuer.key_reads(), reads);
}

#[test]
fn a_token_that_ends_opens_nothing_any_more() {
    let who = json!({"email": ANN, "lifetime": 10});
    let stage = Stage::of(who, |setup| setup);
    let path = stage.server("guarded");
    let token = stage.visit(typescript, &path)["token"].as_str().expect("a token").to_owned();
    eventually("the token ends", Duration::from_secs(30), || {
        let (status, challenge) = stage.ping(Some(&token), &path);
        (status == 401 && challenge.contains("The token has expired")).then_some(())
    });
}

#[test]
fn a_stream_outlives_the_keys_that_its_token_was_checked_with() {
    let stage = Stage::new(|setup| {
        setup.set("JWKS_CACHE_TTL", 1).set("SSE_KEEPALIVE_INTERVAL", 1).set("SHARDS", 1)
    });
    let path = stage.server("guarded");
    let token = stage.visit(typescript, &path)["token"].as_str().expect("a token").to_owned();
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "tests", "version": "1"}}});
    let sent = stage.request(Some(&token), ("POST", &path), &[], &hello.to_string());
    let answer = stage.gateway.wire().send(sent).answer().expect(200);
    let session = answer.header("mcp-session-id").expect("a session").to_owned();
    let more = [("Mcp-Session-Id", session.as_str()), ("Accept", "text/event-stream")];
    let mut wire = stage.gateway.wire();
    let sent = stage.request(Some(&token), ("GET", &path), &more, "");
    let head = wire.send(sent).head().expect("an answer");
    assert_eq!(head.status, 200);
    // Nobody else asks, so it is for the stream that the keys are read.
    let before = stage.issuer.key_reads();
    let is_read_again = (0..60).any(|_| {
        assert!(wire.chunk().is_some(), "the stream goes on");
        stage.issuer.key_reads() >= before + 3
    });
    assert!(is_read_again && wire.chunk().is_some(), "the stream goes on");
}

#[test]
fn a_token_of_an_issuer_of_the_settings_is_good_everywhere_if_it_is_for_us() {
    let stage = Stage::new(|setup| setup);
    let path = stage.server("guarded");
    let token = stage.visit(typescript, &path)["token"].as_str().expect("a token").to_owned();
    let (_, claims, _) = taken_apart(&token);
    let issuers = |audience: &Value| {
        json!([{"issuer": stage.issuer.name(), "audience": audience}]).to_string()
    };
    let status = |audience: &Value| {
        let gateway = Gateway::setup().set("JWT_ISSUERS", issuers(audience)).start();
        let answer = gateway.ask_as(Some(&token), "GET", "/auth/email/me", None);
        (answer.status, answer.text())
    };
    let (met, body) = status(&claims["aud"]);
    assert!(met == 200 && body.contains(ANN), "{met} {body}");
    assert_eq!(status(&json!("somebody else")).0, 401);
}

#[test]
fn keys_that_the_issuer_changed_are_read_again_and_the_old_ones_forgotten() {
    let mut stage = Stage::new(|setup| setup.set("JWKS_CACHE_TTL", 1).set("SHARDS", 1));
    let path = stage.server("guarded");
    let old = stage.visit(typescript, &path)["token"].as_str().expect("a token").to_owned();
    assert_ne!(stage.ping(Some(&old), &path).0, 401);
    stage.issuer.restart();
    eventually("the old key is forgotten", Duration::from_secs(30), || {
        let (status, challenge) = stage.ping(Some(&old), &path);
        (status == 401 && challenge.contains("a key that its issuer does not have")).then_some(())
    });
    let new = stage.visit(typescript, &path)["token"].as_str().expect("a token").to_owned();
    assert_ne!(stage.ping(Some(&new), &path).0, 401);
}

#[test]
fn people_log_in_with_a_provider_and_are_who_it_says() {
    let stage = Stage::new(|setup| setup.set("SSO_ENABLED", true));
    let team = stage.gateway.post("/teams", &json!({"name": "Engineers"})).expect(201).json();
    let client = register(&stage);
    let provider = json!({"id": "corp", "issuer": stage.issuer.name(),
        "client_id": client["client_id"], "client_secret": client["client_secret"],
        "trusted_domains": ["example.com"], "team_mapping": {"eng": team["id"]}});
    stage.gateway.post("/auth/sso/admin/providers", &provider).expect(200);
    let walk = || {
        let start = format!("{}/auth/sso/login/corp", origin(&stage));
        let output = tools().node("clients/walk.mjs").arg(start).output().expect("it starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        serde_json::from_slice::<Value>(&output.stdout).expect("one line of JSON")
    };
    let end = walk();
    assert_eq!(end["status"], 200, "{end}");
    let session: Value = serde_json::from_str(end["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!(session["user"]["email"], ANN);
    let token = session["access_token"].as_str().expect("a token");
    let me = stage.gateway.ask_as(Some(token), "GET", "/auth/email/me", None).expect(200).json();
    assert_eq!((&me["email"], &me["email_verified"]), (&json!(ANN), &json!(true)));
    let teams = stage.gateway.ask_as(Some(token), "GET", "/teams", None).expect(200).text();
    assert!(teams.contains("Engineers"), "{teams}");
    // Whoever brings the same answer once more is told so.
    let again = end["url"].as_str().expect("a URL").split_once("/auth/").expect("ours").1;
    stage.gateway.ask_as(None, "GET", &format!("/auth/{again}"), None).expect(400);
    let disabled = json!({"is_active": false});
    stage
        .gateway
        .ask("PUT", &format!("/auth/email/admin/users/{ANN}"), Some(&disabled))
        .expect(200);
    assert_eq!(walk()["status"], 403);
    let secret = client["client_secret"].as_str().expect("a secret");
    assert!(!stage.gateway.printed().contains(secret));
}

/// Makes the gateway a client of the authorization server.
fn register(stage: &Stage) -> Value {
    let back = format!("{}/auth/sso/callback/corp", origin(stage));
    let port = stage.issuer.name().rsplit(':').next().and_then(|port| port.parse().ok());
    let body = json!({"redirect_uris": [back], "client_name": "gateway"}).to_string();
    let headers = [("Content-Type", "application/json"), ("Connection", "close")];
    let request = request("POST", "/reg", &headers, body.as_bytes());
    let mut wire = Wire::connect(port.expect("a port"));
    wire.send(request).answer().expect(201).json()
}

fn origin(stage: &Stage) -> String {
    format!("http://127.0.0.1:{}", stage.gateway.port())
}
