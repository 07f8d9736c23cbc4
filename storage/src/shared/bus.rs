//! Messages between the shards of a process, or of all nodes: topics, and inboxes of shards.

use std::rc::Rc;

use super::{
    Backend, Handle, StateError,
    fanout::Subscription,
    nodes::beat_key,
    state::{check_key, check_value},
};

/// Whether somebody is subscribed to the topic that a message was published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nobody: the message is gone.
    Nobody,
    /// Somebody, who may still lose it (see [`BusItem::Lost`](super::BusItem::Lost)).
    Somebody,
    /// A Redis Cluster does not tell.
    Unknown,
}

/// A shard's handle on the bus: cheap to clone, tied to the shard that made it.
///
/// Messages of one publisher to one topic come in order, at most once. Whoever must not miss what
/// they tell checks for himself when he begins, and at each
/// [`BusItem::Lost`](super::BusItem::Lost).
#[derive(Clone)]
pub struct Bus(pub(super) Rc<Handle>);

impl Bus {
    /// Publishes `payload` to the subscribers of `topic`, those of this shard included.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn publish(&self, topic: &str, payload: &[u8]) -> Result<Reach, StateError> {
        check_key(topic)?;
        check_value(payload)?;
        let reach = match &self.0.backend {
            Backend::Memory(_) => {
                self.0.count(Ok(match self.0.fanout.deliver(topic, payload) {
                    0 => Reach::Nobody,
                    _ => Reach::Somebody,
                }))?
            }
            Backend::Redis(redis) => redis.publish(topic, payload).await?,
        };
        self.0.counters.published.add();
        Ok(reach)
    }

    /// Subscribes to `topic`. What is published after this returned comes, or a
    /// [`BusItem::Lost`](super::BusItem::Lost) comes instead, also when the server is away now: so
    /// read what the messages are about after this returned.
    ///
    /// # Errors
    ///
    /// [`StateError::Full`] at [`TOPIC_COUNT_MAX`](super::TOPIC_COUNT_MAX) topics,
    /// [`StateError::Refused`] if the server forbids the topic.
    pub async fn subscribe(&self, topic: &str) -> Result<Subscription, StateError> {
        check_key(topic)?;
        let (subscription, begun) = self.0.fanout.subscribe(topic)?;
        match &self.0.backend {
            // In memory it has begun at once, which `begin` would tell only if nobody else had.
            Backend::Memory(_) => Ok(subscription),
            Backend::Redis(redis) => {
                redis.begun(topic, begun).await?;
                Ok(subscription)
            }
        }
    }

    /// Sends `payload` to the inbox of a shard for this `purpose`. Shards of this node get it within
    /// the process, whether Redis is there or not.
    ///
    /// # Errors
    ///
    /// [`StateError`]: it is [`StateError::Away`] also if another node lives and does not listen
    /// now, as while it connects to Redis anew.
    pub async fn send(
        &self,
        purpose: &str,
        node_id: &str,
        shard_index: usize,
        payload: &[u8],
    ) -> Result<Reach, StateError> {
        let topic = inbox_topic(purpose, node_id, shard_index);
        if let Backend::Memory(_) = &self.0.backend {
            return self.publish(&topic, payload).await;
        }
        if node_id == self.0.node_id {
            check_value(payload)?;
            let fanout = self.0.common.fanout_of(shard_index);
            self.0.counters.published.add();
            return Ok(match fanout.map_or(0, |fanout| fanout.deliver(&topic, payload)) {
                0 => Reach::Nobody,
                _ => Reach::Somebody,
            });
        }
        let reach = self.publish(&topic, payload).await?;
        if reach == Reach::Nobody && self.is_alive(node_id).await? {
            return Err(StateError::Away { reason: format!("node {node_id} does not listen now") });
        }
        Ok(reach)
    }

    /// Returns whether a node lives: whether it is this one, or has a heartbeat. Right after Redis lost
    /// its data no other node has one, for as long as it takes until the next.
    ///
    /// # Errors
    ///
    /// [`StateError`] if that is not known.
    pub async fn is_alive(&self, node_id: &str) -> Result<bool, StateError> {
        match &self.0.backend {
            _ if node_id == self.0.node_id => Ok(true),
            Backend::Memory(_) => Ok(false),
            Backend::Redis(redis) => Ok(redis.get(&beat_key(node_id)).await?.is_some()),
        }
    }

    /// Opens an inbox of this shard.
    ///
    /// # Errors
    ///
    /// As [`Bus::subscribe`].
    pub async fn inbox(&self, purpose: &str) -> Result<Subscription, StateError> {
        self.subscribe(&inbox_topic(purpose, &self.0.node_id, self.0.shard_index)).await
    }

    /// Returns the id of this node.
    pub fn node_id(&self) -> &str {
        &self.0.node_id
    }

    /// Returns the index of this shard.
    pub fn shard_index(&self) -> usize {
        self.0.shard_index
    }
}

fn inbox_topic(purpose: &str, node_id: &str, shard_index: usize) -> String {
    format!("node:{node_id}:{shard_index}:{purpose}")
}
