//! Child processes: started on demand, restarted when they die, ended with the gateway.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::gateway::Gateway;
use crate::harness::upstreams::wayward_stdio;

fn child(gateway: &Gateway) -> Pid {
    let result = gateway.call("child-pid", json!({}));
    let id = result["structuredContent"]["value"].as_i64().expect("a process id");
    Pid::from_raw(i32::try_from(id).expect("process ids are small")).expect("it is not 0")
}

fn assert_gone(child: Pid) {
    eventually("the child has ended", Duration::from_secs(15), || {
        let there = test_kill_process(child).is_ok() && !is_zombie(child);
        (!there).then_some(())
    });
}

/// A process whose parent died waits for init to take note; it runs no more.
fn is_zombie(process: Pid) -> bool {
    let path = PathBuf::from(format!("/proc/{}/stat", process.as_raw_nonzero()));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

#[test]
fn serves_a_child_and_ends_it_with_the_gateway() {
    let gateway = Gateway::start();
    gateway.add(&wayward_stdio("child", ""));
    let process = child(&gateway);
    assert_eq!(child(&gateway), process, "a second call started a second child");
    gateway.stop();
    assert_gone(process);
}

#[test]
fn leaves_no_orphan_when_the_gateway_is_killed() {
    let mut gateway = Gateway::start();
    gateway.add(&wayward_stdio("child", ""));
    let process = child(&gateway);
    gateway.signal(Signal::KILL);
    gateway.ended();
    assert_gone(process);
}

#[test]
fn kills_a_child_that_ignores_every_request_to_end() {
    let gateway = Gateway::setup().set("SHUTDOWN_GRACE", 5).start();
    gateway.add(&wayward_stdio("child", "--stubborn"));
    let process = child(&gateway);
    gateway.stop();
    assert_gone(process);
}

#[test]
fn starts_a_child_again_that_died() {
    let gateway = Gateway::start();
    gateway.add(&wayward_stdio("child", ""));
    let first = child(&gateway);
    let start = Instant::now();
    let died = gateway.rpc("tools/call", json!({ "name": "child-die", "arguments": {} }));
    assert!(died["error"].is_object() || died["result"]["isError"] == true, "{died}");
    assert!(start.elapsed() < Duration::from_secs(10), "a dead child was waited for");
    let second = works_again(&gateway);
    assert_ne!(second, first);
    kill_process(second, Signal::KILL).expect("the child is there");
    assert_ne!(works_again(&gateway), second);
}

/// Waits until the child answers again; a restart may be held back a little.
fn works_again(gateway: &Gateway) -> Pid {
    eventually("the child works again", Duration::from_secs(20), || {
        let envelope = gateway.rpc("tools/call", json!({ "name": "child-pid", "arguments": {} }));
        let id = envelope["result"]["structuredContent"]["value"].as_i64()?;
        Pid::from_raw(i32::try_from(id).ok()?)
    })
}

#[test]
fn ends_the_child_of_an_upstream_that_is_deleted_or_switched_off() {
    let gateway = Gateway::start();
    let added = gateway.add(&wayward_stdio("child", ""));
    let path = format!("/gateways/{}", added["id"].as_str().expect("an id"));
    let first = child(&gateway);
    gateway.ask("POST", &format!("{path}/state?activate=false"), None).expect(200);
    assert_gone(first);
    gateway.ask("POST", &format!("{path}/state?activate=true"), None).expect(200);
    let second = child(&gateway);
    gateway.ask("DELETE", &path, None).expect(200);
    assert_gone(second);
}

#[test]
fn bears_noise_on_both_streams() {
    let gateway = Gateway::start();
    gateway.add(&wayward_stdio("child", "--noisy"));
    for n in 0..5 {
        let result = gateway.call("child-echo", json!({ "n": n }));
        assert_eq!(result["structuredContent"]["value"], json!({ "n": n }));
    }
    eventually("standard error reaches the log", Duration::from_secs(5), || {
        gateway.printed().contains("a line for the log").then_some(())
    });
}

#[test]
fn gives_a_child_none_of_the_gateway_s_secrets() {
    let gateway = Gateway::start();
    gateway.add(&wayward_stdio("child", ""));
    let result = gateway.call("child-environment", json!({}));
    let names = result["structuredContent"]["value"].clone();
    let names: Vec<&str> =
        names.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"PATH"), "{names:?}");
    for secret in ["JWT_SECRET_KEY", "AUTH_ENCRYPTION_SECRET"] {
        assert!(!names.contains(&secret), "a child was given {secret}");
    }
}

#[test]
fn runs_no_command_while_stdio_upstreams_are_forbidden() {
    let gateway = Gateway::setup().set("ALLOW_STDIO_UPSTREAMS", "false").start();
    let folder = gateway.data_folder().join("witness");
    let body = json!({ "name": "x", "transport": "STDIO", "command": format!("touch {}", folder.display()) });
    let answer = gateway.post("/gateways", &body);
    assert!([400, 403, 422].contains(&answer.status), "{}", answer.text());
    assert!(answer.text().contains("ALLOW_STDIO_UPSTREAMS"), "{}", answer.text());
    assert!(!folder.exists(), "the command ran");
}
