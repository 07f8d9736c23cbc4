//! The far end over streamable HTTP: one POST per message, and a stream for what it says by itself.
//!
//! Which era a request belongs to is the client's choice and stays as it is. In the handshake era
//! the session is kept here, and opened again with the client's own `initialize` when the far end
//! has forgotten it; in the stateless one nothing is kept.

mod streams;

use std::{cell::RefCell, rc::Rc, time::Duration};

use net::{
    client::{Deadline, Response},
    error::Fault,
    http1::{Method, encode},
    jsonrpc::{self, EnvelopeLimits, Message, MessageKind, Param},
};
use serde_json::{Value, json};
use shards::{local::Turns, task};

use super::{
    letter::{Annotations, Letter},
    pending::{Pending, Waiting},
    session::Session,
    text,
};
use crate::{
    bridge::{
        BridgeError, MESSAGE_SIZE_MAX,
        local::Outlet,
        message::{self, Reply, UNREACHED},
        relay::RelayOptions,
    },
    failure::{Failure, UpstreamFailure, UpstreamKind},
    upstream::http::{
        answer::{is_event_stream, is_session_lost, show},
        wire::{Shipment, Wire},
    },
};

/// Most messages that are no requests and are on their way at once.
const ERRAND_COUNT_MAX: usize = 32;

/// How long the end of a session is waited for.
const DELETE_WITHIN: Duration = Duration::from_secs(3);

/// Most pages of a list of tools that are read to learn their annotations.
const PAGE_COUNT_MAX: usize = 100;

/// What the far end answers when the headers do not repeat what the body says.
const HEADER_MISMATCH: i64 = -32020;

/// A far end over streamable HTTP.
pub(in crate::bridge) struct Http {
    wire: Wire,
    outlet: Rc<Outlet>,
    within: Duration,
    turns: Turns,
    errands: Rc<Turns>,
    pending: Pending,
    annotations: Annotations,
    session: RefCell<Option<Rc<Session>>>,
    /// The client's own `initialize` and `notifications/initialized`.
    greeting: RefCell<Option<Rc<Letter>>>,
    initialized: RefCell<Option<Rc<Letter>>>,
    renewing: Turns,
}

/// Why a request has no answer.
enum Trouble {
    /// The far end does not know the session any more, and has not executed the request.
    SessionLost,
    /// Nothing came for too long.
    Late(Duration),
    /// What happened.
    Other(String),
}

impl Trouble {
    fn text(self) -> String {
        match self {
            Trouble::SessionLost => "the server does not know its own session".to_owned(),
            Trouble::Late(within) => format!("no answer came within {within:?}"),
            Trouble::Other(text) => text,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        match failure {
            Failure::Upstream(UpstreamFailure { kind: UpstreamKind::Timeout(within), .. }) => {
                Trouble::Late(within)
            }
            other => Trouble::Other(text(&other)),
        }
    }
}

impl Http {
    /// Makes the far end; nothing is connected yet.
    pub(in crate::bridge) fn new(
        options: &RelayOptions,
        outlet: Rc<Outlet>,
    ) -> Result<Rc<Http>, BridgeError> {
        Ok(Rc::new(Http {
            wire: super::wire(&options.url, &options.headers, options.timeout)?,
            outlet,
            within: options.timeout,
            turns: Turns::new(options.concurrency),
            errands: Rc::new(Turns::new(ERRAND_COUNT_MAX)),
            pending: Pending::default(),
            annotations: Annotations::default(),
            session: RefCell::default(),
            greeting: RefCell::default(),
            initialized: RefCell::default(),
            renewing: Turns::new(1),
        }))
    }

    /// Takes a message of the local end. The handshake is waited for, since what follows needs its
    /// outcome; everything else runs beside what comes next.
    pub(in crate::bridge) async fn take(self: &Rc<Self>, line: &[u8]) {
        let message = match Message::parse(line, &EnvelopeLimits::default()) {
            Ok(message) => message,
            Err(error) if matches!(error.fault, Fault::Batch) => {
                return self.take_batch(line).await;
            }
            Err(error) => {
                let id = error.id.map(|id| String::from_utf8_lossy(id.of_bytes(line)));
                let answer = message::error(id.as_deref(), error.code(), &error.to_string());
                return self.outlet.send(&answer).await;
            }
        };
        let letter = Rc::new(Letter::new(&message, &self.annotations));
        match (message.kind(), message.method()) {
            (MessageKind::Request, _) => self.take_request(letter).await,
            (MessageKind::Notification, "notifications/initialized") if !letter.is_modern => {
                self.initialized.replace(Some(letter.clone()));
                self.notify(&letter).await;
                self.listen();
            }
            (MessageKind::Notification, "notifications/cancelled") => {
                self.cancel(letter, message.param(Param::RequestId)).await;
            }
            _ => self.run_errand(letter).await,
        }
    }

    /// Revision 2025-03-26 has batches. No other has, and few servers take them, so that each of its
    /// messages goes on its own.
    async fn take_batch(self: &Rc<Self>, line: &[u8]) {
        let parts: Vec<&serde_json::value::RawValue> =
            serde_json::from_slice(line).unwrap_or_default();
        if parts.is_empty() {
            let answer = message::error(None, -32600, "The batch is empty.");
            return self.outlet.send(&answer).await;
        }
        for part in parts {
            if part.get().starts_with('[') {
                let answer = message::error(None, -32600, "A batch holds another.");
                self.outlet.send(&answer).await;
            } else {
                Box::pin(self.take(part.get().as_bytes())).await;
            }
        }
    }

    async fn take_request(self: &Rc<Self>, letter: Rc<Letter>) {
        let begun = self.pending.begin(&letter.id, letter.is_modern, letter.is_endless());
        let waiting = match begun {
            Ok(waiting) => waiting,
            Err(text) => {
                let answer = message::error(Some(&letter.id), UNREACHED, &text);
                return self.outlet.send(&answer).await;
            }
        };
        let is_greeting = letter.method == "initialize" && !letter.is_modern;
        let answering = self.clone().answer(letter, waiting);
        match is_greeting {
            true => answering.await,
            false => drop(task::spawn(answering)),
        }
    }

    /// Answers a request, unless it is cancelled before.
    async fn answer(self: Rc<Self>, letter: Rc<Letter>, waiting: Rc<Waiting>) {
        let answering = async {
            let _turn = match letter.is_endless() {
                true => None,
                false => Some(self.turns.take().await),
            };
            self.converse(&letter).await
        };
        let outcome = waiting.cancelled.unless(answering).await;
        if let Some(outcome) = outcome {
            let answer = outcome.unwrap_or_else(|trouble| {
                let text = trouble.text();
                tracing::warn!(method = letter.method, "{text}");
                message::error(Some(&letter.id), UNREACHED, &text)
            });
            self.outlet.send(&answer).await;
        }
        self.pending.end(&letter.id);
    }

    async fn converse(self: &Rc<Self>, letter: &Rc<Letter>) -> Result<Vec<u8>, Trouble> {
        if letter.method == "initialize" && !letter.is_modern {
            self.greeting.replace(Some(letter.clone()));
            return self.open(letter).await;
        }
        if letter.is_modern {
            return self.converse_modern(letter).await;
        }
        let session = self.session.borrow().clone();
        match (self.exchange(letter, session.as_ref()).await, session) {
            (Err(Trouble::SessionLost), Some(lost)) => {
                let session = self.renew(&lost).await?;
                self.exchange(letter, Some(&session)).await
            }
            (Err(Trouble::Late(within)), session) => {
                self.give_up(letter, session);
                Err(Trouble::Late(within))
            }
            (outcome, _) => outcome,
        }
    }

    /// Exchanges a request of the stateless era. Where the far end misses headers, the lists that
    /// say which are read again, once.
    async fn converse_modern(self: &Rc<Self>, letter: &Letter) -> Result<Vec<u8>, Trouble> {
        let answer = self.exchange(letter, None).await?;
        if letter.tool.is_none() || error_code(&answer) != Some(HEADER_MISMATCH) {
            return Ok(answer);
        }
        self.read_tools(letter).await?;
        let again = Message::parse(&letter.body, &EnvelopeLimits::default())
            .map_err(|error| Trouble::Other(error.to_string()))?;
        self.exchange(&Letter::new(&again, &self.annotations), None).await
    }

    /// Reads the list of tools, to learn which headers a call needs.
    async fn read_tools(self: &Rc<Self>, letter: &Letter) -> Result<(), Trouble> {
        let call: Value = serde_json::from_slice(&letter.body).unwrap_or_default();
        let mut params = json!({ "_meta": call["params"]["_meta"] });
        for _ in 0..PAGE_COUNT_MAX {
            let id = "ringway-tools";
            let list =
                json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list", "params": params });
            let list = list.to_string();
            let list = Message::parse(list.as_bytes(), &EnvelopeLimits::default())
                .map_err(|error| Trouble::Other(error.to_string()))?;
            let answer = self.exchange(&Letter::new(&list, &self.annotations), None).await?;
            match self.annotations.learn(&answer) {
                Some(cursor) => params["cursor"] = cursor.into(),
                None => break,
            }
        }
        Ok(())
    }

    /// Sends a request and waits for its answer; what comes before it is handed on.
    async fn exchange(
        self: &Rc<Self>,
        letter: &Letter,
        session: Option<&Rc<Session>>,
    ) -> Result<Vec<u8>, Trouble> {
        let response = self.post(letter, session).await?;
        self.read(letter, session, response).await
    }

    async fn post(
        &self,
        letter: &Letter,
        session: Option<&Rc<Session>>,
    ) -> Result<Response, Failure> {
        let write = |out: &mut Vec<u8>, path: &str| {
            encode::begin_request(out, "POST", path);
            out.extend_from_slice(self.wire.lines());
            encode::lines(out, "content-type: application/json\r\n");
            encode::lines(out, "accept: application/json, text/event-stream\r\n");
            out.extend_from_slice(session.map_or(&letter.lines, |session| &session.lines));
            encode::content_length(out, letter.body.len());
            encode::end(out);
            out.extend_from_slice(&letter.body);
        };
        let is_harmless_twice = letter.method != "tools/call";
        let shipment = Shipment::post(&write, is_harmless_twice);
        self.wire.ship(shipment, Deadline::after(self.within)).await
    }

    async fn read(
        &self,
        letter: &Letter,
        session: Option<&Rc<Session>>,
        response: Response,
    ) -> Result<Vec<u8>, Trouble> {
        let answer = match is_event_stream(&response) {
            true => self.read_events(letter, session, response).await?,
            false => self.read_whole(letter, session, response).await?,
        };
        if letter.method == "tools/list" && letter.is_modern {
            self.annotations.learn(&answer);
        }
        Ok(answer)
    }

    async fn read_whole(
        &self,
        letter: &Letter,
        session: Option<&Rc<Session>>,
        response: Response,
    ) -> Result<Vec<u8>, Trouble> {
        let status = response.status();
        let body = response.whole(MESSAGE_SIZE_MAX).await;
        let body = body.map_err(|error| Trouble::Other(error.to_string()))?;
        let has_session = session.is_some_and(|session| session.has_id);
        if has_session && is_session_lost(status, error_code(body.data()), body.data()) {
            return Err(Trouble::SessionLost);
        }
        match message::reply(body.data()) {
            Reply::To(id) if id == letter.id => Ok(body.data().to_vec()),
            Reply::ToNobody => Ok(answer_to(&letter.id, body.data())),
            _ => {
                let shown = show(body.data());
                Err(Trouble::Other(format!("the server answered with status {status}: {shown}")))
            }
        }
    }

    /// Opens a session by the client's `initialize`.
    async fn open(self: &Rc<Self>, greeting: &Letter) -> Result<Vec<u8>, Trouble> {
        let response = self.post(greeting, None).await?;
        let id = response.header("mcp-session-id").map(<[u8]>::to_vec);
        let answer = self.read(greeting, None, response).await?;
        if let Some(session) = Session::new(id.as_deref(), &answer) {
            let former = self.session.replace(Some(Rc::new(session)));
            if let Some(former) = former {
                former.closing.open();
            }
        }
        Ok(answer)
    }

    /// Opens the session again, once for all who lost it.
    async fn renew(self: &Rc<Self>, lost: &Rc<Session>) -> Result<Rc<Session>, Trouble> {
        let _turn = self.renewing.take().await;
        let current = self.session.borrow().clone();
        if let Some(current) = current.filter(|current| !Rc::ptr_eq(current, lost)) {
            return Ok(current);
        }
        let Some(greeting) = self.greeting.borrow().clone() else {
            return Err(Trouble::SessionLost);
        };
        tracing::info!("the server forgot the session; opening it again");
        let answer = self.open(&greeting).await?;
        let opened = self.session.borrow().clone();
        let opened = opened.filter(|opened| !Rc::ptr_eq(opened, lost));
        let session = opened.ok_or_else(|| Trouble::Other(show(&answer)))?;
        let initialized = self.initialized.borrow().clone();
        if let Some(letter) = initialized {
            self.notify(&letter).await;
            self.listen();
        }
        Ok(session)
    }

    /// Posts a message that is no request, beside what comes next.
    async fn run_errand(self: &Rc<Self>, letter: Rc<Letter>) {
        let turn = self.errands.take_owned().await;
        let http = self.clone();
        task::spawn(async move {
            http.notify(&letter).await;
            drop(turn);
        });
    }

    /// Posts a message that is no request. That it failed is only logged: nobody waits for it.
    async fn notify(&self, letter: &Letter) {
        let session = self.session.borrow().clone().filter(|_| !letter.is_modern);
        let failed = match self.post(letter, session.as_ref()).await {
            Ok(response) if response.status() < 300 => {
                // Read to its end, which is mostly at once, so that the connection serves again.
                return drop(response.whole(MESSAGE_SIZE_MAX).await);
            }
            Ok(response) => format!("status {}", response.status()),
            Err(failure) => text(&failure),
        };
        tracing::warn!(method = letter.method, "a message was not taken: {failed}");
    }

    /// Passes on that a request is cancelled: by closing its answer in the stateless era, by the
    /// client's own notification in the other.
    async fn cancel(self: &Rc<Self>, letter: Rc<Letter>, id: Option<&str>) {
        let waiting = id.and_then(|id| self.pending.find(id));
        if waiting.as_ref().is_none_or(|waiting| !waiting.is_modern) && !letter.is_modern {
            self.run_errand(letter).await;
        }
        if let Some(waiting) = waiting {
            waiting.cancelled.open();
        }
    }

    /// Tells the far end that nobody waits for an answer any more.
    fn give_up(self: &Rc<Self>, letter: &Letter, session: Option<Rc<Session>>) {
        let id = &letter.id;
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":\
             {{\"requestId\":{id},\"reason\":\"no answer in time\"}}}}"
        );
        let Ok(message) = Message::parse(body.as_bytes(), &EnvelopeLimits::default()) else {
            return;
        };
        let (http, letter) = (self.clone(), Letter::new(&message, &self.annotations));
        task::spawn(async move { drop(http.post(&letter, session.as_ref()).await) });
    }

    /// Waits for the answers under way, unless `at_once`, and ends the session.
    pub(in crate::bridge) async fn finish(&self, at_once: bool) {
        self.pending.cancel(at_once);
        self.pending.settled().await;
        // Every errand that is on its way holds a turn.
        let mut turns = Vec::new();
        while !at_once && turns.len() < ERRAND_COUNT_MAX {
            turns.push(self.errands.take_owned().await);
        }
        let Some(session) = self.session.take() else { return };
        session.closing.open();
        if session.has_id {
            let delete = |out: &mut Vec<u8>, path: &str| {
                encode::begin_request(out, "DELETE", path);
                out.extend_from_slice(self.wire.lines());
                out.extend_from_slice(&session.lines);
                encode::end(out);
            };
            let shipment = Shipment::post(&delete, true).with_method(Method::Delete);
            let _ = self.wire.ship(shipment, Deadline::after(DELETE_WITHIN)).await;
        }
    }
}

/// The code of an error answer.
fn error_code(answer: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(answer).ok()?;
    let [error] = jsonrpc::pick(text, ["error"]).ok()?;
    jsonrpc::ErrorParts::parse(error?.of_text(text)).ok().map(|error| error.code)
}

/// An error that names no request, as the answer to this one.
fn answer_to(id: &str, answer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(answer);
    let error = jsonrpc::pick(&text, ["error"]).ok().and_then(|[error]| error);
    let error = error.map_or("{}", |place| place.of_text(&text));
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_to_nobody_becomes_the_answer_to_who_asked() {
        let answer = br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"no"}}"#;
        assert_eq!(error_code(answer), Some(-32001));
        assert_eq!(
            String::from_utf8(answer_to("\"a\"", answer)).unwrap(),
            r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32001,"message":"no"}}"#
        );
    }
}
