//! The official conformance suite, through an open virtual server with an empty prefix.
//!
//! What fails stands in tests/conformance/expected-*.yml, with the reason. The suite itself fails on an
//! entry there that passes by now, so those files can only shrink. Crossed are a client and an upstream
//! of different eras: what an upstream can do only in the other era's way fails there by its nature.

use std::fmt;
use std::process::Command;

use serde_json::Value;

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{LEGACY, MODERN};
use crate::harness::tools::{tests_folder, tools};
use crate::harness::upstreams::Served;

/// Which release of the suite runs, and which of its scenarios.
enum Set {
    /// The frozen set of a revision.
    Required(&'static str),
    /// Every scenario that knows a revision from before there were frozen sets.
    All(&'static str),
    /// Every scenario of the release before the modern revision.
    Older,
}

impl Set {
    fn command(&self) -> Command {
        let (package, arguments): (_, &[&str]) = match self {
            Self::Required(revision) => {
                ("@modelcontextprotocol/conformance", &["--requirements", revision])
            }
            Self::All(revision) => (
                "@modelcontextprotocol/conformance",
                &["--suite", "all", "--spec-version", revision],
            ),
            Self::Older => ("conformance-0.1.16", &["--suite", "all"]),
        };
        let mut command = tools().node(tools().package_file(package).join("dist/index.js"));
        command.arg("server").args(arguments);
        command
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required(revision) => write!(f, "the set of {revision}"),
            Self::All(revision) => write!(f, "all for {revision}"),
            Self::Older => write!(f, "all of 0.1.16"),
        }
    }
}

/// Runs `set` against `url`, with the expected failures of `file`.
fn run_suite(url: &str, set: &Set, file: &str) {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let mut command = set.command();
    command.args(["--url", url, "--expected-failures"]);
    command.arg(tests_folder().join("conformance").join(file)).arg("-o").arg(folder.path());
    let output = command.output().expect("the suite starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.split("=== SUMMARY ===").nth(1).unwrap_or(&text);
    eprintln!("{set}: {summary}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "conformance to {set}: {summary}\n{error}");
    // A suite that finds no scenario of a revision passes too.
    assert!(summary.contains("✓ "), "conformance to {set}: nothing ran: {summary}\n{error}");
}

/// Runs sets through a gateway whose upstream is spoken to in the words of one era.
fn through_the_gateway(upstream_protocol: &str, sets: &[(Set, &str)]) {
    let upstream = Served::conformance();
    let gateway = Gateway::start();
    let mut registration: Value = upstream.registration("reference");
    registration["protocol"] = upstream_protocol.into();
    let added = gateway.add(&registration);
    let open = gateway.open_server(&[&added]);
    for (set, file) in sets {
        run_suite(&gateway.url(&open), set, file);
    }
}

/// The reference passes by itself, so that what fails through the gateway is the gateway's fault.
#[test]
fn the_reference_upstream_conforms_to_every_revision() {
    let upstream = Served::conformance();
    for set in [
        Set::Required(LEGACY),
        Set::Required(MODERN),
        Set::All("2025-06-18"),
        Set::All("2025-03-26"),
    ] {
        run_suite(&upstream.url(), &set, "expected-direct.yml");
    }
    run_suite(&upstream.url(), &Set::Older, "expected-direct-0.1.16.yml");
}

#[test]
fn conforms_to_2025_11_25_with_a_legacy_upstream() {
    through_the_gateway("legacy", &[(Set::Required(LEGACY), "expected-2025-11-25.yml")]);
}

#[test]
fn conforms_to_2026_07_28_with_a_modern_upstream() {
    through_the_gateway("modern", &[(Set::Required(MODERN), "expected-2026-07-28.yml")]);
}

#[test]
fn conforms_to_the_older_revisions_and_to_the_older_release_of_the_suite() {
    let sets = [Set::All("2025-06-18"), Set::All("2025-03-26"), Set::Older];
    through_the_gateway("legacy", &sets.map(|set| (set, "expected-2025-11-25.yml")));
}

#[test]
fn conforms_to_the_revisions_with_a_handshake_with_a_modern_upstream() {
    let file = "expected-crossed-legacy.yml";
    through_the_gateway(
        "modern",
        &[(Set::Required(LEGACY), file), (Set::All("2025-03-26"), "expected-direct.yml")],
    );
}

#[test]
fn conforms_to_2026_07_28_with_a_legacy_upstream() {
    through_the_gateway("legacy", &[(Set::Required(MODERN), "expected-crossed-modern.yml")]);
}
