//! Leases on SQLite, by our own clock: whoever shares the file shares the machine and its clock.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::failed;
use crate::error::StoreError;
use crate::lease::{RELEASE_SQL, hold_sql, microseconds};
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
