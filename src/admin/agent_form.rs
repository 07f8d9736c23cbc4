//! What a request says of an A2A agent, checked, and laid over what is stored.

use serde_json::Value;
use storage::record::Agent;
use storage::seal::Sealer;

use super::Rules;
use super::credentials::{self, Auth, Stored, Ways};
use super::fields::Fields;
use super::gateway_form::{check_url, passthrough_headers};
use super::record_form::{self, OwnershipForm};
use crate::catalog::{AgentEntry, naming};

/// The longest type of an agent and the longest revision of its protocol, in characters.
const WORD_LENGTH_MAX: usize = 64;

/// The most bytes of the objects that people keep with an agent.
const OBJECT_SIZE_MAX: usize = 64 * 1024;

/// The fields of a request, those of the wrapper's outside included.
pub struct Form {
    name: Option<String>,
    slug: Option<String>,
    description: Option<Option<String>>,
    endpoint_url: Option<String>,
    agent_type: Option<String>,
    protocol_version: Option<String>,
    capabilities: Option<String>,
    config: Option<String>,
    auth: Option<Auth>,
    passthrough_headers: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    enabled: Option<bool>,
    ownership: OwnershipForm,
}

impl Form {
    /// Reads the fields; `stored` is the agent that is to be changed.
    pub fn read(
        fields: &mut Fields,
        outer: Option<&mut Fields>,
        rules: &Rules,
        stored: Option<&AgentEntry>,
    ) -> Form {
        let secrets = stored.map_or_else(Stored::default, |stored| {
            Stored::new(stored.record.auth_type, &stored.headers)
        });
        let inner = OwnershipForm::read(fields);
        Form {
            name: record_form::name(fields, rules),
            slug: fields.text("slug").filter(|slug| !slug.is_empty()),
            description: record_form::description(fields, rules),
            endpoint_url: endpoint_url(fields, rules),
            agent_type: word(fields, "agent_type").map(|word| word.to_ascii_lowercase()),
            protocol_version: word(fields, "protocol_version"),
            capabilities: object(fields, "capabilities"),
            config: object(fields, "config"),
            auth: credentials::read_auth(fields, secrets, Ways::HeadersOrQuery),
            passthrough_headers: passthrough_headers(fields),
            tags: record_form::tags(fields),
            enabled: fields.flag("enabled"),
            ownership: match outer {
                Some(outer) => OwnershipForm::read(outer).over(inner),
                None => inner,
            },
        }
    }

    /// Lays the fields over a record, whose secrets `stored` has opened.
    pub fn apply(
        self,
        agent: &mut Agent,
        fields: &mut Fields,
        rules: &Rules,
        sealer: &Sealer,
        stored: &[(String, String)],
    ) {
        let is_new = agent.name.is_empty();
        let is_renamed = self.name.as_ref().is_some_and(|name| *name != agent.name);
        match self.name {
            Some(name) => agent.name = name,
            None if is_new => fields.missing("name"),
            None => {}
        }
        if is_new || is_renamed || self.slug.is_some() {
            let text = self.slug.as_deref().unwrap_or(&agent.name);
            agent.slug = naming::slug(text, rules.separator);
            if agent.slug.is_empty() && self.slug.is_some() {
                fields.error("slug", "Slug must contain a letter or a digit");
            }
        }
        match self.endpoint_url {
            Some(url) => agent.endpoint_url = url,
            None if is_new => fields.missing("endpoint_url"),
            None => {}
        }
        set(&mut agent.description, self.description);
        set(&mut agent.agent_type, self.agent_type);
        set(&mut agent.protocol_version, self.protocol_version);
        set(&mut agent.capabilities, self.capabilities);
        set(&mut agent.config, self.config);
        set(&mut agent.passthrough_headers, self.passthrough_headers.map(Some));
        set(&mut agent.tags, self.tags);
        set(&mut agent.enabled, self.enabled);
        self.ownership.apply(&mut agent.ownership, fields);
        if let Some(auth) = self.auth {
            agent.auth_type = auth.kind;
            // What was sent back as it was read stays sealed as it is.
            let is_same = auth.headers.iter().eq(stored.iter().map(|(key, value)| (key, value)));
            if !is_same || auth.kind.is_none() {
                let is_none = auth.headers.is_empty();
                agent.auth_sealed = (!is_none).then(|| sealer.seal(&auth.headers));
            }
        }
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn endpoint_url(fields: &mut Fields, rules: &Rules) -> Option<String> {
    let text = fields.text("endpoint_url")?;
    if let Err(problem) = check_url(&text, rules.url_length_max) {
        // A password in a URL is a secret too.
        match text.contains('@') {
            true => fields.hidden_error("endpoint_url", problem),
            false => fields.error("endpoint_url", problem),
        }
    }
    Some(text)
}

/// A short word such as `jsonrpc` or `1.0`; the empty one says nothing.
fn word(fields: &mut Fields, name: &str) -> Option<String> {
    let text = fields.text(name).filter(|text| !text.is_empty())?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if text.len() > WORD_LENGTH_MAX || !text.bytes().all(is_allowed) {
        let message =
            format!("Input should have up to {WORD_LENGTH_MAX} letters, digits and _ . -");
        fields.error(name, message);
    }
    Some(text)
}

/// A JSON object, as text.
fn object(fields: &mut Fields, name: &str) -> Option<String> {
    let text = match fields.given(name)? {
        value @ Value::Object(_) => Some(value.to_string()),
        _ => None,
    };
    match &text {
        None => fields.hidden_error(name, "Input should be an object"),
        Some(text) if text.len() > OBJECT_SIZE_MAX => {
            let message = format!("Input should have at most {OBJECT_SIZE_MAX} bytes");
            fields.hidden_error(name, message);
        }
        Some(_) => {}
    }
    text
}
