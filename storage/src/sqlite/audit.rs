//! The audit trail on SQLite. A batch is one transaction.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params_from_iter};

use super::failed;
use super::read::cell;
use crate::audit::sql::{self, NUMBERS, TEXTS};
use crate::audit::{AuditBatch, AuditEntry, StoredEntry};
use crate::error::StoreError;
use crate::metrics::sql::Step;
use crate::record::now;
use crate::table::Value;

/// Appends a batch, unless it was appended before.
pub fn append(connection: &mut Connection, batch: &AuditBatch) -> Result<(), StoreError> {
    let doing = failed("appending to the audit trail");
    let transaction = begin(connection)?;
    let append = || {
        let is_new = transaction
            .prepare_cached(sql::NOTE_BATCH)?
            .query_row((&batch.writer, batch.number, now()), |_| Ok(()))
            .optional()?
            .is_some();
        if is_new { append_all(&transaction, &batch.entries) } else { Ok(()) }
    };
    append().map_err(&doing)?;
    transaction.commit().map_err(&doing)
}

/// Reads by the query of a filter.
pub fn read(connection: &mut Connection, query: &Step) -> Result<Vec<StoredEntry>, StoreError> {
    let doing = failed("reading the audit trail");
    let mut statement = connection.prepare_cached(&query.sql).map_err(&doing)?;
    let mut rows = statement.query(params_from_iter(&query.params)).map_err(&doing)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(&doing)? {
        found.push(sql::decode(|index| cell(row, index))?);
    }
    Ok(found)
}

/// Does the steps in one transaction; tells how many rows the first deleted.
pub fn prune(connection: &mut Connection, steps: &[Step; 2]) -> Result<usize, StoreError> {
    let doing = failed("pruning the audit trail");
    let transaction = begin(connection)?;
    let delete = |step: &Step| {
        transaction.prepare_cached(&step.sql)?.execute(params_from_iter(&step.params))
    };
    let count = delete(&steps[0]).map_err(&doing)?;
    delete(&steps[1]).map_err(&doing)?;
    transaction.commit().map_err(&doing)?;
    Ok(count)
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("beginning to write the audit trail"))
}

fn append_all(transaction: &Transaction<'_>, entries: &[AuditEntry]) -> rusqlite::Result<()> {
    let count = entries.len() as i64;
    let last: i64 =
        transaction.prepare_cached(sql::TAKE_IDS)?.query_row([count], |row| row.get(0))?;
    let places: Vec<String> =
        (1..=1 + NUMBERS.len() + TEXTS.len()).map(|place| format!("?{place}")).collect();
    let mut insert = transaction.prepare_cached(&format!(
        "INSERT INTO audit_log (id, {}, {}) VALUES ({})",
        NUMBERS.join(", "),
        TEXTS.join(", "),
        places.join(", ")
    ))?;
    for (entry, id) in entries.iter().zip(last - count + 1..) {
        let number = |number: i64| Value::Integer(number);
        let text =
            |text: Option<_>| text.map_or(Value::Null, |text: &str| Value::Text(text.into()));
        let numbers = sql::numbers(entry).map(number);
        let cells = [Value::Integer(id)].into_iter().chain(numbers);
        insert.execute(params_from_iter(cells.chain(sql::texts(entry).map(text))))?;
    }
    Ok(())
}
