//! Leases: one holder at a time, tokens that only grow, and writes that stop without them.

use std::time::Duration;

use storage::{Mutation, Side, Store, StoreError};

use crate::harness::*;

/// Longer than any of these tests runs.
const LONG: Duration = Duration::from_secs(600);

fn hold(store: &Store, holder: &str, ttl: Duration) -> Option<i64> {
    block_on(store.hold_lease("work", holder, ttl)).unwrap()
}

fn fence(token: i64) -> Mutation {
    Mutation::Fence { name: "work".to_owned(), token }
}

fn fenced() -> StoreError {
    StoreError::Fenced { name: "work".to_owned() }
}

fn a_lease_has_one_holder_who_renews_it_under_the_same_token(backend: Backend) {
    let fixture = Fixture::on(backend);
    let (one, two) = (fixture.open(), fixture.open());
    let token = hold(&one, "one", LONG).unwrap();
    assert_eq!(hold(&two, "two", LONG), None);
    assert_eq!(hold(&one, "one", LONG), Some(token));
    assert_eq!(hold(&two, "two", LONG), None);
    // Another lease is another matter.
    assert!(block_on(two.hold_lease("play", "two", LONG)).unwrap().is_some());
}

fn an_expired_lease_is_free_and_the_token_grows_by_one_at_each_change(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let token = hold(&store, "one", Duration::ZERO).unwrap();
    assert_eq!(hold(&store, "two", Duration::ZERO), Some(token + 1));
    assert_eq!(hold(&store, "one", LONG), Some(token + 2));
    assert_eq!(hold(&store, "two", LONG), None);
}

fn a_holder_who_renews_late_keeps_the_token_if_nobody_was_faster(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let token = hold(&store, "one", Duration::ZERO).unwrap();
    assert_eq!(hold(&store, "one", LONG), Some(token));
}

fn a_released_lease_is_free_at_once_and_only_its_holder_releases_it(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let token = hold(&store, "one", LONG).unwrap();
    block_on(store.release_lease("work", "two")).unwrap();
    assert_eq!(hold(&store, "two", LONG), None, "another cannot release it");
    block_on(store.release_lease("work", "one")).unwrap();
    assert_eq!(hold(&store, "two", LONG), Some(token + 1));
    // Who released it and takes it again is a new holder: what it wrote before must not happen.
    block_on(store.release_lease("work", "two")).unwrap();
    assert_eq!(hold(&store, "two", LONG), Some(token + 2));
    block_on(store.release_lease("never taken", "two")).unwrap();
}

fn the_token_outlives_the_process(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let token = hold(&store, "one", LONG).unwrap();
    block_on(store.close());
    let store = fixture.open();
    assert_eq!(hold(&store, "two", LONG), None);
    block_on(store.release_lease("work", "one")).unwrap();
    assert_eq!(hold(&store, "two", LONG), Some(token + 1));
}

fn of_many_who_ask_at_once_one_gets_the_lease(backend: Backend) {
    let fixture = Fixture::on(backend);
    let stores: Vec<Store> = (0..4).map(|_| fixture.open()).collect();
    let barrier = std::sync::Barrier::new(stores.len());
    let tokens: Vec<Option<i64>> = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..)
            .zip(&stores)
            .map(|(index, store)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    hold(store, &format!("holder {index}"), LONG)
                })
            })
            .collect();
        takers.into_iter().map(|taker| taker.join().unwrap()).collect()
    });
    assert_eq!(tokens.iter().flatten().count(), 1, "{tokens:?}");
}

fn a_write_under_a_lease_that_is_held_happens(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let token = hold(&store, "one", LONG).unwrap();
    let applied = apply(&store, vec![fence(token), put_gateway(gateway("a"))]).unwrap();
    assert_eq!(words(&applied.changes), ["gateway a"], "a fence is no change");
}

fn a_write_under_a_lease_that_expired_does_not_happen_though_nobody_took_it(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let token = hold(&store, "one", Duration::ZERO).unwrap();
    let refused = apply(&store, vec![fence(token), put_gateway(gateway("a"))]);
    assert_eq!(refused, Err(fenced()));
    assert!(block_on(store.load()).unwrap().gateways.is_empty());
}

fn a_write_under_a_lease_that_another_took_does_not_happen_and_the_others_does(backend: Backend) {
    let fixture = Fixture::on(backend);
    let (one, two) = (fixture.open(), fixture.open());
    let old = hold(&one, "one", Duration::ZERO).unwrap();
    let new = hold(&two, "two", LONG).unwrap();
    // Wherever the fence stands, the whole transaction stops at it.
    assert_eq!(apply(&one, vec![put_gateway(gateway("a")), fence(old)]), Err(fenced()));
    assert!(block_on(one.load()).unwrap().gateways.is_empty());
    assert_eq!(changes(&one, 0, 10).items, []);
    apply(&two, vec![fence(new), put_gateway(gateway("b"))]).unwrap();
    // The new token is of no use to who guesses it for another lease.
    let elsewhere = Mutation::Fence { name: "play".to_owned(), token: new };
    let refused = apply(&two, vec![elsewhere, put_gateway(gateway("c"))]).unwrap_err();
    assert_eq!(refused, StoreError::Fenced { name: "play".to_owned() });
}

#[test]
fn a_fence_that_fails_is_the_storages_and_not_worth_another_try() {
    let error = fenced();
    assert_eq!(error.side(), Side::Storage);
    assert!(!error.is_transient());
    assert_eq!(error.to_string(), "the lease \"work\" has expired or is held by another");
}

/// The tables of the first version have no leases.
fn a_database_of_the_first_version_keeps_its_data_and_gains_what_is_new(backend: Backend) {
    let fixture = Fixture::on(backend);
    let first = include_str!("../../migrations/V0001__initial.sql");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, first.as_bytes());
    let checksum: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    fixture.run(first);
    fixture.run(&format!(
        "CREATE TABLE ringway_migrations (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL,
             checksum TEXT NOT NULL, applied_at BIGINT NOT NULL);
         INSERT INTO ringway_migrations VALUES (1, 'V0001__initial', '{checksum}', 0);
         INSERT INTO gateways (id, name, slug, transport, command, protocol, skipped_tools, tags,
             enabled, reachable, visibility, created_at, updated_at, version)
             VALUES ('g', 'G', 'g', 'SSE', '[]', 'auto', '[]', '[]', TRUE, TRUE, 'public', 1, 2, 3);
         INSERT INTO tools (id, gateway_id, original_name, custom_name_slug, name, integration_type,
             definition, position, tags, enabled, reachable, visibility, created_at, updated_at,
             version)
             VALUES ('t', 'g', 'x', 'x', 'g-x', 'MCP', '{{}}', 0, '[]', TRUE, TRUE, 'public', 1, 2, 3);
         INSERT INTO servers (id, name, associated_a2a_agents, auth_required, tags, enabled,
             visibility, created_at, updated_at, version)
             VALUES ('s', 'S', '[\"nobody\"]', TRUE, '[]', TRUE, 'public', 1, 2, 3);
         INSERT INTO server_tools VALUES ('s', 't', 0)"
    ));
    let (store, report) = Store::open(&fixture.options).unwrap();
    assert_eq!((report.from, report.applied[0]), (1, "V0002__leases"));
    let kept = block_on(store.load()).unwrap();
    assert_eq!((kept.gateways[0].id.as_str(), kept.tools[0].audit.version), ("g", 3));
    assert!(kept.tools[0].validate_arguments && !kept.tools[0].deprecated);
    assert_eq!(kept.servers[0].associated_tools, ["t"]);
    assert!(kept.servers[0].associated_a2a_agents.is_empty());
    assert_eq!(hold(&store, "one", LONG), Some(1));
}

on_every_backend! {
    a_lease_has_one_holder_who_renews_it_under_the_same_token,
    an_expired_lease_is_free_and_the_token_grows_by_one_at_each_change,
    a_holder_who_renews_late_keeps_the_token_if_nobody_was_faster,
    a_released_lease_is_free_at_once_and_only_its_holder_releases_it,
    the_token_outlives_the_process,
    of_many_who_ask_at_once_one_gets_the_lease,
    a_write_under_a_lease_that_is_held_happens,
    a_write_under_a_lease_that_expired_does_not_happen_though_nobody_took_it,
    a_write_under_a_lease_that_another_took_does_not_happen_and_the_others_does,
    a_database_of_the_first_version_keeps_its_data_and_gains_what_is_new,
}
