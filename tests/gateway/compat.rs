//! The same script against a recorded ContextForge and against the gateway: equal, but for a list.
//!
//! The script, the recording and the list of differences are data in tests/compat/. The recording
//! holds names of fields and statuses only, so that nothing here needs ContextForge itself.

mod contextforge;
mod echo;
mod recording;
mod script;
mod shape;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::harness::port::Port;
use crate::harness::upstreams::Served;
use contextforge::ContextForge;
use echo::Echo;
use recording::Recording;
use script::{Target, play};

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
    let environment = std::env::var("CONTEXTFORGE_ENVIRONMENT").expect("tests/compat/record sets it");
    let version = std::env::var("CONTEXTFORGE_VERSION").expect("tests/compat/record sets it");
    let upstreams = Upstreams::start();
    let theirs = ContextForge::start(Path::new(&environment));
    let port = theirs.port.number;
    let target = Target::new("contextforge", port, &theirs.token, upstreams.known());
    Recording { version, outcomes: play(target) }.write();
}
