//! What clients send cannot forge lines of the log, and secrets are seen nowhere.

use serde_json::json;
use tempfile::TempDir;

use super::{PING, ask, send};
use crate::harness::faulty::Faulty;
use crate::harness::gateway::{Gateway, SECRET};

/// What an intruder would like to stand at the beginning of a line.
const FORGED: &str = "FORGED-LINE-OF-THE-LOG";

#[test]
fn what_clients_send_cannot_begin_a_line_of_the_log() {
    for format in ["text", "json"] {
        let setup = Gateway::setup().set("LOG_FORMAT", format).set("LOG_LEVEL", "trace");
        let gateway = setup.start();
        for end in ["\n", "\r\n", "\r", "\u{2028}", "\u{85}", "\u{1b}[2K"] {
            let name = format!("x{end}{FORGED}");
            let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": { "name": name, "arguments": { "a": name } } });
            ask(&gateway, "POST", "/rpc", &[], &call.to_string());
            let method = json!({ "jsonrpc": "2.0", "id": 1, "method": name });
            ask(&gateway, "POST", "/mcp", &[], &method.to_string());
            let server = json!({ "server": { "name": name, "description": name } });
            ask(&gateway, "POST", "/servers", &[], &server.to_string());
            let gateway_body =
                json!({ "name": name, "url": format!("http://127.0.0.1:1/{end}{FORGED}") });
            ask(&gateway, "POST", "/gateways", &[], &gateway_body.to_string());
        }
        ask(&gateway, "GET", &format!("/tools/%0a{FORGED}"), &[("User-Agent", FORGED)], "");
        let text = gateway.printed();
        assert!(text.contains(FORGED), "{format}: nothing of it was logged");
        let is_forged = |line: &&str| line.trim_start_matches(['\u{1b}', '[']).starts_with(FORGED);
        assert_eq!(text.lines().find(is_forged), None, "{format}");
        let lines = text.split(['\n', '\r', '\u{2028}', '\u{85}']);
        assert_eq!(lines.into_iter().find(is_forged), None, "{format}");
        assert!(!text.contains('\u{1b}'), "{format}: an escape sequence was printed");
    }
}

/// Everything that the gateway printed and answered.
struct Seen(Vec<u8>);

impl Seen {
    fn add(&mut self, answer: crate::harness::wire::Answer) {
        for (name, value) in &answer.headers {
            self.0.extend_from_slice(format!("{name}: {value}\n").as_bytes());
        }
        self.0.extend_from_slice(&answer.body);
    }

    fn assert_without(&self, secret: &str) {
        let place = self.0.windows(secret.len()).position(|bytes| bytes == secret.as_bytes());
        let around = place.map(|at| {
            let (from, to) = (at.saturating_sub(200), (at + 200).min(self.0.len()));
            String::from_utf8_lossy(&self.0[from..to]).into_owned()
        });
        assert_eq!(around, None, "{secret} was seen");
    }
}

#[test]
fn secrets_that_are_planted_everywhere_are_seen_nowhere() {
    let folder = TempDir::new().expect("a temporary folder");
    let password = "planted-basic-tMk3qYw8PzLd";
    let setup = || {
        Gateway::setup()
            .data(folder.path())
            .set("LOG_LEVEL", "trace")
            .set("API_ALLOW_BASIC_AUTH", "true")
            .set("BASIC_AUTH_PASSWORD", password)
    };
    let gateway = setup().start();
    let upstream = Faulty::legacy();
    let mut seen = Seen(Vec::new());
    let mut planted = vec![SECRET.to_owned(), password.to_owned(), gateway.token().to_owned()];
    let mut plant = |place: &str| {
        let secret = format!("planted-{place}-9f86d081884c");
        planted.push(secret.clone());
        secret
    };
    let bodies = [
        json!({ "auth_type": "basic", "auth_username": "u", "auth_password": plant("password") }),
        json!({ "auth_type": "bearer", "auth_token": plant("token") }),
        json!({ "auth_type": "authheaders", "auth_header_key": "X-Key", "auth_header_value": plant("value") }),
        json!({ "auth_type": "authheaders", "auth_headers": [{ "key": "X-Key", "value": plant("header") }] }),
        json!({ "auth_type": "bearer", "auth_token": plant("bad"), "url": "http://127.0.0.1:1/mcp" }),
        json!({ "auth_type": "nonsense", "auth_token": plant("nonsense") }),
    ];
    for (number, extra) in bodies.into_iter().enumerate() {
        let name = format!("up{number}");
        let mut body = upstream.registration(&name);
        let fields = body.as_object_mut().expect("an object");
        fields.extend(extra.as_object().expect("an object").clone());
        seen.add(ask(&gateway, "POST", "/gateways", &[], &body.to_string()));
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": format!("{name}-status"), "arguments": { "status": 500 } } });
        seen.add(ask(&gateway, "POST", "/rpc", &[], &call.to_string()));
    }
    let tool = json!({ "tool": { "name": "own", "url": "http://127.0.0.1:1/x", "integration_type": "REST",
        "request_type": "GET", "auth_type": "bearer", "auth_token": plant("tool") } });
    seen.add(ask(&gateway, "POST", "/tools", &[], &tool.to_string()));
    let agent = json!({ "agent": { "name": "agent", "endpoint_url": "http://127.0.0.1:1/a",
        "auth_type": "bearer", "auth_value": plant("agent") } });
    seen.add(ask(&gateway, "POST", "/a2a", &[], &agent.to_string()));
    // What callers show, good and bad, in every place where it might be taken.
    let (bad, cookie) = (plant("caller"), plant("cookie"));
    for value in [format!("Bearer {bad}"), format!("Basic {bad}"), bad.clone(), password.to_owned()]
    {
        for (method, target, body) in [("GET", "/tools", ""), ("POST", "/mcp", PING)] {
            let fields = [("Authorization", value.as_str()), ("X-CSRF-Token", &bad)];
            seen.add(send(&gateway, method, target, &fields, body));
        }
    }
    let cookies = format!("jwt_token={cookie}; mcpgateway_csrf_token={cookie}");
    seen.add(send(&gateway, "POST", "/servers", &[("Cookie", &cookies)], "{}"));
    for target in [
        "/version",
        "/gateways?include_inactive=true",
        "/tools?include_inactive=true",
        "/a2a?include_inactive=true",
        "/export",
        "/health/security",
        "/openapi.json",
        "/metrics",
        "/import/status",
    ] {
        seen.add(ask(&gateway, "GET", target, &[], ""));
    }
    seen.0.extend_from_slice(gateway.printed().as_bytes());
    gateway.stop();
    // Once more from what was stored, with the doctor.
    let again = setup().start();
    seen.add(ask(&again, "GET", "/gateways", &[], ""));
    let doctor = again.command(&["doctor", "--json"]).output().expect("it starts");
    seen.0.extend_from_slice(&doctor.stdout);
    seen.0.extend_from_slice(&doctor.stderr);
    seen.0.extend_from_slice(again.printed().as_bytes());
    assert!(seen.0.len() > 10_000, "too little was seen to prove anything");
    for secret in &planted {
        seen.assert_without(secret);
    }
}
