//! A request on its way to the owner of the child, and the line that it becomes there.
//!
//! Ids and progress tokens of different clients collide, so the owner gives each request a number
//! of its own, which is both.

use net::{Span, jsonrpc};
use storage::record::Era;

use crate::{
    mcp::{Capabilities, MODERN, meta},
    upstream::{
        Edit, Outgoing,
        levels::LogWish,
        meta::{CLIENT_INFO, rewrite_meta},
        splice,
    },
};

/// A request with its edits made, but still with the client's `_meta`.
#[derive(Debug)]
pub(super) struct Letter {
    method: String,
    params: Vec<u8>,
    meta: Option<Span>,
    token: Option<Span>,
    modern: bool,
    /// What the client can be asked.
    capabilities: Capabilities,
    /// Which log messages it wants.
    pub(super) log_level: Option<LogWish>,
}

impl Letter {
    pub(super) fn new(outgoing: &Outgoing<'_>) -> Letter {
        let mut params = Vec::with_capacity(outgoing.params.len() + 64);
        outgoing.write_params(&mut params);
        let moved = |span: Span| {
            let at = |offset| moved(offset, &outgoing.edits);
            Span::new(at(span.start), at(span.end))
        };
        Letter {
            method: outgoing.method.to_owned(),
            params,
            meta: outgoing.meta.map(moved),
            token: outgoing.progress_token.map(moved),
            modern: outgoing.modern,
            capabilities: outgoing.capabilities,
            log_level: outgoing.log_level,
        }
    }

    /// The client's raw progress token.
    pub(super) fn token(&self) -> Option<&[u8]> {
        self.token.map(|token| token.of_bytes(&self.params))
    }

    /// Appends the request as one line under the number `id`, with the `_meta` that `era` wants.
    pub(super) fn write(&self, out: &mut Vec<u8>, id: u64, era: Era) {
        write_head(out, Some(id), &self.method);
        let start = out.len();
        splice(out, &self.params, self.meta_edit(id, era).as_slice());
        // Between tokens a line end is a blank; within strings JSON has none.
        for byte in out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
        out.extend_from_slice(b"}\n");
    }

    fn meta_edit(&self, id: u64, era: Era) -> Option<Edit<'static>> {
        if self.modern == (era == Era::Modern) {
            let replacement = id.to_string().into_bytes().into();
            return self.token.map(|span| Edit { span, replacement });
        }
        let raw = self.meta.map(|meta| meta.of_bytes(&self.params)).unwrap_or(b"{}");
        let raw = std::str::from_utf8(raw).expect("a checked message is UTF-8");
        let mut text = Vec::with_capacity(raw.len() + 256);
        let modern = (era == Era::Modern)
            .then(|| modern_members(self.capabilities, self.log_level.map(LogWish::level)));
        rewrite_meta(&mut text, raw, self.token.map(|_| id), modern.as_deref());
        match self.meta {
            Some(span) => Some(Edit { span, replacement: text.into() }),
            None if era == Era::Legacy => None,
            None => {
                let is_empty = self.params[1..].trim_ascii_start().starts_with(b"}");
                let mut member = b"\"_meta\":".to_vec();
                member.append(&mut text);
                member.extend_from_slice(if is_empty { b"" } else { b"," });
                Some(Edit { span: Span::new(1, 1), replacement: member.into() })
            }
        }
    }
}

/// Where an offset lies once the edits before it were made.
fn moved(offset: u32, edits: &[Edit<'_>]) -> usize {
    let before = edits.iter().take_while(|edit| edit.span.end <= offset);
    before.fold(offset as usize, |at, edit| at + edit.replacement.len() - edit.span.len())
}

/// Appends a line's beginning up to its params.
fn write_head(out: &mut Vec<u8>, id: Option<u64>, method: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
    if let Some(id) = id {
        out.extend_from_slice(format!("\"id\":{id},").as_bytes());
    }
    out.extend_from_slice(b"\"method\":");
    jsonrpc::write_string(out, method);
    out.extend_from_slice(b",\"params\":");
}

/// Appends a request or notification of our own as one line; `params` is a raw object on one line.
pub(super) fn write_own(out: &mut Vec<u8>, id: Option<u64>, method: &str, params: &str) {
    write_head(out, id, method);
    out.extend_from_slice(params.as_bytes());
    out.extend_from_slice(b"}\n");
}

/// The members that make a request modern.
fn modern_members(declared: Capabilities, log_level: Option<&str>) -> String {
    let (version, capabilities) = (meta::PROTOCOL_VERSION, meta::CLIENT_CAPABILITIES);
    let mut members = format!(
        "\"{version}\":\"{MODERN}\",\"{CLIENT_INFO}\":{},\"{capabilities}\":{}",
        client_info(),
        declared.to_json()
    );
    if let Some(level) = log_level {
        members.push_str(&format!(",\"{}\":\"{level}\"", meta::LOG_LEVEL));
    }
    members
}

/// What we say that we are.
pub(super) fn client_info() -> String {
    format!("{{\"name\":\"ringway\",\"version\":\"{}\"}}", env!("CARGO_PKG_VERSION"))
}

/// The params of a modern request of our own.
pub(super) fn modern_params() -> String {
    format!("{{\"_meta\":{{{}}}}}", modern_members(Capabilities::NONE, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn outgoing<'a>(params: &'a str, modern: bool, edits: Vec<Edit<'a>>) -> Outgoing<'a> {
        let at = |part: &str| Some(params.find(part)? + part.len());
        let meta = at("\"_meta\":").map(|start| {
            let end = start + params[start..].find('}').unwrap() + 1;
            Span::new(start, end)
        });
        let token = at("\"progressToken\":").map(|start| {
            let end = start + params[start..].find([',', '}']).unwrap();
            Span::new(start, end)
        });
        Outgoing {
            method: "tools/call",
            params: params.as_bytes(),
            edits,
            meta,
            progress_token: token,
            name: None,
            param_headers: Vec::new(),
            modern,
            within: Duration::from_secs(1),
            capabilities: crate::mcp::Capabilities::NONE,
            log_level: None,
            client: None,
        }
    }

    fn line(outgoing: &Outgoing<'_>, era: Era) -> String {
        let mut out = Vec::new();
        Letter::new(outgoing).write(&mut out, 7, era);
        String::from_utf8(out).unwrap()
    }

    fn params(outgoing: &Outgoing<'_>, era: Era) -> String {
        let line = line(outgoing, era);
        let start = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":";
        line.strip_prefix(start).and_then(|rest| rest.strip_suffix("}\n")).unwrap().to_owned()
    }

    #[test]
    fn relays_params_untouched_but_for_the_token() {
        let raw =
            r#"{ "name" : "a", "arguments":{"x":1.0}, "_meta":{"progressToken":"t1","k":2} }"#;
        let got = params(&outgoing(raw, false, Vec::new()), Era::Legacy);
        assert_eq!(got, raw.replace("\"t1\"", "7"));
        assert_eq!(Letter::new(&outgoing(raw, false, Vec::new())).token(), Some(&b"\"t1\""[..]));
        assert_eq!(params(&outgoing("{}", false, Vec::new()), Era::Legacy), "{}");
    }

    #[test]
    fn finds_the_token_behind_edits_that_move_it() {
        let raw = r#"{"name":"prefix-a","_meta":{"progressToken":1},"z":"zz"}"#;
        for replacement in ["\"a\"", "\"a much longer name than before\""] {
            let name = Span::new(8, 18);
            let last = Span::new(raw.len() - 5, raw.len() - 1);
            let edits = vec![
                Edit { span: name, replacement: replacement.as_bytes().into() },
                Edit { span: last, replacement: b"1".as_slice().into() },
            ];
            let got = params(&outgoing(raw, false, edits), Era::Legacy);
            let wanted =
                format!("{{\"name\":{replacement},\"_meta\":{{\"progressToken\":7}},\"z\":1}}");
            assert_eq!(got, wanted);
        }
    }

    #[test]
    fn adds_what_a_modern_upstream_wants_of_a_legacy_client() {
        let members = modern_members(Capabilities::NONE, None);
        let got = |raw| params(&outgoing(raw, false, Vec::new()), Era::Modern);
        assert_eq!(got("{}"), format!("{{\"_meta\":{{{members}}}}}"));
        assert_eq!(got("{ }"), format!("{{\"_meta\":{{{members}}} }}"));
        assert_eq!(got(r#"{"a":1}"#), format!("{{\"_meta\":{{{members}}},\"a\":1}}"));
        let with_meta = got(r#"{"a":1,"_meta":{"progressToken":"x","traceparent":"t"}}"#);
        let wanted = "\"progressToken\":7,\"traceparent\":\"t\",";
        assert_eq!(with_meta, format!("{{\"a\":1,\"_meta\":{{{wanted}{members}}}}}"));
    }

    #[test]
    fn takes_away_what_would_make_a_request_modern_for_a_legacy_upstream() {
        let raw = r#"{"a":1,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","k":[1],"progressToken":3,"io.modelcontextprotocol/logLevel":"debug"}}"#;
        let got = params(&outgoing(raw, true, Vec::new()), Era::Legacy);
        assert_eq!(got, r#"{"a":1,"_meta":{"k":[1],"progressToken":7}}"#);
        let raw = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
        assert_eq!(params(&outgoing(raw, true, Vec::new()), Era::Legacy), r#"{"_meta":{}}"#);
        assert_eq!(params(&outgoing(raw, true, Vec::new()), Era::Modern), raw);
    }

    #[test]
    fn a_message_is_one_line_whatever_the_client_put_between_tokens() {
        let raw = "{\r\n  \"a\": \"x\\ny\",\n  \"b\": [\n1\n]\n}";
        let got = line(&outgoing(raw, false, Vec::new()), Era::Legacy);
        assert_eq!(got.matches('\n').count(), 1);
        assert!(got.ends_with("{    \"a\": \"x\\ny\",   \"b\": [ 1 ] }}\n"), "{got}");
    }
}
