//! Two gateways on one database and one Redis, as the pods of a deployment: whichever a client comes
//! to, its session, its answers and its questions are there.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{MODERN, envelope, modern_request};
use crate::harness::redis::Server as Redis;
use crate::harness::upstreams::{Served, everything_stdio};
use crate::harness::wire::Wire;
use crate::sessions::Client;

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two gateways and what they share.
struct Pods {
    one: Gateway,
    other: Gateway,
    redis: Redis,
    _folder: TempDir,
}

impl Pods {
    /// Starts them with this upstream, and waits until both know it and each other.
    fn with(registration: &Value) -> Pods {
        let folder = TempDir::new().expect("a temporary folder");
        let url = format!("sqlite:///{}", folder.path().join("one.db").display());
        let redis = Redis::start();
        let start = || {
            let setup = Gateway::setup().set("DATABASE_URL", &url).set("SHARDS", 2);
            let setup = setup.set("CACHE_TYPE", "redis").set("REDIS_URL", redis.url());
            let setup =
                setup.set("NODE_HEARTBEAT_INTERVAL", "0.5").set("CHANGE_POLL_INTERVAL", "0.05");
            setup.set("REDIS_RETRY_INTERVAL_MS", 100).start()
        };
        let (one, other) = (start(), start());
        one.add(registration);
        for gateway in [&one, &other] {
            eventually("both know the upstream and each other", PATIENCE, || {
                let is_seen = gateway.printed().contains("seen by the other nodes");
                (is_seen && !gateway.tool_names().is_empty()).then_some(())
            });
        }
        Pods { one, other, redis, _folder: folder }
    }
}

fn pinned(mut registration: Value, protocol: &str) -> Value {
    registration["protocol"] = protocol.into();
    registration
}

/// What comes by a stream of events.
struct Events {
    wire: Wire,
    text: String,
}

impl Events {
    fn of(mut wire: Wire) -> Events {
        assert_eq!(wire.head().expect("an answer").status, 200);
        Events { wire, text: String::new() }
    }

    /// Reads until `part` came.
    #[track_caller]
    fn until(&mut self, part: &str) {
        while !self.text.contains(part) {
            let chunk = self.wire.chunk().unwrap_or_else(|| panic!("no {part} in {}", self.text));
            self.text.push_str(&String::from_utf8(chunk).expect("text"));
        }
    }

    /// Reads all that is left.
    fn rest(&mut self) -> &str {
        while let Some(chunk) = self.wire.chunk() {
            self.text.push_str(&String::from_utf8(chunk).expect("text"));
        }
        &self.text
    }

    /// The data of events, as JSON.
    fn messages(&self) -> Vec<Value> {
        let data = self.text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|text| serde_json::from_str(text).ok()).collect()
    }

    fn last_id(&self) -> String {
        let id = self.text.lines().rev().find_map(|line| line.strip_prefix("id: "));
        id.expect("events have ids").to_owned()
    }
}

/// How far the progress is that was told.
fn progress(messages: &[Value]) -> Vec<u64> {
    let told = messages.iter().map(|message| message["params"]["progress"].as_u64());
    told.flatten().collect()
}

#[test]
fn a_client_whose_pod_dies_goes_on_at_another() {
    let pods = Pods::with(&everything_stdio("every"));
    let client = Client::open(&pods.one, pods.one.token());
    let moved = client.by(&pods.other, pods.one.token());
    let call = |duration: u64| {
        let arguments = json!({"duration": duration, "steps": duration * 10});
        envelope(
            "tools/call",
            &json!({
                "name": "every-trigger-long-running-operation", "arguments": arguments,
                "_meta": {"progressToken": "p"},
            }),
        )
    };
    let mut answer = Events::of(client.ask("POST", &[], &call(600).to_string()));
    answer.until("\"progress\":3");
    let first = answer.last_id();
    let seen = progress(&answer.messages());
    // What was told so far, and more, is at the other one too, while the first works on.
    let mut rest = Events::of(moved.ask("GET", &[("Last-Event-ID", &first)], ""));
    rest.until("\"progress\":6");
    let first_behind = progress(&rest.messages())[0];
    assert_eq!(Some(first_behind), seen.last().map(|last| last + 1), "none is missed or twice");
    pods.one.signal(Signal::KILL);
    let text = rest.rest();
    let last = text.lines().rev().find_map(|line| line.strip_prefix("data: ")).expect("an end");
    let last: Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(last["id"], "test-1", "{last}");
    assert!(last["error"]["message"].as_str().is_some_and(|text| text.contains("is gone")));
    let told = progress(&rest.messages());
    let expected: Vec<u64> = (first_behind..).take(told.len()).collect();
    assert_eq!(told, expected, "what the dead pod told is there, in its order and once");
    // Whoever comes back later finds the same, and the session serves on.
    let mut again = Events::of(moved.ask("GET", &[("Last-Event-ID", &first)], ""));
    again.rest();
    assert_eq!(progress(&again.messages()), told);
    let mut answer = Events::of(moved.ask("POST", &[], &call(1).to_string()));
    assert!(answer.rest().contains("\"result\""), "{}", answer.text);
}

#[test]
fn an_answer_that_comes_to_another_pod_reaches_the_one_that_asked() {
    let upstream = Served::conformance();
    let pods = Pods::with(&pinned(upstream.registration("ref"), "legacy"));
    let capable = json!({"elicitation": {"form": {}}});
    let client = Client::able(&pods.one, pods.one.token(), &capable);
    let moved = client.by(&pods.other, pods.one.token());
    let arguments = json!({"message": "who?"});
    let call = json!({"name": "ref-test-elicitation", "arguments": arguments});
    let call = envelope("tools/call", &call).to_string();
    let answer = |question: &Value| {
        let content = json!({"username": "Ada", "email": "ada@example.com"});
        let result = json!({"action": "accept", "content": content});
        moved.post(&json!({"jsonrpc": "2.0", "id": question["id"], "result": result}))
    };
    for is_away in [false, true] {
        let mut events = Events::of(client.ask("POST", &[], &call));
        events.until("elicitation/create");
        let question = events.messages().pop().expect("a question");
        if is_away {
            // What cannot be delivered is not taken.
            pods.redis.freeze();
            eventually("the answer is refused", PATIENCE, || {
                let refused = answer(&question);
                assert!([202, 503].contains(&refused.status), "{}", refused.text());
                (refused.status == 503).then_some(())
            });
            pods.redis.thaw();
        }
        eventually("the answer is taken", PATIENCE, || {
            (answer(&question).status == 202).then_some(())
        });
        events.until("\"result\"");
        assert!(events.text.contains("Ada"), "{}", events.text);
    }
}

#[test]
fn a_parked_call_is_taken_up_at_another_pod() {
    let upstream = Served::conformance();
    let pods = Pods::with(&pinned(upstream.registration("ref"), "legacy"));
    let ask = |gateway: &Gateway, further: Value| {
        let mut params = json!({
            "name": "ref-test-elicitation", "arguments": {"message": "who?"},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
            },
        });
        let further = further.as_object().expect("members").clone();
        params.as_object_mut().expect("an object").extend(further);
        let request = modern_request(gateway, "/mcp", "tools/call", params);
        gateway.wire().send(request).answer()
    };
    let asked = ask(&pods.one, json!({})).json()["result"].clone();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let requests = asked["inputRequests"].as_object().expect("questions");
    let key = requests.keys().next().expect("one");
    let content = json!({"username": "Ada", "email": "ada@example.com"});
    let answers = json!({key: {"action": "accept", "content": content}});
    let retry = json!({"requestState": asked["requestState"], "inputResponses": answers});
    let result = ask(&pods.other, retry.clone()).json();
    assert_eq!(result["result"]["resultType"], "complete", "{result}");
    assert!(result.to_string().contains("Ada"), "{result}");
    // It is done: nobody takes it up again.
    let again = ask(&pods.other, retry).json();
    assert_eq!(again["error"]["code"], -32602, "{again}");
    // One whose pod is gone is said to be gone, and not waited for.
    let asked = ask(&pods.one, json!({})).json()["result"].clone();
    let retry = json!({"requestState": asked["requestState"], "inputResponses": answers});
    pods.one.signal(Signal::KILL);
    eventually("it is known to be gone", PATIENCE, || {
        let answer = ask(&pods.other, retry.clone());
        let code = answer.json()["error"]["code"].as_i64();
        assert!(answer.status == 503 || code == Some(-32602), "{}", answer.text());
        (code == Some(-32602)).then_some(())
    });
}

#[test]
fn what_changed_while_a_client_had_no_pod_is_told_when_it_is_back() {
    let pods = Pods::with(&everything_stdio("every"));
    let client = Client::open(&pods.one, pods.one.token());
    let moved = client.by(&pods.other, pods.one.token());
    let mut stream = Events::of(client.ask("GET", &[], ""));
    stream.until("id: ");
    let last = stream.last_id();
    pods.one.signal(Signal::KILL);
    drop(stream);
    let tool = json!({"name": "fresh", "url": "http://127.0.0.1:9/", "request_type": "GET"});
    pods.other.post("/tools", &json!({"tool": tool, "visibility": "public"})).expect(200);
    let mut stream = Events::of(moved.ask("GET", &[("Last-Event-ID", &last)], ""));
    stream.until("tools/list_changed");
    assert!(!stream.text.contains("prompts/list_changed"), "{}", stream.text);
    let listed = moved.post(&envelope("tools/list", &json!({}))).expect(200);
    assert!(listed.text().contains("\"fresh\""), "{}", listed.text());
}
