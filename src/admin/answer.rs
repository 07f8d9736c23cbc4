//! Values and failures as JSON bodies, in the contract's shapes.

use serde::Serialize;
use serde_json::{Value, json};
use storage::StoreError;
use storage::record::Audit;

use super::RestAnswer;
use crate::failure::{Failure, FieldError};

/// What every answer in JSON carries: it is for whoever asked, and no cache on the way may keep it.
const HEADERS: &str = "content-type: application/json\r\ncache-control: no-store\r\n";

/// How the body of an error looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{"detail": ...}`, as nearly everywhere.
    Detail,
    /// `{"message": ..., "detail": ...}`, as under `/gateways`, where some routes of the contract
    /// have the one name and some the other.
    Message,
}

/// An answer with status 200.
pub fn ok(value: &impl Serialize) -> RestAnswer {
    with_status(200, value)
}

/// An answer with a status of its own.
pub fn with_status(status: u16, value: &impl Serialize) -> RestAnswer {
    RestAnswer::of(status, serde_json::to_vec(value).expect(SHOWN))
}

impl RestAnswer {
    /// Whether it is a page for people, which says itself what it may load.
    pub fn is_page(&self) -> bool {
        self.headers.starts_with("content-type: text/html")
    }

    /// An answer whose body is JSON.
    pub fn of(status: u16, body: Vec<u8>) -> RestAnswer {
        let headers = HEADERS;
        RestAnswer {
            status,
            body,
            headers,
            allow: None,
            retry_after: false,
            etag: None,
            cookies: Vec::new(),
            location: None,
            watched: None,
        }
    }
}

/// An answer that shows one record, with its version as `ETag`.
pub fn record(status: u16, audit: &Audit, value: &impl Serialize) -> RestAnswer {
    RestAnswer { etag: Some(audit.version), ..with_status(status, value) }
}

/// What is shown, as a value that can be picked from.
pub fn value(shown: &impl Serialize) -> Value {
    serde_json::to_value(shown).expect(SHOWN)
}

const SHOWN: &str = "what is shown has text keys and valid JSON";

/// The answer to a request that ended badly.
pub fn failure(failure: Failure, shape: Shape) -> RestAnswer {
    if let Failure::Internal(inside) = &failure {
        tracing::error!(inside, "a request failed by a fault of our own");
    }
    let allow = match &failure {
        Failure::MethodNotAllowed { allow } => Some(*allow),
        _ => None,
    };
    let body = body(&failure, shape);
    RestAnswer { allow, retry_after: failure.retry_after(), ..with_status(failure.status(), &body) }
}

fn body(failure: &Failure, shape: Shape) -> Value {
    let text = failure.to_string();
    match (failure, shape) {
        (Failure::Invalid(fields), Shape::Detail) => json!({ "detail": details(fields) }),
        (Failure::Invalid(fields), Shape::Message) => {
            json!({ "message": text, "detail": details(fields) })
        }
        // The contract speaks of who may, and of paths and methods, in the same way everywhere.
        (
            Failure::Unauthorized { .. }
            | Failure::LoginFailed { .. }
            | Failure::MethodNotAllowed { .. },
            Shape::Message | Shape::Detail,
        ) => json!({ "detail": text }),
        (_, Shape::Message)
        | (Failure::Conflict(_) | Failure::Storage(StoreError::Conflict { .. }), Shape::Detail) => {
            json!({ "message": text, "detail": text })
        }
        (_, Shape::Detail) => json!({ "detail": text }),
    }
}

fn details(fields: &[FieldError]) -> Vec<Value> {
    fields.iter().map(detail).collect()
}

fn detail(field: &FieldError) -> Value {
    // A place in a list is a number, as FastAPI writes it.
    let place = |part: &String| match part.parse::<u32>() {
        Ok(index) => json!(index),
        Err(_) => json!(part),
    };
    let location: Vec<Value> = field.location.iter().map(place).collect();
    let input = field.input.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    match input {
        Some(input) => {
            json!({ "type": field.kind, "loc": location, "msg": field.message, "input": input })
        }
        None => json!({ "type": field.kind, "loc": location, "msg": field.message }),
    }
}
