//! The registry of nodes: the same in memory and on Redis.

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures_util::future::join_all;
use shards::{local::Gate, task};
use storage::shared::{Beat, NodeInfo, Nodes, State};

use crate::harness::{eventually, everywhere};

/// Three of them must outlast a pause of a busy machine.
const HEARTBEAT: Duration = Duration::from_millis(250);

fn node(id: &str) -> NodeInfo {
    let address = format!("{id}.example:4444");
    NodeInfo { id: id.to_owned(), started_at: 1_700_000_000_000_000, address, shard_count: 2 }
}

fn nodes(state: &State, id: &str) -> Nodes {
    Nodes::new(state.clone(), node(id), HEARTBEAT)
}

async fn live(nodes: &Nodes) -> Vec<String> {
    nodes.live().await.unwrap().into_iter().map(|node| node.id).collect()
}

#[test]
fn nodes_that_beat_are_listed_with_what_they_said_of_themselves() {
    everywhere(|pair| async move {
        let (a, b) = (nodes(&pair.one.state, "a"), nodes(&pair.two.state, "b"));
        assert_eq!((a.beat().await, b.beat().await), (Ok(Beat::Joined), Ok(Beat::Joined)));
        assert_eq!(a.beat().await, Ok(Beat::Alive));
        assert_eq!(b.beat().await, Ok(Beat::Alive));
        assert_eq!(b.live().await, Ok(vec![node("a"), node("b")]));
        a.leave().await.unwrap();
        assert_eq!(live(&b).await, ["b"]);
        assert_eq!(b.claim_dead().await, Ok(Vec::new()), "who left has nothing to be released");
    });
}

#[test]
fn one_of_many_claims_a_dead_node_and_nobody_does_after_it_was_forgotten() {
    everywhere(|pair| async move {
        let dead = nodes(&pair.one.state, "dead");
        dead.beat().await.unwrap();
        let ids = ["a", "b", "c", "d"];
        let all: Vec<Nodes> = ids.iter().map(|id| nodes(&pair.two.state, id)).collect();
        let mut claimed = Vec::new();
        eventually("somebody finds it dead", async || {
            for claim in join_all(all.iter().map(Nodes::claim_dead)).await {
                claimed.extend(claim.unwrap());
            }
            !claimed.is_empty()
        })
        .await;
        assert_eq!(claimed.len(), 1);
        let released = claimed.remove(0);
        assert_eq!(released.node_id, "dead");
        all[0].forget(released).await.unwrap();
        for claim in join_all(all.iter().map(Nodes::claim_dead)).await {
            assert_eq!(claim, Ok(Vec::new()));
        }
        assert_eq!(dead.beat().await, Ok(Beat::Expelled), "who was released learns it");
        eventually("it joins again", async || dead.beat().await == Ok(Beat::Joined)).await;
    });
}

#[test]
fn a_claim_whose_holder_died_goes_to_another() {
    everywhere(|pair| async move {
        let dead = nodes(&pair.one.state, "dead");
        dead.beat().await.unwrap();
        let (a, b) = (nodes(&pair.one.state, "a"), nodes(&pair.two.state, "b"));
        eventually("a claims", async || !a.claim_dead().await.unwrap().is_empty()).await;
        eventually("b claims after it", async || !b.claim_dead().await.unwrap().is_empty()).await;
    });
}

#[test]
fn kept_nodes_release_the_dead_once_and_leave_when_they_close() {
    everywhere(|pair| async move {
        let released = Rc::new(RefCell::new(Vec::new()));
        let closing = Rc::new(Gate::default());
        let mut keepers = Vec::new();
        for id in ["a", "b"] {
            let kept = nodes(&pair.one.state, id);
            let (released, closing) = (released.clone(), closing.clone());
            keepers.push(task::spawn(async move {
                let release = async |dead: &str| {
                    released.borrow_mut().push(dead.to_owned());
                    true
                };
                kept.keep(&closing, |_| {}, release, |error| panic!("{error}")).await;
            }));
        }
        let observer = nodes(&pair.two.state, "observer");
        eventually("both live", async || live(&observer).await == ["a", "b"]).await;
        nodes(&pair.two.state, "dead").beat().await.unwrap();
        eventually("it is released", async || released.borrow().len() == 1).await;
        closing.open();
        for keeper in keepers {
            keeper.join().await.unwrap();
        }
        assert_eq!(*released.borrow(), ["dead"]);
        assert_eq!(live(&observer).await, Vec::<String>::new());
        assert_eq!(observer.claim_dead().await, Ok(Vec::new()));
    });
}

#[test]
fn a_node_beats_on_and_keeps_its_claim_during_a_long_release() {
    everywhere(|pair| async move {
        let (changes, began) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Gate::default()));
        let (closing, finish) = (Rc::new(Gate::default()), Rc::new(Gate::default()));
        let kept = nodes(&pair.one.state, "a");
        let gates = (closing.clone(), began.clone(), finish.clone(), changes.clone());
        nodes(&pair.two.state, "dead").beat().await.unwrap();
        let keeper = task::spawn(async move {
            let (closing, began, finish, changes) = gates;
            let release = async |_: &str| {
                began.open();
                finish.passed().await;
                true
            };
            let changed = |beat| changes.borrow_mut().push(beat);
            kept.keep(&closing, changed, release, |error| panic!("{error}")).await;
        });
        began.passed().await;
        let observer = nodes(&pair.two.state, "observer");
        // Longer than a claim and a heartbeat live when nobody renews them.
        for _ in 0..10 {
            shards::time::sleep(HEARTBEAT).await;
            assert_eq!(observer.claim_dead().await, Ok(Vec::new()));
            assert_eq!(live(&observer).await, ["a"]);
        }
        finish.open();
        closing.open();
        keeper.join().await.unwrap();
        assert_eq!(*changes.borrow(), [Beat::Joined]);
        assert_eq!(observer.claim_dead().await, Ok(Vec::new()));
    });
}

#[test]
fn a_node_that_stood_still_is_expelled_and_joins_again() {
    everywhere(|pair| async move {
        let still = nodes(&pair.one.state, "still");
        assert_eq!(still.beat().await, Ok(Beat::Joined));
        let other = nodes(&pair.two.state, "other");
        let mut claimed = Vec::new();
        eventually("it is taken for dead", async || {
            claimed.extend(other.claim_dead().await.unwrap());
            !claimed.is_empty()
        })
        .await;
        assert_eq!(still.beat().await, Ok(Beat::Expelled), "while it is being released");
        other.forget(claimed.remove(0)).await.unwrap();
        eventually("it joins again", async || still.beat().await == Ok(Beat::Joined)).await;
        assert_eq!(live(&other).await, ["still"]);
    });
}
