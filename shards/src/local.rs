//! Waiting between tasks of one shard: no atomics, no locks.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use futures_util::FutureExt;
use pin_project_lite::pin_project;

/// A bell that one task waits for and others ring. A ring before the wait is not lost.
#[derive(Default)]
pub struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    /// Wakes the waiter, or the next one to wait.
    pub fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Waits for a ring and uses it up. Only one task may wait at a time.
    pub async fn wait(&self) {
        poll_fn(|context| {
            if self.rung.replace(false) {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A gate that is shut until it is opened once, for any number of waiters.
#[derive(Default)]
pub struct Gate {
    open: Cell<bool>,
    /// Those who wait, each at its place until it leaves.
    wakers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
}

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.open.set(true);
        // Nobody comes back for a place.
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        self.free.borrow_mut().clear();
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }

    /// Returns true once [`Gate::open`] was called.
    pub fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Waits until the gate is open.
    pub fn passed(&self) -> Passed<'_> {
        Passed { gate: self, place: None }
    }

    /// Ready if the gate is open; else has the task woken when it is, which waits at `place` from the
    /// first time on. Who gives up waiting must [leave](Gate::leave) it.
    pub fn poll_passed(&self, place: &mut Option<usize>, context: &mut Context<'_>) -> Poll<()> {
        if self.open.get() {
            *place = None;
            return Poll::Ready(());
        }
        let mut wakers = self.wakers.borrow_mut();
        let at = *place.get_or_insert_with(|| {
            self.free.borrow_mut().pop().unwrap_or_else(|| {
                wakers.push(None);
                wakers.len() - 1
            })
        });
        match &mut wakers[at] {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Gives up a place, if there is one.
    pub fn leave(&self, place: &mut Option<usize>) {
        if let Some(at) = place.take().filter(|_| !self.open.get()) {
            self.wakers.borrow_mut()[at] = None;
            self.free.borrow_mut().push(at);
        }
    }

    /// Waits for `future`, or returns nothing once the gate is open.
    pub fn unless<F: Future>(&self, future: F) -> impl Future<Output = Option<F::Output>> {
        first_of(self.passed(), future).map(|first| match first {
            First::One(()) => None,
            First::Other(output) => Some(output),
        })
    }
}

/// See [`Gate::passed`].
pub struct Passed<'a> {
    gate: &'a Gate,
    place: Option<usize>,
}

impl Future for Passed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let gate = self.gate;
        gate.poll_passed(&mut self.place, context)
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        self.gate.leave(&mut self.place);
    }
}

/// What came first.
#[derive(Debug)]
pub enum First<A, B> {
    /// The first future.
    One(A),
    /// The second.
    Other(B),
}

pin_project! {
    /// See [`first_of`]. An async function would hold each future twice, as its argument and where
    /// it is pinned.
    struct FirstOf<A, B> {
        #[pin]
        one: A,
        #[pin]
        other: B,
    }
}

/// Waits for the first of two futures, and drops the other.
pub fn first_of<A: Future, B: Future>(
    one: A,
    other: B,
) -> impl Future<Output = First<A::Output, B::Output>> {
    FirstOf { one, other }
}

impl<A: Future, B: Future> Future for FirstOf<A, B> {
    type Output = First<A::Output, B::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.one.poll(context) {
            Poll::Ready(value) => Poll::Ready(First::One(value)),
            Poll::Pending => this.other.poll(context).map(First::Other),
        }
    }
}

/// Turns that tasks of this shard take in order, at most `count_max` at once.
pub struct Turns {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<Rc<Waiting>>>,
}

#[derive(Default)]
struct Waiting {
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A turn that is held; dropping it passes it on.
pub struct Turn<'a>(&'a Turns);

/// A turn that is held apart from the borrow of its [`Turns`]; dropping it passes it on.
pub struct OwnedTurn(Rc<Turns>);

impl Turns {
    /// Makes `count_max` turns.
    pub fn new(count_max: usize) -> Self {
        Turns { free: Cell::new(count_max), waiting: RefCell::default() }
    }

    /// Returns how many tasks wait for a turn.
    pub fn waiting_count(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Takes a turn if one is free and nobody waits before.
    pub fn try_take(&self) -> Option<Turn<'_>> {
        if self.free.get() == 0 {
            return None;
        }
        self.free.set(self.free.get() - 1);
        Some(Turn(self))
    }

    /// Waits for a turn, first come, first served. Dropping the future gives up the place.
    pub fn take(&self) -> impl Future<Output = Turn<'_>> {
        let mut place: Option<Place<'_>> = None;
        poll_fn(move |context| {
            if let Some(place) = &mut place {
                if place.waiting.granted.get() {
                    place.settled = true;
                    return Poll::Ready(Turn(self));
                }
            } else {
                if let Some(turn) = self.try_take() {
                    return Poll::Ready(turn);
                }
                let waiting = Rc::new(Waiting::default());
                self.waiting.borrow_mut().push_back(waiting.clone());
                place = Some(Place { turns: self, waiting, settled: false });
            }
            if let Some(place) = &place {
                *place.waiting.waker.borrow_mut() = Some(context.waker().clone());
            }
            Poll::Pending
        })
    }

    /// Takes a turn as [`Turns::try_take`] does, to hold it for as long as one likes.
    pub fn try_take_owned(self: &Rc<Self>) -> Option<OwnedTurn> {
        self.try_take().map(|turn| turn.into_owned(self))
    }

    /// Waits for a turn as [`Turns::take`] does, to hold it for as long as one likes.
    pub async fn take_owned(self: &Rc<Self>) -> OwnedTurn {
        self.take().await.into_owned(self)
    }

    fn release(&self) {
        let next = self.waiting.borrow_mut().pop_front();
        match next {
            None => self.free.set(self.free.get() + 1),
            Some(next) => {
                next.granted.set(true);
                if let Some(waker) = next.waker.borrow_mut().take() {
                    waker.wake();
                }
            }
        }
    }
}

impl Turn<'_> {
    fn into_owned(self, turns: &Rc<Turns>) -> OwnedTurn {
        // The turn is not passed on here but when the owned one is dropped.
        std::mem::forget(self);
        OwnedTurn(turns.clone())
    }
}

impl Drop for OwnedTurn {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

struct Place<'a> {
    turns: &'a Turns,
    waiting: Rc<Waiting>,
    settled: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if self.waiting.granted.get() {
            self.turns.release();
        } else {
            let mut queue = self.turns.waiting.borrow_mut();
            queue.retain(|other| !Rc::ptr_eq(other, &self.waiting));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;
    use std::pin::pin;

    #[test]
    fn keeps_a_ring_for_a_later_waiter() {
        let bell = Bell::default();
        bell.ring();
        assert!(bell.wait().now_or_never().is_some());
        assert!(bell.wait().now_or_never().is_none());
    }

    #[test]
    fn a_gate_keeps_nothing_of_those_who_left() {
        let gate = Gate::default();
        let mut held = Box::pin(gate.passed());
        for _ in 0..100 {
            assert!((&mut held).now_or_never().is_none());
            assert!(gate.passed().now_or_never().is_none());
        }
        assert_eq!(gate.wakers.borrow().len(), 2);
        drop(held);
        assert_eq!(gate.wakers.borrow().iter().flatten().count(), 0);
    }

    #[test]
    fn a_gate_lets_everybody_through_once_it_is_open() {
        let gate = Gate::default();
        let (mut one, mut other) = (Box::pin(gate.passed()), Box::pin(gate.passed()));
        assert!((&mut one).now_or_never().is_none());
        assert!((&mut other).now_or_never().is_none());
        drop(other);
        gate.open();
        assert!(one.now_or_never().is_some());
        assert!(gate.is_open() && gate.passed().now_or_never().is_some());
    }

    #[test]
    fn grants_turns_in_order_and_takes_back_those_of_the_impatient() {
        let turns = Turns::new(1);
        let held = turns.try_take().expect("one is free");
        let waker = noop_waker();
        let mut context = Context::from_waker(&waker);
        {
            let mut impatient = pin!(turns.take());
            assert!(impatient.as_mut().poll(&mut context).is_pending());
            assert_eq!(turns.waiting_count(), 1);
        }
        assert_eq!(turns.waiting_count(), 0);
        let mut first = Box::pin(turns.take());
        assert!(first.as_mut().poll(&mut context).is_pending());
        drop(held);
        drop(first);
        assert!(turns.try_take().is_some(), "a granted turn that nobody took is free again");
    }

    #[test]
    fn passes_on_an_owned_turn_when_it_is_dropped() {
        let turns = Rc::new(Turns::new(1));
        let held = turns.try_take_owned().expect("one is free");
        assert!(turns.take_owned().now_or_never().is_none());
        drop(held);
        let again = turns.take_owned().now_or_never();
        assert!(again.is_some() && turns.try_take().is_none());
    }
}
