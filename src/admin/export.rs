//! Exports: the registry as one document, in the contract's shape.
//!
//! What an upstream or an agent offers is not part of it, since it comes with them. Credentials are
//! sealed under `AUTH_ENCRYPTION_SECRET`, as they are stored.

mod entity;

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use storage::record::{IntegrationType, Ownership, Server, Tool, now};

use super::fields::Fields;
use super::portable::{KINDS, Kind, TEAM_SLUG};
use super::query::Query;
use super::show::Time;
use super::{Ask, Backend, RestAnswer, answer};
use crate::auth::Caller;
use crate::catalog::{Catalog, Entry as Member};
use crate::failure::Failure;
use entity::Exported;

/// The revision that exports name: the newest of the protocol with a handshake.
const VERSION: &str = "2025-11-25";

/// `GET /export`.
pub fn all<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let include_inactive = query.flag("include_inactive", false);
    let include_dependencies = query.flag("include_dependencies", true);
    let chosen = kinds(&mut query, "types");
    let left_out = kinds(&mut query, "exclude_types");
    let tags = query.list("tags");
    query.finish()?;
    let is_chosen =
        |kind: &Kind| (chosen.is_empty() || chosen.contains(kind)) && !left_out.contains(kind);
    let types: Vec<Kind> = KINDS.into_iter().filter(is_chosen).collect();
    let catalog = ask.backend.catalog();
    let has_tag = |own: &[String]| tags.is_empty() || own.iter().any(|tag| tags.contains(tag));
    let choice = |entry: &Entry<'_>| (entry.enabled || include_inactive) && has_tag(entry.tags);
    let names: Vec<&str> = types.iter().map(|kind| kind.name()).collect();
    let options = json!({
        "include_inactive": include_inactive,
        "include_dependencies": include_dependencies,
        "selected_types": names,
        "filter_tags": tags,
    });
    let export = Export { catalog: &catalog, caller: ask.caller };
    let entities: Vec<_> = types.iter().map(|kind| (*kind, export.list(*kind, choice))).collect();
    Ok(answer::ok(&document(ask, entities, include_dependencies, options)))
}

/// `POST /export/selective`: entities by id or name, and unless told otherwise what servers among
/// them have.
pub fn selective<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let include_dependencies = query.flag("include_dependencies", true);
    query.finish()?;
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let mut selections = Map::new();
    let mut chosen: Vec<(Kind, HashSet<String>)> = Vec::new();
    for kind in KINDS {
        if let Some(texts) = fields.list(kind.name()) {
            selections.insert(kind.name().to_owned(), json!(texts));
            chosen.push((kind, texts.into_iter().collect()));
        }
    }
    fields.finish()?;
    let catalog = ask.backend.catalog();
    let export = Export { catalog: &catalog, caller: ask.caller };
    if include_dependencies {
        export.add_members(&mut chosen);
    }
    let entities = chosen.iter().map(|(kind, texts)| {
        let choice = |entry: &Entry<'_>| entry.names.iter().any(|name| texts.contains(*name));
        (*kind, export.list(*kind, choice))
    });
    let options = json!({
        "selective": true,
        "include_dependencies": include_dependencies,
        "selections": selections,
    });
    Ok(answer::ok(&document(ask, entities.collect(), include_dependencies, options)))
}

fn kinds(query: &mut Query, name: &str) -> Vec<Kind> {
    let texts = query.list(name);
    let found: Vec<Kind> = texts.iter().filter_map(|text| Kind::of(text)).collect();
    if found.len() < texts.len() {
        let names = KINDS.map(Kind::name).join(", ");
        query.error(name, format!("Input should be a list of {names}"));
    }
    found
}

fn document<B: Backend>(
    ask: &Ask<'_, B>,
    entities: Vec<(Kind, Vec<Exported>)>,
    include_dependencies: bool,
    options: Value,
) -> Value {
    let counts: Map<String, Value> =
        entities.iter().map(|(kind, list)| (kind.name().to_owned(), json!(list.len()))).collect();
    let servers = entities.iter().filter(|(kind, _)| *kind == Kind::Servers);
    let servers: Vec<&Exported> = servers.flat_map(|(_, list)| list).collect();
    let dependencies = match include_dependencies {
        true => dependencies(&servers),
        false => json!({}),
    };
    let entities: Map<String, Value> =
        entities.iter().map(|(kind, list)| (kind.name().to_owned(), json!(list))).collect();
    json!({
        "version": VERSION,
        "exported_at": serde_json::to_value(Time(now())).unwrap_or_default(),
        "exported_by": ask.caller.email,
        "source_gateway": ask.backend.rules().source,
        "encryption_method": "AES-256-GCM",
        "entities": entities,
        "metadata": {
            "entity_counts": counts,
            "dependencies": dependencies,
            "export_options": options,
        },
    })
}

/// What each server has, by name.
fn dependencies(servers: &[&Exported]) -> Value {
    let of = |field: &str| -> Map<String, Value> {
        let has = |server: &&&Exported| {
            server.get(field).and_then(Value::as_array).is_some_and(|list| !list.is_empty())
        };
        let pair = |server: &&Exported| {
            (server["name"].as_str().unwrap_or_default().to_owned(), server[field].clone())
        };
        servers.iter().filter(has).map(pair).collect()
    };
    json!({
        "servers_to_tools": of("tool_ids"),
        "servers_to_resources": of("associated_resources"),
        "servers_to_prompts": of("associated_prompts"),
    })
}

/// What decides whether a record is exported.
struct Entry<'a> {
    names: [&'a str; 3],
    enabled: bool,
    tags: &'a [String],
}

impl<'a> Entry<'a> {
    fn new(names: [&'a str; 3], enabled: bool, tags: &'a [String]) -> Entry<'a> {
        Entry { names, enabled, tags }
    }
}

/// The records that a caller may export.
struct Export<'a> {
    catalog: &'a Catalog,
    caller: &'a Caller,
}

impl Export<'_> {
    /// The entities of a kind that are chosen, in the order of their names.
    fn list(&self, kind: Kind, choice: impl Fn(&Entry<'_>) -> bool) -> Vec<Exported> {
        let catalog = self.catalog;
        let mut list = Vec::new();
        let mut add = |ownership: &Ownership, entry: Entry<'_>, export: &dyn Fn() -> Exported| {
            if self.caller.sees(ownership) && choice(&entry) {
                let mut exported = export();
                let team = ownership.team_id.as_deref().and_then(|id| catalog.people().team(id));
                if let Some(team) = team {
                    exported.insert(TEAM_SLUG.to_owned(), json!(team.slug));
                }
                list.push(exported);
            }
        };
        match kind {
            Kind::Gateways => catalog.upstreams().for_each(|each| {
                let it = &*each.record;
                let entry = Entry::new([&it.id, &it.name, &it.slug], it.enabled, &it.tags);
                add(&it.ownership, entry, &|| entity::gateway(it));
            }),
            Kind::A2aAgents => catalog.agents().for_each(|each| {
                let it = &*each.record;
                let entry = Entry::new([&it.id, &it.name, &it.slug], it.enabled, &it.tags);
                add(&it.ownership, entry, &|| entity::agent(it));
            }),
            Kind::Tools => {
                let is_own = |tool: &Tool| tool.integration_type == IntegrationType::Rest;
                for each in catalog.tools().filter(|each| is_own(&each.record)) {
                    let it = &*each.record;
                    let names = [&*it.id, &*it.name, &*it.original_name];
                    let entry = Entry::new(names, it.enabled, &it.tags);
                    add(&it.ownership, entry, &|| entity::tool(it));
                }
            }
            Kind::Resources => {
                for each in catalog.resources().filter(|each| each.record.gateway_id.is_none()) {
                    let it = &*each.record;
                    let entry = Entry::new([&it.id, &it.uri, &it.name], it.enabled, &it.tags);
                    add(&it.ownership, entry, &|| entity::resource(it));
                }
            }
            Kind::Prompts => {
                for each in catalog.prompts().filter(|each| each.record.gateway_id.is_none()) {
                    let it = &*each.record;
                    let names = [&*it.id, &*it.name, &*it.original_name];
                    let entry = Entry::new(names, it.enabled, &it.tags);
                    add(&it.ownership, entry, &|| entity::prompt(it));
                }
            }
            Kind::Servers => catalog.servers().for_each(|each| {
                let it = &*each.record;
                let entry = Entry::new([&it.id, &it.name, &it.name], it.enabled, &it.tags);
                add(&it.ownership, entry, &|| entity::server(it, catalog, self.caller));
            }),
            Kind::Roots => catalog.roots().for_each(|it| {
                let entry = Entry::new([&it.id, &it.uri, &it.uri], true, &[]);
                add(&it.ownership, entry, &|| entity::root(it));
            }),
        }
        list.sort_by_cached_key(|entity| entity[kind.key()].to_string());
        list
    }

    /// Adds what the chosen servers have, and the upstreams that offer it.
    fn add_members(&self, chosen: &mut Vec<(Kind, HashSet<String>)>) {
        let servers = chosen.iter().find(|(kind, _)| *kind == Kind::Servers);
        let Some((_, texts)) = servers else { return };
        let is_chosen =
            |server: &Server| texts.contains(&server.id) || texts.contains(&server.name);
        let servers: Vec<_> = self.catalog.servers().map(|each| each.record.clone()).collect();
        let mut found: Vec<(Kind, String)> = Vec::new();
        for server in servers.iter().filter(|server| is_chosen(server)) {
            let members = super::offers::members(self.catalog, server);
            for member in &members {
                found.push(match (member.gateway_id(), member.agent_id(), member) {
                    (Some(id), _, _) => (Kind::Gateways, id.to_owned()),
                    (None, Some(id), _) => (Kind::A2aAgents, id.to_owned()),
                    (None, None, Member::Tool(each)) => (Kind::Tools, each.record.id.clone()),
                    (None, None, Member::Resource(each)) => {
                        (Kind::Resources, each.record.id.clone())
                    }
                    (None, None, Member::Prompt(each)) => (Kind::Prompts, each.record.id.clone()),
                });
            }
        }
        for (kind, id) in found {
            match chosen.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, texts)) => {
                    texts.insert(id);
                }
                None => chosen.push((kind, HashSet::from([id]))),
            }
        }
    }
}
