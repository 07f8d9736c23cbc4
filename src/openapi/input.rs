//! The input schema of a tool: parameters and body in one object.

use serde_json::{Map, Value, json};

use super::{
    Document,
    arguments::{Argument, Arguments, Place},
    body::{self, Body, Format, Members},
    dialect::{Direction, Translator},
    operation::{self, Operation},
    parameters, security,
};
use crate::limits;

/// What a tool takes, and where it goes.
pub struct Input<'d> {
    /// The input schema.
    pub schema: Value,
    /// The path, its parameters by the names of their arguments.
    pub path: String,
    /// The body.
    pub body: Option<Body<'d>>,
    /// What was left out.
    pub notes: Vec<String>,
    arguments: Vec<Argument>,
}

impl Input<'_> {
    /// The arguments that go to a place, each with the name by which it travels.
    pub fn mapping(&self, place: Place) -> Map<String, Value> {
        let there = self.arguments.iter().filter(|argument| argument.place == place);
        there.map(|argument| (argument.name.clone(), json!(argument.wire_name))).collect()
    }
}

/// Puts together what an operation takes.
///
/// # Errors
///
/// A sentence saying what of it a tool cannot send.
pub fn of<'d>(document: &'d Document, operation: &Operation<'d>) -> Result<Input<'d>, String> {
    let mut translator = Translator::new(document, Direction::Request, limits::SCHEMA_SIZE_MAX);
    let mut arguments = Arguments::default();
    let mut notes = Vec::new();
    let body = body::find(document, operation, &mut notes)?;
    let mut additional = Some(json!(false));
    if let Some(body) = &body {
        additional = put_body(document, &mut translator, body, &mut arguments)?;
    }
    let path = put_parameters(document, operation, &mut translator, &mut arguments, &mut notes)?;
    let schema = assemble(translator, &arguments.list, additional)?;
    Ok(Input { schema, path, body, notes, arguments: arguments.list })
}

/// Makes arguments of the members of the body; returns what others there may be.
fn put_body<'d>(
    document: &'d Document,
    translator: &mut Translator<'d>,
    body: &Body<'d>,
    arguments: &mut Arguments,
) -> Result<Option<Value>, String> {
    let Some(schema) = body.schema else { return Ok(None) };
    let Members { properties, required, additional } =
        body::members(document, translator, schema, 0)?;
    for (name, schema) in properties {
        let is_required = body.is_required && required.contains(&name);
        let schema = if body.format == Format::Multipart { with_files(schema) } else { schema };
        arguments.put(&name, &name, Place::Body, schema, is_required);
    }
    Ok(additional)
}

/// In the place of binary text, the object by which a tool is given a file.
fn with_files(schema: Value) -> Value {
    let is_file = schema.get("format") == Some(&json!("binary"))
        || schema.get("contentMediaType") == Some(&json!("application/octet-stream"));
    if let Some(items) = schema.get("items").filter(|_| !is_file) {
        let mut list = schema.clone();
        list["items"] = with_files(items.clone());
        return list;
    }
    if !is_file {
        return schema;
    }
    let mut file = json!({
        "type": "object",
        "properties": {
            "data": {"type": "string", "description": "The content of the file in base64"},
            "filename": {"type": "string"},
            "mime_type": {"type": "string"},
        },
        "required": ["data"],
        "additionalProperties": false,
    });
    if let Some(description) = schema.get("description") {
        file["description"] = description.clone();
    }
    file
}

/// Makes arguments of the parameters; returns the path with their names.
fn put_parameters<'d>(
    document: &'d Document,
    operation: &Operation<'d>,
    translator: &mut Translator<'d>,
    arguments: &mut Arguments,
    notes: &mut Vec<String>,
) -> Result<String, String> {
    let mut parameters = parameters::list(document, operation)?;
    parameters.retain(|parameter| {
        !security::is_proof(document, operation, parameter.place(), parameter.name())
    });
    let mut path = operation.path.replace(' ', "%20");
    for parameter in parameters.iter().filter(|parameter| parameter.is_in("path")) {
        let placeholder = format!("{{{}}}", parameter.name().replace(' ', "%20"));
        if !path.contains(&placeholder) {
            continue;
        }
        let name = parameter.put(document, translator, arguments)?;
        path = path.replace(&placeholder, &format!("{{{name}}}"));
    }
    let known =
        |name: &str| arguments.list.iter().any(|a| a.place == Place::Path && a.name == name);
    let undeclared: Vec<String> =
        placeholders(&path).filter(|name| !known(name)).map(str::to_owned).collect();
    for name in undeclared {
        if !parameters::is_plain(&name) {
            return Err(format!("its path has {{{name}}}, which is no parameter"));
        }
        let given = arguments.put(&name, &name, Place::Path, json!({"type": "string"}), true);
        path = path.replace(&format!("{{{name}}}"), &format!("{{{given}}}"));
    }
    for place in ["query", "header"] {
        for parameter in parameters.iter().filter(|parameter| parameter.is_in(place)) {
            match parameter.put(document, translator, arguments) {
                Ok(_) => {}
                Err(reason) if parameter.is_required() => return Err(reason),
                Err(reason) => notes.push(format!("left out: {reason}")),
            }
        }
    }
    for cookie in parameters.iter().filter(|parameter| parameter.is_in("cookie")) {
        let reason = format!("the cookie {:.100}", cookie.name());
        match cookie.is_required() {
            true => return Err(format!("it needs {reason}, and tools send none")),
            false => notes.push(format!("left out: {reason}")),
        }
    }
    Ok(path)
}

/// The names in braces of a path.
fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0))
}

fn assemble(
    translator: Translator<'_>,
    arguments: &[Argument],
    additional: Option<Value>,
) -> Result<Value, String> {
    let properties = arguments.iter().map(|a| (a.name.clone(), a.schema.clone()));
    let mut schema = json!({"type": "object", "properties": properties.collect::<Map<_, _>>()});
    let required: Vec<&str> =
        arguments.iter().filter(|a| a.is_required).map(|a| a.name.as_str()).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if let Some(additional) = additional {
        schema["additionalProperties"] = additional;
    }
    translator.finish(&mut schema)?;
    operation::settle(schema, limits::SCHEMA_SIZE_MAX)
}
