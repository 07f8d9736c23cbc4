//! Invitations: made, listed, called back and accepted by the word that was shown once.

use storage::Mutation;
use storage::record::{Entity, now};

use super::members::{self, team_of};
use super::{done, forget, form, managed, refuse_personal, seats};
use crate::admin::fields::Fields;
use crate::admin::{Ask, Backend, RestAnswer, answer, show};
use crate::failure::Failure;
use crate::permission::Permission;

/// `POST /teams/{id}/invitations`. One that was open for the same address is void from then on.
pub async fn create<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let team = managed(ask, &catalog, id, Permission::TeamsManageMembers)?;
    refuse_personal(&team, "joined")?;
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let email = form::email(&mut fields, "email").unwrap_or_default();
    let role = form::role(&mut fields).unwrap_or_default();
    fields.finish()?;
    if people.member(&team.id, &email).is_some() {
        return Err(Failure::Conflict(format!("{email} is a member of this team already")));
    }
    seats::check_part(ask, people, &team, role)?;
    let at = now();
    seats::check_room(ask, people, &team, &email, at)?;
    let (invitation, token) = seats::invitation(ask, &team, &email, role, at)?;
    let (open, mut mutations) = seats::sort_invitations(people, &team, at);
    let former = open.iter().filter(|each| each.email == email);
    mutations.extend(former.map(|each| forget(Entity::Invitation, &each.id)));
    mutations.push(Mutation::PutIdentity(invitation.clone().into()));
    ask.apply(mutations).await?;
    Ok(answer::with_status(201, &show::invitation(&team, &invitation, Some(&token), at)))
}

/// `GET /teams/{id}/invitations`: without the words to accept them by.
pub fn list<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let team = managed(ask, &catalog, id, Permission::TeamsManageMembers)?;
    let mut found: Vec<_> =
        catalog.people().invitations().filter(|each| each.team_id == team.id).collect();
    found.sort_by(|a, b| b.invited_at.cmp(&a.invited_at).then_with(|| a.id.cmp(&b.id)));
    let now = now();
    let shown: Vec<_> =
        found.into_iter().map(|each| show::invitation(&team, each, None, now)).collect();
    Ok(answer::ok(&shown))
}

/// `DELETE /teams/invitations/{id}`.
pub async fn cancel<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let absent = || Failure::NotFound("Invitation not found".to_owned());
    let invitation = catalog.people().invitation(id).ok_or_else(absent)?;
    let team = managed(ask, &catalog, &invitation.team_id, Permission::TeamsManageMembers);
    // An invitation to a team that the caller may not see is not there either.
    team.map_err(|failure| if failure.status() == 404 { absent() } else { failure })?;
    ask.apply(vec![forget(Entity::Invitation, id)]).await?;
    Ok(done("Team invitation cancelled successfully"))
}

/// `POST /teams/invitations/{token}/accept`: by whom it was made for, and once.
pub async fn accept<B: Backend>(ask: &Ask<'_, B>, token: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let (hash, at) = (seats::token_hash(token), now());
    // Whoever holds the word of another learns as much as who holds none.
    let is_meant = |email: &str| email.eq_ignore_ascii_case(&ask.caller.email);
    let mut good = people.invitations().filter(|each| each.token_hash == hash);
    let invitation = good.find(|each| each.expires_at > at && is_meant(&each.email));
    let absent = || Failure::NotFound("Invalid or expired invitation".to_owned());
    let invitation = invitation.ok_or_else(absent)?;
    let team = team_of(&catalog, &invitation.team_id).map_err(|_| absent())?;
    let by = &invitation.invited_by;
    let member = seats::member(&team, &invitation.email, invitation.role, by, at);
    // Of two who accept at once, only one finds the invitation still there.
    let mut mutations = vec![Mutation::Expect {
        entity: Entity::Invitation,
        id: invitation.id.clone(),
        version: invitation.version,
    }];
    mutations.extend(members::joining(ask, people, &team, &member, at)?);
    ask.apply(mutations).await?;
    Ok(answer::ok(&show::member(&member)))
}
