//! The audit trail of the whole gateway: who called which tool, who changed what, who was refused;
//! by several gateways on one database together, across restarts and outages.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};
use storage::audit::{AuditBatch, AuditEntry};
use storage::{Location, Store, StoreOptions};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::mcp::{Client, envelope, modern_request};
use crate::harness::postgres::{self, Instance, Version};
use crate::harness::upstreams::Served;

/// How long a gateway may take to notice something.
const PATIENCE: Duration = Duration::from_secs(30);

/// So long that only what reads the trail can be why it was stored.
const NEVER: &str = "3600";

fn telling_of_calls() -> Setup {
    Gateway::setup().set("AUDIT_CALLS", "all").set("AUDIT_FLUSH_INTERVAL", NEVER)
}

/// The entries that a query finds, newest first.
fn entries(gateway: &Gateway, query: &str) -> Vec<Value> {
    let page = gateway.get(&format!("/audit?limit=1000&{query}")).expect(200).json();
    page["entries"].as_array().unwrap_or_else(|| panic!("no entries in {page}")).clone()
}

/// One member of every entry.
fn each<'a>(found: &'a [Value], name: &str) -> Vec<&'a Value> {
    found.iter().map(|entry| &entry[name]).collect()
}

/// Waits for a future of the store, which answers from a thread of its own.
fn wait<T>(mut future: impl Future<Output = T> + Unpin) -> T {
    eventually("the store answers", PATIENCE, || (&mut future).now_or_never())
}

#[test]
fn tells_who_called_which_tool_how_and_how_it_ended() {
    let gateway = telling_of_calls().set("AUDIT_ARGUMENTS", "keep").start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    let call = |tool: &str| {
        let arguments = json!({ "message": "hi\nthere", "api_key": "hunter2" });
        gateway.rpc("tools/call", json!({ "name": tool, "arguments": arguments }));
    };
    for tool in ["up-echo", "up-faithful", "up-rpc-error", "up-hang-up", "up-nothing"] {
        call(tool);
    }
    let found = entries(&gateway, "action=tools.execute");
    let names = each(&found, "entityName");
    assert_eq!(names, ["up-nothing", "up-hang-up", "up-rpc-error", "up-faithful", "up-echo"]);
    assert_eq!(each(&found, "succeeded"), [false, false, false, false, true]);
    assert!(each(&found, "actor").iter().all(|actor| *actor == "admin@example.com"), "{found:#?}");
    assert!(each(&found, "ip").iter().all(|ip| *ip == "127.0.0.1"), "{found:#?}");
    let kept = json!({ "message": "hi\nthere", "api_key": "*****" });
    assert!(each(&found, "arguments").iter().all(|arguments| **arguments == kept), "{found:#?}");
    assert!(found[4]["durationUs"].as_i64().is_some_and(|took| took > 0), "{}", found[4]);
    let reasons: Vec<_> = each(&found, "reason").iter().map(|reason| reason.as_str()).collect();
    assert_eq!(reasons[3], Some("the tool said that it failed"));
    assert_eq!(reasons[2], Some("the upstream answered with an error"));
    assert_eq!(reasons[4], None);

    // Through a virtual server, by both eras, and by an answer that streams.
    let open = gateway.open_server(&[&added]);
    let id = open.split('/').nth(2).expect("an id");
    let calls = json!({ "name": "stream", "arguments": {} });
    Client::legacy(&gateway, &open).result("tools/call", calls.clone());
    Client::modern(&gateway, &open).result("tools/call", calls);
    let found = entries(&gateway, &format!("server_id={id}&action=tools.execute"));
    assert_eq!(each(&found, "entityName"), ["stream", "stream"]);
    assert_eq!(each(&found, "succeeded"), [true, true]);
    assert_eq!(entries(&gateway, "tool=up-echo").len(), 1);
}

#[test]
fn tells_of_calls_whose_clients_did_not_wait_for_their_end() {
    let gateway = telling_of_calls().start();
    let upstream = Served::aside("streams");
    gateway.add(&upstream.registration("up"));
    let hangs = |count: usize| {
        eventually("it runs", PATIENCE, || {
            (upstream.printed().matches("hangs").count() == count).then_some(())
        });
    };
    let params = json!({"name": "up-hang", "arguments": {}});
    let call = envelope("tools/call", &params);
    let legacy = Client::legacy(&gateway, "/mcp");
    std::thread::scope(|scope| {
        scope.spawn(|| legacy.post(&call, &[]));
        hangs(1);
        let params = json!({"requestId": call["id"]});
        let method = "notifications/cancelled";
        let cancel = json!({"jsonrpc": "2.0", "method": method, "params": params});
        legacy.post(&cancel, &[]).expect(202);
    });
    let mut wire = gateway.wire();
    wire.send(modern_request(&gateway, "/mcp", "tools/call", params));
    hangs(2);
    drop(wire);
    let found = eventually("both are told of", PATIENCE, || {
        let found = entries(&gateway, "tool=up-hang");
        (found.len() == 2).then_some(found)
    });
    assert_eq!(each(&found, "succeeded"), [false, false]);
    let why = "the client left before the answer was whole";
    assert_eq!(each(&found, "reason"), [why, why]);
}

#[test]
fn tells_of_refused_calls_only_unless_it_is_told_otherwise() {
    let gateway = Gateway::setup().set("AUDIT_FLUSH_INTERVAL", NEVER).start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    gateway.call("up-echo", json!({}));
    let stranger = gateway.token_with(&["-u", "user@example.com", "--scopes", "tools.read"]);
    let envelope = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "up-echo", "arguments": { "secret": "hunter2" } } });
    gateway.ask_as(Some(stranger.trim()), "POST", "/rpc", Some(&envelope));
    let found = entries(&gateway, "action=tools.execute");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (&found[0]["actor"], &found[0]["allowed"]),
        (&json!("user@example.com"), &json!(false))
    );
    assert!(
        found[0]["reason"].as_str().is_some_and(|why| why.contains("permission")),
        "{found:#?}"
    );
    assert_eq!(found[0]["arguments"]["sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn tells_of_changes_with_before_and_after_and_of_refusals_with_their_reason() {
    let gateway = Gateway::setup().set("AUDIT_FLUSH_INTERVAL", NEVER).start();
    let upstream = Faulty::legacy();
    let mut registration = upstream.registration("up");
    registration["auth_type"] = json!("bearer");
    registration["auth_token"] = json!("hunter2");
    let added = gateway.add(&registration);
    let path = format!("/gateways/{}", added["id"].as_str().expect("an id"));
    let change = json!({ "description": "new\r\nforged: line", "auth_token": "hunter3" });
    gateway.ask("PUT", &path, Some(&change)).expect(200);
    gateway.ask_as(None, "GET", "/tools", None).expect(401);
    gateway.ask_as(Some("nonsense"), "POST", "/mcp", Some(&json!({}))).expect(401);
    let user = gateway.token_with(&["-u", "user@example.com"]);
    gateway.ask_as(Some(user.trim()), "DELETE", &path, None);

    let found = entries(&gateway, "action=gateways.update");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_ne!(found[0]["before"]["description"], change["description"]);
    let refused = entries(&gateway, "action=auth.refused");
    assert_eq!(each(&refused, "entityName"), ["/mcp", "/tools"], "{refused:#?}");
    assert_eq!(each(&refused, "status"), [401, 401]);
    assert!(refused.iter().all(|entry| entry["reason"].is_string()), "{refused:#?}");
    let denied = entries(&gateway, "actor=user@example.com");
    assert_eq!(each(&denied, "action"), ["gateways.delete"]);
    assert_eq!(each(&denied, "status"), [403]);

    let lines = gateway.get("/audit/export").expect(200);
    let text = String::from_utf8(lines.body.clone()).expect("text");
    assert!(!text.contains("hunter"), "{text}");
    assert_eq!(text.lines().count(), entries(&gateway, "").len());
    for line in text.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn entries_of_two_gateways_are_one_list_and_outlive_them() {
    let server = Instance::shared(Version::V15);
    server.ask("postgres", "CREATE DATABASE audit_of_two");
    let url = server.url("audit_of_two");
    let start = || telling_of_calls().set("DATABASE_URL", &url).start();
    let (one, two) = (start(), start());
    let upstream = Faulty::legacy();
    one.add(&upstream.registration("up"));
    eventually("the other one's tools", PATIENCE, || {
        two.tool_names().contains(&"up-echo".to_owned()).then_some(())
    });
    one.call("up-echo", json!({}));
    two.call("up-echo", json!({}));
    // Nothing but the end of the process stores them.
    one.stop();
    two.stop();
    let third = start();
    let found = entries(&third, "tool=up-echo");
    assert_eq!(found.len(), 2, "{found:#?}");
    let registered = entries(&third, "action=gateways.create");
    assert_eq!(each(&registered, "entityName"), ["up"]);
}

#[test]
fn what_is_older_than_the_retention_goes() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("audit.db");
    let (store, _) =
        Store::open(&StoreOptions::new(Location::SqliteFile(path.clone()))).expect("a database");
    let now = storage::record::now();
    let days = |count: i64| count * 86_400 * 1_000_000;
    let entries_at = [now - days(8), now - days(6)];
    let entries_at = entries_at.map(|at| AuditEntry::new(at, "a@example.com", "user", "x.y"));
    let batch = AuditBatch { writer: "test".into(), number: 1, entries: entries_at.to_vec() };
    wait(Box::pin(store.append_audit(Arc::new(batch)))).expect("they are stored");
    wait(Box::pin(store.close()));
    let gateway = Gateway::setup()
        .set("DATABASE_URL", format!("sqlite:///{}", path.display()))
        .set("AUDIT_RETENTION_DAYS", "7")
        .set("AUDIT_FLUSH_INTERVAL", "0.1")
        .start();
    eventually("the older one is gone", PATIENCE, || {
        (entries(&gateway, "action=x.y").len() == 1).then_some(())
    });
}

#[test]
fn calls_go_on_while_the_database_is_frozen_and_what_was_dropped_is_counted() {
    let postgres = Instance::start(Version::V15, postgres::Setup::default());
    let gateway = telling_of_calls()
        .set("DATABASE_URL", postgres.url("postgres"))
        .set("DB_STATEMENT_TIMEOUT", "1")
        .set("DB_CONNECT_TIMEOUT", "1")
        .set("DB_POOL_TIMEOUT", "1")
        .set("AUDIT_FLUSH_INTERVAL", "0.1")
        .set("AUDIT_BUFFER_MAX_SIZE", "20")
        .set("SHARDS", "1")
        .start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    gateway.call("up-echo", json!({ "message": "before" }));
    assert_eq!(entries(&gateway, "tool=up-echo").len(), 1);
    postgres.signal("STOP", true);
    for _ in 0..100 {
        gateway.call("up-echo", json!({ "message": "meanwhile" }));
    }
    postgres.signal("CONT", true);
    let dropped = eventually("the trail tells of the gap", PATIENCE, || {
        let answer = gateway.get("/audit?action=audit.dropped");
        let page = (answer.status == 200).then(|| answer.json())?;
        page["entries"].get(0).cloned()
    });
    assert_eq!(dropped["actorKind"], "gateway", "{dropped}");
    let told = gateway.get("/version").expect(200).json();
    let count = told["audit"]["dropped"].as_u64().expect("a count");
    let stored = entries(&gateway, "tool=up-echo").len() as u64;
    assert!(count > 0, "{told}");
    assert_eq!(stored + count, 101, "every call was stored or counted");
}

#[test]
fn nothing_is_told_where_the_trail_is_off() {
    let gateway = telling_of_calls().set("AUDIT_TRAIL_ENABLED", "false").start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    gateway.call("up-echo", json!({}));
    gateway.ask_as(None, "GET", "/tools", None).expect(401);
    assert!(entries(&gateway, "").is_empty());
}

#[test]
fn the_command_lists_the_trail() {
    let gateway = telling_of_calls().start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    gateway.call("up-echo", json!({}));
    let run = |arguments: &[&str]| {
        let url = gateway.url("");
        let output = gateway.command(arguments).args(["--url", &url]).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let table = run(&["audit", "--since", "1h"]);
    assert!(table.contains("tools.execute") && table.contains("tool up-echo"), "{table}");
    assert!(table.contains("gateway up"), "{table}");
    let lines = run(&["audit", "--json", "--action", "tools.execute", "--limit", "1"]);
    let entry: Value = serde_json::from_str(lines.trim()).expect("one line of JSON");
    assert_eq!(entry["entityName"], "up-echo");
    assert!(run(&["audit", "--denied"]).contains("nothing"), "nothing was refused");
}
