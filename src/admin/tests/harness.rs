//! A gateway without sockets: a store on SQLite in memory, the catalog that follows it, and one
//! scripted upstream.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use net::http1::Method;
use serde_json::{Map, Value, json, value::RawValue};
use storage::audit::{AuditBatch, AuditFilter, StoredEntry};
use storage::metrics::Metrics;
use storage::record::{Entity, Era, Grant, Transport, User, new_id, now};
use storage::seal::Sealer;
use storage::usage::Usage;
use storage::{Applied, Location, Mutation, Store, StoreOptions};

use crate::admin::{
    About, AuditAbout, Backend, DatabaseAbout, IdentityRules, RedisAbout, RestAnswer, RestRequest,
    Rules, SsoRules, handle,
};
use crate::auth::external::{discovery::Metadata, jwks::KeySet};
use crate::auth::{Caller, access::Rights, roles, settle::settle};
use crate::catalog::inventory::{Inventory, Listed};
use crate::catalog::{AgentEntry, Catalog, Protection, Upstream};
use crate::failure::{Failure, UpstreamKind};
use crate::observe::audit::Trail;
use crate::settings;
use crate::settings::{ExternalIssuer, Secret};
use crate::upstream::a2a;
use crate::upstream::fetch::Inquiry;
use crate::web::{Client, Cookies, Csrf};

/// What was asked of the upstream.
pub struct Asked {
    pub transport: Transport,
    pub command: Vec<String>,
    pub headers: Vec<(String, String)>,
    pub environment: Vec<(String, String)>,
}

/// How the upstream answers by one transport.
pub type Script = Box<dyn Fn(&Upstream) -> Result<Inventory, Failure>>;

/// What lies at URLs.
pub type Pages = Box<dyn Fn(&str) -> Result<Vec<u8>, Failure>>;

/// The gateway under test.
pub struct Gateway {
    pub store: Store,
    pub rules: Rules,
    pub ready: RefCell<Result<(), String>>,
    pub asked: RefCell<Vec<Asked>>,
    /// How far imports are, by id.
    pub kept_imports: RefCell<std::collections::BTreeMap<String, String>>,
    /// What was sent to which agent.
    pub invoked: RefCell<Vec<(String, a2a::Request)>>,
    /// What was asked by methods of MCP, and what the log was set to.
    pub rpcs: RefCell<Vec<(String, Value)>>,
    pub script: RefCell<Script>,
    pub pages: RefCell<Pages>,
    /// What was asked of what is no upstream: the URL and the form.
    pub inquired: RefCell<Vec<(String, String)>>,
    /// What may be done once.
    pub done: RefCell<BTreeSet<String>>,
    pub trail: Trail,
    sealer: Sealer,
    cookies: Cookies,
    csrf: Csrf,
    catalog: RefCell<Arc<Catalog>>,
}

impl Gateway {
    /// A gateway whose upstream offers two tools, a resource, a template and a prompt.
    pub fn new() -> Gateway {
        let (store, _) = Store::open(&StoreOptions::new(Location::SqliteMemory)).unwrap();
        let roles = roles::BUILT_IN.iter().map(|role| Mutation::PutIdentity(role.record(1).into()));
        block_on(store.apply(roles.collect())).unwrap();
        let snapshot = block_on(store.load()).unwrap();
        let settings = settings::parse("", [], &[]).unwrap().settings;
        let rules = Rules {
            app_name: "Ringway".to_owned(),
            separator: "-",
            name_length_max: 255,
            url_length_max: 2048,
            resource_size_max: 1000,
            prompt_size_max: 1000,
            description_length_max: 100,
            page_count: 50,
            page_count_max: 500,
            bulk_count_max: 3,
            stdio_allowed: true,
            a2a_enabled: true,
            identity: identity(),
            sso: sso(),
            protection: Protection::parse(r#"{"issuer": "https://as.example"}"#).ok(),
            source: "http://127.0.0.1:4444".to_owned(),
            ..Rules::new(&settings)
        };
        let sealer = Sealer::new("a secret that only tests have");
        Gateway {
            catalog: RefCell::new(Arc::new(Catalog::load(snapshot, &sealer))),
            store,
            rules,
            ready: RefCell::new(Ok(())),
            asked: RefCell::default(),
            invoked: RefCell::default(),
            kept_imports: RefCell::default(),
            rpcs: RefCell::default(),
            inquired: RefCell::default(),
            done: RefCell::default(),
            script: RefCell::new(Box::new(|_| Ok(inventory(&["get_system_time", "convert_time"])))),
            pages: RefCell::new(Box::new(|url| {
                Err(Failure::upstream(url, UpstreamKind::Unreachable, "nothing is there", false))
            })),
            trail: Trail::new(&settings::parse("", [], &[]).unwrap().settings.audit, || ()),
            sealer,
            cookies: Cookies::new(&settings),
            csrf: Csrf::new(&settings, &Secret::new("a secret that only tests have")),
        }
    }

    /// Decides how the upstream answers from now on.
    pub fn upstream(&self, script: impl Fn(&Upstream) -> Result<Inventory, Failure> + 'static) {
        *self.script.borrow_mut() = Box::new(script);
    }

    /// Decides which tools the upstream has from now on.
    pub fn upstream_has(&self, tools: &'static [&'static str]) {
        self.upstream(|_| Ok(inventory(tools)));
    }

    pub fn answer(&self, request: Request<'_>) -> RestAnswer {
        let (path, query) = match request.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.target, None),
        };
        let rest = RestRequest {
            method: request.method,
            path,
            query,
            body: request.body.as_bytes(),
            content_type: Some(b"application/json"),
            if_match: request.if_match,
            caller: request.caller.as_ref(),
            client: Some(Client { ip: [192, 0, 2, 7].into(), ..Client::LOCAL }),
            cookie: request.cookie.map(str::as_bytes),
            accept: None,
            user_agent: Some("tests/1"),
            request_id: Some("request 1"),
        };
        block_on(handle(self, rest))
    }

    /// Sends a request and gives status and body.
    pub fn send(&self, request: Request<'_>) -> (u16, Value) {
        let answer = self.answer(request);
        let body = serde_json::from_slice(&answer.body).expect("every body is JSON");
        (answer.status, body)
    }

    /// Registers an upstream and gives what is said of it.
    pub fn register(&self, name: &str) -> Value {
        let body = json!({"name": name, "url": format!("http://{name}.example/mcp")});
        let (status, body) = self.send(Request::post("/gateways", &body.to_string()));
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Makes a user of the database, with the role of new users.
    pub fn user(&self, email: &str) {
        let text = str::to_owned;
        let user = User { id: new_id(), email: text(email), is_active: true, ..User::default() };
        let grant = Grant {
            id: new_id(),
            user_email: text(email),
            role_id: text(roles::named("platform_viewer").unwrap().id),
            ..Grant::default()
        };
        block_on(Backend::apply(
            self,
            vec![Mutation::PutIdentity(user.into()), Mutation::PutIdentity(grant.into())],
        ))
        .unwrap();
    }

    /// The bearer of a login of this user, as the snapshot has them now.
    pub fn login(&self, email: &str) -> Caller {
        let claimed = Caller { email: email.to_owned(), is_session: true, ..Caller::nobody() };
        self.settle(&claimed)
    }

    /// The bearer of a token, as the snapshot has them now.
    pub fn settle(&self, claimed: &Caller) -> Caller {
        let catalog = self.catalog();
        settle(claimed, catalog.people(), &self.rules.standing, now()).unwrap().0
    }

    /// Sends a request as this user and gives status and body.
    pub fn send_as(&self, email: &str, request: Request<'_>) -> (u16, Value) {
        self.send(request.by(&self.login(email)))
    }

    /// The names of all tools, in the order of names.
    pub fn tool_names(&self) -> Vec<String> {
        let (_, tools) = self.send(Request::get("/tools?limit=0&include_inactive=true"));
        let tools = tools.as_array().unwrap();
        let mut names: Vec<String> =
            tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// The names of the tools that clients are offered.
    pub fn catalog_tool_names(&self) -> Vec<String> {
        self.catalog().everything.tools.iter().map(|(name, _)| name.to_string()).collect()
    }

    /// The id of the tool with this name.
    pub fn tool_id(&self, name: &str) -> String {
        let catalog = self.catalog();
        let tool = catalog.tools().find(|tool| tool.record.name == name);
        tool.unwrap_or_else(|| panic!("there is no tool {name}")).record.id.clone()
    }

    /// A tool as the store has it.
    pub fn stored_tool(&self, id: &str) -> storage::record::Tool {
        let tools = block_on(self.store.load()).unwrap().tools;
        let found = tools.iter().find(|tool| tool.id == id).expect("it is stored");
        storage::record::Tool::clone(found)
    }

    /// How many changes there were since the built-in roles were written.
    pub fn sequence(&self) -> i64 {
        self.catalog().sequence - roles::BUILT_IN.len() as i64
    }

    /// Loads everything from the store anew and compares it with what the changes made of it.
    pub fn assert_stored(&self) {
        let snapshot = block_on(self.store.load()).unwrap();
        let loaded = Catalog::load(snapshot, &self.sealer);
        let catalog = self.catalog();
        assert!(
            loaded.tools().map(|each| &each.record).eq(catalog.tools().map(|each| &each.record))
        );
        let agents = catalog.agents().map(|each| &each.record);
        assert!(loaded.agents().map(|each| &each.record).eq(agents));
        let gateways = catalog.upstreams().map(|each| &each.record);
        assert!(loaded.upstreams().map(|each| &each.record).eq(gateways));
        assert!(
            loaded
                .servers()
                .map(|each| &each.record)
                .eq(catalog.servers().map(|each| &each.record))
        );
    }
}

impl Backend for Gateway {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.borrow().clone()
    }

    fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    fn csrf(&self) -> &Csrf {
        &self.csrf
    }

    fn rules(&self) -> &Rules {
        &self.rules
    }

    fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    async fn apply(&self, mutations: Vec<Mutation>) -> Result<Applied, Failure> {
        let applied = self.store.apply(mutations).await?;
        let mut catalog = Catalog::clone(&self.catalog());
        catalog.apply(applied.changes.clone(), &self.sealer);
        self.catalog.replace(Arc::new(catalog));
        Ok(applied)
    }

    async fn admit_call(
        &self,
        _: &Caller,
        _: &AgentEntry,
        _: &serde_json::Map<String, Value>,
    ) -> Result<Option<crate::throttle::Turn>, Failure> {
        Ok(None)
    }

    async fn invoke(
        &self,
        agent: &Arc<AgentEntry>,
        request: &a2a::Request,
    ) -> Result<Box<RawValue>, Failure> {
        self.invoked.borrow_mut().push((agent.record.name.clone(), request.clone()));
        let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {"n": 1.50}});
        Ok(serde_json::value::to_raw_value(&answer).unwrap())
    }

    async fn discover(&self, upstream: &Upstream) -> Result<Inventory, Failure> {
        self.asked.borrow_mut().push(Asked {
            transport: upstream.record.transport,
            command: upstream.record.command.clone(),
            headers: upstream.headers.clone(),
            environment: upstream.environment.clone().into_iter().collect(),
        });
        (self.script.borrow())(upstream)
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, Failure> {
        (self.pages.borrow())(url)
    }

    async fn inquire(&self, inquiry: &Inquiry<'_>) -> Result<(u16, Vec<u8>), Failure> {
        let sent = (inquiry.url.to_owned(), inquiry.form.unwrap_or_default().to_owned());
        self.inquired.borrow_mut().push(sent);
        (self.pages.borrow())(inquiry.url).map(|body| (200, body))
    }

    async fn metadata_of(&self, issuer: &str) -> Result<Rc<Metadata>, Failure> {
        let document = self.fetch(&format!("{issuer}/.well-known/openid-configuration")).await?;
        Ok(Rc::new(Metadata::parse(&document, issuer).unwrap()))
    }

    async fn keys_of(
        &self,
        issuer: &ExternalIssuer,
        _: Option<&str>,
        _: Algorithm,
    ) -> Result<Rc<KeySet>, Failure> {
        let document = self.fetch(&format!("{}/jwks", issuer.issuer)).await?;
        Ok(Rc::new(KeySet::parse(&document).unwrap()))
    }

    async fn is_first(&self, key: &str, _: Duration) -> Result<bool, Failure> {
        Ok(self.done.borrow_mut().insert(key.to_owned()))
    }

    async fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        Ok(work())
    }

    async fn metrics(
        &self,
        entity: Entity,
        ids: Vec<String>,
    ) -> Result<HashMap<String, Metrics>, Failure> {
        Ok(self.store.read_metrics(entity, ids).await?)
    }

    async fn metric_totals(&self) -> Result<HashMap<Entity, Metrics>, Failure> {
        Ok(self.store.total_metrics().await?)
    }

    async fn token_usage(
        &self,
        token_id: String,
        since: i64,
    ) -> Result<HashMap<String, Usage>, Failure> {
        Ok(self.store.read_usage(token_id, since).await?)
    }

    async fn token_last_uses(
        &self,
        token_ids: Vec<String>,
    ) -> Result<HashMap<String, i64>, Failure> {
        Ok(self.store.last_uses(token_ids).await?)
    }

    async fn reset_metrics(
        &self,
        entity: Option<Entity>,
        id: Option<String>,
    ) -> Result<(), Failure> {
        Ok(self.store.reset_metrics(entity, id.as_deref()).await?)
    }

    fn trail(&self) -> &Trail {
        &self.trail
    }

    async fn read_audit(&self, filter: &AuditFilter) -> Result<Vec<StoredEntry>, Failure> {
        let entries = self.trail.take().entries;
        let number = now();
        let batch = AuditBatch { writer: "tests".to_owned(), number, entries };
        self.store.append_audit(Arc::new(batch)).await?;
        Ok(self.store.read_audit(filter).await?)
    }

    async fn put_import(&self, id: &str, status: Option<&str>) -> Result<(), Failure> {
        match status {
            Some(status) => self.kept_imports.borrow_mut().insert(id.to_owned(), status.to_owned()),
            None => self.kept_imports.borrow_mut().remove(id),
        };
        Ok(())
    }

    async fn imports(&self) -> Result<Vec<String>, Failure> {
        Ok(self.kept_imports.borrow().values().cloned().collect())
    }

    async fn check_filter(&self, program: &str) -> Result<(), String> {
        let is_sound = program != "no program";
        is_sound.then_some(()).ok_or_else(|| "jsonpath_filter is no program of jq".to_owned())
    }

    async fn rpc(
        &self,
        _: &RestRequest<'_>,
        _: &Caller,
        method: &str,
        params: Value,
    ) -> Result<Value, Failure> {
        self.rpcs.borrow_mut().push((method.to_owned(), params));
        Ok(json!({"contents": [{"uri": "test://asked", "text": "told"}], "messages": []}))
    }

    fn set_log_level(&self, level: &str) -> Result<(), Failure> {
        self.rpcs.borrow_mut().push(("log".to_owned(), json!(level)));
        Ok(())
    }

    fn issue(&self, claims: &Map<String, Value>) -> Result<String, Failure> {
        Ok(URL_SAFE_NO_PAD.encode(Value::Object(claims.clone()).to_string()))
    }

    async fn rest_until(&self, _: Instant) {}

    fn ready(&self) -> Result<(), String> {
        self.ready.borrow().clone()
    }

    async fn about(&self) -> About {
        About {
            started_at: now() - 5_000_000,
            host: "here".to_owned(),
            shard_count: 2,
            ring_driver: "epoll".to_owned(),
            redis: RedisAbout::default(),
            audit: AuditAbout::default(),
            database: DatabaseAbout {
                dialect: "sqlite".to_owned(),
                url: "sqlite://".to_owned(),
                reachable: self.store.ping().await.is_ok(),
                server_version: None,
            },
            settings: vec![("HOST".to_owned(), "127.0.0.1".to_owned())],
        }
    }
}

/// Rules by which people log in with one provider.
fn sso() -> SsoRules {
    let set = [
        ("SSO_ENABLED", "true"),
        ("SSO_GENERIC_ENABLED", "true"),
        ("SSO_GENERIC_PROVIDER_ID", "corp"),
        ("SSO_GENERIC_ISSUER", "https://id.example"),
        ("SSO_GENERIC_CLIENT_ID", "us"),
        ("SSO_GENERIC_CLIENT_SECRET", "hush"),
        ("SSO_GENERIC_ADMIN_GROUPS", "root"),
        ("SSO_TRUSTED_DOMAINS", "example.com"),
        ("SSO_TEAM_MAPPING", r#"{"eng": "eng-team"}"#),
    ];
    let set: Vec<_> = set.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    SsoRules::new(&settings::parse("", [], &set).unwrap().settings)
}

/// Rules by which hashing costs next to nothing.
fn identity() -> IdentityRules {
    let cheap = [("ARGON2ID_MEMORY_COST", "8"), ("ARGON2ID_TIME_COST", "1")];
    let set = [("MAX_FAILED_LOGIN_ATTEMPTS", "3"), ("PUBLIC_REGISTRATION_ENABLED", "true")];
    let pairs = cheap.into_iter().chain(set);
    let pairs: Vec<(OsString, OsString)> =
        pairs.map(|(name, value)| (name.into(), value.into())).collect();
    IdentityRules::new(&settings::parse("", pairs, &[]).unwrap().settings)
}

/// A request; by an administrator unless told otherwise.
pub struct Request<'a> {
    method: Method,
    target: &'a str,
    body: &'a str,
    if_match: Option<&'a str>,
    caller: Option<Caller>,
    cookie: Option<&'a str>,
}

impl<'a> Request<'a> {
    pub fn new(method: Method, target: &'a str) -> Request<'a> {
        let caller = Caller { email: "admin@example.com".to_owned(), ..Caller::operator() };
        Request { method, target, body: "", if_match: None, caller: Some(caller), cookie: None }
    }

    pub fn get(target: &'a str) -> Request<'a> {
        Request::new(Method::Get, target)
    }

    pub fn post(target: &'a str, body: &'a str) -> Request<'a> {
        Request { body, ..Request::new(Method::Post, target) }
    }

    pub fn put(target: &'a str, body: &'a str) -> Request<'a> {
        Request { body, ..Request::new(Method::Put, target) }
    }

    pub fn delete(target: &'a str) -> Request<'a> {
        Request::new(Method::Delete, target)
    }

    pub fn if_match(self, version: &'a str) -> Request<'a> {
        Request { if_match: Some(version), ..self }
    }

    pub fn with_body(self, body: &'a str) -> Request<'a> {
        Request { body, ..self }
    }

    pub fn by(self, caller: &Caller) -> Request<'a> {
        Request { caller: Some(caller.clone()), ..self }
    }

    pub fn with_cookie(self, cookie: &'a str) -> Request<'a> {
        Request { cookie: Some(cookie), ..self }
    }

    pub fn by_user(self) -> Request<'a> {
        let rights = Rights { sees_own: true, ..Rights::guest() };
        self.by(&Caller { email: "user@example.com".to_owned(), rights, ..Caller::nobody() })
    }

    pub fn by_nobody(self) -> Request<'a> {
        Request { caller: None, ..self }
    }
}

/// What an upstream with these tools offers.
pub fn inventory(tools: &[&str]) -> Inventory {
    let tool = |name: &&str| Listed {
        definition: format!(
            r#"{{"name":"{name}","description":"Does {name}","inputSchema":{{"type":"object","x":1.50}}}}"#
        ),
        name: (*name).to_owned(),
        description: Some(format!("Does {name}")),
        ..Listed::default()
    };
    let resource = |uri: &str| Listed {
        definition: format!(r#"{{"uri":"{uri}","name":"r"}}"#),
        name: "r".to_owned(),
        uri: Some(uri.to_owned()),
        mime_type: Some("text/plain".to_owned()),
        size: Some(3),
        ..Listed::default()
    };
    Inventory {
        era: Era::Legacy,
        protocol_version: "2025-11-25".to_owned(),
        capabilities: Some(r#"{"tools":{"listChanged":true}}"#.to_owned()),
        server_info: Some(r#"{"name":"scripted","version":"1"}"#.to_owned()),
        instructions: Some("Be kind.".to_owned()),
        tools: tools.iter().map(tool).collect(),
        resources: vec![resource("demo://one")],
        templates: vec![resource("demo://{id}")],
        prompts: vec![Listed {
            definition: r#"{"name":"greet","arguments":[{"name":"who","required":true}]}"#
                .to_owned(),
            name: "greet".to_owned(),
            ..Listed::default()
        }],
        skipped: Vec::new(),
    }
}

/// The fields that every new record has, beside its own; the times and the id are taken out.
pub fn made(via: &str, source: Option<&str>, mut own: Value) -> Value {
    let common = json!({
        "teamId": null, "team": null, "ownerEmail": "admin@example.com", "visibility": "public",
        "createdAt": null, "updatedAt": null, "createdBy": "admin@example.com",
        "createdFromIp": "192.0.2.7", "createdVia": via, "createdUserAgent": "tests/1",
        "modifiedBy": null, "modifiedFromIp": null, "modifiedVia": null,
        "modifiedUserAgent": null, "importBatchId": null, "federationSource": source,
        "version": 1,
    });
    own.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
    own
}

/// The metrics of what was never used.
pub fn never_used() -> Value {
    json!({
        "totalExecutions": 0, "successfulExecutions": 0, "failedExecutions": 0,
        "failureRate": 0.0, "minResponseTime": null, "maxResponseTime": null,
        "avgResponseTime": null, "p50ResponseTime": null, "p95ResponseTime": null,
        "p99ResponseTime": null, "lastExecutionTime": null,
    })
}

/// An upstream that fails.
pub fn failure(kind: UpstreamKind, detail: &str) -> Failure {
    Failure::upstream("scripted", kind, detail, false)
}

/// Waits for a future on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
