//! Tasks that a client listens to (2026-07-28, extension `io.modelcontextprotocol/tasks`,
//! `notifications/tasks`).
//!
//! A task is asked after as its client would ask, as often as it wants to be, and its client is told
//! when it has changed: so it makes no difference where the task is, nor whether its upstream tells of
//! tasks by itself.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::{Rc, Weak},
    time::Duration,
};

use net::jsonrpc;
use serde_json::{Value, json};
use shards::{local::Gate, task, time};

use crate::{
    auth::Caller,
    failure::Failure,
    gateway,
    mcp::{NoHeaders, Transport, meta},
    reply::{self, Accepts},
    serve::{backend::parts, changes::Identify},
    session::Listener,
    state::Shard,
};

/// How often a task is asked after, at the most and at the least.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// What is new of the tasks that one stream listens to. Dropped, nobody asks after them any more.
pub struct TaskNews {
    inbox: Rc<Inbox>,
    over: Rc<Gate>,
}

/// The newest of each task that was not told of yet, by its id: the members of its params.
#[derive(Default)]
struct Inbox(RefCell<BTreeMap<Rc<str>, String>>);

impl TaskNews {
    /// Asks after these tasks from now on, and rings the bell of `listener` when there is something new;
    /// how each is at first is something new.
    pub fn follow(
        shard: &Rc<Shard>,
        server_id: &str,
        ids: impl IntoIterator<Item = String>,
        identify: &Identify,
        listener: &Rc<Listener>,
    ) -> TaskNews {
        let news = TaskNews { inbox: Rc::default(), over: Rc::default() };
        for id in ids {
            let follower = Follower {
                shard: shard.clone(),
                server_id: server_id.to_owned(),
                id: id.into(),
                identify: identify.clone(),
                inbox: Rc::downgrade(&news.inbox),
                listener: listener.clone(),
            };
            let over = news.over.clone();
            task::spawn(async move { over.unless(Box::pin(follower.run())).await });
        }
        news
    }

    /// Takes what is new.
    pub fn take(&self) -> impl Iterator<Item = String> + use<> {
        std::mem::take(&mut *self.inbox.0.borrow_mut()).into_values()
    }
}

impl Drop for TaskNews {
    fn drop(&mut self) {
        if task::is_running() {
            self.over.open();
        }
    }
}

/// Asks after one task.
struct Follower {
    shard: Rc<Shard>,
    server_id: String,
    id: Rc<str>,
    identify: Identify,
    inbox: Weak<Inbox>,
    listener: Rc<Listener>,
}

impl Follower {
    async fn run(self) {
        let mut former = None;
        // Its client is somebody as long as the stream is open.
        while let Some(caller) = (self.identify)() {
            let mut interval = INTERVAL_MIN;
            match self.ask(&caller).await {
                Ok(now) => {
                    interval = now.interval;
                    let is_over = now.is_over;
                    if former.as_ref() != Some(&now.look) {
                        former = Some(now.look);
                        let Some(inbox) = self.inbox.upgrade() else { return };
                        inbox.0.borrow_mut().insert(self.id.clone(), now.members);
                        self.listener.bell.ring();
                    }
                    if is_over {
                        return;
                    }
                }
                Err(failure) if is_gone(&failure) => return,
                Err(failure) => tracing::debug!(%failure, "a task does not say how it is"),
            }
            time::sleep(interval).await;
        }
    }

    /// Asks as the client would.
    async fn ask(&self, caller: &Caller) -> Result<Now, Failure> {
        let extension = json!({ "extensions": { gateway::TASKS_EXTENSION: {} } });
        let meta = json!({
            meta::PROTOCOL_VERSION: crate::mcp::MODERN,
            meta::CLIENT_CAPABILITIES: extension,
        });
        let params = json!({ "taskId": &*self.id, "_meta": meta });
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": params});
        let body = message.to_string();
        let catalog = self.shard.catalog();
        let parts = parts(&self.shard, &catalog);
        let request = gateway::Request {
            session: None,
            caller,
            client_ip: None,
            server_id: &self.server_id,
            transport: Transport::Rpc,
            headers: &NoHeaders,
            accepts: Accepts { json: true, events: false },
            body: body.as_bytes(),
        };
        let outcome = gateway::answer(&parts, &request, &|_, _| {}).await.outcome?;
        let mut answer = Vec::new();
        reply::write_message(&mut answer, "1", Ok(outcome));
        Now::read(&answer).ok_or_else(|| Failure::NotFound("Unknown task".to_owned()))
    }
}

/// Whether there is no such task any more, or not for this client.
fn is_gone(failure: &Failure) -> bool {
    !matches!(failure, Failure::Upstream(_) | Failure::Busy(_))
}

/// How a task is.
struct Now {
    /// The members of the params that tell of it, raw, each with a comma.
    members: String,
    /// What of them is worth telling when it is other than before.
    look: [Option<String>; 3],
    is_over: bool,
    interval: Duration,
}

impl Now {
    /// Reads the answer to `tasks/get`; nothing if it is none.
    fn read(answer: &[u8]) -> Option<Now> {
        let answer = std::str::from_utf8(answer).ok()?;
        let [result] = jsonrpc::pick(answer, ["result"]).ok()?;
        let raw = result?.of_text(answer);
        let places =
            jsonrpc::pick(raw, ["status", "statusMessage", "inputRequests", "pollIntervalMs"]);
        let [status, message, requests, interval] =
            places.ok()?.map(|place| place.map(|place| place.of_text(raw)));
        let fields = jsonrpc::fields(raw).collect::<Result<Vec<_>, _>>().ok()?;
        let told = fields.iter().filter(|field| !matches!(&*field.key, "resultType" | "_meta"));
        let members = told.map(|field| format!("{}:{},", Value::from(&*field.key), field.value));
        let interval = interval.and_then(|raw| raw.parse().ok()).map(Duration::from_millis);
        let terminal = ["\"completed\"", "\"failed\"", "\"cancelled\""];
        Some(Now {
            members: members.collect(),
            is_over: terminal.contains(&status?),
            look: [status, message, requests].map(|text| text.map(str::to_owned)),
            interval: interval.unwrap_or(INTERVAL_MIN).clamp(INTERVAL_MIN, INTERVAL_MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_a_task_is_and_keeps_every_member_but_what_belongs_to_the_answer() {
        let answer = br#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","taskId":"a","x":1.50e+2,"status":"working","statusMessage":"half","pollIntervalMs":5000,"_meta":{"y":1}}}"#;
        let now = Now::read(answer).expect("it is one");
        let members = r#""taskId":"a","x":1.50e+2,"status":"working","statusMessage":"half","pollIntervalMs":5000,"#;
        assert_eq!(now.members, members);
        assert!(!now.is_over);
        assert_eq!(now.interval, Duration::from_secs(5));
        let later =
            br#"{"result":{"status":"completed","result":{"content":[]},"pollIntervalMs":1}}"#;
        let later = Now::read(later).expect("it is one");
        assert!(later.is_over && later.look != now.look);
        assert_eq!(later.interval, INTERVAL_MIN);
        assert!(Now::read(br#"{"error":{"code":-32602}}"#).is_none());
    }
}
