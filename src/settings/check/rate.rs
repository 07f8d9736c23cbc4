//! Checks of rates: how often something may happen.

use std::time::Duration;

use super::{Check, Count};
use crate::settings::values::{Rate, Scope};

/// Where rates are counted.
pub const SCOPE: super::word::Word<Scope> =
    super::word::Word(&[("shared", Scope::Shared), ("process", Scope::Process)]);

const UNITS: [(&str, u64); 4] = [("second", 1), ("minute", 60), ("hour", 3600), ("day", 24 * 3600)];

/// The most requests of a rate, and the most of a burst.
const COUNT_MAX: usize = 1_000_000_000;

/// A rate as `100/minute`, or with a burst as `100/minute+20`.
pub struct RateText;

impl Check for RateText {
    type Value = Rate;

    fn read(&self, text: &str) -> Result<Rate, String> {
        let wrong = || "is not a rate".to_owned();
        let (rate, burst) = match text.split_once('+') {
            Some((rate, burst)) => (rate, count(burst, 0)?),
            None => (text, 0),
        };
        let (number, unit) = rate.split_once('/').ok_or_else(wrong)?;
        let unit = unit.trim().to_ascii_lowercase();
        let is_named = |name: &str| unit == name || unit == name[..1] || unit == format!("{name}s");
        let named = |(name, _): &&(&str, u64)| is_named(name);
        let (_, seconds) = UNITS.iter().find(named).ok_or_else(wrong)?;
        let count = count(number, 1)?;
        Ok(Rate { count, period: Duration::from_secs(*seconds), burst })
    }

    fn form(&self) -> String {
        "a rate as `100/minute` (or `second`, `hour`, `day`), with a burst as `100/minute+20`"
            .to_owned()
    }
}

/// Requests in a minute; 0 for any number of them.
pub struct PerMinute;

impl Check for PerMinute {
    type Value = Option<u32>;

    fn read(&self, text: &str) -> Result<Option<u32>, String> {
        let count = count(text, 0)?;
        Ok((count > 0).then_some(count))
    }

    fn form(&self) -> String {
        format!("a whole number from 1 to {COUNT_MAX}, or 0 for any number")
    }
}

fn count(text: &str, min: usize) -> Result<u32, String> {
    let read = Count { min, max: COUNT_MAX }.read(text.trim())?;
    u32::try_from(read).map_err(|_| "is out of bounds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rates_with_and_without_a_burst() {
        let rate =
            |count, seconds, burst| Ok(Rate { count, period: Duration::from_secs(seconds), burst });
        assert_eq!(RateText.read("100/minute"), rate(100, 60, 0));
        assert_eq!(RateText.read("5/s+10"), rate(5, 1, 10));
        assert_eq!(RateText.read("7 / hours"), rate(7, 3600, 0));
        assert_eq!(RateText.read("1/day"), rate(1, 86_400, 0));
        for wrong in ["", "100", "0/minute", "1/week", "x/minute", "1/minute+x", "-1/s"] {
            assert!(RateText.read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_a_minute_is_no_limit() {
        assert_eq!(PerMinute.read("0"), Ok(None));
        assert_eq!(PerMinute.read("30"), Ok(Some(30)));
        assert!(PerMinute.read("many").is_err());
    }
}
