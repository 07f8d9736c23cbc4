//! Metrics on SQLite. A batch is one transaction; whoever hands over much does it in several.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::{failed, usage};
use crate::error::StoreError;
use crate::metrics::sql::{self, Step};
use crate::metrics::{MEASURED, MetricBatch, MetricDelta, Metrics, Reset, after_resets, first_of};
use crate::record::{Entity, now};

/// Adds a batch, unless it was added before.
pub fn add(connection: &mut Connection, batch: &MetricBatch) -> Result<(), StoreError> {
    let doing = failed("adding metrics");
    let transaction = begin(connection)?;
    let add = || {
        let is_new = transaction
            .prepare_cached(sql::NOTE_BATCH)?
            .query_row((&batch.writer, batch.number, now()), |_| Ok(()))
            .optional()?
            .is_some();
        if is_new {
            let resets = resets(&transaction, first_of(batch))?;
            add_all(&transaction, &after_resets(batch, &resets))?;
            usage::add_all(&transaction, &batch.usages)?;
        }
        Ok(())
    };
    add().map_err(&doing)?;
    transaction.commit().map_err(&doing)
}

/// What was counted of some records of a kind.
pub fn read(
    connection: &mut Connection,
    entity: Entity,
    ids: &[String],
) -> Result<HashMap<String, Metrics>, StoreError> {
    let doing = failed("reading metrics");
    let transaction = connection.transaction().map_err(&doing)?;
    let read = || {
        let mut found = HashMap::new();
        for id in ids {
            if let Some(metrics) = read_one(&transaction, entity, id)? {
                found.insert(id.clone(), metrics);
            }
        }
        Ok(found)
    };
    read().map_err(&doing)
}

/// What was counted of each kind.
pub fn totals(connection: &mut Connection) -> Result<HashMap<Entity, Metrics>, StoreError> {
    let doing = failed("reading metrics");
    let transaction = connection.transaction().map_err(&doing)?;
    let read = || {
        let mut found: HashMap<String, Metrics> = transaction
            .prepare_cached(&sql::total_counts())?
            .query_map([], |row| Ok((row.get(0)?, counts(row, 1)?)))?
            .collect::<Result<_, _>>()?;
        let mut statement = transaction.prepare_cached(&sql::total_buckets())?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let entity: String = row.get(0)?;
            if let Some(metrics) = found.get_mut(&entity) {
                metrics.buckets.push((row.get(1)?, row.get(2)?));
            }
        }
        Ok(found)
    };
    let mut found = read().map_err(&doing)?;
    Ok(MEASURED.iter().filter_map(|kind| Some((*kind, found.remove(kind.as_str())?))).collect())
}

/// Does the steps in one transaction.
pub fn run(connection: &mut Connection, steps: &[Step]) -> Result<(), StoreError> {
    let doing = failed("deleting metrics");
    let transaction = begin(connection)?;
    for step in steps {
        transaction
            .prepare_cached(&step.sql)
            .and_then(|mut statement| statement.execute(rusqlite::params_from_iter(&step.params)))
            .map_err(&doing)?;
    }
    transaction.commit().map_err(&doing)
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("beginning to write metrics"))
}

fn resets(transaction: &Transaction<'_>, since: i64) -> rusqlite::Result<Vec<Reset>> {
    transaction
        .prepare_cached(sql::RESETS)?
        .query_map([since], |row| {
            Ok(Reset { entity: row.get(0)?, id: row.get(1)?, at: row.get(2)? })
        })?
        .collect()
}

fn add_all(transaction: &Transaction<'_>, deltas: &[&MetricDelta]) -> rusqlite::Result<()> {
    let mut counts = transaction.prepare_cached(&format!(
        "INSERT INTO entity_metrics (entity, id, {})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) {}",
        sql::COUNTS,
        sql::ADD_COUNTS
    ))?;
    let mut buckets = transaction.prepare_cached(&format!(
        "INSERT INTO entity_metric_buckets (entity, id, bucket, executions)
         VALUES (?1, ?2, ?3, ?4) {}",
        sql::ADD_BUCKETS
    ))?;
    for MetricDelta { entity, id, metrics, .. } in deltas {
        let entity = entity.as_str();
        counts.execute((
            entity,
            id,
            metrics.executions,
            metrics.failures,
            metrics.total_us,
            metrics.min_us,
            metrics.max_us,
            metrics.last_at,
        ))?;
        for (bucket, count) in &metrics.buckets {
            buckets.execute((entity, id, bucket, count))?;
        }
    }
    Ok(())
}

fn read_one(
    transaction: &Transaction<'_>,
    entity: Entity,
    id: &str,
) -> rusqlite::Result<Option<Metrics>> {
    let key = (entity.as_str(), id);
    let sql = format!("SELECT {} FROM entity_metrics WHERE entity = ?1 AND id = ?2", sql::COUNTS);
    let found =
        transaction.prepare_cached(&sql)?.query_row(key, |row| counts(row, 0)).optional()?;
    let Some(mut metrics) = found else { return Ok(None) };
    let sql = "SELECT bucket, executions FROM entity_metric_buckets
               WHERE entity = ?1 AND id = ?2 ORDER BY bucket";
    metrics.buckets = transaction
        .prepare_cached(sql)?
        .query_map(key, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(Some(metrics))
}

/// The counts of a row, from the column `first` on.
fn counts(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Metrics> {
    Ok(Metrics {
        executions: row.get(first)?,
        failures: row.get(first + 1)?,
        total_us: row.get(first + 2)?,
        min_us: row.get(first + 3)?,
        max_us: row.get(first + 4)?,
        last_at: row.get(first + 5)?,
        buckets: Vec::new(),
    })
}
