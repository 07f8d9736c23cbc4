//! An upstream that fails on request: each of its tools shows one fault.
//!
//! It speaks streamable HTTP of revision 2025-11-25 (or 2026-07-28 when asked to) by hand, on
//! threads and blocking sockets, so that it can do what no library lets a server do.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::port::Port;

mod talk;

/// What a tool of this name does. The list is what `tools/list` tells.
pub const TOOLS: [&str; 16] = [
    "echo",       // answers its arguments
    "faithful",   // answers the bytes of FAITHFUL
    "slow",       // answers after `milliseconds`
    "silent",     // never answers
    "cut",        // promises a body and closes in the middle of it
    "cut_stream", // begins an SSE answer and closes before the result
    "stream",     // answers by SSE: progress, a log line, an empty event, then the result
    "garbage",    // answers what is not JSON
    "wrong_id",   // answers another id
    "huge",       // answers `size` bytes of text
    "deep",       // answers JSON nested `depth` deep
    "status",     // answers HTTP `status` with a short text
    "hang_up",    // closes the connection as soon as it has the request
    "then_close", // answers well, then closes the connection without having said so
    "forget",     // answers well, then forgets every session
    "rpc_error",  // answers a JSON-RPC error
];

/// A result with everything a relay is tempted to tidy up: spaces, key order, escapes, numbers that
/// no float holds, fields nobody knows.
pub const FAITHFUL: &str = r#"{ "zeta":1.50e+2,"content" : [{"type":"text","text":"\u00e9\/ é \ud83d\ude00","x-unknown":{"b":1,"a":[]}},{"type":"resource_link","uri":"odd:///%7Ea b","name":"n"}], "structuredContent":{"big":12345678901234567890123,"tiny":-0.0,"list":[1, 2,3]},"_meta":{"vendor.example/x":"kept","progress":null},"isError":true,"resultType":"complete","unknownField":{"deep":[[[]]]} }"#;

/// How the upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Revision 2025-11-25 with sessions; a forgotten one is answered with this status.
    Legacy { forgotten: u16 },
    /// Revision 2026-07-28, without sessions.
    Modern,
}

/// How the upstream treats all requests alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// As its tools say.
    #[default]
    Well,
    /// It hangs up on everybody.
    Away,
    /// It reads requests and never answers those.
    Silent,
}

/// One request as the upstream received it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub http_method: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, `null` when there was none. Where it holds what `serde_json` knows no value for, it
    /// has the parts only that a server acts on.
    pub body: Value,
    /// The body as it came.
    pub text: String,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The name of the tool that is called, if one is.
    pub fn tool(&self) -> Option<&str> {
        (self.body["method"] == "tools/call").then(|| self.body["params"]["name"].as_str())?
    }
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    sessions: HashSet<String>,
    open: Vec<TcpStream>,
    connection_count: usize,
    closed_count: usize,
    extra_tools: Vec<Value>,
    mirrored: String,
    mood: Mood,
    /// It says by itself what changes.
    talks: bool,
    listeners: Vec<talk::Listener>,
    /// Sessions, and the resources that they are subscribed to.
    subscribed: HashSet<(String, String)>,
    ended: bool,
}

struct Shared {
    era: Mutex<Era>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn era(&self) -> Era {
        *self.era.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running faulty upstream; ends when dropped.
pub struct Faulty {
    port: Port,
    shared: Arc<Shared>,
}

impl Faulty {
    pub fn legacy() -> Self {
        Self::start(Era::Legacy { forgotten: 404 })
    }

    pub fn modern() -> Self {
        Self::start(Era::Modern)
    }

    pub fn start(era: Era) -> Self {
        let port = Port::take();
        let listener = TcpListener::bind(("127.0.0.1", port.number)).expect("the port is ours");
        let (era, state) = (Mutex::new(era), Mutex::default());
        let shared = Arc::new(Shared { era, state, changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { port, shared }
    }

    /// Where it is reached.
    pub fn url(&self) -> String {
        format!("http://localhost:{}/mcp", self.port.number)
    }

    /// The body of `POST /gateways` that registers it under `name`.
    pub fn registration(&self, name: &str) -> Value {
        json!({ "name": name, "url": self.url(), "transport": "STREAMABLEHTTP" })
    }

    /// Everything it received so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// How often `tool` was called.
    pub fn call_count(&self, tool: &str) -> usize {
        self.seen().iter().filter(|seen| seen.tool() == Some(tool)).count()
    }

    /// Waits until `tool` was called `count` times.
    pub fn wait_for_calls(&self, tool: &str, count: usize) {
        self.wait(&format!("{tool} is called {count} times"), |state| {
            state.seen.iter().filter(|seen| seen.tool() == Some(tool)).count() >= count
        });
    }

    /// How many connections were closed so far, from either side.
    pub fn closed_count(&self) -> usize {
        self.shared.state().closed_count
    }

    /// Waits until `count` connections were closed.
    pub fn wait_for_closed(&self, count: usize) {
        self.wait(&format!("{count} connections are closed"), |state| state.closed_count >= count);
    }

    fn wait(&self, what: &str, arrived: impl Fn(&State) -> bool) {
        let waiting = |state: &mut State| !arrived(state);
        let limit = Duration::from_secs(20);
        let waited = self.shared.changed.wait_timeout_while(self.shared.state(), limit, waiting);
        let (guard, late) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(guard);
        assert!(!late.timed_out(), "waited in vain until {what}");
    }

    /// Adds a tool to the list; it behaves as `echo`.
    pub fn add_tool(&self, definition: Value) {
        self.shared.state().extra_tools.push(definition);
    }

    /// Adds the tool `mirror` to the list, and has it answer the bytes of `result` from now on.
    pub fn mirror(&self, result: &str) {
        let mut state = self.shared.state();
        if state.extra_tools.iter().all(|tool| tool["name"] != "mirror") {
            state.extra_tools.push(definition("mirror"));
        }
        result.clone_into(&mut state.mirrored);
    }

    /// Speaks so from now on, as another version of a program does. It forgets every session.
    pub fn speak(&self, era: Era) {
        *self.shared.era.lock().unwrap_or_else(PoisonError::into_inner) = era;
        self.forget_sessions();
    }

    /// Treats requests in this way from now on.
    pub fn be(&self, mood: Mood) {
        let mut state = self.shared.state();
        state.mood = mood;
        if mood == Mood::Away {
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// How often `method` was asked for.
    pub fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|seen| seen.body["method"] == method).count()
    }

    /// Waits until `method` was asked for `count` times.
    pub fn wait_for(&self, method: &str, count: usize) {
        self.wait(&format!("{method} is asked for {count} times"), |state| {
            state.seen.iter().filter(|seen| seen.body["method"] == method).count() >= count
        });
    }

    /// Forgets every session, as an upstream does that was started anew.
    pub fn forget_sessions(&self) {
        let mut state = self.shared.state();
        state.sessions.clear();
        state.subscribed.clear();
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.ended = true;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // The accepting thread looks at `ended` at its next connection: this one.
        let _ = TcpStream::connect(("127.0.0.1", self.port.number));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let mut state = shared.state();
        if state.ended {
            return;
        }
        let connection = state.connection_count;
        state.connection_count += 1;
        state.open.extend(stream.try_clone().ok());
        drop(state);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || serve(stream, connection, &shared));
    }
}

/// Answers one connection's requests until a fault or the peer ends it.
fn serve(stream: TcpStream, connection: usize, shared: &Shared) {
    let Ok(copy) = stream.try_clone() else { return };
    let mut reader = BufReader::new(copy);
    let mut exchange = Exchange { stream, shared };
    while let Some(seen) = read_request(&mut reader, connection) {
        let mut state = shared.state();
        state.seen.push(seen.clone());
        let mood = state.mood;
        drop(state);
        shared.changed.notify_all();
        let answered = match mood {
            Mood::Well => exchange.answer(&seen),
            Mood::Away => None,
            Mood::Silent => exchange.wait_for_the_end(),
        };
        if answered.is_none() {
            break;
        }
    }
    let _ = exchange.stream.shutdown(Shutdown::Both);
    shared.state().closed_count += 1;
    shared.changed.notify_all();
}

fn read_request(reader: &mut impl BufRead, connection: usize) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|size| *size > 0)?;
    let http_method = line.split(' ').next()?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut seen =
        Seen { http_method, headers, body: Value::Null, text: String::new(), connection };
    let size = seen.header("content-length").and_then(|size| size.parse().ok()).unwrap_or(0);
    assert_eq!(
        seen.header("transfer-encoding"),
        None,
        "the gateway knows the size of what it sends"
    );
    let mut body = vec![0; size];
    reader.read_exact(&mut body).ok()?;
    seen.text = String::from_utf8(body).ok()?;
    seen.body = serde_json::from_str(&seen.text).unwrap_or_else(|_| outline(&seen.text));
    Some(seen)
}

/// The parts of a request that a server acts on, whatever else it holds.
fn outline(text: &str) -> Value {
    let text_of = |raw: Option<&String>| raw.and_then(|raw| serde_json::from_str(raw).ok());
    let request = members(text);
    let params = request.get("params").map(|raw| members(raw)).unwrap_or_default();
    let [id, method] = ["id", "method"].map(|key| text_of(request.get(key)).unwrap_or(Value::Null));
    let name: Value = text_of(params.get("name")).unwrap_or_default();
    json!({ "id": id, "method": method, "params": { "name": name } })
}

/// The members of an object, with the bytes of their values; none if it is no object.
pub fn members(text: &str) -> BTreeMap<String, String> {
    let raw: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).unwrap_or_default();
    raw.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect()
}

/// One connection's writing side. `None` from its methods means: close now.
struct Exchange<'a> {
    stream: TcpStream,
    shared: &'a Shared,
}

impl Exchange<'_> {
    fn answer(&mut self, seen: &Seen) -> Option<()> {
        if let Some(answered) = self.talk(seen) {
            return answered;
        }
        if seen.http_method != "POST" {
            return self.plain(405, "");
        }
        let method = seen.body["method"].as_str().unwrap_or_default();
        match (self.shared.era(), method) {
            (Era::Legacy { .. }, "server/discover") => self.refuse_era(),
            (Era::Legacy { .. }, "initialize") => self.initialize(seen),
            (Era::Legacy { forgotten }, _) if !self.knows(seen) => {
                let error = json!({ "code": -32000, "message": "Session not found" });
                self.json(forgotten, &json!({ "jsonrpc": "2.0", "error": error, "id": null }), &[])
            }
            (Era::Modern, "initialize") => {
                let error = json!({ "code": -32601, "message": "Method not found" });
                self.json(
                    404,
                    &json!({ "jsonrpc": "2.0", "error": error, "id": seen.body["id"] }),
                    &[],
                )
            }
            (Era::Modern, _) if seen.header("mcp-protocol-version") != Some("2026-07-28") => {
                let data = json!({ "supported": ["2026-07-28"] });
                let error =
                    json!({ "code": -32022, "message": "Unsupported revision", "data": data });
                let envelope = json!({ "jsonrpc": "2.0", "error": error, "id": seen.body["id"] });
                self.json(400, &envelope, &[])
            }
            _ if seen.body.get("id").is_none() => self.plain(202, ""),
            (_, "tools/call") => self.call(seen),
            _ => self.list(seen, method),
        }
    }

    fn knows(&self, seen: &Seen) -> bool {
        let session = seen.header("mcp-session-id");
        session.is_some_and(|session| self.shared.state().sessions.contains(session))
    }

    /// What a server of the TypeScript SDK v1 answers to a modern client's first request.
    fn refuse_era(&mut self) -> Option<()> {
        let error = json!({ "code": -32000, "message": "Bad Request: Server not initialized" });
        self.json(400, &json!({ "jsonrpc": "2.0", "error": error, "id": null }), &[])
    }

    fn initialize(&mut self, seen: &Seen) -> Option<()> {
        let mut state = self.shared.state();
        let session = format!("faulty-{}", state.seen.len());
        state.sessions.insert(session.clone());
        let mut capabilities = json!({ "tools": { "listChanged": true } });
        if state.talks {
            capabilities["resources"] = json!({ "subscribe": true, "listChanged": true });
        }
        drop(state);
        let result = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "serverInfo": { "name": "faulty", "version": "1.0.0" },
        });
        let envelope = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "result": result });
        self.json(200, &envelope, &[("Mcp-Session-Id", &session)])
    }

    /// What it says of itself in the era without sessions.
    fn capabilities(&self) -> Value {
        match self.shared.state().talks {
            true => json!({
                "tools": { "listChanged": true },
                "resources": { "subscribe": true, "listChanged": true },
            }),
            false => json!({ "tools": { "listChanged": false } }),
        }
    }

    fn list(&mut self, seen: &Seen, method: &str) -> Option<()> {
        let result = match method {
            "server/discover" => json!({
                "supportedVersions": ["2026-07-28"],
                "capabilities": self.capabilities(),
                "resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            }),
            "ping" => json!({}),
            "tools/list" => {
                let plain = TOOLS.iter().map(|name| definition(name));
                let tools: Vec<Value> =
                    plain.chain(self.shared.state().extra_tools.clone()).collect();
                json!({ "tools": tools, "resultType": "complete", "ttlMs": 0, "cacheScope": "public" })
            }
            _ => {
                let error = json!({ "code": -32601, "message": "Method not found" });
                let envelope = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error });
                return self.json(200, &envelope, &[]);
            }
        };
        self.result(seen, &result.to_string())
    }

    fn call(&mut self, seen: &Seen) -> Option<()> {
        let arguments = &seen.body["params"]["arguments"];
        let number = |name: &str| arguments[name].as_u64().unwrap_or_default();
        match seen.tool().unwrap_or_default() {
            "faithful" => self.result(seen, FAITHFUL),
            "slow" => {
                std::thread::sleep(Duration::from_millis(number("milliseconds")));
                self.text(seen, "slept")
            }
            "silent" => self.wait_for_the_end(),
            "cut" => {
                self.raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"jsonrpc\"")?;
                None
            }
            "cut_stream" => {
                self.stream_head()?;
                self.raw("event: message\ndata: {\"jsonrpc\":\"2.0\",")?;
                None
            }
            "stream" => self.stream_all(seen),
            "garbage" => self.typed(200, "application/json", "{this is not JSON", &[]),
            "wrong_id" => {
                let result = json!({ "content": [], "resultType": "complete" });
                self.json(
                    200,
                    &json!({ "jsonrpc": "2.0", "id": 987_654_321, "result": result }),
                    &[],
                )
            }
            "huge" => self.text(seen, &"x".repeat(number("size") as usize)),
            "deep" => {
                let depth = number("depth") as usize;
                let nest = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
                self.result(seen, &format!("{{\"content\":[],\"structuredContent\":{nest}}}"))
            }
            "status" => self.plain(number("status") as u16, "as you asked"),
            "hang_up" => None,
            "then_close" => {
                self.text(seen, "goodbye")?;
                None
            }
            "forget" => {
                self.text(seen, "forgotten")?;
                self.shared.state().sessions.clear();
                Some(())
            }
            "rpc_error" => {
                let error =
                    json!({ "code": -32602, "message": "refused", "data": { "why": "test" } });
                self.json(
                    200,
                    &json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error }),
                    &[],
                )
            }
            "mirror" => {
                let result = self.shared.state().mirrored.clone();
                self.result(seen, &result)
            }
            _ => self.echo(seen),
        }
    }

    fn echo(&mut self, seen: &Seen) -> Option<()> {
        let arguments = seen.body["params"]["arguments"].clone();
        let content = json!([{ "type": "text", "text": arguments.to_string() }]);
        let result =
            json!({ "content": content, "structuredContent": arguments, "resultType": "complete" });
        self.result(seen, &result.to_string())
    }

    /// Blocks until the test is over or the gateway has hung up.
    fn wait_for_the_end(&mut self) -> Option<()> {
        let mut byte = [0];
        let _ = self.stream.read(&mut byte);
        None
    }

    fn stream_head(&mut self) -> Option<()> {
        self.raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    }

    fn stream_all(&mut self, seen: &Seen) -> Option<()> {
        let token = &seen.body["params"]["_meta"]["progressToken"];
        let progress = json!({ "progressToken": token, "progress": 1, "total": 2 });
        let progress =
            json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": progress });
        let result = json!({ "content": [{ "type": "text", "text": "streamed" }], "resultType": "complete" });
        let answer = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "result": result });
        self.stream_head()?;
        self.raw("id: 1\ndata: \n\n: a comment\n\n")?;
        if !token.is_null() {
            self.raw(&format!("event: message\r\nid: 2\r\ndata: {progress}\r\n\r\n"))?;
        }
        self.raw(&format!("event: message\nid: 3\ndata: {answer}\n\n"))?;
        None
    }

    fn text(&mut self, seen: &Seen, text: &str) -> Option<()> {
        let content = json!([{ "type": "text", "text": text }]);
        self.result(seen, &json!({ "content": content, "resultType": "complete" }).to_string())
    }

    /// Answers with a result whose bytes stay as they are given.
    fn result(&mut self, seen: &Seen, result: &str) -> Option<()> {
        let id = &seen.body["id"];
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}");
        self.typed(200, "application/json", &body, &[])
    }

    fn json(&mut self, status: u16, body: &Value, headers: &[(&str, &str)]) -> Option<()> {
        self.typed(status, "application/json", &body.to_string(), headers)
    }

    fn plain(&mut self, status: u16, body: &str) -> Option<()> {
        self.typed(status, "text/plain", body, &[])
    }

    fn typed(
        &mut self,
        status: u16,
        kind: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Option<()> {
        let mut head = format!("HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.raw(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    fn raw(&mut self, text: &str) -> Option<()> {
        self.stream.write_all(text.as_bytes()).ok()
    }
}

fn definition(name: &str) -> Value {
    json!({
        "name": name,
        "description": format!("Shows the fault {name}"),
        "inputSchema": { "type": "object", "additionalProperties": true },
    })
}
