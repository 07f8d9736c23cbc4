//! Checks of one value: from what was typed to a value of its type, or why not.

mod number;
mod place;
mod rate;
mod text;
mod word;

pub use number::{Count, Fraction, Minutes, Port, Seconds, Shards, Size, Threshold};
pub use place::{Address, Hosts, Networks, OneOrigin, OriginList, UriList};
pub use rate::{PerMinute, RateText, SCOPE};
pub use text::{
    DatabaseUrl, FieldName, FilePath, Hidden, Level, RedisUrl, RootPath, Text, TextList, TextMap,
    WebUrl, Words,
};
pub use word::{
    ALGORITHM, AUDIT_ARGUMENTS, AUDIT_CALLS, AutoFlag, CACHE_TYPE, CERTIFICATE_NAME, FORWARDED_BY,
    FRAMING, Flag, LOG_FORMAT, RING_DRIVER, SAME_SITE, SEPARATOR,
};

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
