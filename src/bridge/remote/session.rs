//! A session of the handshake era.

use net::{http1::encode, jsonrpc};
use shards::local::Gate;

/// A session that the far end opened.
pub(super) struct Session {
    /// Lines of the head of every message in it.
    pub(super) lines: Vec<u8>,
    /// The far end gave it an id, and so can forget it.
    pub(super) has_id: bool,
    /// Opened when it is over.
    pub(super) closing: Gate,
}

impl Session {
    /// Makes the session that this answer to `initialize` opened; none if it is an error.
    pub(super) fn new(id: Option<&[u8]>, answer: &[u8]) -> Option<Session> {
        let text = std::str::from_utf8(answer).ok()?;
        let [result] = jsonrpc::pick(text, ["result"]).ok()?;
        let result = result?.of_text(text);
        let mut lines = Vec::new();
        if let Some(id) = id {
            encode::header(&mut lines, "mcp-session-id", id);
        }
        let version = jsonrpc::pick(result, ["protocolVersion"]).ok()?[0];
        let version = version.and_then(|place| jsonrpc::unescape(place.of_text(result)).ok());
        if let Some(version) = version {
            encode::header(&mut lines, "mcp-protocol-version", version.as_bytes());
        }
        Some(Session { lines, has_id: id.is_some(), closing: Gate::default() })
    }
}
