//! Redis stopped, frozen and started again: nothing hangs, and everything comes back by itself.

use std::time::Duration;

use futures_util::future::join_all;
use shards::Driver;
use storage::shared::{BusItem, NodeInfo, Nodes, Reach, Shared, StateError, VALUE_SIZE_MAX};

use crate::{
    harness::{LONG, eventually, is_away, message, next, on_shard, options, started, with_server},
    server::{SURELY, Server, free_port},
};

#[test]
fn a_server_that_is_not_there_yet_is_found_when_it_comes() {
    let port = free_port();
    let options = options(&format!("redis://127.0.0.1:{port}/0"));
    on_shard(Driver::Epoll, move || async move {
        let shared = Shared::start(&options, 0).unwrap();
        let mut subscription = shared.bus.subscribe("news").await.unwrap();
        assert!(is_away(&shared.state.get("k").await));
        assert!(is_away(&shared.ready(Duration::ZERO).await));
        eventually("it says why", async || {
            let error = shared.state.get("k").await.unwrap_err().to_string();
            error.contains("refused") && error.contains(&port.to_string())
        })
        .await;
        let _server = Server::on(port, &[]);
        shared.ready(SURELY).await.unwrap();
        assert_eq!(next(&mut subscription).await, BusItem::Lost, "the subscription begins now");
        shared.bus.publish("news", b"x").await.unwrap();
        assert_eq!(next(&mut subscription).await, message("x"));
    });
}

#[test]
fn what_is_asked_before_the_first_connection_stands_waits_for_it() {
    with_server(&[], |server, options| async move {
        // Nothing was awaited since the start.
        let shared = Shared::start(&options, 0).unwrap();
        assert_eq!(shared.state.get("k").await, Ok(None));
        assert_eq!(options.figures().away_count, 0);
        drop(server);
    });
}

#[test]
fn a_server_that_was_killed_and_started_again_is_used_again() {
    with_server(&[], |mut server, options| async move {
        let shared = started(&options, 0).await;
        let mut subscription = shared.bus.subscribe("news").await.unwrap();
        shared.state.set("k", b"v", LONG).await.unwrap();
        server.kill();
        eventually("the breaker opens", async || is_away(&shared.state.get("k").await)).await;
        assert!(!shared.is_up());
        assert_eq!(options.figures().link_up_count, 0);
        server.restart();
        shared.ready(SURELY).await.unwrap();
        assert_eq!(shared.state.get("k").await, Ok(None), "the new server has nothing");
        assert_eq!(next(&mut subscription).await, BusItem::Lost);
        shared.bus.publish("news", b"after").await.unwrap();
        assert_eq!(next(&mut subscription).await, message("after"));
        let figures = options.figures();
        assert_eq!((figures.connect_count, figures.disconnect_count), (2, 1));
        assert_eq!(figures.link_up_count, 1);
    });
}

#[test]
fn a_frozen_server_costs_a_few_timeouts_and_then_nothing() {
    with_server(&[], |server, mut options| async move {
        options.command_timeout = Duration::from_millis(300);
        // Only the commands find it out.
        options.ping_interval = LONG;
        let shared = started(&options, 0).await;
        shared.state.set("k", b"v", LONG).await.unwrap();
        let before = options.figures().away_count;
        server.freeze();
        for _ in 0..options.timeout_count_max {
            let waited = options.command_timeout;
            assert_eq!(shared.state.get("k").await, Err(StateError::TimedOut { waited }));
        }
        // From now on nothing is sent: a thousand refusals wait for nothing.
        for _ in 0..1000 {
            assert!(is_away(&shared.state.get("k").await));
        }
        let figures = options.figures();
        assert_eq!(figures.timeout_count, u64::from(options.timeout_count_max));
        assert_eq!((figures.away_count - before, figures.in_flight_count), (1000, 0));
        server.thaw();
        shared.ready(SURELY).await.unwrap();
        assert_eq!(shared.state.get("k").await, Ok(Some(b"v".to_vec())));
    });
}

#[test]
fn an_idle_subscriber_notices_a_frozen_server() {
    with_server(&[], |server, options| async move {
        let shared = started(&options, 0).await;
        let mut subscription = shared.bus.subscribe("news").await.unwrap();
        server.freeze();
        eventually("the check finds it", async || !shared.is_up()).await;
        server.thaw();
        shared.ready(SURELY).await.unwrap();
        assert_eq!(next(&mut subscription).await, BusItem::Lost);
        shared.bus.publish("news", b"after").await.unwrap();
        assert_eq!(next(&mut subscription).await, message("after"));
    });
}

#[test]
fn a_subscription_that_was_made_during_an_outage_begins_with_a_loss() {
    with_server(&[], |mut server, options| async move {
        let shared = started(&options, 0).await;
        server.kill();
        eventually("the breaker opens", async || !shared.is_up()).await;
        let mut subscription = shared.bus.subscribe("news").await.unwrap();
        assert!(is_away(&shared.bus.publish("news", b"x").await));
        server.restart();
        assert_eq!(next(&mut subscription).await, BusItem::Lost);
        shared.ready(SURELY).await.unwrap();
        shared.bus.publish("news", b"after").await.unwrap();
        assert_eq!(next(&mut subscription).await, message("after"));
    });
}

#[test]
fn a_slow_server_is_sent_no_more_than_the_queue_holds() {
    with_server(&[], |server, mut options| async move {
        options.queue_count_max = 8;
        options.ping_interval = LONG;
        let shared = started(&options, 0).await;
        server.freeze();
        let state = &shared.state;
        let answers = join_all((0..20).map(|_| state.get("k"))).await;
        let busy = Err(StateError::Busy { count_max: 8 });
        assert_eq!(answers.iter().filter(|answer| **answer == busy).count(), 12);
        assert_eq!(options.figures().busy_count, 12);
        server.thaw();
        shared.ready(SURELY).await.unwrap();
        assert_eq!(join_all((0..8).map(|_| state.get("k"))).await, vec![Ok(None); 8]);
    });
}

#[test]
fn large_values_in_flight_are_bounded_by_their_bytes() {
    with_server(&[], |server, mut options| async move {
        options.ping_interval = LONG;
        let shared = started(&options, 0).await;
        server.freeze();
        let value = vec![0; VALUE_SIZE_MAX];
        let answers = join_all((0..40).map(|_| shared.state.set("k", &value, LONG))).await;
        let is_busy = |answer: &&Result<(), _>| matches!(answer, Err(StateError::Busy { .. }));
        // 32 MiB less what the keys and words take.
        assert_eq!(answers.iter().filter(is_busy).count(), 40 - 31);
        server.thaw();
        shared.ready(SURELY).await.unwrap();
        shared.state.set("k", &value, LONG).await.unwrap();
    });
}

#[test]
fn a_server_whose_memory_is_full_says_so_and_still_answers_reads() {
    with_server(&["--maxmemory", "1"], |server, options| async move {
        let shared = started(&options, 0).await;
        let full = StateError::Full { what: "the memory of Redis" };
        assert_eq!(shared.state.set("k", b"v", LONG).await, Err(full.clone()));
        assert_eq!(shared.state.increment("n", 1, LONG).await, Err(full));
        assert_eq!(shared.state.get("k").await, Ok(None));
        assert!(shared.is_up());
        drop(server);
    });
}

#[test]
fn shards_of_one_process_reach_each_other_while_the_server_is_away() {
    with_server(&[], |server, options| async move {
        let one = started(&options, 0).await;
        let two = started(&options, 1).await;
        let mut inbox = two.bus.inbox("x").await.unwrap();
        let id = one.bus.node_id().to_owned();
        assert_eq!(one.bus.send("x", &id, 1, b"before").await, Ok(Reach::Somebody));
        assert_eq!(next(&mut inbox).await, message("before"));
        drop(server);
        eventually("it is noticed", async || !one.is_up() && !two.is_up()).await;
        assert_eq!(one.bus.send("x", &id, 1, b"meanwhile").await, Ok(Reach::Somebody));
        assert_eq!(next(&mut inbox).await, message("meanwhile"));
        // One that begins now is reached too.
        let mut own = one.bus.inbox("x").await.unwrap();
        assert_eq!(two.bus.send("x", &id, 0, b"back").await, Ok(Reach::Somebody));
        assert_eq!(next(&mut own).await, message("back"));
        assert_eq!(one.bus.send("x", &id, 2, b"x").await, Ok(Reach::Nobody));
        assert!(is_away(&one.bus.send("x", &"b".repeat(32), 1, b"x").await));
        drop((two, inbox));
        assert_eq!(one.bus.send("x", &id, 1, b"x").await, Ok(Reach::Nobody));
    });
}

#[test]
fn a_node_that_lives_and_does_not_listen_is_away_and_not_gone() {
    with_server(&[], |server, options| async move {
        let one = started(&options, 0).await;
        let mut other = options.clone();
        other.node_id = "b".repeat(32);
        let two = started(&other, 0).await;
        let own = NodeInfo {
            id: other.node_id.clone(),
            started_at: 1,
            address: "here".to_owned(),
            shard_count: 1,
        };
        let nodes = Nodes::new(two.state.clone(), own, Duration::from_secs(60));
        assert_eq!(one.bus.send("x", &other.node_id, 0, b"x").await, Ok(Reach::Nobody));
        nodes.beat().await.unwrap();
        assert!(is_away(&one.bus.send("x", &other.node_id, 0, b"x").await));
        let mut inbox = two.bus.inbox("x").await.unwrap();
        assert_eq!(one.bus.send("x", &other.node_id, 0, b"y").await, Ok(Reach::Somebody));
        assert_eq!(next(&mut inbox).await, message("y"));
        drop(server);
    });
}

/// Whoever reads anew at each loss misses nothing, however often connections break.
#[test]
fn a_follower_that_checks_at_each_loss_misses_nothing() {
    with_server(&[], |server, options| async move {
        let shared = started(&options, 0).await;
        let mut other = options.clone();
        other.node_id = "b".repeat(32);
        let follower = started(&other, 1).await;
        let mut news = follower.bus.subscribe("news").await.unwrap();
        let mut seen = 0;
        let mut lost_count = 0;
        for number in 1..=200_i64 {
            if number % 20 == 0 {
                server.ask("CLIENT KILL TYPE pubsub");
            }
            if number % 50 == 0 {
                server.ask("CLIENT KILL TYPE normal");
            }
            let text = number.to_string();
            eventually("it is written", async || {
                shared.state.set("n", text.as_bytes(), LONG).await.is_ok()
                    && shared.bus.publish("news", text.as_bytes()).await.is_ok()
            })
            .await;
            while let Some(item) = news.try_next() {
                seen = take(&follower, item, seen, &mut lost_count).await;
            }
        }
        while seen < 200 {
            let item = next(&mut news).await;
            seen = take(&follower, item, seen, &mut lost_count).await;
        }
        assert!(lost_count >= 1, "the connections did break");
    });
}

/// What the follower knows after an item: what it says, or what is found at a check.
async fn take(follower: &Shared, item: BusItem, seen: i64, lost_count: &mut u32) -> i64 {
    let BusItem::Message(bytes) = item else {
        *lost_count += 1;
        let mut found = None;
        eventually("it is read", async || {
            found = follower.state.get("n").await.ok().flatten();
            found.is_some()
        })
        .await;
        return number(&found.unwrap()).max(seen);
    };
    number(&bytes).max(seen)
}

fn number(bytes: &[u8]) -> i64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}
