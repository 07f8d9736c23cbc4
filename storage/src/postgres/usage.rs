//! How tokens are used, on PostgreSQL.

use std::collections::HashMap;

use super::param::Param;
use super::read::cell_of;
use super::session::{Call, Session};
use crate::error::StoreError;
use crate::usage::{ADD, COLUMNS, READ, Usage, UsageDelta};

/// The statement that adds what was counted.
pub fn add_sql() -> String {
    // In the order of the key, so that no two processes that add at once wait for each other.
    format!(
        "INSERT INTO token_usage (token_id, day, endpoint, {COLUMNS})
         SELECT token_id, day, endpoint, {COLUMNS}
         FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[],
             $6::bigint[], $7::bigint[], $8::bigint[]) AS row (token_id, day, endpoint, {COLUMNS})
         ORDER BY token_id, day, endpoint {ADD}"
    )
}

/// Its parameters.
pub fn add_params(deltas: &[UsageDelta]) -> Vec<Param<'_>> {
    let numbers =
        |number: fn(&UsageDelta) -> i64| Param::Numbers(deltas.iter().map(number).collect());
    vec![
        Param::Texts(deltas.iter().map(|delta| delta.token_id.as_str()).collect()),
        numbers(|delta| delta.day),
        Param::Texts(deltas.iter().map(|delta| delta.endpoint.as_str()).collect()),
        numbers(|delta| delta.usage.requests),
        numbers(|delta| delta.usage.failures),
        numbers(|delta| delta.usage.refusals),
        numbers(|delta| delta.usage.total_us),
        numbers(|delta| delta.usage.last_at),
    ]
}

/// How a token was used since a day, by part of the API.
pub async fn read(
    session: &Session,
    token_id: &str,
    since: i64,
) -> Result<HashMap<String, Usage>, StoreError> {
    let call = Call { sql: READ, params: vec![Param::Text(token_id), Param::Number(since)] };
    let replies = session.read("reading the usage of a token", &[call]).await?;
    let rows = replies.iter().flat_map(|reply| &reply.rows);
    rows.map(|row| {
        let usage = Usage {
            requests: cell_of(row, 1)?,
            failures: cell_of(row, 2)?,
            refusals: cell_of(row, 3)?,
            total_us: cell_of(row, 4)?,
            last_at: cell_of(row, 5)?,
        };
        Ok((cell_of(row, 0)?, usage))
    })
    .collect()
}

/// When some tokens were last used; those that never were are left out.
pub async fn last(
    session: &Session,
    token_ids: &[String],
) -> Result<HashMap<String, i64>, StoreError> {
    let ids = Param::Texts(token_ids.iter().map(String::as_str).collect());
    let sql = "SELECT token_id, MAX(last_at) FROM token_usage
               WHERE token_id = ANY($1) GROUP BY token_id";
    let call = Call { sql, params: vec![ids] };
    let replies = session.read("reading when tokens were used", &[call]).await?;
    let rows = replies.iter().flat_map(|reply| &reply.rows);
    rows.map(|row| Ok((cell_of(row, 0)?, cell_of(row, 1)?))).collect()
}
