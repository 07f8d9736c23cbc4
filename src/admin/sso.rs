//! Logging in with another provider: users are sent there, come back with a code, and are users of
//! ours by the address that the provider has verified.

mod link;
pub mod providers;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use storage::audit::AuditEntry;
use storage::record::now;

use super::people;
use super::query::Query;
use super::{Backend, RestAnswer, RestRequest, answer};
use crate::auth::external::{ALGORITHMS, is_verified, read_id_token};
use crate::auth::oidc::{
    self, Endpoints, Flow, Granted, Identity, Protocol, Provider, TokenRequest, primary_address,
};
use crate::auth::{AuthError, Fault};
use crate::failure::{Failure, UpstreamKind};
use crate::observe::audit;
use crate::settings::{Secret, Settings};
use crate::upstream::fetch::Inquiry;
use crate::upstream::issuer::ISSUER_WITHIN;
use crate::web::cookie::{self, Readers};
use crate::web::redirect;

/// The cookie that ties a login to the browser that began it, as ContextForge calls it.
const FLOW_COOKIE: &str = "sso_session_id";

/// The longest code of a provider.
const CODE_SIZE_MAX: usize = 4096;

/// The largest answer that is read of a provider, in bytes.
const ANSWER_SIZE_MAX: usize = 256 * 1024;

/// What the settings say about logging in with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsoRules {
    is_enabled: bool,
    providers: Vec<Provider>,
    admin_domains: Vec<String>,
    login_within: Duration,
}

impl SsoRules {
    /// Takes them from the settings.
    pub fn new(settings: &Settings) -> SsoRules {
        let sso = &settings.sso;
        SsoRules {
            is_enabled: sso.enabled,
            providers: oidc::providers(sso),
            admin_domains: sso.admin_domains.clone(),
            login_within: sso.login_within,
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let text = "SSO authentication is disabled: SSO_ENABLED is false";
        if self.is_enabled { Ok(()) } else { Err(Failure::NotFound(text.to_owned())) }
    }
}

/// A provider as whoever wants to log in sees it. Clients of ContextForge's one line read the
/// former name of each, those of the other the latter.
#[derive(Serialize, JsonSchema)]
pub struct Choice<'a> {
    id: &'a str,
    name: &'a str,
    display_name: &'a str,
    #[serde(rename = "displayName")]
    display_name_too: &'a str,
    #[serde(rename = "providerType")]
    provider_type: &'a str,
    #[serde(rename = "isEnabled")]
    is_enabled: bool,
}

impl<'a> Choice<'a> {
    fn of(id: &'a str, name: &'a str, display_name: &'a str, provider_type: &'a str) -> Choice<'a> {
        let (display_name_too, is_enabled) = (display_name, true);
        Choice { id, name, display_name, display_name_too, provider_type, is_enabled }
    }
}

/// Where whoever wants to log in goes; each name in either line's spelling.
#[derive(Serialize, JsonSchema)]
pub struct Begun {
    authorization_url: String,
    #[serde(rename = "authorizationUrl")]
    authorization_url_too: String,
    state: String,
}

/// `GET /auth/sso/providers`: those that are switched on.
pub fn list<B: Backend>(backend: &B) -> Result<RestAnswer, Failure> {
    let rules = &backend.rules().sso;
    rules.check()?;
    let catalog = backend.catalog();
    let set = rules.providers.iter().map(|it| {
        let kind = it.protocol.as_str();
        Choice::of(&it.id, &it.name, &it.display_name, kind)
    });
    let stored = catalog.people().providers().filter(|it| it.is_enabled);
    let stored = stored.map(|it| Choice::of(&it.id, &it.name, &it.display_name, &it.provider_type));
    Ok(answer::ok(&set.chain(stored).collect::<Vec<_>>()))
}

/// `GET /auth/sso/login/{id}`: browsers are sent on, others are told where to.
pub async fn login<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    id: &str,
) -> Result<RestAnswer, Failure> {
    let provider = find(backend, id)?;
    let base = backend.rules().base.of(request.client.as_ref());
    let redirect_uri = format!("{base}/auth/sso/callback/{}", provider.id);
    let target = target(request.query, &base, &redirect_uri)?;
    let endpoints = endpoints(backend, &provider).await?;
    let within = backend.rules().sso.login_within;
    let flow = Flow::begin(&provider.id, redirect_uri, target, (seconds(), within));
    let url = flow.authorization_url(&provider, &endpoints);
    let url = url.map_err(|problem| unusable(&provider, problem))?;
    let client = request.client.as_ref();
    let cookies = client.map(|client| {
        let sealed = flow.seal(backend.sealer());
        let cookies = backend.cookies().crossing();
        cookies.set(client, FLOW_COOKIE, &sealed, within, Readers::Ourselves)
    });
    let is_page = request.accept.is_some_and(wants_page);
    let authorization_url_too = url.clone();
    let begun = Begun { authorization_url: url, authorization_url_too, state: flow.state };
    let told = RestAnswer { cookies: cookies.into_iter().collect(), ..answer::ok(&begun) };
    Ok(match is_page {
        true => sent_on(told, begun.authorization_url),
        false => told,
    })
}

/// `GET /auth/sso/callback/{id}`: the user is back.
pub async fn callback<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    id: &str,
) -> Result<RestAnswer, Failure> {
    let provider = find(backend, id)?;
    let query = Query::parse(request.query);
    let (flow, code) = returned(backend, request, &provider, &query).await?;
    let endpoints = endpoints(backend, &provider).await?;
    let identity = identity(backend, &provider, &endpoints, &flow, &code).await;
    let identity = identity.inspect_err(|failure| {
        tracing::warn!(provider = provider.id, %failure, "a login with a provider failed");
    })?;
    let user = link::user(backend, &provider, &identity).await?;
    note(backend, request, &user.email);
    let mut session = people::session(backend, request, &user, 200)?;
    if let Some(client) = &request.client {
        let cookies = backend.cookies().crossing();
        session.cookies.push(cookies.clear(client, FLOW_COOKIE, Readers::Ourselves));
    }
    Ok(match flow.target {
        Some(target) => sent_on(session, target),
        None => session,
    })
}

/// Looks who came back: whoever began the login, once, with a code.
async fn returned<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    provider: &Provider,
    query: &Query,
) -> Result<(Flow, String), Failure> {
    let refuse = |text: &str| Err(Failure::Malformed(text.to_owned()));
    let cookie = request.cookie.and_then(|cookies| cookie::find(cookies, FLOW_COOKIE));
    let state = query.text("state").unwrap_or_default();
    let (code, error) = (query.text("code"), query.text("error"));
    let issuer = query.text("iss");
    let flow = cookie.and_then(|sealed| Flow::open(sealed, backend.sealer()));
    let Some(flow) = flow.filter(|flow| flow.is_of(&provider.id, state, seconds())) else {
        return refuse("This login was not begun in this browser, or too long ago; begin it anew");
    };
    // RFC 9207: an answer that says whose it is must be theirs.
    if issuer.is_some() && issuer != provider.issuer.as_deref() {
        return refuse("This answer is from another provider");
    }
    if let Some(error) = error {
        return refuse(&format!("The provider refused the login: {}", oidc::word(error)));
    }
    let Some(code) = code.filter(|code| code.len() <= CODE_SIZE_MAX) else {
        return refuse("The provider gave no code");
    };
    let within = backend.rules().sso.login_within;
    match backend.is_first(&format!("sso:{}", flow.state), within).await? {
        true => Ok((flow, code.to_owned())),
        false => refuse("This login has ended already; begin it anew"),
    }
}

/// Asks the provider who it was.
async fn identity<B: Backend>(
    backend: &B,
    provider: &Provider,
    endpoints: &Endpoints,
    flow: &Flow,
    code: &str,
) -> Result<Identity, Failure> {
    let request = TokenRequest::new(provider, endpoints, flow, code);
    let inquiry = Inquiry {
        authorization: request.authorization.as_ref().map(Secret::expose),
        form: Some(request.form.expose()),
        ..Inquiry::get(&endpoints.token, ANSWER_SIZE_MAX, ISSUER_WITHIN)
    };
    let (status, body) = backend.inquire(&inquiry).await?;
    let granted = Granted::read(status, &body).map_err(|problem| unusable(provider, problem))?;
    let userinfo = endpoints.userinfo.as_deref();
    let claims = match provider.protocol {
        Protocol::Oidc => {
            let mut claims = signed(backend, provider, flow, &granted).await?;
            if let Some(url) = userinfo.filter(|_| lacks(&claims, provider)) {
                complete(backend, provider, &mut claims, url, &granted).await?;
            }
            claims
        }
        Protocol::OAuth2 => {
            let missing = || unusable(provider, "it is not known where it tells of users");
            asked(backend, provider, userinfo.ok_or_else(missing)?, &granted).await?
        }
    };
    let identity = Identity::read(&claims, &provider.habits);
    let identity = identity.map_err(|sentence| Failure::Forbidden(sentence.to_owned()))?;
    match identity.is_trusted(provider) {
        true => Ok(identity),
        false => Err(Failure::Forbidden("Users of this domain do not log in here".to_owned())),
    }
}

/// What the signed token says of who logged in.
async fn signed<B: Backend>(
    backend: &B,
    provider: &Provider,
    flow: &Flow,
    granted: &Granted,
) -> Result<Map<String, Value>, Failure> {
    let invalid = |fault: Fault| {
        let (detail, challenge) = (fault.sentence(), AuthError::Invalid(fault).challenge());
        Failure::Unauthorized { detail, challenge }
    };
    let token = granted.id_token.as_deref().ok_or_else(|| unusable(provider, "no id_token"))?;
    let issuer = provider.as_issuer().ok_or_else(|| unusable(provider, "it has no issuer"))?;
    let header = jsonwebtoken::decode_header(token).map_err(|_| invalid(Fault::Malformed))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(invalid(Fault::Algorithm));
    }
    let id = header.kid.as_deref();
    let keys = backend.keys_of(&issuer, id, header.alg).await?;
    let key = keys.find(id, header.alg).ok_or_else(|| invalid(Fault::UnknownKey))?;
    let audience = (&*issuer.issuer, &*provider.client_id);
    let claims = read_id_token(token.as_bytes(), key, header.alg, audience, seconds());
    let claims = claims.map_err(invalid)?;
    match claims.get("nonce").and_then(Value::as_str) == Some(&flow.nonce) {
        true => Ok(claims),
        false => Err(Failure::Malformed("The token is for another login".to_owned())),
    }
}

/// Whether something is missing that the provider may tell when asked.
fn lacks(claims: &Map<String, Value>, provider: &Provider) -> bool {
    let needs_groups =
        !provider.team_mapping.is_empty() || !provider.habits.admin_groups.is_empty();
    oidc::claim(claims, &provider.habits.email_claim).is_none()
        || (needs_groups && oidc::claim(claims, &provider.habits.groups_claim).is_none())
}

/// Adds what the provider tells of the same user (OpenID Connect Core §5.3.2).
async fn complete<B: Backend>(
    backend: &B,
    provider: &Provider,
    claims: &mut Map<String, Value>,
    url: &str,
    granted: &Granted,
) -> Result<(), Failure> {
    let told = userinfo(backend, provider, url, granted).await?;
    if told.get("sub") != claims.get("sub") {
        return Err(unusable(provider, "it tells of another user than the one that logged in"));
    }
    if oidc::claim(claims, &provider.habits.email_claim).is_none() {
        // Whether an address is verified is told beside it.
        claims.remove("email_verified");
    }
    for (name, value) in told {
        if claims.get(&name).is_none_or(Value::is_null) {
            claims.insert(name, value);
        }
    }
    Ok(())
}

/// What a provider that signs nothing tells of the user, with the address that it has verified.
async fn asked<B: Backend>(
    backend: &B,
    provider: &Provider,
    url: &str,
    granted: &Granted,
) -> Result<Map<String, Value>, Failure> {
    let mut claims = userinfo(backend, provider, url, granted).await?;
    if is_verified(&claims) != Some(true) {
        let list = told(backend, provider, &format!("{url}/emails"), granted).await;
        // Who has no such list verifies nothing.
        if let Some(email) = list.ok().as_deref().and_then(primary_address) {
            claims.insert(provider.habits.email_claim.clone(), email.into());
            claims.insert("email_verified".to_owned(), true.into());
        }
    }
    Ok(claims)
}

async fn userinfo<B: Backend>(
    backend: &B,
    provider: &Provider,
    url: &str,
    granted: &Granted,
) -> Result<Map<String, Value>, Failure> {
    let body = told(backend, provider, url, granted).await?;
    serde_json::from_slice(&body).map_err(|_| unusable(provider, "it tells nothing of the user"))
}

async fn told<B: Backend>(
    backend: &B,
    provider: &Provider,
    url: &str,
    granted: &Granted,
) -> Result<Vec<u8>, Failure> {
    let token = granted.access_token.as_deref();
    let token = token.filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
    let token = token.ok_or_else(|| unusable(provider, "it gave no access token"))?;
    let authorization = Secret::new(format!("Bearer {token}"));
    let inquiry = Inquiry {
        authorization: Some(authorization.expose()),
        ..Inquiry::get(url, ANSWER_SIZE_MAX, ISSUER_WITHIN)
    };
    match backend.inquire(&inquiry).await? {
        (200, body) => Ok(body),
        (status, _) => Err(unusable(provider, format!("it answers with status {status}"))),
    }
}

/// Finds a provider that is switched on.
fn find<B: Backend>(backend: &B, id: &str) -> Result<Provider, Failure> {
    let rules = &backend.rules().sso;
    rules.check()?;
    if let Some(set) = rules.providers.iter().find(|provider| provider.id == id) {
        return Ok(set.clone());
    }
    let catalog = backend.catalog();
    let stored = catalog.people().provider(id).filter(|provider| provider.is_enabled);
    let missing = || Failure::NotFound(format!("SSO provider not found or disabled: {id}"));
    let stored = stored.ok_or_else(missing)?;
    let mut provider = Provider::stored(stored, backend.sealer()).map_err(Failure::Internal)?;
    provider.habits.admin_domains.extend(rules.admin_domains.iter().cloned());
    Ok(provider)
}

async fn endpoints<B: Backend>(backend: &B, provider: &Provider) -> Result<Endpoints, Failure> {
    let metadata = match provider.described_by() {
        Some(issuer) => Some(backend.metadata_of(issuer).await?),
        None => None,
    };
    let found = provider.endpoints(metadata.as_deref());
    found.map_err(|problem| unusable(provider, problem))
}

/// The page of ours that a login leads to: a path of ours, or nothing if our own callback is named,
/// as ContextForge's clients do.
fn target(query: Option<&str>, base: &str, callback: &str) -> Result<Option<String>, Failure> {
    let query = Query::parse(query);
    let Some(wanted) = query.text("redirect_uri") else { return Ok(None) };
    let path = match wanted.strip_prefix(base) {
        Some(path) if path.starts_with('/') => path,
        _ => wanted,
    };
    if callback.strip_prefix(base) == Some(path) {
        return Ok(None);
    }
    let local = redirect::local(path).map(|path| Some(path.to_owned()));
    local.ok_or_else(|| {
        Failure::Malformed("Invalid redirect_uri: only a path of this gateway is taken".to_owned())
    })
}

/// Whether a browser asks for a page.
fn wants_page(accept: &[u8]) -> bool {
    accept.split(|byte| *byte == b',').any(|range| {
        range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii() == b"text/html"
    })
}

/// The answer with its cookies, and nothing to see in it.
fn sent_on(answer: RestAnswer, location: String) -> RestAnswer {
    let status = 303;
    RestAnswer { status, location: Some(location), body: b"{}".to_vec(), ..answer }
}

fn note<B: Backend>(backend: &B, request: &RestRequest<'_>, email: &str) {
    let trail = backend.trail();
    if trail.is_on() {
        trail.note(AuditEntry {
            actor: email.to_owned(),
            actor_kind: "user".into(),
            request_id: request.request_id.map(str::to_owned),
            ip: request.client.map(|client| client.ip.to_string()),
            user_agent: request.user_agent.map(str::to_owned),
            allowed: true,
            succeeded: true,
            status: 200,
            ..audit::entry(None, "auth.login")
        });
    }
}

fn unusable(provider: &Provider, problem: impl Into<String>) -> Failure {
    Failure::upstream(&provider.id, UpstreamKind::Nonsense, problem, false)
}

/// Now, in seconds since the epoch.
fn seconds() -> u64 {
    u64::try_from(now() / 1_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_a_page_of_ours_or_nowhere() {
        let ask = |wanted: &str| {
            let query = format!("redirect_uri={wanted}");
            let base = "https://us.example/gw";
            target(Some(&query), base, "https://us.example/gw/auth/sso/callback/okta")
        };
        assert_eq!(target(None, "b", "b/c").unwrap(), None);
        assert_eq!(ask("/admin").unwrap().as_deref(), Some("/admin"));
        assert_eq!(ask("https://us.example/gw/admin").unwrap().as_deref(), Some("/admin"));
        assert_eq!(ask("/auth/sso/callback/okta").unwrap(), None);
        assert_eq!(ask("https://us.example/gw/auth/sso/callback/okta").unwrap(), None);
        for evil in [
            "https://evil.example/",
            "//evil.example",
            "https://us.example/gw.evil.example/",
            "https://us.example/gw//evil.example",
            "/%5Cevil.example",
            "javascript:alert(1)",
        ] {
            assert!(ask(evil).is_err(), "{evil}");
        }
    }

    #[test]
    fn only_browsers_ask_for_pages() {
        assert!(wants_page(b"text/html,application/xhtml+xml;q=0.9"));
        assert!(!wants_page(b"application/json") && !wants_page(b"*/*"));
    }
}
