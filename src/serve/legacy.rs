//! Methods of `/rpc` that MCP does not have and older clients of the contract call: lists of whole
//! records, roots, and the level of the log. Each is a request to the REST API in other words.

use net::http1::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    admin::{self, Backend, RestRequest},
    auth::Caller,
    failure::Failure,
    mcp::code,
    reply::Reply,
};

/// A method and the REST request that does what it asks.
struct Alias {
    method: &'static str,
    verb: Method,
    path: &'static str,
    query: Option<&'static str>,
    /// The member of the result that the answer becomes; without one the result is empty.
    key: Option<&'static str>,
}

const ALL: Option<&str> = Some("limit=0");

const ALIASES: [Alias; 5] = [
    Alias {
        method: "list_tools",
        verb: Method::Get,
        path: "/tools",
        query: ALL,
        key: Some("tools"),
    },
    Alias {
        method: "list_gateways",
        verb: Method::Get,
        path: "/gateways",
        query: ALL,
        key: Some("gateways"),
    },
    Alias {
        method: "list_roots",
        verb: Method::Get,
        path: "/roots",
        query: None,
        key: Some("roots"),
    },
    Alias {
        method: "roots/list",
        verb: Method::Get,
        path: "/roots",
        query: None,
        key: Some("roots"),
    },
    Alias {
        method: "logging/setLevel",
        verb: Method::Post,
        path: "/logging/setLevel",
        query: None,
        key: None,
    },
];

/// What is read of a message that no method answered.
#[derive(Deserialize)]
struct Envelope {
    method: String,
    #[serde(default)]
    params: Value,
}

/// Answers a message whose method MCP does not have; `None` if nobody has it.
pub async fn answer<B: Backend>(
    backend: &B,
    caller: &Caller,
    body: &[u8],
) -> Option<Result<Reply, Failure>> {
    let Envelope { method, params } = serde_json::from_slice(body).ok()?;
    let alias = ALIASES.iter().find(|alias| alias.method == method)?;
    let params = params.to_string();
    let request = RestRequest {
        query: alias.query,
        body: params.as_bytes(),
        caller: Some(caller),
        ..RestRequest::plain(alias.verb, alias.path)
    };
    let answer = admin::handle(backend, request).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status != 200 {
        return Some(Err(refusal(answer.status, &body)));
    }
    let result = alias.key.map(|key| (key.to_owned(), body));
    let result = Value::Object(result.into_iter().collect::<Map<_, _>>());
    Some(Ok(Reply::Result(result.to_string().into_bytes())))
}

/// The refusal of the REST API in the words of JSON-RPC.
fn refusal(status: u16, body: &Value) -> Failure {
    let detail = &body["detail"];
    let text = detail.as_str().or_else(|| detail[0]["msg"].as_str()).unwrap_or("it was refused");
    match status {
        401 | 403 => Failure::Forbidden(text.to_owned()),
        _ => Failure::protocol(200, code::INVALID_PARAMS, text),
    }
}
