//! What a bridge must know of a message to hand it on.

use std::borrow::Cow;

use net::{
    Span,
    jsonrpc::{self, Answer, AnswerKind, EnvelopeLimits, Message, MetaKey, Param},
};

/// The code of errors that are the bridge's own: it could not reach the other side, or no answer
/// came.
pub(super) const UNREACHED: i32 = -32000;

/// The revision that a message names for itself, as those of the stateless era do.
pub(super) fn revision<'a>(message: &Message<'a>) -> Option<Cow<'a, str>> {
    jsonrpc::unescape(message.meta(MetaKey::ProtocolVersion)?).ok()
}

/// What a request of the stateless era names in `Mcp-Name`.
pub(super) fn name<'a>(message: &Message<'a>) -> Option<Cow<'a, str>> {
    let param = match message.method() {
        "tools/call" | "prompts/get" => Param::Name,
        "resources/read" => Param::Uri,
        method if method.starts_with("tasks/") => Param::TaskId,
        _ => return None,
    };
    jsonrpc::unescape(message.param(param)?).ok()
}

/// Where the progress token of a request lies in its text.
pub(super) fn progress_token(message: &Message<'_>) -> Option<Span> {
    message.named().meta(MetaKey::ProgressToken)
}

/// Which request an answer answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    /// The one with this raw id.
    To(&'a str),
    /// One whose id the other side could not read.
    ToNobody,
    /// It is no answer.
    None,
}

/// Reads what a message of the other side is.
pub(super) fn reply(bytes: &[u8]) -> Reply<'_> {
    let Ok(answer) = Answer::parse(bytes, &EnvelopeLimits::default()) else { return Reply::None };
    match (answer.kind(), answer.id()) {
        (AnswerKind::Result | AnswerKind::Error, Some(id)) => Reply::To(id),
        (AnswerKind::Error, None) => Reply::ToNobody,
        _ => Reply::None,
    }
}

/// An error as the answer to `id`.
pub(super) fn error(id: Option<&str>, code: i32, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    jsonrpc::error(&mut out, id, code, text, None);
    out
}

/// The text with what stands at `place` replaced.
pub(super) fn splice(text: &str, edits: &mut [(Span, &str)]) -> Vec<u8> {
    edits.sort_by_key(|(place, _)| place.start);
    let mut out = Vec::with_capacity(text.len() + 32);
    let mut from = 0;
    for (place, replacement) in edits {
        out.extend_from_slice(&text.as_bytes()[from..place.start as usize]);
        out.extend_from_slice(replacement.as_bytes());
        from = place.end as usize;
    }
    out.extend_from_slice(&text.as_bytes()[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Message<'_> {
        Message::parse(text.as_bytes(), &EnvelopeLimits::default()).expect("a message")
    }

    #[test]
    fn finds_what_headers_repeat() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"caf\u00e9","_meta":{"progressToken":"p","io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let message = parse(text);
        assert_eq!(revision(&message).as_deref(), Some("2026-07-28"));
        assert_eq!(name(&message).as_deref(), Some("café"));
        assert_eq!(progress_token(&message).map(|place| place.of_text(text)), Some("\"p\""));
        let plain = parse(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        assert_eq!((revision(&plain), name(&plain), progress_token(&plain)), (None, None, None));
    }

    #[test]
    fn tells_answers_from_what_the_other_side_asks() {
        assert_eq!(reply(br#"{"jsonrpc":"2.0","id":"1","result":{}}"#), Reply::To("\"1\""));
        let nobody = br#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#;
        assert_eq!(reply(nobody), Reply::ToNobody);
        assert_eq!(reply(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), Reply::None);
        assert_eq!(reply(b"noise"), Reply::None);
    }

    #[test]
    fn splices_several_places_in_any_order() {
        let mut edits = [(Span::new(4, 5), "five"), (Span::new(0, 1), "")];
        assert_eq!(splice("0 2 4 6", &mut edits), b" 2 five 6");
    }
}
