//! Tasks of a shard, each behind its own panic guard: a panic ends that task and no other.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::HashMap,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use futures_util::FutureExt;

use crate::{local::Gate, time};

/// How many turns the tasks of a shard that ends still have: one to see the end, one for what that
/// wakes, and as many again.
const LAST_TURN_COUNT: usize = 4;

/// How long a shard that ends still waits for its ring to take what those turns queued: without, a
/// socket that was let go would stay open until the process ends.
const LAST_WAIT: Duration = Duration::from_millis(1);

/// A task that ended in a panic; the message as far as it was text.
#[derive(Debug, Clone)]
pub struct Panicked(pub String);

/// A spawned task. Dropping it lets the task run on.
pub struct Task<T: 'static>(monoio::task::JoinHandle<Result<T, Panicked>>);

impl<T: 'static> Task<T> {
    /// Waits for the task's value.
    ///
    /// # Errors
    ///
    /// [`Panicked`] if the task panicked.
    pub async fn join(self) -> Result<T, Panicked> {
        self.0.await
    }
}

/// Runs `future` on this shard, beside what runs already.
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    Task(monoio::spawn(guard(future)))
}

thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
    static GENERATION: Cell<u64> = const { Cell::new(0) };
    static ENDING: RefCell<Rc<Gate>> = RefCell::default();
    /// The tasks that wait for another thread, by the number of their wait.
    static WAITING: RefCell<HashMap<u64, Waker>> = RefCell::default();
    static WAIT_COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Runs `future` beside what runs already, if this thread's shard still runs; returns whether it
/// does. For clean-up in a `drop`, which also happens to the tasks that a shard leaves behind.
pub fn spawn_if_running<F>(future: F) -> bool
where
    F: Future<Output = ()> + 'static,
{
    if is_running() {
        spawn(future);
    }
    is_running()
}

/// Whether this thread's shard runs: when it has ended, nothing can be spawned or woken any more.
pub fn is_running() -> bool {
    RUNNING.with(Cell::get)
}

/// Returns a number that differs for each shard that this thread ran one after the other. What a
/// thread keeps of a shard that has ended, such as its connections, is of no use to the next.
pub fn generation() -> u64 {
    GENERATION.with(Cell::get)
}

/// Waits until this thread's shard ends. Tasks that still run then are never polled nor dropped
/// again: what holds something that others wait for, or a connection that must be closed, waits
/// for this too and lets go. It has a few turns for that and no time.
pub async fn ending() {
    let gate = ENDING.with(|ending| ending.borrow().clone());
    gate.passed().await;
}

/// Runs a shard's main future, notes when it has ended, and has every task of it let go of what
/// other threads could wake it by.
pub(crate) async fn main<F: Future>(future: F) -> F::Output {
    RUNNING.with(|running| running.set(true));
    GENERATION.with(|generation| generation.set(generation.get() + 1));
    let gate = Rc::<Gate>::default();
    ENDING.with(|ending| ending.replace(gate.clone()));
    let _ended = Ended;
    let output = future.await;
    gate.open();
    WAITING.with_borrow(|waiting| waiting.values().for_each(Waker::wake_by_ref));
    for _ in 0..LAST_TURN_COUNT {
        pass_turn().await;
    }
    time::sleep(LAST_WAIT).await;
    output
}

/// Lets every other task that is ready have its turn.
async fn pass_turn() {
    let mut has_passed = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_passed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits for `future`, which another thread wakes; when the shard ends, drops it and waits for
/// ever. Without this the other thread would meet the waker of a task that nobody runs any more,
/// and drop that task, on its own thread and while it holds whatever it woke by.
pub(crate) async fn while_running<F: Future>(future: F) -> F::Output {
    let outcome = {
        let mut future = pin!(future);
        let wait = Wait::new();
        poll_fn(|context| {
            if ENDING.with_borrow(|gate| gate.is_open()) {
                return Poll::Ready(None);
            }
            let outcome = future.as_mut().poll(context).map(Some);
            if outcome.is_pending() {
                wait.note(context.waker());
            }
            outcome
        })
        .await
    };
    match outcome {
        Some(output) => output,
        None => std::future::pending().await,
    }
}

/// One wait in [`WAITING`], gone from there when it is dropped.
struct Wait(u64);

impl Wait {
    fn new() -> Wait {
        Wait(WAIT_COUNT.with(|count| count.replace(count.get() + 1)))
    }

    fn note(&self, waker: &Waker) {
        WAITING.with_borrow_mut(|waiting| {
            waiting.entry(self.0).or_insert_with(|| waker.clone()).clone_from(waker);
        });
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // The thread may be ending itself, and its table be gone.
        let _ = WAITING.try_with(|waiting| waiting.borrow_mut().remove(&self.0));
    }
}

struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        RUNNING.with(|running| running.set(false));
    }
}

/// Runs `future` and turns a panic in it into a value.
///
/// # Errors
///
/// [`Panicked`] with the panic's message.
pub fn guard<F: Future>(future: F) -> impl Future<Output = Result<F::Output, Panicked>> {
    // No async function: it would have room for the future twice, as argument and as what it
    // waits for.
    AssertUnwindSafe(future).catch_unwind().map(|outcome| outcome.map_err(Panicked::of))
}

impl Panicked {
    fn of(payload: Box<dyn Any + Send>) -> Panicked {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Panicked(text.unwrap_or_else(|| "a panic without text".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_waits_for_the_end_of_its_shard_lets_go_at_it() {
        for driver in [crate::Driver::Epoll, crate::Driver::Epoll] {
            let held = Rc::new(());
            let theirs = held.clone();
            let work = async move {
                spawn(async move {
                    ending().await;
                    drop(theirs);
                });
                pass_turn().await;
            };
            crate::runtime::block_on(driver, work).expect("epoll is always there");
            assert_eq!(Rc::strong_count(&held), 1);
        }
    }

    /// An idle connection costs about its task, so a second copy in it would double the cost.
    #[test]
    fn the_guard_has_room_for_its_future_once() {
        let future = |payload: [u8; 1000]| async move {
            std::future::pending::<()>().await;
            payload
        };
        let bare = size_of_val(&future([0; 1000]));
        assert!(size_of_val(&guard(future([0; 1000]))) < bare + 100);
    }
}
