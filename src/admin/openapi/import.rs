//! `POST /tools/import-openapi`: a tool for every operation of a document, and again whatever
//! changed when it is imported again.
//!
//! A tool remembers in `extension_metadata.openapi` which operation of which document it calls, and
//! a digest of what the document said. Tools are made, changed and deleted by the same requests by
//! which a caller does it, so that they are checked in one way.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
};

use aws_lc_rs::digest::{SHA256, digest};
use net::http1::Method;
use serde_json::{Map, Value, json};

use super::{
    super::{Ask, Backend, RestAnswer, RestRequest, answer, handle_one},
    form::{Form, Source},
    report::Report,
};
use crate::{
    catalog::Catalog,
    failure::{Failure, UpstreamFailure, UpstreamKind},
    openapi::{self, Conversion, Document, Draft, Options},
};

/// A tool that an earlier import made.
pub struct Known {
    /// Its id.
    pub id: String,
    /// The name that clients call.
    pub name: String,
    digest: String,
}

/// What is to be done about an operation.
pub enum Step {
    /// There is no tool yet.
    Create,
    /// The document says something else of it now.
    Update(Known),
    /// Nothing changed.
    Keep(Known),
}

/// Imports a document.
pub async fn import<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let Form { source, options, ownership, dry_run, prune } = Form::read(ask.request)?;
    let conversion = convert(ask.backend, source, options).await?;
    let mut known = known(&ask.backend.catalog(), &conversion.source);
    let mut report = Report::of(&conversion, dry_run);
    for draft in &conversion.tools {
        let digest = digest_of(&draft.fields, &ownership);
        let fields = complete(draft, &conversion.source, &digest, &ownership);
        let step = match known.remove(&draft.operation) {
            None => Step::Create,
            Some(tool) if tool.digest == digest && !has_secrets(&fields) => Step::Keep(tool),
            Some(tool) => Step::Update(tool),
        };
        report.show(draft, &fields);
        let outcome = if dry_run { Ok(Value::Null) } else { carry_out(ask, &step, fields).await };
        report.done(&draft.operation, &draft.fields["name"], &step, outcome);
    }
    let filtered: HashSet<&String> = conversion.filtered.iter().collect();
    let mut gone: Vec<(String, Known)> = known.into_iter().collect();
    gone.retain(|(operation, _)| !filtered.contains(operation));
    gone.sort_by(|one, other| one.0.cmp(&other.0));
    for (operation, tool) in gone {
        let path = format!("/tools/{}", tool.id);
        let outcome = match prune && !dry_run {
            true => send(ask, Method::Delete, &path, None).await,
            false => Ok(Value::Null),
        };
        report.gone(&operation, &tool, outcome);
    }
    Ok(answer::ok(&report.finish(prune && !dry_run)))
}

/// Reads the document and converts it.
async fn convert<B: Backend>(
    backend: &B,
    source: Source,
    options: Options,
) -> Result<Conversion, Failure> {
    let (field, fetched) = match &source {
        Source::Url(url) => ("url", Some(fetch(backend, url).await?)),
        Source::Text(_) | Source::Value(_) => ("document", None),
    };
    let work = move || {
        let document = match (fetched, source) {
            (Some(bytes), _) => Document::read(&bytes)?,
            (None, Source::Value(value)) => Document::of(value)?,
            (None, Source::Text(text) | Source::Url(text)) => Document::read(text.as_bytes())?,
        };
        openapi::convert(&document, &options)
    };
    let converted = backend.offload(work).await?;
    converted.map_err(|error| Failure::field(field, error))
}

async fn fetch<B: Backend>(backend: &B, url: &str) -> Result<Vec<u8>, Failure> {
    backend.fetch(url).await.map_err(|failure| match failure {
        Failure::Upstream(UpstreamFailure { kind: UpstreamKind::Refused, detail, .. }) => {
            Failure::field("url", detail)
        }
        other => other,
    })
}

/// The tools that earlier imports made of the document, by operation.
fn known(catalog: &Catalog, source: &str) -> HashMap<String, Known> {
    let tools = catalog.tools().filter_map(|entry| {
        let record = &entry.record;
        let metadata: Value = serde_json::from_str(record.extension_metadata.as_deref()?).ok()?;
        let text = |key: &str| metadata["openapi"][key].as_str().map(str::to_owned);
        let operation = text("operation").filter(|_| text("source").as_deref() == Some(source))?;
        let digest = text("digest").unwrap_or_default();
        Some((operation, Known { id: record.id.clone(), name: record.name.clone(), digest }))
    });
    tools.collect()
}

/// A digest of what the document and the request say of a tool, secrets apart.
fn digest_of(fields: &Map<String, Value>, ownership: &Map<String, Value>) -> String {
    let said = fields.iter().filter(|(key, _)| !key.starts_with("auth"));
    let text = json!([said.collect::<Vec<_>>(), ownership]).to_string();
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn has_secrets(fields: &Map<String, Value>) -> bool {
    fields.keys().any(|key| key.starts_with("auth"))
}

/// The fields of the request that makes the tool.
fn complete(
    draft: &Draft,
    source: &str,
    digest: &str,
    ownership: &Map<String, Value>,
) -> Map<String, Value> {
    let mut fields = draft.fields.clone();
    let origin = json!({"source": source, "operation": draft.operation, "digest": digest});
    fields.insert("extensionMetadata".to_owned(), json!({ "openapi": origin }));
    fields.extend(ownership.clone());
    fields
}

/// Does one step; gives what the registry answers.
async fn carry_out<B: Backend>(
    ask: &Ask<'_, B>,
    step: &Step,
    mut fields: Map<String, Value>,
) -> Result<Value, Value> {
    match step {
        Step::Create => send(ask, Method::Post, "/tools", Some(json!({ "tool": fields }))).await,
        Step::Update(tool) => {
            // Whoever calls it calls it by the name that it has.
            fields.shift_remove("name");
            let path = format!("/tools/{}", tool.id);
            send(ask, Method::Put, &path, Some(Value::Object(fields))).await
        }
        Step::Keep(_) => Ok(Value::Null),
    }
}

/// Sends a request to the REST API in the name of who sent this one. An error is the answer's body.
async fn send<B: Backend>(
    ask: &Ask<'_, B>,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value, Value> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = RestRequest {
        method,
        path,
        query: None,
        body: body.as_bytes(),
        content_type: Some(b"application/json"),
        if_match: None,
        ..*ask.request
    };
    // An import is a request too: without the box the one would be as large as the other and itself.
    let answer: Pin<Box<dyn Future<Output = RestAnswer> + '_>> =
        Box::pin(handle_one(ask.backend, request));
    let RestAnswer { status, body, .. } = answer.await;
    let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if (200..300).contains(&status) { Ok(value) } else { Err(value) }
}
