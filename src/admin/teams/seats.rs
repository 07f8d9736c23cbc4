//! Who gets into a team: how many there is room for, and who may let them in.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use storage::Mutation;
use storage::record::{Entity, Invitation, Member, Team, TeamRole, new_id};

use super::forget;
use super::form::Seed;
use crate::admin::{Ask, Backend, writing};
use crate::catalog::People;
use crate::failure::Failure;
use crate::permission::PermissionSet;

/// Random bytes of the word that an invitation is accepted by.
const TOKEN_SIZE: usize = 32;

/// Those whom a new team begins with.
pub struct Seating {
    pub members: Vec<Member>,
    /// Each with the word to join by.
    pub invitations: Vec<(Invitation, String)>,
}

impl Seating {
    /// Gives every seed a seat in the team or an invitation.
    ///
    /// # Errors
    ///
    /// 409 if there is no room for so many, 403 if they must not be invited.
    pub fn plan<B: Backend>(
        ask: &Ask<'_, B>,
        people: &People,
        team: &Team,
        seeds: Vec<Seed>,
        at: i64,
    ) -> Result<Seating, Failure> {
        let mut seating = Seating { members: Vec::new(), invitations: Vec::new() };
        if 1 + seeds.len() > capacity(ask, team) {
            return Err(full(team));
        }
        for Seed { email, role } in seeds {
            match people.user_by_email(&email).is_some_and(|user| user.is_active) {
                true => {
                    check_user(ask, people, &email)?;
                    seating.members.push(member(team, &email, role, &ask.caller.email, at));
                }
                false => seating.invitations.push(invitation(ask, team, &email, role, at)?),
            }
        }
        Ok(seating)
    }

    /// What writes them.
    pub fn mutations(&self) -> impl Iterator<Item = Mutation> {
        let members =
            self.members.iter().map(|member| Mutation::PutIdentity(member.clone().into()));
        let invitations = self.invitations.iter().map(|(invitation, _)| invitation);
        members.chain(invitations.map(|each| Mutation::PutIdentity(each.clone().into())))
    }
}

/// A member who joins now.
pub fn member(team: &Team, email: &str, role: TeamRole, by: &str, at: i64) -> Member {
    Member {
        id: new_id(),
        team_id: team.id.clone(),
        user_email: email.to_owned(),
        role,
        joined_at: at,
        invited_by: Some(by.to_lowercase()),
        version: 1,
    }
}

/// An invitation that is made now, and the word to accept it by.
///
/// # Errors
///
/// 403 if nobody is to be invited; [`Failure::Internal`] if the system gives no random bytes.
pub fn invitation<B: Backend>(
    ask: &Ask<'_, B>,
    team: &Team,
    email: &str,
    role: TeamRole,
    at: i64,
) -> Result<(Invitation, String), Failure> {
    let rules = &ask.backend.rules().teams;
    if !rules.invitations_allowed {
        return Err(Failure::Forbidden("Team invitations are currently disabled".to_owned()));
    }
    let token = random_token()?;
    let invitation = Invitation {
        id: new_id(),
        team_id: team.id.clone(),
        email: email.to_owned(),
        role,
        invited_by: ask.caller.email.to_lowercase(),
        invited_at: at,
        expires_at: at.saturating_add(rules.invitation_lifetime),
        token_hash: token_hash(&token),
        version: 1,
    };
    Ok((invitation, token))
}

fn random_token() -> Result<String, Failure> {
    let mut bytes = [0; TOKEN_SIZE];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => Ok(BASE64.encode(bytes)),
        Err(_) => Err(Failure::Internal("the system gave no random bytes".to_owned())),
    }
}

/// What is kept of the word that an invitation is accepted by: SHA-256, in hexadecimal.
pub fn token_hash(token: &str) -> String {
    let hash = digest(&SHA256, token.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The invitations of a team that are good, and the mutations that forget the others.
pub fn sort_invitations<'p>(
    people: &'p People,
    team: &Team,
    now: i64,
) -> (Vec<&'p Invitation>, Vec<Mutation>) {
    let of_team = people.invitations().filter(|each| each.team_id == team.id);
    let (open, over): (Vec<_>, Vec<_>) =
        of_team.map(|each| &**each).partition(|each| each.expires_at > now);
    (open, over.into_iter().map(|each| forget(Entity::Invitation, &each.id)).collect())
}

/// How many members a team may have.
fn capacity<B: Backend>(ask: &Ask<'_, B>, team: &Team) -> usize {
    let own = team.max_members.and_then(|count| usize::try_from(count).ok());
    own.unwrap_or(ask.backend.rules().teams.member_count_max)
}

/// Refuses one more in the team, where everybody counts who is in it or invited but `email`.
///
/// # Errors
///
/// 409 if the team is full.
pub fn check_room<B: Backend>(
    ask: &Ask<'_, B>,
    people: &People,
    team: &Team,
    email: &str,
    now: i64,
) -> Result<(), Failure> {
    let (open, _) = sort_invitations(people, team, now);
    let invited = open.iter().filter(|each| each.email != email).count();
    match people.member_count(&team.id) + invited < capacity(ask, team) {
        true => Ok(()),
        false => Err(full(team)),
    }
}

fn full(team: &Team) -> Failure {
    let name = &team.name;
    Failure::Conflict(format!(
        "The team {name} has no room left, open invitations included; raise its max_members or \
         MAX_MEMBERS_PER_TEAM"
    ))
}

/// Refuses one more team for a user.
///
/// # Errors
///
/// 409 if they are in as many as they may.
pub fn check_user<B: Backend>(
    ask: &Ask<'_, B>,
    people: &People,
    email: &str,
) -> Result<(), Failure> {
    let max = ask.backend.rules().teams.team_count_max;
    match people.teams_of(email).filter(|(team, _)| !team.is_personal).count() < max {
        true => Ok(()),
        false => Err(Failure::Conflict(format!(
            "{email} is in {max} teams already, which is the most (MAX_TEAMS_PER_USER)"
        ))),
    }
}

/// Refuses to give or to take a part in the team that permits what the caller may not do there:
/// nobody makes more of others than they are.
///
/// # Errors
///
/// 403 that names what is missing.
pub fn check_part<B: Backend>(
    ask: &Ask<'_, B>,
    people: &People,
    team: &Team,
    role: TeamRole,
) -> Result<(), Failure> {
    let rights = &ask.caller.rights;
    let of_team = rights.team(&team.id).map_or(PermissionSet::EMPTY, |team| team.permissions);
    let held = (rights.global | of_team) & rights.mask;
    let needed = ask.backend.rules().standing.of_member(people, role);
    writing::check_held(held, needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_to_join_by_is_kept_as_its_hash_alone() {
        let [one, other] = [random_token().unwrap(), random_token().unwrap()];
        assert_ne!(one, other);
        assert_eq!(token_hash("abc"), token_hash("abc"));
        assert!(token_hash(&one).len() == 64 && !token_hash(&one).contains(&one));
    }
}
