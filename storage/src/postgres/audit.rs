//! The audit trail on PostgreSQL: a batch is three statements, however many entries it has.

use super::param::Param;
use super::read::cell;
use super::read::cell_of;
use super::session::{Call, Session};
use crate::audit::sql::{self, NUMBERS, TEXTS};
use crate::audit::{AuditBatch, AuditEntry, StoredEntry};
use crate::error::StoreError;
use crate::metrics::sql::Step;
use crate::record::now;

/// Appends a batch, unless it was appended before.
pub async fn append(session: &Session, batch: &AuditBatch) -> Result<(), StoreError> {
    let doing = "appending to the audit trail";
    let count = batch.entries.len() as i64;
    let note = vec![Param::Text(&batch.writer), Param::Number(batch.number), Param::Number(now())];
    let calls = [
        Call { sql: sql::NOTE_BATCH, params: note },
        Call { sql: sql::TAKE_IDS, params: vec![Param::Number(count)] },
    ];
    let replies = session.begin_writing(doing, &calls).await?;
    let is_new = !replies[0].rows.is_empty();
    let last: i64 = match replies[1].rows.first() {
        Some(row) => cell_of(row, 0)?,
        None => {
            let reason = "its one row is missing".to_owned();
            return Err(StoreError::Corrupt { table: "audit_sequence", column: "last", reason });
        }
    };
    let insert = insert_sql();
    let calls = match is_new && count > 0 {
        true => {
            vec![Call { sql: &insert, params: insert_params(&batch.entries, last - count + 1) }]
        }
        false => Vec::new(),
    };
    session.commit(doing, &calls).await.map(|_| ())
}

/// Reads by the query of a filter.
pub async fn read(session: &Session, query: &Step) -> Result<Vec<StoredEntry>, StoreError> {
    let replies = session.read("reading the audit trail", &[call(query)]).await?;
    replies[0].rows.iter().map(|row| sql::decode(|index| cell(row, index))).collect()
}

/// Does the steps in one transaction; tells how many rows the first deleted.
pub async fn prune(session: &Session, steps: &[Step; 2]) -> Result<usize, StoreError> {
    let doing = "pruning the audit trail";
    let replies = session.begin_writing(doing, &[call(&steps[0])]).await?;
    let count = replies[0].count;
    session.commit(doing, &[call(&steps[1])]).await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn call(step: &Step) -> Call<'_> {
    Call { sql: &step.sql, params: step.params.iter().map(Param::Value).collect() }
}

/// Whether a column of numbers is one of yes and no.
fn is_flag(column: &str) -> bool {
    matches!(column, "allowed" | "succeeded")
}

fn insert_sql() -> String {
    let columns = [NUMBERS.join(", "), TEXTS.join(", ")].join(", ");
    let cells = NUMBERS.map(|column| match is_flag(column) {
        true => format!("{column} <> 0"),
        false => column.to_owned(),
    });
    let arrays = (0..=NUMBERS.len() + TEXTS.len()).map(|index| {
        let kind = if index <= NUMBERS.len() { "bigint" } else { "text" };
        format!("${}::{kind}[]", index + 1)
    });
    format!(
        "INSERT INTO audit_log (id, {columns})
         SELECT id, {}, {} FROM unnest({}) AS row (id, {columns})",
        cells.join(", "),
        TEXTS.join(", "),
        arrays.collect::<Vec<_>>().join(", ")
    )
}

/// The cells, column by column.
fn insert_params(entries: &[AuditEntry], first_id: i64) -> Vec<Param<'_>> {
    let ids = (first_id..).take(entries.len()).collect();
    let numbers = (0..NUMBERS.len())
        .map(|column| entries.iter().map(|entry| sql::numbers(entry)[column]).collect());
    let texts = (0..TEXTS.len())
        .map(|column| entries.iter().map(|entry| sql::texts(entry)[column]).collect());
    let numbers = [ids].into_iter().chain(numbers).map(Param::Numbers);
    numbers.chain(texts.map(Param::Cells)).collect()
}
