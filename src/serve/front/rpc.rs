//! What an MCP endpoint and `/rpc` answer: messages, batches of them, and the streams and the end of
//! sessions.

use std::{rc::Rc, sync::Arc};

use net::http1::server::{Request, Responder};

use super::{
    Front, Headers, RPC_METHODS, SESSION_HEADER, SESSION_METHODS, STREAM_METHODS,
    is_unknown_method, log_failure, write_json, write_stream,
};
use crate::{
    admin,
    auth::Caller,
    catalog::VirtualServer,
    failure::Failure,
    gateway::{self, Agreed, Answered, Parts},
    mcp::{Era, MODERN, Transport, code},
    reply::{self, Accepts, Reply},
    route::Route,
    serve::{
        backend::{Backend, parts},
        batch,
        changes::Identify,
        door::Endpoint,
        legacy, replay, streams,
    },
    session::{Naming, Session, Ticket},
    state,
    throttle::Tier,
    upstream::Upstreams,
};

impl Front {
    /// Answers POST: one message, or a batch of them.
    pub(super) async fn answer_rpc(
        &self,
        request: &Request<'_>,
        server_id: &str,
        transport: Transport,
        caller: &Caller,
        body: &[u8],
        responder: &mut Responder,
    ) {
        let shard = &self.shard;
        let catalog = shard.catalog();
        let parts = parts(shard, &catalog);
        let headers = Headers(request);
        let accepts = Accepts::parse(request.header("accept"));
        if let Err(failure) = self.limit(request, Tier::Medium, caller).await {
            log_failure(&failure);
            return reply::write_failure(responder, None, &failure, true);
        }
        let session = match self.session(request, transport, server_id, caller).await {
            Ok(session) => session,
            Err(failure) => {
                log_failure(&failure);
                return reply::write_failure(responder, None, &failure, true);
            }
        };
        let accepts = accepts.preferring_json(shard.settings.sessions.json_response);
        let rpc = gateway::Request {
            session: session.as_ref(),
            caller,
            client_ip: Some(self.client(request).ip),
            server_id,
            transport,
            headers: &headers,
            accepts,
            body,
        };
        if transport == Transport::StreamableHttp && batch::is_batch(body) {
            return self.answer_batch(request, &parts, &rpc, responder).await;
        }
        let naming = Naming::default();
        let own = shard.sessions.as_ref().zip(session.as_ref());
        let on_era = |era, id: Option<&str>| match (era, own, id) {
            (Era::Modern, ..) => responder.cancel_on_disconnect(),
            (Era::Legacy, Some((sessions, session)), Some(id)) => {
                naming.name(sessions, session, id);
            }
            (Era::Legacy, ..) => {}
        };
        let answering = gateway::answer(&parts, &rpc, &on_era);
        let answered = match own {
            Some((sessions, session)) => sessions.uncancelled(session, &naming, answering).await,
            None => Some(answering.await),
        };
        let Some(mut answered) = answered else { return write_nothing(responder) };
        if let (Some(agreed), Transport::StreamableHttp) = (answered.handshake, transport)
            && let Err(failure) = self.open_session(agreed, caller, server_id, responder).await
        {
            answered.outcome = Err(failure);
        }
        if transport == Transport::Rpc && answered.outcome.as_ref().is_err_and(is_unknown_method) {
            let client_ip = Some(self.client(request).ip);
            let backend = Backend { shard, client_ip, facts: &self.facts };
            // On the heap: hardly a request is of the contract's first line.
            if let Some(outcome) = Box::pin(legacy::answer(&backend, caller, body)).await {
                answered.outcome = outcome;
            }
        }
        self.write_answer(request, &rpc, answered, responder);
    }

    /// Opens the session that a handshake agreed on, if there are any.
    async fn open_session(
        &self,
        agreed: Agreed,
        caller: &Caller,
        server_id: &str,
        responder: &mut Responder,
    ) -> Result<(), Failure> {
        let Some(sessions) = &self.shard.sessions else { return Ok(()) };
        let Agreed { revision, capabilities } = agreed;
        let ticket = Ticket::new(revision, capabilities, &caller.email, server_id, state::now());
        let id = sessions.open(ticket).await?;
        responder.always_header(SESSION_HEADER, id.as_bytes());
        Ok(())
    }

    /// Writes the answer to one message, or has it played.
    fn write_answer(
        &self,
        request: &Request<'_>,
        rpc: &gateway::Request<'_>,
        answered: Answered<'_>,
        responder: &mut Responder,
    ) {
        let (shard, id) = (&self.shard, answered.id);
        let outcome = match (answered.outcome, rpc.session) {
            (Ok(Reply::Listen(filter)), _) if rpc.accepts.events => {
                let identify = self.identify_again(request, rpc.server_id, rpc.caller);
                let id = id.unwrap_or("null");
                match streams::listen(shard, rpc.server_id, id, *filter, identify) {
                    Ok(stream) => return write_stream(responder, stream),
                    Err(failure) => Err(failure),
                }
            }
            (Ok(Reply::Stream(messages)), Some(session)) if !answered.modern => {
                return replay::play(shard, session, id.unwrap_or("null"), messages, responder);
            }
            (outcome, _) => outcome,
        };
        match outcome {
            Ok(reply) => reply::write(responder, id, reply, rpc.accepts),
            Err(failure) => {
                log_failure(&failure);
                reply::write_failure(responder, id, &failure, true);
            }
        }
    }

    /// Answers the messages of a batch, each of which counts like a request.
    pub(super) async fn answer_batch(
        &self,
        request: &Request<'_>,
        parts: &Parts<'_, Upstreams>,
        rpc: &gateway::Request<'_>,
        responder: &mut Responder,
    ) {
        let version = request.header("mcp-protocol-version");
        let session = rpc.session.map(|session| &**session);
        let answering = async {
            let messages = batch::split(rpc.body, session, version)?;
            for _ in 1..messages.len() {
                self.limit(request, Tier::Medium, rpc.caller).await?;
            }
            Ok(batch::answer(parts, rpc, &messages).await)
        };
        let answers = match answering.await {
            Ok(answers) => answers,
            Err(failure) => {
                log_failure(&failure);
                return reply::write_failure(responder, None, &failure, true);
            }
        };
        match (answers, rpc.session) {
            (None, _) => reply::write(responder, None, Reply::Accepted, rpc.accepts),
            (Some(answers), _) if answers.are_ready() && rpc.accepts.json => {
                write_json(responder, 200, &answers.to_array());
            }
            // No client can name the whole batch to cancel it, only its requests.
            (Some(answers), Some(session)) => {
                replay::play(&self.shard, session, "", Box::new(answers), responder);
            }
            (Some(answers), None) => {
                reply::write(responder, None, Reply::Stream(Box::new(answers)), rpc.accepts);
            }
        }
    }

    /// The methods that a route of JSON-RPC takes.
    pub(super) fn methods(&self, route: &Route<'_>) -> &'static str {
        match (route, &self.shard.sessions) {
            (Route::Mcp { .. }, Some(_)) => SESSION_METHODS,
            (Route::Sse { .. } | Route::WebSocket { .. }, _) => STREAM_METHODS,
            _ => RPC_METHODS,
        }
    }

    /// The session that a request belongs to, if it says so. The stateless revision has none.
    pub(super) async fn session(
        &self,
        request: &Request<'_>,
        transport: Transport,
        server_id: &str,
        caller: &Caller,
    ) -> Result<Option<Rc<Session>>, Failure> {
        let (Some(sessions), Transport::StreamableHttp) = (&self.shard.sessions, transport) else {
            return Ok(None);
        };
        let Some(id) = request.header(SESSION_HEADER) else { return Ok(None) };
        if request.header("mcp-protocol-version") == Some(MODERN.as_bytes()) {
            return Ok(None);
        }
        sessions.find(id, &caller.email, server_id).await.map(Some)
    }

    /// Answers GET: the stream of what nothing was asked for, or the rest of one that broke off.
    pub(super) async fn answer_get(
        &self,
        request: &Request<'_>,
        server_id: &str,
        caller: &Caller,
        responder: &mut Responder,
    ) {
        let outcome = self.open_stream(request, server_id, caller, responder).await;
        if let Err(failure) = outcome {
            log_failure(&failure);
            reply::write_failure(responder, None, &failure, true);
        }
    }

    pub(super) async fn open_stream(
        &self,
        request: &Request<'_>,
        server_id: &str,
        caller: &Caller,
        responder: &mut Responder,
    ) -> Result<(), Failure> {
        let transport = Transport::StreamableHttp;
        let session = self.session(request, transport, server_id, caller).await?;
        let Some(session) = session else {
            // Without a session there is nothing to tell, as the stateless revision has it.
            return Err(Failure::MethodNotAllowed { allow: RPC_METHODS });
        };
        if !Accepts::parse(request.header("accept")).events {
            let text = "Not Acceptable: a stream of events is all there is; accept \
                        text/event-stream";
            return Err(Failure::protocol(406, code::INVALID_REQUEST, text));
        }
        let last = request.header("last-event-id");
        let last = last.and_then(|last| std::str::from_utf8(last).ok());
        let identify = self.identify_again(request, server_id, caller);
        let stream = streams::open(&self.shard, &session, last, identify).await?;
        write_stream(responder, stream);
        Ok(())
    }

    /// Says again who opened a stream on an MCP endpoint, for as long as it is open.
    pub(super) fn identify_again(
        &self,
        request: &Request<'_>,
        server_id: &str,
        caller: &Caller,
    ) -> Identify {
        let route = Route::Mcp { server_id };
        if *caller != Caller::nobody() {
            let door = &self.facts.door;
            let uri = door.base.of(Some(&self.client(request))) + &admin::endpoint(server_id);
            let endpoint = Endpoint { server_id: server_id.to_owned(), uri };
            let visit = self.visit(request, &route);
            return door.identify_again(&self.shard, &visit, Some(endpoint));
        }
        let (shard, server_id) = (self.shard.clone(), server_id.to_owned());
        Rc::new(move || {
            let catalog = shard.catalog();
            let is_open = |server: &Arc<VirtualServer>| !server.record.auth_required;
            catalog.server(&server_id).is_some_and(is_open).then(|| Rc::new(Caller::nobody()))
        })
    }

    /// Answers DELETE: the client has no more use for its session.
    pub(super) async fn answer_delete(
        &self,
        request: &Request<'_>,
        server_id: &str,
        caller: &Caller,
        responder: &mut Responder,
    ) {
        let found = self.session(request, Transport::StreamableHttp, server_id, caller).await;
        match (found, &self.shard.sessions) {
            (Ok(Some(session)), Some(sessions)) => {
                sessions.end(&session).await;
                responder.begin(204);
                responder.finish_empty();
            }
            (Ok(_), _) => {
                let failure = Failure::MethodNotAllowed { allow: RPC_METHODS };
                reply::write_failure(responder, None, &failure, true);
            }
            (Err(failure), _) => reply::write_failure(responder, None, &failure, true),
        }
    }
}

/// Answers a request that its client has cancelled: by a stream that ends without an answer, as it would
/// have if it had begun before.
fn write_nothing(responder: &mut Responder) {
    responder.begin(200);
    responder.lines(reply::EVENTS);
    responder.finish(&[]);
}
