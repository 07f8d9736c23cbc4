//! The short way to say that arguments fit: for schemas that say no more of an object than which
//! members it has, and of each no more than its type and its bounds, as nearly all tools' do.
//!
//! It is sure where it says yes. Everything else (a violation, an escape, a number that could be
//! read in two ways, a keyword that is not known here) is left to the whole validator, which also
//! knows what to say about it.

use std::borrow::Cow;

use net::jsonrpc;
use serde_json::{Map, Value};

/// Most members that a plain schema names: each has a bit.
const MEMBER_COUNT_MAX: usize = 64;

/// Most characters of a number that are read: any such number is the same to every reader.
const NUMBER_SIZE_MAX: usize = 18;

/// Keywords that check nothing.
const ANNOTATIONS: [&str; 7] =
    ["title", "description", "default", "examples", "deprecated", "$comment", "x-mcp-header"];

/// A schema of an object with named members.
pub struct Plain {
    members: Box<[(Box<str>, Rule)]>,
    /// A bit for each member that must be there.
    required: u64,
    /// Whether other members are refused.
    is_closed: bool,
}

/// What a value must be.
#[derive(Debug, PartialEq)]
enum Rule {
    Text {
        min: usize,
        max: usize,
    },
    OneOf(Box<[Box<str>]>),
    Flag,
    Whole {
        min: i64,
        max: i64,
    },
    Number,
    List {
        item: Box<Rule>,
        min: usize,
        max: usize,
    },
    /// Something that only the whole validator checks.
    Other,
}

impl Plain {
    /// Reads a schema; nothing if it is not plain.
    pub fn of(schema: &Value) -> Option<Plain> {
        let schema = schema.as_object()?;
        let known = ["type", "properties", "required", "additionalProperties", "$schema"];
        let is_plain = |key: &str| known.contains(&key) || ANNOTATIONS.contains(&key);
        if schema.get("type")? != "object" || !schema.keys().all(|key| is_plain(key)) {
            return None;
        }
        let none = Map::new();
        let properties = schema.get("properties").map_or(Some(&none), Value::as_object)?;
        let members: Box<[_]> = properties
            .iter()
            .map(|(name, value)| (name.as_str().into(), Rule::of(value)))
            .collect();
        if members.len() > MEMBER_COUNT_MAX {
            return None;
        }
        let mut plain = Plain { members, required: 0, is_closed: false };
        for name in schema.get("required").map_or(Some(&Vec::new()), Value::as_array)? {
            plain.required |= 1 << plain.position(name.as_str()?)?;
        }
        plain.is_closed = match schema.get("additionalProperties") {
            None | Some(Value::Bool(true)) => false,
            Some(Value::Bool(false)) => true,
            Some(_) => return None,
        };
        Some(plain)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|(member, _)| **member == *name)
    }

    /// Whether a raw value fits for sure.
    pub fn surely_accepts(&self, raw: &str) -> bool {
        let mut seen = 0;
        for field in jsonrpc::fields(raw) {
            let Ok(field) = field else { return false };
            let Cow::Borrowed(key) = field.key else { return false };
            let is_fit = match self.position(key) {
                Some(at) if seen & (1 << at) == 0 => {
                    seen |= 1 << at;
                    self.members[at].1.surely_accepts(field.value)
                }
                Some(_) => false,
                None => !self.is_closed && is_any_plain(field.value),
            };
            if !is_fit {
                return false;
            }
        }
        seen & self.required == self.required
    }
}

impl Rule {
    fn of(schema: &Value) -> Rule {
        schema.as_object().and_then(Rule::of_object).unwrap_or(Rule::Other)
    }

    fn of_object(schema: &Map<String, Value>) -> Option<Rule> {
        let count = |key| schema.get(key).map(|value| usize::try_from(value.as_u64()?).ok());
        let bound = |key| schema.get(key).map(Value::as_i64);
        let kind = schema.get("type").map(Value::as_str);
        let has_only = |known: &[&str]| {
            let is_known = |key: &str| key == "type" || known.contains(&key);
            schema.keys().all(|key| is_known(key) || ANNOTATIONS.contains(&key.as_str()))
        };
        Some(match kind {
            None | Some(Some("string")) if has_only(&["enum"]) && schema.contains_key("enum") => {
                let options = schema["enum"].as_array()?.iter();
                Rule::OneOf(
                    options.map(|option| option.as_str().map(Box::from)).collect::<Option<_>>()?,
                )
            }
            Some(Some("string")) if has_only(&["minLength", "maxLength", "format"]) => Rule::Text {
                min: count("minLength").unwrap_or(Some(0))?,
                max: count("maxLength").unwrap_or(Some(usize::MAX))?,
            },
            Some(Some("boolean")) if has_only(&[]) => Rule::Flag,
            Some(Some("integer")) if has_only(&["minimum", "maximum"]) => Rule::Whole {
                min: bound("minimum").unwrap_or(Some(i64::MIN))?,
                max: bound("maximum").unwrap_or(Some(i64::MAX))?,
            },
            Some(Some("number")) if has_only(&[]) => Rule::Number,
            Some(Some("array")) if has_only(&["items", "minItems", "maxItems"]) => Rule::List {
                item: Box::new(Rule::of(schema.get("items")?)),
                min: count("minItems").unwrap_or(Some(0))?,
                max: count("maxItems").unwrap_or(Some(usize::MAX))?,
            },
            _ => return None,
        })
    }

    /// Whether a raw value, which is known to be JSON, fits for sure.
    fn surely_accepts(&self, raw: &str) -> bool {
        match self {
            Rule::Text { min, max } => {
                let is_free = *min == 0 && *max == usize::MAX;
                plain_text(raw).is_some_and(|text| {
                    is_free || text.is_ascii() && (*min..=*max).contains(&text.len())
                })
            }
            Rule::OneOf(options) => {
                plain_text(raw).is_some_and(|text| options.iter().any(|option| **option == *text))
            }
            Rule::Flag => matches!(raw, "true" | "false"),
            Rule::Whole { min, max } => {
                let number = (raw.len() <= NUMBER_SIZE_MAX).then(|| raw.parse::<i64>().ok());
                number.flatten().is_some_and(|number| (*min..=*max).contains(&number))
            }
            Rule::Number => is_plain_number(raw),
            Rule::List { item, min, max } => {
                let fits = |raw: &str| item.surely_accepts(raw);
                plain_items(raw, fits).is_some_and(|count| (*min..=*max).contains(&count))
            }
            Rule::Other => false,
        }
    }
}

/// The text of a raw string, if nothing in it is escaped.
fn plain_text(raw: &str) -> Option<&str> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    memchr::memchr(b'\\', text.as_bytes()).is_none().then_some(text)
}

fn is_plain_number(raw: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    raw.len() <= NUMBER_SIZE_MAX && raw.bytes().all(is_plain)
}

/// Whether a value that nothing is demanded of is one that every reader can read.
fn is_any_plain(raw: &str) -> bool {
    matches!(raw, "true" | "false" | "null") || is_plain_number(raw) || plain_text(raw).is_some()
}

/// How many items a raw list has, if all of them are scalars that `fits` accepts and no text in it
/// is escaped.
fn plain_items(raw: &str, fits: impl Fn(&str) -> bool) -> Option<usize> {
    let mut rest = raw.strip_prefix('[')?.strip_suffix(']')?.trim_ascii();
    let mut count = 0;
    while !rest.is_empty() {
        let size = match rest.as_bytes()[0] {
            b'"' => memchr::memchr2(b'"', b'\\', &rest.as_bytes()[1..])? + 2,
            b'[' | b'{' => return None,
            _ => rest.bytes().position(|byte| byte == b',').unwrap_or(rest.len()),
        };
        let (item, behind) = rest.split_at(size);
        if !fits(item.trim_ascii_end()) {
            return None;
        }
        count += 1;
        let behind = behind.trim_ascii_start();
        rest = match behind.strip_prefix(',') {
            Some(more) => more.trim_ascii_start(),
            None if behind.is_empty() => "",
            None => return None,
        };
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::schema::compile::compile;

    fn typical() -> Value {
        json!({
            "type": "object",
            "properties": {
                "city": {"type": "string", "minLength": 1, "maxLength": 10},
                "note": {"type": "string", "description": "Anything"},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
                "share": {"type": "number"},
                "units": {"enum": ["metric", "imperial"]},
                "detail": {"type": "boolean"},
                "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
                "extra": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["city"],
            "additionalProperties": false,
        })
    }

    #[test]
    fn is_sure_of_what_is_plain() {
        let plain = Plain::of(&typical()).unwrap();
        for raw in [
            r#"{"city":"Basel"}"#,
            r#" { "days" : 14 , "city" : "Bern" } "#,
            r#"{"city":"x","units":"imperial","detail":false,"share":-0.25,"note":"Zürich"}"#,
            r#"{"city":"x","tags":[]}"#,
            r#"{"city":"x","tags":[ "a" , "b, c" ,"]"]}"#,
        ] {
            assert!(plain.surely_accepts(raw), "{raw}");
        }
    }

    #[test]
    fn leaves_everything_else_to_the_validator() {
        let plain = Plain::of(&typical()).unwrap();
        for raw in [
            "{}",
            "[]",
            r#"{"days":3}"#,
            r#"{"city":""}"#,
            r#"{"city":"Zürich"}"#,
            r#"{"city":"a\u0062"}"#,
            r#"{"city":"far too long a name"}"#,
            r#"{"city":"x","city":"y"}"#,
            r#"{"c\u0069ty":"x"}"#,
            r#"{"city":"x","days":0}"#,
            r#"{"city":"x","days":3.0}"#,
            r#"{"city":"x","days":9999999999999999999}"#,
            r#"{"city":"x","share":1e400}"#,
            r#"{"city":"x","units":"kelvin"}"#,
            r#"{"city":"x","detail":"true"}"#,
            r#"{"city":"x","tags":["a","b","c","d"]}"#,
            r#"{"city":"x","tags":["a",1]}"#,
            r#"{"city":"x","tags":[["a"]]}"#,
            r#"{"city":"x","extra":null}"#,
            r#"{"city":"x","other":1}"#,
        ] {
            assert!(!plain.surely_accepts(raw), "{raw}");
        }
    }

    #[test]
    fn schemas_that_say_more_are_not_plain() {
        for schema in [
            json!({"properties": {}}),
            json!({"type": ["object", "null"]}),
            json!({"type": "object", "minProperties": 1}),
            json!({"type": "object", "required": ["unnamed"]}),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"type": "object", "properties": {"a": {}}, "allOf": []}),
        ] {
            assert!(Plain::of(&schema).is_none(), "{schema}");
        }
        let rules = [json!(true), json!({}), json!({"type": "string", "pattern": "a"})];
        for rule in rules {
            assert_eq!(Rule::of(&rule), Rule::Other, "{rule}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[a-z]{0,12}", "\\PC{0,4}", Just("metric".to_owned())];
        let scalar = prop_oneof![
            text.prop_map(Value::from),
            (-3..20_i64).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        let list = prop::collection::vec(scalar.clone(), 0..5).prop_map(Value::from);
        prop_oneof![4 => scalar, 1 => list]
    }

    proptest! {
        #[test]
        fn what_it_is_sure_of_the_validator_accepts(
            members in prop::collection::btree_map(
                prop_oneof![
                    Just("city"), Just("note"), Just("days"), Just("share"), Just("units"),
                    Just("detail"), Just("tags"), Just("extra"), Just("other"),
                ],
                value(),
                0..6,
            ),
            is_open in any::<bool>(),
        ) {
            let mut schema = typical();
            if is_open {
                schema["additionalProperties"] = json!(true);
            }
            let compiled = compile(&schema.to_string()).unwrap().unwrap();
            let value = json!(members);
            if Plain::of(&schema).unwrap().surely_accepts(&value.to_string()) {
                prop_assert!(compiled.validator.is_valid(&value), "{value}");
            }
        }
    }
}
