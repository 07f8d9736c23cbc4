//! What only clients with a session can do: say which messages they want, answer questions, and
//! cancel.

use net::jsonrpc::{self, Message, Param};

use super::{
    Agreed, Call, Parts, Request, needed, stream::Client, text_param, work::takes_tasks,
    wrong_params,
};
use crate::{
    failure::Failure,
    limits,
    mcp::{Capabilities, Era, LEGACY, LEVELS, Offer, Transport},
    permission::Permission,
    reply::{Filter, Reply},
    session::Word,
    upstream::Relay,
};

/// What a handshake agreed on: the revision that the client asked for if it is known, else the newest
/// (as [`crate::mcp::initialize`] answers).
pub fn agreed(message: &Message<'_>) -> Agreed {
    let asked = text_param(message, Param::ProtocolVersion).ok().flatten();
    let known = LEGACY.into_iter().find(|known| Some(*known) == asked.as_deref());
    let params = message.params().unwrap_or("{}");
    let picked = jsonrpc::pick(params, ["capabilities"]).ok().and_then(|[place]| place);
    let capabilities = picked.map(|place| Capabilities::parse(place.of_text(params)));
    let capabilities = capabilities.unwrap_or_default();
    Agreed { revision: known.unwrap_or(LEGACY[0]), capabilities }
}

/// Takes a notification of a client: the one that cancels a request.
pub async fn notified<R>(parts: &Parts<'_, R>, request: &Request<'_>, message: &Message<'_>) {
    let (Some(sessions), Some(session)) = (parts.sessions, request.session) else { return };
    if message.method() != "notifications/cancelled" {
        return;
    }
    let params = message.params().unwrap_or("{}");
    if let Ok([Some(id)]) = jsonrpc::pick(params, ["requestId"]) {
        sessions.cancel(session, id.of_text(params)).await;
    }
}

/// Takes the answer of a client to a question of an upstream.
///
/// # Errors
///
/// As [`Asks::answer`](crate::session::Asks::answer).
pub async fn answered<R>(
    parts: &Parts<'_, R>,
    request: &Request<'_>,
    message: &Message<'_>,
) -> Result<(), Failure> {
    let (Some(sessions), Some(session)) = (parts.sessions, request.session) else { return Ok(()) };
    let word = match (message.result(), message.error()) {
        (Some(raw), _) => Word::Result(raw.to_owned()),
        (None, Some(raw)) => Word::Error(raw.to_owned()),
        (None, None) => return Ok(()),
    };
    match message.id() {
        Some(id) => sessions.asks.answer(&session.ticket.key, id, word).await,
        None => Ok(()),
    }
}

impl<R: Relay> Call<'_, R> {
    /// The client as the one who can be asked: it has a session, and takes events.
    pub(super) fn client(&self) -> Option<Client> {
        let (sessions, session) = (self.parts.sessions?, self.request.session?);
        let can_be_asked = self.era == Era::Legacy && self.request.accepts.events;
        can_be_asked.then(|| Client {
            asks: sessions.asks.clone(),
            session: session.clone(),
            capabilities: session.ticket.capabilities,
            answer_within: self.parts.options.answer_within,
        })
    }

    /// Answers a client that wants to hear of changes (2026-07-28, `subscriptions/listen`): of the
    /// resources that it names those are honoured that it may read, of the tasks its own.
    pub(super) fn listen(&self) -> Result<Reply, Failure> {
        let params = serde_json::from_str(self.params()).unwrap_or_default();
        let mut filter = Filter::read(&params);
        if filter.uris.len() > limits::SESSION_URI_COUNT_MAX {
            let most = limits::SESSION_URI_COUNT_MAX;
            return Err(wrong_params(format!("resourceSubscriptions: at most {most} URIs")));
        }
        filter.uris.retain(|uri| {
            self.readable(uri)
                .is_some_and(|owned| self.request.caller.may(Permission::ResourcesRead, owned))
        });
        if filter.tasks.len() > limits::LISTENED_TASK_COUNT_MAX {
            let most = limits::LISTENED_TASK_COUNT_MAX;
            return Err(wrong_params(format!("taskIds: at most {most} tasks")));
        }
        let knows_tasks = !filter.tasks.is_empty() && self.declares_tasks();
        filter.tasks.retain(|id| knows_tasks && self.ticket_of(id).is_some());
        Ok(Reply::Listen(Box::new(filter)))
    }

    /// What is offered to a client that is about to have a session, if it is.
    pub(super) fn with_session(&self, offer: Offer) -> Offer {
        let has_session = match self.request.transport {
            Transport::StreamableHttp => self.parts.sessions.is_some(),
            other => other.is_conversation(),
        };
        if !has_session {
            return offer;
        }
        let offer = offer.with_changes(self.has_own_resources()).with_logging();
        match self.has_tasks() {
            true => offer.with_tasks(),
            false => offer,
        }
    }

    /// Whether the client speaks the revision that has tasks of its own, and an upstream does.
    fn has_tasks(&self) -> bool {
        let tools = self.seen.view.tools.seen_after(None, self.seen.sees);
        let tools = tools.filter(|(_, tool)| tool.task_support().is_some());
        let upstreams = tools.filter_map(|(_, tool)| tool.record.gateway_id.as_deref());
        agreed(self.message).revision == LEGACY[0] && { upstreams }
            .filter_map(|id| self.parts.catalog.upstream(id))
            .any(|upstream| takes_tasks(&upstream.record))
    }

    /// What is offered to a client of the stateless revision, which can listen wherever messages come
    /// that answer nothing.
    pub(super) fn with_streams(&self, offer: Offer) -> Offer {
        match self.request.transport != Transport::Rpc {
            true => offer.with_changes(self.has_own_resources()).with_logging(),
            false => offer,
        }
    }

    /// Whether the endpoint has resources of our own, of which every change is known.
    fn has_own_resources(&self) -> bool {
        let resources = self.seen.view.resources.iter();
        resources.map(|(_, entry)| entry).any(|entry| entry.record.gateway_id.is_none())
    }

    /// Keeps the least level of log messages that the client wants.
    pub(super) async fn set_level(&self) -> Result<Reply, Failure> {
        let params = self.params();
        let place = jsonrpc::pick(params, ["level"]).ok().and_then(|[place]| place);
        let raw = place.ok_or_else(|| needed("level"))?.of_text(params);
        let level = jsonrpc::unescape(raw).unwrap_or_default().into_owned();
        if !LEVELS.contains(&&*level) {
            let text = format!("params.level must be one of {}", LEVELS.join(", "));
            return Err(wrong_params(text));
        }
        if let (Some(sessions), Some(session)) = (self.parts.sessions, self.request.session) {
            sessions.wish(session, |wishes| wishes.level = Some(level)).await?;
        }
        Ok(Reply::Result(b"{}".to_vec()))
    }

    /// Notes that the client wants to hear of changes of a resource, or no more.
    pub(super) async fn subscribe(&self, wanted: bool) -> Result<Reply, Failure> {
        let uri = self.name(Param::Uri, "uri")?.into_owned();
        let (Some(sessions), Some(session)) = (self.parts.sessions, self.request.session) else {
            return Ok(Reply::Result(b"{}".to_vec()));
        };
        if wanted {
            let owned = self.readable(&uri).ok_or_else(|| self.no_such_resource(&uri))?;
            self.permit(Permission::ResourcesRead, owned)?;
        }
        let change = |wishes: &mut crate::session::Wishes| match wanted {
            true => drop(wishes.uris.insert(uri)),
            false => drop(wishes.uris.remove(&uri)),
        };
        sessions.wish(session, change).await?;
        Ok(Reply::Result(b"{}".to_vec()))
    }
}
