//! Results between the eras: what one has and the other must not miss, or must not see.

use net::jsonrpc;

/// Appends a legacy upstream's raw result for a modern client: `resultType` is required there,
/// and `cached` results say how long they hold.
pub fn complete_result(out: &mut Vec<u8>, raw: &str, cached: bool) {
    let rest = raw.trim_start().strip_prefix('{').unwrap_or("}");
    out.extend_from_slice(b"{\"resultType\":\"complete\"");
    if cached {
        out.extend_from_slice(b",\"ttlMs\":0,\"cacheScope\":\"private\"");
    }
    if !rest.trim_start().starts_with('}') {
        out.push(b',');
    }
    out.extend_from_slice(rest.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn completes_a_result_and_leaves_its_own_bytes_alone() {
        let got = written(|out| complete_result(out, "{ \"content\" : [1.0] }", false));
        assert_eq!(got, "{\"resultType\":\"complete\", \"content\" : [1.0] }");
        let got = written(|out| complete_result(out, "{ }", true));
        assert_eq!(got, "{\"resultType\":\"complete\",\"ttlMs\":0,\"cacheScope\":\"private\" }");
    }

    #[test]
    fn strips_what_only_the_stateless_revision_knows() {
        let raw = r#"{"resultType":"complete","content":[],"ttlMs":5,"x":{"ttlMs":1}}"#;
        let got = written(|out| assert_eq!(strip_modern(out, raw), None));
        assert_eq!(got, r#"{"content":[],"x":{"ttlMs":1}}"#);
    }

    #[test]
    fn names_a_result_that_wants_another_round() {
        let mut out = Vec::new();
        let other = strip_modern(&mut out, r#"{"resultType":"input_required","requestState":"s"}"#);
        assert_eq!(other.as_deref(), Some("input_required"));
    }
}
