//! The auditor: one task that gathers what every shard noted for the audit trail and stores it.
//!
//! No request waits for it but those that read the trail: they are answered after what was noted in
//! this process so far is stored. While the store is away the auditor keeps what it has and takes no
//! more, so that the shards' bounds are the bound of all; what they drop then is told in the trail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use shards::{
    mailbox::{self, oneshot},
    time::{self, Instant},
};
use storage::{
    Store, StoreError,
    audit::{AuditBatch, AuditEntry, AuditFilter, StoredEntry},
    record::{new_id, now},
};

use crate::{
    failure::Failure,
    limits,
    observe::audit::Noted,
    settings::Settings,
    state::{
        Mailboxes, Message,
        recorder::{Leftover, Leftovers},
    },
};

/// How long a shard may take to hand over what it noted; it does so next time otherwise.
const SHARD_WITHIN: Duration = Duration::from_secs(1);

/// How long storing a batch may take before the database counts as away.
const STORE_WITHIN: Duration = Duration::from_secs(5);

/// How long who reads the trail waits for the newest entries.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);

/// How often entries that are too old are pruned.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);

/// Microseconds of a day.
const DAY_US: i64 = 86_400 * 1_000_000;

/// The way to the auditor, usable from any shard.
#[derive(Clone)]
pub struct AuditorHandle {
    store: Store,
    errands: mailbox::Sender<Errand>,
    figures: Arc<Figures>,
}

/// What became of entries since the process started.
#[derive(Debug, Default)]
struct Figures {
    stored: AtomicU64,
    dropped: AtomicU64,
}

/// What the auditor is told.
enum Errand {
    /// Somebody waits until all that was noted is stored, or cannot be.
    Settle(oneshot::Sender<()>),
    /// A shard has little room left.
    Crowded,
    /// The process ends.
    End,
}

/// What an auditor is made of before it reaches its shard.
pub struct AuditorSeed {
    store: Store,
    shards: Mailboxes,
    errands: mailbox::Receiver<Errand>,
    figures: Arc<Figures>,
    interval: Duration,
    retention_us: Option<i64>,
    leftovers: Leftovers,
}

/// The auditor.
pub struct Auditor {
    store: Store,
    shards: Mailboxes,
    errands: mailbox::Receiver<Errand>,
    figures: Arc<Figures>,
    interval: Duration,
    retention_us: Option<i64>,
    /// What was gathered and is not in a batch yet.
    gathered: Vec<AuditEntry>,
    /// What is being stored, as it was first tried: the store tells a second try by its number.
    pending: Option<Arc<AuditBatch>>,
    writer: String,
    number: i64,
    prune_due: Instant,
    is_away: bool,
    leftovers: Leftovers,
}

impl AuditorHandle {
    /// Says that a shard has little room left for entries.
    pub fn crowded(&self) {
        // When the auditor has more than enough to do it gathers anyway.
        let _ = self.errands.send(Errand::Crowded);
    }

    /// Has the auditor leave what is not stored yet to the end of the process, and end.
    pub fn end(&self) {
        let _ = self.errands.send(Errand::End);
    }

    /// Reads the trail, with what was noted in this process so far.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn read(&self, filter: &AuditFilter) -> Result<Vec<StoredEntry>, Failure> {
        self.settle().await;
        Ok(self.store.read_audit(filter).await?)
    }

    /// How many entries were stored, and how many dropped, since the process started.
    pub fn figures(&self) -> (u64, u64) {
        (self.figures.stored.load(Relaxed), self.figures.dropped.load(Relaxed))
    }

    /// Waits until what was noted so far is stored; not for long, since an older trail is better
    /// than none.
    async fn settle(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.errands.send(Errand::Settle(sender)).is_ok() {
            let _ = time::timeout(SETTLE_WITHIN, receiver).await;
        }
    }
}

impl AuditorSeed {
    /// Makes the seed of an auditor, and the way to it.
    pub fn new(
        settings: &Settings,
        store: Store,
        shards: Mailboxes,
        leftovers: Leftovers,
    ) -> (AuditorSeed, AuditorHandle) {
        let (sender, errands) = mailbox::channel(limits::AUDITOR_COUNT_MAX);
        let figures = Arc::<Figures>::default();
        let handle =
            AuditorHandle { store: store.clone(), errands: sender, figures: figures.clone() };
        let days = i64::try_from(settings.audit.retention_days).unwrap_or(i64::MAX);
        let seed = AuditorSeed {
            store,
            shards,
            errands,
            figures,
            interval: settings.audit.flush_interval,
            retention_us: (days > 0).then(|| days.saturating_mul(DAY_US)),
            leftovers,
        };
        (seed, handle)
    }

    /// Makes the auditor on the shard that it runs on.
    pub fn grow(self) -> Auditor {
        Auditor {
            store: self.store,
            shards: self.shards,
            errands: self.errands,
            figures: self.figures,
            interval: self.interval,
            retention_us: self.retention_us,
            gathered: Vec::new(),
            pending: None,
            writer: new_id(),
            number: 0,
            prune_due: Instant::now(),
            is_away: false,
            leftovers: self.leftovers,
        }
    }
}

impl Auditor {
    /// Stores until it is told to end, and leaves what is not stored then to the end of the
    /// process.
    pub async fn run(mut self) {
        let mut due = Instant::now() + self.interval;
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            match time::timeout(wait, self.errands.next()).await {
                Ok(None) => break,
                Ok(Some(first)) => {
                    if !self.serve(first).await {
                        break;
                    }
                }
                Err(time::Elapsed) => {
                    self.store_all().await;
                    self.prune().await;
                    due = Instant::now() + self.interval;
                }
            }
        }
        // What shards noted since they were last asked they leave themselves when they end.
        let pending = self.pending.take().map(Arc::unwrap_or_clone);
        for batch in pending.into_iter().chain(self.next_batch(usize::MAX)) {
            // Nobody takes them if the process does not end in order.
            let _ = self.leftovers.send(Leftover::Audit(batch));
        }
    }

    /// Does what it was told by now; who only waits shares one storing. Returns false if it was
    /// told to end.
    async fn serve(&mut self, first: Errand) -> bool {
        let mut waiting = Vec::new();
        let mut next = Some(first);
        while let Some(errand) = next {
            match errand {
                Errand::Settle(asker) => waiting.push(asker),
                Errand::Crowded => {}
                Errand::End => return false,
            }
            next = self.errands.try_next();
        }
        self.store_all().await;
        for asker in waiting {
            let _ = asker.send(());
        }
        true
    }

    /// Stores what it has, then what the shards noted; what cannot be stored now is kept, and the
    /// shards keep theirs.
    async fn store_all(&mut self) {
        if self.store_gathered().await {
            self.gather().await;
            self.store_gathered().await;
        }
    }

    /// Stores what was gathered; returns whether nothing is left.
    async fn store_gathered(&mut self) -> bool {
        loop {
            if self.pending.is_none() {
                self.pending = self.next_batch(limits::AUDIT_BATCH_COUNT_MAX).map(Arc::new);
            }
            let Some(batch) = self.pending.clone() else { return true };
            let stored = within(self.store.append_audit(batch.clone())).await;
            if !self.note(stored) {
                return false;
            }
            self.figures.stored.fetch_add(batch.entries.len() as u64, Relaxed);
            self.pending = None;
        }
    }

    /// Takes what every shard noted. A shard that does not answer in time keeps it.
    async fn gather(&mut self) {
        let asked: Vec<oneshot::Receiver<Noted>> = self
            .shards
            .iter()
            .filter_map(|shard| {
                let (sender, receiver) = oneshot::channel();
                shard.send(Message::Audit(sender)).ok().map(|()| receiver)
            })
            .collect();
        let mut dropped_count = 0;
        for receiver in asked {
            if let Ok(Ok(noted)) = time::timeout(SHARD_WITHIN, receiver).await {
                dropped_count += noted.dropped_count;
                self.gathered.extend(noted.entries);
            }
        }
        if dropped_count > 0 {
            self.figures.dropped.fetch_add(dropped_count, Relaxed);
            tracing::warn!(
                entries = dropped_count,
                "dropped entries of the audit trail: more than AUDIT_BUFFER_MAX_SIZE waited"
            );
            self.gathered.push(gap(dropped_count));
        }
    }

    /// The next batch to store, of at most `count_max` entries; `None` if there is nothing.
    fn next_batch(&mut self, count_max: usize) -> Option<AuditBatch> {
        if self.gathered.is_empty() {
            return None;
        }
        let count = self.gathered.len().min(count_max);
        let entries = self.gathered.drain(..count).collect();
        self.number += 1;
        Some(AuditBatch { writer: self.writer.clone(), number: self.number, entries })
    }

    /// Prunes what is too old: not too much at once, since others wait.
    async fn prune(&mut self) {
        let Some(retention_us) = self.retention_us else { return };
        if Instant::now() < self.prune_due {
            return;
        }
        let before = now().saturating_sub(retention_us);
        for _ in 0..limits::AUDIT_PRUNE_STEP_COUNT_MAX {
            let count_max = limits::AUDIT_PRUNE_COUNT_MAX;
            match within(self.store.prune_audit(before, count_max)).await {
                Ok(count) if count == count_max => {}
                Ok(_) => {
                    self.prune_due = Instant::now() + PRUNE_INTERVAL;
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "old entries of the audit trail stay for a while");
                    return;
                }
            }
        }
    }

    /// Says once that the trail cannot be stored, and once that it can; returns whether it was.
    fn note(&mut self, stored: Result<(), StoreError>) -> bool {
        match (&stored, self.is_away) {
            (Ok(()), true) => tracing::info!("the audit trail is stored again"),
            (Ok(()), false) => {}
            (Err(error), true) => tracing::debug!(%error, "the audit trail is still not stored"),
            (Err(error), false) => {
                tracing::warn!(%error, "the audit trail is not stored; it is kept and tried again");
            }
        }
        self.is_away = stored.is_err();
        stored.is_ok()
    }
}

/// What part of the process noted last, as a batch of its own, if it noted anything.
pub fn last_batch(mut noted: Noted) -> Option<AuditBatch> {
    if noted.dropped_count > 0 {
        noted.entries.push(gap(noted.dropped_count));
    }
    let entries = noted.entries;
    (!entries.is_empty()).then(|| AuditBatch { writer: new_id(), number: 1, entries })
}

/// Waits for the store, but not for ever.
async fn within<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    time::timeout(STORE_WITHIN, work).await.unwrap_or_else(|_| {
        Err(StoreError::Away { reason: format!("no answer within {STORE_WITHIN:?}") })
    })
}

/// An entry that tells of entries that there are not.
fn gap(dropped_count: u64) -> AuditEntry {
    let reason = format!("{dropped_count} entries before this one were dropped for want of room");
    AuditEntry {
        succeeded: false,
        status: 503,
        reason: Some(reason),
        ..AuditEntry::new(now(), "ringway", "gateway", "audit.dropped")
    }
}
