//! Users, and how they prove who they are: logins, passwords, and the users that administrators make.

use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use storage::record::{Entity, Grant, Member, Scope, Team, TeamRole, User, new_id, now};
use storage::{Mutation, StoreError};

use super::fields::Fields;
use super::query::Query;
use super::show::Time;
use super::{Ask, Backend, RestAnswer, RestRequest, answer};
use crate::auth::password::{PASSWORD_SIZE_MAX, PasswordRules, Place};
use crate::catalog::{People, naming};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::web::cookie::Readers;
use crate::web::csrf::Session;

/// What the settings say about users and logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityRules {
    /// Who issues our tokens.
    pub issuer: String,
    /// Whom they are for.
    pub audience: String,
    /// How long the token of a login is good.
    pub session_lifetime: Duration,
    /// What passwords are.
    pub passwords: PasswordRules,
    /// How many are hashed at once.
    pub hashing_count_max: usize,
    /// After how many failures in a row a user is locked.
    pub login_failure_max: i64,
    /// How long.
    pub lockout: Duration,
    /// How long a login takes at least that fails.
    pub login_failure_time: Duration,
    /// People log in with passwords here.
    pub email_enabled: bool,
    /// Whoever comes may make a user.
    pub registration_open: bool,
    /// Each new user gets a team.
    pub personal_teams: bool,
    /// The role of a new user.
    pub user_role: String,
    /// The role of a new administrator.
    pub admin_role: String,
}

impl IdentityRules {
    /// Takes from the settings what concerns users.
    pub fn new(settings: &Settings) -> IdentityRules {
        let auth = &settings.auth;
        IdentityRules {
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            session_lifetime: auth.session_lifetime,
            passwords: PasswordRules::new(auth),
            hashing_count_max: auth.hashing_count_max,
            login_failure_max: i64::try_from(auth.login_failure_max).unwrap_or(i64::MAX),
            lockout: auth.lockout,
            login_failure_time: Duration::from_millis(auth.login_failure_ms as u64),
            email_enabled: auth.email_enabled,
            registration_open: auth.registration_open,
            personal_teams: auth.personal_teams,
            user_role: auth.user_role.clone(),
            admin_role: auth.admin_role.clone(),
        }
    }
}

/// A user as the API shows them.
#[derive(Serialize, JsonSchema)]
pub struct UserRead<'a> {
    email: &'a str,
    full_name: Option<&'a str>,
    is_admin: bool,
    is_active: bool,
    auth_provider: &'a str,
    created_at: Time,
    last_login: Option<Time>,
    email_verified: bool,
    password_change_required: bool,
    failed_login_attempts: i64,
    locked_until: Option<Time>,
    is_locked: bool,
}

impl<'a> UserRead<'a> {
    /// Shows `user` as they are `now`.
    pub fn of(user: &'a User, now: i64) -> UserRead<'a> {
        UserRead {
            email: &user.email,
            full_name: user.full_name.as_deref(),
            is_admin: user.is_admin,
            is_active: user.is_active,
            auth_provider: &user.auth_provider,
            created_at: Time(user.created_at),
            last_login: user.last_login.map(Time),
            email_verified: user.email_verified,
            password_change_required: user.password_change_required,
            failed_login_attempts: user.failed_login_attempts,
            locked_until: user.locked_until.map(Time),
            is_locked: user.locked_until.is_some_and(|until| until > now),
        }
    }
}

/// What a login answers.
#[derive(Serialize, JsonSchema)]
pub struct LoginRead<'a> {
    access_token: String,
    token_type: &'static str,
    /// In seconds.
    expires_in: u64,
    user: UserRead<'a>,
}

/// One text for all that can be wrong with a login, so that it tells nothing about users.
const WRONG: &str = "Invalid email or password";

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
        return Err(fields.finish().err().unwrap_or_else(wrong));
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
        Err(Failure::Unauthorized { detail, challenge }) => {
            backend.rest_until(begun + rules.login_failure_time).await;
            Err(Failure::Unauthorized { detail, challenge })
        }
        other => other,
    }
}

fn wrong() -> Failure {
    Failure::Unauthorized { detail: WRONG, challenge: "Bearer" }
}

async fn try_login<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    email: &str,
    password: String,
) -> Result<RestAnswer, Failure> {
    let rules = &backend.rules().identity;
    let user = backend.catalog().people().user_by_email(email).cloned();
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    // For an unknown user as much work is done as for a known one.
    let is_right = verify(backend, rules, password, hash).await?;
    let Some(user) = user.filter(|_| rules.email_enabled) else { return Err(wrong()) };
    let at = now();
    if user.locked_until.is_some_and(|until| until > at) || !user.is_active {
        tracing::warn!(email = user.email, "a login of a locked or disabled user was refused");
        return Err(wrong());
    }
    if !is_right {
        let locked = at + micros(rules.lockout);
        let user = change_user(backend, &user.id, |user| {
            user.failed_login_attempts += 1;
            if user.failed_login_attempts >= rules.login_failure_max {
                user.failed_login_attempts = 0;
                user.locked_until = Some(locked);
            }
        });
        let user = user.await?;
        tracing::warn!(email = user.email, locked = user.locked_until.is_some(), "a login failed");
        return Err(wrong());
    }
    let user = change_user(backend, &user.id, |user| {
        user.failed_login_attempts = 0;
        user.locked_until = None;
        user.last_login = Some(at);
    });
    let user = user.await?;
    session(backend, request, &user, 200)
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

/// Compares a password, off the shard.
async fn verify<B: Backend>(
    backend: &B,
    rules: &IdentityRules,
    password: String,
    hash: Option<String>,
) -> Result<bool, Failure> {
    if password.len() > PASSWORD_SIZE_MAX {
        return Ok(false);
    }
    let place = place(rules)?;
    let passwords = rules.passwords.clone();
    let work = move || {
        let _place = place;
        passwords.verify(&password, hash.as_deref())
    };
    backend.offload(work).await
}

async fn hash<B: Backend>(backend: &B, password: String) -> Result<String, Failure> {
    let rules = &backend.rules().identity;
    let place = place(rules)?;
    let passwords = rules.passwords.clone();
    let work = move || {
        let _place = place;
        passwords.hash(&password)
    };
    backend.offload(work).await
}

fn place(rules: &IdentityRules) -> Result<Place, Failure> {
    Place::take(rules.hashing_count_max).ok_or_else(|| {
        Failure::Busy("As many passwords are checked as PASSWORD_HASHING_MAX allows".to_owned())
    })
}

/// How often a change is tried while others change the same user.
const CHANGE_TRIES: usize = 8;

/// Changes a user as they are when the change is written, whoever changes them besides.
pub async fn change_user<B: Backend>(
    backend: &B,
    id: &str,
    change: impl Fn(&mut User),
) -> Result<User, Failure> {
    for _ in 0..CHANGE_TRIES {
        let catalog = backend.catalog();
        let stored = catalog.people().user(id).ok_or_else(|| no_user(id))?;
        let mut user = User::clone(stored);
        change(&mut user);
        user.updated_at = now();
        user.version += 1;
        let (entity, id, version) = (Entity::User, id.to_owned(), stored.version);
        let expected = Mutation::Expect { entity, id, version };
        match backend.apply(vec![expected, Mutation::PutIdentity(user.clone().into())]).await {
            Err(Failure::Storage(StoreError::VersionMismatch { .. })) => {}
            Ok(_) => return Ok(user),
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::Busy("The user is changed by many at once; try again".to_owned()))
}

fn no_user(email: &str) -> Failure {
    Failure::NotFound(format!("User not found: {email}"))
}

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

/// Gives a user a new password, by its hash, which ends every token that was issued before it.
pub fn set_password(user: &mut User, hash: &str, change_required: bool) {
    let at = now();
    user.password_hash = Some(hash.to_owned());
    user.password_change_required = change_required;
    user.password_changed_at = Some(at);
    user.failed_login_attempts = 0;
    user.locked_until = None;
    // Tokens tell whole seconds: one of this second is taken for newer.
    user.tokens_valid_from = at - at % 1_000_000;
}

/// What an action answers that has nothing to show.
fn done(message: &str) -> Value {
    json!({ "success": true, "message": message })
}

/// `POST /auth/logout`: the token that asks is good no more.
pub async fn logout<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    if let Some(jti) = &ask.caller.token_id {
        let revocation = storage::record::Revocation {
            id: jti.clone(),
            user_email: Some(ask.caller.email.clone()),
            revoked_by: Some(ask.caller.email.clone()),
            reason: Some("logout".to_owned()),
            revoked_at: now(),
            expires_at: ask.caller.expires_at.map(|end| (end as i64).saturating_mul(1_000_000)),
            version: 1,
        };
        ask.backend.apply(vec![Mutation::PutIdentity(revocation.into())]).await?;
    }
    Ok(RestAnswer { cookies: end_cookies(ask), ..answer::ok(&done("Logged out")) })
}

/// `POST /auth/refresh`: a new token for the one that asks, which stays good until it ends.
pub fn refresh<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    if !ask.caller.is_session {
        let text = "Only the token of a login is refreshed; make an API token anew at /tokens";
        return Err(Failure::Forbidden(text.to_owned()));
    }
    let user = ask.backend.catalog().people().user_by_email(&ask.caller.email).cloned();
    let user = user.ok_or_else(|| no_user(&ask.caller.email))?;
    session(ask.backend, ask.request, &user, 200)
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
    let behind =
        |user: &&&std::sync::Arc<User>| cursor.as_ref().is_none_or(|last| user.email > *last);
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

fn find(catalog: &crate::catalog::Catalog, email: &str) -> Result<std::sync::Arc<User>, Failure> {
    let email = percent_decode_str(email).decode_utf8_lossy();
    let people = catalog.people();
    let found = people.user_by_email(&email).or_else(|| people.user(&email));
    found.cloned().ok_or_else(|| no_user(&email))
}

/// Whether no other active user is an administrator.
pub fn is_last_admin(people: &People, user: &User) -> bool {
    let is_one = |user: &User| user.is_admin && user.is_active;
    is_one(user) && people.users().filter(|other| is_one(other)).count() == 1
}

/// What is said of a user who is made or changed.
pub struct UserForm {
    email: String,
    full_name: Option<Option<String>>,
    password: Option<String>,
    is_admin: Option<bool>,
    is_active: Option<bool>,
    change_required: Option<bool>,
}

/// The longest address (RFC 5321 §4.5.3.1).
const EMAIL_LENGTH_MAX: usize = 254;

impl UserForm {
    /// Reads the fields; `by_admin` may say more than people of themselves.
    fn read(
        mut fields: Fields,
        stored: Option<&User>,
        rules: &IdentityRules,
        by_admin: bool,
    ) -> Result<UserForm, Failure> {
        let email = fields.text("email").map(|email| email.trim().to_lowercase());
        if let Some(email) = &email {
            check_email(&mut fields, email, stored);
        }
        if email.is_none() && stored.is_none() {
            fields.missing("email");
        }
        let email = stored.map(|user| user.email.clone()).or(email).unwrap_or_default();
        let full_name = super::record_form::optional(&mut fields, "full_name", 255);
        let password = fields.secret("password");
        match &password {
            None if stored.is_none() => fields.missing("password"),
            None => {}
            Some(password) => {
                if let Err(sentence) = rules.passwords.check(password, &email) {
                    fields.hidden_error("password", sentence);
                }
            }
        }
        let mut flag = |name: &str| if by_admin { fields.flag(name) } else { None };
        let (is_admin, is_active) = (flag("is_admin"), flag("is_active"));
        let change_required = flag("password_change_required");
        fields.finish()?;
        Ok(UserForm { email, full_name, password, is_admin, is_active, change_required })
    }

    fn apply(&self, user: &mut User) {
        if let Some(name) = &self.full_name {
            user.full_name.clone_from(name);
        }
        user.is_admin = self.is_admin.unwrap_or(user.is_admin);
        user.is_active = self.is_active.unwrap_or(user.is_active);
        let required = self.change_required.unwrap_or(user.password_change_required);
        user.password_change_required = required;
    }
}

/// Whether a text can be the address of a user.
pub fn is_email(text: &str) -> bool {
    let is_sound = |part: &str| {
        !part.is_empty() && part.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != '@')
    };
    let parts = text.split_once('@');
    parts.is_some_and(|(name, domain)| is_sound(name) && is_sound(domain))
        && text.len() <= EMAIL_LENGTH_MAX
}

fn check_email(fields: &mut Fields, email: &str, stored: Option<&User>) {
    if !is_email(email) {
        fields.error("email", "Input should be an email address");
    }
    if stored.is_some_and(|user| user.email != email) {
        fields.error("email", "The address of a user does not change; make another user");
    }
}

/// Makes a user with all that a user has: a team of their own, a role.
pub async fn make_user<B: Backend>(
    backend: &B,
    form: UserForm,
    provider: &str,
) -> Result<User, Failure> {
    let catalog = backend.catalog();
    if catalog.people().user_by_email(&form.email).is_some() {
        return Err(Failure::Conflict(format!("User already exists: {}", form.email)));
    }
    let hash = match form.password.clone() {
        Some(password) => Some(hash(backend, password).await?),
        None => None,
    };
    let at = now();
    let mut user = User {
        id: new_id(),
        email: form.email.clone(),
        is_active: true,
        auth_provider: provider.to_owned(),
        password_changed_at: hash.is_some().then_some(at),
        password_hash: hash,
        created_at: at,
        updated_at: at,
        version: 1,
        ..User::default()
    };
    form.apply(&mut user);
    let mutations = birth(&user, catalog.people(), &backend.rules().identity);
    backend.apply(mutations).await?;
    Ok(user)
}

/// The records that a new user comes with, and the user.
pub fn birth(user: &User, people: &People, rules: &IdentityRules) -> Vec<Mutation> {
    let at = user.created_at;
    let mut mutations = vec![Mutation::PutIdentity(user.clone().into())];
    if rules.personal_teams {
        let slug = format!("personal-{}", naming::slug(&user.email, "-"));
        // Addresses that differ in punctuation alone would have one slug.
        let is_taken = people.teams().any(|team| team.slug == slug);
        let slug = if is_taken { format!("{slug}-{}", &user.id[..8]) } else { slug };
        let name = user.full_name.as_deref().unwrap_or(&user.email);
        let team = Team {
            id: new_id(),
            name: format!("{name}'s Team"),
            slug,
            description: Some(format!("Personal workspace for {}", user.email)),
            created_by: user.email.clone(),
            is_personal: true,
            max_members: Some(1),
            is_active: true,
            created_at: at,
            updated_at: at,
            version: 1,
            ..Team::default()
        };
        let member = Member {
            id: new_id(),
            team_id: team.id.clone(),
            user_email: user.email.clone(),
            role: TeamRole::Owner,
            joined_at: at,
            invited_by: None,
            version: 1,
        };
        mutations.push(Mutation::PutIdentity(team.into()));
        mutations.push(Mutation::PutIdentity(member.into()));
    }
    let role = if user.is_admin { &rules.admin_role } else { &rules.user_role };
    if let Some(role) = people.role_named(role, Scope::Global) {
        let grant = Grant {
            id: new_id(),
            user_email: user.email.clone(),
            role_id: role.id.clone(),
            scope: Scope::Global,
            granted_by: "system".to_owned(),
            granted_at: at,
            version: 1,
            ..Grant::default()
        };
        mutations.push(Mutation::PutIdentity(grant.into()));
    }
    mutations
}
