//! Killed in the middle of writing: what was acknowledged is there, and nothing is half there.

use std::io::{BufRead, BufReader, Write};

use storage::{Mutation, Store};

use crate::harness::*;

/// How many tools a transaction of the child writes.
const TOOL_COUNT: usize = 40;

fn every_acknowledged_transaction_survives_a_kill_and_none_is_half_written(backend: Backend) {
    let fixture = Fixture::on(backend);
    let mut acknowledged = 0;
    // Each time a little later, so that the kills fall on different steps of a transaction.
    for kill_after in [1, 3, 8, 13, 21] {
        let mut child = start_child("crash::writes_until_it_is_killed", &fixture);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = lines.map_while(Result::ok).filter_map(|line| line.parse::<i64>().ok());
        for _ in 0..kill_after {
            acknowledged = told.next().expect("the child writes until it is killed");
        }
        child.kill().unwrap();
        // What it acknowledged before the kill arrived counts as well.
        acknowledged = told.last().unwrap_or(acknowledged);
        child.wait().unwrap();
        check(&fixture, acknowledged);
    }
    if backend == Backend::Sqlite {
        let verdict: String =
            fixture.raw().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
    }
}

fn check(fixture: &Fixture, acknowledged: i64) {
    let store = fixture.open();
    let snapshot = block_on(store.load()).unwrap();
    assert!(snapshot.sequence >= acknowledged, "{} < {acknowledged}", snapshot.sequence);
    assert_eq!(snapshot.tools.len(), snapshot.gateways.len() * TOOL_COUNT);
    assert_eq!(snapshot.sequence as usize, snapshot.gateways.len() * (TOOL_COUNT + 1));
    assert_eq!(changes(&store, 0, usize::MAX).items.len(), snapshot.sequence as usize);
    block_on(store.close());
}

#[test]
#[ignore = "a child of the test above"]
fn writes_until_it_is_killed() {
    let (store, _) = Store::open(&child_options()).unwrap();
    let mut output = std::io::stdout();
    loop {
        let applied = block_on(store.apply(one_upstream())).unwrap();
        // The kill may have closed the pipe already.
        if writeln!(output, "\n{}", applied.sequence).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

fn one_upstream() -> Vec<Mutation> {
    let gateway_id = storage::record::new_id();
    let mut mutations = vec![put_gateway(gateway(&gateway_id))];
    for index in 0..TOOL_COUNT {
        let mut one = tool(&format!("t{index}"), &gateway_id);
        one.id = storage::record::new_id();
        mutations.push(put_tool(one));
    }
    mutations
}

on_every_backend! {
    every_acknowledged_transaction_survives_a_kill_and_none_is_half_written,
}
