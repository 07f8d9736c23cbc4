//! What can be wrong with bytes from the network, one enum per codec.
//!
//! The codecs do not know on which side they stand: a server answers `status()` and the sentence, a
//! client reports that its upstream sent it.

use std::fmt;

/// Why the head of a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The first line is neither a request line nor a status line.
    FirstLine,
    /// The peer began a TLS handshake on a port that speaks plain HTTP.
    Tls,
    /// The peer speaks HTTP/2.
    Http2,
    /// A version other than 1.0 and 1.1.
    Version,
    /// A line ended without CR, or a CR stood alone.
    LineEnd,
    /// A name with a byte that names cannot have, white space before the colon, or a folded line.
    FieldName,
    /// A value with a control byte.
    FieldValue,
    /// The request target has none of the four forms, or one that its method cannot have.
    Target,
    /// `Host` is missing, given twice or no host.
    Host,
    /// `Content-Length` is no plain number, or stands there twice.
    ContentLength,
    /// `Content-Length` and `Transfer-Encoding` together.
    LengthAndEncoding,
    /// `Transfer-Encoding` where `chunked` is not the last and only one of its kind.
    TransferEncoding,
    /// A transfer coding that we do not know.
    EncodingUnknown,
    /// The request target is longer than the limit.
    TargetTooLong,
    /// One field is longer than the limit.
    FieldTooLong,
    /// More fields than the limit.
    FieldCount,
    /// The whole head is longer than the limit.
    HeadTooLong,
}

impl HeadError {
    /// The HTTP status that a server answers.
    pub fn status(self) -> u16 {
        match self {
            HeadError::TargetTooLong => 414,
            HeadError::FieldTooLong | HeadError::FieldCount | HeadError::HeadTooLong => 431,
            HeadError::EncodingUnknown => 501,
            HeadError::Http2 | HeadError::Version => 505,
            _ => 400,
        }
    }

    /// The sentence for the peer.
    pub fn message(self) -> &'static str {
        match self {
            HeadError::FirstLine => "The first line is not HTTP/1.1.",
            HeadError::Tls => "This port speaks plain HTTP, and a TLS handshake arrived.",
            HeadError::Http2 => "HTTP/2 without TLS is not spoken here; use HTTP/1.1.",
            HeadError::Version => "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
            HeadError::LineEnd => "Lines of the head must end with CR LF.",
            HeadError::FieldName => "A header name is malformed.",
            HeadError::FieldValue => "A header value has a control character.",
            HeadError::Target => "The request target is malformed.",
            HeadError::Host => "Exactly one valid Host header is needed.",
            HeadError::ContentLength => "Content-Length must be one plain number.",
            HeadError::LengthAndEncoding => {
                "Content-Length and Transfer-Encoding exclude each other."
            }
            HeadError::TransferEncoding => "Transfer-Encoding must be chunked, once and last.",
            HeadError::EncodingUnknown => "The only transfer coding known here is chunked.",
            HeadError::TargetTooLong => "The request target is too long.",
            HeadError::FieldTooLong => "A header is too long.",
            HeadError::FieldCount => "There are too many headers.",
            HeadError::HeadTooLong => "The headers together are too long.",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for HeadError {}

/// Why a body was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The body is longer than the limit, in bytes.
    TooLarge {
        /// The limit.
        size_max: u64,
    },
    /// A chunk size that is no hexadecimal number, or too long a one.
    ChunkSize,
    /// A chunk, its extension or a trailer line does not end with CR LF.
    ChunkEnd,
    /// Chunk extensions beyond the limit.
    ExtensionTooLong,
    /// Trailers beyond the limit.
    TrailerTooLong,
}

impl BodyError {
    /// The HTTP status that a server answers.
    pub fn status(self) -> u16 {
        match self {
            BodyError::TooLarge { .. } => 413,
            _ => 400,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::TooLarge { size_max } => {
                write!(f, "The body is longer than {size_max} bytes.")
            }
            BodyError::ChunkSize => f.write_str("A chunk size is malformed."),
            BodyError::ChunkEnd => f.write_str("A chunk does not end with CR LF."),
            BodyError::ExtensionTooLong => f.write_str("The chunk extensions are too long."),
            BodyError::TrailerTooLong => f.write_str("The trailers are too long."),
        }
    }
}

impl std::error::Error for BodyError {}
