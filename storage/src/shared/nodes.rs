//! The registry of nodes: who is alive, and whose leftovers are to be released.
//!
//! A node is in the index for as long as its leftovers may exist, and has a heartbeat, a key that
//! expires, for as long as it lives. A node whose heartbeat is gone is dead: whoever claims it
//! first releases what it left. A claim expires too, so that the leftovers of a node whose
//! releaser died are released by the next.

use std::{cell::RefCell, convert::Infallible, pin::pin, time::Duration};

use futures_util::future::{Either, join, select};
use serde_json::{Value, json};
use shards::{local::Gate, time};

use super::{State, StateError};

/// The usual time between two heartbeats.
pub const NODE_HEARTBEAT: Duration = Duration::from_secs(2);

/// Heartbeats that may be missing before a node is dead.
const BEATS_TO_LIVE: u32 = 3;

/// How long the index of nodes outlives its last heartbeat: a cluster that was down for a night
/// still finds the leftovers of the day before.
const INDEX_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

const INDEX: &str = "nodes";

/// A process that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its id: a UUID in hex, new for each process.
    pub id: String,
    /// When it started, in microseconds since the epoch.
    pub started_at: i64,
    /// Where it listens.
    pub address: String,
    /// How many shards it has.
    pub shard_count: usize,
}

/// What a heartbeat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The node was known: all is well.
    Alive,
    /// The node was not known and is now: this was its first heartbeat, or the first after it had
    /// been [`Beat::Expelled`].
    Joined,
    /// The node was taken for dead and is being released. It must hold nothing any more (leases,
    /// inboxes, sessions that it owns); it joins again when the claim on it has expired.
    Expelled,
}

/// A dead node that this process has to release: it alone, until the claim expires three heartbeats
/// after it was made or renewed ([`Nodes::forget`] it before that; [`Nodes::keep`] does all this).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "nobody else releases the leftovers until the claim expires"]
pub struct Released {
    /// The id of the dead node.
    pub node_id: String,
}

/// The registry, as one node sees it.
pub struct Nodes {
    state: State,
    own: NodeInfo,
    heartbeat: Duration,
}

impl Nodes {
    /// Makes a handle for the node `own`, which beats every `heartbeat`.
    pub fn new(state: State, own: NodeInfo, heartbeat: Duration) -> Nodes {
        Nodes { state, own, heartbeat }
    }

    /// Returns this node.
    pub fn own(&self) -> &NodeInfo {
        &self.own
    }

    fn ttl(&self) -> Duration {
        self.heartbeat * BEATS_TO_LIVE
    }

    /// Says that this node lives. Call it every heartbeat; [`Nodes::keep`] does.
    ///
    /// A node that was frozen learns that it was taken for dead from its next beat, so for up to a
    /// heartbeat it may act on what is no longer its own: what must have one holder needs a fence.
    ///
    /// # Errors
    ///
    /// [`StateError`]; the node is taken for dead if that lasts for three heartbeats.
    pub async fn beat(&self) -> Result<Beat, StateError> {
        if self.state.get(&claim_key(&self.own.id)).await?.is_some() {
            return Ok(Beat::Expelled);
        }
        // The heartbeat comes first: a node that is in the index without one would be dead.
        self.state.set(&beat_key(&self.own.id), b"1", self.ttl()).await?;
        let value = self.own.encode();
        let is_new = self.state.index_put(INDEX, &self.own.id, &value, INDEX_TTL).await?;
        Ok(if is_new { Beat::Joined } else { Beat::Alive })
    }

    /// Returns the nodes that live, in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn live(&self) -> Result<Vec<NodeInfo>, StateError> {
        Ok(self
            .list()
            .await?
            .into_iter()
            .filter(|(_, lives)| *lives)
            .map(|(node, _)| node)
            .collect())
    }

    /// Returns the nodes of the index, and whether they live.
    async fn list(&self) -> Result<Vec<(NodeInfo, bool)>, StateError> {
        let mut nodes = Vec::new();
        for (id, value) in self.state.index_list(INDEX).await? {
            let lives = self.state.get(&beat_key(&id)).await?.is_some();
            nodes.push((NodeInfo::decode(id, &value), lives));
        }
        Ok(nodes)
    }

    /// Finds dead nodes and claims those that nobody else has claimed.
    ///
    /// # Errors
    ///
    /// [`StateError`]; claims that were made before it expire.
    pub async fn claim_dead(&self) -> Result<Vec<Released>, StateError> {
        let mut claimed = Vec::new();
        for (node, lives) in self.list().await? {
            if lives || node.id == self.own.id {
                continue;
            }
            let key = claim_key(&node.id);
            let own = self.own.id.as_bytes();
            if self.state.compare_and_set(&key, None, Some(own), self.ttl()).await? {
                claimed.push(Released { node_id: node.id });
            }
        }
        Ok(claimed)
    }

    /// Ends the release of a dead node: its leftovers are gone, and so is the node. A node that
    /// came back meanwhile learns it from its next [`Nodes::beat`].
    ///
    /// # Errors
    ///
    /// [`StateError`]; the release is done again by whoever claims it next.
    pub async fn forget(&self, released: Released) -> Result<(), StateError> {
        // The claim stays until it expires: others may hold a list that still has the node.
        self.state.index_remove(INDEX, &released.node_id).await.map(|_| ())
    }

    /// Leaves in good order, with nothing left over.
    ///
    /// # Errors
    ///
    /// [`StateError`]; the node is then found dead and released by others.
    pub async fn leave(&self) -> Result<(), StateError> {
        self.state.index_remove(INDEX, &self.own.id).await?;
        self.state.delete(&beat_key(&self.own.id)).await.map(|_| ())
    }

    /// Beats, and releases the dead, until `closing` opens; then leaves.
    ///
    /// `changed` is called when this node joins and when it is expelled. `release` is awaited for
    /// each dead node, while the claim on it is renewed and this node goes on beating; it returns
    /// whether nothing of the dead node is left. Errors are given to `failed`, at most two for each
    /// heartbeat.
    pub async fn keep(
        &self,
        closing: &Gate,
        changed: impl FnMut(Beat),
        release: impl AsyncFnMut(&str) -> bool,
        failed: impl FnMut(StateError),
    ) {
        let failed = RefCell::new(failed);
        let fail = |error| (failed.borrow_mut())(error);
        let beating = self.keep_beating(closing, changed, &fail);
        join(beating, self.keep_releasing(closing, release, &fail)).await;
        if let Err(error) = self.leave().await {
            fail(error);
        }
    }

    async fn keep_beating(
        &self,
        closing: &Gate,
        mut changed: impl FnMut(Beat),
        fail: &impl Fn(StateError),
    ) {
        let mut is_expelled = false;
        while !closing.is_open() {
            match self.beat().await {
                Ok(beat) => {
                    if beat == Beat::Joined || (beat == Beat::Expelled && !is_expelled) {
                        changed(beat);
                    }
                    is_expelled = beat == Beat::Expelled;
                }
                Err(error) => fail(error),
            }
            let _ = time::timeout(self.heartbeat, closing.passed()).await;
        }
    }

    async fn keep_releasing(
        &self,
        closing: &Gate,
        mut release: impl AsyncFnMut(&str) -> bool,
        fail: &impl Fn(StateError),
    ) {
        while !closing.is_open() {
            if let Err(error) = self.release_dead(&mut release).await {
                fail(error);
            }
            let _ = time::timeout(self.heartbeat, closing.passed()).await;
        }
    }

    async fn release_dead(
        &self,
        release: &mut impl AsyncFnMut(&str) -> bool,
    ) -> Result<(), StateError> {
        for dead in self.claim_dead().await? {
            if self.release_one(&dead.node_id, release).await {
                self.forget(dead).await?;
            }
        }
        Ok(())
    }

    async fn release_one(
        &self,
        node_id: &str,
        release: &mut impl AsyncFnMut(&str) -> bool,
    ) -> bool {
        let releasing = pin!(release(node_id));
        match select(releasing, pin!(self.hold_claim(node_id))).await {
            Either::Left((is_done, _)) => is_done,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Renews a claim for as long as it is polled.
    async fn hold_claim(&self, node_id: &str) -> Infallible {
        let key = claim_key(node_id);
        loop {
            time::sleep(self.heartbeat).await;
            // If it cannot be renewed it expires, and another node releases what is left.
            let _ = self.state.touch(&key, self.ttl()).await;
        }
    }
}

pub(super) fn beat_key(id: &str) -> String {
    format!("node:{id}:beat")
}

fn claim_key(id: &str) -> String {
    format!("node:{id}:claim")
}

impl NodeInfo {
    fn encode(&self) -> Vec<u8> {
        let value = json!({
            "started_at": self.started_at,
            "address": self.address,
            "shard_count": self.shard_count,
        });
        value.to_string().into_bytes()
    }

    /// Reads what a node wrote about itself; what another version wrote in another way is empty,
    /// for the node must be found and released nevertheless.
    fn decode(id: String, bytes: &[u8]) -> NodeInfo {
        let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
        NodeInfo {
            id,
            started_at: value["started_at"].as_i64().unwrap_or_default(),
            address: value["address"].as_str().unwrap_or_default().to_owned(),
            shard_count: value["shard_count"].as_u64().map_or(0, |count| count as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_read_as_it_was_written_and_an_unknown_form_keeps_its_id() {
        let node = NodeInfo {
            id: "a".to_owned(),
            started_at: 17,
            address: "10.0.0.1:4444".to_owned(),
            shard_count: 3,
        };
        assert_eq!(NodeInfo::decode("a".to_owned(), &node.encode()), node);
        assert_eq!(NodeInfo::decode("b".to_owned(), b"?").id, "b");
    }
}
