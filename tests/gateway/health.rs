//! Health checks: who fails leaves the lists and comes back, and of many processes one checks.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::faulty::{Faulty, Mood};
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::tools::tests_folder;
use crate::harness::upstreams::{stdio, wayward_stdio};

/// How long a gateway may take to notice something.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway that checks ten times a second.
fn watchful() -> Setup {
    Gateway::setup().set("HEALTH_CHECK_INTERVAL", "0.1").set("HEALTH_CHECK_TIMEOUT", "5")
}

fn shown(gateway: &Gateway, upstream: &Value) -> Value {
    let id = upstream["id"].as_str().expect("an id");
    gateway.get(&format!("/gateways/{id}")).expect(200).json()
}

fn wait_until_listed(gateway: &Gateway, tool: &str, listed: bool) {
    let what = format!("{tool} is {}listed", if listed { "" } else { "not " });
    eventually(&what, PATIENCE, || {
        (gateway.tool_names().iter().any(|name| name == tool) == listed).then_some(())
    });
}

/// The sessions that pings came in, behind the first `from` of them: one for each gateway.
fn pinging_sessions(upstream: &Faulty, from: usize) -> BTreeSet<String> {
    let seen = upstream.seen();
    let pings = seen.iter().filter(|seen| seen.body["method"] == "ping").skip(from);
    pings.filter_map(|seen| seen.header("mcp-session-id")).map(str::to_owned).collect()
}

#[test]
fn takes_an_upstream_that_went_away_out_of_the_lists_and_reads_it_anew_when_it_is_back() {
    for upstream in [Faulty::legacy(), Faulty::modern()] {
        let gateway = watchful().start();
        let added = gateway.add(&upstream.registration("up"));
        let other = Faulty::legacy();
        gateway.add(&other.registration("other"));
        upstream.be(Mood::Away);
        wait_until_listed(&gateway, "up-echo", false);
        assert!(gateway.tool_names().contains(&"other-echo".to_owned()));
        // A list that is shorter for it says so.
        let missed = || gateway.rpc("tools/list", json!({}))["result"]["_meta"].clone();
        assert_eq!(missed(), json!({"ringway/unavailable": ["up"]}));
        let away = shown(&gateway, &added);
        assert_eq!((&away["enabled"], &away["reachable"]), (&json!(true), &json!(false)));
        assert!(away["lastError"].as_str().is_some_and(|told| told.contains("up")), "{away}");
        assert!(away["lastSeen"].is_string(), "{away}");
        let called = gateway.rpc("tools/call", json!({ "name": "up-echo", "arguments": {} }));
        let told = called["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(told.contains("up") && told.contains("out of service"), "{called}");

        upstream.add_tool(json!({ "name": "late", "inputSchema": { "type": "object" } }));
        upstream.be(Mood::Well);
        wait_until_listed(&gateway, "up-late", true);
        let back = shown(&gateway, &added);
        assert_eq!((&back["reachable"], &back["lastError"]), (&json!(true), &Value::Null));
        assert_eq!(missed(), Value::Null);
        assert_eq!(gateway.call("up-late", json!({ "x": 1 }))["structuredContent"]["x"], 1);
        gateway.stop();
    }
}

#[test]
fn writes_nothing_while_all_is_well() {
    let gateway = watchful().start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    upstream.wait_for("ping", 10);
    assert_eq!(shown(&gateway, &added), added);
    gateway.stop();
}

#[test]
fn leaves_a_child_alone_that_nobody_asked_for() {
    let folder = TempDir::new().expect("a folder");
    let witness = folder.path().join("started");
    let upstream = Faulty::legacy();
    let gateway = watchful().data(folder.path()).start();
    gateway.add(&upstream.registration("up"));
    let script = tests_folder().join("upstreams/wayward.py");
    let words = format!("touch {}; exec python3 -u {}", witness.display(), script.display());
    gateway.add(&stdio("child", &format!("sh -c '{words}'")));
    assert!(witness.exists(), "it was started to be discovered");
    gateway.stop();
    std::fs::remove_file(&witness).expect("it is there");

    let gateway = watchful().data(folder.path()).start();
    let checks = upstream.count("ping");
    upstream.wait_for("ping", checks + 5);
    assert!(!witness.exists(), "a health check started the child");
    assert!(gateway.tool_names().contains(&"child-echo".to_owned()));
    gateway.call("child-echo", json!({}));
    assert!(witness.exists());
    gateway.stop();
}

#[test]
fn takes_a_child_that_keeps_dying_out_of_the_lists_and_tries_it_again() {
    let gateway = watchful().set("STDIO_RESTART_DELAY", "0.01").start();
    gateway.add(&wayward_stdio("child", ""));
    eventually("it left the lists", PATIENCE, || {
        gateway.rpc("tools/call", json!({ "name": "child-die", "arguments": {} }));
        gateway.printed().contains("unhealthy: left the lists").then_some(())
    });
    wait_until_listed(&gateway, "child-echo", true);
    eventually("it works again", PATIENCE, || {
        let call = json!({ "name": "child-echo", "arguments": { "n": 1 } });
        let envelope = gateway.rpc("tools/call", call);
        (envelope["result"]["structuredContent"]["value"]["n"] == 1).then_some(())
    });
    gateway.stop();
}

#[test]
fn of_two_gateways_on_one_database_one_checks_and_the_other_follows_it() {
    let folder = TempDir::new().expect("a folder");
    let upstream = Faulty::legacy();
    let one = watchful().data(folder.path()).start();
    one.add(&upstream.registration("up"));
    upstream.wait_for("ping", 1);
    let two = watchful().data(folder.path()).start();
    let before = upstream.count("ping");
    upstream.wait_for("ping", before + 30);
    let sessions = pinging_sessions(&upstream, before);
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    // One that ends gives its lease back: nobody waits for the 15 seconds.
    one.stop();
    let after = upstream.count("ping");
    upstream.wait_for("ping", after + 5);
    let followers = pinging_sessions(&upstream, after);
    assert_eq!(followers.len(), 1, "{followers:?}");
    assert!(followers.is_disjoint(&sessions), "one that ended goes on checking");
    two.stop();
}

/// It froze in the middle of a check, and what it found then must not be written by it now.
#[test]
fn a_gateway_that_froze_past_its_lease_and_thawed_changes_nothing() {
    let folder = TempDir::new().expect("a folder");
    let upstream = Faulty::legacy();
    let start = || {
        let setup = watchful().set("UNHEALTHY_THRESHOLD", 1).set("LEADER_LEASE_SECONDS", 2);
        setup.data(folder.path()).start()
    };
    let frozen = start();
    let added = frozen.add(&upstream.registration("up"));
    upstream.wait_for("ping", 1);
    let other = start();
    let before = upstream.count("ping");
    upstream.be(Mood::Silent);
    upstream.wait_for("ping", before + 1);
    frozen.signal(Signal::STOP);
    upstream.be(Mood::Well);
    let former = pinging_sessions(&upstream, 0);
    eventually("the other took over", PATIENCE, || {
        (!pinging_sessions(&upstream, 0).is_subset(&former)).then_some(())
    });
    frozen.signal(Signal::CONT);
    eventually("its write was refused", PATIENCE, || {
        let refused = "not ours any more: nothing was written";
        frozen.printed().contains(refused).then_some(())
    });
    let goes_on = upstream.count("ping");
    upstream.wait_for("ping", goes_on + 5);
    assert!(pinging_sessions(&upstream, goes_on).is_disjoint(&former), "it checks again");
    for gateway in [&other, &frozen] {
        assert_eq!(shown(gateway, &added), added);
    }
    frozen.stop();
    other.stop();
    let later = Gateway::setup().data(folder.path()).start();
    assert_eq!(shown(&later, &added), added, "something was stored");
    later.stop();
}
