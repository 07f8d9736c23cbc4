//! Timers of the shard, and its coarse clock.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;

pub use monoio::time::Instant;

thread_local! {
    static START: Instant = Instant::now();
    static COARSE_MS: Cell<u64> = const { Cell::new(0) };
}

/// A wait that ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    timer(duration).await;
}

/// A timer of the ring. It takes a KiB, aligned to two cache lines, so it lies on the heap: in its
/// place it would make every future around it as large, also where it hardly ever waits.
fn timer(duration: Duration) -> Pin<Box<monoio::time::Sleep>> {
    Box::pin(monoio::time::sleep(duration))
}

pin_project! {
    /// See [`timeout`].
    struct Timeout<F> {
        #[pin]
        future: F,
        duration: Duration,
        // Made when there is something to wait for.
        timer: Option<Pin<Box<monoio::time::Sleep>>>,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        let timer = this.timer.get_or_insert_with(|| timer(*this.duration));
        timer.as_mut().poll(context).map(|()| Err(Elapsed))
    }
}

/// Runs `future` for at most `duration`.
///
/// `future` is dropped when the time is over, so it must hold no read, accept or connect in
/// flight on a ring: those are bounded by [`crate::Watch`] instead.
///
/// # Errors
///
/// [`Elapsed`] if it was not done in time.
pub fn timeout<F: Future>(
    duration: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    Timeout { future, duration, timer: None }
}

/// Returns this shard's milliseconds since it started, as of the last tick of [`crate::watch`]
/// (at most [`crate::watch::TICK`] old while anything is watched). Costs one load.
pub fn coarse_ms() -> u64 {
    COARSE_MS.with(Cell::get)
}

/// Moves the coarse clock to now.
pub(crate) fn refresh_coarse() -> u64 {
    let now = START.with(|start| start.elapsed().as_millis() as u64);
    COARSE_MS.with(|coarse| coarse.set(now));
    now
}
