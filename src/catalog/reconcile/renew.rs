//! Taking over what an upstream was just found to be and to offer, whoever asked it: people through
//! the REST API, or a health check after it was away.

use storage::record::{Gateway, IntegrationType, Tool};

use super::{Names, Owned, Reconciled, describe, reconcile};
use crate::catalog::{Catalog, Entry, author::Author, inventory::Inventory, naming::Circle};

/// Notes in `gateway` what it said of itself, and gives what has to be done for its offers, whose
/// stored ones are `owned`.
pub fn renew(
    catalog: &Catalog,
    gateway: &mut Gateway,
    owned: &Owned,
    inventory: &Inventory,
    separator: &str,
    author: &Author,
) -> Reconciled {
    describe(gateway, inventory, author.at);
    let names = names(catalog, gateway, separator);
    let done = reconcile(owned, inventory, gateway, &names, author);
    gateway.skipped_tools.clone_from(&done.skipped);
    for skipped in &done.skipped {
        tracing::warn!(upstream = gateway.name, skipped, "an offer was left out");
    }
    done
}

/// The names that offers of other upstreams have in the circle of `gateway`.
pub fn names<'a>(catalog: &'a Catalog, gateway: &Gateway, separator: &'a str) -> Names<'a> {
    let circle = Circle::of(&gateway.ownership);
    let is_other = |id: &Option<String>| id.as_deref() != Some(&*gateway.id);
    let tools = catalog.tools().map(|entry| &*entry.record);
    let tools = tools.filter(|tool| is_other(&tool.gateway_id) || !is_listed(tool));
    let tools = tools.filter(|tool| Circle::of(&tool.ownership) == circle);
    let prompts = catalog.prompts().map(|entry| &*entry.record);
    let prompts = prompts.filter(|prompt| is_other(&prompt.gateway_id));
    let prompts = prompts.filter(|prompt| Circle::of(&prompt.ownership) == circle);
    Names {
        separator,
        former: catalog.upstream(&gateway.id).map(|upstream| &upstream.record.ownership),
        tools: tools.map(|tool| tool.name.as_str()).collect(),
        prompts: prompts.map(|prompt| prompt.name.as_str()).collect(),
    }
}

/// Whether an upstream lists the tool. A REST tool that names one is nothing that it could change.
pub fn is_listed(tool: &Tool) -> bool {
    tool.integration_type == IntegrationType::Mcp
}

/// What is stored of one upstream.
pub fn owned(catalog: &Catalog, gateway_id: &str) -> Owned {
    let mut owned = Owned::default();
    for entry in catalog.offers_of(gateway_id) {
        match entry {
            Entry::Tool(entry) if is_listed(&entry.record) => {
                owned.tools.push(entry.record.clone());
            }
            // Made by hand, and only put beside those of the upstream.
            Entry::Tool(_) => {}
            Entry::Resource(entry) => owned.resources.push(entry.record.clone()),
            Entry::Prompt(entry) => owned.prompts.push(entry.record.clone()),
        }
    }
    owned
}
