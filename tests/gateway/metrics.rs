//! What was counted: by several gateways on one database together, across restarts, resets and
//! outages.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::mcp::{Client, modern_request};
use crate::harness::postgres::{self, Instance, Version};

/// How long a gateway may take to notice something.
const PATIENCE: Duration = Duration::from_secs(30);

/// So long that only what asks for metrics can be why they were stored.
const NEVER: &str = "3600";

fn call(gateway: &Gateway, tool: &str) {
    gateway.rpc("tools/call", json!({ "name": tool, "arguments": {} }));
}

/// The id of a tool by its name.
fn tool_id(gateway: &Gateway, name: &str) -> String {
    let tools = gateway.get("/tools?limit=0&include_inactive=true").expect(200).json();
    let found = tools.as_array().expect("a list").iter().find(|tool| tool["name"] == name);
    let tool = found.unwrap_or_else(|| panic!("no tool {name} in {tools}"));
    tool["id"].as_str().expect("an id").to_owned()
}

/// Executions and failures of a block.
fn counts(block: &Value) -> (u64, u64) {
    let count = |key: &str| block[key].as_u64().unwrap_or_else(|| panic!("{key} in {block}"));
    assert_eq!(
        count("successfulExecutions") + count("failedExecutions"),
        count("totalExecutions"),
        "{block}"
    );
    (count("totalExecutions"), count("failedExecutions"))
}

fn tool_counts(gateway: &Gateway, id: &str) -> (u64, u64) {
    let tool = gateway.get(&format!("/tools/{id}")).expect(200).json();
    assert_eq!(tool["executionCount"], tool["metrics"]["totalExecutions"]);
    counts(&tool["metrics"])
}

fn total_counts(gateway: &Gateway, kind: &str) -> (u64, u64) {
    counts(&gateway.get("/metrics").expect(200).json()[kind])
}

fn database(name: &str) -> String {
    let server = Instance::shared(Version::V15);
    server.ask("postgres", &format!("CREATE DATABASE {name}"));
    server.url(name)
}

fn on(url: &str) -> Setup {
    Gateway::setup().set("DATABASE_URL", url).set("CHANGE_POLL_INTERVAL", "0.05")
}

#[test]
fn counts_what_succeeded_and_what_failed_in_every_way_there_is() {
    let gateway = Gateway::setup().set("METRICS_BUFFER_FLUSH_INTERVAL", NEVER).start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    for tool in ["up-echo", "up-echo", "up-faithful", "up-rpc-error", "up-hang-up", "up-stream"] {
        call(&gateway, tool);
    }
    for (tool, expected) in [
        ("up-echo", (2, 0)),
        // Its result says isError.
        ("up-faithful", (1, 1)),
        ("up-rpc-error", (1, 1)),
        ("up-hang-up", (1, 1)),
        ("up-stream", (1, 0)),
        ("up-slow", (0, 0)),
    ] {
        assert_eq!(tool_counts(&gateway, &tool_id(&gateway, tool)), expected, "{tool}");
    }
    let open = gateway.open_server(&[&added]);
    let client = Client::legacy(&gateway, &open);
    // By events, whose last is the answer.
    client.result("tools/call", json!({ "name": "stream", "arguments": {} }));
    client.result("tools/call", json!({ "name": "faithful", "arguments": {} }));
    let server = gateway.get(open.strip_suffix("/mcp").expect("its path")).expect(200).json();
    assert_eq!(counts(&server["metrics"]), (2, 1), "{server}");
    let all = gateway.get("/metrics").expect(200).json();
    assert_eq!(counts(&all["tools"]), (8, 4), "{all}");
    assert_eq!(counts(&all["servers"]), (2, 1), "{all}");
    assert_eq!(counts(&all["prompts"]), (0, 0), "{all}");
    assert_eq!(all["prompts"]["avgResponseTime"], Value::Null, "{all}");
    assert_eq!(all["a2aAgents"]["totalInteractions"], 0, "{all}");
    let times = ["min", "p50", "p95", "p99", "max"].map(|which| {
        let seconds = all["tools"][format!("{which}ResponseTime")].as_f64();
        seconds.unwrap_or_else(|| panic!("{which} in {all}"))
    });
    assert!(times.is_sorted() && times[0] > 0.0 && times[4] < 60.0, "{times:?}");
}

#[test]
fn lists_show_metrics_when_they_are_asked_for() {
    let gateway = Gateway::start();
    let upstream = Faulty::legacy();
    let added = gateway.add(&upstream.registration("up"));
    let open = gateway.open_server(&[&added]);
    let server = open.strip_suffix("/mcp").expect("its path");
    call(&gateway, "up-echo");
    for path in ["/tools?".to_owned(), format!("{server}/tools?")] {
        let list = |query: &str| {
            let list = gateway.get(&format!("{path}{query}")).expect(200).json();
            let tools = list.as_array().or(list["tools"].as_array()).expect("a list").clone();
            tools.into_iter().find(|tool| tool["name"] == "up-echo").expect("it is listed")
        };
        assert_eq!(list("limit=0")["metrics"], Value::Null, "{path}");
        for query in ["include_metrics=true", "include_metrics=1&include_pagination=true"] {
            let tool = list(query);
            assert_eq!(counts(&tool["metrics"]), (1, 0), "{tool}");
            assert_eq!(tool["executionCount"], 1, "{tool}");
        }
    }
    let servers = gateway.get("/servers?include_metrics=true").expect(200).json();
    assert_eq!(counts(&servers[0]["metrics"]), (0, 0), "{servers}");
    gateway.get("/tools?include_metrics=perhaps").expect(422);
}

#[test]
fn counts_of_two_gateways_add_up_and_a_reset_is_for_both() {
    let url = database("metrics_of_two");
    let start = |interval: &str| on(&url).set("METRICS_BUFFER_FLUSH_INTERVAL", interval).start();
    let (one, other) = (start(NEVER), start("0.1"));
    let upstream = Faulty::legacy();
    one.add(&upstream.registration("up"));
    eventually("the other has its tools", PATIENCE, || {
        (!other.tool_names().is_empty()).then_some(())
    });
    for _ in 0..3 {
        call(&one, "up-echo");
        call(&other, "up-echo");
    }
    call(&other, "up-faithful");
    let (echo, faithful) = (tool_id(&one, "up-echo"), tool_id(&one, "up-faithful"));
    eventually("the counts of both", PATIENCE, || {
        (tool_counts(&one, &echo) == (6, 0) && total_counts(&one, "tools") == (7, 1)).then_some(())
    });

    // What the first counted and nobody asked for goes too, though the other resets.
    call(&one, "up-echo");
    let path = format!("/metrics/reset?entity=tool&entity_id={echo}");
    let reset = other.ask("POST", &path, None).expect(200).json();
    assert_eq!(reset["status"], "success");
    assert_eq!(tool_counts(&other, &echo), (0, 0));
    assert_eq!(tool_counts(&one, &echo), (0, 0));
    assert_eq!(tool_counts(&one, &faithful), (1, 1));
    call(&one, "up-echo");
    assert_eq!(tool_counts(&one, &echo), (1, 0));

    one.ask("POST", "/metrics/reset", None).expect(200);
    assert_eq!(total_counts(&other, "tools"), (0, 0));
    let user = one.token_with(&["--username", "user@example.com"]);
    for (method, path) in [("GET", "/metrics"), ("POST", "/metrics/reset")] {
        one.ask_as(Some(&user), method, path, None).expect(403);
    }
    one.ask("POST", "/metrics/reset?entity=planet", None).expect(400);
    one.ask("POST", &format!("/metrics/reset?entity_id={echo}"), None).expect(400);
}

#[test]
fn what_was_counted_last_is_stored_when_the_gateway_stops() {
    let folder = TempDir::new().expect("a temporary folder");
    let start = || {
        let setup = Gateway::setup().data(folder.path());
        setup.set("METRICS_BUFFER_FLUSH_INTERVAL", NEVER).set("SHARDS", "2").start()
    };
    let gateway = start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    // On connections of their own, which the kernel spreads over the shards.
    for _ in 0..20 {
        call(&gateway, "up-echo");
    }
    gateway.stop();
    let gateway = start();
    assert_eq!(tool_counts(&gateway, &tool_id(&gateway, "up-echo")), (20, 0));
    assert_eq!(total_counts(&gateway, "tools"), (20, 0));
}

#[test]
fn what_is_counted_while_the_database_is_away_is_stored_when_it_is_back() {
    let durable = postgres::Setup { is_durable: true, ..postgres::Setup::default() };
    let database = Instance::start(Version::V15, durable);
    let gateway = on(&database.url("postgres"))
        .set("DB_STATEMENT_TIMEOUT", "1")
        .set("DB_CONNECT_TIMEOUT", "1")
        .set("DB_POOL_TIMEOUT", "1")
        .set("METRICS_BUFFER_FLUSH_INTERVAL", "0.1")
        .start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let id = tool_id(&gateway, "up-echo");
    call(&gateway, "up-echo");
    assert_eq!(tool_counts(&gateway, &id), (1, 0));

    database.signal("KILL", true);
    database.wait_until_stopped();
    eventually("the gateway has noticed", PATIENCE, || {
        (gateway.get("/ready").status == 503).then_some(())
    });
    for _ in 0..5 {
        call(&gateway, "up-echo");
    }
    eventually("that metrics are not stored is said", PATIENCE, || {
        gateway.printed().contains("metrics are not stored").then_some(())
    });
    call(&gateway, "up-echo");
    gateway.get("/metrics").expect(503);
    let tool = gateway.get(&format!("/tools/{id}")).expect(200).json();
    assert_eq!(tool["metrics"], Value::Null, "{tool}");

    database.resume();
    eventually("the gateway has noticed", PATIENCE, || {
        (gateway.get("/ready").status == 200).then_some(())
    });
    eventually("all are counted, once each", PATIENCE, || {
        let counted = tool_counts(&gateway, &id);
        assert!(counted.0 <= 7, "{counted:?}");
        (counted == (7, 0)).then_some(())
    });
}

#[test]
fn counts_nothing_when_told_not_to() {
    let gateway = Gateway::setup().set("DB_METRICS_RECORDING_ENABLED", "false").start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    call(&gateway, "up-echo");
    assert_eq!(total_counts(&gateway, "tools"), (0, 0));
}

#[test]
fn tells_what_is_held_open_and_what_was_refused() {
    let gateway = Gateway::setup().set("SHARDS", 1).set("STREAMS_MAX", 1).start();
    let count = |kind: &str, which: &str| {
        gateway.get("/metrics").expect(200).json()["held"][kind][which].clone()
    };
    let listen = || {
        let params = json!({"notifications": {"toolsListChanged": true}});
        let mut wire = gateway.wire();
        wire.send(modern_request(&gateway, "/mcp", "subscriptions/listen", params));
        let status = wire.head().expect("an answer").status;
        (wire, status)
    };
    assert_eq!((count("listens", "open"), count("listens", "refused")), (json!(0), json!(0)));
    let (first, status) = listen();
    assert_eq!((status, count("listens", "open")), (200, json!(1)));
    assert_eq!(listen().1, 503);
    assert_eq!((count("listens", "open"), count("listens", "refused")), (json!(1), json!(1)));
    drop(first);
    eventually("its place is given back", PATIENCE, || {
        (count("listens", "open") == 0).then_some(())
    });
}
