//! API tokens: what users make for programs. The token is shown once; its terms are a record, which
//! rules over what the token says and may be changed or revoked at any time.

mod usage;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use storage::Mutation;
use storage::record::{ApiToken, User, new_id, now};

use super::fields::Fields;
use super::people::claims;
use super::query::Query;
use super::show::Time;
use super::{Ask, Backend, RestAnswer, answer, record_form};
use crate::auth::access::Object;
use crate::failure::Failure;
use crate::permission::{EVERYTHING, Permission};

use usage::last_uses;
pub use usage::{UsageRead, usage};

/// The longest description, in characters.
const DESCRIPTION_LENGTH_MAX: usize = 1000;

/// The longest name, in characters.
const NAME_LENGTH_MAX: usize = 255;

/// The longest life of a token, in days: beyond it, one without an end says what is meant.
const LIFE_DAYS_MAX: u64 = 36_500;

/// The most tokens of one user: each is looked at by nobody else, but all are in memory.
const TOKENS_MAX: usize = 1000;

/// A token's terms as the API shows them.
#[derive(Serialize, JsonSchema)]
pub struct TokenRead<'a> {
    id: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    user_email: &'a str,
    team_id: Option<&'a str>,
    server_id: Option<&'a str>,
    resource_scopes: &'a [String],
    ip_restrictions: &'a [String],
    #[schemars(with = "Map<String, Value>")]
    time_restrictions: Box<RawValue>,
    #[schemars(with = "Map<String, Value>")]
    usage_limits: Box<RawValue>,
    created_at: Time,
    expires_at: Option<Time>,
    last_used: Option<Time>,
    is_active: bool,
    is_revoked: bool,
    revoked_at: Option<Time>,
    revoked_by: Option<&'a str>,
    revocation_reason: Option<&'a str>,
    tags: &'a [String],
}

impl<'a> TokenRead<'a> {
    /// Shows a token that was last used then, in microseconds since the epoch.
    fn of(token: &'a ApiToken, last_used: Option<i64>) -> TokenRead<'a> {
        let object = |text: &Option<String>| {
            let text = text.clone().unwrap_or_else(|| "{}".to_owned());
            RawValue::from_string(text).unwrap_or_default()
        };
        TokenRead {
            id: &token.id,
            name: &token.name,
            description: token.description.as_deref(),
            user_email: &token.user_email,
            team_id: token.team_id.as_deref(),
            server_id: token.server_id.as_deref(),
            resource_scopes: &token.permissions,
            ip_restrictions: &token.ip_restrictions,
            time_restrictions: object(&token.time_restrictions),
            usage_limits: object(&token.usage_limits),
            created_at: Time(token.created_at),
            expires_at: token.expires_at.map(Time),
            last_used: last_used.map(Time),
            is_active: token.is_active,
            is_revoked: token.revoked_at.is_some(),
            revoked_at: token.revoked_at.map(Time),
            revoked_by: token.revoked_by.as_deref(),
            revocation_reason: token.revocation_reason.as_deref(),
            tags: &token.tags,
        }
    }
}

/// A new token, which is told once.
#[derive(Serialize, JsonSchema)]
pub struct NewTokenRead<'a> {
    token: TokenRead<'a>,
    access_token: String,
}

/// A part of the tokens.
#[derive(Serialize, JsonSchema)]
pub struct TokenListRead<'a> {
    tokens: Vec<TokenRead<'a>>,
    total: usize,
    limit: usize,
    offset: usize,
}

/// `POST /tokens`, and `POST /tokens/teams/{team_id}` with a team.
pub async fn create<B: Backend>(
    ask: &Ask<'_, B>,
    team_id: Option<&str>,
) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let mut token = ApiToken { id: new_id(), is_active: true, version: 1, ..ApiToken::default() };
    token.jti = uuid::Uuid::new_v4().to_string();
    token.created_at = now();
    token.user_email = ask.caller.email.to_lowercase();
    token.team_id = team_id.map(str::to_owned);
    read_into(ask, &mut token, true)?;
    let user = catalog.people().user_by_email(&token.user_email).ok_or_else(|| {
        let text = format!(
            "{} is no user of the database, so their tokens could not be revoked; an administrator \
             makes users at /auth/email/admin/users",
            token.user_email
        );
        Failure::Malformed(text)
    })?;
    let own = catalog.people().tokens().filter(|each| each.user_email == token.user_email);
    if own.count() >= TOKENS_MAX {
        return Err(Failure::Conflict(format!(
            "A user has at most {TOKENS_MAX} tokens; revoke some"
        )));
    }
    let access_token = ask.backend.issue(&signed(ask, user, &token))?;
    ask.backend.apply(vec![Mutation::PutIdentity(token.clone().into())]).await?;
    Ok(answer::with_status(201, &NewTokenRead { token: TokenRead::of(&token, None), access_token }))
}

/// What a token says: for people who look into it. What counts is the record.
fn signed<B: Backend>(ask: &Ask<'_, B>, user: &User, token: &ApiToken) -> Map<String, Value> {
    let mut claims = claims(&ask.backend.rules().identity, user);
    claims.insert("jti".to_owned(), json!(token.jti));
    claims.insert("token_use".to_owned(), json!("api"));
    if let Some(end) = token.expires_at {
        claims.insert("exp".to_owned(), json!(end / 1_000_000));
    }
    if let Some(team_id) = &token.team_id {
        claims.insert("teams".to_owned(), json!([team_id]));
    }
    let scopes = json!({ "server_id": token.server_id, "permissions": token.permissions });
    claims.insert("scopes".to_owned(), scopes);
    claims
}

/// `GET /tokens`: those of whoever asks, the newest first.
pub async fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let email = ask.caller.email.to_lowercase();
    listed(ask, |token| token.user_email == email).await
}

/// `GET /tokens/admin/all`.
pub async fn list_all<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    permit_admin(ask)?;
    listed(ask, |_| true).await
}

/// `GET /tokens/teams/{team_id}`: for the owners of the team.
pub async fn list_of_team<B: Backend>(
    ask: &Ask<'_, B>,
    team_id: &str,
) -> Result<RestAnswer, Failure> {
    check_team(ask, team_id)?;
    listed(ask, |token| token.team_id.as_deref() == Some(team_id)).await
}

async fn listed<B: Backend>(
    ask: &Ask<'_, B>,
    is_wanted: impl Fn(&ApiToken) -> bool,
) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let limit = query.count("limit").unwrap_or(50).clamp(1, 500);
    let offset = query.count("offset").unwrap_or(0);
    let include_inactive = query.flag("include_inactive", false);
    query.finish()?;
    let catalog = ask.backend.catalog();
    let is_shown = |token: &&Arc<ApiToken>| include_inactive || token.is_active;
    let mut found: Vec<_> =
        catalog.people().tokens().filter(|token| is_wanted(token)).filter(is_shown).collect();
    found.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.id.cmp(&b.id)));
    let total = found.len();
    let page: Vec<&Arc<ApiToken>> = found.into_iter().skip(offset).take(limit).collect();
    let last = last_uses(ask, page.iter().map(|token| token.id.clone()).collect()).await;
    let shown = page.iter().map(|token| TokenRead::of(token, last.get(&token.id).copied()));
    let tokens = shown.collect();
    Ok(answer::ok(&TokenListRead { tokens, total, limit, offset }))
}

/// `GET /tokens/{id}`.
pub async fn get<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    show(ask, &*find(ask, id)?).await
}

async fn show<B: Backend>(ask: &Ask<'_, B>, token: &ApiToken) -> Result<RestAnswer, Failure> {
    let last = last_uses(ask, vec![token.id.clone()]).await;
    Ok(answer::ok(&TokenRead::of(token, last.get(&token.id).copied())))
}

/// `PUT /tokens/{id}`: what is not said stays; it counts from the next request on.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let stored = find(ask, id)?;
    if stored.revoked_at.is_some() {
        return Err(Failure::Conflict("A revoked token is not changed; make another".to_owned()));
    }
    let mut token = ApiToken::clone(&stored);
    read_into(ask, &mut token, false)?;
    token.version += 1;
    write(ask, stored.version, &token).await?;
    show(ask, &token).await
}

/// `DELETE /tokens/{id}`: the token is good no more, anywhere; its record stays.
pub async fn revoke<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let stored = find(ask, id)?;
    let mut token = ApiToken::clone(&stored);
    token.is_active = false;
    token.revoked_at = token.revoked_at.or(Some(now()));
    token.revoked_by = token.revoked_by.or_else(|| Some(ask.caller.email.clone()));
    token.revocation_reason = token.revocation_reason.or_else(|| reason(ask));
    token.version += 1;
    write(ask, stored.version, &token).await?;
    Ok(RestAnswer::of(204, Vec::new()))
}

/// `DELETE /tokens/admin/{id}`.
pub async fn revoke_any<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    permit_admin(ask)?;
    revoke(ask, id).await
}

/// The reason in a body, which need not be there.
fn reason<B>(ask: &Ask<'_, B>) -> Option<String> {
    let body: Value = serde_json::from_slice(ask.request.body).ok()?;
    body.get("reason")?.as_str().map(|text| text.chars().take(255).collect())
}

async fn write<B: Backend>(
    ask: &Ask<'_, B>,
    version: i64,
    token: &ApiToken,
) -> Result<(), Failure> {
    let (entity, id) = (storage::record::Entity::ApiToken, token.id.clone());
    let expected = Mutation::Expect { entity, id, version };
    ask.apply(vec![expected, Mutation::PutIdentity(token.clone().into())]).await
}

fn permit_admin<B>(ask: &Ask<'_, B>) -> Result<(), Failure> {
    match ask.caller.may(Permission::AdminUserManagement, Object::Nothing) {
        true => Ok(()),
        false => Err(Failure::Forbidden(
            "Insufficient permissions. Required: admin.user_management".to_owned(),
        )),
    }
}

/// A token of whoever asks, of a team that they own, or any for administrators.
fn find<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<Arc<ApiToken>, Failure> {
    let catalog = ask.backend.catalog();
    let is_theirs = |token: &&Arc<ApiToken>| {
        token.user_email.eq_ignore_ascii_case(&ask.caller.email)
            || ask.caller.may(Permission::AdminUserManagement, Object::Nothing)
            || token.team_id.as_deref().is_some_and(|team| check_team(ask, team).is_ok())
    };
    let found = catalog.people().token(id).filter(is_theirs);
    found.cloned().ok_or_else(|| Failure::NotFound(format!("Token not found: {id}")))
}

/// Whether the caller owns the team; to others it is not there.
fn check_team<B: Backend>(ask: &Ask<'_, B>, team_id: &str) -> Result<(), Failure> {
    let catalog = ask.backend.catalog();
    let member = catalog.people().member(team_id, &ask.caller.email);
    let is_owner = member.is_some_and(|it| it.role == storage::record::TeamRole::Owner);
    match is_owner || (ask.caller.rights.unrestricted && catalog.people().team(team_id).is_some()) {
        true => Ok(()),
        false => Err(Failure::NotFound(format!("Team not found: {team_id}"))),
    }
}

/// Reads a body over a record.
fn read_into<B: Backend>(
    ask: &Ask<'_, B>,
    token: &mut ApiToken,
    is_new: bool,
) -> Result<(), Failure> {
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    match fields.text("name").map(|name| name.trim().to_owned()) {
        Some(name) if name.is_empty() || name.chars().count() > NAME_LENGTH_MAX => {
            fields.error("name", format!("Name must have 1 to {NAME_LENGTH_MAX} characters"));
        }
        Some(name) => token.name = name,
        None if is_new => fields.missing("name"),
        None => {}
    }
    let description = record_form::optional(&mut fields, "description", DESCRIPTION_LENGTH_MAX);
    if let Some(description) = description {
        token.description = description;
    }
    if let Some(tags) = fields.list("tags") {
        token.tags = tags;
    }
    match fields.count("expires_in_days") {
        Some(days) if days == 0 || days > LIFE_DAYS_MAX => {
            fields.error("expires_in_days", format!("Input should be from 1 to {LIFE_DAYS_MAX}"));
        }
        Some(days) => {
            let from = if is_new { token.created_at } else { now() };
            token.expires_at = Some(from + days as i64 * 24 * 60 * 60 * 1_000_000);
        }
        None => {}
    }
    if let Some(is_active) = fields.flag("is_active") {
        token.is_active = is_active;
    }
    if is_new {
        read_bearer(ask, token, &mut fields);
    }
    if let Some(scope) = fields.object("scope") {
        read_scope(ask, token, &scope, &mut fields);
    }
    fields.finish()
}

/// For whom a new token is, and for which team.
fn read_bearer<B: Backend>(ask: &Ask<'_, B>, token: &mut ApiToken, fields: &mut Fields) {
    if let Some(email) = fields.text("user_email").map(|email| email.trim().to_lowercase()) {
        if email != token.user_email && permit_admin(ask).is_err() {
            fields.error("user_email", "Only administrators make tokens for others");
        }
        token.user_email = email;
    }
    if let Some(team_id) = fields.text("team_id")
        && token.team_id.is_none()
    {
        token.team_id = Some(team_id);
    }
    let catalog = ask.backend.catalog();
    if let Some(team_id) = &token.team_id
        && catalog.people().member(team_id, &token.user_email).is_none()
    {
        let sentence = format!("{} is not a member of the team {team_id}", token.user_email);
        fields.error("team_id", sentence);
    }
}

/// What a token is good for: never for more than whoever makes it may.
fn read_scope<B: Backend>(
    ask: &Ask<'_, B>,
    token: &mut ApiToken,
    scope: &Map<String, Value>,
    fields: &mut Fields,
) {
    let texts = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|each| each.as_str().map(str::to_owned)).collect()
    };
    if let Some(value) = scope.get("server_id") {
        let id = value.as_str().filter(|id| !id.is_empty()).map(|id| id.replace('-', ""));
        let catalog = ask.backend.catalog();
        let sees = |id: &String| {
            let server = catalog.server(id);
            server.is_some_and(|server| ask.caller.sees(&server.record.ownership))
        };
        if id.as_ref().is_some_and(|id| !sees(id)) {
            fields.error("scope.server_id", "There is no such virtual server");
        }
        token.server_id = id;
    }
    match scope.get("permissions").map(texts) {
        Some(Some(words)) => {
            for word in words.iter().filter(|word| *word != EVERYTHING) {
                match word.parse::<Permission>() {
                    Err(()) => {
                        let sentence =
                            format!("{word:?} is no permission; see /rbac/permissions/available");
                        fields.error("scope.permissions", sentence);
                    }
                    Ok(permission) if !ask.caller.may(permission, Object::Nothing) => {
                        let sentence = format!("You have not {word} yourself");
                        fields.error("scope.permissions", sentence);
                    }
                    Ok(_) => {}
                }
            }
            token.permissions = words;
        }
        Some(None) => fields.error("scope.permissions", "Input should be a list of texts"),
        None => {}
    }
    match scope.get("ip_restrictions").map(texts) {
        Some(Some(words)) => token.ip_restrictions = words,
        Some(None) => fields.error("scope.ip_restrictions", "Input should be a list of texts"),
        None => {}
    }
    let mut object = |name: &str, into: &mut Option<String>| match scope.get(name) {
        None | Some(Value::Null) => {}
        Some(Value::Object(object)) if object.is_empty() => *into = None,
        Some(Value::Object(object)) => *into = Some(Value::Object(object.clone()).to_string()),
        Some(_) => fields.error(&format!("scope.{name}"), "Input should be an object"),
    };
    object("time_restrictions", &mut token.time_restrictions);
    object("usage_limits", &mut token.usage_limits);
}
