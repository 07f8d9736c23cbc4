//! Virtual servers as the API shows them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use storage::record::Ownership;

use super::{AuditRead, MetricsRead, OwnershipRead, Tags};
use crate::auth::Caller;
use crate::catalog::overrides::Override;
use crate::catalog::{Catalog, VirtualServer};
use crate::settings::MASK;

/// A virtual server: what its clients see is composed of the parts that it names.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Server")]
pub struct ServerRead<'a> {
    id: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    icon: Option<&'a str>,
    enabled: bool,
    is_active: bool,
    /// Names, as the contract has it; the ids stand beside them.
    associated_tools: Vec<&'a str>,
    associated_tool_ids: Vec<&'a str>,
    associated_resources: Vec<&'a str>,
    associated_prompts: Vec<&'a str>,
    associated_a2a_agents: Vec<&'a str>,
    associated_gateways: Vec<&'a str>,
    tool_prefix: Option<&'a str>,
    #[schemars(with = "BTreeMap<String, serde_json::Map<String, serde_json::Value>>")]
    tool_overrides: BTreeMap<String, Override>,
    auth_required: bool,
    oauth_enabled: bool,
    oauth_config: Option<serde_json::Map<String, serde_json::Value>>,
    #[schemars(with = "Option<MetricsRead>")]
    metrics: Option<()>,
    tags: Tags<'a>,
    #[serde(flatten)]
    ownership: OwnershipRead<'a>,
    #[serde(flatten)]
    audit: AuditRead<'a>,
}

/// What stands in `oauth_config`, but for what nobody reads back.
fn masked(text: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
    let mut config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    for (name, value) in &mut config {
        if ["secret", "password", "token"].iter().any(|word| name.ends_with(word)) {
            *value = MASK.into();
        }
    }
    Some(config)
}

/// A virtual server; of the things that it offers, those that `caller` may see.
pub fn server<'a>(
    catalog: &'a Catalog,
    entry: &'a VirtualServer,
    caller: &Caller,
) -> impl Serialize + use<'a> {
    let server = &*entry.record;
    let sees = |ownership: Option<&Ownership>| ownership.is_some_and(|owned| caller.sees(owned));
    let sees_tool = |id: &str| sees(catalog.tool(id).map(|tool| &tool.record.ownership));
    let tool_ids = seen(&server.associated_tools, sees_tool);
    let tools = tool_ids.iter().filter_map(|id| catalog.tool(id));
    let mut overrides = entry.view.overrides.sorted();
    overrides.retain(|id, _| sees_tool(id));
    ServerRead {
        id: &server.id,
        name: &server.name,
        description: server.description.as_deref(),
        icon: server.icon.as_deref(),
        enabled: server.enabled,
        is_active: server.enabled,
        associated_tools: tools.map(|tool| tool.record.name.as_str()).collect(),
        associated_tool_ids: tool_ids,
        associated_resources: seen(&server.associated_resources, |id| {
            sees(catalog.resource(id).map(|resource| &resource.record.ownership))
        }),
        associated_prompts: seen(&server.associated_prompts, |id| {
            sees(catalog.prompt(id).map(|prompt| &prompt.record.ownership))
        }),
        associated_a2a_agents: seen(&server.associated_a2a_agents, |id| {
            sees(catalog.agent(id).map(|agent| &agent.record.ownership))
        }),
        associated_gateways: seen(&server.associated_gateways, |id| {
            sees(catalog.upstream(id).map(|upstream| &upstream.record.ownership))
        }),
        tool_prefix: server.tool_prefix.as_deref(),
        tool_overrides: overrides,
        auth_required: server.auth_required,
        oauth_enabled: server.oauth_enabled,
        oauth_config: server.oauth_config.as_deref().and_then(masked),
        metrics: None,
        tags: Tags(&server.tags),
        ownership: OwnershipRead::of(&server.ownership, catalog),
        audit: (&server.audit).into(),
    }
}

/// The ids of what is seen.
fn seen(ids: &[String], is_seen: impl Fn(&str) -> bool) -> Vec<&str> {
    ids.iter().map(String::as_str).filter(|id| is_seen(id)).collect()
}
