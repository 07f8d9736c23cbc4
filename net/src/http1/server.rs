//! Serving one connection: heads in, admission, bodies in, answers out, over and over.
//!
//! What a request means is the [`Service`]'s business. While a connection waits for its next
//! request it holds no buffer, and the part of it that handles requests is not even allocated:
//! that is what an idle connection costs.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use shards::{Watch, buffer, task, watch};
use streaming::{Flow, write_bytes};

use crate::{
    connection::Connection,
    error::BodyError,
    http1::{Framing, HeadLimits, RequestHead, Version, body::BodyDecoder},
};

mod responder;
mod streaming;

pub use responder::{BodyStream, Responder, Takeover};

/// How long a connection keeps its buffer after its last answer: long enough that a busy client
/// never pays for giving it back, short enough that a thousand idle ones hold none.
const RELEASE_AFTER: Duration = Duration::from_millis(500);

/// How long the rest of a refused body is swallowed, so that the peer gets to read the refusal.
const LINGER: Duration = Duration::from_secs(2);

/// Most bytes of a refused body that are swallowed.
const LINGER_SIZE_MAX: usize = 1024 * 1024;

/// Bounds of a connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bounds of request heads.
    pub head: HeadLimits,
    /// From connecting to the first byte.
    pub first_byte_within: Duration,
    /// From the first byte of a head to its end.
    pub head_within: Duration,
    /// From the end of the head to the end of the body.
    pub body_within: Duration,
    /// Between an answer and the next request.
    pub idle_within: Duration,
    /// For the peer to take what is written to it.
    pub write_within: Duration,
}

/// A request whose head has arrived.
pub struct Request<'a> {
    /// The head.
    pub head: &'a RequestHead,
    /// The bytes that the head's places are in.
    pub bytes: &'a [u8],
    /// Who connected.
    pub peer: SocketAddr,
    /// The connection is encrypted.
    pub tls: bool,
}

impl<'a> Request<'a> {
    /// The value of the first field called `name`.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.head.header(self.bytes, name)
    }

    /// The path, percent-encoded as it was sent.
    pub fn path(&self) -> &'a str {
        self.head.path(self.bytes)
    }

    /// The query, percent-encoded as it was sent.
    pub fn query(&self) -> Option<&'a str> {
        self.head.query(self.bytes)
    }
}

/// What a server does with requests.
pub trait Service {
    /// What admission found out and the answer needs.
    type Permit;

    /// Looks at a head before any of its body is read. To refuse, writes the refusal and returns
    /// `None`; to go on, returns the permit and how many bytes the body may have.
    fn admit(
        &self,
        request: &Request<'_>,
        responder: &mut Responder,
    ) -> Option<(Self::Permit, u64)>;

    /// Answers a request whose body has arrived.
    fn answer(
        &self,
        permit: Self::Permit,
        request: &Request<'_>,
        body: &[u8],
        responder: &mut Responder,
    ) -> impl Future<Output = ()>;

    /// Writes the refusal of something that is not a request, or not a whole one.
    fn refuse(&self, status: u16, message: &str, responder: &mut Responder);

    /// Returns true once connections should end after their current request.
    fn draining(&self) -> bool;
}

/// What becomes of a connection.
enum Next {
    /// It waits for its next request.
    Idle,
    /// A body is made while it is sent.
    Stream(Flow),
    /// It is something else's from now on, with what came behind the request.
    HandOver(Box<dyn Takeover>, Vec<u8>),
    /// It ends.
    Close,
}

/// Serves `connection` until one side ends it, then closes it.
pub async fn serve<S: Service>(
    connection: &mut Connection,
    peer: SocketAddr,
    service: &S,
    limits: &Limits,
) {
    let served = Cell::new(false);
    loop {
        let active = Active {
            connection: &mut *connection,
            peer,
            service,
            limits,
            served: &served,
            cancel_on_disconnect: Rc::default(),
        };
        // A stream and a conversation may be open for hours: what requests need is gone meanwhile.
        match Box::pin(active.run()).await {
            Next::Idle if !service.draining() => {}
            Next::Stream(flow) => match Box::pin(flow.write(connection, limits.write_within)).await
            {
                true => continue,
                false => break,
            },
            Next::HandOver(takeover, early) => {
                connection.watch().disarm();
                takeover.run(connection, early).await;
                break;
            }
            _ => break,
        }
        let within = if served.get() { limits.idle_within } else { limits.first_byte_within };
        if !wait_for_request(connection, within).await {
            break;
        }
    }
    Box::pin(connection.close()).await;
}

/// Waits without a buffer; false if the connection was idle for too long or broke.
async fn wait_for_request(connection: &Connection, within: Duration) -> bool {
    let watch = connection.watch();
    watch.arm(within.saturating_sub(RELEASE_AFTER), watch::Action::StopReading);
    watch.set_idle(true);
    let outcome = connection.readable().await;
    watch.set_idle(false);
    outcome.is_ok() && !watch.fired()
}

/// A connection that has requests.
struct Active<'a, S> {
    connection: &'a mut Connection,
    peer: SocketAddr,
    service: &'a S,
    limits: &'a Limits,
    /// The connection has had a request.
    served: &'a Cell<bool>,
    cancel_on_disconnect: Rc<Cell<bool>>,
}

/// How reading ended when it brought no whole head.
enum Ended {
    /// Nothing came for a while: the buffer can go.
    Released,
    /// The peer left, or the deadline passed before anything came.
    Silent,
    /// The deadline passed in the middle.
    Late,
    /// What came is no head.
    Refused(u16, &'static str),
}

impl<S: Service> Active<'_, S> {
    async fn run(mut self) -> Next {
        let mut head = RequestHead::default();
        let mut input = buffer::take();
        let next = loop {
            let outcome;
            (outcome, input) = self.read_head(&mut head, input).await;
            let next = match outcome {
                Ok(head_size) => {
                    let next;
                    (next, input) = self.exchange(&head, head_size, input).await;
                    next
                }
                Err(Ended::Released) => Some(Next::Idle),
                Err(Ended::Silent) => Some(Next::Close),
                Err(Ended::Late) => {
                    self.refuse(408, "The request did not arrive in time.").await;
                    Some(Next::Close)
                }
                Err(Ended::Refused(status, message)) => {
                    self.refuse(status, message).await;
                    Some(Next::Close)
                }
            };
            if let Some(next) = next {
                break next;
            }
        };
        buffer::give(input);
        next
    }

    /// Reads until `input` begins with a whole head; returns its size.
    async fn read_head(
        &mut self,
        head: &mut RequestHead,
        mut input: Vec<u8>,
    ) -> (Result<usize, Ended>, Vec<u8>) {
        let mut begun = false;
        loop {
            if !input.is_empty() {
                match head.parse(&input, &self.limits.head) {
                    Ok(Some(size)) => return (Ok(size), input),
                    Ok(None) => {}
                    Err(error) => {
                        let refused = Ended::Refused(error.status(), error.message());
                        return (Err(refused), input);
                    }
                }
            }
            let waiting = input.is_empty();
            if waiting || !begun {
                self.arm_for_head(waiting);
                begun = !waiting;
            }
            let outcome;
            (outcome, input) = match waiting {
                true => self.connection.read_releasable(input).await,
                false => self.connection.read(input).await,
            };
            let watch = self.connection.watch();
            watch.set_idle(false);
            match outcome {
                Ok(0) if !waiting && watch.fired() => return (Err(Ended::Late), input),
                Ok(0) => return (Err(Ended::Silent), input),
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(watch::CANCELLED) => {
                    return (Err(Ended::Released), input);
                }
                Err(_) => return (Err(Ended::Silent), input),
            }
        }
    }

    fn arm_for_head(&self, waiting: bool) {
        let watch = self.connection.watch();
        watch.set_idle(waiting);
        match (waiting, self.connection.is_tls()) {
            (true, false) => watch.arm(RELEASE_AFTER, watch::Action::ReleaseRead),
            (true, true) => watch.arm(self.idle_within(), watch::Action::StopReading),
            (false, _) => watch.arm(self.limits.head_within, watch::Action::StopReading),
        }
    }

    fn idle_within(&self) -> Duration {
        match self.served.get() {
            true => self.limits.idle_within,
            false => self.limits.first_byte_within,
        }
    }

    /// Admits, reads the body, answers, and cuts the request off `input`. `None` to go on.
    async fn exchange(
        &mut self,
        head: &RequestHead,
        head_size: usize,
        mut input: Vec<u8>,
    ) -> (Option<Next>, Vec<u8>) {
        let keep_alive = head.keep_alive() && !self.service.draining();
        self.served.set(true);
        self.cancel_on_disconnect.set(false);
        let flag = self.cancel_on_disconnect.clone();
        let mut responder = Responder::new(head, keep_alive, flag);
        let request =
            Request { head, bytes: &input, peer: self.peer, tls: self.connection.is_tls() };
        let admitted = self.service.admit(&request, &mut responder);
        let Some((permit, body_size_max)) = admitted else {
            return self.turn_away(head, head_size, input, responder).await;
        };
        let body;
        (body, input) = self.read_body(head, head_size, body_size_max, input).await;
        let body = match body {
            Ok(body) => body,
            Err((status, message)) => {
                self.refuse(status, &message).await;
                return (Some(Next::Close), input);
            }
        };
        let request =
            Request { head, bytes: &input, peer: self.peer, tls: self.connection.is_tls() };
        let answered = self.answer(permit, &request, body.of(&input), &mut responder).await;
        let end = head_size + body.wire_size();
        if !answered {
            return (Some(Next::Close), input);
        }
        consume(&mut input, end);
        if let Some(takeover) = responder.take_takeover() {
            return match self.write_bytes(responder.take_bytes()).await {
                true => (Some(Next::HandOver(takeover, input)), Vec::new()),
                false => (Some(Next::Close), input),
            };
        }
        if input.is_empty()
            && let Some(stream) = responder.take_stream()
        {
            let flow = self.flow(stream, &responder);
            return match self.write_bytes(responder.take_bytes()).await {
                true => (Some(Next::Stream(flow)), input),
                false => (Some(Next::Close), input),
            };
        }
        (self.write(responder).await, input)
    }

    fn flow(&self, stream: Box<dyn BodyStream>, responder: &Responder) -> Flow {
        Flow {
            stream,
            chunked: responder.version() == Version::Http11,
            keep_alive: responder.keep_alive(),
            cancels: self.cancel_on_disconnect.get(),
        }
    }

    /// Runs the service's answer behind a panic guard; false if the peer left and wanted to cancel.
    async fn answer(
        &mut self,
        permit: S::Permit,
        request: &Request<'_>,
        body: &[u8],
        responder: &mut Responder,
    ) -> bool {
        let watch = self.connection.watch();
        watch.disarm();
        let cancel_on_disconnect = self.cancel_on_disconnect.clone();
        // Pinned where it is made: the future of a whole request is large, and every hand it went
        // through by value would copy it.
        let outcome = {
            let answer = pin!(self.service.answer(permit, request, body, responder));
            answer_or_gone(task::guard(answer), watch, &cancel_on_disconnect).await
        };
        match outcome {
            None => return false,
            Some(Ok(())) if responder.is_written() => return true,
            Some(_) => {}
        }
        responder.restart();
        self.service.refuse(500, "Internal error", responder);
        true
    }

    /// Sends a refusal that was written before the body was read.
    async fn turn_away(
        &mut self,
        head: &RequestHead,
        head_size: usize,
        mut input: Vec<u8>,
        mut responder: Responder,
    ) -> (Option<Next>, Vec<u8>) {
        let rest = &input[head_size..];
        let body_size = match head.framing() {
            Framing::None => Some(0),
            Framing::Length(size) => usize::try_from(size).ok().filter(|size| *size <= rest.len()),
            Framing::Chunked | Framing::UntilClose => None,
        };
        if let Some(body_size) = body_size {
            consume(&mut input, head_size + body_size);
            return (self.write(responder).await, input);
        }
        responder.close();
        let _ = self.write(responder).await;
        self.linger().await;
        (Some(Next::Close), input)
    }

    /// Reads the whole body behind its head.
    async fn read_body(
        &mut self,
        head: &RequestHead,
        head_size: usize,
        size_max: u64,
        mut input: Vec<u8>,
    ) -> (Result<Body, (u16, String)>, Vec<u8>) {
        let refusal = |error: BodyError| (error.status(), error.to_string());
        let mut decoder = match BodyDecoder::new(head.framing(), size_max) {
            Ok(decoder) => decoder,
            Err(error) => return (Err(refusal(error)), input),
        };
        if let Some(whole) = decoder.whole(&input[head_size..]) {
            return (Ok(Body::InPlace { start: head_size, size: whole.len() }), input);
        }
        if head.expect_continue() && !self.send_continue().await {
            return (Err((400, "The connection broke.".to_owned())), input);
        }
        self.connection.watch().arm(self.limits.body_within, watch::Action::StopReading);
        let mut decoded = Vec::new();
        let mut taken = head_size;
        loop {
            if let Some(whole) = decoder.whole(&input[head_size..]) {
                return (Ok(Body::InPlace { start: head_size, size: whole.len() }), input);
            }
            if head.framing() == Framing::Chunked {
                match decoder.feed(&input[taken..], &mut decoded) {
                    Ok(fed) => {
                        taken += fed.consumed;
                        if fed.done {
                            let wire_size = taken - head_size;
                            return (Ok(Body::Decoded { bytes: decoded, wire_size }), input);
                        }
                        // What was decoded is not kept twice.
                        input.drain(head_size..taken);
                        taken = head_size;
                    }
                    Err(error) => return (Err(refusal(error)), input),
                }
            }
            let outcome;
            (outcome, input) = self.connection.read(input).await;
            if !matches!(outcome, Ok(count) if count > 0) {
                let late = self.connection.watch().fired();
                let message =
                    if late { "The body did not arrive in time." } else { "The body broke off." };
                return (Err((if late { 408 } else { 400 }, message.to_owned())), input);
            }
        }
    }

    async fn send_continue(&mut self) -> bool {
        self.connection.watch().arm(self.limits.write_within, watch::Action::Abort);
        let line = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
        self.connection.write_all(line).await.0.is_ok()
    }

    /// Refuses and swallows what the peer still sends for a moment: a reset would discard the
    /// refusal before the peer reads it.
    async fn refuse(&mut self, status: u16, message: &str) {
        let mut responder = Responder::closing();
        self.service.refuse(status, message, &mut responder);
        let _ = self.write(responder).await;
        self.linger().await;
    }

    async fn linger(&mut self) {
        let watch = self.connection.watch();
        watch.stop_writing();
        watch.arm(LINGER, watch::Action::Abort);
        let mut swallowed = 0;
        let mut input = buffer::take();
        while swallowed < LINGER_SIZE_MAX {
            input.clear();
            let outcome;
            (outcome, input) = self.connection.read(input).await;
            match outcome {
                Ok(count) if count > 0 => swallowed += count,
                _ => break,
            }
        }
        buffer::give(input);
    }

    /// Writes the answer, and the stream behind it if there is one. `None` to go on.
    async fn write(&mut self, mut responder: Responder) -> Option<Next> {
        let stream = responder.take_stream();
        let flow = stream.map(|stream| self.flow(stream, &responder));
        let written = self.write_bytes(responder.take_bytes()).await;
        let goes_on = match flow {
            // What was pipelined behind the request waits.
            Some(flow) if written => {
                Box::pin(flow.write(self.connection, self.limits.write_within)).await
            }
            _ => written && responder.keep_alive(),
        };
        if goes_on { None } else { Some(Next::Close) }
    }

    async fn write_bytes(&mut self, bytes: Vec<u8>) -> bool {
        write_bytes(self.connection, self.limits.write_within, bytes).await
    }
}

/// Waits for `answer`; `None` if the peer left first and leaving cancels.
async fn answer_or_gone<T>(
    answer: impl Future<Output = T>,
    watch: &Watch,
    cancel_on_disconnect: &Cell<bool>,
) -> Option<T> {
    let mut answer = pin!(answer);
    let mut gone = pin!(watch.peer_gone());
    poll_fn(|context| {
        if let Poll::Ready(outcome) = answer.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        if cancel_on_disconnect.get() && gone.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// Where a body that has arrived lies.
enum Body {
    /// In the input, as it came.
    InPlace { start: usize, size: usize },
    /// Put together from chunks.
    Decoded { bytes: Vec<u8>, wire_size: usize },
}

impl Body {
    fn of<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        match self {
            Body::InPlace { start, size } => &input[*start..*start + *size],
            Body::Decoded { bytes, .. } => bytes,
        }
    }

    fn wire_size(&self) -> usize {
        match self {
            Body::InPlace { size, .. } => *size,
            Body::Decoded { wire_size, .. } => *wire_size,
        }
    }
}

/// Cuts a request off the front; what was pipelined behind it moves up.
fn consume(input: &mut Vec<u8>, size: usize) {
    if size == input.len() {
        input.clear();
    } else {
        input.drain(..size);
    }
}
