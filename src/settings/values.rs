//! The types that checked settings have, where the standard library has none.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// How many shards to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardCount {
    /// One for each core that this process may use.
    Auto,
    /// So many.
    Count(NonZeroUsize),
}

/// A switch that decides for itself unless told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// The surroundings decide.
    Auto,
    /// On.
    On,
    /// Off.
    Off,
}

impl Switch {
    /// Whether it is on, where `auto` is what the surroundings say.
    pub fn is_on(self, auto: bool) -> bool {
        match self {
            Switch::Auto => auto,
            Switch::On => true,
            Switch::Off => false,
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// A line for people.
    Text,
}

/// In which fields the proxies in front say whom they speak for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Which name in the certificate of a client is the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateName {
    /// The address of mail among the alternative names.
    Email,
    /// The common name of the subject.
    CommonName,
}

/// Whose pages may show ours in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Nobody's.
    Nobody,
    /// Those of the same origin.
    Ourselves,
    /// Everybody's.
    Everybody,
}

/// With which requests of other sites a browser sends a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// With those that only go to a page of ours.
    Lax,
    /// With none.
    Strict,
    /// With all.
    None,
}

/// Which calls of tools, prompts and resources the audit trail tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditCalls {
    /// All.
    All,
    /// Those that were refused.
    Denied,
    /// None.
    None,
}

/// What the audit trail keeps of what a call was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditArguments {
    /// All but secrets.
    Keep,
    /// A digest, by which equal arguments are known.
    Hash,
    /// Nothing.
    Drop,
}

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many times.
    pub count: u32,
    /// In such a span: a second, a minute, an hour or a day.
    pub period: Duration,
    /// How many more may come at once.
    pub burst: u32,
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.period.as_secs() {
            1 => "second",
            60 => "minute",
            3600 => "hour",
            _ => "day",
        };
        write!(out, "{} per {unit}", self.count)
    }
}

/// Where rates are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Over all nodes, in shared state.
    Shared,
    /// In each process.
    Process,
}

/// The two files that TLS needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsFiles<'a> {
    /// The certificate chain, in PEM.
    pub certificate: &'a std::path::Path,
    /// Its private key, in PEM.
    pub key: &'a std::path::Path,
}

/// A text that must not be seen: it neither prints nor logs, and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(zeroize::Zeroizing<String>);

impl Secret {
    /// Takes a text into keeping.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(zeroize::Zeroizing::new(text.into()))
    }

    /// Gives the text to whoever must use it. What it is given to must not print it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(MASK)
    }
}

/// What stands where a secret would: the contract's `MASKED_AUTH_VALUE`.
pub const MASK: &str = "*****";

/// Whether a text is what is shown in the place of a secret: ours, or that of ContextForge's tools.
pub fn is_mask(text: &str) -> bool {
    matches!(text, MASK | "********")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "***** ***** Some(*****)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_switch_follows_its_surroundings_only_while_it_is_auto() {
        assert!(Switch::Auto.is_on(true) && !Switch::Auto.is_on(false));
        assert!(Switch::On.is_on(false) && !Switch::Off.is_on(true));
    }
}
