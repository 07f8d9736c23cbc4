//! The tables of users, teams, roles, tokens, policies and identity providers.

use std::sync::LazyLock;

use super::{Cell, Table, Value, select_sql, upsert_sql};
use crate::error::StoreError;
use crate::record::{
    ApiToken, Entity, Grant, Identity, Invitation, JoinRequest, Member, Policy, Provider,
    Revocation, Role, Team, User,
};

/// A table of identity, for those who read them all alike.
pub(crate) struct IdentityTable {
    pub entity: Entity,
    /// `SELECT` of all rows; a `WHERE` may follow.
    pub select: fn() -> &'static str,
    /// The record of the cells of a row.
    pub decode: Decode,
}

/// Makes a record of the cells that a function gives by index.
type Decode =
    for<'c, 'r> fn(&'c dyn Fn(usize) -> Result<Value<'r>, String>) -> Result<Identity, StoreError>;

/// Lists the tables, and finds the one of a record.
macro_rules! identity_tables {
    ($($record:ident,)+) => {
        /// Every table of identity, those that others refer to first.
        pub(crate) const IDENTITY_TABLES: [IdentityTable; [$(Entity::$record),+].len()] = [
            $(IdentityTable {
                entity: Entity::$record,
                select: <$record as Table>::select,
                decode: |cell| <$record as Table>::decode(cell).map(Identity::from),
            },)+
        ];

        /// The name of the table of a kind of record, which must be one of these.
        pub(super) fn name_of(entity: Entity) -> &'static str {
            match entity {
                $(Entity::$record => <$record as Table>::NAME,)+
                other => unreachable!("{other} has no table of identity"),
            }
        }

        impl Identity {
            /// `INSERT` of one row, or `UPDATE` of the row with its id.
            pub(crate) fn upsert(&self) -> &'static str {
                match self { $(Identity::$record(_) => <$record as Table>::upsert(),)+ }
            }

            /// The cells, in the order of the columns.
            pub(crate) fn encode(&self) -> Vec<Value<'_>> {
                match self { $(Identity::$record(record) => record.encode(),)+ }
            }

            /// The field that a unique index is about, and what stands in it.
            pub(crate) fn unique(&self, index: &str) -> Option<(&'static str, String)> {
                match self { $(Identity::$record(record) => {
                    let found = <$record as Table>::UNIQUE.iter().find(|(name, _)| *name == index);
                    found.map(|(_, field)| (*field, record.text_of(field)))
                })+ }
            }
        }
    };
}

identity_tables! {
    User,
    Team,
    Member,
    Invitation,
    JoinRequest,
    Role,
    Grant,
    ApiToken,
    Revocation,
    Policy,
    Provider,
}

table! {
    @all User, Entity::User, "users", [("users_email", "email")], {
        "id": id,
        "email": email,
        "full_name": full_name,
        "password_hash": password_hash,
        "is_admin": is_admin,
        "is_active": is_active,
        "auth_provider": auth_provider,
        "email_verified": email_verified,
        "password_change_required": password_change_required,
        "password_changed_at": password_changed_at,
        "failed_login_attempts": failed_login_attempts,
        "locked_until": locked_until,
        "last_login": last_login,
        "tokens_valid_from": tokens_valid_from,
        "created_at": created_at,
        "updated_at": updated_at,
        "version": version,
    }
}

table! {
    @all Team, Entity::Team, "teams", [("teams_slug", "slug")], {
        "id": id,
        "name": name,
        "slug": slug,
        "description": description,
        "created_by": created_by,
        "is_personal": is_personal,
        "visibility": visibility,
        "max_members": max_members,
        "is_active": is_active,
        "created_at": created_at,
        "updated_at": updated_at,
        "version": version,
    }
}

table! {
    @all Member, Entity::Member, "team_members", [("team_members_user", "user_email")], {
        "id": id,
        "team_id": team_id,
        "user_email": user_email,
        "role": role,
        "joined_at": joined_at,
        "invited_by": invited_by,
        "version": version,
    }
}

table! {
    @all Invitation, Entity::Invitation, "team_invitations", [("team_invitations_email", "email"), ("team_invitations_token", "token_hash")], {
        "id": id,
        "team_id": team_id,
        "email": email,
        "role": role,
        "invited_by": invited_by,
        "invited_at": invited_at,
        "expires_at": expires_at,
        "token_hash": token_hash,
        "version": version,
    }
}

table! {
    @all JoinRequest, Entity::JoinRequest, "team_join_requests", [("team_join_requests_user", "user_email")], {
        "id": id,
        "team_id": team_id,
        "user_email": user_email,
        "message": message,
        "status": status,
        "requested_at": requested_at,
        "expires_at": expires_at,
        "reviewed_by": reviewed_by,
        "reviewed_at": reviewed_at,
        "version": version,
    }
}

table! {
    @all Role, Entity::Role, "roles", [("roles_name", "name")], {
        "id": id,
        "name": name,
        "description": description,
        "scope": scope,
        "permissions": permissions,
        "inherits_from": inherits_from,
        "is_system_role": is_system_role,
        "is_active": is_active,
        "created_by": created_by,
        "created_at": created_at,
        "updated_at": updated_at,
        "version": version,
    }
}

table! {
    @all Grant, Entity::Grant, "user_roles", [("user_roles_user", "role_id")], {
        "id": id,
        "user_email": user_email,
        "role_id": role_id,
        "scope": scope,
        "scope_id": scope_id,
        "granted_by": granted_by,
        "granted_at": granted_at,
        "expires_at": expires_at,
        "version": version,
    }
}

table! {
    @all ApiToken, Entity::ApiToken, "api_tokens", [("api_tokens_jti", "jti"), ("api_tokens_name", "name")], {
        "id": id,
        "jti": jti,
        "user_email": user_email,
        "team_id": team_id,
        "name": name,
        "description": description,
        "server_id": server_id,
        "permissions": permissions,
        "ip_restrictions": ip_restrictions,
        "time_restrictions": time_restrictions,
        "usage_limits": usage_limits,
        "tags": tags,
        "created_at": created_at,
        "expires_at": expires_at,
        "is_active": is_active,
        "revoked_at": revoked_at,
        "revoked_by": revoked_by,
        "revocation_reason": revocation_reason,
        "version": version,
    }
}

table! {
    @all Revocation, Entity::Revocation, "revocations", [], {
        "id": id,
        "user_email": user_email,
        "revoked_by": revoked_by,
        "reason": reason,
        "revoked_at": revoked_at,
        "expires_at": expires_at,
        "version": version,
    }
}

table! {
    @all Policy, Entity::Policy, "policies", [("policies_name", "name")], {
        "id": id,
        "name": name,
        "description": description,
        "server_id": server_id,
        "effect": effect,
        "actions": actions,
        "expression": expression,
        "message": message,
        "enforcement": enforcement,
        "enabled": enabled,
        "priority": priority,
        "created_by": created_by,
        "created_at": created_at,
        "updated_at": updated_at,
        "version": version,
    }
}

table! {
    @all Provider, Entity::Provider, "sso_providers", [("sso_providers_name", "name")], {
        "id": id,
        "name": name,
        "display_name": display_name,
        "provider_type": provider_type,
        "is_enabled": is_enabled,
        "client_id": client_id,
        "client_secret_sealed": client_secret_sealed,
        "issuer": issuer,
        "authorization_url": authorization_url,
        "token_url": token_url,
        "userinfo_url": userinfo_url,
        "jwks_uri": jwks_uri,
        "scope": scope,
        "trusted_domains": trusted_domains,
        "auto_create_users": auto_create_users,
        "team_mapping": team_mapping,
        "metadata": metadata,
        "created_at": created_at,
        "updated_at": updated_at,
        "version": version,
    }
}
