//! Checks of numbers: counts, sizes, ports and spans of time.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::Check;
use crate::settings::values::ShardCount;

/// A whole number with its bounds.
pub struct Count {
    /// The least.
    pub min: usize,
    /// The most.
    pub max: usize,
}

impl Check for Count {
    type Value = usize;

    fn read(&self, text: &str) -> Result<usize, String> {
        let value = text.parse::<usize>().map_err(|_| "is not a whole number".to_owned())?;
        bounded(value, self.min, self.max)
    }

    fn form(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }
}

/// A number of bytes with its bounds.
pub struct Size {
    /// The least.
    pub min: usize,
    /// The most.
    pub max: usize,
}

impl Check for Size {
    type Value = usize;

    fn read(&self, text: &str) -> Result<usize, String> {
        let (digits, unit) = match text.find(|letter: char| !letter.is_ascii_digit()) {
            Some(index) => text.split_at(index),
            None => (text, ""),
        };
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" | "k" => 1 << 10,
            "mib" | "m" => 1 << 20,
            "gib" | "g" => 1 << 30,
            _ => return Err("is not a number of bytes".to_owned()),
        };
        let value = digits.parse::<usize>().map_err(|_| "is not a number of bytes".to_owned())?;
        let value = value.checked_mul(factor).ok_or("is too large".to_owned())?;
        bounded(value, self.min, self.max)
    }

    fn form(&self) -> String {
        format!("bytes, from {} to {} (also as 64KiB, 4MiB)", self.min, self.max)
    }
}

/// How often something may happen, at least once, or -1 for any number of times.
pub struct Threshold {
    /// The most.
    pub max: u32,
}

impl Check for Threshold {
    type Value = Option<u32>;

    fn read(&self, text: &str) -> Result<Option<u32>, String> {
        if text == "-1" {
            return Ok(None);
        }
        let count = Count { min: 1, max: self.max as usize }.read(text)?;
        Ok(u32::try_from(count).ok())
    }

    fn form(&self) -> String {
        format!("a whole number from 1 to {}, or -1 for never", self.max)
    }
}

/// A part of a whole.
pub struct Fraction;

impl Check for Fraction {
    type Value = f64;

    fn read(&self, text: &str) -> Result<f64, String> {
        let value = text.parse::<f64>().map_err(|_| "is not a number".to_owned())?;
        if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("is out of bounds".to_owned()) }
    }

    fn form(&self) -> String {
        "a number from 0 to 1".to_owned()
    }
}

/// A TCP port.
pub struct Port;

impl Check for Port {
    type Value = u16;

    fn read(&self, text: &str) -> Result<u16, String> {
        text.parse().map_err(|_| "is not a port".to_owned())
    }

    fn form(&self) -> String {
        "a port from 1 to 65535, or 0 to let the system choose one".to_owned()
    }
}

/// A span of time in seconds, fractions allowed, with its bounds.
pub struct Seconds {
    /// The shortest, in milliseconds.
    pub min_ms: u64,
    /// The longest, in whole seconds.
    pub max: u64,
}

impl Check for Seconds {
    type Value = Duration;

    fn read(&self, text: &str) -> Result<Duration, String> {
        let seconds = text.parse::<f64>().map_err(|_| "is not a number of seconds".to_owned())?;
        let span = Duration::try_from_secs_f64(seconds).map_err(|_| "is no span".to_owned())?;
        if span < Duration::from_millis(self.min_ms) {
            return Err("is too short".to_owned());
        }
        if span > Duration::from_secs(self.max) {
            return Err("is too long".to_owned());
        }
        Ok(span)
    }

    fn form(&self) -> String {
        let min = Duration::from_millis(self.min_ms).as_secs_f64();
        format!("seconds, from {min} to {}", self.max)
    }
}

/// A span of time in whole minutes; 0 for none.
pub struct Minutes;

impl Check for Minutes {
    type Value = Duration;

    fn read(&self, text: &str) -> Result<Duration, String> {
        let minutes = Count { min: 0, max: MINUTES_MAX }.read(text)?;
        Ok(Duration::from_secs(minutes as u64 * 60))
    }

    fn form(&self) -> String {
        format!("minutes, from 0 to {MINUTES_MAX}")
    }
}

/// Ten years: a token that should live longer should rather have no end.
const MINUTES_MAX: usize = 10 * 366 * 24 * 60;

/// A number of shards, or `auto`.
pub struct Shards;

impl Check for Shards {
    type Value = ShardCount;

    fn read(&self, text: &str) -> Result<ShardCount, String> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(ShardCount::Auto);
        }
        let count = Count { min: 1, max: SHARD_COUNT_MAX }.read(text)?;
        Ok(NonZeroUsize::new(count).map_or(ShardCount::Auto, ShardCount::Count))
    }

    fn form(&self) -> String {
        format!("`auto` or a whole number from 1 to {SHARD_COUNT_MAX}")
    }
}

/// More threads than any machine we know has cores.
const SHARD_COUNT_MAX: usize = 1024;

fn bounded(value: usize, min: usize, max: usize) -> Result<usize, String> {
    match value {
        _ if value < min => Err("is too small".to_owned()),
        _ if value > max => Err("is too large".to_owned()),
        _ => Ok(value),
    }
}
