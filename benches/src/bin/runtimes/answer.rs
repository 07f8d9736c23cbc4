//! The work of the bare loop: a request's head, its envelope, and the same list of tools.

use benches::upstream::{Options, Request, Script, parse};
use sonic_rs::{JsonValueTrait, LazyValue};

/// The message that every loop answers.
pub const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
/// Tools whose list is about 4 KB.
const TOOL_COUNT: usize = 10;
/// What a body begins with, up to the id.
const BEFORE_ID: &[u8] = br#"{"jsonrpc":"2.0","id":"#;

/// The rendered list, without the id.
pub struct Answer {
    after_id: Vec<u8>,
}

/// A request that the loop has no answer to: the connection is closed.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused;

impl Answer {
    /// Renders the list.
    pub fn new() -> Answer {
        let script = Script::new(&Options { tool_count: TOOL_COUNT, ..Options::default() });
        let mut whole = Vec::new();
        let request = Request { verb: "POST", body: LIST.as_bytes(), ..Request::default() };
        script.answer(&request, &mut whole);
        let start = memchr::memmem::find(&whole, BEFORE_ID).expect("the script renders a message");
        // The id of LIST is one digit.
        Answer { after_id: whole.split_off(start + BEFORE_ID.len() + 1) }
    }

    /// The body of the answer under an id.
    pub fn body(&self, id: &[u8]) -> Vec<u8> {
        [BEFORE_ID, id, &self.after_id].concat()
    }

    /// The body of the answer to a message.
    ///
    /// # Errors
    ///
    /// [`Refused`] when it asks for something else.
    pub fn body_of(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        Ok(self.body(id_of(message)?.as_raw_str().as_bytes()))
    }

    /// Appends the answers to all whole requests in `bytes`; gives how many bytes they were.
    ///
    /// # Errors
    ///
    /// [`Refused`] when one cannot be answered.
    pub fn answer_all(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Refused> {
        let mut used = 0;
        while used < bytes.len() {
            let Some(request) = parse(&bytes[used..]).map_err(|_| Refused)? else { break };
            let id = id_of(request.body)?;
            let id = id.as_raw_str().as_bytes();
            let size = BEFORE_ID.len() + id.len() + self.after_id.len();
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n");
            out.extend_from_slice(format!("Content-Length: {size}\r\n\r\n").as_bytes());
            for part in [BEFORE_ID, id, &self.after_id] {
                out.extend_from_slice(part);
            }
            used += request.size;
        }
        Ok(used)
    }
}

fn id_of(message: &[u8]) -> Result<LazyValue<'_>, Refused> {
    let method = sonic_rs::get(message, ["method"]).map_err(|_| Refused)?;
    if method.as_str() != Some("tools/list") {
        return Err(Refused);
    }
    sonic_rs::get(message, ["id"]).map_err(|_| Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_about_four_kilobytes_and_carries_the_id() {
        let body = Answer::new().body_of(LIST.as_bytes()).expect("is a list");
        assert!((3_800..4_300).contains(&body.len()), "{} bytes", body.len());
        assert!(body.starts_with(br#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"#));
    }

    #[test]
    fn refuses_another_method() {
        assert_eq!(Answer::new().body_of(br#"{"id":1,"method":"ping"}"#), Err(Refused));
    }
}
