//! Joining the other nodes: shared state on every shard, and the tasks of the first.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use shards::task::{self, Task};
use storage::shared::{
    CacheType, MemoryBounds, NodeInfo, RedisLocation, Shared, SharedOptions, StateError,
};

use crate::{
    settings::Settings,
    state::{
        KeeperHandle, Shard,
        health::LEASE,
        neighbours::{self, Moved},
    },
};

/// Where Redis is unless `REDIS_URL` says otherwise.
const REDIS_URL: &str = "redis://localhost:6379/0";

/// What a shard needs to join.
#[derive(Clone)]
pub struct Neighbourhood {
    options: SharedOptions,
    node: NodeInfo,
    keeper: KeeperHandle,
    heartbeat: Duration,
    /// How long the first connection may take before it is said to be missing.
    patience: Duration,
}

impl Neighbourhood {
    /// Puts together what the settings say.
    ///
    /// # Errors
    ///
    /// [`StateError`] if `REDIS_URL` cannot be read.
    pub fn new(
        settings: &Settings,
        address: SocketAddr,
        shard_count: usize,
        keeper: KeeperHandle,
    ) -> Result<Neighbourhood, StateError> {
        let options = shared_options(settings)?;
        let node = NodeInfo {
            id: options.node_id.clone(),
            started_at: storage::record::now(),
            address: address.to_string(),
            shard_count,
        };
        let heartbeat = settings.cache.node_heartbeat;
        let retry_count = settings.cache.retry_count_max.try_into().unwrap_or(u32::MAX);
        let patience = options.retry_interval.saturating_mul(retry_count);
        Ok(Neighbourhood { options, node, keeper, heartbeat, patience })
    }

    /// Makes the handles of shard `index`, on its thread.
    ///
    /// # Errors
    ///
    /// [`StateError`] if a thread cannot be started.
    pub fn join(&self, index: usize) -> Result<Shared, StateError> {
        Shared::start(&self.options, index)
    }

    /// Starts the tasks that only one shard of a process runs; returns the one that takes leave
    /// of the others when the shard drains.
    pub fn keep(self, shard: &Rc<Shard>, moved: Rc<Moved>) -> Option<Task<()>> {
        if !self.options.is_distributed() {
            return None;
        }
        let Neighbourhood { node, keeper, heartbeat, patience, .. } = self;
        let shared = shard.shared.clone();
        let bus = shared.bus.clone();
        task::spawn(neighbours::tell_changes(moved, bus.clone()));
        task::spawn(neighbours::hear_changes(bus, keeper));
        let closing = shard.draining.clone();
        let registry = shard.registry.clone();
        let release = async move |dead: &str| registry.release_lease(LEASE, dead).await.is_ok();
        Some(task::spawn(async move {
            // What it takes to connect is no outage; the attempts go on after it.
            let _ = shared.ready(patience).await;
            neighbours::keep_house(shared.state, node, heartbeat, closing, release).await;
        }))
    }
}

fn shared_options(settings: &Settings) -> Result<SharedOptions, StateError> {
    let cache = &settings.cache;
    let (entry_count_max, byte_count_max) = (cache.entry_count_max, cache.size_max);
    let mut options = match cache.cache_type {
        CacheType::Redis => {
            let url = cache.redis_url.as_ref().map_or(REDIS_URL, |url| url.expose());
            SharedOptions::redis(RedisLocation::parse(url)?)
        }
        _ => SharedOptions::memory(MemoryBounds { entry_count_max, byte_count_max }),
    };
    options.prefix = cache.prefix.clone();
    options.retry_interval = Duration::from_millis(cache.retry_interval_ms as u64);
    options.command_timeout = cache.command_timeout;
    options.queue_count_max = cache.queue_count_max;
    Ok(options)
}

/// What an operator should read of it at start.
pub fn announcement(settings: &Settings) -> Option<&'static str> {
    match settings.cache.cache_type {
        CacheType::Memory => None,
        CacheType::Redis => Some("shared state is in Redis"),
        CacheType::Database | CacheType::None => {
            Some("shared state stays in this process: CACHE_TYPE=redis shares it with other nodes")
        }
    }
}
