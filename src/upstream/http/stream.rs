//! An answer as a stream of events: notifications, requests of the upstream, and at the end the
//! reply.

use std::{collections::VecDeque, pin::Pin, rc::Rc, time::Duration};

use net::{
    client::{Deadline, Response, Streaming},
    http1::{Method, encode},
    jsonrpc,
    sse::{Decoder, SseLimits},
};
use shards::time;

use super::{
    Cancel, Heading, Session, Shared,
    answer::{Message, is_event_stream, no_stream, settle},
    is_kind,
    wire::Shipment,
};
use crate::{
    failure::{Failure, UpstreamKind},
    upstream::{Answer, Event, EventSource, Question, Reply, Stream},
};

/// How often a stream that broke off is asked for its rest without a new event in between.
pub(super) const RESUME_COUNT_MAX: u32 = 4;

/// The pause before that, if the upstream names none; doubled each time.
const RESUME_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause that an upstream can ask for.
const RESUME_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The largest id of an event that is kept: it goes into a header.
const EVENT_ID_SIZE_MAX: usize = 1024;

/// Reads the events of one answer.
pub(super) struct Reader {
    shared: Rc<Shared>,
    session: Option<Rc<Session>>,
    call: Heading,
    /// None once the reply was read.
    streaming: Option<Streaming>,
    decoder: Decoder,
    /// Where to go on if it breaks off.
    mark: Mark,
    /// How often it was taken up since the last event that has an id.
    resume_count: u32,
    deadline: Deadline,
    /// Messages that arrived and were not looked at yet.
    arrived: VecDeque<Vec<u8>>,
    /// What was read to find out that this is a stream.
    first: Option<Event>,
    cancel: Option<Cancel>,
}

impl Reader {
    /// Begins to read `response`, the answer to `call`.
    pub(super) fn new(
        shared: &Rc<Shared>,
        session: Option<Rc<Session>>,
        call: Heading,
        response: Response,
        cancel: Option<Cancel>,
        deadline: Deadline,
    ) -> Result<Reader, Failure> {
        let wire = &shared.wire;
        // Only a single message is bounded; how many there are is a matter of time.
        let streaming = response.stream(usize::MAX).map_err(|error| wire.broken(&error))?;
        Ok(Reader {
            shared: shared.clone(),
            session,
            call,
            streaming: Some(streaming),
            decoder: shared.decoder(),
            mark: Mark::default(),
            resume_count: 0,
            deadline,
            arrived: VecDeque::new(),
            first: None,
            cancel,
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
            let broken = match self.receive().await {
                Ok(true) => continue,
                Ok(false) if !self.arrived.is_empty() => continue,
                Ok(false) => {
                    let detail = "the stream ended before the answer";
                    self.shared.wire.failure(UpstreamKind::Broken, detail, true)
                }
                Err(failure) if is_kind(&failure, UpstreamKind::Broken) => failure,
                Err(failure) => return Err(failure),
            };
            if !self.resume().await {
                self.disarm();
                return Err(broken);
            }
        }
    }

    /// Takes the stream up again behind its last event, if the upstream gave that an id and has the
    /// rest (2025-11-25, Transports, Resumability).
    async fn resume(&mut self) -> bool {
        let (Some(session), Some(_)) = (self.session.clone(), self.streaming.take()) else {
            return false;
        };
        if self.mark.id.is_empty() {
            return false;
        }
        while self.resume_count < RESUME_COUNT_MAX {
            let pause = self.mark.pause(self.resume_count);
            self.resume_count += 1;
            if pause >= self.deadline.left() {
                return false;
            }
            time::sleep(pause).await;
            match self.shared.follow(&session, &self.mark.id, self.deadline).await {
                Ok(streaming) => {
                    self.decoder = self.shared.decoder();
                    self.streaming = Some(streaming);
                    return true;
                }
                Err(failure)
                    if is_kind(&failure, UpstreamKind::Unreachable)
                        || is_kind(&failure, UpstreamKind::Broken) =>
                {
                    tracing::debug!(%failure, "a stream that broke off is not taken up yet");
                }
                Err(failure) => {
                    tracing::debug!(%failure, "a stream that broke off is not taken up");
                    return false;
                }
            }
        }
        false
    }

    /// Reads once and keeps the messages that are whole; returns false at the end.
    async fn receive(&mut self) -> Result<bool, Failure> {
        let Reader { shared, streaming, decoder, mark, resume_count, arrived, .. } = self;
        let Some(streaming) = streaming else {
            return Err(shared.wire.failure(UpstreamKind::Broken, "the stream has ended", true));
        };
        let mut refused = None;
        let more = streaming.next(|bytes| match decode_marking(decoder, bytes, arrived, mark) {
            Ok(true) => *resume_count = 0,
            Ok(false) => {}
            Err(error) => refused = Some(error),
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
                if let Some(id) = id.filter(|id| *id != self.call.id) {
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
                Ok(restore_token(message, self.call.id, self.call.token.as_deref())
                    .map(Event::Notification))
            }
            // The modern era knows no requests of a server.
            Message::Request { id, method, params } => Ok(self.ask(id, method, params)),
        }
    }

    /// A question for the client, if it can be asked; pings are for us, and the rest is refused.
    fn ask(&mut self, id: String, method: String, params: Option<String>) -> Option<Event> {
        let session = self.session.clone()?;
        let can_be_asked = self.call.capabilities.allow(&method, params.as_deref().unwrap_or("{}"));
        if method == "ping" || !can_be_asked {
            self.shared.answer(&session, &id, method == "ping");
            return None;
        }
        // Who is asked decides how long it takes; what comes after it is the tool's time again.
        if let Some(streaming) = &mut self.streaming {
            let within = self.shared.wire.limits.answer_within;
            streaming.extend(within);
            self.deadline = Deadline::after(within.max(self.deadline.within()));
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

impl Shared {
    pub(super) fn decoder(&self) -> Decoder {
        let size_max = self.wire.limits.answer_size_max;
        Decoder::new(SseLimits { line_size_max: size_max, event_size_max: size_max })
    }

    /// Opens the stream of a session: of what belongs to no request, or, behind the event `last`, the
    /// rest of the stream that this was part of. It takes no connection of those for requests.
    ///
    /// # Errors
    ///
    /// An upstream failure; its status if it has no such stream.
    pub(super) async fn follow(
        &self,
        session: &Session,
        last: &[u8],
        deadline: Deadline,
    ) -> Result<Streaming, Failure> {
        let write = |out: &mut Vec<u8>, path: &str| {
            encode::begin_request(out, "GET", path);
            out.extend_from_slice(self.wire.lines());
            encode::lines(out, "accept: text/event-stream\r\ncache-control: no-store\r\n");
            out.extend_from_slice(&session.stream_lines);
            if !last.is_empty() {
                encode::header(out, "last-event-id", last);
            }
            encode::end(out);
        };
        let shipment = Shipment::post(&write, true).with_method(Method::Get).apart();
        let response = self.wire.ship(shipment, deadline).await?;
        if is_event_stream(&response) {
            return response.stream(usize::MAX).map_err(|error| self.wire.broken(&error));
        }
        Err(no_stream(&self.wire, response, session.has_id).await)
    }
}

/// Where a stream can be taken up again, and when.
#[derive(Default)]
pub(super) struct Mark {
    /// The id of the last event; empty if there is none.
    pub(super) id: Vec<u8>,
    retry: Option<Duration>,
}

impl Mark {
    /// How long to wait before the attempt behind `count` that failed.
    pub(super) fn pause(&self, count: u32) -> Duration {
        let pause = self.retry.unwrap_or(RESUME_PAUSE).saturating_mul(1 << count.min(16));
        pause.min(RESUME_PAUSE_MAX)
    }

    /// Takes note of an event; returns true if it can be gone on from.
    fn note(&mut self, event: &net::sse::Event<'_>) -> bool {
        if let Some(retry_ms) = event.retry_ms {
            self.retry = Some(Duration::from_millis(retry_ms));
        }
        let Some(id) = event.id else { return false };
        self.id.clear();
        if id.len() <= EVENT_ID_SIZE_MAX && id.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            self.id.extend_from_slice(id);
        }
        !self.id.is_empty()
    }
}

/// Feeds the decoder and keeps the data of every event that has some: servers begin their streams
/// with an empty one.
pub(in crate::upstream) fn decode(
    decoder: &mut Decoder,
    bytes: &[u8],
    arrived: &mut VecDeque<Vec<u8>>,
) -> Result<(), net::error::SseError> {
    decode_marking(decoder, bytes, arrived, &mut Mark::default()).map(|_| ())
}

/// The same, and keeps where the stream can be taken up; returns true if that moved.
pub(super) fn decode_marking(
    decoder: &mut Decoder,
    mut bytes: &[u8],
    arrived: &mut VecDeque<Vec<u8>>,
    mark: &mut Mark,
) -> Result<bool, net::error::SseError> {
    let mut moved = false;
    while let Some(event) = decoder.next(&mut bytes)? {
        moved |= mark.note(&event);
        let is_message = event.name.is_empty() || event.name == b"message";
        if is_message && !event.data.is_empty() {
            let mut message = shards::buffer::take();
            message.extend_from_slice(event.data);
            arrived.push_back(message);
        }
    }
    Ok(moved)
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
    use std::io::Write;

    use serde_json::json;
    use storage::record::Era;

    use super::*;
    use crate::upstream::http::{
        HttpLeg,
        tests::{
            EVENTS, Fake, Seen, answer, call, chunk, event, failed, on_each_driver, result,
            shake_hands, value, whole,
        },
    };

    fn leg(fake: &Fake) -> HttpLeg {
        HttpLeg::new(&fake.upstream("/mcp"), Era::Legacy, fake.setup()).expect("a leg")
    }

    fn is_resuming(seen: &Seen, last: &str) -> bool {
        seen.head.starts_with("get ") && seen.has(&format!("last-event-id: {last}"))
    }

    /// Begins a stream that names its place and when to come back, and ends it.
    fn break_off(to: &mut std::net::TcpStream, place: &str) {
        let _ = to.write_all(EVENTS.as_bytes());
        chunk(to, &format!("id: {place}\nretry: 5\ndata:\n\n"));
        chunk(to, "");
    }

    #[test]
    fn takes_up_a_stream_that_breaks_off_again_and_again() {
        on_each_driver(|| async {
            let fake = Fake::new(|seen, to| {
                if shake_hands(seen, to, "s") {
                } else if seen.method() == "tools/call" {
                    break_off(to, "a");
                } else if is_resuming(seen, "a") && seen.has("mcp-session-id: s") {
                    break_off(to, "b");
                } else if is_resuming(seen, "b") {
                    let _ = to.write_all(EVENTS.as_bytes());
                    event(to, &json!({"jsonrpc": "2.0", "id": 2, "result": {"n": 1}}));
                } else {
                    answer(to, 404, "", "");
                }
            });
            let reply = whole(leg(&fake).request(&call("tools/call", "{}")).await);
            assert_eq!(value(&reply), json!({"n": 1}));
            assert_eq!(fake.methods().iter().filter(|method| *method == "tools/call").count(), 1);
        });
    }

    #[test]
    fn gives_up_a_stream_whose_rest_the_upstream_does_not_have() {
        on_each_driver(|| async {
            let fake = Fake::new(|seen, to| {
                if shake_hands(seen, to, "s") {
                } else if seen.method() == "tools/call" {
                    break_off(to, "a");
                } else if seen.head.starts_with("get ") {
                    answer(to, 405, "", "");
                } else {
                    answer(to, 200, "", &result(&seen.body["id"], json!({})));
                }
            });
            let failure = failed(leg(&fake).request(&call("tools/call", "{}")).await);
            assert!(failure.kind == UpstreamKind::Broken && failure.may_have_run, "{failure:?}");
            let count = fake.seen().iter().filter(|seen| is_resuming(seen, "a")).count();
            assert_eq!(count, 1, "it is not asked twice");
        });
    }

    #[test]
    fn asks_no_more_often_than_it_may_for_a_rest_that_never_comes() {
        on_each_driver(|| async {
            let fake = Fake::new(|seen, to| {
                if shake_hands(seen, to, "s") {
                } else if seen.method() == "tools/call" {
                    break_off(to, "a");
                } else if seen.head.starts_with("get ") {
                    let _ = to.write_all(EVENTS.as_bytes());
                    chunk(to, "");
                }
            });
            let failure = failed(leg(&fake).request(&call("tools/call", "{}")).await);
            assert_eq!(failure.kind, UpstreamKind::Broken);
            let count = fake.seen().iter().filter(|seen| is_resuming(seen, "a")).count();
            assert_eq!(count, RESUME_COUNT_MAX as usize);
        });
    }

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
