//! What children say by themselves.

use std::{cell::RefCell, collections::BTreeSet};

use super::*;
use crate::upstream::watch::{Ear, Told};

#[test]
fn listens_to_a_child_while_it_runs_and_starts_none_for_that() {
    on_each_driver(|| async {
        for mode in ["talks", "modern"] {
            let world = World::new(mode, limits());
            let heard = Rc::<RefCell<Vec<Told>>>::default();
            let uris = Rc::new(RefCell::new(BTreeSet::from(["a".to_owned()])));
            let (sink, wanted) = (heard.clone(), uris.clone());
            let hear = move |told| sink.borrow_mut().push(told);
            let ear = Rc::new(Ear::new(hear, move || wanted.borrow().clone()));
            let (host, ours) = (world.host.clone(), ear.clone());
            let watching = task::spawn(async move { host.watch("id", &ours).await });
            let until = async |expected: &[Told]| {
                let started = Instant::now();
                while *heard.borrow() != expected {
                    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", heard.borrow());
                    time::sleep(Duration::from_millis(5)).await;
                }
            };
            assert_eq!(world.log(), "", "nobody asked for the child yet");
            let leg = world.leg();
            result(&leg, r#"{"name":"echo"}"#).await;
            let updated = |uri: &str| Told::Updated(uri.to_owned());
            until(&[Told::Began, updated("a")]).await;
            *uris.borrow_mut() = BTreeSet::from(["b".to_owned()]);
            ear.bell.ring();
            until(&[Told::Began, updated("a"), updated("b")]).await;
            let left = if mode == "talks" { "resources/unsubscribe" } else { "cancelled" };
            world.noted(left).await;
            // Another child is asked for the same again.
            let _ = leg.request(&call(r#"{"name":"crash"}"#)).await;
            result(&leg, r#"{"name":"echo"}"#).await;
            until(&[Told::Began, updated("a"), updated("b"), Told::Began, updated("b")]).await;
            drop(watching);
            world.host.stop().await;
        }
    });
}
