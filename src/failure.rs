//! How a request ends badly: one value with a side and the facts, and the one place that turns it
//! into a status, a JSON-RPC code and a sentence.

use std::{fmt, time::Duration};

use storage::StoreError;

/// How a request ends badly.
#[derive(Debug)]
pub enum Failure {
    /// The caller did not prove who it is.
    Unauthorized {
        /// What was wrong, in the contract's words.
        detail: &'static str,
        /// The value of `WWW-Authenticate` (RFC 6750 §3).
        challenge: &'static str,
    },
    /// An address and a password that open nothing. Whoever sent them is not told why.
    LoginFailed {
        /// Why, for the audit trail and the log.
        why: &'static str,
    },
    /// The caller did not prove who it is, or not for all that is needed, and is told how it can.
    Challenged {
        /// 401 or 403.
        status: u16,
        /// What was wrong.
        detail: String,
        /// The value of `WWW-Authenticate`.
        challenge: String,
    },
    /// The caller is known, and may not.
    Forbidden(String),
    /// There is no such thing for this caller.
    NotFound(String),
    /// The path exists, with other methods.
    MethodNotAllowed {
        /// The methods it has, as the `Allow` header lists them.
        allow: &'static str,
    },
    /// The body is of a type that is not understood.
    UnsupportedMediaType {
        /// The type that is expected.
        expected: &'static str,
    },
    /// The request cannot be read at all (status 400).
    Malformed(String),
    /// Fields hold what they must not: each is named.
    Invalid(Vec<FieldError>),
    /// It exists already.
    Conflict(String),
    /// The body is larger than it may be.
    TooLarge {
        /// The bound, in bytes.
        bytes_max: u64,
    },
    /// A bound of the gateway itself is met; trying again later may help.
    Busy(String),
    /// The caller did it too often.
    Limited(Box<Limited>),
    /// The upstream failed.
    Upstream(UpstreamFailure),
    /// The store failed.
    Storage(StoreError),
    /// An error that MCP defines, with its code and the HTTP status it goes with.
    Protocol(ProtocolError),
    /// A bug or a broken machine.
    Internal(String),
}

/// One field that holds what it must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Where it is, outermost first: `["body", "url"]`.
    pub location: Vec<String>,
    /// What is wrong and what would be right.
    pub message: String,
    /// The contract's kind: `missing`, `value_error`, `string_type`.
    pub kind: &'static str,
    /// What was sent there, as JSON text; `None` for secrets and for what was missing.
    pub input: Option<String>,
}

/// A rate that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// What the caller is told.
    pub text: String,
    /// When to come again, in seconds.
    pub retry_after_s: u64,
    /// The fields of the head that tell of the rate.
    pub fields: [(&'static str, String); 2],
}

/// An error that MCP defines.
#[derive(Debug, Clone)]
pub struct ProtocolError {
    /// The HTTP status.
    pub status: u16,
    /// The JSON-RPC code.
    pub code: i32,
    /// The sentence for the caller.
    pub message: String,
    /// `error.data` as raw JSON.
    pub data: Option<String>,
}

/// How an upstream failed.
#[derive(Debug, Clone)]
pub struct UpstreamFailure {
    /// The upstream's name.
    pub upstream: String,
    /// In what way.
    pub kind: UpstreamKind,
    /// What was tried and what came back.
    pub detail: String,
    /// The request may have been executed, so it must not be sent again.
    pub may_have_run: bool,
}

/// In what way an upstream failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamKind {
    /// Its address or command is not allowed here.
    Refused,
    /// No connection, no such host, no such program.
    Unreachable,
    /// It did not answer in time.
    Timeout(Duration),
    /// It broke off before its answer was whole.
    Broken,
    /// It answered what no MCP server may answer.
    Nonsense,
    /// It answered with an HTTP status that is an error.
    Status(u16),
    /// Its session is gone: open a new one.
    SessionLost,
    /// As many calls to it run and wait as may.
    Full,
    /// Its answer is larger than it may be.
    TooLarge,
}

impl Failure {
    /// An upstream's failure.
    pub fn upstream(
        upstream: impl Into<String>,
        kind: UpstreamKind,
        detail: impl Into<String>,
        may_have_run: bool,
    ) -> Failure {
        let (upstream, detail) = (upstream.into(), detail.into());
        Failure::Upstream(UpstreamFailure { upstream, kind, detail, may_have_run })
    }

    /// An error that MCP defines, without data.
    pub fn protocol(status: u16, code: i32, message: impl Into<String>) -> Failure {
        let message = message.into();
        Failure::Protocol(ProtocolError { status, code, message, data: None })
    }

    /// One invalid field of the body.
    pub fn field(name: &str, message: impl Into<String>) -> Failure {
        Failure::Invalid(vec![FieldError::new(name, message)])
    }

    /// Returns what went wrong, for the operator: with more than the caller is told where that must
    /// not know it.
    pub fn reason(&self) -> String {
        match self {
            Failure::LoginFailed { why } => (*why).to_owned(),
            told => told.to_string(),
        }
    }

    /// Returns the HTTP status of a REST answer.
    pub fn status(&self) -> u16 {
        match self {
            Failure::Unauthorized { .. } | Failure::LoginFailed { .. } => 401,
            Failure::Challenged { status, .. } => *status,
            Failure::Forbidden(_) => 403,
            Failure::NotFound(_) => 404,
            Failure::MethodNotAllowed { .. } => 405,
            Failure::UnsupportedMediaType { .. } => 415,
            Failure::Malformed(_) => 400,
            Failure::Invalid(_) => 422,
            Failure::Conflict(_) => 409,
            Failure::TooLarge { .. } => 413,
            Failure::Busy(_) => 503,
            Failure::Limited(_) => 429,
            Failure::Upstream(failure) => failure.status(),
            Failure::Storage(error) => storage_status(error),
            Failure::Protocol(error) => error.status,
            Failure::Internal(_) => 500,
        }
    }

    /// Returns the JSON-RPC code of an answer.
    pub fn code(&self) -> i32 {
        match self {
            Failure::Malformed(_) | Failure::UnsupportedMediaType { .. } => -32600,
            Failure::Invalid(_) | Failure::NotFound(_) => -32602,
            Failure::Unauthorized { .. }
            | Failure::LoginFailed { .. }
            | Failure::Challenged { .. }
            | Failure::Forbidden(_) => -32003,
            Failure::MethodNotAllowed { .. } => -32601,
            Failure::Protocol(error) => error.code,
            Failure::Upstream(_) => -32000,
            Failure::Limited(_) => -32005,
            _ => -32603,
        }
    }

    /// Returns the status of an answer whose body is JSON-RPC: what the MCP layer can say inside
    /// the envelope goes with 200, and only what concerns HTTP or the gateway itself shows outside.
    pub fn rpc_status(&self) -> u16 {
        match self {
            Failure::NotFound(_) | Failure::Invalid(_) | Failure::Upstream(_) => 200,
            other => other.status(),
        }
    }

    /// Returns true if the answer should carry `Retry-After`.
    pub fn retry_after(&self) -> bool {
        matches!(self.status(), 429 | 503)
            || matches!(self, Failure::Upstream(failure) if failure.kind == UpstreamKind::Full)
    }
}

impl FieldError {
    /// An invalid value of one field of the body.
    pub fn new(name: &str, message: impl Into<String>) -> FieldError {
        FieldError {
            location: vec!["body".to_owned(), name.to_owned()],
            message: message.into(),
            kind: "value_error",
            input: None,
        }
    }

    /// A field that is required and was not sent.
    pub fn missing(name: &str) -> FieldError {
        FieldError { kind: "missing", ..FieldError::new(name, "Field required") }
    }
}

impl UpstreamFailure {
    fn status(&self) -> u16 {
        match self.kind {
            UpstreamKind::Timeout(_) => 504,
            UpstreamKind::Refused => 422,
            UpstreamKind::Full | UpstreamKind::Unreachable => 503,
            _ => 502,
        }
    }
}

fn storage_status(error: &StoreError) -> u16 {
    match error {
        StoreError::Conflict { .. } => 409,
        StoreError::NotFound { .. } => 404,
        StoreError::VersionMismatch { .. } => 412,
        _ => 503,
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Storage(error)
    }
}

impl fmt::Display for UpstreamFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UpstreamFailure { upstream, kind, detail, .. } = self;
        match kind {
            UpstreamKind::Refused => write!(f, "Upstream {upstream} is not allowed: {detail}"),
            UpstreamKind::Unreachable => write!(f, "Unable to connect to {upstream}: {detail}"),
            UpstreamKind::Timeout(waited) => {
                // What was left of a limit is rarely a round number.
                let waited = Duration::from_millis((waited.as_micros() as u64 + 500) / 1000);
                write!(f, "Upstream {upstream} did not answer within {waited:?}: {detail}")
            }
            UpstreamKind::Broken => write!(f, "Upstream {upstream} broke off: {detail}"),
            UpstreamKind::Nonsense => {
                write!(f, "Upstream {upstream} answered what is not MCP: {detail}")
            }
            UpstreamKind::Status(status) => {
                write!(f, "Upstream {upstream} answered HTTP {status}: {detail}")
            }
            UpstreamKind::SessionLost => {
                write!(f, "Upstream {upstream} lost its session: {detail}")
            }
            UpstreamKind::Full => write!(f, "Upstream {upstream} is busy: {detail}"),
            UpstreamKind::TooLarge => write!(f, "Answer of upstream {upstream}: {detail}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unauthorized { detail, .. } => f.write_str(detail),
            // One text for all that can be wrong, so that it tells nothing about users.
            Failure::LoginFailed { .. } => f.write_str("Invalid email or password"),
            Failure::Challenged { detail: text, .. }
            | Failure::Forbidden(text)
            | Failure::NotFound(text)
            | Failure::Malformed(text)
            | Failure::Conflict(text)
            | Failure::Busy(text) => f.write_str(text),
            Failure::MethodNotAllowed { allow } => {
                write!(f, "Method Not Allowed; this path takes {allow}")
            }
            Failure::UnsupportedMediaType { expected } => {
                write!(f, "Unsupported Media Type; send {expected}")
            }
            Failure::Invalid(fields) => {
                f.write_str("Validation failed:")?;
                for field in fields {
                    write!(f, " {}: {};", field.location.join("."), field.message)?;
                }
                Ok(())
            }
            Failure::TooLarge { bytes_max } => {
                write!(f, "The body is larger than the {bytes_max} bytes that are allowed")
            }
            Failure::Limited(limited) => f.write_str(&limited.text),
            Failure::Upstream(failure) => failure.fmt(f),
            Failure::Storage(error) => error.fmt(f),
            Failure::Protocol(error) => f.write_str(&error.message),
            // The operator's log has the facts; the caller gets none of the inside.
            Failure::Internal(_) => f.write_str("Internal error"),
        }
    }
}

impl std::error::Error for Failure {}
