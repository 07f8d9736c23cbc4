//! The store: one handle, whatever database stands behind it.

use std::time::Duration;

use crate::change::{Applied, Feed, Mutation, Snapshot};
use crate::error::StoreError;
use crate::location::Location;
use crate::migrate::MigrationReport;
use crate::sqlite;

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

/// How to open a store.
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
        }
    }
}

/// A handle on the durable store; clones share it, and any thread may hold one.
///
/// Requests are answered one after the other in the order they came. Dropping the future of a
/// request does not undo it. When the last handle goes the database is closed, after what still
/// waits; [`Store::close`] does so at once and says when it is done.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
}

/// The databases that a store can stand on.
#[derive(Clone)]
enum Backend {
    Sqlite(sqlite::Sqlite),
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
        let (sqlite, report) = sqlite::Sqlite::open(options)?;
        Ok((Store { backend: Backend::Sqlite(sqlite) }, report))
    }

    /// Reads everything, at one point of the change feed.
    ///
    /// # Errors
    ///
    /// As every request: [`StoreError::Busy`] and [`StoreError::Locked`] (answer 503),
    /// [`StoreError::Closed`], [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn load(&self) -> Result<Snapshot, StoreError> {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.load().await,
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
        }
    }

    /// Closes the database after what still waits, and answers when its files are whole.
    ///
    /// From now on every request of every handle answers [`StoreError::Closed`]; closing again
    /// is no error.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.backend {
            Backend::Sqlite(sqlite) => write!(out, "Store({sqlite:?})"),
        }
    }
}

/// Makes the database where it is not there, and runs the migrations that are missing.
///
/// # Errors
///
/// As [`Store::open`].
pub fn migrate(options: &StoreOptions) -> Result<MigrationReport, StoreError> {
    sqlite::migrate(options)
}

/// Names the migrations that the database still needs, in order. Makes and changes nothing.
///
/// # Errors
///
/// As [`Store::open`].
pub fn pending(options: &StoreOptions) -> Result<Vec<&'static str>, StoreError> {
    sqlite::pending(options)
}
