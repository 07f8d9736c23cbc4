//! The providers that administrators keep in the database, beside those of the settings.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use storage::Mutation;
use storage::record::{Entity, Provider, now};
use url::Url;

use crate::admin::fields::Fields;
use crate::admin::show::Time;
use crate::admin::{Ask, Backend, RestAnswer, answer};
use crate::auth::oidc::{self, Habits, Protocol, seats};
use crate::catalog::Catalog;
use crate::failure::Failure;

/// The most providers.
const PROVIDER_COUNT_MAX: usize = 100;

/// The longest text of a provider, in bytes.
const TEXT_SIZE_MAX: usize = 2048;

/// The largest mapping, in bytes.
const MAPPING_SIZE_MAX: usize = 64 * 1024;

/// What is asked for unless something else is said.
const SCOPE: &str = "openid profile email";

/// A provider as administrators see it: but for its secret.
#[derive(Serialize, JsonSchema)]
pub struct ProviderRead<'a> {
    id: &'a str,
    name: &'a str,
    display_name: &'a str,
    /// `oidc` or `oauth2`.
    provider_type: &'a str,
    is_enabled: bool,
    client_id: &'a str,
    authorization_url: Option<&'a str>,
    token_url: Option<&'a str>,
    userinfo_url: Option<&'a str>,
    issuer: Option<&'a str>,
    jwks_uri: Option<&'a str>,
    scope: &'a str,
    trusted_domains: &'a [String],
    auto_create_users: bool,
    team_mapping: Map<String, Value>,
    provider_metadata: Map<String, Value>,
    created_at: Time,
    updated_at: Time,
}

impl<'a> ProviderRead<'a> {
    fn of(provider: &'a Provider) -> ProviderRead<'a> {
        let some = |text: &'a str| (!text.is_empty()).then_some(text);
        let object = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or("{}");
            serde_json::from_str(text).unwrap_or_default()
        };
        ProviderRead {
            id: &provider.id,
            name: &provider.name,
            display_name: &provider.display_name,
            provider_type: &provider.provider_type,
            is_enabled: provider.is_enabled,
            client_id: &provider.client_id,
            authorization_url: some(&provider.authorization_url),
            token_url: some(&provider.token_url),
            userinfo_url: provider.userinfo_url.as_deref(),
            issuer: provider.issuer.as_deref(),
            jwks_uri: provider.jwks_uri.as_deref(),
            scope: &provider.scope,
            trusted_domains: &provider.trusted_domains,
            auto_create_users: provider.auto_create_users,
            team_mapping: object(&provider.team_mapping),
            provider_metadata: object(&provider.metadata),
            created_at: Time(provider.created_at),
            updated_at: Time(provider.updated_at),
        }
    }
}

/// `GET /auth/sso/admin/providers`: switched off or on.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let shown = catalog.people().providers().map(|provider| ProviderRead::of(provider));
    Ok(answer::ok(&shown.collect::<Vec<_>>()))
}

/// `GET /auth/sso/admin/providers/{id}`.
pub fn get<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    Ok(shown(200, &*find(&ask.backend.catalog(), id)?))
}

/// `POST /auth/sso/admin/providers`.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    if catalog.people().providers().count() >= PROVIDER_COUNT_MAX {
        let text = format!("There are {PROVIDER_COUNT_MAX} providers already, which is the most");
        return Err(Failure::Conflict(text));
    }
    let at = now();
    let mut provider = Provider {
        provider_type: Protocol::Oidc.as_str().to_owned(),
        is_enabled: true,
        scope: SCOPE.to_owned(),
        auto_create_users: true,
        created_at: at,
        updated_at: at,
        ..Provider::default()
    };
    read_into(ask, &catalog, &mut provider)?;
    provider.version = 1;
    ask.apply(vec![Mutation::PutIdentity(provider.clone().into())]).await?;
    Ok(shown(200, &provider))
}

/// `PUT /auth/sso/admin/providers/{id}`: what is not named stays.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let stored = find(&catalog, id)?;
    let expected = ask.expected(Entity::Provider, &stored.id, stored.version)?;
    let mut provider = Provider::clone(&stored);
    read_into(ask, &catalog, &mut provider)?;
    provider.version += 1;
    provider.updated_at = now();
    ask.apply(vec![expected, Mutation::PutIdentity(provider.clone().into())]).await?;
    Ok(shown(200, &provider))
}

/// `DELETE /auth/sso/admin/providers/{id}`: who came by it stays a user.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let stored = find(&ask.backend.catalog(), id)?;
    let mut mutations = ask.demanded(Entity::Provider, &stored.id, stored.version)?;
    mutations.push(Mutation::DeleteIdentity { entity: Entity::Provider, id: stored.id.clone() });
    ask.apply(mutations).await?;
    let message = format!("SSO provider '{}' deleted successfully", stored.id);
    Ok(answer::ok(&json!({ "status": "success", "message": message })))
}

fn shown(status: u16, provider: &Provider) -> RestAnswer {
    let body = ProviderRead::of(provider);
    RestAnswer { etag: Some(provider.version), ..answer::with_status(status, &body) }
}

fn find(catalog: &Catalog, id: &str) -> Result<Arc<Provider>, Failure> {
    let found = catalog.people().provider(id).cloned();
    found.ok_or_else(|| Failure::NotFound(format!("SSO provider '{id}' not found")))
}

/// Reads what a body says of a provider.
fn read_into<B: Backend>(
    ask: &Ask<'_, B>,
    catalog: &Catalog,
    provider: &mut Provider,
) -> Result<(), Failure> {
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    if provider.version == 0 {
        read_id(ask, &mut fields, catalog, provider);
    }
    let form = "oidc or oauth2";
    if let Some(protocol) = fields.word("provider_type", Protocol::of, form) {
        provider.provider_type = protocol.as_str().to_owned();
    }
    read_text(&mut fields, "name", &mut provider.name);
    read_text(&mut fields, "display_name", &mut provider.display_name);
    read_text(&mut fields, "client_id", &mut provider.client_id);
    read_text(&mut fields, "scope", &mut provider.scope);
    if let Some(secret) = fields.secret("client_secret").filter(|it| !it.is_empty()) {
        provider.client_secret_sealed = Some(oidc::Provider::seal(&secret, ask.backend.sealer()));
    }
    read_places(&mut fields, provider);
    if let Some(domains) = fields.list("trusted_domains") {
        provider.trusted_domains = domains;
    }
    let made = fields.flag("auto_create_users");
    provider.auto_create_users = made.unwrap_or(provider.auto_create_users);
    provider.is_enabled = fields.flag("is_enabled").unwrap_or(provider.is_enabled);
    read_mappings(&mut fields, provider);
    check_whole(&mut fields, provider);
    fields.finish()
}

/// The id stands in addresses, and is that of no other, be it one of the settings.
fn read_id<B: Backend>(
    ask: &Ask<'_, B>,
    fields: &mut Fields,
    catalog: &Catalog,
    provider: &mut Provider,
) {
    let Some(id) = fields.text("id") else {
        if fields.value("id").is_none() {
            fields.missing("id");
        }
        return;
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if id.is_empty() || id.len() > 64 || !id.bytes().all(is_plain) {
        fields.error("id", "Input should be 1 to 64 letters, digits, dots, - or _");
    }
    let is_set = ask.backend.rules().sso.providers.iter().any(|set| set.id == id);
    if is_set || catalog.people().provider(&id).is_some() {
        fields.error("id", "There is a provider of this id");
    }
    provider.name.clone_from(&id);
    provider.display_name.clone_from(&id);
    provider.id = id;
}

fn read_text(fields: &mut Fields, name: &str, kept: &mut String) {
    let Some(text) = fields.text(name) else { return };
    if text.is_empty() || text.len() > TEXT_SIZE_MAX || text.chars().any(char::is_control) {
        fields.error(name, format!("Input should have 1 to {TEXT_SIZE_MAX} characters of text"));
    }
    *kept = text;
}

/// Reads the addresses; null takes one away.
fn read_places(fields: &mut Fields, provider: &mut Provider) {
    let mut authorization = Some(std::mem::take(&mut provider.authorization_url));
    let mut token = Some(std::mem::take(&mut provider.token_url));
    for (name, kept) in [
        ("authorization_url", &mut authorization),
        ("token_url", &mut token),
        ("userinfo_url", &mut provider.userinfo_url),
        ("issuer", &mut provider.issuer),
        ("jwks_uri", &mut provider.jwks_uri),
    ] {
        if fields.is_null(name) {
            *kept = None;
        }
        let Some(text) = fields.text(name) else { continue };
        if !text.is_empty() && !is_web(&text) {
            fields.hidden_error(name, "Input should be a URL of http or https without a password");
        }
        *kept = Some(text).filter(|text| !text.is_empty());
    }
    provider.authorization_url = authorization.unwrap_or_default();
    provider.token_url = token.unwrap_or_default();
}

fn is_web(text: &str) -> bool {
    text.len() <= TEXT_SIZE_MAX
        && Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
        })
}

fn read_mappings(fields: &mut Fields, provider: &mut Provider) {
    if let Some(mapping) = fields.object("team_mapping") {
        if let Err(problem) = seats(&mapping) {
            fields.error("team_mapping", format!("Value error, {problem}"));
        }
        provider.team_mapping = kept(fields, "team_mapping", mapping);
    }
    if let Some(metadata) = fields.object("provider_metadata") {
        if let Err(problem) = serde_json::from_value::<Habits>(metadata.clone().into()) {
            fields.error("provider_metadata", format!("Value error, {problem}"));
        }
        provider.metadata = kept(fields, "provider_metadata", metadata);
    }
}

fn kept(fields: &mut Fields, name: &str, object: Map<String, Value>) -> Option<String> {
    let text = Value::Object(object).to_string();
    if text.len() > MAPPING_SIZE_MAX {
        fields.hidden_error(name, "It is too large");
    }
    Some(text).filter(|text| text != "{}")
}

/// What must be said of a provider so that anybody can log in with it.
fn check_whole(fields: &mut Fields, provider: &Provider) {
    if provider.client_id.is_empty() && fields.value("client_id").is_none() {
        fields.missing("client_id");
    }
    let is_oidc = provider.provider_type == Protocol::Oidc.as_str();
    if is_oidc && provider.issuer.is_none() {
        fields.error("issuer", "A provider of OpenID Connect needs its issuer");
    }
    let places = [
        ("authorization_url", provider.authorization_url.is_empty(), !is_oidc),
        ("token_url", provider.token_url.is_empty(), !is_oidc),
        ("userinfo_url", provider.userinfo_url.is_none(), !is_oidc),
    ];
    for (name, _, _) in places.into_iter().filter(|(_, is_away, needed)| *is_away && *needed) {
        fields.error(name, "A provider of OAuth 2.0 needs this address");
    }
}
