//! Two nodes on one backend, on every driver, and a way to wait for what surely comes.

use std::{future::Future, thread, time::Duration};

use shards::{Driver, Preference, driver, runtime, time};
use storage::shared::{
    BusItem, MemoryBounds, RedisLocation, Shared, SharedOptions, StateError, Subscription,
};

use crate::server::{SURELY, Server};

/// Long enough never to end within a test.
pub const LONG: Duration = Duration::from_secs(600);

/// Two nodes that share a backend.
pub struct Pair {
    pub one: Shared,
    pub two: Shared,
    pub options: SharedOptions,
}

/// The drivers of this machine: epoll, and the best ring if there is one.
pub fn drivers() -> Vec<Driver> {
    let best = driver::choose(Preference::Auto).unwrap().driver;
    if best == Driver::Epoll { vec![best] } else { vec![Driver::Epoll, best] }
}

/// Runs `body` as the main task of a shard.
pub fn on_shard<F: Future<Output = T> + 'static, T: Send + 'static>(
    driver: Driver,
    body: impl FnOnce() -> F + Send + 'static,
) -> T {
    let shard = thread::spawn(move || runtime::block_on(driver, body()).unwrap());
    shard.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs `body` in memory and on a Redis server, there on each driver.
pub fn everywhere<F: Future<Output = ()> + 'static>(body: fn(Pair) -> F) {
    let memory = SharedOptions::memory(MemoryBounds::default());
    on_shard(Driver::Epoll, move || async move { body(memory_pair(memory)).await });
    let server = Server::start();
    for driver in drivers() {
        println!("Redis on {driver}");
        let options = patient_options(&server.url());
        on_shard(driver, move || async move { body(redis_pair(options).await).await });
        assert_eq!(server.ask("FLUSHALL"), "+OK\r\n");
    }
}

/// Runs `body` with a server of its own on each driver.
pub fn with_server<F: Future<Output = ()> + 'static>(
    arguments: &[&str],
    body: fn(Server, SharedOptions) -> F,
) {
    for driver in drivers() {
        println!("Redis on {driver}");
        let server = Server::with(arguments);
        let options = options(&server.url());
        on_shard(driver, move || body(server, options));
    }
}

/// Options for a server that is well: a busy machine is not taken for an outage.
pub fn patient_options(url: &str) -> SharedOptions {
    let mut options = options(url);
    options.command_timeout = Duration::from_secs(10);
    options
}

/// Options with short times, so that tests of outages do not last long.
pub fn options(url: &str) -> SharedOptions {
    let mut options = SharedOptions::redis(RedisLocation::parse(url).unwrap());
    options.command_timeout = Duration::from_millis(700);
    options.retry_interval = Duration::from_millis(100);
    options.ping_interval = Duration::from_millis(100);
    options
}

fn memory_pair(options: SharedOptions) -> Pair {
    let one = Shared::start(&options, 0).unwrap();
    let two = Shared::start(&other_node(&options), 1).unwrap();
    Pair { one, two, options }
}

async fn redis_pair(options: SharedOptions) -> Pair {
    let one = started(&options, 0).await;
    let two = started(&other_node(&options), 1).await;
    Pair { one, two, options }
}

fn other_node(options: &SharedOptions) -> SharedOptions {
    let mut other = options.clone();
    other.node_id = "ffffffffffffffffffffffffffffffff".to_owned();
    other
}

/// Starts a shard's handles and waits until they work.
pub async fn started(options: &SharedOptions, shard_index: usize) -> Shared {
    let shared = Shared::start(options, shard_index).unwrap();
    shared.ready(SURELY).await.unwrap();
    shared
}

/// Waits until `holds` does.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = time::Instant::now() + SURELY;
    while !holds().await {
        assert!(time::Instant::now() < until, "in vain: {what}");
        time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for the next item of a subscription.
pub async fn next(subscription: &mut Subscription) -> BusItem {
    time::timeout(SURELY, subscription.next()).await.expect("an item comes")
}

/// The item that carries `text`.
pub fn message(text: &str) -> BusItem {
    BusItem::Message(text.as_bytes().into())
}

pub fn is_away<T>(answer: &Result<T, StateError>) -> bool {
    matches!(answer, Err(StateError::Away { .. }))
}
