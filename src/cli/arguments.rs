//! Arguments of a tool, typed as `name=value` and read by the tool's own schema.

use serde_json::{Map, Value};

use super::client::ClientError;

/// How many `$ref` are followed one after the other; a schema that needs more goes in circles.
const REFERENCE_COUNT_MAX: usize = 8;

/// Reads `name=value` pairs, where the schema decides what a value is, and `name:=json` pairs,
/// where the value is JSON whatever the schema says. Later ones win, and all win over `base`.
///
/// # Errors
///
/// [`ClientError::Input`] naming the pair that cannot be read and what would be right.
pub fn read(
    base: Option<&str>,
    pairs: &[String],
    schema: &Value,
) -> Result<Map<String, Value>, ClientError> {
    let mut arguments = match base {
        None => Map::new(),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            ClientError::Input(format!("--args must be a JSON object: {error}"))
        })?,
    };
    for pair in pairs {
        let (name, value) = read_pair(pair, schema)?;
        arguments.insert(name.to_owned(), value);
    }
    Ok(arguments)
}

fn read_pair<'a>(pair: &'a str, schema: &Value) -> Result<(&'a str, Value), ClientError> {
    let Some((name, text)) = pair.split_once('=') else {
        let hint = "write name=value, or name:=json";
        return Err(ClientError::Input(format!("{pair:?} is no argument; {hint}")));
    };
    if let Some(name) = name.strip_suffix(':') {
        let value = serde_json::from_str(text)
            .map_err(|error| ClientError::Input(format!("{name}:= needs JSON: {error}")))?;
        return Ok((name, value));
    }
    let kinds = Kinds::of(schema, &schema["properties"][name]);
    let value = kinds.read(text).ok_or_else(|| {
        let expected = kinds.words();
        ClientError::Input(format!("{name} must be {expected} by the tool's schema, not {text:?}"))
    })?;
    Ok((name, value))
}

/// The JSON types that a schema allows; none known means that a text is as good as any.
#[derive(Default)]
struct Kinds(Vec<String>);

impl Kinds {
    fn of(root: &Value, schema: &Value) -> Kinds {
        let mut kinds = Kinds::default();
        kinds.collect(root, schema, REFERENCE_COUNT_MAX);
        kinds
    }

    fn collect(&mut self, root: &Value, schema: &Value, depth: usize) {
        if let Some(reference) = schema["$ref"].as_str()
            && depth > 0
        {
            // Only references within the schema itself, which is all that MCP clients follow.
            let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
            self.collect(root, target.unwrap_or(&Value::Null), depth - 1);
        }
        match &schema["type"] {
            Value::String(kind) => self.0.push(kind.clone()),
            Value::Array(kinds) => {
                self.0.extend(kinds.iter().filter_map(|kind| kind.as_str().map(str::to_owned)));
            }
            _ => {
                let options = schema["enum"].as_array().into_iter().flatten();
                self.0.extend(
                    options.chain(schema.get("const")).map(|value| kind_of(value).to_owned()),
                );
            }
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            for part in schema[key].as_array().into_iter().flatten().filter(|_| depth > 0) {
                self.collect(root, part, depth - 1);
            }
        }
    }

    fn allow(&self, kind: &str) -> bool {
        self.0.iter().any(|allowed| allowed == kind)
    }

    /// Reads a text as the first allowed type that it can be, the narrowest first.
    fn read(&self, text: &str) -> Option<Value> {
        let as_json = || serde_json::from_str::<Value>(text).ok();
        let parsed = as_json().filter(|value| {
            let kind = kind_of(value);
            self.allow(kind)
                || (kind == "integer" && self.allow("number"))
                || (value.as_f64().is_some_and(|number| number.fract() == 0.0)
                    && self.allow("integer"))
        });
        match parsed {
            Some(Value::Null) if self.allow("string") => Some(Value::from(text)),
            // "5" in quotes is five characters with quotes; only bare text is read as JSON.
            Some(Value::String(_)) | None if self.takes_text() => Some(Value::from(text)),
            other => other,
        }
    }

    fn takes_text(&self) -> bool {
        self.0.is_empty() || self.allow("string")
    }

    fn words(&self) -> String {
        let mut kinds = self.0.clone();
        kinds.dedup();
        kinds.join(" or ")
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "$defs": {"Level": {"enum": [1, 2]}, "Loop": {"$ref": "#/$defs/Loop"}},
            "properties": {
                "message": {"type": "string"},
                "count": {"type": "integer"},
                "ratio": {"type": "number"},
                "deep": {"type": "boolean"},
                "list": {"type": "array"},
                "options": {"type": "object"},
                "maybe": {"type": ["string", "null"]},
                "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "optional": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "level": {"$ref": "#/$defs/Level"},
                "loop": {"$ref": "#/$defs/Loop"},
                "free": {},
            },
        })
    }

    fn value(pair: &str) -> Result<Value, String> {
        let read = read(None, &[pair.to_owned()], &schema());
        read.map(|mut map| map.values_mut().next().unwrap().take()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_schema_decides_what_a_value_is() {
        for (pair, expected) in [
            ("message=hello", json!("hello")),
            ("message=5", json!("5")),
            ("message=true", json!("true")),
            ("message=\"x\"", json!("\"x\"")),
            ("message=a=b", json!("a=b")),
            ("message=", json!("")),
            ("count=5", json!(5)),
            ("count=-5", json!(-5)),
            ("count=1.0", json!(1.0)),
            ("ratio=2", json!(2)),
            ("ratio=2.5", json!(2.5)),
            ("deep=true", json!(true)),
            ("list=[1,2]", json!([1, 2])),
            ("options={\"a\":1}", json!({"a": 1})),
            ("maybe=null", json!("null")),
            ("either=5", json!(5)),
            ("either=five", json!("five")),
            ("optional=null", json!(null)),
            ("level=2", json!(2)),
            ("loop=5", json!("5")),
            ("free=5", json!("5")),
            ("unknown=5", json!("5")),
            ("message:=5", json!(5)),
            ("options:={\"a\":[null]}", json!({"a": [null]})),
        ] {
            assert_eq!(value(pair), Ok(expected), "{pair}");
        }
    }

    #[test]
    fn a_value_that_the_schema_does_not_allow_is_refused_with_what_it_does() {
        for (pair, expected) in [
            ("count=five", "count must be integer by the tool's schema, not \"five\""),
            ("count=1.5", "count must be integer by the tool's schema, not \"1.5\""),
            ("deep=yes", "deep must be boolean by the tool's schema, not \"yes\""),
            ("list=a,b", "list must be array by the tool's schema, not \"a,b\""),
            ("optional=x", "optional must be integer or null by the tool's schema, not \"x\""),
            ("message", "\"message\" is no argument; write name=value, or name:=json"),
        ] {
            assert_eq!(value(pair), Err(expected.to_owned()), "{pair}");
        }
        assert!(value("count:=x").unwrap_err().starts_with("count:= needs JSON"));
    }

    #[test]
    fn pairs_win_over_the_object_and_later_ones_over_earlier() {
        let pairs = ["count=1".to_owned(), "count=2".to_owned()];
        let arguments = read(Some(r#"{"count": 0, "message": "m"}"#), &pairs, &schema()).unwrap();
        assert_eq!(Value::Object(arguments), json!({"count": 2, "message": "m"}));
        assert!(read(Some("[1]"), &[], &schema()).is_err());
    }
}
