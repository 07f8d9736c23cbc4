//! What PostgreSQL's errors mean.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

use crate::error::StoreError;
use crate::write::Refusal;

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(super) struct NoConnection {
    pub reason: String,
    /// Trying again helps only after somebody changed something: a password, a certificate.
    pub is_lasting: bool,
}

impl From<NoConnection> for StoreError {
    fn from(error: NoConnection) -> StoreError {
        StoreError::Away { reason: error.reason }
    }
}

/// Why a connection could not be opened.
pub(super) fn refused(error: &Error) -> NoConnection {
    let is_lasting = match error.as_db_error() {
        // 28: who are you; 3D and 3F: there is no such database or schema; 22 and 42: a parameter
        // that the server does not take.
        Some(error) => ["28", "3D", "3F", "22", "42"].contains(&class(error)),
        None => !broke_off(error),
    };
    NoConnection { reason: say(error), is_lasting }
}

/// The error of a failed statement; nothing was written.
pub(super) fn failed(doing: &'static str, within: Duration, error: &Error) -> StoreError {
    let Some(cause) = error.as_db_error() else {
        return match broke_off(error) {
            true => StoreError::Away { reason: say(error) },
            false => StoreError::Database { doing, reason: say(error) },
        };
    };
    let code = cause.code();
    if *code == SqlState::QUERY_CANCELED {
        return StoreError::TimedOut { doing, within };
    }
    if *code == SqlState::LOCK_NOT_AVAILABLE || class(cause) == "40" {
        return StoreError::Locked { doing };
    }
    if is_of_the_server(cause) {
        return StoreError::Away { reason: say(error) };
    }
    StoreError::Database { doing, reason: say(error) }
}

/// Why a statement of a transaction was refused.
pub(super) fn refusal(within: Duration, error: &Error) -> Refusal {
    match error.as_db_error() {
        Some(cause) if *cause.code() == SqlState::UNIQUE_VIOLATION => {
            Refusal::Unique { index: cause.constraint().unwrap_or_default().to_owned() }
        }
        Some(cause) if *cause.code() == SqlState::FOREIGN_KEY_VIOLATION => Refusal::Dangling,
        _ => Refusal::Other(failed("writing", within, error)),
    }
}

/// Whether nothing more can come of the connection.
pub(super) fn ends_connection(error: &Error) -> bool {
    match error.as_db_error() {
        Some(cause) => is_of_the_server(cause) || is_stale_plan(cause),
        None => true,
    }
}

/// The server, not the statement, is at fault: it stops, starts, is full or takes no writes.
fn is_of_the_server(cause: &DbError) -> bool {
    class(cause) == "08"
        || cause.code().code().starts_with("57P")
        || cause.severity() == "FATAL"
        || [SqlState::TOO_MANY_CONNECTIONS, SqlState::READ_ONLY_SQL_TRANSACTION]
            .contains(cause.code())
}

/// A statement was prepared against tables that were changed since.
fn is_stale_plan(cause: &DbError) -> bool {
    *cause.code() == SqlState::FEATURE_NOT_SUPPORTED
        || *cause.code() == SqlState::INVALID_SQL_STATEMENT_NAME
}

fn class(error: &DbError) -> &str {
    error.code().code().get(..2).unwrap_or_default()
}

/// Whether the connection ended under the request, by whatever fault but one of TLS.
fn broke_off(error: &Error) -> bool {
    if error.is_closed() {
        return true;
    }
    let mut cause = error.source();
    let mut is_of_the_socket = false;
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<std::io::Error>() {
            is_of_the_socket = true;
            // An error of TLS hides in an error of the socket and is not its source.
            if inner.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                return false;
            }
        }
        cause = inner.source();
    }
    is_of_the_socket
}

/// What the database or the system said, without the values that a DETAIL would repeat.
pub(super) fn say(error: &Error) -> String {
    if let Some(cause) = error.as_db_error() {
        return format!("{} ({})", cause.message(), cause.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}
