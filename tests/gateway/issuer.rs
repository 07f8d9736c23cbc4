//! Tokens and logins of a real authorization server, npm's oidc-provider.

use std::process::Command;
use std::time::Duration;

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
        let issuer = Issuer::start(json!({"email": ANN, "name": "Ann", "groups": ["eng"]}));
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
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("Connection", "close"), ("Content-Type", "application/json")];
        headers.extend(bearer.as_deref().map(|value| ("Authorization", value)));
        let bytes = request("POST", path, &headers, body.to_string().as_bytes());
        // A token is for the address that its client knows, with the port.
        let host = format!("Host: localhost:{}", self.gateway.port());
        let text = String::from_utf8(bytes).expect("it is text");
        let answer = self.gateway.wire().send(text.replacen("Host: localhost", &host, 1)).answer();
        (answer.status, answer.header("www-authenticate").unwrap_or_default().to_owned())
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

#[test]
fn keys_that_the_issuer_changed_are_read_again_and_the_old_ones_forgotten() {
    let mut stage = Stage::new(|setup| setup.set("JWKS_CACHE_TTL", 1));
    let path = stage.server("guarded");
    let old = stage.visit(typescript, &path)["token"].as_str().expect("a token").to_owned();
    assert_ne!(stage.ping(Some(&old), &path).0, 401);
    stage.issuer.restart();
    let new = stage.visit(typescript, &path)["token"].as_str().expect("a token").to_owned();
    assert_ne!(stage.ping(Some(&new), &path).0, 401);
    eventually("the old key is forgotten", Duration::from_secs(30), || {
        let (status, challenge) = stage.ping(Some(&old), &path);
        (status == 401 && challenge.contains("a key that its issuer does not have")).then_some(())
    });
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
