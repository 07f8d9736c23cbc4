//! Leases on SQLite, by our own clock: whoever shares the file shares the machine and its clock.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::failed;
use crate::error::StoreError;
use crate::lease::{RELEASE_SQL, fence_sql, hold_sql, microseconds};
use crate::record::now;

/// Takes or renews a lease; the token if that came to pass.
pub fn hold(
    connection: &mut Connection,
    name: &str,
    holder: &str,
    ttl: Duration,
) -> Result<Option<i64>, StoreError> {
    // A transaction of its own, so that a commit that fails is seen. The time is read when the
    // lock is had: waiting for it must not make another's lease look unexpired.
    let doing = failed("holding a lease");
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&doing)?;
    let token = transaction
        .prepare_cached(&hold_sql("$4"))
        .and_then(|mut statement| {
            let parameters = (name, holder, microseconds(ttl), now());
            statement.query_row(parameters, |row| row.get(0)).optional()
        })
        .map_err(&doing)?;
    transaction.commit().map_err(&doing)?;
    Ok(token)
}

/// Releases a lease, if `holder` has it.
pub fn release(connection: &mut Connection, name: &str, holder: &str) -> Result<(), StoreError> {
    let released = connection.execute(RELEASE_SQL, [name, holder]);
    released.map(|_| ()).map_err(failed("releasing a lease"))
}

/// Stops a transaction unless the lease still has this token and has not expired.
///
/// The transaction is the only writer, so the lease cannot change before it commits.
pub fn fence(transaction: &Transaction<'_>, name: String, token: i64) -> Result<(), StoreError> {
    let found: Option<i64> = transaction
        .prepare_cached(&fence_sql("$3", ""))
        .and_then(|mut statement| {
            statement.query_row((&name, token, now()), |row| row.get(0)).optional()
        })
        .map_err(failed("proving a lease"))?;
    found.map(|_| ()).ok_or(StoreError::Fenced { name })
}
