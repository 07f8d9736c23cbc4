//! Logins and the sessions that they begin: the token, the cookies, and their end.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use storage::Mutation;
use storage::record::{Revocation, User, now};

use super::hashing::verify;
use super::{
    Ask, Backend, IdentityRules, RestAnswer, RestRequest, UserRead, answer, change_user, done,
    no_user,
};
use crate::admin::fields::Fields;
use crate::failure::Failure;
use crate::web::cookie::Readers;
use crate::web::csrf::Session;

/// What a login answers.
#[derive(Serialize, JsonSchema)]
pub struct LoginRead<'a> {
    access_token: String,
    token_type: &'static str,
    /// In seconds.
    expires_in: u64,
    user: UserRead<'a>,
}

/// `POST /auth/login` and `POST /auth/email/login`.
pub async fn login<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
) -> Result<RestAnswer, Failure> {
    let begun = Instant::now();
    let rules = &backend.rules().identity;
    let mut fields = Fields::parse(request.content_type, request.body)?;
    let email = fields.text("email");
    let name = fields.text("username");
    let password = fields.secret("password");
    let Some(email) = email.or(name) else {
        fields.missing("email");
        fields.finish()?;
        return Err(Failure::field("email", "Field required"));
    };
    if password.is_none() {
        fields.missing("password");
    }
    fields.finish()?;
    if !email.contains('@') {
        let text = "Username must be an email address";
        return Err(Failure::Malformed(text.to_owned()));
    }
    match try_login(backend, request, &email, password.unwrap_or_default()).await {
        Err(Failure::LoginFailed { why }) => {
            backend.rest_until(begun + rules.login_failure_time).await;
            Err(Failure::LoginFailed { why })
        }
        other => other,
    }
}

async fn try_login<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    email: &str,
    password: String,
) -> Result<RestAnswer, Failure> {
    let rules = &backend.rules().identity;
    let hash = || {
        let catalog = backend.catalog();
        catalog.people().user_by_email(email).and_then(|user| user.password_hash.clone())
    };
    let compared = hash();
    // For an unknown user as much work is done as for a known one.
    let is_right = verify(backend, rules, password, compared.clone()).await? && hash() == compared;
    let refused = |why| Err(Failure::LoginFailed { why });
    // That took its time, in which others may have locked the user.
    let user = backend.catalog().people().user_by_email(email).cloned();
    let Some(user) = user else { return refused("There is no such user") };
    let at = now();
    if !rules.email_enabled {
        return refused("Nobody logs in with a password here: EMAIL_AUTH_ENABLED is false");
    }
    if !user.is_active {
        return refused("The user is switched off");
    }
    if user.locked_until.is_some_and(|until| until > at) {
        return refused("The user is locked");
    }
    if !is_right {
        let user = count_failure(backend, &user, at).await?;
        return match user.locked_until {
            Some(_) => refused("The password is wrong, and the user is locked now"),
            None => refused("The password is wrong"),
        };
    }
    let user = change_user(backend, &user.id, |user| {
        user.failed_login_attempts = 0;
        user.locked_until = None;
        user.last_login = Some(at);
    });
    let user = user.await?;
    session(backend, request, &user, 200)
}

/// Counts a wrong password, and locks the user after too many in a row.
async fn count_failure<B: Backend>(backend: &B, user: &User, at: i64) -> Result<User, Failure> {
    let rules = &backend.rules().identity;
    let until = at + micros(rules.lockout);
    let counted = change_user(backend, &user.id, |user| {
        if user.locked_until.is_some_and(|until| until > at) {
            return;
        }
        user.failed_login_attempts += 1;
        user.locked_until = None;
        if user.failed_login_attempts >= rules.login_failure_max {
            user.failed_login_attempts = 0;
            user.locked_until = Some(until);
        }
    });
    counted.await
}

/// The answer to a login: a token for `user`, which browsers keep as a cookie.
pub fn session<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    user: &User,
    status: u16,
) -> Result<RestAnswer, Failure> {
    let rules = &backend.rules().identity;
    let expires_in = rules.session_lifetime.as_secs();
    let mut claims = claims(rules, user);
    claims.insert("token_use".to_owned(), json!("session"));
    if expires_in > 0 {
        let issued_at = claims["iat"].as_u64().unwrap_or_default();
        claims.insert("exp".to_owned(), json!(issued_at + expires_in));
    }
    let access_token = backend.issue(&claims)?;
    let session = Session { email: &user.email, id: claims["jti"].as_str() };
    let cookies = session_cookies(backend, request, session, &access_token);
    let user = UserRead::of(user, now());
    let read = LoginRead { access_token, token_type: "bearer", expires_in, user };
    Ok(RestAnswer { cookies, ..answer::with_status(status, &read) })
}

/// The cookie in which browsers keep the token of a session.
const SESSION_COOKIE: &str = "jwt_token";

/// How long a browser keeps the token of a session that has no end.
const COOKIE_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Gives a browser its session, and what proves that its requests are not forged.
fn session_cookies<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    session: Session<'_>,
    token: &str,
) -> Vec<String> {
    let Some(client) = &request.client else { return Vec::new() };
    let (cookies, csrf) = (backend.cookies(), backend.csrf());
    let lifetime = backend.rules().identity.session_lifetime;
    let age = if lifetime.is_zero() { COOKIE_AGE } else { lifetime };
    let seconds = u64::try_from(now() / 1_000_000).unwrap_or_default();
    let guard = csrf.token(session, seconds);
    let strict = cookies.strict();
    vec![
        cookies.set(client, SESSION_COOKIE, token, age, Readers::Ourselves),
        strict.set(client, csrf.cookie_name(), &guard, csrf.lifetime(), Readers::Pages),
    ]
}

/// Takes a browser's session away.
fn end_cookies<B: Backend>(ask: &Ask<'_, B>) -> Vec<String> {
    let Some(client) = &ask.request.client else { return Vec::new() };
    let (cookies, csrf) = (ask.backend.cookies(), ask.backend.csrf());
    vec![
        cookies.clear(client, SESSION_COOKIE, Readers::Ourselves),
        cookies.strict().clear(client, csrf.cookie_name(), Readers::Pages),
    ]
}

/// What every token of ours says of its user.
pub fn claims(rules: &IdentityRules, user: &User) -> Map<String, Value> {
    let claims = json!({
        "sub": user.id,
        "iss": rules.issuer,
        "aud": rules.audience,
        "iat": now() / 1_000_000,
        "jti": uuid::Uuid::new_v4().to_string(),
        "user": {
            "email": user.email,
            "full_name": user.full_name,
            "is_admin": user.is_admin,
            "auth_provider": user.auth_provider,
        },
    });
    match claims {
        Value::Object(claims) => claims,
        _ => unreachable!("an object was written"),
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 2)
}

/// `POST /auth/logout`: the token that asks is good no more.
pub async fn logout<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    end_token(ask, "logout").await?;
    Ok(RestAnswer { cookies: end_cookies(ask), ..answer::ok(&done("Logged out")) })
}

/// `POST /auth/refresh`: a new token for the one that asks, which is good no more.
pub async fn refresh<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    if !ask.caller.is_session {
        let text = "Only the token of a login is refreshed; make an API token anew at /tokens";
        return Err(Failure::Forbidden(text.to_owned()));
    }
    let user = ask.backend.catalog().people().user_by_email(&ask.caller.email).cloned();
    let user = user.ok_or_else(|| no_user(&ask.caller.email))?;
    let begun = session(ask.backend, ask.request, &user, 200)?;
    end_token(ask, "refresh").await?;
    Ok(begun)
}

/// Revokes the token that asks; one without an id, which we never make, cannot be named.
async fn end_token<B: Backend>(ask: &Ask<'_, B>, why: &str) -> Result<(), Failure> {
    let Some(jti) = &ask.caller.token_id else { return Ok(()) };
    let revocation = Revocation {
        id: jti.clone(),
        user_email: Some(ask.caller.email.clone()),
        revoked_by: Some(ask.caller.email.clone()),
        reason: Some(why.to_owned()),
        revoked_at: now(),
        expires_at: ask.caller.expires_at.map(|end| (end as i64).saturating_mul(1_000_000)),
        version: 1,
    };
    ask.backend.apply(vec![Mutation::PutIdentity(revocation.into())]).await.map(|_| ())
}

/// `GET /auth/validate`: who the token is, and until when.
pub fn validate<B: Backend>(ask: &Ask<'_, B>) -> RestAnswer {
    answer::ok(&json!({
        "valid": true,
        "email": ask.caller.email,
        "is_admin": ask.caller.is_admin,
        "expires_at": ask.caller.expires_at,
        "token_use": if ask.caller.is_session { "session" } else { "api" },
    }))
}
