//! Start, drain and end; which ring runs; what the process prints.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::Gateway;
use crate::harness::tools::tests_folder;
use crate::harness::wire::{Wire, request};

#[test]
fn tells_its_health_and_version() {
    let gateway = Gateway::start();
    let health = gateway.ask_as(None, "GET", "/health", None).expect(200);
    assert_eq!(health.json()["status"], "healthy");
    assert_eq!(health.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(gateway.ask_as(None, "GET", "/ready", None).expect(200).json()["status"], "ready");
    let version = gateway.get("/version").expect(200).json();
    assert_eq!(version["app"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["uptime_seconds"].is_number(), "{version}");
    assert_eq!(version["database"]["dialect"], "sqlite");
    let root = gateway.get("/").expect(200).json();
    assert_eq!(root["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn prints_its_address_its_shards_and_how_to_get_a_token() {
    let gateway = Gateway::setup().set("SHARDS", 2).start();
    let text = gateway.printed();
    assert!(text.contains(&format!("127.0.0.1:{}", gateway.port())), "{text}");
    assert!(text.contains("2 shards"), "{text}");
    assert!(text.contains("io_uring") || text.contains("epoll"), "{text}");
    assert!(text.contains("ringway token --username"), "{text}");
    gateway.stop();
}

#[test]
fn ends_at_once_and_well_when_nothing_is_in_flight() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = Gateway::start();
        let mut idle = gateway.wire();
        idle.send(request("GET", "/health", &[], b"")).answer().expect(200);
        let start = Instant::now();
        gateway.signal(signal);
        assert_eq!(gateway.ended().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(5), "an idle connection delayed the end");
        assert!(idle.closes());
    }
}

#[test]
fn finishes_what_is_in_flight_and_is_not_ready_meanwhile() {
    let mut gateway = Gateway::setup().set("SHUTDOWN_GRACE", 20).start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let params = json!({ "name": "up-slow", "arguments": { "milliseconds": 2000 } });
    let envelope = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let mut wire = gateway.wire();
    wire.send(request("POST", "/rpc", &headers, envelope.to_string().as_bytes()));
    upstream.wait_for_calls("slow", 1);
    gateway.signal(Signal::TERM);
    let port = gateway.port();
    // New connections are refused or told that the gateway is not ready, from some moment on and
    // until the end.
    eventually("the gateway is not ready any more", Duration::from_secs(1), || {
        let Ok(mut probe) = Wire::try_connect(port) else { return Some(()) };
        let answer =
            probe.send(request("GET", "/ready", &[("Connection", "close")], b"")).try_answer();
        answer.is_none_or(|answer| answer.status == 503).then_some(())
    });
    let answer = wire.answer().expect(200).json();
    assert_eq!(answer["result"]["content"][0]["text"], "slept");
    assert_eq!(gateway.ended().code(), Some(0));
    assert!(Wire::try_connect(port).is_err());
}

#[test]
fn cuts_what_outlasts_the_grace_and_still_ends_well() {
    let mut gateway = Gateway::setup().set("SHUTDOWN_GRACE", 1).start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let params = json!({ "name": "up-silent", "arguments": {} });
    let envelope = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let mut wire = gateway.wire();
    wire.send(request("POST", "/rpc", &headers, envelope.to_string().as_bytes()));
    upstream.wait_for_calls("silent", 1);
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
}

#[test]
fn ends_at_once_at_the_second_signal() {
    let mut gateway = Gateway::setup().set("SHUTDOWN_GRACE", 60).start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let params = json!({ "name": "up-silent", "arguments": {} });
    let envelope = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let mut wire = gateway.wire();
    wire.send(request("POST", "/rpc", &headers, envelope.to_string().as_bytes()));
    upstream.wait_for_calls("silent", 1);
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    let port = gateway.port();
    // Two equal signals that arrive together are one; so the drain is waited for first.
    eventually("the drain began", Duration::from_secs(5), || {
        let Ok(mut probe) = Wire::try_connect(port) else { return Some(()) };
        let answer = probe.send(request("GET", "/ready", &[], b"")).try_answer();
        answer.is_none_or(|answer| answer.status == 503).then_some(())
    });
    gateway.signal(Signal::TERM);
    gateway.ended();
    assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
}

#[test]
fn falls_back_to_epoll_with_one_warning_when_io_uring_is_refused() {
    let wrapper = Command::new(tests_folder().join("tools/without-io-uring"));
    let gateway = Gateway::setup().set("SHARDS", 2).through(wrapper).start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    assert_eq!(gateway.call("up-echo", json!({ "n": 1 }))["structuredContent"], json!({ "n": 1 }));
    let text = gateway.printed();
    let warnings = text.lines().filter(|line| line.contains("WARN") && line.contains("io_uring"));
    assert_eq!(warnings.count(), 1, "{text}");
    assert!(text.contains("epoll"), "{text}");
    gateway.stop();
}

#[test]
fn refuses_to_start_when_io_uring_is_demanded_but_refused() {
    let wrapper = Command::new(tests_folder().join("tools/without-io-uring"));
    let mut gateway = Gateway::setup().set("RING_DRIVER", "uring").through(wrapper).launch();
    assert_eq!(gateway.ended().code().map(|code| code != 0), Some(true));
    assert!(gateway.printed().contains("io_uring"), "{}", gateway.printed());
}

#[test]
fn runs_on_epoll_when_it_is_told_to() {
    let gateway = Gateway::setup().set("RING_DRIVER", "epoll").start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    assert_eq!(gateway.call("up-echo", json!({ "n": 1 }))["structuredContent"], json!({ "n": 1 }));
    assert!(gateway.printed().contains("epoll"), "{}", gateway.printed());
    gateway.stop();
}

#[test]
fn names_the_setting_that_is_wrong_and_does_not_start() {
    for (name, value) in [
        ("PORT", "seventy"),
        ("SHARDS", "0"),
        ("RING_DRIVER", "steam"),
        ("LOG_LEVEL", "SHOUTING"),
        ("JWT_ALGORITHM", "none"),
        ("SHUTDOWN_GRACE", "-1"),
    ] {
        let mut gateway = Gateway::setup().set(name, value).launch();
        let status = gateway.ended();
        assert!(!status.success(), "{name}={value} was accepted");
        assert!(gateway.printed().contains(name), "{name} is not named: {}", gateway.printed());
    }
}

#[test]
fn says_so_when_the_port_is_taken() {
    let first = Gateway::start();
    let mut second = Gateway::setup().set("PORT", first.port()).launch();
    assert!(!second.ended().success());
    assert!(second.printed().contains(&first.port().to_string()), "{}", second.printed());
    first.get("/health").expect(200);
}

#[test]
fn logs_no_secret_and_no_request_above_debug() {
    let gateway = Gateway::setup().set("LOG_LEVEL", "INFO").set("LOG_FORMAT", "json").start();
    let upstream = Faulty::legacy();
    let mut registration = upstream.registration("up");
    registration["auth_type"] = json!("bearer");
    registration["auth_token"] = json!("upstream-secret-token");
    gateway.add(&registration);
    let before = gateway.printed().lines().count();
    for _ in 0..10 {
        gateway.call("up-echo", json!({}));
    }
    let text = gateway.printed();
    assert_eq!(text.lines().count(), before, "a request was logged at INFO: {text}");
    for secret in ["upstream-secret-token", gateway.token(), crate::harness::gateway::SECRET] {
        assert!(!text.contains(secret), "a secret was printed");
    }
}

#[test]
fn writes_every_name_anew_when_the_separator_was_changed() {
    let folder = TempDir::new().expect("a temporary folder");
    let upstream = Faulty::legacy();
    let gateway = Gateway::setup().data(folder.path()).start();
    gateway.add(&upstream.registration("up"));
    assert!(gateway.tool_names().contains(&"up-echo".to_owned()));
    gateway.stop();
    for (separator, name) in [("_", "up_echo"), ("-", "up-echo")] {
        let setup = Gateway::setup().data(folder.path());
        let gateway = setup.set("GATEWAY_TOOL_NAME_SEPARATOR", separator).start();
        assert!(gateway.tool_names().contains(&name.to_owned()), "{:?}", gateway.tool_names());
        gateway.call(name, json!({ "message": "hello" }));
        gateway.stop();
    }
}
