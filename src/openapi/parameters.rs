//! Parameters of an operation: which there are, and how each becomes an argument.

use serde_json::{Map, Value, json};

use super::{
    Document,
    arguments::{Arguments, Place},
    dialect::Translator,
    operation::Operation,
};

/// Headers that are not for parameters (OpenAPI, Parameter Object).
const RESERVED: [&str; 3] = ["accept", "content-type", "authorization"];

/// The parameters of an operation by name and place: its own, and those of its path item that it
/// does not replace.
///
/// # Errors
///
/// A sentence: one cannot be looked up, or has no name or place.
pub fn list<'d>(
    document: &'d Document,
    operation: &Operation<'d>,
) -> Result<Vec<Parameter<'d>>, String> {
    let mut parameters: Vec<Parameter<'d>> = Vec::new();
    for owner in [operation.value, operation.item] {
        for value in owner.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            let parameter = Parameter::read(document.resolve(value)?)?;
            let is_same = |other: &Parameter<'_>| {
                other.name == parameter.name && other.place == parameter.place
            };
            if !parameters.iter().any(is_same) {
                parameters.push(parameter);
            }
        }
    }
    Ok(parameters)
}

/// A parameter.
pub struct Parameter<'d> {
    name: &'d str,
    /// `in`: path, query, header or cookie.
    place: &'d str,
    value: &'d Value,
}

/// How a value is written as text.
enum Form<'d> {
    /// As it is: one text, or a list that repeats the name.
    Plain,
    /// A list whose values stand in one text with this between them.
    Joined(&'static str),
    /// JSON in a text.
    Json,
    /// Each member is a parameter of its own.
    Members { properties: &'d Map<String, Value>, required: Vec<&'d str>, is_deep: bool },
}

impl<'d> Parameter<'d> {
    fn read(value: &'d Value) -> Result<Parameter<'d>, String> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        match (text("name"), text("in")) {
            (Some(name), Some(place)) => Ok(Parameter { name, place, value }),
            _ => Err("a parameter has no name or no place".to_owned()),
        }
    }

    /// Whether it goes to `place`, which a header that is not for parameters never does.
    pub fn is_in(&self, place: &str) -> bool {
        let reserved = || RESERVED.iter().any(|name| self.name.eq_ignore_ascii_case(name));
        self.place == place && !(place == "header" && reserved())
    }

    /// Where it goes: path, query, header or cookie.
    pub fn place(&self) -> &'d str {
        self.place
    }

    /// Its name.
    pub fn name(&self) -> &'d str {
        self.name
    }

    /// Whether it must be given.
    pub fn is_required(&self) -> bool {
        self.place == "path" || self.value.get("required") == Some(&Value::Bool(true))
    }

    /// Makes arguments of it; returns the name of the first.
    ///
    /// # Errors
    ///
    /// A sentence: its values are written in a way that tools cannot write.
    pub fn put(
        &self,
        document: &'d Document,
        translator: &mut Translator<'d>,
        arguments: &mut Arguments,
    ) -> Result<String, String> {
        if self.place == "header" && !is_field_name(self.name) {
            return Err(format!("the header {:.100} is none that tools send", self.name));
        }
        let place = match self.place {
            "path" => Place::Path,
            "query" => Place::Query,
            _ => Place::Header,
        };
        let schema = match self.form(document)? {
            Form::Plain => match self.value.get("schema") {
                Some(schema) => translator.translate(schema)?,
                None => json!({"type": "string"}),
            },
            Form::Joined(separator) => {
                json!({"type": "string", "description": format!("Values with {separator:?} between them")})
            }
            Form::Json => json!({"type": "string", "description": "JSON text"}),
            Form::Members { properties, required, is_deep } => {
                let mut first = None;
                for (member, schema) in properties {
                    let wire =
                        if is_deep { format!("{}[{member}]", self.name) } else { member.clone() };
                    let wish =
                        if is_deep { format!("{}_{member}", self.name) } else { member.clone() };
                    let schema = translator.translate(schema)?;
                    let is_required = self.is_required() && required.contains(&member.as_str());
                    let name = arguments.put(&wish, &wire, place, schema, is_required);
                    first.get_or_insert(name);
                }
                return first.ok_or_else(|| self.unwritable("an object without members"));
            }
        };
        let schema = self.described(schema);
        Ok(arguments.put(&argument_name(self.name), self.name, place, schema, self.is_required()))
    }

    /// Adds what the parameter says of itself.
    fn described(&self, mut schema: Value) -> Value {
        let Some(map) = schema.as_object_mut() else { return schema };
        if let Some(Value::String(own)) = self.value.get("description") {
            let text = match map.get("description").and_then(Value::as_str) {
                Some(form) if form.starts_with("Values with") || form == "JSON text" => {
                    format!("{own}\n{form}")
                }
                _ => own.clone(),
            };
            map.insert("description".to_owned(), json!(text));
        }
        if let Some(example) = self.value.get("example").filter(|_| !map.contains_key("examples")) {
            map.insert("examples".to_owned(), json!([example]));
        }
        if self.value.get("deprecated") == Some(&Value::Bool(true)) {
            map.insert("deprecated".to_owned(), json!(true));
        }
        schema
    }

    /// How its values are written (OpenAPI, Style Values).
    fn form(&self, document: &'d Document) -> Result<Form<'d>, String> {
        let Some(schema) = self.value.get("schema") else {
            return Ok(if self.value.get("content").is_some() { Form::Json } else { Form::Plain });
        };
        let style = self.value.get("style").and_then(Value::as_str);
        let style = style.unwrap_or(if self.place == "query" { "form" } else { "simple" });
        let explode = self.value.get("explode").and_then(Value::as_bool);
        let explode = explode.unwrap_or(style == "form");
        let resolved = document.resolve(schema)?;
        match (kind_of(document, resolved), style) {
            (_, "label" | "matrix") => Err(self.unwritable(&format!("the style {style}"))),
            ("array", "form") if explode => Ok(Form::Plain),
            ("array", "pipeDelimited") => Ok(Form::Joined("|")),
            ("array", "spaceDelimited") => Ok(Form::Joined(" ")),
            ("array", _) => Ok(Form::Joined(",")),
            ("object", "deepObject") => self.members(resolved, true),
            ("object", "form") if explode => self.members(resolved, false),
            ("object", _) => Err(self.unwritable("an object")),
            _ => Ok(Form::Plain),
        }
    }

    fn members(&self, schema: &'d Value, is_deep: bool) -> Result<Form<'d>, String> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.filter(|properties| !properties.is_empty());
        let properties =
            properties.ok_or_else(|| self.unwritable("an object whose members are not named"))?;
        let required = schema.get("required").and_then(Value::as_array);
        let required = required.into_iter().flatten().filter_map(Value::as_str).collect();
        Ok(Form::Members { properties, required, is_deep })
    }

    fn unwritable(&self, what: &str) -> String {
        format!("the {} parameter {:.100} is {what}", self.place, self.name)
    }
}

/// Whether a name has only letters that models may write in names of arguments.
pub fn is_plain(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && name.chars().all(is_plain)
}

/// The name of an argument for a parameter: letters of `filter[name]` that are not plain become `_`.
fn argument_name(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { super::naming::word(name) }
}

/// Whether a name can be that of a header field which is not about the connection itself.
fn is_field_name(name: &str) -> bool {
    const OF_THE_CONNECTION: [&str; 9] = [
        "accept-encoding",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    net::http1::encode::is_token(name.as_bytes())
        && !OF_THE_CONNECTION.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// The type of a schema's values, as far as it says one.
fn kind_of<'d>(document: &'d Document, schema: &'d Value) -> &'d str {
    let named = match schema.get("type") {
        Some(Value::String(kind)) => Some(kind.as_str()),
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null")
        }
        _ => None,
    };
    if let Some(kind) = named {
        return kind;
    }
    if schema.get("properties").is_some() {
        return "object";
    }
    let single = |key: &str| schema.get(key)?.as_array().filter(|list| list.len() == 1)?.first();
    let single = ["allOf", "anyOf", "oneOf"].into_iter().find_map(single);
    single.and_then(|inner| document.resolve(inner).ok()).map_or("", |inner| kind_of_flat(inner))
}

fn kind_of_flat(schema: &Value) -> &str {
    schema.get("type").and_then(Value::as_str).unwrap_or_default()
}
