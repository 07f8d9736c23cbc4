//! Why somebody may do something or may not, told in words.

use schemars::JsonSchema;
use serde::Serialize;
use storage::record::now;

use super::subject::{self, Entity};
use super::unknown_permission;
use crate::admin::query::Query;
use crate::admin::{Ask, Backend, RestAnswer, answer};
use crate::auth::access::{self, Object, Reason};
use crate::auth::why::{Explanation, Question};
use crate::auth::{AuthError, Caller, Fault, held};
use crate::catalog::Catalog;
use crate::failure::Failure;
use crate::permission::Permission;

/// Why somebody may or may not.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Explanation")]
pub struct Explained {
    user: String,
    /// The permission that is asked for.
    action: &'static str,
    entity: Option<Entity>,
    /// The API token that was shown, if one was asked about.
    token_id: Option<String>,
    allowed: bool,
    /// The rule that allows it, or the reason why not, as one word.
    rule: &'static str,
    /// The same as a sentence.
    explanation: String,
    /// What would make a yes of a no, each by itself.
    would_allow: Vec<String>,
    /// The roles that the user has, and whether each permits it.
    roles: Vec<HeldRole>,
}

/// A role of the user.
#[derive(Serialize, JsonSchema)]
struct HeldRole {
    role: String,
    scope: &'static str,
    scope_id: Option<String>,
    /// `manual`, `membership` or `default`.
    source: &'static str,
    permits: bool,
}

/// `GET /rbac/explain?user=&action=&entity=&token=`. Without a user: the caller, with the token that
/// they show.
pub fn explain<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let user = query.text("user").map(str::to_lowercase);
    let token_id = query.text("token").map(str::to_owned);
    let key = read_entity(&mut query);
    let permission = read_action(&mut query, key.as_ref().map(|(kind, _)| *kind));
    query.finish()?;
    let permission = permission.ok_or_else(|| Failure::field("action", "Field required"))?;
    let own = ask.caller.email.to_lowercase();
    let is_own = user.as_ref().is_none_or(|user| *user == own);
    let audit = Permission::AdminSecurityAudit;
    if !is_own && !access::decide(ask.caller, audit, Object::Nothing).is_allowed() {
        return Err(Failure::Forbidden(Reason::NoRole(audit).to_string()));
    }
    let catalog = ask.backend.catalog();
    let entity = match key {
        Some(((kind, _), key)) => Some(subject::find(ask, &catalog, kind, &key)?),
        None => None,
    };
    let (caller, fault) = match (&user, &token_id) {
        (None, None) => (ask.caller.clone(), None),
        _ => {
            let email = user.as_ref().unwrap_or(&own);
            subject::bearer(ask, &catalog, email, token_id.as_deref(), now())?
        }
    };
    let told = tell(ask, &catalog, &caller, fault, permission, entity.as_ref());
    let roles = roles(ask, &catalog, &caller, permission);
    let Explanation { allowed, rule, sentence, would_allow } = told;
    Ok(answer::ok(&Explained {
        user: caller.email,
        action: permission.as_str(),
        entity,
        token_id,
        allowed,
        rule,
        explanation: sentence,
        would_allow,
        roles,
    }))
}

fn tell<B: Backend>(
    ask: &Ask<'_, B>,
    catalog: &Catalog,
    caller: &Caller,
    fault: Option<Fault>,
    permission: Permission,
    entity: Option<&Entity>,
) -> Explanation {
    let denied = |rule, sentence: String, remedy: &str| Explanation {
        allowed: false,
        rule,
        sentence,
        would_allow: vec![remedy.to_owned()],
    };
    if let Some(fault) = fault {
        let sentence = format!("{} is nobody here. {}", caller.email, AuthError::Invalid(fault));
        return denied("not_authenticated", sentence, "a user and a token that are good");
    }
    if caller.must_change_password {
        let sentence =
            format!("{} must choose another password before anything else", caller.email);
        return denied("password_change_required", sentence, "another password");
    }
    let server = entity.filter(|entity| entity.r#type == "server");
    if let Some(server) = server.filter(|server| !caller.opens(Some(&server.id))) {
        let sentence = format!("the token is for another virtual server than {}", server.name);
        return denied("token_scope", sentence, "a token for this virtual server, or for all");
    }
    let question = Question {
        caller,
        permission,
        owned: entity.map(|entity| &entity.owned),
        people: catalog.people(),
        standing: &ask.backend.rules().standing,
        now: now(),
    };
    question.explain()
}

fn roles<B: Backend>(
    ask: &Ask<'_, B>,
    catalog: &Catalog,
    caller: &Caller,
    permission: Permission,
) -> Vec<HeldRole> {
    let now = now();
    let held = held::of_user(&caller.email, catalog.people(), &ask.backend.rules().standing);
    let active = held.into_iter().filter(|held| held.is_active(now));
    let shown = active.map(|held| HeldRole {
        scope: held.scope.as_str(),
        scope_id: held.team_id.map(str::to_owned),
        source: held.origin(),
        permits: held.permissions.contains(permission),
        role: held.role_name,
    });
    shown.collect()
}

type Key = ((&'static str, &'static str), String);

/// `tool:ID`, `server:NAME` and so on.
fn read_entity(query: &mut Query) -> Option<Key> {
    let text = query.text("entity")?.to_owned();
    let found = text.split_once(':').and_then(|(kind, key)| Some((subject::kind(kind)?, key)));
    if found.is_none() {
        let kinds = subject::KINDS.map(|(kind, _)| kind).join(", ");
        query.error(
            "entity",
            format!("Input should be KIND:ID or KIND:NAME, where KIND is {kinds}"),
        );
    }
    found.map(|(kind, key)| (kind, key.to_owned()))
}

/// A permission, as `tools.execute`, or what is done to the thing, as `execute` or `call`.
fn read_action(
    query: &mut Query,
    kind: Option<(&'static str, &'static str)>,
) -> Option<Permission> {
    let Some(word) = query.text("action").map(str::to_lowercase) else {
        query.error("action", "Field required");
        return None;
    };
    let of_kind = || {
        let (kind, permissions) = kind?;
        let deed = match (kind, word.as_str()) {
            ("tool", "call" | "use" | "invoke") => "execute",
            ("server", "call" | "execute" | "invoke") => "use",
            ("agent", "call" | "use" | "execute") => "invoke",
            (_, "see" | "get" | "list") => "read",
            (_, other) => other,
        };
        format!("{permissions}.{deed}").parse().ok()
    };
    let found = word.parse().ok().or_else(of_kind);
    if found.is_none() {
        query.error("action", unknown_permission(&word));
    }
    found
}
