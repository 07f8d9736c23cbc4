//! What is sent to an agent.

use serde_json::{Map, Value, json};
use storage::record::{Agent, new_id};

use super::dialect::Dialect;

/// Methods whose answer is a stream of events.
const STREAMING: [&str; 4] =
    ["message/stream", "SendStreamingMessage", "tasks/resubscribe", "SubscribeToTask"];

/// A request to an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// A call of A2A.
    Rpc {
        /// The method, by whichever name.
        method: String,
        /// Its parameters, in whichever dialect.
        params: Value,
        /// What the answer repeats.
        id: Value,
    },
    /// The body of an agent with an API of its own.
    Custom(Value),
}

/// Whether an agent is called by JSON-RPC: its type says so, or its URL by a slash at the end.
pub fn speaks_rpc(agent: &Agent) -> bool {
    matches!(&*agent.agent_type, "generic" | "jsonrpc") || agent.endpoint_url.ends_with('/')
}

impl Request {
    /// The request that parameters stand for. Those of an agent of A2A are a whole call (`jsonrpc`
    /// and `method`), its `params`, a `message`, or words (`query` or `text`) for a message, beside
    /// which other parameters of the call may stand.
    pub fn of_parameters(
        agent: &Agent,
        mut parameters: Map<String, Value>,
        interaction_type: &str,
    ) -> Request {
        if !speaks_rpc(agent) {
            return Request::Custom(json!({
                "interaction_type": interaction_type,
                "parameters": parameters,
                "protocol_version": agent.protocol_version,
            }));
        }
        let is_call = parameters.contains_key("jsonrpc");
        let id = parameters.remove("id").unwrap_or(json!(1));
        let method = match parameters.remove("method") {
            Some(Value::String(method)) => method,
            _ => "SendMessage".to_owned(),
        };
        if let Some(params) = parameters.remove("params") {
            return Request::Rpc { method, params, id };
        }
        if is_call {
            return Request::Rpc { method, params: json!({}), id };
        }
        let words = ["query", "text"]
            .into_iter()
            .find(|name| parameters.get(*name).is_some_and(Value::is_string));
        if !parameters.contains_key("message")
            && let Some(Value::String(words)) = words.and_then(|name| parameters.remove(name))
        {
            let message_id = match parameters.remove("messageId") {
                Some(Value::String(id)) if !id.is_empty() => id,
                _ => new_id(),
            };
            let message = Dialect::Early.user_message(&words, &message_id);
            parameters.insert("message".to_owned(), message);
        }
        Request::Rpc { method, params: Value::Object(parameters), id }
    }

    /// A call as a client of A2A wrote it.
    ///
    /// # Errors
    ///
    /// A sentence: it is no call of JSON-RPC 2.0, or its answer would be a stream.
    pub fn of_call(mut call: Map<String, Value>) -> Result<Request, String> {
        if call.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err("Invalid or missing jsonrpc field; it should be \"2.0\"".to_owned());
        }
        let method = match call.remove("method") {
            Some(Value::String(method)) if !method.is_empty() => method,
            _ => return Err("Missing or invalid method field".to_owned()),
        };
        if STREAMING.contains(&&*method) {
            return Err(format!(
                "{method} streams its answer, which is not relayed; send the message \
                                and ask for the task"
            ));
        }
        let params = match call.remove("params") {
            None | Some(Value::Null) => json!({}),
            Some(params @ Value::Object(_)) => params,
            Some(_) => return Err("params should be an object".to_owned()),
        };
        let id = call.remove("id").unwrap_or(json!(1));
        Ok(Request::Rpc { method, params, id })
    }

    /// A question for the task with this id.
    pub(super) fn get_task(id: &str) -> Request {
        Request::Rpc { method: "GetTask".to_owned(), params: json!({"id": id}), id: json!(1) }
    }

    /// The body, in a dialect.
    pub(super) fn body(&self, dialect: Dialect) -> Vec<u8> {
        let body = match self {
            Request::Custom(body) => body.to_string(),
            Request::Rpc { method, params, id } => {
                let mut params = params.clone();
                dialect.params(&mut params);
                let method = dialect.method(method);
                json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
            }
        };
        body.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(agent_type: &str, version: &str, parameters: Value) -> Value {
        let agent = Agent {
            agent_type: agent_type.to_owned(),
            protocol_version: version.to_owned(),
            endpoint_url: "http://a.example/run".to_owned(),
            ..Agent::default()
        };
        let Value::Object(parameters) = parameters else { panic!("no object") };
        let request = Request::of_parameters(&agent, parameters, "query");
        serde_json::from_slice(&request.body(Dialect::of(version))).unwrap()
    }

    #[test]
    fn words_become_a_message_in_the_dialect_of_the_agent() {
        let got = body("generic", "0.3", json!({"query": "hi", "messageId": "m"}));
        let message = json!({"messageId": "m", "role": "user", "kind": "message",
            "parts": [{"kind": "text", "text": "hi"}]});
        let expected = json!({"jsonrpc": "2.0", "id": 1, "method": "message/send",
            "params": {"message": message}});
        assert_eq!(got, expected);
        let got = body("jsonrpc", "1.0", json!({"text": "hi", "tenant": "t", "id": "x"}));
        assert_eq!((&got["method"], &got["id"]), (&json!("SendMessage"), &json!("x")));
        assert_eq!(got["params"]["tenant"], "t");
        assert_eq!(got["params"]["message"]["role"], "ROLE_USER");
        assert_eq!(got["params"]["message"]["parts"], json!([{"text": "hi"}]));
    }

    #[test]
    fn whole_calls_and_messages_are_taken_as_they_are() {
        let call = json!({"jsonrpc": "2.0", "method": "tasks/get", "params": {"id": "t"}, "id": 7});
        let got = body("generic", "1.0", call);
        let expected =
            json!({"jsonrpc": "2.0", "id": 7, "method": "GetTask", "params": {"id": "t"}});
        assert_eq!(got, expected);
        let message = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]});
        let got = body("generic", "1.0", json!({"message": message, "query": "kept"}));
        assert_eq!(got["params"]["message"], message);
    }

    #[test]
    fn other_agents_get_the_parameters_unless_their_url_ends_with_a_slash() {
        let got = body("custom", "1.0", json!({"query": "hi"}));
        let expected = json!({"interaction_type": "query", "parameters": {"query": "hi"},
            "protocol_version": "1.0"});
        assert_eq!(got, expected);
        let agent = |url: &str| Agent {
            agent_type: "openai".to_owned(),
            endpoint_url: url.to_owned(),
            ..Agent::default()
        };
        assert!(speaks_rpc(&agent("http://a.example/")));
        assert!(!speaks_rpc(&agent("http://a.example/x")));
    }

    #[test]
    fn a_call_that_is_none_is_refused_with_the_reason() {
        let refused = |call: Value| {
            let Value::Object(call) = call else { panic!("no object") };
            Request::of_call(call).unwrap_err()
        };
        assert!(refused(json!({"method": "GetTask"})).contains("jsonrpc"));
        assert!(refused(json!({"jsonrpc": "2.0", "method": 1})).contains("method"));
        let params = json!({"jsonrpc": "2.0", "method": "GetTask", "params": []});
        assert!(refused(params).contains("params"));
        assert!(refused(json!({"jsonrpc": "2.0", "method": "message/stream"})).contains("stream"));
    }
}
