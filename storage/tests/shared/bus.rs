//! Messages: the same in memory and on Redis.

use storage::shared::{BusItem, Reach};

use crate::harness::{
    Pair, drivers, eventually, everywhere, message, next, on_shard, patient_options, started,
};
use crate::server::Server;

#[test]
fn every_node_gets_a_message_the_publisher_too_and_in_order() {
    everywhere(|pair| async move {
        let mut here = pair.one.bus.subscribe("news").await.unwrap();
        let mut there = pair.two.bus.subscribe("news").await.unwrap();
        let mut elsewhere = pair.two.bus.subscribe("sports").await.unwrap();
        for index in 0..50 {
            let sent = pair.one.bus.publish("news", index.to_string().as_bytes()).await;
            assert_eq!(sent, Ok(Reach::Somebody));
        }
        for index in 0..50 {
            let expected = message(&index.to_string());
            assert_eq!(next(&mut here).await, expected);
            assert_eq!(next(&mut there).await, expected);
        }
        assert_eq!(elsewhere.try_next(), None);
    });
}

#[test]
fn a_message_to_nobody_is_said_to_be_one() {
    everywhere(|pair| async move {
        assert_eq!(pair.one.bus.publish("news", b"x").await, Ok(Reach::Nobody));
        let subscription = pair.two.bus.subscribe("news").await.unwrap();
        assert_eq!(pair.one.bus.publish("news", b"x").await, Ok(Reach::Somebody));
        drop(subscription);
        eventually("the subscription ends", async || {
            pair.one.bus.publish("news", b"x").await == Ok(Reach::Nobody)
        })
        .await;
    });
}

#[test]
fn a_topic_that_is_left_and_joined_again_at_once_is_heard() {
    everywhere(|pair| async move {
        for round in 0..20 {
            let text = round.to_string();
            let mut subscription = pair.one.bus.subscribe("news").await.unwrap();
            pair.two.bus.publish("news", text.as_bytes()).await.unwrap();
            assert_eq!(next(&mut subscription).await, message(&text));
        }
    });
}

#[test]
fn a_direct_message_reaches_the_shard_that_it_is_for_and_no_other() {
    everywhere(|Pair { one, two, .. }| async move {
        let mut first = one.bus.inbox("x").await.unwrap();
        let mut second = two.bus.inbox("x").await.unwrap();
        let (id, shard) = (two.bus.node_id().to_owned(), two.bus.shard_index());
        assert_eq!(one.bus.send("x", &id, shard, b"for two").await, Ok(Reach::Somebody));
        assert_eq!(next(&mut second).await, message("for two"));
        assert_eq!(one.bus.send("x", &id, shard + 1, b"x").await, Ok(Reach::Nobody));
        assert_eq!(two.bus.send("x", one.bus.node_id(), 0, b"for one").await, Ok(Reach::Somebody));
        assert_eq!(next(&mut first).await, message("for one"));
        assert_eq!((first.try_next(), second.try_next()), (None, None));
    });
}

#[test]
fn an_inbox_of_another_purpose_is_another() {
    everywhere(|Pair { one, two, .. }| async move {
        let mut letters = two.bus.inbox("letters").await.unwrap();
        let (id, shard) = (two.bus.node_id().to_owned(), two.bus.shard_index());
        assert_eq!(one.bus.send("bills", &id, shard, b"x").await, Ok(Reach::Nobody));
        assert_eq!(one.bus.send("letters", &id, shard, b"y").await, Ok(Reach::Somebody));
        assert_eq!(next(&mut letters).await, message("y"));
    });
}

#[test]
fn a_subscriber_that_is_behind_is_told_that_it_lost_some() {
    everywhere(|pair| async move {
        let count = pair.options.subscriber_queue_count_max + 10;
        let mut slow = pair.one.bus.subscribe("news").await.unwrap();
        for index in 0..count {
            pair.two.bus.publish("news", index.to_string().as_bytes()).await.unwrap();
        }
        eventually("the loss is noticed", async || pair.options.figures().lost_count == 1).await;
        assert_eq!(next(&mut slow).await, BusItem::Lost);
        assert_eq!(next(&mut slow).await, message("0"), "what was queued is still there");
    });
}

#[test]
fn a_shard_asks_the_server_for_a_topic_once_however_many_subscribe() {
    let server = Server::start();
    let options = patient_options(&server.url());
    on_shard(drivers()[0], move || async move {
        let shared = started(&options, 0).await;
        let mut first = shared.bus.subscribe("news").await.unwrap();
        let mut second = shared.bus.subscribe("news").await.unwrap();
        assert!(server.ask("PUBSUB NUMSUB mcpgw:news").ends_with(":1\r\n"));
        shared.bus.publish("news", b"x").await.unwrap();
        assert_eq!((next(&mut first).await, next(&mut second).await), (message("x"), message("x")));
        drop(first);
        shared.bus.publish("news", b"y").await.unwrap();
        assert_eq!(next(&mut second).await, message("y"), "the topic stays for the other");
        drop(second);
        eventually("the server is told", async || {
            server.ask("PUBSUB NUMSUB mcpgw:news").ends_with(":0\r\n")
        })
        .await;
    });
}
