//! Schemas of OpenAPI as JSON Schema 2020-12: what 3.0 writes otherwise is written anew, and what a
//! schema refers to comes along as `$defs`.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Map, Value, json};

use super::{Document, naming};
use crate::schema::{parts, parts_mut};

/// Levels to which definitions that are used once are written where they are used.
const INLINE_LEVEL_MAX: usize = 12;

/// The types that there are.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Which way the values go that a schema describes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the API: what is `readOnly` is not sent.
    Request,
    /// From the API: what is `writeOnly` does not come.
    Answer,
}

/// Translates the schemas of one tool.
pub struct Translator<'d> {
    document: &'d Document,
    direction: Direction,
    /// The names of the definitions, by reference.
    names: HashMap<&'d str, String>,
    taken: HashSet<String>,
    waiting: VecDeque<&'d str>,
    definitions: Map<String, Value>,
    size: usize,
    size_max: usize,
}

impl<'d> Translator<'d> {
    /// A translator that has done nothing yet, and gives up at `size_max` bytes of schema.
    pub fn new(document: &'d Document, direction: Direction, size_max: usize) -> Translator<'d> {
        Translator {
            document,
            direction,
            names: HashMap::new(),
            taken: HashSet::new(),
            waiting: VecDeque::new(),
            definitions: Map::new(),
            size: 0,
            size_max,
        }
    }

    /// Translates a schema. What it refers to follows with [`Translator::finish`].
    ///
    /// # Errors
    ///
    /// A sentence: there is too much of it.
    pub fn translate(&mut self, schema: &'d Value) -> Result<Value, String> {
        let map = match schema {
            Value::Object(map) => map,
            Value::Bool(_) => return Ok(schema.clone()),
            _ => return Ok(json!({})),
        };
        self.size += 16;
        let mut out = Map::new();
        for (key, value) in map {
            self.keyword(&mut out, map, key, value)?;
        }
        if map.get("nullable") == Some(&Value::Bool(true)) {
            out = or_null(out);
        }
        if self.size > self.size_max {
            return Err(format!("its schema is larger than {} bytes", self.size_max));
        }
        Ok(Value::Object(out))
    }

    /// Writes one keyword anew.
    fn keyword(
        &mut self,
        out: &mut Map<String, Value>,
        map: &'d Map<String, Value>,
        key: &str,
        value: &'d Value,
    ) -> Result<(), String> {
        let written = match key {
            "$ref" => value.as_str().map(|reference| self.refer(reference)),
            "properties" | "patternProperties" | "dependentSchemas" => self.members(value)?,
            "items" if value.is_array() => {
                let list = self.list(value)?;
                out.extend(list.map(|list| ("prefixItems".to_owned(), list)));
                None
            }
            "items"
            | "additionalProperties"
            | "unevaluatedProperties"
            | "unevaluatedItems"
            | "contains"
            | "propertyNames"
            | "not"
            | "if"
            | "then"
            | "else" => Some(self.translate(value)?),
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => self.list(value)?,
            "type" => types(value),
            "required" => self.required(map, value),
            "enum" => value.as_array().filter(|list| !list.is_empty()).map(|_| value.clone()),
            "exclusiveMinimum" | "exclusiveMaximum" => bound(map, key, value),
            "minimum" | "maximum" => {
                let exclusive =
                    if key == "minimum" { "exclusiveMinimum" } else { "exclusiveMaximum" };
                let replaced = map.get(exclusive) == Some(&Value::Bool(true));
                Some(value.clone()).filter(|value| value.is_number() && !replaced)
            }
            "example" => {
                out.entry("examples").or_insert_with(|| json!([value]));
                None
            }
            _ => plain(key, value),
        };
        if let Some(written) = written {
            self.size += key.len() + if written.is_string() { size_of_text(&written) } else { 8 };
            out.insert(key.to_owned(), written);
        }
        Ok(())
    }

    fn members(&mut self, value: &'d Value) -> Result<Option<Value>, String> {
        let Some(map) = value.as_object() else { return Ok(None) };
        let mut out = Map::new();
        for (name, schema) in map {
            if !self.is_hidden(schema) {
                self.size += name.len();
                out.insert(name.clone(), self.translate(schema)?);
            }
        }
        Ok(Some(Value::Object(out)))
    }

    fn list(&mut self, value: &'d Value) -> Result<Option<Value>, String> {
        let items = value.as_array().into_iter().flatten();
        let items = items.map(|schema| self.translate(schema)).collect::<Result<Vec<_>, _>>()?;
        Ok((!items.is_empty()).then_some(Value::Array(items)))
    }

    /// The names of `required`, each once, without those of members that do not travel this way.
    fn required(&self, map: &Map<String, Value>, value: &Value) -> Option<Value> {
        let properties = map.get("properties");
        let hidden = |name: &str| {
            properties.and_then(|all| all.get(name)).is_some_and(|schema| self.is_hidden(schema))
        };
        let mut seen = HashSet::new();
        let names = value.as_array()?.iter().filter_map(Value::as_str);
        let names: Vec<&str> = names.filter(|name| !hidden(name) && seen.insert(*name)).collect();
        (!names.is_empty()).then(|| json!(names))
    }

    /// Whether a member does not travel in this direction.
    pub fn is_hidden(&self, schema: &Value) -> bool {
        let key = match self.direction {
            Direction::Request => "readOnly",
            Direction::Answer => "writeOnly",
        };
        let says = |schema: &Value| schema.get(key) == Some(&Value::Bool(true));
        says(schema) || self.document.resolve(schema).is_ok_and(says)
    }

    /// Where the definition will be that a reference leads to.
    fn refer(&mut self, reference: &'d str) -> Value {
        if !self.names.contains_key(reference) {
            let last = reference.rsplit('/').next().unwrap_or_default();
            let base = naming::word(last);
            let mut name = base.clone();
            let mut number = 1;
            while !self.taken.insert(name.clone()) {
                number += 1;
                name = format!("{base}_{number}");
            }
            self.names.insert(reference, name);
            self.waiting.push_back(reference);
        }
        json!(format!("#/$defs/{}", self.names[reference]))
    }

    /// Adds to `root` the definitions that it needs. One that is used once is written where it is
    /// used.
    ///
    /// # Errors
    ///
    /// A sentence: a reference leads out of the document or nowhere, or there is too much.
    pub fn finish(mut self, root: &mut Value) -> Result<(), String> {
        while let Some(reference) = self.waiting.pop_front() {
            let schema = self.document.target(reference)?;
            let translated = self.translate(schema)?;
            self.definitions.insert(self.names[reference].clone(), translated);
        }
        let mut counts = HashMap::new();
        count_references(root, &mut counts);
        self.definitions.values().for_each(|schema| count_references(schema, &mut counts));
        inline(root, &mut self.definitions, &counts, 0);
        // What remains is in a circle, or used twice: its own parts may be used once all the same.
        for name in self.definitions.keys().cloned().collect::<Vec<_>>() {
            if let Some(mut schema) = self.definitions.get_mut(&name).map(Value::take) {
                inline(&mut schema, &mut self.definitions, &counts, 0);
                if self.definitions.contains_key(&name) {
                    self.definitions.insert(name, schema);
                }
            }
        }
        if !self.definitions.is_empty() {
            root["$defs"] = Value::Object(self.definitions);
        }
        Ok(())
    }
}

/// A keyword that means the same in both, if its value is what it must be; nothing for those that
/// JSON Schema does not have, and for names, which would clash once several schemas are in one.
fn plain(key: &str, value: &Value) -> Option<Value> {
    let fits = match key {
        "title" | "description" | "format" | "pattern" | "contentEncoding" | "contentMediaType"
        | "$comment" => value.is_string(),
        "maxLength" | "minLength" | "maxItems" | "minItems" | "maxProperties" | "minProperties"
        | "minContains" | "maxContains" => value.is_u64(),
        "multipleOf" => value.as_f64().is_some_and(|number| number > 0.0),
        "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" => value.is_boolean(),
        "examples" => value.is_array(),
        "const" | "default" => true,
        "dependentRequired" => value.is_object(),
        _ => false,
    };
    fits.then(|| value.clone())
}

/// The known ones of the types that a schema names.
fn types(value: &Value) -> Option<Value> {
    let is_known = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    match value {
        Value::Array(list) => {
            let mut known: Vec<&Value> = Vec::new();
            for name in list.iter().filter(|name| is_known(name)) {
                if !known.contains(&name) {
                    known.push(name);
                }
            }
            (!known.is_empty()).then(|| json!(known))
        }
        value => is_known(value).then(|| value.clone()),
    }
}

/// An exclusive bound: a flag beside the bound in 3.0, the bound itself in 3.1.
fn bound(map: &Map<String, Value>, key: &str, value: &Value) -> Option<Value> {
    let beside = if key == "exclusiveMinimum" { "minimum" } else { "maximum" };
    match value {
        Value::Bool(true) => map.get(beside).filter(|bound| bound.is_number()).cloned(),
        Value::Number(_) => Some(value.clone()),
        _ => None,
    }
}

/// The same schema, or null.
fn or_null(mut schema: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Array(list)) = schema.get_mut("enum")
        && !list.contains(&Value::Null)
    {
        list.push(Value::Null);
    }
    if !["$ref", "allOf", "anyOf", "oneOf"].iter().any(|key| schema.contains_key(*key)) {
        match schema.get_mut("type") {
            Some(Value::Array(list)) if !list.contains(&json!("null")) => list.push(json!("null")),
            Some(name @ Value::String(_)) => *name = json!([name, "null"]),
            _ => {}
        }
        return schema;
    }
    let mut outer = Map::new();
    for key in ANNOTATIONS {
        outer.extend(schema.shift_remove(key).map(|value| (key.to_owned(), value)));
    }
    outer.insert("anyOf".to_owned(), json!([schema, {"type": "null"}]));
    outer
}

fn size_of_text(value: &Value) -> usize {
    value.as_str().map_or(8, str::len)
}

/// Keywords that may stand beside a reference and say no more of the value.
const ANNOTATIONS: [&str; 7] =
    ["title", "description", "deprecated", "default", "examples", "readOnly", "writeOnly"];

/// The definition that a schema refers to.
fn definition_of(map: &Map<String, Value>) -> Option<&str> {
    map.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

fn count_references(value: &Value, counts: &mut HashMap<String, usize>) {
    let Value::Object(map) = value else { return };
    if let Some(name) = definition_of(map) {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    parts(map).for_each(|part| count_references(part, counts));
}

/// Writes every definition that is used once where it is used, as far as that does not nest deeply.
fn inline(
    value: &mut Value,
    definitions: &mut Map<String, Value>,
    counts: &HashMap<String, usize>,
    level: usize,
) {
    let Value::Object(map) = value else { return };
    if level < INLINE_LEVEL_MAX
        && let Some(name) = definition_of(map)
        && counts.get(name) == Some(&1)
        && map.keys().all(|key| key == "$ref" || ANNOTATIONS.contains(&key.as_str()))
        && definitions.get(name).is_some_and(Value::is_object)
        && let Some(Value::Object(definition)) = definitions.shift_remove(&name.to_owned())
    {
        map.shift_remove("$ref");
        for (key, value) in definition {
            map.entry(key).or_insert(value);
        }
    }
    parts_mut(map).for_each(|part| inline(part, definitions, counts, level + 1));
}
