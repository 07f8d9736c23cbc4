//! Upstreams: registered, changed, switched, read again and forgotten.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use storage::record::{Entity, Gateway, new_id};
use storage::{Mutation, StoreError};

use super::discovery::{discover, rediscover};
use super::fields::Fields;
use super::gateway_form::{Draft, Form, same_url};
use super::listing::{self, deleted, is_activation};
use super::show::{self, Time};
use super::{Ask, Backend, RestAnswer, answer, writing};
use crate::catalog::author::Author;
use crate::catalog::inventory::Inventory;
use crate::catalog::naming::Circle;
use crate::catalog::reconcile::{self, Owned, Reconciled, names, owned};
use crate::catalog::{Catalog, Upstream};
use crate::failure::Failure;

/// `GET /gateways`.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let is_active = |upstream: &Upstream| upstream.record.enabled;
    let show = |upstream| show::gateway(&catalog, upstream, ask.caller);
    listing::list(ask, "gateways", catalog.all_upstreams(), is_active, show)
}

/// `GET /gateways/{id}`.
pub fn get<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let upstream = find(ask, &catalog, id)?;
    let shown = show::gateway(&catalog, &upstream, ask.caller);
    Ok(answer::record(200, &upstream.record.audit, &shown))
}

/// `POST /gateways`.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let author = ask.author();
    let mut gateway = Gateway { id: new_id(), audit: author.made("api"), ..Gateway::default() };
    gateway.ownership = ask.own_place();
    let mut draft = Draft::new(gateway);
    read_into(ask, &mut draft, None)?;
    refuse_twin(&ask.backend.catalog(), &draft.gateway)?;
    let inventory = discover(ask.backend, &mut draft).await?;
    let id = draft.gateway.id.clone();
    let change = Change { owned: Owned::default(), expect: None, author };
    store_discovered(ask, draft, &inventory, change).await?;
    get(ask, &id)
}

/// `PUT /gateways/{id}`.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let upstream = find(ask, &catalog, id)?;
    let expected = ask.expected(Entity::Gateway, id, upstream.record.audit.version)?;
    let author = ask.author();
    let mut draft = Draft::of(&upstream);
    read_into(ask, &mut draft, Some(&upstream))?;
    refuse_twin(&catalog, &draft.gateway)?;
    let is_asked = draft.gateway.enabled && draft.is_reached_otherwise(&upstream);
    author.change(&mut draft.gateway.audit, "api");
    if is_asked {
        let inventory = discover(ask.backend, &mut draft).await?;
        let owned = owned(&ask.backend.catalog(), id);
        let change = Change { owned, expect: Some(expected), author };
        store_discovered(ask, draft, &inventory, change).await?;
    } else {
        store_followed(ask, draft, expected, &author).await?;
    }
    get(ask, id)
}

/// `DELETE /gateways/{id}`: with all that it offers, and out of every virtual server.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let upstream = find(ask, &catalog, id)?;
    let mut mutations = ask.demanded(Entity::Gateway, id, upstream.record.audit.version)?;
    mutations.push(Mutation::DeleteGateway(id.to_owned()));
    ask.apply(mutations).await?;
    Ok(deleted("Gateway", id))
}

/// `POST /gateways/{id}/state?activate=`. Switching on reads the upstream again.
pub async fn set_state<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let activate = is_activation(ask.request.query)?;
    let upstream = find(ask, &ask.backend.catalog(), id)?;
    let expected = ask.expected(Entity::Gateway, id, upstream.record.audit.version)?;
    let author = ask.author();
    if activate != upstream.record.enabled {
        let mut draft = Draft::of(&upstream);
        draft.gateway.enabled = activate;
        author.change(&mut draft.gateway.audit, "api");
        if activate {
            let inventory = discover(ask.backend, &mut draft).await?;
            let owned = owned(&ask.backend.catalog(), id);
            let change = Change { owned, expect: Some(expected), author };
            store_discovered(ask, draft, &inventory, change).await?;
        } else {
            let gateway = draft.seal(ask.backend.sealer());
            ask.apply(vec![expected, Mutation::PutGateway(Box::new(gateway))]).await?;
        }
    }
    let catalog = ask.backend.catalog();
    let upstream = find(ask, &catalog, id)?;
    let word = if activate { "activated" } else { "deactivated" };
    Ok(answer::ok(&json!({
        "status": "success",
        "message": format!("Gateway {id} {word}"),
        "gateway": show::gateway_in_snake_case(&catalog, &upstream, ask.caller),
    })))
}

/// `POST /gateways/{id}/tools/refresh`: reads again what the upstream offers.
pub async fn refresh<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let began = Instant::now();
    let upstream = find(ask, &ask.backend.catalog(), id)?;
    if !upstream.record.enabled {
        let name = &upstream.record.name;
        let sentence = format!("Gateway {name} is inactive; activate it and it is read again");
        return Err(Failure::Conflict(sentence));
    }
    let expected = ask.expected(Entity::Gateway, id, upstream.record.audit.version)?;
    let author = ask.author();
    let at = author.at;
    let inventory = rediscover(ask.backend, &upstream).await?;
    let mut draft = Draft::of(&upstream);
    draft.gateway.audit.version += 1;
    let owned = owned(&ask.backend.catalog(), id);
    let change = Change { owned, expect: Some(expected), author };
    let done = store_discovered(ask, draft, &inventory, change).await?;
    Ok(answer::ok(&json!({
        "gatewayId": id,
        "success": true,
        "error": null,
        "toolsAdded": done.tools.added,
        "toolsUpdated": done.tools.updated,
        "toolsRemoved": done.tools.removed,
        "resourcesAdded": done.resources.added,
        "resourcesUpdated": done.resources.updated,
        "resourcesRemoved": done.resources.removed,
        "promptsAdded": done.prompts.added,
        "promptsUpdated": done.prompts.updated,
        "promptsRemoved": done.prompts.removed,
        "validationErrors": done.skipped,
        "durationMs": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "refreshedAt": Time(at),
    })))
}

/// Reads the body over a draft.
///
/// # Errors
///
/// 422 naming every field at fault; 403 if it is a command and those are switched off.
fn read_into<B: Backend>(
    ask: &Ask<'_, B>,
    draft: &mut Draft,
    stored: Option<&Upstream>,
) -> Result<(), Failure> {
    let rules = ask.backend.rules();
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    let form = Form::read(&mut fields, rules, stored);
    if form.is_command() && !rules.stdio_allowed {
        return Err(Failure::Forbidden(
            "Registering a command means running code on this machine, and \
             ALLOW_STDIO_UPSTREAMS is off here (it is by default once the gateway listens beyond \
             loopback); start the gateway with ALLOW_STDIO_UPSTREAMS=true to allow it"
                .to_owned(),
        ));
    }
    form.apply(draft, &mut fields, rules);
    fields.finish()
}

/// Refuses an upstream whose name or URL another has, within the circle that both are in.
fn refuse_twin(catalog: &Catalog, gateway: &Gateway) -> Result<(), Failure> {
    let circle = Circle::of(&gateway.ownership);
    let url = gateway.url.as_deref().map(same_url);
    let others = catalog.upstreams().map(|upstream| &*upstream.record);
    let others = others.filter(|other| other.id != gateway.id);
    for other in others.filter(|other| Circle::of(&other.ownership) == circle) {
        if other.slug == gateway.slug {
            let Gateway { name, slug, .. } = gateway;
            return Err(Failure::Conflict(format!(
                "Gateway name already exists: {name} (as {slug}); choose another name or change \
                 gateway {}",
                other.id
            )));
        }
        if url.is_some() && other.url.as_deref().map(same_url) == url {
            return Err(Failure::Conflict(format!(
                "Gateway URL already exists: {} is that of gateway {}",
                gateway.url.as_deref().unwrap_or_default(),
                other.name
            )));
        }
    }
    Ok(())
}

/// What a write needs besides the upstream itself.
struct Change {
    owned: Owned,
    expect: Option<Mutation>,
    author: Author,
}

/// Stores an upstream with what it was found to offer.
async fn store_discovered<B: Backend>(
    ask: &Ask<'_, B>,
    mut draft: Draft,
    inventory: &Inventory,
    change: Change,
) -> Result<Reconciled, Failure> {
    let catalog = ask.backend.catalog();
    let Change { owned, expect, author } = &change;
    let separator = ask.backend.rules().separator;
    let gateway = &mut draft.gateway;
    let mut done = reconcile::renew(&catalog, gateway, owned, inventory, separator, author);
    let mut mutations: Vec<Mutation> = expect.iter().cloned().collect();
    mutations.push(Mutation::PutGateway(Box::new(draft.seal(ask.backend.sealer()))));
    mutations.append(&mut done.mutations);
    ask.apply(mutations).await?;
    Ok(done)
}

/// Stores an upstream whose offers follow its name, visibility and owner.
async fn store_followed<B: Backend>(
    ask: &Ask<'_, B>,
    draft: Draft,
    expected: Mutation,
    author: &Author,
) -> Result<(), Failure> {
    let catalog = ask.backend.catalog();
    let names = names(&catalog, &draft.gateway, ask.backend.rules().separator);
    let owned = owned(&catalog, &draft.gateway.id);
    let followed = reconcile::follow(&owned, &draft.gateway, &names, author);
    if !followed.skipped.is_empty() {
        return Err(Failure::Conflict(followed.skipped.join("; ")));
    }
    let gateway = draft.seal(ask.backend.sealer());
    let mut mutations = vec![expected, Mutation::PutGateway(Box::new(gateway))];
    mutations.extend(followed.mutations);
    ask.apply(mutations).await
}

fn find<B>(ask: &Ask<'_, B>, catalog: &Catalog, id: &str) -> Result<Arc<Upstream>, Failure> {
    let found = catalog.upstream(id);
    let found = found.filter(|upstream| ask.may_see(&upstream.record.ownership));
    found.cloned().ok_or_else(|| Failure::NotFound(format!("Gateway not found: {id}")))
}

impl<B: Backend> Ask<'_, B> {
    /// The condition that a record is still as it was read, or as `If-Match` demands.
    ///
    /// # Errors
    ///
    /// 422 if `If-Match` is no version.
    pub(super) fn expected(
        &self,
        entity: Entity,
        id: &str,
        version: i64,
    ) -> Result<Mutation, Failure> {
        let demanded = self.demanded_versions()?;
        // Of several that would do, the one that is there; if none is, any will fail.
        let is_met = demanded.is_empty() || demanded.contains(&version);
        let version = if is_met { version } else { demanded[0] };
        Ok(Mutation::Expect { entity, id: id.to_owned(), version })
    }

    /// The same, if `If-Match` demands a version: a deletion does not care otherwise.
    pub(super) fn demanded(
        &self,
        entity: Entity,
        id: &str,
        version: i64,
    ) -> Result<Vec<Mutation>, Failure> {
        match self.demanded_versions()?.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(vec![self.expected(entity, id, version)?]),
        }
    }

    /// The versions that `If-Match` lists; none if it is not there, or `*` (RFC 9110 §13.1.1).
    fn demanded_versions(&self) -> Result<Vec<i64>, Failure> {
        let Some(text) = self.request.if_match.map(str::trim).filter(|text| *text != "*") else {
            return Ok(Vec::new());
        };
        let version = |part: &str| {
            let part = part.trim();
            part.strip_prefix("W/").unwrap_or(part).trim_matches('"').parse().ok()
        };
        let versions: Option<Vec<i64>> = text.split(',').map(version).collect();
        versions.ok_or_else(|| {
            Failure::Malformed(format!("If-Match {text:?} is not the version of a record"))
        })
    }

    /// Writes, and tells of a change by somebody else in between as what it is.
    pub(super) async fn apply(&self, mutations: Vec<Mutation>) -> Result<(), Failure> {
        writing::authorise(self, &mutations)?;
        match self.backend.apply(mutations).await {
            Ok(_) => Ok(()),
            Err(Failure::Storage(StoreError::VersionMismatch { entity, id, .. }))
                if self.request.if_match.is_none() =>
            {
                Err(Failure::Conflict(format!(
                    "The {entity} {id} was changed by somebody else meanwhile; read it and try \
                     again"
                )))
            }
            Err(failure) => Err(failure),
        }
    }
}
