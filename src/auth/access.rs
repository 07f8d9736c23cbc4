//! The one place that decides who may do what: a caller, a permission and a thing, to yes or no with
//! the reason.
//!
//! It is pure and looks at nothing but its arguments. What a caller may not see does not exist for
//! them: [`Reason::Invisible`] is answered as if the thing were not there.

use std::fmt;

use storage::record::{Ownership, Visibility};

use super::caller::Caller;
use super::roles;
use crate::permission::{Permission, PermissionSet};

/// What a caller may, worked out of their token and of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// They command the gateway, and the token does not say less.
    pub unrestricted: bool,
    /// What the token is good for: nothing else is permitted, whoever it is.
    pub mask: PermissionSet,
    /// What roles permit that count everywhere.
    pub global: PermissionSet,
    /// The teams that the token acts for and its user belongs to, in the order of their ids.
    pub teams: Vec<TeamRights>,
    /// What any role of the user permits, wherever it counts: good for the use of what is public.
    pub anywhere: PermissionSet,
    /// Whether the token reaches what its user alone may see.
    pub sees_own: bool,
}

/// What a caller may in a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamRights {
    /// The team.
    pub team_id: std::sync::Arc<str>,
    /// What roles permit that count there.
    pub permissions: PermissionSet,
}

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub enum Object<'a> {
    /// No thing in particular.
    Nothing,
    /// A thing, by whose it is.
    Owned(&'a Ownership),
}

impl<'a> From<&'a Ownership> for Object<'a> {
    fn from(ownership: &'a Ownership) -> Object<'a> {
        Object::Owned(ownership)
    }
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Yes, by this rule.
    Allow(Rule<'a>),
    /// No, for this reason.
    Deny(Reason),
}

/// Why something is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule<'a> {
    /// The caller commands the gateway.
    Administrator,
    /// The thing is the caller's own.
    Owner,
    /// A role that counts everywhere.
    GlobalRole,
    /// A role in the team that the thing belongs to.
    TeamRole(&'a str),
    /// The thing is public, or there is none, and some role of the caller permits it.
    AnyRole,
}

/// Why something is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The token is not good for it, whatever its user may.
    TokenScope(Permission),
    /// The caller may not see the thing: it is as if it were not there.
    Invisible,
    /// No role of the caller permits it.
    NoRole(Permission),
    /// The thing would belong to a team that the caller is not in, or that the token does not act
    /// for.
    ForeignTeam,
    /// The thing would belong to another user.
    ForeignOwner,
}

impl Verdict<'_> {
    /// Whether it is yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Verdict::Allow(_))
    }
}

/// Decides whether `caller` may do what `permission` says to `object`.
pub fn decide<'a>(
    caller: &'a Caller,
    permission: Permission,
    object: impl Into<Object<'a>>,
) -> Verdict<'a> {
    let rights = &caller.rights;
    if !rights.mask.contains(permission) {
        return Verdict::Deny(Reason::TokenScope(permission));
    }
    if rights.unrestricted {
        return Verdict::Allow(Rule::Administrator);
    }
    let owned = match object.into() {
        Object::Owned(ownership) => ownership,
        Object::Nothing => return by_role(rights, permission),
    };
    if !sees(caller, owned) {
        return Verdict::Deny(Reason::Invisible);
    }
    if rights.sees_own && is_own(caller, owned) {
        return Verdict::Allow(Rule::Owner);
    }
    if rights.global.contains(permission) {
        return Verdict::Allow(Rule::GlobalRole);
    }
    let team = owned.team_id.as_deref().and_then(|team_id| rights.team(team_id));
    if let Some(team) = team.filter(|team| team.permissions.contains(permission)) {
        return Verdict::Allow(Rule::TeamRole(&team.team_id));
    }
    let is_public = owned.visibility == Visibility::Public;
    if is_public && permission.is_use() && rights.anywhere.contains(permission) {
        return Verdict::Allow(Rule::AnyRole);
    }
    Verdict::Deny(Reason::NoRole(permission))
}

/// Decides whether `caller` may put a thing, with what `permission` says, where it would be `wanted`'s:
/// into a team whose roles permit it, or among what is their own.
pub fn decide_place<'a>(
    caller: &'a Caller,
    permission: Permission,
    wanted: &Ownership,
) -> Verdict<'a> {
    let rights = &caller.rights;
    if !rights.mask.contains(permission) {
        return Verdict::Deny(Reason::TokenScope(permission));
    }
    if rights.unrestricted {
        return Verdict::Allow(Rule::Administrator);
    }
    if rights.global.contains(permission) {
        return Verdict::Allow(Rule::GlobalRole);
    }
    match wanted.team_id.as_deref().map(|team_id| rights.team(team_id)) {
        Some(Some(team)) if team.permissions.contains(permission) => {
            Verdict::Allow(Rule::TeamRole(&team.team_id))
        }
        Some(Some(_)) => Verdict::Deny(Reason::NoRole(permission)),
        Some(None) => Verdict::Deny(Reason::ForeignTeam),
        None if !is_own(caller, wanted) => Verdict::Deny(Reason::ForeignOwner),
        None => by_role(rights, permission),
    }
}

/// Decides about what is no thing: a list as a whole, or what is yet to be made.
fn by_role(rights: &Rights, permission: Permission) -> Verdict<'_> {
    if rights.global.contains(permission) {
        return Verdict::Allow(Rule::GlobalRole);
    }
    let by_team = || rights.teams.iter().any(|team| team.permissions.contains(permission));
    let by_use = permission.is_use() && rights.anywhere.contains(permission);
    match !permission.is_global() && (by_use || by_team()) {
        true => Verdict::Allow(Rule::AnyRole),
        false => Verdict::Deny(Reason::NoRole(permission)),
    }
}

/// Whether a thing exists for `caller`.
pub fn sees(caller: &Caller, owned: &Ownership) -> bool {
    let rights = &caller.rights;
    if rights.unrestricted || owned.visibility == Visibility::Public {
        return true;
    }
    let of_team = || owned.team_id.as_deref().is_some_and(|id| rights.team(id).is_some());
    (owned.visibility == Visibility::Team && of_team())
        || (rights.sees_own && is_own(caller, owned))
}

fn is_own(caller: &Caller, owned: &Ownership) -> bool {
    owned.owner_email.as_deref().is_some_and(|owner| owner.eq_ignore_ascii_case(&caller.email))
}

impl Rights {
    /// Those of whoever commands the gateway.
    pub fn unrestricted() -> Rights {
        Rights {
            unrestricted: true,
            mask: PermissionSet::ALL,
            global: PermissionSet::ALL,
            teams: Vec::new(),
            anywhere: PermissionSet::ALL,
            sees_own: true,
        }
    }

    /// Those of who has no role: none.
    pub fn none() -> Rights {
        Rights {
            unrestricted: false,
            mask: PermissionSet::ALL,
            global: PermissionSet::EMPTY,
            teams: Vec::new(),
            anywhere: PermissionSet::EMPTY,
            sees_own: false,
        }
    }

    /// Those of who came without a token to where none is needed: the use of what is public.
    pub fn guest() -> Rights {
        let roles = ["platform_viewer", "viewer"].into_iter().filter_map(roles::named);
        let anywhere = roles.fold(PermissionSet::EMPTY, |all, role| all | role.set());
        Rights { anywhere, ..Rights::none() }
    }

    /// What the caller may in a team; `None` if the token does not act for it.
    pub fn team(&self, team_id: &str) -> Option<&TeamRights> {
        let place = self.teams.binary_search_by(|team| (*team.team_id).cmp(team_id)).ok()?;
        self.teams.get(place)
    }
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Administrator => out.write_str("administrators may do everything"),
            Rule::Owner => out.write_str("it is the caller's own"),
            Rule::GlobalRole => out.write_str("a role that counts everywhere permits it"),
            Rule::TeamRole(team_id) => write!(out, "a role in the team {team_id} permits it"),
            Rule::AnyRole => out.write_str("it is open to whoever has a role that permits it"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Invisible => out.write_str("It is not visible to the caller"),
            // The contract's words, for both: scripts compare them.
            Reason::TokenScope(permission) | Reason::NoRole(permission) => {
                write!(out, "Insufficient permissions. Required: {permission}")
            }
            Reason::ForeignTeam => out.write_str("The team_id is not one of the caller's teams"),
            Reason::ForeignOwner => {
                out.write_str("Only administrators make things that belong to another user")
            }
        }
    }
}

#[cfg(test)]
mod tests;
