//! How an exchange ends badly, and how far it had come.

use std::{fmt, time::Duration};

use crate::error::{BodyError, HeadError};

/// How an exchange ends badly.
#[derive(Debug)]
pub struct ClientError {
    /// What happened.
    pub cause: Cause,
    /// How far the exchange had come.
    pub progress: Progress,
}

/// What happened.
#[derive(Debug)]
pub enum Cause {
    /// As many exchanges run and wait as may.
    Full {
        /// Most exchanges that run.
        connection_count_max: usize,
        /// Most exchanges that wait.
        waiting_count_max: usize,
    },
    /// No connection came about; says which addresses were tried and what each answered.
    Connect(String),
    /// Time ran out.
    Timeout {
        /// How much of it there was.
        within: Duration,
    },
    /// The connection ended or failed; says how.
    Broken(String),
    /// The head of the answer is not HTTP/1.1.
    Head(HeadError),
    /// The body of the answer is not as its head announced it.
    Body(BodyError),
    /// The answer is larger than it may be.
    TooLarge {
        /// The bound, in bytes.
        size_max: usize,
    },
}

/// How far an exchange had come: whether the server can have acted on the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not all of the request had been handed to the kernel, so the server cannot have read it
    /// whole: it may be sent again whatever it asks for.
    Unsent,
    /// All of the request was handed over and nothing came back. The server may have acted on it
    /// or not, so only a request that does no harm twice may be sent again (RFC 9110 §9.2.2).
    Silent,
    /// The answer had begun.
    Answering,
}

impl ClientError {
    pub(super) fn new(cause: Cause, progress: Progress) -> ClientError {
        ClientError { cause, progress }
    }

    /// Whether the server may have acted on the request.
    pub fn may_have_run(&self) -> bool {
        self.progress != Progress::Unsent
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Full { connection_count_max, waiting_count_max } => write!(
                f,
                "{connection_count_max} requests run and no turn came; at most \
                 {waiting_count_max} may wait"
            ),
            Cause::Connect(tried) => f.write_str(tried),
            Cause::Timeout { within } => match self.progress {
                Progress::Unsent => write!(f, "the request was not sent within {within:?}"),
                Progress::Silent => write!(f, "no answer within {within:?}"),
                Progress::Answering => write!(f, "the answer was not whole within {within:?}"),
            },
            Cause::Broken(how) => match self.progress {
                Progress::Unsent => write!(f, "the request could not be sent: {how}"),
                Progress::Silent => write!(f, "no answer came: {how}"),
                Progress::Answering => write!(f, "the answer broke off: {how}"),
            },
            Cause::Head(error) => error.fmt(f),
            Cause::Body(error) => error.fmt(f),
            Cause::TooLarge { size_max } => write!(f, "more than the {size_max} bytes allowed"),
        }
    }
}

impl std::error::Error for ClientError {}
