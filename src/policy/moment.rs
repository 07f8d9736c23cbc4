//! Points in time and spans of it, as CEL writes them. Time is told in UTC.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const SECOND: i64 = 1_000_000;

/// Units of spans, as Go writes them, with their microseconds.
const UNITS: [(&str, f64); 6] =
    [("h", 3600e6), ("ms", 1e3), ("m", 60e6), ("us", 1.0), ("ns", 1e-3), ("s", 1e6)];

/// Reads a point in time (RFC 3339): microseconds since the epoch.
pub fn read(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1000).ok()
}

/// Writes a point in time (RFC 3339).
pub fn write(at: i64) -> String {
    let written = moment(at).and_then(|at| at.format(&Rfc3339).ok());
    written.unwrap_or_else(|| at.to_string())
}

/// Reads a span such as `1h30m` or `-1.5s`: microseconds.
pub fn read_span(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let amount: f64 = rest[..end].parse().ok()?;
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| rest[end..].starts_with(unit))?;
        total += amount * factor;
        rest = &rest[end + unit.len()..];
    }
    let total = if is_negative { -total } else { total };
    (total.abs() < i64::MAX as f64).then_some(total as i64)
}

/// Writes a span in seconds, as `5400s`.
pub fn write_span(span: i64) -> String {
    let sign = if span < 0 { "-" } else { "" };
    format!("{sign}{}s", Duration::from_micros(span.unsigned_abs()).as_secs_f64())
}

/// A part of a point in time or of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The year.
    Year,
    /// The month, from 0.
    Month,
    /// The day of the year, from 0.
    DayOfYear,
    /// The day of the month, from 0.
    DayOfMonth,
    /// The day of the month, from 1.
    Date,
    /// The day of the week, from 0 for Sunday.
    DayOfWeek,
    /// The hour; of a span, all its hours.
    Hours,
    /// The minute; of a span, all its minutes.
    Minutes,
    /// The second; of a span, all its seconds.
    Seconds,
    /// The millisecond within the second.
    Milliseconds,
}

impl Part {
    /// The part that a function of CEL gives.
    pub fn of_function(name: &str) -> Option<Part> {
        Some(match name {
            "getFullYear" => Part::Year,
            "getMonth" => Part::Month,
            "getDayOfYear" => Part::DayOfYear,
            "getDayOfMonth" => Part::DayOfMonth,
            "getDate" => Part::Date,
            "getDayOfWeek" => Part::DayOfWeek,
            "getHours" => Part::Hours,
            "getMinutes" => Part::Minutes,
            "getSeconds" => Part::Seconds,
            "getMilliseconds" => Part::Milliseconds,
            _ => return None,
        })
    }

    /// The part of a point in time.
    pub fn of_time(self, at: i64) -> Option<i64> {
        let at = moment(at)?;
        Some(match self {
            Part::Year => i64::from(at.year()),
            Part::Month => i64::from(u8::from(at.month())) - 1,
            Part::DayOfYear => i64::from(at.ordinal()) - 1,
            Part::DayOfMonth => i64::from(at.day()) - 1,
            Part::Date => i64::from(at.day()),
            Part::DayOfWeek => i64::from(at.weekday().number_days_from_sunday()),
            Part::Hours => i64::from(at.hour()),
            Part::Minutes => i64::from(at.minute()),
            Part::Seconds => i64::from(at.second()),
            Part::Milliseconds => i64::from(at.millisecond()),
        })
    }

    /// The part of a span; of those that only a point in time has, none.
    pub fn of_span(self, span: i64) -> Option<i64> {
        match self {
            Part::Hours => Some(span / (3600 * SECOND)),
            Part::Minutes => Some(span / (60 * SECOND)),
            Part::Seconds => Some(span / SECOND),
            Part::Milliseconds => Some(span % SECOND / 1000),
            _ => None,
        }
    }
}

fn moment(at: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_times_and_their_parts() {
        let at = read("2026-11-23T03:30:05.250Z").unwrap();
        assert_eq!(read("2026-11-23T04:30:05.250+01:00"), Some(at));
        assert_eq!(write(at), "2026-11-23T03:30:05.25Z");
        let part = |name| Part::of_function(name).unwrap().of_time(at).unwrap();
        assert_eq!([part("getFullYear"), part("getMonth"), part("getDate")], [2026, 10, 23]);
        assert_eq!([part("getDayOfWeek"), part("getDayOfMonth")], [1, 22]);
        assert_eq!([part("getHours"), part("getMinutes"), part("getSeconds")], [3, 30, 5]);
        assert_eq!([part("getMilliseconds"), part("getDayOfYear")], [250, 326]);
        assert_eq!(read("yesterday"), None);
    }

    #[test]
    fn reads_spans_of_several_units_and_nothing_else() {
        assert_eq!(read_span("1h30m"), Some(5400 * SECOND));
        assert_eq!(read_span("-1.5s"), Some(-1_500_000));
        assert_eq!(read_span("20ms5us"), Some(20_005));
        for wrong in ["", "-", "1", "s", "1y", "1..5s", "1h-3m"] {
            assert_eq!(read_span(wrong), None, "{wrong:?}");
        }
        assert_eq!(write_span(5400 * SECOND), "5400s");
        assert_eq!(Part::Minutes.of_span(5400 * SECOND), Some(90));
        assert_eq!(Part::Year.of_span(5400 * SECOND), None);
    }
}
