//! Several gateways on one database: what is changed on one is seen on all.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::postgres::{Instance, Version};
use crate::harness::redis::Server as Redis;

/// How long a gateway may take to notice something.
const PATIENCE: Duration = Duration::from_secs(30);

/// So long that only a notice can be why a change was seen.
const NEVER: &str = "86400";

/// An empty database on the server that all tests share.
fn database(name: &str) -> String {
    let server = Instance::shared(Version::V15);
    server.ask("postgres", &format!("CREATE DATABASE {name}"));
    server.url(name)
}

fn on(url: &str) -> Setup {
    Gateway::setup().set("DATABASE_URL", url)
}

/// Makes changes of every kind on one gateway and waits until the other shows them, both ways.
fn changes_are_seen_both_ways(one: &Gateway, other: &Gateway) {
    let upstream = Faulty::legacy();
    let added = one.add(&upstream.registration("up"));
    let tools = |gateway: &Gateway| gateway.tool_names();
    wait("the tools of the upstream", || tools(other) == tools(one) && !tools(one).is_empty());
    let called = other.call("up-echo", json!({ "message": "hello" }));
    assert!(called["content"].is_array(), "{called}");

    let body = json!({ "server": { "name": "chosen", "associated_gateways": [added["id"]] } });
    let server = other.post("/servers", &body).expect(201).json();
    let path = format!("/servers/{}", server["id"].as_str().expect("an id"));
    wait("the virtual server", || one.get(&path).status == 200);
    let renamed = json!({ "name": "renamed" });
    one.ask("PUT", &path, Some(&renamed)).expect(200);
    wait("its new name", || other.get(&path).json()["name"] == "renamed");

    let gateway = format!("/gateways/{}", added["id"].as_str().expect("an id"));
    other.ask("POST", &format!("{gateway}/state?activate=false"), None).expect(200);
    wait("that the upstream is off", || tools(one).is_empty());
    other.ask("DELETE", &gateway, None).expect(200);
    wait("that the upstream is gone", || one.get(&gateway).status == 404);
    let left = one.get(&path).expect(200).json();
    assert_eq!(left["associatedGateways"], Value::from(Vec::<Value>::new()), "{left}");
}

fn wait(what: &str, holds: impl Fn() -> bool) {
    eventually(what, PATIENCE, || holds().then_some(()));
}

#[test]
fn two_gateways_on_one_file_see_each_others_changes_by_looking() {
    let folder = TempDir::new().expect("a temporary folder");
    let url = format!("sqlite:///{}", folder.path().join("one.db").display());
    let start = || on(&url).set("CHANGE_POLL_INTERVAL", "0.05").start();
    changes_are_seen_both_ways(&start(), &start());
}

#[test]
fn two_gateways_on_postgresql_see_each_others_changes_by_its_notices() {
    let url = database("by_notices");
    let start = || on(&url).set("CHANGE_POLL_INTERVAL", NEVER).start();
    changes_are_seen_both_ways(&start(), &start());
}

#[test]
fn two_gateways_behind_a_pooler_see_each_others_changes_through_redis() {
    // A pooler's mode gives no notices, so that only Redis can be why a change was seen.
    let url = format!("{}&pooler=transaction", database("through_redis"));
    let redis = Redis::start();
    let start = || {
        let setup = on(&url).set("CHANGE_POLL_INTERVAL", NEVER);
        setup.set("CACHE_TYPE", "redis").set("REDIS_URL", redis.url()).start()
    };
    changes_are_seen_both_ways(&start(), &start());
}

#[test]
fn changes_that_were_made_while_redis_was_away_are_seen_when_it_is_back() {
    let url = format!("{}&pooler=transaction", database("redis_away"));
    let mut redis = Redis::start();
    let start = || {
        let setup = on(&url).set("CHANGE_POLL_INTERVAL", NEVER).set("CACHE_TYPE", "redis");
        setup.set("REDIS_URL", redis.url()).set("REDIS_RETRY_INTERVAL_MS", 100).start()
    };
    let (one, other) = (start(), start());
    wait("that both are connected", || {
        let is_up =
            |gateway: &Gateway| gateway.get("/version").json()["redis"]["reachable"] == true;
        is_up(&one) && is_up(&other)
    });
    redis.kill();
    let server = one.post("/servers", &json!({ "server": { "name": "missed" } })).expect(201);
    let path = format!("/servers/{}", server.json()["id"].as_str().expect("an id"));
    assert_eq!(other.get(&path).status, 404);
    redis.restart();
    wait("what was missed", || other.get(&path).status == 200);
}

#[test]
fn twenty_gateways_that_start_at_once_on_an_empty_database_all_come_up() {
    let url = database("twenty");
    let starting: Vec<_> = (0..20)
        .map(|_| {
            let setup = on(&url).set("SHARDS", 1).set("DB_POOL_SIZE", 1).set("DB_MAX_OVERFLOW", 0);
            thread::spawn(move || setup.start())
        })
        .collect();
    let gateways: Vec<Gateway> =
        starting.into_iter().map(|thread| thread.join().expect("it came up")).collect();
    let migrated = gateways.iter().filter(|gateway| gateway.printed().contains("migrated the"));
    assert_eq!(migrated.count(), 1, "one migrates, the others wait");
    gateways[0].post("/servers", &json!({ "server": { "name": "one" } })).expect(201);
    for gateway in &gateways {
        wait("the one server", || {
            gateway.get("/servers").json().as_array().map(Vec::len) == Some(1)
        });
    }
}

#[test]
fn every_write_that_was_acknowledged_is_there_after_the_gateway_was_killed() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = format!("sqlite:///{}", folder.path().join("one.db").display());
    for url in [file, database("killed")] {
        let gateway = on(&url).start();
        let acknowledged = thread::scope(|scope| {
            let writer = scope.spawn(|| write_until_refused(&gateway));
            wait("some writes", || {
                gateway.get("/servers").json().as_array().is_some_and(|servers| servers.len() > 10)
            });
            gateway.signal(Signal::KILL);
            writer.join().expect("the writer ends with the gateway")
        });
        drop(gateway);
        let gateway = on(&url).start();
        let names = server_names(&gateway);
        for name in &acknowledged {
            assert!(names.contains(name), "{name} was acknowledged and is gone");
        }
        // At most the one whose answer never came.
        assert!(names.len() <= acknowledged.len() + 1, "{names:?} {acknowledged:?}");
    }
}

/// Makes servers until the gateway is gone; returns the names of those that it acknowledged.
fn write_until_refused(gateway: &Gateway) -> Vec<String> {
    let mut wire = gateway.wire();
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let name = format!("s{number}");
        let body = json!({ "server": { "name": name } }).to_string();
        let authorization = format!("Bearer {}", gateway.token());
        let headers =
            [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let sent = crate::harness::wire::request("POST", "/servers", &headers, body.as_bytes());
        match wire.send(sent).try_answer() {
            Some(answer) => assert_eq!(answer.status, 201),
            None => break,
        }
        acknowledged.push(name);
    }
    acknowledged
}

fn server_names(gateway: &Gateway) -> Vec<String> {
    let servers = gateway.get("/servers?limit=0").expect(200).json();
    let servers = servers.as_array().expect("a list");
    servers.iter().map(|server| server["name"].as_str().unwrap_or_default().to_owned()).collect()
}
