//! The leg to an upstream over HTTP+SSE, the transport of revision 2024-11-05: one stream down,
//! one POST per message up.
//!
//! A leg keeps one stream per shard, opened by the first request and again when it was lost. All
//! requests of all clients share it, so the upstream sees ids and progress tokens of our own
//! counting, and who waits is found by them.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use ahash::AHashMap;
use net::{client::Deadline, http1::encode};
use shards::{
    local::{Bell, Gate},
    task, time, watch,
};

use super::{
    Answer, Event, EventSource, Outgoing, Stream,
    http::{
        Call, Setup,
        answer::settle,
        errand::{self, Errands, cancelled},
        is_kind,
        single::Single,
        wire::{Shipment, Wire},
    },
    keyed::{Keyed, SessionKey},
    watch::Ear,
};
use crate::{
    catalog::Upstream,
    failure::{Failure, UpstreamFailure, UpstreamKind},
    mcp::Capabilities,
};

mod backoff;
mod listen;
mod open;
mod reader;
#[cfg(test)]
mod tests;

use backoff::Backoff;

/// Most requests that wait for an answer on one stream.
const PENDING_COUNT_MAX: usize = 10_000;

/// Most notifications that wait for one client; those beyond are dropped, since a client that does
/// not read must not fill the memory. None of them is promised to arrive.
const NOTIFICATION_COUNT_MAX: usize = 256;

/// The leg of one shard to one upstream over HTTP+SSE. Clones share it.
#[derive(Clone)]
pub struct SseLeg(Rc<Shared>);

struct Shared {
    wire: Rc<Wire>,
    links: Keyed<Link>,
    backoff: Rc<Backoff>,
    next_id: Rc<Cell<u64>>,
    errands: Rc<Errands>,
}

/// A stream that is open, and who waits for something on it.
struct Link {
    wire: Rc<Wire>,
    key: SessionKey,
    /// Where messages are posted.
    endpoint: Rc<str>,
    /// Opened to close the stream.
    closing: Gate,
    /// Why the stream has ended.
    ended: RefCell<Option<UpstreamFailure>>,
    /// Opened behind that.
    gone: Gate,
    /// Who listens to what belongs to no request.
    ear: RefCell<Option<Rc<Ear>>>,
    /// When something was last heard, by the shard's coarse clock.
    heard_ms: Cell<u64>,
    waiters: RefCell<AHashMap<u64, Rc<Waiter>>>,
    errands: Rc<Errands>,
    initialize_result: RefCell<Vec<u8>>,
}

/// Who waits for the answer to one request.
struct Waiter {
    /// The client's own progress token.
    token: Option<Vec<u8>>,
    /// What it can be asked meanwhile; `None` if it is not for the upstream to ask.
    asked: Option<Capabilities>,
    arrived: RefCell<VecDeque<Result<Event, UpstreamFailure>>>,
    bell: Bell,
}

impl SseLeg {
    /// Makes a leg; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// A refused upstream, if its URL or one of its headers cannot be used.
    pub fn new(upstream: &Upstream, setup: Setup) -> Result<SseLeg, Failure> {
        let links = Keyed::new(setup.limits.sessions);
        Ok(SseLeg(Rc::new(Shared {
            wire: Rc::new(Wire::new(upstream, setup)?),
            links,
            backoff: Rc::default(),
            next_id: Rc::new(Cell::new(1)),
            errands: Rc::default(),
        })))
    }

    /// Sends a request and waits for its answer, or for the first notification before it.
    ///
    /// # Errors
    ///
    /// An upstream failure.
    pub async fn request(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        let deadline = Deadline::after(outgoing.within);
        let key = SessionKey::of_shared(outgoing);
        let link = self.0.link(&key, deadline).await?;
        match self.0.call(&link, outgoing, deadline).await {
            // Turned away before it was executed: the stream belongs to a session that is gone.
            Err(failure) if is_kind(&failure, UpstreamKind::SessionLost) => {
                self.0.drop_link(&link)?;
            }
            outcome => return outcome,
        }
        let link = self.0.link(&key, deadline).await?;
        self.0.call(&link, outgoing, deadline).await
    }

    /// Returns the raw result of `initialize`, opening the stream if need be.
    ///
    /// # Errors
    ///
    /// An upstream failure when it cannot be opened.
    pub async fn initialize_result(&self, within: Duration) -> Result<Vec<u8>, Failure> {
        let link = self.0.link(&SessionKey::default(), Deadline::after(within)).await?;
        let result = link.initialize_result.borrow().clone();
        Ok(result)
    }

    /// Closes the stream, which ends the session upstream, and idle connections.
    pub fn close(&self) {
        self.0.links.take().iter().for_each(|link| link.closing.open());
        self.0.wire.pool.clear();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if task::is_running() {
            self.links.take().iter().for_each(|link| link.closing.open());
        }
    }
}

impl Shared {
    /// Returns the open stream. After attempts that failed it waits longer and longer before it
    /// tries again, and answers with the last failure meanwhile.
    async fn link(&self, key: &SessionKey, deadline: Deadline) -> Result<Rc<Link>, Failure> {
        let open = || {
            let (wire, errands, key) = (self.wire.clone(), self.errands.clone(), key.clone());
            let (next_id, backoff) = (self.next_id.clone(), self.backoff.clone());
            async move {
                backoff.check()?;
                let outcome = open::open(wire, errands, key, &next_id, deadline).await;
                backoff.note(&outcome);
                outcome
            }
        };
        let single = self.single(key)?;
        let link = single.get(&self.wire, deadline, open).await?;
        if link.ended.borrow().is_none() {
            return Ok(link);
        }
        // It was lost since; this is the first to see.
        single.lose(&link);
        single.get(&self.wire, deadline, open).await
    }

    /// Where the stream of these clients is.
    fn single(&self, key: &SessionKey) -> Result<Rc<Single<Link>>, Failure> {
        let place = self.links.place(key, |link| link.waiters.borrow().is_empty());
        let place = place.ok_or_else(|| self.wire.all_used())?;
        place.ended.iter().for_each(|link| link.closing.open());
        Ok(place.single)
    }

    fn drop_link(&self, link: &Rc<Link>) -> Result<(), Failure> {
        self.single(&link.key)?.lose(link);
        link.closing.open();
        Ok(())
    }

    async fn call(
        &self,
        link: &Rc<Link>,
        outgoing: &Outgoing<'_>,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let call = Call::legacy(id, outgoing);
        let mut ticket = Ticket::new(link, &call, deadline)?;
        if let Err(failure) = link.post_call(&call, deadline).await {
            ticket.is_settled = !is_late(&failure);
            return Err(failure);
        }
        match ticket.wait().await {
            Ok(Event::Reply(reply)) => Ok(Answer::Whole(reply)),
            Ok(notification) => {
                ticket.first = Some(notification);
                Ok(Answer::Stream(Stream::new(Box::new(ticket))))
            }
            Err(failure) => {
                if is_late(&failure) && link.heard_ms.get() < ticket.since_ms {
                    // Not a sound since the request: the stream is dead, as after a peer's crash.
                    self.drop_link(link)?;
                }
                Err(failure)
            }
        }
    }
}

fn is_late(failure: &Failure) -> bool {
    matches!(failure, Failure::Upstream(UpstreamFailure { kind: UpstreamKind::Timeout(_), .. }))
}

impl Link {
    /// Posts a request. Its answer comes by the stream.
    async fn post_call(&self, call: &Call<'_>, deadline: Deadline) -> Result<(), Failure> {
        let write = |out: &mut Vec<u8>, path: &str| {
            self.write_head(out, path, call.body_size());
            call.write_body(out);
        };
        // The stream would carry the answer twice, so nothing is repeated here.
        let shipment = Shipment::post(&write, false).to(self.endpoint.clone());
        match errand::post(&self.wire, shipment, deadline).await {
            Err(failure) if is_kind(&failure, UpstreamKind::Status(404)) => {
                let detail = "it does not know its session any more";
                Err(self.wire.failure(UpstreamKind::SessionLost, detail, false))
            }
            outcome => outcome,
        }
    }

    /// Posts a message that is no request.
    async fn post(&self, message: &[u8], deadline: Deadline) -> Result<(), Failure> {
        let write = |out: &mut Vec<u8>, path: &str| {
            self.write_head(out, path, message.len());
            out.extend_from_slice(message);
        };
        let shipment = Shipment::post(&write, true).to(self.endpoint.clone());
        errand::post(&self.wire, shipment, deadline).await
    }

    fn write_head(&self, out: &mut Vec<u8>, path: &str, body_size: usize) {
        encode::begin_request(out, "POST", path);
        out.extend_from_slice(self.wire.lines());
        encode::lines(out, "content-type: application/json\r\naccept: application/json\r\n");
        encode::content_length(out, body_size);
        encode::end(out);
    }

    /// Posts a message in a task of its own.
    fn run_errand(self: &Rc<Self>, message: Vec<u8>) {
        let link = self.clone();
        self.errands.run(async move { link.post(&message, Deadline::after(errand::WITHIN)).await });
    }

    /// Notes that the stream has ended, and tells all who wait.
    fn end(&self, failure: UpstreamFailure) {
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        for waiter in waiters.values() {
            waiter.push(Err(failure.clone()));
        }
        *self.ended.borrow_mut() = Some(failure);
        self.gone.open();
    }
}

impl Waiter {
    fn push(&self, event: Result<Event, UpstreamFailure>) {
        self.arrived.borrow_mut().push_back(event);
        self.bell.ring();
    }
}

/// A place among those who wait. Dropped before its answer came, it cancels the request.
struct Ticket {
    link: Rc<Link>,
    waiter: Rc<Waiter>,
    id: u64,
    deadline: Deadline,
    since_ms: u64,
    /// What was read to find out that this is a stream.
    first: Option<Event>,
    is_settled: bool,
}

impl Ticket {
    fn new(link: &Rc<Link>, call: &Call<'_>, deadline: Deadline) -> Result<Ticket, Failure> {
        if let Some(failure) = &*link.ended.borrow() {
            let failure = UpstreamFailure { may_have_run: false, ..failure.clone() };
            return Err(Failure::Upstream(failure));
        }
        let mut waiters = link.waiters.borrow_mut();
        if waiters.len() >= PENDING_COUNT_MAX {
            let detail = format!("{PENDING_COUNT_MAX} requests wait for their answers");
            return Err(link.wire.failure(UpstreamKind::Full, detail, false));
        }
        let (arrived, bell) = Default::default();
        let (token, asked) = (call.token(), call.asked());
        let waiter = Rc::new(Waiter { token, asked, arrived, bell });
        waiters.insert(call.id(), waiter.clone());
        let (link, id, since_ms) = (link.clone(), call.id(), watch::clock_ms());
        Ok(Ticket { link, waiter, id, deadline, since_ms, first: None, is_settled: false })
    }

    async fn wait(&mut self) -> Result<Event, Failure> {
        loop {
            let arrived = self.waiter.arrived.borrow_mut().pop_front();
            match arrived {
                Some(Ok(Event::Reply(reply))) => {
                    self.is_settled = true;
                    return settle(&self.link.wire, reply).map(Event::Reply);
                }
                Some(Ok(event)) => {
                    if matches!(event, Event::Question(_)) {
                        // Who is asked decides how long it takes.
                        self.deadline.extend(self.link.wire.limits.answer_within);
                    }
                    return Ok(event);
                }
                Some(Err(failure)) => {
                    self.is_settled = true;
                    return Err(Failure::Upstream(failure));
                }
                None => {}
            }
            let left = self.deadline.left();
            if self.is_settled || time::timeout(left, self.waiter.bell.wait()).await.is_err() {
                let kind = UpstreamKind::Timeout(self.deadline.within());
                return Err(self.link.wire.failure(kind, "no answer came by its stream", true));
            }
        }
    }
}

impl EventSource for Ticket {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Event, Failure>> + '_>> {
        Box::pin(async move {
            match self.first.take() {
                Some(event) => Ok(event),
                None => self.wait().await,
            }
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.link.waiters.borrow_mut().remove(&self.id);
        if !self.is_settled && self.link.ended.borrow().is_none() {
            self.link.run_errand(cancelled(self.id));
        }
    }
}
