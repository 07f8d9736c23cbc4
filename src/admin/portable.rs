//! The kinds of entities that exports hold, in the order in which they may refer to each other.

use std::fmt;

use serde::{Deserialize, Serialize};
use storage::record::{Ownership, Visibility};

use crate::catalog::naming::Circle;

/// A kind of entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Gateways,
    A2aAgents,
    Tools,
    Resources,
    Prompts,
    Servers,
    Roots,
}

/// Every kind, in the order of dependency.
pub const KINDS: [Kind; 7] = [
    Kind::Gateways,
    Kind::A2aAgents,
    Kind::Tools,
    Kind::Resources,
    Kind::Prompts,
    Kind::Servers,
    Kind::Roots,
];

impl Kind {
    /// The kind with this name.
    pub fn of(name: &str) -> Option<Kind> {
        let name = if name == "agents" { "a2a_agents" } else { name };
        KINDS.into_iter().find(|kind| kind.name() == name)
    }

    /// The name of its list in an export.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Gateways => "gateways",
            Kind::A2aAgents => "a2a_agents",
            Kind::Tools => "tools",
            Kind::Resources => "resources",
            Kind::Prompts => "prompts",
            Kind::Servers => "servers",
            Kind::Roots => "roots",
        }
    }

    /// One of it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Gateways => "gateway",
            Kind::A2aAgents => "agent",
            Kind::Tools => "tool",
            Kind::Resources => "resource",
            Kind::Prompts => "prompt",
            Kind::Servers => "server",
            Kind::Roots => "root",
        }
    }

    /// The path of its collection.
    pub fn path(self) -> &'static str {
        match self {
            Kind::Gateways => "/gateways",
            Kind::A2aAgents => "/a2a",
            Kind::Tools => "/tools",
            Kind::Resources => "/resources",
            Kind::Prompts => "/prompts",
            Kind::Servers => "/servers",
            Kind::Roots => "/roots",
        }
    }

    /// The field by which one is known.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Resources | Kind::Roots => "uri",
            _ => "name",
        }
    }

    /// Whether one can be switched off.
    pub fn has_state(self) -> bool {
        self != Kind::Roots
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The circle within which a name is taken, as a key.
pub fn circle(ownership: &Ownership) -> String {
    match Circle::of(ownership) {
        Circle::Everyone => String::new(),
        Circle::Team(id) => format!("team:{id}"),
        Circle::User(email) => format!("user:{email}"),
    }
}

/// Whose an exported entity is; without a word of it, it is everybody's.
pub fn ownership(entity: &serde_json::Map<String, serde_json::Value>, email: &str) -> Ownership {
    let text = |name: &str| entity.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let visibility = text("visibility").and_then(|text| text.parse().ok());
    Ownership {
        team_id: text("team_id"),
        owner_email: text("owner_email").or_else(|| Some(email.to_owned())),
        visibility: visibility.unwrap_or(Visibility::Public),
    }
}
