//! What is asked before something is used: the policies, the rates, and whether it is its turn.
//!
//! Nothing here is reached, and nothing of it is worked out, unless there is a policy or a limit.

use std::net::IpAddr;

use net::jsonrpc::Message;
use serde_json::{Map, Value, json};
use storage::record::Ownership;

use super::{Call, Parts, Request, facts::CallFacts};
use crate::{
    auth::Caller,
    catalog::{AgentEntry, Entry, PromptEntry, ResourceEntry, Seen, ToolEntry},
    failure::Failure,
    mcp::{Era, NoHeaders, Transport},
    policy::{Action, Denial, Question},
    reply::{Accepts, Messages, Reply},
    throttle::{Turn, Use},
    upstream::Relay,
};

/// What is about to be used, with the name that it is used by.
#[derive(Clone, Copy)]
pub(super) enum Thing<'a> {
    /// A tool is called.
    Tool(&'a ToolEntry, &'a str),
    /// A tool is listed.
    Listed(&'a ToolEntry, &'a str),
    /// A resource is read: nothing is known of one that is listed nowhere.
    Resource(Option<&'a ResourceEntry>, &'a str),
    /// A prompt is got.
    Prompt(&'a PromptEntry, &'a str),
}

impl Thing<'_> {
    fn action(self) -> Action {
        match self {
            Thing::Tool(..) => Action::CallTool,
            Thing::Listed(..) => Action::ListTool,
            Thing::Resource(..) => Action::ReadResource,
            Thing::Prompt(..) => Action::GetPrompt,
        }
    }
}

impl<R: Relay> Call<'_, R> {
    /// Asks whatever there is to ask about a use; what it gives is kept until the use has ended.
    pub(super) async fn guard(&self, thing: Thing<'_>) -> Result<Option<Turn>, Failure> {
        let parts = self.parts;
        let is_limited = parts.throttle.limits_uses() || self.request.caller.is_api_token;
        if parts.policies.is_empty() && !is_limited {
            return Ok(None);
        }
        // On the heap: calls that nothing is asked about need no room for it.
        Box::pin(async move {
            self.judge(thing)?;
            if is_limited { self.limit(thing).await } else { Ok(None) }
        })
        .await
    }

    /// Whether policies show a tool in a list.
    pub(super) fn lists(&self, entry: &ToolEntry, name: &str) -> bool {
        self.ask_policies(Thing::Listed(entry, name)).is_ok()
    }

    fn ask_policies(&self, thing: Thing<'_>) -> Result<(), Denial> {
        let question = Question { action: thing.action(), server_id: self.server_id };
        self.parts.policies.judge(question, &CallFacts::new(self, thing))
    }

    /// Refuses what policies deny.
    fn judge(&self, thing: Thing<'_>) -> Result<(), Failure> {
        if self.parts.policies.is_empty() {
            return Ok(());
        }
        self.ask_policies(thing).map_err(|denial| {
            let (caller, reason) = (&self.request.caller.email, &denial.reason);
            tracing::info!(caller, policy = denial.policy, reason, "a policy denied");
            Failure::Forbidden(denial.to_string())
        })
    }

    /// Counts the use, and waits for its turn.
    async fn limit(&self, thing: Thing<'_>) -> Result<Option<Turn>, Failure> {
        let caller = self.request.caller;
        let tool_id = match thing {
            Thing::Tool(entry, _) => Some(entry.record.id.as_str()),
            _ => None,
        };
        let token_id = caller.token_id.as_deref();
        let people = self.parts.catalog.people();
        let record = token_id.filter(|_| caller.is_api_token);
        let record = record.and_then(|token_id| people.token_by_jti(token_id));
        let used = Use {
            caller: &caller.email,
            team_id: caller.sole_team(),
            token_id,
            usage_limits: record.and_then(|record| record.usage_limits.as_deref()),
            tool_id,
            server_id: self.server_id,
        };
        self.parts.throttle.admit(&used).await?;
        match tool_id {
            Some(tool_id) => self.parts.throttle.turn(tool_id).await,
            None => Ok(None),
        }
    }
}

/// Asks the same about a call of the tool that an agent is offered as, made by REST.
///
/// # Errors
///
/// [`Failure::Forbidden`] if a policy denies it, [`Failure::Limited`] or [`Failure::Busy`] if it is
/// too much.
pub async fn admit_call<R: Relay>(
    parts: &Parts<'_, R>,
    (caller, client_ip): (&Caller, Option<IpAddr>),
    agent: &AgentEntry,
    arguments: &Map<String, Value>,
) -> Result<Option<Turn>, Failure> {
    let offered = parts.catalog.offers_of(&agent.record.id).find_map(|entry| match entry {
        Entry::Tool(tool) => Some(tool),
        _ => None,
    });
    let Some(entry) = offered else { return Ok(None) };
    let params = json!({"name": entry.record.name, "arguments": arguments});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let body = body.to_string();
    let message = Message::parse(body.as_bytes(), &parts.options.envelope)
        .map_err(|error| Failure::Malformed(error.to_string()))?;
    let request = Request {
        session: None,
        caller,
        client_ip,
        server_id: "",
        transport: Transport::Rpc,
        headers: &NoHeaders,
        accepts: Accepts { json: true, events: false },
        body: body.as_bytes(),
    };
    let sees = |owned: &Ownership| caller.sees(owned);
    let seen = Seen { view: &parts.catalog.everything, sees: &sees };
    let (message, era, server_id) = (&message, Era::Legacy, "");
    let call = Call {
        parts,
        request: &request,
        message,
        era,
        server_id,
        seen,
        away: seen,
        reads: &sees,
        is_task: false,
    };
    call.guard(Thing::Tool(&entry, &entry.record.name)).await
}

/// Keeps a turn until the reply has been sent, if it is sent bit by bit.
pub(super) fn hold(reply: Reply, turn: Option<Turn>) -> Reply {
    match (reply, turn) {
        (Reply::Stream(messages), Some(turn)) => {
            Reply::Stream(Box::new(Held { messages, _turn: turn }))
        }
        (reply, _) => reply,
    }
}

/// Messages of a call that still runs.
struct Held {
    messages: Box<dyn Messages>,
    _turn: Turn,
}

impl Messages for Held {
    fn next<'a>(
        &'a mut self,
        out: &'a mut Vec<u8>,
    ) -> std::pin::Pin<Box<dyn Future<Output = bool> + 'a>> {
        self.messages.next(out)
    }
}
