use std::sync::Arc;

use serde_json::json;
use storage::record::{Enforcement, Policy, PolicyEffect};

use super::*;

fn policy(name: &str, effect: PolicyEffect, actions: &[&str], expression: &str) -> Policy {
    Policy {
        id: format!("id of {name}"),
        name: name.to_owned(),
        effect,
        actions: actions.iter().map(ToString::to_string).collect(),
        expression: expression.to_owned(),
        enabled: true,
        ..Policy::default()
    }
}

fn deny(name: &str, expression: &str) -> Policy {
    policy(name, PolicyEffect::Deny, &["*"], expression)
}

fn allow(name: &str, expression: &str) -> Policy {
    policy(name, PolicyEffect::Allow, &["*"], expression)
}

fn book(policies: Vec<Policy>) -> Book {
    let policies: Vec<_> = policies.into_iter().map(Arc::new).collect();
    Book::new(&policies)
}

/// The reason of the denial of a call of the tool `echo` through the virtual server `s1`.
fn judged(policies: Vec<Policy>) -> Option<String> {
    asked(policies, Action::CallTool)
}

fn asked(policies: Vec<Policy>, action: Action) -> Option<String> {
    let context = json!({"tool": {"name": "echo"}, "caller": {"email": "a@b.c"}, "arguments": {}});
    let facts = Sample::new(context).unwrap();
    let question = Question { action, server_id: "s1" };
    book(policies).judge(question, &facts).err().map(|denial| denial.reason)
}

#[test]
fn what_no_policy_is_about_is_allowed() {
    assert_eq!(judged(vec![]), None);
    assert_eq!(judged(vec![deny("d", "tool.name == 'other'")]), None);
    assert!(book(vec![]).is_empty());
    let off = Policy { enabled: false, ..deny("d", "true") };
    assert!(book(vec![off]).is_empty());
}

#[test]
fn deny_wins_over_allow_whatever_their_order() {
    let both = || vec![allow("a", "true"), deny("d", "tool.name == 'echo'")];
    assert_eq!(judged(both()).unwrap(), "policy d denies it");
    let mut reversed = both();
    reversed.reverse();
    assert_eq!(judged(reversed).unwrap(), "policy d denies it");
}

#[test]
fn where_policies_allow_one_of_them_must() {
    assert_eq!(judged(vec![allow("a", "false"), allow("b", "true")]), None);
    let none = vec![allow("a", "false"), allow("b", "false")];
    assert_eq!(judged(none).unwrap(), "policy a does not allow it, and no other does");
}

#[test]
fn what_cannot_be_evaluated_denies_and_says_so() {
    let said = judged(vec![deny("d", "tool.gateway == 'x'")]).unwrap();
    assert_eq!(said, "policy d cannot be evaluated: the request has no tool.gateway");
    let said = judged(vec![allow("a", "arguments.x > 1")]).unwrap();
    assert_eq!(said, "policy a cannot be evaluated: there is no \"x\"");
    assert_eq!(judged(vec![allow("a", "arguments.x > 1"), allow("b", "true")]), None);
    let said = judged(vec![deny("d", "not CEL")]).unwrap();
    assert!(said.starts_with("policy d cannot be evaluated: "), "{said}");
}

#[test]
fn a_policy_on_trial_denies_nothing() {
    let trial = |policy| Policy { enforcement: Enforcement::DryRun, ..policy };
    let all = vec![trial(deny("d", "true")), trial(allow("a", "false")), trial(deny("e", "1 / 0"))];
    assert_eq!(judged(all), None);
}

#[test]
fn a_policy_is_for_its_server_and_its_actions() {
    let of_server = |id: &str| Policy { server_id: Some(id.to_owned()), ..deny("d", "true") };
    assert_eq!(judged(vec![of_server("s2")]), None);
    assert!(judged(vec![of_server("s1")]).is_some());
    let of_prompts = || vec![policy("d", PolicyEffect::Deny, &["prompts.read"], "true")];
    assert_eq!(asked(of_prompts(), Action::CallTool), None);
    assert!(asked(of_prompts(), Action::GetPrompt).is_some());
}

#[test]
fn a_policy_that_speaks_of_tools_is_not_about_resources() {
    let of_tools = || vec![deny("d", "tool.name != ''")];
    assert!(asked(of_tools(), Action::CallTool).is_some());
    assert_eq!(asked(of_tools(), Action::ReadResource), None);
    assert!(asked(vec![deny("d", "caller.email != ''")], Action::ReadResource).is_some());
}

#[test]
fn lists_are_filtered_only_by_policies_that_name_them() {
    let everything = book(vec![deny("d", "true")]);
    assert!(!everything.filters_lists());
    assert_eq!(asked(vec![deny("d", "true")], Action::ListTool), None);
    let named = || policy("d", PolicyEffect::Deny, &["tools.read"], "true");
    assert!(book(vec![named()]).filters_lists());
    assert!(asked(vec![named()], Action::ListTool).is_some());
    assert_eq!(asked(vec![named()], Action::CallTool), None);
}

#[test]
fn the_first_by_priority_gives_the_message() {
    let first = Policy { priority: 2, message: Some("no".to_owned()), ..deny("z", "true") };
    let second = Policy { priority: 1, ..deny("a", "true") };
    let facts = Sample::new(json!({})).unwrap();
    let question = Question { action: Action::ReadResource, server_id: "" };
    let denial = book(vec![second, first]).judge(question, &facts).unwrap_err();
    assert_eq!(denial.to_string(), "Access denied: no");
    assert_eq!((denial.policy.as_str(), denial.policy_id.as_str()), ("z", "id of z"));
}

#[test]
fn says_what_is_wrong_with_an_expression() {
    for (text, said) in [
        ("callr.email == 'a'", "there is no callr; there are jwt, caller, tool, resource, prompt"),
        ("caller.mail == 'a'", "there is no caller.mail; there are caller.email, caller.is_admin"),
        ("size(caller) > 0", "caller is used by its fields: caller.email"),
        ("request.headers['authorization'] == ''", "the header authorization cannot be used"),
        ("tool.name.matches(tool.name)", "the pattern of matches must be written down"),
        ("tool.name.matches('(')", "the pattern \"(\": "),
        ("tool.name.matches('(a{500}){500}')", "the pattern "),
        ("frobnicate(1)", "there is no frobnicate of 1 values"),
        ("'true'", "it is neither true nor false, whatever the request is"),
        ("b'a' == b'a'", "there are no bytes here"),
        ("x.y{z: 1}", "there are no messages here"),
    ] {
        let error = Program::compile(text).err().unwrap_or_else(|| panic!("{text}"));
        assert!(error.to_string().starts_with(said), "{text}: {error}");
    }
}

#[test]
fn refuses_what_is_larger_or_deeper_than_it_may_be() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(600), close.repeat(600));
    for text in [
        "true || ".repeat(600) + "true",
        "1 + ".repeat(500) + "1 == 1",
        deep("(2 + ", ")"),
        deep("{1: ", "}"),
        deep("[", "]"),
        "x.".repeat(2000) + "y",
        "a ? b : ".repeat(400) + "c",
        "!!(!!!!!!(!!!!(((((!!(!!(!!!!((".repeat(100),
        "[1].map(x, ".repeat(200) + "x" + &")".repeat(200),
        " ".repeat(5000),
    ] {
        assert!(Program::compile(&text).is_err(), "{text:.40}");
    }
    // What stands together is one.
    let joined = format!("{}true{}", "(".repeat(2000), ")".repeat(2000));
    for text in [joined, "!".repeat(3000) + "true"] {
        assert!(Program::compile(&text).is_ok());
    }
}

proptest::proptest! {
    /// Whatever is written, it is read or refused, and runs to an end.
    #[test]
    fn no_text_breaks_the_compiler(words in proptest::collection::vec(0..WORDS.len(), 0..40)) {
        let text: String = words.into_iter().map(|place| WORDS[place]).collect();
        if let Ok(program) = Program::compile(&text) {
            let facts = Sample::new(json!({"arguments": {"a": [1, "b"]}})).unwrap();
            let mut fuel = Fuel::new(2000);
            let _ = program.is_true(&facts, &mut fuel);
            proptest::prop_assert!(fuel.burnt() <= 2000);
        }
    }
}

const WORDS: [&str; 36] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "&&",
    "||",
    "==",
    "<",
    " in ",
    "?",
    ":",
    ",",
    ".",
    "'",
    "\"",
    "\\",
    "1",
    "2.5",
    "7u",
    "'a'",
    "null",
    "true",
    "arguments",
    ".a",
    ".map(x, x)",
    ".all(x, x > 0)",
    "size(",
    "r'''",
];

#[test]
fn the_page_in_docs_names_all_that_there_is_and_its_examples_compile() {
    let page = include_str!("../../docs/POLICIES.md");
    for attribute in Attribute::ALL {
        assert!(page.contains(&format!("`{}`", attribute.path())), "{}", attribute.path());
    }
    assert!(HEADERS.iter().all(|name| page.contains(&format!("`{name}`"))));
    let examples: Vec<&str> = page.split("```cel\n").skip(1).collect();
    assert!(examples.len() > 3);
    for example in examples {
        let text = example.split("```").next().unwrap();
        Program::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}
