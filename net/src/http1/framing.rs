//! How long a body is: the rules against smuggling (RFC 9112 §6, §11.2).

use crate::error::HeadError;
use crate::http1::fields::{Field, tag};

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// The body has this many bytes.
    Length(u64),
    /// The body comes in chunks.
    Chunked,
    /// The body ends with the connection; only responses may.
    UntilClose,
}

/// What the fields of a head say about the body and the connection, gathered while they pass.
#[derive(Debug, Default)]
pub(super) struct Hints {
    length: Option<u64>,
    has_encoding: bool,
    is_chunked: bool,
    has_unknown_coding: bool,
    pub(super) has_close: bool,
    pub(super) has_keep_alive: bool,
    pub(super) has_continue: bool,
}

impl Hints {
    /// Takes note of a field, if it is one that rules body or connection.
    #[inline(always)]
    pub(super) fn note(&mut self, field: &Field<'_>, bytes: &[u8]) -> Result<(), HeadError> {
        const EXPECT: u32 = tag(b"expect");
        const CONNECTION: u32 = tag(b"connection");
        const LENGTH: u32 = tag(b"content-length");
        const ENCODING: u32 = tag(b"transfer-encoding");
        match field.tag {
            CONNECTION if field.is(b"connection") => {
                self.note_connection(field.value.of_bytes(bytes));
            }
            LENGTH if field.is(b"content-length") => {
                self.note_length(field.value.of_bytes(bytes))?;
            }
            ENCODING if field.is(b"transfer-encoding") => {
                self.note_encoding(field.value.of_bytes(bytes))?;
            }
            EXPECT if field.is(b"expect") => {
                let value = field.value.of_bytes(bytes);
                self.has_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            _ => {}
        }
        Ok(())
    }

    /// One plain number, once. RFC 9112 §6.3 would let equal copies and lists of equal numbers
    /// pass; refusing them costs no honest client and leaves nothing to read in two ways.
    fn note_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let number = decimal(value).ok_or(HeadError::ContentLength)?;
        match self.length.replace(number) {
            None => Ok(()),
            Some(_) => Err(HeadError::ContentLength),
        }
    }

    /// Codings may stand in several fields, so their order is followed across them.
    fn note_encoding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        self.has_encoding = true;
        for coding in value.split(|byte| *byte == b',') {
            let coding = coding.trim_ascii();
            if self.is_chunked || coding.is_empty() {
                return Err(HeadError::TransferEncoding);
            }
            let token = coding.split(|byte| *byte == b';').next().unwrap_or_default();
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.is_chunked = true;
            } else if token.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                // chunked takes no parameters (RFC 9112 §7.1).
                return Err(HeadError::TransferEncoding);
            } else {
                self.has_unknown_coding = true;
            }
        }
        Ok(())
    }

    #[inline]
    fn note_connection(&mut self, value: &[u8]) {
        // What nearly all clients send.
        if value == b"keep-alive" {
            self.has_keep_alive = true;
            return;
        }
        for option in value.split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            self.has_close |= option.eq_ignore_ascii_case(b"close");
            self.has_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Concludes how the body is framed; nothing said gives `Framing::None`.
    #[inline]
    pub(super) fn framing(&self, is_http_1_1: bool) -> Result<Framing, HeadError> {
        if !self.has_encoding {
            return Ok(self.length.map_or(Framing::None, Framing::Length));
        }
        if self.length.is_some() {
            return Err(HeadError::LengthAndEncoding);
        }
        if self.has_unknown_coding {
            return Err(HeadError::EncodingUnknown);
        }
        // A 1.0 reader in between would not have understood the chunks (RFC 9112 §6.1).
        if !is_http_1_1 {
            return Err(HeadError::TransferEncoding);
        }
        Ok(Framing::Chunked)
    }

    /// Whether the connection stays open after this message (RFC 9112 §9.3).
    #[inline]
    pub(super) fn keep_alive(&self, is_http_1_1: bool) -> bool {
        !self.has_close && (is_http_1_1 || self.has_keep_alive)
    }
}

/// Reads digits and nothing else; none if there are none or too many for 64 bits.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
