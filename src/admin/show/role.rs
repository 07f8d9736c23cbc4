//! Roles, and who has them, as the API shows them.

use schemars::JsonSchema;
use serde::Serialize;
use storage::record::Role;

use super::Time;
use crate::auth::held::{Held, Source};
use crate::auth::why::words;
use crate::catalog::People;

/// A role.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Role")]
pub struct RoleRead<'a> {
    id: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    scope: &'static str,
    permissions: &'a [String],
    /// With those that it inherits.
    effective_permissions: Vec<&'static str>,
    inherits_from: Option<&'a str>,
    created_by: &'a str,
    is_system_role: bool,
    is_active: bool,
    created_at: Time,
    updated_at: Time,
}

/// A role.
pub fn role<'a>(people: &People, role: &'a Role) -> RoleRead<'a> {
    RoleRead {
        id: &role.id,
        name: &role.name,
        description: role.description.as_deref(),
        scope: role.scope.as_str(),
        permissions: &role.permissions,
        effective_permissions: words(people.permissions_of(&role.id)),
        inherits_from: role.inherits_from.as_deref(),
        created_by: &role.created_by,
        is_system_role: role.is_system_role,
        is_active: role.is_active,
        created_at: Time(role.created_at),
        updated_at: Time(role.updated_at),
    }
}

/// A role that a user has.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserRole")]
pub struct UserRoleRead {
    /// The id of the assignment, or of the membership that brings the role.
    id: String,
    user_email: String,
    role_id: String,
    role_name: String,
    scope: &'static str,
    scope_id: Option<String>,
    granted_by: String,
    granted_at: Time,
    expires_at: Option<Time>,
    is_active: bool,
    /// `manual` for what was given, `membership` for what a team brings, `default` for the role of
    /// users whom the database does not know.
    grant_source: &'static str,
}

/// A role that a user has, as it stands now.
pub fn user_role(email: &str, held: &Held<'_>, now: i64) -> UserRoleRead {
    let (id, granted_by, granted_at, expires_at) = match held.source {
        Source::Given(grant) => {
            (grant.id.clone(), grant.granted_by.clone(), grant.granted_at, grant.expires_at)
        }
        Source::Member(member) => {
            let by = member.invited_by.clone().unwrap_or_else(|| member.user_email.clone());
            (member.id.clone(), by, member.joined_at, None)
        }
        Source::Unrecorded => ("default".to_owned(), "system".to_owned(), 0, None),
    };
    UserRoleRead {
        id,
        user_email: email.to_owned(),
        role_id: held.role_id.clone(),
        role_name: held.role_name.clone(),
        scope: held.scope.as_str(),
        scope_id: held.team_id.map(str::to_owned),
        granted_by,
        granted_at: Time(granted_at),
        expires_at: expires_at.map(Time),
        is_active: held.is_active(now),
        grant_source: held.origin(),
    }
}
