//! What a request says of a virtual server, checked against the catalog, and laid over what is
//! stored.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use storage::record::Server;

use super::fields::Fields;
use super::gateway_form::check_url;
use super::record_form::{self, OwnershipForm, set};
use super::{Rules, may_read, offers, protected};
use crate::auth::Caller;
use crate::catalog::overrides::{Override, Overrides};
use crate::catalog::{Catalog, Entry, Membership, naming};

/// The longest text before the upstream's names, so that names of half the allowed length fit.
const PREFIX_LENGTH_MAX: usize = 64;

/// The most tools that one server calls otherwise.
const OVERRIDE_COUNT_MAX: usize = 1000;

/// How many collisions one error names: enough to see the pattern, short enough to read.
const COLLISION_COUNT_MAX: usize = 10;

/// The fields of a request, those of the wrapper's outside included.
pub struct Form {
    name: Option<String>,
    description: Option<Option<String>>,
    icon: Option<Option<String>>,
    tools: Option<Vec<String>>,
    resources: Option<Vec<String>>,
    prompts: Option<Vec<String>>,
    agents: Option<Vec<String>>,
    gateways: Option<Vec<String>>,
    tool_prefix: Option<Option<String>>,
    tool_overrides: Option<BTreeMap<String, Override>>,
    auth_required: Option<bool>,
    oauth_enabled: Option<bool>,
    oauth_config: Option<Option<String>>,
    tags: Option<Vec<String>>,
    ownership: OwnershipForm,
}

impl Form {
    /// Reads the fields; the lists become ids of records that are there and may be seen.
    pub fn read(
        fields: &mut Fields,
        outer: Option<&mut Fields>,
        rules: &Rules,
        catalog: &Catalog,
        caller: &Caller,
    ) -> Form {
        let choice = Choice { catalog, caller };
        let inner = OwnershipForm::read(fields);
        Form {
            name: record_form::name(fields, rules),
            description: record_form::description(fields, rules),
            icon: icon(fields, rules),
            tools: resolve(fields, "associated_tools", "tool", |text| choice.tool(text)),
            resources: resolve(fields, "associated_resources", "resource", |text| {
                choice.resource(text)
            }),
            prompts: resolve(fields, "associated_prompts", "prompt", |text| choice.prompt(text)),
            agents: resolve(fields, "associated_a2a_agents", "A2A agent", |text| {
                choice.agent(text)
            }),
            gateways: resolve(fields, "associated_gateways", "gateway", |text| {
                choice.gateway(text)
            }),
            tool_prefix: tool_prefix(fields),
            tool_overrides: tool_overrides(fields, rules, &choice),
            auth_required: fields.flag("auth_required"),
            oauth_enabled: fields.flag("oauth_enabled"),
            oauth_config: protected::config(fields, rules, caller),
            tags: record_form::tags(fields),
            ownership: match outer {
                Some(outer) => OwnershipForm::read(outer).over(inner),
                None => inner,
            },
        }
    }

    /// Lays the fields over a record, and checks what must fit together.
    pub fn apply(self, server: &mut Server, fields: &mut Fields, catalog: &Catalog) {
        match (self.name, server.name.is_empty()) {
            (Some(name), _) => server.name = name,
            (None, true) => fields.missing("name"),
            (None, false) => {}
        }
        set(&mut server.description, self.description);
        set(&mut server.icon, self.icon);
        set(&mut server.associated_tools, self.tools);
        set(&mut server.associated_resources, self.resources);
        set(&mut server.associated_prompts, self.prompts);
        set(&mut server.associated_a2a_agents, self.agents);
        set(&mut server.associated_gateways, self.gateways);
        set(&mut server.tool_prefix, self.tool_prefix);
        if let Some(overrides) = self.tool_overrides {
            server.tool_overrides = Overrides::write(&overrides);
        }
        set(&mut server.auth_required, self.auth_required);
        set(&mut server.oauth_enabled, self.oauth_enabled);
        set(&mut server.oauth_config, self.oauth_config);
        // As ContextForge has it: whoever switches it off forgets what it was.
        if self.oauth_enabled == Some(false) {
            server.oauth_config = None;
        }
        if server.oauth_enabled && server.oauth_config.is_none() {
            fields.missing("oauth_config");
        }
        set(&mut server.tags, self.tags);
        self.ownership.apply(&mut server.ownership, fields);
        refuse_collisions(server, fields, catalog);
    }
}

/// Finds what a list names, among what the caller may see.
struct Choice<'a> {
    catalog: &'a Catalog,
    caller: &'a Caller,
}

impl Choice<'_> {
    /// A tool by its id, or by the name that clients call.
    fn tool(&self, text: &str) -> Option<String> {
        let by_name = || self.catalog.tools().find(|tool| tool.record.name == text);
        let found = self.catalog.tool(text).or_else(by_name)?;
        may_read(self.caller, &*found.record).then(|| found.record.id.clone())
    }

    /// A resource by its id, or by its URI.
    fn resource(&self, text: &str) -> Option<String> {
        let by_uri = || self.catalog.resources().find(|resource| resource.record.uri == text);
        let found = self.catalog.resource(text).or_else(by_uri)?;
        may_read(self.caller, &*found.record).then(|| found.record.id.clone())
    }

    /// A prompt by its id, or by the name that clients ask for.
    fn prompt(&self, text: &str) -> Option<String> {
        let by_name = || self.catalog.prompts().find(|prompt| prompt.record.name == text);
        let found = self.catalog.prompt(text).or_else(by_name)?;
        may_read(self.caller, &*found.record).then(|| found.record.id.clone())
    }

    /// An A2A agent by its id, its name or its slug.
    fn agent(&self, text: &str) -> Option<String> {
        let by_name = || {
            let mut agents = self.catalog.agents();
            agents.find(|agent| agent.record.name == text || agent.record.slug == text)
        };
        let found = self.catalog.agent(text).or_else(by_name)?;
        may_read(self.caller, &*found.record).then(|| found.record.id.clone())
    }

    /// An upstream by its id, its name or its slug.
    fn gateway(&self, text: &str) -> Option<String> {
        let by_name = || {
            self.catalog
                .upstreams()
                .find(|upstream| upstream.record.name == text || upstream.record.slug == text)
        };
        let found = self.catalog.upstream(text).or_else(by_name)?;
        may_read(self.caller, &*found.record).then(|| found.record.id.clone())
    }
}

/// A list as ids, each once; what is not there is named, all of it.
fn resolve(
    fields: &mut Fields,
    name: &str,
    kind: &str,
    find: impl Fn(&str) -> Option<String>,
) -> Option<Vec<String>> {
    let texts = fields.list(name)?;
    let mut seen = HashSet::new();
    let mut ids = Vec::new();
    let mut unknown = Vec::new();
    for text in texts {
        match find(&text) {
            Some(id) if seen.insert(id.clone()) => ids.push(id),
            Some(_) => {}
            None => unknown.push(text),
        }
    }
    if !unknown.is_empty() {
        let message = format!("There is no {kind} with id {}", unknown.join(", nor "));
        fields.error(name, message);
    }
    Some(ids)
}

fn icon(fields: &mut Fields, rules: &Rules) -> Option<Option<String>> {
    let text = fields.text("icon")?;
    if text.is_empty() {
        return Some(None);
    }
    if let Err(problem) = check_url(&text, rules.url_length_max) {
        fields.error("icon", problem);
    }
    Some(Some(text))
}

/// The text before the upstream's own names; null for the contract's naming.
fn tool_prefix(fields: &mut Fields) -> Option<Option<String>> {
    if fields.is_null("tool_prefix") {
        return Some(None);
    }
    let text = fields.text("tool_prefix")?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if text.len() > PREFIX_LENGTH_MAX || !text.bytes().all(is_allowed) {
        let message = format!(
            "Tool prefix may have up to {PREFIX_LENGTH_MAX} letters, digits and _ . -; null is \
             the usual naming, the empty text the upstream's own names"
        );
        fields.error("tool_prefix", message);
    }
    Some(Some(text))
}

/// Other names and descriptions of tools: an object from a tool's id or name to `{"name",
/// "description"}`. What reading shows of a tool that is gone by now is left out.
fn tool_overrides(
    fields: &mut Fields,
    rules: &Rules,
    choice: &Choice<'_>,
) -> Option<BTreeMap<String, Override>> {
    let object = fields.object("tool_overrides")?;
    if object.len() > OVERRIDE_COUNT_MAX {
        let message = format!("At most {OVERRIDE_COUNT_MAX} tools may be called otherwise");
        fields.hidden_error("tool_overrides", message);
    }
    let mut overrides = BTreeMap::new();
    for (key, value) in object.into_iter().take(OVERRIDE_COUNT_MAX) {
        let place = format!("tool_overrides.{key}");
        let Ok(Override { name, description }) = serde_json::from_value(value) else {
            fields.hidden_error(&place, r#"Input should be {"name": text, "description": text}"#);
            continue;
        };
        let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
        let max = naming::NAME_LENGTH_MAX;
        if name.as_ref().is_some_and(|name| name.len() > max || !name.bytes().all(is_allowed)) {
            let message = format!("A name may have up to {max} letters, digits and _ . - /");
            fields.hidden_error(&place, message);
        }
        let cut = |text: String| text.chars().take(rules.description_length_max).collect();
        let description = description.map(cut).filter(|text: &String| !text.trim().is_empty());
        let is_id = uuid::Uuid::try_parse(&key).is_ok();
        match choice.tool(&key) {
            _ if name.is_none() && description.is_none() => {}
            Some(id) => drop(overrides.insert(id, Override { name, description })),
            None if is_id => {}
            None => fields.hidden_error(&place, format!("There is no tool {key}")),
        }
    }
    Some(overrides)
}

/// Under the names that the server gives, two tools may want one: that is refused while it is so.
fn refuse_collisions(server: &Server, fields: &mut Fields, catalog: &Catalog) {
    let field = match (&server.tool_overrides, &server.tool_prefix) {
        (Some(_), _) => "tool_overrides",
        (None, Some(_)) => "tool_prefix",
        // The usual names are unique already.
        (None, None) => return,
    };
    let overrides = Overrides::read(server.tool_overrides.as_deref());
    let membership = Membership::Server(server, &overrides);
    let members = offers::members(catalog, server);
    let mut holders: BTreeMap<(&str, Arc<str>), &str> = BTreeMap::new();
    let mut collisions = Vec::new();
    for entry in &members {
        let (kind, name, usual) = match entry {
            Entry::Tool(entry) => {
                ("tools", membership.tool_name(&entry.record), &entry.record.name)
            }
            Entry::Prompt(entry) => {
                ("prompts", membership.prompt_name(&entry.record), &entry.record.name)
            }
            Entry::Resource(_) => continue,
        };
        if let Some(other) = holders.insert((kind, name.clone()), usual) {
            collisions.push(format!("the {kind} {other} and {usual} would both be {name}"));
        }
    }
    if collisions.is_empty() {
        return;
    }
    let more = collisions.len().saturating_sub(COLLISION_COUNT_MAX);
    collisions.truncate(COLLISION_COUNT_MAX);
    let mut message = format!("Names collide: {}", collisions.join("; "));
    if more > 0 {
        message.push_str(&format!("; and {more} more"));
    }
    let advice = ". Choose another tool_prefix (null is the usual naming), other names in \
                  tool_overrides, or fewer tools";
    fields.error(field, message + advice);
}
