//! The client scenarios of the official conformance suite, with the gateway between its server and the
//! official Python client: they show that the requests which reach an upstream are those of a client that
//! conforms.
//!
//! Left out are `auth/*`, which are about clients that get tokens of an upstream by themselves, and
//! `sep-2640-*` (skills, which no client here has).

use crate::harness::gateway::Gateway;
use crate::harness::mcp::{LEGACY, MODERN};
use crate::harness::tools::tools;

const SCENARIOS: [(&str, &[&str]); 2] = [
    (
        LEGACY,
        &[
            "initialize",
            "tools_call",
            "sse-retry",
            // Its server asks on the stream that belongs to no request.
            "elicitation-sep1034-client-defaults",
            "json-schema-2020-12-preservation",
        ],
    ),
    (
        MODERN,
        &[
            "tools_call",
            "request-metadata",
            "sep-2322-client-request-state",
            "http-standard-headers",
            "http-custom-headers",
            "http-invalid-tool-headers",
            "json-schema-ref-no-deref",
            "json-schema-2020-12-preservation",
        ],
    ),
];

#[test]
fn upstreams_see_a_client_that_conforms() {
    // One scenario sends a value that the schema of its tool forbids.
    let gateway = Gateway::setup().set("TOOL_ARGUMENT_VALIDATION", false).start();
    let client = tools().python("clients/scenario.py");
    let words = std::iter::once(client.get_program()).chain(client.get_args());
    let command: Vec<_> = words.map(|word| word.to_str().expect("a path is text")).collect();
    let suite = tools().package_file("@modelcontextprotocol/conformance/dist/index.js");
    for (revision, scenarios) in SCENARIOS {
        for scenario in scenarios {
            let folder = tempfile::TempDir::new().expect("a temporary folder");
            let mut run = tools().node(&suite);
            run.args(["client", "--command", &command.join(" ")]);
            run.args(["--scenario", scenario, "--spec-version", revision]);
            run.arg("-o").arg(folder.path());
            run.env("RINGWAY_URL", gateway.url("")).env("RINGWAY_TOKEN", gateway.token());
            let output = run.output().expect("the suite starts");
            // It says everything there.
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{scenario} of {revision}: {text}");
            assert!(!text.contains("Passed: 0/"), "{scenario} checked nothing: {text}");
            assert!(text.contains("OVERALL: PASSED"), "{scenario} of {revision}: {text}");
        }
    }
}
