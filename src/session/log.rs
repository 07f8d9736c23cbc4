//! What was sent on a stream, kept for a client that lost its connection and comes back.

use std::time::Duration;

use storage::shared::{Bus, State, StateError, Subscription};

use crate::limits;

/// The log of one stream: numbered messages in the shared state, the last of which says that it is.
pub struct Log {
    state: State,
    bus: Bus,
    key: String,
    ttl: Duration,
}

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u64,
    /// It is the last of its stream.
    pub is_last: bool,
    /// The whole message.
    pub message: Vec<u8>,
}

/// The id of an event: which stream, and which of its messages (2025-11-25, Transports,
/// Resumability: unique within a session, and by itself enough to find the stream).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// The stream.
    pub stream_id: String,
    /// The message; 0 for none yet.
    pub number: u64,
}

impl EventId {
    /// Reads an id; `None` if it is none of a log.
    pub fn parse(text: &str) -> Option<EventId> {
        let (stream_id, number) = text.split_once('/')?;
        let is_ours = stream_id.len() == 32 && stream_id.bytes().all(|b| b.is_ascii_hexdigit());
        let number = number.parse().ok().filter(|_| is_ours)?;
        Some(EventId { stream_id: stream_id.to_owned(), number })
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.stream_id, self.number)
    }
}

impl Entry {
    fn write(&self) -> Vec<u8> {
        let end = if self.is_last { "last" } else { "more" };
        let mut bytes = format!("{} {end}\n", self.number).into_bytes();
        bytes.extend_from_slice(&self.message);
        bytes
    }

    /// Reads what was written.
    pub fn read(bytes: &[u8]) -> Option<Entry> {
        let line_end = memchr::memchr(b'\n', bytes)?;
        let (number, end) = std::str::from_utf8(&bytes[..line_end]).ok()?.split_once(' ')?;
        let message = bytes[line_end + 1..].to_vec();
        Some(Entry { number: number.parse().ok()?, is_last: end == "last", message })
    }
}

impl Log {
    pub(super) fn new(
        state: &State,
        bus: &Bus,
        session: &str,
        stream_id: &str,
        ttl: Duration,
    ) -> Log {
        let key = format!("stream:{session}:{stream_id}");
        Log { state: state.clone(), bus: bus.clone(), key, ttl }
    }

    /// Keeps a message, and tells whoever follows.
    ///
    /// # Errors
    ///
    /// [`StateError`] if it was not kept: whoever comes back for it will not find it.
    pub async fn push(&self, entry: &Entry) -> Result<(), StateError> {
        let bytes = entry.write();
        self.state.push(&self.key, &bytes, limits::LOG_COUNT_MAX, self.ttl).await?;
        self.bus.publish(&self.key, &bytes).await.map(drop)
    }

    /// The messages behind the one with this number.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the shared state cannot be asked.
    pub async fn after(&self, number: u64) -> Result<Vec<Entry>, StateError> {
        let kept = self.state.range(&self.key, limits::LOG_COUNT_MAX).await?;
        let entries = kept.iter().filter_map(|bytes| Entry::read(bytes));
        Ok(entries.filter(|entry| entry.number > number).collect())
    }

    /// Follows what is still to come.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the bus cannot be asked.
    pub async fn follow(&self) -> Result<Subscription, StateError> {
        self.bus.subscribe(&self.key).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let entry = Entry { number: 7, is_last: true, message: b"{\"a\":\"\\n\"}".to_vec() };
        assert_eq!(Entry::read(&entry.write()), Some(entry));
        assert_eq!(Entry::read(b"x more\n{}"), None);
        assert_eq!(Entry::read(b""), None);
    }

    #[test]
    fn the_id_of_an_event_names_its_stream() {
        let id = EventId { stream_id: storage::record::new_id(), number: 3 };
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        for wrong in ["", "7", "abc/1", "0123456789abcdef0123456789abcdef/x"] {
            assert_eq!(EventId::parse(wrong), None, "{wrong}");
        }
    }
}
