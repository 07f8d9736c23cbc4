//! MCP clients of both eras, thin enough to send what no library would.

use serde_json::{Value, json};

use super::gateway::Gateway;
use super::wire::{Answer, request};

/// The newest revision with a handshake.
pub const LEGACY: &str = "2025-11-25";
/// The revision without handshake and session.
pub const MODERN: &str = "2026-07-28";

const ACCEPT: (&str, &str) = ("Accept", "application/json, text/event-stream");

/// A client of one MCP endpoint.
pub struct Client<'a> {
    gateway: &'a Gateway,
    path: String,
    token: Option<String>,
    version: String,
    session: Option<String>,
    /// What the endpoint answered to `initialize`; `null` for a modern client.
    pub initialized: Value,
}

impl<'a> Client<'a> {
    /// Shakes hands as a legacy client with the administrator's token.
    pub fn legacy(gateway: &'a Gateway, path: &str) -> Self {
        Self::legacy_with(gateway, path, LEGACY, Some(gateway.token()))
    }

    /// Shakes hands, asking for `version`.
    pub fn legacy_with(
        gateway: &'a Gateway,
        path: &str,
        version: &str,
        token: Option<&str>,
    ) -> Self {
        let mut client = Self::new(gateway, path, token);
        let info = json!({ "name": "test", "version": "1.0.0" });
        let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": info });
        let answer = client.post(&envelope("initialize", &params), &[]).expect(200);
        client.session = answer.header("mcp-session-id").map(str::to_owned);
        client.initialized = answer.json()["result"].clone();
        let agreed = client.initialized["protocolVersion"].as_str();
        client.version = agreed.expect("initialize tells the revision").to_owned();
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        client.post(&initialized, &[]).expect(202);
        client
    }

    /// A client of the modern revision with the administrator's token.
    pub fn modern(gateway: &'a Gateway, path: &str) -> Self {
        Self::modern_with(gateway, path, Some(gateway.token()))
    }

    /// A client of the modern revision with this token.
    pub fn modern_with(gateway: &'a Gateway, path: &str, token: Option<&str>) -> Self {
        let mut client = Self::new(gateway, path, token);
        client.version = MODERN.to_owned();
        client
    }

    fn new(gateway: &'a Gateway, path: &str, token: Option<&str>) -> Self {
        let token = token.map(str::to_owned);
        let (path, version) = (path.to_owned(), String::new());
        Self { gateway, path, token, version, session: None, initialized: Value::Null }
    }

    /// The revision that is spoken.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Sends one request and gives the HTTP answer.
    pub fn send(&self, method: &str, params: Value) -> Answer {
        if self.version != MODERN {
            return self.post(&envelope(method, &params), &[]);
        }
        let mut params = params;
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let name = params["name"].as_str().or(params["uri"].as_str()).map(str::to_owned);
        let mut headers = vec![("Mcp-Method", method)];
        headers.extend(name.as_deref().map(|name| ("Mcp-Name", name)));
        self.post(&envelope(method, &params), &headers)
    }

    /// Sends one request and gives its envelope, the last message if the answer is a stream.
    pub fn ask(&self, method: &str, params: Value) -> Value {
        self.send(method, params).json()
    }

    /// Sends one request and gives its result.
    #[track_caller]
    pub fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.send(method, params);
        let envelope = answer.json();
        assert!(envelope.get("result").is_some(), "{method}: {} {envelope}", answer.status);
        envelope["result"].clone()
    }

    /// Sends this envelope with the client's headers and those given; a given one replaces.
    pub fn post(&self, envelope: &Value, headers: &[(&str, &str)]) -> Answer {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut all: Vec<(&str, &str)> = vec![ACCEPT, ("Content-Type", "application/json")];
        all.extend(bearer.as_deref().map(|value| ("Authorization", value)));
        all.extend(self.session.as_deref().map(|value| ("Mcp-Session-Id", value)));
        if !self.version.is_empty() {
            all.push(("MCP-Protocol-Version", &self.version));
        }
        all.retain(|(name, _)| !headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)));
        all.extend(headers);
        all.push(("Connection", "close"));
        let bytes = request("POST", &self.path, &all, envelope.to_string().as_bytes());
        self.gateway.wire().send(bytes).answer()
    }
}

/// What a modern client with the administrator's token sends to ask for something, for who reads the
/// answer as it comes. `params._meta` gets what it lacks.
pub fn modern_request(gateway: &Gateway, path: &str, method: &str, mut params: Value) -> Vec<u8> {
    let meta = &mut params["_meta"];
    meta["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
    if meta.get("io.modelcontextprotocol/clientCapabilities").is_none() {
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    }
    let bearer = format!("Bearer {}", gateway.token());
    let mut headers = vec![
        ("Authorization", bearer.as_str()),
        ACCEPT,
        ("Content-Type", "application/json"),
        ("MCP-Protocol-Version", MODERN),
        ("Mcp-Method", method),
    ];
    headers.extend(params["name"].as_str().map(|name| ("Mcp-Name", name)));
    let body = envelope(method, &params).to_string();
    request("POST", path, &headers, body.as_bytes())
}

/// A JSON-RPC request with an id of its own.
pub fn envelope(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": "test-1", "method": method, "params": params })
}

/// The `key` of every item of a list, as text.
pub fn names(list: &Value, key: &str) -> Vec<String> {
    let items = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|item| item[key].as_str().unwrap_or_default().to_owned()).collect()
}
