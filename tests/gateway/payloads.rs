//! Arbitrary payloads through every pair of eras: what is not the gateway's own arrives byte for byte.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::faulty::{Faulty, members};
use crate::harness::gateway::Gateway;
use crate::harness::mcp::{LEGACY, MODERN};
use crate::harness::wire::{Answer, request};

/// How many payloads go through each pair.
const CASE_COUNT: u32 = 200;

/// Numbers that a program is tempted to write otherwise than they came.
const NUMBERS: [&str; 14] = [
    "0",
    "-0",
    "1.0",
    "-0.0",
    "1e400",
    "-1E-400",
    "1.50e+2",
    "0.1000",
    "9007199254740993",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "12345678901234567890123",
    "1e-7",
];

/// Parts of strings that a program is tempted to write otherwise than they came.
const PARTS: [&str; 16] = [
    "a",
    " ",
    r"\/",
    r"\\",
    "\\\"",
    r"\n",
    r"\u0000",
    r"\u00e9",
    r"\u00E9",
    "é",
    "😀",
    r"\ud83d\ude00",
    r"\ud800",
    r"\udc00\ud800",
    "\u{2028}",
    "\u{202e}",
];

/// A JSON string as it is written.
fn string() -> impl Strategy<Value = String> {
    let parts = prop::collection::vec(prop::sample::select(&PARTS[..]), 0..6);
    let any = any::<String>().prop_map(|text| serde_json::Value::from(text).to_string());
    prop_oneof![3 => parts.prop_map(|parts| format!("\"{}\"", parts.concat())), 1 => any]
}

/// A JSON value as it is written, with the spaces that may stand in it.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "false", "{}", "[ ]"]).prop_map(str::to_owned),
        prop::sample::select(&NUMBERS[..]).prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        string(),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4);
        let list = list.prop_map(|items| format!("[{}]", items.join(" ,\n")));
        prop_oneof![list, object_of(inner)]
    })
}

/// An object of such values, as it is written; no key is there twice.
fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((string(), value), 0..4).prop_map(|pairs| {
        let pairs = pairs.iter().enumerate();
        let pairs = pairs.map(|(n, (key, value))| format!("\"{n}{} :\t{value}", &key[1..]));
        format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
    })
}

/// A block of content of each kind there is, with a field that nobody knows.
fn content() -> impl Strategy<Value = String> {
    let shapes = vec![
        r#"{"type":"text","text":TEXT,"x":ANY}"#,
        r#"{"type":"text","text":TEXT,"annotations":{"audience":["user"],"priority":1.0},"_meta":{"x":ANY}}"#,
        r#"{"type":"image","data":"AAAA","mimeType":"image/png","_meta":{"x":ANY}}"#,
        r#"{"type":"audio","data":"AAAA","mimeType":"audio/wav","x":ANY}"#,
        r#"{"type":"resource_link","uri":"odd:///%7Ea b","name":TEXT,"size":1,"_meta":{"x":ANY}}"#,
        r#"{"type":"resource","resource":{"uri":"odd:///t","text":TEXT,"x":ANY},"annotations":{}}"#,
        r#"{"type":"resource","resource":{"uri":"odd:///b","blob":"AAAA","mimeType":"a/b","x":ANY}}"#,
    ];
    (prop::sample::select(shapes), string(), value())
        .prop_map(|(shape, text, any)| shape.replace("TEXT", &text).replace("ANY", &any))
}

/// What a client sends and what the upstream answers, each value as it is written.
#[derive(Debug, Clone)]
struct Payload {
    arguments: String,
    meta: String,
    unknown: String,
    content: Vec<String>,
    structured: String,
    result_meta: String,
    result_unknown: String,
    is_error: bool,
}

fn payload() -> impl Strategy<Value = Payload> {
    let asked = (object_of(value()), value(), value());
    let answered = (
        prop::collection::vec(content(), 0..4),
        object_of(value()),
        value(),
        value(),
        any::<bool>(),
    );
    (asked, answered).prop_map(|((arguments, meta, unknown), answered)| {
        let (content, structured, result_meta, result_unknown, is_error) = answered;
        Payload {
            arguments,
            meta,
            unknown,
            content,
            structured,
            result_meta,
            result_unknown,
            is_error,
        }
    })
}

impl Payload {
    /// The params of the call, without what the modern revision demands.
    fn params(&self, tool: &str, reserved: &str) -> String {
        let Payload { arguments, meta, unknown, .. } = self;
        format!(
            r#"{{"schlüssel": {unknown}, "arguments":{arguments} ,"name":"{tool}","_meta":{{{reserved}"vendor.example/ключ":{meta}}}}}"#
        )
    }

    /// The result, with `more` members.
    fn result(&self, more: &str) -> String {
        let Payload { structured, result_meta, result_unknown, is_error, .. } = self;
        let content = self.content.join(", ");
        format!(
            r#"{{ {more}"content":[{content}],"structuredContent" : {structured},"_meta":{{"vendor.example/ключ":{result_meta}}},"isError":{is_error},"schlüssel":{result_unknown} }}"#
        )
    }
}

/// One client's way to the gateway.
struct Caller<'a> {
    gateway: &'a Gateway,
    bearer: String,
    session: Option<String>,
}

impl<'a> Caller<'a> {
    fn modern(gateway: &'a Gateway) -> Caller<'a> {
        Caller { gateway, bearer: format!("Bearer {}", gateway.token()), session: None }
    }

    fn legacy(gateway: &'a Gateway) -> Caller<'a> {
        let mut caller = Caller { session: Some(String::new()), ..Caller::modern(gateway) };
        let params = format!(
            r#"{{"protocolVersion":"{LEGACY}","capabilities":{{}},"clientInfo":{{"name":"x","version":"1"}}}}"#
        );
        let answer = caller.post("initialize", "", &params).expect(200);
        caller.session = answer.header("mcp-session-id").map(str::to_owned);
        caller
    }

    fn post(&self, method: &str, name: &str, params: &str) -> Answer {
        let mut headers = vec![
            ("Authorization", self.bearer.as_str()),
            ("Accept", "application/json, text/event-stream"),
            ("Content-Type", "application/json"),
            ("Connection", "close"),
        ];
        match &self.session {
            Some(session) if session.is_empty() => {}
            Some(session) => {
                headers.extend([("Mcp-Session-Id", &**session), ("MCP-Protocol-Version", LEGACY)]);
            }
            None => {
                headers.extend([
                    ("MCP-Protocol-Version", MODERN),
                    ("Mcp-Method", method),
                    ("Mcp-Name", name),
                ]);
            }
        }
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":"ünique","method":"{method}","params":{params}}}"#);
        self.gateway.wire().send(request("POST", "/mcp", &headers, body.as_bytes())).answer()
    }
}

/// Sends a payload from a client to an upstream, and compares both ways.
fn compare(
    caller: &Caller<'_>,
    upstream: &Faulty,
    prefix: &str,
    payload: &Payload,
) -> Result<(), TestCaseError> {
    let is_modern = prefix == "new";
    let reserved = match caller.session {
        Some(_) => String::new(),
        None => format!(
            r#""io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}},"#
        ),
    };
    let result = payload.result(if is_modern { r#""resultType":"complete","# } else { "" });
    upstream.mirror(&result);
    let tool = format!("{prefix}-mirror");
    let params = payload.params(&tool, &reserved);
    let answer = caller.post("tools/call", &tool, &params);
    prop_assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = upstream.seen().pop();
    let seen = seen.ok_or_else(|| TestCaseError::fail("nothing arrived"))?;
    let arrived = members(&members(&seen.text)["params"]);
    prop_assert_eq!(&arrived["name"], "\"mirror\"");
    assert_kept(&members(&params), &arrived, &["name"], &[])?;
    let meta = members(&arrived["_meta"]);
    let says_modern = meta.contains_key("io.modelcontextprotocol/protocolVersion");
    prop_assert!(says_modern || !is_modern, "{:?}", meta);
    let envelope = members(&answer.text());
    prop_assert_eq!(&envelope["id"], "\"ünique\"");
    let came = envelope.get("result").cloned().unwrap_or_else(|| answer.text());
    // What only the modern revision has comes and goes; see how eras are translated.
    let own = ["resultType", "ttlMs", "cacheScope"];
    assert_kept(&members(&result), &members(&came), &own, &own)?;
    prop_assert_eq!(members(&came).contains_key("resultType"), caller.session.is_none());
    Ok(())
}

/// Checks that every member arrived with its bytes, those of `_meta` too, and no other but `added`.
fn assert_kept(
    sent: &BTreeMap<String, String>,
    arrived: &BTreeMap<String, String>,
    changed: &[&str],
    added: &[&str],
) -> Result<(), TestCaseError> {
    for (key, value) in sent.iter().filter(|(key, _)| !changed.contains(&key.as_str())) {
        if key == "_meta" {
            let (sent, arrived) = (members(value), members(&arrived["_meta"]));
            for (key, value) in sent.iter().filter(|(key, _)| !is_reserved(key)) {
                prop_assert_eq!(arrived.get(key), Some(value), "_meta.{}", key);
            }
            let strange = arrived.keys().find(|key| !sent.contains_key(*key) && !is_reserved(key));
            prop_assert_eq!(strange, None);
        } else {
            prop_assert_eq!(arrived.get(key), Some(value), "{}", key);
        }
    }
    let strange =
        arrived.keys().find(|key| !sent.contains_key(*key) && !added.contains(&key.as_str()));
    prop_assert_eq!(strange, None);
    Ok(())
}

/// Whether a key of `_meta` is the protocol's, which differs from era to era.
fn is_reserved(key: &str) -> bool {
    key.starts_with("io.modelcontextprotocol/")
}

#[test]
fn arbitrary_payloads_arrive_unchanged_through_every_pair_of_eras() {
    let gateway = Gateway::start();
    let (old, new) = (Faulty::legacy(), Faulty::modern());
    for (upstream, name) in [(&old, "old"), (&new, "new")] {
        upstream.mirror("{}");
        gateway.add(&upstream.registration(name));
    }
    let callers = [Caller::legacy(&gateway), Caller::modern(&gateway)];
    let config = Config {
        cases: CASE_COUNT,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let ran = TestRunner::new(config).run(&payload(), |payload| {
        for caller in &callers {
            compare(caller, &old, "old", &payload)?;
            compare(caller, &new, "new", &payload)?;
        }
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
}
