//! The same script against a recorded ContextForge and against the gateway: equal, but for a list.
//!
//! The script, the recording and the list of differences are data in tests/compat/. The recording
//! holds names of fields and statuses only, so that nothing here needs ContextForge itself.

mod contextforge;
mod differences;
pub mod echo;
mod recording;
mod script;
mod shape;
mod transfer;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::equal::setups;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::port::Port;
use crate::harness::redis::Server as Redis;
use crate::harness::tools::tests_folder;
use crate::harness::upstreams::Served;
use contextforge::ContextForge;
use differences::{between, check, rules, table};
use echo::Echo;
use recording::Recording;
use script::{Outcome, Target, play, text};

/// Around the table of the page that is made from the list of differences.
const TABLE_START: &str = "<!-- made by `make docs` from tests/compat/differences.json -->";
const TABLE_END: &str = "<!-- end -->";

/// What the script's tools, agents and upstreams are.
struct Upstreams {
    mcp: Served,
    rest: Echo,
    /// Held, so that nothing listens there.
    dead: Port,
}

impl Upstreams {
    fn start() -> Self {
        Self { mcp: Served::everything_http(), rest: Echo::start(), dead: Port::take() }
    }

    fn known(&self) -> BTreeMap<String, Value> {
        let dead = format!("http://localhost:{}", self.dead.number);
        let pairs = [("mcp", self.mcp.url()), ("rest", self.rest.url()), ("dead", dead)];
        pairs.into_iter().map(|(name, url)| (name.to_owned(), url.into())).collect()
    }
}

#[test]
#[ignore = "needs ContextForge in a virtual environment: tests/compat/record"]
fn records_what_the_real_contextforge_answers() {
    let environment =
        std::env::var("CONTEXTFORGE_ENVIRONMENT").expect("tests/compat/record sets it");
    let version = std::env::var("CONTEXTFORGE_VERSION").expect("tests/compat/record sets it");
    let upstreams = Upstreams::start();
    let theirs = ContextForge::start(Path::new(&environment));
    let port = theirs.port.number;
    let target = Target::new("contextforge", port, &theirs.token, upstreams.known());
    Recording { version, outcomes: play(target) }.write();
}

/// The outcome of every call on a gateway that was started so.
fn outcomes(name: &str, setup: Setup, upstreams: &Upstreams) -> Vec<Outcome> {
    let gateway = setup.start();
    play(Target::new(name, gateway.port(), gateway.token(), upstreams.known()))
}

#[test]
fn answers_as_contextforge_does_but_for_what_is_listed() {
    let ours = outcomes("ringway", Gateway::setup(), &Upstreams::start());
    let theirs = Recording::read().outcomes;
    let calls = |outcomes: &[Outcome]| outcomes.iter().map(|o| o.call.clone()).collect::<Vec<_>>();
    assert_eq!(calls(&ours), calls(&theirs), "the script changed: run tests/compat/record");
    let pairs = theirs.iter().zip(&ours);
    let found = pairs.map(|(theirs, ours)| (ours.call.clone(), between(theirs, ours)));
    check(&found.collect(), &rules());
}

#[test]
fn every_call_has_the_same_shape_on_every_pair_of_stores() {
    let redis = Redis::start();
    let upstreams = Upstreams::start();
    let steps = script::steps();
    let mut first: Option<(String, Vec<Outcome>)> = None;
    for (name, setup) in setups(&redis, "compat") {
        let found = outcomes(&name, setup, &upstreams);
        let (first_name, expected) = first.get_or_insert_with(|| (name.clone(), found.clone()));
        for ((step, found), expected) in steps.iter().zip(&found).zip(expected) {
            // Which tools of an upstream a short page holds is chance: their ids are.
            if step["chance"] == true {
                assert_eq!(found.status, expected.status, "{name} and {first_name}");
            } else {
                assert_eq!(found, expected, "{name} and {first_name}");
            }
        }
    }
}

#[test]
fn the_script_asks_at_least_two_hundred_things_and_each_has_a_name() {
    let steps = script::steps();
    let names: BTreeSet<&str> = steps.iter().map(|step| text(step, "call")).collect();
    assert!(steps.len() >= 200, "{}", steps.len());
    assert_eq!(names.len(), steps.len());
}

/// Whether `path` is one that the route's `template` stands for; a part `{x*}` takes all that follows.
fn is_of_route(template: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let path = path.strip_prefix("/v1").unwrap_or(path).trim_end_matches('/');
    let mut parts = path.split('/');
    for wanted in template.trim_end_matches('/').split('/') {
        match parts.next() {
            Some(_) if wanted.ends_with("*}") => return true,
            Some(part) if wanted.starts_with('{') || part == wanted => {}
            _ => return false,
        }
    }
    parts.next().is_none()
}

#[test]
fn the_script_asks_every_route_of_the_contract_for_a_success() {
    let theirs = Recording::read().outcomes;
    let steps = script::steps();
    // Every /toggle of the recorded release answers 401, whoever asks.
    let is_good = |step: &Value, outcome: &Outcome| {
        outcome.status < 300 || text(step, "send").contains("/toggle")
    };
    let good = steps.iter().zip(&theirs).filter(|(step, outcome)| is_good(step, outcome));
    let asked: Vec<_> = good.filter_map(|(step, _)| text(step, "send").split_once(' ')).collect();
    for line in include_str!("../compat/routes.txt").lines() {
        let (method, template) = line.split_once(' ').expect("a method and a path");
        let is_asked = |(verb, path): &(&str, &str)| *verb == method && is_of_route(template, path);
        assert!(asked.iter().any(is_asked), "nothing asks {line}");
    }
}

/// The page is written when `COMPAT_WRITE` is set, as `make docs` does, and compared otherwise.
#[test]
fn the_page_on_compatibility_lists_every_difference() {
    let path = tests_folder().with_file_name("docs/COMPATIBILITY.md");
    let page = std::fs::read_to_string(&path).expect("the page is there");
    let (start, rest) = page.split_once(TABLE_START).expect("the page has a place for the table");
    let (_, end) = rest.split_once(TABLE_END).expect("the table ends");
    let wanted = format!("{start}{TABLE_START}\n{}{TABLE_END}{end}", table(&rules()));
    if std::env::var_os("COMPAT_WRITE").is_some() {
        std::fs::write(path, wanted).expect("the page can be written");
    } else {
        assert_eq!(page, wanted, "docs/COMPATIBILITY.md is old: run make docs");
    }
}
