//! What an upstream's answer means: a reply, or in which way it failed.

use net::{
    client::{Body, Response},
    jsonrpc::{self, AnswerKind, EnvelopeLimits, ErrorParts},
    span::Span,
};
use shards::buffer;

use super::wire::Wire;
use crate::{
    failure::{Failure, ProtocolError, UpstreamKind},
    upstream::{Outcome, Reply},
};

/// Most bytes of the body of an HTTP error that are looked at.
const REFUSAL_SIZE_MAX: usize = 1024 * 1024;

/// Most characters of an HTTP error's text that are shown.
const TEXT_SIZE_MAX: usize = 200;

/// Most bytes of an id that an upstream may use for a request of its own.
const ID_SIZE_MAX: usize = 256;

/// The header and the revision that a modern upstream disagrees about.
const HEADER_MISMATCH: i64 = -32020;
const REVISION_UNSUPPORTED: i64 = -32022;

/// Codes that only MCP servers of the modern era use.
fn is_modern_code(code: i64) -> bool {
    (REVISION_UNSUPPORTED..=HEADER_MISMATCH).contains(&code)
}

/// A message of an upstream, as far as a leg cares.
pub(in crate::upstream) enum Message {
    /// The answer to the request with this id; an error that could not name it has none.
    Reply { id: Option<u64>, outcome: Outcome, span: Span },
    /// A request of the upstream: its raw id, its method and its raw params.
    Request { id: String, method: String, params: Option<String> },
    /// A notification.
    Notification,
}

impl Wire {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`UpstreamKind::Nonsense`] that says what is wrong with it.
    pub(in crate::upstream) fn message(&self, bytes: &[u8]) -> Result<Message, Failure> {
        let limits =
            EnvelopeLimits { depth_max: self.limits.json_depth_max, id_size_max: ID_SIZE_MAX };
        let message = jsonrpc::Answer::parse(bytes, &limits)
            .map_err(|error| self.failure(UpstreamKind::Nonsense, error.to_string(), true))?;
        let reply = |outcome, place: Option<Span>| -> Result<Message, Failure> {
            // Our ids are numbers; any other is not ours.
            let id = message.id().map(|id| id.parse().map_err(|_| self.wrong_id(id)));
            let span = place.expect("the kind says that it is there");
            Ok(Message::Reply { id: id.transpose()?, outcome, span })
        };
        Ok(match message.kind() {
            AnswerKind::Result => reply(Outcome::Result, message.result_place())?,
            AnswerKind::Error => reply(Outcome::Error, message.error_place())?,
            AnswerKind::Request => Message::Request {
                id: message.id().unwrap_or_default().to_owned(),
                method: message.method().to_owned(),
                params: message.params().map(str::to_owned),
            },
            AnswerKind::Notification => Message::Notification,
        })
    }

    #[cold]
    pub(in crate::upstream) fn wrong_id(&self, id: &str) -> Failure {
        let detail = format!("its answer has the id {id}, which nobody asked with");
        self.failure(UpstreamKind::Nonsense, detail, true)
    }
}

/// Whether the answer is a stream of events.
pub(crate) fn is_event_stream(response: &Response) -> bool {
    (200..300).contains(&response.status()) && has_type(response, b"text/event-stream")
}

fn has_type(response: &Response, expected: &[u8]) -> bool {
    let value = response.header("content-type").unwrap_or_default();
    let value = value.split(|byte| *byte == b';').next().unwrap_or_default();
    value.trim_ascii_end().eq_ignore_ascii_case(expected)
}

/// Reads an answer that is no stream: the reply to the request `id`.
///
/// `has_session` says that a session's id went with the request, so that the upstream may have
/// turned it away for that.
///
/// # Errors
///
/// An upstream failure, or [`Failure::Protocol`] as [`settle`] says.
pub(in crate::upstream) async fn read(
    wire: &Wire,
    response: Response,
    id: u64,
    has_session: bool,
) -> Result<Reply, Failure> {
    let status = response.status();
    if !(200..300).contains(&status) {
        return refusal(wire, response, id, has_session).await;
    }
    let is_json = has_type(&response, b"application/json");
    if !is_json && response.header("content-type").is_some() {
        return Err(wrong_type(wire, &response));
    }
    let body = response.whole(wire.limits.answer_size_max).await;
    let body = body.map_err(|error| wire.broken(&error))?;
    if body.span.is_empty() {
        let detail = format!("status {status} without an answer to the request");
        return Err(wire.failure(UpstreamKind::Nonsense, detail, true));
    }
    match wire.message(body.data())? {
        Message::Reply { id: answered, outcome, span } => {
            if answered.is_some_and(|answered| answered != id) {
                return Err(wire.wrong_id(&answered.unwrap_or_default().to_string()));
            }
            let span = span.shifted(body.span.start as usize);
            settle(wire, Reply { bytes: body.bytes, span, outcome })
        }
        _ => Err(wire.failure(UpstreamKind::Nonsense, "no answer but a message of its own", true)),
    }
}

/// Hands on a reply, unless it is an error that concerns us and not the client.
///
/// # Errors
///
/// [`Failure::Protocol`] if the upstream disagrees about the revision or the headers.
pub(in crate::upstream) fn settle(wire: &Wire, reply: Reply) -> Result<Reply, Failure> {
    if reply.outcome == Outcome::Result {
        return Ok(reply);
    }
    let Some(error) = error_of(reply.raw()) else {
        return Err(wire.failure(UpstreamKind::Nonsense, "its error is no JSON-RPC error", true));
    };
    if !matches!(error.code, HEADER_MISMATCH | REVISION_UNSUPPORTED) {
        return Ok(reply);
    }
    Err(Failure::Protocol(ProtocolError {
        status: 400,
        code: error.code as i32,
        message: error.message.into_owned(),
        data: error.data.map(str::to_owned),
    }))
}

fn error_of(raw: &[u8]) -> Option<ErrorParts<'_>> {
    ErrorParts::parse(std::str::from_utf8(raw).ok()?).ok()
}

#[cold]
fn wrong_type(wire: &Wire, response: &Response) -> Failure {
    let kind = clean(response.header("content-type").unwrap_or_default());
    let detail = format!("it answered {kind}, neither JSON nor a stream of events");
    wire.failure(UpstreamKind::Nonsense, detail, true)
}

/// Reads what comes with an HTTP status that is an error: a JSON-RPC error is the reply, whatever
/// the status; other text is only shown.
#[cold]
async fn refusal(
    wire: &Wire,
    response: Response,
    id: u64,
    has_session: bool,
) -> Result<Reply, Failure> {
    let status = response.status();
    let size_max = REFUSAL_SIZE_MAX.min(wire.limits.answer_size_max);
    let body = response.whole(size_max).await.ok();
    let body = body.unwrap_or(Body { bytes: Vec::new(), span: Span::default() });
    let message = wire.message(body.data()).ok();
    let code = match &message {
        Some(Message::Reply { outcome: Outcome::Error, span, .. }) => {
            error_of(span.of_bytes(body.data())).map(|error| error.code)
        }
        _ => None,
    };
    if has_session && is_session_lost(status, code, body.data()) {
        return Err(wire.failure(UpstreamKind::SessionLost, show(body.data()), false));
    }
    match message {
        Some(Message::Reply { id: answered, outcome: Outcome::Error, span })
            if answered == Some(id) || (answered.is_none() && code.is_some_and(is_modern_code)) =>
        {
            let span = span.shifted(body.span.start as usize);
            settle(wire, Reply { bytes: body.bytes, span, outcome: Outcome::Error })
        }
        _ => {
            let detail = show(body.data());
            buffer::give(body.bytes);
            Err(wire.failure(UpstreamKind::Status(status), detail, status >= 500))
        }
    }
}

/// Why an answer is not the stream that was asked for.
#[cold]
pub(super) async fn no_stream(wire: &Wire, response: Response, has_session: bool) -> Failure {
    let status = response.status();
    let body = response.whole(REFUSAL_SIZE_MAX.min(wire.limits.answer_size_max)).await;
    let body = body.unwrap_or(Body { bytes: Vec::new(), span: Span::default() });
    let detail = show(body.data());
    let kind = match status {
        _ if has_session && is_session_lost(status, None, body.data()) => UpstreamKind::SessionLost,
        200..300 => UpstreamKind::Nonsense,
        _ => UpstreamKind::Status(status),
    };
    buffer::give(body.bytes);
    wire.failure(kind, detail, false)
}

/// Whether the upstream turned a request away because it does not know its session: 404 by the
/// specification, but some servers answer 400. A modern server also says by 404 that it does not
/// know the method.
pub(crate) fn is_session_lost(status: u16, code: Option<i64>, body: &[u8]) -> bool {
    let names_session = || body.windows(7).any(|window| window.eq_ignore_ascii_case(b"session"));
    (status == 404 && code != Some(-32601))
        || (status == 400 && (code == Some(-32000) || names_session()))
}

/// The beginning of an error's text, fit for a line of a log or a message.
pub(crate) fn show(bytes: &[u8]) -> String {
    let text = clean(bytes);
    if text.is_empty() { "no text".to_owned() } else { text }
}

fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * TEXT_SIZE_MAX)]);
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().take(TEXT_SIZE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_lost_session_from_another_refusal() {
        assert!(is_session_lost(404, None, b""));
        assert!(is_session_lost(404, Some(-32001), b"{}"));
        assert!(!is_session_lost(404, Some(-32601), b"{}"));
        assert!(is_session_lost(400, Some(-32000), b"{}"));
        assert!(is_session_lost(400, None, b"No valid Session ID provided"));
        assert!(!is_session_lost(400, Some(-32602), b"Unknown tool"));
        assert!(!is_session_lost(500, Some(-32000), b"session"));
    }

    #[test]
    fn shows_errors_on_one_short_line() {
        assert_eq!(show(b" <h1>Bad\r\n\tGateway\x1b[31m</h1> "), "<h1>Bad Gateway [31m</h1>");
        assert_eq!(show(b""), "no text");
        assert_eq!(show("ü".repeat(900).as_bytes()).chars().count(), TEXT_SIZE_MAX);
    }
}
