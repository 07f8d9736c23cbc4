//! What nodes share for a while: state with a time to live, a bus for messages, and the registry of
//! the nodes themselves.
//!
//! Two backends, chosen by [`SharedOptions`] at run time: this process, or Redis (a server,
//! sentinels, a cluster). Both give the same answers. Nothing here waits without a bound: a server
//! that is away or frozen costs a command at most its timeout, and nothing once that is known.

mod bus;
mod error;
mod fanout;
mod figures;
mod location;
mod memory;
mod nodes;
mod options;
mod quota;
mod redis;
mod state;

use std::{rc::Rc, sync::Arc, time::Duration};

pub use bus::{Bus, Reach};
pub use error::StateError;
pub use fanout::{BusItem, QUEUE_SIZE_MAX, SUBSCRIBER_COUNT_MAX, Subscription, TOPIC_COUNT_MAX};
pub use figures::Figures;
pub use location::{Host, Place, RedisLocation, SentinelLogin, TlsTrust};
pub use nodes::{Beat, NODE_HEARTBEAT, NodeInfo, Nodes, Released};
pub use options::{CacheType, MemoryBounds, SharedOptions};
pub use quota::{Quota, Spent};
pub use redis::probe;
pub use state::{
    INDEX_COUNT_MAX, KEY_SIZE_MAX, LIST_COUNT_MAX, State, TTL_MAX, TTL_MIN, VALUE_SIZE_MAX,
};

use fanout::Fanout;
use figures::Counters;

/// A shard's handles on shared state and bus. Clones share one connection, which is closed when
/// the last handle has gone.
#[derive(Clone)]
pub struct Shared {
    /// Keys and values.
    pub state: State,
    /// Messages.
    pub bus: Bus,
}

/// What the handles of a shard have in common.
struct Handle {
    backend: Backend,
    fanout: Arc<Fanout>,
    /// What the shards of the process have in common.
    common: Arc<options::Common>,
    counters: Arc<Counters>,
    node_id: String,
    shard_index: usize,
}

/// The places that state can be kept at.
enum Backend {
    Memory(Arc<memory::Memory>),
    Redis(redis::Redis),
}

impl Shared {
    /// Makes the handles of shard `shard_index`, on whose thread it must be called. With Redis it
    /// begins to connect and does not wait for that: see [`Shared::ready`].
    ///
    /// # Errors
    ///
    /// [`StateError::Settings`] if the options name Redis but not where it is, or if the thread of
    /// the cluster client cannot be started.
    pub fn start(options: &SharedOptions, shard_index: usize) -> Result<Shared, StateError> {
        let (backend, fanout) = match options.cache_type {
            CacheType::Redis => redis::Redis::start(options, shard_index)
                .map(|redis| (redis.fanout(), redis))
                .inspect(|(fanout, _)| options.common.note(shard_index, fanout))
                .map(|(fanout, redis)| (Backend::Redis(redis), fanout))?,
            CacheType::Memory | CacheType::Database | CacheType::None => {
                let (memory, fanout) = options.in_process();
                (Backend::Memory(memory), fanout)
            }
        };
        let counters = options.counters.clone();
        let node_id = options.node_id.clone();
        let common = options.common.clone();
        let handle = Rc::new(Handle { backend, fanout, common, counters, node_id, shard_index });
        Ok(Shared { state: State(handle.clone()), bus: Bus(handle) })
    }

    /// Waits for up to `within` until commands are answered; returns why they are not.
    ///
    /// # Errors
    ///
    /// The [`StateError`] of the last attempt.
    pub async fn ready(&self, within: Duration) -> Result<(), StateError> {
        match &self.state.0.backend {
            Backend::Memory(_) => Ok(()),
            Backend::Redis(redis) => redis.ready(within).await,
        }
    }

    /// Returns whether commands are sent at the moment; without, they fail at once.
    pub fn is_up(&self) -> bool {
        match &self.state.0.backend {
            Backend::Memory(_) => true,
            Backend::Redis(redis) => redis.is_up(),
        }
    }
}

impl Handle {
    /// Counts a command that was done in memory.
    fn count<T>(&self, answer: Result<T, StateError>) -> Result<T, StateError> {
        self.counters.commands.add();
        if answer.is_err() {
            self.counters.errors.add();
        }
        answer
    }
}
