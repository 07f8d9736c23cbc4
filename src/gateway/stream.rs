//! What comes back from an upstream, made into what this client understands: whole answers, and
//! answers with notifications before them.

use std::{future::Future, pin::Pin, rc::Rc, time::Duration};

use memchr::memmem;
use net::jsonrpc;
use shards::{local::Gate, task, time};

use crate::{
    failure::{Failure, UpstreamKind},
    gateway::{parked::Parker, relayed, succeeded, urls},
    mcp::{self, Capabilities, Era, LEVELS, ServerInfo},
    observe::{
        held::{Hold, Kind},
        meters::{LongExecution, Meters},
    },
    reply::{self, Accepts, Messages, Reply},
    session::{Asks, Session},
    upstream::{Event, LogWish, Outcome, Question, Reply as UpstreamReply, Stream},
};

/// How results differ between the client's era and the upstream's.
#[derive(Clone, Debug)]
pub enum Translation {
    /// Not at all.
    None,
    /// A legacy result for a modern client.
    Complete {
        /// It must say how long it holds.
        cached: bool,
        /// The client can send its user to a URL.
        can_go: bool,
        /// What it says it is from.
        server: ServerInfo,
    },
    /// A modern result for a legacy client.
    Strip {
        /// It is the content of a resource.
        read: bool,
    },
}

impl Translation {
    /// What lies between a client and an upstream, for the content of a resource if it is a `read`.
    pub fn between(
        client: Era,
        modern_upstream: bool,
        read: bool,
        server: &ServerInfo,
    ) -> Translation {
        match (client, modern_upstream) {
            (Era::Modern, false) => {
                Translation::Complete { cached: read, can_go: false, server: server.clone() }
            }
            (Era::Legacy, true) => Translation::Strip { read },
            _ => Translation::None,
        }
    }

    /// The same for a client that can be asked this.
    pub fn asking(mut self, declared: Capabilities) -> Translation {
        if let Translation::Complete { can_go, .. } = &mut self {
            *can_go = declared.has(Capabilities::URLS);
        }
        self
    }

    /// Translates a whole answer.
    pub fn reply(&self, mut reply: UpstreamReply, upstream: &str) -> Result<Reply, Failure> {
        if reply.outcome == Outcome::Error {
            if let Translation::Complete { can_go, server, .. } = self
                && let Some(demanded) = urls::demanded(&reply, *can_go, server)
            {
                return demanded.map(relayed);
            }
            return Ok(self.error(reply));
        }
        if matches!(self, Translation::Strip { .. })
            && let Some(span) = mcp::strip_in_place(&mut reply.bytes, reply.span)
        {
            reply.span = span;
            return Ok(relayed(reply));
        }
        match self {
            Translation::None => Ok(relayed(reply)),
            Translation::Complete { .. } | Translation::Strip { .. } => {
                let mut out = shards::buffer::take();
                self.write_result(&mut out, raw_text(&reply), upstream)?;
                shards::buffer::give(reply.bytes);
                Ok(Reply::Result(out))
            }
        }
    }

    fn write_result(&self, out: &mut Vec<u8>, raw: &str, upstream: &str) -> Result<(), Failure> {
        match self {
            Translation::None => out.extend_from_slice(raw.as_bytes()),
            Translation::Complete { cached, server, .. } => {
                mcp::complete_result(out, raw, *cached, server);
            }
            Translation::Strip { .. } => {
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
    fn error(&self, reply: UpstreamReply) -> Reply {
        let raw = raw_text(&reply);
        let code = jsonrpc::ErrorParts::parse(raw).map_or(0, |parts| parts.code);
        let renumbered = match (self, code) {
            (Translation::Complete { .. }, -32002) => -32602,
            (Translation::Strip { .. }, -32022..=-32020) => -32603,
            // What is not there has a code of its own before the stateless revision.
            (Translation::Strip { read: true }, -32602) => -32002,
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
    _hold: Hold,
}

impl Source {
    /// A stream that is the `execution`, if it is one.
    pub fn new(stream: Stream, execution: Option<(Rc<Meters>, LongExecution)>) -> Source {
        Source { stream, execution, _hold: Kind::StreamedAnswer.hold() }
    }

    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// An upstream failure.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        let event = self.stream.next().await;
        if matches!(event, Ok(Event::Notification(_) | Event::Question(_))) {
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
    asked: Asked,
) -> Result<Reply, Failure> {
    if accepts.events {
        let (id, upstream) = (id.to_owned(), upstream.to_owned());
        let over = Rc::default();
        let relay = Relay { source: Some(source), id, upstream, translation, asked, over };
        return Ok(Reply::Stream(Box::new(relay)));
    }
    loop {
        match source.next().await? {
            Event::Notification(message) => drop(message),
            Event::Question(question) => match asked.parker {
                Some(parker) => {
                    let result = parker.park(source, question, upstream, translation);
                    return result.map(Reply::Result);
                }
                None => question.refuse(),
            },
            Event::Reply(reply) => return translation.reply(reply, upstream),
        }
    }
}

/// How a client is asked what an upstream wants to know, if it can be.
pub struct Asked {
    /// By its stream, while its request runs.
    pub client: Option<Client>,
    /// By the result, which it answers by sending its request again.
    pub parker: Option<Parker>,
    /// Which log messages it gets.
    pub logs: Logs,
}

/// Which log messages of an upstream go to a client without a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logs {
    /// Those that come: the upstream knows what the request asks for.
    All,
    /// Those of the level at this place of [`LEVELS`] and above.
    From(usize),
    /// None: the request asks for none, which the upstream cannot know.
    None,
}

impl Logs {
    /// What the upstream is to know of it.
    pub fn wish(self) -> Option<LogWish> {
        match self {
            Logs::From(place) => Some(LogWish::named(place)),
            Logs::All | Logs::None => None,
        }
    }

    /// Whether a notification is to be relayed.
    fn want(self, message: &[u8]) -> bool {
        let level = || std::str::from_utf8(message).ok().and_then(level_of);
        match self {
            Logs::All => true,
            _ if is_url_done(message) => false,
            Logs::From(least) => level().is_none_or(|level| place(&level) >= Some(least)),
            Logs::None => level().is_none(),
        }
    }
}

impl Asked {
    /// Whether the client gets a notification: of log messages those that it wants.
    fn want(&self, message: &[u8]) -> bool {
        self.client.as_ref().map_or_else(|| self.logs.want(message), |client| client.wants(message))
    }
}

/// Where a level of log messages stands, from the least one up.
pub fn place(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

/// A client that can be asked something while its request runs.
pub struct Client {
    /// Where its answers are waited for.
    pub asks: Rc<Asks>,
    /// Its session.
    pub session: Rc<Session>,
    /// What it can be asked.
    pub capabilities: Capabilities,
    /// How long it may take to answer.
    pub answer_within: Duration,
}

impl Client {
    /// Writes a question for the client into `out`, and has the answer go where it belongs. False if
    /// it cannot be asked this. Nobody waits any more once `over` is open.
    fn ask(&self, question: Question, over: &Rc<Gate>, out: &mut Vec<u8>) -> bool {
        let Ok(mut asked) = self.asks.ask(&self.session.ticket.key) else { return false };
        let mut message = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
        jsonrpc::write_string(&mut message, &asked.id);
        message.extend_from_slice(b",\"method\":");
        jsonrpc::write_string(&mut message, &question.method);
        message.extend_from_slice(b",\"params\":");
        message.extend_from_slice(question.params.as_bytes());
        message.push(b'}');
        out.extend_from_slice(&message);
        let (within, over) = (self.answer_within, over.clone());
        task::spawn_if_running(async move {
            let answer = over.unless(time::timeout(within, asked.answer())).await;
            if let Some(Ok(Some(word))) = answer {
                question.answer(&word);
            }
        });
        true
    }

    /// The log messages that the client wants. One that never named a level gets those that are no
    /// debugging aid; the revisions with a handshake leave that to us.
    pub fn log_level(&self) -> LogWish {
        let wishes = self.session.wishes();
        let wished = wishes.level.as_deref().and_then(place);
        wished.map_or_else(LogWish::unnamed, LogWish::named)
    }

    /// Whether the client wants a notification: of log messages those of its level and above.
    fn wants(&self, message: &[u8]) -> bool {
        let wishes = self.session.wishes();
        let Some(least) = wishes.level.as_deref() else { return true };
        let Some(level) = std::str::from_utf8(message).ok().and_then(level_of) else { return true };
        place(&level) >= place(least)
    }
}

/// Whether a notification says that a user is back from a URL, which the stateless revision does not
/// know.
fn is_url_done(message: &[u8]) -> bool {
    const METHOD: &[u8] = b"notifications/elicitation/complete";
    let text = memmem::find(message, METHOD).and_then(|_| std::str::from_utf8(message).ok());
    let method =
        text.and_then(|text| Some(jsonrpc::pick(text, ["method"]).ok()?[0]?.of_text(text)));
    method.is_some_and(|method| method.as_bytes().get(1..=METHOD.len()) == Some(METHOD))
}

/// The level of a log message, if it is one.
fn level_of(message: &str) -> Option<String> {
    let [method, params] = jsonrpc::pick(message, ["method", "params"]).ok()?;
    let params = params?.of_text(message);
    if method?.of_text(message) != "\"notifications/message\"" {
        return None;
    }
    let [level] = jsonrpc::pick(params, ["level"]).ok()?;
    jsonrpc::unescape(level?.of_text(params)).ok().map(|level| level.into_owned())
}

/// An upstream's stream on its way to the client.
struct Relay {
    /// None once it waits elsewhere.
    source: Option<Source>,
    id: String,
    upstream: String,
    translation: Translation,
    asked: Asked,
    /// Open once nobody waits any more.
    over: Rc<Gate>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.open();
    }
}

impl Messages for Relay {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            let outcome = loop {
                let Some(source) = &mut self.source else { return false };
                break match source.next().await {
                    Ok(Event::Notification(message)) => {
                        if !self.asked.want(&message) {
                            continue;
                        }
                        out.extend_from_slice(&message);
                        return true;
                    }
                    Ok(Event::Question(question)) => {
                        if let Some(parker) = self.asked.parker.take()
                            && let Some(source) = self.source.take()
                        {
                            let (upstream, translation) =
                                (&self.upstream, self.translation.clone());
                            break parker
                                .park(source, question, upstream, translation)
                                .map(Reply::Result);
                        }
                        let Some(client) = &self.asked.client else {
                            question.refuse();
                            continue;
                        };
                        if client.ask(question, &self.over, out) {
                            return true;
                        }
                        continue;
                    }
                    Ok(Event::Reply(reply)) => self.translation.reply(reply, &self.upstream),
                    Err(failure) => Err(failure),
                };
            };
            reply::write_message(out, &self.id, outcome);
            false
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_a_session_gets_the_log_messages_that_its_request_asks_for() {
        let log = |level: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}"}}}}"#
            )
        };
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
        let from = |level: &str| Logs::From(place(level).expect("a level"));
        for (logs, message, expected) in [
            (Logs::All, log("debug"), true),
            (Logs::None, log("emergency"), false),
            (Logs::None, progress.to_owned(), true),
            (from("warning"), log("info"), false),
            (from("warning"), log("warning"), true),
            (from("warning"), log("error"), true),
            (from("warning"), progress.to_owned(), true),
        ] {
            assert_eq!(logs.want(message.as_bytes()), expected, "{logs:?}: {message}");
        }
    }
}
