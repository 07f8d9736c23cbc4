//! The `requestState` of an upstream of the stateless revision (2026-07-28, Multi Round-Trip
//! Requests): its client is given it sealed, so that it is good for nothing but that client's own
//! request. The upstream always gets back its own bytes.

use std::{borrow::Cow, sync::LazyLock};

use aws_lc_rs::digest::{self, SHA256};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use memchr::memmem::Finder;
use net::{
    Span,
    jsonrpc::{self, Param},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, tasks};
use crate::{
    catalog::Upstream,
    failure::Failure,
    limits,
    mcp::{Era, code},
    state::now,
    upstream::{Answer, Edit, Outcome, Outgoing, Relay, Reply as UpstreamReply},
};

/// What states are sealed for.
const PURPOSE: &str = "mcp-upstream-state";

/// What ours begin with.
const PREFIX: &str = "ringway2.";

/// What makes a result worth a closer look.
static NEEDS_INPUT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("input_required"));

/// What a sealed state says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sealed {
    /// The upstream's own state, raw.
    raw: String,
    /// Who was given it.
    email: String,
    /// For what: method, upstream and name.
    call: String,
    /// With which arguments: their digest.
    arguments: String,
    /// Until when it is good, in seconds since the epoch.
    until: u64,
}

impl Sealed {
    /// Whether `now`, in seconds since the epoch, `email` may come back with it for `call` and the
    /// raw `arguments`.
    fn is_for(&self, email: &str, call: &str, arguments: Option<&str>, now: u64) -> bool {
        let is_same_call = self.email == email && self.call == call && now < self.until;
        is_same_call && self.arguments == digest(arguments)
    }
}

/// The digest of raw arguments. Clients may write the same ones differently the next time: neither
/// the order of members nor white space counts, and none at all are the same as empty ones. What
/// nests too deeply to be read must come back as it was.
fn digest(arguments: Option<&str>) -> String {
    let raw = arguments.filter(|raw| *raw != "null").unwrap_or("{}");
    let text = serde_json::from_str::<Value>(raw).map(|mut value| {
        value.sort_all_objects();
        value.to_string()
    });
    let digest = digest::digest(&SHA256, text.as_deref().unwrap_or(raw).as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

/// The answer to a state that is not this caller's, or not for this request, or no state at all.
pub(super) fn unknown() -> Failure {
    let text = "requestState: not known here, or not for this request";
    Failure::protocol(404, code::INVALID_PARAMS, text)
}

impl<R: Relay> Call<'_, R> {
    /// An answer whose `requestState`, if there is one, is good for this caller's request alone.
    pub(super) fn with_state_sealed(
        &self,
        upstream: &Upstream,
        name: &str,
        answer: Answer,
    ) -> Answer {
        let is_plain = |reply: &UpstreamReply| NEEDS_INPUT.find(reply.raw()).is_none();
        let parking = self.parts.parking.filter(|_| self.era == Era::Modern);
        let Some(parking) = parking.cloned() else { return answer };
        if matches!(&answer, Answer::Whole(reply) if is_plain(reply)) {
            return answer;
        }
        let (email, call) = (self.request.caller.email.clone(), self.call_id(upstream, name));
        let arguments = self.message.param(Param::Arguments).map(str::to_owned);
        let seal = move |raw: &str| {
            let until = now().saturating_add(limits::REQUEST_STATE_AGE_MAX.as_secs());
            let (email, call) = (email.clone(), call.clone());
            let arguments = digest(arguments.as_deref());
            let sealed = Sealed { raw: raw.to_owned(), email, call, arguments, until };
            let bytes = serde_json::to_vec(&sealed).expect("texts become JSON");
            format!("{PREFIX}{}", parking.sealer().seal_for(PURPOSE, bytes))
        };
        tasks::with_replies(answer, move |reply| match is_plain(&reply) {
            true => reply,
            false => replaced(reply, &seal),
        })
    }

    /// Puts the upstream's own state back into the request.
    ///
    /// # Errors
    ///
    /// Code -32602 with status 404 for a state that was not given to this caller for this request.
    pub(super) fn restore_state(
        &self,
        upstream: &Upstream,
        outgoing: &mut Outgoing<'_>,
    ) -> Result<(), Failure> {
        let raw = self.message.param(Param::RequestState).filter(|raw| *raw != "null");
        let place = self.within_params(self.message.param_place(Param::RequestState));
        let (Some(parking), Some(raw), Some(span)) = (self.parts.parking, raw, place) else {
            return Ok(());
        };
        let state = jsonrpc::unescape(raw).ok();
        let sealed = state.as_deref().and_then(|state| state.strip_prefix(PREFIX));
        let opened = sealed.and_then(|sealed| parking.sealer().open_for(PURPOSE, sealed).ok());
        let opened = opened.and_then(|bytes| serde_json::from_slice::<Sealed>(&bytes).ok());
        let call = self.call_id(upstream, outgoing.name.unwrap_or_default());
        let (email, arguments) = (&self.request.caller.email, self.message.param(Param::Arguments));
        let is_ours = |sealed: &Sealed| sealed.is_for(email, &call, arguments, now());
        let sealed = opened.filter(is_ours).ok_or_else(unknown)?;
        let at = outgoing.edits.partition_point(|edit| edit.span.start < span.start);
        let replacement = Cow::Owned(sealed.raw.into_bytes());
        outgoing.edits.insert(at, Edit { span, replacement });
        Ok(())
    }
}

/// A reply that asks for more, with another `requestState` in the place of its own.
fn replaced(reply: UpstreamReply, seal: &dyn Fn(&str) -> String) -> UpstreamReply {
    let raw = std::str::from_utf8(reply.raw()).unwrap_or_default();
    let picked = jsonrpc::pick(raw, ["resultType", "requestState"]).unwrap_or_default();
    let [Some(kind), Some(state)] = picked else { return reply };
    if reply.outcome != Outcome::Result || kind.of_text(raw) != "\"input_required\"" {
        return reply;
    }
    let mut bytes = Vec::with_capacity(2 * raw.len());
    bytes.extend_from_slice(&raw.as_bytes()[..state.start as usize]);
    jsonrpc::write_string(&mut bytes, &seal(state.of_text(raw)));
    bytes.extend_from_slice(&raw.as_bytes()[state.end as usize..]);
    let span = Span::new(0, bytes.len());
    shards::buffer::give(reply.bytes);
    UpstreamReply { bytes, span, outcome: Outcome::Result }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str, outcome: Outcome) -> UpstreamReply {
        UpstreamReply { bytes: text.into(), span: Span::new(0, text.len()), outcome }
    }

    #[test]
    fn only_the_state_of_a_result_that_asks_for_more_is_replaced() {
        let seal = |raw: &str| format!("<{raw}>");
        let replaced = |text: &str, outcome| {
            String::from_utf8(replaced(reply(text, outcome), &seal).raw().to_vec()).unwrap()
        };
        let asks =
            r#"{"resultType":"input_required", "requestState" : "a\"b", "inputRequests":{}}"#;
        let sealed = replaced(asks, Outcome::Result);
        assert_eq!(
            sealed,
            r#"{"resultType":"input_required", "requestState" : "<\"a\\\"b\">", "inputRequests":{}}"#
        );
        let complete = r#"{"resultType":"complete","requestState":"input_required"}"#;
        let stateless = r#"{"resultType":"input_required","inputRequests":{}}"#;
        for text in [complete, stateless] {
            assert_eq!(replaced(text, Outcome::Result), text);
        }
        assert_eq!(replaced(asks, Outcome::Error), asks);
    }

    #[test]
    fn a_state_is_good_for_its_caller_its_call_and_its_arguments_until_it_expires() {
        let arguments = Some(r#"{"a":1,"b":{"c":2,"d":[3,4]}}"#);
        let sealed = Sealed {
            raw: "\"s\"".to_owned(),
            email: "anna@example.com".to_owned(),
            call: "tools/call u t".to_owned(),
            arguments: digest(arguments),
            until: 10,
        };
        let (email, call) = (sealed.email.as_str(), sealed.call.as_str());
        assert!(sealed.is_for(email, call, arguments, 9));
        assert!(!sealed.is_for(email, call, arguments, 10), "expired");
        assert!(!sealed.is_for("eve@example.com", call, arguments, 9));
        assert!(!sealed.is_for(email, "tools/call u other", arguments, 9));
        for other in [None, Some("{}"), Some(r#"{"a":1,"b":{"c":2,"d":[4,3]}}"#)] {
            assert!(!sealed.is_for(email, call, other, 9), "{other:?}");
        }
    }

    #[test]
    fn arguments_written_in_another_way_are_the_same() {
        let one = digest(Some(r#"{"a":{"x":"A","y":2},"b":[1]}"#));
        assert_eq!(one, digest(Some(r#"{ "b":[1], "a":{"y":2,"x":"\u0041"} }"#)));
        assert_eq!(digest(None), digest(Some("{ }")));
        assert_eq!(digest(Some("null")), digest(None));
        assert_ne!(one, digest(None));
        let deep = |leaf: &str| format!("{{\"a\":{}{leaf}{}}}", "[".repeat(500), "]".repeat(500));
        assert_eq!(digest(Some(&deep("1"))), digest(Some(&deep("1"))));
        assert_ne!(digest(Some(&deep("1"))), digest(Some(&deep("2"))));
    }
}
