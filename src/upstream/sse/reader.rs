//! The task that reads a stream and gives each message to who waits for it.

use std::{collections::VecDeque, rc::Rc};

use net::{client::Streaming, sse::Decoder};
use shards::{buffer, task, watch};

use super::{Link, NOTIFICATION_COUNT_MAX};
use crate::{
    failure::{Failure, UpstreamFailure, UpstreamKind},
    upstream::{
        Event, Question, Reply,
        http::{
            answer::Message,
            stream::{decode, progress_token, restore_token},
        },
        question::whom,
        watch::Pace,
    },
};

/// Reads until the stream ends or is closed. `rest` was read already.
pub(super) async fn run(
    link: Rc<Link>,
    mut streaming: Streaming,
    mut decoder: Decoder,
    rest: Vec<u8>,
) {
    // Also after a panic, those who wait must hear of it.
    let ended = task::guard(read(&link, &mut streaming, &mut decoder, rest)).await;
    let failure = match ended {
        Ok(Failure::Upstream(failure)) => UpstreamFailure { may_have_run: true, ..failure },
        Ok(other) => link.wire.upstream_failure(UpstreamKind::Broken, other.to_string(), true),
        Err(panic) => link.wire.upstream_failure(UpstreamKind::Broken, panic.0, true),
    };
    link.end(failure);
}

async fn read(
    link: &Rc<Link>,
    streaming: &mut Streaming,
    decoder: &mut Decoder,
    rest: Vec<u8>,
) -> Failure {
    let (mut arrived, mut pace) = (VecDeque::new(), Pace::new());
    let mut refused = decode(decoder, &rest, &mut arrived).err();
    loop {
        // Only what serves no requests can be held back.
        if link.ear.borrow().is_some() {
            pace.note(arrived.len()).await;
        }
        for message in arrived.drain(..) {
            dispatch(link, message);
        }
        if let Some(error) = refused {
            return link.wire.failure(UpstreamKind::TooLarge, error.to_string(), true);
        }
        let next = streaming.next(|bytes| {
            if let Err(error) = decode(decoder, bytes, &mut arrived) {
                refused = Some(error);
            }
        });
        match link.closing.unless(next).await {
            None => return link.wire.failure(UpstreamKind::Broken, "its stream was closed", true),
            Some(Err(error)) => return link.wire.broken(&error),
            Some(Ok(false)) if arrived.is_empty() => {
                return link.wire.failure(UpstreamKind::Broken, "its stream ended", true);
            }
            Some(Ok(_)) => link.heard_ms.set(watch::clock_ms()),
        }
    }
}

fn dispatch(link: &Rc<Link>, message: Vec<u8>) {
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

/// Gives progress to who asked for it. Nothing else belongs to a request of one client, and goes to who
/// listens to the upstream.
fn notify(link: &Link, message: Vec<u8>) {
    let Some((_, Some(id))) = progress_token(&message) else {
        if let Some(ear) = &*link.ear.borrow() {
            ear.take(&message);
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
