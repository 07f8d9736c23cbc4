//! What a shard does with HTTP requests: admission on the head, then the gateway or the REST API.

use std::{rc::Rc, time::Instant};

use net::http1::{
    Method,
    server::{BodyStream, Request, Responder, Service},
};
use storage::audit::AuditEntry;

use crate::{
    admin::{self, RestRequest},
    auth::{AuthError, Caller, Resource, external::keyring::Slot},
    failure::Failure,
    limits,
    mcp::{HeaderSource, Transport, code},
    observe::{audit, usage::Use},
    reply,
    route::{self, Route},
    serve::{
        backend::{Backend, Facts},
        changes::Changes,
        door::{Refusal, Visit},
        protected,
    },
    state::Shard,
    throttle::{Stand, Tier},
    web::Client,
};

mod rpc;
mod talk;

/// Names the session of a client of the revisions with a handshake.
const SESSION_HEADER: &str = "mcp-session-id";

/// What every answer of the REST API carries.
const REST_HEADERS: &str = "content-type: application/json\r\n";

/// What tokens are counted by that ask for paths which are not here.
const NOWHERE: &str = "other";

/// What the MCP and JSON-RPC endpoints take.
const RPC_METHODS: &str = "POST, OPTIONS";

/// What the MCP endpoints take where clients have sessions.
const SESSION_METHODS: &str = "POST, GET, DELETE, OPTIONS";

/// What opens a stream of HTTP+SSE, or a WebSocket.
const STREAM_METHODS: &str = "GET, OPTIONS";

/// A shard as a server of HTTP.
pub struct Front {
    /// The shard.
    pub shard: Rc<Shard>,
    /// What the REST API needs to know besides.
    pub facts: Rc<Facts>,
    /// The user to whom the certificate of the connection is made out.
    pub certified: Option<Rc<Caller>>,
}

/// A request that may go on. Dropping it makes room for another.
pub struct Permit {
    sender: Sender,
    room: Room,
}

/// Who sent a request that may go on.
enum Sender {
    Known(Rc<Caller>),
    /// That is known once these keys are read.
    Awaited(Slot),
}

/// A place among the requests in flight.
pub struct Room(Rc<Shard>);

impl Room {
    /// Takes a place; nothing if as many requests are in flight as may be.
    pub fn take(shard: &Rc<Shard>) -> Option<Room> {
        let has_room = shard.request_count.get() < shard.settings.http.request_count_max;
        has_room.then(|| Room::take_anyway(shard))
    }

    fn take_anyway(shard: &Rc<Shard>) -> Room {
        shard.request_count.set(shard.request_count.get() + 1);
        Room(shard.clone())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.request_count.set(self.0.request_count.get() - 1);
    }
}

impl Service for Front {
    type Permit = Permit;

    fn admit(&self, request: &Request<'_>, responder: &mut Responder) -> Option<(Permit, u64)> {
        let door = &self.facts.door;
        let client = self.client(request);
        door.greet(&client, responder);
        let origin = request.header("origin");
        let admitted = match self.shard.origins.admit(client.host.map(str::as_bytes), origin) {
            Ok(()) if origin.is_some() && door.meet_page(request, responder) => return None,
            Ok(()) => self.check(request),
            Err(foreign) => {
                let failure = Failure::Forbidden(foreign.detail().to_owned());
                Err(self.refused(request, None, failure))
            }
        };
        admitted.map_err(|failure| write_rest_failure(responder, &failure)).ok()
    }

    async fn answer(
        &self,
        permit: Permit,
        request: &Request<'_>,
        body: &[u8],
        responder: &mut Responder,
    ) {
        let Permit { sender, room } = permit;
        let caller = match sender {
            Sender::Known(caller) => caller,
            Sender::Awaited(slot) => match Box::pin(self.await_sender(request, slot)).await {
                Ok(caller) => caller,
                Err(failure) => return write_rest_failure(responder, &failure),
            },
        };
        let begun = caller.api_token_id.as_ref().map(|_| Instant::now());
        match self.route(request) {
            Some(route)
                if request.head.method() == Method::Options && !matches!(route, Route::Rest(_)) =>
            {
                write_options(responder, self.methods(&route));
            }
            Some(Route::Mcp { server_id }) => match request.head.method() {
                Method::Get => self.answer_get(request, server_id, &caller, responder).await,
                Method::Delete => self.answer_delete(request, server_id, &caller, responder).await,
                _ => {
                    let transport = Transport::StreamableHttp;
                    self.answer_rpc(request, server_id, transport, &caller, body, responder).await;
                }
            },
            Some(Route::Sse { server_id }) => {
                self.open_sse(request, server_id, &caller, responder).await;
            }
            Some(Route::WebSocket { server_id }) => {
                self.open_socket(request, server_id, &caller, responder).await;
            }
            Some(Route::Message { server_id }) => {
                self.take_message(request, server_id, &caller, body, responder).await;
            }
            Some(Route::Rpc) => {
                let transport = Transport::Rpc;
                self.answer_rpc(request, "", transport, &caller, body, responder).await;
            }
            Some(Route::Rest(path)) => {
                self.answer_rest(request, path, &caller, body, responder).await;
            }
            None => write_rest_failure(responder, &not_found()),
        }
        if let Some(begun) = begun {
            self.count_use(request, &caller, responder.status(), begun);
        }
        drop(room);
    }

    fn refuse(&self, status: u16, message: &str, responder: &mut Responder) {
        self.facts.door.greet_stranger(responder);
        let body = serde_json::json!({"detail": message}).to_string();
        write_json(responder, status, body.as_bytes());
    }

    fn draining(&self) -> bool {
        self.shard.draining.is_open()
    }
}

impl Front {
    /// Who sent a request, seen through the proxies that are trusted.
    fn client<'a>(&self, request: &Request<'a>) -> Client<'a> {
        self.facts.door.proxies.client_of(request)
    }

    fn route<'a>(&self, request: &Request<'a>) -> Option<Route<'a>> {
        let is_post = request.head.method() == Method::Post;
        let root: &str = &self.shard.settings.listen.root_path;
        route::find(request.path(), root, is_post)
    }

    /// Everything that is decided before the body is read.
    fn check(&self, request: &Request<'_>) -> Result<(Permit, u64), Failure> {
        let shard = &self.shard;
        let route = self.route(request).ok_or_else(not_found)?;
        let rest_path = if let Route::Rest(path) = route { Some(path) } else { None };
        let is_probe = rest_path.is_some_and(admin::is_open);
        // Probes keep a reserve: an overloaded gateway must not look dead.
        if shard.request_count.get() >= shard.settings.http.request_count_max && !is_probe {
            return Err(Failure::Busy("Too many requests are in flight; try again".to_owned()));
        }
        if rest_path.is_none() {
            check_rpc(request, self.methods(&route))?;
        }
        let is_preflight = request.head.method() == Method::Options;
        let is_open = is_preflight || rest_path.is_some_and(admin::is_open);
        // Whoever proves to be somebody to a server that needs no proof is who they say.
        let is_unnamed = self.needs_no_token(&route)
            && self.facts.door.is_nameless(&self.visit(request, &route));
        let sender = match is_open || is_unnamed {
            true => Sender::Known(Rc::new(Caller::nobody())),
            false => match self.identify(request, &route) {
                Ok(caller) => Sender::Known(caller),
                Err(Refusal::Keys(slot)) => Sender::Awaited(slot),
                Err(Refusal::Failure(failure)) => return Err(failure),
            },
        };
        let is_admin = matches!(&sender, Sender::Known(caller) if caller.is_admin);
        let body_size_max = match rest_path {
            // A whole registry may come in one document, which only administrators may send.
            Some("/import") if is_admin => shard.settings.http.body_size_max as u64,
            Some(_) => limits::REST_BODY_SIZE_MAX.min(shard.settings.http.body_size_max as u64),
            None => shard.settings.http.body_size_max as u64,
        };
        Ok((Permit { sender, room: Room::take_anyway(shard) }, body_size_max))
    }

    fn visit<'b>(&'b self, request: &'b Request<'b>, route: &Route<'b>) -> Visit<'b, 'b> {
        let rest_path = if let Route::Rest(path) = route { Some(*path) } else { None };
        let (certified, resource) = (self.certified.as_ref(), Resource::PLAIN);
        Visit { request, rest_path, certified, resource }
    }

    /// Who asks, once the keys of the issuer of their token were read.
    async fn await_sender(&self, request: &Request<'_>, slot: Slot) -> Result<Rc<Caller>, Failure> {
        self.shard.read_keys(slot).await?;
        let route = self.route(request).ok_or_else(not_found)?;
        self.identify(request, &route).map_err(|refusal| match refusal {
            Refusal::Failure(failure) => failure,
            Refusal::Keys(slot) => AuthError::Keys(slot).into(),
        })
    }

    /// Who asks, and whether what they showed is good for this route.
    fn identify(&self, request: &Request<'_>, route: &Route<'_>) -> Result<Rc<Caller>, Refusal> {
        let identified = match route.endpoint() {
            Some(server_id) => self.identify_at(request, route, server_id),
            None => self.facts.door.identify(&self.shard, &self.visit(request, route)),
        };
        let caller = identified.map_err(|refusal| match refusal {
            Refusal::Failure(failure) => self.refused(request, None, failure).into(),
            keys => keys,
        })?;
        self.check_bounds(request, caller, route)
    }

    /// Who asks for an endpoint of MCP, which may be a protected resource.
    fn identify_at(
        &self,
        request: &Request<'_>,
        route: &Route<'_>,
        server_id: &str,
    ) -> Result<Rc<Caller>, Refusal> {
        let door = &self.facts.door;
        let catalog = self.shard.catalog_now();
        let protection = door.protection_of(&catalog, server_id);
        let shown = match catalog.server(server_id) {
            None => protection,
            Some(server) => admin::shown(server),
        };
        let base = || door.base.of(Some(&door.proxies.client_of(request)));
        let metadata_url = || protected::metadata_url(&base(), server_id);
        let uri = || Some(base() + &admin::endpoint(server_id));
        let resource = Resource { protection, uri: &uri };
        let visit = Visit { resource, ..self.visit(request, route) };
        let caller =
            door.identify(&self.shard, &visit).map_err(|refusal| match (refusal, shown) {
                (Refusal::Failure(failure), Some(shown)) => {
                    Refusal::Failure(protected::point(failure, shown, &metadata_url()))
                }
                (refusal, _) => refusal,
            })?;
        if let Some(protection) = protection {
            protected::check_scopes(&caller, protection, metadata_url)?;
        }
        Ok(caller)
    }

    /// Refuses a token that is bound to another virtual server.
    fn check_bounds(
        &self,
        request: &Request<'_>,
        caller: Rc<Caller>,
        route: &Route<'_>,
    ) -> Result<Rc<Caller>, Refusal> {
        let server_id = route.endpoint().filter(|server_id| !server_id.is_empty());
        if !caller.opens(server_id) {
            let text = "The token is bound to another virtual server";
            let failure = Failure::Forbidden(text.to_owned());
            self.count_use(request, &caller, failure.status(), Instant::now());
            return Err(self.refused(request, Some(&caller), failure).into());
        }
        Ok(caller)
    }

    /// Counts that an API token was used, if the caller came by one.
    fn count_use(&self, request: &Request<'_>, caller: &Caller, status: u16, begun: Instant) {
        let Some(token_id) = &caller.api_token_id else { return };
        let endpoint = match self.route(request) {
            Some(Route::Mcp { server_id: "" }) => "/mcp",
            Some(Route::Mcp { .. }) => "/servers/{id}/mcp",
            Some(Route::Sse { server_id: "" }) => "/sse",
            Some(Route::Sse { .. }) => "/servers/{id}/sse",
            Some(Route::WebSocket { server_id: "" }) => "/ws",
            Some(Route::WebSocket { .. }) => "/servers/{id}/ws",
            Some(Route::Message { server_id: "" }) => "/message",
            Some(Route::Message { .. }) => "/servers/{id}/message",
            Some(Route::Rpc) => "/rpc",
            Some(Route::Rest(path)) => admin::area(path).unwrap_or(NOWHERE),
            None => NOWHERE,
        };
        self.shard.meters.count_use(Use { token_id, endpoint, status }, begun);
    }

    /// Tells the audit trail of a request that is refused before its body is read.
    fn refused(&self, request: &Request<'_>, caller: Option<&Caller>, failure: Failure) -> Failure {
        let trail = &self.shard.trail;
        if !trail.is_on() {
            return failure;
        }
        let peer = Some(self.client(request).ip);
        trail.note(AuditEntry {
            entity: Some("path".into()),
            entity_name: Some(told_path(request.path())),
            allowed: false,
            succeeded: false,
            reason: Some(failure.to_string()),
            status: i64::from(failure.status()),
            ..audit::entry_of(caller, peer, &Headers(request), "auth.refused")
        });
        failure
    }

    /// Whether a route leads to a virtual server that is open to callers without a token.
    fn needs_no_token(&self, route: &Route<'_>) -> bool {
        let Some(server_id) = route.endpoint() else { return false };
        let catalog = self.shard.catalog_now();
        catalog.server(server_id).is_some_and(|server| !server.record.auth_required)
    }

    async fn answer_rest(
        &self,
        request: &Request<'_>,
        path: &str,
        caller: &Caller,
        body: &[u8],
        responder: &mut Responder,
    ) {
        let stand = match Tier::of_path(path) {
            Some(tier) => self.limit(request, tier, caller).await,
            None => Ok(None),
        };
        let stand = match stand {
            Ok(stand) => stand,
            Err(failure) => return write_rest_failure(responder, &failure),
        };
        let client = self.client(request);
        let text = |name| request.header(name).and_then(|value| std::str::from_utf8(value).ok());
        let rest = RestRequest {
            method: request.head.method(),
            path,
            query: request.query(),
            body,
            content_type: request.header("content-type"),
            if_match: text("if-match"),
            caller: Some(caller),
            client: Some(client),
            cookie: request.header("cookie"),
            accept: request.header("accept"),
            user_agent: text("user-agent"),
            request_id: text("x-correlation-id").or_else(|| text("x-request-id")),
        };
        let client_ip = Some(client.ip);
        let backend = Backend { shard: &self.shard, client_ip, facts: &self.facts };
        let answer = admin::handle(&backend, rest).await;
        if let (Method::Options, Some(allow)) = (request.head.method(), answer.allow) {
            write_options(responder, allow);
            return;
        }
        if let Some(watched) = answer.watched {
            self.answer_changes(request, path, watched, answer.headers, responder);
            return;
        }
        if answer.is_page() {
            self.facts.door.show_page(&client, responder);
        }
        responder.begin(answer.status);
        if let Some(allow) = answer.allow {
            responder.header("allow", allow.as_bytes());
        }
        if let Some(location) = &answer.location {
            responder.header("location", location.as_bytes());
        }
        if answer.retry_after {
            responder.lines("retry-after: 1\r\n");
        }
        if let Some(version) = answer.etag {
            responder.header("etag", format!("\"{version}\"").as_bytes());
        }
        for (name, value) in stand.iter().flat_map(Stand::fields) {
            responder.header(name, value.as_bytes());
        }
        for cookie in &answer.cookies {
            responder.header("set-cookie", cookie.as_bytes());
        }
        responder.lines(answer.headers);
        responder.finish(&[&answer.body]);
    }

    /// Counts a request, if there is a limit on its kind.
    async fn limit(
        &self,
        request: &Request<'_>,
        tier: Tier,
        caller: &Caller,
    ) -> Result<Option<Stand>, Failure> {
        let throttle = &self.shard.throttle;
        let Some(limit) = throttle.tier(tier) else { return Ok(None) };
        // Whoever logs in has not said who they are.
        let is_known = tier != Tier::Critical && *caller != Caller::nobody();
        let known = is_known.then_some(caller.email.as_str());
        Box::pin(throttle.request(limit, known, self.client(request).ip)).await.map(Some)
    }
}

impl Front {
    /// Opens a stream, which lives as long as the token of whoever asked.
    fn answer_changes(
        &self,
        request: &Request<'_>,
        path: &str,
        watched: admin::Watched,
        headers: &'static str,
        responder: &mut Responder,
    ) {
        let route = Route::Rest(path);
        let visit = self.visit(request, &route);
        let identify = self.facts.door.identify_again(&self.shard, &visit, None);
        match Changes::open(&self.shard, watched, identify) {
            Ok(stream) => {
                responder.cancel_on_disconnect();
                responder.begin(200);
                responder.lines(headers);
                responder.finish_stream(Box::new(stream));
            }
            Err(failure) => write_rest_failure(responder, &failure),
        }
    }
}

/// The header fields of a request, as MCP looks at them.
struct Headers<'a>(&'a Request<'a>);

impl HeaderSource for Headers<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.header(name)
    }

    fn count(&self, name: &str) -> usize {
        self.0.head.fields().count(self.0.bytes, name)
    }

    fn sole(&self, name: &str) -> Option<&[u8]> {
        self.0.head.fields().sole(self.0.bytes, name)
    }
}

/// A path as the audit trail tells it: without a token in it, which is as good as what it opens.
fn told_path(path: &str) -> String {
    let end = |before: &&str| path.find(before).map(|start| start + before.len());
    let ends = ["/invitations/", "/reset-password/"].iter().filter_map(end);
    path[..ends.min().unwrap_or(path.len())].to_owned()
}

fn is_unknown_method(failure: &Failure) -> bool {
    failure.code() == code::METHOD_NOT_FOUND
}

fn check_rpc(request: &Request<'_>, methods: &'static str) -> Result<(), Failure> {
    match request.head.method() {
        Method::Post if methods != STREAM_METHODS => {}
        Method::Options => return Ok(()),
        Method::Get if methods == STREAM_METHODS => return Ok(()),
        Method::Get | Method::Delete if methods == SESSION_METHODS => return Ok(()),
        _ => return Err(Failure::MethodNotAllowed { allow: methods }),
    }
    let Some(content_type) = request.header("content-type") else { return Ok(()) };
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    match essence.trim_ascii().eq_ignore_ascii_case(b"application/json") {
        true => Ok(()),
        false => Err(Failure::UnsupportedMediaType { expected: "application/json" }),
    }
}

/// Answers with a stream of events, which ends when the client leaves.
fn write_stream(responder: &mut Responder, stream: Box<dyn BodyStream>) {
    responder.cancel_on_disconnect();
    responder.begin(200);
    responder.lines(reply::EVENTS);
    responder.finish_stream(stream);
}

fn not_found() -> Failure {
    Failure::NotFound("Not Found".to_owned())
}

fn write_rest_failure(responder: &mut Responder, failure: &Failure) {
    log_failure(failure);
    let body = serde_json::json!({"detail": failure.to_string()}).to_string();
    responder.begin(failure.status());
    reply::write_failure_headers(responder, failure);
    responder.lines(REST_HEADERS);
    responder.finish(&[body.as_bytes()]);
}

fn write_options(responder: &mut Responder, allow: &str) {
    responder.begin(204);
    responder.header("allow", allow.as_bytes());
    responder.finish_empty();
}

fn write_json(responder: &mut Responder, status: u16, body: &[u8]) {
    responder.begin(status);
    responder.lines(REST_HEADERS);
    responder.finish(&[body]);
}

/// What is our own fault is for the operator; the rest is for whoever looks closely.
fn log_failure(failure: &Failure) {
    match failure {
        Failure::Internal(detail) => tracing::error!(detail, "internal error"),
        Failure::Storage(error) if failure.status() == 503 => {
            tracing::error!(%error, "the store failed");
        }
        other => tracing::debug!(failure = %other, "request failed"),
    }
}
