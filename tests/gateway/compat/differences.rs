//! The differences that are meant, each with its reason, and the page that tells of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::script::Outcome;

/// Where Ringway's answers differ from the recording on purpose.
pub struct Rule {
    reason: String,
    /// Names of calls and lines of differences; `*` stands for anything.
    calls: Vec<String>,
    differences: Vec<String>,
    /// Whether it is of something that is being built: it may match nothing by now.
    is_open: bool,
}

/// Reads the list that the tests keep.
pub fn rules() -> Vec<Rule> {
    let json: Vec<Value> = serde_json::from_str(include_str!("../../compat/differences.json"))
        .expect("the list of differences is JSON");
    let texts = |json: &Value| serde_json::from_value(json.clone()).expect("a list of texts");
    let rules = json.iter().map(|rule| Rule {
        reason: rule["reason"].as_str().expect("a rule has a reason").to_owned(),
        calls: texts(&rule["calls"]),
        differences: texts(&rule["differences"]),
        is_open: rule["open"] == true,
    });
    rules.collect()
}

/// Says how `ours` differs from `theirs`, a line for each place.
pub fn between(theirs: &Outcome, ours: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    if theirs.status != ours.status {
        found.push(format!("status: {} -> {}", theirs.status, ours.status));
    }
    let gone = theirs.headers.iter().filter(|name| !ours.headers.contains(name));
    found.extend(gone.map(|name| format!("header {name}: missing")));
    let new = ours.headers.iter().filter(|name| !theirs.headers.contains(name));
    found.extend(new.map(|name| format!("header {name}: extra")));
    // An error has another shape than a success; that the status differs says it.
    if theirs.status / 100 == ours.status / 100 {
        theirs.body.differences(&ours.body, "body", &mut found);
    }
    found
}

/// Checks that every difference is listed, and that the list has nothing else.
pub fn check(found: &BTreeMap<String, Vec<String>>, rules: &[Rule]) {
    let mut unlisted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut used = BTreeSet::new();
    for (call, differences) in found {
        for difference in differences {
            let mut is_listed = false;
            for (index, rule) in rules.iter().enumerate() {
                let calls = rule.calls.iter().filter(|pattern| matches(pattern, call));
                let lines = rule.differences.iter().filter(|pattern| matches(pattern, difference));
                for (call, line) in
                    calls.flat_map(|call| lines.clone().map(move |line| (call, line)))
                {
                    is_listed = true;
                    used.extend([(index, call), (index, line)]);
                }
            }
            if !is_listed {
                unlisted.entry(difference).or_default().push(call);
            }
        }
    }
    let mut faults = String::new();
    for (difference, calls) in unlisted {
        writeln!(faults, "not listed: {difference}  in {}", calls.join(", ")).expect("it fits");
    }
    for (index, rule) in rules.iter().enumerate() {
        for pattern in rule.calls.iter().chain(&rule.differences) {
            if !rule.is_open && !used.contains(&(index, pattern)) {
                writeln!(faults, "listed, but no longer so: {pattern}  ({})", rule.reason)
                    .expect("it fits");
            }
        }
    }
    assert!(faults.is_empty(), "tests/compat/differences.json is not what is:\n{faults}");
}

/// Whether `pattern`, in which `*` stands for anything, is all of `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    text.char_indices().any(|(at, _)| matches(rest, &text[at..])) || matches(rest, "")
}

/// The table of docs/COMPATIBILITY.md.
pub fn table(rules: &[Rule]) -> String {
    let mut text = "| Calls | Theirs -> ours | Why |\n|---|---|---|\n".to_owned();
    let code = |texts: &[String]| {
        let texts = texts.iter().map(|text| format!("`{}`", text.replace('|', "\\|")));
        texts.collect::<Vec<_>>().join("<br>")
    };
    for rule in rules.iter().filter(|rule| rule.differences != ["*"]) {
        let (calls, differences) = (code(&rule.calls), code(&rule.differences));
        writeln!(text, "| {calls} | {differences} | {} |", rule.reason).expect("it fits");
    }
    text
}

#[test]
fn a_star_stands_for_anything() {
    assert!(
        matches("a/*", "a/b") && matches("a/*", "a/") && matches("*", "") && matches("*b", "ab")
    );
    assert!(matches("a*c*e", "abcde") && matches("*: extra", "body.x: extra"));
    assert!(!matches("a", "ab") && !matches("a/*", "b/a/") && !matches("a*c", "ab"));
}

#[test]
#[should_panic(expected = "not listed: status: 200 -> 404  in a/get, b/get")]
fn a_difference_that_is_not_listed_fails() {
    let found =
        ["a/get", "b/get"].map(|call| (call.to_owned(), vec!["status: 200 -> 404".to_owned()]));
    check(&found.into(), &[]);
}

#[test]
#[should_panic(expected = "listed, but no longer so: a/gone")]
fn a_listed_difference_that_is_gone_fails() {
    let rule = Rule {
        reason: "x".to_owned(),
        calls: vec!["a/get".to_owned(), "a/gone".to_owned()],
        differences: vec!["status: *".to_owned()],
        is_open: false,
    };
    let found = [("a/get".to_owned(), vec!["status: 200 -> 404".to_owned()])];
    check(&found.into(), &[rule]);
}
