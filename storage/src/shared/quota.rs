//! How often something may happen: a rate and a burst, told by one number (GCRA).
//!
//! What is kept of a key is when its next request would be due if it kept exactly to the rate. A
//! request is let through while that lies no further ahead than the burst allows.

use std::time::Duration;

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How long it takes until one more request may come, in microseconds; at least 1.
    pub interval_us: i64,
    /// How many requests may come at once; at least 1.
    pub burst: u32,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Whether it was let through.
    pub is_allowed: bool,
    /// How many more may come at once.
    pub remaining: u32,
    /// After how long the next may come; zero if at once.
    pub retry_after: Duration,
    /// After how long as many may come at once as ever.
    pub reset_after: Duration,
}

impl Quota {
    /// A quota of `count` requests in `period`, `burst` of them at once.
    pub fn new(count: u32, period: Duration, burst: u32) -> Quota {
        let period_us = i64::try_from(period.as_micros()).unwrap_or(i64::MAX);
        let interval_us = (period_us / i64::from(count.max(1))).max(1);
        Quota { interval_us, burst: burst.max(1) }
    }

    /// How far ahead of now the next request may be due, in microseconds.
    pub fn reach_us(&self) -> i64 {
        self.interval_us.saturating_mul(i64::from(self.burst))
    }

    /// Lets a request through, or not: `due` is when it would be due, as it was told the last time.
    /// Tells when the one after it is due.
    pub fn spend(&self, due: Option<i64>, now: i64) -> (i64, Spent) {
        let due = due.map_or(now, |due| due.max(now));
        let next = due.saturating_add(self.interval_us);
        match next.saturating_sub(now) <= self.reach_us() {
            true => (next, self.told(true, next - now)),
            false => (due, self.told(false, due - now)),
        }
    }

    /// What there is to tell while the next request is due so far `ahead` of now.
    pub fn told(&self, is_allowed: bool, ahead: i64) -> Spent {
        let micros = |span: i64| Duration::from_micros(span.max(0).unsigned_abs());
        let left = (self.reach_us() - ahead).max(0);
        Spent {
            is_allowed,
            remaining: u32::try_from(left / self.interval_us).unwrap_or(u32::MAX),
            retry_after: micros(ahead.saturating_add(self.interval_us) - self.reach_us()),
            reset_after: micros(ahead),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn run(quota: Quota, arrivals: &[i64]) -> Vec<bool> {
        let mut due = None;
        let mut let_through = |at: &i64| {
            let (next, spent) = quota.spend(due, *at);
            due = Some(next);
            spent.is_allowed
        };
        arrivals.iter().map(&mut let_through).collect()
    }

    #[test]
    fn lets_a_burst_through_and_then_the_rate() {
        let quota = Quota::new(60, Duration::from_secs(60), 3);
        assert_eq!(run(quota, &[0, 0, 0, 0]), [true, true, true, false]);
        let arrivals = [0, 0, 0, SECOND - 1, SECOND, SECOND, 2 * SECOND];
        assert_eq!(run(quota, &arrivals), [true, true, true, false, true, false, true]);
        // Patience is worth no more than the burst.
        assert_eq!(
            run(quota, &[0, 100 * SECOND, 100 * SECOND, 100 * SECOND, 100 * SECOND])[1..],
            [true, true, true, false]
        );
    }

    #[test]
    fn tells_what_is_left_and_when_there_is_more() {
        let quota = Quota::new(60, Duration::from_secs(60), 2);
        let (due, first) = quota.spend(None, 0);
        assert_eq!((first.remaining, first.retry_after), (1, Duration::ZERO));
        assert_eq!(first.reset_after, Duration::from_secs(1));
        let (due, second) = quota.spend(Some(due), 0);
        assert_eq!((second.remaining, second.retry_after), (0, Duration::from_secs(1)));
        let (same, third) = quota.spend(Some(due), SECOND / 4);
        assert_eq!((third.is_allowed, same), (false, due));
        assert_eq!(third.retry_after, Duration::from_millis(750));
    }

    #[test]
    fn a_clock_that_goes_back_opens_nothing() {
        let quota = Quota::new(1, Duration::from_secs(1), 1);
        assert_eq!(run(quota, &[10 * SECOND, 9 * SECOND, 11 * SECOND]), [true, false, true]);
    }

    #[test]
    fn extreme_quotas_overflow_nowhere() {
        for quota in [
            Quota::new(0, Duration::ZERO, 0),
            Quota::new(u32::MAX, Duration::from_secs(1), u32::MAX),
            Quota::new(1, Duration::MAX, u32::MAX),
        ] {
            let (due, spent) = quota.spend(Some(i64::MAX), 0);
            assert!(!spent.is_allowed || due >= 0);
            assert!(quota.spend(None, i64::MAX - 1).0 > 0);
        }
    }
}
