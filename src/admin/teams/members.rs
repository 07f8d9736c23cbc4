//! Members of a team: listed, added, raised, lowered, sent away and leaving.
//!
//! Every change of them is a change of the team too, which must be as it was read: so two owners
//! who leave at the same moment cannot leave a team without any.

use std::sync::Arc;

use storage::Mutation;
use storage::record::{Entity, Member, Scope, Team, TeamRole, now};

use super::{done, find, forget, form, managed, refuse_personal, seats};
use crate::admin::fields::Fields;
use crate::admin::query::{Query, address};
use crate::admin::{Ask, Backend, RestAnswer, answer, listing, show};
use crate::catalog::{Age, Catalog, People};
use crate::failure::Failure;
use crate::permission::Permission;

/// `GET /teams/{id}/members`.
pub fn list<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let team = find(ask, &catalog, id)?;
    let rights = &ask.caller.rights;
    if !rights.unrestricted && rights.team(&team.id).is_none() {
        let sentence = "Only members of the team see who is in it";
        return Err(Failure::Forbidden(sentence.to_owned()));
    }
    let mut query = Query::parse(ask.request.query);
    let age =
        |member: &&Arc<Member>| Age { created_at: member.joined_at, id: member.id.as_str().into() };
    let members = people.members_of(&team.id).collect();
    let page = listing::part(&mut query, ask.backend.rules(), members, age);
    query.finish()?;
    let shown: Vec<_> = page.items.iter().map(|member| show::member(member)).collect();
    Ok(listing::bare_or_wrapped("members", &shown, page.is_wrapped.then_some(page.next)))
}

/// `POST /teams/{id}/members`: a user of the gateway becomes a member at once.
pub async fn add<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let team = managed(ask, &catalog, id, Permission::TeamsManageMembers)?;
    refuse_personal(&team, "joined")?;
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let email = form::email(&mut fields, "email").unwrap_or_default();
    let role = form::role(&mut fields).unwrap_or_default();
    fields.finish()?;
    if !people.user_by_email(&email).is_some_and(|user| user.is_active) {
        let sentence = format!("User not found: {email}; who has no account yet can be invited");
        return Err(Failure::NotFound(sentence));
    }
    seats::check_part(ask, people, &team, role)?;
    let at = now();
    let member = seats::member(&team, &email, role, &ask.caller.email, at);
    let mutations = joining(ask, people, &team, &member, at)?;
    ask.apply(mutations).await?;
    Ok(answer::with_status(201, &show::member(&member)))
}

/// `PUT /teams/{id}/members/{email}`: makes an owner of a member, or the other way.
pub async fn update<B: Backend>(
    ask: &Ask<'_, B>,
    id: &str,
    email: &str,
) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let team = managed(ask, &catalog, id, Permission::TeamsManageMembers)?;
    refuse_personal(&team, "changed")?;
    let stored = find_member(people, &team, email)?;
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let role = form::role(&mut fields);
    if role.is_none() && fields.given("role").is_none() {
        fields.missing("role");
    }
    fields.finish()?;
    let role = role.unwrap_or(stored.role);
    for part in [stored.role, role] {
        seats::check_part(ask, people, &team, part)?;
    }
    if role != TeamRole::Owner {
        keep_an_owner(people, &team, &stored)?;
    }
    let member = Member { role, version: stored.version + 1, ..Member::clone(&stored) };
    let mut mutations = ask.demanded(Entity::Member, &stored.id, stored.version)?;
    mutations.extend(touched(&team, now()));
    mutations.push(Mutation::PutIdentity(member.clone().into()));
    ask.apply(mutations).await?;
    Ok(answer::ok(&show::member(&member)))
}

/// `DELETE /teams/{id}/members/{email}`.
pub async fn remove<B: Backend>(
    ask: &Ask<'_, B>,
    id: &str,
    email: &str,
) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let team = managed(ask, &catalog, id, Permission::TeamsManageMembers)?;
    refuse_personal(&team, "left")?;
    let member = find_member(people, &team, email)?;
    seats::check_part(ask, people, &team, member.role)?;
    let mut mutations = ask.demanded(Entity::Member, &member.id, member.version)?;
    mutations.extend(leaving(people, &team, &member)?);
    ask.apply(mutations).await?;
    Ok(done("Team member removed successfully"))
}

/// `DELETE /teams/{id}/leave`.
pub async fn leave<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let team = find(ask, &catalog, id)?;
    refuse_personal(&team, "left")?;
    let member = people.member(&team.id, &ask.caller.email).cloned();
    let outside = || Failure::Conflict("You are not a member of this team".to_owned());
    let member = member.ok_or_else(outside)?;
    let mutations = leaving(people, &team, &member)?;
    ask.apply(mutations).await?;
    Ok(done("Successfully left the team"))
}

/// What lets a user into a team: there must be room in it, and one team more for the user.
///
/// # Errors
///
/// 409 if there is not, or if they are in it already.
pub fn joining<B: Backend>(
    ask: &Ask<'_, B>,
    people: &People,
    team: &Team,
    member: &Member,
    at: i64,
) -> Result<Vec<Mutation>, Failure> {
    let email = &member.user_email;
    if people.member(&team.id, email).is_some() {
        return Err(Failure::Conflict(format!("{email} is a member of this team already")));
    }
    seats::check_room(ask, people, team, email, at)?;
    seats::check_user(ask, people, email)?;
    let mut mutations: Vec<Mutation> = touched(team, at).into();
    mutations.push(Mutation::PutIdentity(member.clone().into()));
    // Whoever is in needs no invitation, nor to ask.
    let is_theirs = |team_id: &str, of: &str| team_id == team.id && of == email;
    let invitations = people.invitations().filter(|each| is_theirs(&each.team_id, &each.email));
    mutations.extend(invitations.map(|each| forget(Entity::Invitation, &each.id)));
    let requests = people.join_requests().filter(|each| is_theirs(&each.team_id, &each.user_email));
    mutations.extend(requests.map(|each| forget(Entity::JoinRequest, &each.id)));
    Ok(mutations)
}

/// What takes a member out of a team, with the roles that they were given in it: whoever comes back
/// begins anew.
fn leaving(people: &People, team: &Team, member: &Member) -> Result<Vec<Mutation>, Failure> {
    keep_an_owner(people, team, member)?;
    let mut mutations: Vec<Mutation> = touched(team, now()).into();
    let is_here = |scope: Scope, id: Option<&str>| scope == Scope::Team && id == Some(&*team.id);
    let grants = people.grants_of(&member.user_email);
    let grants = grants.filter(|grant| is_here(grant.scope, grant.scope_id.as_deref()));
    mutations.extend(grants.map(|grant| forget(Entity::Grant, &grant.id)));
    mutations.push(forget(Entity::Member, &member.id));
    Ok(mutations)
}

/// What notes that a team has other members: that it is as it was read, and that it changed.
fn touched(team: &Team, at: i64) -> [Mutation; 2] {
    let expected =
        Mutation::Expect { entity: Entity::Team, id: team.id.clone(), version: team.version };
    let team = Team { updated_at: at, version: team.version + 1, ..team.clone() };
    [expected, Mutation::PutIdentity(team.into())]
}

fn keep_an_owner(people: &People, team: &Team, member: &Member) -> Result<(), Failure> {
    let is_owner = |member: &Member| member.role == TeamRole::Owner;
    let mut others = people.members_of(&team.id).filter(|other| other.id != member.id);
    match !is_owner(member) || others.any(|other| is_owner(other)) {
        true => Ok(()),
        false => Err(Failure::Conflict(
            "The last owner of a team stays; make somebody else an owner first, or delete the team"
                .to_owned(),
        )),
    }
}

fn find_member(people: &People, team: &Team, email: &str) -> Result<Arc<Member>, Failure> {
    let email = address(email);
    let found = people.member(&team.id, &email).cloned();
    found.ok_or_else(|| Failure::NotFound(format!("Team member not found: {email}")))
}

/// The team of this id, which is there as long as what refers to it is.
pub fn team_of(catalog: &Catalog, id: &str) -> Result<Arc<Team>, Failure> {
    catalog.people().team(id).cloned().ok_or_else(super::not_found)
}
