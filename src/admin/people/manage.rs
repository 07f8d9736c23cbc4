//! The users that administrators make, change, unlock and delete.

use std::sync::Arc;

use serde_json::json;
use storage::Mutation;
use storage::record::{Entity, User, now};

use super::birth::make_user;
use super::form::UserForm;
use super::hashing::hash;
use super::{Ask, Backend, RestAnswer, UserRead, answer, change_user, done, find, set_password};
use crate::admin::fields::Fields;
use crate::admin::query::Query;
use crate::catalog::People;
use crate::failure::Failure;

/// `GET /auth/email/admin/users`: in the order of addresses.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let limit = query.count("limit").unwrap_or(100).clamp(1, 1000);
    let offset = query.count("offset").unwrap_or(0);
    let cursor = query.text("cursor").map(str::to_owned);
    let is_wrapped = query.flag("include_pagination", false);
    query.finish()?;
    let catalog = ask.backend.catalog();
    let mut users: Vec<_> = catalog.people().users().collect();
    users.sort_by(|a, b| a.email.cmp(&b.email));
    let behind = |user: &&&Arc<User>| cursor.as_ref().is_none_or(|last| user.email > *last);
    let mut rest = users.iter().filter(behind).skip(offset);
    let at = now();
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let next = page.last().filter(|_| rest.next().is_some()).map(|user| user.email.clone());
    let shown: Vec<_> = page.into_iter().map(|user| UserRead::of(user, at)).collect();
    match is_wrapped {
        true => Ok(answer::ok(&json!({ "users": shown, "nextCursor": next }))),
        false => Ok(answer::ok(&shown)),
    }
}

/// `GET /auth/email/admin/users/{email}`.
pub fn get<B: Backend>(ask: &Ask<'_, B>, email: &str) -> Result<RestAnswer, Failure> {
    let user = find(&ask.backend.catalog(), email)?;
    Ok(answer::ok(&UserRead::of(&user, now())))
}

/// `POST /auth/email/admin/users`.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let form = UserForm::read(fields, None, &ask.backend.rules().identity, true)?;
    let user = make_user(ask.backend, form, "local").await?;
    Ok(answer::with_status(201, &UserRead::of(&user, now())))
}

/// `PUT` and `PATCH /auth/email/admin/users/{email}`.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, email: &str) -> Result<RestAnswer, Failure> {
    let user = find(&ask.backend.catalog(), email)?;
    let fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let form = UserForm::read(fields, Some(&user), &ask.backend.rules().identity, true)?;
    let falls = form.is_admin == Some(false) || form.is_active == Some(false);
    if falls && is_last_admin(ask.backend.catalog().people(), &user) {
        let text = "The last active administrator stays one: make another first";
        return Err(Failure::Malformed(text.to_owned()));
    }
    let hash = match form.password.clone() {
        Some(password) => Some(hash(ask.backend, password).await?),
        None => None,
    };
    let user = change_user(ask.backend, &user.id, |user| {
        form.apply(user);
        if let Some(hash) = &hash {
            set_password(user, hash, form.change_required.unwrap_or(false));
        }
    });
    Ok(answer::ok(&UserRead::of(&user.await?, now())))
}

/// `DELETE /auth/email/admin/users/{email}`: with memberships, roles and tokens. What the user owns in
/// the registry stays, for administrators to see.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, email: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let user = find(&catalog, email)?;
    if user.email == ask.caller.email {
        return Err(Failure::Malformed("Cannot delete your own account".to_owned()));
    }
    if is_last_admin(people, &user) {
        let text = "Cannot delete the last remaining admin user";
        return Err(Failure::Malformed(text.to_owned()));
    }
    let mut mutations = Vec::new();
    let mut gone = |entity, id: &str| {
        mutations.push(Mutation::DeleteIdentity { entity, id: id.to_owned() });
    };
    for (team, member) in people.teams_of(&user.email) {
        let is_alone = people.member_count(&team.id) == 1;
        match team.is_personal || is_alone {
            // A team goes with all that belongs to it.
            true => gone(Entity::Team, &team.id),
            false => gone(Entity::Member, &member.id),
        }
    }
    let teams_gone = |id: Option<&str>| {
        id.is_some_and(|id| {
            people.team(id).is_some_and(|team| {
                (team.is_personal || people.member_count(id) == 1)
                    && people.member(id, &user.email).is_some()
            })
        })
    };
    for grant in people.grants_of(&user.email).filter(|it| !teams_gone(it.scope_id.as_deref())) {
        gone(Entity::Grant, &grant.id);
    }
    let own = people.tokens().filter(|token| token.user_email == user.email);
    for token in own.filter(|token| !teams_gone(token.team_id.as_deref())) {
        gone(Entity::ApiToken, &token.id);
    }
    gone(Entity::User, &user.id);
    ask.backend.apply(mutations).await?;
    Ok(answer::ok(&done(&format!("User {} has been deleted", user.email))))
}

/// `POST /auth/email/admin/users/{email}/unlock`.
pub async fn unlock<B: Backend>(ask: &Ask<'_, B>, email: &str) -> Result<RestAnswer, Failure> {
    let user = find(&ask.backend.catalog(), email)?;
    let user = change_user(ask.backend, &user.id, |user| {
        user.failed_login_attempts = 0;
        user.locked_until = None;
    });
    let message = format!("User {} is unlocked", user.await?.email);
    Ok(answer::ok(&done(&message)))
}

/// Whether nobody would command the gateway any more without this user.
pub fn is_last_admin(people: &People, user: &User) -> bool {
    let is_one = |user: &User| user.is_admin && user.is_active;
    is_one(user) && people.users().filter(|other| is_one(other)).count() == 1
}
