//! The change feed: in order, without gaps, to its bound, and honest about what it lost.

use storage::{Current, Feed, Mutation, Store};

use crate::harness::*;

fn lost(store: &Store, since: i64) -> Option<(i64, i64)> {
    match block_on(store.changes_since(since, 10)).unwrap() {
        Feed::Lost { from, sequence } => Some((from, sequence)),
        Feed::Changes(_) => None,
    }
}

fn pages_give_the_changes_in_order_and_say_when_more_follow(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    apply(&store, registry()).unwrap();
    let first = changes(&store, 0, 3);
    assert_eq!(words(&first.items), ["gateway a", "gateway b", "tool a1"]);
    assert_eq!((first.sequence, first.more), (3, true));
    let rest = changes(&store, first.sequence, 100);
    assert_eq!(words(&rest.items), ["tool a2", "tool b1", "resource r1", "prompt p1", "server s"]);
    assert_eq!((rest.sequence, rest.more), (8, false));
    let none = changes(&store, rest.sequence, 100);
    assert_eq!((none.items.len(), none.sequence, none.more), (0, 8, false));
}

fn a_record_changed_often_is_told_once_as_it_stands(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    for name in ["one", "two", "three"] {
        let mut renamed = gateway("a");
        renamed.name = name.to_owned();
        apply(&store, vec![put_gateway(renamed)]).unwrap();
    }
    apply(&store, vec![put_gateway(gateway("b"))]).unwrap();
    apply(&store, vec![Mutation::DeleteGateway("b".to_owned())]).unwrap();
    let told = changes(&store, 0, 100);
    assert_eq!(words(&told.items), ["gateway a", "-gateway b"]);
    let Current::Gateway(last) = &told.items[0].current else { panic!("{told:?}") };
    assert_eq!((last.name.as_str(), told.items[0].sequence), ("three", 3));
    // Its deletion is beyond this page, and it is gone all the same.
    assert_eq!(words(&changes(&store, 3, 1).items), ["-gateway b"]);
}

fn transactions_of_many_threads_never_mix_and_never_leave_a_gap(backend: Backend) {
    let fixture = Fixture::on(backend);
    let stores = [fixture.open(), fixture.open()];
    std::thread::scope(|scope| {
        for (writer, store) in stores.iter().cycle().take(4).enumerate() {
            scope.spawn(move || {
                for round in 0..25 {
                    let ids = [0, 1, 2].map(|part| format!("w{writer}-{round}-{part}"));
                    let puts = ids.iter().map(|id| put_gateway(gateway(id))).collect();
                    apply(store, puts).unwrap();
                }
            });
        }
    });
    let told = changes(&stores[0], 0, 1_000);
    assert_eq!(told.items.len(), 300);
    for (index, change) in (1..).zip(&told.items) {
        assert_eq!(change.sequence, index);
    }
    for transaction in told.items.chunks(3) {
        let ids: Vec<&str> = transaction.iter().map(|change| change.current.id()).collect();
        let stem = ids[0].strip_suffix("-0").expect("a transaction begins with its first part");
        assert_eq!(ids[1..], [format!("{stem}-1"), format!("{stem}-2")]);
    }
    assert_eq!(changes(&stores[1], 0, 1_000), told);
}

fn the_feed_keeps_to_its_bound_and_says_what_it_lost(backend: Backend) {
    let mut fixture = Fixture::on(backend);
    fixture.options.change_count_max = 5;
    let store = fixture.open();
    for index in 0..12 {
        apply(&store, vec![put_gateway(gateway(&format!("g{index}")))]).unwrap();
    }
    assert_eq!(lost(&store, 6), Some((7, 12)));
    assert_eq!(lost(&store, 0), Some((7, 12)));
    assert_eq!(changes(&store, 7, 100).items.len(), 5);
    assert_eq!(fixture.count("SELECT COUNT(*) FROM changes"), 5);

    // Reopened with a larger bound, it does not claim to know what was lost before.
    block_on(store.close());
    fixture.options.change_count_max = 100;
    let store = fixture.open();
    apply(&store, vec![put_gateway(gateway("later"))]).unwrap();
    assert_eq!(lost(&store, 6), Some((7, 13)));
    assert_eq!(changes(&store, 7, 100).items.len(), 6);
}

fn one_transaction_larger_than_the_bound_is_written_whole(backend: Backend) {
    let mut fixture = Fixture::on(backend);
    fixture.options.change_count_max = 3;
    let store = fixture.open();
    let applied = apply(&store, registry()).unwrap();
    assert_eq!(applied.changes.len(), 8);
    assert_eq!(lost(&store, 0), Some((5, 8)));
    assert_eq!(block_on(store.load()).unwrap().sequence, 8);
}

/// A backup put in place of the database: its feed ends before what the reader has seen.
fn a_point_beyond_the_end_means_that_everything_must_be_loaded(backend: Backend) {
    let fixture = Fixture::on(backend);
    let store = fixture.open();
    apply(&store, registry()).unwrap();
    assert_eq!(lost(&store, 9), Some((0, 8)));
}

on_every_backend! {
    pages_give_the_changes_in_order_and_say_when_more_follow,
    a_record_changed_often_is_told_once_as_it_stands,
    transactions_of_many_threads_never_mix_and_never_leave_a_gap,
    the_feed_keeps_to_its_bound_and_says_what_it_lost,
    one_transaction_larger_than_the_bound_is_written_whole,
    a_point_beyond_the_end_means_that_everything_must_be_loaded,
}
