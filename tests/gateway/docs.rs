//! The API as it tells of itself: a browser looks at the page, and schemathesis holds the gateway to
//! the document.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::gateway::Gateway;
use crate::harness::tools::{tests_folder, tools};

/// The first of the names that a browser goes by.
fn browser() -> PathBuf {
    let path = std::env::var_os("PATH").expect("there is a path");
    let programs = ["chromium", "chromium-browser", "google-chrome"];
    let mut places = programs
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)));
    places.find(|place| place.is_file()).expect("tests/tools/install brings a browser")
}

#[test]
fn a_browser_shows_the_document_and_sends_what_it_tells_of() {
    let gateway = Gateway::start();
    let url = format!("http://127.0.0.1:{}", gateway.port());
    let plan = json!({"url": url, "token": gateway.token(), "browser": browser()});
    let mut command = tools().node("clients/browser.mjs");
    let output = command.arg(plan.to_string()).output().expect("the visit starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the visit failed: {error}");
    let seen: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");

    let is_ours = |request: &Value| request.as_str().is_some_and(|text| text.starts_with(&url));
    let requests = seen["requests"].as_array().expect("a list");
    let foreign: Vec<_> = requests
        .iter()
        .filter(|request| !is_ours(request) && request.as_str() != Some("data:,"))
        .collect();
    assert!(foreign.is_empty() && requests.len() >= 4, "{requests:?}");
    assert_eq!(seen["messages"], json!([]), "the page ran into something");
    assert!(
        seen["refusals"].as_array().is_some_and(|all| all
            .iter()
            .all(|one| { one.as_str().is_some_and(|text| text.contains("401")) })),
        "{seen}"
    );
    assert_eq!(seen["focused"], "token");
    let document: Value = gateway.get("/openapi.json").expect(200).json();
    let methods = document["paths"].as_object().expect("paths").values();
    let count: usize = methods.map(|path| path.as_object().map_or(0, |all| all.len())).sum();
    assert_eq!(seen["operations"].as_array().map(Vec::len), Some(count));
    let answer = seen["answer"].as_str().expect("a text");
    assert!(answer.contains("200 GET /tools?limit=5") && answer.contains("[]"), "{answer}");
    assert_eq!(seen["filtered"], json!(["refreshGateway", "refreshToken"]));
    assert_eq!(seen["kept"], json!([0, 0, ""]), "the token is kept in memory only");
}

/// Every operation, with bodies and parameters that fit and that do not: no answer that the document
/// does not tell of, and none of the gateway's own faults.
#[test]
fn schemathesis_finds_no_answer_outside_the_document() {
    let settings = [("ALLOW_STDIO_UPSTREAMS", "false"), ("LOG_LEVEL", "INFO")];
    let setup =
        settings.iter().fold(Gateway::setup(), |setup, (name, value)| setup.set(name, value));
    let gateway = setup.start();
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let authorization = format!("Authorization: Bearer {}", gateway.token());
    let mut command = Command::new(tools().python.join("bin/schemathesis"));
    command.arg("--config-file").arg(tests_folder().join("tools/schemathesis.toml"));
    command.args(["run", &gateway.url("/openapi.json"), "--url", &gateway.url("")]);
    command.args(["--header", &authorization, "--no-color"]);
    // Examples are written to the working folder.
    let output = command.current_dir(folder.path()).output().expect("schemathesis starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{error}");
    assert!(!gateway.printed().contains("panicked"), "{}", gateway.printed());
}

#[test]
fn the_command_line_prints_the_document_that_the_gateway_serves() {
    let gateway = Gateway::start();
    let output = gateway.command(&["openapi"]).output().expect("the command starts");
    assert!(output.status.success());
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(printed, gateway.get("/openapi.json").expect(200).json());
    assert_eq!(gateway.ask_as(None, "GET", "/openapi.json", None).status, 401);
}
