//! What a request says of a resource of our own, checked and laid over what is stored.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use storage::record::Resource;

use super::Rules;
use super::fields::Fields;
use super::record_form::{self, OwnershipForm, set};

/// Media types that resources may have, besides those that begin with `application/x-` or `text/x-`
/// and those with a `+`.
const MIME_TYPES: [&str; 22] = [
    "application/gzip",
    "application/javascript",
    "application/json",
    "application/octet-stream",
    "application/pdf",
    "application/toml",
    "application/xml",
    "application/yaml",
    "application/zip",
    "audio/mpeg",
    "audio/wav",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/css",
    "text/csv",
    "text/html",
    "text/javascript",
    "text/markdown",
    "text/plain",
    "text/xml",
];

/// The media type of what says none.
const TEXT: &str = "text/plain";
const BYTES: &str = "application/octet-stream";

/// The fields of a request, those of the wrapper's outside included.
pub struct Form {
    uri: Option<String>,
    template: Option<Option<String>>,
    name: Option<String>,
    title: Option<Option<String>>,
    description: Option<Option<String>>,
    mime_type: Option<String>,
    content: Option<Content>,
    annotations: Option<Value>,
    extension_metadata: Option<String>,
    tags: Option<Vec<String>>,
    ownership: OwnershipForm,
}

/// What a resource holds.
struct Content {
    stored: String,
    is_binary: bool,
    size: i64,
}

impl Form {
    /// Reads the fields.
    pub fn read(fields: &mut Fields, outer: Option<&mut Fields>, rules: &Rules) -> Form {
        let inner = OwnershipForm::read(fields);
        Form {
            uri: uri(fields, "uri", rules),
            template: template(fields, rules),
            name: record_form::name(fields, rules),
            title: record_form::optional(fields, "title", rules.name_length_max),
            description: record_form::description(fields, rules),
            mime_type: mime_type(fields),
            content: content(fields, rules),
            annotations: record_form::object(fields, "annotations").map(Value::Object),
            extension_metadata: record_form::object(fields, "extension_metadata")
                .map(|map| Value::Object(map).to_string()),
            tags: record_form::tags(fields),
            ownership: match outer {
                Some(outer) => OwnershipForm::read(outer).over(inner),
                None => inner,
            },
        }
    }

    /// Lays over what an upstream offers only what people decide of it.
    pub fn apply_to_foreign(self, resource: &mut Resource, fields: &mut Fields) {
        set(&mut resource.extension_metadata, self.extension_metadata.map(Some));
        set(&mut resource.tags, self.tags);
        self.ownership.apply(&mut resource.ownership, fields);
    }

    /// Lays the fields over a record, and checks what must be there.
    pub fn apply(self, resource: &mut Resource, fields: &mut Fields) {
        let is_new = resource.uri.is_empty();
        let template = self.template.unwrap_or_else(|| resource.uri_template.clone());
        match (&template, self.uri, is_new) {
            // A template is what a template is asked by.
            (Some(template), _, _) => resource.uri.clone_from(template),
            (None, Some(uri), _) => resource.uri = uri,
            (None, None, true) => fields.missing("uri"),
            (None, None, false) => {}
        }
        resource.uri_template = template;
        match (self.name, is_new) {
            (Some(name), _) => resource.name = name,
            (None, true) => fields.missing("name"),
            (None, false) => {}
        }
        match (self.content, is_new) {
            (Some(content), _) => {
                resource.content = Some(content.stored);
                resource.is_binary = content.is_binary;
                resource.size = Some(content.size);
            }
            (None, true) => fields.missing("content"),
            (None, false) => {}
        }
        let guessed = if resource.is_binary { BYTES } else { TEXT };
        let mime_type = self.mime_type.or_else(|| resource.mime_type.take());
        resource.mime_type = Some(mime_type.unwrap_or_else(|| guessed.to_owned()));
        set(&mut resource.title, self.title);
        set(&mut resource.description, self.description);
        set(&mut resource.extension_metadata, self.extension_metadata.map(Some));
        set(&mut resource.tags, self.tags);
        self.ownership.apply(&mut resource.ownership, fields);
        resource.definition = definition(resource, self.annotations);
    }
}

/// The object that MCP lists, with the annotations that it had unless there are others.
fn definition(resource: &Resource, annotations: Option<Value>) -> String {
    let former: Map<String, Value> = serde_json::from_str(&resource.definition).unwrap_or_default();
    let mut object = Map::new();
    let key = if resource.uri_template.is_some() { "uriTemplate" } else { "uri" };
    object.insert(key.to_owned(), resource.uri.clone().into());
    object.insert("name".to_owned(), resource.name.clone().into());
    let texts = [
        ("title", &resource.title),
        ("description", &resource.description),
        ("mimeType", &resource.mime_type),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            object.insert(key.to_owned(), text.clone().into());
        }
    }
    if let (Some(size), None) = (resource.size, &resource.uri_template) {
        object.insert("size".to_owned(), size.into());
    }
    let annotations = annotations.or_else(|| former.get("annotations").cloned());
    if let Some(annotations) = annotations {
        object.insert("annotations".to_owned(), annotations);
    }
    Value::Object(object).to_string()
}

/// A URI, absolute or of our own making; it is a name and is never fetched.
fn uri(fields: &mut Fields, name: &str, rules: &Rules) -> Option<String> {
    let text = fields.text(name)?;
    let max = rules.url_length_max;
    if text.is_empty() || text.chars().count() > max {
        fields.error(name, format!("A URI has 1 to {max} characters"));
    } else if text.contains("..") || text.chars().any(|letter| letter.is_control() || letter == ' ')
    {
        fields.error(name, "A URI has neither blanks nor control characters, and no \"..\"");
    }
    Some(text)
}

/// The RFC 6570 template: `uri_template`, or `template` as older clients call it.
fn template(fields: &mut Fields, rules: &Rules) -> Option<Option<String>> {
    let name = if fields.value("uri_template").is_some() { "uri_template" } else { "template" };
    if fields.is_null(name) {
        return Some(None);
    }
    let text = uri(fields, name, rules)?;
    let is_whole = text.matches('{').count() == text.matches('}').count();
    if !text.contains('{') || !is_whole {
        fields.error(name, "A URI template has variables in braces, as notes://{name}");
    }
    Some(Some(text))
}

fn mime_type(fields: &mut Fields) -> Option<String> {
    let text = fields.text("mime_type").filter(|text| !text.is_empty())?;
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_shaped = essence.split_once('/').is_some_and(|(kind, rest)| {
        let is_token = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
        };
        is_token(kind) && is_token(rest)
    });
    let is_known = MIME_TYPES.contains(&essence.as_str())
        || essence.starts_with("application/x-")
        || essence.starts_with("text/x-")
        || essence.contains('+');
    if !is_shaped || !is_known {
        let list = MIME_TYPES.join(", ");
        fields.error(
            "mime_type",
            format!("Invalid media type; allowed are {list}, application/x-*, text/x-* and */*+*"),
        );
    }
    Some(text)
}

/// `content` as text, or `blob` as base64 of bytes.
fn content(fields: &mut Fields, rules: &Rules) -> Option<Content> {
    let max = rules.resource_size_max;
    let (name, is_binary) =
        if fields.given("blob").is_some() { ("blob", true) } else { ("content", false) };
    let stored = fields.secret(name)?;
    let size = match is_binary {
        false => Ok(stored.len()),
        true => BASE64.decode(stored.as_bytes()).map(|bytes| bytes.len()),
    };
    let Ok(size) = size else {
        fields.hidden_error(name, "Input should be base64 with padding");
        return None;
    };
    if size > max {
        fields.hidden_error(
            name,
            format!("Content has {size} bytes; {max} are allowed (CONTENT_MAX_RESOURCE_SIZE)"),
        );
    }
    Some(Content { stored, is_binary, size: i64::try_from(size).unwrap_or(i64::MAX) })
}
