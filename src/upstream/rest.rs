//! Calls of REST tools: a request over HTTP made of arguments, and a result made of its answer.
//!
//! Connections are kept for each origin, not for each tool. What goes wrong with the service is told
//! to the caller within the result, so that a model can act on it; only the gateway's own bounds are
//! failures. Nothing that is told holds a credential: what names the service names its host.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use ahash::AHashMap;
use net::client::Deadline;
use shards::{
    local::{OwnedTurn, Turns},
    time, watch,
};

use super::http::{Setup, wire::Wire};
use crate::{
    catalog::rest_tool::{RestTool, UrlTemplate},
    failure::{Failure, UpstreamFailure, UpstreamKind},
    limits::REST_ORIGIN_COUNT_MAX,
    settings::Settings,
};

mod answer;
mod body;
mod compact;
mod compression;
mod exchange;
mod filter;
mod jq;
mod request;
#[cfg(test)]
mod tests;

use answer::{Answer, Content};
use exchange::Exchange;
pub use exchange::RetryLimits;
pub use filter::FilterLimits;
use filter::{FilterError, Filters};
pub use jq::work;
use request::Request;

/// Bounds of all calls of a shard, beside those of its connections.
#[derive(Clone, Debug)]
pub struct RestLimits {
    /// Most calls of one tool that wait for another to end.
    pub waiting_count_max: usize,
    /// How long a call may wait for another to end.
    pub wait_within: Duration,
    /// Most bytes of an answer, also of one that was packed.
    pub answer_size_max: usize,
    /// When a request is sent again.
    pub retry: RetryLimits,
    /// How filters run.
    pub filter: FilterLimits,
}

impl RestLimits {
    /// Picks them out of the settings.
    pub fn of(settings: &Settings) -> RestLimits {
        let (rest, upstreams) = (&settings.rest, &settings.upstreams);
        RestLimits {
            waiting_count_max: upstreams.waiting_count_max,
            wait_within: upstreams.pool_timeout,
            answer_size_max: upstreams.answer_size_max,
            retry: RetryLimits {
                attempt_count_max: rest.attempt_count_max,
                delay: rest.retry_delay,
                delay_max: rest.retry_delay_max,
                jitter: rest.retry_jitter,
            },
            filter: FilterLimits::new(rest.filter_timeout),
        }
    }
}

/// A call of a REST tool.
pub struct RestCall<'a> {
    /// How its service is called.
    pub tool: &'a RestTool,
    /// The tool's id.
    pub tool_id: &'a str,
    /// The raw object of arguments.
    pub arguments: &'a str,
    /// How long the call may take in all, unless the tool says otherwise.
    pub within: Duration,
    /// The tool promises structured answers, whatever JSON they are.
    pub structured: bool,
}

/// The way of one shard to the services of REST tools.
pub struct Rest {
    limits: RestLimits,
    wires: RefCell<AHashMap<Box<str>, Kept>>,
    /// The turns of tools that bound how many calls of them run.
    turns: RefCell<AHashMap<Box<str>, ToolTurns>>,
    filters: Filters,
}

/// How many calls of a tool may run, and their turns.
type ToolTurns = (usize, Rc<Turns>);

/// Connections to an origin, and when they were last asked for.
struct Kept {
    wire: Rc<Wire>,
    used_at_ms: Cell<u64>,
}

/// Why a call has no answer of its service.
enum Trouble {
    /// A bound of the gateway is met; the caller may try again.
    Busy(String),
    /// What is told within the result.
    Told(String),
}

impl Rest {
    /// Makes the ways of a shard; nothing is connected yet.
    pub fn new(limits: RestLimits) -> Rest {
        let filters = Filters::new(limits.filter.clone());
        Rest { limits, wires: RefCell::default(), turns: RefCell::default(), filters }
    }

    /// Calls a tool and returns the raw result object. `setup` gives what connecting needs, for the
    /// name of a host and whether it speaks TLS.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if as many calls run and wait as may. All else is told in the result.
    pub async fn call(
        &self,
        call: &RestCall<'_>,
        setup: impl FnOnce(&str, bool) -> Result<Setup, Failure>,
    ) -> Result<Vec<u8>, Failure> {
        let deadline = Deadline::after(call.tool.within.unwrap_or(call.within));
        let outcome = async {
            let request = Request::new(call.tool, call.arguments).map_err(Trouble::Told)?;
            let _turn = self.turn(call, deadline).await?;
            let wire = self.wire(&call.tool.url, setup)?;
            self.perform(call, &request, &wire, deadline).await
        };
        match outcome.await {
            Ok(result) => Ok(result),
            Err(Trouble::Told(text)) => Ok(answer::error(&text)),
            Err(Trouble::Busy(text)) => Err(Failure::Busy(text)),
        }
    }

    async fn perform(
        &self,
        call: &RestCall<'_>,
        request: &Request,
        wire: &Wire,
        deadline: Deadline,
    ) -> Result<Vec<u8>, Trouble> {
        let (tool, host) = (call.tool, &call.tool.url.host);
        let size_max = tool.answer_size_max.unwrap_or(usize::MAX).min(self.limits.answer_size_max);
        let exchange =
            Exchange { wire, tool, request, deadline, size_max, retry: &self.limits.retry };
        let answer = exchange.run().await?;
        let answer =
            answer.unpack(size_max).map_err(|why| Trouble::Told(format!("{host}: {why}")))?;
        if !(200..300).contains(&answer.status) {
            return Err(Trouble::Told(answer.error_text(host, &tool.secrets)));
        }
        let content = match &tool.filter {
            Some(program) => self.filtered(program, &answer, size_max, deadline).await?,
            None => answer.content(),
        };
        let uri = format!("ringway://tools/{}/answer", call.tool_id);
        Ok(answer::result(&answer, &content, &uri, call.structured))
    }

    /// What the filter makes of an answer. One that a filter cannot read is not handed on: the
    /// filter may be there to take something out.
    async fn filtered(
        &self,
        program: &str,
        answer: &Answer,
        size_max: usize,
        deadline: Deadline,
    ) -> Result<Content<'_>, Trouble> {
        let told =
            |text: &str| Err(Trouble::Told(format!("The filter of the tool failed: {text}")));
        let input = match answer.content() {
            _ if answer.data.is_empty() => return Ok(Content::Text("".into())),
            Content::Json(json) => json,
            _ => return told("the answer is no JSON"),
        };
        match self.filters.run(program, &input, size_max, deadline.left()).await {
            Ok(output) => match compact::json(&output) {
                Some(json) => Ok(Content::Json(json)),
                None => told("what it made is no JSON"),
            },
            Err(FilterError::Failed(why)) => told(&why),
            Err(FilterError::Full) => {
                Err(Trouble::Busy("Too many filters of REST tools wait for their turn".to_owned()))
            }
        }
    }

    /// Looks whether `program` can be the filter of a tool.
    ///
    /// # Errors
    ///
    /// A sentence for whoever typed it.
    pub async fn check_filter(&self, program: &str) -> Result<(), String> {
        match self.filters.run(program, "", 0, self.limits.wait_within).await {
            Ok(_) => Ok(()),
            Err(FilterError::Failed(why)) => {
                Err(format!("jsonpath_filter is no program of jq: {why}"))
            }
            Err(FilterError::Full) => Err("Too many filters wait to be checked".to_owned()),
        }
    }

    /// Waits for the tool's turn, if it bounds how many calls run.
    async fn turn(
        &self,
        call: &RestCall<'_>,
        deadline: Deadline,
    ) -> Result<Option<OwnedTurn>, Trouble> {
        let Some(count_max) = call.tool.concurrency_max else {
            return Ok(None);
        };
        let turns = self.turns_of(call.tool_id, count_max);
        let full = || Trouble::Busy(format!("{count_max} calls of this tool run already"));
        if let Some(turn) = turns.try_take_owned() {
            return Ok(Some(turn));
        }
        if turns.waiting_count() >= self.limits.waiting_count_max {
            return Err(full());
        }
        let within = deadline.left().min(self.limits.wait_within);
        time::timeout(within, turns.take_owned()).await.map(Some).map_err(|_| full())
    }

    fn turns_of(&self, tool_id: &str, count_max: usize) -> Rc<Turns> {
        let mut all = self.turns.borrow_mut();
        match all.get(tool_id) {
            Some((count, turns)) if *count == count_max => turns.clone(),
            _ => {
                let turns = Rc::new(Turns::new(count_max));
                all.insert(tool_id.into(), (count_max, turns.clone()));
                turns
            }
        }
    }

    /// The connections to the origin of `url`.
    fn wire(
        &self,
        url: &UrlTemplate,
        setup: impl FnOnce(&str, bool) -> Result<Setup, Failure>,
    ) -> Result<Rc<Wire>, Trouble> {
        let mut wires = self.wires.borrow_mut();
        let now_ms = watch::clock_ms();
        if let Some(kept) = wires.get(url.origin.as_str()) {
            kept.used_at_ms.set(now_ms);
            return Ok(kept.wire.clone());
        }
        let opened = setup(&url.host, url.tls)
            .and_then(|setup| Wire::open(&url.host, &url.origin, &[], setup));
        let wire = Rc::new(opened.map_err(|failure| Trouble::of(&url.host, failure))?);
        if wires.len() >= REST_ORIGIN_COUNT_MAX {
            let oldest = wires.iter().min_by_key(|(_, kept)| kept.used_at_ms.get());
            let oldest = oldest.map(|(origin, _)| origin.clone());
            oldest.and_then(|origin| wires.remove(&origin));
        }
        let kept = Kept { wire: wire.clone(), used_at_ms: Cell::new(now_ms) };
        wires.insert(url.origin.as_str().into(), kept);
        Ok(wire)
    }

    /// Forgets the tools that are gone.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.turns.borrow_mut().retain(|tool_id, _| is_there(tool_id));
    }

    /// Closes what is idle.
    pub fn close(&self) {
        self.wires.borrow_mut().clear();
        self.filters.close();
    }
}

impl Trouble {
    /// What a caller is told of a failure of the service at `host`.
    fn of(host: &str, failure: Failure) -> Trouble {
        let Failure::Upstream(UpstreamFailure { kind, detail, .. }) = failure else {
            return Trouble::Told(failure.to_string());
        };
        Trouble::Told(match kind {
            UpstreamKind::Full => return Trouble::Busy(format!("{host} is busy: {detail}")),
            UpstreamKind::Refused => format!("{host} is not allowed: {detail}"),
            UpstreamKind::Unreachable => format!("{host} cannot be reached: {detail}"),
            UpstreamKind::Timeout(_) => format!("{host} did not answer in time: {detail}"),
            UpstreamKind::Broken => format!("{host} broke off: {detail}"),
            UpstreamKind::TooLarge => format!("The answer of {host} has {detail}"),
            _ => format!("{host} answered what is not HTTP: {detail}"),
        })
    }
}
