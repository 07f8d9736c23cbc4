//! Calls of A2A agents: a request of their protocol, and a result of a tool made of its answer.
//!
//! A task that still works is asked for again, at growing pauses, until it is done or the time of
//! the call is up; then it is shown as it stands. An agent that does not know a method by the name of
//! its revision is asked once by the other name, which cannot have run anything.
//!
//! Nothing that is told holds a credential.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use ahash::AHashMap;
use net::{client::Deadline, http1::encode};
use serde_json::{Map, Value, value::RawValue};
use shards::{buffer, time};

use super::http::{
    Setup,
    wire::{Shipment, Wire},
};
use crate::{
    catalog::{AgentEntry, rest_tool},
    failure::{Failure, UpstreamFailure, UpstreamKind},
    settings::MASK,
};

mod answer;
mod dialect;
mod request;
#[cfg(test)]
mod tests;

use answer::Outcome;
pub use dialect::Dialect;
pub use request::{Request, speaks_rpc};

/// Most bytes of the text of an HTTP error that are read.
const ERROR_SIZE_MAX: usize = 16 * 1024;

/// Most characters of it that are shown.
const ERROR_TEXT_MAX: usize = 1000;

/// The pause before a task is first asked for again; doubled each time.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause.
const POLL_PAUSE_MAX: Duration = Duration::from_secs(2);

/// JSON-RPC: there is no such method.
const METHOD_NOT_FOUND: i64 = -32601;

/// A2A 1.0: the agent does not speak this revision.
const VERSION_NOT_SUPPORTED: i64 = -32009;

/// A call of the tool that an agent is offered as.
pub struct AgentCall<'a> {
    /// The agent.
    pub agent: &'a Arc<AgentEntry>,
    /// The raw object of arguments.
    pub arguments: &'a str,
    /// How long the call may take in all.
    pub within: Duration,
}

/// The way of one shard to the agents.
pub struct Agents {
    answer_size_max: usize,
    wires: RefCell<AHashMap<Box<str>, Kept>>,
}

/// The agent that connections lead to, and those.
type Kept = (Arc<AgentEntry>, Rc<Wire>);

impl Agents {
    /// Makes the ways of a shard; nothing is connected yet.
    pub fn new(answer_size_max: usize) -> Agents {
        Agents { answer_size_max, wires: RefCell::default() }
    }

    /// Sends one request and returns what the agent answers, byte for byte. `setup` gives what
    /// connecting needs, for a name and whether it speaks TLS.
    ///
    /// # Errors
    ///
    /// An upstream failure; [`UpstreamKind::Full`] if as many calls run and wait as may.
    pub async fn send(
        &self,
        agent: &Arc<AgentEntry>,
        request: &Request,
        within: Duration,
        setup: impl FnOnce(&str, bool) -> Result<Setup, Failure>,
    ) -> Result<Box<RawValue>, Failure> {
        let wire = self.wire(agent, setup).map_err(|failure| masked(agent, failure))?;
        let exchange = Exchange::new(agent, &wire, Deadline::after(within), self.answer_size_max);
        let answer = exchange.ask(request).await.map_err(|failure| masked(agent, failure))?;
        Ok(answer.0)
    }

    /// Calls an agent as a tool and returns the raw result object. That the agent failed is a result
    /// too, with `isError`.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if as many calls run and wait as may.
    pub async fn call(
        &self,
        call: &AgentCall<'_>,
        setup: impl FnOnce(&str, bool) -> Result<Setup, Failure>,
    ) -> Result<Vec<u8>, Failure> {
        let outcome = async {
            let wire = self.wire(call.agent, setup)?;
            let deadline = Deadline::after(call.within);
            Exchange::new(call.agent, &wire, deadline, self.answer_size_max)
                .run(call.arguments)
                .await
        };
        match outcome.await.map_err(|failure| masked(call.agent, failure)) {
            Ok(result) => Ok(result),
            Err(Failure::Upstream(UpstreamFailure {
                kind: UpstreamKind::Full, detail, ..
            })) => Err(Failure::Busy(format!("{} is busy: {detail}", call.agent.record.name))),
            Err(failure) => Ok(answer::error(&told(&call.agent.record.name, failure))),
        }
    }

    /// The connections to an agent.
    fn wire(
        &self,
        agent: &Arc<AgentEntry>,
        setup: impl FnOnce(&str, bool) -> Result<Setup, Failure>,
    ) -> Result<Rc<Wire>, Failure> {
        let record = &agent.record;
        let mut wires = self.wires.borrow_mut();
        if let Some((of, wire)) = wires.get(record.id.as_str())
            && Arc::ptr_eq(of, agent)
        {
            return Ok(wire.clone());
        }
        let setup = setup(&record.name, record.endpoint_url.starts_with("https:"))?;
        let (in_query, headers): (Vec<_>, Vec<_>) =
            agent.headers.iter().cloned().partition(|(name, _)| name.starts_with('?'));
        let mut url = record.endpoint_url.clone();
        for (name, value) in &in_query {
            url.push(if url.contains('?') { '&' } else { '?' });
            rest_tool::encode(&mut url, &name[1..]);
            url.push('=');
            rest_tool::encode(&mut url, value);
        }
        let wire = Rc::new(Wire::open(&record.name, &url, &headers, setup)?);
        wires.insert(record.id.as_str().into(), (agent.clone(), wire.clone()));
        Ok(wire)
    }

    /// Forgets the agents that are gone or are reached otherwise now. `current` gives an agent as it
    /// stands.
    pub fn retain<'c>(&self, current: impl Fn(&str) -> Option<&'c Arc<AgentEntry>>) {
        let mut wires = self.wires.borrow_mut();
        wires.retain(|id, (agent, _)| current(id).is_some_and(|now| Arc::ptr_eq(now, agent)));
    }

    /// Closes what is idle.
    pub fn close(&self) {
        self.wires.borrow_mut().clear();
    }
}

/// The requests that one call comes to.
struct Exchange<'a> {
    agent: &'a AgentEntry,
    wire: &'a Wire,
    deadline: Deadline,
    size_max: usize,
}

impl<'a> Exchange<'a> {
    fn new(
        agent: &'a AgentEntry,
        wire: &'a Wire,
        deadline: Deadline,
        size_max: usize,
    ) -> Exchange<'a> {
        Exchange { agent, wire, deadline, size_max }
    }

    /// Calls the agent with the arguments of its tool.
    async fn run(&self, arguments: &str) -> Result<Vec<u8>, Failure> {
        let record = &self.agent.record;
        let arguments: Map<String, Value> = serde_json::from_str(arguments)
            .map_err(|error| self.refused(format!("the arguments cannot be read: {error}")))?;
        let interaction = arguments.get("interaction_type").and_then(Value::as_str);
        let interaction = interaction.unwrap_or("query").to_owned();
        let request = Request::of_parameters(record, arguments, &interaction);
        let (raw, dialect) = self.ask(&request).await?;
        let answer = self.read(&raw)?;
        if !speaks_rpc(record) {
            return Ok(answer::custom_result(&answer, &record.slug));
        }
        let answer = self.await_task(answer, dialect).await?;
        Ok(answer::result(&answer, &record.slug))
    }

    /// Asks again for a task that still works, until it does not or the time is up.
    async fn await_task(&self, mut answer: Value, dialect: Dialect) -> Result<Value, Failure> {
        let mut pause = POLL_PAUSE;
        loop {
            let Outcome::Task(task) = Outcome::of(&answer) else { return Ok(answer) };
            let Some(id) = answer::running(task) else { return Ok(answer) };
            if pause * 2 >= self.deadline.left() {
                return Ok(answer);
            }
            let request = Request::get_task(id);
            time::sleep(pause).await;
            pause = (pause * 2).min(POLL_PAUSE_MAX);
            let raw = self.exchange(&request.body(dialect), dialect).await?;
            let next = self.read(&raw)?;
            match Outcome::of(&next) {
                Outcome::Task(_) => answer = next,
                // It keeps no tasks: what it said first is all there is.
                Outcome::Error(METHOD_NOT_FOUND, _) => return Ok(answer),
                _ => return Ok(next),
            }
        }
    }

    /// Sends a request in the dialect of the agent's revision, or else in the other; returns the
    /// answer and the dialect it was understood in.
    async fn ask(&self, request: &Request) -> Result<(Box<RawValue>, Dialect), Failure> {
        let own = Dialect::of(&self.agent.record.protocol_version);
        let raw = self.exchange(&request.body(own), own).await?;
        if matches!(request, Request::Custom(_)) || !is_unknown_method(&raw) {
            return Ok((raw, own));
        }
        let other = own.other();
        let second = self.exchange(&request.body(other), other).await?;
        match is_unknown_method(&second) {
            true => Ok((raw, own)),
            false => Ok((second, other)),
        }
    }

    async fn exchange(&self, body: &[u8], dialect: Dialect) -> Result<Box<RawValue>, Failure> {
        let version = match dialect {
            Dialect::One => "a2a-version: 1.0\r\n",
            Dialect::Early => "a2a-version: 0.3\r\n",
        };
        let write = |out: &mut Vec<u8>, path: &str| {
            encode::begin_request(out, "POST", path);
            out.extend_from_slice(self.wire.lines());
            encode::lines(out, "content-type: application/json\r\naccept: application/json\r\n");
            if speaks_rpc(&self.agent.record) {
                encode::lines(out, version);
            }
            encode::content_length(out, body.len());
            encode::end(out);
            out.extend_from_slice(body);
        };
        let response = self.wire.ship(Shipment::post(&write, false), self.deadline).await?;
        let status = response.status();
        let is_good = (200..300).contains(&status);
        let size_max = if is_good { self.size_max } else { ERROR_SIZE_MAX.min(self.size_max) };
        let body = match response.whole(size_max).await {
            Ok(body) => body,
            Err(error) if is_good => return Err(self.wire.broken(&error)),
            // The status says enough.
            Err(_) => return Err(self.status(status, "")),
        };
        let text = String::from_utf8_lossy(body.data()).into_owned();
        buffer::give(body.bytes);
        match serde_json::from_str::<Box<RawValue>>(&text) {
            // Errors of JSON-RPC come with whichever status.
            Ok(raw) if is_good || is_rpc_error(&raw) => Ok(raw),
            Err(_) if is_good => {
                let detail = format!("what is no JSON: {}", shortened(&text));
                Err(self.wire.failure(UpstreamKind::Nonsense, detail, true))
            }
            _ => Err(self.status(status, &text)),
        }
    }

    fn read(&self, raw: &RawValue) -> Result<Value, Failure> {
        serde_json::from_str(raw.get()).map_err(|error| {
            let detail = format!("JSON that cannot be read: {error}");
            self.wire.failure(UpstreamKind::Nonsense, detail, true)
        })
    }

    fn status(&self, status: u16, text: &str) -> Failure {
        self.wire.failure(UpstreamKind::Status(status), shortened(text), true)
    }

    fn refused(&self, detail: String) -> Failure {
        self.wire.failure(UpstreamKind::Refused, detail, false)
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(ERROR_TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The code of an answer that is an error of JSON-RPC.
fn error_code(raw: &RawValue) -> Option<i64> {
    let [error] = net::jsonrpc::pick(raw.get(), ["error"]).ok()?;
    let error = error?.of_text(raw.get());
    let [code] = net::jsonrpc::pick(error, ["code"]).ok()?;
    code?.of_text(error).parse().ok()
}

fn is_rpc_error(raw: &RawValue) -> bool {
    error_code(raw).is_some()
}

fn is_unknown_method(raw: &RawValue) -> bool {
    matches!(error_code(raw), Some(METHOD_NOT_FOUND | VERSION_NOT_SUPPORTED))
}

/// What a caller is told of a failure of the agent `name`.
fn told(name: &str, failure: Failure) -> String {
    let Failure::Upstream(UpstreamFailure { kind, detail, .. }) = failure else {
        return failure.to_string();
    };
    match kind {
        UpstreamKind::Refused => format!("The agent {name} is not called: {detail}"),
        UpstreamKind::Unreachable => format!("The agent {name} cannot be reached: {detail}"),
        UpstreamKind::Timeout(_) => format!("The agent {name} did not answer in time: {detail}"),
        UpstreamKind::Status(status) if detail.is_empty() => {
            format!("The agent {name} answered HTTP {status}")
        }
        UpstreamKind::Status(status) => {
            format!("The agent {name} answered HTTP {status}: {detail}")
        }
        UpstreamKind::TooLarge => format!("The answer of the agent {name} has {detail}"),
        UpstreamKind::Nonsense => format!("The agent {name} answered {detail}"),
        _ => format!("The agent {name} broke off: {detail}"),
    }
}

/// A failure without anything in it that proves us to the agent, should it repeat that.
fn masked(agent: &AgentEntry, failure: Failure) -> Failure {
    let Failure::Upstream(mut failure) = failure else { return failure };
    for secret in rest_tool::secrets(&agent.headers) {
        let mut encoded = String::new();
        rest_tool::encode(&mut encoded, &secret);
        failure.detail = failure.detail.replace(&secret, MASK).replace(&encoded, MASK);
    }
    Failure::Upstream(failure)
}
