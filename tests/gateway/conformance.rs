//! The official conformance suite, through an open virtual server with an empty prefix.
//!
//! What later issues bring stands in tests/conformance/expected-REVISION.yml. The suite itself fails
//! on an entry there that passes by now, so those files can only shrink.

use std::process::Command;

use serde_json::Value;

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{LEGACY, MODERN};
use crate::harness::tools::{tests_folder, tools};
use crate::harness::upstreams::Served;

/// Runs the suite's frozen set for `revision` against `url`, with the expected failures of `file`.
fn run_suite(url: &str, revision: &str, file: &str) {
    let program = tools().package_file("@modelcontextprotocol/conformance/dist/index.js");
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let mut command: Command = tools().node(program);
    command.args(["server", "--url", url, "--requirements", revision, "--expected-failures"]);
    command.arg(tests_folder().join("conformance").join(file)).arg("-o").arg(folder.path());
    let output = command.output().expect("the suite starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.split("=== SUMMARY ===").nth(1).unwrap_or(&text);
    eprintln!("{revision}: {summary}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "conformance to {revision}: {summary}\n{error}");
}

fn through_the_gateway(revision: &str, upstream_protocol: &str, file: &str) {
    let upstream = Served::conformance();
    let gateway = Gateway::start();
    let mut registration: Value = upstream.registration("reference");
    registration["protocol"] = upstream_protocol.into();
    let added = gateway.add(&registration);
    let open = gateway.open_server(&[&added]);
    run_suite(&gateway.url(&open), revision, file);
}

/// The reference passes by itself, so that what fails through the gateway is the gateway's fault.
#[test]
fn the_reference_upstream_conforms_to_both_revisions() {
    let upstream = Served::conformance();
    run_suite(&upstream.url(), LEGACY, "expected-direct.yml");
    run_suite(&upstream.url(), MODERN, "expected-direct.yml");
}

#[test]
fn conforms_to_2025_11_25_with_a_legacy_upstream() {
    through_the_gateway(LEGACY, "legacy", "expected-2025-11-25.yml");
}

#[test]
fn conforms_to_2026_07_28_with_a_modern_upstream() {
    through_the_gateway(MODERN, "modern", "expected-2026-07-28.yml");
}
