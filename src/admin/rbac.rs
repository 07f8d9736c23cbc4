//! Roles: made, listed, changed and deleted. Those that every gateway has stay as they are.

pub mod explain;
pub mod grants;
pub mod permissions;
mod subject;

use std::sync::Arc;

use serde_json::json;
use storage::Mutation;
use storage::record::{Entity, Role, Scope, new_id, now};

use super::fields::Fields;
use super::query::Query;
use super::record_form::{self, set};
use super::{Ask, Backend, RestAnswer, answer, show, writing};
use crate::catalog::people::INHERITANCE_DEPTH_MAX;
use crate::catalog::{Catalog, People};
use crate::failure::Failure;
use crate::limits;
use crate::permission::{EVERYTHING, Permission, PermissionSet};

/// `GET /rbac/roles`.
pub fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let people = catalog.people();
    let mut query = Query::parse(ask.request.query);
    let scope = scope_of(&mut query);
    let active_only = query.flag("active_only", true);
    query.finish()?;
    let is_listed = |role: &&Arc<Role>| {
        (role.is_active || !active_only) && scope.is_none_or(|scope| role.scope == scope)
    };
    let mut roles: Vec<_> = people.roles().filter(is_listed).collect();
    roles.sort_by(|a, b| (&a.name, a.scope).cmp(&(&b.name, b.scope)));
    let shown: Vec<_> = roles.into_iter().map(|role| show::role(people, role)).collect();
    Ok(answer::ok(&shown))
}

/// `GET /rbac/roles/{id}`.
pub fn get<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let role = find(&catalog, id)?;
    let shown = show::role(catalog.people(), &role);
    Ok(RestAnswer { etag: Some(role.version), ..answer::ok(&shown) })
}

/// `POST /rbac/roles`.
pub async fn create<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    if catalog.people().roles().count() >= limits::ROLE_COUNT_MAX {
        let sentence = format!("There are {} roles, the most", limits::ROLE_COUNT_MAX);
        return Err(Failure::Conflict(sentence));
    }
    let at = now();
    let role = Role {
        id: new_id(),
        is_active: true,
        created_by: ask.caller.email.to_lowercase(),
        created_at: at,
        updated_at: at,
        version: 1,
        ..Role::default()
    };
    let role = read_over(ask, catalog.people(), role)?;
    let id = role.id.clone();
    ask.apply(vec![Mutation::PutIdentity(role.into())]).await?;
    get(ask, &id)
}

/// `PUT /rbac/roles/{id}`.
pub async fn update<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let stored = find_own(&catalog, id)?;
    let expected = ask.expected(Entity::Role, id, stored.version)?;
    let role = Role { updated_at: now(), version: stored.version + 1, ..Role::clone(&stored) };
    let role = read_over(ask, catalog.people(), role)?;
    ask.apply(vec![expected, Mutation::PutIdentity(role.into())]).await?;
    get(ask, id)
}

/// `DELETE /rbac/roles/{id}`: from whoever has it, too.
pub async fn delete<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let catalog = ask.backend.catalog();
    let role = find_own(&catalog, id)?;
    let heirs = catalog.people().roles().filter(|heir| heir.inherits_from.as_deref() == Some(id));
    let heirs: Vec<&str> = heirs.map(|heir| heir.name.as_str()).collect();
    if !heirs.is_empty() {
        let heirs = heirs.join(", ");
        return Err(Failure::Conflict(format!("{} is inherited from by: {heirs}", role.name)));
    }
    let mut mutations = ask.demanded(Entity::Role, id, role.version)?;
    mutations.push(Mutation::DeleteIdentity { entity: Entity::Role, id: id.to_owned() });
    ask.apply(mutations).await?;
    Ok(answer::ok(&json!({ "message": "Role deleted successfully" })))
}

fn find(catalog: &Catalog, id: &str) -> Result<Arc<Role>, Failure> {
    let found = catalog.people().role(id).cloned();
    found.ok_or_else(|| Failure::NotFound("Role not found".to_owned()))
}

/// Finds a role that people may change.
fn find_own(catalog: &Catalog, id: &str) -> Result<Arc<Role>, Failure> {
    let role = find(catalog, id)?;
    match role.is_system_role {
        true => Err(Failure::Forbidden(format!(
            "{} is a system role, which nobody changes; make a role of your own that inherits \
             from it",
            role.name
        ))),
        false => Ok(role),
    }
}

fn scope_of(query: &mut Query) -> Option<Scope> {
    query.word("scope", |text| text.parse().ok(), "global, team or personal")
}

/// Lays the fields of a body over a role.
///
/// # Errors
///
/// 422 naming every field at fault, 403 if the role would permit what the caller may not.
fn read_over<B: Backend>(
    ask: &Ask<'_, B>,
    people: &People,
    mut role: Role,
) -> Result<Role, Failure> {
    let is_new = role.name.is_empty();
    let rules = ask.backend.rules();
    let mut fields = Fields::parse(ask.request.content_type, ask.request.body)?;
    set(&mut role.name, record_form::name(&mut fields, rules));
    set(&mut role.description, record_form::description(&mut fields, rules));
    let permissions = permissions_of(&mut fields);
    if is_new {
        let scope = fields.word("scope", |text| text.parse().ok(), "global, team or personal");
        let given = [
            ("name", !role.name.is_empty()),
            ("scope", scope.is_some()),
            ("permissions", permissions.is_some()),
        ];
        for (name, is_given) in given {
            if !is_given && fields.given(name).is_none() {
                fields.missing(name);
            }
        }
        set(&mut role.scope, scope);
    } else {
        set(&mut role.is_active, fields.flag("is_active"));
    }
    set(&mut role.permissions, permissions);
    let heritage = record_form::optional(&mut fields, "inherits_from", rules.name_length_max);
    if let Some(parent) = heritage {
        role.inherits_from = parent;
    }
    check_heritage(people, &role, &mut fields);
    fields.finish()?;
    let own = PermissionSet::of_words(role.permissions.iter().map(String::as_str));
    let inherited = role.inherits_from.as_deref().map(|id| people.permissions_of(id));
    let rights = &ask.caller.rights;
    let given = own | inherited.unwrap_or(PermissionSet::EMPTY);
    writing::check_held(rights.global & rights.mask, given)?;
    Ok(role)
}

/// The words of permissions, each once; a word that is none is named with those that are like it.
fn permissions_of(fields: &mut Fields) -> Option<Vec<String>> {
    let mut words = fields.list("permissions")?;
    words.sort_unstable();
    words.dedup();
    for word in words.iter().filter(|word| *word != EVERYTHING) {
        if word.parse::<Permission>().is_err() {
            fields.error("permissions", unknown_permission(word));
        }
    }
    Some(words)
}

/// What is said of a word that names no permission.
fn unknown_permission(word: &str) -> String {
    let near: Vec<_> = Permission::near(word).iter().map(|near| near.as_str()).collect();
    match near.is_empty() {
        true => format!("There is no permission {word:?}; GET /rbac/permissions/available"),
        false => format!("There is no permission {word:?}; did you mean {}?", near.join(", ")),
    }
}

/// Notes what is wrong with where a role inherits from: nothing there, a circle, or too far.
fn check_heritage(people: &People, role: &Role, fields: &mut Fields) {
    let Some(parent) = role.inherits_from.as_deref() else { return };
    if people.role(parent).is_none() {
        return fields.error("inherits_from", "There is no such role");
    }
    let parent_of = |id: &str| match id == role.id {
        true => Some(parent.to_owned()),
        false => people.role(id).and_then(|role| role.inherits_from.clone()),
    };
    let depth = |id: &str| {
        let chain = std::iter::successors(Some(id.to_owned()), |id| parent_of(id));
        chain.take(INHERITANCE_DEPTH_MAX + 1).count()
    };
    let mut ids = people.roles().map(|role| role.id.as_str()).chain([role.id.as_str()]);
    if ids.any(|id| depth(id) > INHERITANCE_DEPTH_MAX) {
        let sentence = format!(
            "Roles would inherit in a circle, or over more than {INHERITANCE_DEPTH_MAX} steps"
        );
        fields.error("inherits_from", sentence);
    }
}
