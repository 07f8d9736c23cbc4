//! Which era an upstream speaks, judged by what it answers to a `server/discover`.
//!
//! Falling back depends on no single code: everything that is not good evidence for the stateless
//! revision means legacy, except an outage, which proves nothing.

use std::time::Duration;

use net::jsonrpc::{self, AnswerKind, EnvelopeLimits, ErrorParts};

use super::Handshake;
use crate::{
    failure::{Failure, UpstreamKind},
    mcp::{LEGACY, MODERN},
    upstream::Outcome,
};

/// Codes that only a modern server answers: header mismatch, missing capability, unknown revision.
const HEADER_MISMATCH: i64 = -32020;
const MISSING_CAPABILITY: i64 = -32021;
const UNSUPPORTED_VERSION: i64 = -32022;

/// What an upstream's answer to `server/discover` says of its era.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Modern. If it refused the question itself, it said nothing of itself.
    Modern(Handshake),
    /// Not modern: try `initialize`.
    Legacy,
    /// It shares no revision with us, or is out of order; the sentence says which.
    Hopeless(String),
}

/// Judges a JSON-RPC answer to `server/discover`, on whatever way it came; `raw` is the raw result
/// or error.
pub fn judge_discover(outcome: Outcome, raw: &str) -> Verdict {
    match outcome {
        Outcome::Result => match Handshake::from_discover(raw) {
            Some(handshake) => Verdict::Modern(handshake),
            None => Verdict::Legacy,
        },
        Outcome::Error => match ErrorParts::parse(raw) {
            Ok(error) => judge_error(&error),
            Err(_) => Verdict::Legacy,
        },
    }
}

fn judge_error(error: &ErrorParts<'_>) -> Verdict {
    match error.code {
        HEADER_MISMATCH | MISSING_CAPABILITY => Verdict::Modern(Handshake::modern()),
        UNSUPPORTED_VERSION => {
            let supported = error.data.and_then(supported_versions);
            match supported {
                Some(versions) if versions.iter().any(|version| version == MODERN) => {
                    Verdict::Modern(Handshake::modern())
                }
                // A list without any revision that we know: neither way can work.
                Some(versions) if !versions.iter().any(|v| LEGACY.contains(&v.as_str())) => {
                    let versions = versions.join(", ");
                    Verdict::Hopeless(format!("it speaks only the revisions {versions:.200}"))
                }
                _ => Verdict::Legacy,
            }
        }
        _ => Verdict::Legacy,
    }
}

fn supported_versions(data: &str) -> Option<Vec<String>> {
    let [versions] = jsonrpc::pick(data, ["supported"]).ok()?;
    serde_json::from_str(versions?.of_text(data)).ok()
}

/// Judges an HTTP answer to `server/discover`. `body` is the JSON-RPC message of the answer if it
/// came as an event, else the body as far as it was read; it need not be JSON.
pub fn judge_probe(status: u16, body: &[u8]) -> Verdict {
    let message = jsonrpc::Answer::parse(body, &EnvelopeLimits::default()).ok();
    let outcome = message.as_ref().and_then(|message| match message.kind() {
        AnswerKind::Result => message.result().map(|raw| (Outcome::Result, raw)),
        AnswerKind::Error => message.error().map(|raw| (Outcome::Error, raw)),
        AnswerKind::Request | AnswerKind::Notification => None,
    });
    match (status, outcome) {
        // What a proxy says of a server that is away, or of us: no verdict on the server.
        (408 | 425 | 429 | 502..=504, _) => Verdict::Hopeless(format!("it answered HTTP {status}")),
        (200..=299, Some((outcome, raw))) => judge_discover(outcome, raw),
        // The specification lets 400 carry the modern errors; the method's own error comes with
        // 404. Any other body of a refusal has no meaning for the era.
        (400..=499, Some((Outcome::Error, raw))) => judge_discover(Outcome::Error, raw),
        (300..=399, _) => Verdict::Hopeless(format!("it answered HTTP {status}, a redirection")),
        _ => Verdict::Legacy,
    }
}

/// The answer to a POST of the prober.
pub struct Posted {
    /// The HTTP status.
    pub status: u16,
    /// The JSON-RPC message that came as JSON or as an event, or the beginning of another body.
    pub body: Vec<u8>,
}

/// What an HTTP leg lends to the probe.
pub trait HttpProber {
    /// Posts a modern `server/discover` with its headers.
    fn post_discover(&self, within: Duration) -> impl Future<Output = Result<Posted, Failure>>;

    /// Opens a legacy session by `initialize` and sends `notifications/initialized`. An HTTP status
    /// that is an error comes as [`UpstreamKind::Status`].
    fn initialize(&self, within: Duration) -> impl Future<Output = Result<Handshake, Failure>>;

    /// Opens the HTTP+SSE transport of 2024-11-05 at the same URL and initializes there.
    fn open_sse(&self, within: Duration) -> impl Future<Output = Result<Handshake, Failure>>;
}

/// Finds out how to speak with an HTTP upstream: modern first, then streamable HTTP with a session,
/// then HTTP+SSE. Each attempt may take `within`. Returns the handshake, and true if it is the
/// HTTP+SSE transport that answered.
///
/// # Errors
///
/// An upstream failure of the first way that proved something: what was tried and what came back.
pub async fn probe_http<P: HttpProber>(
    prober: &P,
    upstream: &str,
    within: Duration,
) -> Result<(Handshake, bool), Failure> {
    let posted = prober.post_discover(within).await?;
    match judge_probe(posted.status, &posted.body) {
        Verdict::Modern(handshake) => return Ok((handshake, false)),
        Verdict::Hopeless(text) => {
            let kind = match posted.status {
                200..=299 => UpstreamKind::Nonsense,
                status => UpstreamKind::Status(status),
            };
            return Err(Failure::upstream(upstream, kind, text, false));
        }
        Verdict::Legacy => {}
    }
    let refused = match prober.initialize(within).await {
        Ok(handshake) => return Ok((handshake, false)),
        Err(refused) => refused,
    };
    if !wants_sse(&refused) {
        return Err(refused);
    }
    match prober.open_sse(within).await {
        Ok(handshake) => Ok((handshake, true)),
        // The first refusal says more of a server that never had that transport.
        Err(_) => Err(refused),
    }
}

/// Returns true if the refusal of `initialize` is how servers of HTTP+SSE refuse a POST.
fn wants_sse(failure: &Failure) -> bool {
    matches!(failure, Failure::Upstream(failure)
        if matches!(failure.kind, UpstreamKind::Status(400 | 404 | 405)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const DISCOVERED: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{}}}"#;

    fn error(code: i32, data: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"m","data":{data}}}}}"#
        )
    }

    fn shown(status: u16, body: &str) -> &'static str {
        match judge_probe(status, body.as_bytes()) {
            Verdict::Modern(_) => "modern",
            Verdict::Legacy => "legacy",
            Verdict::Hopeless(_) => "hopeless",
        }
    }

    #[test]
    fn judges_the_era_by_positive_evidence_only() {
        let ours = r#"{"supported":["2026-07-28"],"requested":"x"}"#;
        let legacy = r#"{"supported":["2025-11-25"]}"#;
        let later = r#"{"supported":["2031-01-01"]}"#;
        let uninitialized = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}"#;
        let table = [
            ("modern", 200, DISCOVERED.to_owned()),
            ("modern", 400, error(-32020, "{}")),
            ("modern", 400, error(-32021, r#"{"requiredCapabilities":{}}"#)),
            ("modern", 400, error(-32022, ours)),
            ("modern", 200, error(-32022, ours)),
            ("legacy", 400, error(-32022, legacy)),
            ("legacy", 400, error(-32022, "null")),
            ("hopeless", 400, error(-32022, later)),
            ("legacy", 200, DISCOVERED.replace("2026-07-28", "2025-11-25")),
            ("legacy", 400, uninitialized.to_owned()),
            ("legacy", 200, error(-32601, "null")),
            ("legacy", 404, error(-32601, "null")),
            ("legacy", 400, error(-32600, "null")),
            ("legacy", 200, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned()),
            ("legacy", 200, "<html>".to_owned()),
            ("legacy", 202, String::new()),
            ("legacy", 401, "Unauthorized".to_owned()),
            ("legacy", 404, "Not Found".to_owned()),
            ("legacy", 405, String::new()),
            ("legacy", 406, String::new()),
            ("legacy", 415, String::new()),
            ("legacy", 500, "Internal Server Error".to_owned()),
            ("legacy", 501, String::new()),
            ("hopeless", 301, String::new()),
            ("hopeless", 429, error(-32022, ours)),
            ("hopeless", 502, String::new()),
            ("hopeless", 503, DISCOVERED.to_owned()),
            ("hopeless", 504, String::new()),
        ];
        for (expected, status, body) in table {
            assert_eq!(shown(status, &body), expected, "{status} {body}");
        }
    }

    /// Answers what the test says and writes down what it was asked.
    struct Canned {
        discover: (u16, &'static str),
        initialize: Option<u16>,
        sse: bool,
        asked: RefCell<Vec<&'static str>>,
    }

    impl Canned {
        fn legacy() -> Result<Handshake, Failure> {
            Handshake::from_initialize(r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#)
                .map_err(Failure::Internal)
        }

        fn status(status: u16) -> Result<Handshake, Failure> {
            Err(Failure::upstream("up", UpstreamKind::Status(status), "refused", false))
        }
    }

    impl HttpProber for Canned {
        async fn post_discover(&self, _: Duration) -> Result<Posted, Failure> {
            self.asked.borrow_mut().push("discover");
            Ok(Posted { status: self.discover.0, body: self.discover.1.into() })
        }

        async fn initialize(&self, _: Duration) -> Result<Handshake, Failure> {
            self.asked.borrow_mut().push("initialize");
            self.initialize.map_or_else(Canned::legacy, Canned::status)
        }

        async fn open_sse(&self, _: Duration) -> Result<Handshake, Failure> {
            self.asked.borrow_mut().push("sse");
            if self.sse { Canned::legacy() } else { Canned::status(406) }
        }
    }

    fn probed(discover: (u16, &'static str), initialize: Option<u16>, sse: bool) -> String {
        use futures_lite_now::now;
        let canned = Canned { discover, initialize, sse, asked: RefCell::default() };
        let found = now(probe_http(&canned, "up", Duration::from_secs(1)));
        let found = match found {
            Ok((handshake, sse)) => format!("{} sse={sse}", handshake.era),
            Err(failure) => failure.to_string(),
        };
        format!("{}: {found}", canned.asked.borrow().join(" "))
    }

    #[test]
    fn tries_modern_then_a_session_then_server_sent_events() {
        assert_eq!(probed((200, DISCOVERED), None, false), "discover: modern sse=false");
        assert_eq!(probed((404, ""), None, false), "discover initialize: legacy sse=false");
        assert_eq!(probed((405, ""), Some(405), true), "discover initialize sse: legacy sse=true");
        let text = probed((404, ""), Some(404), false);
        assert!(
            text.starts_with("discover initialize sse: Upstream up answered HTTP 404"),
            "{text}"
        );
        let text = probed((401, ""), Some(401), true);
        assert!(text.starts_with("discover initialize: Upstream up answered HTTP 401"), "{text}");
        let text = probed((503, ""), None, true);
        assert!(text.starts_with("discover: Upstream up answered HTTP 503"), "{text}");
    }

    /// Runs a future that waits for nothing.
    mod futures_lite_now {
        use std::{
            pin::pin,
            task::{Context, Poll, Waker},
        };

        pub fn now<F: Future>(future: F) -> F::Output {
            let mut context = Context::from_waker(Waker::noop());
            match pin!(future).poll(&mut context) {
                Poll::Ready(value) => value,
                Poll::Pending => panic!("nothing here waits"),
            }
        }
    }
}
