//! Tags: which there are, on how many records, and on which ones.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;

use super::query::Query;
use super::{Ask, Backend, RestAnswer, answer, may_read};
use crate::auth::Caller;
use crate::catalog::{Catalog, Collection, Kept, Record};
use crate::failure::Failure;

/// The kinds of records that have tags: as a query names them, and one of them by itself.
const KINDS: [(&str, &str); 6] = [
    ("tools", "tool"),
    ("resources", "resource"),
    ("prompts", "prompt"),
    ("servers", "server"),
    ("gateways", "gateway"),
    ("agents", "agent"),
];

/// A tag, where it is used.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UsedTag")]
pub struct TagRead<'a> {
    name: &'a str,
    stats: Stats,
    entities: Vec<Tagged<'a>>,
}

/// On how many records of each kind.
#[derive(Serialize, Default, JsonSchema)]
#[schemars(inline)]
struct Stats {
    tools: usize,
    resources: usize,
    prompts: usize,
    servers: usize,
    gateways: usize,
    agents: usize,
    total: usize,
}

/// A record that has a tag.
#[derive(Serialize, Clone, Copy, JsonSchema)]
pub struct Tagged<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    description: Option<&'a str>,
    #[serde(skip)]
    tags: &'a [String],
}

impl Stats {
    fn count(&mut self, kind: &str) {
        let place = match kind {
            "tool" => &mut self.tools,
            "resource" => &mut self.resources,
            "prompt" => &mut self.prompts,
            "server" => &mut self.servers,
            "gateway" => &mut self.gateways,
            _ => &mut self.agents,
        };
        *place += 1;
        self.total += 1;
    }
}

/// `GET /tags?entity_types=&include_entities=`: every tag of what the caller may see.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let kinds = kinds(&query);
    let with_entities = query.flag("include_entities", false);
    query.finish()?;
    let catalog = ask.backend.catalog();
    let mut tags: BTreeMap<&str, TagRead<'_>> = BTreeMap::new();
    for record in tagged(&catalog, ask.caller, &kinds) {
        for name in record.tags {
            let fresh = || TagRead { name, stats: Stats::default(), entities: Vec::new() };
            let tag = tags.entry(name).or_insert_with(fresh);
            tag.stats.count(record.kind);
            if with_entities {
                tag.entities.push(record);
            }
        }
    }
    Ok(answer::ok(&tags.values().collect::<Vec<_>>()))
}

/// `GET /tags/{tag}/entities?entity_types=`: the records that have a tag.
pub fn entities<B: Backend>(ask: &Ask<'_, B>, tag: &str) -> Result<RestAnswer, Failure> {
    let query = Query::parse(ask.request.query);
    let kinds = kinds(&query);
    let tag = percent_decode_str(tag).decode_utf8_lossy().trim().to_lowercase();
    let catalog = ask.backend.catalog();
    let mut found = tagged(&catalog, ask.caller, &kinds);
    found.retain(|record| record.tags.contains(&tag));
    Ok(answer::ok(&found))
}

/// The kinds that are asked for; a word that names none is ignored, as the contract does.
fn kinds(query: &Query) -> Vec<&'static str> {
    let words = query.list("entity_types");
    let is_meant = |plural: &str| words.is_empty() || words.iter().any(|word| word == plural);
    KINDS.iter().filter(|(plural, _)| is_meant(plural)).map(|(_, kind)| *kind).collect()
}

/// Every record that has tags and that the caller may see, kind by kind.
fn tagged<'a>(catalog: &'a Catalog, caller: &Caller, kinds: &[&str]) -> Vec<Tagged<'a>> {
    let mut found = Found { caller, kinds, records: Vec::new() };
    found.add("tool", catalog.all_tools(), |tool| {
        let description = tool.custom_description.as_deref();
        (&tool.name, description.or(tool.original_description.as_deref()))
    });
    found.add("resource", catalog.all_resources(), |record| {
        (&record.name, record.description.as_deref())
    });
    found.add("prompt", catalog.all_prompts(), |record| {
        (&record.name, record.description.as_deref())
    });
    found.add("server", catalog.all_servers(), |record| {
        (&record.name, record.description.as_deref())
    });
    found.add("gateway", catalog.all_upstreams(), |record| {
        (&record.name, record.description.as_deref())
    });
    found
        .add("agent", catalog.all_agents(), |record| (&record.name, record.description.as_deref()));
    found.records
}

/// Records on their way into an answer.
struct Found<'a, 'q> {
    caller: &'q Caller,
    kinds: &'q [&'q str],
    records: Vec<Tagged<'a>>,
}

impl<'a> Found<'a, '_> {
    fn add<T: Kept>(
        &mut self,
        kind: &'static str,
        collection: &'a Collection<T>,
        words: impl Fn(&'a T::Record) -> (&'a String, Option<&'a str>),
    ) {
        if !self.kinds.contains(&kind) {
            return;
        }
        for entry in collection.iter() {
            let record = entry.record();
            if record.tags().is_empty() || !may_read(self.caller, record) {
                continue;
            }
            let (name, description) = words(record);
            let (id, tags) = (record.id(), record.tags());
            self.records.push(Tagged { id, name, kind, description, tags });
        }
    }
}
