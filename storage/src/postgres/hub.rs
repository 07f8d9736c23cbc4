//! What all shards share of one database: its address and bounds, its figures, whether it is away,
//! and the end of the store. Nothing here is asked for more than once a request.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::failure::NoConnection;
use super::tls;
use crate::error::StoreError;
use crate::location::{Encryption, PostgresUrl};
use crate::store::{PoolFigures, StoreOptions};

/// The shortest pause between two attempts to connect to a database that is away; it doubles.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause: how late the return of the database may be noticed, and what its absence
/// costs, one attempt a second for the whole process.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What all shards share.
pub(super) struct Hub {
    /// Tells this store's pools from those of another on the same thread.
    pub id: u64,
    pub url: PostgresUrl,
    pub login: tokio_postgres::Config,
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub bounds: Bounds,
    pub figures: Figures,
    weather: Weather,
    life: Mutex<Life>,
}

/// How many and how long.
pub(super) struct Bounds {
    /// Connections that a shard keeps.
    pub kept_count: usize,
    /// Connections that a shard may have at once.
    pub connection_count_max: usize,
    /// Requests of a shard that may wait for a connection.
    pub waiting_count_max: usize,
    pub change_count_max: i64,
    pub pool_timeout: Duration,
    pub pool_recycle: Duration,
    pub connect_timeout: Duration,
    pub statement_timeout: Duration,
    pub lock_timeout: Duration,
}

impl Bounds {
    fn of(options: &StoreOptions, url: &PostgresUrl) -> Bounds {
        // A whole shard's connections are better than none: rounding down could leave a shard
        // without, rounding up would exceed what the server was set up for.
        let share = |count: usize| count / options.shard_count.max(1);
        let kept_count = share(options.pool_size).max(1);
        let least = Duration::from_millis(1);
        Bounds {
            kept_count,
            connection_count_max: kept_count + share(options.pool_overflow),
            waiting_count_max: options.queue_count_max.max(1),
            change_count_max: options.change_count_max.max(1),
            pool_timeout: options.pool_timeout,
            pool_recycle: options.pool_recycle,
            connect_timeout: url.connect_timeout.unwrap_or(options.connect_timeout).max(least),
            statement_timeout: url
                .statement_timeout
                .unwrap_or(options.statement_timeout)
                .max(least),
            lock_timeout: options.lock_wait_max.max(least),
        }
    }
}

impl Hub {
    /// # Errors
    ///
    /// [`StoreError::Open`] if the authorities that the address names cannot be read.
    pub fn new(options: &StoreOptions, url: &PostgresUrl) -> Result<Hub, StoreError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let tls = tls::config(url)
            .map_err(|reason| StoreError::Open { location: url.to_string(), reason })?;
        Ok(Hub {
            id: NEXT_ID.fetch_add(1, Relaxed),
            url: url.clone(),
            login: login(url),
            tls,
            bounds: Bounds::of(options, url),
            figures: Figures::default(),
            weather: Weather::new(),
            life: Mutex::default(),
        })
    }

    /// Asks for leave to open a connection: while the database is away, one attempt at a time has
    /// it, after a pause that grows.
    pub fn may_connect(&self) -> Result<(), NoConnection> {
        self.weather.may_connect(self.bounds.connect_timeout)
    }

    /// Notes how an attempt to connect ended.
    pub fn note(&self, refused: Option<&NoConnection>) {
        match refused {
            None => {
                self.figures.opened.fetch_add(1, Relaxed);
                self.figures.open.fetch_add(1, Relaxed);
                self.weather.clear();
            }
            Some(refused) => {
                self.figures.failed.fetch_add(1, Relaxed);
                self.weather.worsen(refused);
            }
        }
    }

    /// Counts a request in, unless the store is closed.
    pub fn enter(self: &Arc<Hub>) -> Result<Ticket, StoreError> {
        let mut life = self.life();
        if life.is_closed {
            return Err(StoreError::Closed);
        }
        life.running_count += 1;
        Ok(Ticket(self.clone()))
    }

    /// Whether requests are under way.
    pub fn is_busy(&self) -> bool {
        self.life().running_count > 0
    }

    /// Gives what ends, by an answer or by its channel's end, when the store is closed.
    pub fn closing(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut life = self.life();
        if !life.is_closed {
            life.doors.retain(|door| !door.is_canceled());
            life.doors.push(sender);
        }
        receiver
    }

    /// Refuses new requests and, when the last that runs is done, lets connections go.
    pub fn close(&self) {
        let mut life = self.life();
        life.is_closed = true;
        life.end_if_idle();
    }

    /// Waits for the requests that run when the store is closed.
    pub async fn closed(&self) {
        let (sender, receiver) = oneshot::channel();
        {
            let mut life = self.life();
            if life.running_count == 0 {
                return;
            }
            life.waiting.push(sender);
        }
        // An error means that nobody is left to wait for.
        let _ = receiver.await;
    }

    /// A panic leaves the state as it was: nothing that can panic runs while it is held.
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn login(url: &PostgresUrl) -> tokio_postgres::Config {
    use tokio_postgres::config::SslMode;
    let mut login = tokio_postgres::Config::new();
    login.user(&url.user).dbname(&url.database).application_name(&url.application_name);
    if let Some(password) = &url.password {
        login.password(password);
    }
    if let Some(options) = &url.options {
        login.options(options);
    }
    login.ssl_mode(match url.encryption {
        Encryption::Disable => SslMode::Disable,
        Encryption::Prefer => SslMode::Prefer,
        Encryption::Require | Encryption::VerifyCa | Encryption::VerifyFull => SslMode::Require,
    });
    login
}

/// A request that runs; dropping it counts it out.
pub(super) struct Ticket(Arc<Hub>);

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut life = self.0.life();
        life.running_count -= 1;
        life.end_if_idle();
    }
}

/// The end of the store, and who waits for it.
#[derive(Default)]
struct Life {
    is_closed: bool,
    running_count: usize,
    /// Who waits until no request runs.
    waiting: Vec<oneshot::Sender<()>>,
    /// Who holds connections.
    doors: Vec<oneshot::Sender<()>>,
}

impl Life {
    fn end_if_idle(&mut self) {
        if self.is_closed && self.running_count == 0 {
            for sender in self.waiting.drain(..).chain(self.doors.drain(..)) {
                let _ = sender.send(());
            }
        }
    }
}

/// Counts, as the metrics will show them.
#[derive(Default)]
pub(super) struct Figures {
    pub open: AtomicI64,
    pub in_use: AtomicI64,
    pub waiting: AtomicI64,
    pub opened: AtomicU64,
    pub failed: AtomicU64,
    pub queries: AtomicU64,
    pub errors: AtomicU64,
    pub query_us: AtomicU64,
}

impl Figures {
    pub fn read(&self) -> PoolFigures {
        let count = |gauge: &AtomicI64| usize::try_from(gauge.load(Relaxed)).unwrap_or(0);
        PoolFigures {
            open_count: count(&self.open),
            in_use_count: count(&self.in_use),
            waiting_count: count(&self.waiting),
            opened_total: self.opened.load(Relaxed),
            failed_total: self.failed.load(Relaxed),
            query_total: self.queries.load(Relaxed),
            error_total: self.errors.load(Relaxed),
            query_time_total: Duration::from_micros(self.query_us.load(Relaxed)),
        }
    }
}

/// A gauge that counts something for as long as it lives.
pub(super) struct Counted<'h>(&'h AtomicI64);

impl<'h> Counted<'h> {
    pub fn new(gauge: &'h AtomicI64) -> Counted<'h> {
        gauge.fetch_add(1, Relaxed);
        Counted(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Whether the database is away, and when to try again.
struct Weather {
    start: Instant,
    failure_count: AtomicU32,
    /// No attempt before this many microseconds after `start`.
    next_us: AtomicU64,
    reason: Mutex<String>,
}

impl Weather {
    fn new() -> Weather {
        Weather {
            start: Instant::now(),
            failure_count: AtomicU32::new(0),
            next_us: AtomicU64::new(0),
            reason: Mutex::default(),
        }
    }

    fn may_connect(&self, connect_timeout: Duration) -> Result<(), NoConnection> {
        if self.failure_count.load(Relaxed) == 0 {
            return Ok(());
        }
        let now_us = self.now_us();
        let next_us = self.next_us.load(Relaxed);
        // Who moves the time on has the attempt; the others fail at once until it ends.
        let reserved = now_us + micros(connect_timeout + PAUSE_MAX);
        let has_leave = now_us >= next_us
            && self.next_us.compare_exchange(next_us, reserved, Relaxed, Relaxed).is_ok();
        if has_leave {
            return Ok(());
        }
        let reason = self.reason.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        Err(NoConnection { reason, is_lasting: false })
    }

    fn clear(&self) {
        self.failure_count.store(0, Relaxed);
    }

    fn worsen(&self, refused: &NoConnection) {
        let mut reason = self.reason.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        reason.clone_from(&refused.reason);
        drop(reason);
        let count = self.failure_count.fetch_add(1, Relaxed);
        let pause = PAUSE_MIN.saturating_mul(1 << count.min(6)).min(PAUSE_MAX);
        self.next_us.store(self.now_us() + micros(pause), Relaxed);
    }

    fn now_us(&self) -> u64 {
        micros(self.start.elapsed())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(reason: &str) -> NoConnection {
        NoConnection { reason: reason.to_owned(), is_lasting: false }
    }

    #[test]
    fn while_the_database_is_away_one_attempt_has_leave_and_the_rest_learn_why() {
        let weather = Weather::new();
        let timeout = Duration::from_secs(60);
        assert!(weather.may_connect(timeout).is_ok());
        weather.worsen(&away("refused"));
        assert_eq!(weather.may_connect(timeout).unwrap_err().reason, "refused");
        // The pause is over.
        weather.next_us.store(0, Relaxed);
        assert!(weather.may_connect(timeout).is_ok());
        assert!(weather.may_connect(timeout).is_err(), "another is at it");
        weather.clear();
        assert!(weather.may_connect(timeout).is_ok());
    }

    #[test]
    fn the_pause_between_attempts_grows_to_its_bound() {
        let weather = Weather::new();
        for _ in 0..50 {
            weather.worsen(&away("refused"));
        }
        let pause_us = weather.next_us.load(Relaxed) - weather.now_us();
        assert!(pause_us <= micros(PAUSE_MAX), "{pause_us}");
        assert!(pause_us > micros(PAUSE_MAX) / 2, "{pause_us}");
    }

    #[test]
    fn each_shard_has_its_share_of_the_pool_and_at_least_one_connection() {
        let location = crate::Location::parse("postgres://me@db/mcp").unwrap();
        let crate::Location::Postgres(url) = &location else { panic!("{location:?}") };
        for (size, overflow, shards, kept, most) in
            [(200, 10, 4, 50, 52), (3, 1, 4, 1, 1), (10, 0, 3, 3, 3), (5, 5, 0, 5, 10)]
        {
            let options = StoreOptions {
                pool_size: size,
                pool_overflow: overflow,
                shard_count: shards,
                ..StoreOptions::new(location.clone())
            };
            let bounds = Bounds::of(&options, url);
            assert_eq!((bounds.kept_count, bounds.connection_count_max), (kept, most));
        }
    }
}
