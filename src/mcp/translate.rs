//! Results between the eras: what one has and the other must not miss, or must not see.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use net::{Span, jsonrpc};

use super::ServerInfo;

/// Appends a legacy upstream's raw result for a modern client: `resultType` is required there,
/// `cached` results say how long they hold, and each names the server that it is from.
pub fn complete_result(out: &mut Vec<u8>, raw: &str, cached: bool, server: &ServerInfo) {
    out.extend_from_slice(b"{\"resultType\":\"complete\"");
    if cached {
        out.extend_from_slice(b",\"ttlMs\":0,\"cacheScope\":\"private\"");
    }
    out.push(b',');
    server.sign(out, raw);
}

/// Appends a modern upstream's raw result for a legacy client, without the members that only the
/// stateless revision knows. Returns the result's type if it is another than `complete`: such a
/// result asks for a second round, which this client cannot give.
pub fn strip_modern(out: &mut Vec<u8>, raw: &str) -> Option<String> {
    out.push(b'{');
    let mut first = true;
    let mut other_type = None;
    for field in jsonrpc::fields(raw).flatten() {
        match &*field.key {
            "resultType" => {
                let text = jsonrpc::unescape(field.value).unwrap_or_default();
                other_type = Some(text.into_owned()).filter(|text| text != "complete");
                continue;
            }
            "ttlMs" | "cacheScope" => continue,
            // Before the stateless revision it is an object or nothing.
            "structuredContent" if !field.value.starts_with('{') => continue,
            _ => {}
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        jsonrpc::write_string(out, &field.key);
        out.push(b':');
        out.extend_from_slice(field.value.as_bytes());
    }
    out.push(b'}');
    other_type
}

/// The same as [`strip_modern`] without a copy, where the result is what most are: complete, saying
/// so in its first or its last member, and with nothing else to take out. Returns where the result
/// lies then in `bytes`, of which one byte became the brace that was missing. `place` must hold an
/// object that was checked.
pub fn strip_in_place(bytes: &mut [u8], place: Span) -> Option<Span> {
    const FIRST: &[u8] = br#"{"resultType":"complete","#;
    const LAST: &[u8] = br#","resultType":"complete"}"#;
    let (mut start, mut end) = (place.start as usize, place.end as usize);
    let raw = bytes.get_mut(start..end)?;
    // What remains, and which of its ends has to become a brace. That the first or last bytes are
    // these is enough: in valid JSON they cannot be within a string or a deeper object.
    let (brace, kept) = if raw.starts_with(FIRST) {
        start += FIRST.len() - 1;
        (b'{', &mut raw[FIRST.len() - 1..])
    } else if raw.ends_with(LAST) {
        end -= LAST.len() - 1;
        let size = raw.len() - (LAST.len() - 1);
        (b'}', &mut raw[..size])
    } else {
        return None;
    };
    if MODERN.iter().any(|finder| finder.find(kept).is_some()) || !has_object(kept) {
        return None;
    }
    let edge = if brace == b'{' { 0 } else { kept.len() - 1 };
    kept[edge] = brace;
    Some(Span::new(start, end))
}

/// Whether the structured content of a result is an object, if it seems to have any.
fn has_object(raw: &[u8]) -> bool {
    let Some(at) = STRUCTURED.find(raw) else { return true };
    let behind = raw[at + STRUCTURED.needle().len()..].trim_ascii_start();
    let value = behind.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
    value.is_some_and(|value| value.starts_with(b"{"))
}

static STRUCTURED: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new("\"structuredContent\""));

/// What makes a result worth a closer look: a member's name, or an escape that may spell one.
static MODERN: LazyLock<[Finder<'static>; 4]> =
    LazyLock::new(|| ["resultType", "ttlMs", "cacheScope", "\\u"].map(Finder::new));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_in_place_what_says_first_or_last_that_it_is_complete() {
        for (raw, expected) in [
            (r#"{"resultType":"complete","content":[],"a":1}"#, r#"{"content":[],"a":1}"#),
            (r#"{"content":[{"x":{}}],"resultType":"complete"}"#, r#"{"content":[{"x":{}}]}"#),
        ] {
            let mut bytes = format!("##{raw}##").into_bytes();
            let place = strip_in_place(&mut bytes, Span::new(2, 2 + raw.len())).unwrap();
            assert_eq!(place.of_bytes(&bytes), expected.as_bytes());
            assert_eq!(written(|out| assert_eq!(strip_modern(out, raw), None)), expected);
        }
    }

    #[test]
    fn leaves_every_other_result_to_the_closer_look() {
        for raw in [
            r#"{"resultType":"complete"}"#,
            r#"{"resultType":"input_required","requestState":"s"}"#,
            r#"{"resultType":"complete","ttlMs":5,"content":[]}"#,
            r#"{"resultType":"complete","a":1,"cacheScope":"public"}"#,
            r#"{"resultType":"complete","resultType":"input_required"}"#,
            r#"{"resultType":"complete","\u0074tlMs":5}"#,
            r#"{"a":{"resultType":"complete"}}"#,
            r#"{"content":[]}"#,
        ] {
            let mut bytes = raw.as_bytes().to_vec();
            assert_eq!(strip_in_place(&mut bytes, Span::new(0, raw.len())), None, "{raw}");
            assert_eq!(bytes, raw.as_bytes());
        }
    }

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn completes_a_result_and_leaves_its_own_bytes_alone() {
        let server = ServerInfo::named("g");
        let meta = format!(r#""_meta":{{{}}}"#, server.member());
        let raw = r#"{ "content" : [1.0] }"#;
        let got = written(|out| complete_result(out, raw, false, &server));
        assert_eq!(got, format!(r#"{{"resultType":"complete",{meta}, "content" : [1.0] }}"#));
        let got = written(|out| complete_result(out, "{ }", true, &server));
        let cached = r#""resultType":"complete","ttlMs":0,"cacheScope":"private""#;
        assert_eq!(got, format!("{{{cached},{meta} }}"));
    }

    #[test]
    fn strips_what_only_the_stateless_revision_knows() {
        let raw = r#"{"resultType":"complete","content":[],"ttlMs":5,"x":{"ttlMs":1}}"#;
        let got = written(|out| assert_eq!(strip_modern(out, raw), None));
        assert_eq!(got, r#"{"content":[],"x":{"ttlMs":1}}"#);
    }

    #[test]
    fn structured_content_that_is_no_object_is_nothing_before_the_stateless_revision() {
        for (raw, expected) in [
            (
                r#"{"resultType":"complete","content":[],"structuredContent":[1]}"#,
                r#"{"content":[]}"#,
            ),
            (
                r#"{"structuredContent" : 1.0,"content":[],"resultType":"complete"}"#,
                r#"{"content":[]}"#,
            ),
            (
                r#"{"structuredContent" : {"a":1.0},"content":[],"resultType":"complete"}"#,
                r#"{"structuredContent" : {"a":1.0},"content":[]}"#,
            ),
        ] {
            let mut bytes = raw.as_bytes().to_vec();
            let place = Span::new(0, bytes.len());
            let stripped = match strip_in_place(&mut bytes, place) {
                Some(span) => String::from_utf8(span.of_bytes(&bytes).to_vec()).unwrap(),
                None => written(|out| drop(strip_modern(out, raw))),
            };
            assert_eq!(stripped, expected);
        }
    }

    #[test]
    fn names_a_result_that_wants_another_round() {
        let mut out = Vec::new();
        let other = strip_modern(&mut out, r#"{"resultType":"input_required","requestState":"s"}"#);
        assert_eq!(other.as_deref(), Some("input_required"));
    }
}
