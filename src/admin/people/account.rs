//! What people do for themselves: become a user, see who they are, choose another password.

use storage::record::{User, now};

use super::birth::make_user;
use super::form::UserForm;
use super::hashing::{hash, verify};
use super::login::session;
use super::{
    Ask, Backend, RestAnswer, RestRequest, UserRead, answer, change_user, done, no_user,
    set_password,
};
use crate::admin::fields::Fields;
use crate::failure::Failure;

/// `POST /auth/email/register`.
pub async fn register<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
) -> Result<RestAnswer, Failure> {
    let rules = &backend.rules().identity;
    if !rules.registration_open {
        let text = "Public registration is disabled: PUBLIC_REGISTRATION_ENABLED is false";
        return Err(Failure::Forbidden(text.to_owned()));
    }
    let fields = Fields::parse(request.content_type, request.body)?;
    let form = UserForm::read(fields, None, rules, false)?;
    let user = make_user(backend, form, "local").await?;
    session(backend, request, &user, 200)
}

/// `GET /auth/email/me`.
pub fn me<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    match catalog.people().user_by_email(&ask.caller.email) {
        Some(user) => Ok(answer::ok(&UserRead::of(user, now()))),
        // A token may name somebody whom only its issuer knows.
        None => {
            let stranger = User {
                email: ask.caller.email.clone(),
                is_admin: ask.caller.is_admin,
                is_active: true,
                auth_provider: "token".to_owned(),
                ..User::default()
            };
            Ok(answer::ok(&UserRead::of(&stranger, now())))
        }
    }
}

/// `POST /auth/email/change-password`: all tokens of before end.
pub async fn change_password<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let rules = &ask.backend.rules().identity;
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let (old, new) = (fields.secret("old_password"), fields.secret("new_password"));
    for (name, value) in [("old_password", &old), ("new_password", &new)] {
        if value.is_none() {
            fields.missing(name);
        }
    }
    if let Some(Err(sentence)) =
        new.as_ref().map(|new| rules.passwords.check(new, &ask.caller.email))
    {
        fields.hidden_error("new_password", sentence);
    }
    if new.is_some() && new == old {
        fields.hidden_error("new_password", "The new password must be another one");
    }
    fields.finish()?;
    let user = ask.backend.catalog().people().user_by_email(&ask.caller.email).cloned();
    let user = user.ok_or_else(|| no_user(&ask.caller.email))?;
    let stored = user.password_hash.clone();
    if !verify(ask.backend, rules, old.unwrap_or_default(), stored).await? {
        return Err(Failure::Unauthorized {
            detail: "The old password is wrong",
            challenge: "Bearer",
        });
    }
    let hash = hash(ask.backend, new.unwrap_or_default()).await?;
    change_user(ask.backend, &user.id, |user| set_password(user, &hash, false)).await?;
    Ok(answer::ok(&done("Password changed; log in again")))
}
