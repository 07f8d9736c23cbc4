//! Virtual servers: made, changed, switched and deleted.

use std::borrow::Cow;
use std::sync::Arc;

use storage::Mutation;
use storage::record::{Entity, Server, new_id};

use super::fields::Fields;
use super::listing::{self, deleted, is_activation};
use super::server_form::Form;
use super::{Ask, Backend, RestAnswer, answer, show};
use crate::catalog::{Catalog, VirtualServer};
use crate::failure::Failure;

/// `GET /servers`.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let is_active = |server: &VirtualServer| server.record.enabled;
    let show = |server| show::server(&catalog, server, ask.caller);
    listing::list(ask, "servers", catalog.all_servers(), is_active, show)
}

/// `GET /servers/{id}`.
pub fn get<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    show(ask, id, 200)
}

/// `POST /servers`.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let author = ask.author();
    let mut server = Server { id: String::new(), audit: author.made("api"), ..Server::default() };
    server.ownership = ask.own_place();
    read_into(ask, &mut server)?;
    let id = server.id.clone();
    if ask.backend.catalog().server(&id).is_some() {
        return Err(Failure::Conflict(format!("Server already exists with id {id}")));
    }
    ask.apply(vec![Mutation::PutServer(Box::new(server))]).await?;
    show(ask, &id, 201)
}

/// `PUT /servers/{id}`.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let stored = find(ask, &ask.backend.catalog(), id)?.record.clone();
    let expected = ask.expected(Entity::Server, &stored.id, stored.audit.version)?;
    let mut server = Server::clone(&stored);
    ask.author().change(&mut server.audit, "api");
    read_into(ask, &mut server)?;
    ask.apply(vec![expected, Mutation::PutServer(Box::new(server))]).await?;
    show(ask, id, 200)
}

/// `DELETE /servers/{id}`.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let stored = find(ask, &ask.backend.catalog(), id)?.record.clone();
    let mut mutations = ask.demanded(Entity::Server, &stored.id, stored.audit.version)?;
    mutations.push(Mutation::DeleteServer(stored.id.clone()));
    ask.apply(mutations).await?;
    Ok(deleted("Server", &stored.id))
}

/// `POST /servers/{id}/state?activate=`.
pub async fn set_state<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let activate = is_activation(ask.request.query)?;
    let stored = find(ask, &ask.backend.catalog(), id)?.record.clone();
    let expected = ask.expected(Entity::Server, &stored.id, stored.audit.version)?;
    if activate != stored.enabled {
        let mut server = Server::clone(&stored);
        server.enabled = activate;
        ask.author().change(&mut server.audit, "api");
        ask.apply(vec![expected, Mutation::PutServer(Box::new(server))]).await?;
    }
    show(ask, id, 200)
}

/// Finds a virtual server that the caller may see. The id may be written with dashes.
///
/// # Errors
///
/// 404 if there is none.
pub fn find<B>(
    ask: &Ask<'_, B>,
    catalog: &Catalog,
    id: &str,
) -> Result<Arc<VirtualServer>, Failure> {
    let found = catalog.server(&plain_id(id));
    let found = found.filter(|server| ask.may_see(&server.record.ownership));
    found.cloned().ok_or_else(|| Failure::NotFound(format!("Server not found: {id}")))
}

fn show<B: Backend>(ask: &Ask<'_, B>, id: &str, status: u16) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let server = find(ask, &catalog, id)?;
    Ok(answer::record(status, &server.record.audit, &show::server(&catalog, &server, ask.caller)))
}

/// Reads the body over a record: flat, or wrapped in `{"server": ...}`.
fn read_into<B: Backend>(ask: &Ask<'_, B>, server: &mut Server) -> Result<(), Failure> {
    let catalog = ask.backend.catalog();
    let fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let (mut fields, mut outer) = fields.unwrap("server");
    let rules = ask.backend.rules();
    let form = Form::read(&mut fields, outer.as_mut(), rules, &catalog, ask.caller);
    if server.id.is_empty() {
        server.id = chosen_id(&mut fields);
    }
    form.apply(server, &mut fields, &catalog);
    if let Some(outer) = outer {
        fields.take_errors(outer);
    }
    fields.finish()
}

/// The id that a new server asks for, or a fresh one.
fn chosen_id(fields: &mut Fields) -> String {
    let Some(text) = fields.text("id").filter(|text| !text.is_empty()) else { return new_id() };
    match uuid::Uuid::try_parse(&text) {
        Ok(id) => id.simple().to_string(),
        Err(_) => {
            fields.error("id", "Id must be a UUID");
            text
        }
    }
}

/// An id without dashes, as it is stored.
fn plain_id(id: &str) -> Cow<'_, str> {
    match uuid::Uuid::try_parse(id) {
        Ok(uuid) => Cow::Owned(uuid.simple().to_string()),
        Err(_) => Cow::Borrowed(id),
    }
}
