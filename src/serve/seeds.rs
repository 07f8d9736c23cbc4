//! What is there from the start: roots and roles that are written where they are missing.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use storage::record::{Identity, Role, Root, Scope, new_id, now};
use storage::{Mutation, Snapshot, Store, StoreError};

use crate::auth::roles::BUILT_IN;
use crate::catalog::author::Author;
use crate::limits;
use crate::permission::{EVERYTHING, Permission};
use crate::settings::Settings;

/// What is to be there. Many processes may begin at once: what one of them wrote, the others leave.
pub struct Seeds {
    roots: Vec<String>,
    roles: Vec<Role>,
}

/// A file of roles that cannot be used: a sentence that names the mend.
#[derive(Debug)]
pub struct RolesError {
    path: PathBuf,
    reason: String,
}

impl fmt::Display for RolesError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, reason) = (self.path.display(), &self.reason);
        write!(
            out,
            "the roles of {path} cannot be read: {reason}; mend the file, or set \
             MCPGATEWAY_BOOTSTRAP_ROLES_IN_DB_ENABLED=false"
        )
    }
}

/// A role as the file has it.
#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    description: Option<String>,
    scope: String,
    permissions: Vec<String>,
}

impl Seeds {
    /// Reads from the settings, and from the file that they name, what is to be there.
    ///
    /// # Errors
    ///
    /// [`RolesError`] if the file is not there or holds what is no role.
    pub fn gather(settings: &Settings) -> Result<Seeds, RolesError> {
        let (teams, path) = (&settings.teams, &settings.teams.bootstrap_roles_file);
        let roles = match teams.bootstrap_roles {
            true => {
                read_roles(path).map_err(|reason| RolesError { path: path.to_owned(), reason })?
            }
            false => Vec::new(),
        };
        Ok(Seeds { roots: settings.catalog.default_roots.clone(), roles })
    }

    /// Writes what is missing, and the built-in roles that another release had otherwise; says
    /// whether anything was written, by whichever process.
    ///
    /// # Errors
    ///
    /// What the store answers.
    pub async fn plant(&self, store: &Store, snapshot: &Snapshot) -> Result<bool, StoreError> {
        let author = Author { at: now(), ..Author::default() };
        let is_missing = |uri: &&String| !snapshot.roots.iter().any(|root| root.uri == **uri);
        let roots = self.roots.iter().filter(is_missing).map(|uri| {
            let (id, audit) = (new_id(), author.made("api"));
            Mutation::PutRoot(Box::new(Root { id, uri: uri.clone(), audit, ..Root::default() }))
        });
        let roles = self.missing_roles(snapshot);
        let roles = roles.into_iter().map(|role| Mutation::PutIdentity(role.into()));
        let mut planted = false;
        for mutation in roots.chain(roles) {
            match store.apply(vec![mutation]).await {
                // Another process that starts was first.
                Ok(_) | Err(StoreError::Conflict { .. }) => planted = true,
                Err(error) => return Err(error),
            }
        }
        Ok(planted)
    }

    fn missing_roles(&self, snapshot: &Snapshot) -> Vec<Role> {
        let stored = || {
            snapshot.identities.iter().filter_map(|identity| match identity {
                Identity::Role(role) => Some(&**role),
                _ => None,
            })
        };
        let mut missing = Vec::new();
        for role in BUILT_IN.iter().map(|role| role.record(now())) {
            match stored().find(|other| other.id == role.id) {
                None => missing.push(role),
                Some(other) if is_same(other, &role) => {}
                Some(other) => {
                    let (created_at, version) = (other.created_at, other.version + 1);
                    missing.push(Role { created_at, version, ..role });
                }
            }
        }
        let is_named = |role: &&Role, name: &str| role.name.eq_ignore_ascii_case(name);
        for role in &self.roles {
            let mut twins = stored().filter(|other| other.scope == role.scope);
            if !twins.any(|other| is_named(&other, &role.name)) {
                missing.push(role.clone());
            }
        }
        missing
    }
}

/// Whether a stored role is as this release has it.
fn is_same(stored: &Role, role: &Role) -> bool {
    let Role { name, description, scope, permissions, .. } = role;
    stored.name == *name
        && stored.description == *description
        && stored.scope == *scope
        && stored.permissions == *permissions
        && stored.is_active
        && stored.inherits_from.is_none()
}

fn read_roles(path: &Path) -> Result<Vec<Role>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > limits::ROLES_FILE_SIZE_MAX {
        return Err(format!("it is larger than {} bytes", limits::ROLES_FILE_SIZE_MAX));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    parse_roles(&text)
}

fn parse_roles(text: &str) -> Result<Vec<Role>, String> {
    let listed: Vec<Listed> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    listed.into_iter().map(role).collect()
}

/// A role of the file. Its id is made of its name and scope, so that two processes make the same.
fn role(listed: Listed) -> Result<Role, String> {
    let Listed { name, description, scope, permissions } = listed;
    let scope: Scope = scope.parse().map_err(|error| format!("role {name:?}: {error}"))?;
    let is_none = |word: &&String| *word != EVERYTHING && word.parse::<Permission>().is_err();
    if let Some(word) = permissions.iter().find(is_none) {
        return Err(format!("role {name:?}: there is no permission {word:?}"));
    }
    let hash = digest(&SHA256, format!("{scope}/{}", name.to_lowercase()).as_bytes());
    let id: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let at = now();
    Ok(Role {
        id,
        name,
        description,
        scope,
        permissions,
        is_active: true,
        created_by: "system".to_owned(),
        created_at: at,
        updated_at: at,
        version: 1,
        ..Role::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(roles: Vec<Role>) -> Snapshot {
        let identities = roles.into_iter().map(Identity::from).collect();
        Snapshot { identities, ..Snapshot::default() }
    }

    fn names(roles: &[Role]) -> Vec<&str> {
        roles.iter().map(|role| role.name.as_str()).collect()
    }

    #[test]
    fn a_role_is_written_if_it_is_missing_or_was_otherwise_in_another_release() {
        let seeds = Seeds { roots: Vec::new(), roles: Vec::new() };
        let mut stored = seeds.missing_roles(&snapshot(Vec::new()));
        assert_eq!(stored.len(), BUILT_IN.len());
        assert!(seeds.missing_roles(&snapshot(stored.clone())).is_empty());
        stored[3].permissions.pop();
        stored[3].version = 7;
        let renewed = seeds.missing_roles(&snapshot(stored));
        assert_eq!(names(&renewed), ["viewer"]);
        assert_eq!(
            (renewed[0].version, renewed[0].permissions.len()),
            (8, BUILT_IN[3].permissions.len())
        );
    }

    #[test]
    fn a_role_of_the_file_is_the_same_in_every_process_and_yields_to_what_is_there() {
        let text = r#"[{"name": "Caller", "scope": "team", "permissions": ["tools.execute"]}]"#;
        let roles = parse_roles(text).unwrap();
        assert_eq!(parse_roles(text).unwrap()[0].id, roles[0].id);
        let seeds = Seeds { roots: Vec::new(), roles };
        let mut stored = seeds.missing_roles(&snapshot(Vec::new()));
        assert_eq!(names(&stored).last(), Some(&"Caller"));
        stored.last_mut().unwrap().permissions = vec!["tools.read".to_owned()];
        assert!(seeds.missing_roles(&snapshot(stored)).is_empty());
    }

    #[test]
    fn a_file_that_holds_what_is_no_role_is_refused_with_its_fault() {
        for (text, fault) in [
            ("{", "sequence"),
            (r#"[{"name": "x", "scope": "team"}]"#, "permissions"),
            (r#"[{"name": "x", "scope": "moon", "permissions": []}]"#, "moon"),
            (r#"[{"name": "x", "scope": "team", "permissions": ["tools.fly"]}]"#, "tools.fly"),
        ] {
            let reason = parse_roles(text).unwrap_err();
            assert!(reason.contains(fault), "{text}: {reason}");
        }
    }
}
