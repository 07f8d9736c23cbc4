//! Metrics: what many processes counted adds up, once each, and goes when it is reset.

use std::collections::HashMap;
use std::sync::Arc;

use storage::metrics::{MetricBatch, MetricDelta, Metrics};
use storage::record::{ApiToken, Entity, User, now};
use storage::usage::{self, Usage, UsageDelta};
use storage::{Mutation, Store};

use crate::harness::*;

fn counted(times: &[i64], failures: usize) -> Metrics {
    let mut metrics = Metrics::default();
    for (index, time) in times.iter().enumerate() {
        metrics.record(*time, index >= failures, 1000 + index as i64);
    }
    metrics
}

fn delta(entity: Entity, id: &str, metrics: Metrics) -> MetricDelta {
    MetricDelta { entity, id: id.to_owned(), since: now(), metrics }
}

fn batch(writer: &str, number: i64, deltas: Vec<MetricDelta>) -> Arc<MetricBatch> {
    Arc::new(MetricBatch { writer: writer.to_owned(), number, deltas, usages: Vec::new() })
}

fn add(store: &Store, batch: &Arc<MetricBatch>) {
    block_on(store.add_metrics(batch.clone())).unwrap();
}

fn read(store: &Store, entity: Entity, ids: &[&str]) -> HashMap<String, Metrics> {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    block_on(store.read_metrics(entity, ids)).unwrap()
}

fn totals(store: &Store) -> HashMap<Entity, Metrics> {
    block_on(store.total_metrics()).unwrap()
}

fn batches_of_several_processes_add_up(backend: Backend) {
    let fixture = Fixture::on(backend);
    let (one, two) = (fixture.open(), fixture.open());
    let (first, second) = (counted(&[10, 500], 1), counted(&[3, 70_000], 0));
    let server = counted(&[40], 0);
    let deltas =
        vec![delta(Entity::Tool, "a1", first.clone()), delta(Entity::Server, "s", server.clone())];
    add(&one, &batch("one", 1, deltas));
    add(&two, &batch("two", 1, vec![delta(Entity::Tool, "a1", second.clone())]));
    let mut sum = first;
    sum.merge(&second);
    let expected = HashMap::from([("a1".to_owned(), sum)]);
    assert_eq!(read(&one, Entity::Tool, &["a1", "unused", "s"]), expected);
    let expected = HashMap::from([("s".to_owned(), server)]);
    assert_eq!(read(&two, Entity::Server, &["s"]), expected);
    assert!(read(&two, Entity::Tool, &[]).is_empty());
}

fn a_batch_that_is_handed_over_again_counts_once(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let deltas = || vec![delta(Entity::Tool, "a1", counted(&[10], 0))];
    let first = batch("one", 1, deltas());
    add(&store, &first);
    add(&store, &first);
    assert_eq!(read(&store, Entity::Tool, &["a1"])["a1"].executions, 1);
    add(&store, &batch("one", 2, deltas()));
    add(&store, &first);
    add(&store, &batch("two", 1, deltas()));
    assert_eq!(read(&store, Entity::Tool, &["a1"])["a1"].executions, 3);
}

fn metrics_outlive_the_process_and_are_no_change_of_the_registry(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    apply(&store, registry()).unwrap();
    let before = block_on(store.load()).unwrap().sequence;
    let metrics = counted(&[10, 20, 30], 1);
    add(&store, &batch("one", 1, vec![delta(Entity::Prompt, "p1", metrics.clone())]));
    assert_eq!(block_on(store.load()).unwrap().sequence, before);
    block_on(store.close());
    let store = fixture.open();
    assert_eq!(read(&store, Entity::Prompt, &["p1"])["p1"], metrics);
}

fn a_kind_adds_up_without_what_is_gone_and_the_sweep_deletes_that(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    apply(&store, registry()).unwrap();
    let deltas = vec![
        delta(Entity::Tool, "a1", counted(&[10], 0)),
        delta(Entity::Tool, "b1", counted(&[2000, 50], 1)),
        delta(Entity::Tool, "never registered", counted(&[7], 0)),
        delta(Entity::Resource, "r1", counted(&[80], 0)),
    ];
    add(&store, &batch("one", 1, deltas));
    let mut sum = counted(&[2000, 50], 1);
    sum.merge(&counted(&[10], 0));
    let found = totals(&store);
    assert_eq!(found[&Entity::Tool], sum);
    assert_eq!(found[&Entity::Resource], counted(&[80], 0));
    assert!(!found.contains_key(&Entity::Prompt));

    apply(&store, vec![Mutation::DeleteGateway("b".to_owned())]).unwrap();
    assert_eq!(totals(&store)[&Entity::Tool], counted(&[10], 0));
    block_on(store.sweep_metrics()).unwrap();
    let left = read(&store, Entity::Tool, &["a1", "b1", "never registered"]);
    assert_eq!(left.keys().collect::<Vec<_>>(), ["a1"]);
    assert_eq!(fixture.count("SELECT COUNT(*) FROM entity_metric_buckets"), 2);
}

fn a_reset_of_one_of_a_kind_or_of_all_deletes_just_that(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let deltas = ["a1", "a2"].map(|id| delta(Entity::Tool, id, counted(&[10], 0)));
    let others = [Entity::Server, Entity::Agent].map(|kind| delta(kind, "x", counted(&[10], 0)));
    add(&store, &batch("one", 1, deltas.into_iter().chain(others).collect()));
    let left = || {
        let count = |kind, ids: &[&str]| read(&store, kind, ids).len();
        (
            count(Entity::Tool, &["a1", "a2"]),
            count(Entity::Server, &["x"]),
            count(Entity::Agent, &["x"]),
        )
    };
    block_on(store.reset_metrics(Some(Entity::Tool), Some("a1"))).unwrap();
    assert_eq!(left(), (1, 1, 1));
    block_on(store.reset_metrics(Some(Entity::Server), None)).unwrap();
    assert_eq!(left(), (1, 0, 1));
    block_on(store.reset_metrics(None, None)).unwrap();
    assert_eq!(left(), (0, 0, 0));
    assert_eq!(fixture.count("SELECT COUNT(*) FROM entity_metric_buckets"), 0);
}

fn what_another_process_counted_before_a_reset_is_left_out_and_what_came_after_is_not(
    backend: Backend,
) {
    let fixture = Fixture::on(backend);
    let (one, two) = (fixture.open(), fixture.open());
    let early = |kind, id| delta(kind, id, counted(&[10], 0));
    let held =
        vec![early(Entity::Tool, "a1"), early(Entity::Tool, "a2"), early(Entity::Server, "s")];
    let begun = now();
    while now() == begun {
        std::hint::spin_loop();
    }
    block_on(one.reset_metrics(Some(Entity::Tool), Some("a1"))).unwrap();
    block_on(one.reset_metrics(Some(Entity::Server), None)).unwrap();
    add(&two, &batch("two", 1, held));
    assert!(read(&one, Entity::Tool, &["a1"]).is_empty());
    assert!(read(&one, Entity::Server, &["s"]).is_empty());
    assert_eq!(read(&one, Entity::Tool, &["a2"])["a2"].executions, 1);
    add(&two, &batch("two", 2, vec![early(Entity::Tool, "a1"), early(Entity::Server, "s")]));
    assert_eq!(read(&one, Entity::Tool, &["a1"])["a1"].executions, 1);
    assert_eq!(read(&one, Entity::Server, &["s"])["s"].executions, 1);
}

/// They name the same rows, in opposite orders.
fn processes_that_add_at_once_lose_nothing_and_do_not_lock_each_other_out(backend: Backend) {
    const COUNT: i64 = 20;
    let fixture = Fixture::on(backend);
    let stores: Vec<Store> = (0..4).map(|_| fixture.open()).collect();
    let barrier = std::sync::Barrier::new(stores.len());
    std::thread::scope(|scope| {
        for (index, store) in stores.iter().enumerate() {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for number in 1..=COUNT {
                    let mut deltas: Vec<MetricDelta> = (0..10)
                        .map(|id| delta(Entity::Tool, &format!("t{id}"), counted(&[10, 900], 1)))
                        .collect();
                    if index % 2 == 0 {
                        deltas.reverse();
                    }
                    add(store, &batch(&format!("writer {index}"), number, deltas));
                }
            });
        }
    });
    let found = read(&stores[0], Entity::Tool, &["t0", "t9"]);
    for id in ["t0", "t9"] {
        assert_eq!(found[id].executions, 2 * COUNT * 4, "{id}");
        assert_eq!(found[id].failures, COUNT * 4, "{id}");
        assert_eq!(found[id].buckets.len(), 2, "{id}");
    }
}

fn usage_of(token_id: &str, day: i64, endpoint: &str, requests: i64) -> UsageDelta {
    let usage = Usage { requests, failures: 2, refusals: 1, total_us: 70, last_at: day * 10 };
    UsageDelta { token_id: token_id.to_owned(), day, endpoint: endpoint.to_owned(), usage }
}

fn how_tokens_are_used_adds_up_by_day_and_goes_with_them(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    let today = usage::day_of(now());
    let user = User { id: "u".to_owned(), email: "ann".to_owned(), ..User::default() };
    let token = ApiToken {
        id: "kept".to_owned(),
        jti: "1".to_owned(),
        user_email: "ann".to_owned(),
        ..ApiToken::default()
    };
    let records = vec![Mutation::PutIdentity(user.into()), Mutation::PutIdentity(token.into())];
    block_on(store.apply(records)).unwrap();
    let add = |writer: &str, usages: Vec<UsageDelta>| {
        let (writer, number, deltas) = (writer.to_owned(), 1, Vec::new());
        add(&store, &Arc::new(MetricBatch { writer, number, deltas, usages }));
    };
    let first = || {
        vec![
            usage_of("kept", today, "/tools", 5),
            usage_of("kept", today, "/mcp", 7),
            usage_of("kept", today - 3, "/tools", 3),
            usage_of("kept", today - usage::DAYS_MAX - 1, "/tools", 100),
            usage_of("gone", today, "/tools", 9),
        ]
    };
    add("one", first());
    add("one", first());
    add("two", vec![usage_of("kept", today, "/tools", 1)]);
    let read = |id: &str, since: i64| block_on(store.read_usage(id.to_owned(), since)).unwrap();
    let counts = |id: &str, since: i64| {
        let mut counts: Vec<_> =
            read(id, since).into_iter().map(|(name, usage)| (name, usage.requests)).collect();
        counts.sort();
        counts
    };
    let text = str::to_owned;
    assert_eq!(counts("kept", today), [(text("/mcp"), 7), (text("/tools"), 6)]);
    assert_eq!(counts("kept", today - 3), [(text("/mcp"), 7), (text("/tools"), 9)]);
    assert_eq!(
        read("kept", today)["/tools"],
        Usage { requests: 6, failures: 4, refusals: 2, total_us: 140, last_at: today * 10 }
    );
    let ids = ["kept", "gone", "unused"].map(text).to_vec();
    let last = HashMap::from([(text("kept"), today * 10), (text("gone"), today * 10)]);
    assert_eq!(block_on(store.last_uses(ids)).unwrap(), last);
    block_on(store.sweep_metrics()).unwrap();
    assert!(read("gone", 0).is_empty());
    assert_eq!(counts("kept", 0), [(text("/mcp"), 7), (text("/tools"), 9)]);
}

/// A writer of records holds the end of the feed; whoever counts does not wait for it.
#[test]
fn metrics_are_added_on_postgresql_while_another_process_writes_records() {
    let fixture = Fixture::on(Backend::Postgres(crate::postgres::Version::V15));
    let store = fixture.open();
    let _lock = fixture.lock();
    add(&store, &batch("one", 1, vec![delta(Entity::Tool, "a1", counted(&[10], 0))]));
    assert_eq!(read(&store, Entity::Tool, &["a1"])["a1"].executions, 1);
}

on_every_backend! {
    batches_of_several_processes_add_up,
    a_batch_that_is_handed_over_again_counts_once,
    metrics_outlive_the_process_and_are_no_change_of_the_registry,
    a_kind_adds_up_without_what_is_gone_and_the_sweep_deletes_that,
    a_reset_of_one_of_a_kind_or_of_all_deletes_just_that,
    what_another_process_counted_before_a_reset_is_left_out_and_what_came_after_is_not,
    processes_that_add_at_once_lose_nothing_and_do_not_lock_each_other_out,
    how_tokens_are_used_adds_up_by_day_and_goes_with_them,
}
