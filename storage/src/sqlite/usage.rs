//! How tokens are used, on SQLite.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::failed;
use crate::error::StoreError;
use crate::usage::{ADD, COLUMNS, READ, Usage, UsageDelta};

/// Adds what was counted.
pub fn add_all(transaction: &Transaction<'_>, deltas: &[UsageDelta]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(&format!(
        "INSERT INTO token_usage (token_id, day, endpoint, {COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) {ADD}"
    ))?;
    for UsageDelta { token_id, day, endpoint, usage } in deltas {
        let Usage { requests, failures, refusals, total_us, last_at } = usage;
        statement
            .execute((token_id, day, endpoint, requests, failures, refusals, total_us, last_at))?;
    }
    Ok(())
}

/// How a token was used since a day, by part of the API.
pub fn read(
    connection: &mut Connection,
    token_id: &str,
    since: i64,
) -> Result<HashMap<String, Usage>, StoreError> {
    let read = || {
        connection
            .prepare_cached(READ)?
            .query_map((token_id, since), |row| {
                let usage = Usage {
                    requests: row.get(1)?,
                    failures: row.get(2)?,
                    refusals: row.get(3)?,
                    total_us: row.get(4)?,
                    last_at: row.get(5)?,
                };
                Ok((row.get(0)?, usage))
            })?
            .collect::<rusqlite::Result<_>>()
    };
    read().map_err(failed("reading the usage of a token"))
}

/// When some tokens were last used; those that never were are left out.
pub fn last(
    connection: &mut Connection,
    token_ids: &[String],
) -> Result<HashMap<String, i64>, StoreError> {
    let read = || {
        let mut statement = connection
            .prepare_cached("SELECT MAX(last_at) FROM token_usage WHERE token_id = ?1")?;
        let mut found = HashMap::new();
        for id in token_ids {
            let last: Option<Option<i64>> =
                statement.query_row([id], |row| row.get(0)).optional()?;
            if let Some(at) = last.flatten() {
                found.insert(id.clone(), at);
            }
        }
        Ok(found)
    };
    read().map_err(failed("reading when tokens were used"))
}
