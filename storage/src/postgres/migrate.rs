//! Bringing the tables up to date, under a lock that one process holds and the others wait for.

use std::time::Duration;

use super::param::Param;
use super::session::{Call, Session};
use crate::error::StoreError;
use crate::migrate::{self, MIGRATION_TABLE, MIGRATION_TABLE_SQL, Migration, MigrationReport, Ran};
use crate::record::now;

/// How long a starter waits for another that migrates. A migration of a full registry takes
/// seconds; after a minute something stands still, and saying so is better than waiting.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long one migration may take.
const MIGRATION_WITHIN: Duration = Duration::from_secs(600);

/// The key of the advisory lock: "ringway" in ASCII. It ends with the transaction, so it is given
/// back behind a pooler and by a process that dies.
const LOCK_KEY: i64 = 0x72_69_6e_67_77_61_79;

/// Runs what is missing, or refuses to.
pub async fn check_or_run(
    session: &Session,
    location: &str,
    may_run: bool,
) -> Result<MigrationReport, StoreError> {
    let missing = missing(session, location).await?;
    if missing.is_empty() {
        // Most starts find nothing to do and need no lock to see it.
        return Ok(MigrationReport::of(&[]));
    }
    if !may_run {
        let names = missing.iter().map(|migration| migration.name.to_owned()).collect();
        return Err(StoreError::MigrationsPending { names });
    }
    session.set_patience(MIGRATION_WITHIN);
    let outcome = run(session, location).await;
    session.tidy().await;
    outcome
}

/// Names the migrations that the database still needs; makes and changes nothing.
pub async fn pending(session: &Session, location: &str) -> Result<Vec<&'static str>, StoreError> {
    let missing = missing(session, location).await?;
    Ok(missing.iter().map(|migration| migration.name).collect())
}

async fn run(session: &Session, location: &str) -> Result<MigrationReport, StoreError> {
    let waiting = "waiting for another process to migrate";
    session.begin_writing(waiting, &[]).await?;
    let bounds = format!(
        "SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}",
        LOCK_WAIT_MAX.as_millis(),
        MIGRATION_WITHIN.as_millis()
    );
    session.batch(waiting, &bounds).await?;
    let lock = "SELECT pg_advisory_xact_lock($1)::text";
    session.call(waiting, Call { sql: lock, params: vec![Param::Number(LOCK_KEY)] }).await?;
    // Each statement sees what was committed before it, so what another process did shows now.
    let missing = missing(session, location).await?;
    session.batch("noting migrations", MIGRATION_TABLE_SQL).await?;
    for migration in missing {
        step(session, migration).await.map_err(|error| explain(migration, error))?;
    }
    session.commit("committing migrations", &[]).await?;
    Ok(MigrationReport::of(missing))
}

async fn step(session: &Session, migration: &Migration) -> Result<(), StoreError> {
    session.batch("migrating", migration.sql).await?;
    let sql = "INSERT INTO ringway_migrations (version, name, checksum, applied_at)
               VALUES ($1, $2, $3, $4)";
    let checksum = migration.checksum();
    let params = vec![
        Param::Number(migration.version),
        Param::Text(migration.name),
        Param::Text(&checksum),
        Param::Number(now()),
    ];
    session.call("noting migrations", Call { sql, params }).await.map(|_| ())
}

/// A migration that the database refused; one that broke off with the connection is no failure of
/// the migration.
fn explain(migration: &Migration, error: StoreError) -> StoreError {
    match error {
        StoreError::Database { reason, .. } => {
            StoreError::MigrationFailed { name: migration.name.to_owned(), reason }
        }
        error => error,
    }
}

/// The migrations that did not run yet; refuses a database that another program made.
async fn missing(session: &Session, location: &str) -> Result<&'static [Migration], StoreError> {
    migrate::missing(&ran(session, location).await?)
}

/// The migrations that ran, oldest first.
async fn ran(session: &Session, location: &str) -> Result<Vec<Ran>, StoreError> {
    let tables = tables(session).await?;
    if !tables.iter().any(|table| table == MIGRATION_TABLE) {
        return match tables.into_iter().next() {
            None => Ok(Vec::new()),
            Some(table) => {
                Err(StoreError::DatabaseForeign { location: location.to_owned(), table })
            }
        };
    }
    let sql = "SELECT version, checksum FROM ringway_migrations ORDER BY version";
    let doing = "reading which migrations ran";
    let reply = session.call(doing, Call { sql, params: Vec::new() }).await?;
    let ran = reply.rows.iter().map(|row| {
        let read = || Ok(Ran { version: row.try_get(0)?, checksum: row.try_get(1)? });
        read().map_err(|error: tokio_postgres::Error| StoreError::Database {
            doing,
            reason: error.to_string(),
        })
    });
    ran.collect()
}

/// The tables of the schema that unqualified names go to, without those of extensions.
async fn tables(session: &Session) -> Result<Vec<String>, StoreError> {
    let doing = "looking for tables";
    let sql = "SELECT relname::text, current_schema()::text FROM pg_class
               WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relnamespace =
                   (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
               AND NOT EXISTS (SELECT FROM pg_depend WHERE deptype = 'e'
                   AND classid = 'pg_class'::regclass AND objid = pg_class.oid)
               ORDER BY relname";
    let reply = session.call(doing, Call { sql, params: Vec::new() }).await?;
    let names = reply.rows.iter().map(|row| row.try_get(0));
    names.collect::<Result<_, _>>().map_err(|error: tokio_postgres::Error| StoreError::Database {
        doing,
        reason: error.to_string(),
    })
}
