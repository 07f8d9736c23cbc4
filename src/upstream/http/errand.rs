//! Messages that are sent beside the requests: answers to the upstream's own requests,
//! cancellations, the end of a session. Best effort, bounded in number and time.

use std::{cell::Cell, rc::Rc, time::Duration};

use net::{
    client::Deadline,
    http1::{Method, encode},
    jsonrpc,
};
use shards::{buffer, task};

use super::{
    Session, Shared, answer,
    wire::{Shipment, Wire},
};
use crate::failure::{Failure, UpstreamKind};

/// How long an errand may take.
pub(in crate::upstream) const WITHIN: Duration = Duration::from_secs(5);

/// Most errands under way; those beyond are not run.
const COUNT_MAX: usize = 32;

/// Most bytes of an answer to an errand.
const ANSWER_SIZE_MAX: usize = 64 * 1024;

impl Shared {
    /// Posts a message that is no request, and waits until it is taken.
    ///
    /// # Errors
    ///
    /// An upstream failure, also if the status is an error.
    pub(super) async fn post(
        &self,
        session: &Session,
        message: &[u8],
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let write = self.posting(session, message);
        post(&self.wire, Shipment::post(&write, true), deadline).await
    }

    /// Writes the POST of a whole message within a session.
    pub(super) fn posting(&self, session: &Session, message: &[u8]) -> impl Fn(&mut Vec<u8>, &str) {
        |out, path| {
            encode::begin_request(out, "POST", path);
            out.extend_from_slice(self.wire.lines());
            out.extend_from_slice(&session.lines);
            encode::content_length(out, message.len());
            encode::end(out);
            out.extend_from_slice(message);
        }
    }

    /// Posts a message in a task of its own, if not too many are under way.
    pub(super) fn run_errand(self: &Rc<Self>, session: &Rc<Session>, message: Vec<u8>) {
        let (shared, session) = (self.clone(), session.clone());
        self.errands
            .run(async move { shared.post(&session, &message, Deadline::after(WITHIN)).await });
    }

    /// Answers a request of the upstream: a ping with nothing, anything else with the error that
    /// we do not know it, since we offered no capability.
    pub(super) fn answer(self: &Rc<Self>, session: &Rc<Session>, id: &str, is_ping: bool) {
        self.run_errand(session, answer_to(id, is_ping));
    }
}

/// The answer to a request of an upstream.
pub(in crate::upstream) fn answer_to(id: &str, is_ping: bool) -> Vec<u8> {
    let mut message = Vec::new();
    if is_ping {
        jsonrpc::result(&mut message, id, "{}");
    } else {
        jsonrpc::error(&mut message, Some(id), -32601, "Method not found", None);
    }
    message
}

/// The notification that nobody waits for the request `id` any more.
pub(in crate::upstream) fn cancelled(id: u64) -> Vec<u8> {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\
         \"params\":{{\"requestId\":{id},\"reason\":\"nobody waits for it any more\"}}}}"
    )
    .into_bytes()
}

/// The errands of a leg.
#[derive(Default)]
pub(in crate::upstream) struct Errands(Rc<Cell<usize>>);

impl Errands {
    /// Runs an errand in a task of its own, if not too many are under way.
    pub(in crate::upstream) fn run(
        &self,
        errand: impl Future<Output = Result<(), Failure>> + 'static,
    ) {
        if self.0.get() >= COUNT_MAX {
            return;
        }
        let underway = Underway::new(&self.0);
        task::spawn_if_running(async move {
            if let Err(failure) = errand.await {
                tracing::debug!(%failure, "a message to an upstream was not taken");
            }
            drop(underway);
        });
    }
}

struct Underway(Rc<Cell<usize>>);

impl Underway {
    fn new(count: &Rc<Cell<usize>>) -> Underway {
        count.set(count.get() + 1);
        Underway(count.clone())
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Ends a session upstream.
pub(super) async fn delete(wire: &Wire, session: &Session) {
    if !session.has_id {
        return;
    }
    let write = |out: &mut Vec<u8>, path: &str| {
        encode::begin_request(out, "DELETE", path);
        out.extend_from_slice(wire.lines());
        out.extend_from_slice(&session.lines);
        encode::end(out);
    };
    let shipment = Shipment::post(&write, true).with_method(Method::Delete);
    if let Ok(response) = wire.ship(shipment, Deadline::after(WITHIN)).await {
        let _ = response.whole(ANSWER_SIZE_MAX).await;
    }
}

/// Posts a message that is no request, and waits until it is taken.
///
/// # Errors
///
/// An upstream failure, also if the status is an error.
pub(in crate::upstream) async fn post(
    wire: &Wire,
    shipment: Shipment<'_>,
    deadline: Deadline,
) -> Result<(), Failure> {
    let response = wire.ship(shipment, deadline).await?;
    let status = response.status();
    let body = response.whole(ANSWER_SIZE_MAX).await.map_err(|error| wire.broken(&error))?;
    if (200..300).contains(&status) {
        buffer::give(body.bytes);
        return Ok(());
    }
    Err(wire.failure(UpstreamKind::Status(status), answer::show(body.data()), status >= 500))
}

/// Tells a legacy upstream that its answer is not wanted any more, when it is dropped: there,
/// closing the connection does not say so.
pub(super) struct Cancel {
    shared: Rc<Shared>,
    session: Rc<Session>,
    id: u64,
    is_armed: bool,
    /// Whether the client is told nothing of what comes by the session's own stream, though that may be
    /// for it.
    is_deaf: bool,
}

impl Cancel {
    pub(super) fn new(
        shared: &Rc<Shared>,
        session: &Rc<Session>,
        id: u64,
        is_deaf: bool,
    ) -> Cancel {
        if is_deaf {
            session.aside.waiters.deafen();
        }
        Cancel { shared: shared.clone(), session: session.clone(), id, is_armed: true, is_deaf }
    }

    /// Nothing is to be cancelled: the answer is there, or there will be none.
    pub(super) fn disarm(mut self) {
        self.is_armed = false;
    }

    /// Cancels if the answer did not come in time; whatever else happened, the upstream is done.
    pub(super) fn settle(self, failure: Option<&Failure>) {
        let is_late = matches!(
            failure,
            Some(Failure::Upstream(failure))
                if failure.may_have_run && matches!(failure.kind, UpstreamKind::Timeout(_))
        );
        if !is_late {
            self.disarm();
        }
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        if self.is_deaf {
            self.session.aside.waiters.undeafen();
        }
        if self.is_armed {
            self.shared.run_errand(&self.session, cancelled(self.id));
        }
    }
}
