//! How long an upstream that could not be reached is left alone.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use shards::watch;

use crate::failure::{Failure, UpstreamFailure};

/// The pause after the first failure; it doubles with each one that follows.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause: as long as a person waits before trying by hand.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The failures in a row, and until when the last one stands.
#[derive(Default)]
pub(super) struct Backoff {
    last: RefCell<Option<UpstreamFailure>>,
    count: Cell<u32>,
    until_ms: Cell<u64>,
}

impl Backoff {
    /// Fails as the last attempt did, while its pause lasts.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match &*self.last.borrow() {
            Some(failure) if watch::clock_ms() < self.until_ms.get() => {
                Err(Failure::Upstream(failure.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Takes note of how an attempt went.
    pub(super) fn note<T>(&self, outcome: &Result<T, Failure>) {
        match outcome {
            Err(Failure::Upstream(failure)) => {
                let pause = PAUSE_MIN.saturating_mul(1 << self.count.get()).min(PAUSE_MAX);
                self.count.set((self.count.get() + 1).min(10));
                self.until_ms.set(watch::clock_ms() + pause.as_millis() as u64);
                *self.last.borrow_mut() = Some(failure.clone());
            }
            _ => {
                self.count.set(0);
                self.last.take();
            }
        }
    }
}
