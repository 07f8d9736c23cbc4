//! From the text of a schema to what checks by it.

use jsonschema::{PatternOptions, ValidationError, ValidationOptions, Validator};
use serde_json::{Value, json};

use super::{
    effort::{self, Effort},
    parts::parts_mut,
    plain::Plain,
};
use crate::limits;

/// Bytes of a compiled pattern. Those of real schemas need a few hundred; counted repetitions of
/// large classes can need any number.
const PATTERN_SIZE_MAX: usize = 256 * 1024;

/// A schema ready for use.
pub struct Compiled {
    /// The short way, where there is one.
    pub plain: Option<Plain>,
    /// What checks by it.
    pub validator: Validator,
    /// What that costs.
    pub effort: Effort,
}

/// Makes what checks by a raw schema; `None` if every object satisfies it.
///
/// Patterns that need more than linear time are left out.
///
/// # Errors
///
/// A sentence saying why the schema cannot be used.
pub fn compile(raw: &str) -> Result<Option<Compiled>, String> {
    let mut schema = read(raw)?;
    if accepts_every_object(&schema) {
        return Ok(None);
    }
    let effort = effort::measure(&schema)?;
    let validator = match build(&schema) {
        Ok(validator) => validator,
        Err(_) if leave_out(&mut schema, &is_linear) => build(&schema)?,
        Err(sentence) => return Err(sentence),
    };
    Ok(Some(Compiled { plain: Plain::of(&schema), validator, effort }))
}

/// See [`super::check`].
pub fn check(raw: &str) -> Result<(), String> {
    let schema = read(raw)?;
    effort::measure(&schema)?;
    let options = PatternOptions::fancy_regex().size_limit(PATTERN_SIZE_MAX);
    let built = options_for_all().with_pattern_options(options).build(&schema);
    built.map(|_| ()).map_err(|error| fault(&error))
}

fn read(raw: &str) -> Result<Value, String> {
    if raw.len() > limits::SCHEMA_SIZE_MAX {
        return Err(format!("the schema is larger than {} bytes", limits::SCHEMA_SIZE_MAX));
    }
    if depth(raw) > limits::SCHEMA_DEPTH_MAX {
        return Err(format!("the schema nests deeper than {} levels", limits::SCHEMA_DEPTH_MAX));
    }
    let schema: Value =
        serde_json::from_str(raw).map_err(|error| format!("the schema is no JSON: {error}"))?;
    if !schema.is_object() {
        return Err("the schema must be an object".to_owned());
    }
    Ok(schema)
}

/// How deeply a JSON text nests, without recursion.
fn depth(raw: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut within_text, mut escaped) = (false, false);
    for byte in raw.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if within_text => escaped = true,
            b'"' => within_text = !within_text,
            b'{' | b'[' if !within_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !within_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether the schema says no more than that the value is an object, as that of a tool without
/// parameters does.
fn accepts_every_object(schema: &Value) -> bool {
    let empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
    let none = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    schema.as_object().into_iter().flatten().all(|(key, value)| match key.as_str() {
        "type" => value == "object",
        "properties" => empty(value),
        "required" => none(value),
        "additionalProperties" => *value == Value::Bool(true) || empty(value),
        "title" | "description" => true,
        _ => false,
    })
}

/// What every schema is read with: no reference is fetched, and `format` is an annotation, as it is
/// by default in 2020-12 (Validation §7.2.1).
fn options_for_all<'a>() -> ValidationOptions<'a> {
    jsonschema::options().offline().should_validate_formats(false)
}

fn build(schema: &Value) -> Result<Validator, String> {
    let options = PatternOptions::regex().size_limit(PATTERN_SIZE_MAX);
    let built = options_for_all().with_pattern_options(options).build(schema);
    built.map_err(|error| fault(&error))
}

fn fault(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().as_str();
    let message = super::violations::cut(&error.to_string());
    match place {
        "" => format!("the schema is not valid: {message}"),
        place => format!("the schema is not valid at {place}: {message}"),
    }
}

/// Takes out every pattern that is no regular expression at all; true if there was one.
pub fn drop_unreadable_patterns(schema: &mut Value) -> bool {
    leave_out(schema, &|pattern| check(&json!({ "pattern": pattern }).to_string()).is_ok())
}

/// Takes out every pattern that `stays` does not keep; true if there was one.
fn leave_out(schema: &mut Value, stays: &dyn Fn(&str) -> bool) -> bool {
    let Value::Object(map) = schema else { return false };
    let mut found = false;
    if map.get("pattern").and_then(Value::as_str).is_some_and(|pattern| !stays(pattern)) {
        map.shift_remove("pattern");
        found = true;
    }
    if let Some(Value::Object(patterns)) = map.get_mut("patternProperties") {
        let count = patterns.len();
        patterns.retain(|pattern, _| stays(pattern));
        // What they matched would be an additional property now.
        if patterns.len() < count {
            found = true;
            map.shift_remove("additionalProperties");
            map.shift_remove("unevaluatedProperties");
        }
    }
    parts_mut(map).fold(found, |found, part| leave_out(part, stays) | found)
}

fn is_linear(pattern: &str) -> bool {
    build(&json!({ "pattern": pattern })).is_ok()
}
