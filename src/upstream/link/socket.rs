//! A WebSocket: each message is a text, both ways, and the connection is the session.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::Duration,
};

use net::{
    client::Deadline,
    connection::Connection,
    http1::{Method, encode},
    websocket::{Closing, Incoming, Offer, Socket},
};
use shards::{local::Bell, task, time, watch};

use super::{
    Link, WayUp,
    dispatch::dispatch,
    open::{Opening, refusal},
};
use crate::{
    failure::{Failure, UpstreamFailure, UpstreamKind},
    upstream::{
        http::wire::{Shipment, Wire},
        watch::{AGES, First, Pace, first_of},
    },
};

/// The subprotocol of MCP.
const SUBPROTOCOL: &str = "mcp";

/// How long an upstream may take to read what is written to it.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// Most bytes that wait to be written.
const OUTBOX_SIZE_MAX: usize = 16 * 1024 * 1024;

/// Messages that wait to be written.
#[derive(Default)]
pub(super) struct Outbox {
    /// Each with its number, if it is a request.
    messages: RefCell<VecDeque<(Option<u64>, Vec<u8>)>>,
    size: Cell<usize>,
    is_closed: Cell<bool>,
    bell: Bell,
}

impl Outbox {
    /// Puts a message behind the others. One over the bound passes while nothing else waits.
    ///
    /// # Errors
    ///
    /// An upstream failure if too much waits, or nothing is written any more.
    pub(super) fn put(
        &self,
        wire: &Wire,
        id: Option<u64>,
        message: Vec<u8>,
    ) -> Result<(), Failure> {
        if self.is_closed.get() {
            return Err(wire.failure(UpstreamKind::SessionLost, "its socket was closed", false));
        }
        let size = self.size.get() + message.len();
        if size > OUTBOX_SIZE_MAX && !self.messages.borrow().is_empty() {
            let detail = "it does not read what is sent to it";
            return Err(wire.failure(UpstreamKind::Full, detail, false));
        }
        self.size.set(size);
        self.messages.borrow_mut().push_back((id, message));
        self.bell.ring();
        Ok(())
    }

    pub(super) fn take(&self) -> Option<Vec<u8>> {
        let (_, message) = self.messages.borrow_mut().pop_front()?;
        self.size.set(self.size.get() - message.len());
        Some(message)
    }

    /// Takes nothing more; returns the numbers of the requests that were not written.
    pub(super) fn close(&self) -> Vec<u64> {
        self.is_closed.set(true);
        self.messages.take().into_iter().filter_map(|(id, _)| id).collect()
    }
}

/// Asks for a socket.
pub(super) async fn open(opening: Opening, deadline: Deadline) -> Result<Rc<Link>, Failure> {
    let wire = opening.wire.clone();
    let offer = Offer::new().map_err(|error| Failure::Internal(error.to_string()))?;
    let write = |out: &mut Vec<u8>, path: &str| {
        encode::begin_request(out, "GET", path);
        out.extend_from_slice(wire.lines());
        offer.write(out, SUBPROTOCOL);
        encode::end(out);
    };
    let shipment = Shipment::post(&write, true).with_method(Method::Get).apart();
    let response = wire.ship(shipment, deadline).await?;
    match offer.check(&response, SUBPROTOCOL) {
        Ok(()) => {}
        Err(wrong) if response.status() == 101 => {
            return Err(wire.failure(UpstreamKind::Nonsense, wrong, false));
        }
        Err(wrong) => return Err(refusal(&wire, response, wrong).await),
    }
    let (connection, early) = response.into_connection();
    let link = opening.link(WayUp::Outbox(Outbox::default()));
    task::spawn(run(link.clone(), connection, early));
    Ok(link)
}

/// How a socket ended, and the words to end it with if the upstream can hear them.
type End = (Failure, Option<Closing>);

/// Carries messages both ways until the socket ends.
async fn run(link: Rc<Link>, mut connection: Connection, early: Vec<u8>) {
    let size_max = link.wire.limits.answer_size_max;
    let mut socket = Socket::client(&mut connection, early, size_max, WRITE_WITHIN);
    // Also after a panic, those who wait must hear of it.
    let ended = task::guard(converse(&link, &mut socket)).await;
    let (failure, closing) = match ended {
        Ok((Failure::Upstream(failure), closing)) => (failure, closing),
        Ok((other, closing)) => (broken(&link, other.to_string()), closing),
        Err(panic) => (broken(&link, panic.0), None),
    };
    link.end(UpstreamFailure { may_have_run: true, ..failure });
    if let Some(closing) = closing {
        socket.close(closing).await;
    }
}

fn broken(link: &Link, detail: String) -> UpstreamFailure {
    link.wire.upstream_failure(UpstreamKind::Broken, detail, true)
}

async fn converse(link: &Rc<Link>, socket: &mut Socket<'_>) -> End {
    let WayUp::Outbox(outbox) = &link.way_up else { unreachable!("a socket has an outbox") };
    let fail = |detail: String| Failure::Upstream(broken(link, detail));
    let (mut is_asked, mut pace) = (false, Pace::new());
    // It is given up when it is silent as long again.
    let ping_after = Some(link.wire.limits.ping_after).filter(|after| !after.is_zero());
    let ping_after = ping_after.unwrap_or(AGES);
    loop {
        if let Err(error) = write_all(outbox, socket).await {
            return (fail(format!("its socket cannot be written to: {error}")), None);
        }
        match socket.take() {
            Ok(Some(incoming)) => {
                link.heard_ms.set(watch::clock_ms());
                is_asked = false;
                if let Some(end) = take(link, socket, incoming, &mut pace).await {
                    return (end, None);
                }
                continue;
            }
            Ok(None) => {}
            Err(closing) => return (nonsense(link, closing), Some(closing)),
        }
        let quiet_ms = watch::clock_ms().saturating_sub(link.heard_ms.get());
        let limit = if is_asked { ping_after * 2 } else { ping_after };
        let patience = limit.saturating_sub(Duration::from_millis(quiet_ms));
        let next = first_of(outbox.bell.wait(), socket.receive());
        match link.closing.unless(Box::pin(time::timeout(patience, next))).await {
            None => return (fail("its socket was closed".to_owned()), Some(Closing::DONE)),
            Some(Err(_)) if is_asked => return (fail("it gives no sign of life".to_owned()), None),
            Some(Err(_)) => {
                is_asked = true;
                if let Err(error) = socket.ping().await {
                    return (fail(format!("its socket cannot be written to: {error}")), None);
                }
            }
            Some(Ok(First::One(()) | First::Other(Ok(true)))) => {}
            Some(Ok(First::Other(Ok(false)))) => {
                return (fail("it dropped its socket".to_owned()), None);
            }
            Some(Ok(First::Other(Err(error)))) => return (fail(error.to_string()), None),
        }
    }
}

async fn write_all(outbox: &Outbox, socket: &mut Socket<'_>) -> std::io::Result<()> {
    while let Some(message) = outbox.take() {
        socket.send(message).await?;
    }
    Ok(())
}

/// Takes what came; returns why that was the last.
async fn take(
    link: &Rc<Link>,
    socket: &mut Socket<'_>,
    incoming: Incoming,
    pace: &mut Pace,
) -> Option<Failure> {
    match incoming {
        Incoming::Message(message) => {
            // Only what serves no requests can be held back.
            if link.ear.borrow().is_some() {
                pace.note(1).await;
            }
            dispatch(link, message);
            None
        }
        Incoming::Sign => match socket.flush().await {
            Ok(()) => None,
            Err(error) => Some(Failure::Upstream(broken(link, error.to_string()))),
        },
        Incoming::Close(code) => {
            let _ = socket.flush().await;
            let why = code.map_or("no reason".to_owned(), |code| format!("code {code}"));
            Some(Failure::Upstream(broken(link, format!("it closed its socket with {why}"))))
        }
    }
}

/// What an upstream did to which this is the answer.
fn nonsense(link: &Link, closing: Closing) -> Failure {
    let (kind, detail) = match closing {
        Closing::TOO_LARGE => {
            let size_max = link.wire.limits.answer_size_max;
            (UpstreamKind::TooLarge, format!("a message of more than {size_max} bytes"))
        }
        Closing::BINARY => (UpstreamKind::Nonsense, "a message that is no text".to_owned()),
        Closing::UTF8 => (UpstreamKind::Nonsense, "a text that is not UTF-8".to_owned()),
        _ => (UpstreamKind::Nonsense, "what it sends are no frames of a WebSocket".to_owned()),
    };
    link.wire.failure(kind, detail, true)
}
