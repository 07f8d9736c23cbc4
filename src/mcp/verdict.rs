//! Whether a tool says that its call failed, read off the raw result.

use memchr::memmem;
use net::jsonrpc;

/// The key, as the bytes of a raw object have it.
const KEY: &[u8] = b"\"isError\"";

/// Whether the raw result object of a tool call has `isError: true` as a member of its own. It must
/// be valid JSON, as what legs hand on is.
///
/// Most results end with that member, which is looked at first; else one search over the bytes
/// tells that it is not there, and only a result that seems to have it elsewhere is read whole.
pub fn is_error(raw: &[u8]) -> bool {
    match last_member(raw) {
        Some(is_error) => is_error,
        None => {
            memmem::find_iter(raw, KEY).any(|at| value_is_true(&raw[at + KEY.len()..]))
                && read_whole(raw)
        }
    }
}

/// What `isError` is where it is the last member of the object. The last brace is the object's own,
/// so what stands right before it is no member of anything else.
fn last_member(raw: &[u8]) -> Option<bool> {
    let rest = raw.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end();
    let (rest, is_error) = match rest.strip_suffix(b"false") {
        Some(rest) => (rest, false),
        None => (rest.strip_suffix(b"true")?, true),
    };
    let rest = rest.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
    rest.ends_with(KEY).then_some(is_error)
}

fn value_is_true(behind_key: &[u8]) -> bool {
    let value = behind_key.trim_ascii_start().strip_prefix(b":");
    value.is_some_and(|value| value.trim_ascii_start().starts_with(b"true"))
}

#[cold]
fn read_whole(raw: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(raw) else { return false };
    let picked = jsonrpc::pick(text, ["isError"]);
    picked.is_ok_and(|[place]| place.is_some_and(|place| place.of_text(text) == "true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_member_of_the_result_itself_wherever_it_stands() {
        for (raw, expected) in [
            (r#"{"content":[],"isError":true}"#, true),
            (r#"{"content":[],"isError":false}"#, false),
            (r#"{"content":[] , "isError" : true } "#, true),
            (r#"{"isError":true,"content":[]}"#, true),
            (r#"{"isError" :  true,"content":[],"_meta":{}}"#, true),
            (r#"{"isError":false,"content":[]}"#, false),
            (r#"{"content":[]}"#, false),
            ("{}", false),
            (r#"{"isError":1}"#, false),
            (r#"{"structuredContent":{"isError":true}}"#, false),
            (r#"{"structuredContent":{"isError":true},"isError":false}"#, false),
            (r#"{"structuredContent":{"isError":false},"isError":true,"_meta":{}}"#, true),
            (r#"{"isError":true,"structuredContent":{"isError":false}}"#, true),
            (r#"{"content":[{"type":"text","text":"{\"isError\":true}"}]}"#, false),
            (r#"{"content":[{"type":"text","text":"\"isError\":true"}],"x":1}"#, false),
        ] {
            assert_eq!(is_error(raw.as_bytes()), expected, "{raw}");
        }
    }
}
