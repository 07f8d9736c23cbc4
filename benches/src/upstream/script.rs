//! What the fake upstream answers: MCP messages to HTTP bytes, with no socket in it.

use serde::Deserialize;
use sonic_rs::{JsonValueTrait, LazyValue};

use super::wire::Request;
use super::{Era, Options, REVISION_LEGACY, REVISION_MODERN};

/// The session of every legacy client: this server keeps nothing that could tell them apart.
const SESSION: &str = "bench-session";
/// Where the REST service answers.
pub const REST_PATH: &str = "/rest/weather";
/// What the REST service answers.
pub const REST_ANSWER: &str = r#"{"temperature":21.5,"unit":"celsius"}"#;
/// What comes before the number in the name of a tool.
const TOOL_PREFIX: &str = "tool_";

/// The answers, rendered once.
pub struct Script {
    era: Era,
    sessions: bool,
    tool_count: usize,
    /// Pages of tools/list as `"tools":[…],"nextCursor":"…"`, which both eras share.
    pages: Vec<String>,
}

/// The envelope of a message, of which nothing more is read than the answer needs.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<LazyValue<'a>>,
    method: &'a str,
    #[serde(borrow)]
    params: Option<LazyValue<'a>>,
}

/// The members that a result has only in one of the eras.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Legacy,
    Modern,
}

impl Dialect {
    /// Members for the front of any result.
    fn of_result(self) -> &'static str {
        match self {
            Dialect::Legacy => "",
            Dialect::Modern => {
                r#""resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"bench-upstream","version":"1"}},"#
            }
        }
    }

    /// Members for the front of a result that may be cached, after those of any result.
    fn of_cacheable(self) -> &'static str {
        match self {
            Dialect::Legacy => "",
            Dialect::Modern => r#""ttlMs":60000,"cacheScope":"public","#,
        }
    }
}

impl Script {
    /// Renders the answers.
    pub fn new(options: &Options) -> Script {
        let page_size = options.page_size.max(1);
        let page_count = options.tool_count.div_ceil(page_size).max(1);
        let pages = (0..page_count)
            .map(|page| render_page(page * page_size, page_size, options.tool_count))
            .collect();
        Script {
            era: options.era,
            sessions: options.sessions,
            tool_count: options.tool_count,
            pages,
        }
    }

    /// Appends the whole HTTP answer to a request.
    pub fn answer(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        if request.verb == "POST" && request.path == REST_PATH {
            return write_answer(out, "200 OK", "", &[REST_ANSWER]);
        }
        if request.verb != "POST" {
            return write_answer(out, "405 Method Not Allowed", "Allow: POST\r\n", &[]);
        }
        let Ok(envelope) = sonic_rs::from_slice::<Envelope<'_>>(request.body) else {
            return write_error(out, "400 Bad Request", "null", -32700, "not a message");
        };
        let id = envelope.id.as_ref().map(|id| id.as_raw_str());
        let is_modern = request.revision == Some(REVISION_MODERN.as_bytes());
        let dialect = if is_modern { Dialect::Modern } else { Dialect::Legacy };
        match (self.era, dialect) {
            (Era::Legacy, Dialect::Modern) => {
                let text = "Bad Request: Server not initialized";
                return write_error(out, "400 Bad Request", "null", -32000, text);
            }
            (Era::Modern, Dialect::Legacy) => {
                let id = id.unwrap_or("null");
                return write_error(out, "400 Bad Request", id, -32020, "header mismatch");
            }
            _ => {}
        }
        let Some(id) = id else { return write_answer(out, "202 Accepted", "", &[]) };
        if dialect == Dialect::Legacy && self.lacks_session(request, envelope.method) {
            return write_error(out, "404 Not Found", id, -32001, "Session not found");
        }
        self.answer_call(dialect, id, &envelope, out);
    }

    fn lacks_session(&self, request: &Request<'_>, method: &str) -> bool {
        self.sessions && method != "initialize" && request.session != Some(SESSION.as_bytes())
    }

    fn answer_call(&self, dialect: Dialect, id: &str, envelope: &Envelope<'_>, out: &mut Vec<u8>) {
        match (envelope.method, dialect) {
            ("tools/call", _) => self.call_tool(dialect, id, envelope.params.as_ref(), out),
            ("tools/list", _) => self.list_tools(dialect, id, envelope.params.as_ref(), out),
            ("initialize", Dialect::Legacy) => self.initialize(id, out),
            ("ping", Dialect::Legacy) => write_result(out, "", id, &["{}"]),
            ("server/discover", Dialect::Modern) => {
                let versions = match self.era {
                    Era::Dual => format!(r#""{REVISION_MODERN}","{REVISION_LEGACY}""#),
                    _ => format!(r#""{REVISION_MODERN}""#),
                };
                let own = format!(
                    r#""supportedVersions":[{versions}],"capabilities":{{"tools":{{}}}}}}"#
                );
                let parts = ["{", dialect.of_result(), dialect.of_cacheable(), &own];
                write_result(out, "", id, &parts);
            }
            (_, Dialect::Legacy) => write_error(out, "200 OK", id, -32601, "Method not found"),
            (_, Dialect::Modern) => {
                write_error(out, "404 Not Found", id, -32601, "Method not found")
            }
        }
    }

    fn initialize(&self, id: &str, out: &mut Vec<u8>) {
        let fields =
            if self.sessions { format!("Mcp-Session-Id: {SESSION}\r\n") } else { String::new() };
        let result = format!(
            r#"{{"protocolVersion":"{REVISION_LEGACY}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"bench-upstream","version":"1"}}}}"#
        );
        write_result(out, &fields, id, &[&result]);
    }

    fn list_tools(
        &self,
        dialect: Dialect,
        id: &str,
        params: Option<&LazyValue<'_>>,
        out: &mut Vec<u8>,
    ) {
        let cursor = params.and_then(|params| params.get("cursor"));
        let index = match &cursor {
            None => Some(0),
            Some(cursor) => cursor.as_str().and_then(|text| text.parse::<usize>().ok()),
        };
        let Some(page) = index.and_then(|index| self.pages.get(index)) else {
            return write_error(out, "200 OK", id, -32602, "no such cursor");
        };
        let parts = ["{", dialect.of_result(), dialect.of_cacheable(), page, "}"];
        write_result(out, "", id, &parts);
    }

    fn call_tool(
        &self,
        dialect: Dialect,
        id: &str,
        params: Option<&LazyValue<'_>>,
        out: &mut Vec<u8>,
    ) {
        let name = params.and_then(|params| params.get("name"));
        let number = name
            .as_ref()
            .and_then(|name| name.as_str())
            .and_then(|name| name.strip_prefix(TOOL_PREFIX))
            .and_then(|number| number.parse::<usize>().ok());
        if number.is_none_or(|number| number >= self.tool_count) {
            return write_error(out, "200 OK", id, -32602, "Unknown tool");
        }
        let own = r#""content":[{"type":"text","text":"{\"temperature\":21.5,\"unit\":\"celsius\"}"}],"structuredContent":{"temperature":21.5,"unit":"celsius"},"isError":false}"#;
        let meta = params.and_then(|params| params.get("_meta"));
        let token = meta.as_ref().and_then(|meta| meta.get("progressToken"));
        match token {
            Some(token) => write_progress(out, token.as_raw_str(), id, dialect, own),
            None => write_result(out, "", id, &["{", dialect.of_result(), own]),
        }
    }
}

/// Appends an answer that streams, with ten notifications of progress before the result.
fn write_progress(out: &mut Vec<u8>, token: &str, id: &str, dialect: Dialect, own: &str) {
    out.extend_from_slice(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let mut chunk = |message: &str| {
        let event = format!("data: {message}\n\n");
        out.extend_from_slice(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
    };
    for step in 1..=10 {
        chunk(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{step},"total":10}}}}"#
        ));
    }
    chunk(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{}{own}}}"#, dialect.of_result()));
    out.extend_from_slice(b"0\r\n\r\n");
}

/// Renders a page of tools, each about 400 bytes.
fn render_page(first: usize, page_size: usize, tool_count: usize) -> String {
    let end = (first + page_size).min(tool_count);
    let tools: Vec<_> = (first..end).map(tool_definition).collect();
    let tools = tools.join(",");
    if end < tool_count {
        let next = end / page_size;
        return format!(r#""tools":[{tools}],"nextCursor":"{next}""#);
    }
    format!(r#""tools":[{tools}]"#)
}

/// The object that describes a tool, as the upstream lists it.
pub fn tool_definition(number: usize) -> String {
    format!(
        r#"{{"name":"{TOOL_PREFIX}{number}","title":"Tool {number}","description":"Looks up the current weather at a place, given by name or by \"latitude,longitude\", and returns temperature and wind.","inputSchema":{{"type":"object","properties":{{"place":{{"type":"string","description":"Where to look"}},"days":{{"type":"integer","minimum":1,"maximum":14}}}},"required":["place"]}},"annotations":{{"readOnlyHint":true}}}}"#
    )
}

/// Appends a JSON-RPC result whose text is `parts` put together.
fn write_result(out: &mut Vec<u8>, fields: &str, id: &str, parts: &[&str]) {
    let mut body: [&str; 9] = [""; 9];
    body[0] = r#"{"jsonrpc":"2.0","id":"#;
    body[1] = id;
    body[2] = r#","result":"#;
    body[3..3 + parts.len()].copy_from_slice(parts);
    body[3 + parts.len()] = "}";
    write_answer(out, "200 OK", fields, &body);
}

fn write_error(out: &mut Vec<u8>, status: &str, id: &str, code: i32, message: &str) {
    let error =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#);
    write_answer(out, status, "", &[&error]);
}

/// Appends an HTTP answer whose body is `parts` put together.
fn write_answer(out: &mut Vec<u8>, status: &str, fields: &str, parts: &[&str]) {
    let body_size: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(body_size + fields.len() + 128);
    for text in ["HTTP/1.1 ", status, "\r\n", fields] {
        out.extend_from_slice(text.as_bytes());
    }
    if body_size > 0 {
        out.extend_from_slice(b"Content-Type: application/json\r\n");
    }
    out.extend_from_slice(b"Content-Length: ");
    push_number(out, body_size);
    out.extend_from_slice(b"\r\n\r\n");
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends a number in decimal without the machinery of `format!`.
fn push_number(out: &mut Vec<u8>, mut number: usize) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http;
    use crate::upstream::parse;

    /// Sends a message in an era and gives the status, the session and the body.
    fn ask(options: &Options, fields: &str, message: &str) -> (u16, Option<String>, Value) {
        let text = format!(
            "POST /mcp HTTP/1.1\r\n{fields}Content-Length: {}\r\n\r\n{message}",
            message.len()
        );
        let request = parse(text.as_bytes()).expect("is a request").expect("is whole");
        let mut out = Vec::new();
        Script::new(options).answer(&request, &mut out);
        let answer = http::read_answer(&mut &out[..]).expect("is an answer");
        let session = answer.field("mcp-session-id").map(str::to_owned);
        (answer.status, session, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    const MODERN: &str = "MCP-Protocol-Version: 2026-07-28\r\n";

    #[test]
    fn twenty_tools_are_about_eight_kilobytes() {
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let (status, _, body) = ask(&Options::default(), "", list);
        assert_eq!(status, 200);
        assert_eq!(body["result"]["tools"].as_array().map(Vec::len), Some(20));
        let size = body.to_string().len();
        assert!((7_500..8_700).contains(&size), "{size} bytes");
    }

    #[test]
    fn the_pages_hold_every_tool_once() {
        let options = Options { tool_count: 25, page_size: 10, ..Options::default() };
        let mut names = Vec::new();
        let mut cursor = json!({});
        loop {
            let list = json!({"jsonrpc":"2.0","id":1,"method":"tools/list","params":cursor});
            let (_, _, body) = ask(&options, MODERN, &list.to_string());
            let tools = body["result"]["tools"].as_array().expect("has tools").clone();
            names.extend(tools.iter().map(|tool| tool["name"].to_string()));
            match &body["result"]["nextCursor"] {
                Value::Null => break,
                next => cursor = json!({"cursor": next}),
            }
        }
        let expected: Vec<_> = (0..25).map(|number| format!("\"tool_{number}\"")).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn a_call_answers_under_its_id_and_says_more_to_a_modern_caller() {
        let call =
            r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"tool_19"}}"#;
        let (status, _, legacy) = ask(&Options::default(), "", call);
        assert_eq!((status, &legacy["id"]), (200, &json!("x")));
        assert_eq!(legacy["result"]["isError"], json!(false));
        assert_eq!(legacy["result"]["resultType"], Value::Null);
        let (_, _, modern) = ask(&Options::default(), MODERN, call);
        assert_eq!(modern["result"]["resultType"], json!("complete"));
        assert_eq!(modern["result"]["content"], legacy["result"]["content"]);
    }

    #[test]
    fn an_unknown_tool_is_an_error() {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tool_20"}}"#;
        let (_, _, body) = ask(&Options::default(), "", call);
        assert_eq!(body["error"]["code"], json!(-32602));
    }

    #[test]
    fn each_era_refuses_the_other() {
        let discover = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#;
        let legacy = Options { era: Era::Legacy, ..Options::default() };
        let (status, _, body) = ask(&legacy, MODERN, discover);
        assert_eq!((status, &body["error"]["code"]), (400, &json!(-32000)));
        let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
        let modern = Options { era: Era::Modern, ..Options::default() };
        let (status, _, body) = ask(&modern, "", initialize);
        assert_eq!((status, &body["error"]["code"]), (400, &json!(-32020)));
    }

    #[test]
    fn a_modern_client_is_told_which_revisions_there_are() {
        let discover = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#;
        let (status, _, body) = ask(&Options::default(), MODERN, discover);
        assert_eq!(status, 200);
        assert_eq!(body["result"]["supportedVersions"], json!([REVISION_MODERN, REVISION_LEGACY]));
    }

    #[test]
    fn demands_the_session_that_it_handed_out() {
        let options = Options { sessions: true, ..Options::default() };
        let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
        let (status, session, _) = ask(&options, "", initialize);
        assert_eq!(status, 200);
        let field = format!("Mcp-Session-Id: {}\r\n", session.expect("hands out a session"));
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        assert_eq!(ask(&options, "", list).0, 404);
        assert_eq!(ask(&options, &field, list).0, 200);
    }

    #[test]
    fn a_notification_is_accepted_and_a_get_is_not() {
        let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(ask(&Options::default(), "", notification).0, 202);
        let mut out = Vec::new();
        let request = Request { verb: "GET", ..Request::default() };
        Script::new(&Options::default()).answer(&request, &mut out);
        assert!(out.starts_with(b"HTTP/1.1 405 "));
    }
}
