//! How state and bus are set up: which backend, its bounds and times.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use super::{
    Figures, RedisLocation, fanout::Fanout, figures::Counters, memory::Memory, redis::ClusterSlot,
};

/// Where shared state is kept (`CACHE_TYPE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheType {
    /// In this process.
    Memory,
    /// In Redis.
    Redis,
    /// In this process too: what others keep in a database's tables and poll ten times a second
    /// is not kept there by us. The gateway says so at start.
    Database,
    /// In this process too, which nothing can do without; nothing is shared with other nodes.
    None,
}

impl std::str::FromStr for CacheType {
    type Err = String;

    fn from_str(text: &str) -> Result<CacheType, String> {
        match text.to_ascii_lowercase().as_str() {
            "memory" => Ok(CacheType::Memory),
            "redis" => Ok(CacheType::Redis),
            "database" => Ok(CacheType::Database),
            "none" => Ok(CacheType::None),
            _ => Err(format!("is memory, redis, database or none, not {text:?}")),
        }
    }
}

/// How to set up shared state. Clones share what is kept in memory, and the figures: make one, set
/// its fields, then give each shard a clone.
#[derive(Clone)]
pub struct SharedOptions {
    /// Where it is kept.
    pub cache_type: CacheType,
    /// Where Redis is; needed for [`CacheType::Redis`] only.
    pub redis: Option<RedisLocation>,
    /// What stands before each key and topic in Redis.
    pub prefix: String,
    /// The time between two attempts to reach Redis, to which up to a quarter is added by chance.
    pub retry_interval: Duration,
    /// How long a command may take, and how long an attempt to connect may take.
    pub command_timeout: Duration,
    /// Commands of a shard that may be in flight at once.
    pub queue_count_max: usize,
    /// Messages that may wait for a subscriber.
    pub subscriber_queue_count_max: usize,
    /// Commands in a row that may time out before the connection is replaced.
    pub timeout_count_max: u32,
    /// How often a connection is checked while nothing else is sent.
    pub ping_interval: Duration,
    /// This node: a UUID in hex, new for each process.
    pub node_id: String,
    /// The bounds of what is kept in this process.
    pub memory_bounds: MemoryBounds,
    pub(super) counters: Arc<Counters>,
    pub(super) common: Arc<Common>,
}

/// What the shards of a process have in common, made by the first that starts.
#[derive(Default)]
pub(super) struct Common {
    pub cluster: ClusterSlot,
    memory: OnceLock<Arc<Memory>>,
    fanout: OnceLock<Arc<Fanout>>,
    /// The topics of each shard that is connected to Redis.
    fanouts: Mutex<HashMap<usize, Weak<Fanout>>>,
}

impl Common {
    /// Makes the topics of a shard known to the others of the process.
    pub fn note(&self, shard_index: usize, fanout: &Arc<Fanout>) {
        self.lock_fanouts().insert(shard_index, Arc::downgrade(fanout));
    }

    /// The topics of a shard with Redis.
    pub fn fanout_of(&self, shard_index: usize) -> Option<Arc<Fanout>> {
        self.lock_fanouts().get(&shard_index).and_then(Weak::upgrade)
    }

    fn lock_fanouts(&self) -> MutexGuard<'_, HashMap<usize, Weak<Fanout>>> {
        self.fanouts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bounds of what is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBounds {
    /// Keys.
    pub entry_count_max: usize,
    /// Bytes of keys and values, with what the tables need for them.
    pub byte_count_max: usize,
}

impl Default for MemoryBounds {
    /// 100,000 entries of 64 MiB: sessions of 600 bytes each.
    fn default() -> MemoryBounds {
        MemoryBounds { entry_count_max: 100_000, byte_count_max: 64 << 20 }
    }
}

impl SharedOptions {
    /// The usual options for state in this process.
    pub fn memory(bounds: MemoryBounds) -> SharedOptions {
        SharedOptions {
            cache_type: CacheType::Memory,
            redis: None,
            prefix: "mcpgw:".to_owned(),
            retry_interval: Duration::from_millis(2000),
            command_timeout: Duration::from_millis(1000),
            queue_count_max: 1024,
            subscriber_queue_count_max: 1024,
            timeout_count_max: 3,
            ping_interval: Duration::from_millis(1000),
            node_id: uuid::Uuid::new_v4().simple().to_string(),
            memory_bounds: bounds,
            counters: Arc::default(),
            common: Arc::default(),
        }
    }

    /// The usual options for state in Redis.
    pub fn redis(location: RedisLocation) -> SharedOptions {
        let memory = SharedOptions::memory(MemoryBounds::default());
        SharedOptions { cache_type: CacheType::Redis, redis: Some(location), ..memory }
    }

    /// Returns the state and the topics of this process.
    pub(super) fn in_process(&self) -> (Arc<Memory>, Arc<Fanout>) {
        let bounds = self.memory_bounds;
        let memory = self
            .common
            .memory
            .get_or_init(|| Arc::new(Memory::new(bounds.entry_count_max, bounds.byte_count_max)));
        let fanout = self.common.fanout.get_or_init(|| {
            let queue_count_max = self.subscriber_queue_count_max;
            Arc::new(Fanout::new(queue_count_max, self.counters.clone(), || {}))
        });
        (memory.clone(), fanout.clone())
    }

    /// Returns whether state is shared with other nodes.
    pub fn is_distributed(&self) -> bool {
        self.cache_type == CacheType::Redis
    }

    /// Returns what was done so far, over all shards that use these options or clones of them.
    pub fn figures(&self) -> Figures {
        self.counters.read()
    }
}

impl fmt::Debug for SharedOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SharedOptions")
            .field("cache_type", &self.cache_type)
            .field("redis", &self.redis)
            .field("prefix", &self.prefix)
            .field("node_id", &self.node_id)
            .finish_non_exhaustive()
    }
}
