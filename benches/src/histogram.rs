//! A histogram of latencies with a bounded relative error.

use std::time::Duration;

/// Linear steps inside one power of two, as a power of two: 128 steps keep the error under 0.8 %.
const STEP_BITS: u32 = 7;
const STEP_COUNT: usize = 1 << STEP_BITS;
/// Powers of two above the linear part; the last ends above an hour in nanoseconds.
const POWER_COUNT: usize = 36;

/// Counts of latencies, kept in buckets whose width grows with the value.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; STEP_COUNT * (POWER_COUNT + 1)], count: 0 }
    }
}

impl Histogram {
    /// Counts one latency; those past the last bucket are counted in it.
    pub fn record(&mut self, latency: Duration) {
        let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let index = bucket_index(latency_ns).min(self.counts.len() - 1);
        self.counts[index] += 1;
        self.count += 1;
    }

    /// Adds what another histogram counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.count += other.count;
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Gives the latency that a share `quantile` (0 to 1) of all stays at or below, or zero when
    /// nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let rank = ((self.count as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(bucket_top(index));
            }
        }
        Duration::ZERO
    }
}

fn bucket_index(value: u64) -> usize {
    if value < STEP_COUNT as u64 {
        return value as usize;
    }
    let power = value.ilog2() - STEP_BITS;
    let step = (value >> power) as usize - STEP_COUNT;
    STEP_COUNT * (power as usize + 1) + step
}

/// The largest value that falls into a bucket.
fn bucket_top(index: usize) -> u64 {
    if index < STEP_COUNT {
        return index as u64;
    }
    let power = index / STEP_COUNT - 1;
    let step = index % STEP_COUNT + STEP_COUNT;
    ((step as u64 + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_ends_less_than_one_percent_above_it() {
        for shift in 0..42 {
            for offset in [0, 1, 3] {
                let value = (1u64 << shift) + offset;
                let top = bucket_top(bucket_index(value));
                assert!(top >= value, "{value} ends at {top}");
                assert!((top - value) as f64 <= value as f64 * 0.01, "{value} ends at {top}");
            }
        }
    }

    #[test]
    fn gives_the_quantiles_of_what_was_counted() {
        let mut histogram = Histogram::default();
        for micros in 1..=100 {
            histogram.record(Duration::from_micros(micros));
        }
        let median_us = histogram.quantile(0.5).as_nanos() as f64 / 1000.0;
        assert!((50.0..50.6).contains(&median_us), "{median_us}");
        let high_us = histogram.quantile(0.99).as_nanos() as f64 / 1000.0;
        assert!((99.0..100.0).contains(&high_us), "{high_us}");
    }

    #[test]
    fn an_empty_histogram_has_no_latency() {
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn merging_adds_the_counts() {
        let mut one = Histogram::default();
        one.record(Duration::from_micros(1));
        let mut other = Histogram::default();
        other.record(Duration::from_micros(9));
        one.merge(&other);
        assert_eq!(one.count(), 2);
        assert!(one.quantile(1.0) >= Duration::from_micros(9));
    }
}
