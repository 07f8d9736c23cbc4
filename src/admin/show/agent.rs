//! A2A agents as the API shows them: never a secret.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{AuditRead, MetricsRead, OwnershipRead, Tags, raw};
use crate::admin::credentials::{ShownWithQuery, Stored};
use crate::catalog::{AgentEntry, Catalog, Entry};

/// An A2A agent.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Agent")]
pub struct AgentRead<'a> {
    id: &'a str,
    name: &'a str,
    slug: &'a str,
    description: Option<&'a str>,
    endpoint_url: &'a str,
    agent_type: &'a str,
    protocol_version: &'a str,
    capabilities: Option<&'a RawValue>,
    config: Option<&'a RawValue>,
    enabled: bool,
    is_active: bool,
    reachable: bool,
    /// When it was last called: the metrics of its tool know.
    last_interaction: Option<()>,
    #[schemars(with = "Option<MetricsRead>")]
    metrics: Option<()>,
    passthrough_headers: Option<&'a [String]>,
    #[serde(flatten)]
    secrets: ShownWithQuery,
    oauth_config: Option<()>,
    /// The tool that it is offered as.
    tool_id: Option<String>,
    uaid: Option<()>,
    uaid_registry: Option<()>,
    uaid_proto: Option<()>,
    uaid_native_id: Option<()>,
    tags: Tags<'a>,
    #[serde(flatten)]
    ownership: OwnershipRead<'a>,
    #[serde(flatten)]
    audit: AuditRead<'a>,
}

/// An agent.
pub fn agent<'a>(catalog: &Catalog, agent: &'a AgentEntry) -> impl Serialize + use<'a> {
    let record = &*agent.record;
    let tool = catalog.offers_of(&record.id).find_map(|entry| match entry {
        Entry::Tool(tool) => Some(tool.record.id.clone()),
        _ => None,
    });
    AgentRead {
        id: &record.id,
        name: &record.name,
        slug: &record.slug,
        description: record.description.as_deref(),
        endpoint_url: &record.endpoint_url,
        agent_type: &record.agent_type,
        protocol_version: &record.protocol_version,
        capabilities: raw(&record.capabilities),
        config: raw(&record.config),
        enabled: record.enabled,
        is_active: record.enabled,
        reachable: record.reachable,
        last_interaction: None,
        metrics: None,
        passthrough_headers: record.passthrough_headers.as_deref(),
        secrets: ShownWithQuery::new(Stored::new(record.auth_type, &agent.headers)),
        oauth_config: None,
        tool_id: tool,
        uaid: None,
        uaid_registry: None,
        uaid_proto: None,
        uaid_native_id: None,
        tags: Tags(&record.tags),
        ownership: OwnershipRead::of(&record.ownership, catalog),
        audit: (&record.audit).into(),
    }
}
