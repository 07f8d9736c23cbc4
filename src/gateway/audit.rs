//! What the audit trail is told of calls: of tools, prompts and resources, allowed or refused.
//!
//! It looks at what was answered, after the fact, so the path of a call knows nothing of it. A call
//! that need not be told of costs a comparison.

use std::{future::Future, pin::Pin, rc::Rc, time::Instant};

use net::jsonrpc::{self, Message, Param};
use storage::{audit::AuditEntry, record::Ownership};

use super::{Parts, Request, text_param};
use crate::{
    auth::access::Reason,
    catalog::{Catalog, Seen, View},
    failure::Failure,
    mcp::{self, Transport},
    observe::audit::{self, Trail},
    reply::{Messages, Reply},
    route::Resources,
    settings::AuditCalls,
};

/// A call that may have to be told of. Dropped before its end, its client has left, or cancelled it:
/// it may have been executed, so that is told of too.
pub struct Watch<'a, R> {
    parts: &'a Parts<'a, R>,
    request: &'a Request<'a>,
    message: &'a Message<'a>,
    calls: AuditCalls,
    /// When it began, if all calls are told of: a refusal takes no time.
    begun: Option<Instant>,
    has_ended: bool,
}

/// What is called.
struct Target<'a> {
    action: &'static str,
    entity: &'static str,
    name: String,
    arguments: Option<&'a str>,
}

/// What an endpoint knows of a target.
struct Known {
    id: String,
    team_id: Option<String>,
    is_seen: bool,
}

impl<'a, R> Watch<'a, R> {
    /// Begins to watch a call.
    pub fn begin(
        parts: &'a Parts<'a, R>,
        request: &'a Request<'a>,
        message: &'a Message<'a>,
    ) -> Watch<'a, R> {
        let calls = parts.trail.calls();
        let begun = (calls == AuditCalls::All).then(Instant::now);
        Watch { parts, request, message, calls, begun, has_ended: false }
    }

    /// Tells of what was answered, if that is wanted; of a stream when it has ended.
    pub fn end(mut self, outcome: Result<Reply, Failure>) -> Result<Reply, Failure> {
        self.has_ended = true;
        let is_wanted = match self.calls {
            AuditCalls::All => true,
            AuditCalls::Denied => outcome.is_err(),
            AuditCalls::None => false,
        };
        if !is_wanted {
            return outcome;
        }
        self.tell(outcome)
    }

    #[cold]
    fn tell(&self, outcome: Result<Reply, Failure>) -> Result<Reply, Failure> {
        match self.watched(outcome.as_ref().err()) {
            Some((watched, is_tool, refusal)) => watched.end(outcome, is_tool, refusal),
            None => outcome,
        }
    }

    /// The entry of a call, whether it is that of a tool, and why it was refused, if it was; nothing if
    /// it is not to be told of.
    fn watched(&self, failure: Option<&Failure>) -> Option<(Watched, bool, Option<String>)> {
        let Watch { parts, request, message, .. } = self;
        let server_id = server_of(request, message);
        let (view, owned) = endpoint(parts, &server_id)?;
        let target = Target::of(request, message, view)?;
        let known = target.known(parts.catalog, view, request);
        let is_hidden = owned.is_some_and(|owned| !request.caller.sees(owned))
            || known.as_ref().is_some_and(|known| !known.is_seen);
        let refusal = failure.and_then(|failure| refusal(failure, is_hidden));
        if self.calls == AuditCalls::Denied && refusal.is_none() {
            return None;
        }
        let mut entry = target.entry(request, known.as_ref());
        entry.server_id = (!server_id.is_empty()).then_some(server_id);
        entry.arguments = parts.trail.arguments(target.arguments);
        entry.allowed = refusal.is_none();
        let watched = Watched { trail: parts.trail.clone(), entry, begun: self.begun };
        Some((watched, target.entity == "tool", refusal))
    }
}

impl<R> Drop for Watch<'_, R> {
    fn drop(&mut self) {
        if !self.has_ended
            && self.calls == AuditCalls::All
            && let Some((mut watched, ..)) = self.watched(None)
        {
            watched.fail(LEFT);
            watched.note();
        }
    }
}

/// An entry that waits for the end of what it tells of.
struct Watched {
    trail: Rc<Trail>,
    entry: AuditEntry,
    begun: Option<Instant>,
}

impl Watched {
    fn end(
        mut self,
        outcome: Result<Reply, Failure>,
        is_tool: bool,
        refusal: Option<String>,
    ) -> Result<Reply, Failure> {
        match outcome {
            Ok(Reply::Stream(messages)) => {
                let inner = Some(self);
                Ok(Reply::Stream(Box::new(Listened { messages, is_tool, watched: inner })))
            }
            Ok(reply) => {
                self.judge(&reply, is_tool);
                self.note();
                Ok(reply)
            }
            Err(failure) => {
                self.entry.succeeded = false;
                self.entry.status = i64::from(failure.code());
                self.entry.reason = Some(refusal.unwrap_or_else(|| failure.to_string()));
                self.note();
                Err(failure)
            }
        }
    }

    fn judge(&mut self, reply: &Reply, is_tool: bool) {
        match reply {
            Reply::Relayed(relayed) => {
                let raw = relayed.place.of_bytes(&relayed.bytes);
                self.judge_raw(raw, relayed.is_error, is_tool);
            }
            Reply::Result(raw) => self.judge_raw(raw, false, is_tool),
            Reply::Error(raw) => self.judge_raw(raw, true, is_tool),
            Reply::Accepted | Reply::Page(_) | Reply::Stream(_) | Reply::Listen(_) => {}
        }
    }

    /// Judges by the raw result or error object.
    fn judge_raw(&mut self, raw: &[u8], is_error: bool, is_tool: bool) {
        if is_error {
            let text = std::str::from_utf8(raw).unwrap_or_default();
            let code = jsonrpc::ErrorParts::parse(text).map_or(0, |parts| parts.code);
            self.entry.status = code;
            self.fail("the upstream answered with an error");
        } else if is_tool && mcp::is_error(raw) {
            self.fail("the tool said that it failed");
        }
    }

    fn fail(&mut self, reason: &str) {
        self.entry.succeeded = false;
        self.entry.reason = Some(reason.to_owned());
    }

    fn note(self) {
        let Watched { trail, mut entry, begun } = self;
        entry.duration_us = begun.map_or(0, audit::microseconds_since);
        entry.at = storage::record::now();
        trail.note(entry);
    }
}

/// What is said of a call whose client did not wait for its end.
const LEFT: &str = "the client left before the answer was whole";

/// An answer that streams, listened to until it has ended.
struct Listened {
    messages: Box<dyn Messages>,
    is_tool: bool,
    watched: Option<Watched>,
}

impl Messages for Listened {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            let start = out.len();
            let goes_on = self.messages.next(out).await;
            if !goes_on && let Some(mut watched) = self.watched.take() {
                let last = std::str::from_utf8(&out[start..]).unwrap_or_default();
                match jsonrpc::pick(last, ["result", "error"]) {
                    Ok([Some(result), _]) => {
                        watched.judge_raw(result.of_text(last).as_bytes(), false, self.is_tool);
                    }
                    Ok([_, Some(error)]) => {
                        watched.judge_raw(error.of_text(last).as_bytes(), true, self.is_tool);
                    }
                    _ => watched.fail("the answer broke off"),
                }
                watched.note();
            }
            goes_on
        })
    }
}

impl Drop for Listened {
    fn drop(&mut self) {
        if let Some(mut watched) = self.watched.take() {
            watched.fail(LEFT);
            watched.note();
        }
    }
}

/// The id of the virtual server that is asked; empty for none.
fn server_of(request: &Request<'_>, message: &Message<'_>) -> String {
    let named = match request.transport {
        Transport::Rpc => text_param(message, Param::ServerId).ok().flatten(),
        _ => None,
    };
    named.map_or_else(|| request.server_id.to_owned(), |id| id.into_owned())
}

/// What a virtual server offers, and whose it is; everything is nobody's.
fn endpoint<'a, R>(
    parts: &Parts<'a, R>,
    server_id: &str,
) -> Option<(&'a View, Option<&'a Ownership>)> {
    if server_id.is_empty() {
        return Some((&parts.catalog.everything, None));
    }
    let server = parts.catalog.server(server_id)?;
    Some((&server.view, Some(&server.record.ownership)))
}

impl<'a> Target<'a> {
    /// What a message calls; `None` if it is no call, or does not say of what.
    fn of(request: &Request<'_>, message: &Message<'a>, view: &View) -> Option<Target<'a>> {
        let method = message.method();
        let (action, entity, param) = match method {
            "tools/call" => ("tools.execute", "tool", Param::Name),
            "prompts/get" => ("prompts.execute", "prompt", Param::Name),
            "resources/read" => ("resources.read", "resource", Param::Uri),
            // Clients of the contract's first line call a tool by its name alone.
            name if request.transport == Transport::Rpc && view.tools.get(name).is_some() => {
                let (name, arguments) = (name.to_owned(), message.params());
                return Some(Target { action: "tools.execute", entity: "tool", name, arguments });
            }
            _ => return None,
        };
        let name = text_param(message, param).ok().flatten()?.into_owned();
        Some(Target { action, entity, name, arguments: message.param(Param::Arguments) })
    }

    /// What the endpoint has under that name, whether the caller sees it or not.
    fn known(&self, catalog: &Catalog, view: &View, request: &Request<'_>) -> Option<Known> {
        let absent = View::default();
        let find = |sees: &dyn Fn(&Ownership) -> bool, is_seen| {
            let (seen, away) = (Seen { view, sees }, Seen { view: &absent, sees });
            let (id, owned) = match self.entity {
                "tool" => seen.tool(&self.name).map(|e| (&e.record.id, &e.record.ownership)),
                "prompt" => seen.prompt(&self.name).map(|e| (&e.record.id, &e.record.ownership)),
                _ => (Resources { catalog, seen, away }.find(&self.name))
                    .and_then(|found| found.entry)
                    .map(|e| (&e.record.id, &e.record.ownership)),
            }?;
            Some(Known { id: id.clone(), team_id: owned.team_id.clone(), is_seen })
        };
        find(&|owned| request.caller.sees(owned), true).or_else(|| find(&|_| true, false))
    }

    fn entry(&self, request: &Request<'_>, known: Option<&Known>) -> AuditEntry {
        AuditEntry {
            entity: Some(self.entity.into()),
            entity_id: known.map(|known| known.id.clone()),
            entity_name: Some(self.name.clone()),
            team_id: known.and_then(|known| known.team_id.clone()),
            ..audit::entry_of(Some(request.caller), request.client_ip, request.headers, self.action)
        }
    }
}

/// Why a call was refused; `None` if it was not, and failed for another reason. To whoever may not
/// see what they call it `is_hidden`: they are told that it is not there.
fn refusal(failure: &Failure, is_hidden: bool) -> Option<String> {
    if audit::is_refusal(failure.status()) {
        return Some(failure.to_string());
    }
    let is_absent = is_hidden && matches!(failure, Failure::Protocol(_));
    is_absent.then(|| Reason::Invisible.to_string())
}
