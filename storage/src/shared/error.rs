//! How shared state fails: whose fault, and the facts.

use std::{fmt, time::Duration};

use crate::error::Side;

/// How a request to [`State`](super::State) or [`Bus`](super::Bus) ends badly.
///
/// None of the variants holds an address with a password, a key's value or a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateError {
    /// A key, value, message or count is over its bound. Nothing was sent.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size or count.
        size: usize,
        /// The bound.
        size_max: usize,
    },
    /// The key holds another kind of value than the request is for. Nothing was changed.
    WrongKind {
        /// The key, without the prefix.
        key: String,
    },
    /// There is no room for more entries or bytes. Nothing was written.
    Full {
        /// What is full.
        what: &'static str,
    },
    /// As many commands are in flight as may be. Nothing was sent: answer 503, try again later.
    Busy {
        /// How many may be in flight on a shard.
        count_max: usize,
    },
    /// No answer came in time; a write may or may not have happened.
    TimedOut {
        /// How long was waited.
        waited: Duration,
    },
    /// The server is away. Nothing was sent; the next probe may find it.
    Away {
        /// What the last attempt to reach it said.
        reason: String,
    },
    /// The connection broke while the command was in flight; a write may or may not have happened.
    Interrupted,
    /// The server refused the command.
    Refused {
        /// What it said.
        reason: String,
    },
    /// The answer is not what the command answers: another program writes under our prefix.
    Corrupt {
        /// What was being done.
        doing: &'static str,
    },
    /// The settings do not work.
    Settings {
        /// What is wrong. Never holds the address, which may hold a password.
        reason: String,
    },
}

impl StateError {
    /// Where the cause lies.
    pub fn side(&self) -> Side {
        match self {
            StateError::TooLarge { .. } => Side::Caller,
            StateError::Settings { .. } => Side::Settings,
            StateError::WrongKind { .. } | StateError::Corrupt { .. } => Side::Ourselves,
            StateError::Full { .. }
            | StateError::Busy { .. }
            | StateError::TimedOut { .. }
            | StateError::Away { .. }
            | StateError::Interrupted
            | StateError::Refused { .. } => Side::Storage,
        }
    }

    /// Whether the same request may succeed a little later, unchanged.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            StateError::Busy { .. }
                | StateError::TimedOut { .. }
                | StateError::Away { .. }
                | StateError::Interrupted
        )
    }

    /// Whether the request surely changed nothing, so that it can be sent again without asking.
    pub fn changed_nothing(&self) -> bool {
        !matches!(self, StateError::TimedOut { .. } | StateError::Interrupted)
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::TooLarge { what, size, size_max } => {
                write!(out, "{what} of {size} is over the bound of {size_max}")
            }
            StateError::WrongKind { key } => {
                write!(out, "{key:?} holds another kind of value than was asked for")
            }
            StateError::Full { what } => write!(out, "{what} is full"),
            StateError::Busy { count_max } => {
                write!(out, "Redis is busy: {count_max} commands are in flight already")
            }
            StateError::TimedOut { waited } => write!(out, "Redis gave no answer in {waited:?}"),
            StateError::Away { reason } => write!(out, "Redis is away: {reason}"),
            StateError::Interrupted => out.write_str("the connection to Redis broke"),
            StateError::Refused { reason } => write!(out, "Redis refused: {reason}"),
            StateError::Corrupt { doing } => write!(
                out,
                "Redis answered what it should not while {doing}: something else may write under \
                 the same CACHE_PREFIX"
            ),
            StateError::Settings { reason } => write!(out, "REDIS_URL {reason}"),
        }
    }
}

impl std::error::Error for StateError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_may_have_changed_something() {
        let waited = Duration::from_secs(1);
        assert!(!StateError::TimedOut { waited }.changed_nothing());
        assert!(!StateError::Interrupted.changed_nothing());
        assert!(StateError::Busy { count_max: 1 }.changed_nothing());
        assert!(StateError::Away { reason: String::new() }.changed_nothing());
    }

    #[test]
    fn a_server_that_is_away_is_worth_another_try_and_a_refusal_is_not() {
        assert!(StateError::Away { reason: String::new() }.is_transient());
        assert!(!StateError::Refused { reason: String::new() }.is_transient());
        assert_eq!(StateError::Interrupted.side(), Side::Storage);
    }
}
