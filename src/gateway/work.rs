//! Work that an upstream of revision 2025-11-25 does as a task: it is begun, waited for and fetched
//! (`tasks/result`, which brings what it asks meanwhile), and looks like one answer from here.

use std::{future::Future, pin::Pin, time::Duration};

use net::{Span, client::Deadline, jsonrpc};
use serde_json::json;
use shards::{task, time};
use storage::record::Gateway;

use super::rounds::Original;
use crate::{
    failure::Failure,
    upstream::{Answer, Event, EventSource, Held, Outcome, Outgoing, Reply, Stream},
};

/// Where a message says to which task it belongs.
pub const RELATED: &str = "io.modelcontextprotocol/related-task";

/// How long to wait before a result is fetched again, if the upstream does not say.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The longest that an upstream may say.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// How often in succession fetching may fail.
const FAILURE_COUNT_MAX: usize = 5;

/// How long an upstream has to take note that a task is not wanted any more.
const CANCEL_WITHIN: Duration = Duration::from_secs(10);

/// Whether an upstream says that calls of its tools can be tasks.
pub fn takes_tasks(record: &Gateway) -> bool {
    let capabilities = record.capabilities.as_deref().unwrap_or("{}");
    let within = |raw: &str, key: &'static str| {
        let place = jsonrpc::pick(raw, [key]).ok().and_then(|[place]| place)?;
        Some(place.of_text(raw).to_owned())
    };
    record.era != Some(storage::record::Era::Modern)
        && within(capabilities, "tasks")
            .and_then(|tasks| within(&tasks, "requests"))
            .and_then(|requests| within(&requests, "tools"))
            .and_then(|tools| within(&tools, "call"))
            .is_some()
}

/// A call as a task. Whoever drops it before it is done has it cancelled.
pub struct Work {
    held: Option<Box<dyn Held>>,
    original: Original,
    /// What the call must say besides to become a task.
    member: &'static str,
    /// How long it may take in all.
    within: Duration,
    /// What the upstream sends now, if it is sending.
    stream: Option<Stream>,
    begun: Option<Begun>,
    failure_count: usize,
}

/// What the upstream said of the task that it made.
struct Begun {
    /// The id, raw.
    id: String,
    poll_interval: Duration,
    ends: Deadline,
}

impl Work {
    /// Work on the call that `outgoing` is, which has not been sent. `member` is what its params must
    /// have besides, with a comma behind it.
    pub fn new(
        held: Box<dyn Held>,
        outgoing: &Outgoing<'_>,
        member: &'static str,
        within: Duration,
    ) -> Work {
        let (held, original) = (Some(held), Original::of(outgoing));
        let (stream, begun, failure_count) = Default::default();
        Work { held, original, member, within, stream, begun, failure_count }
    }

    /// Waits until the upstream has made a task of it; its answer, if it has not.
    ///
    /// # Errors
    ///
    /// Upstream failures.
    pub async fn begin(&mut self) -> Result<Option<Reply>, Failure> {
        while self.begun.is_none() {
            match self.step().await? {
                Some(Event::Reply(reply)) => return Ok(Some(reply)),
                Some(Event::Question(question)) => question.refuse(),
                Some(Event::Notification(_)) | None => {}
            }
        }
        Ok(None)
    }

    /// Goes on by one message; nothing if it was none for the client.
    async fn step(&mut self) -> Result<Option<Event>, Failure> {
        let Some(stream) = &mut self.stream else {
            let answer = self.send().await;
            return match answer {
                Ok(Answer::Whole(reply)) => Ok(self.take_reply(reply)),
                Ok(Answer::Stream(stream)) => {
                    self.stream = Some(stream);
                    Ok(None)
                }
                Err(failure) => self.failed(failure).await,
            };
        };
        match stream.next().await {
            Ok(Event::Reply(reply)) => {
                self.stream = None;
                Ok(self.take_reply(reply))
            }
            Ok(Event::Question(mut question)) => {
                if let Some(params) = with_related(&question.params, None) {
                    question.params = params;
                }
                Ok(Some(Event::Question(question)))
            }
            Ok(other) => Ok(Some(other)),
            Err(failure) => {
                self.stream = None;
                self.failed(failure).await
            }
        }
    }

    /// Sends the call, or fetches its result.
    async fn send(&self) -> Result<Answer, Failure> {
        let held = self.held.as_ref().expect("it is held until it is dropped");
        match &self.begun {
            None => held.request(self.original.outgoing(self.member.to_owned())).await,
            Some(begun) => {
                let params = format!("{{\"taskId\":{}}}", begun.id);
                let within = begun.ends.left();
                held.request(self.original.about("tasks/result", params.as_bytes(), within)).await
            }
        }
    }

    /// Takes the end of a request: the task that the call became, or the result.
    fn take_reply(&mut self, reply: Reply) -> Option<Event> {
        self.failure_count = 0;
        if self.begun.is_some() {
            self.begun = None;
            return Some(Event::Reply(without_related(reply)));
        }
        match begun(&reply, self.within) {
            Some(begun) => {
                self.begun = Some(begun);
                None
            }
            None => Some(Event::Reply(reply)),
        }
    }

    /// Goes on after a failure: fetching a result can be repeated.
    async fn failed(&mut self, failure: Failure) -> Result<Option<Event>, Failure> {
        self.failure_count += 1;
        let Some(begun) = &self.begun else { return Err(failure) };
        if self.failure_count > FAILURE_COUNT_MAX || begun.ends.left() < begun.poll_interval {
            return Err(failure);
        }
        time::sleep(begun.poll_interval).await;
        Ok(None)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let (Some(begun), Some(held)) = (self.begun.take(), self.held.take()) else { return };
        let original = std::mem::take(&mut self.original);
        task::spawn_if_running(async move {
            let params = format!("{{\"taskId\":{}}}", begun.id);
            let cancel = original.about("tasks/cancel", params.as_bytes(), CANCEL_WITHIN);
            if let Err(failure) = held.request(cancel).await {
                tracing::debug!(%failure, "a task that nobody wants was not cancelled");
            }
        });
    }
}

impl EventSource for Work {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Event, Failure>> + '_>> {
        Box::pin(async move {
            loop {
                if let Some(event) = self.step().await? {
                    return Ok(event);
                }
            }
        })
    }
}

/// What a reply says of a task that was made, if one was.
fn begun(reply: &Reply, within: Duration) -> Option<Begun> {
    let raw = std::str::from_utf8(reply.raw()).ok().filter(|_| reply.outcome == Outcome::Result)?;
    let [task] = jsonrpc::pick(raw, ["task"]).ok()?;
    let task = task?.of_text(raw);
    let [id, interval] = jsonrpc::pick(task, ["taskId", "pollInterval"]).ok()?;
    let id = id.map(|id| id.of_text(task)).filter(|id| jsonrpc::is_string(id))?.to_owned();
    let interval = interval.and_then(|interval| interval.of_text(task).parse().ok());
    let interval = interval.map_or(POLL_INTERVAL, Duration::from_millis);
    let poll_interval = interval.clamp(Duration::from_millis(50), POLL_INTERVAL_MAX);
    Some(Begun { id, poll_interval, ends: Deadline::after(within) })
}

fn without_related(reply: Reply) -> Reply {
    let raw = std::str::from_utf8(reply.raw()).unwrap_or_default();
    let Some(bytes) = with_related(raw, None).map(String::into_bytes) else { return reply };
    shards::buffer::give(reply.bytes);
    Reply { span: Span::new(0, bytes.len()), bytes, outcome: reply.outcome }
}

/// An object whose `_meta` says that it belongs to this task, or to none; nothing if it does so
/// already, or is no object.
pub fn with_related(raw: &str, task_id: Option<&str>) -> Option<String> {
    let [meta] = jsonrpc::pick(raw, ["_meta"]).ok()?;
    if task_id.is_none() && !meta?.of_text(raw).contains(RELATED) {
        return None;
    }
    let old = meta.map_or("{}", |place| place.of_text(raw));
    let kept = jsonrpc::fields(old).map_while(Result::ok).filter(|field| field.key != RELATED);
    let mut members: Vec<String> =
        kept.map(|field| format!("{}:{}", json!(field.key), field.value)).collect();
    members.extend(task_id.map(|id| format!("\"{RELATED}\":{}", json!({"taskId": id}))));
    let new = format!("{{{}}}", members.join(","));
    if let Some(place) = meta {
        return Some(format!(
            "{}{new}{}",
            &raw[..place.start as usize],
            &raw[place.end as usize..]
        ));
    }
    let behind = raw.find('{')? + 1;
    let comma = if raw[behind..].trim_start().starts_with('}') { "" } else { "," };
    Some(format!("{}\"_meta\":{new}{comma}{}", &raw[..behind], &raw[behind..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_belongs_to_the_task_that_it_is_said_to_or_to_none() {
        let of = |id: &str| format!(r#"{{"taskId":"{id}"}}"#);
        let with = |id: &str| format!(r#"{{"x":1.0,"_meta":{{"a":2,"{RELATED}":{}}}}}"#, of(id));
        assert_eq!(with_related(&with("1"), Some("2")), Some(with("2")));
        let without = r#"{"x":1.0,"_meta":{"a":2}}"#;
        assert_eq!(with_related(&with("1"), None).as_deref(), Some(without));
        assert_eq!(with_related(without, Some("1")), Some(with("1")));
        assert_eq!(with_related(without, None), None);
        assert_eq!(with_related(r#"{"x":1}"#, None), None);
        let added = format!(r#"{{"_meta":{{"{RELATED}":{}}},"x":1}}"#, of("1"));
        assert_eq!(with_related(r#"{"x":1}"#, Some("1")), Some(added));
        let added = format!(r#"{{"_meta":{{"{RELATED}":{}}}}}"#, of("1"));
        assert_eq!(with_related("{}", Some("1")), Some(added));
        assert_eq!(with_related("7", Some("1")), None);
    }

    #[test]
    fn calls_can_be_tasks_where_the_upstream_says_so() {
        for (capabilities, expected) in [
            (r#"{"tasks":{"list":{},"requests":{"tools":{"call":{}}}}}"#, true),
            (r#"{"tasks":{"requests":{"sampling":{}}}}"#, false),
            (r#"{"tools":{"call":{}}}"#, false),
        ] {
            let record =
                Gateway { capabilities: Some(capabilities.to_owned()), ..Gateway::default() };
            assert_eq!(takes_tasks(&record), expected, "{capabilities}");
        }
        assert!(!takes_tasks(&Gateway::default()));
    }
}
