//! The request target and the host: their forms and what they may hold (RFC 9112 §3.2).

use crate::Span;
use crate::error::HeadError;
use crate::http1::head::Method;

/// A request target, taken apart. Spans are places in the head's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// The authority of an absolute-form or authority-form; it overrides `Host`.
    pub(super) authority: Option<Span>,
    /// The path; empty stands for `/`, or for none in authority-form.
    pub(super) path: Span,
    /// What follows the first `?`.
    pub(super) query: Option<Span>,
}

/// Takes the target apart that lies at `place` of `bytes`.
#[inline]
pub(super) fn parse(bytes: &[u8], place: Span, method: Method) -> Result<Target, HeadError> {
    let raw = place.of_bytes(bytes);
    if !raw.iter().all(|byte| is_target_byte(*byte)) {
        return Err(HeadError::Target);
    }
    if method == Method::Connect {
        return authority_form(raw, place);
    }
    match raw.first() {
        Some(b'/') => Ok(split_query(raw, place.start as usize, None)),
        Some(b'*') if raw.len() == 1 && method == Method::Options => {
            Ok(Target { path: place, ..Target::default() })
        }
        _ => absolute_form(raw, place),
    }
}

/// `http://host:port/path?query`, as a proxy is asked.
#[cold]
fn absolute_form(raw: &[u8], place: Span) -> Result<Target, HeadError> {
    let scheme_size = [&b"http://"[..], b"https://"]
        .iter()
        .find(|scheme| {
            raw.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .map(|scheme| scheme.len())
        .ok_or(HeadError::Target)?;
    let rest = &raw[scheme_size..];
    let size = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    if !is_host(&rest[..size]) {
        return Err(HeadError::Target);
    }
    let start = place.start as usize + scheme_size;
    Ok(split_query(&rest[size..], start + size, Some(Span::new(start, start + size))))
}

/// `host:port`, for CONNECT alone; the port is not optional there (RFC 9112 §3.2.3).
#[cold]
fn authority_form(raw: &[u8], place: Span) -> Result<Target, HeadError> {
    let has_port = raw.last().is_some_and(u8::is_ascii_digit) && raw.contains(&b':');
    if !has_port || !is_host(raw) {
        return Err(HeadError::Target);
    }
    let end = place.end as usize;
    Ok(Target { authority: Some(place), path: Span::new(end, end), query: None })
}

/// Splits `rest`, which begins at offset `start`, at its first `?`.
#[inline]
fn split_query(rest: &[u8], start: usize, authority: Option<Span>) -> Target {
    let end = start + rest.len();
    match rest.iter().position(|byte| *byte == b'?') {
        None => Target { authority, path: Span::new(start, end), query: None },
        Some(at) => Target {
            authority,
            path: Span::new(start, start + at),
            query: Some(Span::new(start + at + 1, end)),
        },
    }
}

/// Visible ASCII without what RFC 3986 excludes and some readers take for a separator or cut away:
/// `#`, `\`, `<`, `>`, `"`. Braces, bars and carets are excluded too, but common in queries and
/// harmless.
#[inline]
fn is_target_byte(byte: u8) -> bool {
    const ALLOWED: [bool; 256] = {
        let mut allowed = [false; 256];
        let mut byte = b'!';
        while byte <= b'~' {
            allowed[byte as usize] = !matches!(byte, b'#' | b'\\' | b'<' | b'>' | b'"');
            byte += 1;
        }
        allowed
    };
    ALLOWED[byte as usize]
}

/// Whether `value` is a host with or without a port: a name of letters, digits, `-`, `.`, `_`, or
/// an IP address. An empty host is refused, since no http URI may have one (RFC 9110 §4.2.1).
#[inline]
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, port) = split_port(value);
    let is_port = port.iter().all(u8::is_ascii_digit) && port.len() <= 5;
    is_port && (is_name(host) || is_bracketed(host))
}

/// Splits behind the host; a port that is not there and an empty one are alike.
fn split_port(value: &[u8]) -> (&[u8], &[u8]) {
    let from = if value.first() == Some(&b'[') {
        value.iter().position(|byte| *byte == b']').unwrap_or(0)
    } else {
        0
    };
    match value[from..].iter().position(|byte| *byte == b':') {
        Some(at) => (&value[..from + at], &value[from + at + 1..]),
        None => (value, b""),
    }
}

fn is_name(host: &[u8]) -> bool {
    !host.is_empty()
        && host
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// `[` IPv6 address `]`.
fn is_bracketed(host: &[u8]) -> bool {
    let inner = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    inner
        .and_then(|inner| std::str::from_utf8(inner).ok())
        .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}
