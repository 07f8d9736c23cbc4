//! What an upstream asks a client while it works on a request.

use net::jsonrpc;

use crate::session::Word;

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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    fn told(answer: impl FnOnce(Question)) -> String {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let ear = heard.clone();
        answer(Question::new("roots/list", None, "\"a\"", move |text| *ear.borrow_mut() = text));
        String::from_utf8(heard.take()).unwrap()
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
