//! The way to the store: a write is answered when it is durable and every shard serves it.

use std::{sync::Arc, time::Duration};

use storage::{Applied, Mutation, Store, seal::Sealer};

use crate::{failure::Failure, state::KeeperHandle};

/// The registry, usable from any shard. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    store: Store,
    keeper: KeeperHandle,
    sealer: Arc<Sealer>,
}

impl Registry {
    /// Joins the parts.
    pub fn new(store: Store, keeper: KeeperHandle, sealer: Arc<Sealer>) -> Registry {
        Registry { store, keeper, sealer }
    }

    /// Writes all of `mutations` or nothing, and returns once every shard serves the outcome.
    ///
    /// # Errors
    ///
    /// The store's: a conflict, a stale version, a database that is away.
    pub async fn apply(&self, mutations: Vec<Mutation>) -> Result<Applied, Failure> {
        let applied = self.store.apply(mutations).await?;
        self.keeper.publish(applied.clone()).await?;
        Ok(applied)
    }

    /// Has the change feed read now: somebody else seems to have written. Does not wait for it.
    pub fn hint(&self) {
        self.keeper.hint(None);
    }

    /// Takes or renews a lease (see [`Store::hold_lease`]).
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn hold_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<i64>, Failure> {
        Ok(self.store.hold_lease(name, holder, ttl).await?)
    }

    /// Gives a lease back.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), Failure> {
        Ok(self.store.release_lease(name, holder).await?)
    }

    /// Gives the keeper a hint at each notice of the database, for ever.
    pub async fn hear_notices(self) {
        let mut notices = self.store.notices();
        loop {
            let told = notices.next().await;
            self.keeper.hint(told);
        }
    }

    /// Seals and opens credentials.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Asks the database whether it is there.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn ping(&self) -> Result<(), Failure> {
        Ok(self.store.ping().await?)
    }
}
