//! MCP over POST, as a stateless client of revision 2026-07-28 does it: one request, one answer,
//! no session to open or to lose.

use std::io::Read;

use net::sse::{Decoder, SseLimits};
use serde_json::{Map, Value, json};
use ureq::http::Request;

use super::{Answer, Client, ClientError};
use crate::catalog::param_headers;
use crate::mcp::{MODERN, meta};

/// The id of every request: there is only one in each exchange.
const ID: &str = "1";

/// Bytes of a stream that are read at once.
const CHUNK_SIZE: usize = 64 << 10;

/// A call of a tool.
pub struct ToolCall<'a> {
    /// The virtual server to call it through; `None` for `/mcp`.
    pub server_id: Option<&'a str>,
    /// The tool as it was listed.
    pub definition: &'a Value,
    /// The arguments.
    pub arguments: Map<String, Value>,
}

impl Client {
    /// Finds a tool among those listed, page by page.
    ///
    /// # Errors
    ///
    /// [`ClientError::Input`] with names that are near if there is none; else as [`Client::get`].
    pub fn find_tool(&self, server_id: Option<&str>, name: &str) -> Result<Value, ClientError> {
        let mut names = Vec::new();
        let mut params = json!({});
        loop {
            let mut page = self.request(server_id, "tools/list", &[], params)?;
            let Some(Value::Array(tools)) = page.get_mut("tools").map(Value::take) else {
                return Err(self.nonsense("its tools/list has no list of tools"));
            };
            for tool in tools {
                match tool["name"].as_str() {
                    Some(found) if found == name => return Ok(tool),
                    Some(other) => names.push(other.to_owned()),
                    None => {}
                }
            }
            match page["nextCursor"].as_str() {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return Err(unknown_tool(name, &names)),
            }
        }
    }

    /// Calls a tool and gives its result.
    ///
    /// # Errors
    ///
    /// [`ClientError::Rpc`] if there is no result; else as [`Client::get`].
    pub fn call_tool(&self, call: ToolCall<'_>) -> Result<Value, ClientError> {
        let name = call.definition["name"].as_str().unwrap_or_default();
        let annotations =
            param_headers::find(&call.definition.to_string()).map_err(ClientError::Input)?;
        let arguments = Value::Object(call.arguments);
        let raw = arguments.to_string();
        let mut headers =
            vec![("mcp-name".to_owned(), param_headers::encode_header_value(name).into_owned())];
        for (suffix, value) in param_headers::encode_all(&annotations, Some(&raw)) {
            headers.push((format!("mcp-param-{suffix}"), value));
        }
        let params = json!({ "name": name, "arguments": arguments });
        self.request(call.server_id, "tools/call", &headers, params)
    }

    /// Sends one request and waits for its result.
    fn request(
        &self,
        server_id: Option<&str>,
        method: &str,
        headers: &[(String, String)],
        mut params: Value,
    ) -> Result<Value, ClientError> {
        params["_meta"] = json!({
            (meta::PROTOCOL_VERSION): MODERN,
            (meta::CLIENT_CAPABILITIES): {},
            "io.modelcontextprotocol/clientInfo": {
                "name": "ringway", "version": env!("CARGO_PKG_VERSION"),
            },
        });
        let path = match server_id {
            Some(id) => format!("{}/servers/{id}/mcp", self.base),
            None => format!("{}/mcp", self.base),
        };
        let mut request = Request::builder()
            .method("POST")
            .uri(path)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", method);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let body = json!({ "jsonrpc": "2.0", "id": ID, "method": method, "params": params });
        let answer = self.exchange(request, Some(&body))?;
        let (status, message) = if answer.is_stream() {
            (200, answer.last_of_stream(self)?)
        } else {
            answer.into_json(self)?
        };
        outcome(status, message)
    }
}

/// The result of an answer, or its error.
fn outcome(status: u16, mut message: Value) -> Result<Value, ClientError> {
    if let Some(result) = message.get_mut("result") {
        return Ok(result.take());
    }
    match (&message["error"]["code"], &message["error"]["message"]) {
        (Value::Number(code), Value::String(text)) => {
            Err(ClientError::Rpc { code: code.as_i64().unwrap_or(0), message: text.clone() })
        }
        _ => Err(ClientError::refused(status, &message)),
    }
}

impl Answer {
    fn is_stream(&self) -> bool {
        let kind = self.0.headers().get("content-type").and_then(|value| value.to_str().ok());
        kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// Reads a stream up to the answer; what comes before it are notifications.
    fn last_of_stream(self, client: &Client) -> Result<Value, ClientError> {
        let broken = |reason: String| ClientError::Unreachable { url: client.base.clone(), reason };
        let mut decoder = Decoder::new(SseLimits::default());
        let mut reader = self.0.into_body().into_reader();
        let mut chunk = vec![0; CHUNK_SIZE];
        loop {
            let size = reader.read(&mut chunk).map_err(|error| broken(error.to_string()))?;
            if size == 0 {
                return Err(broken("the stream ended before the answer came".to_owned()));
            }
            let mut input = &chunk[..size];
            while let Some(event) =
                decoder.next(&mut input).map_err(|error| broken(error.to_string()))?
            {
                let message = serde_json::from_slice::<Value>(event.data).unwrap_or_default();
                if message["id"] == ID {
                    return Ok(message);
                }
            }
        }
    }
}

/// Names the tools whose names are near.
fn unknown_tool(name: &str, names: &[String]) -> ClientError {
    let wanted: Vec<&str> = name.split(|letter: char| !letter.is_alphanumeric()).collect();
    let likeness = |other: &str| {
        wanted.iter().filter(|word| !word.is_empty() && other.contains(**word)).count()
    };
    let best = names.iter().map(|other| likeness(other)).max().filter(|best| *best > 0);
    let mut near: Vec<&String> =
        names.iter().filter(|other| Some(likeness(other)) == best).collect();
    near.sort_by_key(|other| other.len());
    near.truncate(3);
    let hint = match &near[..] {
        [] => "`ringway tools` lists them".to_owned(),
        near => {
            let near: Vec<_> = near.iter().map(|name| name.as_str()).collect();
            format!("did you mean {}?", near.join(" or "))
        }
    };
    ClientError::Input(format!("there is no tool {name:?}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_tool_brings_up_those_with_names_that_are_near() {
        let names = ["everything-echo", "everything-add", "time-now"].map(str::to_owned);
        let error = unknown_tool("echo", &names).to_string();
        assert_eq!(error, "there is no tool \"echo\"; did you mean everything-echo?");
        let error = unknown_tool("everything_echo", &names).to_string();
        assert!(error.ends_with("did you mean everything-echo?"), "{error}");
        let error = unknown_tool("everything", &names).to_string();
        assert!(error.ends_with("did you mean everything-add or everything-echo?"), "{error}");
        let error = unknown_tool("weather", &names).to_string();
        assert!(error.ends_with("`ringway tools` lists them"), "{error}");
    }

    #[test]
    fn a_result_an_error_and_a_refusal_are_told_apart() {
        assert_eq!(outcome(200, json!({"result": {"a": 1}})).unwrap(), json!({"a": 1}));
        let message = json!({"error": {"code": -32602, "message": "no such tool"}});
        let error = outcome(200, message).unwrap_err().to_string();
        assert_eq!(error, "no such tool (error -32602)");
        let error = outcome(401, json!({"detail": "Not authenticated"})).unwrap_err();
        assert!(matches!(error, ClientError::Refused { status: 401, .. }));
    }
}
