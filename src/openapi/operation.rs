//! One operation: from its description to a tool.

use serde_json::{Map, Value, json};

use super::{
    Document, Draft, Options, arguments::Place, input, naming::Names, output, security, servers,
};

/// Methods that a path item may have, in capitals and as it writes them, and whether their operations
/// do something that a model can use.
const METHODS: [(&str, &str, bool); 8] = [
    ("GET", "get", true),
    ("PUT", "put", true),
    ("POST", "post", true),
    ("DELETE", "delete", true),
    ("PATCH", "patch", true),
    ("OPTIONS", "options", false),
    ("HEAD", "head", false),
    ("TRACE", "trace", false),
];

/// The longest title, in characters.
const TITLE_LENGTH_MAX: usize = 120;

/// An operation of a document.
#[derive(Clone, Copy)]
pub struct Operation<'d> {
    /// The path, with its parameters in braces.
    pub path: &'d str,
    /// The method, in capitals.
    pub method: &'static str,
    /// Whether tools may have this method.
    is_called: bool,
    /// The path item: what all operations of the path share.
    pub item: &'d Value,
    /// The operation object.
    pub value: &'d Value,
}

impl<'d> Operation<'d> {
    /// What it is known by: `GET /pets/{id}`.
    pub fn key(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Its `operationId`.
    pub fn id(&self) -> Option<&'d str> {
        self.text("operationId")
    }

    /// Its tags.
    pub fn tags(&self) -> impl Iterator<Item = &'d str> {
        let tags = self.value.get("tags").and_then(Value::as_array);
        tags.into_iter().flatten().filter_map(Value::as_str)
    }

    fn text(&self, key: &str) -> Option<&'d str> {
        self.value.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
    }
}

/// Every operation, in the order of the document.
pub fn list(document: &Document) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, item) in document.paths().filter(|(path, _)| path.starts_with('/')) {
        let Ok(item) = document.resolve(item) else { continue };
        for (key, value) in item.as_object().into_iter().flatten() {
            if let Some((method, _, is_called)) = METHODS.iter().find(|method| method.1 == key) {
                operations.push(Operation { path, method, is_called: *is_called, item, value });
            }
        }
    }
    operations
}

/// Makes a tool of an operation.
///
/// # Errors
///
/// A sentence saying why it cannot be one.
pub fn convert(
    document: &Document,
    operation: &Operation<'_>,
    options: &Options,
    names: &mut Names,
) -> Result<Draft, String> {
    if !operation.is_called {
        return Err(format!("{} is no method of tools", operation.method));
    }
    if operation.path.contains('#') {
        return Err("its path has a fragment, which no server gets".to_owned());
    }
    let mut input = input::of(document, operation)?;
    let base_url = servers::base_url(document, operation, options)?;
    let mut notes = std::mem::take(&mut input.notes);
    let mut fields = describe(operation);
    fields.insert("url".to_owned(), json!(format!("{base_url}{}", input.path)));
    fields.insert("base_url".to_owned(), json!(base_url));
    fields.insert("path_template".to_owned(), json!(input.path));
    fields.insert("request_type".to_owned(), json!(operation.method));
    for (key, place) in [("query_mapping", Place::Query), ("header_mapping", Place::Header)] {
        let mapping: Map<String, Value> = input.mapping(place);
        if !mapping.is_empty() {
            fields.insert(key.to_owned(), Value::Object(mapping));
        }
    }
    if let Some(body) = &input.body {
        fields.insert("body_format".to_owned(), json!(body.format.word()));
        if body.needs_header() {
            fields.insert("headers".to_owned(), json!({ "Content-Type": body.content_type }));
        }
    }
    fields.insert("inputSchema".to_owned(), input.schema);
    if options.output_schemas {
        match output::of(document, operation) {
            Ok(Some(schema)) => {
                fields.insert("outputSchema".to_owned(), schema);
            }
            Ok(None) => {}
            Err(reason) => notes.push(format!("without output schema: {reason}")),
        }
    }
    security::apply(document, operation, options, &mut fields, &mut notes)?;
    fields.insert("name".to_owned(), json!(names.give(operation)));
    Ok(Draft { operation: operation.key(), fields, notes })
}

/// What says what the tool is for.
fn describe(operation: &Operation<'_>) -> Map<String, Value> {
    let mut fields = Map::new();
    let (summary, description) = (operation.text("summary"), operation.text("description"));
    let key = operation.key();
    fields.insert("name".to_owned(), Value::Null);
    if let Some(title) = summary {
        let title: String = title.chars().take(TITLE_LENGTH_MAX).collect();
        fields.insert("title".to_owned(), json!(title));
    }
    let text = match (summary, description) {
        (Some(summary), Some(description)) if !description.starts_with(summary) => {
            format!("{summary}\n\n{description}")
        }
        (_, Some(text)) | (Some(text), None) => text.to_owned(),
        (None, None) => key,
    };
    fields.insert("description".to_owned(), json!(text));
    fields.insert("integration_type".to_owned(), json!("REST"));
    let tags: Vec<String> = operation.tags().filter_map(tag).collect();
    if !tags.is_empty() {
        fields.insert("tags".to_owned(), json!(tags));
    }
    if operation.value.get("deprecated") == Some(&Value::Bool(true)) {
        fields.insert("deprecated".to_owned(), json!(true));
    }
    fields.insert("annotations".to_owned(), annotations(operation.method));
    fields
}

/// What the method promises (RFC 9110 §9.2), as MCP writes it.
fn annotations(method: &str) -> Value {
    match method {
        "GET" => json!({"readOnlyHint": true}),
        "DELETE" => json!({"destructiveHint": true, "idempotentHint": true}),
        "PUT" => json!({"idempotentHint": true}),
        _ => json!({"destructiveHint": false}),
    }
}

/// A tag in the form in which tags are stored; none if nothing remains of it.
fn tag(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let parts = lower.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '.'));
    let parts: Vec<&str> =
        parts.map(|part| part.trim_matches('.')).filter(|part| !part.is_empty()).collect();
    Some(parts.join("-")).filter(|tag| (2..=100).contains(&tag.len()))
}

/// Finds the schemas of one operation: what it takes, and what it answers if that is JSON.
/// `path` is a path of the document or one with values in the places of the parameters, behind any
/// part of the server's address.
///
/// # Errors
///
/// `None` if there is no such operation, else a sentence saying why it has no schemas.
pub fn find_schemas(
    document: &Document,
    method: &str,
    path: &str,
) -> Option<Result<(Value, Option<Value>), String>> {
    let operations = list(document);
    let of_method = || operations.iter().filter(|o| o.method.eq_ignore_ascii_case(method));
    let exact = of_method().find(|o| o.path == path);
    let behind = || of_method().filter(|o| path.ends_with(o.path)).max_by_key(|o| o.path.len());
    let filled = || of_method().find(|o| is_filled(o.path, path));
    let operation = exact.or_else(behind).or_else(filled)?;
    let schemas = input::of(document, operation).map(|input| {
        let output = output::of(document, operation).ok().flatten();
        (input.schema, output)
    });
    Some(schemas)
}

/// Whether `path` is `template` with values for its parameters.
fn is_filled(template: &str, path: &str) -> bool {
    let (ours, theirs) = (template.split('/'), path.split('/'));
    ours.clone().count() == theirs.clone().count()
        && ours.zip(theirs).all(|(ours, theirs)| {
            ours == theirs || ours.starts_with('{') && ours.ends_with('}') && !theirs.is_empty()
        })
}

/// Checks a finished schema as the registry will. Patterns that no reader can read are taken out.
///
/// # Errors
///
/// A sentence saying what is wrong with it.
pub fn settle(mut schema: Value, size_max: usize) -> Result<Value, String> {
    let text = schema.to_string();
    if text.len() > size_max {
        return Err(format!("its schema is larger than {size_max} bytes"));
    }
    match crate::schema::check(&text) {
        Err(_) if crate::schema::drop_unreadable_patterns(&mut schema) => {
            crate::schema::check(&schema.to_string())?;
        }
        checked => checked?,
    }
    Ok(schema)
}
