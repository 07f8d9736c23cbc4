//! Records as an export holds them: what their forms take, under the contract's names, references by
//! name, credentials sealed.

use serde_json::{Map, Value, json};
use storage::record::{
    Agent, Audit, AuthType, Gateway, Ownership, Prompt, Resource, Root, Server, Tool,
};

use super::super::show::Time;
use crate::auth::Caller;
use crate::catalog::Catalog;

/// An entity of an export.
pub type Exported = Map<String, Value>;

/// Makes an entity: what is null is left out, so that it says nothing when it is read.
fn entity(fields: Value, ownership: Option<&Ownership>, audit: Option<&Audit>) -> Exported {
    let Value::Object(mut fields) = fields else { return Exported::new() };
    if let Some(own) = ownership {
        fields.insert("visibility".to_owned(), json!(own.visibility.as_str()));
        fields.insert("team_id".to_owned(), json!(own.team_id));
        fields.insert("owner_email".to_owned(), json!(own.owner_email));
    }
    if let Some(audit) = audit {
        let at = |at| serde_json::to_value(Time(at)).unwrap_or_default();
        fields.insert("created_at".to_owned(), at(audit.created_at));
        fields.insert("updated_at".to_owned(), at(audit.updated_at));
    }
    fields.retain(|_, value| !value.is_null());
    fields
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn auth_type(kind: Option<AuthType>) -> Option<&'static str> {
    kind.map(|kind| kind.as_str())
}

/// An upstream.
pub fn gateway(record: &Gateway) -> Exported {
    let capabilities = record.capabilities.as_deref().map_or(json!({}), parsed);
    let fields = json!({
        "name": record.name,
        "url": record.url,
        "description": record.description,
        "transport": record.transport.as_str(),
        "command": (!record.command.is_empty()).then_some(&record.command),
        "env_sealed": record.env_sealed,
        "protocol": record.protocol.as_str(),
        "session_mode": record.session_mode.as_str(),
        "capabilities": capabilities,
        "ca_certificate": record.ca_certificate,
        "passthrough_headers": record.passthrough_headers,
        "auth_type": auth_type(record.auth_type),
        "auth_value": record.auth_sealed,
        "is_active": record.enabled,
        "tags": record.tags,
    });
    entity(fields, Some(&record.ownership), Some(&record.audit))
}

/// An A2A agent.
pub fn agent(record: &Agent) -> Exported {
    let fields = json!({
        "name": record.name,
        "slug": record.slug,
        "description": record.description,
        "endpoint_url": record.endpoint_url,
        "agent_type": record.agent_type,
        "protocol_version": record.protocol_version,
        "capabilities": parsed(&record.capabilities),
        "config": parsed(&record.config),
        "passthrough_headers": record.passthrough_headers,
        "auth_type": auth_type(record.auth_type),
        "auth_value": record.auth_sealed,
        "is_active": record.enabled,
        "tags": record.tags,
    });
    entity(fields, Some(&record.ownership), Some(&record.audit))
}

/// A tool of our own.
pub fn tool(record: &Tool) -> Exported {
    let definition = parsed(&record.definition);
    let description = record.custom_description.as_ref().or(record.original_description.as_ref());
    let mut fields = json!({
        "name": record.original_name,
        "displayName": record.display_name,
        "custom_name": record.custom_name,
        "title": record.title,
        "integration_type": record.integration_type.as_str(),
        "description": description,
        "input_schema": definition.get("inputSchema"),
        "output_schema": definition.get("outputSchema"),
        "annotations": definition.get("annotations"),
        "deprecated": record.deprecated,
        "validate_arguments": record.validate_arguments,
        "extension_metadata": record.extension_metadata.as_deref().map(parsed),
        "auth_type": auth_type(record.auth_type),
        "auth_value": record.auth_sealed,
        "is_active": record.enabled,
        "tags": record.tags,
    });
    if let (Some(Value::Object(rest)), Some(fields)) =
        (record.rest.as_deref().map(parsed), fields.as_object_mut())
    {
        fields.extend(rest);
    }
    entity(fields, Some(&record.ownership), Some(&record.audit))
}

/// A resource of our own.
pub fn resource(record: &Resource) -> Exported {
    let definition = parsed(&record.definition);
    let fields = json!({
        "name": record.name,
        "uri": record.uri,
        "uri_template": record.uri_template,
        "title": record.title,
        "description": record.description,
        "mime_type": record.mime_type,
        "content": record.content,
        "is_binary": record.is_binary.then_some(true),
        "annotations": definition.get("annotations"),
        "extension_metadata": record.extension_metadata.as_deref().map(parsed),
        "is_active": record.enabled,
        "tags": record.tags,
    });
    entity(fields, Some(&record.ownership), Some(&record.audit))
}

/// A prompt of our own.
pub fn prompt(record: &Prompt) -> Exported {
    let definition = parsed(&record.definition);
    let arguments = definition.get("arguments").cloned().unwrap_or_else(|| json!([]));
    let fields = json!({
        "name": record.original_name,
        "original_name": record.original_name,
        "custom_name": record.custom_name,
        "display_name": record.display_name,
        "title": record.title,
        "description": record.description,
        "template": record.template,
        "input_schema": schema_of(&arguments),
        "arguments": arguments,
        "is_active": record.enabled,
        "tags": record.tags,
    });
    entity(fields, Some(&record.ownership), Some(&record.audit))
}

/// The arguments of a prompt as the contract's exports have them.
fn schema_of(arguments: &Value) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for argument in arguments.as_array().into_iter().flatten() {
        let Some(name) = argument["name"].as_str() else { continue };
        let description = argument["description"].as_str().unwrap_or_default();
        let property = json!({"type": "string", "description": description});
        properties.insert(name.to_owned(), property);
        if argument["required"] == true {
            required.push(name);
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// A virtual server; what it has is named, since ids are another gateway's own. Of that, there is
/// what `caller` may see.
pub fn server(record: &Server, catalog: &Catalog, caller: &Caller) -> Exported {
    let tools = record.associated_tools.iter().filter_map(|id| catalog.tool(id));
    let tools = tools.filter(|tool| caller.sees(&tool.record.ownership));
    let tools: Vec<&str> = tools.map(|tool| tool.record.name.as_str()).collect();
    let resources = record.associated_resources.iter().filter_map(|id| catalog.resource(id));
    let resources = resources.filter(|resource| caller.sees(&resource.record.ownership));
    let resources: Vec<&str> = resources.map(|resource| resource.record.uri.as_str()).collect();
    let prompts = record.associated_prompts.iter().filter_map(|id| catalog.prompt(id));
    let prompts = prompts.filter(|prompt| caller.sees(&prompt.record.ownership));
    let prompts: Vec<&str> = prompts.map(|prompt| prompt.record.name.as_str()).collect();
    let agents = record.associated_a2a_agents.iter().filter_map(|id| catalog.agent(id));
    let agents = agents.filter(|agent| caller.sees(&agent.record.ownership));
    let agents: Vec<&str> = agents.map(|agent| agent.record.name.as_str()).collect();
    let gateways = record.associated_gateways.iter().filter_map(|id| catalog.upstream(id));
    let gateways = gateways.filter(|gateway| caller.sees(&gateway.record.ownership));
    let gateways: Vec<&str> = gateways.map(|gateway| gateway.record.name.as_str()).collect();
    let fields = json!({
        "name": record.name,
        "description": record.description,
        "icon": record.icon,
        "tool_ids": tools,
        "associated_resources": resources,
        "associated_prompts": prompts,
        "associated_a2a_agents": agents,
        "associated_gateways": gateways,
        "tool_prefix": record.tool_prefix,
        "tool_overrides": record.tool_overrides.as_deref().map(|text| {
            named(parsed(text), catalog, caller)
        }),
        "auth_required": record.auth_required,
        "oauth_enabled": record.oauth_enabled,
        "oauth_config": record.oauth_config.as_deref().map(parsed),
        "is_active": record.enabled,
        "tags": record.tags,
    });
    entity(fields, Some(&record.ownership), Some(&record.audit))
}

/// Overrides by the names of tools instead of their ids.
fn named(overrides: Value, catalog: &Catalog, caller: &Caller) -> Value {
    let Value::Object(overrides) = overrides else { return Value::Null };
    let by_name = overrides.into_iter().filter_map(|(id, change)| {
        let tool = catalog.tool(&id).filter(|tool| caller.sees(&tool.record.ownership));
        tool.map(|tool| (tool.record.name.clone(), change))
    });
    Value::Object(by_name.collect())
}

/// A root.
pub fn root(record: &Root) -> Exported {
    entity(json!({"uri": record.uri, "name": record.name}), None, None)
}
