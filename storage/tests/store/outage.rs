//! PostgreSQL away, frozen, killed, full and slow: every request ends in time, and the store is
//! back when the database is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use storage::{Location, Side, Store, StoreError, StoreOptions};

use crate::harness::*;
use crate::postgres::{Instance, Setup, Version};

/// Bounds short enough to wait for, and long enough for a busy machine.
const SHORT: Duration = Duration::from_millis(500);

/// Beyond every bound of a request: its own, the pool's, the connection's, and some.
const NEVER: Duration = Duration::from_secs(60);

/// What the recovery may take, when the database is back and the machine does much else.
const BACK_WITHIN: Duration = Duration::from_secs(30);

fn options(url: &str) -> StoreOptions {
    StoreOptions {
        statement_timeout: SHORT,
        connect_timeout: SHORT * 4,
        pool_timeout: SHORT,
        ..StoreOptions::new(Location::parse(url).unwrap())
    }
}

fn opened(instance: &Instance) -> Store {
    Store::open(&options(&instance.url("postgres"))).unwrap().0
}

/// What a request answers, which must be before long.
fn in_time<T>(request: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let answer = request();
    assert!(begin.elapsed() < NEVER, "{:?}", begin.elapsed());
    answer
}

/// Asks until the store answers.
fn back(store: &Store) {
    let begin = Instant::now();
    while let Err(error) = block_on(store.ping()) {
        assert!(error.is_transient(), "{error}");
        assert!(begin.elapsed() < BACK_WITHIN, "still {error}");
        std::thread::yield_now();
    }
}

#[test]
fn a_database_that_stopped_is_away_at_once_and_back_by_itself() {
    let instance = Instance::start(Version::V15, Setup::default());
    let store = opened(&instance);
    apply(&store, registry()).unwrap();
    instance.signal("INT", false);
    instance.wait_until_stopped();
    for _ in 0..100 {
        let error = in_time(|| apply(&store, vec![put_gateway(gateway("c"))])).unwrap_err();
        assert!(matches!(&error, StoreError::Away { .. }), "{error}");
        assert_eq!((error.side(), error.is_transient()), (Side::Storage, true));
    }
    let failed_total = store.figures().failed_total;
    assert!(failed_total < 50, "{failed_total} attempts hammered it");
    instance.resume();
    back(&store);
    assert_eq!(block_on(store.load()).unwrap().sequence, 8);
    apply(&store, vec![put_gateway(gateway("c"))]).unwrap();
}

#[test]
fn a_frozen_database_costs_a_bounded_wait_and_nothing_when_it_thaws() {
    let instance = Instance::start(Version::V18, Setup::default());
    let store = opened(&instance);
    apply(&store, registry()).unwrap();
    instance.signal("STOP", true);
    let mut next_is_fast = false;
    for index in 0..6 {
        let begin = Instant::now();
        let put = vec![put_gateway(gateway(&format!("frozen{index}")))];
        let error = in_time(|| apply(&store, put)).unwrap_err();
        let is_expected = matches!(&error, StoreError::Away { .. } | StoreError::TimedOut { .. });
        assert!(is_expected && error.is_transient(), "{error}");
        next_is_fast |= begin.elapsed() < SHORT;
    }
    assert!(next_is_fast, "each request waited for a server that is known to stand still");
    instance.signal("CONT", true);
    back(&store);
    let snapshot = block_on(store.load()).unwrap();
    assert_eq!(snapshot.sequence, 8, "what failed did not happen");
    assert_eq!(apply(&store, vec![put_gateway(gateway("c"))]).unwrap().sequence, 9);
}

/// A commit whose answer is lost may have happened, and says so.
#[test]
fn every_acknowledged_write_survives_a_kill_of_the_database_and_none_is_half_written() {
    let setup = Setup { is_durable: true, ..Setup::default() };
    let instance = Instance::start(Version::V15, setup);
    // What is slow here is the disk, and that is not what is tested.
    let patient = StoreOptions::new(Location::parse(&instance.url("postgres")).unwrap());
    let (store, _) = Store::open(&patient).unwrap();
    let ended = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (store, ended) = (&store, &ended);
                scope.spawn(move || write_pairs(store, writer, ended))
            })
            .collect();
        // Also when an assertion fails here: the writers would go on for ever.
        let end = End(&ended);
        for _ in 0..3 {
            let sequence = block_on(store.ping()).map(|()| last_sequence(&store)).unwrap();
            until(|| last_sequence(&store) > sequence + 20);
            instance.signal("KILL", true);
            instance.wait_until_stopped();
            instance.resume();
            back(&store);
        }
        drop(end);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    let snapshot = block_on(store.load()).unwrap();
    let stored: std::collections::HashSet<&str> =
        snapshot.gateways.iter().map(|gateway| gateway.id.as_str()).collect();
    assert!(!acknowledged.is_empty());
    for id in &acknowledged {
        assert!(stored.contains(id.as_str()), "{id} was acknowledged and is gone");
    }
    for id in &stored {
        let other = match id.strip_suffix("-a") {
            Some(stem) => format!("{stem}-b"),
            None => format!("{}-a", id.strip_suffix("-b").unwrap()),
        };
        assert!(stored.contains(other.as_str()), "{id} without {other}");
    }
    assert_eq!(snapshot.sequence as usize, stored.len());
    assert_eq!(changes(&store, 0, usize::MAX).items.len(), stored.len());
}

/// Ends the writers when it is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn last_sequence(store: &Store) -> i64 {
    block_on(store.load()).map_or(0, |snapshot| snapshot.sequence)
}

fn until(is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < NEVER, "it does not come");
        std::thread::yield_now();
    }
}

/// Writes two gateways at a time until it is ended; the ids that were acknowledged.
fn write_pairs(store: &Store, writer: usize, ended: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for round in 0.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let ids = ["a", "b"].map(|half| format!("w{writer}-{round}-{half}"));
        match in_time(|| apply(store, ids.iter().map(|id| put_gateway(gateway(id))).collect())) {
            Ok(_) => acknowledged.extend(ids),
            Err(StoreError::Uncertain { .. }) => {}
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
    acknowledged
}

#[test]
fn a_start_waits_for_a_database_that_starts_too_and_gives_up_when_told() {
    let instance = Instance::start(Version::V15, Setup::default());
    instance.signal("INT", false);
    instance.wait_until_stopped();
    let mut options = options(&instance.url("postgres"));
    let error = in_time(|| Store::open(&options)).unwrap_err();
    assert!(matches!(&error, StoreError::Open { .. }), "{error}");
    options.retry_count_max = 30;
    options.retry_interval = Duration::from_millis(100);
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| Store::open(&options).map(|(store, _)| block_on(store.ping())));
        instance.resume();
        waiting.join().unwrap().unwrap().unwrap();
    });
}

#[test]
fn a_statement_that_takes_too_long_is_stopped_and_its_transaction_undone() {
    let fixture = Fixture::on(Backend::Postgres(Version::V18));
    let mut options = options(&fixture.url());
    options.lock_wait_max = NEVER;
    let (store, _) = Store::open(&options).unwrap();
    let other = fixture.lock();
    let error = in_time(|| apply(&store, registry())).unwrap_err();
    assert!(matches!(&error, StoreError::TimedOut { .. }), "{error}");
    drop(other);
    assert_eq!(apply(&store, registry()).unwrap().sequence, 8);
    assert_eq!(store.figures().opened_total, 2, "one at the start, and one is still good");
}

#[test]
fn with_every_connection_in_use_a_request_waits_its_time_and_too_many_do_not_wait_at_all() {
    let fixture = Fixture::on(Backend::Postgres(Version::V18));
    let mut options = options(&fixture.url());
    (options.pool_size, options.queue_count_max) = (1, 1);
    (options.lock_wait_max, options.statement_timeout) = (NEVER, NEVER);
    let (store, _) = Store::open(&options).unwrap();
    let other = fixture.lock();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| apply(&store, registry()));
        until(|| store.figures().in_use_count == 1);
        let second = scope.spawn(|| block_on(store.load()));
        until(|| store.figures().waiting_count == 1);
        assert_eq!(block_on(store.load()), Err(StoreError::Busy { queue_count_max: 1 }));
        let exhausted = StoreError::Exhausted { connection_count_max: 1, waited: SHORT };
        assert!(exhausted.is_transient());
        assert_eq!(second.join().unwrap(), Err(exhausted));
        drop(other);
        assert_eq!(first.join().unwrap().unwrap().sequence, 8);
    });
    assert_eq!(block_on(store.load()).unwrap().sequence, 8);
    let figures = store.figures();
    assert_eq!((figures.in_use_count, figures.waiting_count, figures.open_count), (0, 0, 1));
    assert!(figures.query_total > 10 && figures.query_time_total > Duration::ZERO, "{figures:?}");
}

#[test]
fn a_connection_that_the_server_ended_while_it_was_idle_is_not_lent() {
    let fixture = Fixture::on(Backend::Postgres(Version::V15));
    let store = fixture.open();
    apply(&store, registry()).unwrap();
    fixture.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    until(|| {
        fixture.count(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'ringway'
                       AND datname = current_database()",
        ) == 0
    });
    back(&store);
    assert_eq!(block_on(store.load()).unwrap().sequence, 8);
}

#[test]
fn a_closed_store_leaves_no_connection_behind() {
    let fixture = Fixture::on(Backend::Postgres(Version::V15));
    let store = fixture.open();
    let mut notices = store.notices();
    block_on(notices.next());
    block_on(store.load()).unwrap();
    block_on(store.close());
    until(|| store.figures().open_count == 0);
    until(|| {
        fixture.count(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'ringway'
                       AND datname = current_database()",
        ) == 0
    });
}

/// What the shard had under way is never answered; nobody must wait for it.
#[test]
fn a_shard_that_ends_in_the_middle_of_a_request_keeps_nobody_from_closing_the_store() {
    let fixture = Fixture::on(Backend::Postgres(Version::V18));
    let ring = shards::driver::choose(shards::Preference::Auto).unwrap().driver;
    for driver in [ring, shards::Driver::Epoll] {
        let mut options = options(&fixture.url());
        (options.lock_wait_max, options.statement_timeout) = (NEVER * 6, NEVER * 6);
        let (store, _) = Store::open(&options).unwrap();
        let other = fixture.lock();
        let sender = store.clone();
        let shard = std::thread::spawn(move || {
            let work = async move {
                let waiting = sender.clone();
                shards::task::spawn(async move { waiting.apply(registry()).await });
                while sender.figures().in_use_count == 0 {
                    shards::time::sleep(Duration::from_millis(1)).await;
                }
            };
            shards::runtime::block_on(driver, work).unwrap();
        });
        shard.join().unwrap();
        in_time(|| block_on(store.close()));
        drop(other);
        // The server was let go of as well: nothing holds the feed.
        drop(in_time(|| fixture.lock()));
        let (store, _) = Store::open(&options).unwrap();
        assert_eq!(block_on(store.load()).unwrap().sequence, 0, "what was not answered: {driver}");
    }
}
