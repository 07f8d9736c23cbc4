//! Log messages of legacy upstreams: from which level on a session is to get them, and whose they are
//! where many requests share a connection.

use std::{cell::Cell, time::Duration};

use net::jsonrpc;

use super::keyed::SessionKey;
use crate::mcp::LEVELS;

/// How long an upstream may take to agree to a level, before it is called without.
pub(super) const WITHIN: Duration = Duration::from_secs(5);

/// Which log messages a client wants while its request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogWish {
    /// The place in [`LEVELS`] of the least level.
    place: usize,
    /// Whether the client named it. Else it is only what it is thought to want.
    is_named: bool,
}

impl LogWish {
    /// The wish of a client that named the level at this place of [`LEVELS`].
    pub fn named(place: usize) -> LogWish {
        LogWish { place: place.min(LEVELS.len() - 1), is_named: true }
    }

    /// What a client is thought to want that never named a level: what is no debugging aid.
    pub fn unnamed() -> LogWish {
        LogWish { place: 1, is_named: false }
    }

    /// Whether the client named it.
    pub(super) fn is_named(self) -> bool {
        self.is_named
    }

    /// The level by name.
    pub fn level(self) -> &'static str {
        LEVELS[self.place]
    }
}

/// Which log messages a session with a legacy upstream was told to give.
///
/// It is told of a level only once a client named one, since until then it decides by itself; and
/// then of the most verbose one that any client is thought to want, for all share the session.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// Whether the upstream can be told.
    can_be_told: bool,
    wanted: Cell<Option<usize>>,
    told: Cell<Option<usize>>,
}

impl Levels {
    /// Those of a new session; `capabilities` is what the upstream said of itself, raw.
    pub(super) fn new(capabilities: Option<&str>) -> Levels {
        let logging =
            capabilities.and_then(|raw| Some((raw, jsonrpc::pick(raw, ["logging"]).ok()?)));
        let can_be_told =
            matches!(logging, Some((raw, [Some(place)])) if place.of_text(raw) != "null");
        Levels { can_be_told, ..Levels::default() }
    }

    /// The same, by the raw result of `initialize`.
    pub(super) fn of_initialize(result: &[u8]) -> Levels {
        let raw = std::str::from_utf8(result).unwrap_or_default();
        let found = jsonrpc::pick(raw, ["capabilities"]).ok().and_then(|[place]| place);
        Levels::new(found.map(|place| place.of_text(raw)))
    }

    /// The params of the `logging/setLevel` that is due before a request with this wish, if one is;
    /// it counts as sent.
    pub(super) fn due(&self, wish: Option<LogWish>) -> Option<String> {
        let wish = wish.filter(|_| self.can_be_told)?;
        let wanted = self.wanted.get().map_or(wish.place, |wanted| wanted.min(wish.place));
        self.wanted.set(Some(wanted));
        let is_due = match self.told.get() {
            Some(told) => wanted < told,
            None => wish.is_named,
        };
        is_due.then(|| {
            self.told.set(Some(wanted));
            format!("{{\"level\":\"{}\"}}", LEVELS[wanted])
        })
    }
}

/// Whether this is a log message.
pub(super) fn is_log(message: &str) -> bool {
    let method = jsonrpc::pick(message, ["method"]).ok().and_then(|[place]| place);
    method.is_some_and(|place| place.of_text(message) == "\"notifications/message\"")
}

/// Whose a log message is on a connection where it does not say for whom the upstream works: that of
/// the client whose request runs, if it can only be one's. `waiting` are the requests during which an
/// upstream works, with their numbers.
pub(super) fn whose<T>(key: &SessionKey, waiting: impl Iterator<Item = (u64, T)>) -> Option<T> {
    let (mut last, mut count) = (None, 0);
    for (number, one) in waiting {
        count += 1;
        if last.as_ref().is_none_or(|(highest, _)| *highest < number) {
            last = Some((number, one));
        }
    }
    last.filter(|_| count == 1 || key.client.is_some()).map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const CAN: Option<&str> = Some(r#"{"logging":{},"tools":{}}"#);

    #[test]
    fn a_level_is_told_when_it_becomes_more_verbose_and_not_again() {
        let levels = Levels::new(CAN);
        let due = |level: &str| {
            let place = LEVELS.iter().position(|known| *known == level).expect("a level");
            levels.due(Some(LogWish::named(place)))
        };
        assert_eq!(due("error").as_deref(), Some(r#"{"level":"error"}"#));
        assert_eq!(due("error"), None);
        assert_eq!(due("alert"), None);
        // Who named none is not to lose by what another named.
        let unnamed = || levels.due(Some(LogWish::unnamed()));
        assert_eq!(unnamed().as_deref(), Some(r#"{"level":"info"}"#));
        assert_eq!(unnamed(), None);
        assert_eq!(due("debug").as_deref(), Some(r#"{"level":"debug"}"#));
        assert_eq!(due("info"), None);
    }

    #[test]
    fn an_upstream_decides_by_itself_until_a_client_names_a_level() {
        let levels = Levels::new(CAN);
        assert_eq!(levels.due(None), None);
        assert_eq!(levels.due(Some(LogWish::unnamed())), None);
        let error = LEVELS.iter().position(|known| *known == "error").expect("a level");
        let told = levels.due(Some(LogWish::named(error)));
        assert_eq!(told.as_deref(), Some(r#"{"level":"info"}"#));
    }

    #[test]
    fn an_upstream_that_does_not_log_is_told_nothing() {
        let result = |capabilities: &str| {
            let raw = format!("{{\"protocolVersion\":\"x\",\"capabilities\":{capabilities}}}");
            Levels::of_initialize(raw.as_bytes())
        };
        for capabilities in ["{}", "null", r#"{"logging":null}"#] {
            assert_eq!(result(capabilities).due(Some(LogWish::named(0))), None, "{capabilities}");
        }
        assert!(result(r#"{"logging":{}}"#).due(Some(LogWish::named(0))).is_some());
        assert_eq!(Levels::of_initialize(b"").due(Some(LogWish::named(0))), None);
    }

    #[test]
    fn a_log_message_goes_to_the_one_whose_it_can_only_be() {
        let key = |client: Option<&str>| SessionKey {
            client: client.map(Arc::from),
            ..SessionKey::default()
        };
        let whose = |client, waiting: &[u64]| {
            super::whose(&key(client), waiting.iter().map(|number| (*number, *number)))
        };
        assert_eq!(whose(None, &[3]), Some(3));
        assert_eq!(whose(None, &[3, 4]), None);
        assert_eq!(whose(None, &[]), None);
        assert_eq!(whose(Some("a@b"), &[3, 9, 4]), Some(9));
    }

    #[test]
    fn tells_a_log_message_from_another() {
        assert!(is_log(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#));
        assert!(!is_log(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#));
    }
}
