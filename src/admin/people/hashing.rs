//! Passwords hashed and compared, off the shard and not too many at once.

use super::{Backend, IdentityRules};
use crate::auth::password::{PASSWORD_SIZE_MAX, Place};
use crate::failure::Failure;

/// Compares a password, off the shard.
pub async fn verify<B: Backend>(
    backend: &B,
    rules: &IdentityRules,
    password: String,
    hash: Option<String>,
) -> Result<bool, Failure> {
    if password.len() > PASSWORD_SIZE_MAX {
        return Ok(false);
    }
    let place = place(rules)?;
    let passwords = rules.passwords.clone();
    let work = move || {
        let _place = place;
        passwords.verify(&password, hash.as_deref())
    };
    backend.offload(work).await
}

/// Hashes a password, off the shard.
pub async fn hash<B: Backend>(backend: &B, password: String) -> Result<String, Failure> {
    let rules = &backend.rules().identity;
    let place = place(rules)?;
    let passwords = rules.passwords.clone();
    let work = move || {
        let _place = place;
        passwords.hash(&password)
    };
    backend.offload(work).await
}

fn place(rules: &IdentityRules) -> Result<Place, Failure> {
    Place::take(rules.hashing_count_max).ok_or_else(|| {
        Failure::Busy("As many passwords are checked as PASSWORD_HASHING_MAX allows".to_owned())
    })
}
