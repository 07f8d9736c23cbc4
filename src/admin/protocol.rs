//! The protocol by REST: what clients that cannot speak JSON-RPC ask, one path for each method.

use serde_json::{Map, Value, json};

use super::{Ask, Backend, RestAnswer, answer};
use crate::failure::{Failure, ProtocolError};

/// JSON-RPC's code for a request that is none.
const INVALID_REQUEST: i64 = -32600;

/// The levels of MCP, and of the log that each stands for.
const LEVELS: [(&str, &str); 8] = [
    ("debug", "debug"),
    ("info", "info"),
    ("notice", "info"),
    ("warning", "warn"),
    ("error", "error"),
    ("critical", "error"),
    ("alert", "error"),
    ("emergency", "error"),
];

/// `POST /protocol/initialize`.
pub async fn initialize<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut params = body(ask)?;
    if params.get("protocolVersion").is_none()
        && let Some(version) = params.remove("protocol_version")
    {
        params.insert("protocolVersion".to_owned(), version);
    }
    if params.get("protocolVersion").is_none() {
        return Err(Failure::Malformed("Missing protocol version".to_owned()));
    }
    Ok(answer::ok(&ask.rpc("initialize", Value::Object(params)).await?))
}

/// `POST /protocol/ping`: a JSON-RPC message with the method `ping`.
pub fn ping<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let message = body(ask)?;
    // What is neither a text nor a number names no request (JSON-RPC 2.0 §5).
    let is_id = |id: &&Value| id.is_string() || id.is_number();
    let id = message.get("id").filter(is_id).cloned().unwrap_or_default();
    if message.get("method").and_then(Value::as_str) == Some("ping") {
        return Ok(answer::ok(&json!({ "jsonrpc": "2.0", "id": id, "result": {} })));
    }
    let error =
        json!({ "code": INVALID_REQUEST, "message": "Invalid method; this path takes ping" });
    Ok(answer::with_status(400, &json!({ "jsonrpc": "2.0", "id": id, "error": error })))
}

/// `POST /protocol/notifications`: taken note of, and answered with null.
pub fn notify<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    body(ask)?;
    Ok(answer::ok(&Value::Null))
}

/// `POST /protocol/completion/complete`.
pub async fn complete<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let params = Value::Object(body(ask)?);
    Ok(answer::ok(&ask.rpc("completion/complete", params).await?))
}

/// `POST /protocol/sampling/createMessage`: there is no model behind the gateway to ask.
pub fn sample<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    body(ask)?;
    Err(Failure::Protocol(ProtocolError {
        status: 501,
        code: -32601,
        message: "The gateway has no model to sample from; ask the client that has one".to_owned(),
        data: None,
    }))
}

/// `POST /logging/setLevel`: what the gateway writes into its own log from now on.
pub fn set_level<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let body = body(ask)?;
    let Some(word) = body.get("level").and_then(Value::as_str) else {
        return Err(Failure::field("level", "Field required"));
    };
    let found = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    let Some((_, level)) = found else {
        let names: Vec<_> = LEVELS.iter().map(|(name, _)| *name).collect();
        return Err(Failure::field("level", format!("Input should be {}", names.join(", "))));
    };
    ask.backend.set_log_level(level)?;
    tracing::info!(level, by = ask.caller.email, "the level of the log was changed");
    Ok(answer::ok(&Value::Null))
}

fn body<B: Backend>(ask: &Ask<'_, B>) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_slice(ask.request.body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Failure::Malformed("Input should be a JSON object".to_owned())),
        Err(error) => Err(Failure::Malformed(format!("Invalid JSON: {error}"))),
    }
}
