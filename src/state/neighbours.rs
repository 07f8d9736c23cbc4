//! The other nodes on the same database: who they are, and how changes are told both ways.

use std::{cell::Cell, rc::Rc, time::Duration};

use shards::{
    local::{Bell, Gate},
    time,
};
use storage::shared::{Beat, Bus, BusItem, NodeInfo, Nodes, State, StateError};

use crate::state::KeeperHandle;

/// The topic on which nodes tell where the change feed ends.
const CHANGES: &str = "changes";

/// How long a node waits before it tries again to subscribe or to tell.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often a node that was not told of a change is tried again: the others poll anyway.
const TELL_COUNT_MAX: usize = 3;

/// That this process moved the change feed, and where to.
#[derive(Default)]
pub struct Moved {
    bell: Bell,
    sequence: Cell<i64>,
}

impl Moved {
    /// Notes that the feed ends at `sequence` now.
    pub fn note(&self, sequence: i64) {
        self.sequence.set(sequence);
        self.bell.ring();
    }
}

/// Tells the other nodes of every change that this one made. Changes that come while one is told
/// are told together.
pub async fn tell_changes(moved: Rc<Moved>, bus: Bus) {
    loop {
        moved.bell.wait().await;
        for _ in 0..TELL_COUNT_MAX {
            let text = moved.sequence.get().to_string();
            match bus.publish(CHANGES, text.as_bytes()).await {
                Ok(_) => break,
                Err(error) => tracing::debug!(%error, "the other nodes were not told of a change"),
            }
            time::sleep(AGAIN_AFTER).await;
        }
    }
}

/// Gives the keeper a hint whenever another node tells of a change, or may have.
pub async fn hear_changes(bus: Bus, keeper: KeeperHandle) {
    loop {
        let mut subscription = match bus.subscribe(CHANGES).await {
            Ok(subscription) => subscription,
            Err(error) => {
                tracing::debug!(%error, "not subscribed to the changes of other nodes");
                time::sleep(AGAIN_AFTER).await;
                continue;
            }
        };
        keeper.hint(None);
        loop {
            keeper.hint(match subscription.next().await {
                BusItem::Lost => None,
                BusItem::Message(text) => {
                    std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok())
                }
            });
        }
    }
}

/// Says that this node lives until `closing` opens, and has `release` release what dead nodes
/// held; it returns whether nothing of it is left.
pub async fn keep_house(
    state: State,
    own: NodeInfo,
    heartbeat: Duration,
    closing: Rc<Gate>,
    release: impl AsyncFnMut(&str) -> bool,
) {
    let nodes = Nodes::new(state, own, heartbeat);
    let is_away = Cell::new(false);
    let changed = |beat: Beat| {
        is_away.set(false);
        tracing::info!(node = nodes.own().id, ?beat, "seen by the other nodes");
    };
    let failed = |error: StateError| {
        if !is_away.replace(true) {
            tracing::warn!(%error, "the other nodes cannot be seen: this one goes on alone");
        }
    };
    nodes.keep(&closing, changed, release, failed).await;
}
