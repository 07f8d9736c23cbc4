//! What the audit trail is told of requests: what was there before and after a change, and who was
//! refused.
//!
//! Records are told of as the API shows them to an administrator, secrets masked once more.

use std::borrow::Cow;
use std::time::Instant;

use net::http1::Method;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use storage::audit::AuditEntry;

#[cfg(test)]
use super::apidoc::seen;
use super::routes::Route;
use super::{Backend, RestAnswer, RestRequest, perform, prompts};
use crate::auth::Caller;
use crate::failure::Failure;
use crate::observe::audit;
use crate::permission::Permission;
use crate::settings::AuditCalls;

/// Gives what `answering` the request comes to, and tells the trail if it changed something or was
/// refused.
pub async fn told<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    route: Route<'_>,
    answering: impl Future<Output = Result<RestAnswer, Failure>>,
) -> Result<RestAnswer, Failure> {
    let trail = backend.trail();
    if !trail.is_on() {
        return answering.await;
    }
    let begun = Instant::now();
    let deed = Deed::of(request, &route, trail.calls());
    let is_change = deed == Deed::Change;
    let before = if is_change { record(backend, request, &route).await } else { None };
    let outcome = answering.await;
    let (status, reason) = match &outcome {
        Ok(answer) => (answer.status, None),
        Err(failure) => (failure.status(), Some(failure.reason())),
    };
    let allowed = !audit::is_refusal(status);
    if allowed && deed == Deed::Read {
        return outcome;
    }
    let answer = outcome.as_ref().ok().filter(|answer| is_change && answer.status < 400);
    let after = match answer {
        Some(answer) => outcome_of(backend, request, &route, answer).await,
        None => None,
    };
    let arguments = std::str::from_utf8(request.body).ok().filter(|_| deed == Deed::Call);
    trail.note(AuditEntry {
        arguments: trail.arguments(arguments),
        allowed,
        succeeded: status < 400,
        reason,
        status: i64::from(status),
        duration_us: audit::microseconds_since(begun),
        ..entry(request, &route, before, after)
    });
    outcome
}

/// What a request is to the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// It changes something, or takes everything away at once: that is always told.
    Change,
    /// It is about the session of whoever asks: that is always told too.
    Session,
    /// It calls an agent, and calls are told of.
    Call,
    /// Only a refusal is told.
    Read,
}

impl Deed {
    fn of(request: &RestRequest<'_>, route: &Route<'_>, calls: AuditCalls) -> Deed {
        let is_read = matches!(request.method, Method::Get | Method::Head);
        match (route, route.permission()) {
            (Route::Export | Route::ExportSelective, _) => Deed::Change,
            (Route::Login | Route::Logout | Route::RefreshToken | Route::ChangePassword, _) => {
                Deed::Session
            }
            (_, Some(Permission::A2aInvoke)) if calls == AuditCalls::All => Deed::Call,
            _ if is_read || changes_nothing(route) => Deed::Read,
            _ => Deed::Change,
        }
    }
}

/// Whether a request changes nothing though its method could.
fn changes_nothing(route: &Route<'_>) -> bool {
    let is_asked = matches!(
        route,
        Route::Initialize
            | Route::Ping
            | Route::Notify
            | Route::Complete
            | Route::Sample
            | Route::GenerateSchemas
            | Route::CheckPermission
    );
    is_asked || route.permission().is_some_and(Permission::is_use)
}

/// An entry that tells who asked for what, and what it was done to.
fn entry(
    request: &RestRequest<'_>,
    route: &Route<'_>,
    before: Option<Value>,
    after: Option<Value>,
) -> AuditEntry {
    let action = action(request, route);
    let shown = before.as_ref().or(after.as_ref());
    AuditEntry {
        request_id: request.request_id.map(str::to_owned),
        ip: request.client.map(|client| client.ip.to_string()),
        user_agent: request.user_agent.map(str::to_owned),
        entity: kind(&action),
        entity_id: field(shown, &["id"]).or_else(|| id_in(request.path)),
        entity_name: field(shown, &["name", "uri", "email"]),
        team_id: field(shown, &["teamId", "team_id"]),
        before: before.map(audit::masked),
        after: after.map(audit::masked),
        ..by_whom(request, route, action)
    }
}

/// An entry of whoever asks; of a login that is who they say they are.
fn by_whom(request: &RestRequest<'_>, route: &Route<'_>, action: Cow<'static, str>) -> AuditEntry {
    let mut entry = audit::entry(request.caller, action);
    if let Route::Login | Route::Register = route {
        let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
        if let Some(name) = field(Some(&body), &["email", "username"]) {
            entry.actor = name.trim().to_lowercase();
        }
    }
    entry
}

/// What is done, by the name of the permission that it takes; where several things take one, or it
/// takes none, by a name of its own.
fn action(request: &RestRequest<'_>, route: &Route<'_>) -> Cow<'static, str> {
    let named = match route {
        Route::RefreshGateway(_) => "gateways.refresh",
        Route::Roots | Route::Root(_) | Route::RootChanges | Route::ExportRoot => "roots.read",
        Route::CreateRoot => "roots.create",
        Route::UpdateRoot(_) => "roots.update",
        Route::DeleteRoot(_) => "roots.delete",
        Route::Users | Route::User(_) => "users.read",
        Route::CreateUser => "users.create",
        Route::UpdateUser(_) => "users.update",
        Route::DeleteUser(_) => "users.delete",
        Route::UnlockUser(_) => "users.unlock",
        Route::AdminProviders | Route::AdminProvider(_) => "sso_providers.read",
        Route::CreateProvider => "sso_providers.create",
        Route::UpdateProvider(_) => "sso_providers.update",
        Route::DeleteProvider(_) => "sso_providers.delete",
        Route::Roles | Route::Role(_) | Route::UserRoles(_) => "roles.read",
        Route::CreateRole => "roles.create",
        Route::UpdateRole(_) => "roles.update",
        Route::DeleteRole(_) => "roles.delete",
        Route::AssignRole(_) => "roles.assign",
        Route::RevokeRole(..) => "roles.revoke",
        Route::LeaveTeam(_) => "teams.leave",
        Route::Login | Route::SsoCallback(_) => "auth.login",
        Route::Logout => "auth.logout",
        Route::RefreshToken => "auth.refresh",
        Route::ChangePassword => "auth.change_password",
        Route::Register => "auth.register",
        Route::ForgotPassword => "auth.forgot_password",
        Route::ResetPassword(_) => "auth.reset_password",
        Route::SetLogLevel => "logging.set_level",
        Route::ResetMetrics => "metrics.reset",
        route => match route.permission() {
            Some(permission) => permission.as_str(),
            None => return named_by_path(request).into(),
        },
    };
    named.into()
}

/// The first part of the path, and what the method does to it.
fn named_by_path(request: &RestRequest<'_>) -> String {
    let area = bare(request.path).split('/').nth(1).unwrap_or_default();
    let deed = match request.method {
        Method::Get | Method::Head => "read",
        Method::Post => "create",
        Method::Delete => "delete",
        _ => "update",
    };
    format!("{area}.{deed}")
}

/// The kind of thing that an action is done to: `tool` of `tools.update`.
fn kind(action: &str) -> Option<Cow<'static, str>> {
    let area = action.split(['.', ':']).next().unwrap_or(action);
    match area {
        "admin" | "auth" | "logging" | "metrics" | "audit" => None,
        "a2a" => Some("a2a_agent".into()),
        "policies" => Some("policy".into()),
        area => Some(area.strip_suffix('s').unwrap_or(area).to_owned().into()),
    }
}

/// The record that a request is about, as it stands.
async fn record<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    route: &Route<'_>,
) -> Option<Value> {
    if let Route::UpdatePrompt(id) | Route::DeletePrompt(id) | Route::PromptState(id) = route {
        return prompts::shown(&backend.catalog(), id);
    }
    let path = record_path(request)?;
    let route = Route::parse(Method::Get, &path).ok()?;
    let everything = Caller::operator();
    let request =
        RestRequest { caller: Some(&everything), ..RestRequest::plain(Method::Get, &path) };
    #[cfg(test)]
    let looked_at = seen::take();
    let answer = Box::pin(perform(backend, &request, route)).await;
    #[cfg(test)]
    seen::put_back(looked_at);
    serde_json::from_slice(&answer.ok()?.body).ok()
}

/// Where the record that a request changes can be read.
fn record_path(request: &RestRequest<'_>) -> Option<String> {
    let path = bare(request.path);
    let path = match request.method {
        Method::Put | Method::Patch | Method::Delete => path,
        Method::Post => ["/state", "/toggle", "/tools/refresh", "/unlock"]
            .iter()
            .find_map(|action| path.strip_suffix(action))?,
        _ => return None,
    };
    // What is at a resource's own path is its content.
    let info = if path.starts_with("/resources/") { "/info" } else { "" };
    Some(format!("{path}{info}"))
}

/// What a change came to: the record as it stands then, or what it was answered with where there was
/// none before.
async fn outcome_of<B: Backend>(
    backend: &B,
    request: &RestRequest<'_>,
    route: &Route<'_>,
    answer: &RestAnswer,
) -> Option<Value> {
    match (request.method, route) {
        (Method::Delete, _) | (_, Route::Export | Route::ExportSelective) => None,
        _ if record_path(request).is_some() => record(backend, request, route).await,
        _ => serde_json::from_slice(&answer.body).ok(),
    }
}

/// The id of what a path is about.
fn id_in(path: &str) -> Option<String> {
    let parts: Vec<&str> = bare(path).split('/').skip(1).collect();
    let id = match parts[..] {
        ["auth", "email", "admin", "users", email, ..] => email,
        ["auth", "sso", "admin", "providers", id] => id,
        // The token of an invitation is as good as the invitation.
        ["auth", ..] | ["teams", "invitations", _, "accept"] => return None,
        ["rbac", "roles" | "users", id, ..] => id,
        ["teams", "invitations", id] | ["tokens", "admin" | "teams", id] => id,
        ["roots", ..] => bare(path).strip_prefix("/roots/")?,
        [_, id, ..] => id,
        _ => return None,
    };
    Some(percent_decode_str(id).decode_utf8_lossy().into_owned())
}

/// A path without the version before it and the slash behind it.
fn bare(path: &str) -> &str {
    let path = match path.strip_prefix("/v1") {
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    };
    path.strip_suffix('/').unwrap_or(path)
}

/// The first of some fields that is there and a text.
fn field(shown: Option<&Value>, names: &[&str]) -> Option<String> {
    let shown = shown?;
    names.iter().find_map(|name| shown.get(*name)?.as_str().map(str::to_owned))
}
