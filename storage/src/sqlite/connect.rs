//! Opening a database file: its mode, its settings, its migrations.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::failed;
use crate::error::StoreError;
use crate::location::Location;
use crate::migrate::{self, MIGRATION_TABLE, MIGRATION_TABLE_SQL, Migration, MigrationReport, Ran};
use crate::record::now;
use crate::store::StoreOptions;

/// How long a starter waits for another that migrates. A migration of a full registry takes
/// seconds; after a minute something stands still, and saying so is better than waiting.
const MIGRATION_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long to wait before asking again for a lock that SQLite does not queue for.
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// Statements kept ready: about 30 are used, so none is ever prepared twice.
const STATEMENT_COUNT_MAX: usize = 64;

/// Opens the database, with its migrations done or refused.
pub fn open(options: &StoreOptions) -> Result<(Connection, MigrationReport), StoreError> {
    let mut connection = connect(options)?;
    let missing = migrate::missing(&ran(&connection, &options.location)?)?;
    if !missing.is_empty() && !options.migrate_on_start {
        let names = missing.iter().map(|migration| migration.name.to_owned()).collect();
        return Err(StoreError::MigrationsPending { names });
    }
    let report = run(&mut connection, options)?;
    connection.busy_timeout(options.lock_wait_max).map_err(failed("opening the database"))?;
    Ok((connection, report))
}

/// Makes the database where it is not there, and runs the migrations that are missing.
pub fn migrate(options: &StoreOptions) -> Result<MigrationReport, StoreError> {
    run(&mut connect(options)?, options)
}

/// Names the migrations that the database still needs; makes and changes nothing.
pub fn pending(options: &StoreOptions) -> Result<Vec<&'static str>, StoreError> {
    let names = |missing: &[Migration]| missing.iter().map(|migration| migration.name).collect();
    let Some(path) = options.location.path().filter(|path| path.exists()) else {
        return Ok(names(migrate::missing(&[])?));
    };
    // Not read-only: reading a database in WAL mode may need its log to be recovered.
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(cannot_open(&options.location))?;
    connection.busy_timeout(options.lock_wait_max).map_err(cannot_open(&options.location))?;
    Ok(names(migrate::missing(&ran(&connection, &options.location)?)?))
}

/// Opens the database file, made for our eyes only where there is none, and sets the connection.
fn connect(options: &StoreOptions) -> Result<Connection, StoreError> {
    let cannot = cannot_open(&options.location);
    let connection = match options.location.path() {
        Some(path) => {
            create_private(path, &options.location)?;
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(&cannot)?
        }
        None => Connection::open_in_memory().map_err(&cannot)?,
    };
    connection.set_prepared_statement_cache_capacity(STATEMENT_COUNT_MAX);
    connection.busy_timeout(MIGRATION_WAIT_MAX).map_err(&cannot)?;
    let mode = write_ahead(&connection).map_err(&cannot)?;
    // In WAL mode NORMAL loses nothing when the process dies, and after a power cut at most the
    // last commits, never the file. Where the file system knows no WAL, only FULL is as safe.
    let synchronous = if mode == "wal" { "NORMAL" } else { "FULL" };
    // The log is cut back after a large transaction, which would else stay on disk for good.
    let settings = format!(
        "PRAGMA foreign_keys = ON; PRAGMA synchronous = {synchronous};
         PRAGMA journal_size_limit = 16777216; PRAGMA trusted_schema = OFF;"
    );
    connection.execute_batch(&settings).map_err(&cannot)?;
    Ok(connection)
}

/// Makes an empty file with mode 0600, unless there is one. SQLite gives the log beside it the
/// same mode; a file that is there keeps its own, which somebody chose.
fn create_private(path: &Path, location: &Location) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            Err(StoreError::Open { location: location.to_string(), reason: error.to_string() })
        }
    }
}

/// Asks for write-ahead logging and says which mode came of it.
///
/// SQLite does not wait when two connections change the mode at once, so this asks again.
fn write_ahead(connection: &Connection) -> rusqlite::Result<String> {
    let deadline = Instant::now() + MIGRATION_WAIT_MAX;
    loop {
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match mode {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                std::thread::sleep(LOCK_RETRY);
            }
            mode => return mode,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

/// Runs what is missing, in one transaction that only one starter can hold.
fn run(connection: &mut Connection, options: &StoreOptions) -> Result<MigrationReport, StoreError> {
    // Most starts find nothing to do and need no lock to see it.
    if migrate::missing(&ran(connection, &options.location)?)?.is_empty() {
        return Ok(MigrationReport::of(&[]));
    }
    let doing = failed("waiting for another process to migrate");
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(doing)?;
    let missing = migrate::missing(&ran(&transaction, &options.location)?)?;
    transaction.execute_batch(MIGRATION_TABLE_SQL).map_err(failed("noting migrations"))?;
    for migration in missing {
        step(&transaction, migration).map_err(|error| StoreError::MigrationFailed {
            name: migration.name.to_owned(),
            reason: error.to_string(),
        })?;
    }
    transaction.commit().map_err(failed("committing migrations"))?;
    Ok(MigrationReport::of(missing))
}

fn step(connection: &Connection, migration: &Migration) -> rusqlite::Result<()> {
    connection.execute_batch(migration.sql)?;
    connection.execute(
        "INSERT INTO ringway_migrations (version, name, checksum, applied_at)
         VALUES (?1, ?2, ?3, ?4)",
        (migration.version, migration.name, migration.checksum(), now()),
    )?;
    Ok(())
}

/// The migrations that ran, oldest first; refuses a database that another program made.
fn ran(connection: &Connection, location: &Location) -> Result<Vec<Ran>, StoreError> {
    let tables = tables(connection).map_err(cannot_open(location))?;
    if !tables.iter().any(|table| table == MIGRATION_TABLE) {
        return match tables.into_iter().next() {
            None => Ok(Vec::new()),
            Some(table) => {
                Err(StoreError::DatabaseForeign { location: location.to_string(), table })
            }
        };
    }
    let read = || {
        let sql = "SELECT version, checksum FROM ringway_migrations ORDER BY version";
        let mut statement = connection.prepare(sql)?;
        let rows = statement
            .query_map([], |row| Ok(Ran { version: row.get(0)?, checksum: row.get(1)? }))?;
        rows.collect::<rusqlite::Result<Vec<Ran>>>()
    };
    read().map_err(failed("reading which migrations ran"))
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'
               ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}

fn cannot_open(location: &Location) -> impl Fn(rusqlite::Error) -> StoreError {
    let location = location.to_string();
    move |error| StoreError::Open { location: location.clone(), reason: error.to_string() }
}
