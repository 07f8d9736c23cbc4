//! Bodies: their format, and their members as arguments.

use serde_json::{Map, Value, json};

use super::{Document, dialect::Translator, operation::Operation};

/// Schemas that may lie in each other where a body is put together.
const LEVEL_MAX: usize = 24;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
}

impl Format {
    /// The word for it in a tool.
    pub fn word(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Form => "form",
            Format::Multipart => "multipart",
        }
    }

    fn of(content_type: &str) -> Option<Format> {
        let essence =
            content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "*/*" | "application/*" | "text/json" => Some(Format::Json),
            "application/x-www-form-urlencoded" => Some(Format::Form),
            "multipart/form-data" => Some(Format::Multipart),
            other if other.ends_with("+json") => Some(Format::Json),
            _ => None,
        }
    }
}

/// The body of an operation.
pub struct Body<'d> {
    /// How it is written.
    pub format: Format,
    /// Its type, as the document writes it.
    pub content_type: &'d str,
    /// Its schema.
    pub schema: Option<&'d Value>,
    /// Whether there must be one.
    pub is_required: bool,
}

impl Body<'_> {
    /// Whether its type is another than what the format stands for.
    pub fn needs_header(&self) -> bool {
        let essence = self.content_type.split(';').next().unwrap_or_default().trim();
        self.format == Format::Json && essence != "application/json" && !essence.contains('*')
    }
}

/// Finds the body of an operation.
///
/// # Errors
///
/// A sentence: there must be one, of a type that tools cannot write.
pub fn find<'d>(
    document: &'d Document,
    operation: &Operation<'d>,
    notes: &mut Vec<String>,
) -> Result<Option<Body<'d>>, String> {
    let Some(body) = operation.value.get("requestBody") else { return Ok(None) };
    let body = document.resolve(body)?;
    let is_required = body.get("required") == Some(&Value::Bool(true));
    let content = body.get("content").and_then(Value::as_object);
    if operation.method == "GET" {
        // What the content of such a body means is not defined (RFC 9110 §9.3.1).
        if is_required {
            return Err("it is a GET with a body".to_owned());
        }
        notes.push("without its optional body, since it is a GET".to_owned());
        return Ok(None);
    }
    let types = || content.into_iter().flatten();
    let find = |format| types().find(|(name, _)| Format::of(name) == Some(format));
    let found = [Format::Json, Format::Form, Format::Multipart].into_iter();
    if let Some((format, (content_type, media))) = found.filter_map(|f| Some((f, find(f)?))).next()
    {
        return Ok(Some(Body { format, content_type, schema: media.get("schema"), is_required }));
    }
    let names: Vec<&str> = types().map(|(name, _)| name.as_str()).collect();
    match (names.is_empty(), is_required) {
        (true, _) => Ok(None),
        (_, true) => Err(format!("its body is {:.200}", names.join(" or "))),
        (_, false) => {
            notes.push(format!("without its optional body, which is {:.200}", names.join(" or ")));
            Ok(None)
        }
    }
}

/// The members of a body, translated.
#[derive(Default)]
pub struct Members {
    /// By name.
    pub properties: Map<String, Value>,
    /// Names of those that must be there.
    pub required: Vec<String>,
    /// What other members may be; `None` if nothing is said.
    pub additional: Option<Value>,
}

/// Puts together the members of an object from all that its schema says of it. Of several
/// alternatives all members are taken, and only those are required that all require.
///
/// # Errors
///
/// A sentence: the body is no object, or too much of it.
pub fn members<'d>(
    document: &'d Document,
    translator: &mut Translator<'d>,
    schema: &'d Value,
    level: usize,
) -> Result<Members, String> {
    let schema = document.resolve(schema)?;
    if level > LEVEL_MAX {
        return Err("the schema of its body goes in a circle".to_owned());
    }
    refuse_other_kinds(schema)?;
    let mut members = own_members(translator, schema)?;
    let list = |key: &str| schema.get(key).and_then(Value::as_array).into_iter().flatten();
    for part in list("allOf") {
        let part = members_of(document, translator, part, level)?;
        members.join(part, |ours, theirs| json!({"allOf": [ours, theirs]}));
        members.additional = None;
    }
    for key in ["anyOf", "oneOf"] {
        let mut union: Option<Members> = None;
        for part in list(key).filter(|part| part.get("type") != Some(&json!("null"))) {
            let mut part = members_of(document, translator, part, level)?;
            union = Some(match union {
                None => part,
                Some(mut union) => {
                    union.required.retain(|name| part.required.contains(name));
                    part.required.clear();
                    union.join(part, either);
                    union
                }
            });
        }
        if let Some(union) = union {
            members.join(union, |ours, theirs| json!({"allOf": [ours, theirs]}));
            members.additional = None;
        }
    }
    Ok(members)
}

fn members_of<'d>(
    document: &'d Document,
    translator: &mut Translator<'d>,
    schema: &'d Value,
    level: usize,
) -> Result<Members, String> {
    members(document, translator, schema, level + 1)
}

fn refuse_other_kinds(schema: &Value) -> Result<(), String> {
    let is_object = |kind: &Value| kind == "object";
    match schema.get("type") {
        Some(Value::String(kind)) if kind != "object" => {
            Err(format!("its body is no object but {kind:.50}"))
        }
        Some(Value::Array(kinds)) if !kinds.iter().any(is_object) => {
            Err("its body is no object".to_owned())
        }
        None if schema.get("items").is_some() => Err("its body is no object but array".to_owned()),
        _ => Ok(()),
    }
}

/// What a schema says of members by itself.
fn own_members<'d>(translator: &mut Translator<'d>, schema: &'d Value) -> Result<Members, String> {
    let mut members = Members::default();
    for (name, value) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if !translator.is_hidden(value) {
            members.properties.insert(name.clone(), translator.translate(value)?);
        }
    }
    let hidden = |name: &str| {
        let value = schema.get("properties").and_then(|all| all.get(name));
        value.is_some_and(|value| translator.is_hidden(value))
    };
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let required = required.filter_map(Value::as_str).filter(|name| !hidden(name));
    members.required = required.map(str::to_owned).collect();
    if let Some(additional) = schema.get("additionalProperties") {
        members.additional = Some(translator.translate(additional)?);
    }
    Ok(members)
}

/// One schema or the other.
fn either(ours: Value, theirs: Value) -> Value {
    let mut list = match ours {
        Value::Object(mut map) if map.len() == 1 && map.contains_key("anyOf") => {
            match map.shift_remove("anyOf") {
                Some(Value::Array(list)) => list,
                _ => Vec::new(),
            }
        }
        ours => vec![ours],
    };
    if !list.contains(&theirs) {
        list.push(theirs);
    }
    if list.len() == 1 { list.remove(0) } else { json!({"anyOf": list}) }
}

impl Members {
    fn join(&mut self, other: Members, both: impl Fn(Value, Value) -> Value) {
        for (name, theirs) in other.properties {
            let joined = match self.properties.get(&name) {
                Some(ours) if *ours != theirs => both(ours.clone(), theirs),
                _ => theirs,
            };
            self.properties.insert(name, joined);
        }
        for name in other.required {
            if !self.required.contains(&name) {
                self.required.push(name);
            }
        }
    }
}
