//! Tools out of OpenAPI documents.

mod form;
mod import;
mod report;

use serde_json::{Value, json};
use url::Url;

use super::{Ask, Backend, RestAnswer, answer, fields::Fields};
use crate::{
    failure::{Failure, UpstreamFailure, UpstreamKind},
    openapi::{self, Document},
};

pub use import::import;

/// `POST /tools/generate-schemas-from-openapi`: the schemas of one operation, in the contract's
/// shape, errors too.
pub async fn generate_schemas<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let url = fields.text("url");
    if url.is_none() && fields.given("url").is_none() {
        fields.missing("url");
    }
    let method = fields.text("request_type").filter(|text| !text.is_empty());
    let openapi_url = fields.text("openapi_url").filter(|text| !text.is_empty());
    fields.finish()?;
    let url = url.unwrap_or_default();
    let method = method.unwrap_or_else(|| "GET".to_owned());
    match find_schemas(ask.backend, &url, &method, openapi_url).await {
        Ok(found) => Ok(answer::ok(&found)),
        Err((status, message)) => {
            Ok(answer::with_status(status, &json!({"message": message, "success": false})))
        }
    }
}

/// Finds the schemas of the operation at `url`, or says with which status and words there are none.
async fn find_schemas<B: Backend>(
    backend: &B,
    url: &str,
    method: &str,
    openapi_url: Option<String>,
) -> Result<Value, (u16, String)> {
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let parsed = parsed.ok_or((400, "Tool URL must be a URL of http or https".to_owned()))?;
    let own = parsed.join("/openapi.json").map(String::from).unwrap_or_default();
    let spec_url = openapi_url.unwrap_or(own);
    let bytes = backend.fetch(&spec_url).await.map_err(|failure| unread(&failure))?;
    let (path, method) = (written_path(url, &parsed), method.to_owned());
    let work = move || {
        let document = Document::read(&bytes).map_err(|error| (422, error))?;
        let found = openapi::find_schemas(&document, &method, &path);
        let missing = || (404, format!("{} {path} is not in the document", method.to_uppercase()));
        found.ok_or_else(missing)?.map_err(|error| (422, error))
    };
    let (input, output) = backend
        .offload(work)
        .await
        .map_err(|failure| (failure.status(), failure.to_string()))??;
    Ok(json!({
        "message": "Schemas generated successfully from OpenAPI spec",
        "success": true,
        "input_schema": input,
        "output_schema": output,
        "spec_url": spec_url,
    }))
}

/// The path of a URL as it was written, with the braces that a parser encodes.
fn written_path(url: &str, parsed: &Url) -> String {
    let behind_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    match behind_scheme.find('/') {
        Some(at) => behind_scheme[at..].split(['?', '#']).next().unwrap_or_default().to_owned(),
        None => parsed.path().to_owned(),
    }
}

/// The status and the words for a document that could not be read.
fn unread(failure: &Failure) -> (u16, String) {
    match failure {
        Failure::Upstream(UpstreamFailure { kind: UpstreamKind::Refused, detail, .. }) => {
            (400, format!("Security validation failed: {detail}"))
        }
        Failure::Upstream(UpstreamFailure { kind: UpstreamKind::Status(status), .. }) => {
            (502, format!("OpenAPI spec server returned HTTP {status}"))
        }
        other => (502, format!("Failed to fetch OpenAPI spec from the provided URL: {other}")),
    }
}
