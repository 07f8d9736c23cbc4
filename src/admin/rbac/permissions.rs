//! What there is to permit, and what a user may.

use std::collections::BTreeMap;

use serde_json::json;
use storage::record::{Ownership, Visibility, now};

use super::subject;
use super::unknown_permission;
use crate::admin::fields::Fields;
use crate::admin::query::{Query, address};
use crate::admin::show::Time;
use crate::admin::{Ask, Backend, RestAnswer, answer, record_form, teams};
use crate::auth::Caller;
use crate::auth::access::{self, Object};
use crate::auth::why::words;
use crate::failure::Failure;
use crate::permission::{Permission, PermissionSet};

/// The longest text that a question may hold, in characters.
const TEXT_LENGTH_MAX: usize = 2048;

/// `GET /rbac/permissions/available`.
pub fn available<B: Backend>(_: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut by_kind: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for permission in Permission::ALL {
        by_kind.entry(permission.kind()).or_default().push(permission.as_str());
    }
    let mut all: Vec<&str> = Permission::ALL.iter().map(|one| one.as_str()).collect();
    all.sort_unstable();
    Ok(answer::ok(&json!({
        "total_count": all.len(),
        "all_permissions": all,
        "permissions_by_resource": by_kind,
    })))
}

/// `GET /rbac/my/permissions?team_id=`: with the token that is shown.
pub fn mine<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let team_id = team_asked(ask)?;
    Ok(answer::ok(&words(held(ask.caller, team_id.as_deref()))))
}

/// `GET /rbac/permissions/user/{email}?team_id=`: by a login.
pub fn of_user<B: Backend>(ask: &Ask<'_, B>, email: &str) -> Result<RestAnswer, Failure> {
    let team_id = team_asked(ask)?;
    let catalog = ask.backend.catalog();
    let (caller, fault) = subject::bearer(ask, &catalog, &address(email), None, now())?;
    let held = match fault {
        None => held(&caller, team_id.as_deref()),
        Some(_) => PermissionSet::EMPTY,
    };
    Ok(answer::ok(&words(held)))
}

fn team_asked<B>(ask: &Ask<'_, B>) -> Result<Option<String>, Failure> {
    let query = Query::parse(ask.request.query);
    let team_id = query.text("team_id").map(str::to_owned);
    query.finish().map(|()| team_id)
}

/// What a caller may somewhere, or in a team.
fn held(caller: &Caller, team_id: Option<&str>) -> PermissionSet {
    let rights = &caller.rights;
    let roles = match team_id {
        None => rights.global | rights.anywhere,
        Some(id) => {
            let team = rights.team(id).map(|team| team.permissions);
            rights.global | team.unwrap_or(PermissionSet::EMPTY)
        }
    };
    roles & rights.mask
}

/// `POST /rbac/permissions/check`: whether a user may, by a login.
pub fn check<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let mut text = |name: &str| record_form::optional(&mut fields, name, TEXT_LENGTH_MAX).flatten();
    let [email, word] = ["user_email", "permission"].map(&mut text);
    let [resource_type, resource_id, team_id] =
        ["resource_type", "resource_id", "team_id"].map(&mut text);
    for (name, given) in [("user_email", &email), ("permission", &word)] {
        if given.is_none() && fields.given(name).is_none() {
            fields.missing(name);
        }
    }
    let word = word.unwrap_or_default();
    let permission = word.parse::<Permission>().ok();
    if permission.is_none() && !word.is_empty() {
        fields.error("permission", unknown_permission(&word));
    }
    let kind = resource_type.as_deref().map(subject::kind);
    if kind == Some(None) {
        fields.error("resource_type", "Input should be a kind of things, like tools");
    }
    fields.finish()?;
    let (Some(email), Some(permission)) = (email, permission) else {
        return Err(Failure::field("permission", "Field required"));
    };
    let catalog = ask.backend.catalog();
    let owned = match (kind.flatten(), resource_id, team_id) {
        (Some((kind, _)), Some(id), _) => Some(subject::find(ask, &catalog, kind, &id)?.owned),
        (_, _, Some(team_id)) => {
            teams::find(ask, &catalog, &team_id)?;
            let visibility = Visibility::Team;
            Some(Ownership { team_id: Some(team_id), owner_email: None, visibility })
        }
        _ => None,
    };
    let (caller, fault) = subject::bearer(ask, &catalog, &email, None, now())?;
    let object = owned.as_ref().map_or(Object::Nothing, Object::Owned);
    let granted = fault.is_none() && access::decide(&caller, permission, object).is_allowed();
    Ok(answer::ok(&json!({
        "user_email": email,
        "permission": permission.as_str(),
        "granted": granted,
        "checked_at": Time(now()),
        "checked_by": ask.caller.email,
    })))
}
