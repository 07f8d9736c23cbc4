//! One check of one upstream, and what is written when it changes something.

use std::{rc::Rc, sync::Arc};

use storage::{
    Mutation, StoreError,
    record::{Entity, Gateway, Transport, now},
};

use super::{
    LEASE, Options, World,
    ledger::{Step, Tally},
};
use crate::{
    catalog::{
        Upstream,
        author::Author,
        inventory::Inventory,
        reconcile::{self, owned},
    },
    failure::Failure,
};

/// Characters of a reason that are stored.
const REASON_LENGTH_MAX: usize = 500;

/// What a check needs.
pub(super) struct Errand<W> {
    pub(super) world: Rc<W>,
    pub(super) options: Options,
    /// The token of the lease under which it acts.
    pub(super) token: i64,
}

/// How a check went.
pub(super) struct Report {
    pub(super) token: i64,
    pub(super) id: String,
    pub(super) tally: Tally,
    /// A write was refused since the lease is ours no more.
    pub(super) is_fenced: bool,
}

/// How a write went.
#[derive(PartialEq, Eq)]
enum Written {
    Done,
    /// It may be tried again at the next check.
    Refused,
    Fenced,
}

impl<W: World> Errand<W> {
    /// Checks the upstream with this id, if it is there still.
    pub(super) async fn run(&self, id: &str, mut tally: Tally) -> Report {
        let upstream = self.world.catalog().upstream(id).cloned();
        let written = match upstream.filter(|upstream| upstream.record.enabled) {
            Some(upstream) if upstream.record.reachable => self.check(&upstream, &mut tally).await,
            Some(upstream) => self.revive(&upstream, &mut tally).await,
            None => Written::Done,
        };
        let is_fenced = written == Written::Fenced;
        Report { token: self.token, id: id.to_owned(), tally, is_fenced }
    }

    async fn check(&self, upstream: &Arc<Upstream>, tally: &mut Tally) -> Written {
        let health = self.world.check(upstream).await;
        tracing::debug!(upstream = upstream.record.name, ?health, "checked");
        match tally.note(health, self.options.threshold, now()) {
            Step::Nothing => Written::Done,
            Step::Renew => self.revive(upstream, tally).await,
            Step::Withdraw { reason, child_hangs } => {
                let written = self.withdraw(upstream, tally, &reason).await;
                if written == Written::Done {
                    tally.failure_count = 0;
                    if child_hangs && upstream.record.transport == Transport::Stdio {
                        self.world.retire_child(upstream);
                    }
                }
                written
            }
        }
    }

    /// Takes an upstream out of the lists.
    async fn withdraw(&self, upstream: &Upstream, tally: &Tally, reason: &str) -> Written {
        let mut gateway = Gateway::clone(&upstream.record);
        gateway.reachable = false;
        gateway.last_seen = gateway.last_seen.max(tally.last_seen);
        gateway.last_error = Some(shown(&gateway, reason));
        let written = self.put(upstream, gateway, Vec::new()).await;
        if written == Written::Done {
            let (name, count) = (&upstream.record.name, tally.failure_count);
            tracing::warn!(upstream = name, failures = count, reason, "unhealthy: left the lists");
        }
        written
    }

    /// Brings an upstream back if it answers again, with its lists read anew.
    async fn revive(&self, upstream: &Arc<Upstream>, tally: &mut Tally) -> Written {
        let inventory = match self.world.revive(upstream).await {
            Ok(inventory) => inventory,
            Err(failure) => {
                tracing::debug!(upstream = upstream.record.name, %failure, "still away");
                return Written::Done;
            }
        };
        let written = self.renew(upstream, &inventory).await;
        if written == Written::Done {
            *tally = Tally { failure_count: 0, last_seen: Some(now()) };
            tracing::info!(upstream = upstream.record.name, "healthy: read anew and listed");
        }
        written
    }

    async fn renew(&self, upstream: &Upstream, inventory: &Inventory) -> Written {
        let catalog = self.world.catalog();
        let author = Author { at: now(), ..Author::default() };
        let owned = owned(&catalog, &upstream.record.id);
        let mut gateway = Gateway::clone(&upstream.record);
        let separator = self.options.separator;
        let done = reconcile::renew(&catalog, &mut gateway, &owned, inventory, separator, &author);
        self.put(upstream, gateway, done.mutations).await
    }

    /// Writes the upstream and what follows, if the lease is ours and nobody changed it meanwhile.
    async fn put(
        &self,
        upstream: &Upstream,
        mut gateway: Gateway,
        following: Vec<Mutation>,
    ) -> Written {
        let (id, version) = (gateway.id.clone(), upstream.record.audit.version);
        gateway.audit.version = version + 1;
        let mut mutations = vec![
            Mutation::Fence { name: LEASE.to_owned(), token: self.token },
            Mutation::Expect { entity: Entity::Gateway, id, version },
            Mutation::PutGateway(Box::new(gateway)),
        ];
        mutations.extend(following);
        let name = &upstream.record.name;
        match self.world.apply(mutations).await {
            Ok(()) => Written::Done,
            Err(Failure::Storage(StoreError::Fenced { .. })) => {
                tracing::warn!(
                    upstream = name,
                    "the lease on health checks is not ours any more: nothing was written"
                );
                Written::Fenced
            }
            Err(Failure::Storage(StoreError::VersionMismatch { .. })) => {
                // Somebody was faster, perhaps on another machine: look at what they wrote.
                self.world.catch_up().await;
                Written::Refused
            }
            Err(failure) => {
                tracing::warn!(upstream = name, %failure, "what a check found is not stored");
                Written::Refused
            }
        }
    }
}

/// A reason as everybody may read it. What a child wrote before it ended may hold anything, and is
/// for the log alone.
fn shown(gateway: &Gateway, reason: &str) -> String {
    match gateway.transport {
        Transport::Stdio => "its command failed; the log of the gateway says how".to_owned(),
        _ => reason.chars().take(REASON_LENGTH_MAX).collect(),
    }
}
