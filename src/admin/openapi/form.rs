//! What an import asks for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::{RestRequest, fields::Fields};
use crate::{failure::Failure, openapi::Options};

/// Fields of `POST /tools` that say who calls, taken over from the request as they are.
const AUTH: [&str; 11] = [
    "auth",
    "auth_type",
    "auth_username",
    "auth_password",
    "auth_token",
    "auth_value",
    "auth_header_key",
    "auth_header_value",
    "auth_headers",
    "auth_query_param_key",
    "auth_query_param_value",
];

/// What is asked for.
pub struct Form {
    /// Where the document is.
    pub source: Source,
    /// What decides how it becomes tools.
    pub options: Options,
    /// What every tool gets besides: whose it is and who sees it.
    pub ownership: Map<String, Value>,
    /// Whether nothing is to be done but to tell what would be.
    pub dry_run: bool,
    /// Whether tools go whose operations are gone.
    pub prune: bool,
}

/// Where the document is.
pub enum Source {
    /// There.
    Url(String),
    /// Here, JSON or YAML.
    Text(String),
    /// Here, as a value.
    Value(Value),
}

impl Form {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// [`Failure::Invalid`] naming every field that holds what it must not.
    pub fn read(request: &RestRequest<'_>) -> Result<Form, Failure> {
        let mut fields = Fields::parse(request.content_type, request.body)?;
        let source = source(&mut fields);
        let text =
            |fields: &mut Fields, name: &str| fields.text(name).filter(|text| !text.is_empty());
        let mut options = Options {
            base_url: text(&mut fields, "base_url"),
            source: text(&mut fields, "source"),
            tags: fields.list("tags").unwrap_or_default(),
            paths: fields.list("paths").unwrap_or_default(),
            methods: fields.list("methods").unwrap_or_default(),
            prefix: text(&mut fields, "prefix").unwrap_or_default(),
            credentials: credentials(&mut fields),
            output_schemas: fields.flag("output_schemas").unwrap_or(true),
            ..Options::default()
        };
        let copied = |fields: &Fields, names: &[&str]| {
            let given = names.iter().filter_map(|name| Some((*name, fields.given(name)?)));
            given.map(|(name, value)| (name.to_owned(), value.clone())).collect::<Map<_, _>>()
        };
        options.auth = copied(&fields, &AUTH);
        if let Some(Source::Url(url)) = &source {
            options.document_url = Some(url.clone());
        }
        let ownership = copied(&fields, &["visibility", "team_id"]);
        let dry_run = fields.flag("dry_run").unwrap_or(false);
        let prune = fields.flag("prune").unwrap_or(false);
        fields.finish()?;
        let source = source.ok_or_else(|| Failure::field("url", "Give a url or a document"))?;
        Ok(Form { source, options, ownership, dry_run, prune })
    }
}

fn source(fields: &mut Fields) -> Option<Source> {
    let url = fields.text("url").filter(|url| !url.is_empty());
    match (url, fields.given("document").cloned()) {
        (Some(_), Some(_)) => {
            fields.hidden_error("document", "Give a url or a document, not both");
            None
        }
        (Some(url), None) => Some(Source::Url(url)),
        (None, Some(Value::String(text))) => Some(Source::Text(text)),
        (None, Some(value)) => Some(Source::Value(value)),
        (None, None) => None,
    }
}

/// Secrets by the names of security schemes.
fn credentials(fields: &mut Fields) -> BTreeMap<String, String> {
    match fields.given("credentials").cloned() {
        Some(Value::Object(map)) if map.values().all(Value::is_string) => map
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
            .collect(),
        Some(_) => {
            let form = "Input should be an object of texts: secrets by names of security schemes";
            fields.hidden_error("credentials", form);
            BTreeMap::new()
        }
        None => BTreeMap::new(),
    }
}
