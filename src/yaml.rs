//! YAML, within bounds: what people write for a program to read.

use serde_json::Value;

use crate::limits;

/// Reads one YAML 1.2 document as the JSON value that it stands for.
///
/// Its size is bounded, and so is what its aliases make of it.
///
/// # Errors
///
/// A sentence that names the line.
pub fn parse(text: &str) -> Result<Value, String> {
    check_size(text)?;
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| format!("{error:.300}"))
}

/// Reads YAML of any number of documents, within the bounds of [`parse`].
///
/// # Errors
///
/// As [`parse`].
pub fn parse_all(text: &str) -> Result<Vec<Value>, String> {
    check_size(text)?;
    let read = serde_saphyr::from_multiple_with_options(text, options());
    read.map_err(|error| format!("{error:.300}"))
}

fn check_size(text: &str) -> Result<(), String> {
    if text.len() > limits::YAML_SIZE_MAX {
        return Err(format!("it is larger than {} bytes", limits::YAML_SIZE_MAX));
    }
    Ok(())
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(limits::YAML_SIZE_MAX),
            max_events: limits::YAML_NODE_COUNT_MAX,
            max_nodes: limits::YAML_NODE_COUNT_MAX,
            max_depth: limits::YAML_DEPTH_MAX,
            max_total_scalar_bytes: limits::YAML_SIZE_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: limits::YAML_NODE_COUNT_MAX,
        },
        // In YAML 1.2 `no` is a word, and Norway a country.
        strict_booleans: true,
        with_snippet: false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        let text = "a: &x [1, 2.5, no, \"3\", ~]\nb: *x\n200: |\n  two\n  lines\nc: {d: true}\n";
        let list = json!([1, 2.5, "no", "3", null]);
        let expected = json!({"a": list, "b": list, "200": "two\nlines\n", "c": {"d": true}});
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn refuses_aliases_that_stand_for_too_much() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let part = format!("*a{}", n - 1);
            text += &format!("a{n}: &a{n} [{}]\n", vec![part; 10].join(", "));
        }
        assert!(parse(&text).is_err());
    }

    #[test]
    fn refuses_what_is_too_deep_and_what_is_none() {
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&format!("{}1{}", "[".repeat(500), "]".repeat(500))).is_err());
        let sentence = parse("a: 1\nb: [\n").unwrap_err();
        assert!(sentence.contains("line"), "{sentence}");
        assert!(parse("a: 1\na: 2\n").is_err(), "the same key twice");
    }
}
