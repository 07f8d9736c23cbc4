//! Listening to what an upstream over streamable HTTP says by itself.

use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use net::{
    client::{Deadline, Streaming},
    jsonrpc::ErrorParts,
    sse::{Decoder, SseLimits},
};
use shards::{buffer, time};
use storage::record::Era;

use super::{
    Call, Envelope, HttpLeg, Session, Shared,
    answer::{self, Message},
    is_kind,
    stream::{Mark, decode_marking},
    wire::Shipment,
};
use crate::{
    failure::{Failure, UpstreamFailure, UpstreamKind},
    mcp::{Capabilities, code},
    upstream::{
        Answer, Event, Outcome, Reply,
        discover::plain,
        watch::{
            Deaf, Ear, First, GATHER, MESSAGE_SIZE_MAX, Pace, Told, WITHIN, attend, can_subscribe,
            first_of, listen_params,
        },
    },
};

/// How old a subscription of the modern era may become: one that nobody is behind any more looks like
/// one on which nothing happens, so it is opened anew, before the former is closed.
const RENEWAL: Duration = Duration::from_secs(10 * 60);

/// The pause after a renewal that failed, while the former subscription goes on.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);

/// A stream that lasted as long was none of those that an upstream closes at once.
const STEADY: Duration = Duration::from_secs(10);

impl HttpLeg {
    /// Listens to what the upstream says by itself, until that ends. The leg should serve nothing else,
    /// since its session is subscribed to resources.
    ///
    /// # Errors
    ///
    /// Why it ended, or did not begin: try again later.
    pub async fn watch(&self, ear: &Ear) -> Result<Deaf, Failure> {
        match self.0.era {
            // On the heap, as all that is large and lasts.
            Era::Legacy => Box::pin(self.0.watch_session(ear)).await,
            Era::Modern => Box::pin(self.0.watch_subscription(ear)).await,
        }
    }
}

impl Shared {
    async fn watch_session(self: &Rc<Self>, ear: &Ear) -> Result<Deaf, Failure> {
        let session = self.session(Capabilities::NONE, Deadline::after(WITHIN)).await?;
        let streaming = match self.follow(&session, b"", Deadline::after(WITHIN)).await {
            Ok(streaming) => streaming,
            Err(failure) if has_none(&failure) => return Ok(Deaf),
            Err(failure) => return Err(failure),
        };
        ear.hear(Told::Began);
        let subscribes = session.initialize_result.as_deref().is_some_and(can_subscribe);
        let ask = async |method: &'static str, params: String| {
            self.ask_in(&session, method, &params).await
        };
        let reading = Box::pin(self.read_session(&session, streaming, ear));
        match first_of(reading, Box::pin(attend(ear, subscribes, ask))).await {
            First::One(failure) | First::Other(failure) => Err(failure),
        }
    }

    /// Reads the stream of a session, which may be closed and opened again at any time.
    async fn read_session(
        self: &Rc<Self>,
        session: &Rc<Session>,
        mut streaming: Streaming,
        ear: &Ear,
    ) -> Failure {
        let (mut mark, mut count) = (Mark::default(), 0);
        loop {
            let began = Instant::now();
            let ended = self.listen(Some(session), &mut streaming, &mut mark, ear).await;
            if !is_kind(&ended, UpstreamKind::Broken) {
                return ended;
            }
            count = if began.elapsed() >= STEADY { 0 } else { count + 1 };
            time::sleep(mark.pause(count)).await;
            streaming = match self.follow(session, &mark.id, Deadline::after(WITHIN)).await {
                Ok(streaming) => streaming,
                Err(failure) => return failure,
            };
            if mark.id.is_empty() {
                ear.hear(Told::Began);
            }
        }
    }

    async fn watch_subscription(self: &Rc<Self>, ear: &Ear) -> Result<Deaf, Failure> {
        let mut uris = ear.uris();
        let Some(mut streaming) = self.subscribe(&uris).await? else { return Ok(Deaf) };
        ear.hear(Told::Began);
        let mut mark = Mark::default();
        loop {
            let listening = self.listen(None, &mut streaming, &mut mark, ear);
            match first_of(listening, Box::pin(self.renewed(&uris, ear))).await {
                First::One(failure) => return Err(failure),
                First::Other(renewed) => (uris, streaming) = renewed,
            }
        }
    }

    /// Waits until other URIs than `uris` are wanted, or the subscription is old, and opens another.
    async fn renewed(&self, uris: &BTreeSet<String>, ear: &Ear) -> (BTreeSet<String>, Streaming) {
        let mut within = RENEWAL;
        loop {
            let is_old = time::timeout(within, ear.bell.wait()).await.is_err();
            time::sleep(GATHER).await;
            let wanted = ear.uris();
            if !is_old && wanted == *uris {
                continue;
            }
            match self.subscribe(&wanted).await {
                Ok(Some(streaming)) => return (wanted, streaming),
                Ok(None) => tracing::debug!("an upstream refuses a subscription that it had"),
                Err(failure) => tracing::debug!(%failure, "a subscription is not renewed"),
            }
            within = RENEWAL_PAUSE;
        }
    }

    /// Opens a subscription to all lists and to these resources; nothing if the upstream has none.
    async fn subscribe(&self, uris: &BTreeSet<String>) -> Result<Option<Streaming>, Failure> {
        let params = listen_params(uris);
        let outgoing = plain("subscriptions/listen", params.as_bytes(), WITHIN);
        let call = Call::modern(self.id(), &outgoing);
        let write = |out: &mut Vec<u8>, path: &str| {
            call.write_request(out, path, self.wire.lines(), &Envelope::Modern);
        };
        let shipment = Shipment::post(&write, true).apart();
        let response = self.wire.ship(shipment, Deadline::after(WITHIN)).await?;
        if answer::is_event_stream(&response) {
            return response.stream(usize::MAX).map(Some).map_err(|error| self.wire.broken(&error));
        }
        match answer::read(&self.wire, response, call.id(), false).await {
            Ok(reply) => self.judge_refusal(&reply).map(|Deaf| None),
            Err(failure) if has_none(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// What it means that a subscription was answered at once.
    fn judge_refusal(&self, reply: &Reply) -> Result<Deaf, Failure> {
        let raw = String::from_utf8_lossy(reply.raw());
        let unknown = [i64::from(code::METHOD_NOT_FOUND), i64::from(code::INVALID_PARAMS)];
        match (reply.outcome, ErrorParts::parse(&raw)) {
            (Outcome::Error, Ok(error)) if unknown.contains(&error.code) => Ok(Deaf),
            _ => Err(self.over("it ends subscriptions at once")),
        }
    }

    /// Listens to a stream to its end; says why it ended.
    async fn listen(
        self: &Rc<Self>,
        session: Option<&Rc<Session>>,
        streaming: &mut Streaming,
        mark: &mut Mark,
        ear: &Ear,
    ) -> Failure {
        let size_max = MESSAGE_SIZE_MAX.min(self.wire.limits.answer_size_max);
        let limits = SseLimits { line_size_max: size_max, event_size_max: size_max };
        let (mut decoder, mut arrived) = (Decoder::new(limits), VecDeque::new());
        let mut pace = Pace::new();
        streaming.unbound();
        loop {
            let mut refused = None;
            let more = streaming.next(|bytes| {
                refused = decode_marking(&mut decoder, bytes, &mut arrived, mark).err();
            });
            let more = more.await;
            pace.note(arrived.len()).await;
            for message in arrived.drain(..) {
                let is_over = self.take(session, &message, ear);
                buffer::give(message);
                if is_over {
                    return self.over("it ended the subscription");
                }
            }
            match (more, refused) {
                (_, Some(error)) => {
                    let kind = UpstreamKind::TooLarge;
                    return self.wire.failure(kind, error.to_string(), false);
                }
                (Err(error), None) => return self.wire.broken(&error),
                (Ok(false), None) => return self.over("the stream ended"),
                (Ok(true), None) => {}
            }
        }
    }

    /// Takes one message; returns true if nothing comes after it.
    fn take(self: &Rc<Self>, session: Option<&Rc<Session>>, message: &[u8], ear: &Ear) -> bool {
        match (self.wire.message(message), session) {
            (Ok(Message::Notification), _) => ear.take(message),
            (Ok(Message::Request { id, method, .. }), Some(session)) => {
                self.answer(session, &id, method == "ping");
            }
            (Ok(Message::Reply { .. }), None) => return true,
            (Ok(_), _) => {}
            (Err(failure), _) => tracing::debug!(%failure, "a message of an upstream is dropped"),
        }
        false
    }

    /// Asks something within a session; an error that is answered is an answer too.
    async fn ask_in(
        self: &Rc<Self>,
        session: &Rc<Session>,
        method: &str,
        params: &str,
    ) -> Result<(), Failure> {
        let outgoing = plain(method, params.as_bytes(), WITHIN);
        let call = Call::legacy(self.id(), &outgoing);
        let mut answer = match self.call(&call, Some(session), Deadline::after(WITHIN)).await {
            Err(Failure::Protocol(_)) => return Ok(()),
            answer => answer?,
        };
        loop {
            match answer {
                Answer::Whole(reply) => {
                    buffer::give(reply.bytes);
                    return Ok(());
                }
                Answer::Stream(ref mut stream) => {
                    if let Event::Reply(reply) = stream.next().await? {
                        answer = Answer::Whole(reply);
                    }
                }
            }
        }
    }

    fn over(&self, detail: &str) -> Failure {
        self.wire.failure(UpstreamKind::Broken, detail, false)
    }
}

/// Whether a failure says that there is no such stream, as opposed to none now. A session that was
/// opened a moment before was not lost: some servers say so of a method that they do not know.
fn has_none(failure: &Failure) -> bool {
    let Failure::Upstream(UpstreamFailure { kind, .. }) = failure else { return false };
    match kind {
        UpstreamKind::Status(401 | 403 | 407 | 408 | 425 | 429) => false,
        UpstreamKind::Status(status) => (400..500).contains(status) || *status == 501,
        UpstreamKind::SessionLost | UpstreamKind::Nonsense => true,
        _ => false,
    }
}
