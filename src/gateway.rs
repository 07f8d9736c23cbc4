//! The path of a request: envelope → era → route → upstream → reply.
//!
//! There is no socket in it. Authentication came before, since it happens before the body is read;
//! what is written how comes after.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

use net::jsonrpc::{self, Message, MessageKind, MetaKey, Param};
use storage::record::{Entity, Ownership, SessionMode};

use crate::{
    auth::{
        Caller,
        access::{self, Object, Verdict},
    },
    catalog::{Catalog, Circles, PromptEntry, Seen, ToolEntry, Upstream, View, param_headers},
    failure::{Failure, UpstreamKind},
    mcp::{
        self, Capabilities, Era, HeaderSource, Kind, Lens, PageRequest, Pages, Shows, Transport,
        code,
    },
    observe::{
        audit::Trail,
        meters::{Execution, Meters},
    },
    own,
    permission::{Permission, PermissionSet},
    policy::Book,
    reply::{Accepts, Relayed, Reply},
    route::{self, Resources},
    schema,
    session::{Session, Sessions, parking::Parking},
    state::Options,
    throttle::Throttle,
    upstream::{Answer, Edit, Outcome, Outgoing, Relay, Stream},
};

mod attended;
mod audit;
mod facts;
mod guard;
mod links;
mod older;
mod own_tool;
mod parked;
mod resources;
mod rounds;
mod sending;
mod session;
mod stream;
mod tasks;
mod upstream_state;
mod urls;
mod work;

pub use guard::admit_call;
use guard::{Thing, hold};
pub use tasks::TASKS_EXTENSION;

/// What the path takes of its shard.
pub struct Parts<'a, R> {
    /// The snapshot.
    pub catalog: &'a Catalog,
    /// The rendered lists.
    pub pages: &'a Pages,
    /// The compiled schemas.
    pub schemas: &'a schema::Cache,
    /// The compiled templates of our own prompts.
    pub prompts: &'a own::Prompts,
    /// The way to the upstreams.
    pub relay: &'a R,
    /// What is counted of what is used.
    pub meters: &'a Rc<Meters>,
    /// What is noted for the audit trail.
    pub trail: &'a Rc<Trail>,
    /// The policies.
    pub policies: Rc<Book>,
    /// The rates.
    pub throttle: &'a Throttle,
    /// The sessions, if there are any.
    pub sessions: Option<&'a Rc<Sessions>>,
    /// Where calls wait for their clients, if they can.
    pub parking: Option<&'a Rc<Parking>>,
    /// What the operator chose.
    pub options: &'a Options,
}

/// A request that was admitted.
pub struct Request<'a> {
    /// Who sent it.
    pub caller: &'a Caller,
    /// The address that it came from, if it came from one.
    pub client_ip: Option<IpAddr>,
    /// The virtual server's id; empty for everything.
    pub server_id: &'a str,
    /// How it came.
    pub transport: Transport,
    /// The session of the client, if it has one.
    pub session: Option<&'a Rc<Session>>,
    /// Its header fields.
    pub headers: &'a dyn HeaderSource,
    /// What the client takes.
    pub accepts: Accepts,
    /// The message.
    pub body: &'a [u8],
}

/// The answer, with what the transport must know of the request.
pub struct Answered<'a> {
    /// The raw id, where there is one.
    pub id: Option<&'a str>,
    /// The client's leaving cancels (the stateless revision).
    pub modern: bool,
    /// What was agreed on, if it was the handshake.
    pub handshake: Option<Agreed>,
    /// The reply.
    pub outcome: Result<Reply, Failure>,
}

/// What a handshake agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The revision.
    pub revision: &'static str,
    /// What the client can do.
    pub capabilities: Capabilities,
}

/// Tells the transport, before anything is waited for, of which era a message is, which says what
/// cancels it, and its raw id.
pub type OnEra<'a> = &'a dyn Fn(Era, Option<&str>);

/// Answers one message.
pub async fn answer<'a, R: Relay>(
    parts: &Parts<'_, R>,
    request: &Request<'a>,
    on_era: OnEra<'_>,
) -> Answered<'a> {
    let message = match Message::parse(request.body, &parts.options.envelope) {
        Ok(message) => message,
        Err(error) => {
            let id = error.id.and_then(|id| std::str::from_utf8(id.of_bytes(request.body)).ok());
            // The contract answers 200 to all that comes to /rpc and is JSON.
            let is_json = error.code() != code::PARSE_ERROR;
            let status = if request.transport == Transport::Rpc && is_json { 200 } else { 400 };
            let failure = Failure::protocol(status, error.code(), error.to_string());
            return Answered { id, modern: false, handshake: None, outcome: Err(failure) };
        }
    };
    let id = message.id();
    let era = match mcp::find_era(&message, request.headers, request.transport) {
        Ok(era) => era,
        Err(failure) => {
            return Answered { id, modern: true, handshake: None, outcome: Err(failure) };
        }
    };
    on_era(era, id);
    let modern = era == Era::Modern;
    let outcome = match message.kind() {
        MessageKind::Request => {
            let watch = audit::Watch::begin(parts, request, &message);
            watch.end(handle(parts, request, &message, era).await)
        }
        MessageKind::Response if modern => {
            Err(Failure::protocol(400, code::INVALID_REQUEST, "A client sends no responses here"))
        }
        MessageKind::Notification => {
            session::notified(parts, request, &message).await;
            Ok(Reply::Accepted)
        }
        MessageKind::Response => {
            session::answered(parts, request, &message).await.map(|()| Reply::Accepted)
        }
    };
    let is_handshake = !modern && outcome.is_ok() && message.method() == "initialize";
    let handshake = is_handshake.then(|| session::agreed(&message));
    Answered { id, modern, handshake, outcome }
}

/// Finds what the method is for and does it.
async fn handle<R: Relay>(
    parts: &Parts<'_, R>,
    request: &Request<'_>,
    message: &Message<'_>,
    era: Era,
) -> Result<Reply, Failure> {
    let params_size = message.params().map_or(0, str::len);
    if params_size > parts.options.params_size_max {
        return Err(Failure::TooLarge { bytes_max: parts.options.params_size_max as u64 });
    }
    let server_id = match request.transport {
        Transport::Rpc => text_param(message, Param::ServerId)?,
        _ => None,
    };
    let server_id = server_id.as_deref().unwrap_or(request.server_id);
    let sees = |owned: &Ownership| request.caller.sees(owned);
    let (view, away) = views(parts.catalog, request.caller, server_id)?;
    let (seen, away) = (Seen { view, sees: &sees }, Seen { view: away, sees: &sees });
    let reads = |owned: &Ownership| request.caller.may(Permission::ResourcesRead, owned);
    let call =
        Call { parts, request, message, era, server_id, seen, away, reads: &reads, is_task: false };
    match message.method() {
        "tools/call" => call.tool().await,
        "tools/list" => call.list(server_id, Kind::Tools),
        "resources/list" => call.list(server_id, Kind::Resources),
        "resources/templates/list" => call.list(server_id, Kind::Templates),
        "prompts/list" => call.list(server_id, Kind::Prompts),
        "resources/read" => call.resource().await,
        "prompts/get" => call.prompt().await,
        "completion/complete" => call.completion().await,
        "tasks/get" | "tasks/update" | "tasks/cancel" if era == Era::Modern => {
            Box::pin(call.task()).await
        }
        "tasks/get" | "tasks/result" | "tasks/cancel" if request.session.is_some() => {
            Box::pin(call.task()).await
        }
        "subscriptions/listen" if era == Era::Modern => call.listen(),
        "server/discover" if era == Era::Modern => {
            Ok(call.describe(|offer| mcp::discover(&call.with_streams(offer))))
        }
        "initialize" => {
            let version = text_param(message, Param::ProtocolVersion)?;
            let version = version.ok_or_else(|| needed("protocolVersion"))?;
            Ok(call.describe(|offer| mcp::initialize(&call.with_session(offer), Some(&version))))
        }
        "ping" => Ok(Reply::Result(b"{}".to_vec())),
        "logging/setLevel" if request.session.is_some() => call.set_level().await,
        "resources/subscribe" if request.session.is_some() => call.subscribe(true).await,
        "resources/unsubscribe" if request.session.is_some() => call.subscribe(false).await,
        // Clients of the contract's first line call a tool by its name alone.
        method if call.is_tool_name(method) => Box::pin(call.tool_by_method()).await,
        method => {
            let text = format!("Method not found: {method}");
            Err(Failure::protocol(200, code::METHOD_NOT_FOUND, text))
        }
    }
}

/// What `server_id` offers, and what it would besides if its upstreams answered; empty means
/// everything. A virtual server that the caller may not see is not there.
fn views<'a>(
    catalog: &'a Catalog,
    caller: &Caller,
    server_id: &str,
) -> Result<(&'a View, &'a View), Failure> {
    if server_id.is_empty() {
        permit(caller, Permission::ServersUse, Object::Nothing)?;
        return Ok((&catalog.everything, &catalog.away));
    }
    let server = catalog.server(server_id).filter(|server| server.record.enabled);
    let server = server.filter(|server| caller.sees(&server.record.ownership));
    let server = server.ok_or_else(|| {
        Failure::protocol(404, code::INVALID_PARAMS, format!("Server not found: {server_id}"))
    })?;
    permit(caller, Permission::ServersUse, &server.record.ownership)?;
    Ok((&server.view, &server.away))
}

/// Refuses what the caller may not do.
fn permit<'a>(
    caller: &'a Caller,
    permission: Permission,
    object: impl Into<Object<'a>>,
) -> Result<(), Failure> {
    match access::decide(caller, permission, object) {
        Verdict::Allow(_) => Ok(()),
        Verdict::Deny(reason) => Err(Failure::Forbidden(reason.to_string())),
    }
}

/// One request with all that its handling needs.
struct Call<'a, R> {
    parts: &'a Parts<'a, R>,
    request: &'a Request<'a>,
    message: &'a Message<'a>,
    era: Era,
    server_id: &'a str,
    seen: Seen<'a>,
    away: Seen<'a>,
    /// Whether the caller may read a resource that is owned like this.
    reads: &'a dyn Fn(&Ownership) -> bool,
    /// The upstream makes a task of the call, and only that.
    is_task: bool,
}

impl<'a, R: Relay> Call<'a, R> {
    fn list(&self, endpoint: &str, kind: Kind) -> Result<Reply, Failure> {
        let (caller, permission) = (self.request.caller, permission_of(kind));
        permit(caller, permission, Object::Nothing)?;
        let cursor = text_param(self.message, Param::Cursor)?;
        let is_filtered = kind == Kind::Tools && self.parts.policies.filters_lists();
        let shows = |entry: &ToolEntry, name: &str| self.lists(entry, name);
        let uris = self.uris(kind);
        let request = PageRequest {
            endpoint,
            kind,
            era: self.era,
            cursor: cursor.as_deref(),
            count_max: self.parts.options.page_count_max,
            sees: &|owned| caller.may(permission, owned),
            lens: lens(caller, permission, &self.seen.view.circles),
            missed: self.missed(),
            uris: &uris,
            server: &self.parts.options.server,
            shows: is_filtered.then_some(&shows as Shows<'_>),
        };
        self.parts.pages.get(&request, self.seen.view).map(Reply::Page)
    }

    /// How URIs are written on a list: as its caller reads them, but as everybody does on that of
    /// tools, which may be that of callers who read other resources.
    fn uris(&self, kind: Kind) -> Resources<'_> {
        if kind != Kind::Tools {
            return self.resources();
        }
        let all = |seen: Seen<'a>| Seen::all(seen.view);
        Resources { catalog: self.parts.catalog, seen: all(self.seen), away: all(self.away) }
    }

    /// The names of the upstreams that do not answer, and would have something on the lists.
    fn missed(&self) -> Option<Box<str>> {
        if self.away.view.is_empty() {
            return None;
        }
        let ids: BTreeSet<&str> = self.away.upstream_ids().collect();
        let upstreams = ids.into_iter().filter_map(|id| self.parts.catalog.upstream(id));
        let names: BTreeSet<&str> = upstreams.map(|up| up.record.name.as_str()).collect();
        let names = (!names.is_empty()).then(|| serde_json::json!(names).to_string());
        names.map(String::into_boxed_str)
    }

    /// Refuses what the caller may not do to what is owned like this.
    fn permit(&self, permission: Permission, owned: &Ownership) -> Result<(), Failure> {
        permit(self.request.caller, permission, owned)
    }

    /// What lies between the client and an upstream, for the content of a resource if it is a `read`.
    fn translation(&self, modern_upstream: bool, read: bool) -> stream::Translation {
        let server = &self.parts.options.server;
        stream::Translation::between(self.era, modern_upstream, read, server)
    }

    fn describe(&self, result: impl Fn(mcp::Offer) -> Vec<u8>) -> Reply {
        let server = self.parts.options.server.clone();
        Reply::Result(result(mcp::Offer::of(self.parts.catalog, self.seen, server)))
    }

    /// Whether a method that there is not is the name of a tool, which plain JSON-RPC clients may
    /// call like that.
    fn is_tool_name(&self, method: &str) -> bool {
        self.request.transport == Transport::Rpc && self.seen.tool(method).is_some()
    }

    /// Calls the tool that the method names, with the params as its arguments.
    async fn tool_by_method(&self) -> Result<Reply, Failure> {
        let mut body = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
        body.extend_from_slice(self.message.id().unwrap_or("null").as_bytes());
        body.extend_from_slice(b",\"method\":\"tools/call\",\"params\":{\"name\":");
        jsonrpc::write_string(&mut body, self.message.method());
        body.extend_from_slice(b",\"arguments\":");
        body.extend_from_slice(self.params().as_bytes());
        body.extend_from_slice(b"}}");
        let message = Message::parse(&body, &self.parts.options.envelope)
            .map_err(|error| Failure::protocol(400, error.code(), error.to_string()))?;
        Call { message: &message, ..*self }.tool().await
    }

    async fn tool(&self) -> Result<Reply, Failure> {
        let name = self.name(Param::Name, "name")?;
        let Some((entry, upstream)) = route::tool(self.parts.catalog, self.seen, &name) else {
            if let Some(entry) = route::own_tool(self.seen, &name) {
                return Box::pin(self.own_tool(entry, &name)).await;
            }
            let absent = route::tool(self.parts.catalog, self.away, &name);
            let absent = absent.map(|(_, upstream)| upstream);
            return Err(unknown(absent, || format!("Unknown tool: {name}")));
        };
        self.permit(Permission::ToolsExecute, &entry.record.ownership)?;
        let turn = self.guard(Thing::Tool(entry, &name)).await?;
        let arguments = self.message.param(Param::Arguments);
        if self.checks_headers() {
            mcp::check_param_headers(self.request.headers, entry, arguments)?;
        }
        if let Err(violations) = self.check_arguments(entry, arguments) {
            return self.refuse_arguments(&name, &violations);
        }
        let original_name = &entry.record.original_name;
        let mut outgoing = self.outgoing(Param::Name, &name, original_name);
        outgoing.within = self.parts.options.tool_within;
        outgoing.param_headers = param_headers::encode_all(&entry.param_headers, arguments);
        let execution = self.begin(Entity::Tool, &entry.record.id);
        let reply = match entry.task_support() {
            None => self.relay(upstream, &mut outgoing, false, Some(execution)).await?,
            Some(_) => Box::pin(self.tool_of_tasks(entry, upstream, outgoing, execution)).await?,
        };
        Ok(hold(reply, turn))
    }

    /// Checks arguments by the tool's schema, unless that is switched off.
    fn check_arguments(
        &self,
        entry: &ToolEntry,
        arguments: Option<&str>,
    ) -> Result<(), schema::Violations> {
        if !(self.parts.options.arguments_checked && entry.record.validate_arguments) {
            return Ok(());
        }
        self.parts.schemas.check_arguments(&entry.record, arguments)
    }

    /// The answer to arguments that do not fit the tool's schema: a result that the model reads,
    /// for clients that hand it on, or else an error.
    fn refuse_arguments(&self, name: &str, found: &schema::Violations) -> Result<Reply, Failure> {
        let text = format!("Invalid arguments for tool {name}: {found}");
        let Request { headers, transport, .. } = *self.request;
        if !mcp::reads_argument_errors(self.era, headers, transport) {
            return Err(Failure::protocol(200, code::INVALID_PARAMS, text));
        }
        Ok(self.told(&text))
    }

    /// A result that tells the model what went wrong.
    fn told(&self, text: &str) -> Reply {
        let content = serde_json::json!([{"type": "text", "text": text}]);
        let result = serde_json::json!({"content": content, "isError": true}).to_string();
        self.own_result(result.into_bytes(), false)
    }

    async fn prompt(&self) -> Result<Reply, Failure> {
        let name = self.name(Param::Name, "name")?;
        let Some((entry, upstream)) = route::prompt(self.parts.catalog, self.seen, &name) else {
            if let Some(entry) = route::own_prompt(self.seen, &name) {
                return self.own_prompt(entry, &name).await;
            }
            let absent = route::prompt(self.parts.catalog, self.away, &name);
            let absent = absent.map(|(_, upstream)| upstream);
            return Err(unknown(absent, || format!("Unknown prompt: {name}")));
        };
        self.permit(Permission::PromptsRead, &entry.record.ownership)?;
        self.guard(Thing::Prompt(entry, &name)).await?;
        let mut outgoing = self.outgoing(Param::Name, &name, &entry.record.original_name);
        let execution = self.begin(Entity::Prompt, &entry.record.id);
        self.relay(upstream, &mut outgoing, false, Some(execution)).await
    }

    /// Renders a prompt that no upstream has.
    async fn own_prompt(&self, entry: &PromptEntry, name: &str) -> Result<Reply, Failure> {
        self.permit(Permission::PromptsRead, &entry.record.ownership)?;
        self.guard(Thing::Prompt(entry, name)).await?;
        let execution = self.begin(Entity::Prompt, &entry.record.id);
        let rendered = prompt_arguments(self.message.param(Param::Arguments)).and_then(|given| {
            let rendered = self.parts.prompts.get(&entry.record, given);
            rendered.map_err(|error| wrong_params(error.to_string()))
        });
        self.parts.meters.end(&execution, rendered.is_ok());
        rendered.map(|result| self.own_result(result, false))
    }

    /// The name or URI that the request is about, checked against its header.
    fn name(&self, param: Param, key: &str) -> Result<Cow<'_, str>, Failure> {
        let name = text_param(self.message, param)?.ok_or_else(|| needed(key))?;
        if self.checks_headers() {
            mcp::check_names(self.request.headers, &name)?;
        }
        Ok(name)
    }

    fn checks_headers(&self) -> bool {
        self.era == Era::Modern && self.request.transport == Transport::StreamableHttp
    }

    fn params(&self) -> &str {
        self.message.params().unwrap_or("{}")
    }

    /// The request for the upstream, with `original` in the place of `name`.
    fn outgoing<'o>(&'o self, param: Param, name: &str, original: &'o str) -> Outgoing<'o> {
        let mut outgoing = self.plain_outgoing();
        outgoing.name = Some(original);
        if name != original
            && let Some(span) = self.within_params(self.message.param_place(param))
        {
            outgoing.edits.push(Edit { span, replacement: quoted(original) });
        }
        outgoing
    }

    fn plain_outgoing(&self) -> Outgoing<'_> {
        let raw_meta = self.message.param(Param::Meta).filter(|raw| raw.starts_with('{'));
        let meta = self
            .within_params(self.message.param_place(Param::Meta))
            .filter(|_| raw_meta.is_some());
        let progress_token = self.within_params(self.message.named().meta(MetaKey::ProgressToken));
        let client = self.client();
        Outgoing {
            method: self.message.method(),
            params: self.params().as_bytes(),
            edits: Vec::new(),
            meta,
            progress_token,
            name: None,
            param_headers: Vec::new(),
            modern: self.era == Era::Modern,
            within: self.parts.options.request_within,
            capabilities: client.as_ref().map_or(Capabilities::NONE, |client| client.capabilities),
            log_level: client.as_ref().map(stream::Client::log_level),
            client: None,
        }
    }

    /// Whose session with `upstream` the request belongs to, if users have their own there.
    fn session_owner(&self, upstream: &Upstream) -> Option<Arc<str>> {
        let is_own = upstream.record.session_mode == SessionMode::PerClient;
        is_own.then(|| self.request.caller.email.as_str().into())
    }

    /// A place of the message as a place of its params.
    fn within_params(&self, place: Option<net::Span>) -> Option<net::Span> {
        let (place, params) = (place?, self.message.params_place()?);
        let offset = params.start as usize;
        Some(net::Span::new(place.start as usize - offset, place.end as usize - offset))
    }

    /// Begins to measure the use of a record through this endpoint.
    fn begin<'e>(&'e self, entity: Entity, id: &'e str) -> Execution<'e> {
        Execution::begin(entity, id, self.server_id)
    }

    /// Sends the request upstream and makes of the answer what this client understands. The
    /// execution that it is, if it is one, ends with the answer.
    async fn relay(
        &self,
        upstream: &Arc<Upstream>,
        outgoing: &mut Outgoing<'_>,
        cached: bool,
        execution: Option<Execution<'_>>,
    ) -> Result<Reply, Failure> {
        let moved = self.parts.relay.moved(upstream);
        let upstream = moved.as_ref().unwrap_or(upstream);
        let modern_upstream = sending::is_modern(upstream);
        let mut translation = self.translation(modern_upstream, cached);
        let name = &upstream.record.name;
        let meters = self.parts.meters;
        let mut parker = None;
        outgoing.client = self.session_owner(upstream);
        let resumed = match self.message.param(Param::RequestState) {
            Some(_) => Box::pin(self.resumed(upstream, outgoing.name.unwrap_or_default())).await?,
            None => None,
        };
        if resumed.is_none() && self.era == Era::Modern && modern_upstream {
            self.restore_state(upstream, outgoing)?;
        }
        let answer = match resumed {
            Some(answer) => {
                // It was translated where it waited, and is counted there.
                translation = stream::Translation::None;
                Ok(answer)
            }
            None => {
                parker = self.introduced(upstream, outgoing);
                translation = translation.asking(outgoing.capabilities);
                let is_tool =
                    execution.as_ref().is_some_and(|execution| execution.entity == Entity::Tool);
                self.sent(upstream, outgoing, is_tool).await
            }
        };
        match answer {
            Ok(Answer::Whole(reply)) => {
                let is_success = execution.is_some_and(|execution| succeeded(&execution, &reply));
                let reply = translation.reply(reply, name);
                end(meters, execution, is_success && reply.is_ok());
                reply
            }
            Ok(Answer::Stream(source)) => {
                let id = self.message.id().unwrap_or("null");
                let execution = execution.map(|execution| (meters.clone(), execution.keep()));
                let source = stream::Source::new(source, execution);
                let accepts = self.request.accepts;
                let logs = match self.era == Era::Modern && !modern_upstream {
                    true => self.logs(),
                    false => stream::Logs::All,
                };
                let asked = stream::Asked { client: self.client(), parker, logs };
                stream::relay(source, id, name, translation, accepts, asked).await
            }
            Err(failure) => {
                match Box::pin(self.parts.relay.probe_again(upstream, &failure)).await {
                    Some(moved) => Box::pin(self.relay(&moved, outgoing, cached, execution)).await,
                    None => {
                        end(meters, execution, false);
                        Err(discreet(upstream, failure))
                    }
                }
            }
        }
    }
}

impl<R: Relay> Call<'_, R> {
    /// An answer of an upstream of the stateless revision, for a client that it can ask only in the
    /// way of before.
    fn in_rounds(
        &self,
        upstream: &Arc<Upstream>,
        outgoing: &Outgoing<'_>,
        answer: Answer,
    ) -> Result<Answer, Failure> {
        let is_modern = upstream.record.era == Some(storage::record::Era::Modern);
        let may_ask = match &answer {
            _ if !is_modern || outgoing.capabilities.is_empty() || self.era == Era::Modern => false,
            Answer::Whole(reply) => rounds::needs_input(reply),
            Answer::Stream(_) => true,
        };
        if !may_ask {
            return Ok(answer);
        }
        let held = self.parts.relay.hold(upstream)?;
        let rounds = rounds::Rounds::new(held, &upstream.record.name, outgoing, answer);
        Ok(Answer::Stream(Stream::new(Box::new(rounds))))
    }
}

/// What `server_id` offers to a caller who may use it; nothing if it is not there for them.
pub fn view<'a>(catalog: &'a Catalog, caller: &Caller, server_id: &str) -> Option<&'a View> {
    views(catalog, caller, server_id).ok().map(|(view, _)| view)
}

/// The resources of `server_id` for a caller who may use it, as far as `sees` sees them; nothing if it
/// is not there for them.
pub fn resources<'a>(
    catalog: &'a Catalog,
    caller: &Caller,
    server_id: &str,
    sees: &'a dyn Fn(&Ownership) -> bool,
) -> Option<Resources<'a>> {
    let (view, away) = views(catalog, caller, server_id).ok()?;
    let (seen, away) = (Seen { view, sees }, Seen { view: away, sees });
    Some(Resources { catalog, seen, away })
}

/// Looks whether `caller` may use what `server_id` offers.
///
/// # Errors
///
/// Status 404 if it is not there for them, 403 if they may not use it.
pub fn enter(catalog: &Catalog, caller: &Caller, server_id: &str) -> Result<(), Failure> {
    views(catalog, caller, server_id).map(drop)
}

/// What it takes to have a list, and to see an entry on it.
pub fn permission_of(kind: Kind) -> Permission {
    match kind {
        Kind::Tools => Permission::ToolsRead,
        Kind::Prompts => Permission::PromptsRead,
        Kind::Resources | Kind::Templates => Permission::ResourcesRead,
    }
}

/// What tells the pages of `caller` from those of others: `None` if they see all that there is.
pub fn lens(caller: &Caller, permission: Permission, circles: &Circles) -> Option<Lens> {
    let rights = &caller.rights;
    if rights.unrestricted || circles.is_empty() {
        return None;
    }
    let permits = |permissions: PermissionSet| (rights.global | permissions).contains(permission);
    let teams = rights.teams.iter().filter(|team| permits(team.permissions));
    let teams = teams.filter_map(|team| circles.team(&team.team_id).cloned()).collect();
    let user = rights.sees_own.then(|| circles.user(&caller.email.to_ascii_lowercase()));
    Some(Lens { teams, user: user.flatten().cloned() })
}

fn end(meters: &Meters, execution: Option<Execution<'_>>, is_success: bool) {
    if let Some(execution) = execution {
        meters.end(&execution, is_success);
    }
}

/// Whether an upstream did what was asked: a tool may say in its result that it did not.
fn succeeded(execution: &Execution<'_>, reply: &crate::upstream::Reply) -> bool {
    let is_result = reply.outcome == Outcome::Result;
    is_result && !(execution.entity == Entity::Tool && mcp::is_error(reply.raw()))
}

/// The answer to who asks for what is not offered: it is known all the same if its upstream is
/// `absent`.
fn unknown(absent: Option<&Arc<Upstream>>, text: impl FnOnce() -> String) -> Failure {
    match absent {
        Some(upstream) => self::absent(upstream),
        None => Failure::protocol(200, code::INVALID_PARAMS, text()),
    }
}

/// The answer to who asks for what an upstream has that failed its health checks.
fn absent(upstream: &Upstream) -> Failure {
    let record = &upstream.record;
    let why = record.last_error.as_deref().unwrap_or("it did not answer when it was last asked");
    let detail = format!("it is out of service until it passes a health check; {why}");
    Failure::upstream(&record.name, UpstreamKind::Unreachable, detail, false)
}

/// What a child wrote before it ended may hold anything; it is for the operator's log alone.
fn discreet(upstream: &Upstream, failure: Failure) -> Failure {
    let is_child = upstream.record.transport == storage::record::Transport::Stdio;
    match failure {
        Failure::Upstream(mut failure) if is_child => {
            tracing::warn!(upstream = failure.upstream, detail = failure.detail, "a call failed");
            failure.detail = "its command failed; the log of the gateway says how".to_owned();
            Failure::Upstream(failure)
        }
        other => other,
    }
}

fn wrong_params(text: impl Into<String>) -> Failure {
    Failure::protocol(200, code::INVALID_PARAMS, text)
}

/// The arguments of a prompt: texts, or what is written as one.
fn prompt_arguments(raw: Option<&str>) -> Result<BTreeMap<String, String>, Failure> {
    let read = serde_json::from_str::<serde_json::Value>(raw.unwrap_or("null"));
    let arguments = match read {
        Ok(serde_json::Value::Null) => return Ok(BTreeMap::new()),
        Ok(serde_json::Value::Object(arguments)) => arguments,
        _ => return Err(wrong_params("params.arguments must be an object of texts")),
    };
    let texts = arguments.into_iter().map(|(name, value)| match value {
        serde_json::Value::String(text) => Ok((name, text)),
        serde_json::Value::Number(number) => Ok((name, number.to_string())),
        serde_json::Value::Bool(flag) => Ok((name, flag.to_string())),
        _ => Err(wrong_params(format!("params.arguments.{name} must be a text"))),
    });
    texts.collect()
}

fn quoted<'a>(text: &str) -> Cow<'a, [u8]> {
    let mut out = Vec::with_capacity(text.len() + 2);
    jsonrpc::write_string(&mut out, text);
    Cow::Owned(out)
}

fn text_of(raw: &str) -> Option<Cow<'_, str>> {
    jsonrpc::unescape(raw).ok()
}

/// The text of a parameter, if it is there.
fn text_param<'a>(message: &Message<'a>, param: Param) -> Result<Option<Cow<'a, str>>, Failure> {
    let Some(raw) = message.param(param) else { return Ok(None) };
    if raw == "null" {
        return Ok(None);
    }
    jsonrpc::unescape(raw).map(Some).map_err(|_| {
        let text = format!("params: {raw:.100} is not a string that can be read");
        Failure::protocol(200, code::INVALID_PARAMS, text)
    })
}

fn needed(key: &str) -> Failure {
    Failure::protocol(200, code::INVALID_PARAMS, format!("params.{key} is required"))
}

/// An upstream's outcome as a reply that relays it untouched.
fn relayed(reply: crate::upstream::Reply) -> Reply {
    let is_error = reply.outcome == Outcome::Error;
    Reply::Relayed(Relayed { bytes: reply.bytes, place: reply.span, is_error })
}

#[cfg(test)]
mod tests;
