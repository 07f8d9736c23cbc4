//! What comes back from an upstream, made into what this client understands: whole answers, and
//! answers with notifications before them.

use std::{future::Future, pin::Pin, rc::Rc};

use net::jsonrpc;

use crate::{
    failure::{Failure, UpstreamKind},
    gateway::{relayed, succeeded},
    mcp::{self, Era},
    observe::meters::{LongExecution, Meters},
    reply::{Accepts, Messages, Reply},
    upstream::{Event, Outcome, Reply as UpstreamReply, Stream},
};

/// How results differ between the client's era and the upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// Not at all.
    None,
    /// A legacy result for a modern client; `cached` if it must say how long it holds.
    Complete {
        /// It must.
        cached: bool,
    },
    /// A modern result for a legacy client.
    Strip,
}

impl Translation {
    /// What lies between a client and an upstream.
    pub fn between(client: Era, modern_upstream: bool, cached: bool) -> Translation {
        match (client, modern_upstream) {
            (Era::Modern, false) => Translation::Complete { cached },
            (Era::Legacy, true) => Translation::Strip,
            _ => Translation::None,
        }
    }

    /// Translates a whole answer.
    pub fn reply(self, mut reply: UpstreamReply, upstream: &str) -> Result<Reply, Failure> {
        if reply.outcome == Outcome::Error {
            return Ok(self.error(reply));
        }
        if self == Translation::Strip
            && let Some(span) = mcp::strip_in_place(&mut reply.bytes, reply.span)
        {
            reply.span = span;
            return Ok(relayed(reply));
        }
        match self {
            Translation::None => Ok(relayed(reply)),
            Translation::Complete { .. } | Translation::Strip => {
                let mut out = shards::buffer::take();
                self.write_result(&mut out, raw_text(&reply), upstream)?;
                shards::buffer::give(reply.bytes);
                Ok(Reply::Result(out))
            }
        }
    }

    fn write_result(self, out: &mut Vec<u8>, raw: &str, upstream: &str) -> Result<(), Failure> {
        match self {
            Translation::None => out.extend_from_slice(raw.as_bytes()),
            Translation::Complete { cached } => mcp::complete_result(out, raw, cached),
            Translation::Strip => {
                if let Some(other) = mcp::strip_modern(out, raw) {
                    let detail = format!(
                        "its answer is of the type {other}, which clients of this revision \
                         cannot continue"
                    );
                    return Err(Failure::upstream(upstream, UpstreamKind::Nonsense, detail, true));
                }
            }
        }
        Ok(())
    }

    /// Some codes mean the same and are numbered otherwise.
    fn error(self, reply: UpstreamReply) -> Reply {
        let raw = raw_text(&reply);
        let code = jsonrpc::ErrorParts::parse(raw).map_or(0, |parts| parts.code);
        let renumbered = match (self, code) {
            (Translation::Complete { .. }, -32002) => -32602,
            (Translation::Strip, -32022..=-32020) => -32603,
            _ => return relayed(reply),
        };
        let Ok([Some(place), ..]) = jsonrpc::pick(raw, ["code"]) else { return relayed(reply) };
        let (start, end) = (place.start as usize, place.end as usize);
        let text = format!("{}{renumbered}{}", &raw[..start], &raw[end..]);
        Reply::Error(text.into_bytes())
    }
}

fn raw_text(reply: &UpstreamReply) -> &str {
    std::str::from_utf8(reply.raw()).expect("a leg checks that answers are UTF-8")
}

/// An answer that streams, which counts as an execution when it ends. One that is left before it
/// ended counts as none: neither did it fail, nor is it known to have done what was asked.
pub struct Source {
    stream: Stream,
    execution: Option<(Rc<Meters>, LongExecution)>,
}

impl Source {
    /// A stream that is the `execution`, if it is one.
    pub fn new(stream: Stream, execution: Option<(Rc<Meters>, LongExecution)>) -> Source {
        Source { stream, execution }
    }

    async fn next(&mut self) -> Result<Event, Failure> {
        let event = self.stream.next().await;
        if matches!(event, Ok(Event::Notification(_))) {
            return event;
        }
        if let Some((meters, execution)) = self.execution.take() {
            let execution = execution.lend();
            let is_success =
                matches!(&event, Ok(Event::Reply(reply)) if succeeded(&execution, reply));
            meters.end(&execution, is_success);
        }
        event
    }
}

/// Relays an answer that streams. A client that takes no events gets the answer alone.
pub async fn relay(
    mut source: Source,
    id: &str,
    upstream: &str,
    translation: Translation,
    accepts: Accepts,
) -> Result<Reply, Failure> {
    if accepts.events {
        let (id, upstream) = (id.to_owned(), upstream.to_owned());
        return Ok(Reply::Stream(Box::new(Relay { source, id, upstream, translation })));
    }
    loop {
        match source.next().await? {
            Event::Notification(message) => drop(message),
            Event::Reply(reply) => return translation.reply(reply, upstream),
        }
    }
}

/// An upstream's stream on its way to the client.
struct Relay {
    source: Source,
    id: String,
    upstream: String,
    translation: Translation,
}

impl Messages for Relay {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            let outcome = match self.source.next().await {
                Ok(Event::Notification(message)) => {
                    out.extend_from_slice(&message);
                    return true;
                }
                Ok(Event::Reply(reply)) => self.translation.reply(reply, &self.upstream),
                Err(failure) => Err(failure),
            };
            self.write_last(out, outcome);
            false
        })
    }
}

impl Relay {
    fn write_last(&self, out: &mut Vec<u8>, outcome: Result<Reply, Failure>) {
        let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
        match outcome {
            Ok(Reply::Result(raw)) => jsonrpc::result(out, &self.id, &text(&raw)),
            Ok(Reply::Relayed(relayed)) if !relayed.is_error => {
                let raw = relayed.place.of_bytes(&relayed.bytes);
                jsonrpc::result(out, &self.id, &text(raw));
            }
            Ok(Reply::Relayed(relayed)) => {
                write_error(out, &self.id, relayed.place.of_bytes(&relayed.bytes));
            }
            Ok(Reply::Error(raw)) => write_error(out, &self.id, &raw),
            Ok(_) => unreachable!("a translation gives results and errors only"),
            Err(failure) => {
                let (code, message) = (failure.code(), failure.to_string());
                jsonrpc::error(out, Some(&self.id), code, &message, None);
            }
        }
    }
}

fn write_error(out: &mut Vec<u8>, id: &str, raw: &[u8]) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"error\":");
    out.extend_from_slice(raw);
    out.push(b'}');
}
