//! State of one process: what its shards share when there is no Redis.
//!
//! Each segment has its own lock, held for one lookup and change. Expired entries go before
//! anything else is done with their segment. When live entries fill the bounds the next write is
//! refused with [`StateError::Full`]: what is kept here (sessions, leases, counters) may not
//! silently vanish before its time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    Quota, Spent, StateError,
    state::{INDEX_COUNT_MAX, TTL_MAX},
};

/// Segments, each with a lock: several times the shards of a large machine would collide rarely.
const SEGMENT_COUNT: usize = 64;

/// What an entry costs beside its key and value, roughly: two tree or table nodes.
const ENTRY_OVERHEAD: usize = 160;

/// What one item of a list or an index costs beside its bytes, roughly.
const ITEM_OVERHEAD: usize = 48;

/// The state of one process.
pub(super) struct Memory {
    segments: Vec<Mutex<Segment>>,
    hasher: RandomState,
    entry_count: AtomicUsize,
    byte_count: AtomicUsize,
    entry_count_max: usize,
    byte_count_max: usize,
}

#[derive(Default)]
struct Segment {
    entries: HashMap<String, Entry>,
    expiries: BTreeSet<(Instant, String)>,
}

struct Entry {
    data: Data,
    expires: Instant,
    size: usize,
}

enum Data {
    Bytes(Vec<u8>),
    List(VecDeque<Vec<u8>>),
    Index(BTreeMap<String, Vec<u8>>),
}

/// What a change leaves behind: the entry (none: the key is gone) and the answer.
type Change<T> = (Option<(Data, Instant)>, Result<T, StateError>);

impl Memory {
    /// Makes an empty state with its bounds.
    pub fn new(entry_count_max: usize, byte_count_max: usize) -> Memory {
        Memory {
            segments: (0..SEGMENT_COUNT).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            entry_count: AtomicUsize::new(0),
            byte_count: AtomicUsize::new(0),
            entry_count_max,
            byte_count_max,
        }
    }

    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.read(key, |data| match data {
            None => Ok(None),
            Some(Data::Bytes(bytes)) => Ok(Some(bytes.clone())),
            Some(_) => Err(wrong_kind(key)),
        })
    }

    pub fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), StateError> {
        self.change(key, value.len(), |_| (bytes(value, ttl), Ok(())))
    }

    pub fn delete(&self, key: &str) -> Result<bool, StateError> {
        self.change(key, 0, |old| (None, Ok(old.is_some())))
    }

    pub fn touch(&self, key: &str, ttl: Duration) -> Result<bool, StateError> {
        self.change(key, 0, |old| match old {
            None => (None, Ok(false)),
            Some((data, _)) => (Some((data, after(ttl))), Ok(true)),
        })
    }

    pub fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
        ttl: Duration,
    ) -> Result<bool, StateError> {
        self.change(key, value.map_or(0, <[u8]>::len), |old| {
            let found = match &old {
                None => None,
                Some((Data::Bytes(bytes), _)) => Some(bytes.as_slice()),
                Some(_) => return (old, Err(wrong_kind(key))),
            };
            if found != expected {
                return (old, Ok(false));
            }
            (value.and_then(|value| bytes(value, ttl)), Ok(true))
        })
    }

    pub fn increment(&self, key: &str, by: i64, ttl: Duration) -> Result<i64, StateError> {
        self.change(key, ITEM_OVERHEAD, |old| {
            let (number, expires) = match &old {
                None => (Some(0), after(ttl)),
                Some((Data::Bytes(bytes), expires)) => (read_number(bytes), *expires),
                Some(_) => (None, after(ttl)),
            };
            match number.and_then(|number| number.checked_add(by)) {
                None => (old, Err(wrong_kind(key))),
                Some(sum) => (Some((Data::Bytes(sum.to_string().into_bytes()), expires)), Ok(sum)),
            }
        })
    }

    pub fn spend(&self, key: &str, quota: Quota) -> Result<Spent, StateError> {
        self.change(key, ITEM_OVERHEAD, |old| {
            let due = match &old {
                None => None,
                Some((Data::Bytes(bytes), _)) => read_number(bytes),
                Some(_) => return (old, Err(wrong_kind(key))),
            };
            let now = crate::record::now();
            let (due, spent) = quota.spend(due, now);
            let ttl = Duration::from_micros((due - now).max(1).unsigned_abs()).min(TTL_MAX);
            (bytes(due.to_string().as_bytes(), ttl), Ok(spent))
        })
    }

    pub fn push(
        &self,
        key: &str,
        value: &[u8],
        keep: usize,
        ttl: Duration,
    ) -> Result<usize, StateError> {
        self.change(key, value.len() + ITEM_OVERHEAD, |old| {
            let mut list = match old {
                None => VecDeque::new(),
                Some((Data::List(list), _)) => list,
                Some(_) => return (old, Err(wrong_kind(key))),
            };
            list.push_back(value.to_vec());
            list.drain(..list.len().saturating_sub(keep));
            let count = list.len();
            (Some((Data::List(list), after(ttl))), Ok(count))
        })
    }

    pub fn range(&self, key: &str, count_max: usize) -> Result<Vec<Vec<u8>>, StateError> {
        self.read(key, |data| match data {
            None => Ok(Vec::new()),
            Some(Data::List(list)) => {
                Ok(list.iter().skip(list.len().saturating_sub(count_max)).cloned().collect())
            }
            Some(_) => Err(wrong_kind(key)),
        })
    }

    pub fn take(&self, key: &str, count_max: usize) -> Result<Vec<Vec<u8>>, StateError> {
        self.change(key, 0, |old| {
            let (mut list, expires) = match old {
                None => return (None, Ok(Vec::new())),
                Some((Data::List(list), expires)) => (list, expires),
                Some(_) => return (old, Err(wrong_kind(key))),
            };
            let taken = list.drain(..count_max.min(list.len())).collect();
            let rest = (!list.is_empty()).then_some((Data::List(list), expires));
            (rest, Ok(taken))
        })
    }

    pub fn index_put(
        &self,
        key: &str,
        field: &str,
        value: &[u8],
        ttl: Duration,
    ) -> Result<bool, StateError> {
        self.change(key, field.len() + value.len() + ITEM_OVERHEAD, |old| {
            let (mut index, expires) = match old {
                None => (BTreeMap::new(), after(ttl)),
                Some((Data::Index(index), expires)) => (index, expires),
                Some(_) => return (old, Err(wrong_kind(key))),
            };
            if index.len() >= INDEX_COUNT_MAX && !index.contains_key(field) {
                let full = StateError::Full { what: "an index" };
                return (Some((Data::Index(index), expires)), Err(full));
            }
            let is_new = index.insert(field.to_owned(), value.to_vec()).is_none();
            (Some((Data::Index(index), after(ttl))), Ok(is_new))
        })
    }

    pub fn index_remove(&self, key: &str, field: &str) -> Result<bool, StateError> {
        self.change(key, 0, |old| {
            let (mut index, expires) = match old {
                None => return (None, Ok(false)),
                Some((Data::Index(index), expires)) => (index, expires),
                Some(_) => return (old, Err(wrong_kind(key))),
            };
            let was_there = index.remove(field).is_some();
            let rest = (!index.is_empty()).then_some((Data::Index(index), expires));
            (rest, Ok(was_there))
        })
    }

    pub fn index_list(&self, key: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        self.read(key, |data| match data {
            None => Ok(Vec::new()),
            Some(Data::Index(index)) => {
                Ok(index.iter().map(|(field, value)| (field.clone(), value.clone())).collect())
            }
            Some(_) => Err(wrong_kind(key)),
        })
    }

    fn read<T>(
        &self,
        key: &str,
        look: impl FnOnce(Option<&Data>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let segment = self.lock(self.segment_of(key));
        look(segment.entries.get(key).map(|entry| &entry.data))
    }

    /// Takes the entry out, lets `act` decide what comes in its place, and keeps the accounts.
    /// `growth` bounds the bytes of value that `act` adds.
    fn change<T>(
        &self,
        key: &str,
        growth: usize,
        act: impl FnOnce(Option<(Data, Instant)>) -> Change<T>,
    ) -> Result<T, StateError> {
        let index = self.segment_of(key);
        let mut segment = self.lock(index);
        if growth > 0 && !self.has_room(&segment, key, growth) {
            // Other segments may hold what has expired. No two locks at once: two sweeps that each
            // held their own segment would wait for each other.
            drop(segment);
            self.sweep();
            segment = self.lock(index);
            if !self.has_room(&segment, key, growth) {
                return Err(StateError::Full { what: "the state in memory" });
            }
        }
        let old = segment.entries.remove(key);
        if let Some(old) = &old {
            segment.expiries.remove(&(old.expires, key.to_owned()));
            self.entry_count.fetch_sub(1, Relaxed);
            self.byte_count.fetch_sub(old.size, Relaxed);
        }
        let (new, answer) = act(old.map(|old| (old.data, old.expires)));
        if let Some((data, expires)) = new {
            let size = key.len() * 2 + ENTRY_OVERHEAD + data.size();
            self.entry_count.fetch_add(1, Relaxed);
            self.byte_count.fetch_add(size, Relaxed);
            segment.expiries.insert((expires, key.to_owned()));
            segment.entries.insert(key.to_owned(), Entry { data, expires, size });
        }
        answer
    }

    /// Whether a write of `growth` bytes keeps the bounds. Writers of different segments may pass
    /// together, so the bounds can be exceeded by one write for each shard.
    fn has_room(&self, segment: &Segment, key: &str, growth: usize) -> bool {
        let (added, count) = match segment.entries.get(key) {
            None => (growth + key.len() * 2 + ENTRY_OVERHEAD, 1),
            // A value takes the place of the one before; what is pushed comes beside the others.
            Some(Entry { data: Data::Bytes(old), .. }) => (growth.saturating_sub(old.len()), 0),
            Some(_) => (growth, 0),
        };
        self.entry_count.load(Relaxed) + count <= self.entry_count_max
            && self.byte_count.load(Relaxed) + added <= self.byte_count_max
    }

    fn sweep(&self) {
        for index in 0..SEGMENT_COUNT {
            drop(self.lock(index));
        }
    }

    fn segment_of(&self, key: &str) -> usize {
        // The remainder is below SEGMENT_COUNT, whatever the width.
        (self.hasher.hash_one(key) % SEGMENT_COUNT as u64) as usize
    }

    /// Locks a segment and removes what has expired in it.
    fn lock(&self, index: usize) -> MutexGuard<'_, Segment> {
        // Nothing that holds the lock leaves the accounts half-done, so a panic spoils nothing.
        let mut segment = self.segments[index].lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while segment.expiries.first().is_some_and(|(expires, _)| *expires <= now) {
            let Some((_, key)) = segment.expiries.pop_first() else { break };
            if let Some(old) = segment.entries.remove(&key) {
                self.entry_count.fetch_sub(1, Relaxed);
                self.byte_count.fetch_sub(old.size, Relaxed);
            }
        }
        segment
    }
}

impl Data {
    fn size(&self) -> usize {
        match self {
            Data::Bytes(bytes) => bytes.len(),
            Data::List(list) => list.iter().map(|item| item.len() + ITEM_OVERHEAD).sum(),
            Data::Index(index) => {
                index.iter().map(|(field, value)| field.len() + value.len() + ITEM_OVERHEAD).sum()
            }
        }
    }
}

fn bytes(value: &[u8], ttl: Duration) -> Option<(Data, Instant)> {
    Some((Data::Bytes(value.to_vec()), after(ttl)))
}

fn after(ttl: Duration) -> Instant {
    Instant::now() + ttl
}

/// Reads a number as Redis does: decimal, no sign but minus, no leading zeros, no space.
fn read_number(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn wrong_kind(key: &str) -> StateError {
    StateError::WrongKind { key: key.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn used(memory: &Memory) -> (usize, usize) {
        (memory.entry_count.load(Relaxed), memory.byte_count.load(Relaxed))
    }

    #[test]
    fn refuses_an_entry_over_the_bound_and_takes_it_when_another_has_gone() {
        let memory = Memory::new(2, 1 << 20);
        memory.set("a", b"1", LONG).unwrap();
        memory.set("b", b"2", LONG).unwrap();
        let full = StateError::Full { what: "the state in memory" };
        assert_eq!(memory.set("c", b"3", LONG), Err(full));
        memory.set("a", b"4", LONG).expect("a replacement needs no room");
        memory.delete("b").unwrap();
        memory.set("c", b"3", LONG).expect("there is room again");
    }

    #[test]
    fn refuses_bytes_over_the_bound_whatever_they_are_put_into() {
        let memory = Memory::new(100, 2000);
        memory.set("big", &[0; 1000], LONG).unwrap();
        assert!(memory.set("other", &[0; 1000], LONG).is_err());
        assert!(memory.push("list", &[0; 1000], 5, LONG).is_err());
        assert!(memory.index_put("index", "field", &[0; 1000], LONG).is_err());
        assert!(memory.compare_and_set("other", None, Some(&[0; 1000]), LONG).is_err());
        memory.set("big", &[0; 1001], LONG).expect("a little growth fits");
    }

    #[test]
    fn what_expired_makes_room_in_every_segment() {
        let memory = Memory::new(SEGMENT_COUNT, 1 << 20);
        for index in 0..SEGMENT_COUNT {
            memory.set(&format!("old {index}"), b"x", Duration::from_nanos(1)).unwrap();
        }
        for index in 0..SEGMENT_COUNT {
            memory.set(&format!("new {index}"), b"x", LONG).expect("the old ones made room");
        }
        assert_eq!(used(&memory).0, SEGMENT_COUNT);
    }

    #[test]
    fn the_accounts_are_at_zero_when_everything_was_removed() {
        let memory = Memory::new(100, 1 << 20);
        memory.set("a", b"value", LONG).unwrap();
        memory.increment("n", 7, LONG).unwrap();
        memory.push("l", b"one", 2, LONG).unwrap();
        memory.push("l", b"two", 2, LONG).unwrap();
        memory.push("l", b"three", 2, LONG).unwrap();
        memory.index_put("i", "f", b"v", LONG).unwrap();
        assert_eq!(used(&memory).0, 4);
        memory.delete("a").unwrap();
        memory.delete("n").unwrap();
        assert_eq!(memory.take("l", 9).unwrap(), [b"two".to_vec(), b"three".to_vec()]);
        assert!(memory.index_remove("i", "f").unwrap());
        assert_eq!(used(&memory), (0, 0));
    }

    #[test]
    fn the_accounts_hold_when_many_threads_write_and_much_expires() {
        let memory = Memory::new(1000, 1 << 20);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let memory = &memory;
                scope.spawn(move || {
                    for index in 0..2000 {
                        let key = format!("k{}", (index * 7 + thread) % 50);
                        let ttl = if index % 3 == 0 { Duration::from_nanos(1) } else { LONG };
                        let _ = memory.push(&key, b"item", 5, ttl);
                        let _ = memory.take(&key, index % 4);
                        memory.increment("sum", 1, LONG).unwrap();
                    }
                });
            }
        });
        assert_eq!(memory.increment("sum", 0, LONG), Ok(8000));
        for index in 0..50 {
            memory.delete(&format!("k{index}")).unwrap();
        }
        memory.delete("sum").unwrap();
        memory.sweep();
        assert_eq!(used(&memory), (0, 0));
    }

    #[test]
    fn a_number_is_what_redis_takes_for_one() {
        for (text, number) in [("7", Some(7)), ("-7", Some(-7)), ("+7", None), ("07", None)] {
            assert_eq!(read_number(text.as_bytes()), number, "{text}");
        }
        assert_eq!(read_number(b" 7"), None);
        assert_eq!(read_number(b""), None);
    }
}
