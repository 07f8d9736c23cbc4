//! `x-mcp-header` annotations: which arguments of a tool travel as `Mcp-Param-*` headers too
//! (revision 2026-07-28), and how header values are written and read.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use net::jsonrpc;
use serde_json::{Map, Value};

/// The annotation's key in a schema.
const KEY: &str = "x-mcp-header";

/// What stands around an encoded header value.
const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

/// The largest integer that every reader of JSON keeps exactly.
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// One annotated argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamHeader {
    /// The names of the properties that lead to it, outermost first; never empty.
    pub path: Vec<String>,
    /// The part of the header's name behind `Mcp-Param-`.
    pub header: String,
    /// The type that its schema gives it.
    pub kind: ParamKind,
}

/// The types that an annotated argument may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// `string`.
    String,
    /// `integer`.
    Integer,
    /// `boolean`.
    Boolean,
}

/// Arguments in which the value of an annotated one cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclear(String);

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unclear {}

/// A header value that says it is encoded and is not, or not as the encoder would have done it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEncoding;

impl fmt::Display for BadEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the base64 of the header value is malformed")
    }
}

impl std::error::Error for BadEncoding {}

/// Finds the annotations of a tool's raw definition, in the order of its schema.
///
/// # Errors
///
/// Says why the annotations are invalid: clients over HTTP must leave such a tool out.
pub fn find(definition: &str) -> Result<Vec<ParamHeader>, String> {
    // Almost no tool has one; an escape might hide the key.
    if !definition.contains(KEY) && !definition.contains("\\u") {
        return Ok(Vec::new());
    }
    let tool: Value = serde_json::from_str(definition).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    if let Some(schema) = tool.get("inputSchema") {
        walk(schema, Some(&mut Vec::new()), &mut found)?;
    }
    Ok(found)
}

/// Keywords of JSON Schema 2020-12 whose value is a schema, is a list of schemas, or has schemas
/// as members. Behind them an annotation is out of reach: which argument it means depends on data.
const SINGLE: [&str; 11] = [
    "items",
    "contains",
    "unevaluatedItems",
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
];
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
const MEMBERS: [&str; 4] = ["patternProperties", "dependentSchemas", "$defs", "definitions"];

/// Looks at one schema and those within. `path` is `None` where it cannot be told any more. The
/// depth is bounded by the parser that made the value.
fn walk(
    schema: &Value,
    mut path: Option<&mut Vec<String>>,
    found: &mut Vec<ParamHeader>,
) -> Result<(), String> {
    let Value::Object(schema) = schema else { return Ok(()) };
    if let Some(header) = schema.get(KEY) {
        let reached = path.as_deref().filter(|path| !path.is_empty());
        let path = reached.ok_or_else(|| {
            format!("{KEY} stands where no chain of properties leads from the root")
        })?;
        let annotation = read(path, header, schema)?;
        check_unique(&annotation, found)?;
        found.push(annotation);
    }
    for (keyword, value) in schema {
        let keyword = keyword.as_str();
        match value {
            Value::Object(members) if keyword == "properties" => {
                for (name, member) in members {
                    walk_property(name, member, path.as_deref_mut(), found)?;
                }
            }
            Value::Object(members) if MEMBERS.contains(&keyword) => {
                members.values().try_for_each(|member| walk(member, None, found))?;
            }
            Value::Array(items) if LIST.contains(&keyword) => {
                items.iter().try_for_each(|item| walk(item, None, found))?;
            }
            _ if SINGLE.contains(&keyword) => walk(value, None, found)?,
            _ => {}
        }
    }
    Ok(())
}

fn walk_property(
    name: &str,
    schema: &Value,
    path: Option<&mut Vec<String>>,
    found: &mut Vec<ParamHeader>,
) -> Result<(), String> {
    let Some(path) = path else { return walk(schema, None, found) };
    path.push(name.to_owned());
    let walked = walk(schema, Some(path), found);
    path.pop();
    walked
}

fn read(
    path: &[String],
    header: &Value,
    schema: &Map<String, Value>,
) -> Result<ParamHeader, String> {
    let place = path.join(".");
    let Value::String(header) = header else {
        return Err(format!("{KEY} of {place} must be a string"));
    };
    if header.is_empty() || !header.bytes().all(is_token) {
        return Err(format!("{KEY} of {place} must be a header name, not {header:?}"));
    }
    let kind = match schema.get("type").and_then(Value::as_str) {
        Some("string") => ParamKind::String,
        Some("integer") => ParamKind::Integer,
        Some("boolean") => ParamKind::Boolean,
        _ => return Err(format!("{KEY} of {place} needs the type string, integer or boolean")),
    };
    Ok(ParamHeader { path: path.to_vec(), header: header.clone(), kind })
}

fn check_unique(annotation: &ParamHeader, found: &[ParamHeader]) -> Result<(), String> {
    let header = &annotation.header;
    match found.iter().find(|other| other.header.eq_ignore_ascii_case(header)) {
        None => Ok(()),
        Some(other) => {
            let (here, there) = (annotation.path.join("."), other.path.join("."));
            Err(format!("{KEY} {header:?} of {here} is that of {there} too"))
        }
    }
}

/// A character of a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns the text of an annotated argument as its header says it, before encoding; `None` if it
/// is absent, null, or no value that a header could say.
///
/// # Errors
///
/// [`Unclear`] if the arguments have one of the names twice, since the next reader might take the
/// other, or are malformed.
pub fn value_of(annotation: &ParamHeader, arguments: &str) -> Result<Option<String>, Unclear> {
    let mut raw = arguments.trim();
    for name in &annotation.path {
        if !raw.starts_with('{') {
            return Ok(None);
        }
        match member(raw, name)? {
            Some(value) => raw = value,
            None => return Ok(None),
        }
    }
    let unclear = |error: net::error::JsonError| Unclear(error.to_string());
    match raw.as_bytes()[0] {
        b'"' => Ok(Some(jsonrpc::unescape(raw).map_err(unclear)?.into_owned())),
        b'n' | b'{' | b'[' => Ok(None),
        _ if annotation.kind == ParamKind::Integer => Ok(Some(canonical(raw))),
        _ => Ok(Some(raw.to_owned())),
    }
}

fn member<'a>(object: &'a str, name: &str) -> Result<Option<&'a str>, Unclear> {
    let mut found = None;
    for field in jsonrpc::fields(object) {
        let field = field.map_err(|error| Unclear(error.to_string()))?;
        if field.key == name && found.replace(field.value).is_some() {
            return Err(Unclear(format!("the argument {name:?} stands there twice")));
        }
    }
    Ok(found)
}

/// Writes an integer without fraction and exponent where that is exact: `42.0` and `4.2e1` are 42.
fn canonical(raw: &str) -> String {
    match integer(raw) {
        Some(value) => (value as i64).to_string(),
        None => raw.to_owned(),
    }
}

fn integer(text: &str) -> Option<f64> {
    let is_number = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    let value = text.bytes().all(is_number).then(|| text.parse::<f64>().ok()).flatten()?;
    (value.fract() == 0.0 && value.abs() <= INTEGER_MAX).then_some(value)
}

impl ParamHeader {
    /// Returns whether a decoded header value says the same as `value`, the argument's text by
    /// [`value_of`]. Integers are compared as numbers.
    pub fn agrees(&self, sent: &str, value: &str) -> bool {
        if sent == value {
            return true;
        }
        self.kind == ParamKind::Integer
            && integer(sent).is_some_and(|sent| integer(value) == Some(sent))
    }
}

/// Returns the headers of a call: for each annotated argument that has a value, the part of the
/// name behind `Mcp-Param-`, and the encoded value. Arguments that are unclear get none, and the
/// upstream judges them.
pub fn encode_all<'a>(
    annotations: &'a [ParamHeader],
    arguments: Option<&str>,
) -> Vec<(&'a str, String)> {
    let Some(arguments) = arguments else { return Vec::new() };
    let value = |annotation| value_of(annotation, arguments).ok().flatten();
    let header = |annotation: &'a ParamHeader| {
        let value = value(annotation)?;
        Some((annotation.header.as_str(), encode_header_value(&value).into_owned()))
    };
    annotations.iter().filter_map(header).collect()
}

/// Returns whether a text stands in the encoder's marks, so that it must be encoded to be told from
/// what is.
pub fn looks_encoded(text: &str) -> bool {
    payload(text).is_some()
}

fn payload(text: &str) -> Option<&str> {
    text.strip_prefix(OPEN)?.strip_suffix(CLOSE)
}

/// Writes a text as a header value: as it is where that is safe, else in base64.
pub fn encode_header_value(text: &str) -> Cow<'_, str> {
    let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_plain && text.trim() == text && !looks_encoded(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{OPEN}{}{CLOSE}", STANDARD.encode(text)))
}

/// Reads a header value that [`encode_header_value`] wrote.
///
/// # Errors
///
/// [`BadEncoding`] if it is marked as base64 and is not base64 of UTF-8 in its only canonical form.
pub fn decode_header_value(value: &str) -> Result<Cow<'_, str>, BadEncoding> {
    let Some(payload) = payload(value) else { return Ok(Cow::Borrowed(value)) };
    // This engine refuses missing padding and trailing bits, so one text has one encoding.
    let bytes = STANDARD.decode(payload).map_err(|_| BadEncoding)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| BadEncoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(schema: &str) -> String {
        format!(r#"{{"name":"t","inputSchema":{schema}}}"#)
    }

    fn shown(schema: &str) -> String {
        match find(&tool(schema)) {
            Err(reason) => reason,
            Ok(found) => {
                let show = |one: &ParamHeader| {
                    format!("{}={}:{:?}", one.path.join("."), one.header, one.kind)
                };
                found.iter().map(show).collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn finds_annotations_along_chains_of_properties() {
        let schema = r#"{"type":"object","properties":{
            "region":{"type":"string","x-mcp-header":"Region"},
            "plain":{"type":"string"},
            "deep":{"type":"object","properties":{
                "count":{"type":"integer","x\u002dmcp-header":"Deep-Count"},
                "x-mcp-header":{"type":"boolean","x-mcp-header":"Flag"}}}}}"#;
        let expected =
            "region=Region:String deep.count=Deep-Count:Integer deep.x-mcp-header=Flag:Boolean";
        assert_eq!(shown(schema), expected);
        assert_eq!(shown(r#"{"type":"object"}"#), "");
        assert_eq!(find("{\"name\":\"t\"}"), Ok(Vec::new()));
    }

    #[test]
    fn takes_no_data_for_an_annotation() {
        for keyword in ["default", "const"] {
            let schema =
                format!(r#"{{"properties":{{"a":{{"{keyword}":{{"x-mcp-header":1}}}}}}}}"#);
            assert_eq!(shown(&schema), "", "{keyword}");
        }
        assert_eq!(shown(r#"{"properties":{"a":{"enum":[{"x-mcp-header":1}]}}}"#), "");
    }

    #[test]
    fn says_why_annotations_are_invalid() {
        let property = |text: &str| format!(r#"{{"properties":{{"a":{text}}}}}"#);
        let good = r#"{"type":"string","x-mcp-header":"A"}"#;
        let table = [
            (property(r#"{"type":"string","x-mcp-header":""}"#), "header name"),
            (property(r#"{"type":"string","x-mcp-header":"a b"}"#), "header name"),
            (property(r#"{"type":"string","x-mcp-header":"a:\r\nb"}"#), "header name"),
            (property(r#"{"type":"string","x-mcp-header":"é"}"#), "header name"),
            (property(r#"{"type":"string","x-mcp-header":7}"#), "must be a string"),
            (property(r#"{"type":"number","x-mcp-header":"A"}"#), "string, integer or boolean"),
            (property(r#"{"type":["string","null"],"x-mcp-header":"A"}"#), "string, integer"),
            (property(r#"{"x-mcp-header":"A"}"#), "string, integer or boolean"),
            (format!(r#"{{"properties":{{"a":{good},"b":{good}}}}}"#), "of b is that of a too"),
            (
                format!(
                    r#"{{"properties":{{"a":{good},"b":{}}}}}"#,
                    good.replace("\"A\"", "\"a\"")
                ),
                "of b is that of a too",
            ),
            (r#"{"type":"string","x-mcp-header":"A"}"#.to_owned(), "no chain"),
            (property(&format!(r#"{{"items":{good}}}"#)), "no chain"),
            (property(&format!(r#"{{"items":{{"properties":{{"b":{good}}}}}}}"#)), "no chain"),
            (format!(r#"{{"anyOf":[{{"properties":{{"b":{good}}}}}]}}"#), "no chain"),
            (format!(r#"{{"$defs":{{"b":{good}}}}}"#), "no chain"),
            (format!(r#"{{"additionalProperties":{good}}}"#), "no chain"),
            (format!(r#"{{"if":{{"properties":{{"b":{good}}}}}}}"#), "no chain"),
        ];
        for (schema, expected) in table {
            let text = shown(&schema);
            assert!(text.contains(expected), "{schema}: {text}");
        }
    }

    fn annotation(path: &[&str], kind: ParamKind) -> ParamHeader {
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        ParamHeader { path, header: "A".to_owned(), kind }
    }

    #[test]
    fn finds_the_values_of_annotated_arguments() {
        let value = |path: &[&str], kind, arguments: &str| {
            value_of(&annotation(path, kind), arguments).map(Option::unwrap_or_default)
        };
        let table = [
            (r#"{"a":"x\ny"}"#, ParamKind::String, "x\ny"),
            (r#"{"a":null}"#, ParamKind::String, ""),
            (r#"{"b":1}"#, ParamKind::String, ""),
            (r#"{"a":[1]}"#, ParamKind::String, ""),
            (r#"{"a": 42.0 }"#, ParamKind::Integer, "42"),
            (r#"{"a":-0}"#, ParamKind::Integer, "0"),
            (r#"{"a":9007199254740991}"#, ParamKind::Integer, "9007199254740991"),
            (r#"{"a":1.5}"#, ParamKind::Integer, "1.5"),
            (r#"{"a":true}"#, ParamKind::Boolean, "true"),
            ("{}", ParamKind::Boolean, ""),
            ("null", ParamKind::Boolean, ""),
        ];
        for (arguments, kind, expected) in table {
            assert_eq!(value(&["a"], kind, arguments).as_deref(), Ok(expected), "{arguments}");
        }
        let nested = value(&["a", "b"], ParamKind::String, r#"{"a":{"c":1,"b":"x"}}"#);
        assert_eq!(nested.as_deref(), Ok("x"));
        assert_eq!(value(&["a", "b"], ParamKind::String, r#"{"a":1}"#).as_deref(), Ok(""));
    }

    #[test]
    fn refuses_an_annotated_argument_that_stands_there_twice() {
        let annotation = annotation(&["a"], ParamKind::String);
        let error = value_of(&annotation, r#"{"a":"x","\u0061":"y"}"#).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
        assert!(encode_all(&[annotation], Some(r#"{"a":"x","a":"y"}"#)).is_empty());
    }

    #[test]
    fn compares_integers_as_numbers_and_the_rest_as_text() {
        let integer = annotation(&["a"], ParamKind::Integer);
        assert!(integer.agrees("42", "42") && integer.agrees("042", "42"));
        assert!(integer.agrees("42.0", "42") && !integer.agrees("43", "42"));
        assert!(!integer.agrees("nan", "42") && !integer.agrees("", "42"));
        let text = annotation(&["a"], ParamKind::String);
        assert!(text.agrees("a", "a") && !text.agrees("A", "a") && !text.agrees("42.0", "42"));
    }

    #[test]
    fn writes_the_headers_of_a_call() {
        let found = find(&tool(
            r#"{"properties":{"r":{"type":"string","x-mcp-header":"R"},
                "n":{"type":"integer","x-mcp-header":"N"},
                "o":{"type":"boolean","x-mcp-header":"O"}}}"#,
        ));
        let found = found.unwrap();
        let headers = encode_all(&found, Some(r#"{"r":"zü","n":7,"o":null}"#));
        assert_eq!(headers, [("R", "=?base64?esO8?=".to_owned()), ("N", "7".to_owned())]);
        assert!(encode_all(&found, None).is_empty());
    }

    #[test]
    fn header_values_read_back_as_they_were() {
        let texts =
            ["", "plain", "two words", " edge", "edge ", "\t", "é", "a\r\nb", "=?base64?x?="];
        for text in texts {
            let encoded = encode_header_value(text);
            assert!(encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{encoded}");
            assert_eq!(decode_header_value(&encoded).as_deref(), Ok(text));
        }
        assert_eq!(encode_header_value("two words"), "two words");
    }

    #[test]
    fn refuses_base64_that_no_encoder_writes() {
        for payload in ["%", "eHk", "eHl=", "eHk=\n", "/w==", "e Hk=", "eHk_"] {
            let value = format!("=?base64?{payload}?=");
            assert_eq!(decode_header_value(&value), Err(BadEncoding), "{value}");
        }
        assert_eq!(decode_header_value("=?base64?eHk=?=").as_deref(), Ok("xy"));
        assert_eq!(decode_header_value("=?base64?eHk=").as_deref(), Ok("=?base64?eHk="));
    }
}
