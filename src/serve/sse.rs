//! HTTP+SSE (2024-11-05, Transports): a stream of events that is the client's session, and POSTs to
//! the address that its first event names.

use std::{future::Future, pin::Pin, rc::Rc, time::Duration};

use net::{http1::server::BodyStream, sse};
use shards::time::Instant;

use crate::{
    auth::Caller,
    failure::Failure,
    serve::conversation::{Conversation, Out, Outlet, Partner},
    session::{Inlet, Owner},
    state::Shard,
};

/// Bytes of events that are written at once, unless a single one is larger.
const BATCH_SIZE_MAX: usize = 64 * 1024;

/// What the head of such a stream says besides that it has events.
pub const HEAD: &str = "x-mcp-sse: true\r\n";

/// The answer to a message that was taken.
pub const TAKEN: &[u8] = br#"{"status":"success"}"#;

/// Opens the stream of a client that knows us by `base`.
///
/// # Errors
///
/// As [`Conversation::begin`].
pub fn open(
    shard: &Rc<Shard>,
    partner: Partner,
    caller: &Caller,
    base: &str,
) -> Result<Box<dyn BodyStream>, Failure> {
    let sessions = &shard.conversing;
    let server_id = partner.server_id.clone();
    let (address, id) = sessions.address(owner(caller, &server_id));
    let outlet = Conversation::begin(shard, partner, &address.key)?;
    let conversation = Rc::downgrade(outlet.conversation());
    let take = Box::new(move |message, ip| match conversation.upgrade() {
        Some(conversation) => conversation.take(message, ip),
        None => Err(Failure::NotFound("Not Found".to_owned())),
    });
    let inlet = sessions.inlets.open(&address.key, take);
    let endpoint = match server_id.as_str() {
        "" => format!("{base}/message?session_id={id}"),
        server_id => format!("{base}/servers/{server_id}/message?session_id={id}"),
    };
    let http = &shard.settings.http;
    let keepalive = http.sse_keepalive_on.then_some(http.sse_keepalive);
    Ok(Box::new(Stream {
        outlet,
        endpoint: Some(endpoint),
        retry_ms: shard.settings.sessions.retry_ms as u64,
        keepalive: keepalive.filter(|interval| !interval.is_zero()),
        sent_at: Instant::now(),
        _inlet: inlet,
    }))
}

/// What tells whose a stream to `server_id` is that `caller` opens.
pub fn owner(caller: &Caller, server_id: &str) -> Owner {
    let (email, standing) = (caller.email.clone(), caller.standing());
    Owner { email, standing, server_id: server_id.to_owned() }
}

/// The session that the query of a POST names.
///
/// # Errors
///
/// Status 400 if it names none.
pub fn session_id(query: Option<&str>) -> Result<String, Failure> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let found = pairs.find_map(|(name, id)| (name == "session_id").then(|| id.into_owned()));
    found
        .filter(|id| !id.is_empty())
        .ok_or_else(|| Failure::Malformed("Missing session_id".to_owned()))
}

/// A conversation as events.
struct Stream {
    outlet: Outlet,
    /// Where messages go; taken when the client was told.
    endpoint: Option<String>,
    retry_ms: u64,
    /// How long it may be silent, if that is bounded.
    keepalive: Option<Duration>,
    sent_at: Instant,
    _inlet: Inlet,
}

impl Stream {
    async fn wait(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some(endpoint) = self.endpoint.take() {
            sse::retry(out, self.retry_ms);
            sse::encode(out, Some("endpoint"), None, endpoint.as_bytes());
            if self.keepalive.is_some() {
                keep_alive(out);
            }
            return true;
        }
        while out.is_empty() {
            let left = self.keepalive.map(|limit| limit.saturating_sub(self.sent_at.elapsed()));
            match self.outlet.next(left.unwrap_or(Duration::MAX)).await {
                Out::Message(message) => self.write(message, out),
                Out::Silence => self.show_life(out),
                Out::End(_) => return false,
            }
        }
        self.sent_at = Instant::now();
        true
    }

    /// Writes a message, and those that wait behind it.
    fn write(&mut self, message: Vec<u8>, out: &mut Vec<u8>) {
        let mut next = Some(message);
        while let Some(message) = next {
            sse::encode(out, Some("message"), None, &message);
            next = if out.len() < BATCH_SIZE_MAX { self.outlet.try_next() } else { None };
        }
    }

    fn show_life(&self, out: &mut Vec<u8>) {
        if self.keepalive.is_some_and(|limit| self.sent_at.elapsed() >= limit) {
            keep_alive(out);
        }
    }
}

impl BodyStream for Stream {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(self.wait(out))
    }
}

/// The contract's sign of life, which clients of MCP pass over.
fn keep_alive(out: &mut Vec<u8>) {
    sse::encode(out, Some("keepalive"), None, b"{}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_says_in_its_query_which_session_it_is_for() {
        assert_eq!(session_id(Some("a=b&session_id=x%2Dy")).unwrap(), "x-y");
        for wrong in [None, Some(""), Some("session_id="), Some("sessionId=x")] {
            let failure = session_id(wrong).unwrap_err();
            assert_eq!(
                (failure.status(), failure.to_string().as_str()),
                (400, "Missing session_id")
            );
        }
    }
}
