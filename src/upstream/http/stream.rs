//! An answer as a stream of events: notifications, requests of the upstream, and at the end the
//! reply.

use std::{collections::VecDeque, pin::Pin, rc::Rc};

use net::{
    client::{Response, Streaming},
    jsonrpc,
    sse::{Decoder, SseLimits},
};

use super::{
    Call, Cancel, Session, Shared,
    answer::{Message, settle},
};
use crate::{
    failure::{Failure, UpstreamKind},
    mcp::Capabilities,
    upstream::{Answer, Event, EventSource, Question, Reply, Stream},
};

/// Reads the events of one answer.
pub(super) struct Reader {
    shared: Rc<Shared>,
    session: Option<Rc<Session>>,
    id: u64,
    /// The client's own progress token, where the upstream saw our id in its place.
    token: Option<Vec<u8>>,
    /// None once the reply was read.
    streaming: Option<Streaming>,
    decoder: Decoder,
    /// Messages that arrived and were not looked at yet.
    arrived: VecDeque<Vec<u8>>,
    /// What was read to find out that this is a stream.
    first: Option<Event>,
    cancel: Option<Cancel>,
    /// What the client can be asked.
    capabilities: Capabilities,
}

impl Reader {
    /// Begins to read `response`, the answer to `call`.
    pub(super) fn new(
        shared: &Rc<Shared>,
        session: Option<Rc<Session>>,
        call: &Call<'_>,
        response: Response,
        cancel: Option<Cancel>,
    ) -> Result<Reader, Failure> {
        let wire = &shared.wire;
        // Only a single message is bounded; how many there are is a matter of time.
        let streaming = response.stream(usize::MAX).map_err(|error| wire.broken(&error))?;
        let size_max = wire.limits.answer_size_max;
        let limits = SseLimits { line_size_max: size_max, event_size_max: size_max };
        Ok(Reader {
            shared: shared.clone(),
            session,
            id: call.id(),
            token: call.token(),
            streaming: Some(streaming),
            decoder: Decoder::new(limits),
            arrived: VecDeque::new(),
            first: None,
            cancel,
            capabilities: call.capabilities(),
        })
    }

    /// Waits for the first message: mostly it is the reply, and the answer no stream at all.
    pub(super) async fn begin(mut self) -> Result<Answer, Failure> {
        match self.read().await? {
            Event::Reply(reply) => Ok(Answer::Whole(reply)),
            notification => {
                self.first = Some(notification);
                Ok(Answer::Stream(Stream::new(Box::new(self))))
            }
        }
    }

    async fn read(&mut self) -> Result<Event, Failure> {
        let outcome = self.read_event().await;
        if outcome.is_err() {
            self.streaming = None;
            self.arrived.clear();
        }
        outcome
    }

    async fn read_event(&mut self) -> Result<Event, Failure> {
        loop {
            while let Some(message) = self.arrived.pop_front() {
                if let Some(event) = self.take(message)? {
                    return Ok(event);
                }
            }
            if !self.receive().await? && self.arrived.is_empty() {
                let detail = "the stream ended before the answer";
                self.disarm();
                return Err(self.shared.wire.failure(UpstreamKind::Broken, detail, true));
            }
        }
    }

    /// Reads once and keeps the messages that are whole; returns false at the end.
    async fn receive(&mut self) -> Result<bool, Failure> {
        let Reader { shared, streaming, decoder, arrived, .. } = self;
        let Some(streaming) = streaming else {
            return Err(shared.wire.failure(UpstreamKind::Broken, "the stream has ended", true));
        };
        let mut refused = None;
        let more = streaming.next(|bytes| {
            if let Err(error) = decode(decoder, bytes, arrived) {
                refused = Some(error);
            }
        });
        let more = more.await.map_err(|error| shared.wire.broken(&error))?;
        match refused {
            Some(error) => {
                Err(shared.wire.failure(UpstreamKind::TooLarge, error.to_string(), true))
            }
            None => Ok(more),
        }
    }

    /// Says what a message means for who waits; nothing if it is for us alone.
    fn take(&mut self, message: Vec<u8>) -> Result<Option<Event>, Failure> {
        match self.shared.wire.message(&message)? {
            Message::Reply { id, outcome, span } => {
                if let Some(id) = id.filter(|id| *id != self.id) {
                    return Err(self.shared.wire.wrong_id(&id.to_string()));
                }
                self.disarm();
                if let Some(streaming) = self.streaming.take() {
                    streaming.finish();
                }
                let reply = settle(&self.shared.wire, Reply { bytes: message, span, outcome })?;
                Ok(Some(Event::Reply(reply)))
            }
            Message::Notification => {
                Ok(restore_token(message, self.id, self.token.as_deref()).map(Event::Notification))
            }
            // The modern era knows no requests of a server.
            Message::Request { id, method, params } => Ok(self.ask(id, method, params)),
        }
    }

    /// A question for the client, if it can be asked; pings are for us, and the rest is refused.
    fn ask(&mut self, id: String, method: String, params: Option<String>) -> Option<Event> {
        let session = self.session.clone()?;
        let can_be_asked = self.capabilities.allow(&method, params.as_deref().unwrap_or("{}"));
        if method == "ping" || !can_be_asked {
            self.shared.answer(&session, &id, method == "ping");
            return None;
        }
        // Who is asked decides how long it takes; what comes after it is the tool's time again.
        if let Some(streaming) = &mut self.streaming {
            streaming.extend(self.shared.wire.limits.answer_within);
        }
        let shared = self.shared.clone();
        let reply = move |message| shared.run_errand(&session, message);
        Some(Event::Question(Question::new(method, params.as_deref(), id, reply)))
    }

    fn disarm(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel.disarm();
        }
    }
}

impl EventSource for Reader {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Event, Failure>> + '_>> {
        Box::pin(async move {
            match self.first.take() {
                Some(event) => Ok(event),
                None => self.read().await,
            }
        })
    }
}

/// Feeds the decoder and keeps the data of every event that has some: servers begin their streams
/// with an empty one.
pub(in crate::upstream) fn decode(
    decoder: &mut Decoder,
    mut bytes: &[u8],
    arrived: &mut VecDeque<Vec<u8>>,
) -> Result<(), net::error::SseError> {
    while let Some(event) = decoder.next(&mut bytes)? {
        let is_message = event.name.is_empty() || event.name == b"message";
        if is_message && !event.data.is_empty() {
            let mut message = shards::buffer::take();
            message.extend_from_slice(event.data);
            arrived.push_back(message);
        }
    }
    Ok(())
}

/// Puts the client's progress token back where the upstream used `ours`. Progress for another
/// token is for nobody.
pub(in crate::upstream) fn restore_token(
    message: Vec<u8>,
    ours: u64,
    token: Option<&[u8]>,
) -> Option<Vec<u8>> {
    let place = progress_token(&message);
    match (place, token) {
        (None, _) | (_, None) => Some(message),
        (Some((place, id)), Some(token)) if id == Some(ours) => {
            let mut restored = Vec::with_capacity(message.len() + token.len());
            restored.extend_from_slice(&message[..place.start]);
            restored.extend_from_slice(token);
            restored.extend_from_slice(&message[place.end..]);
            Some(restored)
        }
        _ => None,
    }
}

/// Where the progress token of a notification lies, and which number it is.
pub(in crate::upstream) fn progress_token(
    message: &[u8],
) -> Option<(std::ops::Range<usize>, Option<u64>)> {
    let text = std::str::from_utf8(message).ok()?;
    let [method, params] = jsonrpc::pick(text, ["method", "params"]).ok()?;
    if method?.of_text(text) != "\"notifications/progress\"" {
        return None;
    }
    let params = params?;
    let [token] = jsonrpc::pick(params.of_text(text), ["progressToken"]).ok()?;
    let token = token?.shifted(params.start as usize);
    let range = token.start as usize..token.end as usize;
    Some((range, token.of_text(text).parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_client_back_its_own_progress_token() {
        let message = br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}"#;
        let restored = restore_token(message.to_vec(), 7, Some(b"\"mine\"")).expect("it is ours");
        let text = String::from_utf8(restored).expect("text");
        assert!(text.contains(r#"{"progressToken":"mine","progress":1}"#), "{text}");
        assert_eq!(restore_token(message.to_vec(), 8, Some(b"1")), None);
        assert_eq!(restore_token(message.to_vec(), 8, None), Some(message.to_vec()));
    }
}
