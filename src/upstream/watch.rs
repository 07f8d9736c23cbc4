//! What upstreams say by themselves: lists that changed, and resources.
//!
//! An upstream is watched on a way of its own, apart from the requests: in the legacy era by a session
//! that declares nothing, over streamable HTTP by its stream of what belongs to no request, in the
//! modern one by `subscriptions/listen`. Over stdio there is one way only, and a child is listened to
//! while it runs, never started for that.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use net::jsonrpc::{self, ErrorParts};
use serde_json::{Value, json};
pub use shards::local::{First, first_of};
use shards::{local::Bell, time};

use super::{Outcome, Reply};
use crate::{
    failure::Failure,
    mcp::{Kind, code},
};

/// How long opening a watch may take, and each request on it.
pub(in crate::upstream) const WITHIN: Duration = Duration::from_secs(30);

/// How long a request that stays open may wait: as good as for ever.
pub(in crate::upstream) const AGES: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How often a session that is watched is asked for a sign of life: only so is it noticed that the
/// upstream forgot it, and many forget those that are not used.
const PULSE: Duration = Duration::from_secs(120);

/// How long is waited for more before other URIs are asked for.
pub(in crate::upstream) const GATHER: Duration = Duration::from_millis(50);

/// The largest message that is listened to: they hold hardly more than a URI.
pub(in crate::upstream) const MESSAGE_SIZE_MAX: usize = 256 * 1024;

/// Messages of an upstream that are listened to in a second. One that says more is read no faster.
const PACE_COUNT_MAX: usize = 1000;

/// What an upstream said by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is listened to from now on; what it said before may have been missed.
    Began,
    /// One of its lists changed.
    Changed(Kind),
    /// The resource with this URI changed.
    Updated(String),
}

impl Told {
    /// Reads a notification; nothing if it is of another kind.
    pub fn read(message: &str) -> Option<Told> {
        let [method, params] = jsonrpc::pick(message, ["method", "params"]).ok()?;
        match method?.of_text(message).trim_matches('"') {
            "notifications/tools/list_changed" => Some(Told::Changed(Kind::Tools)),
            "notifications/prompts/list_changed" => Some(Told::Changed(Kind::Prompts)),
            "notifications/resources/list_changed" => Some(Told::Changed(Kind::Resources)),
            "notifications/resources/updated" => {
                let params = params?.of_text(message);
                let [uri] = jsonrpc::pick(params, ["uri"]).ok()?;
                let uri = jsonrpc::unescape(uri?.of_text(params)).ok()?;
                Some(Told::Updated(uri.into_owned()))
            }
            _ => None,
        }
    }
}

/// Who listens to an upstream.
pub struct Ear {
    hear: Box<dyn Fn(Told)>,
    wanted: Box<dyn Fn() -> BTreeSet<String>>,
    /// Rung when other URIs are wanted. Who watches waits for it.
    pub bell: Bell,
}

impl Ear {
    /// One that gives what it hears to `hear`; `wanted` says of which resources it wants to hear.
    pub fn new(
        hear: impl Fn(Told) + 'static,
        wanted: impl Fn() -> BTreeSet<String> + 'static,
    ) -> Ear {
        Ear { hear: Box::new(hear), wanted: Box::new(wanted), bell: Bell::default() }
    }

    /// Hears something.
    pub fn hear(&self, told: Told) {
        (self.hear)(told);
    }

    /// Hears a raw message, if it is of interest.
    pub(in crate::upstream) fn take(&self, message: &[u8]) {
        let text = std::str::from_utf8(message).ok();
        if let Some(told) = text.and_then(Told::read) {
            self.hear(told);
        }
    }

    /// The resources that are wanted now.
    pub(in crate::upstream) fn uris(&self) -> BTreeSet<String> {
        (self.wanted)()
    }

    /// Waits until others than `uris` are wanted.
    pub(in crate::upstream) async fn others_than(&self, uris: &BTreeSet<String>) {
        loop {
            self.bell.wait().await;
            time::sleep(GATHER).await;
            if self.uris() != *uris {
                return;
            }
        }
    }
}

/// The upstream has nothing to say by itself, as it stands: it need not be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deaf;

/// Whether an upstream with these capabilities (raw JSON) says anything by itself. One of which nothing
/// is known may.
pub(in crate::upstream) fn may_speak(capabilities: Option<&str>) -> bool {
    let Some(raw) = capabilities else { return true };
    let Ok(value) = serde_json::from_str::<Value>(raw) else { return true };
    ["tools", "prompts", "resources"].iter().any(|kind| value[*kind]["listChanged"] == true)
        || subscribes(&value)
}

/// Whether an upstream that answered `initialize` with this has resources that can be subscribed to.
pub(in crate::upstream) fn can_subscribe(initialize_result: &[u8]) -> bool {
    let value = serde_json::from_slice::<Value>(initialize_result);
    value.is_ok_and(|value| subscribes(&value["capabilities"]))
}

fn subscribes(capabilities: &Value) -> bool {
    capabilities["resources"]["subscribe"] == true
}

/// The params of `subscriptions/listen` for all lists and these resources.
pub(in crate::upstream) fn listen_params(uris: &BTreeSet<String>) -> String {
    let mut wanted = json!({
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
    });
    if !uris.is_empty() {
        wanted["resourceSubscriptions"] = json!(uris);
    }
    json!({ "notifications": wanted }).to_string()
}

/// Whether an upstream answers so to a subscription because it knows none.
pub(in crate::upstream) fn knows_none(reply: &Reply) -> bool {
    let raw = String::from_utf8_lossy(reply.raw());
    let unknown = [i64::from(code::METHOD_NOT_FOUND), i64::from(code::INVALID_PARAMS)];
    reply.outcome == Outcome::Error
        && ErrorParts::parse(&raw).is_ok_and(|error| unknown.contains(&error.code))
}

/// Which of these resources an upstream does not promise to tell of, if this message is its promise: the
/// first of a subscription (2026-07-28, Subscriptions).
pub(in crate::upstream) fn withheld(message: &[u8], uris: &BTreeSet<String>) -> Vec<String> {
    let Ok(message) = serde_json::from_slice::<Value>(message) else { return Vec::new() };
    if message["method"] != "notifications/subscriptions/acknowledged" {
        return Vec::new();
    }
    let promised = message["params"]["notifications"]["resourceSubscriptions"].as_array();
    let is_promised = |uri: &String| promised.is_some_and(|all| all.iter().any(|one| one == uri));
    uris.iter().filter(|uri| !is_promised(uri)).cloned().collect()
}

/// Keeps a session of the legacy era subscribed to what is wanted, if it `subscribes`, and alive.
/// Returns when a request of that failed: the session is of no use any more.
pub(in crate::upstream) async fn attend(
    ear: &Ear,
    subscribes: bool,
    ask: impl AsyncFn(&'static str, String) -> Result<(), Failure>,
) -> Failure {
    let mut held = BTreeSet::new();
    loop {
        if subscribes && let Err(failure) = subscribe(&mut held, ear.uris(), &ask).await {
            return failure;
        }
        match time::timeout(PULSE, ear.bell.wait()).await {
            Ok(()) => time::sleep(GATHER).await,
            Err(_) => {
                if let Err(failure) = ask("ping", "{}".to_owned()).await {
                    return failure;
                }
            }
        }
    }
}

/// Makes `held`, to what the session is subscribed, into `wanted`.
async fn subscribe(
    held: &mut BTreeSet<String>,
    wanted: BTreeSet<String>,
    ask: impl AsyncFn(&'static str, String) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for uri in held.difference(&wanted) {
        ask("resources/unsubscribe", json!({ "uri": uri }).to_string()).await?;
    }
    for uri in wanted.difference(held) {
        ask("resources/subscribe", json!({ "uri": uri }).to_string()).await?;
    }
    *held = wanted;
    Ok(())
}

/// Holds back who reads from an upstream that says too much.
pub(in crate::upstream) struct Pace {
    since: Instant,
    count: usize,
}

impl Pace {
    pub(in crate::upstream) fn new() -> Pace {
        Pace { since: Instant::now(), count: 0 }
    }

    /// Takes note of messages that came, and waits if they were too many.
    pub(in crate::upstream) async fn note(&mut self, count: usize) {
        const WINDOW: Duration = Duration::from_secs(1);
        if self.since.elapsed() >= WINDOW {
            *self = Pace::new();
        }
        self.count += count;
        if self.count > PACE_COUNT_MAX {
            time::sleep(WINDOW.saturating_sub(self.since.elapsed())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_an_upstream_says_of_its_lists_and_resources() {
        let read = |method: &str, params: Value| {
            Told::read(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string())
        };
        for (name, kind) in
            [("tools", Kind::Tools), ("prompts", Kind::Prompts), ("resources", Kind::Resources)]
        {
            let method = format!("notifications/{name}/list_changed");
            assert_eq!(read(&method, json!({})), Some(Told::Changed(kind)));
        }
        let updated = |params| read("notifications/resources/updated", params);
        let params = json!({"uri": "a://\"b", "_meta": {"x": 1}});
        assert_eq!(updated(params), Some(Told::Updated("a://\"b".to_owned())));
        assert_eq!(updated(json!({})), None);
        assert_eq!(read("notifications/message", json!({"uri": "a"})), None);
        assert_eq!(Told::read("[]"), None);
    }

    #[test]
    fn knows_who_has_nothing_to_say() {
        assert!(may_speak(None));
        assert!(may_speak(Some(r#"{"tools":{},"prompts":{"listChanged":true}}"#)));
        assert!(may_speak(Some(r#"{"resources":{"subscribe":true}}"#)));
        assert!(!may_speak(Some(r#"{"tools":{"listChanged":false},"resources":{}}"#)));
        assert!(!may_speak(Some("{}")));
    }

    #[test]
    fn knows_what_an_upstream_did_not_promise() {
        let uris = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let promise = |wanted: Value| {
            let params = json!({"notifications": wanted});
            let method = "notifications/subscriptions/acknowledged";
            json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
        };
        let withheld = |message: &str| withheld(message.as_bytes(), &uris);
        assert_eq!(withheld(&promise(json!({"resourceSubscriptions": ["b", "c"]}))), ["a"]);
        assert_eq!(withheld(&promise(json!({"toolsListChanged": true}))), ["a", "b"]);
        assert!(withheld(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#).is_empty());
    }

    #[test]
    fn asks_a_modern_upstream_for_no_resources_if_none_are_wanted() {
        let params: Value = serde_json::from_str(&listen_params(&BTreeSet::new())).expect("JSON");
        assert_eq!(params["notifications"]["toolsListChanged"], true);
        assert_eq!(params["notifications"].get("resourceSubscriptions"), None);
        let uris = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let params: Value = serde_json::from_str(&listen_params(&uris)).expect("JSON");
        assert_eq!(params["notifications"]["resourceSubscriptions"], json!(["a", "b"]));
    }
}
