//! Reading the lists of an upstream again since it said that they changed.

use std::sync::Arc;

use storage::{
    Mutation, StoreError,
    record::{Entity, Gateway, now},
};

use super::{News, World, watcher::Stale};
use crate::{
    catalog::{
        Upstream,
        author::Author,
        inventory::Inventory,
        reconcile::{self, owned},
    },
    failure::Failure,
    mcp::Kind,
};

/// One reading.
pub(super) struct Refresh<'a, W> {
    pub(super) world: &'a W,
    /// The id of the upstream.
    pub(super) id: &'a str,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something was written.
    Changed,
    /// The lists are as they were, or the upstream is gone.
    Same,
    /// Another process reads them.
    Elsewhere,
    /// Try again.
    Later,
}

impl<W: World> Refresh<'_, W> {
    /// Reads what the upstream offers, stores what changed, and tells the streams what did not though
    /// the upstream said so: what changed, the catalog tells them.
    pub(super) async fn run(&self, stale: &Stale) -> Outcome {
        if stale.is_elsewhere && self.was_read_since(stale) {
            self.tell_same(stale).await;
            return Outcome::Same;
        }
        let outcome = self.renew(!stale.kinds.is_empty()).await;
        if matches!(outcome, Outcome::Changed | Outcome::Same) {
            self.tell_same(stale).await;
        }
        outcome
    }

    /// Reads what the upstream offers, and stores what changed; if nothing did, only `if_same`.
    pub(super) async fn renew(&self, if_same: bool) -> Outcome {
        let lease = format!("refresh:{}", self.id);
        match self.world.hold(&lease).await {
            Ok(Some(_)) => {
                let outcome = self.read(if_same).await;
                if let Err(failure) = self.world.release(&lease).await {
                    tracing::debug!(%failure, "a lease is not given back; it ends by itself");
                }
                outcome
            }
            // It heard the same.
            Ok(None) => Outcome::Elsewhere,
            Err(failure) => {
                tracing::debug!(%failure, "cannot ask for the lease");
                Outcome::Later
            }
        }
    }

    fn upstream(&self) -> Option<Arc<Upstream>> {
        let catalog = self.world.catalog();
        catalog.upstream(self.id).filter(|upstream| upstream.record.enabled).cloned()
    }

    fn was_read_since(&self, stale: &Stale) -> bool {
        let read_at = |upstream: Option<&Arc<Upstream>>| {
            upstream.and_then(|upstream| upstream.record.last_refresh_at)
        };
        self.world.catch_up();
        read_at(self.upstream().as_ref()) != read_at(stale.former.upstream(self.id))
    }

    async fn read(&self, if_same: bool) -> Outcome {
        let Some(upstream) = self.upstream() else { return Outcome::Same };
        let inventory = match self.world.read(&upstream).await {
            Ok(inventory) => inventory,
            Err(failure) => {
                let name = &upstream.record.name;
                tracing::debug!(upstream = name, %failure, "its lists cannot be read now");
                return Outcome::Later;
            }
        };
        self.store(&upstream, &inventory, if_same).await
    }

    /// Stores what the upstream offers. If nothing of that is new, only `if_same`, so that the other
    /// processes see that it was read.
    async fn store(&self, upstream: &Upstream, inventory: &Inventory, if_same: bool) -> Outcome {
        let catalog = self.world.catalog();
        let author = Author { at: now(), ..Author::default() };
        let (owned, separator) = (owned(&catalog, self.id), self.world.separator());
        let mut gateway = Gateway::clone(&upstream.record);
        let done = reconcile::renew(&catalog, &mut gateway, &owned, inventory, separator, &author);
        let is_same = done.mutations.is_empty() && is_told_alike(&gateway, &upstream.record);
        if is_same && !if_same {
            return Outcome::Same;
        }
        let (id, version) = (gateway.id.clone(), upstream.record.audit.version);
        gateway.audit.version = version + 1;
        let mut mutations = vec![
            Mutation::Expect { entity: Entity::Gateway, id, version },
            Mutation::PutGateway(Box::new(gateway)),
        ];
        mutations.extend(done.mutations);
        let name = &upstream.record.name;
        match self.world.apply(mutations).await {
            Ok(()) if is_same => Outcome::Same,
            Ok(()) => {
                tracing::info!(upstream = name, "is not what it was: read again");
                Outcome::Changed
            }
            Err(Failure::Storage(StoreError::VersionMismatch { .. })) => {
                // Somebody was faster, perhaps on another machine: look at what they wrote.
                self.world.catch_up();
                Outcome::Later
            }
            Err(failure) => {
                tracing::warn!(upstream = name, %failure, "what it offers now is not stored");
                Outcome::Later
            }
        }
    }

    /// Tells the streams of lists that the upstream said have changed, and which look as before.
    async fn tell_same(&self, stale: &Stale) {
        let (former, catalog) =
            (owned(&stale.former, self.id), owned(&self.world.catalog(), self.id));
        let is_same = |kind: &Kind| match kind {
            Kind::Tools => former.tools == catalog.tools,
            Kind::Resources | Kind::Templates => former.resources == catalog.resources,
            Kind::Prompts => former.prompts == catalog.prompts,
        };
        let changed: Vec<_> = stale.kinds.iter().copied().filter(is_same).collect();
        if !changed.is_empty() {
            let upstream_id = self.id.to_owned();
            self.world.tell(News { upstream_id, changed, ..News::default() }).await;
        }
    }
}

/// Whether two versions of an upstream say the same of themselves.
fn is_told_alike(one: &Gateway, other: &Gateway) -> bool {
    one.era == other.era
        && one.protocol_version == other.protocol_version
        && one.capabilities == other.capabilities
        && one.server_info == other.server_info
        && one.instructions == other.instructions
        && one.skipped_tools == other.skipped_tools
}
