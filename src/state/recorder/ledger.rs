//! What was counted in this process and is not stored yet.

use std::collections::{HashMap, hash_map::Entry};

use storage::{
    metrics::MetricDelta,
    record::Entity,
    usage::{Usage, UsageDelta},
};

/// Counts by entity, of a bounded number of them.
pub struct Ledger {
    deltas: HashMap<(Entity, String), MetricDelta>,
    usages: HashMap<(String, i64, String), Usage>,
    entity_count_max: usize,
}

impl Ledger {
    /// A ledger for `entity_count_max` entities.
    pub fn new(entity_count_max: usize) -> Ledger {
        Ledger { deltas: HashMap::new(), usages: HashMap::new(), entity_count_max }
    }

    /// Adds counts, and returns how many executions were lost for want of room.
    pub fn add(&mut self, delta: MetricDelta) -> u64 {
        let is_full = self.deltas.len() >= self.entity_count_max;
        match self.deltas.entry((delta.entity, delta.id.clone())) {
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                held.since = held.since.min(delta.since);
                held.metrics.merge(&delta.metrics);
                0
            }
            Entry::Vacant(_) if is_full => delta.metrics.executions.unsigned_abs(),
            Entry::Vacant(place) => {
                place.insert(delta);
                0
            }
        }
    }

    /// Takes the counts of at most `count_max` entities.
    pub fn take(&mut self, count_max: usize) -> Vec<MetricDelta> {
        let keys: Vec<_> = self.deltas.keys().take(count_max).cloned().collect();
        keys.iter().filter_map(|key| self.deltas.remove(key)).collect()
    }

    /// Adds how a token was used, and returns how many uses were lost for want of room.
    pub fn add_usage(&mut self, delta: UsageDelta) -> u64 {
        let is_full = self.usages.len() >= self.entity_count_max;
        match self.usages.entry((delta.token_id, delta.day, delta.endpoint)) {
            Entry::Occupied(mut held) => held.get_mut().merge(&delta.usage),
            Entry::Vacant(_) if is_full => return delta.usage.requests.unsigned_abs(),
            Entry::Vacant(place) => {
                place.insert(delta.usage);
            }
        }
        0
    }

    /// Takes at most `count_max` of what was counted of tokens.
    pub fn take_usages(&mut self, count_max: usize) -> Vec<UsageDelta> {
        let keys: Vec<_> = self.usages.keys().take(count_max).cloned().collect();
        let take = |key: (String, i64, String)| {
            let usage = self.usages.remove(&key)?;
            let (token_id, day, endpoint) = key;
            Some(UsageDelta { token_id, day, endpoint, usage })
        };
        keys.into_iter().filter_map(take).collect()
    }

    /// Forgets the counts that `is_old` points out.
    pub fn forget(&mut self, is_old: impl Fn(&MetricDelta) -> bool) {
        self.deltas.retain(|_, delta| !is_old(delta));
    }
}

#[cfg(test)]
mod tests {
    use storage::metrics::Metrics;

    use super::*;

    fn delta(id: &str, since: i64) -> MetricDelta {
        let mut metrics = Metrics::default();
        metrics.record(10, true, since);
        MetricDelta { entity: Entity::Tool, id: id.to_owned(), since, metrics }
    }

    #[test]
    fn counts_of_one_entity_are_added_up_and_keep_the_time_of_the_first() {
        let mut ledger = Ledger::new(1);
        assert_eq!(ledger.add(delta("a", 7)), 0);
        assert_eq!(ledger.add(delta("a", 5)), 0);
        let taken = ledger.take(10);
        assert_eq!((taken[0].since, taken[0].metrics.executions), (5, 2));
        assert!(ledger.take(10).is_empty());
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_and_what_is_held_goes_on_adding_up() {
        let mut ledger = Ledger::new(2);
        for (id, lost) in [("a", 0), ("b", 0), ("c", 1), ("a", 0)] {
            assert_eq!(ledger.add(delta(id, 1)), lost, "{id}");
        }
        let executions: i64 = ledger.take(10).iter().map(|each| each.metrics.executions).sum();
        assert_eq!(executions, 3);
    }

    #[test]
    fn takes_no_more_than_asked_and_the_rest_later() {
        let mut ledger = Ledger::new(10);
        for id in ["a", "b", "c"] {
            ledger.add(delta(id, 1));
        }
        let counts = [2, 2, 2].map(|count_max| ledger.take(count_max).len());
        assert_eq!(counts, [2, 1, 0]);
    }

    #[test]
    fn uses_of_a_token_add_up_by_day_and_part_and_have_as_many_places() {
        let usage = Usage { requests: 2, ..Usage::default() };
        let of = |token_id: &str, day| UsageDelta {
            token_id: token_id.to_owned(),
            day,
            endpoint: "/mcp".to_owned(),
            usage,
        };
        let mut ledger = Ledger::new(2);
        for (token_id, day, lost) in [("a", 1, 0), ("a", 2, 0), ("a", 1, 0), ("b", 1, 2)] {
            assert_eq!(ledger.add_usage(of(token_id, day)), lost, "{token_id} {day}");
        }
        let mut taken = ledger.take_usages(10);
        taken.sort_by_key(|delta| delta.day);
        let counts: Vec<i64> = taken.iter().map(|delta| delta.usage.requests).collect();
        assert_eq!(counts, [4, 2]);
        assert!(ledger.take_usages(10).is_empty());
    }

    #[test]
    fn forgets_what_it_is_told_to() {
        let mut ledger = Ledger::new(10);
        ledger.add(delta("a", 1));
        ledger.add(delta("b", 1));
        ledger.forget(|delta| delta.id == "a");
        assert_eq!(ledger.take(10)[0].id, "b");
    }
}
