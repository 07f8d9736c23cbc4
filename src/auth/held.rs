//! The roles that a user has: those that were given, and those that follow from what they are.

use std::sync::Arc;

use storage::record::{Grant, Member, Scope, TeamRole};

use super::roles;
use super::settle::Standing;
use crate::catalog::People;
use crate::permission::PermissionSet;

/// A role that a user has.
#[derive(Debug, Clone)]
pub struct Held<'p> {
    /// Where it comes from.
    pub source: Source<'p>,
    /// The role.
    pub role_id: String,
    /// Its name.
    pub role_name: String,
    /// Where it counts.
    pub scope: Scope,
    /// The team in which it counts; `None` for all of the user's, where it counts in teams.
    pub team_id: Option<&'p str>,
    /// What it permits.
    pub permissions: PermissionSet,
}

/// Where a role comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'p> {
    /// It was given.
    Given(&'p Arc<Grant>),
    /// It goes with a membership.
    Member(&'p Arc<Member>),
    /// It is that of users whom the database does not know.
    Unrecorded,
}

impl Held<'_> {
    /// Whether it counts at a time.
    pub fn is_active(&self, now: i64) -> bool {
        match self.source {
            Source::Given(grant) => grant.expires_at.is_none_or(|end| end > now),
            Source::Member(_) | Source::Unrecorded => true,
        }
    }

    /// A word for where it comes from.
    pub fn origin(&self) -> &'static str {
        match self.source {
            Source::Given(_) => "manual",
            Source::Member(_) => "membership",
            Source::Unrecorded => "default",
        }
    }
}

/// The roles of the user with this address, those that have expired included.
pub fn of_user<'p>(email: &str, people: &'p People, standing: &Standing) -> Vec<Held<'p>> {
    let given = people.grants_of(email).map(|grant| Held {
        source: Source::Given(grant),
        role_id: grant.role_id.clone(),
        role_name: people.role(&grant.role_id).map(|role| role.name.clone()).unwrap_or_default(),
        scope: grant.scope,
        team_id: grant.scope_id.as_deref(),
        permissions: people.permissions_of(&grant.role_id),
    });
    let mut held: Vec<Held<'p>> = given.collect();
    for (team, member) in people.teams_of(email) {
        let name = match member.role {
            TeamRole::Member => &standing.member_role,
            TeamRole::Owner => &standing.owner_role,
        };
        let permissions = standing.of_member(people, member.role);
        let (source, team_id) = (Source::Member(member), Some(team.id.as_str()));
        held.push(implied(source, people, name, Scope::Team, team_id, permissions));
    }
    if people.user_by_email(email).is_none() {
        let permissions = standing.of_stranger(people);
        let name = &standing.user_role;
        held.push(implied(Source::Unrecorded, people, name, Scope::Global, None, permissions));
    }
    held
}

fn implied<'p>(
    source: Source<'p>,
    people: &People,
    name: &str,
    scope: Scope,
    team_id: Option<&'p str>,
    permissions: PermissionSet,
) -> Held<'p> {
    let stored = people.role_named(name, scope).map(|role| role.id.clone());
    let role_id = stored.or_else(|| roles::named(name).map(|role| role.id.to_owned()));
    let (role_id, role_name) = (role_id.unwrap_or_default(), name.to_owned());
    Held { source, role_id, role_name, scope, team_id, permissions }
}
