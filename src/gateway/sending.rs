//! What a request needs before it is sent upstream, and how it is.

use std::sync::Arc;

use super::{Call, parked::Parker};
use crate::{
    catalog::Upstream,
    failure::Failure,
    mcp::Era,
    upstream::{Answer, Outgoing, Relay},
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

    /// Sends the request; what an upstream gives out that its caller alone may use is sealed.
    pub(super) async fn sent(
        &self,
        upstream: &Arc<Upstream>,
        outgoing: &Outgoing<'_>,
        is_tool: bool,
    ) -> Result<Answer, Failure> {
        let answer = self.parts.relay.request(upstream, outgoing).await?;
        let answer = self.in_rounds(upstream, outgoing, answer)?;
        if !is_modern(upstream) {
            return Ok(answer);
        }
        let name = outgoing.name.unwrap_or_default();
        let answer = self.with_state_sealed(upstream, name, answer);
        Ok(if is_tool { self.with_task_sealed(upstream, answer) } else { answer })
    }
}
