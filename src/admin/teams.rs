//! Teams: made, listed, found, changed and dissolved.
//!
//! A team is a thing like any other to the one place that decides (`auth::access`): its members see
//! it, everybody sees a public one, and its roles say who may do what with it. Whoever may not see a
//! team is told that there is none.

mod estate;
mod form;
pub mod invitations;
pub mod joining;
pub mod members;
mod rules;
mod seats;

use std::sync::Arc;

use serde_json::json;
use storage::Mutation;
use storage::record::{
    Entity, Member, Ownership, Team, TeamRole, TeamVisibility, Visibility, new_id, now,
};

use super::query::Query;
use super::show::{self, Invited, Seated, TeamMade, Teams};
use super::{Ask, Backend, RestAnswer, answer, listing};
use crate::auth::access::{self, Verdict};
use crate::catalog::{Age, Catalog, People, naming};
use crate::failure::Failure;
use crate::permission::Permission;
use form::Form;

pub use rules::TeamRules;

/// `GET /teams`: those that the caller is in; administrators see the personal teams of others only
/// by their ids.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let mut query = Query::parse(ask.request.query);
    let rights = &ask.caller.rights;
    let is_own = |team: &Team| people.member(&team.id, &ask.caller.email).is_some();
    let is_listed = |team: &Team| match rights.unrestricted {
        true => !team.is_personal || is_own(team),
        false => rights.team(&team.id).is_some(),
    };
    let teams = people.teams().filter(|team| team.is_active && is_listed(team)).collect();
    let page = listing::part(&mut query, ask.backend.rules(), teams, |team| age(team));
    query.finish()?;
    Ok(answer::ok(&Teams {
        teams: page.items.into_iter().map(|team| show::team(people, team)).collect(),
        total: (!page.is_wrapped).then_some(page.total),
        next: page.is_wrapped.then_some(page.next),
    }))
}

/// `GET /teams/discover`: public teams that the caller is not in.
pub fn discover<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let mut query = Query::parse(ask.request.query);
    let is_outside = |team: &Team| people.member(&team.id, &ask.caller.email).is_none();
    let is_found = |team: &Team| team.visibility == TeamVisibility::Public && !team.is_personal;
    let teams = people.teams().filter(|team| team.is_active && is_found(team) && is_outside(team));
    let page = listing::part(&mut query, ask.backend.rules(), teams.collect(), |team| age(team));
    query.finish()?;
    let is_joinable = ask.backend.rules().teams.join_requests_allowed;
    let show = |team| show::discovered(people, team, is_joinable);
    Ok(answer::ok(&page.items.into_iter().map(|team| show(team)).collect::<Vec<_>>()))
}

/// `GET /teams/{id}`.
pub fn get<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let team = find(ask, &catalog, id)?;
    Ok(shown(200, &catalog, &team))
}

/// `POST /teams`: the caller is its first owner. Of those who are named with it, users of the
/// gateway become members at once and others are invited.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let (people, rules) = (catalog.people(), &ask.backend.rules().teams);
    let form = Form::read(ask)?;
    if !ask.caller.rights.unrestricted {
        if !rules.creation_allowed {
            return Err(Failure::Forbidden("Team creation is currently disabled".to_owned()));
        }
        seats::check_user(ask, people, &ask.caller.email)?;
    }
    let at = now();
    let mut team = Team {
        id: new_id(),
        created_by: ask.caller.email.to_lowercase(),
        is_active: true,
        created_at: at,
        updated_at: at,
        version: 1,
        ..Team::default()
    };
    let slug = form.slug.clone();
    let seeds = form.seeds.clone();
    form.apply(&mut team);
    team.slug = slug.unwrap_or_else(|| free_slug(people, &team));
    let seated = seats::Seating::plan(ask, people, &team, seeds, at)?;
    let mut mutations = vec![Mutation::PutIdentity(team.clone().into())];
    mutations.push(Mutation::PutIdentity(founder(&team).into()));
    mutations.extend(seated.mutations());
    ask.apply(mutations).await?;
    let catalog = ask.backend.catalog();
    let members_added = seated
        .members
        .iter()
        .map(|member| Seated { email: &member.user_email, role: member.role.as_str() });
    let invitations_sent = seated.invitations.iter().map(|(invitation, token)| Invited {
        email: &invitation.email,
        role: invitation.role.as_str(),
        invitation_id: &invitation.id,
        token,
    });
    Ok(answer::with_status(
        201,
        &TeamMade {
            team: show::team(catalog.people(), &team),
            members_added: members_added.collect(),
            invitations_sent: invitations_sent.collect(),
        },
    ))
}

/// `PUT /teams/{id}`.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let stored = managed(ask, &ask.backend.catalog(), id, Permission::TeamsUpdate)?;
    refuse_personal(&stored, "changed")?;
    let expected = ask.expected(Entity::Team, id, stored.version)?;
    let mut team = Team::clone(&stored);
    Form::read_change(ask)?.apply(&mut team);
    team.updated_at = now();
    team.version += 1;
    ask.apply(vec![expected, Mutation::PutIdentity(team.into())]).await?;
    let catalog = ask.backend.catalog();
    let team = find(ask, &catalog, id)?;
    Ok(shown(200, &catalog, &team))
}

/// `DELETE /teams/{id}?force=`: with its members, invitations, requests, tokens, and the roles that
/// counted in it. A team that owns things of the registry stays, unless it is told to give them up:
/// then they are their owners' alone, and what was public stays so.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let force = query.flag("force", false);
    query.finish()?;
    let catalog = ask.backend.catalog();
    let team = managed(ask, &catalog, id, Permission::TeamsDelete)?;
    refuse_personal(&team, "deleted")?;
    let estate = estate::Estate::of(&catalog, id);
    if !estate.is_empty() && !force {
        return Err(Failure::Conflict(format!(
            "The team owns {estate}; move them, delete them, or delete the team with ?force=true, \
             and each is its owner's alone (what is public stays public)"
        )));
    }
    let mut mutations = vec![ask.expected(Entity::Team, id, team.version)?];
    mutations.extend(estate.release(&ask.author()));
    let grants = catalog.people().grants().filter(|grant| grant.scope_id.as_deref() == Some(id));
    mutations.extend(grants.map(|grant| forget(Entity::Grant, &grant.id)));
    mutations.push(forget(Entity::Team, id));
    ask.apply(mutations).await?;
    Ok(done("Team deleted successfully"))
}

/// Whose a team is, as decisions see it: its members'.
pub fn ownership(team: &Team) -> Ownership {
    let visibility = match team.visibility {
        TeamVisibility::Private => Visibility::Team,
        TeamVisibility::Public => Visibility::Public,
    };
    Ownership { team_id: Some(team.id.clone()), owner_email: None, visibility }
}

/// Finds a team that exists for the caller.
pub fn find<B>(ask: &Ask<'_, B>, catalog: &Catalog, id: &str) -> Result<Arc<Team>, Failure> {
    let found = catalog.people().team(id).filter(|team| team.is_active);
    let found = found.filter(|team| ask.caller.sees(&ownership(team)));
    found.cloned().ok_or_else(not_found)
}

/// Finds a team with which the caller may do what `permission` says.
fn managed<B>(
    ask: &Ask<'_, B>,
    catalog: &Catalog,
    id: &str,
    permission: Permission,
) -> Result<Arc<Team>, Failure> {
    let team = find(ask, catalog, id)?;
    match access::decide(ask.caller, permission, &ownership(&team)) {
        Verdict::Allow(_) => Ok(team),
        Verdict::Deny(reason) => Err(Failure::Forbidden(reason.to_string())),
    }
}

fn not_found() -> Failure {
    Failure::NotFound("Team not found".to_owned())
}

fn refuse_personal(team: &Team, deed: &str) -> Result<(), Failure> {
    match team.is_personal {
        true => Err(Failure::Forbidden(format!("A personal team cannot be {deed}"))),
        false => Ok(()),
    }
}

/// The place of a team in lists.
fn age(team: &Team) -> Age {
    Age { created_at: team.created_at, id: team.id.as_str().into() }
}

fn shown(status: u16, catalog: &Catalog, team: &Team) -> RestAnswer {
    let shown = show::team(catalog.people(), team);
    RestAnswer { etag: Some(team.version), ..answer::with_status(status, &shown) }
}

/// The answer to what leaves nothing to show.
fn done(message: &str) -> RestAnswer {
    answer::ok(&json!({ "success": true, "message": message }))
}

fn forget(entity: Entity, id: &str) -> Mutation {
    Mutation::DeleteIdentity { entity, id: id.to_owned() }
}

fn founder(team: &Team) -> Member {
    Member {
        id: new_id(),
        team_id: team.id.clone(),
        user_email: team.created_by.clone(),
        role: TeamRole::Owner,
        joined_at: team.created_at,
        invited_by: None,
        version: 1,
    }
}

/// A slug of the name that no team has. That another has the plain one is nobody's business, so a
/// part of the id makes it another.
fn free_slug(people: &People, team: &Team) -> String {
    let plain = naming::slug(&team.name, "-");
    match people.teams().any(|other| other.slug == plain) {
        true => format!("{plain}-{}", &team.id[..8]),
        false => plain,
    }
}
