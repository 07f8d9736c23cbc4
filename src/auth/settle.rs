//! From what a token says to what its bearer may now: the token's claims held against the snapshot.

use std::sync::Arc;

use serde_json::{Map, Value};
use storage::record::{ApiToken, Scope, TeamRole};

use super::access::{Rights, TeamRights};
use super::caller::{Caller, Scopes, Teams};
use super::error::Fault;
use super::restrictions::Restrictions;
use super::roles;
use crate::catalog::People;
use crate::permission::{Permission, PermissionSet};
use crate::settings::Auth;

/// What the settings say about users whom no record describes in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether a token must name a user of the database.
    pub user_required: bool,
    /// The role of users without a record.
    pub user_role: String,
    /// The role of members in their teams.
    pub member_role: String,
    /// The role of owners in their teams.
    pub owner_role: String,
}

impl Standing {
    /// As the settings have it.
    pub fn new(auth: &Auth) -> Standing {
        Standing {
            user_required: auth.user_required,
            user_role: auth.user_role.clone(),
            member_role: auth.member_role.clone(),
            owner_role: auth.owner_role.clone(),
        }
    }

    /// What the role that a membership gives permits in the team.
    pub fn of_member(&self, people: &People, role: TeamRole) -> PermissionSet {
        match role {
            TeamRole::Member => named(people, &self.member_role, Scope::Team),
            TeamRole::Owner => named(people, &self.owner_role, Scope::Team),
        }
    }

    /// What the role of users whom the database does not know permits.
    pub fn of_stranger(&self, people: &People) -> PermissionSet {
        named(people, &self.user_role, Scope::Global)
    }
}

/// What a role permits: as it is stored, or else as it is built in.
fn named(people: &People, name: &str, scope: Scope) -> PermissionSet {
    match people.role_named(name, scope) {
        Some(role) => people.permissions_of(&role.id),
        None => roles::named(name).map_or(PermissionSet::EMPTY, roles::BuiltIn::set),
    }
}

/// A caller, and until when they are what they are, in microseconds since the epoch: a role may end.
pub type Settled = (Caller, i64);

/// Works out who the bearer of a token is and what they may `now`, in microseconds since the epoch.
///
/// # Errors
///
/// [`Fault`] if the token is good no more, or its user is not.
pub fn settle(
    claimed: &Caller,
    people: &People,
    standing: &Standing,
    now: i64,
) -> Result<Settled, Fault> {
    let mut caller = claimed.clone();
    check_terms(&mut caller, people, now)?;
    let user = match &caller.user_id {
        // The address may be another user's now.
        Some(id) => Some(people.user(id).ok_or(Fault::Stranger)?),
        None => people.user_by_email(&caller.email).or_else(|| people.user(&caller.email)),
    };
    match user {
        Some(user) => {
            let issued_at = caller.issued_at.map_or(i64::MAX, |at| at.saturating_mul(1_000_000));
            // Tokens tell seconds: one of the second in which they all ended is taken for older.
            if issued_at < user.tokens_valid_from {
                return Err(Fault::Revoked);
            }
            if !user.is_active {
                return Err(Fault::Disabled);
            }
            caller.email.clone_from(&user.email);
            caller.is_admin = user.is_admin;
        }
        None if standing.user_required => return Err(Fault::Stranger),
        None => {}
    }
    let mut until = i64::MAX;
    caller.must_change_password =
        caller.is_session && user.is_some_and(|user| user.password_change_required);
    if caller.must_change_password {
        caller.rights = Rights { mask: PermissionSet::EMPTY, ..Rights::none() };
        return Ok((caller, until));
    }
    caller.rights = rights(&caller, people, standing, user.is_some(), now, &mut until);
    Ok((caller, until))
}

/// Holds a token against its record and against what was revoked.
fn check_terms(caller: &mut Caller, people: &People, now: i64) -> Result<(), Fault> {
    let Some(jti) = caller.token_id.as_deref() else { return Ok(()) };
    if people.revocation(jti).is_some() {
        return Err(Fault::Revoked);
    }
    let Some(terms) = people.token_by_jti(jti) else {
        // The record of an API token goes with its user.
        return if caller.is_api_token { Err(Fault::Revoked) } else { Ok(()) };
    };
    if !terms.is_active || terms.revoked_at.is_some() {
        return Err(Fault::Revoked);
    }
    if terms.expires_at.is_some_and(|end| end <= now) {
        return Err(Fault::Expired);
    }
    // The record rules, so that what is changed there bites at once.
    caller.scopes = Some(Scopes {
        server_id: terms.server_id.clone(),
        permissions: terms.permissions.clone(),
        restrictions: restrictions(terms)?.map(Arc::new),
    });
    caller.is_api_token = true;
    caller.api_token_id = Some(terms.id.clone());
    caller.teams = match &terms.team_id {
        Some(team_id) => Teams::Listed(vec![team_id.clone()]),
        // All that its user may.
        None => Teams::Absent,
    };
    Ok(())
}

/// From where and when a token is good by its record.
fn restrictions(terms: &ApiToken) -> Result<Option<Restrictions>, Fault> {
    let times: Option<Map<String, Value>> = match terms.time_restrictions.as_deref() {
        Some(text) => serde_json::from_str(text).map_err(|_| Fault::Restricted)?,
        None => None,
    };
    Restrictions::read(&terms.ip_restrictions, times.as_ref()).map_err(|_| Fault::Restricted)
}

fn rights(
    caller: &Caller,
    people: &People,
    standing: &Standing,
    is_recorded: bool,
    now: i64,
    until: &mut i64,
) -> Rights {
    let mask = mask(caller.scopes.as_ref());
    let reach = Reach::of(caller);
    if caller.is_admin && reach == Reach::All {
        return Rights { mask, ..Rights::unrestricted() };
    }
    let mut rights = Rights { mask, sees_own: reach != Reach::Public, ..Rights::none() };
    rights.teams = team_rights(caller, people, standing, is_recorded);
    if !is_recorded {
        rights.global = standing.of_stranger(people);
        // Whoever has no record has no team of their own, in which others may call what is public.
        rights.anywhere = named(people, &standing.owner_role, Scope::Team);
    }
    add_grants(&mut rights, caller, people, now, until);
    let of_teams =
        rights.teams.iter().fold(PermissionSet::EMPTY, |all, team| all | team.permissions);
    rights.anywhere = rights.anywhere | rights.global | of_teams;
    if caller.is_admin {
        // The token says less than its user may: they command what can be seen by it.
        rights.anywhere = PermissionSet::ALL;
        rights.global = if reach == Reach::Public { uses() } else { PermissionSet::ALL };
    }
    match reach {
        Reach::All => {}
        Reach::Teams(ids) => rights.teams.retain(|team| ids.iter().any(|id| **id == *team.team_id)),
        Reach::Public => rights.teams.clear(),
    }
    rights
}

/// What a token reaches, whoever bears it (contract §4).
#[derive(PartialEq, Eq)]
enum Reach<'a> {
    /// All that its user may see.
    All,
    /// What these teams share, and what is public.
    Teams(&'a [String]),
    /// What is public.
    Public,
}

impl Reach<'_> {
    fn of(caller: &Caller) -> Reach<'_> {
        match &caller.teams {
            _ if caller.is_session => Reach::All,
            Teams::Absent if caller.is_api_token => Reach::All,
            Teams::Listed(ids) if !ids.is_empty() => Reach::Teams(ids),
            Teams::Listed(_) => Reach::Public,
            // The minimal token of the command line, which ContextForge 0.8 made for its
            // administrator, says nothing of teams.
            Teams::Null | Teams::Absent if caller.is_admin => Reach::All,
            Teams::Null | Teams::Absent => Reach::Public,
        }
    }
}

/// What a token is good for. One that is good for tools, resources or prompts opens the way to them.
fn mask(scopes: Option<&Scopes>) -> PermissionSet {
    let words = scopes.map(|scopes| scopes.permissions.as_slice()).unwrap_or_default();
    if words.is_empty() {
        return PermissionSet::ALL;
    }
    let mask = PermissionSet::of_words(words.iter().map(String::as_str));
    match mask.iter().any(|held| matches!(held.kind(), "tools" | "resources" | "prompts")) {
        true => mask | PermissionSet::of(&[Permission::ServersUse]),
        false => mask,
    }
}

fn uses() -> PermissionSet {
    let uses = Permission::ALL.iter().filter(|permission| permission.is_use());
    uses.fold(PermissionSet::EMPTY, |all, one| all | PermissionSet::of(&[*one]))
}

/// The teams of the user with what membership permits in each, in the order of ids. A token that
/// names teams of a user without a record was signed by who knows them.
fn team_rights(
    caller: &Caller,
    people: &People,
    standing: &Standing,
    is_recorded: bool,
) -> Vec<TeamRights> {
    let of_member = standing.of_member(people, TeamRole::Member);
    let of_owner = standing.of_member(people, TeamRole::Owner);
    let permissions = |role| match role {
        TeamRole::Member => of_member,
        TeamRole::Owner => of_owner,
    };
    let mut teams: Vec<TeamRights> = people
        .teams_of(&caller.email)
        .map(|(team, member)| TeamRights {
            team_id: team.id.as_str().into(),
            permissions: permissions(member.role),
        })
        .collect();
    if let (Teams::Listed(ids), true) = (&caller.teams, caller.is_admin || !is_recorded) {
        let named = ids.iter().filter_map(|id| people.team(id)).filter(|team| team.is_active);
        for team in named {
            let team_id: Arc<str> = team.id.as_str().into();
            if let Err(place) = teams.binary_search_by(|other| other.team_id.cmp(&team_id)) {
                teams.insert(place, TeamRights { team_id, permissions: of_member });
            }
        }
    }
    teams
}

/// Adds the roles that the user was given.
fn add_grants(rights: &mut Rights, caller: &Caller, people: &People, now: i64, until: &mut i64) {
    for grant in people.grants_of(&caller.email) {
        if let Some(end) = grant.expires_at {
            if end <= now {
                continue;
            }
            *until = (*until).min(end);
        }
        let permissions = people.permissions_of(&grant.role_id);
        match (grant.scope, grant.scope_id.as_deref()) {
            (Scope::Global, _) => rights.global = rights.global | permissions,
            (Scope::Personal, _) => rights.anywhere = rights.anywhere | permissions,
            (Scope::Team, Some(team_id)) => {
                let place = rights.teams.binary_search_by(|team| (*team.team_id).cmp(team_id));
                if let Ok(place) = place {
                    let team = &mut rights.teams[place];
                    team.permissions = team.permissions | permissions;
                }
            }
            (Scope::Team, None) => {
                for team in &mut rights.teams {
                    team.permissions = team.permissions | permissions;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
