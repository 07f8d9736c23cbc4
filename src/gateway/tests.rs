use std::{cell::RefCell, sync::Arc, time::Duration};

use futures_util::FutureExt;
use net::jsonrpc::{AnswerKind, EnvelopeLimits};
use storage::{
    Change, Current,
    record::{Era as UpstreamEra, Gateway, Prompt, Resource, Server, Tool},
    seal::Sealer,
};

use super::*;
use crate::settings::{self, Audit, AuditCalls};
use crate::throttle::Counts;
use crate::upstream::{Held, Reply as UpstreamReply, a2a::AgentCall, rest::RestCall};

/// Upstreams that answer what they are told to, and remember what they were sent.
struct Canned {
    result: &'static str,
    sent: RefCell<Vec<(String, String, String)>>,
}

impl Relay for Canned {
    fn hold(&self, _: &Arc<Upstream>) -> Result<Box<dyn Held>, Failure> {
        unreachable!("nothing here is asked twice")
    }

    async fn request(
        &self,
        upstream: &Arc<Upstream>,
        outgoing: &Outgoing<'_>,
    ) -> Result<Answer, Failure> {
        let mut params = Vec::new();
        outgoing.write_params(&mut params);
        let params = String::from_utf8(params).expect("JSON is text");
        let method = outgoing.method.to_owned();
        self.sent.borrow_mut().push((upstream.record.name.clone(), method, params));
        let bytes = self.result.as_bytes().to_vec();
        let (outcome, raw) = match self.result.strip_prefix('!') {
            Some(raw) => (Outcome::Error, raw),
            None => (Outcome::Result, self.result),
        };
        let start = bytes.len() - raw.len();
        let span = net::Span::new(start, bytes.len());
        Ok(Answer::Whole(UpstreamReply { bytes, span, outcome }))
    }

    async fn call_rest(&self, call: &RestCall<'_>) -> Result<Vec<u8>, Failure> {
        let sent = (call.tool.url.host.clone(), call.tool_id.to_owned(), call.arguments.to_owned());
        self.sent.borrow_mut().push(sent);
        Ok(self.result.as_bytes().to_vec())
    }

    async fn call_agent(&self, call: &AgentCall<'_>) -> Result<Vec<u8>, Failure> {
        let name = call.agent.record.name.clone();
        self.sent.borrow_mut().push((name, "agent".to_owned(), call.arguments.to_owned()));
        Ok(self.result.as_bytes().to_vec())
    }
}

struct Headers(Vec<(&'static str, String)>);

impl HeaderSource for Headers {
    fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_bytes())
    }

    fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).count()
    }
}

fn records() -> Vec<Current> {
    let gateway = |id: &str, era| {
        Current::Gateway(Arc::new(Gateway {
            id: id.to_owned(),
            name: id.to_owned(),
            era: Some(era),
            ..Gateway::default()
        }))
    };
    let tool = |id: &str, gateway: &str, name: &str, schema: &str| {
        Current::Tool(Arc::new(Tool {
            id: id.to_owned(),
            gateway_id: Some(gateway.to_owned()),
            original_name: name.to_owned(),
            name: format!("{gateway}-{name}"),
            definition: format!(r#"{{"name":"{name}","inputSchema":{schema}}}"#),
            ..Tool::default()
        }))
    };
    let region =
        r#"{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"Region"}}}"#;
    vec![
        gateway("old", UpstreamEra::Legacy),
        gateway("new", UpstreamEra::Modern),
        tool("1", "old", "echo", r#"{"type":"object"}"#),
        tool("2", "new", "echo", r#"{"type":"object"}"#),
        tool("3", "new", "where", region),
        Current::Resource(Arc::new(Resource {
            id: "4".to_owned(),
            gateway_id: Some("old".to_owned()),
            uri: "test://{id}".to_owned(),
            uri_template: Some("test://{id}".to_owned()),
            definition: r#"{"uriTemplate":"test://{id}"}"#.to_owned(),
            ..Resource::default()
        })),
        Current::Prompt(Arc::new(Prompt {
            id: "5".to_owned(),
            gateway_id: Some("old".to_owned()),
            original_name: "greet".to_owned(),
            name: "old-greet".to_owned(),
            definition: r#"{"name":"greet"}"#.to_owned(),
            ..Prompt::default()
        })),
        Current::Server(Arc::new(Server {
            id: "s".to_owned(),
            name: "s".to_owned(),
            tool_prefix: Some(String::new()),
            associated_gateways: vec!["old".to_owned()],
            ..Server::default()
        })),
    ]
}

/// A gateway with two upstreams, of either era, that answer `result`.
struct World {
    catalog: Catalog,
    pages: Pages,
    schemas: schema::Cache,
    prompts: own::Prompts,
    relay: Canned,
    meters: Rc<Meters>,
    trail: Rc<Trail>,
    policies: Rc<Book>,
    throttle: Throttle,
    options: Options,
}

impl World {
    fn answering(result: &'static str) -> World {
        let settings = settings::parse("", [], &[]).expect("the defaults are good").settings;
        let mut catalog = Catalog::default();
        let changes = records().into_iter().zip(1..);
        let changes = changes.map(|(current, sequence)| Change { sequence, current }).collect();
        catalog.apply(changes, &Sealer::new("a secret that only tests have"));
        World {
            catalog,
            pages: Pages::default(),
            schemas: schema::Cache::new(8),
            prompts: own::Prompts::new(8),
            relay: Canned { result, sent: RefCell::default() },
            meters: Rc::new(Meters::new(100, || ())),
            trail: Rc::new(Trail::off()),
            policies: Rc::default(),
            throttle: Throttle::new(&settings.rate_limits, Counts::new(&settings), None),
            options: Options {
                task_within: Duration::from_secs(60),
                answer_within: Duration::from_secs(5),
                server: crate::mcp::ServerInfo::named("Ringway"),
                envelope: EnvelopeLimits::default(),
                params_size_max: 10_000,
                page_count_max: 2,
                arguments_checked: true,
                tool_within: Duration::from_secs(1),
                request_within: Duration::from_secs(1),
            },
        }
    }

    /// Answers `body` and returns what the client would read: the message, or the failure.
    fn ask(&self, request: &Request<'_>) -> String {
        let parts = Parts {
            catalog: &self.catalog,
            pages: &self.pages,
            schemas: &self.schemas,
            prompts: &self.prompts,
            relay: &self.relay,
            meters: &self.meters,
            trail: &self.trail,
            policies: self.policies.clone(),
            throttle: &self.throttle,
            sessions: None,
            parking: None,
            options: &self.options,
        };
        let answered = answer(&parts, request, &|_, _| {}).now_or_never();
        let answered = answered.expect("canned upstreams answer at once");
        let id = answered.id.unwrap_or("null");
        let mut out = Vec::new();
        match answered.outcome {
            Ok(Reply::Accepted) => return "accepted".to_owned(),
            Ok(Reply::Page(raw)) => jsonrpc::result(&mut out, id, text(&raw)),
            Ok(Reply::Result(raw)) => jsonrpc::result(&mut out, id, text(&raw)),
            Ok(Reply::Error(raw)) => return format!("{id} error {}", text(&raw)),
            Ok(Reply::Relayed(relayed)) => {
                let raw = text(relayed.place.of_bytes(&relayed.bytes));
                if relayed.is_error {
                    return format!("{id} error {raw}");
                }
                jsonrpc::result(&mut out, id, raw);
            }
            Ok(Reply::Stream(_) | Reply::Listen(_)) => unreachable!("nothing here streams"),
            Err(failure) => {
                return format!("{id} {} {} {failure}", failure.rpc_status(), failure.code());
            }
        }
        let parsed = net::jsonrpc::Answer::parse(&out, &EnvelopeLimits::default());
        assert_eq!(parsed.expect("an answer").kind(), AnswerKind::Result);
        text(&out).to_owned()
    }

    fn legacy(&self, server_id: &str, body: &str) -> String {
        let headers = Headers(vec![("MCP-Protocol-Version", "2025-11-25".to_owned())]);
        self.ask(&request(server_id, Transport::StreamableHttp, &headers, body))
    }

    fn modern(&self, name: &str, extra: &[(&'static str, &str)], body: &str) -> String {
        let method = serde_json::from_str::<serde_json::Value>(body).expect("JSON");
        let method = method["method"].as_str().expect("a method").to_owned();
        let mut headers = vec![
            ("MCP-Protocol-Version", mcp::MODERN.to_owned()),
            ("Mcp-Method", method),
            ("Mcp-Name", name.to_owned()),
        ];
        headers.extend(extra.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let headers = Headers(headers);
        self.ask(&request("", Transport::StreamableHttp, &headers, body))
    }

    /// How the members of a result begin that is completed for a client of the stateless revision.
    fn completed(&self, members: &str) -> String {
        let server = self.options.server.member();
        format!(r#""resultType":"complete","_meta":{{{server}}},{members}"#)
    }

    fn sent(&self) -> (String, String, String) {
        self.relay.sent.borrow_mut().pop().expect("something was sent")
    }
}

fn request<'a>(
    server_id: &'a str,
    transport: Transport,
    headers: &'a Headers,
    body: &'a str,
) -> Request<'a> {
    let accepts = Accepts { json: true, events: true };
    static OPERATOR: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(Caller::operator);
    let (caller, body) = (&*OPERATOR, body.as_bytes());
    Request { session: None, caller, client_ip: None, server_id, transport, headers, accepts, body }
}

fn text(raw: &[u8]) -> &str {
    std::str::from_utf8(raw).expect("JSON is text")
}

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

#[test]
fn splices_the_upstreams_name_and_relays_every_other_byte() {
    let world = World::answering(r#"{ "content":[1.0e2], "x":"\u0041" }"#);
    let body = r#"{"jsonrpc":"2.0","id":"a\u0041","method":"tools/call","params":{ "arguments":{"name":"n", "z": 1.10},"name":"old-echo" ,"odd":[null]}}"#;
    let got = world.legacy("", body);
    assert_eq!(
        got,
        r#"{"jsonrpc":"2.0","id":"a\u0041","result":{ "content":[1.0e2], "x":"\u0041" }}"#
    );
    let (upstream, method, params) = world.sent();
    assert_eq!((&*upstream, &*method), ("old", "tools/call"));
    assert_eq!(params, r#"{ "arguments":{"name":"n", "z": 1.10},"name":"echo" ,"odd":[null]}"#);
}

#[test]
fn calls_by_the_upstreams_own_name_where_the_prefix_is_empty() {
    let world = World::answering("{}");
    let call = |name| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#)
    };
    assert_eq!(world.legacy("s", &call("echo")), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(world.legacy("s", &call("old-echo")), "1 200 -32602 Unknown tool: old-echo");
    let gone = world.legacy("t", &call("echo"));
    assert_eq!(gone, "1 404 -32602 Server not found: t");
}

#[test]
fn completes_a_legacy_result_for_a_modern_client_and_strips_a_modern_one_for_a_legacy_client() {
    let world = World::answering(r#"{"resultType":"complete","content":[],"ttlMs":1}"#);
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"new-echo"}}"#;
    let expected = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
    assert_eq!(world.legacy("", body), expected);
    let world = World::answering(r#"{"content":[]}"#);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"old-echo",{META}}}}}"#
    );
    let got = world.modern("old-echo", &[], &body);
    let completed = world.completed(r#""content":[]"#);
    assert_eq!(got, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{completed}}}}}"#));
}

#[test]
fn renumbers_the_errors_that_the_eras_number_differently() {
    let world = World::answering(r#"!{"code":-32002,"message":"no","data":{"uri":"u"}}"#);
    let read = |meta: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"test://1"{meta}}}}}"#
        )
    };
    let got = world.legacy("", &read(""));
    assert_eq!(got, r#"1 error {"code":-32002,"message":"no","data":{"uri":"u"}}"#);
    let got = world.modern("test://1", &[], &read(&format!(",{META}")));
    assert_eq!(got, r#"1 error {"code":-32602,"message":"no","data":{"uri":"u"}}"#);
}

#[test]
fn pages_lists_and_refuses_a_cursor_that_it_did_not_give() {
    let world = World::answering("{}");
    let list = |cursor: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{cursor}}}}}"#)
    };
    let first = world.legacy("", &list(""));
    let value: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    let names = |value: &serde_json::Value| {
        let tools = value["result"]["tools"].as_array().expect("tools").clone();
        tools
            .iter()
            .map(|tool| tool["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&value), ["new-echo", "new-where"]);
    let cursor = value["result"]["nextCursor"].as_str().expect("there is more");
    let second = world.legacy("", &list(&format!(r#""cursor":"{cursor}""#)));
    let value: serde_json::Value = serde_json::from_str(&second).expect("JSON");
    assert_eq!(names(&value), ["old-echo"]);
    assert!(value["result"].get("nextCursor").is_none());
    assert_eq!(world.legacy("", &list(r#""cursor":"""#)), first);
    assert!(world.legacy("", &list(r#""cursor":"%%""#)).starts_with("1 200 -32602 Invalid cursor"));
}

#[test]
fn holds_modern_requests_to_their_headers() {
    let world = World::answering("{}");
    let call = |meta: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"new-where","arguments":{{"r":"eu"}}{meta}}}}}"#
        )
    };
    let whole = call(&format!(",{META}"));
    let region: &[(&str, &str)] = &[("Mcp-Param-Region", "eu")];
    assert!(world.modern("new-where", region, &whole).contains("\"result\""));
    let mismatch = "1 400 -32020";
    assert!(world.modern("other", region, &whole).starts_with(mismatch));
    assert!(world.modern("new-where", &[], &whole).starts_with(mismatch), "no Mcp-Param-Region");
    let wrong: &[(&str, &str)] = &[("Mcp-Param-Region", "us")];
    assert!(world.modern("new-where", wrong, &whole).starts_with(mismatch));
    let twice: &[(&str, &str)] = &[("Mcp-Param-Region", "eu"), ("Mcp-Name", "new-where")];
    assert!(world.modern("new-where", twice, &whole).starts_with(mismatch), "Mcp-Name twice");
    assert!(world.modern("new-where", region, &call("")).starts_with("1 400 -32602"), "no _meta");
    let future = whole.replace("2026-07-28", "2030-01-01");
    assert!(world.modern("new-where", region, &future).starts_with(mismatch));
    let encoded = "=?base64?bmV3LXdoZXJl?=";
    assert!(
        world.modern(encoded, region, &whole).contains("\"result\""),
        "decoded before compared"
    );
}

#[test]
fn names_the_revisions_it_speaks_to_those_who_speak_another() {
    let world = World::answering("{}");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}"#;
    let headers = Headers(vec![("mcp-protocol-version", "1999-01-01".to_owned())]);
    let got = world.ask(&request("", Transport::StreamableHttp, &headers, body));
    assert!(got.starts_with("1 400 -32600 Unsupported protocol version: 1999-01-01"), "{got}");
    let removed = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{{META}}}}}"#);
    assert!(world.modern("", &[], &removed).starts_with("1 404 -32601"));
    let future = removed.replace("2026-07-28", "2030-01-01");
    let headers = Headers(vec![("mcp-protocol-version", "2030-01-01".to_owned())]);
    let got = world.ask(&request("", Transport::StreamableHttp, &headers, &future));
    assert!(got.starts_with("1 400 -32022"), "{got}");
}

#[test]
fn negotiates_the_revision_of_a_handshake() {
    let world = World::answering("{}");
    for (asked, agreed) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{asked}","capabilities":{{}}}}}}"#
        );
        let headers = Headers(Vec::new());
        let got = world.ask(&request("", Transport::StreamableHttp, &headers, &body));
        let value: serde_json::Value = serde_json::from_str(&got).expect("JSON");
        assert_eq!(value["result"]["protocolVersion"], agreed);
        assert_eq!(value["result"]["serverInfo"]["name"], "Ringway");
    }
}

#[test]
fn routes_completion_to_the_upstream_of_what_it_refers_to() {
    let world = World::answering(r#"{"completion":{"values":[]}}"#);
    let complete = |reference: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{{"ref": {reference},"argument":{{"name":"a","value":"b"}}}}}}"#
        )
    };
    let prompt = r#"{"type":"ref/prompt","name":"old-greet"}"#;
    assert!(world.legacy("", &complete(prompt)).contains("completion"));
    assert!(world.sent().2.contains(r#""ref": {"type":"ref/prompt","name":"greet"},"argument""#));
    let template = r#"{"type":"ref/resource","uri":"test://{id}"}"#;
    assert!(world.legacy("", &complete(template)).contains("completion"));
    assert!(world.sent().2.contains(r#""uri":"test://{id}""#));
    let unknown = r#"{"type":"ref/prompt","name":"gone"}"#;
    assert!(world.legacy("", &complete(unknown)).starts_with("1 200 -32602"));
}

#[test]
fn plain_rpc_scopes_by_server_id_and_needs_no_headers() {
    let world = World::answering("{}");
    let headers = Headers(Vec::new());
    let ask = |body: &str| world.ask(&request("", Transport::Rpc, &headers, body));
    let list = ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"server_id":"s"}}"#);
    assert_eq!(
        list,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}}"#
    );
    let modern = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"new-echo",{META}}}}}"#
    );
    assert!(ask(&modern).contains("result"));
}

#[test]
fn refuses_what_is_no_request_with_the_codes_of_json_rpc() {
    let world = World::answering("{}");
    assert!(world.legacy("", "{").starts_with("null 400 -32700"));
    assert!(world.legacy("", "[]").starts_with("null 400 -32600"));
    assert!(world.legacy("", r#"{"jsonrpc":"2.0","id":1}"#).starts_with("1 400 -32600"));
    let unknown = r#"{"jsonrpc":"2.0","id":7,"method":"no/such"}"#;
    assert_eq!(world.legacy("", unknown), "7 200 -32601 Method not found: no/such");
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(world.legacy("", notification), "accepted");
    let nameless = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#;
    assert_eq!(world.legacy("", nameless), "1 200 -32602 params.name is required");
}

/// An upstream that fails its health checks.
fn lose(world: &mut World, id: &str) {
    let mut record = Gateway::clone(&world.catalog.upstream(id).expect("it is there").record);
    record.reachable = false;
    record.last_error = Some("connection refused".to_owned());
    let sequence = world.catalog.sequence + 1;
    let change = Change { sequence, current: Current::Gateway(Arc::new(record)) };
    world.catalog.apply(vec![change], &Sealer::new("a secret that only tests have"));
}

#[test]
fn says_of_what_is_known_that_its_upstream_is_out_of_service() {
    let mut world = World::answering("{}");
    lose(&mut world, "old");
    let told = "1 200 -32000 Unable to connect to old: it is out of service until it passes a \
                health check; connection refused";
    let ask = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
    };
    for (method, params) in [
        ("tools/call", r#"{"name":"old-echo"}"#),
        ("prompts/get", r#"{"name":"old-greet"}"#),
        ("resources/read", r#"{"uri":"test://1"}"#),
        ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"old-greet"}}"#),
        ("completion/complete", r#"{"ref":{"type":"ref/resource","uri":"test://{id}"}}"#),
    ] {
        assert_eq!(world.legacy("", &ask(method, params)), told, "{method} {params}");
    }
    // Under the name that it has in the server, and only there.
    assert_eq!(world.legacy("s", &ask("tools/call", r#"{"name":"echo"}"#)), told);
    let unknown = world.legacy("s", &ask("tools/call", r#"{"name":"old-echo"}"#));
    assert_eq!(unknown, "1 200 -32602 Unknown tool: old-echo");
    assert!(world.relay.sent.borrow().is_empty(), "the upstream was asked");
    let listed = world.legacy("", &ask("tools/list", "{}"));
    assert!(listed.contains("new-echo") && !listed.contains("old-echo"), "{listed}");
    assert!(world.legacy("", &ask("tools/call", r#"{"name":"new-echo"}"#)).contains("result"));
}

#[test]
fn tells_of_wrong_arguments_in_the_way_that_the_revision_reads() {
    let world = World::answering("{}");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"new-where","arguments":{"r":5}}}"#;
    let sentence =
        "Invalid arguments for tool new-where: /r: 5 is not of type \\\"string\\\" (type)";
    let got = world.legacy("", body);
    let expected = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{sentence}"}}],"isError":true}}}}"#
    );
    assert_eq!(got, expected);
    let body = body.replace(r#"{"name""#, &format!(r#"{{{META},"name""#));
    let got = world.modern("new-where", &[("Mcp-Param-Region", "5")], &body);
    assert!(got.contains(&world.completed(r#""content":[{"#)), "{got}");
    assert!(got.contains(sentence) && got.contains(r#""isError":true"#), "{got}");
    assert!(world.relay.sent.borrow().is_empty(), "the upstream is not asked");
}

#[test]
fn tells_older_revisions_and_scripts_of_wrong_arguments_by_an_error() {
    let world = World::answering("{}");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"new-where","arguments":{"r":5}}}"#;
    let older = Headers(vec![("MCP-Protocol-Version", "2025-06-18".to_owned())]);
    let newer = Headers(vec![("MCP-Protocol-Version", "2025-11-25".to_owned())]);
    let none = Headers(Vec::new());
    for (headers, transport) in [
        (&older, Transport::StreamableHttp),
        (&none, Transport::StreamableHttp),
        (&newer, Transport::Rpc),
    ] {
        let got = world.ask(&request("", transport, headers, body));
        assert!(
            got.starts_with("1 200 -32602 Invalid arguments for tool new-where: /r: "),
            "{got}"
        );
    }
}

#[test]
fn relays_any_arguments_where_checking_is_off() {
    let mut world = World::answering(r#"{"ok":1}"#);
    world.options.arguments_checked = false;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"new-where","arguments":{"r":5}}}"#;
    assert!(world.legacy("", body).contains(r#""ok":1"#));
}

#[test]
fn relays_any_arguments_to_a_tool_that_asks_for_no_check() {
    let mut world = World::answering(r#"{"ok":1}"#);
    let entry = world.catalog.tool("3").expect("the tool is there");
    let record = Tool { validate_arguments: false, ..(*entry.record).clone() };
    let change = Change { sequence: 100, current: Current::Tool(Arc::new(record)) };
    world.catalog.apply(vec![change], &Sealer::new("a secret that only tests have"));
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"new-where","arguments":{"r":5}}}"#;
    assert!(world.legacy("", body).contains(r#""ok":1"#));
}

/// A REST tool whose schemas want a number and promise one.
fn with_rest_tool(world: &mut World, rest: &str) {
    let schema = |name: &str| {
        format!(
            r#"{{"type":"object","properties":{{"{name}":{{"type":"number"}}}},"required":["{name}"]}}"#
        )
    };
    let (input, output) = (schema("n"), schema("m"));
    let record = Tool {
        id: "9".to_owned(),
        name: "double".to_owned(),
        original_name: "double".to_owned(),
        integration_type: storage::record::IntegrationType::Rest,
        rest: Some(rest.to_owned()),
        definition: format!(r#"{{"name":"double","inputSchema":{input},"outputSchema":{output}}}"#),
        ..Tool::default()
    };
    let current = Current::Tool(Arc::new(record));
    let sealer = Sealer::new("a secret that only tests have");
    world.catalog.apply(vec![Change { sequence: 99, current }], &sealer);
}

const DOUBLE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"double","arguments":{"n": 2}}}"#;

#[test]
fn calls_a_rest_tool_and_answers_in_the_client_s_era() {
    let result = r#"{"content":[],"structuredContent":{"m":4},"isError":false}"#;
    let mut world = World::answering(result);
    with_rest_tool(&mut world, r#"{"url":"https://api.example.com/double"}"#);
    let got = world.legacy("", DOUBLE);
    assert_eq!(got, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#));
    let (host, tool_id, arguments) = world.sent();
    assert_eq!((&*host, &*tool_id, &*arguments), ("api.example.com", "9", r#"{"n": 2}"#));
    let body = DOUBLE.replace(r#""params":{"#, &format!(r#""params":{{{META},"#));
    let got = world.modern("double", &[], &body);
    let expected = world.completed(&result[1..]);
    assert_eq!(got, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{expected}}}"#));
    let unknown = world.legacy("s", DOUBLE);
    assert_eq!(unknown, "1 200 -32602 Unknown tool: double", "a server that did not choose it");
}

#[test]
fn a_rest_tool_keeps_to_its_schemas_on_both_sides() {
    let spec = r#"{"url":"https://api.example.com/double"}"#;
    let answer = |result| {
        let mut world = World::answering(result);
        with_rest_tool(&mut world, spec);
        world.legacy("", DOUBLE)
    };
    let wrong = answer(r#"{"content":[],"structuredContent":{"m":"4"},"isError":false}"#);
    assert!(wrong.contains("does not fit the output schema"), "{wrong}");
    assert!(wrong.contains("\"isError\":true"), "{wrong}");
    let none = answer(r#"{"content":[],"isError":false}"#);
    assert!(none.contains("no JSON"), "{none}");
    let told = r#"{"content":[],"isError":true}"#;
    assert!(answer(told).contains(told), "an error promises nothing");
    let mut world = World::answering("{}");
    with_rest_tool(&mut world, spec);
    let got = world.legacy("", &DOUBLE.replace("2}}", "\"2\"}}"));
    assert!(got.contains("Invalid arguments for tool double"), "{got}");
    assert!(world.relay.sent.borrow().is_empty(), "nothing was sent");
}

#[test]
fn a_rest_tool_that_cannot_be_read_says_why_it_is_not_called() {
    let mut world = World::answering("{}");
    with_rest_tool(&mut world, r#"{"url":"https://{host}/"}"#);
    let got = world.legacy("", DOUBLE);
    assert!(got.starts_with("1 200 -32603 The tool double cannot be called"), "{got}");
}

/// What was counted, as short words: kind, id, executions, failures.
fn counted(world: &World) -> Vec<String> {
    let mut words: Vec<String> = (world.meters.take().deltas.iter())
        .map(|delta| {
            let metrics = &delta.metrics;
            format!("{} {} {} {}", delta.entity, delta.id, metrics.executions, metrics.failures)
        })
        .collect();
    words.sort();
    words
}

#[test]
fn counts_tools_resources_prompts_and_the_server_they_are_used_through() {
    let world = World::answering("{}");
    let ask = |server: &str, method: &str, params: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        world.legacy(server, &body);
    };
    ask("", "tools/call", r#"{"name":"old-echo","arguments":{}}"#);
    ask("s", "tools/call", r#"{"name":"echo","arguments":{}}"#);
    ask("", "resources/read", r#"{"uri":"test://7"}"#);
    ask("", "prompts/get", r#"{"name":"old-greet"}"#);
    assert_eq!(counted(&world), ["prompt 5 1 0", "resource 4 1 0", "server s 1 0", "tool 1 2 0"]);

    // Lists, and what is not there, are no executions.
    ask("", "tools/list", "{}");
    ask("", "tools/call", r#"{"name":"nowhere"}"#);
    ask("", "completion/complete", r#"{"ref":{"type":"ref/prompt","name":"old-greet"}}"#);
    assert_eq!(counted(&world), [""; 0]);
}

#[test]
fn a_result_that_says_it_is_an_error_and_an_error_count_as_failures() {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"old-echo"}}"#;
    for (answer, failures) in [
        (r#"{"content":[],"isError":false}"#, 0),
        (r#"{"content":[],"isError":true}"#, 1),
        (r#"{"isError":true,"content":[],"_meta":{}}"#, 1),
        (r#"!{"code":-32603,"message":"no"}"#, 1),
    ] {
        let world = World::answering(answer);
        world.legacy("", call);
        assert_eq!(counted(&world), [format!("tool 1 1 {failures}")], "{answer}");
    }
}

/// What was noted of calls, as short words: action, name, id, ok or why not.
fn noted(world: &World) -> Vec<String> {
    let entries = world.trail.take().entries.into_iter().map(|entry| {
        let name = entry.entity_name.unwrap_or_default();
        let id = entry.entity_id.unwrap_or_default();
        let outcome = entry.reason.unwrap_or("ok".to_owned());
        format!("{} {name} {id} {} {outcome}", entry.action, entry.allowed)
    });
    entries.collect()
}

fn telling(calls: AuditCalls, answer: &'static str) -> World {
    let settings = crate::settings::parse("", [], &[]).expect("defaults are good").settings.audit;
    let settings = Audit { calls, ..settings };
    World { trail: Rc::new(Trail::new(&settings, || ())), ..World::answering(answer) }
}

const CALLS: [(&str, &str); 4] = [
    ("tools/call", r#"{"name":"old-echo","arguments":{}}"#),
    ("resources/read", r#"{"uri":"test://7"}"#),
    ("prompts/get", r#"{"name":"old-greet"}"#),
    ("tools/call", r#"{"name":"nowhere"}"#),
];

fn body_of(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

#[test]
fn tells_the_audit_trail_of_calls_and_of_nothing_else() {
    let world = telling(AuditCalls::All, "{}");
    for (method, params) in CALLS {
        world.legacy("", &body_of(method, params));
    }
    world.legacy("", &body_of("tools/list", "{}"));
    world.legacy("", &body_of("tools/call", "{}"));
    world.legacy("", &body_of("ping", "{}"));
    let expected = [
        "tools.execute old-echo 1 true ok",
        "resources.read test://7 4 true ok",
        "prompts.execute old-greet 5 true ok",
        "tools.execute nowhere  true Unknown tool: nowhere",
    ];
    assert_eq!(noted(&world), expected);
    for calls in [AuditCalls::Denied, AuditCalls::None] {
        let world = telling(calls, "{}");
        for (method, params) in CALLS {
            world.legacy("", &body_of(method, params));
        }
        assert_eq!(noted(&world), [""; 0], "{calls:?}");
    }
}

#[test]
fn tells_the_audit_trail_why_a_call_was_refused() {
    let scoped = Caller {
        email: "user@example.com".to_owned(),
        rights: crate::auth::access::Rights::none(),
        ..Caller::nobody()
    };
    let headers = Headers(vec![("MCP-Protocol-Version", "2025-11-25".to_owned())]);
    for calls in [AuditCalls::All, AuditCalls::Denied] {
        let world = telling(calls, "{}");
        let (method, params) = CALLS[0];
        let body = body_of(method, params);
        let by_operator = request("", Transport::StreamableHttp, &headers, &body);
        world.ask(&Request { caller: &scoped, ..by_operator });
        let noted = noted(&world);
        assert_eq!(noted.len(), 1, "{noted:?}");
        assert!(noted[0].starts_with("tools.execute old-echo 1 false Insufficient"), "{noted:?}");
    }
}

#[test]
fn tells_the_audit_trail_that_what_a_caller_may_not_see_is_there() {
    let stranger = Caller {
        email: "user@example.com".to_owned(),
        rights: crate::auth::access::Rights::guest(),
        ..Caller::nobody()
    };
    let headers = Headers(vec![("MCP-Protocol-Version", "2025-11-25".to_owned())]);
    let mut world = telling(AuditCalls::Denied, "{}");
    let tool = world.catalog.tools().find(|tool| tool.record.name == "old-echo").expect("is there");
    let mut tool = Tool::clone(&tool.record);
    tool.ownership.visibility = storage::record::Visibility::Private;
    let current = Current::Tool(Arc::new(tool));
    let sequence = world.catalog.sequence + 1;
    world.catalog.apply(vec![Change { sequence, current }], &Sealer::new("a secret"));
    for (name, expected) in [("old-echo", 1), ("nowhere", 0)] {
        let body = body_of("tools/call", &format!(r#"{{"name":"{name}"}}"#));
        let by_operator = request("", Transport::StreamableHttp, &headers, &body);
        let told = world.ask(&Request { caller: &stranger, ..by_operator });
        assert!(told.contains("Unknown tool"), "{told}");
        let noted = noted(&world);
        assert_eq!(noted.len(), expected, "{noted:?}");
        assert!(noted.iter().all(|words| words.ends_with("false It is not visible to the caller")));
    }
}
