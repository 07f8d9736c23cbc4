//! Which era a request belongs to, and the header rules of the stateless one
//! (revision 2026-07-28, streamable HTTP).

use net::jsonrpc::{self, Message, MetaKey};

use crate::{
    catalog::{
        ToolEntry,
        param_headers::{self, decode_header_value},
    },
    failure::{Failure, ProtocolError},
    mcp::{LEGACY, LEVELS, MODERN, code, meta},
};

/// How a message reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP: headers repeat what the body says, and must agree.
    StreamableHttp,
    /// Plain JSON-RPC over POST (`/rpc`): only the body counts.
    Rpc,
    /// HTTP+SSE: messages for the client come by a stream, which is its session.
    Sse,
    /// A WebSocket, which is the session of its client.
    WebSocket,
}

impl Transport {
    /// Whether the connection of a client is its session, and brings what it did not ask for.
    pub fn is_conversation(self) -> bool {
        matches!(self, Transport::Sse | Transport::WebSocket)
    }
}

/// The era of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// With a handshake, up to 2025-11-25.
    Legacy,
    /// Stateless, from 2026-07-28.
    Modern,
}

/// The header fields of a request, as far as MCP looks at them.
pub trait HeaderSource {
    /// The value of the first field called `name`.
    fn get(&self, name: &str) -> Option<&[u8]>;
    /// How many fields are called `name`.
    fn count(&self, name: &str) -> usize;
    /// The value of the field called `name`, if there is exactly one.
    fn sole(&self, name: &str) -> Option<&[u8]> {
        self.get(name).filter(|_| self.count(name) == 1)
    }
}

/// The header fields of a request that has none.
pub struct NoHeaders;

impl HeaderSource for NoHeaders {
    fn get(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn count(&self, _: &str) -> usize {
        0
    }
}

/// Methods of the stateless revision that the gateway answers or relays.
const MODERN_METHODS: [&str; 13] = [
    "subscriptions/listen",
    "tools/call",
    "tools/list",
    "server/discover",
    "resources/read",
    "resources/list",
    "resources/templates/list",
    "prompts/get",
    "prompts/list",
    "completion/complete",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
];

/// Finds the era of `message` and checks what that era demands of every request.
///
/// A request is modern if its `_meta` names a revision, or if the version header names one that
/// has no handshake. `Mcp-*` headers alone decide nothing: legacy clients send some of them.
///
/// # Errors
///
/// The protocol errors of the stateless revision, in the order in which the official SDKs look:
/// version present, version supported, headers agree, method known. An unknown version of a
/// legacy client is status 400.
pub fn find(
    message: &Message<'_>,
    headers: &dyn HeaderSource,
    transport: Transport,
) -> Result<Era, Failure> {
    let version = message.meta(MetaKey::ProtocolVersion);
    let header = match transport {
        Transport::StreamableHttp => headers.get("mcp-protocol-version"),
        Transport::Rpc | Transport::Sse | Transport::WebSocket => None,
    };
    if version.is_none() && !header.is_some_and(is_stateless) {
        return match header {
            Some(header) if !LEGACY.iter().any(|known| known.as_bytes() == header) => {
                let header = String::from_utf8_lossy(header);
                let known = LEGACY.join(", ");
                let text =
                    format!("Unsupported protocol version: {header}; known: {MODERN}, {known}");
                Err(Failure::protocol(400, code::INVALID_REQUEST, text))
            }
            _ => Ok(Era::Legacy),
        };
    }
    let Some(version) = version.and_then(|raw| jsonrpc::unescape(raw).ok()) else {
        return Err(missing(meta::PROTOCOL_VERSION));
    };
    let capabilities = message.meta(MetaKey::ClientCapabilities);
    if !capabilities.is_some_and(|raw| raw.starts_with('{')) {
        return Err(missing(meta::CLIENT_CAPABILITIES));
    }
    if transport == Transport::StreamableHttp {
        check_header(headers, "MCP-Protocol-Version", &version)?;
    }
    if version != MODERN {
        return Err(unsupported(&version));
    }
    if transport == Transport::StreamableHttp {
        check_header(headers, "Mcp-Method", message.method())?;
    }
    check_log_level(message.meta(MetaKey::LogLevel))?;
    if !MODERN_METHODS.contains(&message.method())
        && !message.method().starts_with("notifications/")
    {
        let text = format!("Method not found: {}", message.method());
        return Err(Failure::protocol(404, code::METHOD_NOT_FOUND, text));
    }
    Ok(Era::Modern)
}

/// Returns true if the client gives the model a result that says what is wrong with the arguments
/// of a call, as it shall from revision 2025-11-25 on (SEP-1303); before, they are a protocol error.
///
/// What a legacy client speaks is known by the version header that it sends since 2025-06-18, or was
/// agreed on by its connection. Plain JSON-RPC has none: its clients are scripts, which look at errors
/// rather than at results.
pub fn reads_argument_errors(era: Era, headers: &dyn HeaderSource, transport: Transport) -> bool {
    era == Era::Modern
        || transport != Transport::Rpc
            && headers.get("mcp-protocol-version") == Some(LEGACY[0].as_bytes())
}

/// Checks that `Mcp-Name` repeats what the body names (`params.name` or `params.uri`).
///
/// # Errors
///
/// Code -32020 if the header is missing, there twice, badly encoded or different.
pub fn check_names(headers: &dyn HeaderSource, name: &str) -> Result<(), Failure> {
    check_header(headers, "Mcp-Name", name)
}

/// Checks the `Mcp-Param-*` headers of a tool call against its arguments: one for every annotated
/// property that has a value, and equal to it.
///
/// # Errors
///
/// Code -32020 naming the header.
pub fn check_param_headers(
    headers: &dyn HeaderSource,
    tool: &ToolEntry,
    arguments: Option<&str>,
) -> Result<(), Failure> {
    for annotation in &tool.param_headers {
        let name = format!("Mcp-Param-{}", annotation.header);
        let value = param_headers::value_of(annotation, arguments.unwrap_or("{}"));
        match value.map_err(|error| invalid(&error.to_string()))? {
            Some(value) => {
                let agrees = header_agrees(headers, &name, |sent| annotation.agrees(sent, &value))?;
                if !agrees {
                    return Err(mismatch(&name));
                }
            }
            None if headers.count(&name) > 0 => return Err(mismatch(&name)),
            None => {}
        }
    }
    Ok(())
}

fn is_stateless(header: &[u8]) -> bool {
    header == MODERN.as_bytes()
}

fn check_header(headers: &dyn HeaderSource, name: &str, expected: &str) -> Result<(), Failure> {
    // The plain case: one field, the same bytes.
    if headers.sole(name) == Some(expected.as_bytes()) && !param_headers::looks_encoded(expected) {
        return Ok(());
    }
    match header_agrees(headers, name, |sent| sent == expected)? {
        true => Ok(()),
        false => Err(mismatch(name)),
    }
}

/// Returns whether the one field called `name` holds, decoded, what `agrees` wants.
fn header_agrees(
    headers: &dyn HeaderSource,
    name: &str,
    agrees: impl Fn(&str) -> bool,
) -> Result<bool, Failure> {
    let text = headers.sole(name).and_then(|value| std::str::from_utf8(value).ok());
    let decoded = text.and_then(|text| decode_header_value(text).ok());
    match decoded {
        Some(decoded) => Ok(agrees(&decoded)),
        None => Err(mismatch(name)),
    }
}

fn check_log_level(raw: Option<&str>) -> Result<(), Failure> {
    let Some(raw) = raw else { return Ok(()) };
    let level = jsonrpc::unescape(raw).unwrap_or_default();
    if LEVELS.contains(&&*level) {
        return Ok(());
    }
    Err(invalid(&format!("{} must be one of {}", meta::LOG_LEVEL, LEVELS.join(", "))))
}

fn invalid(text: &str) -> Failure {
    Failure::protocol(400, code::INVALID_PARAMS, text)
}

fn missing(key: &str) -> Failure {
    invalid(&format!("params._meta[\"{key}\"] is required in revision {MODERN}"))
}

fn mismatch(name: &str) -> Failure {
    let text = format!("Header mismatch: {name} must be there once and equal what the body says");
    Failure::protocol(400, code::HEADER_MISMATCH, text)
}

fn unsupported(version: &str) -> Failure {
    let data = serde_json::json!({"supported": [MODERN], "requested": version});
    Failure::Protocol(ProtocolError {
        status: 400,
        code: code::UNSUPPORTED_VERSION,
        message: format!("Unsupported protocol version: {version}"),
        data: Some(data.to_string()),
    })
}
