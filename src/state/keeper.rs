//! The keeper of the catalog: one task that follows the change feed and gives every shard the
//! newest snapshot, in the order of the feed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use shards::{mailbox, mailbox::oneshot, time};
use storage::{Feed, Store, StoreError, seal::Sealer};

use crate::{
    catalog::Catalog,
    failure::Failure,
    limits,
    state::{Mailboxes, Message},
};

/// How long a shard may take to put a catalog in place before writers are answered without it.
const SHARD_WITHIN: Duration = Duration::from_secs(1);

/// Changes that are read from the feed at once.
const CHANGE_COUNT: usize = 1000;

/// The way to the keeper, usable from any shard.
#[derive(Clone)]
pub struct KeeperHandle(mailbox::Sender<oneshot::Sender<Result<(), StoreError>>>);

/// The keeper.
pub struct Keeper {
    store: Store,
    sealer: Arc<Sealer>,
    catalog: Catalog,
    shards: Mailboxes,
    writers: mailbox::Receiver<oneshot::Sender<Result<(), StoreError>>>,
}

impl KeeperHandle {
    /// Waits until every shard has the changes that are in the store now.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] when too many wait; the store's failure if the feed cannot be read. What
    /// was written stays written.
    pub async fn publish(&self) -> Result<(), Failure> {
        let (sender, receiver) = oneshot::channel();
        let refused = |_| Failure::Busy("Too many writes are waiting; try again".to_owned());
        self.0.send(sender).map_err(refused)?;
        match receiver.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Failure::Busy("The gateway is stopping".to_owned())),
        }
    }
}

impl Keeper {
    /// Makes a keeper that begins with `catalog`, which the shards have already.
    pub fn new(
        store: Store,
        sealer: Arc<Sealer>,
        catalog: Catalog,
        shards: Mailboxes,
    ) -> (Keeper, KeeperHandle) {
        let (sender, writers) = mailbox::channel(limits::KEEPER_COUNT_MAX);
        (Keeper { store, sealer, catalog, shards, writers }, KeeperHandle(sender))
    }

    /// Publishes for whoever asks, until nobody can ask any more.
    pub async fn run(mut self) {
        while let Some(first) = self.writers.next().await {
            let mut waiting = vec![first];
            while let Some(another) = self.writers.try_next() {
                waiting.push(another);
            }
            let outcome = self.catch_up().await;
            for writer in waiting {
                let _ = writer.send(outcome.clone());
            }
        }
    }

    /// Reads the feed to its end and gives the shards what came of it.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let before = self.catalog.sequence;
        loop {
            match self.store.changes_since(self.catalog.sequence, CHANGE_COUNT).await? {
                Feed::Changes(changes) => {
                    self.catalog.apply(changes.items, &self.sealer);
                    self.catalog.sequence = changes.sequence;
                    if !changes.more {
                        break;
                    }
                }
                Feed::Lost { .. } => {
                    let loaded = Catalog::load(self.store.load().await?, &self.sealer);
                    self.catalog = loaded.newer_than(&self.catalog);
                    break;
                }
            }
        }
        if self.catalog.sequence != before {
            self.hand_out().await;
        }
        Ok(())
    }

    /// Gives every shard the catalog and waits until they have it.
    async fn hand_out(&self) {
        let catalog = Arc::new(self.catalog.clone());
        let mut waits = Vec::with_capacity(self.shards.len());
        for (index, shard) in self.shards.iter().enumerate() {
            let (sender, receiver) = oneshot::channel();
            match shard.send(Message::Catalog(catalog.clone(), sender)) {
                Ok(()) => waits.push((index, receiver)),
                Err(_) => {
                    tracing::warn!(shard = index, "its mailbox is full; it gets the next one")
                }
            }
        }
        let mut late = BTreeSet::new();
        for (index, receiver) in waits {
            if time::timeout(SHARD_WITHIN, receiver).await.is_err() {
                late.insert(index);
            }
        }
        if !late.is_empty() {
            tracing::warn!(shards = ?late, "slow to take the new catalog");
        }
    }
}
