//! Which era an upstream speaks, judged by what it answers to a `server/discover`.
//!
//! Falling back depends on no single code: everything that is not good evidence for the stateless
//! revision means legacy, except an outage, which proves nothing.

use net::jsonrpc::{self, AnswerKind, EnvelopeLimits, ErrorParts};

use super::Handshake;
use crate::{
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
