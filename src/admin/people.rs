//! Users, and how they prove who they are: logins, passwords, and the users that administrators make.

mod account;
mod birth;
mod events;
mod form;
mod hashing;
mod login;
mod manage;
mod recovery;

use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use storage::record::{Entity, User, now};
use storage::{Mutation, StoreError};

use super::show::Time;
use super::{Ask, Backend, RestAnswer, RestRequest, answer};
use crate::auth::password::PasswordRules;
use crate::catalog::Catalog;
use crate::failure::Failure;
use crate::settings::Settings;

pub use account::{change_password, me, register};
pub use birth::birth;
pub use events::{AuthEventRead, all_events, own_events};
pub use form::is_email;
pub use login::{LoginRead, claims, login, logout, refresh, session, validate};
pub use manage::{create, delete, get, is_last_admin, list, unlock, update};
pub use recovery::unavailable;

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

fn find(catalog: &Catalog, email: &str) -> Result<Arc<User>, Failure> {
    let email = percent_decode_str(email).decode_utf8_lossy();
    let people = catalog.people();
    let found = people.user_by_email(&email).or_else(|| people.user(&email));
    found.cloned().ok_or_else(|| no_user(&email))
}

fn no_user(email: &str) -> Failure {
    Failure::NotFound(format!("User not found: {email}"))
}

/// What an action answers that has nothing to show.
fn done(message: &str) -> Value {
    json!({ "success": true, "message": message })
}
