//! Keys and values: the same in memory and on Redis.

use std::{fmt::Debug, time::Duration};

use futures_util::{FutureExt, future::join_all};
use shards::Driver;
use storage::shared::{
    INDEX_COUNT_MAX, KEY_SIZE_MAX, LIST_COUNT_MAX, MemoryBounds, Quota, Shared, SharedOptions,
    State, StateError, VALUE_SIZE_MAX,
};

use crate::{
    harness::{LONG, Pair, drivers, eventually, everywhere, on_shard, patient_options, started},
    server::Server,
};

/// The commands that a user of the access list needs.
const RIGHTS: &str = "+hello +auth +select +ping +info +get +set +del +pexpire +pttl +eval +incrby \
    +rpush +ltrim +lrange +llen +hset +hdel +hlen +hexists +hgetall +publish +subscribe +unsubscribe";

const SHORT: Duration = Duration::from_millis(30);

/// Long enough for the next command, on a busy machine too.
const MIDDLE: Duration = Duration::from_millis(800);

fn text(value: Option<Vec<u8>>) -> Option<String> {
    value.map(|value| String::from_utf8(value).unwrap())
}

fn texts(values: Vec<Vec<u8>>) -> Vec<String> {
    values.into_iter().map(|value| String::from_utf8(value).unwrap()).collect()
}

fn some(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn a_value_is_seen_by_the_other_node_and_gone_when_deleted() {
    everywhere(|pair| async move {
        let (one, two) = (pair.one.state, pair.two.state);
        assert_eq!(one.get("k").await, Ok(None));
        one.set("k", b"v", LONG).await.unwrap();
        assert_eq!(two.get("k").await, Ok(Some(b"v".to_vec())));
        two.set("k", &[0, 255, 13, 10], LONG).await.unwrap();
        assert_eq!(one.get("k").await, Ok(Some(vec![0, 255, 13, 10])));
        assert_eq!(one.delete("k").await, Ok(true));
        assert_eq!((two.delete("k").await, two.get("k").await), (Ok(false), Ok(None)));
    });
}

#[test]
fn values_end_at_their_time_whatever_they_are() {
    everywhere(|pair| async move {
        let state = pair.one.state;
        state.set("value", b"v", SHORT).await.unwrap();
        state.increment("number", 1, SHORT).await.unwrap();
        state.push("list", b"v", 5, SHORT).await.unwrap();
        state.index_put("index", "f", b"v", SHORT).await.unwrap();
        assert!(state.compare_and_set("cas", None, Some(b"v"), SHORT).await.unwrap());
        eventually("all have ended", async || {
            state.get("value").await == Ok(None)
                && state.get("number").await == Ok(None)
                && state.range("list", 5).await == Ok(Vec::new())
                && state.index_list("index").await == Ok(Vec::new())
                && state.get("cas").await == Ok(None)
        })
        .await;
        assert_eq!(state.touch("value", LONG).await, Ok(false));
    });
}

#[test]
fn a_touch_lengthens_the_time_and_an_increment_does_not() {
    everywhere(|pair| async move {
        let state = pair.one.state;
        state.set("touched", b"v", MIDDLE).await.unwrap();
        assert_eq!(state.touch("touched", LONG).await, Ok(true));
        state.increment("window", 1, MIDDLE).await.unwrap();
        state.increment("window", 1, LONG).await.unwrap();
        eventually("the window ends", async || state.get("window").await == Ok(None)).await;
        assert_eq!(state.get("touched").await, Ok(Some(b"v".to_vec())));
    });
}

#[test]
fn a_compare_and_set_changes_only_what_it_expected() {
    everywhere(|pair| async move {
        let (one, two) = (pair.one.state, pair.two.state);
        assert_eq!(one.compare_and_set("k", Some(b"a"), Some(b"b"), LONG).await, Ok(false));
        assert_eq!(one.compare_and_set("k", None, Some(b"a"), LONG).await, Ok(true));
        assert_eq!(two.compare_and_set("k", None, Some(b"b"), LONG).await, Ok(false));
        assert_eq!(two.compare_and_set("k", Some(b"x"), Some(b"b"), LONG).await, Ok(false));
        assert_eq!(two.compare_and_set("k", Some(b"a"), Some(b""), LONG).await, Ok(true));
        assert_eq!(text(one.get("k").await.unwrap()), some(""));
        assert_eq!(one.compare_and_set("k", None, None, LONG).await, Ok(false));
        assert_eq!(one.compare_and_set("k", Some(b""), None, LONG).await, Ok(true));
        assert_eq!(one.get("k").await, Ok(None));
        assert_eq!(one.compare_and_set("k", None, None, LONG).await, Ok(true));
    });
}

#[test]
fn of_many_who_claim_one_key_one_gets_it() {
    everywhere(|pair| async move {
        let claims = (0..40).map(|index: u8| {
            let state = if index.is_multiple_of(2) { &pair.one.state } else { &pair.two.state };
            async move { state.compare_and_set("claim", None, Some(&[index]), LONG).await }
        });
        let won = join_all(claims).await.into_iter().filter(|claim| *claim == Ok(true)).count();
        assert_eq!(won, 1);
    });
}

#[test]
fn increments_from_everywhere_add_up() {
    everywhere(|pair| async move {
        let adds = (0..100).map(|index| {
            let state = if index % 2 == 0 { &pair.one.state } else { &pair.two.state };
            async move { state.increment("n", 3, LONG).await.unwrap() }
        });
        let mut sums = join_all(adds).await;
        sums.sort_unstable();
        assert_eq!(sums, (1..=100).map(|count| count * 3).collect::<Vec<i64>>());
        assert_eq!(pair.one.state.increment("n", -300, LONG).await, Ok(0));
    });
}

#[test]
fn a_quota_is_one_for_all_nodes_and_comes_back_with_time() {
    everywhere(|pair| async move {
        let hour = Quota::new(5, Duration::from_secs(3600), 5);
        let asks = (0..12).map(|index| {
            let state = if index % 2 == 0 { &pair.one.state } else { &pair.two.state };
            async move { state.spend("hour", hour).await.unwrap() }
        });
        let spent = join_all(asks).await;
        assert_eq!(spent.iter().filter(|spent| spent.is_allowed).count(), 5);
        let refused = spent.iter().find(|spent| !spent.is_allowed).unwrap();
        assert_eq!(refused.remaining, 0);
        assert!(refused.retry_after > Duration::from_secs(600), "{refused:?}");
        assert!(refused.retry_after <= Duration::from_secs(720), "{refused:?}");

        let quick = Quota::new(1, SHORT, 1);
        assert!(pair.one.state.spend("quick", quick).await.unwrap().is_allowed);
        let two = &pair.two.state;
        eventually("the quota comes back", async || {
            two.spend("quick", quick).await.unwrap().is_allowed
        })
        .await;
    });
}

#[test]
fn a_list_keeps_its_newest_items_and_gives_the_oldest_first() {
    everywhere(|pair| async move {
        let (one, two) = (pair.one.state, pair.two.state);
        for (item, count) in [("a", 1), ("b", 2), ("c", 3), ("d", 3)] {
            assert_eq!(one.push("l", item.as_bytes(), 3, LONG).await, Ok(count));
        }
        assert_eq!(texts(two.range("l", 10).await.unwrap()), ["b", "c", "d"]);
        assert_eq!(texts(two.range("l", 2).await.unwrap()), ["c", "d"]);
        assert_eq!(two.range("l", 0).await, Ok(Vec::new()));
        assert_eq!(texts(two.take("l", 2).await.unwrap()), ["b", "c"]);
        assert_eq!(two.take("l", 0).await, Ok(Vec::new()));
        assert_eq!(texts(one.take("l", 9).await.unwrap()), ["d"]);
        assert_eq!((one.take("l", 9).await, one.delete("l").await), (Ok(Vec::new()), Ok(false)));
    });
}

#[test]
fn an_index_tells_what_is_new_and_lists_in_order() {
    everywhere(|pair| async move {
        let (one, two) = (pair.one.state, pair.two.state);
        assert_eq!(one.index_put("i", "b", b"1", LONG).await, Ok(true));
        assert_eq!(two.index_put("i", "a", b"2", LONG).await, Ok(true));
        assert_eq!(two.index_put("i", "b", b"3", LONG).await, Ok(false));
        let listed = one.index_list("i").await.unwrap();
        assert_eq!(listed, [("a".to_owned(), b"2".to_vec()), ("b".to_owned(), b"3".to_vec())]);
        assert_eq!(one.index_remove("i", "a").await, Ok(true));
        assert_eq!(two.index_remove("i", "a").await, Ok(false));
        assert_eq!(two.index_remove("i", "b").await, Ok(true));
        assert_eq!(two.delete("i").await, Ok(false), "an empty index is gone");
    });
}

#[test]
fn an_index_that_is_full_takes_no_new_field_and_still_changes_its_own() {
    everywhere(|pair| async move {
        let state = &pair.one.state;
        for start in (0..INDEX_COUNT_MAX).step_by(256) {
            let puts = (start..start + 256).map(|index| async move {
                state.index_put("i", &index.to_string(), b"v", LONG).await.unwrap()
            });
            assert!(join_all(puts).await.into_iter().all(|is_new| is_new));
        }
        let full = Err(StateError::Full { what: "an index" });
        assert_eq!(state.index_put("i", "more", b"v", LONG).await, full);
        assert_eq!(state.index_put("i", "7", b"w", LONG).await, Ok(false));
    });
}

#[test]
fn what_is_over_a_bound_is_refused_before_it_is_sent() {
    everywhere(|pair| async move {
        let state = pair.one.state;
        let key = "k".repeat(KEY_SIZE_MAX + 1);
        let value = vec![0; VALUE_SIZE_MAX + 1];
        let before = pair.options.figures().command_count;
        let too_large = |answer: Result<(), StateError>| {
            assert!(matches!(answer, Err(StateError::TooLarge { .. })), "{answer:?}");
        };
        too_large(state.get(&key).await.map(drop));
        too_large(state.set("k", &value, LONG).await);
        too_large(state.compare_and_set("k", Some(&value), None, LONG).await.map(drop));
        too_large(state.push("k", &value, 1, LONG).await.map(drop));
        too_large(state.push("k", b"v", LIST_COUNT_MAX + 1, LONG).await.map(drop));
        too_large(state.index_put("k", &key, b"v", LONG).await.map(drop));
        too_large(pair.one.bus.publish("t", &value).await.map(drop));
        too_large(pair.one.bus.subscribe(&key).await.map(drop));
        assert_eq!(pair.options.figures().command_count, before);
    });
}

#[test]
fn the_largest_value_comes_back_as_it_went() {
    everywhere(|pair| async move {
        let value: Vec<u8> = (0..VALUE_SIZE_MAX).map(|index| (index % 251) as u8).collect();
        pair.one.state.set("big", &value, LONG).await.unwrap();
        assert!(pair.two.state.get("big").await.unwrap() == Some(value));
    });
}

/// Every request on every kind of value, and what came of it.
async fn transcript(state: &State) -> Vec<String> {
    let mut lines = Vec::new();
    for key in ["none", "text", "number", "huge", "list", "index"] {
        for request in 0..13 {
            fill(state).await;
            lines.push(format!("{request} on {key}: {}", ask(state, key, request).await));
            let rest = (state.get(key).await, state.range(key, 9).await);
            lines.push(format!("  then {rest:?} {:?}", state.index_list(key).await));
        }
    }
    lines
}

/// One key of each kind.
async fn fill(state: &State) {
    for key in ["none", "text", "number", "huge", "list", "index"] {
        state.delete(key).await.unwrap();
    }
    state.set("text", b"007", LONG).await.unwrap();
    state.set("number", b"41", LONG).await.unwrap();
    state.set("huge", b"9223372036854775807", LONG).await.unwrap();
    state.push("list", b"one", 5, LONG).await.unwrap();
    state.push("list", b"two", 5, LONG).await.unwrap();
    state.index_put("index", "field", b"value", LONG).await.unwrap();
}

async fn ask(state: &State, key: &str, request: usize) -> String {
    fn say(answer: impl Debug) -> String {
        format!("{answer:?}")
    }
    match request {
        0 => say(state.get(key).await),
        1 => say(state.set(key, b"new", LONG).await),
        2 => say(state.delete(key).await),
        3 => say(state.touch(key, LONG).await),
        4 => say(state.compare_and_set(key, None, Some(b"new"), LONG).await),
        5 => say(state.compare_and_set(key, Some(b"41"), Some(b"42"), LONG).await),
        6 => say(state.compare_and_set(key, Some(b"41"), None, LONG).await),
        7 => say(state.increment(key, 1, LONG).await),
        8 => say(state.push(key, b"three", 2, LONG).await),
        9 => say(state.range(key, 1).await),
        10 => say(state.take(key, 1).await),
        11 => say(state.index_put(key, "field", b"other", LONG).await),
        _ => say(state.index_remove(key, "field").await),
    }
}

#[test]
fn every_answer_is_the_same_in_memory_and_on_redis() {
    let memory = on_shard(Driver::Epoll, || async {
        let options = SharedOptions::memory(MemoryBounds::default());
        transcript(&Shared::start(&options, 0).unwrap().state).await
    });
    assert!(memory.iter().any(|line| line.contains("WrongKind")), "the kinds are told apart");
    // The rights that docs/decisions names are enough.
    let user = format!("--user default on nopass ~mcpgw:* &mcpgw:* -@all {RIGHTS}");
    let server = Server::with(&[&user]);
    for driver in drivers() {
        let options = patient_options(&server.url());
        let ask = move || async move { transcript(&started(&options, 0).await.state).await };
        let redis = on_shard(driver, ask);
        assert_eq!(redis, memory, "{driver}");
    }
}

#[test]
fn the_prefix_stands_before_every_key_and_topic() {
    let server = Server::start();
    let mut options = patient_options(&server.url());
    options.prefix = "mine:".to_owned();
    on_shard(drivers()[0], move || async move {
        let shared = started(&options, 0).await;
        shared.state.set("value", b"v", LONG).await.unwrap();
        shared.state.compare_and_set("cas", None, Some(b"v"), LONG).await.unwrap();
        let _subscription = shared.bus.subscribe("topic").await.unwrap();
        assert!(server.ask("KEYS *").starts_with("*2\r\n"), "{}", server.ask("KEYS *"));
        assert!(server.ask("KEYS mine:*").starts_with("*2\r\n"));
        assert!(server.ask("PUBSUB CHANNELS").contains("mine:topic"));
    });
}

#[test]
fn many_commands_at_once_share_one_connection() {
    let server = Server::start();
    for driver in drivers() {
        let options = patient_options(&server.url());
        on_shard(driver, move || async move {
            let shared = started(&options, 0).await;
            let state = &shared.state;
            let pairs = (0..500).map(|index| async move {
                let (key, value) = (format!("k{index}"), format!("v{index}"));
                state.set(&key, value.as_bytes(), LONG).await.unwrap();
                text(state.get(&key).await.unwrap()) == Some(value)
            });
            assert!(join_all(pairs).await.into_iter().all(|same| same));
            let figures = options.figures();
            assert_eq!((figures.connect_count, figures.in_flight_count), (1, 0));
            // A command that is given up does not shift the answers of the next ones.
            assert!(state.get("k1").now_or_never().is_none());
            assert_eq!(text(state.get("k2").await.unwrap()), some("v2"));
        });
    }
}

#[test]
fn the_connection_closes_with_the_last_handle() {
    let server = Server::start();
    for driver in drivers() {
        let options = patient_options(&server.url());
        let ask = server.port;
        on_shard(driver, move || async move {
            let Pair { one, two, options } =
                Pair { one: started(&options, 0).await, two: started(&options, 1).await, options };
            assert_eq!(options.figures().link_up_count, 2);
            drop((one, two));
            eventually("both links end", async || options.figures().link_count == 0).await;
            assert_eq!(options.figures().link_up_count, 0);
            eventually("the server sees it", async || {
                let clients = crate::server::ask(ask, "INFO clients").unwrap();
                clients.contains("connected_clients:1\r\n")
            })
            .await;
        });
    }
}

#[test]
fn every_type_but_redis_keeps_its_state_in_the_process() {
    for cache_type in ["memory", "database", "none"] {
        let mut options = SharedOptions::memory(MemoryBounds::default());
        options.cache_type = cache_type.parse().unwrap();
        assert!(!options.is_distributed());
        on_shard(Driver::Epoll, move || async move {
            let (one, two) =
                (Shared::start(&options, 0).unwrap(), Shared::start(&options, 1).unwrap());
            one.state.set("k", b"v", LONG).await.unwrap();
            assert_eq!(two.state.get("k").await, Ok(Some(b"v".to_vec())));
            assert!(one.ready(Duration::ZERO).await.is_ok() && one.is_up());
        });
    }
}
