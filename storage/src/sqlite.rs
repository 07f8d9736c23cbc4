//! The store on SQLite: a thread that owns the connection, and the queue before it.
//!
//! SQLite blocks, so no shard ever calls it. One thread is enough: SQLite has one writer at a time
//! anyway, and reads happen at start and on change only.

mod audit;
mod connect;
mod lease;
mod metrics;
mod read;
mod usage;
mod write;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_channel::oneshot;
use rusqlite::Connection;

use crate::audit::{AuditBatch, StoredEntry};
use crate::change::{Applied, Feed, Mutation, Snapshot};
use crate::error::StoreError;
use crate::location::Location;
use crate::metrics::sql::Step;
use crate::metrics::{MetricBatch, Metrics};
use crate::migrate::MigrationReport;
use crate::record::Entity;
use crate::store::StoreOptions;
use crate::usage::Usage;

pub(crate) use connect::{migrate, pending};

/// A handle on the thread.
#[derive(Clone)]
pub(crate) struct Sqlite {
    location: Location,
    queue_count_max: usize,
    change_count_max: i64,
    door: Arc<Mutex<Door>>,
}

/// A request: what to do with the connection. It answers by itself.
type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The way in, while it is open, and who waits for the end.
struct Door {
    queue: Option<SyncSender<Job>>,
    ended: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Sqlite {
    /// Opens and migrates the database on this thread, then hands it to a thread of its own.
    pub fn open(options: &StoreOptions) -> Result<(Sqlite, MigrationReport), StoreError> {
        let (connection, report) = connect::open(options)?;
        let queue_count_max = options.queue_count_max.max(1);
        let (queue, jobs) = sync_channel(queue_count_max);
        let door = Door { queue: Some(queue), ended: false, waiting: Vec::new() };
        let sqlite = Sqlite {
            location: options.location.clone(),
            queue_count_max,
            change_count_max: options.change_count_max.max(1),
            door: Arc::new(Mutex::new(door)),
        };
        // The thread holds the door only weakly: when the last handle goes, so does the queue.
        let door = Arc::downgrade(&sqlite.door);
        let thread = std::thread::Builder::new().name("sqlite".to_owned());
        let spawned = thread.spawn(move || {
            work(connection, jobs);
            if let Some(door) = door.upgrade() {
                enter(&door).end();
            }
        });
        match spawned {
            Ok(_) => Ok((sqlite, report)),
            Err(error) => Err(StoreError::Open {
                location: options.location.to_string(),
                reason: format!("no thread for it: {error}"),
            }),
        }
    }

    pub async fn load(&self) -> Result<Snapshot, StoreError> {
        self.ask(read::load).await
    }

    pub async fn apply(&self, mutations: Vec<Mutation>) -> Result<Applied, StoreError> {
        let change_count_max = self.change_count_max;
        self.ask(move |connection| write::apply(connection, mutations, change_count_max)).await
    }

    pub async fn changes_since(&self, sequence: i64, limit: usize) -> Result<Feed, StoreError> {
        self.ask(move |connection| read::changes_since(connection, sequence, limit)).await
    }

    pub async fn get_meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let key = key.to_owned();
        self.ask(move |connection| read::meta(connection, &key)).await
    }

    pub async fn put_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.ask(move |connection| write::put_meta(connection, &key, &value)).await
    }

    pub async fn hold_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<i64>, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.ask(move |connection| lease::hold(connection, &name, &holder, ttl)).await
    }

    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.ask(move |connection| lease::release(connection, &name, &holder)).await
    }

    pub async fn add_metrics(&self, batch: Arc<MetricBatch>) -> Result<(), StoreError> {
        self.ask(move |connection| metrics::add(connection, &batch)).await
    }

    pub async fn read_metrics(
        &self,
        entity: Entity,
        ids: Vec<String>,
    ) -> Result<HashMap<String, Metrics>, StoreError> {
        self.ask(move |connection| metrics::read(connection, entity, &ids)).await
    }

    pub async fn total_metrics(&self) -> Result<HashMap<Entity, Metrics>, StoreError> {
        self.ask(metrics::totals).await
    }

    pub async fn read_usage(
        &self,
        token_id: String,
        since: i64,
    ) -> Result<HashMap<String, Usage>, StoreError> {
        self.ask(move |connection| usage::read(connection, &token_id, since)).await
    }

    pub async fn last_uses(
        &self,
        token_ids: Vec<String>,
    ) -> Result<HashMap<String, i64>, StoreError> {
        self.ask(move |connection| usage::last(connection, &token_ids)).await
    }

    pub async fn run_metrics(&self, steps: Vec<Step>) -> Result<(), StoreError> {
        self.ask(move |connection| metrics::run(connection, &steps)).await
    }

    pub async fn append_audit(&self, batch: Arc<AuditBatch>) -> Result<(), StoreError> {
        self.ask(move |connection| audit::append(connection, &batch)).await
    }

    pub async fn read_audit(&self, query: Step) -> Result<Vec<StoredEntry>, StoreError> {
        self.ask(move |connection| audit::read(connection, &query)).await
    }

    pub async fn prune_audit(&self, steps: [Step; 2]) -> Result<usize, StoreError> {
        self.ask(move |connection| audit::prune(connection, &steps)).await
    }

    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask(read::ping).await
    }

    pub async fn close(&self) {
        let end = {
            let mut door = enter(&self.door);
            // Without its sender the queue ends after what is in it.
            door.queue = None;
            if door.ended {
                return;
            }
            let (waiting, end) = oneshot::channel();
            door.waiting.push(waiting);
            end
        };
        // An error means that the thread is gone, which is an end too.
        let _ = end.await;
    }

    /// Puts a request into the queue and waits for its answer.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(move |connection| {
            // An error means that the caller went away; what was asked is done all the same.
            let _ = reply.send(work(connection));
        }))?;
        answer.await.unwrap_or(Err(StoreError::Interrupted))
    }

    fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        let door = enter(&self.door);
        let queue = door.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy { queue_count_max: self.queue_count_max },
            TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SQLite, {}", self.location)
    }
}

impl Door {
    /// Says to all who wait that the database is closed.
    fn end(&mut self) {
        self.queue = None;
        self.ended = true;
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(());
        }
    }
}

/// A panic leaves the door as it was: nothing that can panic runs while it is held.
fn enter(door: &Mutex<Door>) -> MutexGuard<'_, Door> {
    door.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Does one request after the other, until no handle is left or the store is closed.
fn work(mut connection: Connection, jobs: Receiver<Job>) {
    for job in jobs {
        // A panic costs this request: its transaction rolls back as it is dropped, and its caller
        // sees the answer's channel close.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&mut connection)));
    }
    // Planning figures for the next start; then closing folds the log into the file. Neither can
    // lose anything that was committed, so a failure is of no consequence.
    let _ = connection.execute_batch("PRAGMA optimize");
    let _ = connection.close();
}

/// The error of a failed statement.
fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            StoreError::Locked { doing }
        }
        _ => StoreError::Database { doing, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn a_panic_costs_its_own_request_and_undoes_what_it_wrote() {
        let options = StoreOptions::new(Location::SqliteMemory);
        let (sqlite, _) = Sqlite::open(&options).unwrap();
        let broken = sqlite.ask(|connection| -> Result<(), StoreError> {
            let transaction = connection.transaction().unwrap();
            transaction.execute("INSERT INTO meta VALUES ('a', 'b')", []).unwrap();
            panic!("a bug");
        });
        assert_eq!(wait(broken), Err(StoreError::Interrupted));
        assert_eq!(wait(sqlite.get_meta("a")), Ok(None));
        assert_eq!(wait(sqlite.put_meta("a", "c")), Ok(()));
    }

    #[test]
    fn a_full_disk_is_told_and_the_store_goes_on_when_there_is_room() {
        let options = StoreOptions::new(Location::SqliteMemory);
        let (sqlite, _) = Sqlite::open(&options).unwrap();
        let limit = |count: i64| {
            wait(sqlite.ask(move |connection| {
                connection.pragma_update(None, "max_page_count", count).map_err(failed("limiting"))
            }))
        };
        // SQLite takes the size that it has as the least.
        limit(1).unwrap();
        let large = "x".repeat(100_000);
        let error = wait(sqlite.put_meta("a", &large)).unwrap_err();
        assert!(error.to_string().contains("full"), "{error}");
        assert_eq!(wait(sqlite.get_meta("a")), Ok(None));
        limit(1_000_000).unwrap();
        assert_eq!(wait(sqlite.put_meta("a", &large)), Ok(()));
    }
}
