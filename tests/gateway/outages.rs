//! Stores that stop, freeze and come back under a load of tool calls: no call fails for it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::faulty::Faulty;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::postgres::{self, Instance, Version};
use crate::harness::redis::Server as Redis;

/// How long a gateway may take to notice something.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much a gateway may grow while a store is away, in KiB: far less than what waits without a
/// bound would take under the load of these tests.
const GROWTH_MAX: usize = 64 * 1024;

/// A gateway on PostgreSQL and Redis that gives up on either soon.
fn setup(postgres: &Instance, redis: &Redis) -> Setup {
    Gateway::setup()
        .set("DATABASE_URL", postgres.url("postgres"))
        .set("DB_STATEMENT_TIMEOUT", "1")
        .set("DB_CONNECT_TIMEOUT", "1")
        .set("DB_POOL_TIMEOUT", "1")
        .set("CHANGE_POLL_INTERVAL", "0.2")
        .set("CACHE_TYPE", "redis")
        .set("REDIS_URL", redis.url())
        .set("REDIS_COMMAND_TIMEOUT", "0.2")
        .set("REDIS_RETRY_INTERVAL_MS", "100")
}

/// Calls a tool without a pause from two connections while `act` runs; every call must succeed,
/// and there must be calls in each of the steps that `act` takes.
fn under_load(gateway: &Gateway, act: impl FnOnce(&dyn Fn(&str))) {
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let call = || {
        while !stop.load(Relaxed) {
            let answer = gateway.call("up-echo", json!({ "message": "hello" }));
            assert!(answer["content"].is_array(), "{answer}");
            count.fetch_add(1, Relaxed);
        }
    };
    thread::scope(|scope| {
        let callers = [scope.spawn(call), scope.spawn(call)];
        // However `act` ends, the callers must.
        let stopping = Stopping(&stop);
        act(&|step| {
            let before = count.load(Relaxed);
            eventually(&format!("calls while {step}"), PATIENCE, || {
                let ended = callers.iter().any(|caller| caller.is_finished());
                (ended || count.load(Relaxed) > before + 20).then_some(())
            });
        });
        drop(stopping);
        for caller in callers {
            caller.join().expect("no call failed");
        }
    });
}

struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// The status of a write, and its answer.
fn write(gateway: &Gateway, name: &str) -> (u16, Value) {
    let answer = gateway.post("/servers", &json!({ "server": { "name": name } }));
    if answer.status == 503 {
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    (answer.status, answer.json())
}

fn wait_until_ready(gateway: &Gateway, status: u16) {
    eventually(&format!("/ready answers {status}"), PATIENCE, || {
        (gateway.get("/ready").status == status).then_some(())
    });
}

#[test]
fn calls_go_on_while_postgresql_is_stopped_frozen_and_back() {
    // Durable, or what was committed before the kill would rightly be gone.
    let durable = postgres::Setup { is_durable: true, ..postgres::Setup::default() };
    let postgres = Instance::start(Version::V15, durable);
    let redis = Redis::start();
    let gateway = setup(&postgres, &redis).start();
    let patient = setup(&postgres, &redis).set("READY_REQUIRES_DATABASE", "false").start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let before = gateway.resident_size();
    under_load(&gateway, |calls_go_on| {
        postgres.signal("KILL", true);
        postgres.wait_until_stopped();
        wait_until_ready(&gateway, 503);
        calls_go_on("PostgreSQL is gone");
        assert_eq!(write(&gateway, "refused").0, 503);
        assert_eq!(patient.get("/ready").status, 200);
        assert!(!gateway.tool_names().is_empty());

        postgres.resume();
        wait_until_ready(&gateway, 200);
        assert_eq!(write(&gateway, "after the stop").0, 201);

        postgres.signal("STOP", true);
        wait_until_ready(&gateway, 503);
        calls_go_on("PostgreSQL is frozen");
        assert_eq!(write(&gateway, "refused too").0, 503);

        postgres.signal("CONT", true);
        wait_until_ready(&gateway, 200);
        // A write whose answer did not come may have happened; a new name surely did not.
        assert_eq!(write(&gateway, "after the frost").0, 201);
        calls_go_on("PostgreSQL is back");
    });
    let grown = gateway.resident_size().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grew by {grown} KiB");
}

#[test]
fn calls_and_writes_go_on_while_redis_is_stopped_frozen_and_back() {
    let postgres = Instance::shared(Version::V15);
    let mut redis = Redis::start();
    let gateway = setup(postgres, &redis).start();
    let upstream = Faulty::legacy();
    gateway.add(&upstream.registration("up"));
    let reaches_redis = |expected: bool| {
        eventually(&format!("Redis is reachable: {expected}"), PATIENCE, || {
            (gateway.get("/version").json()["redis"]["reachable"] == expected).then_some(())
        });
    };
    reaches_redis(true);
    let before = gateway.resident_size();
    under_load(&gateway, |calls_go_on| {
        redis.kill();
        reaches_redis(false);
        calls_go_on("Redis is gone");
        assert_eq!(write(&gateway, "while it is gone").0, 201);
        assert_eq!(gateway.get("/ready").status, 200);

        redis.restart();
        reaches_redis(true);
        assert_eq!(write(&gateway, "when it is back").0, 201);

        redis.freeze();
        reaches_redis(false);
        calls_go_on("Redis is frozen");
        assert_eq!(write(&gateway, "while it is frozen").0, 201);

        redis.thaw();
        reaches_redis(true);
        calls_go_on("Redis is back");
    });
    let grown = gateway.resident_size().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grew by {grown} KiB");
}
