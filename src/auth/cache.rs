//! Verified tokens: the bytes of a token to what they were found to mean.
//!
//! Only good tokens get in, so nobody can fill it with rubbish. It knows no clock: whoever asks
//! compares the time of what was found.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// A bounded map in two generations: what was not asked for during the life of a whole generation
/// is forgotten, at no cost to the asking.
pub struct TokenCache<V> {
    young: HashMap<Box<[u8]>, V, TailHash>,
    old: HashMap<Box<[u8]>, V, TailHash>,
    generation_count_max: usize,
}

impl<V: Clone> TokenCache<V> {
    /// Makes a cache of at most `count_max` tokens, which is at least 2.
    pub fn new(count_max: usize) -> TokenCache<V> {
        assert!(count_max >= 2, "each generation has room for a token");
        let hash = TailHash(ahash::RandomState::new());
        TokenCache {
            young: HashMap::with_hasher(hash.clone()),
            old: HashMap::with_hasher(hash),
            generation_count_max: count_max / 2,
        }
    }

    /// Finds what `token` was found to mean.
    pub fn get(&mut self, token: &[u8]) -> Option<V> {
        if let Some(value) = self.young.get(token) {
            return Some(value.clone());
        }
        let (token, value) = self.old.remove_entry(token)?;
        self.insert(token, value.clone());
        Some(value)
    }

    /// Keeps what `token` was found to mean.
    pub fn put(&mut self, token: &[u8], value: V) {
        self.old.remove(token);
        self.insert(token.into(), value);
    }

    /// Forgets `token`.
    pub fn remove(&mut self, token: &[u8]) {
        self.young.remove(token);
        self.old.remove(token);
    }

    fn insert(&mut self, token: Box<[u8]>, value: V) {
        if self.young.len() >= self.generation_count_max {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(token, value);
        assert!(self.young.len() <= self.generation_count_max, "a generation is bounded");
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// Hashes the end of a token with random keys.
///
/// The end is the signature: no two good tokens share it unless they share everything, so hashing
/// the rest would only cost time. Equality still compares every byte.
#[derive(Clone)]
struct TailHash(ahash::RandomState);

struct TailHasher(ahash::AHasher);

/// As many bytes as a SHA-256 signature has letters, nearly.
const TAIL_SIZE: usize = 32;

impl BuildHasher for TailHash {
    type Hasher = TailHasher;

    fn build_hasher(&self) -> TailHasher {
        TailHasher(self.0.build_hasher())
    }
}

impl Hasher for TailHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(&bytes[bytes.len().saturating_sub(TAIL_SIZE)..]);
    }

    fn write_usize(&mut self, size: usize) {
        self.0.write_usize(size);
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put_and_nothing_that_only_ends_alike() {
        let mut cache = TokenCache::new(4);
        let tail = "x".repeat(40);
        cache.put(format!("a{tail}").as_bytes(), 1);
        cache.put(format!("b{tail}").as_bytes(), 2);
        assert_eq!(cache.get(format!("a{tail}").as_bytes()), Some(1));
        assert_eq!(cache.get(format!("b{tail}").as_bytes()), Some(2));
        assert_eq!(cache.get(format!("c{tail}").as_bytes()), None);
        assert_eq!(cache.get(tail.as_bytes()), None);
    }

    #[test]
    fn never_holds_more_than_its_bound() {
        for count_max in 2..9 {
            let mut cache = TokenCache::new(count_max);
            for number in 0..100_u32 {
                cache.put(&number.to_le_bytes(), number);
                cache.get(&(number / 2).to_le_bytes());
                assert!(cache.len() <= count_max);
            }
        }
    }

    #[test]
    fn keeps_what_is_asked_for_while_others_come_and_go() {
        let mut cache = TokenCache::new(8);
        cache.put(b"kept", 0);
        for number in 1..1000_u32 {
            cache.put(&number.to_le_bytes(), number);
            assert_eq!(cache.get(b"kept"), Some(0), "after {number} others");
        }
    }

    #[test]
    fn forgets_what_it_is_told_to_in_either_generation() {
        let mut cache = TokenCache::new(4);
        for number in 0..4_u32 {
            cache.put(&number.to_le_bytes(), number);
        }
        for number in 0..4_u32 {
            cache.remove(&number.to_le_bytes());
        }
        assert_eq!(cache.len(), 0);
    }
}
