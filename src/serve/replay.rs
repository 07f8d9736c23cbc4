//! Answers that stream to a session: they go on when the connection breaks, and a client that comes
//! back has the rest (2025-11-25, Transports, Resumability and Redelivery).

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use net::{
    http1::server::{BodyStream, Responder},
    sse,
};
use shards::{
    local::{Bell, Gate},
    task, time,
};
use storage::{record::new_id, shared::BusItem};

use crate::{
    failure::Failure,
    limits,
    mcp::{LEGACY, code},
    reply::{self, Messages},
    session::{Call, Entry, EventId, Log, Session, Sessions},
    state::Shard,
};

/// How often a stream that is followed is looked at anew, whatever was heard of it.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// What goes from who makes the messages to the connection.
#[derive(Default)]
struct Pipe {
    waiting: RefCell<VecDeque<Entry>>,
    /// Rung when there is something to read, or never will be again.
    to_read: Bell,
    /// Rung when there is room again, or nobody reads any more.
    to_write: Bell,
    is_read: Cell<bool>,
    is_done: Cell<bool>,
}

/// Answers with `messages`, which are made in a task of their own from now on: the client's leaving
/// cancels nothing. `id` is the raw id of the request.
pub fn play(
    shard: &Rc<Shard>,
    session: &Rc<Session>,
    id: &str,
    messages: Box<dyn Messages>,
    responder: &mut Responder,
) {
    let sessions = shard.sessions.as_ref().expect("a session is one of the shard's");
    let pipe = Rc::new(Pipe { is_read: Cell::new(true), ..Pipe::default() });
    let stream_id = new_id();
    let player = Player {
        log: sessions.log(session, &stream_id),
        id: id.to_owned(),
        call: Sessions::begin_call(sessions, session, id),
        session: session.clone(),
        pipe: pipe.clone(),
    };
    task::spawn(player.run(messages));
    // Clients of before would take an event without data for a message.
    let primes = session.ticket.revision == LEGACY[0];
    let retry_ms = primes.then_some(shard.settings.sessions.retry_ms as u64);
    responder.begin(200);
    responder.lines(reply::EVENTS);
    responder.finish_stream(Box::new(Playing { pipe, stream_id, retry_ms }));
}

/// Makes the messages.
struct Player {
    log: Log,
    /// The raw id of the request.
    id: String,
    call: Call,
    session: Rc<Session>,
    pipe: Rc<Pipe>,
}

impl Player {
    async fn run(self, mut messages: Box<dyn Messages>) {
        if let Err(error) = self.log.sign(&self.id).await {
            tracing::debug!(%error, "who makes a stream was not noted");
        }
        let mut number = 0;
        loop {
            let mut message = Vec::new();
            let next = messages.next(&mut message);
            let Some(more) = self.unless_over(next).await else { break };
            if !message.is_empty() {
                number += 1;
                self.put(Entry { number, is_last: !more, message }).await;
            }
            if !more {
                break;
            }
        }
        self.pipe.is_done.set(true);
        self.pipe.to_read.ring();
    }

    async fn put(&self, entry: Entry) {
        if let Err(error) = self.log.push(&entry).await {
            tracing::debug!(%error, "a message of a stream was not kept");
        }
        let pipe = &self.pipe;
        while pipe.is_read.get()
            && pipe.waiting.borrow().len() >= limits::STREAM_WAITING_COUNT_MAX
            && self.unless_over(pipe.to_write.wait()).await.is_some()
        {}
        if pipe.is_read.get() {
            pipe.waiting.borrow_mut().push_back(entry);
            pipe.to_read.ring();
        }
    }

    /// Waits for `future`, unless the client cancels the request or its session ends.
    async fn unless_over<F: Future>(&self, future: F) -> Option<F::Output> {
        let uncancelled = self.call.cancelled.unless(future);
        self.session.ended.unless(uncancelled).await.flatten()
    }
}

/// The connection's end of an answer.
struct Playing {
    pipe: Rc<Pipe>,
    stream_id: String,
    /// How long the client is to wait before it comes back; taken when the stream was primed.
    retry_ms: Option<u64>,
}

impl BodyStream for Playing {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            if let Some(retry_ms) = self.retry_ms.take() {
                prime(out, &self.stream_id, retry_ms);
                return true;
            }
            loop {
                let entry = self.pipe.waiting.borrow_mut().pop_front();
                if let Some(entry) = entry {
                    self.pipe.to_write.ring();
                    encode(out, &self.stream_id, &entry);
                    return !entry.is_last;
                }
                if self.pipe.is_done.get() {
                    return false;
                }
                self.pipe.to_read.wait().await;
            }
        })
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.pipe.is_read.set(false);
        self.pipe.to_write.ring();
    }
}

/// Begins a stream with an event that has nothing but an id, from which it can be taken up again.
fn prime(out: &mut Vec<u8>, stream_id: &str, retry_ms: u64) {
    sse::retry(out, retry_ms);
    let id = EventId { stream_id: stream_id.to_owned(), number: 0 }.to_string();
    sse::encode(out, None, Some(&id), b"");
}

fn encode(out: &mut Vec<u8>, stream_id: &str, entry: &Entry) {
    let id = EventId { stream_id: stream_id.to_owned(), number: entry.number }.to_string();
    sse::encode(out, Some("message"), Some(&id), &entry.message);
}

/// The rest of a stream that broke off, on whichever shard it goes on.
pub struct Resumed {
    log: Log,
    session: Rc<Session>,
    draining: Rc<Gate>,
    heard: Option<storage::shared::Subscription>,
    id: EventId,
    keepalive: Duration,
    /// How long nothing came.
    silence: Duration,
    /// How long nothing may come until nothing is expected any more.
    patience: Duration,
    /// How long the node that makes the messages was not there.
    orphaned: Duration,
    /// How long it must not be there until it is given up: it may just be unknown to a Redis that
    /// was started anew.
    orphaned_max: Duration,
}

impl Resumed {
    /// Takes up the stream of `id` behind that event.
    pub async fn open(shard: &Rc<Shard>, session: &Rc<Session>, id: EventId) -> Option<Resumed> {
        let sessions = shard.sessions.as_ref()?;
        let log = sessions.log(session, &id.stream_id);
        let heard = log.follow().await.ok();
        Some(Resumed {
            log,
            session: session.clone(),
            draining: shard.draining.clone(),
            heard,
            id,
            keepalive: shard.settings.http.sse_keepalive,
            silence: Duration::ZERO,
            patience: shard.settings.sessions.message_ttl,
            orphaned: Duration::ZERO,
            orphaned_max: shard.settings.cache.node_heartbeat * 2,
        })
    }

    /// Appends what there is behind the last event; true if the stream goes on.
    async fn read(&mut self, out: &mut Vec<u8>) -> bool {
        let entries = self.log.after(self.id.number).await.unwrap_or_default();
        for entry in entries {
            self.id.number = entry.number;
            encode(out, &self.id.stream_id, &entry);
            if entry.is_last {
                return false;
            }
        }
        true
    }

    /// Waits for more; false if nothing came for a while.
    async fn wait(&mut self) -> bool {
        let heard = async {
            match &mut self.heard {
                Some(heard) => matches!(heard.next().await, BusItem::Message(_) | BusItem::Lost),
                None => std::future::pending().await,
            }
        };
        let came = time::timeout(LOOK_WITHIN, heard).await.is_ok();
        if !came {
            self.silence += LOOK_WITHIN;
        }
        came
    }

    /// Appends the end of a stream whose node is gone, if it is.
    async fn give_up(&mut self, out: &mut Vec<u8>) -> bool {
        let orphan = self.log.orphan().await.ok().flatten();
        let Some(id) = orphan else {
            self.orphaned = Duration::ZERO;
            return false;
        };
        self.orphaned += LOOK_WITHIN;
        if self.orphaned <= self.orphaned_max {
            return false;
        }
        let text = "The node that worked on this request is gone, and its result with it; send the \
                    request again if it may be done twice";
        let failure = Failure::protocol(200, code::INTERNAL, text);
        let message = reply::error_message(Some(&id), &failure);
        let number = self.id.number + 1;
        encode(out, &self.id.stream_id, &Entry { number, is_last: true, message });
        true
    }
}

impl BodyStream for Resumed {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            loop {
                if !self.read(out).await {
                    return false;
                }
                if !out.is_empty() {
                    self.silence = Duration::ZERO;
                    return true;
                }
                let is_over = self.session.ended.is_open() || self.draining.is_open();
                if is_over || self.silence >= self.patience {
                    return false;
                }
                if !self.wait().await && self.give_up(out).await {
                    return false;
                }
                let is_due = !self.keepalive.is_zero()
                    && self.silence.as_secs() > 0
                    && self.silence.as_secs().is_multiple_of(self.keepalive.as_secs().max(1));
                if is_due {
                    sse::comment(out);
                    return true;
                }
            }
        })
    }
}
