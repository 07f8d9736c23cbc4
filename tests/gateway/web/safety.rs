//! Settings that are not safe: refused, warned of, and told by the doctor.

use std::time::Duration;

use serde_json::Value;

use super::ask;
use crate::harness::eventually;
use crate::harness::gateway::Gateway;

/// How long lines may take through a pipe on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn weak_secrets_keep_it_from_listening_beyond_loopback_and_the_mend_is_named() {
    for (name, weak) in [
        ("JWT_SECRET_KEY", "my-test-key"),
        ("AUTH_ENCRYPTION_SECRET", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("BASIC_AUTH_PASSWORD", "changeme"),
    ] {
        let setup = || Gateway::setup().set("API_ALLOW_BASIC_AUTH", "true");
        let strong = || setup().set("BASIC_AUTH_PASSWORD", "tMk3qYw8PzLd");
        for setup in [
            strong().set("HOST", "0.0.0.0").set(name, weak),
            strong().set("REQUIRE_STRONG_SECRETS", "true").set(name, weak),
        ] {
            let mut gateway = setup.launch();
            assert_eq!(gateway.ended().code(), Some(1), "{name}");
            // What was printed last may still be on its way through the pipe.
            let text = eventually("the mend is printed", PATIENCE, || {
                let text = gateway.printed();
                (text.contains(name) && text.contains("openssl rand")).then_some(text)
            });
            assert!(!text.contains(weak), "{text}");
        }
        let gateway = strong().set(name, weak).start();
        let told = || gateway.printed().contains(name).then_some(());
        eventually("the warning is printed", PATIENCE, told);
    }
    strong_beyond_loopback().get("/health").expect(200);
}

fn strong_beyond_loopback() -> Gateway {
    Gateway::setup().set("HOST", "0.0.0.0").start()
}

#[test]
fn the_doctor_and_the_probe_tell_the_same() {
    let gateway = Gateway::setup().set("SECURE_COOKIES", "false").start();
    let told = ask(&gateway, "GET", "/health/security", &[], "").expect(200).json();
    assert_eq!((&told["score"], &told["warning_count"]), (&90.into(), &1.into()));
    assert_eq!(told["checks"]["ui_protected"], false);
    let mut doctor = gateway.command(&["doctor", "--security", "--json"]);
    let output = doctor.env("SECURE_COOKIES", "false").output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&output.stdout).expect("the doctor speaks JSON");
    assert_eq!(report["score"], told["score"]);
    assert_eq!(report["checks"], told["checks"]);
    let finding = &report["findings"][0];
    let sentence = format!(
        "{}. {}",
        finding["problem"].as_str().unwrap_or_default(),
        finding["mend"].as_str().unwrap_or_default()
    );
    assert_eq!(told["warnings"][0], sentence);
    let output = gateway.command(&["doctor"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}
