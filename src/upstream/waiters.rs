//! Who waits for something on a connection that many requests share, and whose it is what comes there.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use ahash::AHashMap;
use shards::{buffer, local::Bell};

use super::{
    Event, Question,
    http::{
        Call,
        stream::{progress_token, restore_token},
    },
    keyed::SessionKey,
    levels::{is_log, whose},
    question::whom,
};
use crate::{failure::Failure, mcp::Capabilities};

/// Most notifications that wait for one client; those beyond are dropped, since a client that does
/// not read must not fill the memory. None of them is promised to arrive.
pub(in crate::upstream) const NOTIFICATION_COUNT_MAX: usize = 256;

/// Who waits for the answer to one request.
pub(in crate::upstream) struct Waiter {
    /// The client's own progress token.
    token: Option<Vec<u8>>,
    /// What it can be asked meanwhile; `None` if it is not for the upstream to ask.
    asked: Option<Capabilities>,
    /// Whether it hears of log messages.
    wants_logs: bool,
    arrived: RefCell<VecDeque<Result<Event, Failure>>>,
    /// Rung when something arrived.
    pub(in crate::upstream) bell: Bell,
}

impl Waiter {
    /// Who waits for the answer to `call`.
    pub(in crate::upstream) fn new(call: &Call<'_>) -> Rc<Waiter> {
        let (arrived, bell) = Default::default();
        let (token, asked, wants_logs) = (call.token(), call.asked(), call.wants_logs());
        Rc::new(Waiter { token, asked, wants_logs, arrived, bell })
    }

    /// Gives it something, whatever waits for it already.
    pub(in crate::upstream) fn push(&self, event: Result<Event, Failure>) {
        self.arrived.borrow_mut().push_back(event);
        self.bell.ring();
    }

    /// Takes what arrived first.
    pub(in crate::upstream) fn pop(&self) -> Option<Result<Event, Failure>> {
        self.arrived.borrow_mut().pop_front()
    }

    /// Whether as much waits for it as may.
    pub(in crate::upstream) fn is_full(&self) -> bool {
        self.arrived.borrow().len() >= NOTIFICATION_COUNT_MAX
    }

    fn notify(&self, message: Vec<u8>) {
        match self.is_full() {
            false => self.push(Ok(Event::Notification(message))),
            true => buffer::give(message),
        }
    }
}

/// All who wait on one connection, by the numbers of their requests.
#[derive(Default)]
pub(in crate::upstream) struct Waiters {
    key: SessionKey,
    all: RefCell<AHashMap<u64, Rc<Waiter>>>,
    /// Requests under way that are told nothing by this connection. What could be for one of them is
    /// for nobody.
    deaf_count: Cell<usize>,
}

impl Waiters {
    /// Nobody yet, on a connection for these clients.
    pub(in crate::upstream) fn new(key: SessionKey) -> Waiters {
        Waiters { key, ..Waiters::default() }
    }

    /// Whose connection it is.
    pub(in crate::upstream) fn key(&self) -> &SessionKey {
        &self.key
    }

    pub(in crate::upstream) fn count(&self) -> usize {
        self.all.borrow().len()
    }

    pub(in crate::upstream) fn enter(&self, number: u64, waiter: Rc<Waiter>) {
        self.all.borrow_mut().insert(number, waiter);
    }

    pub(in crate::upstream) fn leave(&self, number: u64) -> Option<Rc<Waiter>> {
        self.all.borrow_mut().remove(&number)
    }

    /// Lets all leave.
    pub(in crate::upstream) fn take(&self) -> AHashMap<u64, Rc<Waiter>> {
        std::mem::take(&mut *self.all.borrow_mut())
    }

    /// Counts a request that is told nothing here, until it is let go by [`Waiters::undeafen`].
    pub(in crate::upstream) fn deafen(&self) {
        self.deaf_count.set(self.deaf_count.get() + 1);
    }

    /// See [`Waiters::deafen`].
    pub(in crate::upstream) fn undeafen(&self) {
        self.deaf_count.set(self.deaf_count.get() - 1);
    }

    /// Asks the client on whose behalf the upstream works; `reply` takes its answer. If there is no such
    /// client, it takes our own.
    pub(in crate::upstream) fn ask(
        &self,
        id: &str,
        method: String,
        params: Option<&str>,
        reply: impl FnOnce(Vec<u8>) + 'static,
    ) {
        let all = self.all.borrow();
        let waiting = all.iter().filter_map(|(number, one)| Some((*number, one.asked?, one)));
        match whom(&self.key, &method, params, waiting) {
            Ok(waiter) => {
                waiter.push(Ok(Event::Question(Question::new(method, params, id, reply))));
            }
            Err(answer) => {
                let mut message = Vec::new();
                answer.write(&mut message, id);
                reply(message);
            }
        }
    }

    /// Gives progress to who asked for it, and log messages to whom they can only be for. Nothing else
    /// belongs to a request of one client.
    pub(in crate::upstream) fn notify(&self, message: Vec<u8>) {
        let Some((_, Some(number))) = progress_token(&message) else {
            if std::str::from_utf8(&message).is_ok_and(is_log) {
                return self.log(message);
            }
            return buffer::give(message);
        };
        let waiter = self.all.borrow().get(&number).cloned();
        let Some(waiter) = waiter.filter(|waiter| waiter.token.is_some()) else { return };
        if let Some(restored) = restore_token(message, number, waiter.token.as_deref()) {
            waiter.notify(restored);
        }
    }

    fn log(&self, message: Vec<u8>) {
        let all = self.all.borrow();
        let waiting = all.iter().filter(|(_, waiter)| waiter.asked.is_some());
        let waiter = whose(&self.key, waiting.map(|(number, waiter)| (*number, waiter)));
        let is_sure = self.deaf_count.get() == 0 || self.key.client.is_some();
        match waiter.filter(|waiter| is_sure && waiter.wants_logs) {
            Some(waiter) => waiter.notify(message),
            None => buffer::give(message),
        }
    }
}
