//! Something that is opened once for everybody who needs it, and again when it is lost.

use std::{cell::RefCell, rc::Rc};

use net::client::Deadline;
use shards::{local::Gate, task, time};

use super::wire::Wire;
use crate::failure::{Failure, UpstreamFailure, UpstreamKind};

/// What there is one of, such as a session.
pub(in crate::upstream) struct Single<T>(RefCell<State<T>>);

enum State<T> {
    None,
    Opening(Rc<Opening<T>>),
    Open(Rc<T>),
}

/// An attempt to open it, and who waits for that.
struct Opening<T> {
    done: Gate,
    outcome: RefCell<Option<Result<Rc<T>, UpstreamFailure>>>,
}

impl<T> Default for Single<T> {
    fn default() -> Self {
        Single(RefCell::new(State::None))
    }
}

impl<T: 'static> Single<T> {
    /// Returns what is open, after opening it by `open` or waiting for who does.
    ///
    /// # Errors
    ///
    /// An upstream failure; whatever it was, the request that needed this was not sent.
    pub(in crate::upstream) async fn get<F>(
        self: &Rc<Self>,
        wire: &Rc<Wire>,
        deadline: Deadline,
        open: impl FnOnce() -> F,
    ) -> Result<Rc<T>, Failure>
    where
        F: Future<Output = Result<Rc<T>, Failure>> + 'static,
    {
        let opening = match &*self.0.borrow() {
            State::Open(value) => return Ok(value.clone()),
            State::Opening(opening) => Some(opening.clone()),
            State::None => None,
        };
        let opening = opening.unwrap_or_else(|| self.begin(wire.clone(), open()));
        if time::timeout(deadline.left(), opening.done.passed()).await.is_err() {
            let detail = "its session was not open in time";
            return Err(wire.failure(UpstreamKind::Timeout(deadline.within()), detail, false));
        }
        let outcome = opening.outcome.borrow();
        outcome.clone().expect("the gate opens behind the outcome").map_err(Failure::Upstream)
    }

    /// Opens it in a task of its own, so that nobody's impatience ends that for the others.
    fn begin<F>(self: &Rc<Self>, wire: Rc<Wire>, open: F) -> Rc<Opening<T>>
    where
        F: Future<Output = Result<Rc<T>, Failure>> + 'static,
    {
        let opening = Rc::new(Opening { done: Gate::default(), outcome: RefCell::default() });
        *self.0.borrow_mut() = State::Opening(opening.clone());
        let (single, result) = (self.clone(), opening.clone());
        task::spawn(async move {
            let outcome = match task::guard(open).await {
                Ok(outcome) => outcome.map_err(|failure| unsent(&wire, failure)),
                Err(panic) => Err(unsent(&wire, Failure::Internal(panic.0))),
            };
            *single.0.borrow_mut() = match &outcome {
                Ok(value) => State::Open(value.clone()),
                Err(_) => State::None,
            };
            *result.outcome.borrow_mut() = Some(outcome);
            result.done.open();
        });
        opening
    }

    /// Forgets `value`, unless it was replaced already.
    pub(in crate::upstream) fn lose(&self, value: &Rc<T>) {
        let mut state = self.0.borrow_mut();
        if matches!(&*state, State::Open(open) if Rc::ptr_eq(open, value)) {
            *state = State::None;
        }
    }

    /// Whether it is open and `is_so`; one that is never got open is as good as one that is so.
    pub(in crate::upstream) fn is_open_and(&self, is_so: impl Fn(&Rc<T>) -> bool) -> bool {
        match &*self.0.borrow() {
            State::Open(value) => is_so(value),
            State::Opening(_) => false,
            State::None => true,
        }
    }

    /// Takes it away, if it is open.
    pub(in crate::upstream) fn take(&self) -> Option<Rc<T>> {
        let mut state = self.0.borrow_mut();
        match std::mem::replace(&mut *state, State::None) {
            State::Open(value) => Some(value),
            other => {
                *state = other;
                None
            }
        }
    }
}

fn unsent(wire: &Wire, failure: Failure) -> UpstreamFailure {
    let failure = match failure {
        Failure::Upstream(failure) => failure,
        other => {
            wire.upstream_failure(UpstreamKind::Nonsense, format!("initialize: {other}"), false)
        }
    };
    UpstreamFailure { may_have_run: false, ..failure }
}
