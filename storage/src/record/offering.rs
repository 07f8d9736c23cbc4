//! What upstreams offer: tools, resources and prompts.
//!
//! Each keeps the `definition` exactly as the upstream sent it; the columns beside it are what is
//! searched, joined or overridden.

use super::audit::{Audit, Ownership};
use super::gateway::AuthType;
use super::text::text_enum;

/// A tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The id.
    pub id: String,
    /// The upstream that has it; `None` for our own.
    pub gateway_id: Option<String>,
    /// The agent that it calls, for [`IntegrationType::A2a`].
    pub agent_id: Option<String>,
    /// The upstream's name for it.
    pub original_name: String,
    /// A name that people gave it instead.
    pub custom_name: Option<String>,
    /// The custom name, or else the original one, made fit for [`Tool::name`].
    pub custom_name_slug: String,
    /// The name that clients call; unique (see [`Ownership`]).
    pub name: String,
    /// The name for people.
    pub display_name: Option<String>,
    /// The upstream's title for it.
    pub title: Option<String>,
    /// The upstream's description.
    pub original_description: Option<String>,
    /// A description that people gave it instead.
    pub custom_description: Option<String>,
    /// Where its calls go.
    pub integration_type: IntegrationType,
    /// The tool object as the upstream listed it: JSON text, byte for byte.
    pub definition: String,
    /// What only a REST tool has (`url`, `request_type`, `headers`, the passthrough fields):
    /// JSON text. One column and not fifteen, since they are read together, never searched, and
    /// null for every tool of an MCP upstream.
    pub rest: Option<String>,
    /// How a REST tool proves us to its service.
    pub auth_type: Option<AuthType>,
    /// The headers that do so, sealed (see [`crate::seal`]); a key that begins with `?` is a
    /// query parameter.
    pub auth_sealed: Option<String>,
    /// Kept for those who use it already.
    pub deprecated: bool,
    /// Arguments are checked against the input schema before a call.
    pub validate_arguments: bool,
    /// What people keep with it: JSON text of an object.
    pub extension_metadata: Option<String>,
    /// Its place in the upstream's own list, from 0.
    pub position: i64,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Switched on by people.
    pub enabled: bool,
    /// Its upstream answered when last asked.
    pub reachable: bool,
    /// Whose it is.
    pub ownership: Ownership,
    /// Who made and changed it.
    pub audit: Audit,
}

impl Default for Tool {
    /// A tool without a name, of an MCP upstream, switched on and thought reachable.
    fn default() -> Self {
        Tool {
            id: String::new(),
            gateway_id: None,
            agent_id: None,
            original_name: String::new(),
            custom_name: None,
            custom_name_slug: String::new(),
            name: String::new(),
            display_name: None,
            title: None,
            original_description: None,
            custom_description: None,
            integration_type: IntegrationType::default(),
            definition: String::new(),
            rest: None,
            auth_type: None,
            auth_sealed: None,
            deprecated: false,
            validate_arguments: true,
            extension_metadata: None,
            position: 0,
            tags: Vec::new(),
            enabled: true,
            reachable: true,
            ownership: Ownership::default(),
            audit: Audit::default(),
        }
    }
}

text_enum! {
    /// Where the calls of a tool go.
    #[derive(Default)]
    pub enum IntegrationType {
        /// To an MCP upstream.
        #[default]
        Mcp = "MCP",
        /// To a REST service.
        Rest = "REST",
        /// To an A2A agent.
        A2a = "A2A",
    }
}

/// A resource, or a template of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The id.
    pub id: String,
    /// The upstream that has it; `None` for our own.
    pub gateway_id: Option<String>,
    /// Its URI; of a template, the template again. Unique within its upstream.
    pub uri: String,
    /// The template (RFC 6570), if this is one.
    pub uri_template: Option<String>,
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// The media type of its content.
    pub mime_type: Option<String>,
    /// The size of its content in bytes, if known.
    pub size: Option<i64>,
    /// The object as the upstream listed it: JSON text, byte for byte.
    pub definition: String,
    /// What it holds, if it is our own: the text, or base64 (see `is_binary`).
    pub content: Option<String>,
    /// Whether `content` is base64 of bytes.
    pub is_binary: bool,
    /// What people keep with it: JSON text of an object.
    pub extension_metadata: Option<String>,
    /// Its place in the upstream's own list, from 0.
    pub position: i64,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Switched on by people.
    pub enabled: bool,
    /// Whose it is.
    pub ownership: Ownership,
    /// Who made and changed it.
    pub audit: Audit,
}

impl Default for Resource {
    /// A resource without a URI, switched on.
    fn default() -> Self {
        Resource {
            id: String::new(),
            gateway_id: None,
            uri: String::new(),
            uri_template: None,
            name: String::new(),
            title: None,
            description: None,
            mime_type: None,
            size: None,
            definition: String::new(),
            content: None,
            is_binary: false,
            extension_metadata: None,
            position: 0,
            tags: Vec::new(),
            enabled: true,
            ownership: Ownership::default(),
            audit: Audit::default(),
        }
    }
}

/// A prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The id.
    pub id: String,
    /// The upstream that has it; `None` for our own.
    pub gateway_id: Option<String>,
    /// The upstream's name for it.
    pub original_name: String,
    /// A name that people gave it instead.
    pub custom_name: Option<String>,
    /// The custom name, or else the original one, made fit for [`Prompt::name`].
    pub custom_name_slug: String,
    /// The name that clients ask for; unique (see [`Ownership`]).
    pub name: String,
    /// The name for people.
    pub display_name: Option<String>,
    /// The upstream's title for it.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// The prompt object as the upstream listed it: JSON text, byte for byte.
    pub definition: String,
    /// The text of a prompt of our own, a Jinja template.
    pub template: Option<String>,
    /// Its place in the upstream's own list, from 0.
    pub position: i64,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Switched on by people.
    pub enabled: bool,
    /// Whose it is.
    pub ownership: Ownership,
    /// Who made and changed it.
    pub audit: Audit,
}

impl Default for Prompt {
    /// A prompt without a name, switched on.
    fn default() -> Self {
        Prompt {
            id: String::new(),
            gateway_id: None,
            original_name: String::new(),
            custom_name: None,
            custom_name_slug: String::new(),
            name: String::new(),
            display_name: None,
            title: None,
            description: None,
            definition: String::new(),
            template: None,
            position: 0,
            tags: Vec::new(),
            enabled: true,
            ownership: Ownership::default(),
            audit: Audit::default(),
        }
    }
}
