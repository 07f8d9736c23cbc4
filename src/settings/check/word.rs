//! Checks of words out of a few.

use jsonwebtoken::Algorithm;
use shards::Preference;
use storage::shared::CacheType;

use super::Check;
use crate::settings::values::{
    AuditArguments, AuditCalls, CertificateName, ForwardedBy, Framing, LogFormat, SameSite, Switch,
};

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

/// The words of `CACHE_TYPE`.
pub const CACHE_TYPE: Word<CacheType> = Word(&[
    ("memory", CacheType::Memory),
    ("redis", CacheType::Redis),
    ("database", CacheType::Database),
    ("none", CacheType::None),
]);

/// The words of `AUDIT_CALLS`.
pub const AUDIT_CALLS: Word<AuditCalls> =
    Word(&[("all", AuditCalls::All), ("denied", AuditCalls::Denied), ("none", AuditCalls::None)]);

/// The words of `AUDIT_ARGUMENTS`.
pub const AUDIT_ARGUMENTS: Word<AuditArguments> = Word(&[
    ("keep", AuditArguments::Keep),
    ("hash", AuditArguments::Hash),
    ("drop", AuditArguments::Drop),
]);

/// The words of `LOG_FORMAT`.
pub const LOG_FORMAT: Word<LogFormat> =
    Word(&[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)]);

/// The words of `TRUSTED_PROXY_HEADERS`.
pub const FORWARDED_BY: Word<ForwardedBy> =
    Word(&[("x-forwarded", ForwardedBy::XForwarded), ("forwarded", ForwardedBy::Forwarded)]);

/// The words of `TLS_CLIENT_USER`.
pub const CERTIFICATE_NAME: Word<CertificateName> =
    Word(&[("email", CertificateName::Email), ("cn", CertificateName::CommonName)]);

/// The words of `X_FRAME_OPTIONS`.
pub const FRAMING: Word<Framing> = Word(&[
    ("DENY", Framing::Nobody),
    ("SAMEORIGIN", Framing::Ourselves),
    ("none", Framing::Everybody),
    ("null", Framing::Everybody),
    ("ALLOW-ALL", Framing::Everybody),
]);

/// The words of `COOKIE_SAMESITE`.
pub const SAME_SITE: Word<SameSite> =
    Word(&[("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)]);

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
