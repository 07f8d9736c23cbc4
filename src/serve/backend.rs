//! A shard as the REST API sees it.

use std::{
    collections::HashMap,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jsonwebtoken::Algorithm;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use shards::{Driver, blocking, time};
use storage::{
    Applied, Mutation, StoreError,
    audit::{AuditFilter, StoredEntry},
    metrics::Metrics,
    record::Entity,
    seal::Sealer,
    shared::CacheType,
    usage::Usage,
};

use crate::{
    admin::{self, About, AuditAbout, DatabaseAbout, RedisAbout, RestRequest, Rules},
    auth::{
        Caller, Issuer,
        external::{discovery::Metadata, jwks::KeySet},
    },
    catalog::{AgentEntry, Catalog, Upstream, inventory::Inventory},
    failure::Failure,
    gateway::{self, Parts},
    mcp::{HeaderSource, Transport},
    observe::{audit::Trail, log, meters::Execution},
    reply::{self, Accepts},
    serve::door::Door,
    settings::ExternalIssuer,
    state::Shard,
    throttle::Turn,
    upstream::{Upstreams, a2a, fetch::Inquiry},
    web::{Cookies, Csrf},
};

/// Stack of a thread that does offloaded work.
const OFFLOAD_STACK_SIZE: usize = 16 * 1024 * 1024;

/// Under which the shared state has how far imports are.
const IMPORTS_KEY: &str = "imports";

/// How long that is kept after the last word of any of them.
const IMPORTS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The backend of the REST API.
pub struct Backend<'a> {
    /// The shard that the request came to.
    pub shard: &'a Rc<Shard>,
    /// The address that the request came from.
    pub client_ip: Option<IpAddr>,
    /// What the process knows of itself.
    pub facts: &'a Facts,
}

/// What the process knows of itself, besides its state.
pub struct Facts {
    /// What the settings decide about the REST API.
    pub rules: Rules,
    /// By which ways callers come.
    pub door: Arc<Door>,
    /// When it started, in microseconds since the epoch.
    pub started_at: i64,
    /// How many shards run.
    pub shard_count: usize,
    /// What runs them.
    pub driver: Driver,
    /// What signs tokens, if there is a key.
    pub issuer: Option<Arc<Issuer>>,
}

/// How long reading metrics may take: less than what waits for it would mind.
const METRICS_WITHIN: Duration = Duration::from_secs(3);

impl Backend<'_> {
    /// Waits for what the database knows, unless it is known to be away.
    async fn in_time<T>(
        &self,
        reading: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let away = |reason: String| Failure::Storage(StoreError::Away { reason });
        if let Some(trouble) = self.shard.database_trouble() {
            return Err(away(trouble.to_string()));
        }
        let late = |_| away(format!("no answer within {METRICS_WITHIN:?}"));
        time::timeout(METRICS_WITHIN, reading).await.map_err(late)?
    }
}

impl admin::Backend for Backend<'_> {
    fn catalog(&self) -> Arc<Catalog> {
        self.shard.catalog()
    }

    fn cookies(&self) -> &Cookies {
        &self.facts.door.cookies
    }

    fn csrf(&self) -> &Csrf {
        &self.facts.door.csrf
    }

    fn rules(&self) -> &Rules {
        &self.facts.rules
    }

    fn sealer(&self) -> &Sealer {
        self.shard.registry.sealer()
    }

    async fn apply(&self, mutations: Vec<Mutation>) -> Result<Applied, Failure> {
        self.shard.registry.apply(mutations).await
    }

    async fn discover(&self, upstream: &Upstream) -> Result<Inventory, Failure> {
        let stored = self.shard.catalog().upstream(&upstream.record.id).is_some();
        self.shard.upstreams.discover(&Arc::new(upstream.clone()), stored).await
    }

    async fn admit_call(
        &self,
        caller: &Caller,
        agent: &AgentEntry,
        arguments: &Map<String, Value>,
    ) -> Result<Option<Turn>, Failure> {
        let catalog = self.shard.catalog();
        let parts = parts(self.shard, &catalog);
        gateway::admit_call(&parts, (caller, self.client_ip), agent, arguments).await
    }

    async fn invoke(
        &self,
        agent: &Arc<AgentEntry>,
        request: &a2a::Request,
    ) -> Result<Box<RawValue>, Failure> {
        let within = self.shard.options.tool_within;
        let execution = Execution::begin(Entity::Agent, &agent.record.id, "");
        let answered = self.shard.upstreams.invoke(agent, request, within).await;
        self.shard.meters.end(&execution, answered.is_ok());
        answered
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, Failure> {
        self.shard.upstreams.fetch(url).await
    }

    async fn inquire(&self, inquiry: &Inquiry<'_>) -> Result<(u16, Vec<u8>), Failure> {
        self.shard.upstreams.inquire(inquiry).await
    }

    async fn metadata_of(&self, issuer: &str) -> Result<Rc<Metadata>, Failure> {
        self.shard.metadata_of(issuer).await
    }

    async fn keys_of(
        &self,
        issuer: &ExternalIssuer,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Rc<KeySet>, Failure> {
        self.shard.keys_of(issuer, id, algorithm).await
    }

    async fn is_first(&self, key: &str, within: Duration) -> Result<bool, Failure> {
        let state = &self.shard.shared.state;
        let marked = state.compare_and_set(key, None, Some(b"1"), within).await;
        marked.map_err(|error| Failure::Busy(error.to_string()))
    }

    async fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        // Such work recurses as deeply as documents nest, and the stacks of the pool are small.
        let run = move || {
            let thread = thread::Builder::new().name("offload".to_owned());
            let thread = thread.stack_size(OFFLOAD_STACK_SIZE).spawn(work);
            thread.map(JoinHandle::join)
        };
        match blocking::run(run).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(_))) => Err(Failure::Internal("offloaded work panicked".to_owned())),
            Ok(Err(error)) => Err(Failure::Busy(format!("No thread can be started: {error}"))),
            Err(refused) => Err(Failure::Busy(format!("{refused}; try again"))),
        }
    }

    async fn metrics(
        &self,
        entity: Entity,
        ids: Vec<String>,
    ) -> Result<HashMap<String, Metrics>, Failure> {
        self.in_time(self.shard.recorder.read(entity, ids)).await
    }

    async fn metric_totals(&self) -> Result<HashMap<Entity, Metrics>, Failure> {
        self.in_time(self.shard.recorder.totals()).await
    }

    async fn token_usage(
        &self,
        token_id: String,
        since: i64,
    ) -> Result<HashMap<String, Usage>, Failure> {
        self.in_time(self.shard.recorder.usage(token_id, since)).await
    }

    async fn token_last_uses(
        &self,
        token_ids: Vec<String>,
    ) -> Result<HashMap<String, i64>, Failure> {
        self.in_time(self.shard.recorder.last_uses(token_ids)).await
    }

    async fn reset_metrics(
        &self,
        entity: Option<Entity>,
        id: Option<String>,
    ) -> Result<(), Failure> {
        self.shard.recorder.reset(entity, id).await
    }

    fn trail(&self) -> &Trail {
        &self.shard.trail
    }

    async fn read_audit(&self, filter: &AuditFilter) -> Result<Vec<StoredEntry>, Failure> {
        self.in_time(self.shard.auditor.read(filter)).await
    }

    async fn put_import(&self, id: &str, status: Option<&str>) -> Result<(), Failure> {
        let state = &self.shard.shared.state;
        let done = match status {
            Some(status) => {
                let ttl = IMPORTS_KEPT;
                state.index_put(IMPORTS_KEY, id, status.as_bytes(), ttl).await.map(|_| ())
            }
            None => state.index_remove(IMPORTS_KEY, id).await.map(|_| ()),
        };
        done.map_err(|error| Failure::Busy(error.to_string()))
    }

    async fn imports(&self) -> Result<Vec<String>, Failure> {
        let kept = self.shard.shared.state.index_list(IMPORTS_KEY).await;
        let kept = kept.map_err(|error| Failure::Busy(error.to_string()))?;
        Ok(kept.into_iter().filter_map(|(_, text)| String::from_utf8(text).ok()).collect())
    }

    async fn check_filter(&self, program: &str) -> Result<(), String> {
        self.shard.upstreams.check_filter(program).await
    }

    async fn rpc(
        &self,
        from: &RestRequest<'_>,
        caller: &Caller,
        method: &str,
        params: Value,
    ) -> Result<Value, Failure> {
        let shard = self.shard;
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = message.to_string();
        let catalog = shard.catalog();
        let parts = parts(shard, &catalog);
        let request = gateway::Request {
            session: None,
            caller,
            client_ip: from.client.map(|client| client.ip),
            server_id: "",
            transport: Transport::Rpc,
            headers: &FewHeaders(from),
            accepts: Accepts { json: true, events: false },
            body: body.as_bytes(),
        };
        let answered = gateway::answer(&parts, &request, &|_, _| {}).await;
        reply::into_result(answered.outcome?).await
    }

    fn set_log_level(&self, level: &str) -> Result<(), Failure> {
        log::set_level(level).map_err(|error| Failure::Internal(error.to_string()))
    }

    fn issue(&self, claims: &Map<String, Value>) -> Result<String, Failure> {
        let Some(issuer) = &self.facts.issuer else {
            let text = "There is no key to sign tokens with: set JWT_PRIVATE_KEY_PATH";
            return Err(Failure::Malformed(text.to_owned()));
        };
        issuer.issue(claims).map_err(|error| Failure::Internal(error.to_string()))
    }

    async fn rest_until(&self, then: Instant) {
        time::sleep(then.saturating_duration_since(Instant::now())).await;
    }

    fn ready(&self) -> Result<(), String> {
        if self.shard.draining.is_open() {
            return Err("the gateway is stopping".to_owned());
        }
        match self.shard.database_trouble() {
            Some(trouble) if self.shard.settings.storage.ready_requires_database => {
                Err(trouble.to_string())
            }
            _ => Ok(()),
        }
    }

    async fn about(&self) -> About {
        let reachable = self.shard.registry.ping().await.is_ok();
        let (dialect, url) = self.shard.settings.database_shown();
        let cache = &self.shard.settings.cache;
        let is_redis = cache.cache_type == CacheType::Redis;
        let (stored, dropped) = self.shard.auditor.figures();
        About {
            started_at: self.facts.started_at,
            host: std::fs::read_to_string("/proc/sys/kernel/hostname")
                .map(|name| name.trim().to_owned())
                .unwrap_or_default(),
            shard_count: self.facts.shard_count,
            ring_driver: self.facts.driver.to_string(),
            database: DatabaseAbout {
                dialect: dialect.to_owned(),
                url,
                reachable,
                server_version: None,
            },
            redis: RedisAbout {
                available: is_redis,
                reachable: is_redis && self.shard.shared.is_up(),
            },
            audit: AuditAbout { stored, dropped },
            settings: self.shard.settings.shown.clone(),
        }
    }
}

/// What the path of a request takes of a shard.
pub fn parts<'a>(shard: &'a Shard, catalog: &'a Catalog) -> Parts<'a, Upstreams> {
    Parts {
        catalog,
        pages: &shard.pages,
        schemas: &shard.schemas,
        prompts: &shard.prompts,
        relay: &shard.upstreams,
        meters: &shard.meters,
        trail: &shard.trail,
        policies: shard.policies(),
        throttle: &shard.throttle,
        sessions: shard.sessions.as_ref(),
        parking: Some(&shard.parking),
        options: &shard.options,
    }
}

/// The header fields that a request of the REST API hands on.
struct FewHeaders<'a>(&'a RestRequest<'a>);

impl HeaderSource for FewHeaders<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let value = match name {
            "user-agent" => self.0.user_agent,
            "x-correlation-id" => self.0.request_id,
            _ => None,
        };
        value.map(str::as_bytes)
    }

    fn count(&self, name: &str) -> usize {
        usize::from(self.get(name).is_some())
    }
}
