//! A stream of events as it comes.

use std::{collections::VecDeque, time::Duration};

use net::{
    client::{Response, Streaming},
    sse::{Decoder, SseLimits},
};

use crate::bridge::MESSAGE_SIZE_MAX;

/// Longest pause that a server may ask for before its stream is resumed.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// An event that has data.
pub(super) struct Event {
    /// It says where messages are posted; else it is a message.
    pub(super) is_endpoint: bool,
    /// Its data.
    pub(super) data: Vec<u8>,
}

/// Where a stream can be resumed, and when.
#[derive(Clone, Default)]
pub(super) struct Mark {
    /// The id of the last event that had one.
    pub(super) id: Option<Vec<u8>>,
    /// The pause that the server asked for.
    pub(super) retry: Option<Duration>,
}

/// The events of one answer.
pub(super) struct Events {
    streaming: Streaming,
    decoder: Decoder,
    arrived: VecDeque<Event>,
    /// Where the stream stands.
    pub(super) mark: Mark,
}

impl Events {
    /// Takes the body of an answer, which may stay open for ever. `mark` is where the stream stood
    /// before.
    pub(super) fn new(response: Response, mark: Mark) -> Result<Events, String> {
        let mut streaming = response.stream(usize::MAX).map_err(|error| error.to_string())?;
        streaming.unbound();
        let limits =
            SseLimits { line_size_max: MESSAGE_SIZE_MAX, event_size_max: MESSAGE_SIZE_MAX };
        Ok(Events { streaming, decoder: Decoder::new(limits), arrived: VecDeque::new(), mark })
    }

    /// Waits for something to come: the next event, or nothing yet but a sign of life. None at the
    /// end. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Option<Event>>, String> {
        if let Some(event) = self.arrived.pop_front() {
            return Ok(Some(Some(event)));
        }
        let Events { streaming, decoder, arrived, mark } = self;
        let mut refused = None;
        let more = streaming.next(|bytes| {
            refused = refused.take().or(take(decoder, bytes, arrived, mark).err());
        });
        let more = more.await.map_err(|error| error.to_string())?;
        match (refused, self.arrived.pop_front()) {
            (Some(error), _) => Err(error),
            (None, None) if !more => Ok(None),
            (None, event) => Ok(Some(event)),
        }
    }

    /// Gives the connection back.
    pub(super) fn finish(self) {
        self.streaming.finish();
    }
}

fn take(
    decoder: &mut Decoder,
    mut bytes: &[u8],
    arrived: &mut VecDeque<Event>,
    mark: &mut Mark,
) -> Result<(), String> {
    while let Some(event) = decoder.next(&mut bytes).map_err(|error| error.to_string())? {
        if let Some(id) = event.id {
            // It goes into a header, where only printable text can stand.
            let is_plain = !id.is_empty() && id.iter().all(|byte| (b' '..=b'~').contains(byte));
            mark.id = is_plain.then(|| id.to_vec());
        }
        if let Some(retry_ms) = event.retry_ms {
            mark.retry = Some(Duration::from_millis(retry_ms).min(RETRY_MAX));
        }
        let is_endpoint = event.name == b"endpoint";
        let is_message = event.name.is_empty() || event.name == b"message";
        // Servers begin their streams with an empty event, which only carries an id.
        if !event.data.is_empty() && (is_endpoint || is_message) {
            arrived.push_back(Event { is_endpoint, data: event.data.to_vec() });
        }
    }
    Ok(())
}
