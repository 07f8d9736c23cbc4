//! Endpoints of MCP as protected resources of OAuth 2.1: their metadata (RFC 9728), and what people
//! may say of them.

use serde_json::{Value, json};

use super::fields::Fields;
use super::{Backend, RestAnswer, RestRequest, Rules, answer};
use crate::auth::Caller;
use crate::auth::access::{self, Object};
use crate::catalog::{Protection, VirtualServer};
use crate::failure::Failure;
use crate::permission::Permission;
use crate::settings::Settings;

/// The largest `oauth_config`, in bytes.
const CONFIG_SIZE_MAX: usize = 16 * 1024;

/// The endpoint of a virtual server, or of everything if `server_id` is empty, behind the beginning
/// of our addresses.
pub fn endpoint(server_id: &str) -> String {
    match server_id {
        "" => "/mcp".to_owned(),
        id => format!("/servers/{id}/mcp"),
    }
}

/// What makes `/mcp` a protected resource, by the settings.
pub fn of_everything(settings: &Settings) -> Option<Protection> {
    let servers = &settings.auth.authorization_servers;
    let scopes = settings.auth.scopes_required.split_whitespace().map(str::to_owned);
    (!servers.is_empty()).then(|| Protection {
        authorization_servers: servers.clone(),
        scopes_required: scopes.collect(),
        ..Protection::default()
    })
}

/// What makes a virtual server a protected resource, as whoever has no token may know it: nothing,
/// if it is switched off or not for everybody.
pub fn shown(server: &VirtualServer) -> Option<&Protection> {
    let is_public = server.record.ownership.visibility == storage::record::Visibility::Public;
    server.protection.as_ref().filter(|_| server.record.enabled && is_public)
}

/// `GET /.well-known/oauth-protected-resource/...`, which is open: clients ask before they have a
/// token.
pub fn metadata<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    server_id: &str,
) -> Result<RestAnswer, Failure> {
    let catalog = backend.catalog();
    let rules = backend.rules();
    let found = match server_id {
        "" => rules.protection.as_ref(),
        id => catalog.server(id).and_then(|server| shown(server)),
    };
    let protection = found.ok_or_else(|| {
        Failure::NotFound("There is no protected resource of OAuth here".to_owned())
    })?;
    let base = rules.base.of(request.client.as_ref());
    let mut shown = json!({
        "resource": base + &endpoint(server_id),
        "authorization_servers": protection.authorization_servers,
        "bearer_methods_supported": ["header"],
    });
    let mut scopes = protection.scopes_supported.clone();
    scopes.extend(protection.scopes_required.iter().cloned());
    scopes.sort_unstable();
    scopes.dedup();
    if !scopes.is_empty() {
        shown["scopes_supported"] = json!(scopes);
    }
    Ok(answer::ok(&shown))
}

/// Reads `oauth_config`: null takes it away. Whoever names an authorization server decides who the
/// users of the virtual server are, so one that the gateway does not know is for administrators.
pub fn config(fields: &mut Fields, rules: &Rules, caller: &Caller) -> Option<Option<String>> {
    if fields.is_null("oauth_config") {
        return Some(None);
    }
    let text = Value::Object(fields.object("oauth_config")?).to_string();
    if text.len() > CONFIG_SIZE_MAX {
        fields.hidden_error("oauth_config", "It is too large");
        return None;
    }
    let protection = match Protection::parse(&text) {
        Ok(protection) => protection,
        Err(problem) => {
            fields.hidden_error("oauth_config", format!("Value error, {problem}"));
            return None;
        }
    };
    for issuer in &protection.authorization_servers {
        let is_url = url::Url::parse(issuer)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.password().is_none());
        if !is_url {
            fields.hidden_error("oauth_config", format!("{issuer} is no URL of an issuer"));
        } else if !may_trust(issuer, rules, caller) {
            let message = format!(
                "{issuer} is no authorization server of this gateway; only an administrator may \
                 name another"
            );
            fields.hidden_error("oauth_config", message);
        }
    }
    Some(Some(text))
}

fn may_trust(issuer: &str, rules: &Rules, caller: &Caller) -> bool {
    rules.trusted_issuers.iter().any(|known| known == issuer)
        || access::decide(caller, Permission::AdminSystemConfig, Object::Nothing).is_allowed()
}
