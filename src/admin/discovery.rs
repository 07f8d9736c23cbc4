//! Asking an upstream what it is, and finding out how it wants to be asked.

use storage::record::{Gateway, Transport};

use super::Backend;
use super::gateway_form::Draft;
use crate::catalog::Upstream;
use crate::catalog::inventory::Inventory;
use crate::failure::{Failure, UpstreamFailure, UpstreamKind};

/// Asks the upstream of a draft. Where its transport is open, streamable HTTP is tried first and
/// then SSE, and the draft takes the one that worked.
///
/// # Errors
///
/// 503 that says what was tried and what came back, 422 if the address is not allowed here.
pub async fn discover<B: Backend>(backend: &B, draft: &mut Draft) -> Result<Inventory, Failure> {
    if !draft.transport_is_open {
        let upstream = draft.upstream();
        return ask(backend, &upstream).await.map_err(|attempt| attempt.explain(&draft.gateway));
    }
    draft.gateway.transport = Transport::StreamableHttp;
    let first = match ask(backend, &draft.upstream()).await {
        Ok(inventory) => return Ok(inventory),
        Err(attempt) if attempt.is_worth_another() => attempt,
        Err(attempt) => return Err(attempt.explain(&draft.gateway)),
    };
    draft.gateway.transport = Transport::Sse;
    let second = match ask(backend, &draft.upstream()).await {
        Ok(inventory) => return Ok(inventory),
        Err(attempt) => attempt,
    };
    let both = format!("{}; {}", first.story(), second.story());
    Err(unable(&draft.gateway, both))
}

/// Asks a stored upstream as it is.
///
/// # Errors
///
/// As [`discover`].
pub async fn rediscover<B: Backend>(
    backend: &B,
    upstream: &Upstream,
) -> Result<Inventory, Failure> {
    ask(backend, upstream).await.map_err(|attempt| attempt.explain(&upstream.record))
}

async fn ask<B: Backend>(backend: &B, upstream: &Upstream) -> Result<Inventory, Attempt> {
    let asked = backend.discover(upstream).await;
    asked.map_err(|failure| Attempt { tried: tried(&upstream.record), failure })
}

/// One way that was tried, and how it ended.
struct Attempt {
    tried: String,
    failure: Failure,
}

impl Attempt {
    /// Whether another transport may work: the upstream answered, and not in this language.
    fn is_worth_another(&self) -> bool {
        let Failure::Upstream(failure) = &self.failure else { return false };
        match failure.kind {
            // Servers of 2024-11-05 answer a POST to their stream with 400, 404 or 405 by the
            // specification, and by experience with whatever their framework chose. These four
            // speak of who asks and how often, and would be the same for another transport.
            UpstreamKind::Status(401 | 403 | 407 | 429) => false,
            UpstreamKind::Status(status) => (300..500).contains(&status) || status == 501,
            UpstreamKind::Nonsense | UpstreamKind::Broken => true,
            _ => false,
        }
    }

    fn story(&self) -> String {
        let came_back = match &self.failure {
            Failure::Upstream(UpstreamFailure {
                kind: UpstreamKind::Unreachable, detail, ..
            }) => detail.clone(),
            other => other.to_string(),
        };
        let mend = match &self.failure {
            Failure::Upstream(UpstreamFailure {
                kind: UpstreamKind::Status(401 | 403), ..
            }) => " (set its credentials with the auth_ fields)",
            _ => "",
        };
        format!("tried {}: {came_back}{mend}", self.tried)
    }

    fn explain(self, gateway: &Gateway) -> Failure {
        match &self.failure {
            Failure::Upstream(failure) if failure.kind == UpstreamKind::Refused => {
                let field = if gateway.url.is_some() { "url" } else { "command" };
                Failure::field(field, self.failure.to_string())
            }
            Failure::Upstream(_) => unable(gateway, self.story()),
            _ => self.failure,
        }
    }
}

fn unable(gateway: &Gateway, story: String) -> Failure {
    let name = format!("gateway {}", gateway.name);
    Failure::upstream(name, UpstreamKind::Unreachable, story, false)
}

/// What was tried, without anything that may be secret: a command's arguments, a URL's query.
fn tried(gateway: &Gateway) -> String {
    match &gateway.url {
        Some(url) => {
            let way = match gateway.transport {
                Transport::Sse => "HTTP with SSE",
                Transport::Http => "plain HTTP",
                Transport::WebSocket => "a WebSocket",
                _ => "streamable HTTP",
            };
            format!("{way} at {}", url.split('?').next().unwrap_or_default())
        }
        None => format!("the command {}", gateway.command.first().map_or("", String::as_str)),
    }
}
