//! What a request needs before it is sent upstream, and how it is.

use std::sync::Arc;

use super::{Call, parked::Parker, work::Work};
use crate::{
    catalog::Upstream,
    failure::Failure,
    mcp::Era,
    upstream::{Answer, Outgoing, Relay, Stream},
};

/// Whether this upstream is one of the stateless revision.
pub(super) fn is_modern(upstream: &Upstream) -> bool {
    upstream.record.era == Some(storage::record::Era::Modern)
}

impl<R: Relay> Call<'_, R> {
    /// Says of the client what the upstream cannot know otherwise; returns where the call can wait if
    /// its client is asked something.
    pub(super) fn introduced(
        &self,
        upstream: &Upstream,
        outgoing: &mut Outgoing<'_>,
    ) -> Option<Parker> {
        if self.era != Era::Modern {
            return None;
        }
        outgoing.log_level = self.log_wish(upstream);
        if is_modern(upstream) {
            return None;
        }
        outgoing.capabilities = self.declared();
        self.parker(upstream, outgoing.name.unwrap_or_default())
    }

    /// The answer of an upstream that makes a task of the call.
    fn worked(&self, upstream: &Arc<Upstream>, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        let held = self.parts.relay.hold(upstream)?;
        let work = Work::new(held, outgoing, "\"task\":{},", outgoing.within);
        let answer = Answer::Stream(Stream::new(Box::new(work)));
        Ok(self.for_revision(self.with_links(&upstream.record.id, outgoing, answer)))
    }

    /// Sends the request; what an upstream gives out that its caller alone may use is sealed.
    pub(super) async fn sent(
        &self,
        upstream: &Arc<Upstream>,
        outgoing: &Outgoing<'_>,
        is_tool: bool,
    ) -> Result<Answer, Failure> {
        if self.is_task {
            return self.worked(upstream, outgoing);
        }
        let answer = self.parts.relay.request(upstream, outgoing).await?;
        let answer = self.in_rounds(upstream, outgoing, answer)?;
        let answer = self.with_links(&upstream.record.id, outgoing, answer);
        let answer = self.for_revision(answer);
        if !is_modern(upstream) {
            return Ok(answer);
        }
        let name = outgoing.name.unwrap_or_default();
        let answer = self.with_state_sealed(upstream, name, answer);
        Ok(if is_tool { self.with_task_sealed(upstream, answer) } else { answer })
    }
}
