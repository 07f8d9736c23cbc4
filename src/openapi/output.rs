//! The output schema of a tool: that of the first success that is answered in JSON.

use serde_json::{Value, json};

use super::{
    Document,
    dialect::{Direction, Translator},
    operation::{self, Operation},
};
use crate::limits;

/// Finds the schema of what an operation answers; `None` if that is not JSON or no object, which is
/// all that an output schema can describe.
///
/// # Errors
///
/// A sentence saying why a schema that is there is not used.
pub fn of(document: &Document, operation: &Operation<'_>) -> Result<Option<Value>, String> {
    let Some(schema) = success(document, operation)? else { return Ok(None) };
    if !is_object(document, schema, 0) {
        return Ok(None);
    }
    let mut translator =
        Translator::new(document, Direction::Answer, limits::OUTPUT_SCHEMA_SIZE_MAX);
    let mut root = translator.translate(schema)?;
    translator.finish(&mut root)?;
    // A reference that stands alone was written out; another needs a type of its own.
    root["type"] = json!("object");
    operation::settle(root, limits::OUTPUT_SCHEMA_SIZE_MAX).map(Some)
}

/// The schema of the first 2xx answer with JSON, in the order of the codes; `2XX` is last.
fn success<'d>(
    document: &'d Document,
    operation: &Operation<'d>,
) -> Result<Option<&'d Value>, String> {
    let responses = operation.value.get("responses").and_then(Value::as_object);
    let mut successes: Vec<_> =
        responses.into_iter().flatten().filter(|(code, _)| code.starts_with('2')).collect();
    successes.sort_by_key(|(code, _)| code.to_ascii_uppercase());
    for (_, response) in successes {
        let content = document.resolve(response)?.get("content").and_then(Value::as_object);
        let is_json = |name: &str| {
            let essence = name.split(';').next().unwrap_or_default().trim();
            essence == "application/json" || essence.ends_with("+json")
        };
        let mut media = content.into_iter().flatten();
        if let Some((_, media)) = media.find(|(name, _)| is_json(name)) {
            return Ok(media.get("schema"));
        }
    }
    Ok(None)
}

/// Whether a schema describes objects and nothing else.
fn is_object(document: &Document, schema: &Value, level: usize) -> bool {
    let Ok(schema) = document.resolve(schema) else { return false };
    if level > 8 || schema.get("nullable") == Some(&json!(true)) {
        return false;
    }
    let list =
        |key: &str| schema.get(key).and_then(Value::as_array).filter(|list| !list.is_empty());
    match schema.get("type") {
        Some(kind) => kind == "object",
        None if schema.get("properties").is_some() => true,
        None => {
            list("allOf").is_some_and(|all| all.iter().any(|s| is_object(document, s, level + 1)))
                || ["anyOf", "oneOf"]
                    .into_iter()
                    .filter_map(list)
                    .any(|any| any.iter().all(|s| is_object(document, s, level + 1)))
        }
    }
}
