//! Tasks of a shard, each behind its own panic guard: a panic ends that task and no other.

use std::{any::Any, cell::Cell, future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt;

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

/// Runs a shard's main future, and notes when it has ended.
pub(crate) async fn main<F: Future>(future: F) -> F::Output {
    RUNNING.with(|running| running.set(true));
    GENERATION.with(|generation| generation.set(generation.get() + 1));
    let _ended = Ended;
    future.await
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
