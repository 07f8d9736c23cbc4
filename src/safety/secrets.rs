//! Whether a secret can be guessed.

use std::collections::HashSet;

use super::{Fault, Weight};
use crate::settings::{Secret, Settings};

/// Secrets that stand in examples and that everybody knows, in lower case.
const KNOWN: &[&str] = &[
    "my-test-key",
    "my-test-key-but-now-longer-than-32-bytes",
    "my-test-salt",
    "changeme",
    "changeit",
    "secret",
    "password",
    "admin",
    "test-secret",
    "my-secret",
    "my-secret-key",
    "12345678",
];

/// How the secrets of examples begin that are to be replaced, in lower case.
const PLACEHOLDERS: &[&str] = &["__replace_me__", "changeme", "change-me", "change_me", "your-"];

/// How a secret is used, which says how long it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By a program, which can be tried against without asking anybody: as many bytes as SHA-256
    /// gives (RFC 7518 §3.2).
    Key,
    /// By people, at a door that can be slow: the contract's length.
    Password,
}

impl Kind {
    fn size_min(self) -> usize {
        match self {
            Kind::Key => 32,
            Kind::Password => 12,
        }
    }

    /// How many different letters it must have. 32 random hexadecimal digits have fewer than 8 once
    /// in a hundred thousand times, 12 random letters have fewer than 6 about as seldom.
    fn letter_count_min(self) -> usize {
        match self {
            Kind::Key => 8,
            Kind::Password => 6,
        }
    }
}

/// Says what is weak about the secret called `name`; nothing of the secret itself.
pub fn fault(name: &str, secret: &Secret, kind: Kind, settings: &Settings) -> Option<Fault> {
    let problem = weakness(secret.expose(), kind)?;
    let is_fatal = !settings.is_loopback() || settings.proof.strong_secrets_required;
    let mend = match kind {
        Kind::Key => format!(
            "Leave {name} out and a strong one is made, or set it to what `openssl rand -base64 \
             48` prints"
        ),
        Kind::Password => {
            format!("Set {name} to what `openssl rand -base64 18` prints")
        }
    };
    let weight = if is_fatal { Weight::Fatal } else { Weight::Minor };
    Some(Fault { sentence: format!("{name} {problem}"), mend, weight })
}

/// What is weak about a secret, as the end of a sentence.
fn weakness(text: &str, kind: Kind) -> Option<String> {
    let lower = text.trim().to_lowercase();
    let is_known = KNOWN.contains(&&*lower)
        || PLACEHOLDERS.iter().any(|placeholder| lower.starts_with(placeholder));
    if is_known {
        return Some("is a value that everybody knows".to_owned());
    }
    let size_min = kind.size_min();
    if text.len() < size_min {
        return Some(format!("is shorter than {size_min} bytes and can be guessed"));
    }
    let letter_count = text.chars().collect::<HashSet<_>>().len();
    let is_varied = letter_count >= kind.letter_count_min();
    (!is_varied).then(|| format!("has only {letter_count} different letters and can be guessed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_secrets_that_are_known_short_or_of_few_letters() {
        for (text, kind, end) in [
            ("my-test-key", Kind::Key, "everybody knows"),
            ("My-Test-Key-But-Now-Longer-Than-32-Bytes", Kind::Key, "everybody knows"),
            ("__REPLACE_ME__0123456789abcdefghijklm", Kind::Key, "everybody knows"),
            ("changeme-to-something-else-before-use", Kind::Key, "everybody knows"),
            ("changeme", Kind::Password, "everybody knows"),
            ("q7Gd-2mZp0x_LtR9vWc4YbNe8sKhJfU", Kind::Key, "shorter than 32 bytes"),
            ("q7Gd-2mZp0x", Kind::Password, "shorter than 12 bytes"),
            ("", Kind::Password, "shorter than 12 bytes"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Kind::Key, "only 1 different"),
            ("passwordpasswordpasswordpassword", Kind::Key, "only 7 different"),
            ("abcabcabcabc", Kind::Password, "only 3 different"),
        ] {
            let problem = weakness(text, kind).unwrap_or_default();
            assert!(problem.contains(end), "{text}: {problem}");
        }
    }

    #[test]
    fn takes_what_programs_make() {
        for (text, kind) in [
            ("9f86d081884c7d659a2feaa0c55ad015", Kind::Key),
            ("q7Gd-2mZp0x_LtR9vWc4YbNe8sKhJfUa", Kind::Key),
            ("tMk3qYw8PzLd", Kind::Password),
        ] {
            assert_eq!(weakness(text, kind), None, "{text}");
        }
    }
}
