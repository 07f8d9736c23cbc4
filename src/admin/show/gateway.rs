//! Upstreams as the API shows them: never a secret.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{AuditRead, OwnershipRead, Tags, Time, raw, snake_case};
use crate::admin::credentials::Shown;
use crate::auth::Caller;
use crate::catalog::{Catalog, Entry, Upstream};

/// An upstream MCP server.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Gateway")]
pub struct GatewayRead<'a> {
    id: &'a str,
    name: &'a str,
    slug: &'a str,
    url: Option<&'a str>,
    description: Option<&'a str>,
    transport: &'static str,
    command: Option<&'a [String]>,
    protocol: &'static str,
    era: Option<&'static str>,
    session_mode: &'static str,
    protocol_version: Option<&'a str>,
    capabilities: Capabilities<'a>,
    #[schemars(with = "Option<Map<String, Value>>")]
    server_info: Option<&'a RawValue>,
    instructions: Option<&'a str>,
    status: &'static str,
    registration_attempts: u32,
    gateway_mode: &'static str,
    enabled: bool,
    reachable: bool,
    last_seen: Option<Time>,
    last_error: Option<&'a str>,
    last_refresh_at: Option<Time>,
    passthrough_headers: Option<&'a [String]>,
    ca_certificate: Option<&'a str>,
    #[serde(flatten)]
    secrets: Shown,
    oauth_config: Option<()>,
    tool_count: usize,
    resource_count: usize,
    prompt_count: usize,
    skipped_tools: &'a [String],
    #[serde(flatten)]
    unused: Nulls,
    tags: Tags<'a>,
    #[serde(flatten)]
    ownership: OwnershipRead<'a>,
    #[serde(flatten)]
    audit: AuditRead<'a>,
}

/// The contract's fields for what does not exist here: a registration that waits for another try
/// (`POST /gateways` answers when it is done), a secret shown unmasked, a client's certificate.
const UNUSED: Nulls = Nulls(&[
    "statusMessage",
    "nextRetryAt",
    "lifecycleClaimedBy",
    "lifecycleClaimedAt",
    "lifecycleClaimExpiresAt",
    "identityPropagation",
    "refreshIntervalSeconds",
    "caCertificateSig",
    "signingAlgorithm",
    "clientCert",
    "clientKey",
    "authQueryParamKey",
    "authQueryParamValueMasked",
    "authHeadersUnmasked",
    "authPasswordUnmasked",
    "authTokenUnmasked",
    "authHeaderValueUnmasked",
]);

/// Fields by name that are null.
struct Nulls(&'static [&'static str]);

impl Serialize for Nulls {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|name| (name, ())))
    }
}

impl JsonSchema for Nulls {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Unused")
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let null = || serde_json::json!({"type": "null"});
        let properties = UNUSED.0.iter().map(|name| ((*name).to_owned(), null()));
        json_schema!({ "type": "object", "properties": properties.collect::<Map<_, _>>() })
    }
}

/// What an upstream can do; an empty object until it was asked.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
struct Capabilities<'a>(#[schemars(with = "Map<String, Value>")] Option<&'a RawValue>);

impl Serialize for Capabilities<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(raw) => raw.serialize(serializer),
            None => serializer.collect_map([((), ()); 0]),
        }
    }
}

/// An upstream. Its command is for administrators: arguments may hold what is nobody's business.
pub fn gateway<'a>(
    catalog: &'a Catalog,
    upstream: &'a Upstream,
    caller: &Caller,
) -> impl Serialize + use<'a> {
    let record = &*upstream.record;
    let is_shown = caller.is_admin && !record.command.is_empty();
    let [tool_count, resource_count, prompt_count] = counts(catalog, &record.id);
    GatewayRead {
        id: &record.id,
        name: &record.name,
        slug: &record.slug,
        url: record.url.as_deref(),
        description: record.description.as_deref(),
        transport: record.transport.as_str(),
        command: is_shown.then_some(&record.command),
        protocol: record.protocol.as_str(),
        era: record.era.map(|era| era.as_str()),
        session_mode: record.session_mode.as_str(),
        protocol_version: record.protocol_version.as_deref(),
        capabilities: Capabilities(record.capabilities.as_deref().and_then(raw)),
        server_info: record.server_info.as_deref().and_then(raw),
        instructions: record.instructions.as_deref(),
        status: "active",
        registration_attempts: 0,
        gateway_mode: "cache",
        enabled: record.enabled,
        reachable: record.reachable,
        last_seen: record.last_seen.map(Time),
        last_error: record.last_error.as_deref(),
        last_refresh_at: record.last_refresh_at.map(Time),
        passthrough_headers: record.passthrough_headers.as_deref(),
        ca_certificate: record.ca_certificate.as_deref(),
        secrets: Shown::new(upstream),
        oauth_config: None,
        tool_count,
        resource_count,
        prompt_count,
        skipped_tools: &record.skipped_tools,
        unused: UNUSED,
        tags: Tags(&record.tags),
        ownership: OwnershipRead::of(&record.ownership, catalog),
        audit: (&record.audit).into(),
    }
}

/// An upstream with its own fields in snake_case, as the answer to switching it holds it.
pub fn gateway_in_snake_case(catalog: &Catalog, upstream: &Upstream, caller: &Caller) -> Value {
    snake_case(&gateway(catalog, upstream, caller))
}

/// How many tools, resources and prompts an upstream has.
fn counts(catalog: &Catalog, id: &str) -> [usize; 3] {
    let mut counts = [0; 3];
    for entry in catalog.offers_of(id) {
        let kind = match entry {
            Entry::Tool(_) => 0,
            Entry::Resource(_) => 1,
            Entry::Prompt(_) => 2,
        };
        counts[kind] += 1;
    }
    counts
}
