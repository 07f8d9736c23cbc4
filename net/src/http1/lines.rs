//! The lines of a head, request or response: when to look, where they end, what to refuse.

use crate::Span;
use crate::error::HeadError;
use crate::http1::head::HeadLimits;

/// How far an incomplete head was looked at.
///
/// A head is parsed anew only when another of its lines is complete, so a peer that sends byte by
/// byte costs at most one parse per header line.
#[derive(Debug, Default)]
pub(super) struct Progress {
    seen: usize,
}

impl Progress {
    /// Whether `bytes` can hold more than what the last look gave.
    #[inline]
    pub(super) fn is_worth_a_look(&self, bytes: &[u8]) -> bool {
        match bytes.get(self.seen..) {
            Some(new) if self.seen > 0 => memchr::memchr(b'\n', new).is_some(),
            _ => true,
        }
    }

    /// Remembers that `bytes` were not enough, or begins with the next head.
    #[inline]
    pub(super) fn note(&mut self, bytes: &[u8], result: Result<Option<usize>, HeadError>) {
        self.seen = if result == Ok(None) { bytes.len() } else { 0 };
    }
}

/// The place of the first line, without its end and behind empty lines; nothing while it is not
/// complete.
#[inline(always)]
pub(super) fn first(bytes: &[u8]) -> Result<Option<Span>, HeadError> {
    let mut start = 0;
    while bytes[start..].starts_with(b"\r\n") {
        start += 2;
    }
    match bytes.get(start) {
        // Whatever begins with no letter is not HTTP, and needs no more bytes to be refused.
        Some(b'\r') if start + 1 == bytes.len() => return Ok(None),
        Some(byte) if !byte.is_ascii_alphabetic() => return Err(HeadError::FirstLine),
        _ => {}
    }
    // An odd byte there says that this is no HTTP, rather than what is wrong with it.
    let end = text_end(bytes, start).map_err(|error| match error {
        HeadError::FieldValue => HeadError::FirstLine,
        other => other,
    })?;
    Ok(end.map(|end| Span::new(start, end)))
}

/// Whether the blank line is at offset `at`, or may be: no byte of it can be in a field.
#[inline(always)]
pub(super) fn is_blank(bytes: &[u8], at: usize) -> Result<bool, HeadError> {
    match bytes.get(at) {
        None => Ok(true),
        Some(b'\r') => Ok(true),
        Some(b'\n') => Err(HeadError::LineEnd),
        Some(_) => Ok(false),
    }
}

/// The size of a head whose blank line is at offset `at`; nothing while that is not complete.
#[inline(always)]
pub(super) fn size(
    bytes: &[u8],
    at: usize,
    limits: &HeadLimits,
) -> Result<Option<usize>, HeadError> {
    let size = match bytes.get(at..) {
        Some([b'\r', b'\n', ..]) => at + 2,
        Some([b'\r', _, ..]) => return Err(HeadError::LineEnd),
        _ => return Ok(None),
    };
    if size > limits.head_size_max {
        return Err(HeadError::HeadTooLong);
    }
    // The one byte of no text that `text_end` passes over: it is not worth a look at each word.
    if memchr::memchr(0x7f, &bytes[..size]).is_some() {
        return Err(HeadError::FieldValue);
    }
    Ok(Some(size))
}

/// The offset of the CR LF that ends the text at offset `at`; nothing while it has not come.
///
/// A line ends with CR LF and nothing else: the next reader may take a lone LF for an end, or not
/// (RFC 9112 §2.2 lets us choose). Control bytes other than the tab are refused.
#[inline(always)]
pub(super) fn text_end(bytes: &[u8], mut at: usize) -> Result<Option<usize>, HeadError> {
    loop {
        at = next_control(bytes, at);
        match bytes.get(at..) {
            Some([b'\r', b'\n', ..]) => return Ok(Some(at)),
            Some([b'\t', ..]) => at += 1,
            Some([b'\r'] | []) | None => return Ok(None),
            Some([b'\r' | b'\n', ..]) => return Err(HeadError::LineEnd),
            Some(_) => return Err(HeadError::FieldValue),
        }
    }
}

/// The offset of the next byte below the space, or of the end; 8 bytes at a time.
///
/// A borrow can mark bytes behind the first such byte as well, never one before it, so the lowest
/// mark is right.
#[inline(always)]
fn next_control(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        if block.iter().fold(false, |found, byte| found | (*byte < b' ')) {
            break;
        }
        at += 16;
    }
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*word);
        let marks = word.wrapping_sub(ONES * b' ' as u64) & !word & (ONES << 7);
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| *byte >= b' ') {
        at += 1;
    }
    at
}

/// Refuses an incomplete head that cannot come within the limits any more; `line_size_max` is for
/// the first line.
pub(super) fn check_growth(
    bytes: &[u8],
    limits: &HeadLimits,
    line_size_max: usize,
) -> Result<(), HeadError> {
    let line = bytes.trim_ascii_start();
    if line.len() > line_size_max
        && memchr::memchr(b'\n', line).unwrap_or(line.len()) > line_size_max
    {
        return Err(HeadError::TargetTooLong);
    }
    if bytes.len() >= limits.head_size_max {
        return Err(HeadError::HeadTooLong);
    }
    Ok(())
}

/// Says more about a first line that is none: what protocol the peer may have meant.
#[cold]
pub(super) fn explain(error: HeadError, bytes: &[u8]) -> HeadError {
    match error {
        // A TLS record of a handshake begins with 22, 3 (RFC 8446 §5.1).
        HeadError::FirstLine if bytes.starts_with(&[22, 3]) => HeadError::Tls,
        HeadError::FirstLine if bytes.starts_with(b"PRI * HTTP/2") => HeadError::Http2,
        HeadError::FirstLine if names_a_version(bytes) => HeadError::Version,
        other => other,
    }
}

/// Whether a version that we do not speak stands where a request or a response has it.
fn names_a_version(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii_start();
    let line = bytes.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let places = [words.next(), words.nth(1)];
    places.into_iter().flatten().any(|word| {
        let is_ours = matches!(word, b"HTTP/1.1" | b"HTTP/1.0");
        let digit = word.strip_prefix(b"HTTP/").and_then(|rest| rest.first());
        !is_ours && digit.is_some_and(u8::is_ascii_digit)
    })
}
