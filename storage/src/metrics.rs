//! What is counted of entities: how often they were used, how often in vain, how long that took.
//!
//! Times go into a histogram of buckets that are at most 6.25 % wide, so that percentiles of many
//! processes add up to percentiles of all of them.

use std::collections::HashMap;

use crate::record::Entity;
use crate::usage::UsageDelta;

pub(crate) mod sql;

/// The kinds of records that are measured.
pub const MEASURED: [Entity; 5] =
    [Entity::Tool, Entity::Resource, Entity::Server, Entity::Prompt, Entity::Agent];

/// Each power of two is divided into so many buckets.
const STEPS: u64 = 16;

/// The power of two that [`STEPS`] is.
const STEP_BITS: u32 = STEPS.ilog2();

/// The longest time that has a bucket of its own: twelve days, in microseconds. What takes longer
/// counts as this long in percentiles.
const BUCKET_US_MAX: u64 = (1 << 40) - 1;

/// How many buckets there are.
pub const BUCKET_COUNT: usize = bucket_of(BUCKET_US_MAX) as usize + 1;

/// What was counted of one entity, or of several together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metrics {
    /// How often it was used.
    pub executions: i64,
    /// How many of these ended badly.
    pub failures: i64,
    /// How long they took together, in microseconds.
    pub total_us: i64,
    /// How long the shortest took, in microseconds; 0 without any.
    pub min_us: i64,
    /// How long the longest took, in microseconds; 0 without any.
    pub max_us: i64,
    /// When the last ended, in microseconds since the epoch; 0 without any.
    pub last_at: i64,
    /// How many fell into each bucket, in the order of buckets; at most [`BUCKET_COUNT`].
    pub buckets: Vec<(u16, i64)>,
}

/// What was counted of one entity since it was last handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricDelta {
    /// What kind of record it is.
    pub entity: Entity,
    /// Its id.
    pub id: String,
    /// When the first of these executions ended, in microseconds since the epoch: metrics that
    /// were reset later do not get them.
    pub since: i64,
    /// What was counted.
    pub metrics: Metrics,
}

/// What a process hands over at once. A batch may be handed over again after an error: it is added
/// once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricBatch {
    /// The process: a fresh id at each start.
    pub writer: String,
    /// Higher than that of every batch before it.
    pub number: i64,
    /// What was counted; each entity once.
    pub deltas: Vec<MetricDelta>,
    /// How tokens were used; each once for a day and a part of the API.
    pub usages: Vec<UsageDelta>,
}

impl Metrics {
    /// Counts one execution that took `took_us` microseconds and ended `at`.
    pub fn record(&mut self, took_us: i64, is_success: bool, at: i64) {
        let took_us = took_us.max(0);
        self.min_us = if self.executions == 0 { took_us } else { self.min_us.min(took_us) };
        self.max_us = self.max_us.max(took_us);
        self.executions += 1;
        self.failures += i64::from(!is_success);
        self.total_us = self.total_us.saturating_add(took_us);
        self.last_at = self.last_at.max(at);
        self.count(bucket_of(took_us as u64), 1);
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Metrics) {
        if other.executions == 0 {
            return;
        }
        self.min_us =
            if self.executions == 0 { other.min_us } else { self.min_us.min(other.min_us) };
        self.max_us = self.max_us.max(other.max_us);
        self.executions += other.executions;
        self.failures += other.failures;
        self.total_us = self.total_us.saturating_add(other.total_us);
        self.last_at = self.last_at.max(other.last_at);
        for (bucket, count) in &other.buckets {
            self.count(*bucket, *count);
        }
    }

    /// How long one execution took in the mean, in microseconds; `None` without any.
    pub fn mean_us(&self) -> Option<f64> {
        (self.executions > 0).then(|| self.total_us as f64 / self.executions as f64)
    }

    /// The time that `percent` of the executions (0 to 100) took at most, in microseconds, to the
    /// width of a bucket; `None` without any.
    pub fn percentile_us(&self, percent: f64) -> Option<i64> {
        let counted: i64 = self.buckets.iter().map(|(_, count)| count).sum();
        let rank = ((percent / 100.0 * counted as f64).ceil() as i64).clamp(1, counted.max(1));
        let mut passed = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            passed += count;
            passed >= rank
        });
        found.map(|(bucket, _)| middle_of(*bucket).clamp(self.min_us, self.max_us))
    }

    /// Forgets everything, and keeps the room for as many buckets.
    pub fn clear(&mut self) {
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.clear();
        *self = Metrics { buckets, ..Metrics::default() };
    }

    /// Adds to a bucket. Few are in use at a time, so they are a sorted list.
    fn count(&mut self, bucket: u16, count: i64) {
        match self.buckets.binary_search_by_key(&bucket, |(own, _)| *own) {
            Ok(place) => self.buckets[place].1 += count,
            Err(place) => self.buckets.insert(place, (bucket, count)),
        }
    }
}

/// The bucket of a time in microseconds. Below [`STEPS`] each has its own.
const fn bucket_of(took_us: u64) -> u16 {
    let took_us = if took_us > BUCKET_US_MAX { BUCKET_US_MAX } else { took_us };
    if took_us < STEPS {
        return took_us as u16;
    }
    let power = took_us.ilog2() - STEP_BITS;
    let step = (took_us >> power) - STEPS;
    (STEPS * (power as u64 + 1) + step) as u16
}

/// The middle of a bucket, in microseconds.
fn middle_of(bucket: u16) -> i64 {
    let bucket = u64::from(bucket);
    if bucket < STEPS {
        return bucket as i64;
    }
    let power = bucket / STEPS - 1;
    let low = (STEPS + bucket % STEPS) << power;
    (low + (1 << power) / 2) as i64
}

/// A moment at which metrics were set to nothing.
pub(crate) struct Reset {
    /// The kind, as the table has it.
    pub entity: String,
    /// The id; empty for the whole kind.
    pub id: String,
    /// When, in microseconds since the epoch.
    pub at: i64,
}

/// What of a batch is to be added: not what was counted before a reset.
pub(crate) fn after_resets<'b>(batch: &'b MetricBatch, resets: &[Reset]) -> Vec<&'b MetricDelta> {
    let mut latest: HashMap<(&str, &str), i64> = HashMap::new();
    for reset in resets {
        latest.insert((&reset.entity, &reset.id), reset.at);
    }
    let is_reset = |delta: &MetricDelta| {
        let kind = delta.entity.as_str();
        let at = latest.get(&(kind, "")).max(latest.get(&(kind, delta.id.as_str())));
        at.is_some_and(|at| delta.since < *at)
    };
    let mut deltas: Vec<_> = batch.deltas.iter().filter(|delta| !is_reset(delta)).collect();
    // Processes that add at once take the rows in one order, so that none waits for another that
    // waits for it.
    deltas.sort_unstable_by_key(|delta| (delta.entity.as_str(), delta.id.as_str()));
    deltas
}

/// The time of the first execution in a batch.
pub(crate) fn first_of(batch: &MetricBatch) -> i64 {
    batch.deltas.iter().map(|delta| delta.since).min().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[i64]) -> Metrics {
        let mut metrics = Metrics::default();
        for time in times {
            metrics.record(*time, true, 1);
        }
        metrics
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap_and_are_at_most_a_sixteenth_wide() {
        let mut former = bucket_of(0);
        assert_eq!(former, 0);
        let mut low = 0_u64;
        for took_us in 1..200_000_u64 {
            let bucket = bucket_of(took_us);
            assert!(bucket == former || bucket == former + 1, "{took_us}");
            if bucket != former {
                let width = took_us - low;
                assert!(width == 1 || width as f64 / low as f64 <= 1.0 / 16.0, "{took_us}");
                (former, low) = (bucket, took_us);
            }
        }
        assert_eq!(usize::from(bucket_of(u64::MAX)), BUCKET_COUNT - 1);
    }

    #[test]
    fn the_middle_of_a_bucket_lies_in_it() {
        for bucket in 0..BUCKET_COUNT as u16 {
            assert_eq!(bucket_of(middle_of(bucket) as u64), bucket);
        }
    }

    #[test]
    fn percentiles_are_right_to_the_width_of_a_bucket() {
        let times: Vec<i64> = (1..=10_000).collect();
        let metrics = of(&times);
        for percent in [1.0, 50.0, 95.0, 99.0, 100.0] {
            let exact = percent * 100.0;
            let found = metrics.percentile_us(percent).unwrap() as f64;
            assert!((found - exact).abs() / exact < 0.04, "{percent}: {found}");
        }
        assert_eq!(metrics.percentile_us(0.0), Some(1));
        // What is known exactly is told exactly.
        assert_eq!(of(&[1000]).percentile_us(50.0), Some(1000));
        assert_eq!(Metrics::default().percentile_us(50.0), None);
    }

    #[test]
    fn what_was_counted_in_parts_adds_up_to_what_is_counted_at_once() {
        let mut whole = Metrics::default();
        let mut parts = [Metrics::default(), Metrics::default(), Metrics::default()];
        for index in 0..1000_i64 {
            let took_us = index * index % 7919;
            let is_success = index % 5 != 0;
            whole.record(took_us, is_success, index);
            parts[(index % 2) as usize].record(took_us, is_success, index);
        }
        let mut sum = Metrics::default();
        for part in &parts {
            sum.merge(part);
        }
        assert_eq!(sum, whole);
        assert_eq!(sum.failures, 200);
    }

    #[test]
    fn a_time_that_runs_backwards_counts_as_none() {
        let metrics = of(&[-5]);
        assert_eq!((metrics.min_us, metrics.total_us), (0, 0));
    }

    #[test]
    fn what_was_counted_before_a_reset_is_left_out_and_the_rest_comes_in_one_order() {
        let delta = |entity, id: &str, since| MetricDelta {
            entity,
            id: id.to_owned(),
            since,
            metrics: of(&[1]),
        };
        let reset = |entity: &str, id: &str, at| Reset { entity: entity.into(), id: id.into(), at };
        let deltas = vec![
            delta(Entity::Tool, "c", 5),
            delta(Entity::Tool, "b", 20),
            delta(Entity::Tool, "a", 10),
            delta(Entity::Server, "a", 5),
            delta(Entity::Prompt, "a", 5),
        ];
        let batch = MetricBatch { writer: "w".into(), number: 1, deltas, usages: Vec::new() };
        let resets = [reset("tool", "", 10), reset("tool", "b", 30), reset("server", "b", 30)];
        let left = after_resets(&batch, &resets);
        let left: Vec<_> = left.iter().map(|delta| (delta.entity, delta.id.as_str())).collect();
        assert_eq!(left, [(Entity::Prompt, "a"), (Entity::Server, "a"), (Entity::Tool, "a")]);
        assert_eq!(first_of(&batch), 5);
    }
}
