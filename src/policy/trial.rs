//! What policies would say of something that nobody does.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;
use storage::record::{Policy, PolicyEffect};

use super::{Action, Book, Finding, Fuel, Noted, Question, Rule, Sample};
use crate::limits::POLICY_STEP_COUNT_MAX;

/// What policies would say.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Trial {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The policy that denied.
    pub policy: Option<String>,
    /// What the caller would be told.
    pub message: Option<String>,
    /// Why it is so.
    pub reason: String,
    /// What each policy said that was asked.
    pub policies: Vec<Said>,
    /// What they asked for, with what it is; null for what there is not.
    pub variables: BTreeMap<String, Json>,
    /// The steps that it took.
    pub cost: usize,
    /// The steps that it may take.
    pub cost_max: usize,
}

/// What a policy said.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Said {
    /// Null for an expression that is only tried.
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// What it does when its expression is true.
    pub effect: &'static str,
    /// Whether it counts.
    pub enforcement: &'static str,
    /// Whether its expression is true; null if it cannot be evaluated.
    pub result: Option<bool>,
    /// Why it cannot be evaluated.
    pub error: Option<String>,
}

/// The name of an expression that is only tried.
const TRIED: &str = "(this expression)";

/// A policy of an expression that is only tried.
pub fn tried(expression: String, effect: PolicyEffect, action: Action) -> Arc<Policy> {
    Arc::new(Policy {
        name: TRIED.to_owned(),
        effect,
        actions: vec![action.word().to_owned()],
        expression,
        enabled: true,
        ..Policy::default()
    })
}

impl Trial {
    /// Asks `policies` about a sample.
    pub fn of(policies: &[Arc<Policy>], question: Question<'_>, sample: &Sample) -> Trial {
        let (mut said, mut fuel) = (Vec::new(), Fuel::new(POLICY_STEP_COUNT_MAX));
        let noted = Noted::new(sample);
        let mut watch = |rule: &Rule, finding: &Finding| said.push(Said::of(&rule.record, finding));
        let book = Book::new(policies);
        let judged = book.judge_watched(question, &noted, &mut fuel, &mut watch);
        let denial = judged.err();
        let reason = match (&denial, said.is_empty()) {
            (Some(denial), _) => denial.reason.clone(),
            (None, true) => "no policy is about it".to_owned(),
            (None, false) => "no policy denies it".to_owned(),
        };
        Trial {
            decision: if denial.is_some() { "deny" } else { "allow" },
            reason,
            message: denial.as_ref().map(|denial| denial.message.clone()),
            policy: denial.map(|denial| denial.policy),
            policies: said,
            variables: noted.into_seen(),
            cost: fuel.burnt(),
            cost_max: POLICY_STEP_COUNT_MAX,
        }
    }
}

impl Said {
    fn of(policy: &Policy, finding: &Finding) -> Said {
        let (result, error) = match finding {
            Finding::Said(result) => (Some(*result), None),
            Finding::Failed(why) => (None, Some(why.clone())),
        };
        Said {
            id: Some(policy.id.clone()).filter(|id| !id.is_empty()),
            name: policy.name.clone(),
            effect: policy.effect.as_str(),
            enforcement: policy.enforcement.as_str(),
            result,
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tells_what_was_decided_why_and_at_what_cost() {
        let context = json!({"tool": {"name": "echo"}, "arguments": {"n": 5}});
        let sample = Sample::new(context).unwrap();
        let question = Question { action: Action::CallTool, server_id: "" };
        let expression = "tool.name == 'echo' && arguments.n > 3 && !has(tool.gateway)";
        let policy = tried(expression.to_owned(), PolicyEffect::Deny, Action::CallTool);
        let trial = Trial::of(&[policy], question, &sample);
        assert_eq!((trial.decision, trial.policies[0].result), ("deny", Some(true)));
        assert_eq!(trial.reason, "policy (this expression) denies it");
        assert!(trial.cost > 3 && trial.cost < trial.cost_max);
        let expected = json!({"arguments": {"n": 5}, "tool.gateway": null, "tool.name": "echo"});
        assert_eq!(json!(trial.variables), expected);
        let nothing = Trial::of(&[], question, &sample);
        assert_eq!((nothing.decision, nothing.cost), ("allow", 0));
    }
}
