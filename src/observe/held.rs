//! What the gateway holds open for clients and upstreams: how many of each kind there are now, and how
//! often one was refused because there were as many as may be.
//!
//! The counts are the process's, so that who reads them has to ask no shard. They change when a
//! stream, a session or a wait begins and ends, never for a request that is answered at once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::{Map, Value, json};

/// What is held, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A session of a client that shook hands, as a shard knows it.
    Session,
    /// The stream that GET opens for such a session.
    GetStream,
    /// The stream of a client of the stateless revision that listens.
    Listen,
    /// A conversation by HTTP+SSE.
    Sse,
    /// A conversation by WebSocket.
    WebSocket,
    /// An answer of an upstream that streams, wherever it goes.
    StreamedAnswer,
    /// A question that waits for a client's answer.
    Question,
    /// A call that waits for its client to come back.
    ParkedCall,
    /// A session with an upstream that has a handshake, over HTTP.
    UpstreamSession,
    /// The stream of such a session that belongs to no request.
    UpstreamStream,
    /// A child process that is an upstream.
    Child,
    /// An upstream that is listened to, for what it says by itself.
    Watch,
}

/// Every kind, and what it is called where the counts are shown.
pub const KINDS: [(Kind, &str); 12] = [
    (Kind::Session, "sessions"),
    (Kind::GetStream, "getStreams"),
    (Kind::Listen, "listens"),
    (Kind::Sse, "sseConversations"),
    (Kind::WebSocket, "webSocketConversations"),
    (Kind::StreamedAnswer, "streamedAnswers"),
    (Kind::Question, "questions"),
    (Kind::ParkedCall, "parkedCalls"),
    (Kind::UpstreamSession, "upstreamSessions"),
    (Kind::UpstreamStream, "upstreamStreams"),
    (Kind::Child, "children"),
    (Kind::Watch, "watches"),
];

const _: () = {
    // Counts stand where their kinds do.
    let mut place = 0;
    while place < KINDS.len() {
        assert!(KINDS[place].0 as usize == place);
        place += 1;
    }
};

static COUNTS: [Count; KINDS.len()] = [const { Count::new() }; KINDS.len()];

struct Count {
    open: AtomicU64,
    refused: AtomicU64,
}

/// Something that is held while this lives.
#[derive(Debug)]
pub struct Hold(Kind);

impl Kind {
    /// Counts one more, until what is returned is dropped.
    pub fn hold(self) -> Hold {
        self.count().open.fetch_add(1, Relaxed);
        Hold(self)
    }

    /// Counts that one was refused, since there were as many as may be.
    pub fn refuse(self) {
        self.count().refused.fetch_add(1, Relaxed);
    }

    fn count(self) -> &'static Count {
        &COUNTS[self as usize]
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.count().open.fetch_sub(1, Relaxed);
    }
}

impl Count {
    const fn new() -> Count {
        Count { open: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }
}

/// Every count of this process by its name: what is `open` now, and what was `refused` since the start.
pub fn show() -> Value {
    let shown = KINDS.iter().zip(&COUNTS).map(|((_, name), count)| {
        let (open, refused) = (count.open.load(Relaxed), count.refused.load(Relaxed));
        ((*name).to_owned(), json!({ "open": open, "refused": refused }))
    });
    Value::Object(shown.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_dropped_and_what_is_refused_for_good() {
        // No other test of this process refuses one.
        let before = show()["webSocketConversations"].clone();
        let hold = Kind::WebSocket.hold();
        Kind::WebSocket.refuse();
        let count = |which: &str| {
            let now = show()["webSocketConversations"][which].as_u64();
            now.zip(before[which].as_u64()).map(|(now, before)| now - before)
        };
        assert_eq!((count("open"), count("refused")), (Some(1), Some(1)));
        drop(hold);
        assert_eq!((count("open"), count("refused")), (Some(0), Some(1)));
    }
}
