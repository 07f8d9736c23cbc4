//! From a path to what answers it, and from a name to the upstream that has it.

use std::sync::Arc;

use storage::record::IntegrationType;

use crate::catalog::{Catalog, PromptEntry, Seen, ToolEntry, Upstream};

mod resources;

pub use resources::{Found, Resources};

/// What answers a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// Streamable HTTP at `/mcp` (empty id) or `/servers/{id}/mcp`.
    Mcp {
        /// The virtual server's id; empty for everything.
        server_id: &'a str,
    },
    /// The stream of HTTP+SSE at `/sse` or `/servers/{id}/sse`.
    Sse {
        /// As before.
        server_id: &'a str,
    },
    /// The messages of HTTP+SSE at `/message` or `/servers/{id}/message`.
    Message {
        /// As before.
        server_id: &'a str,
    },
    /// A WebSocket at `/ws` or `/servers/{id}/ws`.
    WebSocket {
        /// As before.
        server_id: &'a str,
    },
    /// JSON-RPC at `POST /rpc` and `POST /`.
    Rpc,
    /// The REST API, the path without version prefix and trailing slash.
    Rest(&'a str),
}

impl<'a> Route<'a> {
    /// The endpoint of MCP that it leads to, if it leads to one: the id of a virtual server, or
    /// nothing for everything.
    pub fn endpoint(&self) -> Option<&'a str> {
        match self {
            Route::Mcp { server_id }
            | Route::Sse { server_id }
            | Route::Message { server_id }
            | Route::WebSocket { server_id } => Some(server_id),
            Route::Rpc | Route::Rest(_) => None,
        }
    }
}

/// Finds what answers `path` (percent-encoded, as it was sent) asked with `is_post`. `root` is the
/// path that a reverse proxy serves the gateway under; `None` if `path` lies outside it.
pub fn find<'a>(path: &'a str, root: &str, is_post: bool) -> Option<Route<'a>> {
    let path = match root {
        "" => path,
        _ => path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))?,
    };
    let path = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
    if let Some(endpoint) = endpoint(path, "") {
        return Some(endpoint);
    }
    match path {
        "/rpc" => return Some(Route::Rpc),
        "/" | "" if is_post => return Some(Route::Rpc),
        "" => return Some(Route::Rest("/")),
        _ => {}
    }
    if let Some(rest) = path.strip_prefix("/servers/")
        && let Some((server_id, _)) = rest.split_once('/')
        && let Some(endpoint) = endpoint(&rest[server_id.len()..], server_id)
    {
        return Some(endpoint);
    }
    let rest = path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    Some(Route::Rest(rest))
}

/// The endpoint of MCP of a virtual server that `path` names.
fn endpoint<'a>(path: &str, server_id: &'a str) -> Option<Route<'a>> {
    match path {
        "/mcp" => Some(Route::Mcp { server_id }),
        "/sse" => Some(Route::Sse { server_id }),
        "/message" => Some(Route::Message { server_id }),
        "/ws" => Some(Route::WebSocket { server_id }),
        _ => None,
    }
}

/// A tool and the upstream that runs it.
pub fn tool<'a>(
    catalog: &'a Catalog,
    seen: Seen<'a>,
    name: &str,
) -> Option<(&'a Arc<ToolEntry>, &'a Arc<Upstream>)> {
    let entry = seen.tool(name).filter(|entry| is_of_mcp(entry))?;
    Some((entry, upstream_of(catalog, entry.record.gateway_id.as_deref())?))
}

/// A tool that no MCP upstream runs: one of our own.
pub fn own_tool<'a>(seen: Seen<'a>, name: &str) -> Option<&'a Arc<ToolEntry>> {
    seen.tool(name).filter(|entry| !is_of_mcp(entry))
}

/// Whether an MCP upstream runs the tool. A REST tool may name an upstream that it belongs to.
fn is_of_mcp(entry: &ToolEntry) -> bool {
    entry.record.integration_type == IntegrationType::Mcp
}

/// A prompt and the upstream that has it.
pub fn prompt<'a>(
    catalog: &'a Catalog,
    seen: Seen<'a>,
    name: &str,
) -> Option<(&'a Arc<PromptEntry>, &'a Arc<Upstream>)> {
    let entry = seen.prompt(name)?;
    Some((entry, upstream_of(catalog, entry.record.gateway_id.as_deref())?))
}

/// A prompt that no upstream has: one of our own.
pub fn own_prompt<'a>(seen: Seen<'a>, name: &str) -> Option<&'a Arc<PromptEntry>> {
    seen.prompt(name).filter(|entry| entry.record.gateway_id.is_none())
}

fn upstream_of<'a>(catalog: &'a Catalog, gateway_id: Option<&str>) -> Option<&'a Arc<Upstream>> {
    catalog.upstream(gateway_id?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_endpoints_under_all_their_spellings() {
        let everything = Some(Route::Mcp { server_id: "" });
        for path in ["/mcp", "/mcp/"] {
            assert_eq!(find(path, "", true), everything, "{path}");
        }
        let one = Some(Route::Mcp { server_id: "abc" });
        assert_eq!(find("/servers/abc/mcp", "", false), one);
        assert_eq!(find("/servers/abc/mcp/", "", true), one);
        let sse = Some(Route::Sse { server_id: "abc" });
        assert_eq!(find("/servers/abc/sse", "", false), sse);
        let socket = Some(Route::WebSocket { server_id: "" });
        assert_eq!(find("/ws", "", false), socket);
        let message = Some(Route::Message { server_id: "" });
        assert_eq!(find("/message/", "", true), message);
        assert_eq!(find("/servers/abc/d/mcp", "", true), Some(Route::Rest("/servers/abc/d/mcp")));
        assert_eq!(find("/rpc/", "", true), Some(Route::Rpc));
        assert_eq!(find("/", "", true), Some(Route::Rpc));
        assert_eq!(find("/", "", false), Some(Route::Rest("/")));
        assert_eq!(find("/v1/tools", "", false), Some(Route::Rest("/tools")));
        assert_eq!(find("/tools/", "", false), Some(Route::Rest("/tools")));
        assert_eq!(find("/v1x", "", false), Some(Route::Rest("/v1x")));
    }

    #[test]
    fn cuts_the_root_path_off_and_knows_nothing_outside_it() {
        assert_eq!(find("/gw/mcp", "/gw", true), Some(Route::Mcp { server_id: "" }));
        assert_eq!(find("/gw", "/gw", false), Some(Route::Rest("/")));
        assert_eq!(find("/mcp", "/gw", true), None);
        assert_eq!(find("/gwx/mcp", "/gw", true), None);
    }
}
