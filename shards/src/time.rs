//! Timers of the shard, and its coarse clock.

use std::{cell::Cell, future::Future, time::Duration};

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
    monoio::time::sleep(duration).await;
}

/// Runs `future` for at most `duration`.
///
/// `future` is dropped when the time is over, so it must hold no read, accept or connect in
/// flight on a ring: those are bounded by [`crate::Watch`] instead.
///
/// # Errors
///
/// [`Elapsed`] if it was not done in time.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    monoio::time::timeout(duration, future).await.map_err(|_| Elapsed)
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
