//! Several messages in one body, which revision 2025-03-26 has and no other (Base Protocol,
//! Batching): they are answered as if each had come by itself, all at once.

use std::{collections::VecDeque, future::Future, pin::Pin};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use net::jsonrpc;
use serde_json::value::RawValue;

use crate::{
    failure::Failure,
    gateway::{self, Answered, Parts, Request},
    limits,
    mcp::{LEGACY, code},
    reply::{self, Messages, Reply},
    session::{Call, Session, Sessions},
    upstream::Relay,
};

/// The revision that has batches.
const REVISION: &str = LEGACY[2];

/// Whether a body is a batch, or wants to be one.
pub fn is_batch(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

/// The messages of a batch from a client with this session, and this field that names the revision.
/// A client that says neither is taken for one of the revision (2025-06-18, Transports, Protocol
/// Version Header).
///
/// # Errors
///
/// A refusal, if the client's revision has none, or if this one is empty, too long or no JSON.
pub fn split<'a>(
    body: &'a [u8],
    session: Option<&Session>,
    version: Option<&[u8]>,
) -> Result<Vec<&'a RawValue>, Failure> {
    let refuse = |code, text: String| Err(Failure::protocol(400, code, text));
    let agreed = session.map(|session| session.ticket.revision.as_bytes());
    let revision = version.or(agreed).unwrap_or(REVISION.as_bytes());
    if revision != REVISION.as_bytes() {
        let text = format!("Only revision {REVISION} has batches; send one message at a time");
        return refuse(code::INVALID_REQUEST, text);
    }
    let messages: Vec<&RawValue> = match serde_json::from_slice(body) {
        Ok(messages) => messages,
        Err(error) => return refuse(code::PARSE_ERROR, format!("Parse error: {error}")),
    };
    match messages.len() {
        0 => refuse(code::INVALID_REQUEST, "A batch has one message at least".to_owned()),
        count if count > limits::RPC_BATCH_COUNT_MAX => {
            let count_max = limits::RPC_BATCH_COUNT_MAX;
            let text = format!("A batch has {count_max} messages at most, not {count}");
            refuse(code::INVALID_REQUEST, text)
        }
        _ => Ok(messages),
    }
}

/// Answers the messages of a batch, each as `like` but for the body; nothing if none of them wants
/// an answer. Those that are there by now come first.
pub async fn answer<'a, R: Relay>(
    parts: &Parts<'_, R>,
    like: &Request<'a>,
    messages: &[&'a RawValue],
) -> Option<Answers> {
    let answered = join_all(messages.iter().map(|message| one(parts, like, message.get()))).await;
    let mut answers = Answers { ready: VecDeque::new(), steps: FuturesUnordered::new() };
    for (Answered { id, outcome, .. }, call) in answered {
        let id = id.unwrap_or("null");
        match outcome {
            Ok(Reply::Stream(messages)) => {
                answers.steps.push(Box::pin(step(Part { messages, call })));
            }
            outcome => {
                let mut message = Vec::new();
                reply::write_message(&mut message, id, outcome);
                answers.ready.extend((!message.is_empty()).then_some(message));
            }
        }
    }
    (!answers.is_over()).then_some(answers)
}

async fn one<'a, R: Relay>(
    parts: &Parts<'_, R>,
    like: &Request<'a>,
    message: &'a str,
) -> (Answered<'a>, Option<Call>) {
    let place = jsonrpc::pick(message, ["method", "id"]);
    let [method, id] =
        place.unwrap_or_default().map(|place| place.map(|place| place.of_text(message)));
    let answered = |outcome| Answered { id, modern: false, handshake: None, outcome };
    if method == Some("\"initialize\"") {
        let text = "initialize cannot be part of a batch";
        let failure = Failure::protocol(400, code::INVALID_REQUEST, text);
        return (answered(Err(failure)), None);
    }
    let request = Request { body: message.as_bytes(), ..*like };
    let answering = gateway::answer(parts, &request, &|_, _| {});
    let begin = |sessions| Some(Sessions::begin_call(sessions, like.session?, id?));
    let Some(call) = parts.sessions.and_then(begin) else { return (answering.await, None) };
    // Who cancels a request wants no answer to it.
    let uncancelled = call.cancelled.unless(answering).await;
    (uncancelled.unwrap_or_else(|| answered(Ok(Reply::Accepted))), Some(call))
}

/// The answers to a batch.
pub struct Answers {
    ready: VecDeque<Vec<u8>>,
    steps: FuturesUnordered<Pin<Box<dyn Future<Output = Step>>>>,
}

/// One answer that streams.
struct Part {
    messages: Box<dyn Messages>,
    /// How its client cancels it, if it has a session.
    call: Option<Call>,
}

/// The next message of a part, and the part if there are more.
type Step = (Vec<u8>, Option<Part>);

async fn step(mut part: Part) -> Step {
    let mut message = Vec::new();
    let next = part.messages.next(&mut message);
    let more = match &part.call {
        Some(call) => call.cancelled.unless(next).await.unwrap_or(false),
        None => next.await,
    };
    (message, more.then_some(part))
}

impl Answers {
    /// Whether all of them are there.
    pub fn are_ready(&self) -> bool {
        self.steps.is_empty()
    }

    /// Those that are there, as an array.
    pub fn to_array(&self) -> Vec<u8> {
        let messages: Vec<&[u8]> = self.ready.iter().map(Vec::as_slice).collect();
        [b"[", messages.join(&b","[..]).as_slice(), b"]"].concat()
    }

    fn is_over(&self) -> bool {
        self.ready.is_empty() && self.steps.is_empty()
    }
}

impl Messages for Answers {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            if let Some(message) = self.ready.pop_front() {
                out.extend_from_slice(&message);
            } else if let Some((message, part)) = self.steps.next().await {
                part.into_iter().for_each(|part| self.steps.push(Box::pin(step(part))));
                out.extend_from_slice(&message);
            }
            !self.is_over()
        })
    }
}
