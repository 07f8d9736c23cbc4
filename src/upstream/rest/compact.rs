//! JSON without the space between its parts; every other byte as it came.

use serde_json::value::RawValue;

/// Most levels of an answer that is handed on as structure: what clients read without trouble.
const DEPTH_MAX: usize = 100;

/// Returns `text` without its space; `None` if it is no JSON or nests too deeply.
pub(super) fn json(text: &str) -> Option<String> {
    let trimmed = text.trim_start_matches('\u{feff}').trim();
    // Looks at everything and recurses nowhere.
    let raw: &RawValue = serde_json::from_str(trimmed).ok()?;
    let mut out = String::with_capacity(raw.get().len());
    let (mut in_string, mut is_escaped, mut depth, mut from) = (false, false, 0_usize, 0);
    for (at, byte) in raw.get().bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return None;
                }
            }
            b'}' | b']' => depth -= 1,
            b' ' | b'\n' | b'\r' | b'\t' => {
                out.push_str(&raw.get()[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    out.push_str(&raw.get()[from..]);
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_out_space_and_nothing_else() {
        let text = "\u{feff} { \"a b\" : [ 1.0e+2 ,\t\"\\\" \\\\\" , \"c\\\\\" , {} ] }\r\n";
        let expected = "{\"a b\":[1.0e+2,\"\\\" \\\\\",\"c\\\\\",{}]}";
        assert_eq!(json(text).as_deref(), Some(expected));
        assert_eq!(json(" 12345678901234567890123 ").as_deref(), Some("12345678901234567890123"));
    }

    #[test]
    fn is_none_for_what_is_no_json_or_too_deep() {
        for text in ["", "{", "{}{}", "nul", "{'a':1}", "[1,]", "\"\u{1}\""] {
            assert_eq!(json(text), None, "{text}");
        }
        assert!(json(&("[".repeat(DEPTH_MAX) + &"]".repeat(DEPTH_MAX))).is_some());
        assert!(json(&("[".repeat(100_000) + &"]".repeat(100_000))).is_none());
    }

    proptest! {
        #[test]
        fn means_the_same_as_before(keys in prop::collection::vec("\\PC{0,8}", 0..6)) {
            let value = serde_json::json!({"list": keys, "n": [1, {"x": keys.len()}]});
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(json(&pretty).unwrap(), value.to_string());
        }
    }
}
