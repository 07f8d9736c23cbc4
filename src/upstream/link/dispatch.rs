//! What an upstream sends, given to who waits for it.

use std::rc::Rc;

use shards::buffer;

use super::{Link, NOTIFICATION_COUNT_MAX};
use crate::upstream::{
    Event, Question, Reply,
    http::{
        answer::Message,
        stream::{progress_token, restore_token},
    },
    levels::{is_log, whose},
    question::whom,
};

/// Gives a message to who waits for it.
pub(super) fn dispatch(link: &Rc<Link>, message: Vec<u8>) {
    match link.wire.message(&message) {
        Ok(Message::Reply { id: Some(id), outcome, span }) => {
            // Answers that nobody waits for any more are dropped.
            let waiter = link.waiters.borrow_mut().remove(&id);
            if let Some(waiter) = waiter {
                waiter.push(Ok(Event::Reply(Reply { bytes: message, span, outcome })));
            }
        }
        Ok(Message::Request { id, method, params }) => {
            if let Err(answer) = ask(link, &id, method, params) {
                link.run_errand(answer);
            }
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

/// Asks the client on whose behalf the upstream works, or returns our own answer.
fn ask(link: &Rc<Link>, id: &str, method: String, params: Option<String>) -> Result<(), Vec<u8>> {
    let waiters = link.waiters.borrow();
    let waiting =
        waiters.iter().filter_map(|(number, waiter)| Some((*number, waiter.asked?, waiter)));
    let waiter = whom(&link.key, &method, params.as_deref(), waiting).map_err(|answer| {
        let mut message = Vec::new();
        answer.write(&mut message, id);
        message
    })?;
    let poster = link.clone();
    let reply = move |message| poster.run_errand(message);
    waiter.push(Ok(Event::Question(Question::new(method, params.as_deref(), id, reply))));
    Ok(())
}

/// Gives progress to who asked for it, and log messages to whom they can only be for. Nothing else
/// belongs to a request of one client, and goes to who listens to the upstream.
fn notify(link: &Link, message: Vec<u8>) {
    let Some((_, Some(id))) = progress_token(&message) else {
        if let Some(ear) = &*link.ear.borrow() {
            ear.take(&message);
        } else if std::str::from_utf8(&message).is_ok_and(is_log) {
            return log(link, message);
        }
        return buffer::give(message);
    };
    let waiter = link.waiters.borrow().get(&id).cloned();
    let Some(waiter) = waiter.filter(|waiter| waiter.token.is_some()) else { return };
    if waiter.arrived.borrow().len() < NOTIFICATION_COUNT_MAX
        && let Some(restored) = restore_token(message, id, waiter.token.as_deref())
    {
        waiter.push(Ok(Event::Notification(restored)));
    }
}

fn log(link: &Link, message: Vec<u8>) {
    let waiters = link.waiters.borrow();
    let waiting = waiters.iter().filter(|(_, waiter)| waiter.asked.is_some());
    let waiter = whose(&link.key, waiting.map(|(number, waiter)| (*number, waiter)));
    match waiter.filter(|waiter| waiter.wants_logs) {
        Some(waiter) if waiter.arrived.borrow().len() < NOTIFICATION_COUNT_MAX => {
            waiter.push(Ok(Event::Notification(message)));
        }
        _ => buffer::give(message),
    }
}
