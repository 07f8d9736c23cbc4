//! The same questions on every pair of stores: every answer is equal.

use serde_json::{Value, json};

use crate::harness::faulty::Faulty;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::postgres::{Instance, Version};
use crate::harness::redis::Server as Redis;

/// Every pair of a durable store and a shared one, by name; `of` keeps the data of tests apart.
pub fn setups(redis: &Redis, of: &str) -> Vec<(String, Setup)> {
    let databases = [("SQLite", None), ("PostgreSQL 15", Some(Version::V15))]
        .into_iter()
        .chain([("PostgreSQL 18", Some(Version::V18))]);
    let mut setups = Vec::new();
    for (database, version) in databases {
        for shared in ["memory", "redis"] {
            let mut setup = Gateway::setup().set("CACHE_TYPE", shared);
            if shared == "redis" {
                let prefix = format!("{}:", database.replace(' ', ""));
                setup = setup.set("REDIS_URL", redis.url()).set("CACHE_PREFIX", prefix);
            }
            if let Some(version) = version {
                let server = Instance::shared(version);
                let name = format!("{of}_{shared}");
                server.ask("postgres", &format!("CREATE DATABASE {name}"));
                setup = setup.set("DATABASE_URL", server.url(&name));
            }
            setups.push((format!("{database} with {shared}"), setup));
        }
    }
    setups
}

/// What was asked and answered so far.
struct Transcript<'a> {
    gateway: &'a Gateway,
    lines: Vec<String>,
    ids: Vec<String>,
}

impl Transcript<'_> {
    /// Asks, notes the status and the body, and gives the body back.
    fn ask(&mut self, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.gateway.ask(method, path, body.as_ref());
        let body = if answer.body.is_empty() { Value::Null } else { answer.json() };
        let mut noted = body.clone();
        if let Some(duration) = noted.get_mut("durationMs") {
            *duration = Value::from("<duration>");
        }
        let (path, text) = (self.plain(path), self.plain(&noted.to_string()));
        self.lines.push(format!("{method} {path}: {} {text}", answer.status));
        body
    }

    /// Puts a number in the place of each id and a word in that of each time.
    fn plain(&mut self, text: &str) -> String {
        let is_id = |word: &str| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
        let is_time = |word: &str| word.len() == 27 && word.ends_with('Z') && word.contains('T');
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '_');
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(is_part) {
            let end = rest[start..].find(|c| !is_part(c)).map_or(rest.len(), |size| start + size);
            let word = &rest[start..end];
            out.push_str(&rest[..start]);
            if is_id(word) {
                let place = self.ids.iter().position(|id| id == word).unwrap_or_else(|| {
                    self.ids.push(word.to_owned());
                    self.ids.len() - 1
                });
                out.push_str(&format!("<id {place}>"));
            } else {
                out.push_str(if is_time(word) { "<time>" } else { word });
            }
            rest = &rest[end..];
        }
        out + rest
    }
}

/// Asks for everything that reads or writes the stores, good and bad.
fn transcript(gateway: &Gateway, upstream: &Faulty) -> Vec<String> {
    let mut asked = Transcript { gateway, lines: Vec::new(), ids: Vec::new() };
    let added = asked.ask("POST", "/gateways", Some(upstream.registration("up")));
    let gateway_path = format!("/gateways/{}", added["id"].as_str().expect("an id"));
    asked.ask("POST", "/gateways", Some(upstream.registration("up")));
    asked.ask("POST", "/gateways", Some(json!({ "name": "", "url": "nonsense" })));
    asked.ask("GET", &gateway_path, None);
    asked.ask("PUT", &gateway_path, Some(json!({ "description": "é ✓ \u{10ffff} \"'\\" })));
    let rpc = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    asked.ask("POST", "/rpc", Some(rpc("tools/list", json!({}))));
    let call = json!({ "name": "up-echo", "arguments": { "message": "hello" } });
    asked.ask("POST", "/rpc", Some(rpc("tools/call", call)));
    let server = json!({ "server": { "name": "one", "associated_gateways": [added["id"]], "tags": ["beta", "alpha"] } });
    let made = asked.ask("POST", "/servers", Some(server.clone()));
    let server_path = format!("/servers/{}", made["id"].as_str().expect("an id"));
    asked.ask("POST", "/servers", Some(server));
    let unknown = "0".repeat(32);
    let stray = json!({ "server": { "name": "stray", "associated_tools": [unknown] } });
    asked.ask("POST", "/servers", Some(stray));
    asked.ask("GET", &format!("{server_path}/tools"), None);
    asked.ask("PUT", &server_path, Some(json!({ "name": "two", "tags": [] })));
    for number in 0..5 {
        asked.ask("POST", "/servers", Some(json!({ "server": { "name": format!("s{number}") } })));
    }
    let count = asked.ask("GET", "/servers?limit=0", None).as_array().map(Vec::len);
    assert_eq!(count, Some(6));
    asked.ask("POST", &format!("{gateway_path}/state?activate=false"), None);
    asked.ask("POST", "/rpc", Some(rpc("tools/list", json!({}))));
    asked.ask("POST", &format!("{gateway_path}/state?activate=true"), None);
    asked.ask("POST", &format!("{gateway_path}/tools/refresh"), None);
    asked.ask("DELETE", &gateway_path, None);
    asked.ask("GET", &gateway_path, None);
    asked.ask("DELETE", &gateway_path, None);
    asked.ask("GET", &server_path, None);
    asked.ask("DELETE", &server_path, None);
    asked.ask("GET", "/tools", None);
    asked.lines
}

#[test]
fn every_answer_is_equal_on_every_pair_of_stores() {
    let redis = Redis::start();
    let upstream = Faulty::legacy();
    let mut first: Option<(String, Vec<String>)> = None;
    for (name, setup) in setups(&redis, "equal") {
        let gateway = setup.start();
        let lines = transcript(&gateway, &upstream);
        match &first {
            None => first = Some((name, lines)),
            Some((first_name, expected)) => {
                for (line, expected) in lines.iter().zip(expected) {
                    assert_eq!(line, expected, "{name} and {first_name}");
                }
                assert_eq!(lines.len(), expected.len());
            }
        }
    }
}
