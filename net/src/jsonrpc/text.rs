//! JSON strings to text.

use std::borrow::Cow;

use crate::error::JsonError;

/// Whether a raw value is a string.
#[inline]
pub fn is_string(raw: &str) -> bool {
    raw.starts_with('"')
}

/// Returns the text of a raw string with its quotes, borrowed unless it has escapes.
///
/// # Errors
///
/// [`JsonError::LoneSurrogate`] for half of a surrogate pair: it is no character, and readers differ
/// in what they make of it. [`JsonError::Syntax`] if `raw` is no JSON string; the raw values of this
/// module that begin with a quote always are.
#[inline]
pub fn unescape(raw: &str) -> Result<Cow<'_, str>, JsonError> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.ok_or(JsonError::Syntax { at: 0 })?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(inner));
    }
    unescape_inner(inner).map(Cow::Owned)
}

/// Returns the text between the quotes, in which there are escapes.
#[cold]
pub(super) fn unescape_inner(inner: &str) -> Result<String, JsonError> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        let (character, size) = escape(&rest.as_bytes()[at..])
            .map_err(|error| error.behind(inner.len() - rest.len() + at))?;
        text.push(character);
        rest = &rest[at + size..];
    }
    text.push_str(rest);
    Ok(text)
}

/// Reads the escape that `bytes` begin with: its character and its size.
fn escape(bytes: &[u8]) -> Result<(char, usize), JsonError> {
    let plain = match bytes.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return code_point(bytes),
        _ => return Err(JsonError::Syntax { at: 0 }),
    };
    Ok((plain, 2))
}

/// Reads `\uXXXX`, or two of them that are a surrogate pair (RFC 8259 §7).
fn code_point(bytes: &[u8]) -> Result<(char, usize), JsonError> {
    let first = code_unit(bytes).ok_or(JsonError::Syntax { at: 0 })?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 6));
    }
    let second = code_unit(&bytes[6..]).filter(|unit| (0xdc00..0xe000).contains(unit));
    match second {
        Some(second) if first < 0xdc00 => {
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            Ok((char::from_u32(code).expect("a surrogate pair is a character"), 12))
        }
        _ => Err(JsonError::LoneSurrogate),
    }
}

/// Reads one `\uXXXX` as a number.
fn code_unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, byte| Some(unit << 4 | (*byte as char).to_digit(16)?))
}

impl JsonError {
    /// The same error, `offset` bytes further on.
    pub(super) fn behind(self, offset: usize) -> JsonError {
        match self {
            JsonError::Syntax { at } => JsonError::Syntax { at: at + offset },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_escapes_is_borrowed() {
        assert!(matches!(unescape("\"caf\u{e9}\""), Ok(Cow::Borrowed("caf\u{e9}"))));
        assert_eq!(unescape("\"\"").unwrap(), "");
    }

    #[test]
    fn every_escape_has_its_character() {
        let raw = r#""a\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00\u0000z""#;
        let text: String = serde_json::from_str(raw).unwrap();
        assert_eq!(unescape(raw).unwrap(), text);
        assert_eq!(text, "a\"\\/\u{8}\u{c}\n\r\tA\u{e9}\u{20ac}\u{1f600}\0z");
    }

    #[test]
    fn half_of_a_surrogate_pair_is_refused() {
        for raw in [
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83d\u0041""#,
            r#""\ud83d\ud83d""#,
            r#""\ude00\ud83d""#,
            r#""\ud83dx\ude00""#,
            r#""\ud83d\n""#,
        ] {
            assert_eq!(unescape(raw), Err(JsonError::LoneSurrogate), "{raw}");
        }
    }

    #[test]
    fn what_is_no_string_is_refused() {
        for raw in ["", "\"", "1", "a", "\"\\\"", "\"\\x\"", "\"\\u12g4\"", "\"\\u12\""] {
            assert!(matches!(unescape(raw), Err(JsonError::Syntax { .. })), "{raw}");
        }
    }
}
