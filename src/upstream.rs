//! The other side of the gateway: requests to upstreams and what comes back.
//!
//! Each shard has its own legs and shares none, except that a child process belongs to one shard
//! and the others reach it by mailbox. What crosses this module is raw JSON: a leg splices ids,
//! names and `_meta`, it never rebuilds what it relays.

pub mod a2a;
pub mod address;
pub mod discover;
mod eras;
pub mod fetch;
pub mod http;
pub mod issuer;
mod keyed;
mod legs;
mod levels;
pub mod link;
mod meta;
mod question;
pub mod rest;
pub mod stdio;
mod waiters;
pub mod watch;

use net::span::Span;

use crate::{failure::Failure, mcp::Capabilities};

pub use keyed::KeyedLimits;
pub use legs::{Health, Upstreams};
pub use levels::LogWish;
pub use question::Question;

/// A request of a client on its way to an upstream.
///
/// `params` is the client's own raw object; `edits` are what the upstream must see otherwise.
pub struct Outgoing<'a> {
    /// The method, as `tools/call`.
    pub method: &'a str,
    /// The raw params object; `{}` if there was none.
    pub params: &'a [u8],
    /// Replacements within `params`, ascending and not overlapping.
    pub edits: Vec<Edit<'a>>,
    /// Where the object `params._meta` lies in `params`.
    pub meta: Option<Span>,
    /// Where the value of `params._meta.progressToken` lies in `params`.
    pub progress_token: Option<Span>,
    /// What `Mcp-Name` says: the name, URI or task id as the upstream knows it.
    pub name: Option<&'a str>,
    /// `Mcp-Param-*` headers: the part behind the prefix, and the encoded value.
    pub param_headers: Vec<(&'a str, String)>,
    /// True if `params._meta` already is that of a modern request.
    pub modern: bool,
    /// How long the whole exchange may take.
    pub within: std::time::Duration,
    /// What the client can be asked meanwhile.
    pub capabilities: Capabilities,
    /// From which level on the client hears of log messages; `None` if it gets none, or says so itself
    /// in a way that its upstream understands.
    pub log_level: Option<LogWish>,
    /// Whose session with the upstream it is; `None` where all who can be asked the same share one.
    pub client: Option<std::sync::Arc<str>>,
}

/// One replacement within raw JSON.
pub struct Edit<'a> {
    /// What is replaced; empty to insert.
    pub span: Span,
    /// What stands there instead.
    pub replacement: std::borrow::Cow<'a, [u8]>,
}

/// What an upstream answered.
pub enum Answer {
    /// The answer, with nothing before it.
    Whole(Reply),
    /// Notifications first, and the answer at the end.
    Stream(Stream),
}

/// An answer's result or error, as raw JSON inside the buffer it arrived in.
pub struct Reply {
    /// The buffer; it goes back to [`shards::buffer`] when it was written out.
    pub bytes: Vec<u8>,
    /// Where the raw result or error object lies in `bytes`.
    pub span: Span,
    /// Which of the two it is.
    pub outcome: Outcome,
}

/// Which of the two an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// `result`.
    Result,
    /// `error`.
    Error,
}

/// One message of an answer that streams.
pub enum Event {
    /// A notification, as the whole raw message.
    Notification(Vec<u8>),
    /// The upstream asks the client something; the answer goes on once it is told.
    Question(Question),
    /// The answer; nothing comes after it.
    Reply(Reply),
}

/// An answer that streams. Dropping it cancels the request upstream.
pub struct Stream {
    source: Box<dyn EventSource>,
}

/// What a leg implements to stream.
pub trait EventSource {
    /// Waits for the next message.
    fn next(&mut self) -> std::pin::Pin<Box<dyn Future<Output = Result<Event, Failure>> + '_>>;
}

impl Stream {
    /// Makes a stream of a leg's own source.
    pub fn new(source: Box<dyn EventSource>) -> Stream {
        Stream { source }
    }

    /// Waits for the next message; after an [`Event::Reply`] or an error there is none.
    ///
    /// # Errors
    ///
    /// An upstream failure when the stream breaks off or takes too long.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        self.source.next().await
    }
}

impl Reply {
    /// The raw result or error object.
    pub fn raw(&self) -> &[u8] {
        self.span.of_bytes(&self.bytes)
    }
}

impl Outgoing<'_> {
    /// Where a place of the client's params lies in those that the upstream sees. It must not be
    /// one that is edited.
    pub fn moved(&self, span: Span) -> Span {
        let at = |offset: u32| {
            let before = self.edits.iter().take_while(|edit| edit.span.end <= offset);
            before.fold(offset as usize, |at, edit| at + edit.replacement.len() - edit.span.len())
        };
        Span::new(at(span.start), at(span.end))
    }

    /// What the client can be asked while this runs; `None` if it is no request during which an
    /// upstream may ask.
    pub fn asked(&self) -> Option<Capabilities> {
        let may_ask = matches!(
            self.method,
            // What concerns a task belongs to the session of the call that made it.
            "tools/call" | "prompts/get" | "resources/read" | "tasks/result" | "tasks/cancel"
        );
        may_ask.then_some(self.capabilities)
    }

    /// Appends the params as the upstream must see them.
    pub fn write_params(&self, out: &mut Vec<u8>) {
        splice(out, self.params, &self.edits);
    }
}

/// Appends `raw` with its `edits` made; they are ascending and do not overlap.
pub fn splice(out: &mut Vec<u8>, raw: &[u8], edits: &[Edit<'_>]) {
    let mut from = 0;
    for edit in edits {
        out.extend_from_slice(&raw[from..edit.span.start as usize]);
        out.extend_from_slice(&edit.replacement);
        from = edit.span.end as usize;
    }
    out.extend_from_slice(&raw[from..]);
}

/// The way to one upstream, for who has more to send to it later.
pub trait Held {
    /// Sends one request.
    ///
    /// # Errors
    ///
    /// As [`Relay::request`].
    fn request<'a>(
        &'a self,
        outgoing: Outgoing<'a>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Answer, Failure>> + 'a>>;
}

/// The way to the upstreams, as the request path sees it.
pub trait Relay {
    /// Holds the way to `upstream`.
    ///
    /// # Errors
    ///
    /// A refused upstream.
    fn hold(
        &self,
        upstream: &std::sync::Arc<crate::catalog::Upstream>,
    ) -> Result<Box<dyn Held>, Failure>;

    /// Sends one request to `upstream` and returns what it answers.
    ///
    /// # Errors
    ///
    /// An upstream failure with its kind; see [`crate::failure::UpstreamKind`].
    fn request(
        &self,
        upstream: &std::sync::Arc<crate::catalog::Upstream>,
        outgoing: &Outgoing<'_>,
    ) -> impl Future<Output = Result<Answer, Failure>>;

    /// The upstream as it was found to be, if that is otherwise than this record says.
    fn moved(
        &self,
        _upstream: &std::sync::Arc<crate::catalog::Upstream>,
    ) -> Option<std::sync::Arc<crate::catalog::Upstream>> {
        None
    }

    /// Looks whether an upstream speaks another era by now, if a failure is a sign of that; returns it
    /// as it is then. What failed so was not executed.
    fn probe_again(
        &self,
        _upstream: &std::sync::Arc<crate::catalog::Upstream>,
        _failure: &Failure,
    ) -> impl Future<Output = Option<std::sync::Arc<crate::catalog::Upstream>>> {
        std::future::ready(None)
    }

    /// Calls a REST tool and returns the raw result object. That the service failed is a result too,
    /// with `isError`.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if as many calls run and wait as may.
    fn call_rest(
        &self,
        call: &rest::RestCall<'_>,
    ) -> impl Future<Output = Result<Vec<u8>, Failure>>;

    /// Calls the tool of an agent and returns the raw result object. That the agent failed is a
    /// result too, with `isError`.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if as many calls run and wait as may.
    fn call_agent(
        &self,
        call: &a2a::AgentCall<'_>,
    ) -> impl Future<Output = Result<Vec<u8>, Failure>>;
}
