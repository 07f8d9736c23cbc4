//! What requests and responses share while their head arrives: when to look, what to refuse.

use httparse::Status;

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
    pub(super) fn is_worth_a_look(&mut self, bytes: &[u8]) -> bool {
        match bytes.get(self.seen..) {
            Some(new) if self.seen > 0 => memchr::memchr(b'\n', new).is_some(),
            _ => true,
        }
    }

    /// Remembers that `bytes` were not enough.
    pub(super) fn wait(&mut self, bytes: &[u8]) {
        self.seen = bytes.len();
    }

    /// Begins with the next head.
    #[inline]
    pub(super) fn reset(&mut self) {
        self.seen = 0;
    }
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

/// Checks the line ends of a complete head that begins at `start` and has `size` bytes: httparse
/// takes a lone LF for a line end, and the next reader may not (RFC 9112 §2.2 lets us choose).
///
/// The ends of the inner lines are checked field by field, in `Fields::push`.
#[inline]
pub(super) fn check_ends(bytes: &[u8], start: usize, size: usize) -> Result<(), HeadError> {
    let is_blank = bytes[..start].chunks(2).all(|pair| pair == b"\r\n");
    if is_blank && bytes[..size].ends_with(b"\r\n\r\n") { Ok(()) } else { Err(HeadError::LineEnd) }
}

/// Translates what httparse says, given what it looked at.
#[cold]
pub(super) fn refusal(error: httparse::Error, bytes: &[u8]) -> HeadError {
    let bytes = bytes.trim_ascii_start();
    match error {
        httparse::Error::HeaderName => HeadError::FieldName,
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::NewLine => HeadError::LineEnd,
        httparse::Error::TooManyHeaders => HeadError::FieldCount,
        // A TLS record of a handshake begins with 22, 3 (RFC 8446 §5.1).
        _ if bytes.starts_with(&[22, 3]) => HeadError::Tls,
        httparse::Error::Version if bytes.starts_with(b"PRI * HTTP/2") => HeadError::Http2,
        httparse::Error::Version if names_a_version(bytes) => HeadError::Version,
        _ => HeadError::FirstLine,
    }
}

/// Whether a version stands where a request or a response has it: then it is one we do not speak.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let places = [words.next(), words.nth(1)];
    places.into_iter().flatten().any(|word| {
        word.strip_prefix(b"HTTP/").and_then(|rest| rest.first()).is_some_and(u8::is_ascii_digit)
    })
}

/// Reads the result of httparse: the size of the head, or nothing while it is incomplete.
#[inline]
pub(super) fn outcome(
    result: httparse::Result<usize>,
    bytes: &[u8],
    limits: &HeadLimits,
    line_size_max: usize,
) -> Result<Option<usize>, HeadError> {
    match result {
        Ok(Status::Complete(size)) if size > limits.head_size_max => Err(HeadError::HeadTooLong),
        Ok(Status::Complete(size)) => Ok(Some(size)),
        Ok(Status::Partial) => check_growth(bytes, limits, line_size_max).map(|()| None),
        Err(error) => Err(refusal(error, bytes)),
    }
}
