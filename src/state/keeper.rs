//! The keeper of the catalog: one task that follows the change feed and gives every shard the
//! newest snapshot, in the order of the feed.
//!
//! It hears of a change in three ways: a writer of this process hands over what it committed, the
//! database or the bus gives a hint, and once in an interval the feed is read without a reason, so
//! that a lost hint costs no more than that interval.

use std::{rc::Rc, sync::Arc, time::Duration};

use shards::{
    blocking,
    mailbox::{self, oneshot},
    time::{self, Instant},
};
use storage::{Applied, Feed, Store, StoreError, seal::Sealer};

use crate::{
    catalog::Catalog,
    failure::Failure,
    limits,
    state::{Mailboxes, Message, neighbours::Moved},
};

/// How long a shard may take to put a catalog in place before writers are answered without it.
const SHARD_WITHIN: Duration = Duration::from_secs(1);

/// How long reading the feed may take before the database counts as away.
const FEED_WITHIN: Duration = Duration::from_secs(2);

/// Changes that are read from the feed at once: what a shard can apply without being missed.
const CHANGE_COUNT: usize = 250;

/// The failure of a feed that was not read in time.
fn late() -> StoreError {
    StoreError::Away { reason: format!("the change feed was not read within {FEED_WITHIN:?}") }
}

/// The way to the keeper, usable from any shard.
#[derive(Clone)]
pub struct KeeperHandle(mailbox::Sender<Errand>);

/// What the keeper is told.
enum Errand {
    /// This was committed here; whoever did waits until every shard has it.
    Committed(Applied, oneshot::Sender<()>),
    /// The feed may have moved, to here if that is known.
    Hint(Option<i64>),
}

/// The keeper.
pub struct Keeper {
    store: Store,
    sealer: Arc<Sealer>,
    catalog: Catalog,
    shards: Mailboxes,
    errands: mailbox::Receiver<Errand>,
    /// How often the feed is read without a reason.
    poll: Duration,
    /// Where this process moved the feed to, for whoever tells the other nodes.
    moved: Rc<Moved>,
    /// Not every shard has the catalog yet.
    behind: bool,
    /// What the database's last failure was, while it is away.
    trouble: Option<Arc<str>>,
}

/// What a keeper is made of before it reaches its shard.
pub struct KeeperSeed {
    store: Store,
    sealer: Arc<Sealer>,
    catalog: Catalog,
    shards: Mailboxes,
    errands: mailbox::Receiver<Errand>,
    poll: Duration,
}

impl KeeperHandle {
    /// Hands over what was committed, and waits until every shard has it.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] when too many wait or the gateway stops. What was written stays written.
    pub async fn publish(&self, applied: Applied) -> Result<(), Failure> {
        let (sender, receiver) = oneshot::channel();
        let refused = |_| Failure::Busy("Too many writes are waiting; try again".to_owned());
        self.0.send(Errand::Committed(applied, sender)).map_err(refused)?;
        receiver.await.map_err(|_| Failure::Busy("The gateway is stopping".to_owned()))
    }

    /// Says that the feed may have moved, to `sequence` if that is known. When the keeper has more than enough to do it is not
    /// told: it will look anyway.
    pub fn hint(&self, sequence: Option<i64>) {
        let _ = self.0.send(Errand::Hint(sequence));
    }
}

impl KeeperSeed {
    /// Makes the seed of a keeper that begins with `catalog`, which the shards have already, and
    /// reads the feed at least every `poll`.
    pub fn new(
        store: Store,
        sealer: Arc<Sealer>,
        catalog: Catalog,
        shards: Mailboxes,
        poll: Duration,
    ) -> (KeeperSeed, KeeperHandle) {
        let (sender, errands) = mailbox::channel(limits::KEEPER_COUNT_MAX);
        (KeeperSeed { store, sealer, catalog, shards, errands, poll }, KeeperHandle(sender))
    }

    /// Makes the keeper on the shard that it runs on. What this process moves the
    /// feed to goes to `moved`.
    pub fn grow(self, moved: Rc<Moved>) -> Keeper {
        let KeeperSeed { store, sealer, catalog, shards, errands, poll } = self;
        let (behind, trouble) = (false, None);
        Keeper { store, sealer, catalog, shards, errands, poll, moved, behind, trouble }
    }
}

impl Keeper {
    /// Keeps the catalog until nobody can ask any more.
    pub async fn run(mut self) {
        let mut due = Instant::now() + self.poll;
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            match time::timeout(wait, self.errands.next()).await {
                Ok(None) => return,
                Ok(Some(first)) => self.serve(first).await,
                Err(time::Elapsed) => {
                    self.look().await;
                    due = Instant::now() + self.poll;
                }
            }
        }
    }

    /// Does everything that it was told by now.
    async fn serve(&mut self, first: Errand) {
        let mut applied = Vec::new();
        let mut waiting = Vec::new();
        let mut is_stale = false;
        let mut next = Some(first);
        while let Some(errand) = next {
            match errand {
                Errand::Committed(outcome, writer) => {
                    applied.push(outcome);
                    waiting.push(writer);
                }
                // What is in the catalog already is no news: mostly our own change, told back.
                Errand::Hint(told) => {
                    is_stale |= told.is_none_or(|told| told > self.catalog.sequence);
                }
            }
            next = self.errands.try_next();
        }
        if !self.take(applied) || is_stale {
            self.look().await;
        } else if self.behind {
            self.hand_out().await;
        }
        if !waiting.is_empty() {
            self.moved.note(self.catalog.sequence);
        }
        for writer in waiting {
            let _ = writer.send(());
        }
    }

    /// Applies what was committed here, as far as it follows on what is known: between may stand
    /// what others committed. Returns whether nothing is missing.
    fn take(&mut self, mut applied: Vec<Applied>) -> bool {
        applied.sort_by_key(|applied| applied.sequence);
        for applied in applied {
            let Some(first) = applied.changes.first() else { continue };
            if applied.sequence <= self.catalog.sequence {
                continue;
            }
            if first.sequence != self.catalog.sequence + 1 {
                return false;
            }
            self.catalog.apply(applied.changes, &self.sealer);
            self.catalog.sequence = applied.sequence;
            self.behind = true;
        }
        true
    }

    /// Reads the feed to its end, gives the shards what came of it, and notes whether the database
    /// is there.
    async fn look(&mut self) {
        let outcome = self.catch_up().await;
        if self.behind {
            self.hand_out().await;
        }
        let trouble = outcome.err().map(|error| Arc::from(error.to_string()));
        self.note(trouble);
    }

    async fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            let read = self.store.changes_since(self.catalog.sequence, CHANGE_COUNT);
            let read = time::timeout(FEED_WITHIN, read).await;
            match read.map_err(|_| late())?? {
                Feed::Changes(changes) => {
                    self.behind |= changes.sequence != self.catalog.sequence;
                    self.catalog.apply(changes.items, &self.sealer);
                    self.catalog.sequence = changes.sequence;
                    if !changes.more {
                        return Ok(());
                    }
                }
                Feed::Lost { .. } => return self.reload().await,
            }
        }
    }

    /// Loads everything anew, built beside the shard: it takes a while.
    async fn reload(&mut self) -> Result<(), StoreError> {
        let snapshot = self.store.load().await?;
        let sealer = self.sealer.clone();
        let former = self.catalog.clone();
        let build = move || Catalog::load(snapshot, &sealer).newer_than(&former);
        self.catalog = blocking::run(build).await.map_err(|_| StoreError::Interrupted)?;
        self.behind = true;
        Ok(())
    }

    /// Tells the shards when the database went away or came back.
    fn note(&mut self, trouble: Option<Arc<str>>) {
        match (&self.trouble, &trouble) {
            (None, None) => return,
            (None, Some(trouble)) => tracing::warn!(
                error = &**trouble,
                "the database is away: lists and calls go on, writes are refused"
            ),
            (Some(_), None) => tracing::info!("the database is back"),
            (Some(former), Some(trouble)) if former == trouble => return,
            (Some(_), Some(_)) => {}
        }
        for shard in self.shards.iter() {
            let _ = shard.send(Message::Database(trouble.clone()));
        }
        self.trouble = trouble;
    }

    /// Gives every shard the catalog and waits until they have it. A shard that cannot take it
    /// gets it at the next look.
    async fn hand_out(&mut self) {
        let catalog = Arc::new(self.catalog.clone());
        let mut waits = Vec::with_capacity(self.shards.len());
        self.behind = false;
        for (index, shard) in self.shards.iter().enumerate() {
            let (sender, receiver) = oneshot::channel();
            match shard.send(Message::Catalog(catalog.clone(), sender)) {
                Ok(()) => waits.push((index, receiver)),
                Err(_) => {
                    self.behind = true;
                    tracing::warn!(shard = index, "its mailbox is full; it gets the next one");
                }
            }
        }
        for (index, receiver) in waits {
            if time::timeout(SHARD_WITHIN, receiver).await.is_err() {
                tracing::warn!(shard = index, "slow to take the new catalog");
            }
        }
    }
}
