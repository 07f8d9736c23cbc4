//! The roles that every gateway has, as ContextForge 1.x has them.

use storage::record::{Role, Scope};

use crate::permission::PermissionSet;

/// A role that is there from the start and that nobody changes.
#[derive(Debug)]
pub struct BuiltIn {
    /// Its id: the same everywhere, so that many processes may write it at once.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Where it counts.
    pub scope: Scope,
    /// What it permits.
    pub permissions: &'static [&'static str],
}

impl BuiltIn {
    /// What it permits, as a set.
    pub fn set(&self) -> PermissionSet {
        PermissionSet::of_words(self.permissions.iter().copied())
    }

    /// The record that is stored of it, made at a time in microseconds since the epoch.
    pub fn record(&self, at: i64) -> Role {
        Role {
            id: self.id.to_owned(),
            name: self.name.to_owned(),
            description: Some(self.description.to_owned()),
            scope: self.scope,
            permissions: self.permissions.iter().map(ToString::to_string).collect(),
            inherits_from: None,
            is_system_role: true,
            is_active: true,
            created_by: "system".to_owned(),
            created_at: at,
            updated_at: at,
            version: 1,
        }
    }
}

/// Finds a built-in role by its name.
pub fn named(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|role| role.name == name)
}

/// The roles. A viewer also reads tags, and the roles that call tools may call agents, since an agent
/// is offered as a tool: ContextForge leaves both to administrators.
pub const BUILT_IN: [BuiltIn; 5] = [
    BuiltIn {
        id: "00000000000000000000000000000001",
        name: "platform_admin",
        description: "Platform administrator with all permissions",
        scope: Scope::Global,
        permissions: &["*"],
    },
    BuiltIn {
        id: "00000000000000000000000000000002",
        name: "team_admin",
        description: "Team administrator with team management permissions",
        scope: Scope::Team,
        permissions: &[
            "admin.dashboard",
            "admin.overview",
            "gateways.read",
            "servers.read",
            "servers.use",
            "teams.read",
            "teams.update",
            "teams.join",
            "teams.delete",
            "teams.manage_members",
            "tools.read",
            "tools.execute",
            "resources.read",
            "prompts.read",
            "tags.read",
            "llm.read",
            "llm.invoke",
            "a2a.read",
            "gateways.create",
            "servers.create",
            "tools.create",
            "resources.create",
            "prompts.create",
            "a2a.create",
            "gateways.update",
            "servers.update",
            "tools.update",
            "resources.update",
            "prompts.update",
            "a2a.update",
            "gateways.delete",
            "servers.delete",
            "tools.delete",
            "resources.delete",
            "prompts.delete",
            "a2a.delete",
            "a2a.invoke",
            "tokens.create",
            "tokens.read",
            "tokens.update",
            "tokens.revoke",
            "tools.manage_plugins",
        ],
    },
    BuiltIn {
        id: "00000000000000000000000000000003",
        name: "developer",
        description: "Developer with tool and resource access",
        scope: Scope::Team,
        permissions: &[
            "admin.dashboard",
            "admin.overview",
            "gateways.read",
            "servers.read",
            "servers.use",
            "teams.read",
            "teams.join",
            "tools.read",
            "tools.execute",
            "resources.read",
            "prompts.read",
            "tags.read",
            "llm.read",
            "llm.invoke",
            "a2a.read",
            "gateways.create",
            "servers.create",
            "tools.create",
            "resources.create",
            "prompts.create",
            "a2a.create",
            "gateways.update",
            "servers.update",
            "tools.update",
            "resources.update",
            "prompts.update",
            "a2a.update",
            "gateways.delete",
            "servers.delete",
            "tools.delete",
            "resources.delete",
            "prompts.delete",
            "a2a.delete",
            "a2a.invoke",
            "tokens.create",
            "tokens.read",
            "tokens.update",
            "tokens.revoke",
        ],
    },
    BuiltIn {
        id: "00000000000000000000000000000004",
        name: "viewer",
        description: "Read access and tool execution within team scope",
        scope: Scope::Team,
        permissions: &[
            "admin.dashboard",
            "admin.overview",
            "gateways.read",
            "servers.read",
            "servers.use",
            "teams.read",
            "teams.join",
            "tools.read",
            "tools.execute",
            "resources.read",
            "prompts.read",
            "tags.read",
            "llm.read",
            "a2a.read",
            "a2a.invoke",
            "tokens.create",
            "tokens.read",
            "tokens.update",
            "tokens.revoke",
        ],
    },
    BuiltIn {
        id: "00000000000000000000000000000005",
        name: "platform_viewer",
        description: "Read-only access to resources and admin UI",
        scope: Scope::Global,
        permissions: &[
            "admin.dashboard",
            "admin.overview",
            "gateways.read",
            "servers.read",
            "servers.use",
            "teams.create",
            "teams.read",
            "teams.join",
            "tools.read",
            "resources.read",
            "prompts.read",
            "tags.read",
            "llm.read",
            "a2a.read",
            "tokens.create",
            "tokens.read",
            "tokens.update",
            "tokens.revoke",
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_role_is_a_permission() {
        for role in &BUILT_IN {
            let words = role.permissions.iter().filter(|word| **word != "*");
            for word in words {
                assert!(word.parse::<crate::permission::Permission>().is_ok(), "{word}");
            }
            assert!(!role.set().is_empty());
        }
        assert!(named("viewer").is_some() && named("nobody").is_none());
    }
}
