//! What every whole-gateway test stands on: the real binary, real and faulty upstreams, real clients.

pub mod faulty;
pub mod gateway;
pub mod issuer;
pub mod mcp;
pub mod port;
#[path = "../../../storage/tests/support/postgres.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests of the store need more of it")]
pub mod postgres;
#[path = "../../../storage/tests/shared/server.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests of shared state need more")]
pub mod redis;
pub mod stream;
pub mod tools;
pub mod upstreams;
pub mod wire;

use std::time::{Duration, Instant};

/// How often [`eventually`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `look` finds something, and gives it back.
///
/// # Panics
///
/// When `limit` has passed, with `what` was waited for.
pub fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
