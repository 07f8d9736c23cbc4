//! Tasks of a shard, each behind its own panic guard: a panic ends that task and no other.

use std::{future::Future, panic::AssertUnwindSafe};

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

/// Runs `future` and turns a panic in it into a value.
///
/// # Errors
///
/// [`Panicked`] with the panic's message.
pub async fn guard<F: Future>(future: F) -> Result<F::Output, Panicked> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Panicked(text.unwrap_or_else(|| "a panic without text".to_owned()))
    })
}
