//! Virtual servers as the API shows them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{AuditRead, MetricsRead, OwnershipRead, Tags};
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
    associated_tool_ids: &'a [String],
    associated_resources: &'a [String],
    associated_prompts: &'a [String],
    associated_a2a_agents: &'a [String],
    associated_gateways: &'a [String],
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

/// A virtual server.
pub fn server<'a>(catalog: &'a Catalog, entry: &'a VirtualServer) -> impl Serialize + use<'a> {
    let server = &*entry.record;
    let names = server.associated_tools.iter().filter_map(|id| catalog.tool(id));
    ServerRead {
        id: &server.id,
        name: &server.name,
        description: server.description.as_deref(),
        icon: server.icon.as_deref(),
        enabled: server.enabled,
        is_active: server.enabled,
        associated_tools: names.map(|tool| tool.record.name.as_str()).collect(),
        associated_tool_ids: &server.associated_tools,
        associated_resources: &server.associated_resources,
        associated_prompts: &server.associated_prompts,
        associated_a2a_agents: &server.associated_a2a_agents,
        associated_gateways: &server.associated_gateways,
        tool_prefix: server.tool_prefix.as_deref(),
        tool_overrides: entry.view.overrides.sorted(),
        auth_required: server.auth_required,
        oauth_enabled: server.oauth_enabled,
        oauth_config: server.oauth_config.as_deref().and_then(masked),
        metrics: None,
        tags: Tags(&server.tags),
        ownership: OwnershipRead::of(&server.ownership, catalog),
        audit: (&server.audit).into(),
    }
}
