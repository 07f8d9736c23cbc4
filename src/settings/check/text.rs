//! Checks of free text, of secrets and of paths.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Check;
use crate::settings::values::Secret;

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

/// Words with spaces between, perhaps none, without quotation marks.
pub struct Words;

impl Check for Words {
    type Value = String;

    fn read(&self, text: &str) -> Result<String, String> {
        let is_plain =
            |byte: u8| (byte.is_ascii_graphic() && !b"\"\\".contains(&byte)) || byte == b' ';
        match text.bytes().all(is_plain) {
            true => Ok(text.trim().to_owned()),
            false => Err("holds a character that no such word may hold".to_owned()),
        }
    }

    fn form(&self) -> String {
        "words with spaces between".to_owned()
    }
}

/// Texts, perhaps none.
pub struct TextList;

impl Check for TextList {
    type Value = Vec<String>;

    fn read(&self, text: &str) -> Result<Vec<String>, String> {
        let items = if text.starts_with('[') {
            serde_json::from_str::<Vec<String>>(text)
                .map_err(|_| "is not a JSON array of texts".to_owned())?
        } else {
            text.split(',').map(str::to_owned).collect()
        };
        let items = items.into_iter().map(|item| item.trim().to_owned());
        Ok(items.filter(|item| !item.is_empty()).collect())
    }

    fn form(&self) -> String {
        "a list of texts, as `one,two` or `[\"one\", \"two\"]`".to_owned()
    }
}

/// Texts by text, in JSON.
pub struct TextMap;

impl Check for TextMap {
    type Value = BTreeMap<String, String>;

    fn read(&self, text: &str) -> Result<BTreeMap<String, String>, String> {
        if text.is_empty() {
            return Ok(BTreeMap::new());
        }
        serde_json::from_str(text).map_err(|_| "is not a JSON object of texts".to_owned())
    }

    fn form(&self) -> String {
        "a JSON object, as `{\"engineers\": \"8f14e45f...\"}`".to_owned()
    }
}

/// The URL of something on the web.
pub struct WebUrl;

impl Check for WebUrl {
    type Value = String;

    fn read(&self, text: &str) -> Result<String, String> {
        let is_web = url::Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
        });
        match is_web {
            true => Ok(text.to_owned()),
            false => Err("is no URL of http or https".to_owned()),
        }
    }

    fn form(&self) -> String {
        "a URL, as `https://id.example.com`".to_owned()
    }
}

/// The name of a header field or of a cookie (a token of RFC 9110 §5.6.2).
pub struct FieldName;

impl Check for FieldName {
    type Value = String;

    fn read(&self, text: &str) -> Result<String, String> {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match !text.is_empty() && text.bytes().all(is_plain) {
            true => Ok(text.to_owned()),
            false => Err("holds a character that no name may hold".to_owned()),
        }
    }

    fn form(&self) -> String {
        "a name of letters, digits and `-`".to_owned()
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

/// The URL of a database, which may hold a password.
pub struct DatabaseUrl;

impl Check for DatabaseUrl {
    type Value = Secret;

    fn read(&self, text: &str) -> Result<Secret, String> {
        match storage::Location::parse(text) {
            Ok(_) => Ok(Secret::new(text)),
            Err(storage::StoreError::InvalidUrl { reason }) => Err(reason),
            Err(_) => Err("names a kind of database that this version does not speak".to_owned()),
        }
    }

    fn form(&self) -> String {
        "a URL that begins with `sqlite:///` or `postgresql://`".to_owned()
    }

    fn is_secret(&self) -> bool {
        true
    }
}

/// The URL of Redis, which may hold a password.
pub struct RedisUrl;

impl Check for RedisUrl {
    type Value = Secret;

    fn read(&self, text: &str) -> Result<Secret, String> {
        match storage::shared::RedisLocation::parse(text) {
            Ok(_) => Ok(Secret::new(text)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn form(&self) -> String {
        "a URL, as `redis://localhost:6379/0`".to_owned()
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
