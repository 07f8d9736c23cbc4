//! A client of the stateless revision before an upstream of those with a handshake: what that
//! upstream asks while it works becomes `input_required`, and the call waits for its client to come
//! back (see [`crate::session::parking`]).

use std::{future::Future, pin::Pin, rc::Rc, time::Duration};

use net::{
    Span,
    jsonrpc::{self, MetaKey, Param},
};
use serde_json::json;
use shards::{task, time};
use storage::record::Transport;

use super::{
    Call,
    stream::{self, Logs, Source, Translation},
    upstream_state::unknown,
    urls,
};
use crate::{
    catalog::Upstream,
    failure::{Failure, UpstreamKind},
    mcp::{Capabilities, Era, ServerInfo},
    reply::Reply,
    session::{
        Word,
        parking::{Hearing, Parking, Place, Resume, Told},
    },
    upstream::{
        Answer, Event, EventSource, LogWish, Outcome, Question, Relay, Reply as UpstreamReply,
        Stream,
    },
};

/// Where a call waits whose client is asked something.
pub struct Parker {
    parking: Rc<Parking>,
    email: String,
    call: String,
    within: Duration,
    server: ServerInfo,
}

impl<R: Relay> Call<'_, R> {
    /// What the client can be asked by `input_required`.
    pub(super) fn declared(&self) -> Capabilities {
        match self.message.meta(MetaKey::ClientCapabilities) {
            None | Some("{}") => Capabilities::NONE,
            Some(declared) => Capabilities::parse(declared),
        }
    }

    /// Which log messages the request of a client of the stateless revision asks for: those of the
    /// level that it names and above, none if it names none.
    pub(super) fn logs(&self) -> Logs {
        let level = self.message.meta(MetaKey::LogLevel);
        let level = level.and_then(|level| jsonrpc::unescape(level).ok());
        level.and_then(|level| stream::place(&level)).map_or(Logs::None, Logs::From)
    }

    /// The log messages that a client of the stateless revision wants, where its upstream cannot know
    /// or does not say for whom they are.
    pub(super) fn log_wish(&self, upstream: &Upstream) -> Option<LogWish> {
        let record = &upstream.record;
        let is_shared = matches!(record.transport, Transport::WebSocket | Transport::Stdio);
        let is_modern = record.era == Some(storage::record::Era::Modern);
        (is_shared || !is_modern).then(|| self.logs().wish()).flatten()
    }

    /// Where this call can wait, if its client may come back.
    pub(super) fn parker(&self, upstream: &Upstream, name: &str) -> Option<Parker> {
        let comes_back = ["tools/call", "prompts/get", "resources/read"];
        let is_modern = self.era == Era::Modern && comes_back.contains(&self.message.method());
        let parking = self.parts.parking.filter(|_| is_modern)?.clone();
        Some(Parker {
            parking,
            email: self.request.caller.email.clone(),
            call: self.call_id(upstream, name),
            within: self.parts.options.answer_within,
            server: self.parts.options.server.clone(),
        })
    }

    /// What a call is, for who comes back to it.
    pub(super) fn call_id(&self, upstream: &Upstream, name: &str) -> String {
        let (method, server_id) = (self.message.method(), self.server_id);
        format!("{method} {} {server_id} {name}", upstream.record.id)
    }

    /// The rest of a parked call, if that is what the client came back for.
    ///
    /// # Errors
    ///
    /// Code -32602 with status 404 for a state that is not this caller's, or none at all.
    pub(super) async fn resumed(
        &self,
        upstream: &Upstream,
        name: &str,
    ) -> Result<Option<Answer>, Failure> {
        let Some(parking) = self.parts.parking.filter(|_| self.era == Era::Modern) else {
            return Ok(None);
        };
        // Hardly a request comes back; nothing else is looked for in the others.
        let Some(state) = self.message.param(Param::RequestState) else { return Ok(None) };
        let ticket = jsonrpc::unescape(state).ok().and_then(|state| parking.read(&state));
        let Some(ticket) = ticket else { return Ok(None) };
        let ticket = ticket.map_err(|()| unknown())?;
        if ticket.email != self.request.caller.email || ticket.call != self.call_id(upstream, name)
        {
            return Err(unknown());
        }
        let params = self.params();
        let [responses] = jsonrpc::pick(params, ["inputResponses"]).unwrap_or_default();
        let responses = responses.map_or("{}", |place| place.of_text(params));
        let hearing = parking.resume(&ticket, responses).await?.ok_or_else(unknown)?;
        let within = self.parts.options.answer_within;
        let returned = Returned { hearing, upstream: upstream.record.name.clone(), within };
        returned.begin().await.map(Some)
    }
}

impl Parker {
    /// Leaves a call to wait for the answer to `question`; returns the result that asks for it.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if too many calls wait.
    pub fn park(
        self,
        source: Source,
        question: Question,
        upstream: &str,
        translation: Translation,
    ) -> Result<Vec<u8>, Failure> {
        let place = self.parking.take(&self.email, &self.call)?;
        let result = input_required(&place, 0, &question, &self.server);
        let attendant = Attendant {
            parking: self.parking,
            place,
            source,
            upstream: upstream.to_owned(),
            translation,
            within: self.within,
            round: 0,
            server: self.server,
        };
        task::spawn_if_running(attendant.attend(question));
        Ok(result.into_bytes())
    }
}

/// The name of the one question that a result of ours asks.
const KEY: &str = "question";

fn input_required(place: &Place, round: u64, question: &Question, server: &ServerInfo) -> String {
    let method = json!(question.method);
    let params = urls::without_id(&question.params);
    let params = params.as_deref().unwrap_or(&question.params);
    format!(
        "{{\"resultType\":\"input_required\",\"inputRequests\":{{\"{KEY}\":{{\"method\":{method},\
         \"params\":{params}}}}},\"requestState\":{},\"_meta\":{{{}}}}}",
        json!(place.state(round)),
        server.member(),
    )
}

/// Who stays with a parked call.
struct Attendant {
    parking: Rc<Parking>,
    place: Place,
    source: Source,
    upstream: String,
    translation: Translation,
    within: Duration,
    round: u64,
    server: ServerInfo,
}

impl Attendant {
    async fn attend(mut self, question: Question) {
        let mut question = Some(question);
        // Whoever is not answered in time is told so by the question's end.
        while let Ok(Some(resume)) = time::timeout(self.within, self.place.resumes.next()).await {
            let Some(asked) = question.take() else { break };
            if resume.round != self.round {
                resume.ear.tell(&self.parking, crate::session::parking::gone()).await;
                question = Some(asked);
                continue;
            }
            let Some(word) = answer_in(&resume.responses) else {
                let again = input_required(&self.place, self.round, &asked, &self.server);
                resume.ear.tell(&self.parking, Told::Result(again)).await;
                question = Some(asked);
                continue;
            };
            asked.answer(&word);
            question = self.go_on(&resume).await;
            if question.is_none() {
                break;
            }
        }
    }

    /// Goes on until the call is done or asks again; returns what it asks.
    async fn go_on(&mut self, resume: &Resume) -> Option<Question> {
        loop {
            let told = match self.source.next().await {
                Ok(Event::Notification(message)) => {
                    Told::Notification(String::from_utf8_lossy(&message).into_owned())
                }
                Ok(Event::Question(question)) => {
                    self.round += 1;
                    let asks = input_required(&self.place, self.round, &question, &self.server);
                    resume.ear.tell(&self.parking, Told::Result(asks)).await;
                    return Some(question);
                }
                Ok(Event::Reply(reply)) => told(self.translation.reply(reply, &self.upstream)),
                Err(failure) => told(Err(failure)),
            };
            let is_last = !matches!(told, Told::Notification(_));
            resume.ear.tell(&self.parking, told).await;
            if is_last {
                return None;
            }
        }
    }
}

/// The answer among raw `inputResponses`, if it is there.
fn answer_in(responses: &str) -> Option<Word> {
    let [place] = jsonrpc::pick(responses, [KEY]).ok()?;
    Some(Word::Result(place?.of_text(responses).to_owned()))
}

pub(super) fn told(outcome: Result<Reply, Failure>) -> Told {
    let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
    match outcome {
        Ok(Reply::Result(raw)) => Told::Result(text(&raw)),
        Ok(Reply::Error(raw)) => Told::Error(text(&raw)),
        Ok(Reply::Relayed(relayed)) => {
            let raw = text(relayed.place.of_bytes(&relayed.bytes));
            if relayed.is_error { Told::Error(raw) } else { Told::Result(raw) }
        }
        Ok(_) => unreachable!("a translation gives results and errors only"),
        Err(failure) => {
            let error = json!({"code": failure.code(), "message": failure.to_string()});
            Told::Error(error.to_string())
        }
    }
}

/// The rest of a parked call, as it is told.
struct Returned {
    hearing: Hearing,
    upstream: String,
    within: Duration,
}

impl Returned {
    /// Waits for the first word: mostly it is the last, too.
    async fn begin(mut self) -> Result<Answer, Failure> {
        match self.read().await? {
            Event::Reply(reply) => Ok(Answer::Whole(reply)),
            first => {
                let rest = Followed { first: Some(first), returned: self };
                Ok(Answer::Stream(Stream::new(Box::new(rest))))
            }
        }
    }

    async fn read(&mut self) -> Result<Event, Failure> {
        let Ok(told) = time::timeout(self.within, self.hearing.next()).await else {
            let kind = UpstreamKind::Timeout(self.within);
            return Err(Failure::upstream(&self.upstream, kind, "the call did not go on", true));
        };
        let reply = |raw: String, outcome| {
            let span = Span::new(0, raw.len());
            Event::Reply(UpstreamReply { bytes: raw.into_bytes(), span, outcome })
        };
        Ok(match told {
            Told::Notification(message) => Event::Notification(message.into_bytes()),
            Told::Result(raw) => reply(raw, Outcome::Result),
            Told::Error(raw) => reply(raw, Outcome::Error),
        })
    }
}

struct Followed {
    first: Option<Event>,
    returned: Returned,
}

impl EventSource for Followed {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Event, Failure>> + '_>> {
        Box::pin(async move {
            match self.first.take() {
                Some(first) => Ok(first),
                None => self.returned.read().await,
            }
        })
    }
}
