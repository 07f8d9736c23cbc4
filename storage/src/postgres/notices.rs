//! Listening for notices that the feed has moved, on a connection of its own.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select;
use shards::{mailbox, task, time};

use super::connect::{self, Hints};
use super::hub::{Hub, PAUSE_MAX, PAUSE_MIN};
use super::write::CHANNEL;

/// How often a silent connection is asked for a sign of life, and whether anybody still listens.
const CHECK: Duration = Duration::from_secs(15);

/// Hints that may wait for their reader.
const HINT_COUNT_MAX: usize = 256;

/// Hints that the feed may have moved: ask [`crate::Store::changes_since`] when one comes.
///
/// A hint may be one too many; none is promised, so ask now and then without one. After each
/// interruption one comes when the way is open again, for what may have been missed.
pub struct Notices(Option<mailbox::Receiver<Option<i64>>>);

impl Notices {
    /// Notices that never come.
    pub(crate) fn none() -> Notices {
        Notices(None)
    }

    /// Notices, and where to send them.
    pub(super) fn channel() -> (Hints, Notices) {
        let (sender, receiver) = mailbox::channel(HINT_COUNT_MAX);
        (sender, Notices(Some(receiver)))
    }

    /// Waits for the next hint: where the feed ends, if that was told. For ever where none can come: on SQLite, behind a pooler, and when
    /// the store is closed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<i64> {
        if let Some(receiver) = &mut self.0
            && let Some(told) = receiver.next().await
        {
            return told;
        }
        self.0 = None;
        std::future::pending().await
    }
}

/// Listens until the store is closed or nobody wants the hints any more.
pub(super) async fn listen(hub: Arc<Hub>, hints: Hints) {
    let ending = pin!(task::ending());
    let over = select(hub.closing(), ending);
    // What is dropped here waits for readiness only: nothing is in flight on the ring.
    let _ = select(over, pin!(listen_on(&hub, &hints))).await;
}

async fn listen_on(hub: &Arc<Hub>, hints: &Hints) {
    let mut pause = PAUSE_MIN;
    while !hints.is_closed() {
        if listen_once(hub, hints).await {
            pause = PAUSE_MIN;
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Listens on one connection to its end; returns whether it came to listening.
async fn listen_once(hub: &Arc<Hub>, hints: &Hints) -> bool {
    let Ok(link) = connect::open(hub, Some(hints.clone())).await else { return false };
    let sql = format!("LISTEN {CHANNEL}");
    if link.session.batch("listening for changes", &sql).await.is_err() {
        return false;
    }
    // What changed before is not told of.
    let _ = hints.send(None);
    while !hints.is_closed() {
        let is_over = time::timeout(CHECK, link.ended()).await.is_ok();
        if is_over || !link.session.answers().await {
            break;
        }
    }
    true
}
