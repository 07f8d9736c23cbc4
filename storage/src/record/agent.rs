//! An A2A agent: where it answers, how to speak to it, what it can do.

use super::audit::{Audit, Ownership};
use super::gateway::AuthType;

/// An agent that speaks the A2A protocol, or that is called like one; it is offered as a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The id.
    pub id: String,
    /// The name that people gave it.
    pub name: String,
    /// The name made fit for a tool's; unique (see [`Ownership`]).
    pub slug: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where it answers.
    pub endpoint_url: String,
    /// How it is spoken to: `generic`, `jsonrpc`, `custom`, `openai`, `anthropic` and others.
    pub agent_type: String,
    /// The revision of the A2A protocol, as `1.0`.
    pub protocol_version: String,
    /// What it can do: JSON text of an object.
    pub capabilities: String,
    /// What its operator set: JSON text of an object.
    pub config: String,
    /// How we prove ourselves to it.
    pub auth_type: Option<AuthType>,
    /// The headers that do so, sealed (see [`crate::seal`]).
    pub auth_sealed: Option<String>,
    /// The caller's headers to hand on; `None` follows the setting.
    pub passthrough_headers: Option<Vec<String>>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Switched on by people.
    pub enabled: bool,
    /// It answered when last asked.
    pub reachable: bool,
    /// Whose it is.
    pub ownership: Ownership,
    /// Who made and changed it.
    pub audit: Audit,
}

impl Default for Agent {
    /// An agent without a name, switched on and thought reachable.
    fn default() -> Self {
        Agent {
            id: String::new(),
            name: String::new(),
            slug: String::new(),
            description: None,
            endpoint_url: String::new(),
            agent_type: "generic".to_owned(),
            protocol_version: "1.0".to_owned(),
            capabilities: "{}".to_owned(),
            config: "{}".to_owned(),
            auth_type: None,
            auth_sealed: None,
            passthrough_headers: None,
            tags: Vec::new(),
            enabled: true,
            reachable: true,
            ownership: Ownership::default(),
            audit: Audit::default(),
        }
    }
}
