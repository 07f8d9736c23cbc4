//! The subschemas right below a schema, told from the data beside them.

use serde_json::{Map, Value};

/// Keywords whose value is data: nothing in it is a schema.
const DATA: [&str; 5] = ["const", "enum", "default", "example", "examples"];

/// Keywords whose value has schemas by names. A member that is called `enum` is no keyword.
const NAMED: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// What stands in the value of a keyword.
enum Holds {
    Data,
    Named,
    Schemas,
}

fn holds(key: &str) -> Holds {
    match key {
        key if DATA.contains(&key) => Holds::Data,
        key if NAMED.contains(&key) => Holds::Named,
        _ => Holds::Schemas,
    }
}

/// What may be a schema right below the schema `map`, those of unknown keywords included.
pub fn parts(map: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    map.iter().flat_map(|(key, value)| match (holds(key), value) {
        (Holds::Data, _) => Vec::new(),
        (Holds::Named, Value::Object(inner)) => inner.values().collect(),
        (_, Value::Array(items)) => items.iter().collect(),
        (_, value) => vec![value],
    })
}

/// The same, to be changed.
pub fn parts_mut(map: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    map.iter_mut().flat_map(|(key, value)| match (holds(key), value) {
        (Holds::Data, _) => Vec::new(),
        (Holds::Named, Value::Object(inner)) => inner.values_mut().collect(),
        (_, Value::Array(items)) => items.iter_mut().collect(),
        (_, value) => vec![value],
    })
}
