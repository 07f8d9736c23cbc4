//! Of which resources of upstreams the streams of a process want to hear, counted.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ahash::AHashMap;

use crate::limits;

/// The URIs of one upstream, each with how many streams want it.
type Counts = AHashMap<Box<str>, usize>;

/// What all streams of a process want. Clones share it.
///
/// It is a table under a lock, since it is touched only when a stream begins or ends to want something,
/// and a count that went astray would never be right again.
#[derive(Clone)]
pub struct Wants(Arc<Table>);

struct Table {
    counts: Mutex<AHashMap<Box<str>, Counts>>,
    /// Called with the id of an upstream of which other URIs are wanted now.
    changed: Box<dyn Fn(&str) + Send + Sync>,
}

/// A wish that counts while this lives.
pub struct Wanted {
    table: Arc<Table>,
    upstream_id: Box<str>,
    uri: Box<str>,
}

impl Wants {
    /// Wants nothing yet; `changed` is told the upstream whenever others of its URIs are wanted.
    pub fn new(changed: impl Fn(&str) + Send + Sync + 'static) -> Wants {
        Wants(Arc::new(Table { counts: Mutex::default(), changed: Box::new(changed) }))
    }

    /// Wants to hear of a resource of an upstream.
    pub fn want(&self, upstream_id: &str, uri: &str) -> Wanted {
        let is_new = {
            let mut counts = self.0.counts();
            let count =
                counts.entry(upstream_id.into()).or_default().entry(uri.into()).or_default();
            *count += 1;
            *count == 1
        };
        if is_new {
            (self.0.changed)(upstream_id);
        }
        Wanted { table: self.0.clone(), upstream_id: upstream_id.into(), uri: uri.into() }
    }

    /// The URIs of an upstream that are wanted, as many of them as may be asked for.
    pub fn of(&self, upstream_id: &str) -> BTreeSet<String> {
        let counts = self.0.counts();
        let uris = counts.get(upstream_id).into_iter().flat_map(|counts| counts.keys());
        uris.take(limits::WATCHED_URI_COUNT_MAX).map(|uri| uri.to_string()).collect()
    }

    /// Whether anybody wants to hear of this.
    pub fn has(&self, upstream_id: &str, uri: &str) -> bool {
        self.0.counts().get(upstream_id).is_some_and(|counts| counts.contains_key(uri))
    }
}

impl Wanted {
    /// Whose resource it is.
    pub fn upstream_id(&self) -> &str {
        &self.upstream_id
    }

    /// Its URI there.
    pub fn uri(&self) -> &str {
        &self.uri
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let is_last = {
            let mut all = self.table.counts();
            let Some(counts) = all.get_mut(&self.upstream_id) else { return };
            let Some(count) = counts.get_mut(&self.uri) else { return };
            *count -= 1;
            let is_last = *count == 0;
            if is_last {
                counts.remove(&self.uri);
            }
            if counts.is_empty() {
                all.remove(&self.upstream_id);
            }
            is_last
        };
        if is_last {
            (self.table.changed)(&self.upstream_id);
        }
    }
}

impl Table {
    fn counts(&self) -> MutexGuard<'_, AHashMap<Box<str>, Counts>> {
        // Whoever panicked with it did so before or behind a change.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_the_first_wish_and_of_the_end_of_the_last() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let ear = told.clone();
        let wants = Wants::new(move |id| ear.lock().expect("no panic").push(id.to_owned()));
        let count = || told.lock().expect("no panic").len();
        let first = wants.want("up", "a");
        let second = wants.want("up", "a");
        assert_eq!(count(), 1);
        let other = wants.want("up", "b");
        assert_eq!(wants.of("up").into_iter().collect::<Vec<_>>(), ["a", "b"]);
        drop((first, other));
        assert_eq!(count(), 3);
        assert!(wants.has("up", "a") && !wants.has("up", "b") && !wants.has("else", "a"));
        drop(second);
        assert_eq!((count(), wants.of("up").len()), (4, 0));
        assert!(wants.0.counts().is_empty(), "nothing is left of it");
    }
}
