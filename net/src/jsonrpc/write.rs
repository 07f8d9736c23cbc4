//! Answers, written: raw values are spliced, texts are escaped.

use std::borrow::Cow;

use crate::error::JsonError;
use crate::http1::encode::decimal;
use crate::jsonrpc::fields::pick;
use crate::jsonrpc::text::unescape;

/// Appends a text as a JSON string.
#[inline]
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        out.extend_from_slice(&rest[..at]);
        write_escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[inline]
fn needs_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Appends the answer `result_raw` to the request `id_raw`; both are raw JSON.
#[inline]
pub fn result(out: &mut Vec<u8>, id_raw: &str, result_raw: &str) {
    out.reserve(id_raw.len() + result_raw.len() + 40);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id_raw.as_bytes());
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result_raw.as_bytes());
    out.push(b'}');
}

/// Appends an error as the answer to the request `id_raw`, `null` where that could not be read;
/// `data_raw` is raw JSON.
pub fn error(
    out: &mut Vec<u8>,
    id_raw: Option<&str>,
    code: i32,
    message: &str,
    data_raw: Option<&str>,
) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id_raw.unwrap_or("null").as_bytes());
    out.extend_from_slice(b",\"error\":{\"code\":");
    if code < 0 {
        out.push(b'-');
    }
    decimal(out, u64::from(code.unsigned_abs()));
    out.extend_from_slice(b",\"message\":");
    write_string(out, message);
    if let Some(data) = data_raw {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data.as_bytes());
    }
    out.extend_from_slice(b"}}");
}

/// The parts of an error that an upstream answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorParts<'a> {
    /// The code; 0 where it is none, or not within 64 bits.
    pub code: i64,
    /// The message; empty where it is no string.
    pub message: Cow<'a, str>,
    /// The raw data.
    pub data: Option<&'a str>,
}

impl<'a> ErrorParts<'a> {
    /// Takes a raw error apart. It is for log lines and decisions: relay the raw error itself.
    ///
    /// # Errors
    ///
    /// [`JsonError`] if it is no object, or has one of its parts twice.
    pub fn parse(raw: &'a str) -> Result<ErrorParts<'a>, JsonError> {
        let parts = pick(raw, ["code", "message", "data"])?;
        let [code, message, data] = parts.map(|place| place.map(|place| place.of_text(raw)));
        Ok(ErrorParts {
            code: code.and_then(|code| code.parse().ok()).unwrap_or(0),
            message: message.and_then(|message| unescape(message).ok()).unwrap_or_default(),
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_read_back_as_they_were() {
        let mut text: String = (0..0x120).filter_map(char::from_u32).collect();
        text.push('\u{1f600}');
        let mut out = Vec::new();
        write_string(&mut out, &text);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn results_and_errors_are_spliced() {
        let mut out = Vec::new();
        result(&mut out, "\"a\"", "{\"x\": 1.0}");
        assert_eq!(out, br#"{"jsonrpc":"2.0","id":"a","result":{"x": 1.0}}"#);
        out.clear();
        error(&mut out, Some("7"), -32601, "no \"x\"", Some("[1]"));
        let wanted =
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no \"x\"","data":[1]}}"#;
        assert_eq!(String::from_utf8(out.clone()).unwrap(), wanted);
        out.clear();
        error(&mut out, None, 5, "", None);
        assert_eq!(out, br#"{"jsonrpc":"2.0","id":null,"error":{"code":5,"message":""}}"#);
    }

    #[test]
    fn errors_come_apart_again() {
        let raw = r#"{"code":-32000,"message":"a\nb","data":{"x":[]},"more":1}"#;
        let parts = ErrorParts::parse(raw).unwrap();
        assert_eq!((parts.code, &*parts.message, parts.data), (-32000, "a\nb", Some("{\"x\":[]}")));
        let parts = ErrorParts::parse(r#"{"code":"x"}"#).unwrap();
        assert_eq!((parts.code, &*parts.message, parts.data), (0, "", None));
        assert!(ErrorParts::parse("\"text\"").is_err());
    }
}
