//! Tasks of upstreams of the stateless revision (extension `io.modelcontextprotocol/tasks`): the id
//! that a client is given is sealed and its own, and leads back to the upstream that works on it.

use std::{pin::Pin, sync::Arc};

use net::{
    Span,
    jsonrpc::{self, MetaKey, Param},
};

use super::{Call, absent, discreet, needed, stream::Translation, text_param, work};
use crate::{
    catalog::{TaskSupport, ToolEntry, Upstream},
    failure::{Failure, ProtocolError},
    mcp::{self, Era, code},
    observe::meters::Execution,
    permission::Permission,
    reply::Reply,
    route,
    session::task::TaskTicket,
    upstream::{
        Answer, Event, EventSource, Outcome, Outgoing, Relay, Reply as UpstreamReply, Stream,
    },
};

/// The extension, as clients declare it.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// What a client is told that asks for a task without having said that it knows any.
fn not_declared() -> Failure {
    let required =
        serde_json::json!({"requiredCapabilities": {"extensions": {TASKS_EXTENSION: {}}}});
    Failure::Protocol(ProtocolError {
        status: 400,
        code: code::MISSING_CAPABILITY,
        message: format!("The request must declare the extension {TASKS_EXTENSION}"),
        data: Some(required.to_string()),
    })
}

impl<R: Relay> Call<'_, R> {
    /// Asks for a task, answers what it asks, or cancels it.
    ///
    /// # Errors
    ///
    /// Code -32602 for an id that is not this caller's, or none at all; upstream failures.
    pub(super) async fn task(&self) -> Result<Reply, Failure> {
        let id = text_param(self.message, Param::TaskId)?.ok_or_else(|| needed("taskId"))?;
        if self.checks_headers() {
            mcp::check_names(self.request.headers, &id)?;
        }
        if self.era == Era::Modern && !self.declares_tasks() {
            return Err(not_declared());
        }
        let unknown = || Failure::protocol(200, code::INVALID_PARAMS, "Unknown task");
        let ticket = self.ticket_of(&id).ok_or_else(unknown)?;
        // Whoever may not call the tool any more has no task of it either.
        let catalog = self.parts.catalog;
        let Some((tool, upstream)) = route::tool(catalog, self.seen, &ticket.tool) else {
            let away = route::tool(catalog, self.away, &ticket.tool);
            return Err(away.map_or_else(unknown, |(_, upstream)| absent(upstream)));
        };
        self.permit(Permission::ToolsExecute, &tool.record.ownership)?;
        if upstream.record.id != ticket.upstream_id {
            return Err(unknown());
        }
        if let Some(attended) = &ticket.attended {
            return self.attended_task(attended, &id, &unknown).await;
        }
        if self.era == Era::Legacy {
            return Err(unknown());
        }
        let mut outgoing = self.outgoing(Param::TaskId, &id, &ticket.task_id);
        outgoing.client = self.session_owner(upstream);
        let answer = self.parts.relay.request(upstream, &outgoing).await;
        let answer = answer.map_err(|failure| discreet(upstream, failure))?;
        let mut answer = self.with_links(&upstream.record.id, &outgoing, answer);
        let reply = loop {
            match answer {
                Answer::Whole(reply) => break reply,
                // Tasks tell nothing before the answer (extension, Notifications).
                Answer::Stream(ref mut stream) => {
                    let event = stream.next().await;
                    if let Event::Reply(reply) =
                        event.map_err(|failure| discreet(upstream, failure))?
                    {
                        answer = Answer::Whole(reply);
                    }
                }
            }
        };
        Translation::None.reply(renamed(reply, &id), &upstream.record.name)
    }

    /// What an id says, if it is that of a task of the caller.
    pub(super) fn ticket_of(&self, id: &str) -> Option<TaskTicket> {
        let ticket = TaskTicket::open(id, self.parts.parking?.sealer())?;
        let is_own =
            ticket.email == self.request.caller.email && ticket.server_id == self.server_id;
        is_own.then_some(ticket)
    }

    /// Calls a tool that can be, or must be, a task.
    pub(super) async fn tool_of_tasks(
        &self,
        entry: &ToolEntry,
        upstream: &Arc<Upstream>,
        mut outgoing: Outgoing<'_>,
        execution: Execution<'_>,
    ) -> Result<Reply, Failure> {
        let is_required = entry.task_support() == Some(TaskSupport::Required);
        if !work::takes_tasks(&upstream.record) {
            return self.relay(upstream, &mut outgoing, false, Some(execution)).await;
        }
        let asks = match self.era {
            Era::Modern => is_required && self.declares_tasks(),
            Era::Legacy => self.request.session.is_some() && self.asks_for_task(),
        };
        if asks {
            return self.begin_task(entry, upstream, outgoing, execution).await;
        }
        let call = Call { is_task: is_required, ..*self };
        call.relay(upstream, &mut outgoing, false, Some(execution)).await
    }

    fn asks_for_task(&self) -> bool {
        jsonrpc::pick(self.params(), ["task"]).is_ok_and(|[task]| task.is_some())
    }

    /// Whether the client says with this request that it knows tasks.
    pub(super) fn declares_tasks(&self) -> bool {
        let declared = self.message.meta(MetaKey::ClientCapabilities).unwrap_or("{}");
        let within = |raw: &str, key: &'static str| {
            let place = jsonrpc::pick(raw, [key]).ok().and_then(|[place]| place)?;
            Some(place.of_text(raw).to_owned())
        };
        // Hardly a request says anything; the others are known by this alone.
        declared != "{}"
            && within(declared, "extensions")
                .and_then(|raw| within(&raw, TASKS_EXTENSION))
                .is_some()
    }

    /// An answer to a call, with the id of the task that it may have become sealed.
    pub(super) fn with_task_sealed(&self, upstream: &Arc<Upstream>, answer: Answer) -> Answer {
        let is_modern = self.era == Era::Modern;
        let parking = self.parts.parking.filter(|_| is_modern && self.declares_tasks());
        let Some(parking) = parking.cloned() else { return answer };
        let ticket = TaskTicket {
            task_id: String::new(),
            upstream_id: upstream.record.id.clone(),
            tool: text_param(self.message, Param::Name).ok().flatten().unwrap_or_default().into(),
            email: self.request.caller.email.clone(),
            server_id: self.server_id.to_owned(),
            attended: None,
        };
        let seal = move |reply: UpstreamReply| match created(&reply) {
            Some(task_id) => {
                let id = TaskTicket { task_id, ..ticket.clone() }.seal(parking.sealer());
                renamed(reply, &id)
            }
            None => reply,
        };
        with_replies(answer, seal)
    }
}

/// An answer with the reply that `change` makes of its own.
pub(super) fn with_replies(
    answer: Answer,
    change: impl Fn(UpstreamReply) -> UpstreamReply + 'static,
) -> Answer {
    match answer {
        Answer::Whole(reply) => Answer::Whole(change(reply)),
        Answer::Stream(stream) => {
            Answer::Stream(Stream::new(Box::new(Changing { stream, change: Box::new(change) })))
        }
    }
}

/// The upstream's id of the task that a call became, if it became one.
fn created(reply: &UpstreamReply) -> Option<String> {
    let raw = std::str::from_utf8(reply.raw()).ok().filter(|_| reply.outcome == Outcome::Result)?;
    let [kind, id] = jsonrpc::pick(raw, ["resultType", "taskId"]).ok()?;
    let is_task = kind?.of_text(raw) == "\"task\"";
    let id = id.filter(|_| is_task)?.of_text(raw);
    jsonrpc::unescape(id).ok().map(std::borrow::Cow::into_owned)
}

/// A result with another `taskId`, if it has one.
fn renamed(reply: UpstreamReply, id: &str) -> UpstreamReply {
    let raw = std::str::from_utf8(reply.raw()).unwrap_or_default();
    let place = jsonrpc::pick(raw, ["taskId"]).ok().and_then(|[place]| place);
    let Some(place) = place.filter(|_| reply.outcome == Outcome::Result) else { return reply };
    let mut bytes = Vec::with_capacity(raw.len() + id.len());
    bytes.extend_from_slice(&raw.as_bytes()[..place.start as usize]);
    jsonrpc::write_string(&mut bytes, id);
    bytes.extend_from_slice(&raw.as_bytes()[place.end as usize..]);
    let span = Span::new(0, bytes.len());
    shards::buffer::give(reply.bytes);
    UpstreamReply { bytes, span, outcome: Outcome::Result }
}

/// An answer that streams, with another reply in the place of its own.
struct Changing {
    stream: Stream,
    change: Box<dyn Fn(UpstreamReply) -> UpstreamReply>,
}

impl EventSource for Changing {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Event, Failure>> + '_>> {
        Box::pin(async move {
            Ok(match self.stream.next().await? {
                Event::Reply(reply) => Event::Reply((self.change)(reply)),
                other => other,
            })
        })
    }
}
