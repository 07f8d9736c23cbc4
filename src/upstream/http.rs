//! The leg to an upstream over streamable HTTP: one POST per request, in either era.
//!
//! A leg belongs to one shard and one upstream. In the modern era it keeps nothing between
//! requests; in the legacy era it keeps one session, opened by the first request that needs it and
//! opened again when the upstream has forgotten it.
//!
//! A request is sent again, once and on a fresh connection, only if it cannot have been executed
//! or does no harm when it is executed twice. So `tools/call` is repeated when no connection came
//! about or the request could not be handed over whole, but not when a kept connection turned out
//! to be closed after the request was written: the upstream may have acted on it and died.

use std::{cell::Cell, net::SocketAddr, pin::Pin, rc::Rc, time::Duration};

use net::{
    client::{Deadline, Response},
    tls::Connector,
};
use shards::task;
use storage::record::Era;

use super::{
    Answer, Event, Outgoing, Reply,
    discover::plain,
    keyed::{Keyed, KeyedLimits, SessionKey},
    levels,
};
use crate::{
    catalog::Upstream,
    failure::{Failure, UpstreamFailure, UpstreamKind},
    mcp::Capabilities,
};

pub(crate) mod answer;
mod aside;
mod attended;
mod call;
pub(super) mod errand;
mod listen;
pub(super) mod session;
pub(super) mod single;
pub(super) mod stream;
#[cfg(test)]
pub(super) mod tests;
pub(crate) mod wire;

pub(super) use call::Call;
use call::{Envelope, Heading};
use errand::{Cancel, Errands};
use session::Session;
use single::Single;
use stream::Reader;
use wire::{Shipment, Wire};

/// The newest revision with a handshake, which is offered in it.
pub(super) const LEGACY_REVISION: &str = "2025-11-25";

/// Who we say we are.
pub(super) const CLIENT_INFO: &str =
    concat!("{\"name\":\"ringway\",\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}");

/// Bounds of a leg.
#[derive(Clone, Debug)]
pub struct LegLimits {
    /// How long opening a connection may take, all addresses and TLS together.
    pub connect_within: Duration,
    /// How long the first byte of an answer may take.
    pub first_byte_within: Duration,
    /// Most bytes of an answer, or of one message of an answer that streams.
    pub answer_size_max: usize,
    /// Most connections to the upstream, on this shard.
    pub connections_max: usize,
    /// Most requests that wait for a connection, on this shard.
    pub waiting_max: usize,
    /// How long a request may wait for a connection.
    pub wait_within: Duration,
    /// Most connections that are kept while idle, on this shard.
    pub idle_max: usize,
    /// How long an idle connection is kept; below what servers commonly keep, which is 5 seconds.
    pub idle_within: Duration,
    /// How long an upstream over a WebSocket may be silent until it is pinged; zero for never.
    pub ping_after: Duration,
    /// How long a client may take to answer a question of the upstream.
    pub answer_within: Duration,
    /// How many sessions there are on this shard, and how long.
    pub sessions: KeyedLimits,
    /// Most levels of objects and arrays in an answer.
    pub json_depth_max: usize,
}

/// A lookup under way.
pub type Resolving = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, Failure>>>>;

/// Looks up the addresses of a host and refuses those that are not allowed.
pub type Resolver = Rc<dyn Fn(String, u16) -> Resolving>;

/// What a leg needs from its surroundings.
#[derive(Clone)]
pub struct Setup {
    /// The bounds.
    pub limits: LegLimits,
    /// Finds addresses.
    pub resolver: Resolver,
    /// Whom to trust over TLS; needed for https.
    pub connector: Option<Connector>,
}

/// The leg of one shard to one upstream over streamable HTTP. Clones share it.
#[derive(Clone)]
pub struct HttpLeg(Rc<Shared>);

/// What came to a request.
enum Arrived {
    /// The reply.
    Whole(Reply),
    /// The beginning of a stream that ends with it.
    Streaming(Response),
}

struct Shared {
    wire: Rc<Wire>,
    era: Era,
    sessions: Keyed<Session>,
    next_id: Cell<u64>,
    errands: Errands,
}

impl HttpLeg {
    /// Makes a leg that speaks `era`; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// A refused upstream, if its URL or one of its headers cannot be used.
    pub fn new(upstream: &Upstream, era: Era, setup: Setup) -> Result<HttpLeg, Failure> {
        let sessions = Keyed::new(setup.limits.sessions);
        let wire = Wire::new(upstream, setup)?;
        Ok(HttpLeg(Rc::new(Shared {
            wire: Rc::new(wire),
            era,
            sessions,
            next_id: Cell::new(1),
            errands: Errands::default(),
        })))
    }

    /// Sends a request and waits for its answer, or for the beginning of one that streams.
    ///
    /// # Errors
    ///
    /// An upstream failure; or [`Failure::Protocol`] with -32020 or -32022 when a modern upstream
    /// disagrees about headers (read its lists again) or about the revision (ask for its era
    /// again).
    pub async fn request(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        let deadline = Deadline::after(outgoing.within);
        match self.0.era {
            Era::Modern => {
                let call = Call::modern(self.0.id(), outgoing);
                self.0.call(&call, None, deadline).await
            }
            Era::Legacy => self.0.call_in_session(outgoing, deadline).await,
        }
    }

    /// Returns the raw result of `initialize`, opening the session if need be; nothing in the
    /// modern era, which has none, and from servers that know no `initialize`.
    ///
    /// # Errors
    ///
    /// An upstream failure when the session cannot be opened.
    pub async fn initialize_result(&self, within: Duration) -> Result<Option<Vec<u8>>, Failure> {
        if self.0.era == Era::Modern {
            return Ok(None);
        }
        let key = SessionKey { capabilities: Capabilities::RELAYED, client: None };
        let session = self.0.session(&key, Deadline::after(within)).await?;
        Ok(session.initialize_result.clone())
    }

    /// Ends the session upstream, if there is one, and closes idle connections. Best effort, within
    /// a few seconds.
    pub async fn close(&self) {
        for session in self.0.sessions.take() {
            errand::delete(&self.0.wire, &session).await;
        }
        self.0.wire.pool.clear();
    }
}

impl Shared {
    fn id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        id
    }

    /// Calls within the session; if the upstream has lost it, once more in a new one. Such a
    /// request was turned away before it was executed.
    async fn call_in_session(
        self: &Rc<Self>,
        outgoing: &Outgoing<'_>,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        let key = SessionKey::of(outgoing);
        let session = self.session(&key, deadline).await?;
        self.raise_level(&session, outgoing).await;
        let call = Call::legacy(self.id(), outgoing);
        match self.call(&call, Some(&session), deadline).await {
            Err(failure) if is_kind(&failure, UpstreamKind::SessionLost) => {
                self.single(&key)?.lose(&session);
            }
            outcome => return outcome,
        }
        let session = self.session(&key, deadline).await?;
        self.raise_level(&session, outgoing).await;
        let call = Call::legacy(self.id(), outgoing);
        self.call(&call, Some(&session), deadline).await
    }

    /// Has the upstream give more log messages, if the client wants more than any before.
    async fn raise_level(self: &Rc<Self>, session: &Rc<Session>, outgoing: &Outgoing<'_>) {
        if let Some(params) = session.levels.due(outgoing.log_level) {
            // The request is worth its answer without them.
            let _ = Box::pin(self.set_level(session, &params)).await;
        }
    }

    async fn set_level(
        self: &Rc<Self>,
        session: &Rc<Session>,
        params: &str,
    ) -> Result<(), Failure> {
        let outgoing = plain("logging/setLevel", params.as_bytes(), levels::WITHIN);
        let call = Call::legacy(self.id(), &outgoing);
        let deadline = Deadline::after(levels::WITHIN);
        let answer = self.call(&call, Some(session), deadline).await?;
        let Answer::Stream(mut stream) = answer else { return Ok(()) };
        while !matches!(stream.next().await?, Event::Reply(_)) {}
        Ok(())
    }

    async fn call(
        self: &Rc<Self>,
        call: &Call<'_>,
        session: Option<&Rc<Session>>,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        if let Some(session) = session.filter(|_| call.is_attended()) {
            return Box::pin(self.attend(call, session, deadline)).await;
        }
        let is_deaf = call.asked().is_some();
        let mut cancel = session.map(|session| Cancel::new(self, session, call.id(), is_deaf));
        let outcome = self.converse(call, session, deadline, &mut cancel).await;
        if let Some(cancel) = cancel {
            cancel.settle(outcome.as_ref().err());
        }
        outcome
    }

    async fn converse(
        self: &Rc<Self>,
        call: &Call<'_>,
        session: Option<&Rc<Session>>,
        deadline: Deadline,
        cancel: &mut Option<Cancel>,
    ) -> Result<Answer, Failure> {
        let envelope = session.map_or(Envelope::Modern, |session| Envelope::Legacy(&session.lines));
        let write = |out: &mut Vec<u8>, path: &str| {
            call.write_request(out, path, self.wire.lines(), &envelope);
        };
        let shipment = Shipment::post(&write, call.is_harmless_twice());
        match self.exchange(call.id(), session, shipment, deadline).await? {
            Arrived::Whole(reply) => Ok(Answer::Whole(reply)),
            Arrived::Streaming(response) => {
                let (session, cancel) = (session.cloned(), cancel.take());
                let heading = call.heading();
                let reader = Reader::new(self, session, heading, response, cancel, deadline)?;
                Box::pin(reader.begin()).await
            }
        }
    }

    /// Sends the request with this id and waits for its answer, or for the beginning of one that
    /// streams.
    async fn exchange(
        &self,
        id: u64,
        session: Option<&Rc<Session>>,
        shipment: Shipment<'_>,
        deadline: Deadline,
    ) -> Result<Arrived, Failure> {
        let response = self.wire.ship(shipment, deadline).await?;
        if answer::is_event_stream(&response) {
            return Ok(Arrived::Streaming(response));
        }
        let has_session = session.is_some_and(|session| session.has_id);
        answer::read(&self.wire, response, id, has_session).await.map(Arrived::Whole)
    }

    async fn session(
        self: &Rc<Self>,
        key: &SessionKey,
        deadline: Deadline,
    ) -> Result<Rc<Session>, Failure> {
        let open = || session::open(self.clone(), key.clone(), deadline);
        self.single(key)?.get(&self.wire, deadline, open).await
    }

    fn single(&self, key: &SessionKey) -> Result<Rc<Single<Session>>, Failure> {
        // Whoever uses a session holds it.
        let place = self.sessions.place(key, |session| Rc::strong_count(session) == 1);
        let place = place.ok_or_else(|| self.wire.all_used())?;
        place.ended.into_iter().for_each(|session| self.leave(session));
        Ok(place.single)
    }

    /// Ends a session that nobody uses, in a task of its own.
    fn leave(&self, session: Rc<Session>) {
        let wire = self.wire.clone();
        task::spawn_if_running(async move { errand::delete(&wire, &session).await });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.sessions.take().into_iter().for_each(|session| self.leave(session));
    }
}

/// Whether an upstream failed in this way.
pub(super) fn is_kind(failure: &Failure, expected: UpstreamKind) -> bool {
    matches!(failure, Failure::Upstream(UpstreamFailure { kind, .. }) if *kind == expected)
}
