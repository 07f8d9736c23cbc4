//! Requests to join a public team: made, listed, granted and refused.

use std::sync::Arc;

use storage::Mutation;
use storage::record::{
    Entity, JoinRequest, JoinStatus, Team, TeamRole, TeamVisibility, new_id, now,
};

use super::{done, find, forget, managed, members, refuse_personal, seats};
use crate::admin::fields::Fields;
use crate::admin::{Ask, Backend, RestAnswer, answer, record_form, show};
use crate::catalog::Catalog;
use crate::failure::Failure;
use crate::limits;
use crate::permission::Permission;

/// The longest message, in characters.
const MESSAGE_LENGTH_MAX: usize = 500;

/// `POST /teams/{id}/join`: asks the owners of a public team to be let in.
pub async fn ask_in<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let (people, rules) = (catalog.people(), &ask.backend.rules().teams);
    if !rules.join_requests_allowed {
        return Err(Failure::Forbidden("Team join requests are currently disabled".to_owned()));
    }
    let team = find(ask, &catalog, id)?;
    refuse_personal(&team, "joined")?;
    if team.visibility != TeamVisibility::Public {
        return Err(Failure::Forbidden("Can only request to join public teams".to_owned()));
    }
    let message = message(ask)?;
    let (at, email) = (now(), ask.caller.email.to_lowercase());
    if people.member(&team.id, &email).is_some() {
        return Err(Failure::Conflict("You are a member of this team already".to_owned()));
    }
    seats::check_user(ask, people, &email)?;
    let of_team = || people.join_requests().filter(|each| each.team_id == team.id);
    let (open, over): (Vec<_>, Vec<_>) = of_team().partition(|each| is_open(each, at));
    if open.iter().any(|each| each.user_email == email) {
        return Err(Failure::Conflict("You asked to join this team already".to_owned()));
    }
    if open.len() >= limits::JOIN_REQUEST_COUNT_MAX {
        let sentence = "Too many requests to join this team wait for an answer";
        return Err(Failure::Conflict(sentence.to_owned()));
    }
    let request = JoinRequest {
        id: new_id(),
        team_id: team.id.clone(),
        user_email: email,
        message,
        status: JoinStatus::Pending,
        requested_at: at,
        expires_at: at.saturating_add(rules.invitation_lifetime),
        reviewed_by: None,
        reviewed_at: None,
        version: 1,
    };
    let mut mutations: Vec<Mutation> =
        over.iter().map(|each| forget(Entity::JoinRequest, &each.id)).collect();
    mutations.push(Mutation::PutIdentity(request.clone().into()));
    ask.apply(mutations).await?;
    Ok(answer::ok(&show::join_request(&team, &request)))
}

/// `GET /teams/{id}/join-requests`: those that wait for an answer, the oldest first.
pub fn list<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let team = managed(ask, &catalog, id, Permission::TeamsManageMembers)?;
    let now = now();
    let of_team = |each: &&Arc<JoinRequest>| each.team_id == team.id && is_open(each, now);
    let mut found: Vec<_> = catalog.people().join_requests().filter(of_team).collect();
    found.sort_by(|a, b| a.requested_at.cmp(&b.requested_at).then_with(|| a.id.cmp(&b.id)));
    let shown: Vec<_> = found.into_iter().map(|each| show::join_request(&team, each)).collect();
    Ok(answer::ok(&shown))
}

/// `POST /teams/{id}/join-requests/{request}/approve`.
pub async fn approve<B: Backend>(
    ask: &Ask<'_, B>,
    id: &str,
    request_id: &str,
) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let (team, request) = open_request(ask, &catalog, id, request_id)?;
    let people = catalog.people();
    seats::check_part(ask, people, &team, TeamRole::Member)?;
    let at = now();
    let by = &ask.caller.email;
    let member = seats::member(&team, &request.user_email, TeamRole::Member, by, at);
    let mut mutations = vec![expected(&request)];
    mutations.extend(members::joining(ask, people, &team, &member, at)?);
    ask.apply(mutations).await?;
    Ok(answer::ok(&show::member(&member)))
}

/// `DELETE /teams/{id}/join-requests/{request}`: they are not let in, and may ask again.
pub async fn reject<B: Backend>(
    ask: &Ask<'_, B>,
    id: &str,
    request_id: &str,
) -> Result<RestAnswer, Failure> {
    let (_, request) = open_request(ask, &ask.backend.catalog(), id, request_id)?;
    let rejected = JoinRequest {
        status: JoinStatus::Rejected,
        reviewed_by: Some(ask.caller.email.to_lowercase()),
        reviewed_at: Some(now()),
        version: request.version + 1,
        ..JoinRequest::clone(&request)
    };
    ask.apply(vec![expected(&request), Mutation::PutIdentity(rejected.into())]).await?;
    Ok(done("Join request rejected successfully"))
}

fn expected(request: &JoinRequest) -> Mutation {
    let (id, version) = (request.id.clone(), request.version);
    Mutation::Expect { entity: Entity::JoinRequest, id, version }
}

fn is_open(request: &JoinRequest, now: i64) -> bool {
    request.status == JoinStatus::Pending && request.expires_at > now
}

/// A request that waits, of a team whose members the caller may choose.
fn open_request<B: Backend>(
    ask: &Ask<'_, B>,
    catalog: &Catalog,
    id: &str,
    request_id: &str,
) -> Result<(Arc<Team>, Arc<JoinRequest>), Failure> {
    let team = managed(ask, catalog, id, Permission::TeamsManageMembers)?;
    let found = catalog.people().join_request(request_id).filter(|each| each.team_id == team.id);
    let found = found.filter(|each| is_open(each, now())).cloned();
    let request = found.ok_or_else(|| Failure::NotFound("Join request not found".to_owned()))?;
    Ok((team, request))
}

/// What the caller says to the owners; a body need not be there at all.
fn message<B>(ask: &Ask<'_, B>) -> Result<Option<String>, Failure> {
    if ask.request.body.is_empty() {
        return Ok(None);
    }
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let message = record_form::optional(&mut fields, "message", MESSAGE_LENGTH_MAX);
    fields.finish()?;
    Ok(message.flatten())
}
