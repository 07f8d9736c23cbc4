//! What an upstream is and has: its era, what it says of itself, and everything it lists.
//!
//! It is written over a leg of any kind, so that a child process and a server far away are asked
//! the same questions and judged by the same rules.

mod inventory;
mod probe;

pub use inventory::{DiscoverLimits, Requester, discover};
pub use probe::{Verdict, judge_discover, judge_probe};

use std::time::Duration;

use net::jsonrpc;
use storage::record::Era;

use super::Outgoing;
use crate::mcp::{LEGACY, MODERN};

/// The answer to the first request that an upstream gets: `server/discover` or `initialize`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The era that it speaks.
    pub era: Era,
    /// The revision agreed on.
    pub protocol_version: String,
    /// What it can do: raw JSON, as it said it.
    pub capabilities: Option<String>,
    /// Its name and version: raw JSON, as it said it.
    pub server_info: Option<String>,
    /// Its advice for the model.
    pub instructions: Option<String>,
}

/// The key of `_meta` in which a modern upstream names itself.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

impl Handshake {
    /// A modern upstream that said nothing of itself.
    pub fn modern() -> Handshake {
        Handshake {
            era: Era::Modern,
            protocol_version: MODERN.to_owned(),
            capabilities: None,
            server_info: None,
            instructions: None,
        }
    }

    /// Reads the raw result of `server/discover`; `None` if it names no revision that we speak
    /// statelessly, or is no such result at all.
    pub fn from_discover(raw: &str) -> Option<Handshake> {
        let keys = ["supportedVersions", "capabilities", "instructions", "_meta", "serverInfo"];
        let found = object(raw).and_then(|raw| jsonrpc::pick(raw, keys).ok())?;
        let [versions, capabilities, instructions, meta, info] =
            found.map(|place| place.map(|place| place.of_text(raw)));
        let versions: Vec<String> = serde_json::from_str(versions?).ok()?;
        if !versions.iter().any(|version| version == MODERN) {
            return None;
        }
        let named = meta.and_then(object).and_then(|meta| {
            let [info] = jsonrpc::pick(meta, [SERVER_INFO]).ok()?;
            info.map(|info| info.of_text(meta))
        });
        Some(Handshake {
            capabilities: capabilities.and_then(object).map(str::to_owned),
            server_info: named.or(info).and_then(object).map(str::to_owned),
            instructions: instructions.and_then(text),
            ..Handshake::modern()
        })
    }

    /// Reads the raw result of `initialize`.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub fn from_initialize(raw: &str) -> Result<Handshake, String> {
        let keys = ["protocolVersion", "capabilities", "serverInfo", "instructions"];
        let raw = object(raw).ok_or("the result of initialize is no object")?;
        let found = jsonrpc::pick(raw, keys).map_err(|error| format!("initialize: {error}"))?;
        let [version, capabilities, server_info, instructions] =
            found.map(|place| place.map(|place| place.of_text(raw)));
        let version = version.and_then(text).unwrap_or_default();
        if !LEGACY.contains(&version.as_str()) {
            return Err(format!(
                "it wants to speak revision {version:?} after initialize; known are {}",
                LEGACY.join(", ")
            ));
        }
        Ok(Handshake {
            era: Era::Legacy,
            protocol_version: version,
            capabilities: capabilities.and_then(object).map(str::to_owned),
            server_info: server_info.and_then(object).map(str::to_owned),
            instructions: instructions.and_then(text),
        })
    }

    /// Returns true if resources of it can be subscribed to.
    pub fn subscribes(&self) -> bool {
        let capabilities = self.capabilities.as_deref().unwrap_or("{}");
        let value = serde_json::from_str::<serde_json::Value>(capabilities);
        value.is_ok_and(|value| value["resources"]["subscribe"] == true)
    }

    /// Returns true if it said that it has this capability.
    pub fn has(&self, capability: &'static str) -> bool {
        let raw = self.capabilities.as_deref().unwrap_or("{}");
        matches!(jsonrpc::pick(raw, [capability]), Ok([Some(place)]) if place.of_text(raw) != "null")
    }
}

/// A request of our own. Upstreams may offer less to who can be asked less, so we say that we can
/// be asked everything.
pub(super) fn plain<'a>(method: &'a str, params: &'a [u8], within: Duration) -> Outgoing<'a> {
    Outgoing {
        method,
        params,
        edits: Vec::new(),
        meta: None,
        progress_token: None,
        name: None,
        param_headers: Vec::new(),
        modern: false,
        within,
        capabilities: crate::mcp::Capabilities::RELAYED,
        log_level: None,
        client: None,
    }
}

fn object(raw: &str) -> Option<&str> {
    raw.starts_with('{').then_some(raw)
}

fn text(raw: &str) -> Option<String> {
    jsonrpc::unescape(raw).ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_modern_upstream_says_of_itself() {
        let raw = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],
            "capabilities":{"tools":{},"prompts":null},"instructions":"be \"kind\"","ttlMs":1,
            "_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s" ,"version":"1"}}}"#;
        let found = Handshake::from_discover(raw).unwrap();
        assert_eq!((found.era, found.protocol_version.as_str()), (Era::Modern, MODERN));
        assert_eq!(found.server_info.as_deref(), Some(r#"{"name":"s" ,"version":"1"}"#));
        assert_eq!(found.instructions.as_deref(), Some("be \"kind\""));
        assert!(found.has("tools") && !found.has("prompts") && !found.has("resources"));
    }

    #[test]
    fn takes_nothing_else_for_a_modern_upstream() {
        for raw in [
            "{}",
            "[]",
            "null",
            r#"{"supportedVersions":["2025-11-25"],"capabilities":{}}"#,
            r#"{"supportedVersions":"2026-07-28"}"#,
            r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{}}"#,
        ] {
            assert_eq!(Handshake::from_discover(raw), None, "{raw}");
        }
    }

    #[test]
    fn reads_what_a_legacy_upstream_says_of_itself() {
        let raw = r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{"listChanged":true}},
            "serverInfo":{"name":"s"}}"#;
        let found = Handshake::from_initialize(raw).unwrap();
        assert_eq!((found.era, found.protocol_version.as_str()), (Era::Legacy, "2024-11-05"));
        assert_eq!(found.capabilities.as_deref(), Some(r#"{"tools":{"listChanged":true}}"#));
        assert_eq!(found.instructions, None);
    }

    #[test]
    fn refuses_a_handshake_that_selects_an_unknown_revision() {
        // rmcp servers answer the revision that was named, even the stateless one.
        for version in ["2026-07-28", "1.0", ""] {
            let raw = format!(r#"{{"protocolVersion":"{version}","capabilities":{{}}}}"#);
            assert!(Handshake::from_initialize(&raw).unwrap_err().contains(version));
        }
    }
}
