//! What a process counts by itself: keys to when their next request is due.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use storage::shared::{Quota, Spent};

use crate::limits::{RATE_KEY_COUNT_MAX, RATE_KEY_SIZE_MAX};

/// Parts, each with a lock of its own: shards rarely meet.
const SEGMENT_COUNT: usize = 64;

/// Keys of a generation of a part.
const GENERATION_COUNT_MAX: usize = RATE_KEY_COUNT_MAX / SEGMENT_COUNT / 2;

/// A bounded map in two generations: what was not counted during the life of a whole generation is
/// forgotten.
pub struct Ledger {
    segments: Vec<Mutex<Segment>>,
    hasher: ahash::RandomState,
}

#[derive(Default)]
struct Segment {
    young: HashMap<Box<str>, i64>,
    old: HashMap<Box<str>, i64>,
}

impl Default for Ledger {
    fn default() -> Ledger {
        let segments = (0..SEGMENT_COUNT).map(|_| Mutex::default()).collect();
        Ledger { segments, hasher: ahash::RandomState::new() }
    }
}

impl Ledger {
    /// Counts a request of `key` at `now`, in microseconds since the epoch.
    pub fn spend(&self, key: &str, quota: Quota, now: i64) -> Spent {
        let place = self.hasher.hash_one(key) as usize % SEGMENT_COUNT;
        let mut segment = self.segments[place].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(due) = segment.young.get_mut(key) {
            let (next, spent) = quota.spend(Some(*due), now);
            *due = next;
            return spent;
        }
        let (next, spent) = quota.spend(segment.old.remove(key), now);
        segment.insert(key, next);
        spent
    }
}

impl Segment {
    fn insert(&mut self, key: &str, due: i64) {
        if self.young.len() >= GENERATION_COUNT_MAX {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(key.into(), due);
        assert!(self.young.len() <= GENERATION_COUNT_MAX, "a generation is bounded");
    }
}

/// The key that something is counted by. What is too long is told by its hash.
pub fn key(limit: &str, kind: &str, who: &str) -> String {
    if who.len() <= RATE_KEY_SIZE_MAX {
        return format!("rate:{limit}:{kind}:{who}");
    }
    let hash = digest::digest(&digest::SHA256, who.as_bytes());
    let mut key = format!("rate:{limit}:{kind}:#");
    for byte in hash.as_ref() {
        key.push_str(&format!("{byte:02x}"));
    }
    key
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn counts_each_key_by_itself() {
        let ledger = Ledger::default();
        let quota = Quota::new(2, Duration::from_secs(60), 2);
        let allowed = |key: &str| ledger.spend(key, quota, 0).is_allowed;
        assert_eq!(
            [allowed("a"), allowed("a"), allowed("a"), allowed("b")],
            [true, true, false, true]
        );
    }

    #[test]
    fn holds_no_more_than_its_bound_and_remembers_who_keeps_coming() {
        let ledger = Ledger::default();
        let quota = Quota::new(1, Duration::from_secs(3600), 1);
        assert!(ledger.spend("busy", quota, 0).is_allowed);
        for number in 0..2 * RATE_KEY_COUNT_MAX {
            ledger.spend(&number.to_string(), quota, 0);
            if number % 64 == 0 {
                assert!(!ledger.spend("busy", quota, 0).is_allowed);
            }
        }
        let count = |segment: &Mutex<Segment>| {
            let segment = segment.lock().unwrap();
            segment.young.len() + segment.old.len()
        };
        assert!(ledger.segments.iter().map(count).sum::<usize>() <= RATE_KEY_COUNT_MAX);
    }

    #[test]
    fn keys_of_long_names_are_short_and_differ() {
        let long = |end: &str| key("caller", "caller", &format!("{}{end}", "x".repeat(9000)));
        assert!(long("a").len() < 128 && long("a") != long("b"));
        assert_eq!(key("caller", "caller", "a@b.c"), "rate:caller:caller:a@b.c");
    }
}
