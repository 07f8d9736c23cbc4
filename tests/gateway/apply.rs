//! `ringway apply`: files are made true, and a second time there is nothing to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::Gateway;

/// A gateway and the folder of files that it is to be like.
struct Desk {
    gateway: Gateway,
    folder: TempDir,
}

impl Desk {
    fn new() -> Desk {
        let folder = TempDir::new().expect("a temporary folder");
        Desk { gateway: Gateway::start(), folder }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("the file is written");
        path
    }

    fn apply(&self, more: &[&str]) -> Output {
        let url = self.gateway.url("");
        let folder = self.folder.path().to_str().expect("the path is UTF-8");
        let words = [&["apply", "-f", folder, "--url", &url], more].concat();
        let mut command = self.gateway.command(&words);
        command.env("UPSTREAM_TOKEN", "from-the-environment").output().expect("the binary starts")
    }

    #[track_caller]
    fn told(&self, more: &[&str]) -> String {
        let output = self.apply(more);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).expect("output is UTF-8")
    }

    fn servers(&self) -> Vec<Value> {
        let answer = self.gateway.get("/servers?include_inactive=true").expect(200).json();
        answer.as_array().expect("a list").clone()
    }
}

#[test]
fn what_is_the_gateway_s_own_is_kept_too_and_a_server_chooses_it_by_name_or_uri() {
    let desk = Desk::new();
    let text = r#"
servers:
- name: desk
  associated_prompts: [greet]
  associated_resources: ['note://one']
  associated_tools: [ping]
prompts:
- {name: greet, template: 'Greet {{ who }}.'}
resources:
- {uri: 'note://one', name: One, content: hello}
tools:
- {name: ping, url: 'http://127.0.0.1:9/', request_type: GET, integration_type: REST}
"#;
    desk.write("own.yaml", text);
    let text = desk.told(&[]);
    assert!(last_line(&text).starts_with("4 created, 0 updated, 0 deleted"), "{text}");
    let text = desk.told(&[]);
    assert_eq!(last_line(&text), "0 created, 1 updated, 0 deleted, 3 entries as it was", "{text}");
    assert!(text.contains("~ resource note://one: content (cannot be read back)"), "{text}");
}

#[test]
fn policies_are_made_and_kept_as_a_file_says() {
    let desk = Desk::new();
    let text = |expression: &str| {
        format!(
            "policies:\n- name: no-drops\n  effect: deny\n  expression: {expression:?}\n  \
             actions: [tools.execute]\n- {{name: spare, effect: allow, expression: 'true', \
             enabled: false}}\n"
        )
    };
    desk.write("policies.yaml", &text("tool.name.endsWith('-drop')"));
    let told = desk.told(&[]);
    assert!(last_line(&told).starts_with("2 created, 0 updated, 0 deleted"), "{told}");
    let told = desk.told(&["--dry-run"]);
    assert_eq!(last_line(&told), "0 changes to make, 2 entries as the files say", "{told}");
    desk.write("policies.yaml", &text("tool.name == 'drop'"));
    let told = desk.told(&[]);
    assert!(told.contains("~ policy no-drops: expression\n"), "{told}");
    let policies = desk.gateway.get("/policies").expect(200).json();
    assert_eq!(policies[0]["expression"], "tool.name == 'drop'");
    assert_eq!((&policies[1]["name"], &policies[1]["enabled"]), (&"spare".into(), &false.into()));
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn files_are_made_true_once_and_kept_true_by_what_differs() {
    let desk = Desk::new();
    let upstream = Faulty::legacy();
    let url = upstream.url();
    desk.write(
        "gateways.yaml",
        &format!(
            "gateways:\n- name: up\n  url: {url}\n  transport: streamablehttp\n  tags: [Blue, a1]\n"
        ),
    );
    let servers = desk.write(
        "servers.yml",
        "servers:\n- name: dev\n  description: For developers.\n  associated_tools: [up-echo]\n\
         ---\nservers:\n- {name: spare, enabled: false}\n",
    );
    let planned = desk.apply(&["--dry-run"]);
    assert_eq!(planned.status.code(), Some(2));
    assert!(desk.servers().is_empty(), "a dry run makes nothing");

    let text = desk.told(&[]);
    assert_eq!(last_line(&text), "3 created, 0 updated, 0 deleted, 0 entries as it was", "{text}");
    let made = desk.servers();
    let dev = made.iter().find(|server| server["name"] == "dev").expect("it was made");
    assert_eq!(dev["associatedTools"][0], "up-echo");
    let spare = made.iter().find(|server| server["name"] == "spare").expect("it was made");
    assert_eq!(spare["enabled"], false);

    let again = desk.told(&["--dry-run"]);
    assert_eq!(last_line(&again), "0 changes to make, 3 entries as the files say", "{again}");

    fs::write(&servers, "servers:\n- name: dev\n  description: For all.\n").expect("is written");
    let text = desk.told(&[]);
    assert!(text.contains("~ server dev: description\n"), "{text}");
    assert_eq!(desk.servers().len(), 2, "without --prune nothing is deleted");
    let text = desk.told(&["--prune"]);
    assert!(text.contains("- server spare\n"), "{text}");
    let left = desk.servers();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["description"], "For all.");
    assert_eq!(left[0]["associatedTools"][0], "up-echo", "what a file does not name stays");
}

#[test]
fn a_secret_comes_from_the_environment_and_is_written_again_each_time() {
    let desk = Desk::new();
    let upstream = Faulty::legacy();
    let url = upstream.url();
    desk.write(
        "up.yaml",
        &format!(
            "gateways: [{{name: up, url: '{url}', transport: STREAMABLEHTTP, auth_type: bearer, \
             auth_token: '${{UPSTREAM_TOKEN}}'}}]"
        ),
    );
    let text = desk.told(&[]);
    assert!(!text.contains("from-the-environment"), "{text}");
    let seen = upstream.seen();
    let bearer = seen.last().expect("it was asked").header("authorization").map(str::to_owned);
    assert_eq!(bearer.as_deref(), Some("Bearer from-the-environment"));
    let text = desk.told(&[]);
    assert!(text.contains("~ gateway up: auth_token (cannot be read back)"), "{text}");
}

#[test]
fn what_is_wrong_is_said_and_what_is_right_is_done() {
    let desk = Desk::new();
    desk.write("a.yaml", "servers:\n- {name: good}\n- {name: bad, associated_tools: [nobody]}\n");
    let output = desk.apply(&[]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("server bad") && error.contains("nobody"), "{error}");
    let names: Vec<_> = desk.servers().iter().map(|server| server["name"].clone()).collect();
    assert_eq!(names, ["good"]);
    for (text, expected) in [
        ("server: []", "is no kind of entry"),
        ("servers: [{name: good, descripton: x}]", "no field \"descripton\""),
        ("servers: [{name: '${NOT_SET_ANYWHERE}'}]", "NOT_SET_ANYWHERE"),
    ] {
        desk.write("a.yaml", text);
        let output = desk.apply(&[]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(expected), "{text}: {error}");
    }
}

/// A command that goes on until it is dropped.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watched_files_are_applied_when_they_change_and_a_broken_one_changes_nothing() {
    let desk = Desk::new();
    let file = desk.write("a.yaml", "servers: [{name: one}]");
    let url = desk.gateway.url("");
    let words =
        ["apply", "--watch", "--prune", "--interval", "1", "-f", path_text(&file), "--url", &url];
    let mut command = desk.gateway.command(&words);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _watcher = Watcher(child.expect("the binary starts"));
    let within = Duration::from_secs(60);
    let has = |names: &[&str]| {
        let servers = desk.servers();
        let mut found: Vec<_> =
            servers.iter().filter_map(|server| server["name"].as_str()).collect();
        found.sort_unstable();
        (found == names).then_some(())
    };
    eventually("the first file to be applied", within, || has(&["one"]));
    fs::write(&file, "servers: [").expect("is written");
    desk.gateway.post("/servers", &serde_json::json!({"server": {"name": "by-hand"}})).expect(201);
    eventually("what was made by hand to go", within, || has(&["one"]));
    fs::write(&file, "servers: [{name: one}, {name: two}]").expect("is written");
    eventually("the changed file to be applied", within, || has(&["one", "two"]));
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}
