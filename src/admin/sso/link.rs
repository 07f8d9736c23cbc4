//! From whom a provider vouches for to a user of ours, by the address and nothing else.

use storage::record::{Entity, Member, User, new_id, now};
use storage::{Mutation, StoreError};

use crate::admin::Backend;
use crate::admin::people::{birth, change_user, is_last_admin};
use crate::auth::oidc::{Identity, Provider};
use crate::catalog::People;
use crate::failure::Failure;

/// The user who logged in, as their provider wants them to be from now on.
///
/// # Errors
///
/// 403 if they are disabled, or not there and may not become a user.
pub async fn user<B: Backend>(
    backend: &B,
    provider: &Provider,
    identity: &Identity,
) -> Result<User, Failure> {
    let user = match known(backend, identity) {
        Some(user) => user,
        None => make(backend, provider, identity).await?,
    };
    if !user.is_active {
        return Err(Failure::Forbidden("This user is disabled".to_owned()));
    }
    let is_admin = is_admin(backend.catalog().people(), provider, identity, &user);
    if is_admin != user.is_admin {
        tracing::warn!(email = user.email, provider = provider.id, is_admin, "a provider decides");
    }
    let user = change_user(backend, &user.id, |user| {
        user.is_admin = is_admin;
        user.email_verified = true;
        user.last_login = Some(now());
        if user.full_name.is_none() {
            user.full_name.clone_from(&identity.full_name);
        }
    });
    let user = user.await?;
    let seats = seats(backend.catalog().people(), provider, identity, &user);
    if !seats.is_empty() {
        backend.apply(seats).await?;
    }
    Ok(user)
}

fn known<B: Backend>(backend: &B, identity: &Identity) -> Option<User> {
    let catalog = backend.catalog();
    catalog.people().user_by_email(&identity.email).map(|user| User::clone(user))
}

async fn make<B: Backend>(
    backend: &B,
    provider: &Provider,
    identity: &Identity,
) -> Result<User, Failure> {
    if !provider.auto_create_users {
        let text = "There is no user of this address; an administrator must make one first";
        return Err(Failure::Forbidden(text.to_owned()));
    }
    let at = now();
    let user = User {
        id: new_id(),
        email: identity.email.clone(),
        full_name: identity.full_name.clone(),
        is_admin: identity.is_admin(&provider.habits).unwrap_or(false),
        is_active: true,
        auth_provider: provider.id.clone(),
        email_verified: true,
        created_at: at,
        updated_at: at,
        version: 1,
        ..User::default()
    };
    let mutations = birth(&user, backend.catalog().people(), &backend.rules().identity);
    match backend.apply(mutations).await {
        Ok(_) => Ok(user),
        // They logged in twice at the same moment.
        Err(Failure::Storage(StoreError::Conflict { .. })) => known(backend, identity)
            .ok_or_else(|| Failure::Busy("Another login makes this user; try again".to_owned())),
        Err(failure) => Err(failure),
    }
}

/// Whether a user is an administrator from now on: a provider makes one of whoever it may, and takes
/// it only from those whom it brought, never from the last.
fn is_admin(people: &People, provider: &Provider, identity: &Identity, user: &User) -> bool {
    match identity.is_admin(&provider.habits) {
        Some(true) => true,
        Some(false) if user.auth_provider == provider.id => {
            user.is_admin && is_last_admin(people, user)
        }
        _ => user.is_admin,
    }
}

/// What brings a user into the teams of their groups, and out of those into which the provider
/// brought them before. Without a word of groups all stays.
fn seats(people: &People, provider: &Provider, identity: &Identity, user: &User) -> Vec<Mutation> {
    let Some(groups) = &identity.groups else { return Vec::new() };
    let by = format!("sso:{}", provider.id);
    let is_there = |id: &str| people.team(id).is_some_and(|it| it.is_active && !it.is_personal);
    let mut mutations = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    let all = provider.team_mapping.iter();
    let (wanted, others): (Vec<_>, Vec<_>) = all.partition(|(group, _)| groups.contains(group));
    for (group, seat) in wanted {
        let member = people.member(&seat.team_id, &user.email);
        if done.contains(&seat.team_id.as_str()) || member.is_some() {
            done.push(&seat.team_id);
            continue;
        }
        done.push(&seat.team_id);
        if !is_there(&seat.team_id) {
            let team = seat.team_id.as_str();
            tracing::warn!(provider = provider.id, group, team, "a group is mapped to no team");
            continue;
        }
        let member = Member {
            id: new_id(),
            team_id: seat.team_id.clone(),
            user_email: user.email.clone(),
            role: seat.role,
            joined_at: now(),
            invited_by: Some(by.clone()),
            version: 1,
        };
        mutations.push(Mutation::PutIdentity(member.into()));
    }
    for (_, seat) in others {
        if done.contains(&seat.team_id.as_str()) {
            continue;
        }
        done.push(&seat.team_id);
        let member = people.member(&seat.team_id, &user.email);
        if let Some(member) = member.filter(|it| it.invited_by.as_deref() == Some(&by)) {
            let (entity, id) = (Entity::Member, member.id.clone());
            mutations.push(Mutation::DeleteIdentity { entity, id });
        }
    }
    mutations
}
