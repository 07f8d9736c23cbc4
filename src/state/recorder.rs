//! The recorder: one task that gathers what every shard counted and hands it to the store.
//!
//! No request waits for it but those that ask for metrics or reset them: they are answered after
//! what was counted in this process so far is stored. While the store is away, counts are kept and
//! added up; how many entities that may be about is bounded, and what is lost beyond is said.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    time::Duration,
};

use shards::{
    mailbox::{self, oneshot},
    time::{self, Instant},
};
use storage::{
    Store, StoreError,
    audit::AuditBatch,
    metrics::{MetricBatch, Metrics},
    record::{Entity, new_id},
    usage::Usage,
};

use crate::{
    failure::Failure,
    limits,
    observe::meters::Taken,
    settings::Settings,
    state::{Mailboxes, Message},
};

mod ledger;

use ledger::Ledger;

/// How long a shard may take to hand over what it counted; it does so next time otherwise.
const SHARD_WITHIN: Duration = Duration::from_secs(1);

/// How long storing a batch may take before the database counts as away.
const STORE_WITHIN: Duration = Duration::from_secs(5);

/// How long who asks for metrics waits for the newest counts.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);

/// How often the metrics of what was deleted are swept out.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// The way to the recorder, usable from any shard.
#[derive(Clone)]
pub struct RecorderHandle {
    store: Store,
    errands: mailbox::Sender<Errand>,
}

/// What the recorder is told.
enum Errand {
    /// Somebody waits until all that was counted is stored, or cannot be.
    Settle(oneshot::Sender<()>),
    /// A shard has little room left.
    Crowded,
    /// The process ends.
    End,
    /// Set metrics to nothing.
    Reset(Option<Entity>, Option<String>, oneshot::Sender<Result<(), StoreError>>),
}

/// What a part of the process could not hand over before it ended.
pub enum Leftover {
    /// What it counted.
    Metrics(MetricBatch),
    /// What it noted for the audit trail.
    Audit(AuditBatch),
}

/// Where that goes.
pub type Leftovers = mpsc::Sender<Leftover>;

/// What a recorder is made of before it reaches its shard.
pub struct RecorderSeed {
    store: Store,
    shards: Mailboxes,
    errands: mailbox::Receiver<Errand>,
    interval: Duration,
    entity_count_max: usize,
    leftovers: Leftovers,
}

/// The recorder.
pub struct Recorder {
    store: Store,
    shards: Mailboxes,
    errands: mailbox::Receiver<Errand>,
    interval: Duration,
    ledger: Ledger,
    /// What is being stored, as it was first tried: the store tells a second try by its number.
    pending: Option<Arc<MetricBatch>>,
    writer: String,
    number: i64,
    sweep_due: Instant,
    is_away: bool,
    leftovers: Leftovers,
}

impl RecorderHandle {
    /// Says that a shard has little room left for counts.
    pub fn crowded(&self) {
        // When the recorder has more than enough to do it gathers anyway.
        let _ = self.errands.send(Errand::Crowded);
    }

    /// Has the recorder leave what is not stored yet to the end of the process, and end.
    pub fn end(&self) {
        let _ = self.errands.send(Errand::End);
    }

    /// What was counted of some records of a kind, by id; one that was never used has none.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn read(
        &self,
        entity: Entity,
        ids: Vec<String>,
    ) -> Result<HashMap<String, Metrics>, Failure> {
        self.settle().await;
        Ok(self.store.read_metrics(entity, ids).await?)
    }

    /// What was counted of each kind; one that was never used has none.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn totals(&self) -> Result<HashMap<Entity, Metrics>, Failure> {
        self.settle().await;
        Ok(self.store.total_metrics().await?)
    }

    /// How a token was used since `since`, in days since the epoch, by part of the API.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn usage(
        &self,
        token_id: String,
        since: i64,
    ) -> Result<HashMap<String, Usage>, Failure> {
        self.settle().await;
        Ok(self.store.read_usage(token_id, since).await?)
    }

    /// When some tokens were last used; those that never were are left out.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn last_uses(&self, token_ids: Vec<String>) -> Result<HashMap<String, i64>, Failure> {
        self.settle().await;
        Ok(self.store.last_uses(token_ids).await?)
    }

    /// Sets metrics to nothing: of one record, of a kind, or all; what was counted until now goes
    /// on every node.
    ///
    /// # Errors
    ///
    /// The store's; [`Failure::Busy`] when too many wait or the gateway stops.
    pub async fn reset(&self, entity: Option<Entity>, id: Option<String>) -> Result<(), Failure> {
        let (sender, receiver) = oneshot::channel();
        let refused = |_| Failure::Busy("Too many requests for metrics are waiting".to_owned());
        self.errands.send(Errand::Reset(entity, id, sender)).map_err(refused)?;
        let stopped = |_| Failure::Busy("The gateway is stopping".to_owned());
        Ok(receiver.await.map_err(stopped)??)
    }

    /// Waits until what was counted so far is stored; not for long, since older counts are better
    /// than none.
    async fn settle(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.errands.send(Errand::Settle(sender)).is_ok() {
            let _ = time::timeout(SETTLE_WITHIN, receiver).await;
        }
    }
}

impl RecorderSeed {
    /// Makes the seed of a recorder, and the way to it.
    pub fn new(
        settings: &Settings,
        store: Store,
        shards: Mailboxes,
        leftovers: Leftovers,
    ) -> (RecorderSeed, RecorderHandle) {
        let (sender, errands) = mailbox::channel(limits::RECORDER_COUNT_MAX);
        let handle = RecorderHandle { store: store.clone(), errands: sender };
        let (interval, entity_count_max) =
            (settings.metrics.flush_interval, settings.metrics.entity_count_max);
        let seed = RecorderSeed { store, shards, errands, interval, entity_count_max, leftovers };
        (seed, handle)
    }

    /// Makes the recorder on the shard that it runs on.
    pub fn grow(self) -> Recorder {
        Recorder {
            store: self.store,
            shards: self.shards,
            errands: self.errands,
            interval: self.interval,
            ledger: Ledger::new(self.entity_count_max),
            pending: None,
            writer: new_id(),
            number: 0,
            sweep_due: Instant::now() + self.interval,
            is_away: false,
            leftovers: self.leftovers,
        }
    }
}

impl Recorder {
    /// Records until it is told to end, and leaves what is not stored then to the end of the
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
                    self.record().await;
                    self.sweep().await;
                    due = Instant::now() + self.interval;
                }
            }
        }
        // What shards counted since they were last asked they leave themselves when they end.
        let pending = self.pending.take().map(Arc::unwrap_or_clone);
        for batch in pending.into_iter().chain(self.next_batch(usize::MAX)) {
            // Nobody takes them if the process does not end in order.
            let _ = self.leftovers.send(Leftover::Metrics(batch));
        }
    }

    /// Does what it was told by now, in order; who only wants to be up to date shares one storing.
    /// Returns false if it was told to end.
    async fn serve(&mut self, first: Errand) -> bool {
        let mut waiting = Vec::new();
        let mut next = Some(first);
        while let Some(errand) = next {
            match errand {
                Errand::Settle(asker) => waiting.push(asker),
                Errand::Crowded => {}
                Errand::Reset(entity, id, asker) => {
                    let outcome = self.reset(entity, id.as_deref()).await;
                    let _ = asker.send(outcome);
                }
                Errand::End => return false,
            }
            next = self.errands.try_next();
        }
        self.record().await;
        for asker in waiting {
            let _ = asker.send(());
        }
        true
    }

    /// Gathers what was counted and stores it; what cannot be stored now is kept.
    async fn record(&mut self) {
        self.gather().await;
        loop {
            if self.pending.is_none() {
                self.pending = self.next_batch(limits::METRIC_BATCH_COUNT_MAX).map(Arc::new);
            }
            let Some(batch) = &self.pending else { break };
            let added = time::timeout(STORE_WITHIN, self.store.add_metrics(batch.clone())).await;
            let added = added.unwrap_or_else(|_| {
                Err(StoreError::Away { reason: format!("no answer within {STORE_WITHIN:?}") })
            });
            if !self.note(added) {
                return;
            }
            self.pending = None;
        }
    }

    /// Takes what every shard counted. A shard that does not answer in time keeps it.
    async fn gather(&mut self) {
        let asked: Vec<oneshot::Receiver<Taken>> = self
            .shards
            .iter()
            .filter_map(|shard| {
                let (sender, receiver) = oneshot::channel();
                shard.send(Message::Meters(sender)).ok().map(|()| receiver)
            })
            .collect();
        let mut lost_count = 0;
        for receiver in asked {
            if let Ok(Ok(taken)) = time::timeout(SHARD_WITHIN, receiver).await {
                lost_count += taken.lost_count;
                for delta in taken.deltas {
                    lost_count += self.ledger.add(delta);
                }
                for delta in taken.usages {
                    lost_count += self.ledger.add_usage(delta);
                }
            }
        }
        if lost_count > 0 {
            tracing::warn!(
                executions = lost_count,
                "lost metrics of more than METRICS_BUFFER_MAX_SIZE entities that wait to be stored"
            );
        }
    }

    /// The next batch to store, of at most `count_max` entities; `None` if there is nothing.
    fn next_batch(&mut self, count_max: usize) -> Option<MetricBatch> {
        let (deltas, usages) = (self.ledger.take(count_max), self.ledger.take_usages(count_max));
        if deltas.is_empty() && usages.is_empty() {
            return None;
        }
        self.number += 1;
        Some(MetricBatch { writer: self.writer.clone(), number: self.number, deltas, usages })
    }

    /// What was counted before goes with what is stored: here at once, on other nodes when they
    /// next hand over theirs.
    async fn reset(&mut self, entity: Option<Entity>, id: Option<&str>) -> Result<(), StoreError> {
        self.store.reset_metrics(entity, id).await?;
        self.gather().await;
        self.ledger.forget(|delta| {
            entity.is_none_or(|entity| delta.entity == entity) && id.is_none_or(|id| delta.id == id)
        });
        Ok(())
    }

    async fn sweep(&mut self) {
        if Instant::now() < self.sweep_due {
            return;
        }
        self.sweep_due = Instant::now() + SWEEP_INTERVAL;
        if let Err(error) = self.store.sweep_metrics().await {
            tracing::debug!(%error, "the metrics of what was deleted stay for another while");
        }
    }

    /// Says once that metrics cannot be stored, and once that they can; returns whether they were.
    fn note(&mut self, added: Result<(), StoreError>) -> bool {
        match (added, self.is_away) {
            (Ok(()), true) => tracing::info!("metrics are stored again"),
            (Ok(()), false) => {}
            (Err(error), true) => {
                tracing::debug!(%error, "metrics are still not stored");
                return false;
            }
            (Err(error), false) => {
                tracing::warn!(%error, "metrics are not stored; they are kept and tried again");
                self.is_away = true;
                return false;
            }
        }
        self.is_away = false;
        true
    }
}

/// A batch of what one part of the process counted last, if it counted anything.
pub fn last_batch(taken: Taken) -> Option<MetricBatch> {
    let Taken { deltas, usages, .. } = taken;
    let is_empty = deltas.is_empty() && usages.is_empty();
    (!is_empty).then(|| MetricBatch { writer: new_id(), number: 1, deltas, usages })
}
