//! What an upstream asks a client while it works on a request.

use net::jsonrpc;

use super::keyed::SessionKey;
use crate::{mcp::Capabilities, session::Word};

/// A request of an upstream to the client. Dropped without an answer, it is answered by an error, so
/// that no upstream waits in vain.
pub struct Question {
    /// The method, as `elicitation/create`.
    pub method: String,
    /// The raw params object.
    pub params: String,
    id: String,
    /// Takes the whole answer.
    reply: Option<Reply>,
}

type Reply = Box<dyn FnOnce(Vec<u8>)>;

impl Question {
    /// A request with this raw id, the answer to which goes to `reply`.
    pub fn new(
        method: impl Into<String>,
        params: Option<&str>,
        id: impl Into<String>,
        reply: impl FnOnce(Vec<u8>) + 'static,
    ) -> Question {
        let (method, id) = (method.into(), id.into());
        let params = params.unwrap_or("{}").to_owned();
        Question { method, params, id, reply: Some(Box::new(reply)) }
    }

    /// Answers it.
    pub fn answer(mut self, word: &Word) {
        if let Some(reply) = self.reply.take() {
            let mut message = Vec::new();
            match word {
                Word::Result(raw) => jsonrpc::result(&mut message, &self.id, raw),
                Word::Error(raw) => {
                    message.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
                    message.extend_from_slice(self.id.as_bytes());
                    message.extend_from_slice(b",\"error\":");
                    message.extend_from_slice(raw.as_bytes());
                    message.push(b'}');
                }
            }
            reply(message);
        }
    }

    /// Answers that the client cannot be asked this.
    pub fn refuse(self) {
        self.answer(&Word::Error(r#"{"code":-32601,"message":"Method not found"}"#.to_owned()));
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            let text = "The client did not answer";
            let mut message = Vec::new();
            jsonrpc::error(&mut message, Some(&self.id), -32603, text, None);
            reply(message);
        }
    }
}

/// What the gateway itself answers to a request of an upstream.
pub(super) enum OwnAnswer {
    /// A raw result.
    Result(&'static str),
    /// An error: its code, and what is wrong.
    Error(i32, &'static str),
}

impl OwnAnswer {
    /// Writes it as the whole answer to the request with this raw id.
    pub(super) fn write(&self, out: &mut Vec<u8>, id: &str) {
        match self {
            OwnAnswer::Result(raw) => jsonrpc::result(out, id, raw),
            OwnAnswer::Error(code, text) => jsonrpc::error(out, Some(id), *code, text, None),
        }
    }
}

/// Finds who is asked, on a connection where a request of the upstream does not say for whom it
/// works: the client whose request runs. `waiting` are the requests during which clients may be
/// asked something, with their numbers and what they can be asked.
pub(super) fn whom<T>(
    key: &SessionKey,
    method: &str,
    params: Option<&str>,
    waiting: impl Iterator<Item = (u64, Capabilities, T)>,
) -> Result<T, OwnAnswer> {
    let params = params.unwrap_or("{}");
    if method == "ping" {
        return Err(OwnAnswer::Result("{}"));
    }
    if !key.declared().allow(method, params) {
        return Err(OwnAnswer::Error(-32601, "Method not found"));
    }
    let (mut last, mut count) = (None, 0);
    for (number, capabilities, one) in waiting {
        count += 1;
        if last.as_ref().is_none_or(|(highest, _, _)| *highest < number) {
            last = Some((number, capabilities, one));
        }
    }
    match last {
        // Nobody's roots: it asks for itself, as some do when they start.
        None if method == "roots/list" => Err(OwnAnswer::Result("{\"roots\":[]}")),
        None => Err(OwnAnswer::Error(-32603, "No call runs, so there is no client to ask")),
        Some(_) if count > 1 && key.client.is_none() => Err(OwnAnswer::Error(-32603, MANY)),
        // If there are several, all of them are one user's, whose last request it is, most likely.
        Some((_, capabilities, one)) if capabilities.allow(method, params) => Ok(one),
        Some(_) => Err(OwnAnswer::Error(-32601, "The client cannot be asked this")),
    }
}

/// Why a question is refused while several clients could be meant.
const MANY: &str = "Several calls run, and it cannot be told whose client is to be asked; \
                    session_mode per_client gives every user a session of their own";

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc, sync::Arc};

    use super::*;

    fn told(answer: impl FnOnce(Question)) -> String {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let ear = heard.clone();
        answer(Question::new("roots/list", None, "\"a\"", move |text| *ear.borrow_mut() = text));
        String::from_utf8(heard.take()).unwrap()
    }

    #[test]
    fn a_question_goes_to_the_one_whom_it_can_only_be_for() {
        let forms = Capabilities::FORMS;
        let asked = |client: Option<&str>, method: &str, waiting: &[(u64, Capabilities)]| {
            let key = SessionKey { capabilities: forms, client: client.map(Arc::from) };
            let waiting = waiting.iter().map(|(number, can)| (*number, *can, *number));
            whom(&key, method, None, waiting).map_err(|answer| {
                let mut text = Vec::new();
                answer.write(&mut text, "7");
                String::from_utf8(text).unwrap()
            })
        };
        let (elicit, nothing) = ("elicitation/create", Capabilities::NONE);
        assert_eq!(asked(None, elicit, &[(3, forms)]), Ok(3));
        assert!(asked(None, elicit, &[(3, nothing)]).unwrap_err().contains("-32601"));
        for other in [forms, nothing] {
            let refused = asked(None, elicit, &[(3, forms), (4, other)]).unwrap_err();
            assert!(refused.contains("per_client"), "{refused}");
        }
        assert_eq!(asked(Some("a@b"), elicit, &[(3, forms), (9, forms), (4, forms)]), Ok(9));
        assert!(asked(None, elicit, &[]).unwrap_err().contains("no client to ask"));
        let empty = r#"{"jsonrpc":"2.0","id":7,"result":{"roots":[]}}"#;
        assert_eq!(asked(None, "roots/list", &[]).unwrap_err(), empty);
        // What was not declared is not there.
        assert!(asked(Some("a@b"), "roots/list", &[]).unwrap_err().contains("-32601"));
        assert!(asked(None, "tasks/get", &[(3, forms)]).unwrap_err().contains("-32601"));
        assert!(asked(None, "ping", &[(3, forms)]).unwrap_err().contains("\"result\":{}"));
    }

    #[test]
    fn every_question_is_answered_once() {
        let result = told(|question| question.answer(&Word::Result("{\"roots\":[]}".to_owned())));
        assert_eq!(result, r#"{"jsonrpc":"2.0","id":"a","result":{"roots":[]}}"#);
        let error = told(|question| question.answer(&Word::Error("{\"code\":1}".to_owned())));
        assert_eq!(error, r#"{"jsonrpc":"2.0","id":"a","error":{"code":1}}"#);
        assert!(told(Question::refuse).contains("-32601"));
        assert!(told(drop).contains("-32603"));
    }
}
