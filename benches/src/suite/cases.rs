//! What is asked in each case, of the gateway and of nginx.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;

use crate::gateway::{Gateway, open_message};
use crate::http;
use crate::nginx::REOPENED;
use crate::upstream::{REVISION_LEGACY, REVISION_MODERN};

/// The first tool of the upstream, by its own name.
pub(crate) const UPSTREAM_TOOL: &str = "tool_0";
/// The message that asks for the list.
pub(crate) const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;

/// A case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GET /health.
    Health,
    /// tools/list as a plain JSON-RPC client asks.
    ListRpc,
    /// tools/list as a client of a legacy revision asks.
    ListMcp,
    /// tools/call as a plain JSON-RPC client asks.
    CallRpc,
    /// tools/call as a client of a legacy revision asks.
    CallLegacy,
    /// tools/call as a client of the modern revision asks.
    CallModern,
}

impl Kind {
    /// Every case, in the order of the table.
    pub const ALL: [Kind; 6] = [
        Kind::Health,
        Kind::ListRpc,
        Kind::ListMcp,
        Kind::CallRpc,
        Kind::CallLegacy,
        Kind::CallModern,
    ];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Health => "health",
            Kind::ListRpc => "tools/list on /rpc",
            Kind::ListMcp => "tools/list on /mcp",
            Kind::CallRpc => "tools/call on /rpc",
            Kind::CallLegacy => "tools/call on /mcp, legacy",
            Kind::CallModern => "tools/call on /mcp, modern",
        }
    }

    /// Whether the answer is a list, which nginx can serve from a file.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::ListRpc | Kind::ListMcp)
    }

    /// The file in which nginx has the gateway's answer.
    pub fn file_name(self) -> &'static str {
        match self {
            Kind::ListMcp => "list-mcp",
            _ => "list-rpc",
        }
    }

    /// Says what is wrong with the body of an answer, if something is.
    pub fn refuse(self, body: &[u8]) -> Option<&'static str> {
        if self == Kind::Health {
            return body.is_empty().then_some("is empty");
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let result = &body["result"];
        match self {
            _ if !result.is_object() => Some("has no result"),
            _ if self.is_list() => {
                let is_empty = result["tools"].as_array().is_none_or(Vec::is_empty);
                is_empty.then_some("lists no tool")
            }
            _ if result["isError"] == Value::Bool(true) => Some("is a tool's error"),
            _ => (!result["content"].is_array()).then_some("has no content"),
        }
    }
}

/// Makes the gateway's request of a case, with a token and what a client of the era sends.
pub fn gateway_request(gateway: &Gateway, kind: Kind) -> io::Result<Vec<u8>> {
    let session = match kind {
        Kind::ListMcp | Kind::CallLegacy => gateway.open_session()?,
        _ => None,
    };
    let mut legacy = vec![("MCP-Protocol-Version", REVISION_LEGACY)];
    legacy.extend(session.as_deref().map(|session| ("Mcp-Session-Id", session)));
    let tool = if kind == Kind::Health { String::new() } else { gateway.first_tool()? };
    Ok(match kind {
        Kind::Health => http::request("GET", "/health", gateway.address(), &[], ""),
        Kind::ListRpc => gateway.message("/rpc", &[], LIST),
        Kind::ListMcp => gateway.message("/mcp", &legacy, LIST),
        Kind::CallRpc => gateway.message("/rpc", &[], &call(&tool, "")),
        Kind::CallLegacy => gateway.message("/mcp", &legacy, &call(&tool, "")),
        Kind::CallModern => gateway.message("/mcp", &modern_fields(&tool), &modern_call(&tool)),
    })
}

/// Makes nginx's request for a file that it opens anew each time.
pub fn nginx_reopened_request(target: SocketAddr, kind: Kind) -> Vec<u8> {
    http::request("GET", &format!("{REOPENED}/{}", kind.file_name()), target, &[], "")
}

/// Makes nginx's request of a case: a GET for the file, or the same call under the upstream's own
/// name of the tool. It carries no token, which would only give nginx more to read and to pass on.
pub fn nginx_request(target: SocketAddr, kind: Kind) -> Vec<u8> {
    let tool = UPSTREAM_TOOL;
    let get = |path: &str| http::request("GET", path, target, &[], "");
    let post = |fields: &[(&str, &str)], body: &str| open_message(target, "/mcp", fields, body);
    match kind {
        Kind::Health => get("/health"),
        Kind::ListRpc | Kind::ListMcp => get(&format!("/{}", kind.file_name())),
        Kind::CallRpc => post(&[], &call(tool, "")),
        Kind::CallLegacy => post(&[("MCP-Protocol-Version", REVISION_LEGACY)], &call(tool, "")),
        Kind::CallModern => post(&modern_fields(tool), &modern_call(tool)),
    }
}

/// The fields of a modern call.
pub(crate) fn modern_fields(tool: &str) -> [(&str, &str); 3] {
    [("MCP-Protocol-Version", REVISION_MODERN), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool)]
}

/// A call with the `_meta` of the modern revision.
pub(crate) fn modern_call(tool: &str) -> String {
    let meta = format!(
        r#","_meta":{{"io.modelcontextprotocol/protocolVersion":"{REVISION_MODERN}","io.modelcontextprotocol/clientInfo":{{"name":"bench","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}"#
    );
    call(tool, &meta)
}

/// A call; `more` stands behind the arguments.
pub(crate) fn call(tool: &str, more: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"place":"Oslo","days":3}}{more}}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::upstream::{Options, spawn};

    #[test]
    fn the_upstream_answers_every_call_that_goes_through_nginx() {
        let target = spawn(Options::default()).expect("listens");
        for kind in [Kind::CallRpc, Kind::CallLegacy, Kind::CallModern] {
            let request = nginx_request(target, kind);
            let answer = http::ask(target, &request, Duration::from_secs(5)).expect("is answered");
            assert_eq!(answer.status, 200, "{kind:?}");
            assert_eq!(kind.refuse(&answer.body), None, "{kind:?}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_an_answer() {
        let error = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602}}"#;
        assert_eq!(Kind::CallRpc.refuse(error), Some("has no result"));
        let failed = br#"{"result":{"content":[],"isError":true}}"#;
        assert_eq!(Kind::CallRpc.refuse(failed), Some("is a tool's error"));
        let empty = br#"{"result":{"tools":[]}}"#;
        assert_eq!(Kind::ListMcp.refuse(empty), Some("lists no tool"));
        assert_eq!(Kind::Health.refuse(b""), Some("is empty"));
    }

    #[test]
    fn a_modern_call_says_the_same_in_fields_and_body() {
        let body: Value = serde_json::from_str(&modern_call("a-b")).expect("is JSON");
        let fields = modern_fields("a-b");
        let meta = &body["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], fields[0].1);
        assert_eq!(body["method"], fields[1].1);
        assert_eq!(body["params"]["name"], fields[2].1);
    }
}
