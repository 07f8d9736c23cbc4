//! Opening a connection: what it takes, then the handshake of the legacy era.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
};

use net::client::{Deadline, Response};
use shards::{local::Gate, watch};
use storage::record::Era;

use super::{Link, Medium, SessionKey, Ticket, WayUp, socket, sse};
use crate::{
    failure::{Failure, UpstreamKind},
    upstream::{
        Event, Reply,
        discover::{Verdict, judge_discover, plain},
        http::{
            Call, answer,
            errand::Errands,
            session::{initialize_params, revision},
            wire::Wire,
        },
        levels::Levels,
        waiters::Waiters,
    },
};

/// Most bytes of the text of a refusal that are read.
const REFUSAL_SIZE_MAX: usize = 64 * 1024;

/// What a connection is opened with.
pub(super) struct Opening {
    pub(super) wire: Rc<Wire>,
    pub(super) medium: Medium,
    pub(super) era: Era,
    pub(super) key: SessionKey,
    pub(super) errands: Rc<Errands>,
}

impl Opening {
    /// Opens a connection and the session on it.
    pub(super) async fn run(
        self,
        next_id: &Cell<u64>,
        deadline: Deadline,
    ) -> Result<Rc<Link>, Failure> {
        let (era, medium) = (self.era, self.medium);
        let link = match medium {
            Medium::Sse => sse::open(self, deadline).await?,
            Medium::Socket => socket::open(self, deadline).await?,
        };
        let outcome = match era {
            Era::Legacy => shake_hands(&link, next_id, deadline).await,
            Era::Modern => look(&link, next_id, deadline).await,
        };
        if outcome.is_err() {
            link.closing.open();
        }
        outcome.map(|()| link)
    }

    /// The connection, which is there.
    pub(super) fn link(self, way_up: WayUp) -> Rc<Link> {
        Rc::new(Link {
            wire: self.wire,
            era: self.era,
            way_up,
            closing: Gate::default(),
            ended: RefCell::default(),
            gone: Gate::default(),
            ear: RefCell::default(),
            heard_ms: Cell::new(watch::clock_ms()),
            waiters: Waiters::new(self.key),
            errands: self.errands,
            initialize_result: RefCell::default(),
            levels: OnceCell::new(),
        })
    }
}

/// Why an answer is not what was asked for: its status, or if that is good, `wrong`.
pub(super) async fn refusal(wire: &Wire, response: Response, wrong: &str) -> Failure {
    let status = response.status();
    let body = response.whole(REFUSAL_SIZE_MAX).await;
    let text = body.map_or_else(|error| error.to_string(), |body| answer::show(body.data()));
    if (200..300).contains(&status) {
        return wire.failure(UpstreamKind::Nonsense, format!("{wrong}: {text}"), false);
    }
    wire.failure(UpstreamKind::Status(status), text, false)
}

/// Looks whether the upstream is of the modern era, which has no handshake: another program may answer
/// than the last time, and on a connection nothing else would tell.
async fn look(link: &Rc<Link>, next_id: &Cell<u64>, deadline: Deadline) -> Result<(), Failure> {
    let outgoing = plain("server/discover", b"{}", deadline.within());
    let id = next_id.get();
    next_id.set(id + 1);
    let reply = ask(link, &Call::multiplexed(id, &outgoing, Era::Modern), deadline).await?;
    let raw = String::from_utf8_lossy(reply.raw());
    match judge_discover(reply.outcome, &raw) {
        Verdict::Modern(_) => Ok(()),
        Verdict::Hopeless(detail) => Err(link.wire.failure(UpstreamKind::Nonsense, detail, false)),
        Verdict::Legacy => {
            let detail = "it does not speak the stateless revision";
            Err(link.wire.failure(UpstreamKind::Nonsense, detail, false))
        }
    }
}

async fn shake_hands(
    link: &Rc<Link>,
    next_id: &Cell<u64>,
    deadline: Deadline,
) -> Result<(), Failure> {
    let id = next_id.get();
    next_id.set(id + 1);
    let params = initialize_params(link.waiters.key().declared());
    let outgoing = plain("initialize", params.as_bytes(), deadline.within());
    let reply = ask(link, &Call::legacy(id, &outgoing), deadline).await?;
    let nonsense = |detail: String| {
        link.wire.failure(UpstreamKind::Nonsense, format!("initialize: {detail}"), false)
    };
    if revision(&reply).map_err(nonsense)?.is_none() {
        return Err(nonsense("it does not know the method".to_owned()));
    }
    *link.initialize_result.borrow_mut() = reply.raw().to_vec();
    let _ = link.levels.set(Levels::of_initialize(reply.raw()));
    let message = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
    link.send(message.to_vec(), deadline).await
}

async fn ask(link: &Rc<Link>, call: &Call<'_>, deadline: Deadline) -> Result<Reply, Failure> {
    let mut ticket = Ticket::new(link, call, deadline)?;
    // A handshake is not cancelled; the whole connection is closed instead.
    ticket.is_settled = true;
    link.send_call(call, deadline).await?;
    ticket.is_settled = false;
    loop {
        let outcome = ticket.wait().await;
        ticket.is_settled = outcome.is_err() || ticket.is_settled;
        if let Event::Reply(reply) = outcome? {
            return Ok(reply);
        }
    }
}
