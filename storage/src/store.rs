//! The store: one handle, whatever database stands behind it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::sql as audit_sql;
use crate::audit::{AuditBatch, AuditFilter, StoredEntry};
use crate::change::{Applied, Feed, Mutation, Snapshot};
use crate::error::StoreError;
use crate::location::Location;
use crate::metrics::sql::{self, Step};
use crate::metrics::{MEASURED, MetricBatch, Metrics};
use crate::migrate::MigrationReport;
use crate::postgres::{self, Notices};
use crate::record::{Entity, now};
use crate::sqlite;
use crate::usage::Usage;

/// How many requests may wait for the database before the next is refused.
///
/// The registry is written by people and by discovery, at most a few requests at a time for each
/// upstream; 256 waiting means that the database stands still.
pub const QUEUE_COUNT_MAX: usize = 256;

/// How many rows the change feed keeps.
///
/// Five times a full refresh of the largest registry that is promised (20,000 tools), at some
/// 100 bytes a row: 10 MB.
pub const CHANGE_COUNT_MAX: i64 = 100_000;

/// How long a request waits while another process writes.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// How many connections a process keeps to PostgreSQL. Reads happen at start and on change, and
/// writers wait for each other anyway: more would only wait at the server instead of here.
pub const POOL_SIZE: usize = 10;

/// How long a request waits for a connection.
pub const POOL_TIMEOUT: Duration = Duration::from_secs(30);

/// How old a connection may grow, so that a load balancer's or a server's new place is found.
pub const POOL_RECYCLE: Duration = Duration::from_secs(3600);

/// How long a statement may take. A full registry is read in less than a second.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long opening a connection may take, the login included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How to open a store. All from `pool_size` on is for PostgreSQL only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Where the database is.
    pub location: Location,
    /// Run the migrations that are missing; otherwise refuse to start while any is.
    pub migrate_on_start: bool,
    /// How many requests may wait; at least 1.
    pub queue_count_max: usize,
    /// How many rows the change feed keeps; at least 1.
    pub change_count_max: i64,
    /// How long a request waits while another process writes.
    pub lock_wait_max: Duration,
    /// How many connections the process keeps, divided over the shards; each has at least one.
    /// Notices have one more, and so have requests from outside the shards.
    pub pool_size: usize,
    /// How many more the process may open for a while, divided over the shards.
    pub pool_overflow: usize,
    /// How many shards share the pool; at least 1.
    pub shard_count: usize,
    /// How long a request waits for a connection.
    pub pool_timeout: Duration,
    /// How old a connection may grow.
    pub pool_recycle: Duration,
    /// How long a statement may take; the address may name another.
    pub statement_timeout: Duration,
    /// How long opening a connection may take; the address may name another.
    pub connect_timeout: Duration,
    /// How often the start tries again while the database is away.
    pub retry_count_max: u32,
    /// How long the start waits between two tries; at least a second.
    pub retry_interval: Duration,
}

impl StoreOptions {
    /// The usual options: migrating at start, with the bounds of this module.
    pub fn new(location: Location) -> StoreOptions {
        StoreOptions {
            location,
            migrate_on_start: true,
            queue_count_max: QUEUE_COUNT_MAX,
            change_count_max: CHANGE_COUNT_MAX,
            lock_wait_max: LOCK_WAIT_MAX,
            pool_size: POOL_SIZE,
            pool_overflow: 0,
            shard_count: 1,
            pool_timeout: POOL_TIMEOUT,
            pool_recycle: POOL_RECYCLE,
            statement_timeout: STATEMENT_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            retry_count_max: 0,
            retry_interval: Duration::from_secs(2),
        }
    }
}

/// How the connections to the database are used. All zero on SQLite, which has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolFigures {
    /// Connections that are open now.
    pub open_count: usize,
    /// Connections that a request uses now.
    pub in_use_count: usize,
    /// Requests that wait for a connection now.
    pub waiting_count: usize,
    /// Connections that were opened so far.
    pub opened_total: u64,
    /// Connections that could not be opened so far.
    pub failed_total: u64,
    /// Statements that were run so far.
    pub query_total: u64,
    /// Statements that failed so far, those that were refused for good reason included.
    pub error_total: u64,
    /// How long statements took so far, from the first byte sent to the last read; those sent
    /// together count once.
    pub query_time_total: Duration,
}

/// A handle on the durable store; clones share it, and any thread may hold one.
///
/// SQLite answers requests one after the other in the order they came; on PostgreSQL each shard
/// has connections of its own, and a request runs on the shard that asks (from a thread that is no
/// shard, on one of the store's). Dropping the future of a request does not undo it. When the last handle goes the database is closed, after what still
/// waits; [`Store::close`] does so at once and says when it is done.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
}

/// The databases that a store can stand on.
#[derive(Clone)]
enum Backend {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

impl Store {
    /// Opens the database, making and migrating it where needed. Blocks: call it at start.
    ///
    /// Where several processes start on one database, one migrates and the others wait.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`] if it cannot be opened, [`StoreError::DatabaseForeign`] and
    /// [`StoreError::DatabaseNewer`] if it is not for this program, and
    /// [`StoreError::MigrationsPending`] if it needs migrations that may not run now.
    pub fn open(options: &StoreOptions) -> Result<(Store, MigrationReport), StoreError> {
        let (backend, report) = match &options.location {
            Location::Postgres(url) => {
                let (postgres, report) = postgres::Postgres::open(options, url)?;
                (Backend::Postgres(postgres), report)
            }
            Location::SqliteFile(_) | Location::SqliteMemory => {
                let (sqlite, report) = sqlite::Sqlite::open(options)?;
                (Backend::Sqlite(sqlite), report)
            }
        };
        Ok((Store { backend }, report))
    }

    /// Reads everything, at one point of the change feed.
    ///
    /// # Errors
    ///
    /// As every request: [`StoreError::Busy`], [`StoreError::Locked`], [`StoreError::Exhausted`],
    /// [`StoreError::Away`] and [`StoreError::TimedOut`] (answer 503, nothing was written),
    /// [`StoreError::Closed`], [`StoreError::Database`], [`StoreError::Corrupt`]. A write may also
    /// end with [`StoreError::Uncertain`] or [`StoreError::Interrupted`]: it may have happened.
    pub async fn load(&self) -> Result<Snapshot, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.load().await,
            Backend::Postgres(postgres) => postgres.load().await,
        }
    }

    /// Does all of the mutations, in order, or none; answers when they are committed.
    ///
    /// Each record that is written or deleted, those that follow from a deletion included, gets a
    /// row in the change feed in the same transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] (answer 409), [`StoreError::NotFound`] (404) and
    /// [`StoreError::VersionMismatch`] (412) name the record at fault; [`StoreError::Fenced`] if
    /// it leaned on a lease that is held no longer; else as [`Store::load`].
    pub async fn apply(&self, mutations: Vec<Mutation>) -> Result<Applied, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.apply(mutations).await,
            Backend::Postgres(postgres) => postgres.apply(mutations).await,
        }
    }

    /// Tells what changed after `sequence`, from at most `limit` rows of the change feed.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn changes_since(&self, sequence: i64, limit: usize) -> Result<Feed, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.changes_since(sequence, limit).await,
            Backend::Postgres(postgres) => postgres.changes_since(sequence, limit).await,
        }
    }

    /// Reads a small durable value.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn get_meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.get_meta(key).await,
            Backend::Postgres(postgres) => postgres.get_meta(key).await,
        }
    }

    /// Writes a small durable value. It is no record: the change feed does not tell of it.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn put_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.put_meta(key, value).await,
            Backend::Postgres(postgres) => postgres.put_meta(key, value).await,
        }
    }

    /// Takes the lease `name` for `holder`, or renews it, for `ttl` from now.
    ///
    /// Answers with the fencing token while `holder` has the lease, and with `None` while another
    /// has it. The token grows by one at each change of holder, so that a write that names it
    /// ([`Mutation::Fence`]) cannot happen once another has taken over. A lease that has expired
    /// or was released is free for whoever asks first.
    ///
    /// What counts is the clock of the database; on SQLite it is this machine's.
    ///
    /// # Errors
    ///
    /// As [`Store::load`]. After an error the lease may or may not have been taken: ask again.
    pub async fn hold_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<i64>, StoreError> {
        assert!(!holder.is_empty(), "an empty holder stands for a lease that was released");
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.hold_lease(name, holder, ttl).await,
            Backend::Postgres(postgres) => postgres.hold_lease(name, holder, ttl).await,
        }
    }

    /// Gives the lease `name` back, so that another need not wait until it expires.
    ///
    /// If another holds it, nothing happens and it is no error.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.release_lease(name, holder).await,
            Backend::Postgres(postgres) => postgres.release_lease(name, holder).await,
        }
    }

    /// Adds what was counted, unless this batch was added before; so it may be tried again after
    /// any error, [`StoreError::Uncertain`] included.
    ///
    /// What was counted before a reset is left out. The change feed does not tell of metrics, and
    /// adding them waits for no writer of records but, on SQLite, one that writes now.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn add_metrics(&self, batch: Arc<MetricBatch>) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.add_metrics(batch).await,
            Backend::Postgres(postgres) => postgres.add_metrics(batch).await,
        }
    }

    /// Reads what was counted of some records of a kind, by id; one that was never used has none.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn read_metrics(
        &self,
        entity: Entity,
        ids: Vec<String>,
    ) -> Result<HashMap<String, Metrics>, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.read_metrics(entity, ids).await,
            Backend::Postgres(postgres) => postgres.read_metrics(entity, ids).await,
        }
    }

    /// Reads what was counted of each kind together, without records that are gone; a kind that
    /// was never used has none.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn total_metrics(&self) -> Result<HashMap<Entity, Metrics>, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.total_metrics().await,
            Backend::Postgres(postgres) => postgres.total_metrics().await,
        }
    }

    /// Sets metrics to nothing: of one record, of a kind, or all. What other processes counted
    /// until now and did not hand over yet goes too, by the clocks of the machines.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn reset_metrics(
        &self,
        entity: Option<Entity>,
        id: Option<&str>,
    ) -> Result<(), StoreError> {
        assert!(entity.is_some() || id.is_none(), "an id alone does not say what it names");
        let kinds = entity.map_or(MEASURED.to_vec(), |entity| vec![entity]);
        let at = now();
        self.run_metrics(kinds.into_iter().flat_map(|kind| sql::reset(kind, id, at)).collect())
            .await
    }

    /// Deletes the metrics of records that are gone.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn sweep_metrics(&self) -> Result<(), StoreError> {
        self.run_metrics(sql::sweep(now())).await
    }

    /// Reads how a token was used since `since`, in days since the epoch, by part of the API.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn read_usage(
        &self,
        token_id: String,
        since: i64,
    ) -> Result<HashMap<String, Usage>, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.read_usage(token_id, since).await,
            Backend::Postgres(postgres) => postgres.read_usage(token_id, since).await,
        }
    }

    /// Reads when some tokens were last used, in microseconds since the epoch; those that never
    /// were are left out.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn last_uses(
        &self,
        token_ids: Vec<String>,
    ) -> Result<HashMap<String, i64>, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.last_uses(token_ids).await,
            Backend::Postgres(postgres) => postgres.last_uses(token_ids).await,
        }
    }

    async fn run_metrics(&self, steps: Vec<Step>) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.run_metrics(steps).await,
            Backend::Postgres(postgres) => postgres.run_metrics(steps).await,
        }
    }

    /// Appends to the audit trail, unless this batch was appended before; so it may be tried again
    /// after any error, [`StoreError::Uncertain`] included.
    ///
    /// The change feed does not tell of the trail.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn append_audit(&self, batch: Arc<AuditBatch>) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.append_audit(batch).await,
            Backend::Postgres(postgres) => postgres.append_audit(batch).await,
        }
    }

    /// Reads the newest entries of the audit trail that `filter` lets through, newest first.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn read_audit(&self, filter: &AuditFilter) -> Result<Vec<StoredEntry>, StoreError> {
        let query = audit_sql::read(filter);
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.read_audit(query).await,
            Backend::Postgres(postgres) => postgres.read_audit(query).await,
        }
    }

    /// Deletes the oldest entries of the audit trail that ended before `at`, at most `count_max` of
    /// them, and tells how many: if as many, there may be more.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn prune_audit(&self, at: i64, count_max: usize) -> Result<usize, StoreError> {
        let steps = audit_sql::prune(at, count_max, now());
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.prune_audit(steps).await,
            Backend::Postgres(postgres) => postgres.prune_audit(steps).await,
        }
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.ping().await,
            Backend::Postgres(postgres) => postgres.ping().await,
        }
    }

    /// Tells when another process may have changed something (see [`Notices`]); on PostgreSQL over
    /// a connection of its own, which the calling shard drives.
    pub fn notices(&self) -> Notices {
        match &self.backend {
            Backend::Sqlite(_) => Notices::none(),
            Backend::Postgres(postgres) => postgres.notices(),
        }
    }

    /// How the connections to the database are used.
    pub fn figures(&self) -> PoolFigures {
        match &self.backend {
            Backend::Sqlite(_) => PoolFigures::default(),
            Backend::Postgres(postgres) => postgres.figures(),
        }
    }

    /// Closes the database after what still waits, and answers when its files are whole.
    ///
    /// From now on every request of every handle answers [`StoreError::Closed`]; closing again
    /// is no error.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Postgres(postgres) => postgres.close().await,
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.backend {
            Backend::Sqlite(sqlite) => write!(out, "Store({sqlite:?})"),
            Backend::Postgres(postgres) => write!(out, "Store({postgres:?})"),
        }
    }
}

/// Makes the database where it is not there, and runs the migrations that are missing.
///
/// # Errors
///
/// As [`Store::open`].
pub fn migrate(options: &StoreOptions) -> Result<MigrationReport, StoreError> {
    match &options.location {
        Location::Postgres(url) => postgres::migrate(options, url),
        Location::SqliteFile(_) | Location::SqliteMemory => sqlite::migrate(options),
    }
}

/// Names the migrations that the database still needs, in order. Makes and changes nothing.
///
/// # Errors
///
/// As [`Store::open`].
pub fn pending(options: &StoreOptions) -> Result<Vec<&'static str>, StoreError> {
    match &options.location {
        Location::Postgres(url) => postgres::pending(options, url),
        Location::SqliteFile(_) | Location::SqliteMemory => sqlite::pending(options),
    }
}

/// Sees that the database answers, whatever tables it has. SQLite always does: its file is made
/// when it is opened. Tries again as [`Store::open`] does.
///
/// # Errors
///
/// [`StoreError::Open`] with what the system or the database said last.
pub fn is_ready(options: &StoreOptions) -> Result<(), StoreError> {
    match &options.location {
        Location::Postgres(url) => postgres::is_ready(options, url),
        Location::SqliteFile(_) | Location::SqliteMemory => Ok(()),
    }
}
