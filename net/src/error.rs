//! What can be wrong with bytes from the network, one enum per codec.
//!
//! The codecs do not know on which side they stand: a server answers `status()` and the sentence, a
//! client reports that its upstream sent it.

use std::fmt;

use crate::Span;

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

/// Why JSON, or one of its strings, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// The text is not JSON.
    Syntax {
        /// Offset of the byte that does not fit.
        at: usize,
    },
    /// The nesting is deeper than the limit.
    TooDeep {
        /// The limit, in levels.
        depth_max: usize,
    },
    /// A string has half of a surrogate pair, which is no character.
    LoneSurrogate,
    /// A key that decides something stands there twice.
    Duplicate {
        /// The key.
        key: &'static str,
    },
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonError::Syntax { at } => write!(f, "The message is not JSON (byte {at})."),
            JsonError::TooDeep { depth_max } => {
                write!(f, "The message is nested deeper than {depth_max} levels.")
            }
            JsonError::LoneSurrogate => f.write_str("A string has half of a surrogate pair."),
            JsonError::Duplicate { key } => write!(f, "The key \"{key}\" stands there twice."),
        }
    }
}

impl std::error::Error for JsonError {}

/// What is wrong with an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The text is not JSON, or not JSON that we take.
    Json(JsonError),
    /// An array of messages; only the revision 2025-03-26 knows them, and they are split elsewhere.
    Batch,
    /// JSON, but no object.
    NotAnObject,
    /// `jsonrpc` is not "2.0".
    Version,
    /// `method` is missing or no string.
    Method,
    /// `id` is missing where one is needed, or neither a string nor an integer.
    Id,
    /// `id` is longer than the limit, in bytes.
    IdTooLong {
        /// The limit.
        size_max: usize,
    },
    /// `params` is no object.
    Params,
    /// `error` is no object.
    Error,
    /// A request with a result or an error, or a response with both.
    Mixed,
}

/// Why an envelope was refused, and the id to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeError {
    /// What is wrong.
    pub fault: Fault,
    /// Where the id lies, if it is valid; else the answer has `null`.
    pub id: Option<Span>,
}

impl EnvelopeError {
    /// The JSON-RPC code to answer.
    pub fn code(self) -> i32 {
        match self.fault {
            Fault::Json(JsonError::Duplicate { .. } | JsonError::TooDeep { .. }) => -32600,
            Fault::NotUtf8 | Fault::Json(_) => -32700,
            Fault::Params => -32602,
            _ => -32600,
        }
    }
}

impl From<JsonError> for EnvelopeError {
    #[cold]
    fn from(error: JsonError) -> EnvelopeError {
        EnvelopeError { fault: Fault::Json(error), id: None }
    }
}

impl From<Fault> for EnvelopeError {
    #[cold]
    fn from(fault: Fault) -> EnvelopeError {
        EnvelopeError { fault, id: None }
    }
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.fault {
            Fault::NotUtf8 => "The message is not UTF-8.",
            Fault::Json(error) => return error.fmt(f),
            Fault::Batch => "Batches of messages are not taken here.",
            Fault::NotAnObject => "A message must be an object.",
            Fault::Version => "\"jsonrpc\" must be \"2.0\".",
            Fault::Method => "\"method\" must be a string.",
            Fault::Id => "\"id\" must be a string or an integer.",
            Fault::IdTooLong { size_max } => {
                return write!(f, "\"id\" is longer than {size_max} bytes.");
            }
            Fault::Params => "\"params\" must be an object.",
            Fault::Error => "\"error\" must be an object.",
            Fault::Mixed => "A message is either a request or a response.",
        })
    }
}

impl std::error::Error for EnvelopeError {}

/// Why a stream of events was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseError {
    /// A line is longer than the limit, in bytes.
    LineTooLong {
        /// The limit.
        size_max: usize,
    },
    /// The fields of an event are longer than the limit, in bytes.
    EventTooLong {
        /// The limit.
        size_max: usize,
    },
}

impl fmt::Display for SseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SseError::LineTooLong { size_max } => {
                write!(f, "A line of the event stream is longer than {size_max} bytes.")
            }
            SseError::EventTooLong { size_max } => {
                write!(f, "An event is longer than {size_max} bytes.")
            }
        }
    }
}

impl std::error::Error for SseError {}
