//! Keys and values with a time to live, shared by the shards of a process or by all nodes.

use std::{rc::Rc, time::Duration};

use super::{Backend, Handle, Quota, Spent, StateError};

/// Bytes of a key, without the prefix.
pub const KEY_SIZE_MAX: usize = 512;

/// Bytes of a value, of an item of a list, of a field's value and of a message.
pub const VALUE_SIZE_MAX: usize = 1 << 20;

/// Items that a list may keep.
pub const LIST_COUNT_MAX: usize = 1000;

/// Fields that an index may have: twenty times the nodes of a large installation.
pub const INDEX_COUNT_MAX: usize = 4096;

/// The longest time to live; longer ones are cut to it.
pub const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// The shortest time to live; shorter ones are raised to it.
pub const TTL_MIN: Duration = Duration::from_millis(1);

/// A shard's handle on shared state: cheap to clone, tied to the shard that made it.
///
/// Values end at their time to live, which is cut to [`TTL_MIN`]..[`TTL_MAX`]. Each request is one
/// step: nobody sees it half-done. With Redis each request waits for at most
/// [`SharedOptions::command_timeout`](super::SharedOptions::command_timeout), and not at all while
/// the server is known to be away.
///
/// # Errors
///
/// Every request can end with any [`StateError`] of the storage's side, and with
/// [`StateError::TooLarge`] if a key or value is over its bound.
#[derive(Clone)]
pub struct State(pub(super) Rc<Handle>);

impl State {
    /// Returns whether other nodes share it.
    pub fn is_distributed(&self) -> bool {
        matches!(self.0.backend, Backend::Redis(_))
    }

    /// Returns the value of `key`.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StateError::WrongKind`] if it holds a list or an index.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        check_key(key)?;
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.get(key)),
            Backend::Redis(redis) => redis.get(key).await,
        }
    }

    /// Sets the value of `key`, whatever it held.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), StateError> {
        check_key(key)?;
        check_value(value)?;
        let ttl = bound(ttl);
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.set(key, value, ttl)),
            Backend::Redis(redis) => redis.set(key, value, ttl).await,
        }
    }

    /// Removes `key`, whatever it holds; returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn delete(&self, key: &str) -> Result<bool, StateError> {
        check_key(key)?;
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.delete(key)),
            Backend::Redis(redis) => redis.delete(key).await,
        }
    }

    /// Gives `key`, whatever it holds, a new time to live; returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub async fn touch(&self, key: &str, ttl: Duration) -> Result<bool, StateError> {
        check_key(key)?;
        let ttl = bound(ttl);
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.touch(key, ttl)),
            Backend::Redis(redis) => redis.touch(key, ttl).await,
        }
    }

    /// Sets the value of `key` to `value` (`None`: removes it) if it is `expected` (`None`: not
    /// there); returns whether it was.
    ///
    /// After [`StateError::TimedOut`] or [`StateError::Interrupted`] it may have happened: read
    /// the key, or make the value such that it tells who wrote it.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StateError::WrongKind`] if it holds a list or an index.
    pub async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        ttl: Duration,
    ) -> Result<bool, StateError> {
        check_key(key)?;
        check_value(expected.unwrap_or_default())?;
        check_value(value.unwrap_or_default())?;
        let ttl = bound(ttl);
        match &self.0.backend {
            Backend::Memory(memory) => {
                self.0.count(memory.compare_and_set(key, expected, value, ttl))
            }
            Backend::Redis(redis) => redis.compare_and_set(key, expected, value, ttl).await,
        }
    }

    /// Adds `by` to the number at `key` and returns the sum. A key that is not there is 0 and gets
    /// `ttl`; one that is there keeps the time that it has left.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StateError::WrongKind`] if it holds no number, or the sum is none.
    pub async fn increment(&self, key: &str, by: i64, ttl: Duration) -> Result<i64, StateError> {
        check_key(key)?;
        let ttl = bound(ttl);
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.increment(key, by, ttl)),
            Backend::Redis(redis) => redis.increment(key, by, ttl).await,
        }
    }

    /// Counts a request of `key` against `quota`, by the clock of whoever keeps the state; a key that
    /// has all its quota is forgotten.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StateError::WrongKind`] if it holds something else.
    pub async fn spend(&self, key: &str, quota: Quota) -> Result<Spent, StateError> {
        check_key(key)?;
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.spend(key, quota)),
            Backend::Redis(redis) => redis.spend(key, quota).await,
        }
    }

    /// Puts `value` at the end of the list at `key`, of which the newest `keep` items stay
    /// (1..=[`LIST_COUNT_MAX`]); the whole list gets `ttl`. Returns how many items it has.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StateError::WrongKind`] if it holds something else.
    pub async fn push(
        &self,
        key: &str,
        value: &[u8],
        keep: usize,
        ttl: Duration,
    ) -> Result<usize, StateError> {
        check_key(key)?;
        check_value(value)?;
        check("a list", keep, LIST_COUNT_MAX)?;
        let (keep, ttl) = (keep.max(1), bound(ttl));
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.push(key, value, keep, ttl)),
            Backend::Redis(redis) => redis.push(key, value, keep, ttl).await,
        }
    }

    /// Returns the newest `count_max` items of the list at `key`, the oldest of them first.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StateError::WrongKind`] if it holds something else.
    pub async fn range(&self, key: &str, count_max: usize) -> Result<Vec<Vec<u8>>, StateError> {
        check_key(key)?;
        let count_max = count_max.min(LIST_COUNT_MAX);
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.range(key, count_max)),
            Backend::Redis(redis) => redis.range(key, count_max).await,
        }
    }

    /// Takes the oldest `count_max` items out of the list at `key`, the oldest first. After
    /// [`StateError::TimedOut`] or [`StateError::Interrupted`] they may be gone.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StateError::WrongKind`] if it holds something else.
    pub async fn take(&self, key: &str, count_max: usize) -> Result<Vec<Vec<u8>>, StateError> {
        check_key(key)?;
        let count_max = count_max.min(LIST_COUNT_MAX);
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.take(key, count_max)),
            Backend::Redis(redis) => redis.take(key, count_max).await,
        }
    }

    /// Sets `field` of the index at `key` to `value`; the whole index gets `ttl`. Returns whether
    /// the field is new.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StateError::Full`] if it has [`INDEX_COUNT_MAX`] other fields,
    /// [`StateError::WrongKind`] if it holds something else.
    pub async fn index_put(
        &self,
        key: &str,
        field: &str,
        value: &[u8],
        ttl: Duration,
    ) -> Result<bool, StateError> {
        check_key(key)?;
        check_key(field)?;
        check_value(value)?;
        let ttl = bound(ttl);
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.index_put(key, field, value, ttl)),
            Backend::Redis(redis) => redis.index_put(key, field, value, ttl).await,
        }
    }

    /// Removes `field` of the index at `key`; returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StateError::WrongKind`] if it holds something else.
    pub async fn index_remove(&self, key: &str, field: &str) -> Result<bool, StateError> {
        check_key(key)?;
        check_key(field)?;
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.index_remove(key, field)),
            Backend::Redis(redis) => redis.index_remove(key, field).await,
        }
    }

    /// Returns the fields of the index at `key` with their values, in the order of the fields.
    ///
    /// # Errors
    ///
    /// [`StateError`]; [`StateError::WrongKind`] if it holds something else.
    pub async fn index_list(&self, key: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        check_key(key)?;
        match &self.0.backend {
            Backend::Memory(memory) => self.0.count(memory.index_list(key)),
            Backend::Redis(redis) => redis.index_list(key).await,
        }
    }
}

fn bound(ttl: Duration) -> Duration {
    ttl.clamp(TTL_MIN, TTL_MAX)
}

/// Checks the size of a key, a field or a topic.
pub(super) fn check_key(key: &str) -> Result<(), StateError> {
    check("a key", key.len(), KEY_SIZE_MAX)
}

/// Checks the size of a value or a message.
pub(super) fn check_value(value: &[u8]) -> Result<(), StateError> {
    check("a value", value.len(), VALUE_SIZE_MAX)
}

fn check(what: &'static str, size: usize, size_max: usize) -> Result<(), StateError> {
    match size <= size_max {
        true => Ok(()),
        false => Err(StateError::TooLarge { what, size, size_max }),
    }
}
