//! From where and when a token is good.
//!
//! What is not understood is refused: a bound that nobody checks would be worse than none.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::settings::network::Network;

/// The bounds of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restrictions {
    /// Where it may come from; empty for anywhere.
    networks: Vec<Network>,
    /// In which minutes of the day, in UTC: from the first, to before the last, perhaps over
    /// midnight.
    minutes: Option<(u32, u32)>,
    /// On which days, Monday first.
    days: [bool; 7],
}

/// Which bound a request does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// It comes from somewhere else.
    Address,
    /// It comes at another time.
    Time,
}

impl Outside {
    /// What the caller is told.
    pub fn sentence(self) -> &'static str {
        match self {
            Outside::Address => "Request not allowed from this address by token restrictions",
            Outside::Time => "Request not allowed at this time by token restrictions",
        }
    }
}

/// What `business_hours_only` means, in minutes of the day (contract §4).
const BUSINESS_MINUTES: (u32, u32) = (9 * 60, 17 * 60);

/// The names of days, Monday first.
const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

const MINUTES_OF_DAY: u32 = 24 * 60;

impl Restrictions {
    /// Reads the bounds as a token or its record has them; `None` if there are none.
    ///
    /// # Errors
    ///
    /// A sentence that says what is not understood.
    pub fn read(
        addresses: &[String],
        times: Option<&Map<String, Value>>,
    ) -> Result<Option<Restrictions>, String> {
        let network = |text: &String| {
            let wrong =
                |_| format!("{text:?} is no address and no network, as 192.0.2.7 or 10.0.0.0/8");
            text.trim().parse().map_err(wrong)
        };
        let networks = addresses.iter().map(network).collect::<Result<Vec<Network>, String>>()?;
        let mut bounds = Restrictions { networks, minutes: None, days: [true; 7] };
        for (name, value) in times.into_iter().flatten() {
            bounds.read_time(name, value)?;
        }
        if !bounds.days.contains(&true) {
            return Err("days leave no day on which the token is good".to_owned());
        }
        Ok((!bounds.is_empty()).then_some(bounds))
    }

    fn read_time(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match (name, value) {
            (_, Value::Null) | ("business_hours_only" | "weekdays_only", Value::Bool(false)) => {}
            ("business_hours_only", Value::Bool(true)) => self.bind_minutes(BUSINESS_MINUTES)?,
            ("weekdays_only", Value::Bool(true)) => {
                self.days[5] = false;
                self.days[6] = false;
            }
            ("hours", Value::Object(hours)) => self.bind_minutes(read_hours(hours)?)?,
            ("days", Value::Array(days)) => self.bind_days(days)?,
            ("timezone", Value::String(zone)) if zone.eq_ignore_ascii_case("utc") => {}
            ("timezone", _) => return Err("times are in UTC: timezone can be nothing else".into()),
            ("business_hours_only" | "weekdays_only", _) => {
                return Err(format!("{name} is true or false"));
            }
            ("hours", _) => return Err(HOURS_FORM.to_owned()),
            ("days", _) => return Err(DAYS_FORM.to_owned()),
            _ => {
                return Err(format!(
                    "{name:?} binds nothing: there are business_hours_only, weekdays_only, hours, \
                     days and timezone"
                ));
            }
        }
        Ok(())
    }

    fn bind_minutes(&mut self, minutes: (u32, u32)) -> Result<(), String> {
        match self.minutes.replace(minutes) {
            None => Ok(()),
            Some(_) => Err("business_hours_only and hours say different things".to_owned()),
        }
    }

    fn bind_days(&mut self, days: &[Value]) -> Result<(), String> {
        let mut named = [false; 7];
        for day in days {
            let name = day.as_str().unwrap_or_default().to_ascii_lowercase();
            let is_it = |known: &&str| name.len() >= 3 && known.starts_with(&name);
            let place = DAYS.iter().position(is_it);
            named[place.ok_or_else(|| DAYS_FORM.to_owned())?] = true;
        }
        for (day, is_named) in self.days.iter_mut().zip(named) {
            *day &= is_named;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.minutes.is_none() && !self.days.contains(&false)
    }

    /// Looks whether a request from `ip` at `now`, in seconds since the epoch, keeps the bounds.
    ///
    /// # Errors
    ///
    /// [`Outside`] with the bound that it does not keep.
    pub fn check(&self, ip: IpAddr, now: u64) -> Result<(), Outside> {
        let is_inside = |network: &Network| network.contains(ip);
        if !self.networks.is_empty() && !self.networks.iter().any(is_inside) {
            return Err(Outside::Address);
        }
        const DAY: u64 = 24 * 60 * 60;
        let minute = u32::try_from(now % DAY / 60).expect("a day has few minutes");
        let day = weekday(now / DAY);
        let is_now = match self.minutes {
            None => self.days[day],
            Some((first, end)) if first < end => self.days[day] && (first..end).contains(&minute),
            // Over midnight: what is left of the night belongs to the day on which it began.
            Some((first, _)) if minute >= first => self.days[day],
            Some((_, end)) => minute < end && self.days[(day + 6) % 7],
        };
        if is_now { Ok(()) } else { Err(Outside::Time) }
    }
}

/// The place in the week, Monday first, of a day counted from the epoch, which was a Thursday.
fn weekday(days: u64) -> usize {
    usize::try_from((days + 3) % 7).expect("a week has few days")
}

const HOURS_FORM: &str = "hours are {\"start\": \"HH:MM\", \"end\": \"HH:MM\"}, two times of a day";

const DAYS_FORM: &str = "days are a list of names as \"monday\" or \"mon\"";

fn read_hours(hours: &Map<String, Value>) -> Result<(u32, u32), String> {
    let minute = |name: &str| hours.get(name).and_then(Value::as_str).and_then(minute_of);
    match (minute("start"), minute("end")) {
        (Some(first), Some(end)) if first != end && first < MINUTES_OF_DAY && hours.len() == 2 => {
            Ok((first, end))
        }
        _ => Err(HOURS_FORM.to_owned()),
    }
}

/// The minute of the day of `09:30`; the end of a day is `24:00`.
fn minute_of(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| is_number)
    };
    let (hour, minute) = (number(hour)?, number(minute).filter(|minute| *minute < 60)?);
    Some(hour * 60 + minute).filter(|minute| *minute <= MINUTES_OF_DAY)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Monday, the 5th of January 1970, at midnight.
    const MONDAY: u64 = 4 * 86_400;

    fn times(value: Value) -> Result<Option<Restrictions>, String> {
        Restrictions::read(&[], value.as_object())
    }

    fn at(bounds: &Restrictions, day: u64, hour: u64, minute: u64) -> bool {
        let now = MONDAY + day * 86_400 + hour * 3600 + minute * 60;
        bounds.check([192, 0, 2, 7].into(), now).is_ok()
    }

    #[test]
    fn a_token_is_good_from_its_networks_alone() {
        let addresses = ["10.0.0.0/8".to_owned(), "2001:db8::1".to_owned()];
        let bounds = Restrictions::read(&addresses, None).unwrap().unwrap();
        let check = |ip: &str| bounds.check(ip.parse().unwrap(), MONDAY);
        for ip in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"] {
            assert_eq!(check(ip), Ok(()), "{ip}");
        }
        for ip in ["11.0.0.1", "::1", "2001:db8::2"] {
            assert_eq!(check(ip), Err(Outside::Address), "{ip}");
        }
    }

    #[test]
    fn business_hours_end_as_the_clock_strikes_and_weekends_are_free() {
        let bounds = times(json!({"business_hours_only": true, "weekdays_only": true}));
        let bounds = bounds.unwrap().unwrap();
        for (day, hour, minute, is_good) in [
            (0, 8, 59, false),
            (0, 9, 0, true),
            (4, 16, 59, true),
            (4, 17, 0, false),
            (5, 12, 0, false),
            (6, 12, 0, false),
            (7, 12, 0, true),
        ] {
            assert_eq!(at(&bounds, day, hour, minute), is_good, "{day} {hour}:{minute}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_began() {
        let night = json!({"hours": {"start": "22:30", "end": "06:00"}, "days": ["Fri"]});
        let bounds = times(night).unwrap().unwrap();
        for (day, hour, minute, is_good) in [
            (4, 22, 29, false),
            (4, 22, 30, true),
            (5, 5, 59, true),
            (5, 6, 0, false),
            (5, 23, 0, false),
            (4, 3, 0, false),
        ] {
            assert_eq!(at(&bounds, day, hour, minute), is_good, "{day} {hour}:{minute}");
        }
    }

    #[test]
    fn what_binds_nothing_is_no_bound() {
        for value in [json!({}), json!({"business_hours_only": false, "timezone": "UTC"})] {
            assert_eq!(times(value), Ok(None));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for value in [
            json!({"business_hours": true}),
            json!({"business_hours_only": "yes"}),
            json!({"timezone": "Europe/Zurich"}),
            json!({"days": ["someday"]}),
            json!({"days": []}),
            json!({"days": ["sat"], "weekdays_only": true}),
            json!({"hours": {"start": "9:00", "end": "17:00"}}),
            json!({"hours": {"start": "09:00", "end": "09:00"}}),
            json!({"hours": {"start": "24:00", "end": "09:00"}}),
            json!({"hours": {"start": "09:00", "end": "24:30"}}),
            json!({"hours": {"start": "09:00"}}),
            json!({"hours": {"start": "08:00", "end": "09:00"}, "business_hours_only": true}),
        ] {
            assert!(times(value.clone()).is_err(), "{value}");
        }
        let addresses = ["10.0.0.0/33".to_owned()];
        assert!(Restrictions::read(&addresses, None).unwrap_err().contains("10.0.0.0/33"));
    }
}
