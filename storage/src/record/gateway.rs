//! An upstream: where it is, how to speak to it, what it said of itself.

use super::audit::{Audit, Ownership};
use super::text::text_enum;

/// An upstream MCP server (the contract calls it a gateway).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The id.
    pub id: String,
    /// The name that people gave it.
    pub name: String,
    /// The name made fit for tool names; unique (see [`Ownership`]).
    pub slug: String,
    /// Where it answers; `None` for a child process. Unique (see [`Ownership`]).
    pub url: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// How it is reached.
    pub transport: Transport,
    /// The program and its arguments, for [`Transport::Stdio`]; else empty.
    pub command: Vec<String>,
    /// The child's environment, sealed (see [`crate::seal`]).
    pub env_sealed: Option<String>,
    /// The protocol era that people fixed it to.
    pub protocol: ProtocolPin,
    /// The protocol era that it was found to speak; `None` until it was asked.
    pub era: Option<Era>,
    /// Whether clients share the sessions with it.
    pub session_mode: SessionMode,
    /// The protocol revision agreed on, as `2025-11-25`.
    pub protocol_version: Option<String>,
    /// What it can do: JSON text, as it said it.
    pub capabilities: Option<String>,
    /// Its advice for the model.
    pub instructions: Option<String>,
    /// Its name and version: JSON text, as it said it.
    pub server_info: Option<String>,
    /// How we prove ourselves to it.
    pub auth_type: Option<AuthType>,
    /// The headers that do so, sealed (see [`crate::seal`]).
    pub auth_sealed: Option<String>,
    /// A certificate authority of its own, in PEM.
    pub ca_certificate: Option<String>,
    /// The caller's headers to hand on; `None` follows the setting.
    pub passthrough_headers: Option<Vec<String>>,
    /// Tools left out when it was last read, each with the reason.
    pub skipped_tools: Vec<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Switched on by people.
    pub enabled: bool,
    /// It answered when last asked.
    pub reachable: bool,
    /// When it last answered, in microseconds since the epoch.
    pub last_seen: Option<i64>,
    /// Why it did not answer.
    pub last_error: Option<String>,
    /// When its lists were last read, in microseconds since the epoch.
    pub last_refresh_at: Option<i64>,
    /// How often its lists are read again, in seconds; `None` follows the setting.
    pub refresh_interval_seconds: Option<i64>,
    /// Whose it is.
    pub ownership: Ownership,
    /// Who made and changed it.
    pub audit: Audit,
}

impl Default for Gateway {
    /// An upstream without a name, switched on and thought reachable.
    fn default() -> Self {
        Gateway {
            id: String::new(),
            name: String::new(),
            slug: String::new(),
            url: None,
            description: None,
            transport: Transport::default(),
            command: Vec::new(),
            env_sealed: None,
            protocol: ProtocolPin::default(),
            era: None,
            session_mode: SessionMode::default(),
            protocol_version: None,
            capabilities: None,
            instructions: None,
            server_info: None,
            auth_type: None,
            auth_sealed: None,
            ca_certificate: None,
            passthrough_headers: None,
            skipped_tools: Vec::new(),
            tags: Vec::new(),
            enabled: true,
            reachable: true,
            last_seen: None,
            last_error: None,
            last_refresh_at: None,
            refresh_interval_seconds: None,
            ownership: Ownership::default(),
            audit: Audit::default(),
        }
    }
}

text_enum! {
    /// How an upstream is reached, by the contract's words.
    #[derive(Default)]
    pub enum Transport {
        /// HTTP with server-sent events, of revision 2024-11-05.
        #[default]
        Sse = "SSE",
        /// Plain JSON-RPC over HTTP POST.
        Http = "HTTP",
        /// Streamable HTTP.
        StreamableHttp = "STREAMABLEHTTP",
        /// A WebSocket, whose texts are the messages.
        WebSocket = "WEBSOCKET",
        /// A child process.
        Stdio = "STDIO",
    }
}

text_enum! {
    /// The protocol era that people fixed an upstream to.
    #[derive(Default)]
    pub enum ProtocolPin {
        /// Ask the upstream.
        #[default]
        Auto = "auto",
        /// With `initialize` and a session.
        Legacy = "legacy",
        /// Stateless, from 2026-07-28.
        Modern = "modern",
    }
}

text_enum! {
    /// Whether clients share the sessions with an upstream, and its child processes.
    #[derive(Default)]
    pub enum SessionMode {
        /// Those that can be asked the same things do.
        #[default]
        Shared = "shared",
        /// Each user has their own.
        PerClient = "per_client",
    }
}

text_enum! {
    /// The protocol era that an upstream was found to speak.
    pub enum Era {
        /// With `initialize` and a session.
        Legacy = "legacy",
        /// Stateless, from 2026-07-28.
        Modern = "modern",
    }
}

text_enum! {
    /// How we prove ourselves to an upstream, by the contract's words.
    pub enum AuthType {
        /// Name and password.
        Basic = "basic",
        /// A bearer token.
        Bearer = "bearer",
        /// Headers of any name.
        AuthHeaders = "authheaders",
        /// OAuth 2.
        OAuth = "oauth",
        /// A query parameter of the URL.
        QueryParam = "query_param",
    }
}
