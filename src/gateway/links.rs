//! URIs of resources in what an upstream says, which lead back to it when a client follows them.

use std::{borrow::Cow, pin::Pin};

use memchr::memmem;
use net::{
    Span,
    jsonrpc::{self, Param},
};

use super::{Call, resources, text_param};
use crate::{
    auth::Caller,
    catalog::Catalog,
    failure::Failure,
    permission::Permission,
    route::Resources,
    upstream::{Answer, Edit, Event, EventSource, Outcome, Outgoing, Relay, Reply, Stream, splice},
};

/// A URI as its upstream knows it, and as the client asked for it.
type Asked = Option<(String, String)>;

impl<R: Relay> Call<'_, R> {
    /// An answer whose URIs lead back to `upstream_id`. Where nobody else has resources they do as
    /// they are, and nothing is looked at.
    pub(super) fn with_links(
        &self,
        upstream_id: &str,
        outgoing: &Outgoing<'_>,
        answer: Answer,
    ) -> Answer {
        let asked = self.asked_uri(outgoing);
        let owners = &self.seen.view.resource_owners;
        let has_others = owners.len() > usize::from(owners.contains_key(upstream_id));
        if !has_others && asked.is_none() {
            return answer;
        }
        match answer {
            Answer::Whole(reply) => {
                let resources = self.resources();
                let written = |uri: &str| written(&resources, upstream_id, &asked, uri);
                Answer::Whole(with_uris(reply, &written))
            }
            Answer::Stream(stream) => Answer::Stream(Stream::new(Box::new(Linked {
                stream,
                catalog: self.parts.catalog.clone(),
                caller: self.request.caller.clone(),
                server_id: self.server_id.to_owned(),
                upstream_id: upstream_id.to_owned(),
                asked,
            }))),
        }
    }

    /// The URI that a client reads by another than its upstream's.
    fn asked_uri(&self, outgoing: &Outgoing<'_>) -> Asked {
        if outgoing.edits.is_empty() || outgoing.method != "resources/read" {
            return None;
        }
        let asked = text_param(self.message, Param::Uri).ok()??;
        let original = outgoing.name.filter(|original| *original != asked)?;
        Some((original.to_owned(), asked.into_owned()))
    }
}

/// How a client has a URI of an upstream, if not as it is.
fn written(
    resources: &Resources<'_>,
    upstream_id: &str,
    asked: &Asked,
    uri: &str,
) -> Option<String> {
    match asked {
        Some((original, asked)) if original == uri => Some(asked.clone()),
        _ => resources.written(upstream_id, uri),
    }
}

/// A reply with the URIs that `written` gives in the place of its own.
fn with_uris(reply: Reply, written: &dyn Fn(&str) -> Option<String>) -> Reply {
    let found = match reply.outcome {
        Outcome::Result => edited(reply.raw(), result_places, written),
        Outcome::Error => edited(reply.raw(), error_places, written),
    };
    let Some(bytes) = found else { return reply };
    shards::buffer::give(reply.bytes);
    Reply { span: Span::new(0, bytes.len()), bytes, outcome: reply.outcome }
}

/// Raw JSON with other URIs, if it has any that are written otherwise.
fn edited(
    raw: &[u8],
    places: fn(&str) -> Vec<Span>,
    written: &dyn Fn(&str) -> Option<String>,
) -> Option<Vec<u8>> {
    // Hardly a result has a URI; the others are known by this alone.
    memmem::find(raw, b"uri\"")?;
    let text = std::str::from_utf8(raw).ok()?;
    let edit = |span: Span| {
        let uri = jsonrpc::unescape(span.of_text(text)).ok()?;
        let mut replacement = Vec::new();
        jsonrpc::write_string(&mut replacement, &written(&uri)?);
        Some(Edit { span, replacement: Cow::Owned(replacement) })
    };
    let edits: Vec<_> = places(text).into_iter().filter_map(edit).collect();
    if edits.is_empty() {
        return None;
    }
    let mut out = shards::buffer::take();
    splice(&mut out, raw, &edits);
    Some(out)
}

/// Where the URIs of resources stand in a raw result of `tools/call`, `prompts/get` or
/// `resources/read`, of a task that ended with one, or that asks for a message of a model.
fn result_places(raw: &str) -> Vec<Span> {
    let mut places = Vec::new();
    walk(raw, 0, &mut places);
    places
}

/// Gives every block of content of a raw result to `take`, with where it lies.
pub(super) fn for_blocks(raw: &str, take: &mut dyn FnMut(&str, usize)) {
    let mut blocks = |raw: &str, at: usize| match raw.as_bytes().first() {
        Some(b'[') => for_items(raw, at, &mut *take),
        _ => take(raw, at),
    };
    for field in jsonrpc::fields(raw).map_while(Result::ok) {
        let at = field.place.start as usize;
        match &*field.key {
            "content" => blocks(field.value, at),
            "messages" => for_items(field.value, at, |raw, at| {
                if let Ok([Some(content)]) = jsonrpc::pick(raw, ["content"]) {
                    blocks(content.of_text(raw), at + content.start as usize);
                }
            }),
            _ => {}
        }
    }
}

/// Where the error of a read says which resource it was.
fn error_places(raw: &str) -> Vec<Span> {
    let mut places = Vec::new();
    if let Ok([Some(data)]) = jsonrpc::pick(raw, ["data"]) {
        note_uri(data.of_text(raw), data.start as usize, &mut places);
    }
    places
}

/// Notes the places in an object that lies at `at`.
fn walk(raw: &str, at: usize, places: &mut Vec<Span>) {
    for field in jsonrpc::fields(raw).map_while(Result::ok) {
        let at = at + field.place.start as usize;
        match &*field.key {
            "content" => walk_blocks(field.value, at, places),
            "contents" => for_items(field.value, at, |raw, at| note_uri(raw, at, places)),
            "messages" => for_items(field.value, at, |raw, at| {
                if let Ok([Some(content)]) = jsonrpc::pick(raw, ["content"]) {
                    walk_blocks(content.of_text(raw), at + content.start as usize, places);
                }
            }),
            "result" => walk(field.value, at, places),
            "inputRequests" => {
                for request in jsonrpc::fields(field.value).map_while(Result::ok) {
                    let at = at + request.place.start as usize;
                    if let Ok([Some(params)]) = jsonrpc::pick(request.value, ["params"]) {
                        let raw = params.of_text(request.value);
                        walk(raw, at + params.start as usize, places);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Notes the places in one block of content, or in several.
fn walk_blocks(raw: &str, at: usize, places: &mut Vec<Span>) {
    match raw.as_bytes().first() {
        Some(b'[') => for_items(raw, at, |raw, at| walk_block(raw, at, places)),
        _ => walk_block(raw, at, places),
    }
}

fn walk_block(raw: &str, at: usize, places: &mut Vec<Span>) {
    let Ok([Some(kind), uri, resource, content]) =
        jsonrpc::pick(raw, ["type", "uri", "resource", "content"])
    else {
        return;
    };
    let within = |place: Span| (place.of_text(raw), at + place.start as usize);
    match (kind.of_text(raw), uri, resource, content) {
        ("\"resource_link\"", Some(uri), ..) => places.push(uri.shifted(at)),
        ("\"resource\"", _, Some(resource), _) => {
            let (raw, at) = within(resource);
            note_uri(raw, at, places);
        }
        ("\"tool_result\"", .., Some(content)) => {
            let (raw, at) = within(content);
            walk_blocks(raw, at, places);
        }
        _ => {}
    }
}

fn for_items<'r>(raw: &'r str, at: usize, mut take: impl FnMut(&'r str, usize)) {
    for place in jsonrpc::items(raw).unwrap_or_default() {
        take(place.of_text(raw), at + place.start as usize);
    }
}

fn note_uri(raw: &str, at: usize, places: &mut Vec<Span>) {
    if let Ok([Some(uri)]) = jsonrpc::pick(raw, ["uri"]) {
        places.push(uri.shifted(at));
    }
}

/// An answer that streams, with URIs that lead back to its upstream.
struct Linked {
    stream: Stream,
    catalog: Catalog,
    caller: Caller,
    server_id: String,
    upstream_id: String,
    asked: Asked,
}

impl Linked {
    fn written(&self, uri: &str) -> Option<String> {
        let reads = |owned: &_| self.caller.may(Permission::ResourcesRead, owned);
        let resources = resources(&self.catalog, &self.caller, &self.server_id, &reads)?;
        written(&resources, &self.upstream_id, &self.asked, uri)
    }
}

impl EventSource for Linked {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Event, Failure>> + '_>> {
        Box::pin(async move {
            let event = self.stream.next().await?;
            let written = |uri: &str| self.written(uri);
            Ok(match event {
                Event::Reply(reply) => Event::Reply(with_uris(reply, &written)),
                Event::Question(mut question) => {
                    let params = edited(question.params.as_bytes(), result_places, &written);
                    if let Some(params) = params.and_then(|params| String::from_utf8(params).ok()) {
                        question.params = params;
                    }
                    Event::Question(question)
                }
                other => other,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A URI of `x:` is written as one of `y:`.
    fn other(uri: &str) -> Option<String> {
        uri.strip_prefix("x:").map(|rest| format!("y:\"{rest}"))
    }

    fn relinked(raw: &str, outcome: Outcome) -> String {
        let bytes = format!("  {raw}").into_bytes();
        let reply = Reply { span: Span::new(2, bytes.len()), bytes, outcome };
        String::from_utf8(with_uris(reply, &other).raw().to_vec()).unwrap()
    }

    #[test]
    fn every_place_of_a_result_that_names_a_resource_is_written_otherwise() {
        for raw in [
            r#"{"contents":[{"uri":"x:1", "text":"x:1"},{"uri":"x:\u0031"}]}"#,
            r#"{"content":[{"type":"text","text":"x:1"},{"type":"resource_link" ,"uri":"x:1","name":"x:1"}]}"#,
            r#"{"content":[{"type":"resource","resource":{"text":"\"x:1\"","uri":"x:1"}}],"structuredContent":{"z":1}}"#,
            r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"x:1"}}}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"tool_result","toolUseId":"1","content":[{"type":"resource_link","uri":"x:1"}]}]}]}"#,
            r#"{"taskId":"t","status":"completed","result":{"content":[{"type":"resource_link","uri":"x:1"}]}}"#,
            r#"{"resultType":"input_required","inputRequests":{"a":{"method":"sampling/createMessage","params":{"messages":[{"role":"user","content":{"type":"resource_link","uri":"x:1"}}]}}}}"#,
        ] {
            let expected = raw
                .replace(r#""uri":"x:1""#, r#""uri":"y:\"1""#)
                .replace(r#""uri":"x:\u0031""#, r#""uri":"y:\"1""#);
            assert_ne!(expected, raw);
            assert_eq!(relinked(raw, Outcome::Result), expected);
        }
    }

    #[test]
    fn everything_else_stays_byte_for_byte() {
        for raw in [
            r#"{"content":[{"type":"resource_link","uri":"z:1"}]}"#,
            r#"{"content":[{"type":"text","uri":"x:1"}],"structuredContent":{"uri":"x:1"}}"#,
            r#"{"uri":"x:1","_meta":{"uri":"x:1"}}"#,
            r#"{"content":[{"type":"resource_link","uri":7},"uri",null]}"#,
            r#"{"content":"uri","contents":{"uri":"x:1"}}"#,
        ] {
            assert_eq!(relinked(raw, Outcome::Result), raw);
        }
    }

    #[test]
    fn an_error_says_of_which_resource_it_is() {
        let raw = r#"{"code":-32002,"message":"x:1","data":{"uri":"x:1"}}"#;
        let expected = r#"{"code":-32002,"message":"x:1","data":{"uri":"y:\"1"}}"#;
        assert_eq!(relinked(raw, Outcome::Error), expected);
        let raw = r#"{"code":1,"message":"uri\"","data":"uri"}"#;
        assert_eq!(relinked(raw, Outcome::Error), raw);
    }
}
