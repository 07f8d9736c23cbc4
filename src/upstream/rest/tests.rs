//! Calls of REST tools against real servers, on every driver of this machine.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Instant,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::*;
use crate::upstream::http::{
    LegLimits, Setup,
    tests::{AGES, on_each_driver},
};

/// A request as the service saw it: nothing unpacked.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    head: Vec<(String, String)>,
    body: Vec<u8>,
    /// How many came before it, on all connections.
    index: usize,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.head.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    fn target(&self) -> &str {
        self.line.split(' ').nth(1).expect("a request line has three words")
    }
}

type Script = dyn Fn(&Seen, &mut TcpStream) + Send + Sync;

/// A service that answers as its script says and remembers what it was asked.
struct Service {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Service {
    fn new(script: impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, shared): (Arc<Script>, _) = (Arc::new(script), seen.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { return };
                let (script, seen) = (script.clone(), shared.clone());
                std::thread::spawn(move || serve(connection, &*script, &seen));
            }
        });
        Service { address, seen }
    }

    /// A service that answers every request so.
    fn answering(status: u16, kind: &'static str, body: &'static [u8]) -> Service {
        Service::new(move |_, out| answer(out, status, &[("content-type", kind)], body))
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics with it").clone()
    }

    fn last(&self) -> Seen {
        self.seen().pop().expect("something was asked")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn serve(mut connection: TcpStream, script: &Script, seen: &Mutex<Vec<Seen>>) {
    let mut bytes = Vec::new();
    while let Some(mut request) = read_request(&mut connection, &mut bytes) {
        {
            let mut seen = seen.lock().expect("no test panics with it");
            request.index = seen.len();
            seen.push(request.clone());
        }
        script(&request, &mut connection);
    }
}

fn read_request(connection: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Seen> {
    let mut chunk = [0; 4096];
    let mut more = |bytes: &mut Vec<u8>| match connection.read(&mut chunk) {
        Ok(count @ 1..) => {
            bytes.extend_from_slice(&chunk[..count]);
            Some(())
        }
        _ => None,
    };
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        more(bytes)?;
    };
    let text = String::from_utf8(bytes[..end].to_vec()).expect("our heads are text");
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let head: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut seen = Seen { line, head, body: Vec::new(), index: 0 };
    let size = seen.header("content-length").map_or(0, |size| size.parse().expect("a number"));
    while bytes.len() < end + 4 + size {
        more(bytes)?;
    }
    seen.body = bytes[end + 4..end + 4 + size].to_vec();
    bytes.drain(..end + 4 + size);
    Some(seen)
}

fn answer(out: &mut TcpStream, status: u16, head: &[(&str, &str)], body: &[u8]) {
    let mut text = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in head {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let _ = out.write_all(&[text.as_bytes(), body].concat());
}

/// A shard's way to services, and the tool that it calls.
struct World {
    rest: Rest,
    tool: RestTool,
    structured: bool,
}

const CREDENTIAL: &str = "Bearer tok-s3cret";

impl World {
    fn new(spec: Value) -> World {
        let credentials = [("Authorization".to_owned(), CREDENTIAL.to_owned())];
        World::with(spec, &credentials, |_| ())
    }

    fn with(
        spec: Value,
        credentials: &[(String, String)],
        change: impl Fn(&mut RestLimits),
    ) -> World {
        let mut limits = RestLimits {
            waiting_count_max: 1,
            wait_within: Duration::from_secs(10),
            answer_size_max: 100_000,
            retry: RetryLimits {
                attempt_count_max: 3,
                delay: Duration::from_millis(1),
                delay_max: Duration::from_millis(50),
                jitter: 0.5,
            },
            filter: filters(AGES),
        };
        change(&mut limits);
        let tool = RestTool::new(&spec.to_string(), credentials).expect("a specification");
        World { rest: Rest::new(limits), tool, structured: false }
    }

    async fn raw(&self, arguments: &str) -> Result<Vec<u8>, Failure> {
        let call = RestCall {
            tool: &self.tool,
            tool_id: "t1",
            arguments,
            within: AGES,
            structured: self.structured,
        };
        self.rest.call(&call, |_, _| Ok(setup())).await
    }

    async fn call(&self, arguments: Value) -> Value {
        let raw = self.raw(&arguments.to_string()).await.expect("no bound is met");
        let text = String::from_utf8(raw).expect("text");
        assert!(!text.contains("s3cret"), "a credential shows: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The text of a call that failed.
    async fn error(&self, arguments: Value) -> String {
        let result = self.call(arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        result["content"][0]["text"].as_str().expect("text").to_owned()
    }

    /// The text of a call that went well.
    async fn text(&self, arguments: Value) -> String {
        let result = self.call(arguments).await;
        assert_eq!(result["isError"], false, "{result}");
        result["content"][0]["text"].as_str().expect("text").to_owned()
    }
}

/// Goes wherever the URL leads, as long as it is this machine.
fn setup() -> Setup {
    Setup {
        limits: LegLimits {
            sessions: crate::upstream::KeyedLimits::default(),
            connect_within: AGES,
            first_byte_within: AGES,
            answer_size_max: 100_000,
            connections_max: 8,
            waiting_max: 8,
            wait_within: AGES,
            idle_max: 100,
            idle_within: AGES,
            answer_within: Duration::from_secs(5),
            ping_after: AGES,
            json_depth_max: 20,
        },
        resolver: Rc::new(|host, port| {
            Box::pin(async move {
                let address: std::net::IpAddr = host.parse().expect("tests use addresses");
                Ok(vec![SocketAddr::new(address, port)])
            })
        }),
        connector: None,
    }
}

/// A worker that is this test program: the test below is its `main`.
fn filters(within: Duration) -> FilterLimits {
    let program = std::env::current_exe().expect("this program has a place");
    let name = "upstream::rest::tests::works_as_a_filter_worker";
    let arguments = [name, "--exact", "--ignored", "--nocapture", "--test-threads=1"];
    let worker = std::iter::once(program.into()).chain(arguments.map(Into::into)).collect();
    FilterLimits { worker, within }
}

#[test]
#[ignore = "the process that other tests start"]
fn works_as_a_filter_worker() {
    work().expect("the gateway's side closes it");
}

#[test]
fn puts_every_argument_where_the_tool_says() {
    on_each_driver(|| async {
        let service = Service::answering(200, "application/json", b"{}");
        let world = World::new(json!({
            "url": service.url("/v1/users/{id}/posts?lang=en&tag={tag}"),
            "request_type": "POST",
            "headers": {"X-Static": "st", "Accept": "application/json"},
            "query_mapping": {"page": "p[n]", "list": "l"},
            "header_mapping": {"trace": "X-Trace", "none": "X-None"},
        }));
        world
            .call(json!({
                "id": "a/b", "tag": ["x", "y z"], "page": 2, "list": ["a&b", 1, null, true],
                "trace": "tr", "none": null, "text": "\u{e9}\"", "n": 1.5, "o": {"k": [1]}
            }))
            .await;
        let seen = service.last();
        let target = "/v1/users/a%2Fb/posts?lang=en&tag=x%2Cy%20z&l=a%26b&l=1&l=true&p%5Bn%5D=2";
        assert_eq!(seen.line, format!("POST {target} HTTP/1.1"));
        for (name, value) in [
            ("host", service.address.to_string().as_str()),
            ("X-Static", "st"),
            ("Authorization", CREDENTIAL),
            ("X-Trace", "tr"),
            ("accept", "application/json"),
            ("accept-encoding", "identity"),
            ("content-type", "application/json"),
        ] {
            assert_eq!(seen.header(name), Some(value), "{name} of {:?}", seen.head);
        }
        assert_eq!(seen.header("x-none"), None);
        assert_eq!(seen.text(), r#"{"text":"é\"","n":1.5,"o":{"k":[1]}}"#);
    });
}

#[test]
fn sends_the_caller_s_spelling_of_numbers_and_text() {
    on_each_driver(|| async {
        let service = Service::answering(200, "application/json", b"{}");
        let world = World::new(json!({"url": service.url("/"), "request_type": "PUT"}));
        let raw = r#"{"n":1.10e2,"big":12345678901234567890123,"s":"\u0041\/"}"#;
        world.raw(raw).await.expect("a result");
        assert_eq!(service.last().text(), raw);
        let result = world.raw(r#"{"a":1,"\u0061":2}"#).await.expect("a result");
        assert!(String::from_utf8_lossy(&result).contains("twice"));
        assert_eq!(service.seen().len(), 1);
    });
}

#[test]
fn speaks_every_method() {
    on_each_driver(|| async {
        let service = Service::new(|seen, out| match seen.line.starts_with("HEAD") {
            true => drop(out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")),
            false => answer(out, 200, &[("content-type", "text/plain")], b"done"),
        });
        for (method, in_query, text) in [
            ("GET", true, "done"),
            ("HEAD", true, ""),
            ("DELETE", true, "done"),
            ("OPTIONS", true, "done"),
            ("POST", false, "done"),
            ("PUT", false, "done"),
            ("PATCH", false, "done"),
        ] {
            let spec = json!({"url": service.url("/x?a=1"), "request_type": method});
            let world = World::new(spec);
            assert_eq!(world.text(json!({"a": 2, "b": "c d"})).await, text, "{method}");
            let seen = service.last();
            let target = if in_query { "/x?a=1&b=c%20d" } else { "/x?a=1" };
            assert_eq!(seen.line, format!("{method} {target} HTTP/1.1"));
            let body = if in_query { "" } else { r#"{"a":2,"b":"c d"}"# };
            assert_eq!(seen.text(), body, "{method}");
            assert_eq!(seen.header("content-length").is_none(), in_query, "{method}");
        }
    });
}

#[test]
fn writes_forms_with_lists_repeated() {
    on_each_driver(|| async {
        let service = Service::answering(200, "text/plain", b"");
        let kind = "application/x-www-form-urlencoded";
        let world = World::new(json!({
            "url": service.url("/"), "request_type": "POST", "body_format": "form"
        }));
        let arguments = json!({"a b": "c&d=\u{fc}", "l": [1, "x"], "o": {"k": 1}, "gone": null});
        assert_eq!(world.text(arguments).await, "");
        let seen = service.last();
        assert_eq!(seen.header("content-type"), Some(kind));
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(&seen.body).into_owned().collect();
        let expected = [("a b", "c&d=\u{fc}"), ("l", "1"), ("l", "x"), ("o", "{\"k\":1}")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    });
}

#[test]
fn writes_multipart_bodies_with_files() {
    on_each_driver(|| async {
        let service = Service::answering(200, "text/plain", b"");
        let world = World::new(json!({
            "url": service.url("/"), "request_type": "POST", "body_format": "multipart",
            "headers": {"Content-Type": "multipart/form-data"}
        }));
        let data = STANDARD.encode(b"\x00\xff--\r\n");
        let file = json!({"data": data, "filename": "a\"\r\n.bin", "mime_type": "image/png"});
        world.call(json!({"f": file, "t": "x", "l": [1, 2], "o": {"k": 1}})).await;
        let seen = service.last();
        let kind = seen.header("content-type").expect("a type").to_owned();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").expect("a boundary");
        assert_eq!(seen.head.iter().filter(|(name, _)| name == "content-type").count(), 1);
        let part = |head: &str, body: &[u8]| {
            let head = format!("--{boundary}\r\ncontent-disposition: form-data; {head}\r\n\r\n");
            [head.as_bytes(), body, b"\r\n"].concat()
        };
        let expected = [
            part(
                "name=\"f\"; filename=\"a%22%0D%0A.bin\"\r\ncontent-type: image/png",
                b"\x00\xff--\r\n",
            ),
            part("name=\"t\"", b"x"),
            part("name=\"l\"", b"1"),
            part("name=\"l\"", b"2"),
            part("name=\"o\"\r\ncontent-type: application/json", b"{\"k\":1}"),
            format!("--{boundary}--\r\n").into_bytes(),
        ];
        assert_eq!(seen.body, expected.concat());
        let odd = |file: Value| world.error(json!({"f": file}));
        let bad_data = odd(json!({"data": "?", "filename": "a"})).await;
        assert!(bad_data.contains("base64"), "{bad_data}");
        let kind = json!({"data": "", "filename": "a", "mime_type": "a\r\nb: c"});
        assert!(odd(kind).await.contains("mime_type"));
    });
}

#[test]
fn refuses_arguments_that_cannot_stand_in_their_place() {
    on_each_driver(|| async {
        let service = Service::answering(200, "text/plain", b"");
        let world = World::new(json!({
            "url": service.url("/{id}"), "header_mapping": {"h": "X-H"}
        }));
        for (arguments, expected) in [
            (json!({}), "\"id\" is missing"),
            (json!({"id": null}), "\"id\" is missing"),
            (json!({"id": ""}), "must not be empty"),
            (json!({"id": ".."}), ". or .."),
            (json!({"id": "x", "h": "a\r\nb: c"}), "\"h\" must have no control"),
        ] {
            let error = world.error(arguments).await;
            assert!(error.contains(expected), "{error}");
        }
        let raw = world.raw("[1]").await.expect("a result");
        assert!(String::from_utf8_lossy(&raw).contains("\"isError\":true"));
        assert!(service.seen().is_empty(), "nothing was sent");
    });
}

#[test]
fn credentials_of_the_query_are_sent_and_never_told() {
    on_each_driver(|| async {
        let service = Service::new(|seen, out| {
            let text = format!("bad key in {}", seen.line);
            answer(out, 403, &[("content-type", "text/plain")], text.as_bytes());
        });
        let credentials = [("?api_key".to_owned(), "s3cret-key".to_owned())];
        let spec = json!({"url": service.url("/x")});
        let world = World::with(spec, &credentials, |_| ());
        let error = world.error(json!({"q": 1, "api_key": "mine"})).await;
        assert_eq!(service.last().target(), "/x?q=1&api_key=s3cret-key");
        assert!(error.starts_with("127.0.0.1 answered HTTP 403 Forbidden: bad key in"), "{error}");
    });
}

#[test]
fn http_errors_are_told_with_status_and_text() {
    on_each_driver(|| async {
        let service = Service::answering(404, "application/json", b"{ \"detail\": \"no such\" }");
        let world = World::new(json!({"url": service.url("/x")}));
        let expected = "127.0.0.1 answered HTTP 404 Not Found: {\"detail\":\"no such\"}";
        assert_eq!(world.error(json!({})).await, expected);
        assert_eq!(service.seen().len(), 1, "404 does not pass by waiting");
        let service = Service::answering(204, "", b"");
        let world = World::new(json!({"url": service.url("/x")}));
        assert_eq!(world.text(json!({})).await, "");
    });
}

#[test]
fn sends_again_what_does_no_harm_twice_and_nothing_else() {
    on_each_driver(|| async {
        let busy = || {
            Service::new(|seen, out| match seen.index {
                0 => answer(out, 503, &[("retry-after", "0")], b"later"),
                1 => answer(out, 502, &[], b"later"),
                _ => answer(out, 200, &[("content-type", "text/plain")], b"now"),
            })
        };
        let service = busy();
        let world = World::new(json!({"url": service.url("/x"), "request_type": "PUT"}));
        assert_eq!(world.text(json!({})).await, "now");
        let service = busy();
        let world = World::new(json!({"url": service.url("/x"), "request_type": "POST"}));
        assert!(world.error(json!({})).await.contains("503"));
        assert_eq!(service.seen().len(), 1);
        let service = Service::answering(503, "text/plain", b"never");
        let world = World::new(json!({"url": service.url("/x")}));
        assert!(world.error(json!({})).await.contains("never"));
        assert_eq!(service.seen().len(), 3);
    });
}

#[test]
fn a_connection_that_breaks_off_is_told_with_the_host() {
    on_each_driver(|| async {
        let service = Service::new(|_, out| drop(out.shutdown(Shutdown::Both)));
        let world = World::new(json!({"url": service.url("/x"), "request_type": "POST"}));
        let error = world.error(json!({})).await;
        assert!(error.starts_with("127.0.0.1 broke off"), "{error}");
        assert_eq!(service.seen().len(), 1, "the service may have acted on it");
        // Of a port that was just given up another test may take possession.
        let closed = json!({"url": "http://127.0.0.1:1/x", "request_type": "POST"});
        let error = World::new(closed).error(json!({})).await;
        assert!(error.starts_with("127.0.0.1 cannot be reached"), "{error}");
    });
}

#[test]
fn a_slow_service_costs_no_more_than_the_tool_s_own_time() {
    on_each_driver(|| async {
        let service = Service::new(|_, out| {
            let _ = out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab");
        });
        let world = World::new(json!({"url": service.url("/x"), "timeout_ms": 200}));
        let began = Instant::now();
        let error = world.error(json!({})).await;
        assert!(error.starts_with("127.0.0.1 did not answer in time"), "{error}");
        assert!(began.elapsed() < AGES / 2);
    });
}

#[test]
fn servers_that_lie_are_found_out() {
    on_each_driver(|| async {
        for (lie, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "broke off"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\nabc", "more than the 100000 bytes"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nabc", "not HTTP"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
            ("hello\r\n\r\n", "not HTTP"),
            (
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
                "no gzip",
            ),
            ("HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 3\r\n\r\nabc", "\"br\""),
        ] {
            let service = Service::new(move |_, out| {
                let _ = out.write_all(lie.as_bytes());
                let _ = out.shutdown(Shutdown::Both);
            });
            let world = World::new(json!({"url": service.url("/x"), "request_type": "POST"}));
            let error = world.error(json!({})).await;
            assert!(error.contains(expected), "{lie:?}: {error}");
        }
        let service = Service::answering(200, "application/json", b"<html>no</html>");
        let world = World::new(json!({"url": service.url("/x")}));
        assert_eq!(world.text(json!({})).await, "<html>no</html>");
    });
}

#[test]
fn an_answer_is_read_up_to_the_bound_of_the_tool() {
    on_each_driver(|| async {
        let service = Service::new(|seen, out| {
            let size = seen.target().trim_start_matches("/?n=").parse().expect("a number");
            answer(out, 200, &[("content-type", "text/plain")], &vec![b'a'; size]);
        });
        let world = World::new(json!({"url": service.url("/"), "response_size_max": 1000}));
        assert_eq!(world.text(json!({"n": 1000})).await.len(), 1000);
        assert!(world.error(json!({"n": 1001})).await.contains("1000 bytes"));
        // A packed one is bounded by what it holds.
        let service = Service::new(|_, out| {
            let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            bomb.write_all(&vec![b'a'; 500_000]).expect("memory");
            let bomb = bomb.finish().expect("memory");
            let head = [("content-type", "text/plain"), ("content-encoding", "gzip")];
            answer(out, 200, &head, &bomb);
        });
        let world = World::new(json!({"url": service.url("/")}));
        assert!(world.error(json!({})).await.contains("100000 bytes"));
    });
}

#[test]
fn follows_redirects_of_get_within_the_origin_and_names_where_others_lead() {
    on_each_driver(|| async {
        let service = Service::new(|seen, out| match seen.target() {
            "/a" => answer(out, 302, &[("location", "/b?x=1")], b""),
            "/b?x=1" => answer(out, 200, &[("content-type", "text/plain")], b"there"),
            "/away" => {
                let location = "http://user:s3cret@other.example/x?token=s3cret";
                answer(out, 307, &[("location", location)], b"");
            }
            "/nowhere" => answer(out, 301, &[], b""),
            _ => answer(out, 308, &[("location", "/loop")], b""),
        });
        let at = |path: &str, method: &str| {
            World::new(json!({"url": service.url(path), "request_type": method}))
        };
        assert_eq!(at("/a", "GET").text(json!({})).await, "there");
        assert_eq!(service.last().header("authorization"), Some(CREDENTIAL));
        let error = at("/away", "GET").error(json!({})).await;
        assert!(error.contains("other.example"), "{error}");
        assert!(at("/loop", "GET").error(json!({})).await.contains("more than 5 times"));
        assert!(at("/a", "POST").error(json!({})).await.contains("POST does not follow"));
        // A redirect without a place leads to itself.
        let error = at("/nowhere", "GET").error(json!({})).await;
        assert!(error.contains("redirects"), "{error}");
    });
}

#[test]
fn keeps_connections_for_an_origin_whichever_tool_calls_it() {
    on_each_driver(|| async {
        let connections = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
        let noted = connections.clone();
        let service = Service::new(move |_, out| {
            let peer = out.peer_addr().expect("a peer");
            noted.lock().expect("no test panics with it").insert(peer);
            answer(out, 200, &[("content-type", "text/plain")], b"ok");
        });
        let world = World::new(json!({"url": service.url("/a")}));
        let other = RestTool::new(&json!({"url": service.url("/b")}).to_string(), &[]);
        let other = other.expect("a tool");
        for tool in [&world.tool, &other, &world.tool] {
            let call =
                RestCall { tool, tool_id: "t", arguments: "{}", within: AGES, structured: false };
            world.rest.call(&call, |_, _| Ok(setup())).await.expect("a result");
        }
        assert_eq!(connections.lock().expect("no test panics with it").len(), 1);
        assert_eq!(service.seen().len(), 3);
        world.rest.close();
        assert!(world.rest.wires.borrow().is_empty());
    });
}

#[test]
fn the_number_of_origins_with_connections_is_bounded() {
    on_each_driver(|| async {
        let world = World::new(json!({"url": "http://127.0.0.1/"}));
        for port in 1..=REST_ORIGIN_COUNT_MAX + 10 {
            let url = UrlTemplate::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL");
            assert!(world.rest.wire(&url, |_, _| Ok(setup())).is_ok());
        }
        assert_eq!(world.rest.wires.borrow().len(), REST_ORIGIN_COUNT_MAX);
    });
}

#[test]
fn more_calls_than_a_tool_allows_wait_and_then_are_told_to_come_again() {
    on_each_driver(|| async {
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let service = Service::new(move |_, out| {
            let _ = gate.lock().expect("no test panics with it").recv();
            answer(out, 200, &[("content-type", "text/plain")], b"ok");
        });
        let spec = json!({"url": service.url("/"), "concurrency_limit": 1});
        let world = Rc::new(World::new(spec));
        let call = |world: &Rc<World>| {
            let world = world.clone();
            shards::task::spawn(async move { world.raw("{}").await })
        };
        let first = call(&world);
        while service.seen().is_empty() {
            time::sleep(Duration::from_millis(1)).await;
        }
        let second = call(&world);
        while world.rest.turns_of("t1", 1).waiting_count() == 0 {
            time::sleep(Duration::from_millis(1)).await;
        }
        let third = world.raw("{}").await;
        assert!(matches!(third, Err(Failure::Busy(_))));
        assert_eq!(service.seen().len(), 1);
        drop(open);
        for waiting in [first, second] {
            let result = waiting.join().await.expect("no panic").expect("a result");
            assert!(String::from_utf8_lossy(&result).contains("ok"));
        }
        world.rest.retain(|_| false);
        assert!(world.rest.turns.borrow().is_empty());
    });
}

#[test]
fn filters_run_in_a_process_of_their_own() {
    on_each_driver(|| async {
        let service = Service::answering(
            200,
            "application/json",
            br#"{"items":[{"id":1,"x":"secret"},{"id":2}]}"#,
        );
        let with =
            |filter: &str| World::new(json!({"url": service.url("/"), "jsonpath_filter": filter}));
        let result = with("{ids: [.items[].id]}").call(json!({})).await;
        assert_eq!(result["structuredContent"], json!({"ids": [1, 2]}));
        assert_eq!(with(".items[].id").text(json!({})).await, "[1,2]");
        let error = with(".items |").error(json!({})).await;
        assert!(error.contains("its end"), "{error}");
        // Whatever a program does, it dies and not the gateway, and the next one runs.
        let world = with("def f: [f]; f");
        let error = world.error(json!({})).await;
        assert!(error.contains("memory or stack"), "{error}");
        assert!(with("nan").error(json!({})).await.contains("no JSON"));
        let environment = with("env | keys - [\"LLVM_PROFILE_FILE\"]").text(json!({})).await;
        assert_eq!(environment, "[]");
        assert_eq!(world.rest.check_filter(".a").await, Ok(()));
        let error = world.rest.check_filter("(").await.expect_err("no program");
        assert!(error.starts_with("jsonpath_filter is no program of jq"), "{error}");
    });
}

#[test]
fn a_filter_that_does_not_end_is_ended() {
    on_each_driver(|| async {
        let service = Service::answering(200, "application/json", b"{}");
        let spec = json!({"url": service.url("/"), "jsonpath_filter": "def f: f; f"});
        let slow = |limits: &mut RestLimits| limits.filter = filters(Duration::from_millis(100));
        let world = World::with(spec, &[], slow);
        let error = world.error(json!({})).await;
        assert!(error.contains("not done within 100ms"), "{error}");
    });
}

#[test]
fn an_answer_that_the_filter_cannot_read_is_not_handed_on() {
    on_each_driver(|| async {
        let service = Service::answering(200, "text/plain", b"secret");
        let world = World::new(json!({"url": service.url("/"), "jsonpath_filter": ".a"}));
        let error = world.error(json!({})).await;
        assert!(error.contains("no JSON") && !error.contains("secret"), "{error}");
    });
}
