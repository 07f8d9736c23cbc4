//! The `requestState` of an upstream of the stateless revision (2026-07-28, Multi Round-Trip
//! Requests): its client is given it sealed, so that it is good for nothing but that client's own
//! request. The upstream always gets back its own bytes.

use std::{borrow::Cow, sync::LazyLock};

use memchr::memmem::Finder;
use net::{
    Span,
    jsonrpc::{self, Param},
};
use serde::{Deserialize, Serialize};

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
    /// Until when it is good, in seconds since the epoch.
    until: u64,
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
        let seal = move |raw: &str| {
            let until = now().saturating_add(limits::REQUEST_STATE_AGE_MAX.as_secs());
            let (email, call) = (email.clone(), call.clone());
            let sealed = Sealed { raw: raw.to_owned(), email, call, until };
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
        let is_ours = |sealed: &Sealed| {
            sealed.email == self.request.caller.email && sealed.call == call && now() < sealed.until
        };
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
}
