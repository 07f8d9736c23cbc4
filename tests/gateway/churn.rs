//! A thousand streams that come and go: each hears once of what happens while it is open, and nothing
//! of them stays behind.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{LEGACY, MODERN, envelope};
use crate::harness::upstreams::wayward_stdio;
use crate::harness::wire::{Wire, request};

/// How many streams of each kind a wave has.
const STREAM_COUNT: usize = 500;
const WAVE_COUNT: usize = 4;
/// How many threads open and read them.
const THREAD_COUNT: usize = 8;

const TOOLS: &str = "notifications/tools/list_changed";
const PROMPTS: &str = "notifications/prompts/list_changed";

/// An open stream, and the session it belongs to if its client shook hands.
struct Open {
    wire: Wire,
    session: Option<String>,
    text: String,
}

impl Open {
    /// Reads until `text` has come.
    fn read_until(&mut self, text: &str) {
        while !self.text.contains(text) {
            let chunk = self.wire.chunk().unwrap_or_else(|| panic!("it ended: {}", self.text));
            self.text.push_str(&String::from_utf8(chunk).expect("events are text"));
        }
    }
}

fn send(gateway: &Gateway, method: &str, more: &[(&str, &str)], body: &str) -> Wire {
    let bearer = format!("Bearer {}", gateway.token());
    let mut headers = vec![
        ("Authorization", bearer.as_str()),
        ("Accept", "application/json, text/event-stream"),
        ("Content-Type", "application/json"),
    ];
    headers.extend(more);
    let mut wire = gateway.wire();
    wire.send(request(method, "/mcp", &headers, body.as_bytes()));
    wire
}

/// The headers of a client that shook hands.
fn of_session(session: &str) -> [(&str, &str); 3] {
    [("Mcp-Session-Id", session), ("MCP-Protocol-Version", LEGACY), ("Connection", "close")]
}

/// Shakes hands and opens the stream of the session.
fn open_session(gateway: &Gateway) -> Open {
    let info = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": info});
    let body = envelope("initialize", &params).to_string();
    let answer = send(gateway, "POST", &[("Connection", "close")], &body).answer().expect(200);
    let session = answer.header("mcp-session-id").expect("an id").to_owned();
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    send(gateway, "POST", &of_session(&session), &initialized).answer().expect(202);
    let headers = [("Mcp-Session-Id", session.as_str()), ("MCP-Protocol-Version", LEGACY)];
    let mut wire = send(gateway, "GET", &headers, "");
    assert_eq!(wire.head().expect("an answer").status, 200);
    let mut open = Open { wire, session: Some(session), text: String::new() };
    open.read_until("id: ");
    open
}

/// Opens a stream of a client without a handshake.
fn open_listen(gateway: &Gateway) -> Open {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let wanted = json!({"toolsListChanged": true, "promptsListChanged": true});
    let params = json!({"notifications": wanted, "_meta": meta});
    let body = envelope("subscriptions/listen", &params).to_string();
    let headers = [("MCP-Protocol-Version", MODERN), ("Mcp-Method", "subscriptions/listen")];
    let mut wire = send(gateway, "POST", &headers, &body);
    assert_eq!(wire.head().expect("an answer").status, 200);
    let mut open = Open { wire, session: None, text: String::new() };
    open.read_until("notifications/subscriptions/acknowledged");
    open
}

/// Does `work` with every one of `items`, several at a time.
fn with_each<T: Send, U: Send>(items: Vec<T>, work: impl Fn(T) -> U + Sync) -> Vec<U> {
    let mut parts: Vec<Vec<T>> = (0..THREAD_COUNT).map(|_| Vec::new()).collect();
    for (n, item) in items.into_iter().enumerate() {
        parts[n % THREAD_COUNT].push(item);
    }
    std::thread::scope(|scope| {
        let work = &work;
        let run = |part: Vec<T>| scope.spawn(move || part.into_iter().map(work).collect());
        let threads: Vec<_> = parts.into_iter().map(run).collect();
        let done = threads.into_iter().map(|thread| thread.join().expect("no assertion failed"));
        done.flat_map(|part: Vec<U>| part).collect()
    })
}

/// Opens streams of both kinds, changes two lists, checks that each stream heard once of each, and
/// ends them all: some by their session's end, some by a hang-up.
fn wave(gateway: &Gateway, name: &str, count: usize) {
    let kinds = (0..2 * count).map(|n| n % 2 == 0).collect();
    let open = |is_session| if is_session { open_session(gateway) } else { open_listen(gateway) };
    let streams = with_each(kinds, open);
    let tool = json!({"name": name, "url": "http://127.0.0.1:9/", "request_type": "GET"});
    gateway.post("/tools", &json!({"tool": tool, "visibility": "public"})).expect(200);
    let streams = with_each(streams, |mut stream| {
        stream.read_until(TOOLS);
        stream
    });
    let prompt = json!({"name": name, "template": "x", "arguments": []});
    gateway.post("/prompts", &json!({"prompt": prompt, "visibility": "public"})).expect(200);
    let streams = with_each(streams, |mut stream| {
        stream.read_until(PROMPTS);
        for told in [TOOLS, PROMPTS] {
            assert_eq!(stream.text.matches(told).count(), 1, "{told}: {}", stream.text);
        }
        stream
    });
    with_each(streams.into_iter().enumerate().collect(), |(n, stream)| end(gateway, n, stream));
}

/// Ends a stream of a session with that session, or before it; others by hanging up.
fn end(gateway: &Gateway, number: usize, stream: Open) {
    let Open { mut wire, session, .. } = stream;
    let Some(session) = session else { return };
    let delete = || {
        let answer = send(gateway, "DELETE", &of_session(&session), "").answer();
        answer.expect(204);
    };
    if number.is_multiple_of(4) {
        drop(wire);
        return delete();
    }
    delete();
    while let Some(more) = wire.chunk() {
        let more = String::from_utf8(more).expect("events are text");
        assert!(!more.contains("list_changed"), "{more}");
    }
}

/// How many files and sockets the gateway holds open.
fn open_file_count(gateway: &Gateway) -> usize {
    let folder = format!("/proc/{}/fd", gateway.process_id());
    fs::read_dir(folder).expect("the gateway runs").count()
}

/// The processes that the gateway started and that are there.
fn children(gateway: &Gateway) -> Vec<String> {
    let tasks = format!("/proc/{}/task", gateway.process_id());
    let tasks = fs::read_dir(tasks).expect("the gateway runs").flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")));
    let lists: String = lists.map_while(Result::ok).collect();
    lists.split_whitespace().map(str::to_owned).collect()
}

/// How many of each kind the gateway holds, by its own count.
fn held(gateway: &Gateway) -> Value {
    gateway.get("/metrics").expect(200).json()["held"].clone()
}

/// Lets this process and the gateway, which inherits it, hold so many connections.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a limit may rise to its maximum");
}

#[test]
fn streams_that_come_and_go_hear_everything_once_and_leave_nothing_behind() {
    allow_many_files();
    let gateway = Gateway::setup().set("SHARDS", 2).start();
    gateway.add(&wayward_stdio("child", ""));
    let pid = |gateway: &Gateway| gateway.call("child-pid", json!({}))["structuredContent"].clone();
    let child: Value = pid(&gateway);
    // What is made once, such as a connection to the database, is there after a small wave.
    wave(&gateway, "small", THREAD_COUNT);
    let within = Duration::from_secs(30);
    let mut before = usize::MAX;
    eventually("the connections of the small wave are closed", within, || {
        let count = open_file_count(&gateway);
        let is_same = std::mem::replace(&mut before, count) == count;
        is_same.then_some(())
    });
    let processes = children(&gateway);
    let held_before = eventually("the child is listened to, and nobody else", within, || {
        let held = held(&gateway);
        let open = |kind: &str| held[kind]["open"].as_u64();
        let is_settled = open("children") == Some(processes.len() as u64)
            && open("watches") == Some(1)
            && [open("sessions"), open("getStreams"), open("listens")] == [Some(0); 3];
        is_settled.then(|| held.clone())
    });
    for number in 0..WAVE_COUNT {
        wave(&gateway, &format!("wave-{number}"), STREAM_COUNT);
        eventually("all its connections are closed", within, || {
            (open_file_count(&gateway) <= before).then_some(())
        });
        eventually("all that was held is given back", within, || {
            (held(&gateway) == held_before).then_some(())
        });
    }
    assert_eq!(children(&gateway), processes);
    assert_eq!(pid(&gateway), child, "the same child answers");
}
