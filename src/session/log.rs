//! What was sent on a stream, kept for a client that lost its connection and comes back.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use storage::shared::{Bus, State, StateError, Subscription, VALUE_SIZE_MAX};

use crate::limits;

/// Bytes of a message that one item of the shared state takes, at most: the rest is for its head.
const PART_SIZE_MAX: usize = VALUE_SIZE_MAX - 64;

/// The log of one stream: numbered messages in the shared state, the last of which says that it is.
pub struct Log {
    state: State,
    bus: Bus,
    key: String,
    ttl: Duration,
}

/// Who makes the messages of a stream, which are the answer to a request.
#[derive(Serialize, Deserialize)]
struct Maker {
    node: String,
    request_id: String,
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
    /// What is kept of it: as many items as it takes.
    fn write(&self) -> impl Iterator<Item = Vec<u8>> {
        let Entry { number, is_last, message } = self;
        let count = message.len().div_ceil(PART_SIZE_MAX).max(1);
        (0..count).map(move |index| {
            let end = if *is_last { "last" } else { "more" };
            let mut item = format!("{number} {index} {count} {end}\n").into_bytes();
            let rest = &message[index * PART_SIZE_MAX..];
            item.extend_from_slice(&rest[..rest.len().min(PART_SIZE_MAX)]);
            item
        })
    }

    /// Reads the entries that these items are, in their order; one of which items are gone is left out.
    fn read_all(items: &[Vec<u8>]) -> Vec<Entry> {
        let mut entries = Vec::new();
        // The entry that is read, and how many items it has had.
        let mut open: Option<(Entry, usize)> = None;
        for Item { number, index, count, is_last, bytes } in
            items.iter().filter_map(|item| Item::read(item))
        {
            if index == 0 {
                open = Some((Entry { number, is_last, message: Vec::new() }, 0));
            }
            let fits = |(entry, had): &&mut (Entry, usize)| entry.number == number && *had == index;
            let Some((entry, had)) = open.as_mut().filter(fits) else { continue };
            entry.message.extend_from_slice(bytes);
            *had += 1;
            if *had == count {
                entries.extend(open.take().map(|(entry, _)| entry));
            }
        }
        entries
    }
}

/// A part of an entry, as it is kept.
struct Item<'a> {
    number: u64,
    index: usize,
    count: usize,
    is_last: bool,
    bytes: &'a [u8],
}

impl Item<'_> {
    fn read(item: &[u8]) -> Option<Item<'_>> {
        let line_end = memchr::memchr(b'\n', item)?;
        let head = std::str::from_utf8(&item[..line_end]).ok()?;
        let [number, index, count, end] = head.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let (index, count) = (index.parse().ok()?, count.parse().ok()?);
        let bytes = &item[line_end + 1..];
        Some(Item { number: number.parse().ok()?, index, count, is_last: end == "last", bytes })
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

    /// Notes that this node makes the messages, and for which request (its raw id), for who comes back
    /// when it is gone. Without other nodes nobody could.
    ///
    /// # Errors
    ///
    /// [`StateError`] if that was not noted.
    pub async fn sign(&self, request_id: &str) -> Result<(), StateError> {
        if !self.state.is_distributed() {
            return Ok(());
        }
        let node = self.bus.node_id().to_owned();
        let maker = Maker { node, request_id: request_id.to_owned() };
        let maker = serde_json::to_vec(&maker).expect("it is plain texts");
        self.state.set(&self.maker_key(), &maker, self.ttl).await
    }

    /// The raw id of the request that nobody works on any more, since its node is gone.
    ///
    /// # Errors
    ///
    /// [`StateError`] if that is not known.
    pub async fn orphan(&self) -> Result<Option<String>, StateError> {
        let maker = self.state.get(&self.maker_key()).await?;
        let maker = maker.and_then(|text| serde_json::from_slice::<Maker>(&text).ok());
        Ok(match maker {
            Some(maker) if !self.bus.is_alive(&maker.node).await? => Some(maker.request_id),
            _ => None,
        })
    }

    fn maker_key(&self) -> String {
        format!("{}:maker", self.key)
    }

    /// Keeps a message, and tells whoever follows.
    ///
    /// # Errors
    ///
    /// [`StateError`] if it was not kept: whoever comes back for it will not find it.
    pub async fn push(&self, entry: &Entry) -> Result<(), StateError> {
        for item in entry.write() {
            self.state.push(&self.key, &item, limits::LOG_COUNT_MAX, self.ttl).await?;
        }
        // Who follows reads what is kept.
        self.bus.publish(&self.key, entry.number.to_string().as_bytes()).await.map(drop)
    }

    /// The messages behind the one with this number.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the shared state cannot be asked.
    pub async fn after(&self, number: u64) -> Result<Vec<Entry>, StateError> {
        let kept = self.state.range(&self.key, limits::LOG_COUNT_MAX).await?;
        let entries = Entry::read_all(&kept).into_iter();
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

    fn entry(number: u64, size: usize) -> Entry {
        let message = (0..size).map(|at| (at % 251) as u8).collect();
        Entry { number, is_last: number == 4, message }
    }

    #[test]
    fn entries_of_any_size_are_read_as_they_were_written() {
        let sizes = [7, 2 * PART_SIZE_MAX + 1, 0, PART_SIZE_MAX];
        let entries: Vec<_> =
            { sizes.iter().zip(1..) }.map(|(size, at)| entry(at, *size)).collect();
        let items: Vec<_> = entries.iter().flat_map(Entry::write).collect();
        assert!(items.iter().all(|item| item.len() <= VALUE_SIZE_MAX));
        assert_eq!(items.len(), 6);
        assert!(Entry::read_all(&items) == entries);
        // The log keeps only so many items: an entry that has lost one is not there.
        assert!(Entry::read_all(&items[2..]) == entries[2..]);
        // Nor is one that is still being written.
        assert!(Entry::read_all(&items[..3]) == entries[..1]);
        assert!(Entry::read_all(&[b"x 0 1 more\n{}".to_vec(), Vec::new()]).is_empty());
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
