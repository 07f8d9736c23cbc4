//! Checks of one value: from what was typed to a value of its type, or why not.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use shards::Preference;

use super::authority::{Allowed, HostRule, Origin};
use super::values::{LogFormat, Secret, ShardCount, Switch};

/// Reads the text of one setting.
pub trait Check {
    /// What the text means.
    type Value;

    /// Gives the value, or says in a few words what is wrong with `text`.
    ///
    /// # Errors
    ///
    /// The reason, to be followed by what [`Check::form`] says is right.
    fn read(&self, text: &str) -> Result<Self::Value, String>;

    /// What may be written, as a noun phrase with its bounds.
    fn form(&self) -> String;

    /// Whether the text must not be shown.
    fn is_secret(&self) -> bool {
        false
    }
}

/// A check that may be left empty, which means "unset".
pub struct Optional<C>(pub C);

impl<C: Check> Check for Optional<C> {
    type Value = Option<C::Value>;

    fn read(&self, text: &str) -> Result<Self::Value, String> {
        if text.is_empty() { Ok(None) } else { self.0.read(text).map(Some) }
    }

    fn form(&self) -> String {
        self.0.form()
    }

    fn is_secret(&self) -> bool {
        self.0.is_secret()
    }
}

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

/// Yes or no.
pub struct Flag;

impl Check for Flag {
    type Value = bool;

    fn read(&self, text: &str) -> Result<bool, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Ok(true),
            "false" | "0" | "no" | "off" | "f" | "n" => Ok(false),
            _ => Err("is neither true nor false".to_owned()),
        }
    }

    fn form(&self) -> String {
        "`true` or `false`".to_owned()
    }
}

/// Yes, no, or as the surroundings say.
pub struct AutoFlag;

impl Check for AutoFlag {
    type Value = Switch;

    fn read(&self, text: &str) -> Result<Switch, String> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Switch::Auto);
        }
        let is_on = Flag.read(text).map_err(|_| "is none of them".to_owned())?;
        Ok(if is_on { Switch::On } else { Switch::Off })
    }

    fn form(&self) -> String {
        "`auto`, `true` or `false`".to_owned()
    }
}

/// One of a few words, whatever their case.
pub struct Word<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy> Check for Word<T> {
    type Value = T;

    fn read(&self, text: &str) -> Result<T, String> {
        let found = self.0.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, value)| *value).ok_or("is none of them".to_owned())
    }

    fn form(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.concat(),
        }
    }
}

/// The words of `RING_DRIVER`.
pub const RING_DRIVER: Word<Preference> =
    Word(&[("auto", Preference::Auto), ("uring", Preference::Uring), ("epoll", Preference::Epoll)]);

/// The words of `LOG_FORMAT`.
pub const LOG_FORMAT: Word<LogFormat> =
    Word(&[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)]);

/// The words of `GATEWAY_TOOL_NAME_SEPARATOR`.
pub const SEPARATOR: Word<&'static str> = Word(&[("-", "-"), ("--", "--"), ("_", "_"), (".", ".")]);

/// The words of `JWT_ALGORITHM`.
pub const ALGORITHM: Word<Algorithm> = Word(&[
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
]);

/// An address to listen on. Names are not looked up: that would be an effect.
pub struct Address;

impl Check for Address {
    type Value = IpAddr;

    fn read(&self, text: &str) -> Result<IpAddr, String> {
        if text.eq_ignore_ascii_case("localhost") {
            return Ok(IpAddr::from([127, 0, 0, 1]));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        bare.parse().map_err(|_| "is not an IP address".to_owned())
    }

    fn form(&self) -> String {
        "an IP address (`0.0.0.0` and `::` for all) or `localhost`".to_owned()
    }
}

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

/// A text that is not empty, without control characters.
pub struct Text;

impl Check for Text {
    type Value = String;

    fn read(&self, text: &str) -> Result<String, String> {
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("holds a control character".to_owned());
        }
        Ok(text.to_owned())
    }

    fn form(&self) -> String {
        "text".to_owned()
    }
}

/// A text that must not be seen.
pub struct Hidden;

impl Check for Hidden {
    type Value = Secret;

    fn read(&self, text: &str) -> Result<Secret, String> {
        Ok(Secret::new(text))
    }

    fn form(&self) -> String {
        "secret text".to_owned()
    }

    fn is_secret(&self) -> bool {
        true
    }
}

/// A file or a folder. That it exists is seen by whoever opens it.
pub struct FilePath;

impl Check for FilePath {
    type Value = PathBuf;

    fn read(&self, text: &str) -> Result<PathBuf, String> {
        Text.read(text).map(PathBuf::from)
    }

    fn form(&self) -> String {
        "a path".to_owned()
    }
}

/// The path that a proxy serves us under: empty, or beginning and not ending with a slash.
pub struct RootPath;

impl Check for RootPath {
    type Value = String;

    fn read(&self, text: &str) -> Result<String, String> {
        let path = text.trim_end_matches('/');
        if !path.is_empty() && !path.starts_with('/') {
            return Err("does not begin with a slash".to_owned());
        }
        if path.bytes().any(|byte| byte <= b' ' || byte == b'?' || byte == b'#' || byte >= 0x7f) {
            return Err("holds a character that no path may hold".to_owned());
        }
        Ok(path.to_owned())
    }

    fn form(&self) -> String {
        "a path as `/gateway`, or nothing".to_owned()
    }
}

/// Several texts: a JSON array, or separated by commas.
pub struct List;

impl Check for List {
    type Value = Vec<String>;

    fn read(&self, text: &str) -> Result<Vec<String>, String> {
        let items = if text.starts_with('[') {
            serde_json::from_str::<Vec<String>>(text)
                .map_err(|_| "is not a JSON array of texts".to_owned())?
        } else {
            text.split(',').map(str::to_owned).collect()
        };
        let trimmed = items.iter().map(|item| item.trim().to_owned());
        Ok(trimmed.filter(|item| !item.is_empty()).collect())
    }

    fn form(&self) -> String {
        "a list: `a,b` or `[\"a\",\"b\"]`".to_owned()
    }
}

/// Hosts, or `*` for any.
pub struct Hosts;

impl Check for Hosts {
    type Value = Allowed<HostRule>;

    fn read(&self, text: &str) -> Result<Self::Value, String> {
        allowed(text, HostRule::parse)
    }

    fn form(&self) -> String {
        "a list of hosts, as `mcp.example.com,10.0.0.5:4444`, or `*`".to_owned()
    }
}

/// Origins, or `*` for any.
pub struct OriginList;

impl Check for OriginList {
    type Value = Allowed<Origin>;

    fn read(&self, text: &str) -> Result<Self::Value, String> {
        allowed(text, Origin::parse)
    }

    fn form(&self) -> String {
        "a list of origins, as `https://a.example,http://b.example:8080`, or `*`".to_owned()
    }
}

/// One origin.
pub struct OneOrigin;

impl Check for OneOrigin {
    type Value = Origin;

    fn read(&self, text: &str) -> Result<Origin, String> {
        Origin::parse(text).ok_or("is not an origin".to_owned())
    }

    fn form(&self) -> String {
        "an origin, as `https://mcp.example.com`".to_owned()
    }
}

/// Reads a list in which one `*` stands for everything.
fn allowed<T>(text: &str, parse: fn(&str) -> Option<T>) -> Result<Allowed<T>, String> {
    let items = List.read(text)?;
    if items.iter().any(|item| item == "*") {
        return Ok(Allowed::Any);
    }
    let read = |item: &String| parse(item).ok_or(format!("holds {item:?}, which is none"));
    items.iter().map(read).collect::<Result<_, _>>().map(Allowed::Only)
}

/// A level, or directives as `info,ringway::upstream=debug`.
pub struct Level;

impl Check for Level {
    type Value = String;

    fn read(&self, text: &str) -> Result<String, String> {
        let lower = text.to_ascii_lowercase();
        let directives = match lower.as_str() {
            "warning" => "warn",
            "critical" | "fatal" => "error",
            "trace" | "debug" | "info" | "warn" | "error" | "off" => lower.as_str(),
            _ if !text.contains('=') && !text.contains(',') => {
                return Err("is not a level".to_owned());
            }
            _ => text,
        };
        tracing_subscriber::EnvFilter::try_new(directives)
            .map_err(|_| "is neither a level nor a list of directives".to_owned())?;
        Ok(directives.to_owned())
    }

    fn form(&self) -> String {
        "`error`, `warning`, `info`, `debug`, `trace`, `off`, or directives as \
         `info,ringway::upstream=debug`"
            .to_owned()
    }
}

fn bounded(value: usize, min: usize, max: usize) -> Result<usize, String> {
    match value {
        _ if value < min => Err("is too small".to_owned()),
        _ if value > max => Err("is too large".to_owned()),
        _ => Ok(value),
    }
}
