//! Leases on PostgreSQL, by the clock of the server, which all gateways share.

use std::time::Duration;

use super::param::Param;
use super::read;
use super::session::{Call, Session};
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
    let replies = session.begin_writing("holding a lease", &[Call { sql: &sql, params }]).await?;
    session.commit("holding a lease", &[]).await?;
    replies[0].rows.first().map(|row| read::cell_of(row, 0)).transpose()
}

/// Releases a lease, if `holder` has it.
pub async fn release(session: &Session, name: &str, holder: &str) -> Result<(), StoreError> {
    let params = vec![Param::Text(name), Param::Text(holder)];
    let call = Call { sql: RELEASE_SQL, params };
    session.begin_writing("releasing a lease", &[call]).await?;
    session.commit("releasing a lease", &[]).await.map(|_| ())
}
