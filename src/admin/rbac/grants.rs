//! Which user has which role: listed with what follows from memberships, given and taken away.
//!
//! Whoever manages users gives all roles that permit no more than their own; whoever manages the
//! members of a team gives roles that count in it.

use std::sync::Arc;

use serde_json::json;
use storage::Mutation;
use storage::record::{Entity, Grant, Role, Scope, new_id, now};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::scope_of;
use crate::admin::fields::Fields;
use crate::admin::query::{Query, address};
use crate::admin::{Ask, Backend, RestAnswer, answer, record_form, show, teams, writing};
use crate::auth::access::{self, Object};
use crate::auth::held::{self, Held, Source};
use crate::catalog::{Catalog, People};
use crate::failure::Failure;
use crate::limits;
use crate::permission::{Permission, PermissionSet};

/// The longest id that a body may name, in characters.
const ID_LENGTH_MAX: usize = 255;

/// `GET /rbac/users/{email}/roles`: for whoever manages users or asks about themselves; for whoever
/// manages teams, the roles that count in these.
pub fn list<B: Backend>(ask: &Ask<'_, B>, email: &str) -> Result<RestAnswer, Failure> {
    let email = address(email);
    let catalog = ask.backend.catalog();
    let manages = |team_id: &str| manages_team(ask, &catalog, team_id);
    let sees_all = manages_users(ask) || email.eq_ignore_ascii_case(&ask.caller.email);
    let manages_any = ask.caller.rights.teams.iter().any(|team| manages(&team.team_id));
    if !sees_all && !manages_any {
        return Err(refusal());
    }
    shown(ask, &catalog, &email, |held| sees_all || held.team_id.is_some_and(manages))
}

/// `GET /rbac/my/roles`.
pub fn mine<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let email = ask.caller.email.to_lowercase();
    shown(ask, &ask.backend.catalog(), &email, |_| true)
}

fn shown<B: Backend>(
    ask: &Ask<'_, B>,
    catalog: &Catalog,
    email: &str,
    is_seen: impl Fn(&Held<'_>) -> bool,
) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let scope = scope_of(&mut query);
    let active_only = query.flag("active_only", true);
    query.finish()?;
    let now = now();
    let held = held::of_user(email, catalog.people(), &ask.backend.rules().standing);
    let is_listed = |held: &&Held<'_>| {
        is_seen(held)
            && (held.is_active(now) || !active_only)
            && scope.is_none_or(|scope| held.scope == scope)
    };
    let listed = held.iter().filter(is_listed);
    Ok(answer::ok(&listed.map(|held| show::user_role(email, held, now)).collect::<Vec<_>>()))
}

/// `POST /rbac/users/{email}/roles`. One that ran out makes room for the new one.
pub async fn assign<B: Backend>(ask: &Ask<'_, B>, email: &str) -> Result<RestAnswer, Failure> {
    let email = address(email);
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let at = now();
    let (role, grant) = read(ask, people, &email, at)?;
    check_place(ask, &catalog, grant.scope, grant.scope_id.as_deref())?;
    let held = held_where(ask, grant.scope, grant.scope_id.as_deref());
    writing::check_held(held, people.permissions_of(&role.id))?;
    let twin = people.grants_of(&email).find(|other| {
        (&other.role_id, other.scope, &other.scope_id)
            == (&grant.role_id, grant.scope, &grant.scope_id)
    });
    let mut mutations = Vec::new();
    if let Some(twin) = twin {
        if twin.expires_at.is_none_or(|end| end > at) {
            let name = &role.name;
            return Err(Failure::Conflict(format!("{email} has the role {name} there already")));
        }
        mutations.push(taken(twin));
    } else if people.grants_of(&email).count() >= limits::GRANT_COUNT_MAX {
        let max = limits::GRANT_COUNT_MAX;
        return Err(Failure::Conflict(format!("{email} was given {max} roles, the most")));
    }
    let grant = Arc::new(grant);
    mutations.push(Mutation::PutIdentity(Grant::clone(&grant).into()));
    ask.apply(mutations).await?;
    let given = Held {
        role_id: role.id.clone(),
        role_name: role.name.clone(),
        scope: grant.scope,
        team_id: grant.scope_id.as_deref(),
        permissions: PermissionSet::EMPTY,
        source: Source::Given(&grant),
    };
    Ok(answer::ok(&show::user_role(&email, &given, at)))
}

/// `DELETE /rbac/users/{email}/roles/{role}?scope=&scope_id=`.
pub async fn revoke<B: Backend>(
    ask: &Ask<'_, B>,
    email: &str,
    role_id: &str,
) -> Result<RestAnswer, Failure> {
    let email = address(email);
    let catalog = ask.backend.catalog();
    let mut query = Query::parse(ask.request.query);
    let scope = scope_of(&mut query);
    let scope_id = query.text("scope_id").map(str::to_owned);
    query.finish()?;
    let is_meant = |grant: &&Arc<Grant>| {
        grant.role_id == role_id
            && scope.is_none_or(|scope| grant.scope == scope)
            && (scope_id.is_none() || grant.scope_id == scope_id)
    };
    let meant: Vec<_> = catalog.people().grants_of(&email).filter(is_meant).collect();
    for grant in &meant {
        check_place(ask, &catalog, grant.scope, grant.scope_id.as_deref())?;
    }
    if meant.is_empty() {
        // Only whoever could take it away may learn that it is not there.
        check_place(ask, &catalog, scope.unwrap_or_default(), scope_id.as_deref())?;
        return Err(Failure::NotFound("Role assignment not found".to_owned()));
    }
    ask.apply(meant.into_iter().map(|grant| taken(grant)).collect()).await?;
    Ok(answer::ok(&json!({ "message": "Role revoked successfully" })))
}

fn taken(grant: &Grant) -> Mutation {
    Mutation::DeleteIdentity { entity: Entity::Grant, id: grant.id.clone() }
}

/// Reads which role is to be given, and where it is to count.
fn read<B: Backend>(
    ask: &Ask<'_, B>,
    people: &People,
    email: &str,
    at: i64,
) -> Result<(Arc<Role>, Grant), Failure> {
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let role_id = record_form::optional(&mut fields, "role_id", ID_LENGTH_MAX).flatten();
    let role = role_id.as_deref().and_then(|id| people.role(id)).cloned();
    match (&role_id, &role) {
        (None, _) if fields.given("role_id").is_none() => fields.missing("role_id"),
        (_, Some(role)) if role.is_active => {}
        _ => fields.error("role_id", "There is no such role, or it is switched off"),
    }
    let scope = fields.word("scope", |text| text.parse().ok(), "global, team or personal");
    if scope.is_none() && fields.given("scope").is_none() {
        fields.missing("scope");
    }
    let scope = scope.unwrap_or_default();
    let scope_id = record_form::optional(&mut fields, "scope_id", ID_LENGTH_MAX).flatten();
    if role.as_ref().is_some_and(|role| role.scope != scope) {
        fields.error("scope", "The role is made for another scope");
    }
    if scope_id.is_some() && scope != Scope::Team {
        fields.error("scope_id", "Only roles of scope team count in a team");
    }
    let expires_at = expiry(&mut fields, at);
    fields.finish()?;
    let role = role.ok_or_else(|| Failure::NotFound("Role not found".to_owned()))?;
    let grant = Grant {
        id: new_id(),
        user_email: email.to_owned(),
        role_id: role.id.clone(),
        scope,
        scope_id,
        granted_by: ask.caller.email.to_lowercase(),
        granted_at: at,
        expires_at,
        version: 1,
    };
    Ok((role, grant))
}

fn expiry(fields: &mut Fields, now: i64) -> Option<i64> {
    let text = fields.text("expires_at")?;
    // A time without a zone is one of UTC, as ContextForge has it.
    let parsed = OffsetDateTime::parse(&text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339));
    let at = parsed.ok().and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1000).ok());
    if at.is_none_or(|at| at <= now) {
        fields.error("expires_at", "Input should be a time to come, as 2030-01-31T12:00:00Z");
    }
    at
}

fn manages_users<B>(ask: &Ask<'_, B>) -> bool {
    ask.caller.may(Permission::AdminUserManagement, Object::Nothing)
}

fn manages_team<B>(ask: &Ask<'_, B>, catalog: &Catalog, team_id: &str) -> bool {
    let team = catalog.people().team(team_id).filter(|team| team.is_active && !team.is_personal);
    team.is_some_and(|team| {
        let owned = teams::ownership(team);
        access::decide(ask.caller, Permission::TeamsManageMembers, &owned).is_allowed()
    })
}

/// Refuses to give or take roles where the caller decides nothing.
fn check_place<B>(
    ask: &Ask<'_, B>,
    catalog: &Catalog,
    scope: Scope,
    scope_id: Option<&str>,
) -> Result<(), Failure> {
    let manages_users = manages_users(ask);
    match (scope, scope_id) {
        (Scope::Team, Some(id)) if !manages_users && !manages_team(ask, catalog, id) => {
            // A team that the caller may not see is not there.
            teams::find(ask, catalog, id)?;
            Err(refusal())
        }
        (Scope::Team, Some(id)) if catalog.people().team(id).is_none() => {
            Err(Failure::NotFound("Team not found".to_owned()))
        }
        (Scope::Team, Some(_)) => Ok(()),
        _ if manages_users => Ok(()),
        _ => Err(refusal()),
    }
}

/// What the caller may themselves where a role is to count.
fn held_where<B>(ask: &Ask<'_, B>, scope: Scope, scope_id: Option<&str>) -> PermissionSet {
    let rights = &ask.caller.rights;
    let team = scope_id.filter(|_| scope == Scope::Team).and_then(|id| rights.team(id));
    let of_team = team.map_or(PermissionSet::EMPTY, |team| team.permissions);
    (rights.global | of_team) & rights.mask
}

fn refusal() -> Failure {
    let reason = access::Reason::NoRole(Permission::AdminUserManagement);
    Failure::Forbidden(reason.to_string())
}
