//! The subcommands, as a person types them.

use std::process::Output;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::faulty::Faulty;
use crate::harness::gateway::Gateway;
use crate::harness::tools::tools;

fn run(gateway: &Gateway, arguments: &[&str]) -> Output {
    let mut command = gateway.command(arguments);
    command.output().expect("the binary starts")
}

#[track_caller]
fn told(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = run(gateway, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

fn claims(token: &str) -> Value {
    let payload = token.trim().split('.').nth(1).expect("a token has three parts");
    let bytes = URL_SAFE_NO_PAD.decode(payload).expect("the payload is base64url");
    serde_json::from_slice(&bytes).expect("the payload is JSON")
}

#[test]
fn prints_a_token_and_nothing_else() {
    let gateway = Gateway::start();
    let text = told(&gateway, &["token", "--username", "admin@example.com", "--exp", "60"]);
    assert_eq!(text.lines().count(), 1, "{text}");
    let claims = claims(&text);
    assert_eq!(claims["sub"], "admin@example.com");
    assert_eq!(claims["username"], "admin@example.com");
    assert_eq!(claims["iss"], "mcpgateway");
    assert_eq!(claims["aud"], "mcpgateway-api");
    let (from, until) = (claims["iat"].as_i64(), claims["exp"].as_i64());
    assert_eq!(until.zip(from).map(|(until, from)| until - from), Some(3600), "{claims}");
}

#[test]
fn puts_claims_into_a_token_and_reads_them_back() {
    let gateway = Gateway::start();
    let forever = told(&gateway, &["token", "-u", "a@example.com", "-e", "0"]);
    assert!(claims(&forever).get("exp").is_none());
    let data = told(&gateway, &["token", "-d", r#"{"sub":"b@example.com","custom":[1]}"#]);
    assert_eq!(claims(&data)["custom"], json!([1]));
    let teams = told(
        &gateway,
        &[
            "token",
            "-u",
            "c@example.com",
            "--admin",
            "--teams",
            "one,two",
            "--scopes",
            "tools.read",
        ],
    );
    let text = claims(&teams).to_string();
    for part in ["one", "two", "tools.read", "is_admin"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let decoded = told(&gateway, &["token", "--decode", data.trim()]);
    let decoded: Value = serde_json::from_str(&decoded).expect("--decode prints JSON");
    assert_eq!(decoded["custom"], json!([1]));
}

#[test]
fn adds_lists_and_calls_within_three_commands() {
    let gateway = Gateway::start();
    let url = gateway.url("");
    let everything = tools().everything("stdio");
    let at = ["--url", url.as_str()];
    let added =
        told(&gateway, &[&["add", "everything", "--command", &everything], &at[..]].concat());
    assert!(added.contains("everything"), "{added}");
    let listed = told(&gateway, &[&["tools"], &at[..]].concat());
    assert!(listed.contains("everything-echo"), "{listed}");
    let called = told(&gateway, &[&["call", "everything-echo", "message=hello"], &at[..]].concat());
    assert!(called.contains("Echo: hello"), "{called}");
}

#[test]
fn prints_json_when_asked_to() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let url = gateway.url("");
    let at = ["--json", "--url", url.as_str()];
    let added = told(&gateway, &[&["add", "up", &upstream.url()], &at[..]].concat());
    let added: Value = serde_json::from_str(&added).expect("add --json prints JSON");
    assert_eq!(added["name"], "up");
    let listed = told(&gateway, &[&["tools"], &at[..]].concat());
    let listed: Value = serde_json::from_str(&listed).expect("tools --json prints JSON");
    assert!(listed.as_array().is_some_and(|tools| tools.len() > 10), "{listed}");
    let called = told(
        &gateway,
        &[&["call", "up-echo", "text=a", "number:=5", "flag:=true"], &at[..]].concat(),
    );
    let called: Value = serde_json::from_str(&called).expect("call --json prints JSON");
    let expected = json!({ "text": "a", "number": 5, "flag": true });
    assert_eq!(called["structuredContent"], expected, "{called}");
}

#[test]
fn fails_with_a_sentence_and_a_status_when_something_is_wrong() {
    let gateway = Gateway::start();
    let url = gateway.url("");
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    for (arguments, word) in [
        (vec!["add", "up", "http://localhost:1/mcp"], "up"),
        (vec!["add", "gone", "http://localhost:1/mcp"], "refused"),
        (vec!["call", "no-such-tool"], "no-such-tool"),
        (vec!["call", "up-rpc-error"], "refused"),
    ] {
        let output = run(&gateway, &[&arguments[..], &["--url", &url]].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(error.contains(word), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
    }
    let nobody = run(&gateway, &["tools", "--url", "http://localhost:1"]);
    assert!(!nobody.status.success());
    assert!(!run(&gateway, &["frobnicate"]).status.success());
}

#[test]
fn migrates_on_demand_and_knows_its_version() {
    let gateway = Gateway::start();
    assert!(told(&gateway, &["--version"]).contains(env!("CARGO_PKG_VERSION")));
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    for _ in 0..2 {
        let mut command = gateway.command(&["migrate"]);
        let output = command.env("RINGWAY_DATA_DIR", folder.path()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let started = Gateway::setup().data(folder.path()).set("MIGRATE_ON_START", "false").start();
    started.get("/gateways").expect(200);
}
