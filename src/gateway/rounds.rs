//! A client of the revisions with a handshake before an upstream of the stateless one: what that
//! upstream needs to know first (`input_required`, 2026-07-28) becomes questions to the client, and
//! the request is sent again with the answers.

use std::{
    cell::RefCell, collections::VecDeque, future::Future, pin::Pin, rc::Rc, sync::Arc,
    time::Duration,
};

use net::jsonrpc;
use serde_json::{Map, Value, value::RawValue};
use shards::local::Bell;

use super::urls;
use crate::{
    failure::{Failure, UpstreamKind},
    mcp::Capabilities,
    upstream::{
        Answer, Edit, Event, EventSource, Held, LogWish, Outcome, Outgoing, Question, Reply, Stream,
    },
};

/// How often an upstream may ask for more.
const ROUND_COUNT_MAX: usize = 16;

/// What is asked in one round at most.
const QUESTION_COUNT_MAX: usize = 16;

/// The request, as it is sent again.
#[derive(Default)]
pub struct Original {
    method: String,
    params: Vec<u8>,
    meta: Option<net::Span>,
    progress_token: Option<net::Span>,
    name: Option<String>,
    param_headers: Vec<(String, String)>,
    within: Duration,
    capabilities: Capabilities,
    log_level: Option<LogWish>,
    client: Option<Arc<str>>,
    modern: bool,
}

impl Original {
    /// Keeps what `outgoing` says.
    pub fn of(outgoing: &Outgoing<'_>) -> Original {
        let mut params = Vec::with_capacity(outgoing.params.len() + 64);
        outgoing.write_params(&mut params);
        let headers = outgoing.param_headers.iter();
        Original {
            method: outgoing.method.to_owned(),
            params,
            meta: outgoing.meta.map(|span| outgoing.moved(span)),
            progress_token: outgoing.progress_token.map(|span| outgoing.moved(span)),
            name: outgoing.name.map(str::to_owned),
            param_headers: headers
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            within: outgoing.within,
            capabilities: outgoing.capabilities,
            log_level: outgoing.log_level,
            client: outgoing.client.clone(),
            modern: outgoing.modern,
        }
    }

    /// Another request in the session of this one.
    pub fn about<'o>(
        &'o self,
        method: &'o str,
        params: &'o [u8],
        within: Duration,
    ) -> Outgoing<'o> {
        Outgoing {
            method,
            params,
            edits: Vec::new(),
            meta: None,
            progress_token: None,
            name: None,
            param_headers: Vec::new(),
            modern: self.modern,
            within,
            capabilities: self.capabilities,
            log_level: self.log_level,
            client: self.client.clone(),
        }
    }

    /// The request with more members in its params: `members` ends with a comma unless it is empty.
    pub fn outgoing(&self, members: String) -> Outgoing<'_> {
        let brace = self.params.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
        Outgoing {
            method: &self.method,
            params: &self.params,
            edits: vec![Edit {
                span: net::Span::new(brace, brace),
                replacement: members.into_bytes().into(),
            }],
            meta: self.meta,
            progress_token: self.progress_token,
            name: self.name.as_deref(),
            param_headers: self
                .param_headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.clone()))
                .collect(),
            modern: self.modern,
            within: self.within,
            capabilities: self.capabilities,
            log_level: self.log_level,
            client: self.client.clone(),
        }
    }
}

/// An `input_required` result.
struct Needs {
    questions: VecDeque<(String, String, String)>,
    state: Option<Box<RawValue>>,
}

/// Reads a raw result that says `input_required`; `None` if it is another.
fn read(raw: &str) -> Option<Needs> {
    let [kind] = jsonrpc::pick(raw, ["resultType"]).ok()?;
    if kind?.of_text(raw) != "\"input_required\"" {
        return None;
    }
    let [requests, state] = jsonrpc::pick(raw, ["inputRequests", "requestState"]).ok()?;
    let mut questions = VecDeque::new();
    let requests = requests.map_or("{}", |place| place.of_text(raw));
    for field in jsonrpc::fields(requests).map_while(Result::ok) {
        let [method, params] = jsonrpc::pick(field.value, ["method", "params"]).ok()?;
        let method = jsonrpc::unescape(method?.of_text(field.value)).ok()?.into_owned();
        let params = params.map_or("{}", |place| place.of_text(field.value)).to_owned();
        questions.push_back((field.key.into_owned(), method, params));
    }
    let state = state.map(|place| RawValue::from_string(place.of_text(raw).to_owned()));
    Some(Needs { questions, state: state.transpose().ok()? })
}

/// Whether a reply asks for more before there is a result.
pub fn needs_input(reply: &Reply) -> bool {
    reply.outcome == Outcome::Result
        && memchr::memmem::find(reply.raw(), b"input_required").is_some()
        && std::str::from_utf8(reply.raw()).is_ok_and(|raw| read(raw).is_some())
}

/// What came back for the questions of one round, as it comes.
#[derive(Default)]
struct Answers {
    all: RefCell<Map<String, Value>>,
    bell: Bell,
}

/// An answer that comes about in rounds.
pub struct Rounds {
    held: Box<dyn Held>,
    upstream: String,
    original: Original,
    /// What the upstream sends now, if it is sending.
    stream: Option<Stream>,
    needs: Option<Needs>,
    asked_count: usize,
    answers: Rc<Answers>,
    round_count: usize,
}

impl Rounds {
    /// Goes on from what an upstream sent first.
    pub fn new(
        held: Box<dyn Held>,
        upstream: &str,
        outgoing: &Outgoing<'_>,
        first: Answer,
    ) -> Rounds {
        let mut rounds = Rounds {
            held,
            upstream: upstream.to_owned(),
            original: Original::of(outgoing),
            stream: None,
            needs: None,
            asked_count: 0,
            answers: Rc::default(),
            round_count: 0,
        };
        match first {
            Answer::Whole(reply) => drop(rounds.take_reply(reply)),
            Answer::Stream(stream) => rounds.stream = Some(stream),
        }
        rounds
    }

    /// Looks at the end of a round: the reply if it is the result.
    fn take_reply(&mut self, reply: Reply) -> Option<Reply> {
        let raw = std::str::from_utf8(reply.raw()).unwrap_or_default();
        let needs = (reply.outcome == Outcome::Result).then(|| read(raw)).flatten();
        let Some(needs) = needs else { return Some(reply) };
        self.needs = Some(needs);
        self.asked_count = 0;
        self.answers = Rc::default();
        None
    }

    async fn step(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(stream) = &mut self.stream {
                match stream.next().await? {
                    Event::Reply(reply) => {
                        self.stream = None;
                        if let Some(reply) = self.take_reply(reply) {
                            return Ok(Event::Reply(reply));
                        }
                    }
                    other => return Ok(other),
                }
            } else if let Some(question) = self.next_question()? {
                return Ok(Event::Question(question));
            } else if self.answers.all.borrow().len() < self.asked_count {
                self.answers.bell.wait().await;
            } else if let Some(reply) = self.send_again().await? {
                return Ok(Event::Reply(reply));
            }
        }
    }

    fn next_question(&mut self) -> Result<Option<Question>, Failure> {
        let next = self.needs.as_mut().and_then(|needs| needs.questions.pop_front());
        let Some((key, method, params)) = next else { return Ok(None) };
        if !self.original.capabilities.allow(&method, &params) {
            let detail = format!("it needs an answer to {method}, which the client cannot give");
            return Err(self.failure(detail));
        }
        if self.asked_count >= QUESTION_COUNT_MAX {
            let detail = format!("it asks more than {QUESTION_COUNT_MAX} questions at once");
            return Err(self.failure(detail));
        }
        self.asked_count += 1;
        let (answers, asked) = (self.answers.clone(), method.clone());
        let params = urls::with_id(&params).unwrap_or(params);
        Ok(Some(Question::new(method, Some(&params), "0", move |message| {
            answers.all.borrow_mut().insert(key, value_of(&asked, &message));
            answers.bell.ring();
        })))
    }

    /// Sends the request again, with the answers; the reply if it is the result.
    async fn send_again(&mut self) -> Result<Option<Reply>, Failure> {
        self.round_count += 1;
        let needs = self.needs.take();
        if self.round_count > ROUND_COUNT_MAX || needs.is_none() {
            let detail = format!("it asks for more after {ROUND_COUNT_MAX} rounds");
            return Err(self.failure(detail));
        }
        let mut members = String::new();
        let answers = std::mem::take(&mut *self.answers.all.borrow_mut());
        if !answers.is_empty() {
            members.push_str(&format!("\"inputResponses\":{},", Value::Object(answers)));
        }
        if let Some(state) = needs.and_then(|needs| needs.state) {
            members.push_str(&format!("\"requestState\":{},", state.get()));
        }
        let answer = self.held.request(self.original.outgoing(members)).await?;
        match answer {
            Answer::Whole(reply) => Ok(self.take_reply(reply)),
            Answer::Stream(stream) => {
                self.stream = Some(stream);
                Ok(None)
            }
        }
    }

    fn failure(&self, detail: String) -> Failure {
        Failure::upstream(&self.upstream, UpstreamKind::Nonsense, detail, true)
    }
}

/// What a client's whole answer says, as an input response: a refusal to answer is a form that was
/// not filled in.
fn value_of(method: &str, message: &[u8]) -> Value {
    let mut answer: Value = serde_json::from_slice(message).unwrap_or_default();
    match answer.get_mut("result") {
        Some(result) => result.take(),
        None if method == "elicitation/create" => serde_json::json!({"action": "cancel"}),
        None if method == "roots/list" => serde_json::json!({"roots": []}),
        None => {
            let text = answer["error"]["message"].as_str().unwrap_or("the client did not answer");
            serde_json::json!({
                "role": "assistant",
                "content": {"type": "text", "text": text},
                "model": "none",
                "stopReason": "error",
            })
        }
    }
}

impl EventSource for Rounds {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Event, Failure>> + '_>> {
        Box::pin(self.step())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_result_asks_for_is_read_in_its_order() {
        let raw = r#"{"resultType":"input_required","requestState":"s\n","inputRequests":{
            "b":{"method":"elicitation/create","params":{"message":"?"}},"a":{"method":"roots/list"}}}"#;
        let needs = read(raw).unwrap();
        assert_eq!(needs.state.unwrap().get(), r#""s\n""#);
        let asked: Vec<_> =
            needs.questions.iter().map(|(key, method, _)| (&**key, &**method)).collect();
        assert_eq!(asked, [("b", "elicitation/create"), ("a", "roots/list")]);
        assert_eq!(needs.questions[0].2, r#"{"message":"?"}"#);
        assert!(read(r#"{"resultType":"complete","text":"input_required"}"#).is_none());
    }

    #[test]
    fn who_does_not_answer_a_form_cancelled_it() {
        let told = |method, raw: &str| value_of(method, raw.as_bytes());
        let result = told("elicitation/create", r#"{"id":0,"result":{"action":"accept"}}"#);
        assert_eq!(result["action"], "accept");
        let error = r#"{"id":0,"error":{"code":-1,"message":"no"}}"#;
        assert_eq!(told("elicitation/create", error)["action"], "cancel");
        assert_eq!(told("roots/list", error)["roots"], serde_json::json!([]));
        assert_eq!(told("sampling/createMessage", error)["content"]["text"], "no");
    }
}
