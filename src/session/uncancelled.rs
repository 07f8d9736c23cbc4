//! Waiting for the answer to a request of a session, unless its client cancels it meanwhile (2025-11-25,
//! Cancellation).

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{Call, CallName, Session, Sessions};

/// The name of a request, which is known once it has been looked at.
#[derive(Default)]
pub struct Naming(Cell<Option<CallName>>);

impl Naming {
    /// Names the request with this raw id.
    pub fn name(&self, sessions: &Sessions, session: &Session, id: &str) {
        self.0.set(Some(sessions.name(&session.ticket.key, id)));
    }
}

pin_project! {
    /// See [`Sessions::uncancelled`].
    pub struct Uncancelled<'a, F> {
        sessions: &'a Rc<Sessions>,
        session: &'a Session,
        naming: &'a Naming,
        // None until it had to wait: what is answered at once cannot be cancelled.
        call: Option<Call>,
        place: Option<usize>,
        #[pin]
        answering: F,
    }
}

impl Sessions {
    /// Waits for `answering`, the answer to a request that `naming` gives a name by the time that it has
    /// to wait; nothing if its client cancels it.
    pub fn uncancelled<'a, F: Future>(
        self: &'a Rc<Self>,
        session: &'a Session,
        naming: &'a Naming,
        answering: F,
    ) -> Uncancelled<'a, F> {
        Uncancelled { sessions: self, session, naming, call: None, place: None, answering }
    }
}

impl<F: Future> Future for Uncancelled<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.answering.poll(context) {
            return Poll::Ready(Some(answer));
        }
        if this.call.is_none() {
            *this.call = this.naming.0.get().map(|name| this.sessions.begin(name));
        }
        // Nobody else waits for it, so its place is left with it.
        let Some(call) = this.call else { return Poll::Pending };
        call.cancelled.poll_passed(this.place, context).map(|()| None)
    }
}
