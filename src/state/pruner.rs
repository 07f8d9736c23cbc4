//! The pruner: a task of shard 0 that forgets revocations of tokens that have ended anyway.
//!
//! One process does it for all, under a lease. Nothing depends on when it is done.

use std::{rc::Rc, time::Duration};

use shards::time;
use storage::{
    Mutation,
    record::{Entity, now},
};

use crate::{catalog::People, state::Shard};

/// The name of the lease.
const LEASE: &str = "revocations";

/// How long one round may take, before another process may begin one.
const LEASE_TTL: Duration = Duration::from_secs(60);

/// How long after the end of a token its revocation is kept, in microseconds: clocks differ.
const KEPT_US: i64 = 3600 * 1_000_000;

/// How many are forgotten in one transaction.
const BATCH_COUNT_MAX: usize = 500;

/// The most transactions of one round: the rest has time.
const BATCHES_MAX: usize = 200;

/// Forgets what is over, again and again, until the shard drains.
pub async fn run(shard: Rc<Shard>) {
    let interval = shard.settings.auth.revocations_pruned_every;
    while time::timeout(interval, shard.draining.passed()).await.is_err() {
        if !over(shard.catalog().people(), now()).is_empty() {
            round(&shard).await;
        }
    }
}

async fn round(shard: &Shard) {
    let holder = shard.shared.bus.node_id().to_owned();
    let held = shard.registry.hold_lease(LEASE, &holder, LEASE_TTL).await;
    if !matches!(held, Ok(Some(_))) {
        return;
    }
    for _ in 0..BATCHES_MAX {
        let mutations = over(shard.catalog().people(), now());
        let count = mutations.len();
        if count == 0 {
            break;
        }
        if let Err(failure) = shard.registry.apply(mutations).await {
            tracing::debug!(%failure, "revocations that are over stay for another while");
            break;
        }
        tracing::debug!(count, "forgot revocations of tokens that have ended");
    }
    let _ = shard.registry.release_lease(LEASE, &holder).await;
}

/// What forgets the revocations that are over, as many as one transaction takes.
fn over(people: &People, now: i64) -> Vec<Mutation> {
    let is_over = |end: i64| end.saturating_add(KEPT_US) < now;
    let revocations = people.revocations().filter(|it| it.expires_at.is_some_and(is_over));
    let forget = |id: &String| {
        let (entity, id) = (Entity::Revocation, id.clone());
        Mutation::DeleteIdentity { entity, id }
    };
    revocations.take(BATCH_COUNT_MAX).map(|it| forget(&it.id)).collect()
}

#[cfg(test)]
mod tests {
    use storage::record::Revocation;

    use super::*;

    #[test]
    fn forgets_a_revocation_once_the_token_has_ended_for_all_clocks() {
        let mut people = People::default();
        for (id, expires_at) in [("never", None), ("soon", Some(1000)), ("late", Some(2000))] {
            let id = id.to_owned();
            people.put(Revocation { id, expires_at, ..Revocation::default() }.into());
        }
        let ids = |now: i64| -> Vec<String> {
            let id = |mutation| match mutation {
                Mutation::DeleteIdentity { entity: Entity::Revocation, id } => id,
                other => panic!("{other:?}"),
            };
            over(&people, now).into_iter().map(id).collect()
        };
        assert!(ids(KEPT_US + 1000).is_empty());
        assert_eq!(ids(KEPT_US + 1001), ["soon"]);
        assert_eq!(ids(KEPT_US + 2001), ["late", "soon"]);
    }
}
