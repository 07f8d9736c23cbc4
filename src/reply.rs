//! Answers on their way out: from a value to the bytes of an HTTP answer.

use std::{borrow::Cow, collections::BTreeSet, future::Future, pin::Pin};

use net::{
    http1::server::{BodyStream, Responder},
    jsonrpc, sse,
};

use serde_json::{Map, Value};

use crate::{
    failure::Failure,
    mcp::{Page, code},
};

/// What a JSON-RPC request is answered with.
pub enum Reply {
    /// Nothing: it was a notification or an answer.
    Accepted,
    /// A rendered page of a list.
    Page(Page),
    /// A raw result object.
    Result(Vec<u8>),
    /// A raw error object of an upstream, its code translated.
    Error(Vec<u8>),
    /// A part of a buffer: the raw result or error of an upstream, relayed as it came.
    Relayed(Relayed),
    /// Messages, the last of which is the answer.
    Stream(Box<dyn Messages>),
    /// What the client wants to hear of from now on, which who has the streams answers.
    Listen(Box<Filter>),
}

/// What a client wants to hear of, or what it is told of: of what it asked for that which there is
/// (2026-07-28, Subscriptions, `SubscriptionFilter`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `toolsListChanged`.
    pub tools: bool,
    /// `promptsListChanged`.
    pub prompts: bool,
    /// `resourcesListChanged`.
    pub resources: bool,
    /// `resourceSubscriptions`.
    pub uris: BTreeSet<String>,
    /// `taskIds`, of the extension `io.modelcontextprotocol/tasks`.
    pub tasks: BTreeSet<String>,
}

impl Filter {
    /// Reads the member `notifications` of the params; what is not known is left out.
    pub fn read(params: &Value) -> Filter {
        let wanted = &params["notifications"];
        let is = |name: &str| wanted[name] == Value::Bool(true);
        let texts = |name: &str| {
            let all = wanted[name].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Filter {
            tools: is("toolsListChanged"),
            prompts: is("promptsListChanged"),
            resources: is("resourcesListChanged"),
            uris: texts("resourceSubscriptions"),
            tasks: texts("taskIds"),
        }
    }

    /// Writes it as an object that leaves out what is not wanted.
    pub fn to_json(&self) -> Value {
        let kinds = [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ];
        let kinds = kinds.into_iter().filter(|(_, is_wanted)| *is_wanted);
        let mut all: Map<String, Value> =
            kinds.map(|(name, _)| (name.to_owned(), Value::Bool(true))).collect();
        for (name, texts) in [("resourceSubscriptions", &self.uris), ("taskIds", &self.tasks)] {
            if !texts.is_empty() {
                all.insert(name.to_owned(), serde_json::json!(texts));
            }
        }
        Value::Object(all)
    }
}

/// A raw result or error inside the buffer that it arrived in.
pub struct Relayed {
    /// The buffer.
    pub bytes: Vec<u8>,
    /// Where the object lies in it.
    pub place: net::Span,
    /// It is an error.
    pub is_error: bool,
}

/// Messages of an answer that streams.
pub trait Messages {
    /// Appends the next whole message to `out`; false if it was the last.
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>>;
}

/// What the client can take, by its `Accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// `application/json`.
    pub json: bool,
    /// `text/event-stream`.
    pub events: bool,
}

impl Accepts {
    /// Reads an `Accept` header; none at all means JSON. What is neither is taken for JSON too:
    /// refusing would help nobody.
    pub fn parse(header: Option<&[u8]>) -> Accepts {
        // What the official clients send is known at a glance.
        if let Some(b"application/json, text/event-stream") = header {
            return Accepts { json: true, events: true };
        }
        let mut accepts = Accepts { json: false, events: false };
        for range in header.unwrap_or_default().split(|byte| *byte == b',') {
            let essence = range.split(|byte| *byte == b';').next().unwrap_or_default();
            match essence.trim_ascii() {
                b"application/json" | b"application/*" | b"*/*" => accepts.json = true,
                b"text/event-stream" => accepts.events = true,
                _ => {}
            }
        }
        accepts.json |= !accepts.events;
        accepts
    }

    /// The same for a gateway that answers in JSON where it can, or in events where it can.
    pub fn preferring_json(self, json: bool) -> Accepts {
        Accepts { json: self.json && (json || !self.events), ..self }
    }
}

/// Why a client that wants to hear of changes cannot, where it asked.
const LISTENS_ELSEWHERE: &str =
    "Method not found: subscriptions/listen is for the MCP endpoints and clients that take events";

const JSON: &str = "content-type: application/json\r\n";
/// What the head of a stream of events says.
pub const EVENTS: &str =
    "content-type: text/event-stream\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n";

/// Writes the answer to the request `id` (raw).
pub fn write(responder: &mut Responder, id: Option<&str>, reply: Reply, accepts: Accepts) {
    let id = id.unwrap_or("null").as_bytes();
    match reply {
        Reply::Accepted => {
            responder.begin(202);
            responder.finish(&[]);
        }
        Reply::Page(page) => write_result(responder, id, &page, accepts),
        Reply::Result(raw) => write_result(responder, id, &raw, accepts),
        Reply::Error(raw) => write_error(responder, id, &raw, accepts),
        Reply::Relayed(Relayed { bytes, place, is_error }) => {
            let raw = place.of_bytes(&bytes);
            match is_error {
                true => write_error(responder, id, raw, accepts),
                false => write_result(responder, id, raw, accepts),
            }
            shards::buffer::give(bytes);
        }
        Reply::Listen(_) => {
            let failure = Failure::protocol(404, code::METHOD_NOT_FOUND, LISTENS_ELSEWHERE);
            write_failure(responder, std::str::from_utf8(id).ok(), &failure, true);
        }
        Reply::Stream(messages) => {
            responder.begin(200);
            responder.lines(EVENTS);
            responder.finish_stream(Box::new(EventStream { messages }));
        }
    }
}

/// Appends the answer to the request `id` (raw) as one message, where answers have no status and no
/// header fields of their own. Nothing answers what is no request, and what streams does so itself.
pub fn write_message(out: &mut Vec<u8>, id: &str, outcome: Result<Reply, Failure>) {
    let id = id.as_bytes();
    let mut write = |kind, raw: &[u8]| {
        [BEFORE_ID, id, kind, raw, b"}"].iter().for_each(|part| out.extend_from_slice(part));
    };
    match outcome {
        Ok(Reply::Accepted | Reply::Stream(_)) => {}
        Ok(Reply::Page(page)) => write(RESULT, &page),
        Ok(Reply::Result(raw)) => write(RESULT, &raw),
        Ok(Reply::Error(raw)) => write(ERROR, &raw),
        Ok(Reply::Relayed(Relayed { bytes, place, is_error })) => {
            write(if is_error { ERROR } else { RESULT }, place.of_bytes(&bytes));
            shards::buffer::give(bytes);
        }
        Ok(Reply::Listen(_)) => {
            let failure = Failure::protocol(404, code::METHOD_NOT_FOUND, LISTENS_ELSEWHERE);
            write_error_message(out, id, &failure);
        }
        Err(failure) => write_error_message(out, id, &failure),
    }
}

fn write_error_message(out: &mut Vec<u8>, id: &[u8], failure: &Failure) {
    let id = std::str::from_utf8(id).ok();
    let data = error_data(failure);
    jsonrpc::error(out, id, failure.code(), &failure.to_string(), data.as_deref());
}

/// A failure as the JSON-RPC error of the request `id`.
pub fn error_message(id: Option<&str>, failure: &Failure) -> Vec<u8> {
    let mut message = Vec::with_capacity(256);
    let data = error_data(failure);
    jsonrpc::error(&mut message, id, failure.code(), &failure.to_string(), data.as_deref());
    message
}

/// The raw `data` of a failure, if it has any.
fn error_data(failure: &Failure) -> Option<Cow<'_, str>> {
    match failure {
        Failure::Protocol(error) => error.data.as_deref().map(Cow::Borrowed),
        Failure::Limited(limited) => {
            Some(Cow::Owned(format!("{{\"retryAfter\":{}}}", limited.retry_after_s)))
        }
        _ => None,
    }
}

/// Writes a failure as the JSON-RPC error of the request `id`.
pub fn write_failure(responder: &mut Responder, id: Option<&str>, failure: &Failure, rpc: bool) {
    let status = if rpc { failure.rpc_status() } else { failure.status() };
    let body = error_message(id, failure);
    responder.begin(status);
    responder.lines(JSON);
    write_failure_headers(responder, failure);
    responder.finish(&[&body]);
}

/// Appends the fields that go with some failures.
pub fn write_failure_headers(responder: &mut Responder, failure: &Failure) {
    match failure {
        Failure::Unauthorized { challenge, .. } => {
            responder.header("www-authenticate", challenge.as_bytes());
        }
        Failure::Challenged { challenge, .. } => {
            responder.header("www-authenticate", challenge.as_bytes());
        }
        Failure::MethodNotAllowed { allow } => responder.header("allow", allow.as_bytes()),
        Failure::Limited(limited) => {
            responder.header("retry-after", limited.retry_after_s.to_string().as_bytes());
            for (name, value) in &limited.fields {
                responder.header(name, value.as_bytes());
            }
            return;
        }
        _ => {}
    }
    if failure.retry_after() {
        responder.lines("retry-after: 1\r\n");
    }
}

/// The result of a reply as a value, for whoever is no client of JSON-RPC.
///
/// # Errors
///
/// The error that the reply is, or [`Failure::Internal`] if it is no JSON.
pub async fn into_result(reply: Reply) -> Result<Value, Failure> {
    match reply {
        Reply::Accepted => Ok(Value::Null),
        Reply::Listen(_) => Err(Failure::protocol(404, code::METHOD_NOT_FOUND, LISTENS_ELSEWHERE)),
        Reply::Page(page) => read(&page),
        Reply::Result(raw) => read(&raw),
        Reply::Error(raw) => Err(error_of(&read(&raw)?)),
        Reply::Relayed(Relayed { bytes, place, is_error }) => {
            let value = read(place.of_bytes(&bytes))?;
            if is_error { Err(error_of(&value)) } else { Ok(value) }
        }
        Reply::Stream(mut messages) => {
            let (mut message, mut last) = (Vec::new(), Vec::new());
            loop {
                let more = messages.next(&mut message).await;
                if !message.is_empty() {
                    std::mem::swap(&mut message, &mut last);
                    message.clear();
                }
                if !more {
                    break;
                }
            }
            let mut answer = read(&last)?;
            match answer.get("error") {
                Some(error) => Err(error_of(error)),
                None => Ok(answer["result"].take()),
            }
        }
    }
}

fn read(raw: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(raw).map_err(|error| Failure::Internal(error.to_string()))
}

/// An error object of JSON-RPC as a failure.
fn error_of(error: &Value) -> Failure {
    let code = error["code"].as_i64().and_then(|code| i32::try_from(code).ok());
    let message = error["message"].as_str().unwrap_or("an error without a message");
    Failure::protocol(200, code.unwrap_or_default(), message)
}

const BEFORE_ID: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":";
const RESULT: &[u8] = b",\"result\":";
const ERROR: &[u8] = b",\"error\":";

fn write_result(responder: &mut Responder, id: &[u8], raw: &[u8], accepts: Accepts) {
    write_outcome(responder, 200, [BEFORE_ID, id, RESULT, raw, b"}"], accepts);
}

/// An upstream's error. Those that the stateless revision defines for headers, capabilities and
/// versions go with status 400 there; every other is the application's own, and goes with 200.
fn write_error(responder: &mut Responder, id: &[u8], raw: &[u8], accepts: Accepts) {
    let text = std::str::from_utf8(raw).unwrap_or("{}");
    let code = jsonrpc::ErrorParts::parse(text).map_or(0, |parts| parts.code);
    let status = if (-32022..=-32020).contains(&code) { 400 } else { 200 };
    write_outcome(responder, status, [BEFORE_ID, id, ERROR, raw, b"}"], accepts);
}

fn write_outcome(responder: &mut Responder, status: u16, message: [&[u8]; 5], accepts: Accepts) {
    responder.begin(status);
    if accepts.json {
        responder.lines(JSON);
        responder.finish(&message);
        return;
    }
    // A client that takes events only gets one.
    let message = message.concat();
    let mut event = Vec::with_capacity(message.len() + 32);
    encode_event(&mut event, &message);
    responder.lines(EVENTS);
    responder.finish(&[&event]);
}

fn encode_event(out: &mut Vec<u8>, message: &[u8]) {
    sse::encode(out, Some("message"), None, message);
}

/// Messages as server-sent events.
struct EventStream {
    messages: Box<dyn Messages>,
}

impl BodyStream for EventStream {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            let mut message = Vec::new();
            let more = self.messages.next(&mut message).await;
            if !message.is_empty() {
                encode_event(out, &message);
            }
            more
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_client_accepts() {
        let read = |text: &str| {
            let accepts = Accepts::parse(Some(text.as_bytes()));
            (accepts.json, accepts.events)
        };
        assert_eq!(read("application/json, text/event-stream"), (true, true));
        assert_eq!(read("text/event-stream"), (false, true));
        assert_eq!(read("application/json"), (true, false));
        assert_eq!(read("*/*"), (true, false));
        assert_eq!(read("text/html"), (true, false));
        assert_eq!(Accepts::parse(None), Accepts { json: true, events: false });
    }
}
