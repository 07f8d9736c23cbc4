//! The kinds of entities that exports hold, in the order in which they may refer to each other.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use storage::record::{Ownership, Visibility};

use crate::catalog::People;
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

/// The field that names the team of an entity: ids differ from gateway to gateway.
pub const TEAM_SLUG: &str = "team_slug";

/// Gives an exported entity the id that its team has here. A team that is not here is left out, and
/// what it shared is its owner's alone; says so then.
pub fn settle_team(entity: &mut Map<String, Value>, people: &People) -> Option<String> {
    let slug = entity.remove(TEAM_SLUG);
    let id = entity.remove("team_id").filter(|id| !id.is_null());
    let slug = slug.as_ref().and_then(Value::as_str);
    let by_slug = slug.and_then(|slug| people.teams().find(|team| team.slug == slug));
    let by_id = || people.team(id.as_ref()?.as_str()?);
    if let Some(team) = by_slug.or_else(by_id).filter(|team| team.is_active) {
        entity.insert("team_id".to_owned(), team.id.clone().into());
        return None;
    }
    let named = slug.or_else(|| id.as_ref().and_then(Value::as_str))?;
    let is_shared = entity.get("visibility").is_some_and(|visibility| visibility == "team");
    if is_shared {
        entity.insert("visibility".to_owned(), "private".into());
    }
    Some(match is_shared {
        true => format!("its team {named} is not here, so it is private to its owner"),
        false => format!("its team {named} is not here, so it is of none"),
    })
}

/// Whose an exported entity is; without a word of it, it is everybody's.
pub fn ownership(entity: &Map<String, Value>, email: &str) -> Ownership {
    let text = |name: &str| entity.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let visibility = text("visibility").and_then(|text| text.parse().ok());
    Ownership {
        team_id: text("team_id"),
        owner_email: text("owner_email").or_else(|| Some(email.to_owned())),
        visibility: visibility.unwrap_or(Visibility::Public),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use storage::record::Team;

    use super::*;

    #[test]
    fn a_team_is_found_by_its_slug_and_what_an_absent_one_shared_is_private() {
        let mut people = People::default();
        let text = str::to_owned;
        let team =
            Team { id: text("here"), slug: text("blue"), is_active: true, ..Team::default() };
        people.put(team.into());
        for (entity, expected, is_told) in [
            (
                json!({"team_slug": "blue", "team_id": "there", "visibility": "team"}),
                json!({"visibility": "team", "team_id": "here"}),
                false,
            ),
            (json!({"team_id": "here"}), json!({"team_id": "here"}), false),
            (
                json!({"team_slug": "red", "team_id": "there", "visibility": "team"}),
                json!({"visibility": "private"}),
                true,
            ),
            (
                json!({"team_id": "there", "visibility": "public"}),
                json!({"visibility": "public"}),
                true,
            ),
            (json!({"name": "x"}), json!({"name": "x"}), false),
        ] {
            let mut settled = entity.as_object().unwrap().clone();
            let told = settle_team(&mut settled, &people);
            assert_eq!((Value::Object(settled), told.is_some()), (expected, is_told), "{entity}");
        }
    }
}
