//! Leases: the statements that take, prove and release them, for every database.
//!
//! A lease is a row and not a lock of the database, so that a holder that froze loses it by time
//! alone (docs/decisions/0005-lease-row.md). What the statements take as the time now is the
//! caller's choice: an expression of the database's clock (on PostgreSQL `clock_timestamp()`, never
//! `now()`, which stands still for a whole transaction), or a placeholder for a clock of ours.

use std::time::Duration;

/// Takes or renews a lease, and gives its token if that came to pass, else no row.
///
/// Takes the name, the holder and the length in microseconds as `$1` to `$3`; `clock` may be `$4`.
///
/// Whoever holds the lease keeps the token, even when renewing late: nobody else had it meanwhile.
pub(crate) fn hold_sql(clock: &str) -> String {
    format!(
        "INSERT INTO leases (name, holder, token, expires_at) VALUES ($1, $2, 1, $3 + {clock})
         ON CONFLICT (name) DO UPDATE SET
             holder = excluded.holder,
             token = leases.token
                 + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END,
             expires_at = excluded.expires_at
         WHERE leases.holder = excluded.holder OR leases.expires_at <= {clock}
         RETURNING token"
    )
}

/// Gives a row if the lease `$1` still has the token `$2` and has not expired; `clock` may be `$3`.
///
/// It proves something only until another takes the lease. A transaction that relies on it holds
/// the row until it commits: SQLite by being the only writer, PostgreSQL by `lock`, ` FOR SHARE`.
pub(crate) fn fence_sql(clock: &str, lock: &str) -> String {
    format!(
        "SELECT token FROM leases WHERE name = $1 AND token = $2 AND expires_at > {clock}{lock}"
    )
}

/// Releases the lease `$1` if `$2` holds it. The next to take it changes the holder, whoever it is.
pub(crate) const RELEASE_SQL: &str =
    "UPDATE leases SET holder = '', expires_at = 0 WHERE name = $1 AND holder = $2";

/// The length of a lease as the statements take it.
pub(crate) fn microseconds(ttl: Duration) -> i64 {
    // A thousand years, so that adding the time now cannot overflow.
    const MICROSECONDS_MAX: i64 = 1000 * 366 * 86_400 * 1_000_000;
    i64::try_from(ttl.as_micros()).unwrap_or(MICROSECONDS_MAX).min(MICROSECONDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_all_time_is_bounded() {
        assert_eq!(microseconds(Duration::from_secs(15)), 15_000_000);
        assert!(i64::MAX - microseconds(Duration::MAX) > crate::record::now());
    }
}
