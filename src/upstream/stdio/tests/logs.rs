//! Log messages of children.

use super::*;
use crate::upstream::LogWish;

#[test]
fn a_child_is_told_a_level_once_and_its_messages_go_to_whose_call_runs() {
    on_each_driver(|| async {
        let world = World::new("legacy", limits());
        let leg = world.leg();
        let params = r#"{"name":"log"}"#;
        // Who wants none gets none, and the child decides by itself.
        result(&leg, params).await;
        assert_eq!(world.count("logging/setLevel"), 0);
        for _ in 0..3 {
            let outgoing = Outgoing { log_level: Some(LogWish::named(3)), ..call(params) };
            let Ok(Answer::Stream(mut stream)) = leg.request(&outgoing).await else {
                panic!("the message comes first")
            };
            let Ok(Event::Notification(message)) = stream.next().await else { panic!("a message") };
            let message = String::from_utf8(message).unwrap();
            assert!(message.contains("notifications/message"), "{message}");
            assert!(matches!(stream.next().await, Ok(Event::Reply(_))));
        }
        assert_eq!(world.count(r#""method":"logging/setLevel","params":{"level":"warning"}"#), 1);
        world.host.stop().await;
    });
}
