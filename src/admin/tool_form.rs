//! What a request says of a tool, checked, and laid over what is stored.
//!
//! Of a tool of an upstream or an agent only what people decide can be changed: its names, its
//! description here, its tags, whose it is and whether it is switched on.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use storage::record::{IntegrationType, Tool};
use storage::seal::Sealer;

use super::fields::Fields;
use super::record_form::{self, OwnershipForm};
use super::rest_form::{RestForm, Specification};
use super::{Rules, may_read};
use crate::auth::Caller;
use crate::catalog::{Catalog, ToolEntry, naming};
use crate::schema;

/// The longest title or display name, in characters.
const TITLE_LENGTH_MAX: usize = 255;

/// The largest `extension_metadata`, in bytes of JSON.
const METADATA_SIZE_MAX: usize = 64 * 1024;

/// Hints of `annotations`: a client that finds something else than a truth value there may refuse
/// the whole list.
const HINTS: [&str; 4] = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];

/// A tool as it shall be, not stored yet.
pub struct Draft {
    /// The record, without its sealed part.
    pub tool: Tool,
    specification: Specification,
    /// The credentials that are stored sealed.
    sealed: BTreeMap<String, String>,
}

/// The fields of a request.
pub struct Form {
    name: Option<String>,
    custom_name: Option<String>,
    display_name: Option<String>,
    title: Option<String>,
    description: Option<Option<String>>,
    input_schema: Option<Map<String, Value>>,
    output_schema: Option<Map<String, Value>>,
    annotations: Option<Map<String, Value>>,
    extension_metadata: Option<Map<String, Value>>,
    integration_type: Option<IntegrationType>,
    gateway_id: Option<String>,
    deprecated: Option<bool>,
    validate_arguments: Option<bool>,
    enabled: Option<bool>,
    tags: Option<Vec<String>>,
    ownership: OwnershipForm,
    rest: RestForm,
}

/// What a form is checked against.
pub struct Surroundings<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What the settings decide.
    pub rules: &'a Rules,
    /// Who asks.
    pub caller: &'a Caller,
}

impl Draft {
    /// A draft of a new REST tool.
    pub fn new(tool: Tool) -> Draft {
        let tool = Tool { integration_type: IntegrationType::Rest, ..tool };
        Draft { tool, specification: Specification::default(), sealed: BTreeMap::new() }
    }

    /// A draft of a stored tool.
    pub fn of(entry: &ToolEntry) -> Draft {
        let specification = Specification::of(entry);
        let sealed = specification.credentials();
        Draft { tool: Tool::clone(&entry.record), specification, sealed }
    }

    /// The filter of a REST tool, if it has one.
    pub fn filter(&self) -> Option<&str> {
        self.specification.rest.get("jsonpath_filter").and_then(Value::as_str)
    }

    /// The record to be stored. Credentials that did not change stay sealed as they are: they may
    /// be sealed under a secret that this process does not have.
    pub fn seal(self, sealer: &Sealer) -> Tool {
        let mut tool = self.tool;
        if tool.integration_type != IntegrationType::Rest {
            return tool;
        }
        tool.rest = Some(self.specification.text());
        let credentials = self.specification.credentials();
        if credentials != self.sealed || (credentials.is_empty() && tool.auth_type.is_none()) {
            tool.auth_sealed = (!credentials.is_empty()).then(|| sealer.seal(&credentials));
        }
        tool
    }
}

impl Form {
    /// Reads the fields; `outer` are those that stand beside the wrapper of a body, `stored` is the
    /// tool that is to be changed.
    pub fn read(
        fields: &mut Fields,
        outer: Option<&mut Fields>,
        rules: &Rules,
        stored: Option<&ToolEntry>,
    ) -> Form {
        let word = |text: &str| text.to_ascii_uppercase().parse().ok();
        let inner = OwnershipForm::read(fields);
        Form {
            name: name(fields, "name", stored.map(|entry| &*entry.record.name)),
            custom_name: name(fields, "custom_name", None),
            display_name: short_text(fields, "display_name"),
            title: short_text(fields, "title"),
            description: record_form::description(fields, rules),
            input_schema: object_schema(fields, "input_schema"),
            output_schema: object_schema(fields, "output_schema"),
            annotations: annotations(fields),
            extension_metadata: metadata(fields),
            integration_type: fields.word("integration_type", word, "REST"),
            gateway_id: fields.text("gateway_id"),
            deprecated: fields.flag("deprecated"),
            validate_arguments: fields.flag("validate_arguments"),
            enabled: fields.flag("enabled"),
            tags: record_form::tags(fields),
            // Of a tool the contract prefers what stands inside the wrapper.
            ownership: match outer {
                Some(outer) => inner.over(OwnershipForm::read(outer)),
                None => inner,
            },
            rest: RestForm::read(fields, stored),
        }
    }

    /// Lays the fields over a draft, and checks what must fit together.
    pub fn apply(mut self, draft: &mut Draft, fields: &mut Fields, around: &Surroundings<'_>) {
        let is_new = draft.tool.name.is_empty();
        self.refuse_another_type(draft, fields, is_new);
        if is_new && self.name.is_none() {
            fields.missing("name");
        }
        let is_rest = draft.tool.integration_type == IntegrationType::Rest;
        if is_rest {
            self.apply_own(draft, fields, around);
        } else {
            self.apply_foreign(&mut draft.tool, fields);
        }
        self.switch(&mut draft.tool, around.catalog);
        let tool = &mut draft.tool;
        tool.tags = self.tags.unwrap_or_else(|| std::mem::take(&mut tool.tags));
        tool.deprecated = self.deprecated.unwrap_or(tool.deprecated);
        tool.validate_arguments = self.validate_arguments.unwrap_or(tool.validate_arguments);
        if let Some(metadata) = self.extension_metadata {
            tool.extension_metadata =
                (!metadata.is_empty()).then(|| Value::Object(metadata).to_string());
        }
        self.ownership.apply(&mut tool.ownership, fields);
        rename(tool, self.name, self.custom_name, fields, around);
        if let Some(display_name) = self.display_name {
            tool.display_name = Some(display_name).filter(|text| !text.is_empty());
        }
        let technical = tool.custom_name.as_ref().unwrap_or(&tool.original_name);
        tool.display_name.get_or_insert_with(|| naming::display_name(technical));
        if is_rest {
            tool.definition = define(tool, self.input_schema, self.output_schema, self.annotations);
        }
    }

    /// Tools of upstreams and agents come and go with these, and none becomes another's.
    fn refuse_another_type(&self, draft: &Draft, fields: &mut Fields, is_new: bool) {
        let is_other = |kind: IntegrationType| kind != draft.tool.integration_type;
        if !self.integration_type.is_some_and(is_other) {
            return;
        }
        fields.error(
            "integration_type",
            match is_new {
                true => {
                    "Only REST tools are made by hand; those of an MCP server come with POST \
                     /gateways, that of an A2A agent with POST /a2a"
                }
                false => "A tool stays of the integration type that it has",
            },
        );
    }

    /// Of a REST tool everything is ours to say.
    fn apply_own(&mut self, draft: &mut Draft, fields: &mut Fields, around: &Surroundings<'_>) {
        let Draft { tool, specification, .. } = draft;
        if let Some(title) = self.title.take() {
            tool.title = Some(title).filter(|title| !title.is_empty());
        }
        if let Some(description) = self.description.take() {
            tool.original_description = description;
        }
        if let Some(id) = self.gateway_id.take() {
            tool.gateway_id = gateway_id(id, fields, around);
        }
        let rest = std::mem::take(&mut self.rest);
        if let Some(auth) = &rest.auth {
            tool.auth_type = auth.kind;
        }
        rest.apply(specification, fields, around.rules);
    }

    /// Of any other tool we decide how it is called and described here.
    fn apply_foreign(&mut self, tool: &mut Tool, fields: &mut Fields) {
        if let Some(description) = self.description.take() {
            let is_override = description != tool.original_description;
            tool.custom_description = description.filter(|_| is_override);
        }
        let definition: Map<String, Value> =
            serde_json::from_str(&tool.definition).unwrap_or_default();
        let sent = [
            ("input_schema", "inputSchema", self.input_schema.take()),
            ("output_schema", "outputSchema", self.output_schema.take()),
            ("annotations", "annotations", self.annotations.take()),
        ];
        for (field, name, value) in sent {
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            if definition.get(name) != Some(&Value::Object(value)) {
                let owner = "This belongs to the server that has the tool, and changes there";
                fields.hidden_error(field, owner);
            }
        }
    }

    /// Switches the tool, if the request says otherwise than what reading shows: a tool whose
    /// upstream is off is shown as switched off, and whoever sends that back means no change.
    fn switch(&self, tool: &mut Tool, catalog: &Catalog) {
        let is_active = super::offers::is_active(catalog, tool);
        if let Some(enabled) = self.enabled.filter(|enabled| *enabled != is_active) {
            tool.enabled = enabled;
        }
    }
}

/// A technical name, of what clients of MCP may meet in one. `shown` is what reading gives, which
/// may come back as it is. An empty custom name takes the custom one away.
fn name(fields: &mut Fields, field: &str, shown: Option<&str>) -> Option<String> {
    let name = fields.text(field)?;
    if Some(&*name) == shown {
        return Some(name);
    }
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "_.-/".contains(letter);
    let max = naming::NAME_LENGTH_MAX;
    let is_cleared = name.is_empty() && field == "custom_name";
    if (name.is_empty() && !is_cleared) || name.chars().count() > max {
        fields.error(field, format!("A tool's name must have 1 to {max} characters"));
    } else if !name.chars().all(is_allowed) {
        fields.error(field, "A tool's name may contain letters, digits and _ . - / only");
    }
    Some(name)
}

fn short_text(fields: &mut Fields, name: &str) -> Option<String> {
    let text = fields.text(name)?;
    if text.chars().count() > TITLE_LENGTH_MAX {
        fields.error(name, format!("Input should have at most {TITLE_LENGTH_MAX} characters"));
    }
    Some(text)
}

/// A JSON Schema of an object, which is all that MCP has for tools.
fn object_schema(fields: &mut Fields, name: &str) -> Option<Map<String, Value>> {
    let mut object = fields.object(name)?;
    if object.is_empty() {
        return Some(object);
    }
    let kind = object.entry("type").or_insert_with(|| json!("object"));
    if kind != "object" {
        fields.hidden_error(name, "The schema of a tool must have the type \"object\"");
    } else if let Err(sentence) = schema::check(&Value::Object(object.clone()).to_string()) {
        fields.hidden_error(name, sentence);
    }
    Some(object)
}

fn annotations(fields: &mut Fields) -> Option<Map<String, Value>> {
    let object = fields.object("annotations")?;
    let is_flag = |value: Option<&Value>| value.is_none_or(Value::is_boolean);
    for hint in HINTS.iter().filter(|hint| !is_flag(object.get(**hint))) {
        fields.error("annotations", format!("{hint} should be true or false"));
    }
    if object.get("title").is_some_and(|title| !title.is_string()) {
        fields.error("annotations", "title should be a text");
    }
    Some(object)
}

fn metadata(fields: &mut Fields) -> Option<Map<String, Value>> {
    let object = fields.object("extension_metadata")?;
    if Value::Object(object.clone()).to_string().len() > METADATA_SIZE_MAX {
        let message = format!("Metadata may have at most {METADATA_SIZE_MAX} bytes");
        fields.hidden_error("extension_metadata", message);
    }
    Some(object)
}

/// The upstream that a REST tool is listed with.
fn gateway_id(id: String, fields: &mut Fields, around: &Surroundings<'_>) -> Option<String> {
    if id.is_empty() {
        return None;
    }
    let found = around.catalog.upstream(&id);
    if !found.is_some_and(|found| may_read(around.caller, &*found.record)) {
        fields.error("gateway_id", format!("There is no gateway with id {id}"));
    }
    Some(id)
}

/// Gives a tool its names.
///
/// `name` is what reading shows of the name that clients call. Another one renames the tool: its
/// own name, if it is ours, or else the name that it has here.
fn rename(
    tool: &mut Tool,
    name: Option<String>,
    custom_name: Option<String>,
    fields: &mut Fields,
    around: &Surroundings<'_>,
) {
    let is_rest = tool.integration_type == IntegrationType::Rest;
    let shown = tool.custom_name.as_ref().unwrap_or(&tool.original_name).clone();
    let custom_name = custom_name.filter(|name| *name != shown);
    let name = name.filter(|name| *name != tool.name);
    match (name, is_rest) {
        (Some(name), true) => {
            tool.original_name = name;
            tool.custom_name = None;
        }
        (Some(name), false) => tool.custom_name = Some(name),
        (None, _) => {}
    }
    if let Some(custom_name) = custom_name {
        tool.custom_name = Some(custom_name).filter(|name| !name.is_empty());
    }
    let separator = around.rules.separator;
    let own = tool.custom_name.as_ref().unwrap_or(&tool.original_name);
    tool.custom_name_slug = naming::slug(own, separator);
    let gateway = match tool.integration_type {
        IntegrationType::Mcp => tool.gateway_id.as_deref(),
        IntegrationType::Rest | IntegrationType::A2a => None,
    };
    let gateway = gateway.and_then(|id| around.catalog.upstream(id));
    let offered = match gateway {
        Some(gateway) => {
            naming::offered_name(&gateway.record.slug, separator, &tool.custom_name_slug)
        }
        None => naming::own_name(&tool.custom_name_slug),
    };
    match offered {
        Ok(name) => tool.name = name,
        Err(reason) if !own.is_empty() => fields.error("name", reason),
        Err(_) => {}
    }
}

/// The tool object of a REST tool, as MCP lists it. What is not sent stays; what is sent empty
/// goes, but for the input schema, which every tool has.
fn define(
    tool: &Tool,
    input_schema: Option<Map<String, Value>>,
    output_schema: Option<Map<String, Value>>,
    annotations: Option<Map<String, Value>>,
) -> String {
    let mut former: Map<String, Value> = serde_json::from_str(&tool.definition).unwrap_or_default();
    let mut choose = |name: &str, sent: Option<Map<String, Value>>| match sent {
        Some(sent) => Some(Value::Object(sent)).filter(|sent| sent != &json!({})),
        None => former.remove(name),
    };
    let empty = || json!({"type": "object", "properties": {}});
    let input_schema = choose("inputSchema", input_schema).unwrap_or_else(empty);
    let parts = [
        ("name", Some(json!(tool.original_name))),
        ("title", tool.title.as_ref().map(|title| json!(title))),
        ("description", tool.original_description.as_ref().map(|text| json!(text))),
        ("inputSchema", Some(input_schema)),
        ("outputSchema", choose("outputSchema", output_schema)),
        ("annotations", choose("annotations", annotations)),
    ];
    let parts = parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), part?)));
    Value::Object(parts.collect()).to_string()
}
