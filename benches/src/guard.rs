//! The instruction guard: what a request executes in user space, against the recorded count.
//!
//! Instructions, not time: the same binary and input give the same count on a busy machine and on
//! an idle one. callgrind counts only inside [`COUNTED`], so building the state and warming it up
//! cost nothing here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The pattern of the function inside which callgrind counts.
pub const COUNTED: &str = "*counted_request*";
/// How much a count may grow before the guard fails, in percent: above what another version of the
/// compiler or of a dependency moves without anybody's doing, below what one careless copy costs.
pub const GROWTH_PERCENT_MAX: f64 = 3.0;

/// The recorded counts, by path.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Record {
    /// One for each guarded path.
    pub paths: BTreeMap<String, Count>,
}

/// A recorded count.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Count {
    /// User-space instructions of one request.
    pub instructions: u64,
    /// Why the count is what it is: what the last change of it bought.
    pub reason: String,
}

/// How a path stands to its record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Within the bound, by this many percent more or less.
    Kept(f64),
    /// It costs more by this many percent, which is past the bound.
    Grew(f64),
    /// It costs less by so many percent that the record should follow.
    Fell(f64),
    /// It has no record yet.
    Unknown,
}

impl Verdict {
    /// Compares a count with the record of a path.
    pub fn of(record: &Record, path: &str, instructions: u64) -> Verdict {
        let Some(recorded) = record.paths.get(path) else { return Verdict::Unknown };
        let recorded = recorded.instructions as f64;
        let percent = (instructions as f64 - recorded) / recorded * 100.0;
        if percent > GROWTH_PERCENT_MAX {
            Verdict::Grew(percent)
        } else if percent < -GROWTH_PERCENT_MAX {
            Verdict::Fell(-percent)
        } else {
            Verdict::Kept(percent)
        }
    }

    /// Whether the guard passes. A path without a record does not: it would never be guarded.
    pub fn is_passed(self) -> bool {
        matches!(self, Verdict::Kept(_) | Verdict::Fell(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Kept(percent) => write!(formatter, "kept ({percent:+.1} %)"),
            Verdict::Grew(percent) => write!(
                formatter,
                "GREW by {percent:.1} %, more than {GROWTH_PERCENT_MAX} %: mend it, or record it \
                 with its reason (guard --record-because)"
            ),
            Verdict::Fell(percent) => write!(
                formatter,
                "fell by {percent:.1} %: record it (guard --record-because), so that it stays"
            ),
            Verdict::Unknown => {
                write!(formatter, "NOT RECORDED: record it (guard --record-because)")
            }
        }
    }
}

/// Finds how many instructions callgrind says it counted.
pub fn parse_collected(log: &str) -> Option<u64> {
    let rest =
        log.lines().find_map(|line| line.split_once("Collected : ").map(|(_, rest)| rest))?;
    rest.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let count = Count { instructions: 1000, reason: "first count".into() };
        Record { paths: BTreeMap::from([("head".to_owned(), count)]) }
    }

    #[test]
    fn three_percent_more_is_kept_and_more_than_that_is_not() {
        assert_eq!(Verdict::of(&record(), "head", 1030), Verdict::Kept(3.0));
        assert!(matches!(Verdict::of(&record(), "head", 1031), Verdict::Grew(_)));
        assert!(!Verdict::of(&record(), "head", 1031).is_passed());
    }

    #[test]
    fn a_count_that_fell_passes_and_asks_to_be_recorded() {
        let verdict = Verdict::of(&record(), "head", 900);
        assert!(verdict.is_passed());
        assert!(verdict.to_string().contains("fell by 10.0 %"), "{verdict}");
    }

    #[test]
    fn a_path_without_a_record_fails() {
        assert!(!Verdict::of(&record(), "envelope", 1).is_passed());
    }

    #[test]
    fn reads_the_count_that_callgrind_prints() {
        let log = "==7== \n==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(parse_collected(log), Some(123_456));
        assert_eq!(parse_collected("valgrind: no such file"), None);
    }
}
