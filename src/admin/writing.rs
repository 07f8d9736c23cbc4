//! Who may write which record: asked once more for every record of a transaction, by whose it is and
//! by whose it would become.

use storage::Mutation;
use storage::record::{Entity, Ownership};

use super::{Ask, Backend};
use crate::auth::access::{self, Verdict};
use crate::auth::{Caller, Teams};
use crate::catalog::Catalog;
use crate::failure::Failure;
use crate::permission::{Permission, PermissionSet};

/// Refuses a transaction if the caller may not write one of its records. What follows from a record
/// of another kind (the tools of an upstream, the tool of an agent) is not asked for again.
///
/// # Errors
///
/// 403 that names what is missing, 404 for a record that the caller may not see.
pub fn authorise<B: Backend>(ask: &Ask<'_, B>, mutations: &[Mutation]) -> Result<(), Failure> {
    let Some(permission) = ask.permission else { return Ok(()) };
    let catalog = ask.backend.catalog();
    for mutation in mutations {
        let Some((entity, id, wanted)) = target(mutation) else { continue };
        if kind(entity) != permission.kind() {
            continue;
        }
        let stored = stored(&catalog, entity, id);
        if let Some(stored) = &stored {
            check(ask, permission, stored, entity, id)?;
        }
        if let Some(wanted) = wanted.filter(|wanted| stored.as_ref() != Some(*wanted)) {
            place(ask, permission, wanted)?;
            let former = stored.as_ref().and_then(|stored| stored.team_id.as_deref());
            check_team(&catalog, wanted.team_id.as_deref().filter(|id| former != Some(*id)))?;
        }
    }
    Ok(())
}

fn check<B>(
    ask: &Ask<'_, B>,
    permission: Permission,
    stored: &Ownership,
    entity: Entity,
    id: &str,
) -> Result<(), Failure> {
    match access::decide(ask.caller, permission, stored) {
        Verdict::Allow(_) => Ok(()),
        Verdict::Deny(access::Reason::Invisible) => {
            Err(Failure::NotFound(format!("The {entity} {id} was not found")))
        }
        Verdict::Deny(reason) => Err(Failure::Forbidden(reason.to_string())),
    }
}

/// Whether the caller may put a record where it would stand from now on.
fn place<B>(ask: &Ask<'_, B>, permission: Permission, wanted: &Ownership) -> Result<(), Failure> {
    let verdict = access::decide_place(ask.caller, permission, wanted);
    match verdict {
        Verdict::Allow(_) => Ok(()),
        Verdict::Deny(reason) => Err(Failure::Forbidden(reason.to_string())),
    }
}

/// Refuses a team that is not there; whoever is not an administrator was refused before.
fn check_team(catalog: &Catalog, team_id: Option<&str>) -> Result<(), Failure> {
    let is_there = |id| catalog.people().team(id).is_some_and(|team| team.is_active);
    match team_id {
        Some(id) if !is_there(id) => Err(Failure::field(
            "team_id",
            format!("There is no team {id:?}; GET /teams lists them"),
        )),
        _ => Ok(()),
    }
}

impl<B: Backend> Ask<'_, B> {
    /// Whose something is that the caller makes and says nothing else of: their own, and of the one
    /// team that their token is for, or of their personal one. What administrators make is of no
    /// team.
    pub(super) fn own_place(&self) -> Ownership {
        let Caller { email, rights, teams, .. } = self.caller;
        let team_id = match (rights.unrestricted, teams, &*rights.teams) {
            (true, ..) => None,
            (false, Teams::Listed(_), [only]) => Some(only.team_id.to_string()),
            _ => {
                let catalog = self.backend.catalog();
                let personal = catalog.people().personal_team(email);
                let personal = personal.filter(|team| rights.team(&team.id).is_some());
                personal.map(|team| team.id.clone())
            }
        };
        Ownership { team_id, owner_email: Some(email.clone()), ..Ownership::default() }
    }
}

/// The record that a mutation is about, and whose it would become.
fn target(mutation: &Mutation) -> Option<(Entity, &str, Option<&Ownership>)> {
    Some(match mutation {
        Mutation::PutGateway(it) => (Entity::Gateway, &it.id, Some(&it.ownership)),
        Mutation::PutTool(it) => (Entity::Tool, &it.id, Some(&it.ownership)),
        Mutation::PutResource(it) => (Entity::Resource, &it.id, Some(&it.ownership)),
        Mutation::PutPrompt(it) => (Entity::Prompt, &it.id, Some(&it.ownership)),
        Mutation::PutServer(it) => (Entity::Server, &it.id, Some(&it.ownership)),
        Mutation::PutAgent(it) => (Entity::Agent, &it.id, Some(&it.ownership)),
        Mutation::DeleteGateway(id) => (Entity::Gateway, id, None),
        Mutation::DeleteTool(id) => (Entity::Tool, id, None),
        Mutation::DeleteResource(id) => (Entity::Resource, id, None),
        Mutation::DeletePrompt(id) => (Entity::Prompt, id, None),
        Mutation::DeleteServer(id) => (Entity::Server, id, None),
        Mutation::DeleteAgent(id) => (Entity::Agent, id, None),
        // Roots take a permission about the gateway as a whole, which the door asked for.
        Mutation::PutRoot(_) | Mutation::DeleteRoot(_) => return None,
        // Whoever writes who there is decides for themselves.
        Mutation::PutIdentity(_) | Mutation::DeleteIdentity { .. } => return None,
        Mutation::Expect { .. } | Mutation::Fence { .. } => return None,
    })
}

/// The kind of things that permissions name, of a kind of record.
fn kind(entity: Entity) -> &'static str {
    match entity {
        Entity::Gateway => "gateways",
        Entity::Tool => "tools",
        Entity::Resource => "resources",
        Entity::Prompt => "prompts",
        Entity::Server => "servers",
        Entity::Agent => "a2a",
        _ => "",
    }
}

fn stored(catalog: &Catalog, entity: Entity, id: &str) -> Option<Ownership> {
    match entity {
        Entity::Gateway => catalog.upstream(id).map(|it| it.record.ownership.clone()),
        Entity::Tool => catalog.tool(id).map(|it| it.record.ownership.clone()),
        Entity::Resource => catalog.resource(id).map(|it| it.record.ownership.clone()),
        Entity::Prompt => catalog.prompt(id).map(|it| it.record.ownership.clone()),
        Entity::Server => catalog.server(id).map(|it| it.record.ownership.clone()),
        Entity::Agent => catalog.agent(id).map(|it| it.record.ownership.clone()),
        _ => None,
    }
}

/// Refuses to let a caller give to somebody what they do not hold themselves.
///
/// # Errors
///
/// 403 that names what is missing.
pub fn check_held(held: PermissionSet, given: PermissionSet) -> Result<(), Failure> {
    if held.includes(given) {
        return Ok(());
    }
    let missing = given.iter().filter(|permission| !held.contains(*permission));
    let missing: Vec<&str> = missing.map(|permission| permission.as_str()).collect();
    Err(Failure::Forbidden(format!(
        "Nobody gives more than they have, and you have not: {}",
        missing.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gives_what_they_have_not() {
        let held = PermissionSet::of(&[Permission::ToolsRead, Permission::TeamsRead]);
        assert!(check_held(held, PermissionSet::of(&[Permission::ToolsRead])).is_ok());
        let Err(Failure::Forbidden(sentence)) = check_held(held, PermissionSet::ALL) else {
            panic!("more was given than is had")
        };
        assert!(sentence.contains("tools.execute") && !sentence.contains("tools.read,"));
        assert!(check_held(PermissionSet::ALL, PermissionSet::ALL).is_ok());
    }
}
