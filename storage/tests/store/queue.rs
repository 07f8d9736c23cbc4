//! The thread behind the handle: its queue, its end, and who waits for it.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use storage::{Side, Store, StoreError};

use crate::harness::*;

#[test]
fn a_full_queue_refuses_at_once_and_serves_again_when_it_moves() {
    let mut fixture = Fixture::on(Backend::Sqlite);
    fixture.options.queue_count_max = 2;
    fixture.options.lock_wait_max = Duration::from_secs(60);
    let store = fixture.open();
    // Another process writes: the first request waits for it, two more wait in the queue.
    let other = fixture.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut waiting = Vec::new();
    let refused = loop {
        let id = format!("g{}", waiting.len());
        let store = store.clone();
        let mut request =
            Box::pin(async move { store.apply(vec![put_gateway(gateway(&id))]).await });
        // A future does nothing before it is polled; this poll puts it into the queue.
        match request.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(answer) => break answer.unwrap_err(),
            std::task::Poll::Pending => waiting.push(request),
        }
    };
    assert_eq!(refused, StoreError::Busy { queue_count_max: 2 });
    assert_eq!(refused.side(), Side::Storage);
    assert!(refused.is_transient());
    other.execute_batch("COMMIT").unwrap();
    for request in waiting {
        block_on(request).unwrap();
    }
    block_on(store.ping()).unwrap();
}

fn a_lock_held_too_long_is_told_and_nothing_is_written(backend: Backend) {
    let mut fixture = Fixture::on(backend);
    fixture.options.lock_wait_max = Duration::from_millis(20);
    let store = fixture.open();
    let other = fixture.lock();
    let error = apply(&store, registry()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    // Reads go on meanwhile.
    assert_eq!(block_on(store.load()).unwrap().sequence, 0);
    drop(other);
    apply(&store, registry()).unwrap();
}

fn closing_waits_for_what_is_queued_and_refuses_what_follows(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let clone = store.clone();
    // Another process writes, so that what is queued is surely not done before the close.
    let other = fixture.lock();
    let mut queued = pin!(clone.apply(registry()));
    let mut closing = pin!(store.close());
    let mut context = Context::from_waker(Waker::noop());
    assert!(queued.as_mut().poll(&mut context).is_pending());
    assert!(closing.as_mut().poll(&mut context).is_pending());
    drop(other);
    block_on(closing);
    assert_eq!(block_on(queued).unwrap().sequence, 8);
    assert_eq!(apply(&clone, registry()), Err(StoreError::Closed));
    assert_eq!(block_on(store.load()), Err(StoreError::Closed));
    block_on(clone.close());
    // On SQLite, the log was folded into the file.
    assert!(!fixture.path().with_extension("db-wal").exists());
    assert_eq!(block_on(fixture.open().load()).unwrap().sequence, 8);
}

/// The caller hung up; what it asked for may be on its way to other pods already.
fn a_write_whose_caller_went_away_is_done_all_the_same(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    // Another process writes, so that the caller surely leaves before its answer.
    let other = fixture.lock();
    {
        let mut forsaken = pin!(store.apply(registry()));
        assert!(forsaken.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    drop(other);
    block_on(store.close());
    assert_eq!(block_on(fixture.open().load()).unwrap().sequence, 8);
}

fn a_handle_goes_to_any_thread(backend: Backend) {
    fn travels<T: Clone + Send + Sync + 'static>(_: &T) {}
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    travels(&store);
    let answers: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            std::thread::spawn(move || block_on(store.load()).map(|snapshot| snapshot.sequence))
        })
        .collect();
    for answer in answers {
        assert_eq!(answer.join().unwrap(), Ok(0));
    }
    assert!(format!("{store:?}").contains(&fixture.options.location.to_string()));
}

#[test]
fn a_store_in_memory_works_and_is_its_own() {
    let options = storage::StoreOptions::new(storage::Location::SqliteMemory);
    let (one, report) = Store::open(&options).unwrap();
    assert_eq!(report.from, 0);
    let (other, _) = Store::open(&options).unwrap();
    apply(&one, registry()).unwrap();
    assert_eq!(block_on(one.load()).unwrap().tools.len(), 3);
    assert_eq!(block_on(other.load()).unwrap().tools.len(), 0);
}

on_every_backend! {
    a_lock_held_too_long_is_told_and_nothing_is_written,
    closing_waits_for_what_is_queued_and_refuses_what_follows,
    a_write_whose_caller_went_away_is_done_all_the_same,
    a_handle_goes_to_any_thread,
}
