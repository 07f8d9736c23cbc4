//! The leg to an upstream whose messages all come by one connection: over HTTP+SSE, the transport
//! of revision 2024-11-05, as the events of a stream, while each message up is a POST
//! (`link/sse.rs`); over a WebSocket both ways as texts (`link/socket.rs`).
//!
//! A leg keeps one connection per shard, opened by the first request and again when it was lost. All
//! requests of all clients share it, so the upstream sees ids and progress tokens of our own
//! counting, and who waits is found by them.

use std::{
    cell::{Cell, OnceCell, RefCell},
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use net::client::Deadline;
use shards::{local::Gate, task, time, watch};
use storage::record::Era;

use super::{
    Answer, Event, EventSource, Outgoing, Stream,
    discover::plain,
    http::{
        Call, Setup,
        answer::settle,
        errand::{self, Errands, cancelled},
        is_kind,
        single::Single,
        wire::Wire,
    },
    keyed::{Keyed, SessionKey},
    levels::{self, Levels},
    waiters::{Waiter, Waiters},
    watch::Ear,
};
use crate::{
    catalog::Upstream,
    failure::{Failure, UpstreamFailure, UpstreamKind},
    mcp::Capabilities,
};

mod backoff;
mod dispatch;
mod listen;
mod open;
mod socket;
mod sse;
#[cfg(test)]
mod tests;

use backoff::Backoff;
use socket::Outbox;

/// Most requests that wait for an answer on one connection.
const PENDING_COUNT_MAX: usize = 10_000;

/// What carries the messages of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// HTTP+SSE.
    Sse,
    /// A WebSocket.
    Socket,
}

/// The leg of one shard to one upstream over such a connection. Clones share it.
#[derive(Clone)]
pub struct LinkLeg(Rc<Shared>);

struct Shared {
    wire: Rc<Wire>,
    medium: Medium,
    era: Era,
    links: Keyed<Link>,
    backoff: Rc<Backoff>,
    next_id: Rc<Cell<u64>>,
    errands: Rc<Errands>,
}

/// A connection that is open, and who waits for something on it.
struct Link {
    wire: Rc<Wire>,
    era: Era,
    way_up: WayUp,
    /// Opened to close the connection.
    closing: Gate,
    /// Why it has ended.
    ended: RefCell<Option<UpstreamFailure>>,
    /// Opened behind that.
    gone: Gate,
    /// Who listens to what belongs to no request.
    ear: RefCell<Option<Rc<Ear>>>,
    /// When something was last heard, by the shard's coarse clock.
    heard_ms: Cell<u64>,
    waiters: Waiters,
    errands: Rc<Errands>,
    initialize_result: RefCell<Vec<u8>>,
    /// Of log messages; none before the handshake.
    levels: OnceCell<Levels>,
}

/// How messages get to the upstream.
enum WayUp {
    /// They are posted to this target.
    Posts(Rc<str>),
    /// They are put here, for who holds the socket.
    Outbox(Outbox),
}

impl LinkLeg {
    /// Makes a leg that speaks `era`; nothing is connected yet. HTTP+SSE is of the legacy era.
    ///
    /// # Errors
    ///
    /// A refused upstream, if its URL or one of its headers cannot be used.
    pub fn new(
        upstream: &Upstream,
        medium: Medium,
        era: Era,
        setup: Setup,
    ) -> Result<LinkLeg, Failure> {
        let links = Keyed::new(setup.limits.sessions);
        Ok(LinkLeg(Rc::new(Shared {
            wire: Rc::new(Wire::new(upstream, setup)?),
            medium,
            era,
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
        let key = self.0.key(outgoing);
        let link = self.0.ready_link(&key, outgoing, deadline).await?;
        match self.0.call(&link, outgoing, deadline).await {
            // Turned away before it was executed: it belongs to a session that is gone.
            Err(failure) if is_kind(&failure, UpstreamKind::SessionLost) => {
                self.0.drop_link(&link)?;
            }
            outcome => return outcome,
        }
        let link = self.0.ready_link(&key, outgoing, deadline).await?;
        self.0.call(&link, outgoing, deadline).await
    }

    /// Returns the raw result of `initialize`, opening the connection if need be; empty in the
    /// modern era, which has none.
    ///
    /// # Errors
    ///
    /// An upstream failure when it cannot be opened.
    pub async fn initialize_result(&self, within: Duration) -> Result<Vec<u8>, Failure> {
        let link = self.0.link(&SessionKey::default(), Deadline::after(within)).await?;
        let result = link.initialize_result.borrow().clone();
        Ok(result)
    }

    /// Closes the connection, which ends the session upstream, and idle ones.
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
    /// Which connection a request is for: an upstream of the stateless revision is told with each
    /// request what the client can do.
    fn key(&self, outgoing: &Outgoing<'_>) -> SessionKey {
        let key = SessionKey::of_shared(outgoing);
        match self.era {
            Era::Legacy => key,
            Era::Modern => SessionKey { capabilities: Capabilities::NONE, ..key },
        }
    }

    /// Returns the open connection. After attempts that failed it waits longer and longer before it
    /// tries again, and answers with the last failure meanwhile.
    async fn link(&self, key: &SessionKey, deadline: Deadline) -> Result<Rc<Link>, Failure> {
        let open = || {
            let opening = self.opening(key);
            let (next_id, backoff) = (self.next_id.clone(), self.backoff.clone());
            async move {
                backoff.check()?;
                let outcome = opening.run(&next_id, deadline).await;
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

    fn opening(&self, key: &SessionKey) -> open::Opening {
        open::Opening {
            wire: self.wire.clone(),
            medium: self.medium,
            era: self.era,
            key: key.clone(),
            errands: self.errands.clone(),
        }
    }

    fn new_id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        id
    }

    /// Where the connection of these clients is.
    fn single(&self, key: &SessionKey) -> Result<Rc<Single<Link>>, Failure> {
        let place = self.links.place(key, |link| link.waiters.count() == 0);
        let place = place.ok_or_else(|| self.wire.all_used())?;
        place.ended.iter().for_each(|link| link.closing.open());
        Ok(place.single)
    }

    /// Returns the open connection once its upstream gives the log messages that the client wants.
    async fn ready_link(
        &self,
        key: &SessionKey,
        outgoing: &Outgoing<'_>,
        deadline: Deadline,
    ) -> Result<Rc<Link>, Failure> {
        let link = self.link(key, deadline).await?;
        let due = link.levels.get().and_then(|levels| levels.due(outgoing.log_level));
        let Some(params) = due else { return Ok(link) };
        let setting = plain("logging/setLevel", params.as_bytes(), levels::WITHIN);
        match self.ask(&link, &setting).await {
            Ok(()) => Ok(link),
            // The request is worth its answer without them; but the connection may be lost by now.
            Err(_) => self.link(key, deadline).await,
        }
    }

    /// Asks something of our own, and waits for the answer.
    async fn ask(&self, link: &Rc<Link>, outgoing: &Outgoing<'_>) -> Result<(), Failure> {
        let deadline = Deadline::after(outgoing.within);
        let answer = Box::pin(self.call(link, outgoing, deadline)).await?;
        let Answer::Stream(mut stream) = answer else { return Ok(()) };
        while !matches!(stream.next().await?, Event::Reply(_)) {}
        Ok(())
    }

    fn drop_link(&self, link: &Rc<Link>) -> Result<(), Failure> {
        self.single(link.waiters.key())?.lose(link);
        link.closing.open();
        Ok(())
    }

    async fn call(
        &self,
        link: &Rc<Link>,
        outgoing: &Outgoing<'_>,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        let id = self.new_id();
        let call = Call::multiplexed(id, outgoing, self.era);
        let mut ticket = Ticket::new(link, &call, deadline)?;
        if let Err(failure) = link.send_call(&call, deadline).await {
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
                    // Not a sound since the request: it is dead, as after a peer's crash.
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
    /// Sends a request. Its answer comes by the connection.
    async fn send_call(&self, call: &Call<'_>, deadline: Deadline) -> Result<(), Failure> {
        match &self.way_up {
            WayUp::Posts(endpoint) => sse::post_call(&self.wire, endpoint, call, deadline).await,
            WayUp::Outbox(outbox) => {
                let mut message = Vec::with_capacity(call.body_size());
                call.write_body(&mut message);
                outbox.put(&self.wire, Some(call.id()), message)
            }
        }
    }

    /// Sends a message that is no request.
    async fn send(&self, message: Vec<u8>, deadline: Deadline) -> Result<(), Failure> {
        match &self.way_up {
            WayUp::Posts(endpoint) => sse::post(&self.wire, endpoint, &message, deadline).await,
            WayUp::Outbox(outbox) => outbox.put(&self.wire, None, message),
        }
    }

    /// Sends a message in a task of its own, if that takes time.
    fn run_errand(self: &Rc<Self>, message: Vec<u8>) {
        if let WayUp::Outbox(outbox) = &self.way_up {
            if let Err(failure) = outbox.put(&self.wire, None, message) {
                tracing::debug!(%failure, "a message to an upstream was not taken");
            }
            return;
        }
        let link = self.clone();
        self.errands.run(async move { link.send(message, Deadline::after(errand::WITHIN)).await });
    }

    /// Notes that the connection has ended, and tells all who wait.
    fn end(&self, failure: UpstreamFailure) {
        let mut waiters = self.waiters.take();
        if let WayUp::Outbox(outbox) = &self.way_up {
            let unsent = UpstreamFailure {
                kind: UpstreamKind::SessionLost,
                may_have_run: false,
                ..failure.clone()
            };
            for waiter in outbox.close().into_iter().filter_map(|id| waiters.remove(&id)) {
                waiter.push(Err(Failure::Upstream(unsent.clone())));
            }
        }
        for waiter in waiters.values() {
            waiter.push(Err(Failure::Upstream(failure.clone())));
        }
        *self.ended.borrow_mut() = Some(failure);
        self.gone.open();
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
        if link.waiters.count() >= PENDING_COUNT_MAX {
            let detail = format!("{PENDING_COUNT_MAX} requests wait for their answers");
            return Err(link.wire.failure(UpstreamKind::Full, detail, false));
        }
        let waiter = Waiter::new(call);
        link.waiters.enter(call.id(), waiter.clone());
        let (link, id, since_ms) = (link.clone(), call.id(), watch::clock_ms());
        Ok(Ticket { link, waiter, id, deadline, since_ms, first: None, is_settled: false })
    }

    async fn wait(&mut self) -> Result<Event, Failure> {
        loop {
            match self.waiter.pop() {
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
                    return Err(failure);
                }
                None => {}
            }
            let left = self.deadline.left();
            if self.is_settled || time::timeout(left, self.waiter.bell.wait()).await.is_err() {
                let kind = UpstreamKind::Timeout(self.deadline.within());
                return Err(self.link.wire.failure(kind, "no answer came by its connection", true));
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
        self.link.waiters.leave(self.id);
        if !self.is_settled && self.link.ended.borrow().is_none() {
            self.link.run_errand(cancelled(self.id));
        }
    }
}
