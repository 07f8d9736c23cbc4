//! What the upstream says by itself, to those who listen.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

use super::{Era, Exchange, Faulty, Seen};

/// The resources of an upstream that talks.
const RESOURCES: [&str; 2] = ["talk://a", "talk://b"];

/// Who listens.
pub struct Listener {
    stream: TcpStream,
    /// The session, in the era that has them.
    session: String,
    /// The resources that a request of the other era named.
    uris: BTreeSet<String>,
}

impl Listener {
    /// Whether it is told that this resource changed, with these subscriptions of sessions.
    fn hears_of(&self, uri: &str, subscribed: &HashSet<(String, String)>) -> bool {
        self.uris.contains(uri) || subscribed.contains(&(self.session.clone(), uri.to_owned()))
    }
}

impl Faulty {
    /// One that says when its lists and resources change.
    pub fn talking(era: Era) -> Self {
        let talking = Self::start(era);
        talking.shared.state().talks = true;
        talking
    }

    /// Waits until as many listen as `count`.
    pub fn wait_for_listeners(&self, count: usize) {
        self.wait(&format!("{count} listen"), |state| state.listeners.len() == count);
    }

    /// Waits until sessions are subscribed to just these resources.
    pub fn wait_for_subscriptions(&self, uris: &[&str]) {
        self.wait(&format!("{uris:?} are subscribed to"), |state| {
            let told = state.listeners.iter().flat_map(|listener| &listener.uris);
            let all = state.subscribed.iter().map(|(_, uri)| uri).chain(told);
            all.map(String::as_str).collect::<BTreeSet<_>>() == uris.iter().copied().collect()
        });
    }

    /// Waits until as many as `count` who listen would hear that this resource changed.
    pub fn wait_for_hearers(&self, uri: &str, count: usize) {
        self.wait(&format!("{count} would hear of {uri}"), |state| {
            let hearing = |listener: &&Listener| listener.hears_of(uri, &state.subscribed);
            state.listeners.iter().filter(hearing).count() == count
        });
    }

    /// Says that a list changed: of `tools`, `prompts` or `resources`.
    pub fn say_changed(&self, list: &str) {
        let method = format!("notifications/{list}/list_changed");
        self.say(&json!({ "jsonrpc": "2.0", "method": method }), |_| true);
    }

    /// Says that a resource changed, to those who wanted to know.
    pub fn say_updated(&self, uri: &str) {
        let message = json!({
            "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri },
        });
        let subscribed = self.shared.state().subscribed.clone();
        self.say(&message, |listener| listener.hears_of(uri, &subscribed));
    }

    /// Closes the streams of all who listen.
    pub fn hush(&self) {
        for listener in self.shared.state().listeners.drain(..) {
            let _ = listener.stream.shutdown(Shutdown::Both);
        }
    }

    fn say(&self, message: &Value, is_meant: impl Fn(&Listener) -> bool) {
        let mut state = self.shared.state();
        for listener in state.listeners.iter_mut().filter(|listener| is_meant(listener)) {
            let _ = listener.stream.write_all(format!("data: {message}\n\n").as_bytes());
        }
    }
}

impl Exchange<'_> {
    /// Answers what only an upstream that talks knows.
    pub(super) fn talk(&mut self, seen: &Seen) -> Option<Option<()>> {
        if !self.shared.state().talks {
            return None;
        }
        let session = seen.header("mcp-session-id").unwrap_or_default().to_owned();
        let uri = seen.body["params"]["uri"].as_str().unwrap_or_default().to_owned();
        let is_legacy = self.shared.era() != Era::Modern;
        Some(match seen.body["method"].as_str().unwrap_or_default() {
            _ if seen.http_method == "GET" && is_legacy && self.knows(seen) => {
                self.listen(session, BTreeSet::new(), "")
            }
            "subscriptions/listen" if !is_legacy => {
                let wanted = &seen.body["params"]["notifications"];
                let uris = wanted["resourceSubscriptions"].as_array().into_iter().flatten();
                let uris = uris.filter_map(Value::as_str).map(str::to_owned).collect();
                let acknowledged = json!({
                    "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                    "params": { "notifications": wanted },
                });
                self.listen(String::new(), uris, &format!("data: {acknowledged}\n\n"))
            }
            "resources/subscribe" if is_legacy => {
                self.shared.state().subscribed.insert((session, uri));
                self.shared.changed.notify_all();
                self.result(seen, "{}")
            }
            "resources/unsubscribe" if is_legacy => {
                self.shared.state().subscribed.remove(&(session, uri));
                self.shared.changed.notify_all();
                self.result(seen, "{}")
            }
            "resources/list" => {
                let resources = RESOURCES.map(|uri| json!({ "uri": uri, "name": uri }));
                let result = json!({
                    "resources": resources, "resultType": "complete", "ttlMs": 0,
                    "cacheScope": "public",
                });
                self.result(seen, &result.to_string())
            }
            _ => return None,
        })
    }

    fn listen(&mut self, session: String, uris: BTreeSet<String>, first: &str) -> Option<()> {
        self.stream_head()?;
        self.raw(first)?;
        let stream = self.stream.try_clone().ok()?;
        let port = stream.peer_addr().ok()?.port();
        self.shared.state().listeners.push(Listener { stream, session, uris });
        self.shared.changed.notify_all();
        self.wait_for_the_end();
        let is_other = |listener: &Listener| {
            listener.stream.peer_addr().is_ok_and(|address| address.port() != port)
        };
        self.shared.state().listeners.retain(is_other);
        self.shared.changed.notify_all();
        None
    }
}
