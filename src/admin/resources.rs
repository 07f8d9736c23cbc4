//! Resources: those of upstreams and our own, listed and read; our own made, changed, switched and
//! deleted.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use storage::Mutation;
use storage::record::{Entity, Resource, new_id};

use super::fields::Fields;
use super::listing::{self, deleted, is_activation};
use super::query::Query;
use super::resource_form::Form;
use super::{Ask, Backend, RestAnswer, answer, offers, show};
use crate::catalog::{Catalog, ResourceEntry};
use crate::failure::Failure;

/// `GET /resources`.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let is_active = |entry: &ResourceEntry| is_active(&catalog, &entry.record);
    let show = |entry: &ResourceEntry| answer::value(&show::resource(&catalog, &entry.record));
    listing::list(ask, "resources", catalog.all_resources(), is_active, show)
}

/// `GET /resources/{id}`: what it holds.
pub async fn read<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let record = find(ask, id)?;
    if record.uri_template.is_some() {
        let text = format!("Resource {id} is a template; read one of its URIs");
        return Err(Failure::NotFound(text));
    }
    if !is_active(&ask.backend.catalog(), &record) {
        return Err(not_found(id));
    }
    let content = content_of(ask, &record.uri).await?;
    Ok(answer::ok(&json!({
        "type": "resource",
        "id": record.id,
        "uri": content["uri"],
        "mime_type": content["mimeType"],
        "text": content["text"],
        "blob": content["blob"],
    })))
}

/// `GET /resources/{id}/info`: the record.
pub fn info<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let record = find(ask, id)?;
    let catalog = ask.backend.catalog();
    Ok(answer::record(200, &record.audit, &show::resource(&catalog, &record)))
}

/// `GET /resources/test/{uri}`: what is read by this URI, of a template too.
pub async fn test<B: Backend>(ask: &Ask<'_, B>, path: &str) -> Result<RestAnswer, Failure> {
    let uri = percent_decode_str(path).decode_utf8_lossy();
    let mut content = content_of(ask, &uri).await?;
    content["type"] = "resource".into();
    Ok(answer::ok(&json!({ "content": content })))
}

/// `GET /resources/templates/list`.
pub fn templates<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let include_inactive = query.flag("include_inactive", false);
    query.finish()?;
    let catalog = ask.backend.catalog();
    let entries = catalog.all_resources().newest(None).map(|entry| &entry.record);
    let templates = entries.filter(|record| {
        record.uri_template.is_some()
            && ask.may_see(&record.ownership)
            && (include_inactive || is_active(&catalog, record))
    });
    let shown = templates.map(|record| {
        let definition: Value = serde_json::from_str(&record.definition).unwrap_or_default();
        json!({
            "id": record.id,
            "uriTemplate": record.uri_template,
            "name": record.name,
            "description": record.description,
            "mimeType": record.mime_type,
            "annotations": definition["annotations"],
            "_meta": definition["_meta"],
        })
    });
    Ok(answer::ok(&json!({
        "_meta": {},
        "next_cursor": null,
        "resource_templates": shown.collect::<Vec<_>>(),
    })))
}

/// `POST /resources`.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let author = ask.author();
    let mut resource = Resource { id: new_id(), audit: author.made("api"), ..Resource::default() };
    resource.ownership = ask.own_place();
    read_into(ask, &mut resource)?;
    let id = resource.id.clone();
    ask.apply(vec![Mutation::PutResource(Box::new(resource))]).await?;
    info(ask, &id)
}

/// `PUT /resources/{id}`.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let stored = find(ask, id)?;
    let expected = ask.expected(Entity::Resource, &stored.id, stored.audit.version)?;
    offers::refuse_foreign(ask, "resource", stored.gateway_id.as_deref(), &FOREIGN)?;
    let mut resource = Resource::clone(&stored);
    ask.author().change(&mut resource.audit, "api");
    read_into(ask, &mut resource)?;
    ask.apply(vec![expected, Mutation::PutResource(Box::new(resource))]).await?;
    info(ask, &stored.id)
}

/// The fields that an upstream decides of what it offers.
const FOREIGN: [&str; 9] = [
    "uri",
    "uri_template",
    "template",
    "name",
    "title",
    "description",
    "mime_type",
    "content",
    "blob",
];

/// `DELETE /resources/{id}`.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let stored = find(ask, id)?;
    let mut mutations = ask.demanded(Entity::Resource, &stored.id, stored.audit.version)?;
    mutations.push(Mutation::DeleteResource(stored.id.clone()));
    ask.apply(mutations).await?;
    Ok(deleted("Resource", &stored.id))
}

/// `POST /resources/{id}/state?activate=`.
pub async fn set_state<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let activate = is_activation(ask.request.query)?;
    let stored = find(ask, id)?;
    let expected = ask.expected(Entity::Resource, &stored.id, stored.audit.version)?;
    if activate != stored.enabled {
        let mut resource = Resource::clone(&stored);
        resource.enabled = activate;
        ask.author().change(&mut resource.audit, "api");
        ask.apply(vec![expected, Mutation::PutResource(Box::new(resource))]).await?;
    }
    let catalog = ask.backend.catalog();
    let record = find(ask, &stored.id)?;
    let shown = show::snake_case(&show::resource(&catalog, &record));
    Ok(show::switched("Resource", "resource", &stored.id, activate, shown))
}

/// Finds a resource that the caller may see, by its id.
fn find<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<Arc<Resource>, Failure> {
    let catalog = ask.backend.catalog();
    let found = catalog.resource(id).map(|entry| &entry.record);
    let found = found.filter(|record| ask.may_see(&record.ownership));
    found.cloned().ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Failure {
    Failure::NotFound(format!("Resource not found: {id}"))
}

fn is_active(catalog: &Catalog, record: &Resource) -> bool {
    record.enabled && offers::gateway_is_active(catalog, record.gateway_id.as_deref())
}

/// Reads by a URI as a client of MCP does; gives the first of the contents.
async fn content_of<B: Backend>(ask: &Ask<'_, B>, uri: &str) -> Result<Value, Failure> {
    let mut result = ask.rpc("resources/read", json!({ "uri": uri })).await?;
    let first = result["contents"].get_mut(0).map(Value::take);
    first.ok_or_else(|| not_found(uri))
}

/// Reads the body over a record: flat, or wrapped in `{"resource": ...}`.
fn read_into<B: Backend>(ask: &Ask<'_, B>, resource: &mut Resource) -> Result<(), Failure> {
    let fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let (mut fields, mut outer) = fields.unwrap("resource");
    let form = Form::read(&mut fields, outer.as_mut(), ask.backend.rules());
    match resource.gateway_id {
        // An upstream's own says the rest of itself.
        Some(_) => form.apply_to_foreign(resource, &mut fields),
        None => form.apply(resource, &mut fields),
    }
    if let Some(outer) = outer {
        fields.take_errors(outer);
    }
    fields.finish()
}
