//! Policies: what is allowed or denied besides by roles.

mod trial;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use storage::Mutation;
use storage::record::{Entity, Identity, Policy, new_id, now};

use super::fields::Fields;
use super::listing::is_activation;
use super::show::Time;
use super::{Ask, Backend, RestAnswer, answer};
use crate::catalog::Catalog;
use crate::failure::Failure;
use crate::limits::POLICY_COUNT_MAX;
use crate::policy::{Action, Program};

pub use trial::test;

/// The longest description, and the longest message to who is refused, in characters.
const TEXT_LENGTH_MAX: usize = 1000;

/// A policy, as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct PolicyRead<'a> {
    id: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    /// The virtual server that it is for; null for everything.
    server_id: Option<&'a str>,
    /// What it does when its expression is true: `allow` or `deny`.
    effect: &'a str,
    /// What it is about, as `tools.execute`; `*` for every use.
    actions: &'a [String],
    /// When, in CEL.
    expression: &'a str,
    /// What whoever is refused is told.
    message: Option<&'a str>,
    /// `enforce`, or `dry_run`: it only says in the log what it would have denied.
    enforcement: &'a str,
    enabled: bool,
    /// The higher is asked first.
    priority: i64,
    created_by: Option<&'a str>,
    created_at: Time,
    updated_at: Time,
    version: i64,
}

impl<'a> PolicyRead<'a> {
    fn of(policy: &'a Policy) -> PolicyRead<'a> {
        PolicyRead {
            id: &policy.id,
            name: &policy.name,
            description: policy.description.as_deref(),
            server_id: policy.server_id.as_deref(),
            effect: policy.effect.as_str(),
            actions: &policy.actions,
            expression: &policy.expression,
            message: policy.message.as_deref(),
            enforcement: policy.enforcement.as_str(),
            enabled: policy.enabled,
            priority: policy.priority,
            created_by: policy.created_by.as_deref(),
            created_at: Time(policy.created_at),
            updated_at: Time(policy.updated_at),
            version: policy.version,
        }
    }
}

/// `GET /policies`.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let mut policies: Vec<&Arc<Policy>> = catalog.people().policies().collect();
    policies.sort_by(|one, two| one.name.cmp(&two.name));
    let shown: Vec<_> = policies.into_iter().map(|policy| PolicyRead::of(policy)).collect();
    Ok(answer::ok(&shown))
}

/// `GET /policies/{id}`.
pub fn get<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let policy = find(&ask.backend.catalog(), id)?;
    Ok(shown(200, &policy))
}

/// `POST /policies`.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    if catalog.people().policies().count() >= POLICY_COUNT_MAX {
        let text = format!("There are {POLICY_COUNT_MAX} policies already, which is the most");
        return Err(Failure::Conflict(text));
    }
    let mut policy = Policy {
        id: new_id(),
        actions: vec!["*".to_owned()],
        enabled: true,
        created_by: Some(ask.caller.email.clone()),
        created_at: now(),
        ..Policy::default()
    };
    read_into(ask, &catalog, &mut policy)?;
    policy.version = 1;
    policy.updated_at = policy.created_at;
    let id = policy.id.clone();
    ask.apply(vec![Mutation::PutIdentity(Identity::Policy(Arc::new(policy)))]).await?;
    let policy = find(&ask.backend.catalog(), &id)?;
    Ok(shown(201, &policy))
}

/// `PUT /policies/{id}`.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let stored = find(&catalog, id)?;
    let expected = ask.expected(Entity::Policy, &stored.id, stored.version)?;
    let mut policy = Policy::clone(&stored);
    read_into(ask, &catalog, &mut policy)?;
    change(ask, expected, policy).await
}

/// `POST /policies/{id}/state?activate=`.
pub async fn set_state<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let activate = is_activation(ask.request.query)?;
    let stored = find(&ask.backend.catalog(), id)?;
    let expected = ask.expected(Entity::Policy, &stored.id, stored.version)?;
    if stored.enabled == activate {
        return Ok(shown(200, &stored));
    }
    change(ask, expected, Policy { enabled: activate, ..Policy::clone(&stored) }).await
}

async fn change<B: Backend>(
    ask: &Ask<'_, B>,
    expected: Mutation,
    policy: Policy,
) -> Result<RestAnswer, Failure> {
    let policy = Policy { version: policy.version + 1, updated_at: now(), ..policy };
    let id = policy.id.clone();
    let put = Mutation::PutIdentity(Identity::Policy(Arc::new(policy)));
    ask.apply(vec![expected, put]).await?;
    get(ask, &id)
}

/// `DELETE /policies/{id}`.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let stored = find(&ask.backend.catalog(), id)?;
    let mut mutations = ask.demanded(Entity::Policy, &stored.id, stored.version)?;
    mutations.push(Mutation::DeleteIdentity { entity: Entity::Policy, id: stored.id.clone() });
    ask.apply(mutations).await?;
    let message = format!("Policy {} deleted", stored.name);
    Ok(answer::ok(&serde_json::json!({ "status": "success", "message": message })))
}

fn shown(status: u16, policy: &Policy) -> RestAnswer {
    let body = PolicyRead::of(policy);
    RestAnswer { etag: Some(policy.version), ..answer::with_status(status, &body) }
}

/// Finds a policy by its id, or by its name.
fn find(catalog: &Catalog, id: &str) -> Result<Arc<Policy>, Failure> {
    let people = catalog.people();
    let by_name = || people.policies().find(|policy| policy.name.eq_ignore_ascii_case(id));
    let found = people.policy(id).or_else(by_name);
    found.cloned().ok_or_else(|| Failure::NotFound(format!("Policy not found: {id}")))
}

/// Reads what a body says of a policy; what it does not name stays.
fn read_into<B: Backend>(
    ask: &Ask<'_, B>,
    catalog: &Catalog,
    policy: &mut Policy,
) -> Result<(), Failure> {
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    read_name(&mut fields, ask.backend.rules().name_length_max, policy);
    read_expression(&mut fields, policy);
    read_scope(&mut fields, catalog, policy);
    if let Some(effect) = fields.word("effect", |word| word.parse().ok(), EFFECTS) {
        policy.effect = effect;
    } else if policy.version == 0 && fields.value("effect").is_none() {
        fields.missing("effect");
    }
    if let Some(enforcement) = fields.word("enforcement", |word| word.parse().ok(), ENFORCEMENTS) {
        policy.enforcement = enforcement;
    }
    read_text(&mut fields, "description", &mut policy.description);
    read_text(&mut fields, "message", &mut policy.message);
    policy.enabled = fields.flag("enabled").unwrap_or(policy.enabled);
    policy.priority = fields.whole("priority").unwrap_or(policy.priority);
    fields.finish()
}

const EFFECTS: &str = "allow or deny";
const ENFORCEMENTS: &str = "enforce or dry_run";

fn read_name(fields: &mut Fields, length_max: usize, policy: &mut Policy) {
    match fields.text("name") {
        Some(name) if name.is_empty() || name.chars().count() > length_max => {
            fields.error("name", format!("Name must have 1 to {length_max} characters"));
        }
        Some(name) => policy.name = name,
        None if policy.name.is_empty() && fields.value("name").is_none() => fields.missing("name"),
        None => {}
    }
}

fn read_expression(fields: &mut Fields, policy: &mut Policy) {
    let Some(expression) = fields.text("expression") else {
        if policy.expression.is_empty() && fields.value("expression").is_none() {
            fields.missing("expression");
        }
        return;
    };
    if let Err(error) = Program::compile(&expression) {
        fields.error("expression", format!("This is no expression of CEL: {error}"));
    }
    policy.expression = expression;
}

/// Reads what a policy is about.
fn read_scope(fields: &mut Fields, catalog: &Catalog, policy: &mut Policy) {
    if let Some(actions) = fields.list("actions") {
        let is_known = |word: &String| word == "*" || Action::of_word(word).is_some();
        if actions.is_empty() || !actions.iter().all(is_known) {
            let words = Action::ALL.map(Action::word).join(", ");
            fields.error("actions", format!("Input should be some of {words}, or *"));
        }
        policy.actions = actions;
    }
    if fields.is_null("server_id") {
        policy.server_id = None;
    }
    if let Some(server_id) = fields.text("server_id") {
        if catalog.server(&server_id).is_none() {
            fields.error("server_id", format!("There is no virtual server {server_id}"));
        }
        policy.server_id = Some(server_id);
    }
}

fn read_text(fields: &mut Fields, name: &str, kept: &mut Option<String>) {
    if fields.is_null(name) {
        *kept = None;
    }
    let Some(text) = fields.text(name) else { return };
    if text.chars().count() > TEXT_LENGTH_MAX {
        fields.error(name, format!("Input should have at most {TEXT_LENGTH_MAX} characters"));
    }
    *kept = Some(text).filter(|text| !text.is_empty());
}
