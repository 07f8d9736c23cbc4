//! Leases on PostgreSQL, by the clock of the server, which all gateways share.

use std::time::Duration;

use super::read;
use super::session::{Call, Param, Session};
use crate::error::StoreError;
use crate::lease::{RELEASE_SQL, hold_sql, microseconds};

/// The server's time in microseconds since the epoch: that of the moment, since `now()` stands
/// still for a whole transaction.
pub(super) const CLOCK: &str = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint";

/// Takes or renews a lease; the token if that came to pass.
pub async fn hold(
    session: &Session,
    name: &str,
    holder: &str,
    ttl: Duration,
) -> Result<Option<i64>, StoreError> {
    let sql = hold_sql(CLOCK);
    let ttl = Param::Number(microseconds(ttl));
    let params = vec![Param::Text(name), Param::Text(holder), ttl];
    session.begin_writing().await?;
    let reply = session.call("holding a lease", Call { sql: &sql, params }).await?;
    session.commit().await?;
    reply.rows.first().map(|row| read::cell_of(row, 0)).transpose()
}

/// Releases a lease, if `holder` has it.
pub async fn release(session: &Session, name: &str, holder: &str) -> Result<(), StoreError> {
    let params = vec![Param::Text(name), Param::Text(holder)];
    session.begin_writing().await?;
    session.call("releasing a lease", Call { sql: RELEASE_SQL, params }).await?;
    session.commit().await
}
