//! When each upstream is checked next, and what its checks have shown so far.
//!
//! No clock, no I/O: times come in as the span since the ledger was opened.

use std::{collections::HashMap, time::Duration};

use crate::upstream::Health;

/// What is known of one upstream's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Checks that failed in a row while it was thought to answer.
    pub failure_count: u32,
    /// When it last answered a check, in microseconds since the epoch.
    pub last_seen: Option<i64>,
}

/// What follows from a check.
#[derive(Debug)]
pub enum Step {
    /// Nothing that anybody must know.
    Nothing,
    /// It answers, and otherwise than before: it is read anew.
    Renew,
    /// It leaves the lists; the reason, and whether its child has to be stopped.
    Withdraw {
        /// Why.
        reason: String,
        /// Its child runs and does not answer.
        child_hangs: bool,
    },
}

impl Tally {
    /// Notes what a check at `at` (microseconds since the epoch) found of an upstream that is
    /// reachable by what is stored.
    pub fn note(&mut self, health: Health, threshold: u32, at: i64) -> Step {
        let (failure, child_hangs) = match health {
            Health::Unknown => return Step::Nothing,
            Health::Alive | Health::Changed => {
                *self = Tally { failure_count: 0, last_seen: Some(at) };
                let is_changed = matches!(health, Health::Changed);
                return if is_changed { Step::Renew } else { Step::Nothing };
            }
            Health::Failed(failure) => {
                self.failure_count = self.failure_count.saturating_add(1);
                (failure, true)
            }
            // The deaths are counted where they happen: a check sees but the last of them.
            Health::Died { count, failure } => {
                self.failure_count = count;
                (failure, false)
            }
        };
        if self.failure_count < threshold {
            return Step::Nothing;
        }
        Step::Withdraw { reason: failure.to_string(), child_hangs }
    }
}

/// The schedule of all upstreams.
#[derive(Debug)]
pub struct Ledger {
    interval: Duration,
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    tally: Tally,
    /// When the next check begins, since the ledger was opened.
    due: Duration,
    /// How many checks there were.
    round: u64,
    is_running: bool,
}

impl Ledger {
    /// Opens a ledger for checks at this interval.
    pub fn new(interval: Duration) -> Ledger {
        Ledger { interval, entries: HashMap::new() }
    }

    /// Follows the registry: forgets who is gone, and spreads who is new over one interval.
    pub fn follow<'a>(&mut self, ids: impl Iterator<Item = &'a str>, now: Duration) {
        let mut former = std::mem::take(&mut self.entries);
        for id in ids {
            let (id, entry) = former.remove_entry(id).unwrap_or_else(|| {
                let due = now + self.interval.mul_f64(fraction(id, 0));
                let tally = Tally::default();
                (id.to_owned(), Entry { tally, due, round: 0, is_running: false })
            });
            self.entries.insert(id, entry);
        }
    }

    /// Takes the upstream whose check is due longest; its next is due an interval later, give or
    /// take a tenth.
    pub fn take_due(&mut self, now: Duration) -> Option<(String, Tally)> {
        let waiting = self.entries.iter_mut().filter(|(_, entry)| !entry.is_running);
        let (id, entry) =
            waiting.min_by(|(a, one), (b, other)| (one.due, a).cmp(&(other.due, b)))?;
        if entry.due > now {
            return None;
        }
        entry.round += 1;
        entry.is_running = true;
        // From now and not from when it was due: what was missed is not made up for.
        entry.due = now + self.interval.mul_f64(0.9 + 0.2 * fraction(id, entry.round));
        Some((id.clone(), entry.tally))
    }

    /// Notes that a check is over.
    pub fn put_back(&mut self, id: &str, tally: Tally) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.tally = tally;
            entry.is_running = false;
        }
    }

    /// How long nothing is due; `None` while nothing waits.
    pub fn pause(&self, now: Duration) -> Option<Duration> {
        let waiting = self.entries.values().filter(|entry| !entry.is_running);
        waiting.map(|entry| entry.due.saturating_sub(now)).min()
    }
}

/// A number from 0 to 1 that differs between upstreams and rounds, and needs no source of chance.
fn fraction(id: &str, round: u64) -> f64 {
    // FNV-1a, then the finish of SplitMix64: neighbouring rounds must not give neighbours.
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let bytes = id.bytes().chain(round.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, step);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ (hash >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Failure, UpstreamKind};

    const MINUTE: Duration = Duration::from_secs(60);

    fn failed() -> Health {
        Health::Failed(Failure::upstream("up", UpstreamKind::Unreachable, "refused", false))
    }

    fn died(count: u32) -> Health {
        let failure = Failure::upstream("up", UpstreamKind::Unreachable, "exit 1", false);
        Health::Died { count, failure }
    }

    fn word(step: &Step) -> &'static str {
        match step {
            Step::Nothing => "nothing",
            Step::Renew => "renew",
            Step::Withdraw { .. } => "withdraw",
        }
    }

    /// What follows from each check of an upstream that is reachable, at a threshold of 3.
    fn steps(checks: Vec<Health>) -> Vec<&'static str> {
        let mut tally = Tally::default();
        checks.into_iter().map(|check| word(&tally.note(check, 3, 7))).collect()
    }

    #[test]
    fn withdraws_an_upstream_at_the_threshold_and_not_before() {
        assert_eq!(steps(vec![failed(), failed(), failed()]), ["nothing", "nothing", "withdraw"]);
    }

    #[test]
    fn a_success_in_between_begins_the_count_anew() {
        let checks = vec![failed(), failed(), Health::Alive, failed(), failed()];
        assert_eq!(steps(checks), ["nothing"; 5]);
    }

    #[test]
    fn what_cannot_be_judged_neither_counts_nor_excuses() {
        let checks = vec![failed(), failed(), Health::Unknown, failed()];
        assert_eq!(steps(checks), ["nothing", "nothing", "nothing", "withdraw"]);
    }

    #[test]
    fn a_child_that_keeps_dying_is_judged_by_its_deaths_and_not_by_our_checks() {
        assert_eq!(steps(vec![died(1), died(1), died(1), died(1)]), ["nothing"; 4]);
        assert_eq!(steps(vec![died(3)]), ["withdraw"]);
    }

    #[test]
    fn a_withdrawal_that_could_not_be_stored_is_tried_again_at_the_next_failure() {
        let checks = vec![failed(), failed(), failed(), failed()];
        assert_eq!(steps(checks)[3], "withdraw");
    }

    #[test]
    fn remembers_when_an_upstream_last_answered() {
        let mut tally = Tally::default();
        tally.note(Health::Alive, 3, 8);
        tally.note(failed(), 3, 9);
        assert_eq!(tally, Tally { failure_count: 1, last_seen: Some(8) });
    }

    #[test]
    fn an_upstream_that_changed_its_era_is_read_anew() {
        assert_eq!(steps(vec![Health::Changed]), ["renew"]);
    }

    #[test]
    fn checks_everybody_once_an_interval_give_or_take_a_tenth() {
        let ids: Vec<String> = (0..50).map(|id| format!("upstream {id}")).collect();
        let mut ledger = Ledger::new(MINUTE);
        let mut begun: HashMap<String, Vec<u64>> = HashMap::new();
        for second in 0..600 {
            let now = Duration::from_secs(second);
            ledger.follow(ids.iter().map(String::as_str), now);
            while let Some((id, tally)) = ledger.take_due(now) {
                begun.entry(id.clone()).or_default().push(second);
                ledger.put_back(&id, tally);
            }
        }
        assert_eq!(begun.len(), ids.len());
        for (id, seconds) in &begun {
            assert!(seconds[0] <= 60, "{id}: {seconds:?}");
            let gaps = seconds.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.into_iter().all(|gap| (54..=67).contains(&gap)), "{id}: {seconds:?}");
        }
        let firsts: std::collections::BTreeSet<u64> = begun.values().map(|all| all[0]).collect();
        assert!(firsts.len() > 20, "the first checks come in heaps: {firsts:?}");
    }

    #[test]
    fn never_begins_a_check_of_who_is_being_checked() {
        let mut ledger = Ledger::new(MINUTE);
        ledger.follow(["a"].into_iter(), Duration::ZERO);
        let (id, mut tally) = ledger.take_due(MINUTE).unwrap();
        assert_eq!(ledger.take_due(MINUTE * 100), None);
        assert_eq!(ledger.pause(MINUTE), None);
        tally.failure_count = 2;
        ledger.put_back(&id, tally);
        assert_eq!(ledger.take_due(MINUTE * 100), Some((id, tally)));
    }

    #[test]
    fn who_waits_longest_is_first_when_there_are_more_than_may_run() {
        let mut ledger = Ledger::new(MINUTE);
        ledger.follow(["a", "b", "c"].into_iter(), Duration::ZERO);
        let mut order = Vec::new();
        // One check at a time, each of which takes longer than an interval.
        for round in 1..=6 {
            let (id, tally) = ledger.take_due(MINUTE * 2 * round).unwrap();
            ledger.put_back(&id, tally);
            order.push(id);
        }
        let first: std::collections::BTreeSet<&String> = order[..3].iter().collect();
        assert_eq!(first.len(), 3, "somebody is starved: {order:?}");
        assert_eq!(order[..3], order[3..]);
    }

    #[test]
    fn forgets_who_is_gone_also_in_the_middle_of_a_check() {
        let mut ledger = Ledger::new(MINUTE);
        ledger.follow(["a", "b"].into_iter(), Duration::ZERO);
        let (id, tally) = ledger.take_due(MINUTE).unwrap();
        ledger.follow([].into_iter(), MINUTE);
        ledger.put_back(&id, tally);
        assert_eq!(ledger.take_due(MINUTE * 100), None);
        assert_eq!(ledger.pause(MINUTE), None);
    }
}
