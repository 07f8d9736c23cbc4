//! State and bus on Redis 6 or newer, or Valkey: a server, sentinels, or a cluster.
//!
//! Each request is one command or one script, so nobody sees it half-done; each names one key, so a
//! cluster can serve it. Pub/sub comes as RESP3 pushes over the shard's own connection.

mod cluster;
mod connect;
mod link;
mod resolve;
mod sentinel;
mod tls;
mod verdict;

use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use redis::{Cmd, FromRedisValue, Value};
use shards::{
    mailbox::oneshot,
    time::{self, Instant},
};

use super::{
    Quota, Reach, SharedOptions, Spent, StateError,
    fanout::Fanout,
    location::Place,
    state::{INDEX_COUNT_MAX, TTL_MAX},
};
use cluster::ClusterClient;
pub(super) use cluster::ClusterSlot;
use link::Link;

/// How often [`Redis::ready`] looks again.
const READY_PAUSE: Duration = Duration::from_millis(20);

const COMPARE_AND_SET: &str = "\
local found = redis.call('GET', KEYS[1])
if ARGV[1] == '0' then if found then return 0 end
elseif found ~= ARGV[2] then return 0 end
if ARGV[3] == '0' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) end
return 1";

const INCREMENT: &str = "\
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum";

/// [`Quota::spend`], by the server's clock. Microseconds since the epoch are whole in a double.
const SPEND: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, reach = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
if due + interval - now > reach then return {0, string.format('%.0f', due - now)} end
due = due + interval
local ttl = math.min(math.ceil((due - now) / 1000), tonumber(ARGV[3]))
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', string.format('%.0f', ttl))
return {1, string.format('%.0f', due - now)}";

const PUSH: &str = "\
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[2]), -1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.call('LLEN', KEYS[1])";

const TAKE: &str = "\
local items = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)
redis.call('LTRIM', KEYS[1], ARGV[1], -1)
return items";

const INDEX_PUT: &str = "\
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4])
and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return -1 end
local new = redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return new";

/// A shard's way to Redis.
pub(super) struct Redis {
    link: Rc<Link>,
    /// Present if keys are spread over a cluster; the link then only serves the bus.
    cluster: Option<ClusterClient>,
    prefix: String,
}

impl Redis {
    /// Begins to connect.
    pub fn start(options: &SharedOptions, shard_index: usize) -> Result<Redis, StateError> {
        let Some(location) = &options.redis else {
            let reason = "is missing, and CACHE_TYPE is redis".to_owned();
            return Err(StateError::Settings { reason });
        };
        let cluster = match &location.place {
            Place::Cluster(_) => Some(options.common.cluster.client(options, location)?),
            Place::Server(_) | Place::Unix(_) | Place::Sentinel { .. } => None,
        };
        let link = Link::start(options.clone(), location.clone(), shard_index);
        Ok(Redis { link, cluster, prefix: options.prefix.clone() })
    }

    /// Returns the topics of this shard.
    pub fn fanout(&self) -> Arc<Fanout> {
        self.link.fanout().clone()
    }

    pub fn is_up(&self) -> bool {
        self.link.is_up() && self.cluster.as_ref().is_none_or(ClusterClient::is_up)
    }

    pub async fn ready(&self, within: Duration) -> Result<(), StateError> {
        let until = Instant::now() + within;
        loop {
            // A key that nobody sets: it asks the very commands and rights that are needed.
            match self.get("ready").await {
                Ok(_) if self.link.is_up() => return Ok(()),
                Ok(_) if Instant::now() >= until => return Err(self.link.away()),
                Err(error) if Instant::now() >= until || !error.is_transient() => {
                    return Err(error);
                }
                _ => time::sleep(READY_PAUSE).await,
            }
        }
    }

    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.ask(key, self.command("GET", key)).await
    }

    pub async fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), StateError> {
        let mut command = self.command("SET", key);
        command.arg(value).arg("PX").arg(millis(ttl));
        self.ask(key, command).await
    }

    pub async fn delete(&self, key: &str) -> Result<bool, StateError> {
        self.ask(key, self.command("DEL", key)).await
    }

    pub async fn touch(&self, key: &str, ttl: Duration) -> Result<bool, StateError> {
        let mut command = self.command("PEXPIRE", key);
        command.arg(millis(ttl));
        self.ask(key, command).await
    }

    pub async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        ttl: Duration,
    ) -> Result<bool, StateError> {
        let mut command = self.script(COMPARE_AND_SET, key);
        command.arg(i32::from(expected.is_some())).arg(expected.unwrap_or_default());
        command.arg(i32::from(value.is_some())).arg(value.unwrap_or_default()).arg(millis(ttl));
        self.ask(key, command).await
    }

    pub async fn increment(&self, key: &str, by: i64, ttl: Duration) -> Result<i64, StateError> {
        let mut command = self.script(INCREMENT, key);
        command.arg(by).arg(millis(ttl));
        self.ask(key, command).await
    }

    pub async fn spend(&self, key: &str, quota: Quota) -> Result<Spent, StateError> {
        let mut command = self.script(SPEND, key);
        command.arg(quota.interval_us).arg(quota.reach_us()).arg(millis(TTL_MAX));
        let (is_allowed, ahead): (i64, i64) = self.ask(key, command).await?;
        Ok(quota.told(is_allowed == 1, ahead))
    }

    pub async fn push(
        &self,
        key: &str,
        value: &[u8],
        keep: usize,
        ttl: Duration,
    ) -> Result<usize, StateError> {
        let mut command = self.script(PUSH, key);
        command.arg(value).arg(keep).arg(millis(ttl));
        self.ask(key, command).await
    }

    pub async fn range(&self, key: &str, count_max: usize) -> Result<Vec<Vec<u8>>, StateError> {
        if count_max == 0 {
            return Ok(Vec::new());
        }
        let mut command = self.command("LRANGE", key);
        // The bound is far below the range of an i64.
        command.arg(-(count_max as i64)).arg(-1);
        self.ask(key, command).await
    }

    pub async fn take(&self, key: &str, count_max: usize) -> Result<Vec<Vec<u8>>, StateError> {
        if count_max == 0 {
            return Ok(Vec::new());
        }
        let mut command = self.script(TAKE, key);
        command.arg(count_max);
        self.ask(key, command).await
    }

    pub async fn index_put(
        &self,
        key: &str,
        field: &str,
        value: &[u8],
        ttl: Duration,
    ) -> Result<bool, StateError> {
        let mut command = self.script(INDEX_PUT, key);
        command.arg(field).arg(value).arg(millis(ttl)).arg(INDEX_COUNT_MAX);
        match self.ask::<i64>(key, command).await? {
            -1 => Err(StateError::Full { what: "an index" }),
            added => Ok(added != 0),
        }
    }

    pub async fn index_remove(&self, key: &str, field: &str) -> Result<bool, StateError> {
        let mut command = self.command("HDEL", key);
        command.arg(field);
        self.ask(key, command).await
    }

    pub async fn index_list(&self, key: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        let fields: BTreeMap<String, Vec<u8>> = self.ask(key, self.command("HGETALL", key)).await?;
        Ok(fields.into_iter().collect())
    }

    pub async fn publish(&self, topic: &str, payload: &[u8]) -> Result<Reach, StateError> {
        let mut command = self.command("PUBLISH", topic);
        command.arg(payload);
        let count: i64 = read(self.link.call(&command, topic).await?)?;
        Ok(match (&self.cluster, count) {
            (Some(_), _) => Reach::Unknown,
            (None, 0) => Reach::Nobody,
            (None, _) => Reach::Somebody,
        })
    }

    /// Waits until the subscription to `topic` has begun, for at most a command's time.
    pub async fn begun(&self, topic: &str, begun: oneshot::Receiver<()>) -> Result<(), StateError> {
        self.link.begun(topic, begun).await
    }

    fn command(&self, name: &str, key: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(format!("{}{key}", self.prefix));
        command
    }

    fn script(&self, text: &str, key: &str) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(text).arg(1).arg(format!("{}{key}", self.prefix));
        command
    }

    async fn ask<T: FromRedisValue>(&self, key: &str, command: Cmd) -> Result<T, StateError> {
        let value = match &self.cluster {
            None => self.link.call(&command, key).await?,
            Some(cluster) => {
                let _place = self.link.enter(&command)?;
                cluster.call(command, key).await?
            }
        };
        read(value)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.link.close();
    }
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, StateError> {
    redis::from_redis_value(value)
        .map_err(|_| StateError::Corrupt { doing: "an answer of another type was read" })
}

fn millis(ttl: Duration) -> u64 {
    // State cut it to a year, so the milliseconds fit.
    ttl.as_millis() as u64
}

/// Connects to Redis once, as [`Shared`](super::Shared) would, and asks whether it serves; tells
/// its version. Call it on a shard.
///
/// # Errors
///
/// [`StateError::Away`] saying what the attempt met, [`StateError::Settings`] if the options do not
/// say where Redis is.
pub async fn probe(options: &SharedOptions) -> Result<String, StateError> {
    let Some(location) = &options.redis else {
        return Err(StateError::Settings { reason: "is missing".to_owned() });
    };
    connect::probe(location, options.command_timeout)
        .await
        .map_err(|reason| StateError::Away { reason })
}
