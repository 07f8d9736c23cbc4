//! What an upstream sends, given to who waits for it.

use std::rc::Rc;

use shards::buffer;

use super::Link;
use crate::upstream::{Event, Reply, http::answer::Message};

/// Gives a message to who waits for it.
pub(super) fn dispatch(link: &Rc<Link>, message: Vec<u8>) {
    match link.wire.message(&message) {
        Ok(Message::Reply { id: Some(id), outcome, span }) => {
            // Answers that nobody waits for any more are dropped.
            if let Some(waiter) = link.waiters.leave(id) {
                waiter.push(Ok(Event::Reply(Reply { bytes: message, span, outcome })));
            }
        }
        Ok(Message::Request { id, method, params }) => {
            let poster = link.clone();
            let reply = move |message| poster.run_errand(message);
            link.waiters.ask(&id, method, params.as_deref(), reply);
        }
        Ok(Message::Notification) => notify(link, message),
        Ok(Message::Reply { id: None, .. }) => {
            tracing::debug!("an upstream's error names no request");
            buffer::give(message);
        }
        Err(failure) => {
            tracing::debug!(%failure, "a message of an upstream is dropped");
            buffer::give(message);
        }
    }
}

/// Gives a notification to who listens to the upstream, where that is all that the connection is for,
/// else to the request that it belongs to.
fn notify(link: &Link, message: Vec<u8>) {
    match &*link.ear.borrow() {
        Some(ear) => {
            ear.take(&message);
            buffer::give(message);
        }
        None => link.waiters.notify(message),
    }
}
