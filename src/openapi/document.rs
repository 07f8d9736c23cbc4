//! The document: read within bounds, and looked up in.

use serde_json::{Map, Value};

use crate::{limits, yaml};

/// References that may lead to references.
const REFERENCE_COUNT_MAX: usize = 32;

/// An OpenAPI document of version 3.
#[derive(Debug, Clone)]
pub struct Document {
    root: Map<String, Value>,
}

impl Document {
    /// Reads a document, JSON or YAML.
    ///
    /// # Errors
    ///
    /// A sentence: it is too large, cannot be read, or is of another kind or version.
    pub fn read(bytes: &[u8]) -> Result<Document, String> {
        if bytes.len() > limits::OPENAPI_SIZE_MAX {
            return Err(format!("the document is larger than {} bytes", limits::OPENAPI_SIZE_MAX));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| format!("the document is no UTF-8 text: {error}"))?;
        let text = text.trim_start_matches('\u{feff}');
        let value = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(text)
                .map_err(|error| format!("the document is no JSON: {error}"))?,
            false => {
                yaml::parse(text).map_err(|error| format!("the document is no YAML: {error}"))?
            }
        };
        Document::of(value)
    }

    /// Takes a document that was read already.
    ///
    /// # Errors
    ///
    /// A sentence: it is of another kind or version.
    pub fn of(value: Value) -> Result<Document, String> {
        let Value::Object(root) = value else {
            return Err("the document is no object, so it is no OpenAPI document".to_owned());
        };
        let version = match (root.get("openapi"), root.get("swagger")) {
            (Some(Value::String(version)), _) => version.clone(),
            // Without quotation marks YAML makes a number of it.
            (Some(Value::Number(version)), _) => version.to_string(),
            (None, Some(_)) => {
                return Err("this is a Swagger 2.0 document; only OpenAPI 3.0 and 3.1 are read. \
                            Convert it first, for example with swagger2openapi"
                    .to_owned());
            }
            _ => return Err("the document does not say `openapi: 3.x`".to_owned()),
        };
        if !["3.0", "3.1"].iter().any(|known| version.starts_with(known)) {
            return Err(format!("OpenAPI {version:.20} is not read, only 3.0 and 3.1"));
        }
        Ok(Document { root })
    }

    /// A member of the document.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.root.get(key)
    }

    /// The title of the API; empty if it has none.
    pub fn title(&self) -> &str {
        let title = self.root.get("info").and_then(|info| info.get("title"));
        title.and_then(Value::as_str).unwrap_or_default()
    }

    /// The paths, in the order of the document.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &Value)> {
        let paths = self.root.get("paths").and_then(Value::as_object);
        paths.into_iter().flatten().map(|(path, item)| (path.as_str(), item))
    }

    /// Follows a reference object to what it stands for; anything else is itself.
    ///
    /// # Errors
    ///
    /// A sentence: the reference leads out of the document, nowhere, or in a circle.
    pub fn resolve<'d>(&'d self, mut value: &'d Value) -> Result<&'d Value, String> {
        for _ in 0..REFERENCE_COUNT_MAX {
            let Some(Value::String(reference)) = value.get("$ref") else { return Ok(value) };
            value = self.target(reference)?;
        }
        Err("its references go in a circle".to_owned())
    }

    /// What a reference leads to.
    ///
    /// # Errors
    ///
    /// As [`Document::resolve`].
    pub fn target(&self, reference: &str) -> Result<&Value, String> {
        let Some(pointer) = reference.strip_prefix("#/") else {
            return Err(format!("the reference {reference:.200} leads out of the document"));
        };
        let decoded = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
        let (first, rest) = decoded.split_once('/').unwrap_or((&decoded, ""));
        let start = self.root.get(first);
        let found = start.and_then(|start| match rest {
            "" => Some(start),
            rest => start.pointer(&format!("/{rest}")),
        });
        found.ok_or_else(|| format!("the reference {reference:.200} leads nowhere"))
    }
}
