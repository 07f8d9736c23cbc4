//! The REST API: upstreams, tools and virtual servers as JSON, by the contract's paths and fields.
//!
//! A request comes in as bytes and a caller, and goes out as a status and bytes: no socket here, so
//! that tests call it with a real store and without a network. Everybody who proved who they are
//! may read what they may see; only administrators write.

mod agent_form;
mod agents;
mod answer;
mod apidoc;
mod audit;
mod changes;
mod credentials;
mod csrf;
mod discovery;
mod export;
mod fields;
mod gateway_form;
mod gateways;
mod import;
mod listing;
mod metrics;
mod offers;
mod openapi;
mod people;
mod policies;
mod portable;
mod probes;
mod prompt_form;
mod prompts;
mod protected;
mod protocol;
mod query;
mod rbac;
mod record_form;
mod recording;
mod reshape;
mod resource_form;
mod resources;
mod rest_form;
mod roots;
mod routes;
mod server_form;
mod servers;
mod show;
mod sso;
mod tags;
mod teams;
mod tokens;
mod tool_form;
mod tools;
mod writing;

use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
pub use net::http1::Method;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use storage::audit::{AuditFilter, StoredEntry};
use storage::metrics::Metrics;
use storage::record::{Entity, Ownership, now};
use storage::seal::Sealer;
use storage::usage::Usage;
use storage::{Applied, Mutation};

use crate::auth::Caller;
use crate::auth::access::{self, Object, Verdict};
use crate::auth::external::discovery::Metadata;
use crate::auth::external::jwks::KeySet;
use crate::auth::settle::Standing;
use crate::catalog::author::Author;
use crate::catalog::inventory::Inventory;
use crate::catalog::{AgentEntry, Catalog, Protection, Record, Upstream};
use crate::failure::{Failure, ProtocolError};
use crate::mcp::code;
use crate::observe::audit::Trail;
use crate::permission::Permission;
use crate::safety;
use crate::settings::{ExternalIssuer, Settings};
use crate::throttle::Turn;
use crate::upstream::a2a;
use crate::upstream::fetch::Inquiry;
use crate::web::{Base, Client, Cookies, Csrf};

pub use apidoc::document as openapi_document;
pub use changes::Watched;
pub use people::{IdentityRules, birth, is_email, is_last_admin, set_password};
pub use probes::{About, AuditAbout, DatabaseAbout, RedisAbout};
pub use protected::{endpoint, of_everything, shown};
use rbac::{explain, grants, permissions};
use routes::Route;
use sso::{SsoRules, providers};
use teams::{TeamRules, invitations, joining, members};

/// A request to the REST API.
#[derive(Clone, Copy)]
pub struct RestRequest<'a> {
    /// The method; `HEAD` is answered as `GET`, and whoever writes the answer leaves the body out.
    pub method: Method,
    /// The path, as it came: with or without `/v1` and a slash at the end.
    pub path: &'a str,
    /// What stands behind the question mark.
    pub query: Option<&'a str>,
    /// The whole body.
    pub body: &'a [u8],
    /// The header `Content-Type`.
    pub content_type: Option<&'a [u8]>,
    /// The header `If-Match`: the version that a record must have to be changed.
    pub if_match: Option<&'a str>,
    /// Who asks; `None` if nobody proved to be anybody.
    pub caller: Option<&'a Caller>,
    /// Who sent it; `None` if it came by no network.
    pub client: Option<Client<'a>>,
    /// The header `Cookie`.
    pub cookie: Option<&'a [u8]>,
    /// The header `Accept`.
    pub accept: Option<&'a [u8]>,
    /// The header `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// What the client calls the request: the header `X-Correlation-ID` or `X-Request-ID`.
    pub request_id: Option<&'a str>,
}

impl<'a> RestRequest<'a> {
    /// A request of which nothing else is known.
    pub fn plain(method: Method, path: &'a str) -> RestRequest<'a> {
        RestRequest {
            method,
            path,
            query: None,
            body: b"",
            content_type: None,
            if_match: None,
            caller: None,
            client: None,
            cookie: None,
            accept: None,
            user_agent: None,
            request_id: None,
        }
    }
}

/// An answer of the REST API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestAnswer {
    /// The HTTP status. With 401 goes a header `WWW-Authenticate`.
    pub status: u16,
    /// The body, as its headers say.
    pub body: Vec<u8>,
    /// Header lines about the body, each with its line end.
    pub headers: &'static str,
    /// Values of `Set-Cookie`.
    pub cookies: Vec<String>,
    /// Where a browser is sent on to: the header `Location`.
    pub location: Option<String>,
    /// The header `Allow`, of a 405.
    pub allow: Option<&'static str>,
    /// The caller should be told to try again (`Retry-After`).
    pub retry_after: bool,
    /// The version of the one record that is shown: the header `ETag`, in quotes. What is computed
    /// beside the record (metrics, whether an upstream answers) changes without it, so it is for
    /// `If-Match` and not for a cache.
    pub etag: Option<i64>,
    /// The body is a stream of what changes from now on.
    pub watched: Option<Watched>,
}

/// What the settings decide about the REST API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What the gateway calls itself.
    pub app_name: String,
    /// What stands between the words of tool names.
    pub separator: &'static str,
    /// The longest name, in characters.
    pub name_length_max: usize,
    /// The longest URL, in characters.
    pub url_length_max: usize,
    /// The largest content of a resource, in bytes.
    pub resource_size_max: usize,
    /// The largest template of a prompt, in bytes.
    pub prompt_size_max: usize,
    /// The longest description, in characters; a longer one is cut.
    pub description_length_max: usize,
    /// How many entries a page has unless the request says otherwise.
    pub page_count: usize,
    /// The most entries of a page.
    pub page_count_max: usize,
    /// The most tools that are made by one request.
    pub bulk_count_max: usize,
    /// Whether an administrator may register commands.
    pub stdio_allowed: bool,
    /// The address of this gateway, as exports name it.
    pub source: String,
    /// What our own addresses begin with.
    pub base: Base,
    /// What makes `/mcp` a protected resource of OAuth.
    pub protection: Option<Protection>,
    /// The issuers that anybody may name as authorization server of a virtual server.
    pub trusted_issuers: Vec<String>,
    /// Whether there are A2A agents here.
    pub a2a_enabled: bool,
    /// What users and logins are.
    pub identity: IdentityRules,
    /// The providers that people log in with, by the settings.
    pub sso: SsoRules,
    /// What `GET /health/security` tells.
    pub security: safety::Report,
    /// Which teams there can be.
    pub teams: TeamRules,
    /// What holds of users whom no record describes in full.
    pub standing: Standing,
    /// The user who is an administrator without a record.
    pub admin_email: String,
}

impl Rules {
    /// Takes from the settings what concerns the REST API.
    pub fn new(settings: &Settings) -> Rules {
        let catalog = &settings.catalog;
        Rules {
            app_name: catalog.app_name.clone(),
            separator: catalog.separator,
            name_length_max: catalog.name_length_max,
            url_length_max: catalog.url_length_max,
            resource_size_max: catalog.resource_size_max,
            prompt_size_max: catalog.prompt_size_max,
            description_length_max: catalog.description_length_max,
            page_count: catalog.page_count,
            page_count_max: catalog.page_count_max,
            bulk_count_max: catalog.bulk_count_max,
            stdio_allowed: settings.stdio_allowed(),
            source: format!("http://{}", settings.address()),
            base: Base::new(settings),
            protection: protected::of_everything(settings),
            trusted_issuers: trusted_issuers(settings),
            a2a_enabled: catalog.a2a_enabled,
            identity: IdentityRules::new(settings),
            sso: SsoRules::new(settings),
            security: safety::Report::new(settings),
            teams: TeamRules::new(settings),
            standing: Standing::new(&settings.auth),
            admin_email: settings.auth.admin_email.clone(),
        }
    }
}

fn trusted_issuers(settings: &Settings) -> Vec<String> {
    let known = settings.auth.issuers.iter().map(|known| known.issuer.clone());
    known.chain(settings.auth.authorization_servers.iter().cloned()).collect()
}

/// The gateway as the REST API needs it.
pub trait Backend {
    /// The catalog as it stands.
    fn catalog(&self) -> Arc<Catalog>;

    /// What the settings decide.
    fn rules(&self) -> &Rules;

    /// How cookies are set.
    fn cookies(&self) -> &Cookies;

    /// Makes tokens against forged requests.
    fn csrf(&self) -> &Csrf;

    /// Seals and opens stored secrets.
    fn sealer(&self) -> &Sealer;

    /// Writes, all or nothing; when it answers, the change is durable and [`Backend::catalog`]
    /// shows it, here and on every shard.
    fn apply(&self, mutations: Vec<Mutation>) -> impl Future<Output = Result<Applied, Failure>>;

    /// Asks an upstream, which need not be stored, what it is and what it offers, by the transport
    /// and the era that its record names.
    fn discover(&self, upstream: &Upstream) -> impl Future<Output = Result<Inventory, Failure>>;

    /// Asks policies and rates about a call of the tool that an agent is offered as; what it gives is
    /// kept until the call has ended.
    fn admit_call(
        &self,
        caller: &Caller,
        agent: &AgentEntry,
        arguments: &Map<String, Value>,
    ) -> impl Future<Output = Result<Option<Turn>, Failure>>;

    /// Sends a request to an agent and gives what it answers, byte for byte.
    fn invoke(
        &self,
        agent: &Arc<AgentEntry>,
        request: &a2a::Request,
    ) -> impl Future<Output = Result<Box<RawValue>, Failure>>;

    /// Reads what lies at a URL, by the rules that hold for upstreams.
    fn fetch(&self, url: &str) -> impl Future<Output = Result<Vec<u8>, Failure>>;

    /// Asks what is no upstream, by the same rules, and gives status and body of its answer.
    fn inquire(
        &self,
        inquiry: &Inquiry<'_>,
    ) -> impl Future<Output = Result<(u16, Vec<u8>), Failure>>;

    /// What an issuer of tokens says of itself.
    fn metadata_of(&self, issuer: &str) -> impl Future<Output = Result<Rc<Metadata>, Failure>>;

    /// The keys of an issuer, among them the one that a token of it names.
    fn keys_of(
        &self,
        issuer: &ExternalIssuer,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Future<Output = Result<Rc<KeySet>, Failure>>;

    /// Whether something is done for the first time, on any node; that is known for so long.
    fn is_first(&self, key: &str, within: Duration) -> impl Future<Output = Result<bool, Failure>>;

    /// Does work that takes long, where it keeps nobody waiting.
    fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Failure>>;

    /// What was counted of some records of a kind, by id; one that was never used has none.
    fn metrics(
        &self,
        entity: Entity,
        ids: Vec<String>,
    ) -> impl Future<Output = Result<HashMap<String, Metrics>, Failure>>;

    /// What was counted of each kind; one that was never used has none.
    fn metric_totals(&self) -> impl Future<Output = Result<HashMap<Entity, Metrics>, Failure>>;

    /// How a token was used since `since`, in days since the epoch, by part of the API.
    fn token_usage(
        &self,
        token_id: String,
        since: i64,
    ) -> impl Future<Output = Result<HashMap<String, Usage>, Failure>>;

    /// When some tokens were last used, in microseconds since the epoch; those that never were are
    /// left out.
    fn token_last_uses(
        &self,
        token_ids: Vec<String>,
    ) -> impl Future<Output = Result<HashMap<String, i64>, Failure>>;

    /// Sets metrics to nothing: of one record, of a kind, or all.
    fn reset_metrics(
        &self,
        entity: Option<Entity>,
        id: Option<String>,
    ) -> impl Future<Output = Result<(), Failure>>;

    /// What is noted for the audit trail.
    fn trail(&self) -> &Trail;

    /// Reads the audit trail.
    fn read_audit(
        &self,
        filter: &AuditFilter,
    ) -> impl Future<Output = Result<Vec<StoredEntry>, Failure>>;

    /// Keeps how far an import is where every process of the gateway can read it; `None` forgets it.
    fn put_import(
        &self,
        id: &str,
        status: Option<&str>,
    ) -> impl Future<Output = Result<(), Failure>>;

    /// How far every import is that is kept.
    fn imports(&self) -> impl Future<Output = Result<Vec<String>, Failure>>;

    /// Looks whether a program of jq can be the filter of a REST tool; if not, says why.
    fn check_filter(&self, program: &str) -> impl Future<Output = Result<(), String>>;

    /// Asks by a method of MCP as a plain JSON-RPC client of `caller` does, on behalf of `request`,
    /// and gives the result.
    ///
    /// # Errors
    ///
    /// Those of the method, errors of an upstream included.
    fn rpc(
        &self,
        request: &RestRequest<'_>,
        caller: &Caller,
        method: &str,
        params: Value,
    ) -> impl Future<Output = Result<Value, Failure>>;

    /// Sets what the process writes into its log: `debug`, `info`, `warn` or `error`.
    ///
    /// # Errors
    ///
    /// [`Failure::Internal`] if the log was never set up.
    fn set_log_level(&self, level: &str) -> Result<(), Failure>;

    /// Signs a token with these claims.
    ///
    /// # Errors
    ///
    /// [`Failure::Malformed`] that names the setting, if there is no key to sign with.
    fn issue(&self, claims: &Map<String, Value>) -> Result<String, Failure>;

    /// Waits until then; not at all if that is past.
    fn rest_until(&self, then: Instant) -> impl Future<Output = ()>;

    /// Whether requests can be served, or why not.
    fn ready(&self) -> Result<(), String>;

    /// What `/version` tells of this process.
    fn about(&self) -> impl Future<Output = About>;
}

/// Answers a request to the REST API.
pub async fn handle<B: Backend>(backend: &B, request: RestRequest<'_>) -> RestAnswer {
    let route = match Route::parse(request.method, request.path) {
        Ok(route) => route,
        Err(failure) => return answer::failure(failure, answer::Shape::Detail),
    };
    if route.is_a2a() && !backend.rules().a2a_enabled {
        let absent = Failure::NotFound("Not Found".to_owned());
        return answer::failure(absent, answer::Shape::Detail);
    }
    let shape = route.shape();
    let answering = Box::pin(dispatch(backend, &request, route));
    match recording::told(backend, &request, route, answering).await {
        Ok(answer) => answer,
        Err(failure) => answer::failure(failure, shape),
    }
}

/// The methods that a path takes, as the `Allow` header lists them; `None` if it is not here.
pub fn methods(path: &str) -> Option<&'static str> {
    routes::methods(path)
}

/// Whether the path is answered without asking who the caller is.
pub fn is_open(path: &str) -> bool {
    routes::is_open(path)
}

/// The part of the API that a path belongs to, as `/tools`; `None` if it is not here.
pub fn area(path: &str) -> Option<&str> {
    routes::area(path)
}

/// Answers a request about one entity, for those who make many of them.
async fn handle_one<B: Backend>(backend: &B, request: RestRequest<'_>) -> RestAnswer {
    let route = match Route::parse(request.method, request.path) {
        Ok(route) => route,
        Err(failure) => return answer::failure(failure, answer::Shape::Detail),
    };
    let shape = route.shape();
    let answering = Box::pin(act(backend, &request, route));
    let answer = recording::told(backend, &request, route, answering).await;
    answer.unwrap_or_else(|failure| answer::failure(failure, shape))
}

/// Answers what is about the whole registry; the rest is [`act`]'s.
async fn dispatch<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    route: Route<'_>,
) -> Result<RestAnswer, Failure> {
    let ask = || admit(backend, request, &route);
    match route {
        Route::Export => export::all(&ask()?),
        Route::ExportSelective => export::selective(&ask()?),
        Route::Import => import::start(&ask()?).await,
        Route::ImportStatus(id) => import::status(&ask()?, id).await,
        Route::ImportStatuses => import::statuses(&ask()?).await,
        Route::CleanUpImports => import::clean_up(&ask()?).await,
        _ => act(backend, request, route).await,
    }
}

/// Answers what is about one entity or one list of them: also what an import asks for, whose backend
/// is of another type when it only rehearses. Nothing here may lead to an import again, or these
/// types would never end.
async fn act<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    route: Route<'_>,
) -> Result<RestAnswer, Failure> {
    let answer = perform(backend, request, route).await?;
    metrics::fill(backend, request, &route, answer).await
}

/// As [`act`], without what was counted.
async fn perform<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    route: Route<'_>,
) -> Result<RestAnswer, Failure> {
    let ask = admit(backend, request, &route);
    match route {
        Route::Home => Ok(probes::root(backend)),
        Route::Health => Ok(probes::health()),
        Route::Ready => Ok(probes::ready(backend)),
        Route::Docs => Ok(apidoc::page()),
        Route::OpenApi => ask.map(|_| apidoc::answer()),
        Route::Version => Ok(probes::version(&ask?).await),
        Route::Security => Ok(probes::security(&ask?)),
        Route::CsrfToken => csrf::token(&ask?),
        Route::ProtectedResource => protected::metadata(backend, request, ""),
        Route::ProtectedServer(id) => protected::metadata(backend, request, id),
        Route::Gateways => gateways::list(&ask?),
        Route::CreateGateway => gateways::create(&ask?).await,
        Route::Gateway(id) => gateways::get(&ask?, id),
        Route::UpdateGateway(id) => gateways::update(&ask?, id).await,
        Route::DeleteGateway(id) => gateways::delete(&ask?, id).await,
        Route::GatewayState(id) => gateways::set_state(&ask?, id).await,
        Route::RefreshGateway(id) => gateways::refresh(&ask?, id).await,
        Route::Tools => tools::list(&ask?),
        Route::CreateTool => tools::create(&ask?).await,
        Route::ImportTools => tools::import(&ask?).await,
        Route::Tool(id) => tools::get(&ask?, id),
        Route::UpdateTool(id) => tools::update(&ask?, id).await,
        Route::DeleteTool(id) => tools::delete(&ask?, id).await,
        Route::ToolState(id) => tools::set_state(&ask?, id).await,
        Route::ImportOpenapi => openapi::import(&ask?).await,
        Route::GenerateSchemas => openapi::generate_schemas(&ask?).await,
        Route::Tags => tags::list(&ask?),
        Route::TagEntities(tag) => tags::entities(&ask?, tag),
        Route::Resources => resources::list(&ask?),
        Route::CreateResource => resources::create(&ask?).await,
        Route::Resource(id) => resources::read(&ask?, id).await,
        Route::UpdateResource(id) => resources::update(&ask?, id).await,
        Route::DeleteResource(id) => resources::delete(&ask?, id).await,
        Route::ResourceState(id) => resources::set_state(&ask?, id).await,
        Route::ResourceInfo(id) => resources::info(&ask?, id),
        Route::ResourceTemplates => resources::templates(&ask?),
        Route::SubscribeResources => Ok(changes::stream(&ask?, Watched::Resources)),
        Route::TestResource(uri) => resources::test(&ask?, uri).await,
        Route::Prompts => prompts::list(&ask?),
        Route::CreatePrompt => prompts::create(&ask?).await,
        Route::Prompt(id) => prompts::get(&ask?, id).await,
        Route::RenderPrompt(id) => prompts::render(&ask?, id).await,
        Route::UpdatePrompt(id) => prompts::update(&ask?, id).await,
        Route::DeletePrompt(id) => prompts::delete(&ask?, id).await,
        Route::PromptState(id) => prompts::set_state(&ask?, id).await,
        Route::Roots => roots::list(&ask?),
        Route::CreateRoot => roots::create(&ask?).await,
        Route::Root(uri) => roots::get(&ask?, uri),
        Route::UpdateRoot(uri) => roots::update(&ask?, uri).await,
        Route::DeleteRoot(uri) => roots::delete(&ask?, uri).await,
        Route::ExportRoot => roots::export(&ask?),
        Route::RootChanges => Ok(changes::stream(&ask?, Watched::Roots)),
        Route::Policies => policies::list(&ask?),
        Route::CreatePolicy => policies::create(&ask?).await,
        Route::Policy(id) => policies::get(&ask?, id),
        Route::UpdatePolicy(id) => policies::update(&ask?, id).await,
        Route::DeletePolicy(id) => policies::delete(&ask?, id).await,
        Route::PolicyState(id) => policies::set_state(&ask?, id).await,
        Route::TestPolicies => policies::test(&ask?),
        Route::Initialize => protocol::initialize(&ask?).await,
        Route::Ping => protocol::ping(&ask?),
        Route::Notify => protocol::notify(&ask?),
        Route::Complete => protocol::complete(&ask?).await,
        Route::Sample => protocol::sample(&ask?),
        Route::SetLogLevel => protocol::set_level(&ask?),
        Route::Servers => servers::list(&ask?),
        Route::CreateServer => servers::create(&ask?).await,
        Route::Server(id) => servers::get(&ask?, id),
        Route::UpdateServer(id) => servers::update(&ask?, id).await,
        Route::DeleteServer(id) => servers::delete(&ask?, id).await,
        Route::ServerState(id) => servers::set_state(&ask?, id).await,
        Route::ServerTools(id) => offers::server_tools(&ask?, id),
        Route::ServerResources(id) => offers::server_resources(&ask?, id),
        Route::ServerPrompts(id) => offers::server_prompts(&ask?, id),
        Route::Agents => agents::list(&ask?),
        Route::CreateAgent => agents::create(&ask?).await,
        Route::Agent(id) => agents::get(&ask?, id),
        Route::UpdateAgent(id) => agents::update(&ask?, id).await,
        Route::DeleteAgent(id) => agents::delete(&ask?, id).await,
        Route::AgentState(id) => agents::set_state(&ask?, id).await,
        Route::InvokeAgent(name) => agents::invoke(&ask?, name).await,
        Route::InvokeAgentById => agents::invoke_by_id(&ask?).await,
        Route::RelayToAgent(name) => agents::relay(&ask?, name).await,
        Route::Teams => teams::list(&ask?),
        Route::CreateTeam => teams::create(&ask?).await,
        Route::DiscoverTeams => teams::discover(&ask?),
        Route::Team(id) => teams::get(&ask?, id),
        Route::UpdateTeam(id) => teams::update(&ask?, id).await,
        Route::DeleteTeam(id) => teams::delete(&ask?, id).await,
        Route::TeamMembers(id) => members::list(&ask?, id),
        Route::AddTeamMember(id) => members::add(&ask?, id).await,
        Route::UpdateTeamMember(id, email) => members::update(&ask?, id, email).await,
        Route::RemoveTeamMember(id, email) => members::remove(&ask?, id, email).await,
        Route::LeaveTeam(id) => members::leave(&ask?, id).await,
        Route::TeamInvitations(id) => invitations::list(&ask?, id),
        Route::InviteToTeam(id) => invitations::create(&ask?, id).await,
        Route::AcceptInvitation(token) => invitations::accept(&ask?, token).await,
        Route::CancelInvitation(id) => invitations::cancel(&ask?, id).await,
        Route::JoinTeam(id) => joining::ask_in(&ask?, id).await,
        Route::JoinRequests(id) => joining::list(&ask?, id),
        Route::ApproveJoinRequest(id, request) => joining::approve(&ask?, id, request).await,
        Route::RejectJoinRequest(id, request) => joining::reject(&ask?, id, request).await,
        Route::Roles => rbac::list(&ask?),
        Route::CreateRole => rbac::create(&ask?).await,
        Route::Role(id) => rbac::get(&ask?, id),
        Route::UpdateRole(id) => rbac::update(&ask?, id).await,
        Route::DeleteRole(id) => rbac::delete(&ask?, id).await,
        Route::UserRoles(email) => grants::list(&ask?, email),
        Route::AssignRole(email) => grants::assign(&ask?, email).await,
        Route::RevokeRole(email, role) => grants::revoke(&ask?, email, role).await,
        Route::CheckPermission => permissions::check(&ask?),
        Route::UserPermissions(email) => permissions::of_user(&ask?, email),
        Route::AvailablePermissions => permissions::available(&ask?),
        Route::MyRoles => grants::mine(&ask?),
        Route::MyPermissions => permissions::mine(&ask?),
        Route::ExplainAccess => explain::explain(&ask?),
        Route::Audit => audit::list(&ask?).await,
        Route::AuditExport => audit::export(&ask?).await,
        Route::AuditTrails => audit::trails(&ask?).await,
        Route::Metrics => metrics::totals(&ask?).await,
        Route::Login => people::login(backend, request).await,
        Route::Register => people::register(backend, request).await,
        Route::Me => people::me(&ask?),
        Route::ChangePassword => people::change_password(&ask?).await,
        Route::ForgotPassword | Route::CheckReset(_) | Route::ResetPassword(_) => {
            Ok(people::unavailable())
        }
        Route::AuthEvents => people::own_events(&ask?).await,
        Route::AllAuthEvents => people::all_events(&ask?).await,
        Route::Logout => people::logout(&ask?).await,
        Route::RefreshToken => people::refresh(&ask?).await,
        Route::ValidateToken => Ok(people::validate(&ask?)),
        Route::SsoProviders => sso::list(backend),
        Route::SsoLogin(id) => sso::login(backend, request, id).await,
        Route::SsoCallback(id) => sso::callback(backend, request, id).await,
        Route::AdminProviders => providers::list(&ask?),
        Route::CreateProvider => providers::create(&ask?).await,
        Route::AdminProvider(id) => providers::get(&ask?, id),
        Route::UpdateProvider(id) => providers::update(&ask?, id).await,
        Route::DeleteProvider(id) => providers::delete(&ask?, id).await,
        Route::Users => people::list(&ask?),
        Route::CreateUser => people::create(&ask?).await,
        Route::User(email) => people::get(&ask?, email),
        Route::UpdateUser(email) => people::update(&ask?, email).await,
        Route::DeleteUser(email) => people::delete(&ask?, email).await,
        Route::UnlockUser(email) => people::unlock(&ask?, email).await,
        Route::Tokens => tokens::list(&ask?).await,
        Route::CreateToken => tokens::create(&ask?, None).await,
        Route::Token(id) => tokens::get(&ask?, id).await,
        Route::TokenUsage(id) => tokens::usage(&ask?, id).await,
        Route::UpdateToken(id) => tokens::update(&ask?, id).await,
        Route::RevokeToken(id) => tokens::revoke(&ask?, id).await,
        Route::AllTokens => tokens::list_all(&ask?).await,
        Route::RevokeAnyToken(id) => tokens::revoke_any(&ask?, id).await,
        Route::TeamTokens(id) => tokens::list_of_team(&ask?, id).await,
        Route::CreateTeamToken(id) => tokens::create(&ask?, Some(id)).await,
        Route::ResetMetrics => metrics::reset(&ask?).await,
        Route::Export
        | Route::ExportSelective
        | Route::Import
        | Route::ImportStatus(_)
        | Route::ImportStatuses
        | Route::CleanUpImports => Err(Failure::NotFound("Not Found".to_owned())),
    }
}

/// One request with whom it came from: what every handler takes.
struct Ask<'a, B> {
    backend: &'a B,
    request: &'a RestRequest<'a>,
    caller: &'a Caller,
    /// What the route takes.
    permission: Option<Permission>,
}

impl<B: Backend> Ask<'_, B> {
    /// Asks by a method of MCP; what is wrong is told as the REST API tells it.
    async fn rpc(&self, method: &str, params: Value) -> Result<Value, Failure> {
        let asked = self.backend.rpc(self.request, self.caller, method, params).await;
        asked.map_err(|failure| match failure {
            Failure::Protocol(error) => match (error.code, error.status) {
                (_, status) if status != 200 => Failure::Protocol(error),
                (code::RESOURCE_NOT_FOUND, _) => Failure::NotFound(error.message),
                (code::INVALID_PARAMS, _) => Failure::field("arguments", error.message),
                (code::METHOD_NOT_FOUND, _) => {
                    Failure::Protocol(ProtocolError { status: 501, ..error })
                }
                _ => Failure::Protocol(ProtocolError { status: 502, ..error }),
            },
            other => other,
        })
    }
}

impl<B> Ask<'_, B> {
    /// Whether a record exists for the caller, as far as this route is concerned: one that may not
    /// be read is not there, and of one that may not be changed the refusal says so.
    fn may_see(&self, owned: &Ownership) -> bool {
        match self.permission.filter(|permission| permission.is_use()) {
            Some(permission) => self.caller.may(permission, owned),
            None => self.caller.sees(owned),
        }
    }

    /// Who makes or changes records now.
    fn author(&self) -> Author {
        Author {
            at: now(),
            email: Some(self.caller.email.clone()),
            ip: self.request.client.map(|client| client.ip.to_string()),
            user_agent: self.request.user_agent.map(str::to_owned),
        }
    }
}

/// Lets a request in whose caller is known and may do what is asked.
fn admit<'a, B>(
    backend: &'a B,
    request: &'a RestRequest<'a>,
    route: &Route<'_>,
) -> Result<Ask<'a, B>, Failure> {
    let unknown = Failure::Unauthorized { detail: "Not authenticated", challenge: "Bearer" };
    let caller = request.caller.ok_or(unknown)?;
    permit(caller, route)?;
    Ok(Ask { backend, request, caller, permission: route.permission() })
}

/// Refuses what the caller may do nowhere, or what the token that they show does not open. What they
/// may do to a record is decided when it is found, and again when it is written.
fn permit(caller: &Caller, route: &Route<'_>) -> Result<(), Failure> {
    if !caller.opens(route.server_id()) {
        let sentence = "This token is for one virtual server only, and this path is not of it";
        return Err(Failure::Forbidden(sentence.to_owned()));
    }
    let Some(permission) = route.permission() else { return Ok(()) };
    if caller.must_change_password {
        let text = "Password change required: POST /auth/email/change-password first";
        return Err(Failure::Forbidden(text.to_owned()));
    }
    match access::decide(caller, permission, Object::Nothing) {
        Verdict::Allow(_) => Ok(()),
        Verdict::Deny(reason) => Err(Failure::Forbidden(reason.to_string())),
    }
}

/// Whether the caller may read a record.
fn may_read(caller: &Caller, record: &impl Record) -> bool {
    caller.may(record.read_permission(), record.ownership())
}

#[cfg(test)]
mod tests;
