//! Tasks of upstreams of revision 2025-11-25 for clients that know tasks, in either way: the extension
//! `io.modelcontextprotocol/tasks` of the stateless revision, or that revision's own.
//!
//! The work goes on here (see [`super::work`]), whoever asks for it: it has a place in the parking, to
//! which the sealed id that the client has leads from every shard and node.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use ::time::{OffsetDateTime, format_description::well_known::Rfc3339};
use net::{Span, client::Deadline, jsonrpc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shards::{
    local::{Bell, First, Gate, first_of},
    task, time,
};

use super::{
    Call,
    parked::told,
    rounds::Rounds,
    stream::{self, Source, Translation},
    urls,
    work::{Work, with_related},
};
use crate::{
    catalog::{ToolEntry, Upstream},
    failure::Failure,
    mcp::{Era, code},
    observe::meters::Execution,
    reply::Reply,
    session::{
        Word,
        parking::{Ear, Parking, Place, Ticket, Told},
        task::TaskTicket,
    },
    upstream::{
        Answer, Event, Held, Outcome, Outgoing, Question, Relay, Reply as UpstreamReply, Stream,
    },
};

/// How often a client should ask how it goes.
const POLL_INTERVAL_MS: u64 = 1000;

/// How many may wait for the end of a task at once.
const WAITER_COUNT_MAX: usize = 16;

/// What waits to be answered of one task at most; more is refused.
const QUESTION_COUNT_MAX: usize = 16;

/// How long an attendant may take to say how a task is.
const WORD_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait before an attendant is asked again that did not say a word.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How a task is, as its attendant tells it.
#[derive(Serialize, Deserialize)]
struct Shown {
    status: String,
    created_at: String,
    updated_at: String,
    ttl_ms: u64,
    /// What it wants to know: key, method and raw params.
    questions: Vec<(String, String, String)>,
    /// How it ended.
    outcome: Option<Told>,
    /// It had ended before it was to be cancelled.
    is_late: bool,
}

/// What an attendant is asked to do.
#[derive(Serialize, Deserialize)]
enum Order {
    /// Tell how it is.
    Get,
    /// Tell how it is once it has ended, or wants to know something.
    Wait,
    /// Take these raw `inputResponses`.
    Update(String),
    /// End it.
    Cancel,
}

/// A task, between who does the work and who tells of it.
struct Task {
    status: Cell<&'static str>,
    created_at: String,
    updated_at: RefCell<String>,
    ttl: Duration,
    ends: Cell<Deadline>,
    questions: RefCell<VecDeque<(String, Question)>>,
    question_count: Cell<u64>,
    outcome: RefCell<Option<Told>>,
    /// Rung when something changed.
    bell: Bell,
    /// Open once nobody wants it any more.
    over: Gate,
}

impl<R: Relay> Call<'_, R> {
    /// Begins a tool call as a task, for a client that has asked for one or says that it knows them.
    ///
    /// # Errors
    ///
    /// Upstream failures, and [`Failure::Busy`] if too many tasks and calls wait.
    pub(super) async fn begin_task(
        &self,
        entry: &ToolEntry,
        upstream: &Arc<Upstream>,
        mut outgoing: Outgoing<'_>,
        execution: Execution<'_>,
    ) -> Result<Reply, Failure> {
        let parking = self.parts.parking.ok_or_else(no_parking)?;
        outgoing.client = self.session_owner(upstream);
        if self.era == Era::Modern {
            outgoing.capabilities = self.declared();
        }
        let ttl = self.parts.options.task_within;
        // Who asks in the way of before has said so in the call itself.
        let member = if self.era == Era::Modern { "\"task\":{}," } else { "" };
        let mut work = Work::new(self.parts.relay.hold(upstream)?, &outgoing, member, ttl);
        let translation = self.translation(false, false);
        let translation = translation.asking(outgoing.capabilities);
        let name = &upstream.record.name;
        if let Some(reply) = work.begin().await? {
            let is_success = super::succeeded(&execution, &reply);
            self.parts.meters.end(&execution, is_success);
            return translation.reply(reply, name);
        }
        let place = parking.take_many(&self.request.caller.email, entry.record.id.as_str())?;
        let ticket = TaskTicket {
            task_id: String::new(),
            upstream_id: upstream.record.id.clone(),
            tool: self.name(jsonrpc::Param::Name, "name")?.into_owned(),
            email: self.request.caller.email.clone(),
            server_id: self.server_id.to_owned(),
            attended: Some(place.ticket().clone()),
        };
        let id = ticket.seal(parking.sealer());
        let answer = Answer::Stream(Stream::new(Box::new(work)));
        let Answer::Stream(stream) = self.with_links(&upstream.record.id, &outgoing, answer) else {
            unreachable!("a stream stays one");
        };
        let source = Source::new(stream, Some((self.parts.meters.clone(), execution.keep())));
        let work = Rc::new(Task::new(ttl));
        let shown = work.shown();
        let upstream = name.clone();
        task::spawn_if_running(follow(work.clone(), source, upstream, translation));
        task::spawn_if_running(attend(work, parking.clone(), place));
        Ok(Reply::Result(match self.era {
            Era::Modern => self.parts.options.server.signed(&shown.in_extension(&id, "task")),
            Era::Legacy => format!("{{\"task\":{}}}", shown.in_legacy(&id)).into_bytes(),
        }))
    }

    /// Asks the attendant of a task what a request about it asks for.
    ///
    /// # Errors
    ///
    /// `unknown` if there is none any more, and [`Failure::Busy`] if it cannot be reached.
    pub(super) async fn attended_task(
        &self,
        ticket: &Ticket,
        id: &str,
        unknown: &dyn Fn() -> Failure,
    ) -> Result<Reply, Failure> {
        let parking = self.parts.parking.ok_or_else(unknown)?;
        let modern = self.era == Era::Modern;
        let order = match self.message.method() {
            "tasks/get" => Order::Get,
            "tasks/update" => Order::Update(self.responses()),
            "tasks/cancel" => Order::Cancel,
            _ => return self.attended_result(ticket, id, unknown).await,
        };
        let is_get = matches!(order, Order::Get);
        let is_cancel = matches!(order, Order::Cancel);
        let shown = ask(parking, ticket, &order).await?.ok_or_else(unknown)?;
        if is_cancel && !modern && shown.is_late {
            let text = format!("The task has ended: it is {}", shown.status);
            return Err(Failure::protocol(200, code::INVALID_PARAMS, text));
        }
        let server = &self.parts.options.server;
        Ok(Reply::Result(match modern {
            true if is_get => server.signed(&shown.in_extension(id, "complete")),
            true => server.signed("{\"resultType\":\"complete\"}"),
            false => shown.in_legacy(id).into_bytes(),
        }))
    }

    fn responses(&self) -> String {
        let [place] = jsonrpc::pick(self.params(), ["inputResponses"]).unwrap_or_default();
        place.map_or("{}", |place| place.of_text(self.params())).to_owned()
    }

    /// The result of a task for a client of the revision that waits for it, and is asked meanwhile.
    async fn attended_result(
        &self,
        ticket: &Ticket,
        id: &str,
        unknown: &dyn Fn() -> Failure,
    ) -> Result<Reply, Failure> {
        let parking = self.parts.parking.ok_or_else(unknown)?;
        // One that is not there is refused before anything is streamed.
        ask(parking, ticket, &Order::Get).await?.ok_or_else(unknown)?;
        let held = Awaited { parking: parking.clone(), ticket: ticket.clone(), id: id.to_owned() };
        let outgoing = self.plain_outgoing();
        let upstream = "the task";
        let rounds = Rounds::new(Box::new(held), upstream, &outgoing, Answer::Whole(begin()));
        let source = Source::new(Stream::new(Box::new(rounds)), None);
        let asked = stream::Asked { client: self.client(), parker: None, logs: stream::Logs::All };
        let id = self.message.id().unwrap_or("null");
        stream::relay(source, id, upstream, Translation::None, self.request.accepts, asked).await
    }
}

fn no_parking() -> Failure {
    Failure::Busy("Tasks cannot be kept here".to_owned())
}

/// What makes a request begin in rounds.
fn begin() -> UpstreamReply {
    let bytes = b"{\"resultType\":\"input_required\",\"inputRequests\":{}}".to_vec();
    UpstreamReply { span: Span::new(0, bytes.len()), bytes, outcome: Outcome::Result }
}

/// Asks an attendant; nothing if there is none any more.
async fn ask(
    parking: &Rc<Parking>,
    ticket: &Ticket,
    order: &Order,
) -> Result<Option<Shown>, Failure> {
    let order = serde_json::to_string(order).expect("an order is plain texts");
    let Some(mut hearing) = parking.resume(ticket, &order).await? else { return Ok(None) };
    match time::timeout(WORD_WITHIN, hearing.next()).await {
        Ok(Told::Result(text)) => Ok(serde_json::from_str(&text).ok()),
        Ok(_) => Ok(None),
        Err(_) => Err(Failure::Busy("The task does not say how it is".to_owned())),
    }
}

/// The way to a task that is waited for, as to an upstream that asks in rounds.
struct Awaited {
    parking: Rc<Parking>,
    ticket: Ticket,
    /// The id as the client has it.
    id: String,
}

impl Awaited {
    async fn wait(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        let mut params = Vec::new();
        outgoing.write_params(&mut params);
        let text = std::str::from_utf8(&params).unwrap_or("{}");
        let gone = || Failure::protocol(200, code::INVALID_PARAMS, "Unknown task");
        if let Ok([Some(responses)]) = jsonrpc::pick(text, ["inputResponses"]) {
            let order = Order::Update(responses.of_text(text).to_owned());
            ask(&self.parking, &self.ticket, &order).await?.ok_or_else(gone)?;
        }
        loop {
            let shown = ask(&self.parking, &self.ticket, &Order::Wait).await;
            let shown = match shown {
                // It goes on; a word of it that was lost is asked for again.
                Err(Failure::Busy(_)) => {
                    time::sleep(AGAIN_AFTER).await;
                    continue;
                }
                other => other?.ok_or_else(gone)?,
            };
            let (raw, outcome) = match shown.outcome {
                Some(Told::Result(raw)) => (self.related(raw), Outcome::Result),
                Some(Told::Error(raw)) => (raw, Outcome::Error),
                _ if shown.questions.is_empty() => continue,
                _ => (self.asks(shown.questions), Outcome::Result),
            };
            let (span, bytes) = (Span::new(0, raw.len()), raw.into_bytes());
            return Ok(Answer::Whole(UpstreamReply { bytes, span, outcome }));
        }
    }

    fn related(&self, raw: String) -> String {
        with_related(&raw, Some(&self.id)).unwrap_or(raw)
    }

    fn asks(&self, questions: Vec<(String, String, String)>) -> String {
        let questions = questions.into_iter();
        let related = |(key, method, params)| (key, method, self.related(params));
        format!(
            "{{\"resultType\":\"input_required\",\"inputRequests\":{}}}",
            requests(&questions.map(related).collect::<Vec<_>>())
        )
    }
}

impl Held for Awaited {
    fn request<'a>(
        &'a self,
        outgoing: Outgoing<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, Failure>> + 'a>> {
        Box::pin(async move { self.wait(&outgoing).await })
    }
}

/// Now, as RFC 3339 has it.
fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).expect("years have four digits")
}

/// Raw `inputRequests`.
fn requests(questions: &[(String, String, String)]) -> String {
    let members = questions.iter().map(|(key, method, params)| {
        // Clients that expect an id get one where they are asked.
        let params = urls::without_id(params).unwrap_or_else(|| params.clone());
        format!("{}:{{\"method\":{},\"params\":{params}}}", json!(key), json!(method))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Does the work, until it is done or nobody wants it any more.
async fn follow(work: Rc<Task>, mut source: Source, upstream: String, translation: Translation) {
    loop {
        let Some(event) = work.over.unless(source.next()).await else { return };
        match event {
            // A task tells nothing before its end but how it is.
            Ok(Event::Notification(_)) => {}
            Ok(Event::Question(question)) => work.ask(question),
            Ok(Event::Reply(reply)) => {
                return work.end(told(translation.reply(reply, &upstream)));
            }
            Err(failure) => return work.end(told(Err(failure))),
        }
    }
}

/// Tells of the work, until it is forgotten.
async fn attend(work: Rc<Task>, parking: Rc<Parking>, mut place: Place) {
    let mut waiting: VecDeque<Ear> = VecDeque::new();
    loop {
        let next = first_of(place.resumes.next(), work.bell.wait());
        match time::timeout(work.ends.get().left(), next).await {
            Ok(First::One(Some(resume))) => {
                match serde_json::from_str(&resume.responses) {
                    Ok(Order::Get) => {}
                    Ok(Order::Update(responses)) => work.update(&responses),
                    Ok(Order::Cancel) if work.has_ended() => {
                        let shown = Shown { is_late: true, ..work.shown() };
                        resume.ear.tell(&parking, shown.told()).await;
                        continue;
                    }
                    Ok(Order::Cancel) => work.cancel(),
                    Ok(Order::Wait) if !work.has_news() => {
                        if waiting.len() >= WAITER_COUNT_MAX {
                            waiting.pop_front();
                        }
                        waiting.push_back(resume.ear);
                        continue;
                    }
                    Ok(Order::Wait) => {}
                    Err(_) => continue,
                }
                resume.ear.tell(&parking, work.shown().told()).await;
            }
            Ok(First::Other(())) => {}
            Ok(First::One(None)) | Err(_) => break,
        }
        if work.has_news() {
            for ear in waiting.drain(..) {
                ear.tell(&parking, work.shown().told()).await;
            }
        }
    }
    work.over.open();
}

impl Task {
    fn new(ttl: Duration) -> Task {
        Task {
            status: Cell::new("working"),
            created_at: now(),
            updated_at: RefCell::new(now()),
            ttl,
            ends: Cell::new(Deadline::after(ttl)),
            questions: RefCell::default(),
            question_count: Cell::new(0),
            outcome: RefCell::default(),
            bell: Bell::default(),
            over: Gate::default(),
        }
    }

    fn become_(&self, status: &'static str) {
        self.status.set(status);
        *self.updated_at.borrow_mut() = now();
        self.bell.ring();
    }

    fn has_news(&self) -> bool {
        !matches!(self.status.get(), "working")
    }

    fn ask(&self, question: Question) {
        if self.questions.borrow().len() >= QUESTION_COUNT_MAX {
            return question.refuse();
        }
        let number = self.question_count.get() + 1;
        self.question_count.set(number);
        self.questions.borrow_mut().push_back((format!("question-{number}"), question));
        self.become_("input_required");
    }

    /// Hands the answers among raw `inputResponses` to who asked.
    fn update(&self, responses: &str) {
        for field in jsonrpc::fields(responses).map_while(Result::ok) {
            let mut questions = self.questions.borrow_mut();
            let found = questions.iter().position(|(key, _)| *key == field.key);
            let question = found.and_then(|index| questions.remove(index));
            drop(questions);
            if let Some((_, question)) = question {
                question.answer(&Word::Result(field.value.to_owned()));
            }
        }
        if self.status.get() == "input_required" && self.questions.borrow().is_empty() {
            self.become_("working");
        }
    }

    fn end(&self, outcome: Told) {
        let status = if matches!(outcome, Told::Error(_)) { "failed" } else { "completed" };
        *self.outcome.borrow_mut() = Some(outcome);
        self.questions.borrow_mut().clear();
        self.become_(status);
    }

    fn cancel(&self) {
        self.over.open();
        let text = json!({"code": -32603, "message": "The task was cancelled"}).to_string();
        *self.outcome.borrow_mut() = Some(Told::Error(text));
        self.questions.borrow_mut().clear();
        self.become_("cancelled");
    }

    fn has_ended(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    fn shown(&self) -> Shown {
        let questions = self.questions.borrow();
        let questions = questions
            .iter()
            .map(|(key, question)| (key.clone(), question.method.clone(), question.params.clone()));
        Shown {
            status: self.status.get().to_owned(),
            created_at: self.created_at.clone(),
            updated_at: self.updated_at.borrow().clone(),
            ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            questions: questions.collect(),
            outcome: self.outcome.borrow().clone(),
            is_late: false,
        }
    }
}

impl Shown {
    fn told(&self) -> Told {
        Told::Result(serde_json::to_string(self).expect("it is plain texts"))
    }

    /// As a result of the extension, with what the task wants or how it ended.
    fn in_extension(&self, id: &str, result_type: &str) -> String {
        let Shown { status, created_at, updated_at, ttl_ms, .. } = self;
        let mut out = format!(
            "{{\"resultType\":\"{result_type}\",\"taskId\":{},\"status\":\"{status}\",\
             \"createdAt\":\"{created_at}\",\"lastUpdatedAt\":\"{updated_at}\",\"ttlMs\":{ttl_ms},\
             \"pollIntervalMs\":{POLL_INTERVAL_MS}",
            json!(id),
        );
        match &self.outcome {
            _ if status == "cancelled" => {}
            Some(Told::Result(raw)) => out.push_str(&format!(",\"result\":{raw}")),
            Some(Told::Error(raw)) => out.push_str(&format!(",\"error\":{raw}")),
            _ if self.questions.is_empty() => {}
            _ => out.push_str(&format!(",\"inputRequests\":{}", requests(&self.questions))),
        }
        out.push('}');
        out
    }

    /// As revision 2025-11-25 shows it.
    fn in_legacy(&self, id: &str) -> String {
        let Shown { status, created_at, updated_at, ttl_ms, .. } = self;
        // A tool that says in its result that it failed has failed.
        let has_failed = matches!(&self.outcome, Some(Told::Result(raw))
            if crate::mcp::is_error(raw.as_bytes()));
        let status = if has_failed { "failed" } else { status };
        format!(
            "{{\"taskId\":{},\"status\":\"{status}\",\"createdAt\":\"{created_at}\",\
             \"lastUpdatedAt\":\"{updated_at}\",\"ttl\":{ttl_ms},\
             \"pollInterval\":{POLL_INTERVAL_MS}}}",
            json!(id),
        )
    }
}
