//! A message of the local end, with what its head must say.

use std::{cell::RefCell, collections::HashMap};

use net::{
    http1::encode,
    jsonrpc::{Message, MessageKind, Param},
};
use serde_json::Value;

use crate::{
    bridge::message,
    catalog::param_headers::{self, ParamHeader, encode_header_value},
};

/// Most tools whose annotations are kept.
const TOOL_COUNT_MAX: usize = 10_000;

/// A message on its way.
pub(super) struct Letter {
    /// The message as it came.
    pub(super) body: Vec<u8>,
    /// The raw id of a request.
    pub(super) id: String,
    /// The method; empty for an answer.
    pub(super) method: String,
    /// The tool that is called.
    pub(super) tool: Option<String>,
    /// It belongs to the stateless era: `lines` are all that its head needs, and no session goes
    /// with it.
    pub(super) is_modern: bool,
    /// Lines of its head.
    pub(super) lines: Vec<u8>,
}

impl Letter {
    pub(super) fn new(message: &Message<'_>, annotations: &Annotations) -> Letter {
        let mut letter = Letter {
            body: message.text().as_bytes().to_vec(),
            id: message.id().unwrap_or_default().to_owned(),
            method: message.method().to_owned(),
            tool: None,
            is_modern: false,
            lines: Vec::new(),
        };
        if let Some(revision) = message::revision(message)
            && message.kind() != MessageKind::Response
        {
            let name = message::name(message);
            letter.is_modern = true;
            encode::header(&mut letter.lines, "mcp-protocol-version", revision.as_bytes());
            encode::header(&mut letter.lines, "mcp-method", letter.method.as_bytes());
            if let Some(name) = &name {
                let value = encode_header_value(name);
                encode::header(&mut letter.lines, "mcp-name", value.as_bytes());
            }
            if letter.method == "tools/call" {
                letter.tool = name.map(|name| name.into_owned());
                letter.add_param_headers(message.param(Param::Arguments), annotations);
            }
        }
        letter
    }

    /// It asks for a stream that has no end of its own.
    pub(super) fn is_endless(&self) -> bool {
        self.method == "subscriptions/listen"
    }

    fn add_param_headers(&mut self, arguments: Option<&str>, annotations: &Annotations) {
        let tools = annotations.tools.borrow();
        let Some(tool) = self.tool.as_ref().and_then(|name| tools.get(name)) else { return };
        for (suffix, value) in param_headers::encode_all(tool, arguments) {
            encode::header(&mut self.lines, &format!("mcp-param-{suffix}"), value.as_bytes());
        }
    }
}

/// Which arguments of which tools headers repeat, as far as lists of tools came by.
#[derive(Default)]
pub(super) struct Annotations {
    tools: RefCell<HashMap<String, Vec<ParamHeader>>>,
}

impl Annotations {
    /// Learns from the answer to `tools/list`; returns the cursor of the next page.
    pub(super) fn learn(&self, answer: &[u8]) -> Option<String> {
        let mut answer: Value = serde_json::from_slice(answer).ok()?;
        let mut known = self.tools.borrow_mut();
        for tool in answer["result"]["tools"].as_array()? {
            let Some(name) = tool["name"].as_str() else { continue };
            match param_headers::find(&tool.to_string()) {
                Ok(found) if !found.is_empty() && known.len() < TOOL_COUNT_MAX => {
                    known.insert(name.to_owned(), found);
                }
                _ => drop(known.remove(name)),
            }
        }
        match answer["result"]["nextCursor"].take() {
            Value::String(cursor) => Some(cursor),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use net::jsonrpc::EnvelopeLimits;

    use super::*;

    fn letter(text: &str, annotations: &Annotations) -> Letter {
        let message = Message::parse(text.as_bytes(), &EnvelopeLimits::default()).unwrap();
        Letter::new(&message, annotations)
    }

    #[test]
    fn the_head_repeats_what_the_stateless_revision_asks_for() {
        let annotations = Annotations::default();
        let list = br#"{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"more","tools":[{"name":"t",
            "inputSchema":{"type":"object","properties":
            {"region":{"type":"string","x-mcp-header":"Region"}}}}]}}"#;
        assert_eq!(annotations.learn(list).as_deref(), Some("more"));
        let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"t",
            "arguments":{"region":"eu"},
            "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let letter = letter(call, &annotations);
        let lines = String::from_utf8(letter.lines).unwrap().to_ascii_lowercase();
        assert!(letter.is_modern);
        assert_eq!(
            lines,
            "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: t\r\n\
             mcp-param-region: eu\r\n"
        );
    }

    #[test]
    fn a_message_of_the_handshake_era_needs_nothing_of_its_own() {
        let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"t"}}"#;
        let letter = letter(call, &Annotations::default());
        assert!(!letter.is_modern && letter.lines.is_empty());
    }
}
