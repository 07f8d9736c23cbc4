//! Reads of what a virtual server has.

use std::sync::Arc;

use storage::record::{Server, Tool};

use super::fields::Fields;
use super::query::Query;
use super::{Ask, Backend, RestAnswer, answer, may_read, servers, show};
use crate::auth::Caller;
use crate::catalog::{Catalog, Entry};
use crate::failure::Failure;

/// `GET /servers/{id}/tools`.
pub fn server_tools<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let offer = Offer::read(ask, id)?;
    let tools = offer.entries.iter().filter_map(|entry| match entry {
        Entry::Tool(tool) => Some(show::tool(&offer.catalog, tool)),
        _ => None,
    });
    Ok(answer::ok(&tools.collect::<Vec<_>>()))
}

/// `GET /servers/{id}/resources`.
pub fn server_resources<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let offer = Offer::read(ask, id)?;
    let resources = offer.entries.iter().filter_map(|entry| match entry {
        Entry::Resource(resource) => Some(show::resource(&offer.catalog, &resource.record)),
        _ => None,
    });
    Ok(answer::ok(&resources.collect::<Vec<_>>()))
}

/// `GET /servers/{id}/prompts`.
pub fn server_prompts<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let offer = Offer::read(ask, id)?;
    let prompts = offer.entries.iter().filter_map(|entry| match entry {
        Entry::Prompt(prompt) => Some(show::prompt(&offer.catalog, &prompt.record)),
        _ => None,
    });
    Ok(answer::ok(&prompts.collect::<Vec<_>>()))
}

/// Refuses to change what an upstream decides of what it offers: the next time that it is read, it
/// would be as it was.
///
/// # Errors
///
/// 422 naming each such field.
pub fn refuse_foreign<B: Backend>(
    ask: &Ask<'_, B>,
    word: &str,
    gateway_id: Option<&str>,
    names: &[&str],
) -> Result<(), Failure> {
    let Some(gateway_id) = gateway_id else { return Ok(()) };
    let fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let (mut fields, _) = fields.unwrap(word);
    let sent: Vec<_> = names.iter().filter(|name| fields.given(name).is_some()).collect();
    for name in sent {
        let message = format!("This {word} is of gateway {gateway_id}, which decides its {name}");
        fields.error(name, message);
    }
    fields.finish()
}

/// What a virtual server has and the caller may see.
struct Offer {
    catalog: Arc<Catalog>,
    entries: Vec<Entry>,
}

impl Offer {
    fn read<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<Offer, Failure> {
        let mut query = Query::parse(ask.request.query);
        let include_inactive = query.flag("include_inactive", false);
        query.finish()?;
        let catalog = ask.backend.catalog();
        let server = servers::find(ask, &catalog, id)?;
        let mut entries = members(&catalog, &server.record);
        entries.retain(|entry| {
            let is_active = entry.enabled() && gateway_is_active(&catalog, entry.gateway_id());
            (include_inactive || is_active) && may_read_entry(ask.caller, entry)
        });
        Ok(Offer { catalog, entries })
    }
}

/// Everything that a virtual server has, in the order of names.
pub fn members(catalog: &Catalog, server: &Server) -> Vec<Entry> {
    let chosen = server.associated_tools.iter().filter_map(|id| catalog.tool(id).cloned());
    let mut members: Vec<Entry> = chosen.map(Entry::Tool).collect();
    let chosen = server.associated_resources.iter().filter_map(|id| catalog.resource(id).cloned());
    members.extend(chosen.map(Entry::Resource));
    let chosen = server.associated_prompts.iter().filter_map(|id| catalog.prompt(id).cloned());
    members.extend(chosen.map(Entry::Prompt));
    for owner_id in server.associated_gateways.iter().chain(&server.associated_a2a_agents) {
        members.extend(catalog.offers_of(owner_id));
    }
    members.sort_by(|a, b| key(a).cmp(&key(b)));
    members.dedup_by(|a, b| key(a) == key(b));
    members
}

fn key(entry: &Entry) -> (u8, &str, &str) {
    match entry {
        Entry::Tool(entry) => (0, &entry.record.name, &entry.record.id),
        Entry::Resource(entry) => (1, &entry.record.uri, &entry.record.id),
        Entry::Prompt(entry) => (2, &entry.record.name, &entry.record.id),
    }
}

fn may_read_entry(caller: &Caller, entry: &Entry) -> bool {
    match entry {
        Entry::Tool(entry) => may_read(caller, &*entry.record),
        Entry::Resource(entry) => may_read(caller, &*entry.record),
        Entry::Prompt(entry) => may_read(caller, &*entry.record),
    }
}

/// Whether a tool is switched on, and what it belongs to.
pub fn is_active(catalog: &Catalog, tool: &Tool) -> bool {
    tool.enabled && gateway_is_active(catalog, tool.gateway_id.as_deref())
}

pub fn gateway_is_active(catalog: &Catalog, id: Option<&str>) -> bool {
    let Some(id) = id else { return true };
    catalog.upstream(id).is_some_and(|upstream| upstream.record.enabled)
}
