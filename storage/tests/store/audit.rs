//! The audit trail: appended once, read by filters from the newest on, pruned from the oldest on.

use std::sync::Arc;

use storage::Store;
use storage::audit::{AuditBatch, AuditEntry, AuditFilter, StoredEntry};

use crate::harness::*;

fn entry(at: i64, actor: &str, action: &'static str) -> AuditEntry {
    AuditEntry::new(at, actor, "user", action)
}

fn append(store: &Store, writer: &str, number: i64, entries: Vec<AuditEntry>) {
    let batch = AuditBatch { writer: writer.to_owned(), number, entries };
    block_on(store.append_audit(Arc::new(batch))).unwrap();
}

fn read(store: &Store, filter: AuditFilter) -> Vec<StoredEntry> {
    let count_max = if filter.count_max == 0 { 1000 } else { filter.count_max };
    block_on(store.read_audit(&AuditFilter { count_max, ..filter })).unwrap()
}

fn times(found: &[StoredEntry]) -> Vec<i64> {
    found.iter().map(|stored| stored.entry.at).collect()
}

fn full(at: i64) -> AuditEntry {
    let text = |text: &str| Some(text.to_owned());
    AuditEntry {
        request_id: text("r"),
        token_id: text("j"),
        ip: text("192.0.2.1"),
        user_agent: text("curl \"8\"\\\t"),
        entity: Some("tool".into()),
        entity_id: text("t1"),
        entity_name: text("time\nof day"),
        team_id: text("team"),
        server_id: text("s1"),
        allowed: false,
        succeeded: false,
        reason: text("a reason, 'quoted' and \u{1f600}"),
        status: -32003,
        duration_us: 12,
        before: text("{\"a\":1}"),
        after: text("{\"a\":2}"),
        arguments: text("{}"),
        ..entry(at, "a@example.com", "tools.execute")
    }
}

fn an_entry_comes_back_as_it_was_written(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let entries = vec![full(10), entry(20, "", "x")];
    append(&store, "one", 1, entries.clone());
    block_on(store.close());
    let found = read(&fixture.open(), AuditFilter::default());
    assert_eq!(found.iter().map(|stored| stored.id).collect::<Vec<_>>(), [2, 1]);
    let found: Vec<_> = found.into_iter().map(|stored| stored.entry).rev().collect();
    assert_eq!(found, entries);
}

fn a_batch_that_is_handed_over_again_is_stored_once(backend: Backend) {
    let fixture = Fixture::on(backend);
    let (one, two) = (fixture.open(), fixture.open());
    append(&one, "one", 1, vec![entry(1, "a", "x")]);
    append(&one, "one", 1, vec![entry(1, "a", "x")]);
    append(&two, "two", 1, vec![entry(3, "b", "x"), entry(2, "b", "x")]);
    append(&one, "one", 2, vec![entry(4, "a", "x")]);
    append(&two, "two", 1, vec![entry(3, "b", "x"), entry(2, "b", "x")]);
    append(&two, "two", 2, Vec::new());
    assert_eq!(times(&read(&two, AuditFilter::default())), [4, 3, 2, 1]);
}

fn a_filter_lets_through_what_all_of_it_holds_for(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let entries = vec![
        full(10),
        entry(20, "a@example.com", "auth.login"),
        AuditEntry { succeeded: false, ..entry(30, "b", "auth.logout") },
        entry(40, "b", "tools.create"),
    ];
    append(&store, "one", 1, entries);
    let some = |text: &str| Some(text.to_owned());
    let none = AuditFilter::default();
    for (filter, expected) in [
        (AuditFilter { from: Some(20), to: Some(40), ..none.clone() }, &[30, 20][..]),
        (AuditFilter { actor: some("a@example.com"), ..none.clone() }, &[20, 10]),
        (AuditFilter { action: some("auth"), ..none.clone() }, &[30, 20]),
        (AuditFilter { action: some("auth.*"), actor: some("b"), ..none.clone() }, &[30]),
        (AuditFilter { action: some("tools.create"), ..none.clone() }, &[40]),
        (AuditFilter { action: some("tool"), ..none.clone() }, &[]),
        (AuditFilter { entity: some("tool"), ..none.clone() }, &[10]),
        (AuditFilter { entity_id: some("t1"), ..none.clone() }, &[10]),
        (AuditFilter { entity_name: some("time\nof day"), ..none.clone() }, &[10]),
        (AuditFilter { team_id: some("team"), ..none.clone() }, &[10]),
        (AuditFilter { server_id: some("s1"), ..none.clone() }, &[10]),
        (AuditFilter { allowed: Some(false), ..none.clone() }, &[10]),
        (AuditFilter { succeeded: Some(false), allowed: Some(true), ..none.clone() }, &[30]),
        (AuditFilter { actor: some("' OR 1=1 --"), ..none.clone() }, &[]),
    ] {
        assert_eq!(times(&read(&store, filter.clone())), expected, "{filter:?}");
    }
}

fn pages_follow_each_other_without_a_gap_though_entries_are_of_one_time(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let entries = (0..10).map(|index| entry(index / 4, "a", "x")).collect();
    append(&store, "one", 1, entries);
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = read(&store, AuditFilter { after, count_max: 3, ..AuditFilter::default() });
        let Some(last) = page.last() else { break };
        after = Some(last.cursor());
        seen.extend(page.iter().map(|stored| stored.id));
        // What is newer than the cursor does not come in between.
        append(&store, "two", seen.len() as i64, vec![entry(100, "b", "x")]);
    }
    assert_eq!(seen, (1..=10).rev().collect::<Vec<_>>());
}

fn pruning_takes_the_oldest_a_few_at_a_time_and_nothing_younger(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    append(&store, "one", 1, (0..10).map(|at| entry(at, "a", "x")).collect());
    let prune = |at, count_max| block_on(store.prune_audit(at, count_max)).unwrap();
    assert_eq!(prune(6, 4), 4);
    assert_eq!(times(&read(&store, AuditFilter::default())), [9, 8, 7, 6, 5, 4]);
    assert_eq!(prune(6, 4), 2);
    assert_eq!(prune(6, 4), 0);
    assert_eq!(times(&read(&store, AuditFilter::default())), [9, 8, 7, 6]);
}

fn the_change_feed_does_not_tell_of_the_trail(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let before = block_on(store.load()).unwrap().sequence;
    append(&store, "one", 1, vec![full(1)]);
    assert_eq!(block_on(store.load()).unwrap().sequence, before);
}

fn a_character_that_a_database_cannot_hold_does_not_keep_the_rest_out(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let name = Some("a\0b".to_owned());
    append(&store, "one", 1, vec![AuditEntry { entity_name: name, ..full(1) }, full(2)]);
    assert_eq!(times(&read(&store, AuditFilter::default())), [2, 1]);
}

on_every_backend! {
    an_entry_comes_back_as_it_was_written,
    a_batch_that_is_handed_over_again_is_stored_once,
    a_filter_lets_through_what_all_of_it_holds_for,
    pages_follow_each_other_without_a_gap_though_entries_are_of_one_time,
    pruning_takes_the_oldest_a_few_at_a_time_and_nothing_younger,
    the_change_feed_does_not_tell_of_the_trail,
    a_character_that_a_database_cannot_hold_does_not_keep_the_rest_out,
}
