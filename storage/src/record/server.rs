//! A virtual server: a choice of tools, resources and prompts under one address.

use super::audit::{Audit, Ownership};

/// A virtual server.
///
/// The lists of ids keep the order they were given. Deleting a tool, resource, prompt or upstream
/// takes its id out of every list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The id, which is also its address: `/servers/{id}/mcp`.
    pub id: String,
    /// Its name; unique (see [`Ownership`]).
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The URL of a picture.
    pub icon: Option<String>,
    /// The tools chosen one by one.
    pub associated_tools: Vec<String>,
    /// The resources chosen one by one.
    pub associated_resources: Vec<String>,
    /// The prompts chosen one by one.
    pub associated_prompts: Vec<String>,
    /// The A2A agents chosen one by one; each is offered as a tool.
    pub associated_a2a_agents: Vec<String>,
    /// Upstreams of which everything belongs, whatever they offer at the time.
    pub associated_gateways: Vec<String>,
    /// What stands before tool names: `None` is the contract's naming, empty is the upstream's
    /// own names.
    pub tool_prefix: Option<String>,
    /// Other names and descriptions for tools here: JSON text of an object, the tool's id to
    /// `{"name", "description"}`.
    pub tool_overrides: Option<String>,
    /// A caller must prove who it is.
    pub auth_required: bool,
    /// Tokens of authorization servers open it (OAuth 2.1).
    pub oauth_enabled: bool,
    /// Which, and what for: JSON text of an object.
    pub oauth_config: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Switched on by people.
    pub enabled: bool,
    /// Whose it is.
    pub ownership: Ownership,
    /// Who made and changed it.
    pub audit: Audit,
}

impl Default for Server {
    /// A server without a name, empty, switched on and for known callers only.
    fn default() -> Self {
        Server {
            id: String::new(),
            name: String::new(),
            description: None,
            icon: None,
            associated_tools: Vec::new(),
            associated_resources: Vec::new(),
            associated_prompts: Vec::new(),
            associated_a2a_agents: Vec::new(),
            associated_gateways: Vec::new(),
            tool_prefix: None,
            tool_overrides: None,
            auth_required: true,
            oauth_enabled: false,
            oauth_config: None,
            tags: Vec::new(),
            enabled: true,
            ownership: Ownership::default(),
            audit: Audit::default(),
        }
    }
}
