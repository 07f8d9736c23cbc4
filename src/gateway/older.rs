//! Content for clients of older revisions, which refuse kinds of it that they do not know: links to
//! resources came with 2025-06-18, sound with 2025-03-26.

use net::{Span, jsonrpc};
use serde_json::{Value, json};

use super::{Call, links::for_blocks, tasks::with_replies};
use crate::{
    mcp::Era,
    upstream::{Answer, Edit, Outcome, Reply, splice},
};

/// The first revision with links to resources.
const LINKS: &str = "2025-06-18";

/// The first revision with sound.
const SOUND: &str = "2025-03-26";

impl<R> Call<'_, R> {
    /// An answer that a client of its revision understands.
    pub(super) fn for_revision(&self, answer: Answer) -> Answer {
        let session = self.request.session.filter(|_| self.era == Era::Legacy);
        let Some(revision) = session.map(|session| session.ticket.revision) else { return answer };
        // Revisions are dates.
        if revision >= LINKS || !matches!(self.message.method(), "tools/call" | "prompts/get") {
            return answer;
        }
        with_replies(answer, move |reply| known(reply, revision))
    }
}

/// A reply with blocks of content in the place of those that `revision` does not know.
fn known(reply: Reply, revision: &str) -> Reply {
    let raw = std::str::from_utf8(reply.raw()).ok().filter(|_| reply.outcome == Outcome::Result);
    let Some(raw) = raw else { return reply };
    let mut edits = Vec::new();
    for_blocks(raw, &mut |block, at| {
        if let Some(other) = other_than(block, revision, edits.len()) {
            let span = Span::new(at, at + block.len());
            edits.push(Edit { span, replacement: other.to_string().into_bytes().into() });
        }
    });
    if edits.is_empty() {
        return reply;
    }
    let mut bytes = shards::buffer::take();
    splice(&mut bytes, raw.as_bytes(), &edits);
    drop(edits);
    shards::buffer::give(reply.bytes);
    Reply { span: Span::new(0, bytes.len()), bytes, outcome: Outcome::Result }
}

/// What says the same as a block that `revision` does not know; nothing if it knows it.
fn other_than(block: &str, revision: &str, index: usize) -> Option<Value> {
    let [kind] = jsonrpc::pick(block, ["type"]).ok()?;
    match kind?.of_text(block) {
        "\"resource_link\"" if revision < LINKS => {
            let link: Value = serde_json::from_str(block).ok()?;
            let name = link["title"].as_str().or(link["name"].as_str()).unwrap_or("resource");
            let uri = link["uri"].as_str().unwrap_or_default();
            let about = link["description"].as_str().map(|text| format!(": {text}"));
            let text = format!("{name} ({uri}){}", about.unwrap_or_default());
            Some(json!({"type": "text", "text": text}))
        }
        "\"audio\"" if revision < SOUND => {
            let audio: Value = serde_json::from_str(block).ok()?;
            let resource = json!({
                "uri": format!("ringway:audio/{}", index + 1),
                "mimeType": audio["mimeType"],
                "blob": audio["data"],
            });
            Some(json!({"type": "resource", "resource": resource}))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(raw: &str, revision: &str) -> String {
        let reply = Reply {
            span: Span::new(0, raw.len()),
            bytes: raw.as_bytes().to_vec(),
            outcome: Outcome::Result,
        };
        String::from_utf8(known(reply, revision).raw().to_vec()).unwrap()
    }

    #[test]
    fn what_a_revision_does_not_know_is_said_otherwise_and_the_rest_stays() {
        let raw = r#"{"content":[ {"type":"text","text":"1.0"},{"type":"audio","data":"AA==","mimeType":"audio/wav"},{"type":"resource_link","uri":"a:b","name":"n","description":"d"}],"x":1.0}"#;
        assert_eq!(told(raw, "2025-11-25"), raw);
        let link = r#"{"type":"text","text":"n (a:b): d"}"#;
        let without_links = raw
            .replace(r#"{"type":"resource_link","uri":"a:b","name":"n","description":"d"}"#, link);
        assert_eq!(told(raw, "2025-03-26"), without_links);
        let oldest: Value = serde_json::from_str(&told(raw, "2024-11-05")).unwrap();
        let resource = json!({"uri": "ringway:audio/1", "mimeType": "audio/wav", "blob": "AA=="});
        assert_eq!(oldest["content"][1], json!({"type": "resource", "resource": resource}));
        assert_eq!(oldest["content"][2], serde_json::from_str::<Value>(link).unwrap());
        let prompt =
            r#"{"messages":[{"role":"user","content":{"type":"resource_link","uri":"a:b"}}]}"#;
        let told = told(prompt, "2025-03-26");
        assert!(told.contains("resource (a:b)") && !told.contains("resource_link"), "{told}");
    }
}
