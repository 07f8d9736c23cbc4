//! A request as it is written to an upstream: head and body in one buffer.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use net::{http1::encode, span::Span};
use storage::record::Era;

use crate::mcp::{Capabilities, meta};
use crate::upstream::{Edit, Outgoing, levels::LogWish, meta::rewrite_meta};

/// The lines of a modern request that are always the same.
const MODERN_LINES: &str = "content-type: application/json\r\n\
    accept: application/json, text/event-stream\r\n\
    mcp-protocol-version: 2026-07-28\r\n";

/// The members of `_meta` that every modern request must have, and what stands around them.
macro_rules! meta_members {
    ($before:literal, $behind:literal) => {
        concat!(
            $before,
            "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",",
            "\"io.modelcontextprotocol/clientCapabilities\":{},",
            "\"io.modelcontextprotocol/clientInfo\":{\"name\":\"ringway\",\"version\":\"",
            env!("CARGO_PKG_VERSION"),
            "\"}",
            $behind
        )
    };
}

/// A request on its way.
pub(in crate::upstream) struct Call<'a> {
    id: u64,
    outgoing: &'a Outgoing<'a>,
    /// The leg's own change of the params.
    own: Option<Edit<'a>>,
}

/// What is remembered of a call while its answer comes.
pub(super) struct Heading {
    pub(super) id: u64,
    /// The client's own progress token, where the upstream sees our id in its place.
    pub(super) token: Option<Vec<u8>>,
    /// What the client can be asked.
    pub(super) capabilities: Capabilities,
    /// Whether the request may be executed twice.
    pub(super) is_harmless_twice: bool,
}

/// What stands around a request's params in the head.
pub(in crate::upstream) enum Envelope<'a> {
    /// The headers of the modern era.
    Modern,
    /// The lines of a session.
    Legacy(&'a [u8]),
}

impl<'a> Call<'a> {
    /// A call of the modern era: `_meta` must say who asks and in which revision. A client of that
    /// era has said so itself; for others we say it.
    pub(in crate::upstream) fn modern(id: u64, outgoing: &'a Outgoing<'a>) -> Call<'a> {
        let own = if outgoing.modern { None } else { Some(meta_edit(outgoing)) };
        Call::new(id, outgoing, own)
    }

    /// A call of the legacy era. The session serves many clients whose progress tokens may be
    /// equal, so the upstream sees our id in place of the client's token; and nothing by which it
    /// could take the request for a modern one.
    pub(in crate::upstream) fn legacy(id: u64, outgoing: &'a Outgoing<'a>) -> Call<'a> {
        let own = match outgoing.meta.filter(|_| outgoing.modern) {
            Some(span) => {
                let raw = std::str::from_utf8(span.of_bytes(outgoing.params)).unwrap_or("{}");
                let mut text = Vec::with_capacity(raw.len());
                rewrite_meta(&mut text, raw, outgoing.progress_token.map(|_| id), None);
                Some(Edit { span, replacement: Cow::Owned(text) })
            }
            None => outgoing
                .progress_token
                .map(|span| Edit { span, replacement: Cow::Owned(id.to_string().into_bytes()) }),
        };
        Call::new(id, outgoing, own)
    }

    /// A call of `era` on a connection that many requests share: in either era the upstream sees our
    /// id in place of the client's progress token.
    pub(in crate::upstream) fn multiplexed(
        id: u64,
        outgoing: &'a Outgoing<'a>,
        era: Era,
    ) -> Call<'a> {
        let Some(token) = outgoing.progress_token.filter(|_| era == Era::Modern) else {
            return match era {
                Era::Legacy => Call::legacy(id, outgoing),
                Era::Modern => Call::modern(id, outgoing),
            };
        };
        let own = match outgoing.meta.filter(|_| !outgoing.modern) {
            Some(span) => {
                let raw = std::str::from_utf8(span.of_bytes(outgoing.params)).unwrap_or("{}");
                let members = completed(meta_members!("", ""), outgoing);
                let members = std::str::from_utf8(&members).expect("they are written here");
                let mut text = Vec::with_capacity(raw.len() + members.len());
                rewrite_meta(&mut text, raw, Some(id), Some(members));
                Edit { span, replacement: Cow::Owned(text) }
            }
            None => Edit { span: token, replacement: Cow::Owned(id.to_string().into_bytes()) },
        };
        Call::new(id, outgoing, Some(own))
    }

    fn new(id: u64, outgoing: &'a Outgoing<'a>, own: Option<Edit<'a>>) -> Call<'a> {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-');
        // It is written without an escape, in the head and in the message.
        assert!(outgoing.method.bytes().all(is_plain), "methods are of a closed set");
        Call { id, outgoing, own }
    }

    /// What is remembered of it.
    pub(super) fn heading(&self) -> Heading {
        Heading {
            id: self.id,
            token: self.token(),
            capabilities: self.outgoing.capabilities,
            is_harmless_twice: self.is_harmless_twice(),
        }
    }

    /// Whether something may come for its client beside its answer.
    pub(super) fn is_attended(&self) -> bool {
        let names_level = self.outgoing.log_level.is_some_and(LogWish::is_named);
        self.asked().is_some_and(|asked| names_level || !asked.is_empty())
    }

    /// Whether the client hears of log messages.
    pub(in crate::upstream) fn wants_logs(&self) -> bool {
        self.outgoing.log_level.is_some()
    }

    /// See [`Outgoing::asked`].
    pub(in crate::upstream) fn asked(&self) -> Option<Capabilities> {
        self.outgoing.asked()
    }

    pub(in crate::upstream) fn id(&self) -> u64 {
        self.id
    }

    /// The client's own progress token, raw, if the upstream sees another one in its place.
    pub(in crate::upstream) fn token(&self) -> Option<Vec<u8>> {
        let span = self.outgoing.progress_token?;
        let covers = |own: &Edit<'_>| own.span.start <= span.start && span.end <= own.span.end;
        let is_replaced = self.own.as_ref().is_some_and(covers);
        is_replaced.then(|| span.of_bytes(self.outgoing.params).to_vec())
    }

    /// Whether the request may be executed twice. All that read are; calling a tool is not.
    pub(in crate::upstream) fn is_harmless_twice(&self) -> bool {
        matches!(
            self.outgoing.method,
            "server/discover"
                | "ping"
                | "tools/list"
                | "resources/list"
                | "resources/templates/list"
                | "resources/read"
                | "prompts/list"
                | "prompts/get"
                | "completion/complete"
        )
    }

    /// Appends the POST request for the target `path`.
    pub(super) fn write_request(
        &self,
        out: &mut Vec<u8>,
        path: &str,
        lines: &[u8],
        envelope: &Envelope<'_>,
    ) {
        encode::begin_request(out, "POST", path);
        out.extend_from_slice(lines);
        match envelope {
            Envelope::Modern => self.write_modern_lines(out),
            Envelope::Legacy(lines) => out.extend_from_slice(lines),
        }
        encode::content_length(out, self.body_size());
        encode::end(out);
        self.write_body(out);
    }

    fn write_modern_lines(&self, out: &mut Vec<u8>) {
        encode::lines(out, MODERN_LINES);
        encode::header(out, "mcp-method", self.outgoing.method.as_bytes());
        if let Some(name) = self.outgoing.name {
            encode::header(out, "mcp-name", encode_value(name).as_bytes());
        }
        for (name, value) in &self.outgoing.param_headers {
            out.extend_from_slice(b"mcp-param-");
            encode::header(out, name, value.as_bytes());
        }
    }

    /// Appends the JSON-RPC message.
    pub(in crate::upstream) fn write_body(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        encode::decimal(out, self.id);
        out.extend_from_slice(b",\"method\":\"");
        out.extend_from_slice(self.outgoing.method.as_bytes());
        out.extend_from_slice(b"\",\"params\":");
        let params = self.outgoing.params;
        let mut from = 0;
        for edit in self.edits() {
            out.extend_from_slice(&params[from..edit.span.start as usize]);
            out.extend_from_slice(&edit.replacement);
            from = edit.span.end as usize;
        }
        out.extend_from_slice(&params[from..]);
        out.push(b'}');
        debug_assert_eq!(out.len() - start, self.body_size(), "the head tells the size before");
    }

    /// The size of what [`Call::write_body`] appends.
    pub(in crate::upstream) fn body_size(&self) -> usize {
        const FRAME: usize = "{\"jsonrpc\":\"2.0\",\"id\":,\"method\":\"\",\"params\":}".len();
        let digit_count = self.id.checked_ilog10().unwrap_or(0) as usize + 1;
        let frame = FRAME + digit_count + self.outgoing.method.len();
        let params = self.outgoing.params.len();
        let (added, removed) = self.edits().fold((0, 0), |(added, removed), edit| {
            (added + edit.replacement.len(), removed + edit.span.len())
        });
        frame + params + added - removed
    }

    /// All edits in their order.
    fn edits(&self) -> impl Iterator<Item = &Edit<'a>> {
        let edits = &self.outgoing.edits;
        let at = match &self.own {
            Some(own) => edits.partition_point(|edit| edit.span.start < own.span.start),
            None => 0,
        };
        edits[..at].iter().chain(&self.own).chain(&edits[at..])
    }
}

/// What is put into params so that a legacy client's request is a modern one.
fn meta_edit<'a>(outgoing: &Outgoing<'_>) -> Edit<'a> {
    let object = outgoing.meta.unwrap_or(Span::new(0, outgoing.params.len()));
    let raw = object.of_bytes(outgoing.params);
    if outgoing.meta.is_some() && !raw.starts_with(b"{") {
        let replacement = completed(meta_members!("{", "}"), outgoing);
        return Edit { span: object, replacement };
    }
    let brace = raw.iter().position(|byte| *byte == b'{');
    let at = object.start as usize + brace.map_or(0, |brace| brace + 1);
    let is_empty = outgoing.params[at..].trim_ascii_start().starts_with(b"}");
    let text = match (outgoing.meta.is_some(), is_empty) {
        (true, true) => meta_members!("", ""),
        (true, false) => meta_members!("", ","),
        (false, true) => meta_members!("\"_meta\":{", "}"),
        (false, false) => meta_members!("\"_meta\":{", "},"),
    };
    Edit { span: Span::new(at, at), replacement: completed(text, outgoing) }
}

/// The members with what the client can be asked, and the log messages that it wants.
fn completed(text: &'static str, outgoing: &Outgoing<'_>) -> Cow<'static, [u8]> {
    if outgoing.capabilities.is_empty() && outgoing.log_level.is_none() {
        return text.as_bytes().into();
    }
    let mut declared = format!("Capabilities\":{},", outgoing.capabilities.to_json());
    if let Some(level) = outgoing.log_level.map(LogWish::level) {
        declared.push_str(&format!("\"{}\":\"{level}\",", meta::LOG_LEVEL));
    }
    text.replacen("Capabilities\":{},", &declared, 1).into_bytes().into()
}

/// Encodes a value of `Mcp-Name` or `Mcp-Param-*`: as it is where it is plain printable ASCII, else
/// within the base64 sentinel.
fn encode_value(value: &str) -> Cow<'_, str> {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && value.trim().len() == value.len()
        && !(value.starts_with("=?") && value.ends_with("?="))
        && !value.is_empty();
    if is_plain {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(format!("=?base64?{}?=", STANDARD.encode(value)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outgoing<'a>(params: &'a str, meta: Option<&str>, modern: bool) -> Outgoing<'a> {
        let meta = meta.map(|meta| {
            let start = params.find(meta).expect("meta is part of params");
            Span::new(start, start + meta.len())
        });
        Outgoing {
            method: "tools/call",
            params: params.as_bytes(),
            edits: Vec::new(),
            meta,
            progress_token: None,
            name: Some("echo"),
            param_headers: Vec::new(),
            modern,
            within: Duration::from_secs(1),
            capabilities: crate::mcp::Capabilities::NONE,
            log_level: None,
            client: None,
        }
    }

    #[test]
    fn a_request_made_modern_names_the_level_of_log_messages_that_its_session_wants() {
        for (params, meta) in
            [(r#"{"name":"x"}"#, None), (r#"{"_meta":{"a":1}}"#, Some(r#"{"a":1}"#))]
        {
            let outgoing =
                Outgoing { log_level: Some(LogWish::named(3)), ..outgoing(params, meta, false) };
            let value: serde_json::Value =
                serde_json::from_str(&body(&Call::modern(1, &outgoing))).expect("JSON");
            assert_eq!(value["params"]["_meta"][meta::LOG_LEVEL], "warning", "{value}");
            assert_eq!(value["params"]["_meta"][meta::CLIENT_CAPABILITIES], serde_json::json!({}));
        }
    }

    fn body(call: &Call<'_>) -> String {
        let mut out = Vec::new();
        call.write_body(&mut out);
        assert_eq!(out.len(), call.body_size());
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn leaves_the_params_of_a_modern_client_untouched() {
        let outgoing = outgoing(r#"{"name": "x" , "_meta":{"a":1}}"#, Some(r#"{"a":1}"#), true);
        let expected = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name": "x" , "_meta":{"a":1}}}"#;
        assert_eq!(body(&Call::modern(7, &outgoing)), expected);
    }

    #[test]
    fn makes_a_legacy_request_modern_whatever_meta_it_had() {
        let key = "io.modelcontextprotocol/protocolVersion";
        for (params, meta) in [
            ("{}", None),
            (" { } ", None),
            (r#"{"name":"x"}"#, None),
            (r#"{"name":"x","_meta":{}}"#, Some("{}")),
            (r#"{"_meta":{ "a":1},"name":"x"}"#, Some(r#"{ "a":1}"#)),
            (r#"{"_meta":null}"#, Some("null")),
        ] {
            let outgoing = outgoing(params, meta, false);
            let text = body(&Call::modern(1, &outgoing));
            let value: serde_json::Value = serde_json::from_str(&text).expect(&text);
            assert_eq!(value["params"]["_meta"][key], "2026-07-28", "{text}");
            assert_eq!(text.matches("_meta").count(), 1, "{text}");
        }
    }

    #[test]
    fn makes_its_own_edit_between_those_of_the_caller() {
        let params = r#"{"name":"p-x","_meta":{"progressToken":"t"},"z":1}"#;
        let mut outgoing = outgoing(params, Some(r#"{"progressToken":"t"}"#), false);
        let place = |text: &str| {
            let start = params.find(text).expect("there");
            Span::new(start, start + text.len())
        };
        outgoing.progress_token = Some(place("\"t\""));
        outgoing.edits = vec![
            Edit { span: place("\"p-x\""), replacement: b"\"x\""[..].into() },
            Edit { span: place("1}"), replacement: b"2}"[..].into() },
        ];
        let call = Call::legacy(42, &outgoing);
        assert!(body(&call).ends_with(r#"{"name":"x","_meta":{"progressToken":42},"z":2}}"#));
        assert_eq!(call.token().as_deref(), Some(&b"\"t\""[..]));
    }

    #[test]
    fn a_token_on_a_shared_connection_is_our_own_in_either_era() {
        for modern in [false, true] {
            for era in [Era::Legacy, Era::Modern] {
                let version = "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"";
                let said = if modern { format!(",{version}") } else { String::new() };
                let meta = format!("{{\"a\":1,\"progressToken\":\"t\"{said}}}");
                let params = format!("{{\"name\":\"x\",\"_meta\":{meta}}}");
                let token = params.find("\"t\"").expect("it is there");
                let mut outgoing = outgoing(&params, Some(&meta), modern);
                outgoing.progress_token = Some(Span::new(token, token + 3));
                let call = Call::multiplexed(42, &outgoing, era);
                let text = body(&call);
                let value: serde_json::Value = serde_json::from_str(&text).expect(&text);
                assert_eq!(value["params"]["_meta"]["progressToken"], 42, "{text}");
                assert_eq!(value["params"]["_meta"]["a"], 1, "{text}");
                assert_eq!(text.contains(version), era == Era::Modern, "{text}");
                assert_eq!(call.token().as_deref(), Some(&b"\"t\""[..]), "{text}");
            }
        }
    }

    #[test]
    fn hides_names_that_a_header_cannot_carry() {
        for plain in ["echo", "a b", "test://x/{id}", "=?", "?="] {
            assert_eq!(encode_value(plain), plain);
        }
        assert_eq!(encode_value("grüße"), "=?base64?Z3LDvMOfZQ==?=");
        assert_eq!(encode_value(" x"), "=?base64?IHg=?=");
        assert_eq!(encode_value("=?base64?eA==?="), "=?base64?PT9iYXNlNjQ/ZUE9PT89?=");
    }
}
