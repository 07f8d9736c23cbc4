//! Policies: what is allowed or denied besides by roles, written in CEL.
//!
//! A policy denies what its expression is true of, or allows it; what is denied stays denied, and
//! where policies allow, one of them must. It looks at a request and at the snapshot, and at nothing
//! else: no network, no clock but the request's, and never more steps than it is given.

mod attribute;
mod compile;
mod fuel;
mod json;
mod moment;
mod node;
mod run;
mod sample;
mod trial;
mod value;

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use storage::record::{Enforcement, Policy, PolicyEffect};

pub use attribute::{Attribute, Facts, HEADERS, Subject};
pub use compile::{CompileError, Program};
pub use fuel::{Fault, Fuel};
pub use json::read as read_json;
pub use moment::{read as read_time, write as write_time};
pub use sample::{Noted, Sample, SampleError};
pub use trial::{Said, Trial, tried};
pub use value::Value;

use crate::limits::POLICY_STEP_COUNT_MAX;

/// What somebody is about to do, as far as policies are asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Call a tool.
    CallTool,
    /// See a tool in a list.
    ListTool,
    /// Read a resource.
    ReadResource,
    /// Get a prompt.
    GetPrompt,
}

impl Action {
    /// All there are.
    pub const ALL: [Action; 4] =
        [Action::CallTool, Action::ListTool, Action::ReadResource, Action::GetPrompt];

    /// The permission that it needs, by which policies name it.
    pub fn word(self) -> &'static str {
        match self {
            Action::CallTool => "tools.execute",
            Action::ListTool => "tools.read",
            Action::ReadResource => "resources.read",
            Action::GetPrompt => "prompts.read",
        }
    }

    /// The kind of thing that it is done to.
    pub fn subject(self) -> Subject {
        match self {
            Action::CallTool | Action::ListTool => Subject::Tool,
            Action::ReadResource => Subject::Resource,
            Action::GetPrompt => Subject::Prompt,
        }
    }

    /// The action of this word.
    pub fn of_word(word: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.word() == word)
    }

    /// Whether one of the words of a policy names it. `*` is all that is done to one thing at a
    /// time: lists are filtered only by policies that name `tools.read`.
    fn is_among(self, words: &[String]) -> bool {
        let is_list = self == Action::ListTool;
        words.iter().any(|word| word == self.word() || (word == "*" && !is_list))
    }
}

/// What policies are asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What is about to be done.
    pub action: Action,
    /// The virtual server that it is done through; empty for none.
    pub server_id: &'a str,
}

/// One policy, compiled.
pub struct Rule {
    /// The policy as it is stored.
    pub record: Arc<Policy>,
    program: Result<Program, CompileError>,
}

/// What a policy said, or why it could not say anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Whether its expression is true.
    Said(bool),
    /// Why it is neither.
    Failed(String),
}

/// That a policy denied, with what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The id of the policy.
    pub policy_id: String,
    /// Its name.
    pub policy: String,
    /// What the caller is told.
    pub message: String,
    /// What the operator is told.
    pub reason: String,
}

/// The policies that are switched on, compiled: those that deny before those that allow, each in
/// the order of their priorities.
#[derive(Default)]
pub struct Book {
    rules: Vec<Rule>,
    filters_lists: bool,
    /// All of which it was made, also those that are switched off.
    sources: Vec<Arc<Policy>>,
}

impl Book {
    /// Compiles policies. One that cannot be compiled denies what it is about.
    pub fn new<'a>(policies: impl IntoIterator<Item = &'a Arc<Policy>>) -> Book {
        let sources: Vec<_> = policies.into_iter().cloned().collect();
        let enabled = sources.iter().filter(|policy| policy.enabled);
        let mut rules: Vec<_> = enabled.cloned().map(Rule::new).collect();
        rules.sort_by(|one, two| one.place().cmp(&two.place()));
        let names_lists = |rule: &Rule| Action::ListTool.is_among(&rule.record.actions);
        Book { filters_lists: rules.iter().any(names_lists), rules, sources }
    }

    /// Whether it was made of these very policies.
    pub fn is_of<'a>(&self, policies: impl IntoIterator<Item = &'a Arc<Policy>>) -> bool {
        let mut own = self.sources.iter();
        let is_same = |policy: &Arc<Policy>| own.next().is_some_and(|own| Arc::ptr_eq(own, policy));
        policies.into_iter().all(is_same) && own.next().is_none()
    }

    /// Whether there is no policy: nothing needs to be asked then.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a policy is about what lists show.
    pub fn filters_lists(&self) -> bool {
        self.filters_lists
    }

    /// Asks the policies whether something may be done.
    ///
    /// # Errors
    ///
    /// The [`Denial`] of the first that denies.
    pub fn judge(&self, question: Question<'_>, facts: &dyn Facts) -> Result<(), Denial> {
        self.judge_watched(question, facts, &mut Fuel::new(POLICY_STEP_COUNT_MAX), &mut |_, _| {})
    }

    /// As [`Book::judge`], within a bound of its own, and `watch` sees what each policy said that was
    /// asked.
    ///
    /// # Errors
    ///
    /// The [`Denial`] of the first that denies.
    pub fn judge_watched(
        &self,
        question: Question<'_>,
        facts: &dyn Facts,
        fuel: &mut Fuel,
        watch: &mut dyn FnMut(&Rule, &Finding),
    ) -> Result<(), Denial> {
        let mut is_permitted = false;
        let mut missed = None;
        for rule in self.rules.iter().filter(|rule| rule.applies_to(question)) {
            let finding = rule.ask(facts, fuel);
            watch(rule, &finding);
            let is_true = finding == Finding::Said(true);
            match (rule.record.effect, rule.record.enforcement) {
                (_, Enforcement::DryRun) => rule.tell_trial(question, &finding),
                (PolicyEffect::Deny, _) if finding != Finding::Said(false) => {
                    return Err(rule.denial(&finding));
                }
                (PolicyEffect::Deny, _) => {}
                (PolicyEffect::Allow, _) if is_true => is_permitted = true,
                (PolicyEffect::Allow, _) => {
                    missed.get_or_insert_with(|| rule.denial(&finding));
                }
            }
        }
        match missed {
            Some(denial) if !is_permitted => Err(denial),
            _ => Ok(()),
        }
    }
}

impl Rule {
    fn new(record: Arc<Policy>) -> Rule {
        let program = Program::compile(&record.expression);
        if let Err(error) = &program {
            tracing::error!(policy = record.name, %error, "a policy cannot be compiled");
        }
        Rule { record, program }
    }

    /// Its place in a [`Book`].
    fn place(&self) -> (bool, Reverse<i64>, &str) {
        let Policy { effect, priority, name, .. } = &*self.record;
        (*effect == PolicyEffect::Allow, Reverse(*priority), name)
    }

    /// Whether it is asked: it is about the action, the virtual server and the kind of thing.
    fn applies_to(&self, question: Question<'_>) -> bool {
        let server_id = self.record.server_id.as_deref();
        let is_about = |program: &Program| program.is_about(question.action.subject());
        question.action.is_among(&self.record.actions)
            && server_id.is_none_or(|id| id == question.server_id)
            && self.program.as_ref().map_or(true, is_about)
    }

    fn ask(&self, facts: &dyn Facts, fuel: &mut Fuel) -> Finding {
        match &self.program {
            Ok(program) => match program.is_true(facts, fuel) {
                Ok(said) => Finding::Said(said),
                Err(fault) => Finding::Failed(fault.to_string()),
            },
            Err(error) => Finding::Failed(error.to_string()),
        }
    }

    /// What a finding that denies comes to.
    fn denial(&self, finding: &Finding) -> Denial {
        let Policy { id, name, message, effect, .. } = &*self.record;
        let reason = match finding {
            Finding::Failed(why) => format!("policy {name} cannot be evaluated: {why}"),
            Finding::Said(_) if *effect == PolicyEffect::Deny => format!("policy {name} denies it"),
            Finding::Said(_) => format!("policy {name} does not allow it, and no other does"),
        };
        let message = message.clone().unwrap_or_else(|| format!("denied by policy {name}"));
        Denial { policy_id: id.clone(), policy: name.clone(), message, reason }
    }

    /// Says what it would have denied if it counted.
    fn tell_trial(&self, question: Question<'_>, finding: &Finding) {
        let denies = match self.record.effect {
            PolicyEffect::Deny => *finding != Finding::Said(false),
            PolicyEffect::Allow => *finding != Finding::Said(true),
        };
        if denies {
            let Denial { policy, reason, .. } = self.denial(finding);
            let action = question.action.word();
            tracing::info!(policy, reason, action, "a policy on trial would have denied");
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Access denied: {}", self.message)
    }
}

#[cfg(test)]
mod tests;
