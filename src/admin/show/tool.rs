//! Tools as the API shows them: never a secret.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use storage::record::{AuthType, IntegrationType};

use super::offering::{Definition, is_active, upstream};
use super::{AuditRead, MetricsRead, OwnershipRead, Tags, raw, snake_case};
use crate::admin::rest_form::masked_headers;
use crate::catalog::{Catalog, ToolEntry};
use crate::settings::MASK;

/// A tool: of an upstream, of a REST service or of an agent.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Tool")]
pub struct ToolRead<'a> {
    id: &'a str,
    name: &'a str,
    original_name: &'a str,
    custom_name: &'a str,
    custom_name_slug: &'a str,
    display_name: Option<&'a str>,
    title: Option<&'a str>,
    description: Option<&'a str>,
    original_description: Option<&'a str>,
    integration_type: &'static str,
    #[serde(flatten)]
    call: CallRead<'a>,
    input_schema: Option<&'a RawValue>,
    output_schema: Option<&'a RawValue>,
    annotations: Option<&'a RawValue>,
    auth: Option<AuthRead>,
    gateway_id: Option<&'a str>,
    gateway_slug: &'a str,
    agent_id: Option<&'a str>,
    grpc_service_id: Option<()>,
    enabled: bool,
    is_active: bool,
    reachable: bool,
    deprecated: bool,
    validate_arguments: bool,
    extension_metadata: Option<&'a RawValue>,
    execution_count: Option<u64>,
    #[schemars(with = "Option<MetricsRead>")]
    metrics: Option<()>,
    tags: Tags<'a>,
    #[serde(rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(flatten)]
    ownership: OwnershipRead<'a>,
    #[serde(flatten)]
    audit: AuditRead<'a>,
}

/// How a tool is called: of a REST tool what is stored, of any other one what there is to say.
#[derive(Serialize, Deserialize, Default, JsonSchema)]
#[serde(default, rename_all(serialize = "camelCase"))]
struct CallRead<'a> {
    url: Option<String>,
    request_type: Option<String>,
    #[serde(skip_deserializing)]
    headers: Option<Map<String, Value>>,
    jsonpath_filter: String,
    base_url: Option<String>,
    path_template: Option<String>,
    #[serde(borrow)]
    query_mapping: Option<&'a RawValue>,
    #[serde(borrow)]
    header_mapping: Option<&'a RawValue>,
    timeout_ms: Option<u64>,
    expose_passthrough: Option<bool>,
    #[serde(borrow)]
    allowlist: Option<&'a RawValue>,
    #[serde(borrow)]
    plugin_chain_pre: Option<&'a RawValue>,
    #[serde(borrow)]
    plugin_chain_post: Option<&'a RawValue>,
    body_format: Option<String>,
    concurrency_limit: Option<u64>,
    response_size_max: Option<u64>,
}

impl<'a> CallRead<'a> {
    fn of(entry: &'a ToolEntry, catalog: &'a Catalog) -> CallRead<'a> {
        let mut call = match entry.record.rest.as_deref() {
            Some(rest) => {
                let headers = serde_json::from_str(rest).ok();
                let headers = headers.as_ref().and_then(masked_headers);
                let call: CallRead<'_> = serde_json::from_str(rest).unwrap_or_default();
                CallRead { headers, ..call }
            }
            None => CallRead::default(),
        };
        let gateway = upstream(catalog, entry.record.gateway_id.as_deref());
        match entry.record.integration_type {
            IntegrationType::Rest => {
                call.request_type.get_or_insert_with(|| "GET".to_owned());
            }
            IntegrationType::Mcp | IntegrationType::A2a => {
                let record = gateway.map(|gateway| &gateway.record);
                call.url = record.and_then(|record| record.url.clone());
                call.request_type = record.map(|record| record.transport.as_str().to_owned());
            }
        }
        call.expose_passthrough.get_or_insert(true);
        call
    }
}

/// How a tool proves us: that it does, and in which way.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AuthRead {
    auth_type: &'static str,
    auth_value: Option<()>,
    username: String,
    password: &'static str,
    token: &'static str,
    auth_header_key: String,
    auth_header_value: &'static str,
    auth_headers: Option<Vec<AuthHeader>>,
    auth_query_param_key: Option<String>,
    auth_query_param_value: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct AuthHeader {
    key: String,
    value: &'static str,
}

impl AuthRead {
    fn of(entry: &ToolEntry) -> Option<AuthRead> {
        let kind = entry.record.auth_type?;
        let auth = crate::admin::rest_form::Specification::of(entry).auth;
        let auth: Vec<(String, String)> = auth.into_iter().collect();
        let stored = crate::admin::credentials::Stored::new(Some(kind), &auth);
        let mask = |of: AuthType| if kind == of { MASK } else { "" };
        let in_headers = kind == AuthType::AuthHeaders;
        let header = |(key, _): &(String, String)| AuthHeader { key: key.clone(), value: MASK };
        let first = auth.first().filter(|_| in_headers).map(|(key, _)| key.clone());
        let parameter = stored.query_param().map(|(key, _)| key);
        Some(AuthRead {
            auth_type: kind.as_str(),
            auth_value: None,
            username: stored.basic().map(|(name, _)| name).unwrap_or_default(),
            password: mask(AuthType::Basic),
            token: mask(AuthType::Bearer),
            auth_header_key: first.unwrap_or_default(),
            auth_header_value: mask(AuthType::AuthHeaders),
            auth_headers: in_headers.then(|| auth.iter().map(header).collect()),
            auth_query_param_value: parameter.is_some().then_some(MASK),
            auth_query_param_key: parameter,
        })
    }
}

/// A tool. It is switched on and reachable only if its upstream is.
pub fn tool<'a>(catalog: &'a Catalog, entry: &'a ToolEntry) -> impl Serialize + use<'a> {
    let tool = &*entry.record;
    let gateway_id = tool.gateway_id.as_deref();
    let upstream = upstream(catalog, gateway_id);
    let gateway = upstream.map(|upstream| &*upstream.record);
    let definition = Definition::read(&tool.definition);
    let enabled = is_active(upstream, gateway_id, tool.enabled);
    let original_description = tool.original_description.as_deref();
    // The contract has an object here for tools made by hand.
    let is_rest = tool.integration_type == IntegrationType::Rest;
    let no_annotations = is_rest.then(|| raw("{}")).flatten();
    ToolRead {
        id: &tool.id,
        name: &tool.name,
        original_name: &tool.original_name,
        custom_name: tool.custom_name.as_ref().unwrap_or(&tool.original_name),
        custom_name_slug: &tool.custom_name_slug,
        display_name: tool.display_name.as_deref(),
        title: tool.title.as_deref(),
        description: tool.custom_description.as_deref().or(original_description),
        original_description,
        integration_type: tool.integration_type.as_str(),
        call: CallRead::of(entry, catalog),
        input_schema: definition.input_schema,
        output_schema: definition.output_schema,
        annotations: definition.annotations.or(no_annotations),
        auth: AuthRead::of(entry),
        gateway_id,
        gateway_slug: gateway.map_or("", |gateway| gateway.slug.as_str()),
        agent_id: tool.agent_id.as_deref(),
        grpc_service_id: None,
        enabled,
        is_active: enabled,
        reachable: tool.reachable && gateway.is_none_or(|gateway| gateway.reachable),
        deprecated: tool.deprecated,
        validate_arguments: tool.validate_arguments,
        extension_metadata: tool.extension_metadata.as_deref().and_then(raw),
        execution_count: None,
        metrics: None,
        tags: Tags(&tool.tags),
        meta: definition.meta,
        ownership: OwnershipRead::of(&tool.ownership, catalog),
        audit: (&tool.audit).into(),
    }
}

/// A tool with its own fields in snake_case, as the answer to switching it holds it.
pub fn tool_in_snake_case(catalog: &Catalog, entry: &ToolEntry) -> Value {
    let Value::Object(mut fields) = snake_case(&tool(catalog, entry)) else { return Value::Null };
    for (from, to) in [("display_name", "displayName"), ("_meta", "meta")] {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
    Value::Object(fields)
}
