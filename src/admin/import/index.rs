//! What is registered already, by the names that exports use.

use std::collections::HashMap;

use serde_json::{Map, Value};
use storage::record::Ownership;

use super::super::portable::{Kind, circle};
use crate::catalog::Catalog;

/// Ids by name: within the circle in which a name is taken once, and whatever the circle.
#[derive(Default)]
pub struct Index {
    taken: HashMap<(Kind, String, String), String>,
    named: HashMap<(Kind, String), String>,
}

impl Index {
    /// Reads a catalog.
    pub fn of(catalog: &Catalog) -> Index {
        let mut index = Index::default();
        for each in catalog.upstreams() {
            let it = &each.record;
            index.add(Kind::Gateways, &it.ownership, &it.id, &[&it.name, &it.slug]);
        }
        for each in catalog.agents() {
            let it = &each.record;
            index.add(Kind::A2aAgents, &it.ownership, &it.id, &[&it.name, &it.slug]);
        }
        for each in catalog.tools() {
            let it = &each.record;
            match it.gateway_id.is_none() && it.agent_id.is_none() {
                true => {
                    index.add(Kind::Tools, &it.ownership, &it.id, &[&it.name, &it.original_name]);
                }
                // It cannot be imported, and servers refer to it.
                false => index.name(Kind::Tools, &it.id, &[&it.name]),
            }
        }
        for each in catalog.resources() {
            let it = &each.record;
            match it.gateway_id {
                None => index.add(Kind::Resources, &it.ownership, &it.id, &[&it.uri]),
                Some(_) => index.name(Kind::Resources, &it.id, &[&it.uri]),
            }
        }
        for each in catalog.prompts() {
            let it = &each.record;
            match it.gateway_id {
                None => {
                    index.add(Kind::Prompts, &it.ownership, &it.id, &[&it.name, &it.original_name]);
                }
                Some(_) => index.name(Kind::Prompts, &it.id, &[&it.name]),
            }
        }
        for each in catalog.servers() {
            let it = &each.record;
            index.add(Kind::Servers, &it.ownership, &it.id, &[&it.name]);
        }
        for it in catalog.roots() {
            index.add(Kind::Roots, &it.ownership, &it.id, &[&it.uri]);
        }
        index
    }

    /// Adds a record by its names.
    pub fn add(&mut self, kind: Kind, ownership: &Ownership, id: &str, names: &[&str]) {
        for name in names {
            let key = (kind, circle(ownership), (*name).to_owned());
            self.taken.entry(key).or_insert_with(|| id.to_owned());
        }
        self.name(kind, id, names);
    }

    fn name(&mut self, kind: Kind, id: &str, names: &[&str]) {
        for name in names.iter().chain([&id]) {
            let key = (kind, (*name).to_owned());
            self.named.entry(key).or_insert_with(|| id.to_owned());
        }
    }

    /// The record that has this name where one of this ownership would want it.
    pub fn taken(&self, kind: Kind, ownership: &Ownership, name: &str) -> Option<&str> {
        self.taken.get(&(kind, circle(ownership), name.to_owned())).map(String::as_str)
    }

    /// Writes the ids of what a server refers to in the place of the names; returns what is not
    /// there.
    pub fn resolve(&self, server: &mut Map<String, Value>) -> Vec<String> {
        let mut absent = Vec::new();
        if let Some(tools) = server.remove("tool_ids") {
            server.entry("associated_tools").or_insert(tools);
        }
        for (field, kind) in [
            ("associated_tools", Kind::Tools),
            ("associated_resources", Kind::Resources),
            ("associated_prompts", Kind::Prompts),
            ("associated_a2a_agents", Kind::A2aAgents),
            ("associated_gateways", Kind::Gateways),
        ] {
            let Some(Value::Array(names)) = server.get_mut(field) else { continue };
            let found = names.iter().filter_map(|name| {
                let name = name.as_str()?;
                let id = self.named.get(&(kind, name.to_owned()));
                if id.is_none() {
                    absent.push(format!("{} {name}", kind.word()));
                }
                id.map(|id| Value::from(id.as_str()))
            });
            *names = found.collect();
        }
        if let Some(Value::Object(overrides)) = server.remove("tool_overrides") {
            let found = overrides.into_iter().filter_map(|(name, change)| {
                self.named.get(&(Kind::Tools, name)).map(|id| (id.clone(), change))
            });
            server.insert("tool_overrides".to_owned(), Value::Object(found.collect()));
        }
        absent
    }
}
