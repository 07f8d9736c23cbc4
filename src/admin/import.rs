//! Imports: what an export holds, made by the same forms as `POST` makes it.
//!
//! Every entity is made or changed as a whole or not at all, in the order in which they refer to
//! each other. One that fails is told, and the others go on.

mod entity;
mod index;
mod rehearsal;
pub mod status;

use std::collections::HashSet;

use net::http1::Method;
use serde_json::{Map, Value, json};
use storage::record::now;
use storage::seal::Sealer;

use super::fields::Fields;
use super::portable::{self, KINDS, Kind};
use super::query::Query;
use super::routes::Route;
use super::{Ask, Backend, RestAnswer, RestRequest, act, answer, recording};
use crate::failure::Failure;
use entity::Keys;
use index::Index;
use rehearsal::Rehearsal;
use status::Status;

/// How many entities are dealt with before the progress is told again.
const PUBLISH_EVERY: usize = 20;

/// What is done with an entity whose name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    Skip,
    Update,
    Rename,
    Fail,
}

impl Strategy {
    fn of(text: &str) -> Option<Strategy> {
        Some(match text.to_ascii_lowercase().as_str() {
            "skip" => Strategy::Skip,
            "update" => Strategy::Update,
            "rename" => Strategy::Rename,
            "fail" => Strategy::Fail,
            _ => return None,
        })
    }
}

/// What a request for an import says.
struct Order {
    entities: Vec<(Kind, Map<String, Value>)>,
    strategy: Strategy,
    dry_run: bool,
    secret: Option<String>,
}

/// `POST /import`.
pub async fn start<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let order = Order::read(ask)?;
    let status = match order.dry_run {
        true => {
            let rehearsal = Rehearsal::new(ask.backend);
            let ask = Ask {
                backend: &rehearsal,
                request: ask.request,
                caller: ask.caller,
                permission: ask.permission,
            };
            Import::new(&ask, order).run().await
        }
        false => Import::new(ask, order).run().await,
    };
    Ok(answer::ok(&status.shown()))
}

/// `GET /import/status/{id}`.
pub async fn status<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let all = status::all(ask.backend).await?;
    let found = all.iter().find(|status| status.import_id == id);
    let found = found.ok_or_else(|| Failure::NotFound(format!("Import {id} not found")))?;
    Ok(answer::ok(&found.shown()))
}

/// `GET /import/status`.
pub async fn statuses<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let all = status::all(ask.backend).await?;
    Ok(answer::ok(&all.iter().map(Status::shown).collect::<Vec<_>>()))
}

/// `POST /import/cleanup?max_age_hours=`.
pub async fn clean_up<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let hours = query.count("max_age_hours").unwrap_or(24);
    query.finish()?;
    let age_us = i64::try_from(hours).unwrap_or(i64::MAX).saturating_mul(3_600_000_000);
    let count = status::forget(ask.backend, age_us).await?;
    Ok(answer::ok(&json!({
        "status": "success",
        "message": format!("Cleaned up {count} completed import statuses"),
        "removed_count": count,
    })))
}

impl Order {
    /// Reads the body; what stands in the query counts where the body says nothing.
    fn read<B: Backend>(ask: &Ask<'_, B>) -> Result<Order, Failure> {
        let mut query = Query::parse(ask.request.query);
        let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
        const FORM: &str = "skip, update, rename or fail";
        let strategy = fields.word("conflict_strategy", Strategy::of, FORM);
        let strategy = strategy.or_else(|| query.word("conflict_strategy", Strategy::of, FORM));
        let dry_run = query.flag("dry_run", false);
        let dry_run = fields.flag("dry_run").unwrap_or(dry_run);
        let secret =
            fields.secret("rekey_secret").or(query.text("rekey_secret").map(str::to_owned));
        let selected = selection(&mut fields);
        let entities = entities(&mut fields, &selected);
        query.finish()?;
        fields.finish()?;
        Ok(Order {
            entities,
            strategy: strategy.unwrap_or(Strategy::Update),
            dry_run,
            secret: secret.filter(|secret| !secret.is_empty()),
        })
    }
}

/// Which entities are wanted, by kind; of a kind with an empty list all are.
fn selection(fields: &mut Fields) -> Option<Vec<(Kind, HashSet<String>)>> {
    let Value::Object(selected) = fields.given("selected_entities")?.clone() else {
        fields.error("selected_entities", "Input should be an object of kinds and lists of names");
        return None;
    };
    let mut kinds = Vec::new();
    for (name, texts) in &selected {
        let texts = texts.as_array().map(|texts| {
            texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        });
        match (Kind::of(name), texts) {
            (Some(kind), Some(texts)) => kinds.push((kind, texts)),
            _ => fields.error("selected_entities", format!("{name} is no list of a kind")),
        }
    }
    Some(kinds)
}

/// The entities that an export holds and that are wanted, in the order of dependency.
fn entities(
    fields: &mut Fields,
    selected: &Option<Vec<(Kind, HashSet<String>)>>,
) -> Vec<(Kind, Map<String, Value>)> {
    let Some(data) = fields.given("import_data").cloned() else {
        fields.missing("import_data");
        return Vec::new();
    };
    for name in ["version", "exported_at", "entities"] {
        if data.get(name).is_none_or(|value| value.is_null() || value == "") {
            fields.missing(&format!("import_data.{name}"));
        }
    }
    let Some(lists) = data.get("entities").and_then(Value::as_object) else {
        fields.hidden_error("import_data.entities", "Input should be an object of lists");
        return Vec::new();
    };
    for (name, list) in lists {
        let place = format!("import_data.entities.{name}");
        if Kind::of(name).is_none() {
            fields.hidden_error(&place, "This kind of entities is not known");
        } else if !list.as_array().is_some_and(|list| list.iter().all(Value::is_object)) {
            fields.hidden_error(&place, "Input should be a list of objects");
        }
    }
    let is_wanted = |kind: Kind, entity: &Map<String, Value>| match selected {
        None => true,
        Some(kinds) => kinds.iter().any(|(wanted, names)| {
            let name = entity.get(kind.key()).and_then(Value::as_str).unwrap_or_default();
            *wanted == kind && (names.is_empty() || names.contains(name))
        }),
    };
    let of_kind = |kind: Kind| {
        let named = lists.iter().filter(move |(name, _)| Kind::of(name) == Some(kind));
        let all = named.flat_map(|(_, list)| list.as_array().into_iter().flatten());
        all.filter_map(Value::as_object).cloned().map(move |entity| (kind, entity))
    };
    let all = KINDS.into_iter().flat_map(of_kind);
    all.filter(|(kind, entity)| is_wanted(*kind, entity)).collect()
}

/// How an entity was dealt with.
enum Done {
    Created,
    Updated,
    Skipped,
}

/// An import on its way.
struct Import<'a, 'b, B> {
    ask: &'a Ask<'b, B>,
    order: Order,
    index: Index,
    status: Status,
}

impl<'a, 'b, B: Backend> Import<'a, 'b, B> {
    fn new(ask: &'a Ask<'b, B>, order: Order) -> Import<'a, 'b, B> {
        let status = Status::begin(order.entities.len(), order.dry_run);
        Import { ask, order, index: Index::default(), status }
    }

    async fn run(mut self) -> Status {
        let backend = self.ask.backend;
        status::make_room(backend).await;
        self.status.publish(backend).await;
        let keys =
            Keys { given: self.order.secret.as_deref().map(Sealer::new), own: backend.sealer() };
        let mut kind_before = None;
        for (kind, entity) in std::mem::take(&mut self.order.entities) {
            // What an upstream offers is there once it is registered.
            if kind_before != Some(kind) {
                self.index = Index::of(&backend.catalog());
                kind_before = Some(kind);
            }
            let name = entity.get(kind.key()).and_then(Value::as_str).unwrap_or_default();
            let label = format!("{} {name}", kind.word());
            match self.place(kind, &entity, name, &keys).await {
                Ok(Done::Created) => self.status.progress.created += 1,
                Ok(Done::Updated) => self.status.progress.updated += 1,
                Ok(Done::Skipped) => self.status.progress.skipped += 1,
                Err(why) => self.status.fail(format!("Failed to import {label}: {why}")),
            }
            self.status.progress.processed += 1;
            if self.status.progress.processed.is_multiple_of(PUBLISH_EVERY) {
                self.status.publish(backend).await;
            }
        }
        self.status.complete();
        self.status.publish(backend).await;
        self.status
    }

    /// Makes or changes one entity.
    async fn place(
        &mut self,
        kind: Kind,
        entity: &Map<String, Value>,
        name: &str,
        keys: &Keys<'_>,
    ) -> Result<Done, String> {
        if name.is_empty() {
            return Err(format!("it has no {}", kind.key()));
        }
        if entity.get("integration_type").is_some_and(|kind| kind == "MCP" || kind == "A2A") {
            self.status.warn(format!(
                "Skipped tool {name}: it comes with its upstream or agent, which must be in the \
                 export or be registered again"
            ));
            return Ok(Done::Skipped);
        }
        if let Some(lacking) = lacking(kind, entity) {
            let word = kind.word();
            self.status.warn(format!("Skipped {word} {name}: the export has no {lacking} of it"));
            return Ok(Done::Skipped);
        }
        let mut entity = entity.clone();
        let catalog = self.ask.backend.catalog();
        if let Some(told) = portable::settle_team(&mut entity, catalog.people()) {
            self.status.warn(format!("{} {name}: {told}", kind.word()));
        }
        let entity = &entity;
        let ownership = portable::ownership(entity, &self.ask.caller.email);
        let taken = self.index.taken(kind, &ownership, name).map(str::to_owned);
        let Some((target, name)) = self.decide(kind, taken, name)? else {
            return Ok(Done::Skipped);
        };
        let is_update = target.is_some();
        let fields = self.fields(kind, entity, &name, is_update, keys)?;
        let id = self.write(kind, &name, target, fields).await?;
        self.index.add(kind, &ownership, &id, &[&name]);
        self.set_state(kind, &id, entity, is_update).await?;
        Ok(if is_update { Done::Updated } else { Done::Created })
    }

    /// What becomes of an entity whose name `taken` may have already: nothing, or the record that is
    /// changed and the name that it gets.
    fn decide(
        &mut self,
        kind: Kind,
        taken: Option<String>,
        name: &str,
    ) -> Result<Option<(Option<String>, String)>, String> {
        let word = kind.word();
        let (target, name) = match (taken, self.order.strategy) {
            (Some(_), Strategy::Skip) => {
                self.status.warn(format!("Skipped existing {word}: {name}"));
                return Ok(None);
            }
            (Some(_), Strategy::Fail) => return Err(format!("{word} name conflict: {name}")),
            (Some(_), Strategy::Rename) => {
                let renamed = format!("{name}_imported_{}", now() / 1_000_000);
                self.status.warn(format!("Renamed {word} {name} to {renamed}"));
                (None, renamed)
            }
            (taken, _) => (taken, name.to_owned()),
        };
        if self.order.dry_run {
            let verb = if target.is_some() { "update" } else { "import" };
            self.status.warn(format!("Would {verb} {word}: {name}"));
        }
        Ok(Some((target, name)))
    }

    /// What the form of an entity is filled with.
    fn fields(
        &mut self,
        kind: Kind,
        entity: &Map<String, Value>,
        name: &str,
        is_update: bool,
        keys: &Keys<'_>,
    ) -> Result<Map<String, Value>, String> {
        let entity::Body { mut fields, warnings } = entity::body(kind, entity, keys)?;
        for warning in warnings {
            self.status.warn(format!("{} {name}: {warning}", kind.word()));
        }
        if fields.insert(kind.key().to_owned(), json!(name)) != Some(json!(name)) {
            // Other names would be taken as well.
            for other in ["slug", "custom_name", "display_name", "displayName"] {
                fields.remove(other);
            }
        }
        if is_update && matches!(kind, Kind::Tools | Kind::Prompts) {
            // It was found by its name, which a change would take for one that people gave it.
            fields.remove("name");
        }
        if kind == Kind::Servers {
            for absent in self.index.resolve(&mut fields) {
                self.status.warn(format!("server {name}: there is no {absent}; it is left out"));
            }
        }
        Ok(fields)
    }

    /// Sends an entity through its form; returns its id.
    async fn write(
        &self,
        kind: Kind,
        name: &str,
        target: Option<String>,
        fields: Map<String, Value>,
    ) -> Result<String, String> {
        let body = Value::Object(fields);
        let (method, path, body) = match (target, kind) {
            (Some(id), Kind::Roots) => return Ok(id),
            (Some(id), _) => (Method::Put, format!("{}/{id}", kind.path()), body),
            (None, Kind::Gateways | Kind::Roots) => (Method::Post, kind.path().to_owned(), body),
            (None, _) => (Method::Post, kind.path().to_owned(), wrapped(kind, body)),
        };
        let answer = self.send(method, &path, &body.to_string()).await?;
        Ok(answer["id"].as_str().unwrap_or(name).to_owned())
    }

    /// Switches an entity as the export says it is.
    async fn set_state(
        &self,
        kind: Kind,
        id: &str,
        entity: &Map<String, Value>,
        is_update: bool,
    ) -> Result<(), String> {
        let is_active = entity.get("is_active").and_then(Value::as_bool);
        let Some(activate) = is_active.filter(|is_active| is_update || !is_active) else {
            return Ok(());
        };
        if !kind.has_state() {
            return Ok(());
        }
        let path = format!("{}/{id}/state", kind.path());
        let query = format!("activate={activate}");
        let request = RestRequest { query: Some(&query), ..self.request(Method::Post, &path, "") };
        self.act(request).await.map(|_| ())
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> Result<Value, String> {
        self.act(self.request(method, path, body)).await
    }

    fn request<'r>(&self, method: Method, path: &'r str, body: &'r str) -> RestRequest<'r>
    where
        'b: 'r,
    {
        RestRequest {
            method,
            path,
            query: None,
            body: body.as_bytes(),
            content_type: Some(b"application/json"),
            if_match: None,
            ..*self.ask.request
        }
    }

    async fn act(&self, request: RestRequest<'_>) -> Result<Value, String> {
        let told = |failure: Failure| match failure {
            Failure::Invalid(fields) => {
                let field = |field: &crate::failure::FieldError| {
                    format!("{}: {}", field.location[1..].join("."), field.message)
                };
                fields.iter().map(field).collect::<Vec<_>>().join("; ")
            }
            other => other.to_string(),
        };
        let route = Route::parse(request.method, request.path).map_err(told)?;
        let backend = self.ask.backend;
        let answering = Box::pin(act(backend, &request, route));
        let answer = recording::told(backend, &request, route, answering).await.map_err(told)?;
        serde_json::from_slice(&answer.body).map_err(|error| error.to_string())
    }
}

/// What an entity cannot be made without. Exports of ContextForge have no content of any resource,
/// and name resources and prompts of upstreams, which come with those.
fn lacking(kind: Kind, entity: &Map<String, Value>) -> Option<&'static str> {
    let has =
        |name: &str| entity.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    match kind {
        Kind::Resources if !["content", "blob", "uri_template"].into_iter().any(has) => {
            Some("content")
        }
        Kind::Prompts if !has("template") => Some("template"),
        _ => None,
    }
}

/// The body of a request that makes an entity of a kind whose forms have a wrapper.
fn wrapped(kind: Kind, body: Value) -> Value {
    let mut wrapper = Map::new();
    for name in ["visibility", "team_id"] {
        if let Some(value) = body.get(name) {
            wrapper.insert(name.to_owned(), value.clone());
        }
    }
    wrapper.insert(kind.word().to_owned(), body);
    Value::Object(wrapper)
}
