//! The store on PostgreSQL: each shard has connections of its own, and a request runs on the shard
//! that asks.
//!
//! A request is a task of its own, so that a caller who goes away leaves no connection in the
//! middle of a transaction. Nothing waits without a bound: the server's own come first, then a
//! timer of the shard, after which the connection is thrown away.

mod audit;
mod connect;
mod failure;
mod hub;
mod lease;
mod metrics;
mod migrate;
mod notices;
mod outpost;
mod param;
mod pool;
mod read;
mod session;
mod tls;
mod usage;
mod write;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use shards::{Driver, runtime, task, time};

use crate::audit::{AuditBatch, StoredEntry};
use crate::change::{Applied, Feed, Mutation, Snapshot};
use crate::error::StoreError;
use crate::location::PostgresUrl;
use crate::metrics::sql::Step;
use crate::metrics::{MetricBatch, Metrics};
use crate::migrate::MigrationReport;
use crate::record::Entity;
use crate::store::{PoolFigures, StoreOptions};
use crate::usage::Usage;
use connect::Link;
use hub::Hub;
use outpost::{Job, Outpost};
use session::Session;

pub use notices::Notices;

/// A handle on the database.
#[derive(Clone)]
pub(crate) struct Postgres(Arc<Handle>);

/// What the clones share; the store is closed when the last of them goes.
struct Handle {
    hub: Arc<Hub>,
    outpost: Outpost,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.hub.close();
    }
}

impl Postgres {
    /// Connects, and migrates or checks the tables, on a thread of its own that it waits for.
    pub fn open(
        options: &StoreOptions,
        url: &PostgresUrl,
    ) -> Result<(Postgres, MigrationReport), StoreError> {
        let may_run = options.migrate_on_start;
        let (hub, report) = at_once(options, url, async move |session, location| {
            migrate::check_or_run(session, location, may_run).await
        })?;
        let handle = Handle { hub, outpost: Outpost::default() };
        Ok((Postgres(Arc::new(handle)), report))
    }

    pub async fn load(&self) -> Result<Snapshot, StoreError> {
        self.ask(read::load).await
    }

    pub async fn apply(&self, mutations: Vec<Mutation>) -> Result<Applied, StoreError> {
        let change_count_max = self.0.hub.bounds.change_count_max;
        self.ask(async move |session: &Session| {
            write::apply(session, mutations, change_count_max).await
        })
        .await
    }

    pub async fn changes_since(&self, sequence: i64, limit: usize) -> Result<Feed, StoreError> {
        self.ask(async move |session: &Session| read::changes_since(session, sequence, limit).await)
            .await
    }

    pub async fn get_meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let key = key.to_owned();
        self.ask(async move |session: &Session| read::meta(session, &key).await).await
    }

    pub async fn put_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.ask(async move |session: &Session| write::put_meta(session, &key, &value).await).await
    }

    pub async fn hold_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<i64>, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.ask(async move |session: &Session| lease::hold(session, &name, &holder, ttl).await)
            .await
    }

    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.ask(async move |session: &Session| lease::release(session, &name, &holder).await).await
    }

    pub async fn add_metrics(&self, batch: Arc<MetricBatch>) -> Result<(), StoreError> {
        self.ask(async move |session: &Session| metrics::add(session, &batch).await).await
    }

    pub async fn read_metrics(
        &self,
        entity: Entity,
        ids: Vec<String>,
    ) -> Result<HashMap<String, Metrics>, StoreError> {
        self.ask(async move |session: &Session| metrics::read(session, entity, &ids).await).await
    }

    pub async fn total_metrics(&self) -> Result<HashMap<Entity, Metrics>, StoreError> {
        self.ask(metrics::totals).await
    }

    pub async fn read_usage(
        &self,
        token_id: String,
        since: i64,
    ) -> Result<HashMap<String, Usage>, StoreError> {
        self.ask(async move |session: &Session| usage::read(session, &token_id, since).await).await
    }

    pub async fn last_uses(
        &self,
        token_ids: Vec<String>,
    ) -> Result<HashMap<String, i64>, StoreError> {
        self.ask(async move |session: &Session| usage::last(session, &token_ids).await).await
    }

    pub async fn run_metrics(&self, steps: Vec<Step>) -> Result<(), StoreError> {
        self.ask(async move |session: &Session| metrics::run(session, &steps).await).await
    }

    pub async fn append_audit(&self, batch: Arc<AuditBatch>) -> Result<(), StoreError> {
        self.ask(async move |session: &Session| audit::append(session, &batch).await).await
    }

    pub async fn read_audit(&self, query: Step) -> Result<Vec<StoredEntry>, StoreError> {
        self.ask(async move |session: &Session| audit::read(session, &query).await).await
    }

    pub async fn prune_audit(&self, steps: [Step; 2]) -> Result<usize, StoreError> {
        self.ask(async move |session: &Session| audit::prune(session, &steps).await).await
    }

    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask(read::ping).await
    }

    pub async fn close(&self) {
        self.0.hub.close();
        self.0.hub.closed().await;
    }

    pub fn figures(&self) -> PoolFigures {
        self.0.hub.figures.read()
    }

    pub fn notices(&self) -> Notices {
        if self.0.hub.url.is_pooled() {
            return Notices::none();
        }
        let (hints, notices) = Notices::channel();
        let hub = self.0.hub.clone();
        let job: Job = Box::new(move || {
            task::spawn(notices::listen(hub, hints));
        });
        match self.0.outpost.run(&self.0.hub, job) {
            Ok(()) => notices,
            Err(_) => Notices::none(),
        }
    }

    /// Starts a request and waits for its answer.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ticket = self.0.hub.enter()?;
        let hub = self.0.hub.clone();
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            task::spawn(async move {
                let serving = pin!(pool::serve(&hub, work));
                // A shard that ends lets go of the connection, and so the server of what was held.
                let outcome = match select(serving, pin!(task::ending())).await {
                    Either::Left((outcome, _)) => outcome,
                    Either::Right(_) => Err(StoreError::Interrupted),
                };
                drop(ticket);
                // An error means that the caller went away; what was asked is done all the same.
                let _ = reply.send(outcome);
            });
        });
        self.0.outpost.run(&self.0.hub, job)?;
        answer.await.unwrap_or(Err(StoreError::Interrupted))
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "PostgreSQL, {}", self.0.hub.url)
    }
}

/// Runs the migrations that are missing.
pub(crate) fn migrate(
    options: &StoreOptions,
    url: &PostgresUrl,
) -> Result<MigrationReport, StoreError> {
    let run = async |session: &Session, location: &str| {
        migrate::check_or_run(session, location, true).await
    };
    at_once(options, url, run).map(|(_, report)| report)
}

/// Names the migrations that the database still needs; makes and changes nothing.
pub(crate) fn pending(
    options: &StoreOptions,
    url: &PostgresUrl,
) -> Result<Vec<&'static str>, StoreError> {
    at_once(options, url, migrate::pending).map(|(_, names)| names)
}

/// Connects once and sees that the server answers; no table is looked at.
pub(crate) fn is_ready(options: &StoreOptions, url: &PostgresUrl) -> Result<(), StoreError> {
    let ask = async |session: &Session, _: &str| session.batch("asking for life", "SELECT 1").await;
    at_once(options, url, ask).map(|_| ())
}

/// Does one thing on a connection of its own, on a thread that it waits for.
fn at_once<T: Send + 'static>(
    options: &StoreOptions,
    url: &PostgresUrl,
    work: impl AsyncFnOnce(&Session, &str) -> Result<T, StoreError> + Send + 'static,
) -> Result<(Arc<Hub>, T), StoreError> {
    let hub = Arc::new(Hub::new(options, url)?);
    let location = url.to_string();
    let (tries, interval) = (options.retry_count_max, options.retry_interval);
    let cannot = {
        let location = location.clone();
        move |reason: String| StoreError::Open { location: location.clone(), reason }
    };
    let (theirs, failed) = (hub.clone(), cannot.clone());
    let task = move || async move {
        let link = first_link(&theirs, tries, interval).await.map_err(failed)?;
        let outcome = work(&link.session, &location).await;
        // The hub outlives this thread and must not hold what belongs to it.
        drop(link);
        outcome
    };
    let thread = std::thread::Builder::new().name("postgres-start".to_owned());
    let spawned = thread.spawn(move || runtime::block_on(Driver::Epoll, task()));
    let thread = spawned.map_err(|error| cannot(format!("no thread for it: {error}")))?;
    match thread.join() {
        Ok(Ok(outcome)) => outcome.map(|value| (hub, value)),
        Ok(Err(error)) => Err(cannot(format!("no event loop for it: {error}"))),
        Err(_) => Err(StoreError::Interrupted),
    }
}

/// Opens a connection; asks again while the database is away, in case it starts too.
async fn first_link(
    hub: &Arc<Hub>,
    retry_count_max: u32,
    interval: Duration,
) -> Result<Link, String> {
    let mut retry_count = 0;
    loop {
        match connect::open(hub, None).await {
            Ok(link) => return Ok(link),
            Err(error) if error.is_lasting || retry_count >= retry_count_max => {
                return Err(error.reason);
            }
            Err(_) => {
                retry_count += 1;
                // Never less than the pause that is kept after a failure.
                time::sleep(interval.max(hub::PAUSE_MAX)).await;
            }
        }
    }
}
