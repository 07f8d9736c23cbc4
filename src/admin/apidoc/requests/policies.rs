//! The bodies of requests about policies.

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::Words;

/// A policy to make.
#[derive(JsonSchema)]
pub struct NewPolicy {
    /// Unique, whatever its case.
    #[schemars(length(min = 1, max = 255))]
    name: String,
    /// When, in CEL, as `tool.name.startsWith('db-') && !caller.is_admin`.
    #[schemars(length(min = 1, max = 4096))]
    expression: String,
    /// What it does when its expression is true: `allow` or `deny`.
    effect: Effect,
    #[schemars(flatten)]
    rest: PolicyFields,
}

/// What to change of a policy; what is not named stays.
#[derive(JsonSchema)]
pub struct PolicyChange {
    /// Unique, whatever its case.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    /// When, in CEL.
    #[schemars(length(min = 1, max = 4096))]
    expression: Option<String>,
    /// What it does when its expression is true: `allow` or `deny`.
    effect: Option<Effect>,
    #[schemars(flatten)]
    rest: PolicyFields,
}

#[derive(JsonSchema)]
struct PolicyFields {
    /// What it is for.
    #[schemars(length(max = 1000))]
    description: Option<String>,
    /// The virtual server that it is for; null for everything.
    server_id: Option<String>,
    /// What it is about: `tools.execute`, `tools.read` (what lists show), `resources.read`,
    /// `prompts.read`; or `*` for every use.
    actions: Option<Words>,
    /// What whoever is refused is told.
    #[schemars(length(max = 1000))]
    message: Option<String>,
    /// `enforce`, or `dry_run`: it only says in the log what it would have denied.
    enforcement: Option<Enforcement>,
    enabled: Option<bool>,
    /// The higher is asked first.
    priority: Option<i64>,
}

/// What is tried. Without an expression and a policy: all that are stored.
#[derive(JsonSchema)]
pub struct PolicyTest {
    /// An expression in CEL.
    #[schemars(length(max = 4096))]
    expression: Option<String>,
    /// What the expression does when it is true: `deny` unless it is said.
    effect: Option<Effect>,
    /// The id or the name of a policy, which may be switched off.
    policy_id: Option<String>,
    /// What is done: `tools.execute` unless it is said.
    action: Option<String>,
    /// The virtual server that it is done through.
    server_id: Option<String>,
    /// The address of the caller.
    user: Option<String>,
    /// The name or the id of the tool.
    tool: Option<String>,
    /// The URI or the id of the resource.
    resource: Option<String>,
    /// The name or the id of the prompt.
    prompt: Option<String>,
    /// The arguments of the call.
    arguments: Option<Map<String, Value>>,
    /// What expressions may name, as `{"caller": {"ip": "10.0.0.1"}}`: laid over all of that.
    context: Option<Map<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum Effect {
    Allow,
    Deny,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
enum Enforcement {
    Enforce,
    DryRun,
}
