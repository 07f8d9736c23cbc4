//! `x-mcp-header`: arguments of a tool that travel as `Mcp-Param-*` headers too
//! (revision 2026-07-28).

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use net::{http1::encode::is_token, jsonrpc};
use serde_json::{Map, Value};

/// The largest integer that is sent as a header: beyond it not every reader is exact.
const INTEGER_MAX: i64 = (1 << 53) - 1;

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// One annotated property of a tool's input schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamHeader {
    /// The property's path in the arguments.
    pub path: Vec<String>,
    /// The header's name behind `Mcp-Param-`.
    pub header: String,
    /// The property's type.
    pub kind: ParamKind,
}

/// The types that may be annotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// A string.
    String,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
}

/// Finds the annotations of a tool's definition (raw JSON).
///
/// # Errors
///
/// Why the tool is invalid, as a sentence: such a tool must be left out of lists.
pub fn find(definition: &str) -> Result<Vec<ParamHeader>, String> {
    // Almost no tool has one, and every tool is looked at.
    if memchr::memmem::find(definition.as_bytes(), b"x-mcp-header").is_none() {
        return Ok(Vec::new());
    }
    let definition: Value = serde_json::from_str(definition).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    if let Some(schema) = definition.get("inputSchema") {
        walk(schema, &mut Vec::new(), true, &mut found)?;
    }
    for (index, one) in found.iter().enumerate() {
        let same = |other: &ParamHeader| other.header.eq_ignore_ascii_case(&one.header);
        if found[..index].iter().any(same) {
            return Err(format!("two properties share the x-mcp-header {}", one.header));
        }
    }
    Ok(found)
}

/// Walks a schema. Annotations count where only `properties` lead to; anywhere else they are an
/// error, since nobody could tell which value they mean.
fn walk(
    schema: &Value,
    path: &mut Vec<String>,
    reachable: bool,
    found: &mut Vec<ParamHeader>,
) -> Result<(), String> {
    let Value::Object(schema) = schema else {
        if let Value::Array(items) = schema {
            for item in items {
                walk(item, path, false, found)?;
            }
        }
        return Ok(());
    };
    if let Some(annotation) = schema.get("x-mcp-header") {
        found.push(read(annotation, schema, path, reachable)?);
    }
    for (key, value) in schema {
        match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                for (name, property) in properties {
                    path.push(name.clone());
                    walk(property, path, reachable, found)?;
                    path.pop();
                }
            }
            ("x-mcp-header" | "default" | "const" | "enum" | "examples", _) => {}
            _ => walk(value, path, false, found)?,
        }
    }
    Ok(())
}

fn read(
    annotation: &Value,
    schema: &Map<String, Value>,
    path: &[String],
    reachable: bool,
) -> Result<ParamHeader, String> {
    let place = path.join(".");
    let header = annotation.as_str().filter(|header| is_token(header.as_bytes()));
    let Some(header) = header else {
        return Err(format!("the x-mcp-header of {place} is no header name"));
    };
    if !reachable || path.is_empty() {
        return Err(format!("the x-mcp-header {header} stands where no plain property is"));
    }
    let kind = match schema.get("type").and_then(Value::as_str) {
        Some("string") => ParamKind::String,
        Some("integer") => ParamKind::Integer,
        Some("boolean") => ParamKind::Boolean,
        _ => return Err(format!("the x-mcp-header {header} needs a string, integer or boolean")),
    };
    Ok(ParamHeader { path: path.to_vec(), header: header.to_owned(), kind })
}

/// Returns the text of the annotated property's value in the raw `arguments`; `None` if it is not
/// there, null, or of another type (which the upstream will refuse by its schema).
///
/// # Errors
///
/// If the arguments have one of the path's keys twice.
pub fn value_of<'a>(
    annotation: &ParamHeader,
    arguments: &'a str,
) -> Result<Option<Cow<'a, str>>, net::error::JsonError> {
    let mut raw = arguments;
    for key in &annotation.path {
        if !raw.starts_with('{') {
            return Ok(None);
        }
        let mut value = None;
        for field in jsonrpc::fields(raw) {
            let field = field?;
            if field.key == *key && value.replace(field.value).is_some() {
                return Err(net::error::JsonError::Duplicate { key: "an annotated argument" });
            }
        }
        let Some(value) = value else { return Ok(None) };
        raw = value;
    }
    Ok(match annotation.kind {
        ParamKind::String if raw.starts_with('"') => Some(jsonrpc::unescape(raw)?),
        ParamKind::Boolean if matches!(raw, "true" | "false") => Some(Cow::Borrowed(raw)),
        ParamKind::Integer => integer(raw).map(|number| Cow::Owned(number.to_string())),
        _ => None,
    })
}

fn integer(text: &str) -> Option<i64> {
    let number = text.parse::<i64>().ok().or_else(|| {
        let float = text.parse::<f64>().ok()?;
        // Exact: the bound is far below what an f64 holds without loss.
        (float.fract() == 0.0 && float.abs() <= INTEGER_MAX as f64).then_some(float as i64)
    })?;
    (number.abs() <= INTEGER_MAX).then_some(number)
}

impl ParamHeader {
    /// Whether a decoded header says the same as the argument: numbers by value.
    pub fn agrees(&self, header: &str, argument: &str) -> bool {
        match self.kind {
            ParamKind::Integer => {
                integer(header).is_some_and(|sent| integer(argument) == Some(sent))
            }
            _ => header == argument,
        }
    }
}

/// The headers for a call with these raw `arguments`: the part behind `Mcp-Param-`, and the
/// encoded value.
pub fn encode_all<'a>(
    annotations: &'a [ParamHeader],
    arguments: Option<&str>,
) -> Vec<(&'a str, String)> {
    let arguments = arguments.unwrap_or("{}");
    let encode = |annotation: &'a ParamHeader| {
        let value = value_of(annotation, arguments).ok()??;
        Some((annotation.header.as_str(), encode_header_value(&value).into_owned()))
    };
    annotations.iter().filter_map(encode).collect()
}

/// Returns true if `text` cannot stand in a header as it is: not plain printable ASCII, white
/// space at an edge, or what looks encoded already.
pub fn looks_encoded(text: &str) -> bool {
    text.starts_with(PREFIX) && text.ends_with(SUFFIX)
}

/// Encodes a value for `Mcp-Name` and `Mcp-Param-*`.
pub fn encode_header_value(text: &str) -> Cow<'_, str> {
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && text.trim_matches(' ').len() == text.len()
        && !looks_encoded(text);
    if plain {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(text)))
}

/// Why a header cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadHeader;

/// Decodes what [`encode_header_value`] made; anything else stands for itself.
///
/// # Errors
///
/// [`BadHeader`] for an encoding that is broken, or not the one that an encoder would write.
pub fn decode_header_value(value: &str) -> Result<Cow<'_, str>, BadHeader> {
    let encoded = value.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    let Some(encoded) = encoded else { return Ok(Cow::Borrowed(value)) };
    let bytes = STANDARD.decode(encoded).map_err(|_| BadHeader)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| BadHeader)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(schema: &str) -> String {
        format!(r#"{{"name":"t","inputSchema":{schema}}}"#)
    }

    #[test]
    fn finds_annotated_properties_however_deep() {
        let schema = r#"{"type":"object","properties":{
            "a":{"type":"string","x-mcp-header":"A"},
            "b":{"type":"object","properties":{"c":{"type":"integer","x-mcp-header":"C"}}}}}"#;
        let found = find(&tool(schema)).unwrap();
        let paths: Vec<_> = found.iter().map(|one| (one.path.join("."), &*one.header)).collect();
        assert_eq!(paths, [("a".to_owned(), "A"), ("b.c".to_owned(), "C")]);
        assert_eq!(find(&tool(r#"{"type":"object"}"#)).unwrap(), []);
    }

    #[test]
    fn refuses_annotations_that_nobody_can_follow() {
        for (property, why) in [
            (r#"{"type":"string","x-mcp-header":""}"#, "empty"),
            (r#"{"type":"string","x-mcp-header":"a b"}"#, "no token"),
            (r#"{"type":"string","x-mcp-header":5}"#, "no text"),
            (r#"{"type":"number","x-mcp-header":"A"}"#, "a number"),
            (r#"{"type":"array","items":{"type":"string","x-mcp-header":"A"}}"#, "in items"),
            (r#"{"anyOf":[{"type":"string","x-mcp-header":"A"}]}"#, "in anyOf"),
        ] {
            let schema = format!(r#"{{"properties":{{"p":{property}}}}}"#);
            assert!(find(&tool(&schema)).is_err(), "{why}");
        }
        let twice = r#"{"properties":{"a":{"type":"string","x-mcp-header":"X"},
            "b":{"type":"string","x-mcp-header":"x"}}}"#;
        assert!(find(&tool(twice)).is_err());
    }

    #[test]
    fn takes_values_out_of_raw_arguments() {
        let annotation = |path: &[&str], kind| ParamHeader {
            path: path.iter().map(|key| (*key).to_owned()).collect(),
            header: "H".to_owned(),
            kind,
        };
        let arguments = r#"{"s":"a\u00e9","n":{"i":3.0},"b":true,"z":null}"#;
        let value = |path: &[&str], kind| {
            value_of(&annotation(path, kind), arguments).unwrap().map(Cow::into_owned)
        };
        assert_eq!(value(&["s"], ParamKind::String).as_deref(), Some("aé"));
        assert_eq!(value(&["n", "i"], ParamKind::Integer).as_deref(), Some("3"));
        assert_eq!(value(&["b"], ParamKind::Boolean).as_deref(), Some("true"));
        assert_eq!(value(&["z"], ParamKind::String), None);
        assert_eq!(value(&["gone"], ParamKind::String), None);
        assert_eq!(value(&["s", "deeper"], ParamKind::String), None);
        assert!(annotation(&["i"], ParamKind::Integer).agrees("3.0", "3"));
        assert!(!annotation(&["i"], ParamKind::Integer).agrees("4", "3"));
    }

    #[test]
    fn encodes_what_a_header_cannot_hold_and_decodes_it_again() {
        for text in ["plain", "é", " edge", "edge ", "a\nb", "=?base64?YQ==?=", ""] {
            let encoded = encode_header_value(text);
            assert!(encoded.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text:?}");
            assert_eq!(decode_header_value(&encoded).unwrap(), text);
        }
        assert_eq!(encode_header_value("plain"), "plain");
        assert_eq!(decode_header_value("=?base64?%%?="), Err(BadHeader));
        assert_eq!(decode_header_value("=?base64?/w==?="), Err(BadHeader));
    }
}
