//! Roots: the places that clients may be told to work in.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use storage::Mutation;
use storage::record::{Entity, Root, new_id};
use url::Url;

use super::fields::Fields;
use super::query::Query;
use super::show::Time;
use super::{Ask, Backend, RestAnswer, answer};
use crate::failure::Failure;

/// The revision of the format of an exported root.
const EXPORT_VERSION: &str = "1.0.0";

/// `GET /roots`.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let mut roots: Vec<&Arc<Root>> =
        catalog.roots().filter(|root| ask.may_see(&root.ownership)).collect();
    roots.sort_by(|a, b| a.uri.cmp(&b.uri));
    Ok(answer::ok(&roots.into_iter().map(|root| shown(root)).collect::<Vec<_>>()))
}

/// `GET /roots/{uri}`.
pub fn get<B: Backend>(ask: &Ask<'_, B>, uri: &str) -> Result<RestAnswer, Failure> {
    let root = find(ask, uri)?;
    Ok(answer::record(200, &root.audit, &shown(&root)))
}

/// `GET /roots/export?uri=`.
pub fn export<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let uri = query.text("uri").map(str::to_owned);
    if uri.is_none() {
        query.error("uri", "Field required");
    }
    query.finish()?;
    let root = find(ask, &uri.unwrap_or_default())?;
    Ok(answer::ok(&json!({
        "export_type": "root",
        "exported_at": Time(storage::record::now()),
        "exported_by": ask.caller.email,
        "root": { "uri": root.uri, "name": root.name },
        "version": EXPORT_VERSION,
    })))
}

/// `POST /roots`.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let author = ask.author();
    let mut root = Root { id: new_id(), audit: author.made("api"), ..Root::default() };
    root.ownership.owner_email = author.email;
    read_into(ask, &mut root)?;
    let uri = root.uri.clone();
    ask.apply(vec![Mutation::PutRoot(Box::new(root))]).await?;
    get(ask, &uri)
}

/// `PUT /roots/{uri}`.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, uri: &str) -> Result<RestAnswer, Failure> {
    let stored = find(ask, uri)?;
    let expected = ask.expected(Entity::Root, &stored.id, stored.audit.version)?;
    let mut root = Root::clone(&stored);
    ask.author().change(&mut root.audit, "api");
    read_into(ask, &mut root)?;
    let uri = root.uri.clone();
    ask.apply(vec![expected, Mutation::PutRoot(Box::new(root))]).await?;
    get(ask, &uri)
}

/// `DELETE /roots/{uri}`.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, uri: &str) -> Result<RestAnswer, Failure> {
    let stored = find(ask, uri)?;
    let mut mutations = ask.demanded(Entity::Root, &stored.id, stored.audit.version)?;
    mutations.push(Mutation::DeleteRoot(stored.id.clone()));
    ask.apply(mutations).await?;
    let message = format!("Root {} removed", stored.uri);
    Ok(answer::ok(&json!({ "status": "success", "message": message })))
}

fn shown(root: &Root) -> Value {
    json!({ "uri": root.uri, "name": root.name, "_meta": null })
}

/// Finds a root by its URI, which a path has percent-encoded or as it is.
fn find<B: Backend>(ask: &Ask<'_, B>, uri: &str) -> Result<Arc<Root>, Failure> {
    let decoded = percent_decode_str(uri).decode_utf8_lossy();
    let catalog = ask.backend.catalog();
    let mut roots = catalog.roots().filter(|root| ask.may_see(&root.ownership));
    let found = roots.find(|root| root.uri == decoded || root.uri == uri || root.id == uri);
    found.cloned().ok_or_else(|| Failure::NotFound(format!("Root not found: {decoded}")))
}

fn read_into<B: Backend>(ask: &Ask<'_, B>, root: &mut Root) -> Result<(), Failure> {
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    match (fields.text("uri"), root.uri.is_empty()) {
        (Some(uri), _) => {
            root.uri = checked_uri(&mut fields, uri, ask.backend.rules().url_length_max)
        }
        (None, true) => fields.missing("uri"),
        (None, false) => {}
    }
    if fields.value("name").is_some() {
        root.name = fields.text("name").filter(|name| !name.is_empty());
    }
    let max = ask.backend.rules().name_length_max;
    if root.name.as_ref().is_some_and(|name| name.chars().count() > max) {
        fields.error("name", format!("Name must have 1 to {max} characters"));
    }
    fields.finish()
}

/// A URI with a scheme; a path alone is that of a file.
fn checked_uri(fields: &mut Fields, uri: String, length_max: usize) -> String {
    let uri = if uri.starts_with('/') { format!("file://{uri}") } else { uri };
    if uri.chars().count() > length_max || Url::parse(&uri).is_err() {
        let message = format!("A root is a URI of at most {length_max} characters, as file:///srv");
        fields.error("uri", message);
    }
    uri
}
