//! Streamable HTTP in front of a stdio server.

use std::{any::Any, borrow::Cow, rc::Rc};

use net::{
    http1::server::{Request, Responder, Service},
    jsonrpc::{self, EnvelopeLimits, Message, MessageKind, Param},
};

use super::{
    front::{Front, write_json},
    queue::{Events, Item, Queue, answer_event, encode},
    session::Session,
};
use crate::{
    bridge::message::{self, UNREACHED},
    catalog::param_headers::decode_header_value,
    mcp::{LEGACY, MODERN},
};

/// The code by which the stateless revision says that header and body differ.
const HEADER_MISMATCH: i32 = -32020;

/// Says that a session's own stream is not read any more.
struct EndOfFollowing(Rc<Session>);

impl Drop for EndOfFollowing {
    fn drop(&mut self) {
        self.0.is_followed.set(false);
    }
}

impl Front {
    /// Answers a message.
    pub(super) async fn post(&self, request: &Request<'_>, body: &[u8], responder: &mut Responder) {
        let message = match Message::parse(body, &EnvelopeLimits::default()) {
            Ok(message) => message,
            Err(error) => {
                let id = error.id.map(|id| String::from_utf8_lossy(id.of_bytes(body)));
                let answer = message::error(id.as_deref(), error.code(), &error.to_string());
                return write_json(responder, 400, &answer);
            }
        };
        let is_modern = message::revision(&message).is_some()
            || request.header("mcp-protocol-version") == Some(MODERN.as_bytes());
        if is_modern && let Err(text) = check_headers(request, &message) {
            let answer = message::error(message.id(), HEADER_MISMATCH, &text);
            return write_json(responder, 400, &answer);
        }
        if is_modern || self.options.stateless {
            self.post_alone(request, &message, is_modern, responder).await;
        } else {
            self.post_in_session(request, &message, responder).await;
        }
    }

    /// Answers a message that stands alone, by the shared child.
    async fn post_alone(
        &self,
        request: &Request<'_>,
        message: &Message<'_>,
        is_modern: bool,
        responder: &mut Responder,
    ) {
        if message.kind() != MessageKind::Request {
            // None of them means anything to a child that others use too.
            return accept(responder);
        }
        let asked = async {
            let running = self.shared(self.program(request))?.running().await?;
            if message.method() == "initialize" && !is_modern {
                return Ok(Err(greeting(message, &running.greeting.borrow())));
            }
            running.ask(message).await.map(Ok)
        };
        match asked.await {
            Ok(Ok((queue, place))) => {
                self.answer_by(request, queue, Box::new(place), is_modern, responder).await;
            }
            Ok(Err(answer)) => write_json(responder, 200, &answer),
            Err(text) => {
                write_json(responder, 503, &message::error(message.id(), UNREACHED, &text))
            }
        }
    }

    async fn post_in_session(
        &self,
        request: &Request<'_>,
        message: &Message<'_>,
        responder: &mut Responder,
    ) {
        let refuse = |responder: &mut Responder, status, text: &str| {
            write_json(responder, status, &message::error(message.id(), UNREACHED, text));
        };
        let is_greeting = message.method() == "initialize";
        let session = match request.header("mcp-session-id") {
            _ if is_greeting && message.kind() == MessageKind::Request => {
                match self.open(&self.program(request), false) {
                    Ok(session) => session,
                    Err(text) => return refuse(responder, 503, &text),
                }
            }
            None => return refuse(responder, 400, "Mcp-Session-Id is missing"),
            Some(id) => match self.sessions.find(id) {
                Some(session) => session,
                None => return refuse(responder, 404, "There is no such session"),
            },
        };
        if message.kind() != MessageKind::Request {
            session.send(message.text().as_bytes()).await;
            return accept(responder);
        }
        match session.ask(message).await {
            Ok((queue, place)) => {
                if is_greeting {
                    responder.always_header("mcp-session-id", session.id.as_bytes());
                }
                self.answer_by(request, queue, Box::new(place), false, responder).await;
            }
            Err(text) => refuse(responder, 400, &text),
        }
    }

    /// Answers with what a queue brings: JSON if the answer comes first, else a stream.
    async fn answer_by(
        &self,
        request: &Request<'_>,
        queue: Rc<Queue>,
        guard: Box<dyn Any>,
        is_modern: bool,
        responder: &mut Responder,
    ) {
        // Who left does not read the answer. In the stateless revision that cancels the request.
        responder.cancel_on_disconnect();
        let accepts = request.header("accept").map(String::from_utf8_lossy).unwrap_or_default();
        let takes_events = accepts.contains("text/event-stream") && !self.options.json_response;
        let takes_json = !takes_events || accepts.contains("json") || accepts.contains("*/*");
        loop {
            match queue.next().await {
                Some(Item::Reply(reply)) if takes_json => {
                    let status = if is_modern { modern_status(&reply) } else { 200 };
                    return write_json(responder, status, &reply);
                }
                Some(Item::Reply(reply)) => return answer_event(responder, &reply),
                Some(Item::Message(message)) if takes_events => {
                    let mut first = Vec::new();
                    encode(&mut first, &message);
                    let keep_alive = self.options.keep_alive;
                    return Events { first, queue, keep_alive, guard }.answer(responder);
                }
                Some(Item::Message(_)) => {}
                None => return self.refuse(500, "The server gave no answer", responder),
            }
        }
    }

    /// Answers with the stream of what the child says by itself.
    pub(super) fn follow(&self, request: &Request<'_>, responder: &mut Responder) {
        let id = request.header("mcp-session-id").unwrap_or_default();
        let Some(session) = self.sessions.find(id) else {
            // Without a session there is no such stream.
            let status = if id.is_empty() { 405 } else { 404 };
            return self.refuse(status, "There is no such session", responder);
        };
        if session.is_followed.replace(true) {
            return self.refuse(409, "The session's stream is read already", responder);
        }
        let (first, queue) = (b":\n\n".to_vec(), session.own.clone());
        let guard = Box::new(EndOfFollowing(session));
        let keep_alive = self.options.keep_alive;
        Events { first, queue, keep_alive, guard }.answer(responder);
    }

    /// Ends a session.
    pub(super) fn delete(&self, request: &Request<'_>, responder: &mut Responder) {
        let id = request.header("mcp-session-id").unwrap_or_default();
        match self.sessions.find(id) {
            Some(session) => {
                self.sessions.end(&session);
                responder.begin(204);
                responder.finish_empty();
            }
            None => self.refuse(404, "There is no such session", responder),
        }
    }
}

fn accept(responder: &mut Responder) {
    responder.begin(202);
    responder.finish(&[]);
}

/// The status that goes with an answer of the stateless revision.
fn modern_status(reply: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(reply);
    let error = jsonrpc::pick(&text, ["error"]).ok().and_then(|[error]| error);
    let error = error.and_then(|error| jsonrpc::ErrorParts::parse(error.of_text(&text)).ok());
    match error.map(|error| error.code) {
        Some(-32022..=-32020) => 400,
        Some(-32601) => 404,
        _ => 200,
    }
}

/// Answers `initialize` for a child that was greeted before: in the revision that the client asked
/// for, where that is one of the era.
fn greeting(message: &Message<'_>, result: &str) -> Vec<u8> {
    let asked = message.param(Param::ProtocolVersion);
    let known = asked.filter(|raw| LEGACY.iter().any(|known| raw.trim_matches('"') == *known));
    let place = jsonrpc::pick(result, ["protocolVersion"]).ok().and_then(|[place]| place);
    let result = match (known, place) {
        (Some(known), Some(place)) => message::splice(result, &mut [(place, known)]),
        _ => result.as_bytes().to_vec(),
    };
    let mut answer = Vec::new();
    let result = String::from_utf8_lossy(&result);
    jsonrpc::result(&mut answer, message.id().unwrap_or("null"), &result);
    answer
}

/// Checks that the headers repeat what the body says, as the stateless revision demands.
fn check_headers(request: &Request<'_>, message: &Message<'_>) -> Result<(), String> {
    let revision = message::revision(message);
    let version = revision.ok_or("The version header says what _meta does not")?;
    let check = |name: &str, expected: &str| {
        let sent = request.header(name).map(String::from_utf8_lossy).unwrap_or_default();
        let decoded = decode_header_value(&sent).unwrap_or(Cow::Borrowed(""));
        match decoded == expected && request.head.fields().count(request.bytes, name) == 1 {
            true => Ok(()),
            false => Err(format!("{name} does not repeat what the body says")),
        }
    };
    check("mcp-protocol-version", &version)?;
    check("mcp-method", message.method())?;
    message::name(message).map_or(Ok(()), |name| check("mcp-name", &name))
}
