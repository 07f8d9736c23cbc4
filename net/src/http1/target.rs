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
    let path_size = raw.iter().take_while(|byte| is_target_byte(**byte)).count();
    let query = match raw.get(path_size) {
        None => None,
        Some(b'?') if raw[path_size + 1..].iter().all(|byte| is_query_byte(*byte)) => {
            Some(path_size + 1)
        }
        Some(_) => return Err(HeadError::Target),
    };
    if method == Method::Connect {
        return authority_form(raw, place);
    }
    let query = query.map(|start| Span::new(place.start as usize + start, place.end as usize));
    let path = Span::new(place.start as usize, place.start as usize + path_size);
    match raw.first() {
        Some(b'/') => Ok(Target { authority: None, path, query }),
        Some(b'*') if raw.len() == 1 && method == Method::Options => {
            Ok(Target { authority: None, path, query })
        }
        _ => absolute_form(path.of_bytes(bytes), path, query),
    }
}

/// `http://host:port/path?query`, as a proxy is asked.
#[cold]
fn absolute_form(raw: &[u8], place: Span, query: Option<Span>) -> Result<Target, HeadError> {
    let is_scheme = |scheme: &&&[u8]| {
        raw.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let scheme = schemes.iter().find(is_scheme).ok_or(HeadError::Target)?;
    let rest = &raw[scheme.len()..];
    let size = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    if !is_host(&rest[..size]) {
        return Err(HeadError::Target);
    }
    let start = place.start as usize + scheme.len();
    let authority = Some(Span::new(start, start + size));
    Ok(Target { authority, path: Span::new(start + size, place.end as usize), query })
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

/// Visible ASCII without what RFC 3986 excludes and some readers take for a separator or cut away:
/// `#`, `\`, `<`, `>`, `"`. Braces, bars and carets are excluded too, but common in queries and
/// harmless.
#[inline(always)]
fn is_query_byte(byte: u8) -> bool {
    is_target_byte(byte) || byte == b'?'
}

/// The same without the `?`, which ends a path.
#[inline(always)]
fn is_target_byte(byte: u8) -> bool {
    const ALLOWED: [bool; 256] = {
        let mut allowed = [false; 256];
        let mut byte = b'!';
        while byte <= b'~' {
            allowed[byte as usize] = !matches!(byte, b'#' | b'\\' | b'<' | b'>' | b'"' | b'?');
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
    let is_name_byte =
        |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let size = match value.first() {
        Some(b'[') => match memchr::memchr(b']', value) {
            Some(end) if is_bracketed(&value[..=end]) => end + 1,
            _ => return false,
        },
        _ => value.iter().take_while(is_name_byte).count(),
    };
    let is_port = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    size > 0 && (size == value.len() || (value[size] == b':' && is_port(&value[size + 1..])))
}

/// `[` IPv6 address `]`.
fn is_bracketed(host: &[u8]) -> bool {
    let inner = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    inner
        .and_then(|inner| std::str::from_utf8(inner).ok())
        .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}
