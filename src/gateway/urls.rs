//! Sending the user to a URL (elicitation in URL mode), between the revisions: that with a handshake
//! names each with an id and can demand it by an error (2025-11-25, Elicitation), the stateless one
//! knows neither.

use net::{Span, jsonrpc};
use serde_json::{Value, json};
use storage::record::new_id;

use crate::{
    failure::{Failure, ProtocolError},
    mcp::{ServerInfo, code},
    upstream::{Outcome, Reply},
};

/// `URLElicitationRequiredError` of 2025-11-25.
const URL_REQUIRED: i64 = -32042;

/// Elicitations that one error can demand.
const DEMAND_COUNT_MAX: usize = 16;

/// The params of an elicitation for a client that knows no ids of them; nothing if they have none.
pub fn without_id(params: &str) -> Option<String> {
    let [mode, id] = jsonrpc::pick(params, ["mode", "elicitationId"]).ok()?;
    id.filter(|_| mode.is_some_and(|mode| mode.of_text(params) == "\"url\""))?;
    let fields = jsonrpc::fields(params).map_while(Result::ok);
    let kept = fields.filter(|field| field.key != "elicitationId");
    let kept: Vec<_> = kept.map(|field| format!("{}:{}", json!(field.key), field.value)).collect();
    Some(format!("{{{}}}", kept.join(",")))
}

/// The params of an elicitation for a client that expects an id; nothing if they need none.
pub fn with_id(params: &str) -> Option<String> {
    let [mode, id] = jsonrpc::pick(params, ["mode", "elicitationId"]).ok()?;
    let needs_one = id.is_none() && mode?.of_text(params) == "\"url\"";
    let behind = needs_one.then(|| params.find('{'))?? + 1;
    Some(format!("{}\"elicitationId\":\"{}\",{}", &params[..behind], new_id(), &params[behind..]))
}

/// What becomes of an answer that demands to send the user somewhere first, for a client that knows no
/// such error: it is asked to, and calls again. Nothing if the answer is another.
///
/// # Errors
///
/// Code -32021, if the client `can_go` nowhere.
pub fn demanded(
    reply: &Reply,
    can_go: bool,
    server: &ServerInfo,
) -> Option<Result<Reply, Failure>> {
    let raw = std::str::from_utf8(reply.raw()).ok().filter(|_| reply.outcome == Outcome::Error)?;
    let error = jsonrpc::ErrorParts::parse(raw).ok().filter(|error| error.code == URL_REQUIRED)?;
    if !can_go {
        let required = json!({"requiredCapabilities": {"elicitation": {"url": {}}}});
        return Some(Err(Failure::Protocol(ProtocolError {
            status: 400,
            code: code::MISSING_CAPABILITY,
            message: error.message.to_string(),
            data: Some(required.to_string()),
        })));
    }
    let data = error.data.and_then(|data| serde_json::from_str::<Value>(data).ok());
    let elicitations = data.as_ref().and_then(|data| data["elicitations"].as_array());
    let requests = elicitations.into_iter().flatten().take(DEMAND_COUNT_MAX).enumerate();
    let requests = requests.map(|(index, params)| {
        let params = params.to_string();
        let params = without_id(&params).unwrap_or(params);
        format!("\"url-{}\":{{\"method\":\"elicitation/create\",\"params\":{params}}}", index + 1)
    });
    let requests = requests.collect::<Vec<_>>().join(",");
    let bytes = format!("{{\"resultType\":\"input_required\",\"inputRequests\":{{{requests}}}}}");
    let bytes = server.signed(&bytes);
    Some(Ok(Reply { span: Span::new(0, bytes.len()), bytes, outcome: Outcome::Result }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32, data: &str) -> Reply {
        let bytes = format!(r#"{{"code":{code},"message":"go","data":{data}}}"#).into_bytes();
        Reply { span: Span::new(0, bytes.len()), bytes, outcome: Outcome::Error }
    }

    #[test]
    fn an_id_is_there_for_those_who_expect_one_alone() {
        let with = r#"{"mode":"url","url":"https://a/?x=1.0","elicitationId":"7","z":1.0}"#;
        let without = r#"{"mode":"url","url":"https://a/?x=1.0","z":1.0}"#;
        assert_eq!(without_id(with).as_deref(), Some(without));
        assert_eq!(without_id(without), None);
        assert_eq!(with_id(with), None);
        let added = with_id(without).expect("it needs one");
        assert_eq!(without_id(&added).as_deref(), Some(without));
        for form in [r#"{"mode":"form","elicitationId":"1"}"#, r#"{"message":"?"}"#] {
            assert_eq!((without_id(form), with_id(form)), (None, None), "{form}");
        }
    }

    #[test]
    fn a_demand_becomes_questions_to_who_can_go_somewhere() {
        let data = r#"{"elicitations":[{"mode":"url","url":"https://a","elicitationId":"1"},
            {"mode":"url","url":"https://b","message":"m"}]}"#;
        let server = ServerInfo::named("g");
        let reply = demanded(&error(-32042, data), true, &server).unwrap().unwrap();
        let result: Value = serde_json::from_slice(reply.raw()).unwrap();
        assert_eq!(result["resultType"], "input_required");
        let first = json!({"mode": "url", "url": "https://a"});
        assert_eq!(result["inputRequests"]["url-1"]["params"], first);
        assert_eq!(result["inputRequests"]["url-2"]["method"], "elicitation/create");
        let failure = demanded(&error(-32042, data), false, &server).unwrap().err().unwrap();
        assert_eq!(failure.code(), -32021);
        assert!(demanded(&error(-32602, data), true, &server).is_none());
        let text = demanded(&error(-32042, "7"), true, &server).unwrap().unwrap();
        let expected = server.signed(r#"{"resultType":"input_required","inputRequests":{}}"#);
        assert_eq!(text.raw(), expected);
    }
}
