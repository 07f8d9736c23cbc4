//! What an error of the client means: for the caller, and for the connection.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::shared::StateError;

/// What an error means.
pub(super) struct Verdict {
    /// What the caller is told.
    pub error: StateError,
    /// The server at the other end is not the one to ask, or the connection is spoilt.
    pub replace: bool,
}

/// Judges an error that came as the answer of a command on `key`.
pub(super) fn judge(error: &RedisError, key: &str) -> Verdict {
    if let ErrorKind::Server(kind) = error.kind()
        && let Some(verdict) = judge_server(kind, error)
    {
        return verdict;
    }
    if error.kind() == ErrorKind::ClusterConnectionNotFound {
        return away(error.to_string(), true);
    }
    if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() {
        return Verdict { error: StateError::Interrupted, replace: true };
    }
    // Scripts wrap the error of a command in a text, each version of Redis in its own way.
    let text = error.to_string();
    let says = |part: &str| text.contains(part);
    let error = if says("WRONGTYPE") || says("not an integer") || says("would overflow") {
        StateError::WrongKind { key: key.to_owned() }
    } else if says("OOM") {
        StateError::Full { what: "the memory of Redis" }
    } else if says("READONLY") {
        return away(text, true);
    } else {
        StateError::Refused { reason: text }
    };
    Verdict { error, replace: false }
}

fn judge_server(kind: ServerErrorKind, error: &RedisError) -> Option<Verdict> {
    match kind {
        // It was demoted, or lost its primary: another one is to be found.
        ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown => {
            Some(away(error.to_string(), true))
        }
        ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown => {
            Some(away(error.to_string(), false))
        }
        _ => None,
    }
}

fn away(reason: String, replace: bool) -> Verdict {
    Verdict { error: StateError::Away { reason }, replace }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(line: &str) -> Verdict {
        let mut parser = redis::Parser::new();
        let value = parser.parse_value(line.as_bytes()).unwrap();
        judge(&value.extract_error().unwrap_err(), "k")
    }

    #[test]
    fn a_command_on_another_kind_is_told_from_a_refusal() {
        let wrong_kind = StateError::WrongKind { key: "k".to_owned() };
        for line in [
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
            "-ERR Error running script (call to f_1): @user_script:1: WRONGTYPE Operation\r\n",
            "-ERR value is not an integer or out of range\r\n",
            "-ERR increment or decrement would overflow\r\n",
        ] {
            let verdict = server(line);
            assert_eq!((verdict.error, verdict.replace), (wrong_kind.clone(), false), "{line}");
        }
        let refused = server("-NOPERM this user has no permissions\r\n");
        assert!(matches!(refused.error, StateError::Refused { .. }) && !refused.replace);
        let full = server("-OOM command not allowed when used memory > 'maxmemory'.\r\n");
        assert!(matches!(full.error, StateError::Full { .. }) && !full.replace);
    }

    #[test]
    fn a_server_that_was_demoted_is_left_and_one_that_loads_is_not() {
        let demoted = server("-READONLY You can't write against a read only replica.\r\n");
        assert!(matches!(demoted.error, StateError::Away { .. }) && demoted.replace);
        let loading = server("-LOADING Redis is loading the dataset in memory\r\n");
        assert!(matches!(loading.error, StateError::Away { .. }) && !loading.replace);
    }

    #[test]
    fn a_broken_connection_leaves_open_what_happened() {
        let broken = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let verdict = judge(&broken, "k");
        assert_eq!((verdict.error, verdict.replace), (StateError::Interrupted, true));
    }
}
