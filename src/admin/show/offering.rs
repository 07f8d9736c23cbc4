//! Resources and prompts as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use storage::record::{Prompt, Resource};

use super::{AuditRead, MetricsRead, OwnershipRead, Tags, raw};
use crate::catalog::{Catalog, Upstream};

/// What the API shows of the object that an upstream listed, byte for byte.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Definition<'a> {
    #[serde(borrow)]
    pub(super) input_schema: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) output_schema: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) annotations: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta")]
    pub(super) meta: Option<&'a RawValue>,
}

impl<'a> Definition<'a> {
    /// Reads a definition. One that names a field twice shows none of them: which of the two
    /// counts is not ours to say.
    pub(super) fn read(text: &'a str) -> Definition<'a> {
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// The upstream that something belongs to, and whether it is switched on.
pub(super) fn upstream<'a>(catalog: &'a Catalog, id: Option<&str>) -> Option<&'a Upstream> {
    catalog.upstream(id?).map(|upstream| &**upstream)
}

pub(super) fn is_active(
    upstream: Option<&Upstream>,
    gateway_id: Option<&str>,
    enabled: bool,
) -> bool {
    enabled && (gateway_id.is_none() || upstream.is_some_and(|upstream| upstream.record.enabled))
}

/// A resource, or a template of resources.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Resource")]
pub struct ResourceRead<'a> {
    id: &'a str,
    uri: &'a str,
    uri_template: Option<&'a str>,
    name: &'a str,
    title: Option<&'a str>,
    description: Option<&'a str>,
    mime_type: Option<&'a str>,
    size: Option<i64>,
    annotations: Option<&'a RawValue>,
    gateway_id: Option<&'a str>,
    enabled: bool,
    is_active: bool,
    #[schemars(with = "Option<MetricsRead>")]
    metrics: Option<()>,
    /// Plain, as this entity alone has them in the contract's later line.
    tags: &'a [String],
    extension_metadata: Option<&'a RawValue>,
    #[serde(rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(flatten)]
    ownership: OwnershipRead<'a>,
    #[serde(flatten)]
    audit: AuditRead<'a>,
}

/// A resource or a template.
pub fn resource<'a>(catalog: &'a Catalog, resource: &'a Resource) -> impl Serialize + use<'a> {
    let gateway_id = resource.gateway_id.as_deref();
    let definition = Definition::read(&resource.definition);
    let enabled = is_active(upstream(catalog, gateway_id), gateway_id, resource.enabled);
    ResourceRead {
        id: &resource.id,
        uri: &resource.uri,
        uri_template: resource.uri_template.as_deref(),
        name: &resource.name,
        title: resource.title.as_deref(),
        description: resource.description.as_deref(),
        mime_type: resource.mime_type.as_deref(),
        size: resource.size,
        annotations: definition.annotations,
        gateway_id,
        enabled,
        is_active: enabled,
        metrics: None,
        tags: &resource.tags,
        extension_metadata: resource.extension_metadata.as_deref().and_then(raw),
        meta: definition.meta,
        ownership: OwnershipRead::of(&resource.ownership, catalog),
        audit: (&resource.audit).into(),
    }
}

/// A prompt.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Prompt")]
pub struct PromptRead<'a> {
    id: &'a str,
    name: &'a str,
    original_name: &'a str,
    custom_name: &'a str,
    custom_name_slug: &'a str,
    display_name: Option<&'a str>,
    title: Option<&'a str>,
    description: Option<&'a str>,
    /// The text of a prompt of our own; that of an upstream stays with it.
    template: &'a str,
    arguments: Arguments<'a>,
    gateway_id: Option<&'a str>,
    gateway_slug: Option<&'a str>,
    enabled: bool,
    is_active: bool,
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

/// The arguments of a prompt; an empty list if it takes none.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
struct Arguments<'a>(#[schemars(with = "Vec<Value>")] Option<&'a RawValue>);

impl Serialize for Arguments<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(raw) => raw.serialize(serializer),
            None => serializer.collect_seq([(); 0]),
        }
    }
}

/// A prompt.
pub fn prompt<'a>(catalog: &'a Catalog, prompt: &'a Prompt) -> impl Serialize + use<'a> {
    let gateway_id = prompt.gateway_id.as_deref();
    let upstream = upstream(catalog, gateway_id);
    let definition = Definition::read(&prompt.definition);
    let enabled = is_active(upstream, gateway_id, prompt.enabled);
    PromptRead {
        id: &prompt.id,
        name: &prompt.name,
        original_name: &prompt.original_name,
        custom_name: prompt.custom_name.as_ref().unwrap_or(&prompt.original_name),
        custom_name_slug: &prompt.custom_name_slug,
        display_name: prompt.display_name.as_deref(),
        title: prompt.title.as_deref(),
        description: prompt.description.as_deref(),
        template: prompt.template.as_deref().unwrap_or_default(),
        arguments: Arguments(definition.arguments),
        gateway_id,
        gateway_slug: upstream.map(|upstream| upstream.record.slug.as_str()),
        enabled,
        is_active: enabled,
        metrics: None,
        tags: Tags(&prompt.tags),
        meta: definition.meta,
        ownership: OwnershipRead::of(&prompt.ownership, catalog),
        audit: (&prompt.audit).into(),
    }
}
