//! What the Model Context Protocol says: revisions, eras, lists and the answers that the gateway
//! gives by itself.

mod capabilities;
mod era;
mod handshake;
mod pages;
mod server_info;
mod translate;
mod verdict;

pub use capabilities::Capabilities;
pub use era::{
    Era, HeaderSource, NoHeaders, Transport, check_names, check_param_headers, find as find_era,
    reads_argument_errors,
};
pub use handshake::{Offer, discover, initialize};
pub use pages::{Kind, Lens, Page, PageRequest, Pages, Shows, Uris};
pub use server_info::ServerInfo;
pub use translate::{complete_result, strip_in_place, strip_modern};
pub use verdict::is_error;

/// The newest stateless revision.
pub const MODERN: &str = "2026-07-28";

/// The revisions with a handshake, newest first.
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// Levels of log messages, the least first (RFC 5424).
pub const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Keys of a modern request's `_meta`.
pub mod meta {
    /// The revision that the request speaks.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// What the client can do.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// The log level that the request asks for.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
}

/// JSON-RPC codes that MCP defines.
pub mod code {
    /// The message is no JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// The message is no valid request.
    pub const INVALID_REQUEST: i32 = -32600;
    /// There is no such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The parameters are wrong.
    pub const INVALID_PARAMS: i32 = -32602;
    /// Something of ours is broken.
    pub const INTERNAL: i32 = -32603;
    /// Legacy: there is no such resource.
    pub const RESOURCE_NOT_FOUND: i32 = -32002;
    /// There is no such session. The specification gives it no code; the official SDKs use this one.
    pub const SESSION_NOT_FOUND: i32 = -32001;
    /// A header and the body contradict each other.
    pub const HEADER_MISMATCH: i32 = -32020;
    /// The client did not declare what the request needs (2026-07-28).
    pub const MISSING_CAPABILITY: i32 = -32021;
    /// The revision is not spoken here.
    pub const UNSUPPORTED_VERSION: i32 = -32022;
}
