//! One upstream in its owner's charge: started when it is needed, once, and again after it died,
//! each time a little later.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use shards::{
    local::Gate,
    task,
    time::{self, Instant},
};

use super::{
    CheckRequest, Found, HandshakeRequest, StdioLimits, StdioRequest,
    listen::Ears,
    start::{Running, start},
};
use crate::{
    catalog::Upstream,
    failure::{Failure, UpstreamFailure, UpstreamKind},
    upstream::keyed::SessionKey,
};

/// The longest pause before a restart that a request is made to wait. Behind a longer one it fails
/// at once, with the reason of the last death: that helps more than a slow answer.
const PAUSE_WAITED_MAX: Duration = Duration::from_secs(5);

/// Whoever waits for the child to run.
pub(super) enum Waiter {
    Request(Box<StdioRequest>),
    Handshake(HandshakeRequest),
}

enum State {
    Idle,
    Starting,
    Running(Running),
    Retired,
}

/// One upstream with one child.
pub(super) struct Charge {
    limits: StdioLimits,
    key: SessionKey,
    /// When the child was last asked for.
    used: Cell<Instant>,
    upstream: RefCell<Arc<Upstream>>,
    state: RefCell<State>,
    waiters: RefCell<VecDeque<Waiter>>,
    /// Deaths since the child last ran for long.
    death_count: Cell<u32>,
    not_before: Cell<Option<Instant>>,
    last_death: RefCell<Option<UpstreamFailure>>,
    /// Open once nothing runs and nothing will.
    retired: Gate,
    ears: Rc<Ears>,
}

impl Charge {
    pub(super) fn new(
        upstream: Arc<Upstream>,
        limits: StdioLimits,
        key: SessionKey,
        ears: Rc<Ears>,
    ) -> Rc<Charge> {
        Rc::new(Charge {
            limits,
            key,
            used: Cell::new(Instant::now()),
            upstream: RefCell::new(upstream),
            state: RefCell::new(State::Idle),
            waiters: RefCell::default(),
            death_count: Cell::new(0),
            not_before: Cell::new(None),
            last_death: RefCell::default(),
            retired: Gate::default(),
            ears,
        })
    }

    /// Returns true if this child serves `upstream` too: the same command in the same environment,
    /// or the record that came is older than ours.
    pub(super) fn serves(&self, upstream: &Arc<Upstream>) -> bool {
        let ours = self.upstream.borrow().clone();
        Arc::ptr_eq(&ours, upstream)
            || upstream.record.audit.version < ours.record.audit.version
            || (ours.record.command == upstream.record.command
                && ours.environment == upstream.environment
                && ours.record.protocol == upstream.record.protocol)
    }

    /// The child, if it runs.
    pub(super) fn running(&self) -> Option<Running> {
        match &*self.state.borrow() {
            State::Running(running) if !running.session.is_over() => Some(running.clone()),
            _ => None,
        }
    }

    /// Takes a request or question: to the child if it runs, else to the queue while it starts.
    pub(super) fn take(self: &Rc<Self>, waiter: Waiter) {
        self.note(waiter.upstream());
        self.used.set(Instant::now());
        let is_starting = match &*self.state.borrow() {
            State::Running(running) if !running.session.is_over() => {
                return running.serve(waiter);
            }
            State::Retired => return waiter.fail(self.failure("the upstream was removed")),
            // Its burial is going on; the one who buries looks at the queue afterwards.
            State::Running(_) | State::Starting => true,
            State::Idle => false,
        };
        if let Some(failure) = self.full().or_else(|| self.refusal()) {
            return waiter.fail(failure);
        }
        self.waiters.borrow_mut().push_back(waiter);
        if !is_starting {
            self.begin();
        }
    }

    /// Hands a health check to the child if it runs, and tells why not else. Nothing is started.
    pub(super) fn check(&self, request: CheckRequest) {
        let CheckRequest { letter, waiting, found, .. } = request;
        let count = self.death_count.get();
        let last_death = self.last_death.borrow().clone();
        let state = match (&*self.state.borrow(), last_death) {
            (State::Running(running), _) if !running.session.is_over() => {
                running.session.send(&letter, waiting, running.handshake.era);
                Found::Running
            }
            (State::Idle, Some(failure)) if count > 0 => Found::Dead { count, failure },
            _ => Found::Asleep,
        };
        let _ = found.send(state);
    }

    /// Ends the child for good; returns when it is gone.
    pub(super) async fn retire(&self) {
        let former = std::mem::replace(&mut *self.state.borrow_mut(), State::Retired);
        self.fail_waiters(&self.failure("the upstream was removed"));
        match former {
            State::Idle => self.retired.open(),
            State::Running(running) => {
                running.session.drained(self.limits.stop_patience).await;
                running.session.stop().await;
                self.retired.open();
            }
            // Whoever starts it sees the state, stops it and opens the gate.
            State::Starting | State::Retired => {}
        }
        self.retired.passed().await;
    }

    /// How long nobody has asked for the child, if nobody waits for it.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let is_idle = match &*self.state.borrow() {
            State::Running(running) => running.session.is_idle(),
            State::Idle => self.waiters.borrow().is_empty(),
            State::Starting | State::Retired => false,
        };
        is_idle.then(|| self.used.get().elapsed())
    }

    /// Keeps the newest record, which may know the era by now.
    fn note(&self, upstream: &Arc<Upstream>) {
        let mut ours = self.upstream.borrow_mut();
        if upstream.record.audit.version >= ours.record.audit.version {
            *ours = upstream.clone();
        }
    }

    /// Says that as many wait as may.
    fn full(&self) -> Option<UpstreamFailure> {
        let count_max = self.limits.pending_count_max;
        (self.waiters.borrow().len() >= count_max).then(|| {
            let text = format!("{count_max} requests wait for its command to start");
            UpstreamFailure { kind: UpstreamKind::Full, ..self.failure(&text) }
        })
    }

    /// Says why nobody should wait for the next start: it is too far away.
    fn refusal(&self) -> Option<UpstreamFailure> {
        let pause = self.pause();
        if pause <= PAUSE_WAITED_MAX {
            return None;
        }
        let last = self.last_death.borrow().clone();
        let failure = last.unwrap_or_else(|| self.failure("its command ended"));
        let (count, seconds) = (self.death_count.get(), pause.as_secs());
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let detail = format!("{}; it failed {times}, next try in {seconds} s", failure.detail);
        Some(UpstreamFailure {
            kind: UpstreamKind::Unreachable,
            may_have_run: false,
            detail,
            ..failure
        })
    }

    fn pause(&self) -> Duration {
        self.not_before
            .get()
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Starts the child in a task of its own, so that no caller's leaving stops it.
    fn begin(self: &Rc<Self>) {
        *self.state.borrow_mut() = State::Starting;
        let charge = self.clone();
        task::spawn(async move { charge.bring_up().await });
    }

    async fn bring_up(self: Rc<Self>) {
        time::sleep(self.pause()).await;
        let upstream = self.upstream.borrow().clone();
        let started = match self.is_retired() {
            true => Err(self.failure("the upstream was removed")),
            false => start(&upstream, self.limits, &self.key).await,
        };
        match started {
            Ok(running) if self.is_retired() => {
                running.session.stop().await;
                self.retired.open();
            }
            Ok(running) => self.run(running),
            Err(_) if self.is_retired() => self.retired.open(),
            Err(failure) => {
                tracing::warn!(upstream = %failure.upstream, "child did not start: {}", failure.detail);
                *self.state.borrow_mut() = State::Idle;
                self.died(failure.clone());
                self.fail_waiters(&failure);
            }
        }
    }

    fn run(self: &Rc<Self>, running: Running) {
        let session = running.session.clone();
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        waiters.into_iter().for_each(|waiter| running.serve(waiter));
        *self.state.borrow_mut() = State::Running(running);
        if self.key.is_plain() {
            self.ears.attach(&self.upstream.borrow().record.id, &session);
        }
        let charge = self.clone();
        task::spawn(async move {
            session.gone().await;
            if session.was_stopped() || charge.is_retired() {
                return;
            }
            if session.age() >= charge.limits.restart_delay_max {
                charge.death_count.set(0);
            }
            *charge.state.borrow_mut() = State::Idle;
            charge.died(charge.failure(&session.epitaph()));
            match charge.refusal() {
                Some(failure) => charge.fail_waiters(&failure),
                None if charge.waiters.borrow().is_empty() => {}
                None => charge.begin(),
            }
        });
    }

    /// Counts a death, and sets when the next start may be.
    fn died(&self, failure: UpstreamFailure) {
        let count = self.death_count.get();
        let factor = 1_u32.checked_shl(count).unwrap_or(u32::MAX);
        let pause = self.limits.restart_delay_min.saturating_mul(factor);
        self.not_before.set(Some(Instant::now() + pause.min(self.limits.restart_delay_max)));
        self.death_count.set(count.saturating_add(1));
        *self.last_death.borrow_mut() = Some(failure);
    }

    fn is_retired(&self) -> bool {
        matches!(*self.state.borrow(), State::Retired)
    }

    fn fail_waiters(&self, failure: &UpstreamFailure) {
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        waiters.into_iter().for_each(|waiter| waiter.fail(failure.clone()));
    }

    fn failure(&self, detail: &str) -> UpstreamFailure {
        let upstream = self.upstream.borrow().record.name.clone();
        let kind = UpstreamKind::Unreachable;
        UpstreamFailure { upstream, kind, detail: detail.to_owned(), may_have_run: false }
    }
}

impl Running {
    fn serve(&self, waiter: Waiter) {
        match waiter {
            Waiter::Request(request) => {
                // Its client left while the child started.
                if request.waiting.answer.is_canceled() {
                    return;
                }
                request.sent.store(true, Ordering::Relaxed);
                self.send(&request.letter, request.waiting);
            }
            Waiter::Handshake(request) => {
                let _ = request.answer.send(Ok(self.handshake.clone()));
            }
        }
    }
}

impl Waiter {
    pub(super) fn upstream(&self) -> &Arc<Upstream> {
        match self {
            Waiter::Request(request) => &request.upstream,
            Waiter::Handshake(request) => &request.upstream,
        }
    }

    /// Which child it is for. What a child says of itself, the first one says.
    pub(super) fn key(&self) -> SessionKey {
        match self {
            Waiter::Request(request) => request.key.clone(),
            Waiter::Handshake(_) => SessionKey::default(),
        }
    }

    pub(super) fn fail(self, failure: UpstreamFailure) {
        match self {
            Waiter::Request(request) => {
                let _ = request.waiting.answer.send(Err(Failure::Upstream(failure)));
            }
            Waiter::Handshake(request) => {
                let _ = request.answer.send(Err(Failure::Upstream(failure)));
            }
        }
    }
}
