//! The client against a listener that answers what the test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use serde_json::json;

use super::*;
use crate::auth::Rules;
use crate::auth::token::tests::settings;
use crate::cli::{add, call, gateways, tools};

/// A request as it arrived.
struct Seen {
    line: String,
    head: String,
    body: Value,
}

/// A gateway that gives these answers (content type and body), each on a connection of its own.
struct Stage {
    url: String,
    seen: JoinHandle<Vec<Seen>>,
}

impl Stage {
    fn with(answers: Vec<(u16, &'static str, String)>) -> Stage {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = std::thread::spawn(move || {
            answers.into_iter().map(|answer| serve_one(&listener, answer)).collect()
        });
        Stage { url, seen }
    }

    fn json(answers: Vec<(u16, Value)>) -> Stage {
        let json = |(status, body): (u16, Value)| (status, "application/json", body.to_string());
        Stage::with(answers.into_iter().map(json).collect())
    }

    fn args(&self) -> ClientArgs {
        ClientArgs { url: Some(self.url.clone()), token: Some("tok".to_owned()) }
    }

    fn seen(self) -> Vec<Seen> {
        self.seen.join().unwrap()
    }
}

fn serve_one(listener: &TcpListener, (status, kind, body): (u16, &str, String)) -> Seen {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && head != "\r\n" {
        reader.read_line(&mut head).unwrap();
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
    });
    let mut sent = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut sent).unwrap();
    let size = body.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {size}\r\n\
         connection: close\r\n\r\n{body}"
    );
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
    Seen {
        line: line.trim_end().to_owned(),
        head: head.to_lowercase(),
        body: serde_json::from_slice(&sent).unwrap_or_default(),
    }
}

fn text(run: impl FnOnce(&mut Vec<u8>) -> Result<(), ClientError>) -> (String, Option<String>) {
    let mut out = Vec::new();
    let error = run(&mut out).err().map(|error| error.to_string());
    (String::from_utf8(out).unwrap(), error)
}

#[test]
fn without_a_url_the_settings_say_where_the_gateway_is() {
    for (given, expected) in [
        (vec![], "http://127.0.0.1:4444"),
        (vec![("PORT", "5000")], "http://127.0.0.1:5000"),
        (vec![("HOST", "0.0.0.0")], "http://127.0.0.1:4444"),
        (vec![("HOST", "::")], "http://[::1]:4444"),
        (vec![("CERT_FILE", "c"), ("KEY_FILE", "k")], "https://127.0.0.1:4444"),
    ] {
        let client = Client::new(&ClientArgs::default(), &settings(&given)).unwrap();
        assert_eq!(client.base(), expected, "{given:?}");
    }
    let args = ClientArgs { url: Some("https://mcp.example/x/".to_owned()), token: None };
    assert_eq!(Client::new(&args, &settings(&[])).unwrap().base(), "https://mcp.example/x");
    for url in ["mcp.example", "ftp://mcp.example", ""] {
        let args = ClientArgs { url: Some(url.to_owned()), token: None };
        assert!(matches!(Client::new(&args, &settings(&[])), Err(ClientError::Input(_))), "{url}");
    }
}

#[test]
fn a_token_is_made_for_a_gateway_here_and_shown_to_no_other() {
    let settings = settings(&[]);
    let client = Client::new(&ClientArgs::default(), &settings).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let token = client.token.unwrap();
    let rules = Rules::load(&settings).unwrap();
    assert!(rules.verify(token.as_bytes(), now.as_secs()).unwrap().is_admin);
    for (url, is_made) in [("http://localhost:1", true), ("https://mcp.example", false)] {
        let args = ClientArgs { url: Some(url.to_owned()), token: None };
        assert_eq!(Client::new(&args, &settings).unwrap().token.is_some(), is_made, "{url}");
    }
    let args = ClientArgs { token: Some(" Bearer tok\n".to_owned()), ..ClientArgs::default() };
    assert_eq!(Client::new(&args, &settings).unwrap().token.as_deref(), Some("tok"));
}

#[test]
fn a_client_makes_no_secret_that_the_gateway_would_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let given = [("JWT_SECRET_KEY", ""), ("RINGWAY_DATA_DIR", path.to_str().unwrap())];
    let client = Client::new(&ClientArgs::default(), &settings(&given)).unwrap();
    assert_eq!(client.token, None);
    assert!(!path.exists());
}

#[test]
fn nobody_there_is_said_with_the_mend() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let args = ClientArgs { url: Some(url.clone()), token: Some("t".to_owned()) };
    let error = Client::new(&args, &settings(&[])).unwrap().get("/tools").unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("no gateway at {url}; start one with `ringway`")),
        "{error}"
    );
}

#[test]
fn a_list_is_read_page_by_page() {
    let stage = Stage::json(vec![
        (
            200,
            json!({"tools": [{"name": "a", "gatewaySlug": "g", "description": "A"}], "nextCursor": "c1"}),
        ),
        (200, json!({"tools": [{"name": "b", "enabled": false}], "nextCursor": null})),
    ]);
    let args = tools::ToolsArgs { client: stage.args(), ..Default::default() };
    let (out, error) = text(|out| tools::run(&args, &settings(&[]), out));
    assert_eq!(error, None);
    let lines: Vec<_> = out.lines().map(str::trim).collect();
    assert!(lines[1].starts_with("a") && lines[1].ends_with('A'), "{out}");
    assert!(lines[2].contains("(off)"), "{out}");
    let seen = stage.seen();
    assert_eq!(
        seen[0].line,
        "GET /tools?include_inactive=false&limit=500&include_pagination=true HTTP/1.1"
    );
    assert!(seen[1].line.contains("&cursor=c1 "), "{}", seen[1].line);
    assert!(seen[0].head.contains("authorization: bearer tok"));
}

#[test]
fn an_upstream_is_added_and_its_tools_are_shown() {
    let stage = Stage::json(vec![
        (
            200,
            json!({"id": "x", "name": "time", "transport": "SSE", "protocolVersion": "2025-11-25",
                   "toolCount": 1, "resourceCount": 0, "promptCount": 2,
                   "skippedTools": ["tool b: why"]}),
        ),
        (200, json!({"tools": [{"name": "time-now"}], "nextCursor": null})),
    ]);
    let args = add::AddArgs {
        name: "time".to_owned(),
        upstream: Some("http://h/mcp".to_owned()),
        client: stage.args(),
        ..Default::default()
    };
    let mut notes = Vec::new();
    let (out, error) = text(|out| add::run(&args, &settings(&[]), out, &mut notes));
    assert_eq!(error, None);
    assert!(out.starts_with("Added time (SSE, MCP 2025-11-25): 1 tool, 0 resources, 2 prompts\n"));
    assert!(out.contains("time-now"), "{out}");
    assert_eq!(String::from_utf8(notes).unwrap(), "left out: tool b: why\n");
    let seen = stage.seen();
    assert_eq!(seen[0].line, "POST /gateways HTTP/1.1");
    assert_eq!(seen[0].body, json!({"name": "time", "url": "http://h/mcp"}));
    assert!(seen[1].line.contains("gateway_id=x&"));
}

#[test]
fn a_refusal_is_the_gateways_own_sentence() {
    let message = "Unable to connect to gateway time: tried streamable HTTP at http://h/: refused";
    let stage = Stage::json(vec![(503, json!({ "message": message }))]);
    let args = add::AddArgs {
        name: "time".to_owned(),
        upstream: Some("http://h/".to_owned()),
        client: stage.args(),
        ..Default::default()
    };
    let (_, error) = text(|out| add::run(&args, &settings(&[]), out, &mut Vec::new()));
    assert_eq!(error.as_deref(), Some(message));
}

#[test]
fn an_upstream_is_refreshed_and_removed_by_name() {
    let listed = json!({"gateways": [{"id": "x1", "name": "Fast Time", "slug": "fast-time"}]});
    let stage = Stage::json(vec![
        (200, listed.clone()),
        (200, json!({"toolsAdded": 2, "promptsRemoved": 1, "validationErrors": ["tool b: why"]})),
        (200, listed.clone()),
        (200, json!({"status": "success"})),
        (200, listed),
    ]);
    let args = |name: &str| gateways::GatewayArgs {
        name: name.to_owned(),
        client: stage.args(),
        ..Default::default()
    };
    let settings = settings(&[]);
    let (out, _) = text(|out| gateways::refresh(&args("fast-time"), &settings, out));
    assert_eq!(
        out,
        "Refreshed fast-time: tools +2 ~0 -0, resources +0 ~0 -0, prompts +0 ~0 -1\n\
         left out: tool b: why\n"
    );
    let (out, _) = text(|out| gateways::remove(&args("Fast Time"), &settings, out));
    assert_eq!(out, "Removed Fast Time\n");
    let (_, error) = text(|out| gateways::remove(&args("slow"), &settings, out));
    assert!(error.unwrap().starts_with("there is no gateway \"slow\" at http://127.0.0.1"));
    let seen = stage.seen();
    assert_eq!(seen[1].line, "POST /gateways/x1/tools/refresh HTTP/1.1");
    assert_eq!(seen[3].line, "DELETE /gateways/x1 HTTP/1.1");
}

fn tool() -> Value {
    json!({"jsonrpc": "2.0", "id": "1", "result": {"tools": [{
        "name": "geo-käse", "inputSchema": {"type": "object", "properties": {
            "count": {"type": "integer"},
            "region": {"type": "string", "x-mcp-header": "Region"}}}}]}})
}

fn call_args(stage: &Stage, words: &[&str]) -> call::CallArgs {
    call::CallArgs {
        tool: "geo-käse".to_owned(),
        arguments: words.iter().map(ToString::to_string).collect(),
        client: stage.args(),
        ..Default::default()
    }
}

#[test]
fn a_call_is_one_stateless_request_with_the_headers_that_repeat_its_body() {
    let result = json!({"jsonrpc": "2.0", "id": "1", "result": {
        "content": [{"type": "text", "text": "ok"}], "resultType": "complete"}});
    let stage = Stage::json(vec![(200, tool()), (200, result)]);
    let args = call_args(&stage, &["count=2", "region=eu west"]);
    let (out, error) = text(|out| call::run(&args, &settings(&[]), out));
    assert_eq!((out.as_str(), error), ("ok\n", None));
    let seen = stage.seen();
    let call = &seen[1];
    assert_eq!(call.line, "POST /mcp HTTP/1.1");
    for header in [
        "mcp-protocol-version: 2026-07-28",
        "mcp-method: tools/call",
        "mcp-name: =?base64?",
        "mcp-param-region: eu west",
        "accept: application/json, text/event-stream",
    ] {
        assert!(call.head.contains(header), "{header}: {}", call.head);
    }
    let params = &call.body["params"];
    assert_eq!(params["name"], "geo-käse");
    assert_eq!(params["arguments"], json!({"count": 2, "region": "eu west"}));
    assert_eq!(params["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(params["_meta"]["io.modelcontextprotocol/clientCapabilities"], json!({}));
}

#[test]
fn an_answer_that_streams_is_read_up_to_the_result() {
    let stream = "id: 1\ndata:\n\n: alive\n\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\
                  \"method\":\"notifications/progress\",\"params\":{}}\n\ndata: {\"id\":\"1\",\n\
                  data: \"result\":{\"content\":[{\"type\":\"text\",\"text\":\"no\"}],\
                  \"isError\":true}}\n\n";
    let stage = Stage::with(vec![
        (200, "application/json", tool().to_string()),
        (200, "text/event-stream", stream.to_owned()),
    ]);
    let args = call_args(&stage, &[]);
    let (out, error) = text(|out| call::run(&args, &settings(&[]), out));
    assert_eq!(out, "no\n");
    assert_eq!(error.as_deref(), Some("the tool geo-käse reported an error"));
}

#[test]
fn a_stream_that_ends_early_and_an_error_are_said() {
    let stage = Stage::with(vec![
        (200, "application/json", tool().to_string()),
        (200, "text/event-stream", "data: {}\n\n".to_owned()),
    ]);
    let args = call_args(&stage, &[]);
    let (_, error) = text(|out| call::run(&args, &settings(&[]), out));
    assert!(error.unwrap().contains("the stream ended before the answer came"));
    let failed = json!({"id": "1", "error": {"code": -32000, "message": "upstream is away"}});
    let stage = Stage::json(vec![(200, tool()), (200, failed)]);
    let args = call_args(&stage, &[]);
    let (_, error) = text(|out| call::run(&args, &settings(&[]), out));
    assert_eq!(error.as_deref(), Some("upstream is away (error -32000)"));
}

#[test]
fn a_virtual_server_lists_its_tools_by_the_names_they_have_there() {
    let listed = json!({"servers": [{"id": "s1", "name": "mine", "toolPrefix": "x_"}]});
    let own = json!([{"name": "time-now", "originalName": "now"}]);
    let stage = Stage::json(vec![(200, listed), (200, own)]);
    let args = tools::ToolsArgs {
        server: Some("mine".to_owned()),
        client: stage.args(),
        ..Default::default()
    };
    let (out, _) = text(|out| tools::run(&args, &settings(&[]), out));
    assert!(out.contains("x_now") && !out.contains("time-now"), "{out}");
    assert_eq!(stage.seen()[1].line, "GET /servers/s1/tools?include_inactive=false HTTP/1.1");
}

#[test]
fn whoever_answers_something_else_is_no_gateway() {
    let stage = Stage::with(vec![(200, "text/html", "<html>".to_owned())]);
    let client = Client::new(&stage.args(), &settings(&[])).unwrap();
    let error = client.get("/tools").unwrap_err().to_string();
    assert!(error.ends_with("is it a gateway?"), "{error}");
}
