//! The gateway's own OpenAPI document, and the page that shows it.
//!
//! The document is made once per process: from one table of operations, and from the types that
//! answers are written from and that bodies are described by.

mod answers;
pub mod operations;
mod page;
mod parameters;
mod requests;
#[cfg(test)]
pub mod seen;

use std::sync::OnceLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use operations::{Answer, Operation, TAGS, Type};

pub use page::page;

use super::RestAnswer;

/// What a document carries beside its type: it is for whoever asked, and may be new tomorrow.
const HEADERS: &str = "content-type: application/json\r\n\
                       cache-control: private, no-cache\r\n";

/// `GET /openapi.json`.
pub fn answer() -> RestAnswer {
    RestAnswer { headers: HEADERS, ..RestAnswer::of(200, document().as_bytes().to_vec()) }
}

/// The document as JSON text.
pub fn document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| build().to_string())
}

fn build() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for operation in operations::all() {
        let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
        methods[operation.method] = describe(operation, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ringway",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        // Relative to this document, so that it is right behind a reverse proxy too.
        "servers": [{ "url": "." }],
        "security": [{ "bearer": [] }, { "cookie": [] }],
        "tags": TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "jwt_token" },
            },
        },
    })
}

const ABOUT: &str = "Every path of the REST API also works with `/v1` before it and with a slash \
    behind it. Field names of bodies are read in snake_case and in camelCase; fields that are not \
    described are ignored, and null is the same as nothing unless a field says otherwise. Times \
    are RFC 3339 in UTC. Every user may read what they may see; only administrators write.";

/// The schemas that operations refer to, of what is sent and of what is answered.
struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    fn new() -> Schemas {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into());
        Schemas {
            requests: settings.clone().for_deserialize().into_generator(),
            answers: settings.for_serialize().into_generator(),
        }
    }

    fn answer(&mut self, name: Type) -> Value {
        name(&mut self.answers).to_value()
    }

    fn finish(mut self) -> Map<String, Value> {
        let mut schemas = self.requests.take_definitions(true);
        for (name, schema) in self.answers.take_definitions(true) {
            let former = schemas.insert(name.clone(), schema.clone());
            assert!(former.is_none_or(|former| former == schema), "two types are named {name}");
        }
        schemas.sort_keys();
        schemas
    }
}

fn describe(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut described = json!({
        "operationId": operation.id(),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters(operation),
    });
    if let Some(permission) = operation.permission() {
        described["description"] = format!("Needs the permission `{permission}`.").into();
    }
    if operation.is_open() {
        described["security"] = json!([]);
    }
    if let Some(body) = operation.body {
        let schema = body(&mut schemas.requests).to_value();
        described["requestBody"] = json!({ "required": true, "content": content(schema) });
    }
    let mut answers = Map::new();
    for status in operation.statuses() {
        answers.insert(status.to_string(), response(operation, status, schemas));
    }
    described["responses"] = answers.into();
    described
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let in_path = operation.path.split('/').filter_map(|part| part.strip_prefix('{'));
    let in_path = in_path.map(|part| parameters::in_path(part.trim_end_matches('}')));
    let version = operation.is_versioned.then(parameters::if_match);
    let in_query = operation.query.iter().flat_map(|group| group.iter());
    in_path.chain(in_query.map(|parameter| parameter.describe())).chain(version).collect()
}

fn response(operation: &Operation, status: u16, schemas: &mut Schemas) -> Value {
    let mut described = json!({ "description": sentence(status) });
    if let Some(content) = answer_content(operation, status, schemas) {
        described["content"] = content;
    }
    let header = |text: &str| json!({ "description": text, "schema": { "type": "string" } });
    match status {
        401 => described["headers"]["WWW-Authenticate"] = header("How to prove who one is."),
        503 => described["headers"]["Retry-After"] = header("Seconds to wait before trying again."),
        _ => {}
    }
    described
}

fn answer_content(operation: &Operation, status: u16, schemas: &mut Schemas) -> Option<Value> {
    if status == 202 || status == 204 {
        return None;
    }
    let special = operation.otherwise.iter().find(|(other, _)| *other == status);
    if let Some((_, schema)) = special {
        return Some(content(schemas.answer(*schema)));
    }
    if status != operation.status {
        return Some(content(schemas.answer(operation.failure(status))));
    }
    Some(match operation.answer {
        Answer::One(schema) => content(schemas.answer(schema)),
        Answer::List(schema) => content(list(schemas.answer(schema))),
        Answer::Page(name, schema) => content(page_of(name, schemas.answer(schema))),
        Answer::Lines => json!({ "application/x-ndjson": { "schema": { "type": "string" } } }),
        Answer::Html => json!({ "text/html": { "schema": { "type": "string" } } }),
        Answer::Nothing => return None,
        Answer::Events => json!({ "text/event-stream": { "schema": { "type": "string" } } }),
        Answer::Rpc => {
            let mut content = content(schemas.answer(operations::of::<answers::RpcAnswer>));
            content["text/event-stream"] = json!({ "schema": { "type": "string" } });
            content
        }
    })
}

fn content(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn list(schema: Value) -> Value {
    json!({ "type": "array", "items": schema })
}

/// A list, or with `include_pagination=true` an object that holds it.
fn page_of(name: &str, schema: Value) -> Value {
    json!({ "anyOf": [
        list(schema.clone()),
        {
            "type": "object",
            "properties": {
                name: list(schema),
                "nextCursor": {
                    "type": ["string", "null"],
                    "description": "The cursor of the next page; null after the last one.",
                },
            },
            "required": [name, "nextCursor"],
        },
    ] })
}

fn sentence(status: u16) -> &'static str {
    match status {
        200 => "Done",
        201 => "Made",
        202 => "Taken, and there is nothing to say",
        204 => "Done, and there is nothing to say",
        400 => "The request cannot be read",
        401 => "Nobody proved who they are",
        403 => "The caller is known and may not",
        404 => "There is no such thing for this caller",
        405 => "The path takes other methods",
        406 => "The caller takes none of the types that there are",
        409 => "It is there already, or was changed meanwhile",
        412 => "The record has another version than If-Match demands",
        413 => "The body is larger than it may be",
        415 => "The body is of a type that is not read",
        422 => "Fields hold what they must not: each is named",
        501 => "Nobody here can do that",
        502 => "An upstream broke off or answered nonsense",
        503 => "Something that is needed is away; try again later",
        504 => "An upstream did not answer in time",
        _ => "A fault of the gateway's own",
    }
}
