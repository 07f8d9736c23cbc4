//! A gateway that only rehearses: every form and every check of the real one, and nothing written.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use storage::audit::{AuditFilter, StoredEntry};
use storage::metrics::Metrics;
use storage::record::{Entity, Era};
use storage::seal::Sealer;
use storage::usage::Usage;
use storage::{Applied, Change, Current, Mutation};

use super::super::{About, Backend, RestRequest, Rules};
use crate::auth::Caller;
use crate::auth::external::discovery::Metadata;
use crate::auth::external::jwks::KeySet;
use crate::catalog::inventory::Inventory;
use crate::catalog::{AgentEntry, Catalog, Upstream};
use crate::failure::Failure;
use crate::observe::audit::Trail;
use crate::settings::ExternalIssuer;
use crate::throttle::Turn;
use crate::upstream::a2a;
use crate::upstream::fetch::Inquiry;
use crate::web::{Cookies, Csrf};

/// A backend whose writes are seen by itself alone. No upstream is asked.
pub struct Rehearsal<'a, B> {
    backend: &'a B,
    /// Nothing happens, so nothing is told.
    trail: Trail,
    catalog: RefCell<Arc<Catalog>>,
}

impl<'a, B: Backend> Rehearsal<'a, B> {
    /// Begins with what is there.
    pub fn new(backend: &'a B) -> Rehearsal<'a, B> {
        Rehearsal { backend, trail: Trail::off(), catalog: RefCell::new(backend.catalog()) }
    }
}

impl<B: Backend> Backend for Rehearsal<'_, B> {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.borrow().clone()
    }

    fn cookies(&self) -> &Cookies {
        self.backend.cookies()
    }

    fn csrf(&self) -> &Csrf {
        self.backend.csrf()
    }

    fn rules(&self) -> &Rules {
        self.backend.rules()
    }

    fn sealer(&self) -> &Sealer {
        self.backend.sealer()
    }

    async fn apply(&self, mutations: Vec<Mutation>) -> Result<Applied, Failure> {
        let mut catalog = Catalog::clone(&self.catalog());
        let sequence = catalog.sequence;
        let changes = mutations.into_iter().filter_map(current);
        let changes: Vec<Change> = changes.map(|current| Change { sequence, current }).collect();
        catalog.apply(changes.clone(), self.sealer());
        self.catalog.replace(Arc::new(catalog));
        Ok(Applied { sequence, changes })
    }

    async fn discover(&self, _upstream: &Upstream) -> Result<Inventory, Failure> {
        Ok(Inventory {
            era: Era::Legacy,
            protocol_version: "2025-11-25".to_owned(),
            capabilities: None,
            server_info: None,
            instructions: None,
            tools: Vec::new(),
            resources: Vec::new(),
            templates: Vec::new(),
            prompts: Vec::new(),
            skipped: Vec::new(),
        })
    }

    async fn admit_call(
        &self,
        caller: &Caller,
        agent: &AgentEntry,
        arguments: &Map<String, Value>,
    ) -> Result<Option<Turn>, Failure> {
        self.backend.admit_call(caller, agent, arguments).await
    }

    async fn invoke(
        &self,
        agent: &Arc<AgentEntry>,
        request: &a2a::Request,
    ) -> Result<Box<RawValue>, Failure> {
        self.backend.invoke(agent, request).await
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, Failure> {
        self.backend.fetch(url).await
    }

    async fn inquire(&self, inquiry: &Inquiry<'_>) -> Result<(u16, Vec<u8>), Failure> {
        self.backend.inquire(inquiry).await
    }

    async fn metadata_of(&self, issuer: &str) -> Result<Rc<Metadata>, Failure> {
        self.backend.metadata_of(issuer).await
    }

    async fn keys_of(
        &self,
        issuer: &ExternalIssuer,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Rc<KeySet>, Failure> {
        self.backend.keys_of(issuer, id, algorithm).await
    }

    async fn is_first(&self, key: &str, within: Duration) -> Result<bool, Failure> {
        self.backend.is_first(key, within).await
    }

    async fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        self.backend.offload(work).await
    }

    async fn metrics(
        &self,
        entity: Entity,
        ids: Vec<String>,
    ) -> Result<HashMap<String, Metrics>, Failure> {
        self.backend.metrics(entity, ids).await
    }

    async fn metric_totals(&self) -> Result<HashMap<Entity, Metrics>, Failure> {
        self.backend.metric_totals().await
    }

    async fn token_usage(
        &self,
        token_id: String,
        since: i64,
    ) -> Result<HashMap<String, Usage>, Failure> {
        self.backend.token_usage(token_id, since).await
    }

    async fn token_last_uses(
        &self,
        token_ids: Vec<String>,
    ) -> Result<HashMap<String, i64>, Failure> {
        self.backend.token_last_uses(token_ids).await
    }

    async fn reset_metrics(&self, _: Option<Entity>, _: Option<String>) -> Result<(), Failure> {
        Ok(())
    }

    fn trail(&self) -> &Trail {
        &self.trail
    }

    async fn read_audit(&self, filter: &AuditFilter) -> Result<Vec<StoredEntry>, Failure> {
        self.backend.read_audit(filter).await
    }

    async fn check_filter(&self, program: &str) -> Result<(), String> {
        self.backend.check_filter(program).await
    }

    async fn rpc(
        &self,
        request: &RestRequest<'_>,
        caller: &Caller,
        method: &str,
        params: Value,
    ) -> Result<Value, Failure> {
        self.backend.rpc(request, caller, method, params).await
    }

    fn set_log_level(&self, _level: &str) -> Result<(), Failure> {
        Ok(())
    }

    async fn put_import(&self, id: &str, status: Option<&str>) -> Result<(), Failure> {
        self.backend.put_import(id, status).await
    }

    async fn imports(&self) -> Result<Vec<String>, Failure> {
        self.backend.imports().await
    }

    fn issue(&self, claims: &Map<String, Value>) -> Result<String, Failure> {
        self.backend.issue(claims)
    }

    async fn rest_until(&self, then: Instant) {
        self.backend.rest_until(then).await;
    }

    fn ready(&self) -> Result<(), String> {
        self.backend.ready()
    }

    async fn about(&self) -> About {
        self.backend.about().await
    }
}

/// What a mutation makes of its record; conditions make nothing.
fn current(mutation: Mutation) -> Option<Current> {
    let deleted = |entity, id| Some(Current::Deleted { entity, id });
    match mutation {
        Mutation::Expect { .. } | Mutation::Fence { .. } => None,
        Mutation::PutGateway(record) => Some(Current::Gateway(Arc::new(*record))),
        Mutation::PutTool(record) => Some(Current::Tool(Arc::new(*record))),
        Mutation::PutResource(record) => Some(Current::Resource(Arc::new(*record))),
        Mutation::PutPrompt(record) => Some(Current::Prompt(Arc::new(*record))),
        Mutation::PutServer(record) => Some(Current::Server(Arc::new(*record))),
        Mutation::PutAgent(record) => Some(Current::Agent(Arc::new(*record))),
        Mutation::PutRoot(record) => Some(Current::Root(Arc::new(*record))),
        Mutation::PutIdentity(identity) => Some(Current::Identity(identity)),
        Mutation::DeleteIdentity { entity, id } => deleted(entity, id),
        Mutation::DeleteGateway(id) => deleted(Entity::Gateway, id),
        Mutation::DeleteTool(id) => deleted(Entity::Tool, id),
        Mutation::DeleteResource(id) => deleted(Entity::Resource, id),
        Mutation::DeletePrompt(id) => deleted(Entity::Prompt, id),
        Mutation::DeleteServer(id) => deleted(Entity::Server, id),
        Mutation::DeleteAgent(id) => deleted(Entity::Agent, id),
        Mutation::DeleteRoot(id) => deleted(Entity::Root, id),
    }
}
