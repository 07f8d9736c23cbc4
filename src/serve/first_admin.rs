//! The first administrator: a gateway without any user gets one, or nobody could ever log in.
//!
//! It happens after the listeners are up, since hashing a password takes its time. Many processes
//! may begin at once on one database: the address of a user is unique, so one of them makes the
//! user, and only that one tells a password that it made up.

use std::{rc::Rc, time::Duration};

use shards::time;
use storage::{
    StoreError,
    record::{User, new_id, now},
};

use crate::{
    admin::{self, Backend as _},
    auth::password,
    failure::Failure,
    serve::backend::{Backend, Facts},
    state::Shard,
};

/// How long to rest before asking a database again that is away.
const REST: Duration = Duration::from_secs(1);

/// Makes the first administrator if there is no user; ends when there is one.
pub async fn run(shard: Rc<Shard>, facts: Rc<Facts>) {
    if !facts.rules.identity.email_enabled {
        return;
    }
    let backend = Backend { shard: &shard, client_ip: None, facts: &facts };
    let is_missing = || backend.catalog().people().users().next().is_none();
    while is_missing() && !shard.draining.is_open() {
        match make(&backend).await {
            Ok(()) => return,
            // Another process was first, of which the change feed will tell.
            Err(Failure::Storage(StoreError::Conflict { .. })) => return,
            Err(failure) => {
                tracing::debug!(%failure, "the first administrator is not made yet");
                time::sleep(REST).await;
            }
        }
    }
}

async fn make(backend: &Backend<'_>) -> Result<(), Failure> {
    let auth = &backend.shard.settings.auth;
    let rules = &backend.rules().identity;
    let chosen = auth.admin_password.as_ref().map(|password| password.expose().to_owned());
    let is_generated = chosen.is_none();
    let password = chosen.unwrap_or_else(password::generate);
    let hashed = password.clone();
    let hasher = rules.passwords.clone();
    let hash = backend.offload(move || hasher.hash(&hashed)).await?;
    let at = now();
    let user = User {
        id: new_id(),
        email: auth.admin_email.to_lowercase(),
        full_name: Some(auth.admin_name.clone()),
        password_hash: Some(hash),
        is_admin: true,
        is_active: true,
        auth_provider: "local".to_owned(),
        email_verified: true,
        password_change_required: is_generated,
        password_changed_at: Some(at),
        created_at: at,
        updated_at: at,
        version: 1,
        ..User::default()
    };
    let mutations = admin::birth(&user, backend.catalog().people(), rules);
    backend.apply(mutations).await?;
    tracing::info!(email = user.email, "made the first administrator");
    if is_generated {
        // On the terminal alone: a log is kept, and read by others.
        println!("  the first administrator: {} with the password {password}", user.email);
        println!("  it is not shown again; log in and choose another");
    }
    Ok(())
}
