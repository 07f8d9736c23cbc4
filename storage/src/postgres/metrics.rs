//! Metrics on PostgreSQL: a batch is a few statements, however many entities it is about.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::param::Param;
use super::read::cell_of;
use super::session::{Call, Reply, Session};
use super::usage;
use crate::error::StoreError;
use crate::metrics::sql::{self, Step};
use crate::metrics::{MEASURED, MetricBatch, MetricDelta, Metrics, Reset, after_resets, first_of};
use crate::record::{Entity, now};

/// Lets other processes add too, and keeps resets out until the commit.
const SHARE: &str = "SELECT at FROM metric_resets WHERE entity = '' AND id = '' FOR SHARE";

/// Keeps everybody else out until the commit.
const HOLD: &str = "SELECT at FROM metric_resets WHERE entity = '' AND id = '' FOR UPDATE";

/// Adds a batch, unless it was added before.
pub async fn add(session: &Session, batch: &MetricBatch) -> Result<(), StoreError> {
    let doing = "adding metrics";
    let note = vec![Param::Text(&batch.writer), Param::Number(batch.number), Param::Number(now())];
    let calls = [
        Call { sql: SHARE, params: Vec::new() },
        Call { sql: sql::NOTE_BATCH, params: note },
        Call { sql: sql::RESETS, params: vec![Param::Number(first_of(batch))] },
    ];
    let replies = session.begin_writing(doing, &calls).await?;
    let is_new = !replies[1].rows.is_empty();
    let resets = replies[2].rows.iter().map(reset).collect::<Result<Vec<_>, _>>()?;
    let deltas = if is_new { after_resets(batch, &resets) } else { Vec::new() };
    let (counts, buckets, usages) = (counts_sql(), buckets_sql(), usage::add_sql());
    let mut calls = Vec::new();
    if !deltas.is_empty() {
        calls.push(Call { sql: &counts, params: counts_params(&deltas) });
        calls.push(Call { sql: &buckets, params: buckets_params(&deltas) });
    }
    if is_new && !batch.usages.is_empty() {
        calls.push(Call { sql: &usages, params: usage::add_params(&batch.usages) });
    }
    session.commit(doing, &calls).await.map(|_| ())
}

/// What was counted of some records of a kind.
pub async fn read(
    session: &Session,
    entity: Entity,
    ids: &[String],
) -> Result<HashMap<String, Metrics>, StoreError> {
    let counts = format!(
        "SELECT id, {} FROM entity_metrics WHERE entity = $1 AND id = ANY($2)",
        sql::COUNTS
    );
    let buckets = "SELECT id, bucket, executions FROM entity_metric_buckets
                   WHERE entity = $1 AND id = ANY($2) ORDER BY id, bucket";
    let params = || {
        let ids = ids.iter().map(String::as_str).collect();
        vec![Param::Text(entity.as_str()), Param::Texts(ids)]
    };
    let calls = [Call { sql: &counts, params: params() }, Call { sql: buckets, params: params() }];
    joined(&session.read("reading metrics", &calls).await?)
}

/// What was counted of each kind.
pub async fn totals(session: &Session) -> Result<HashMap<Entity, Metrics>, StoreError> {
    let (counts, buckets) = (sql::total_counts(), sql::total_buckets());
    let calls =
        [Call { sql: &counts, params: Vec::new() }, Call { sql: &buckets, params: Vec::new() }];
    let mut found = joined(&session.read("reading metrics", &calls).await?)?;
    Ok(MEASURED.iter().filter_map(|kind| Some((*kind, found.remove(kind.as_str())?))).collect())
}

/// Does the steps in one transaction, while nobody adds.
pub async fn run(session: &Session, steps: &[Step]) -> Result<(), StoreError> {
    let doing = "deleting metrics";
    session.begin_writing(doing, &[Call { sql: HOLD, params: Vec::new() }]).await?;
    let calls: Vec<Call<'_>> = steps
        .iter()
        .map(|step| Call { sql: &step.sql, params: step.params.iter().map(Param::Value).collect() })
        .collect();
    session.commit(doing, &calls).await.map(|_| ())
}

fn reset(row: &Row) -> Result<Reset, StoreError> {
    Ok(Reset { entity: cell_of(row, 0)?, id: cell_of(row, 1)?, at: cell_of(row, 2)? })
}

fn counts_sql() -> String {
    format!(
        "INSERT INTO entity_metrics (entity, id, {columns})
         SELECT entity, id, {columns}
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
             $6::bigint[], $7::bigint[], $8::bigint[]) AS row (entity, id, {columns})
         ORDER BY entity, id {}",
        sql::ADD_COUNTS,
        columns = sql::COUNTS
    )
}

fn buckets_sql() -> String {
    format!(
        "INSERT INTO entity_metric_buckets (entity, id, bucket, executions)
         SELECT entity, id, bucket, executions
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
             AS row (entity, id, bucket, executions)
         ORDER BY entity, id, bucket {}",
        sql::ADD_BUCKETS
    )
}

fn counts_params<'d>(deltas: &[&'d MetricDelta]) -> Vec<Param<'d>> {
    let numbers = |number: fn(&Metrics) -> i64| {
        Param::Numbers(deltas.iter().map(|delta| number(&delta.metrics)).collect())
    };
    vec![
        Param::Texts(deltas.iter().map(|delta| delta.entity.as_str()).collect()),
        Param::Texts(deltas.iter().map(|delta| delta.id.as_str()).collect()),
        numbers(|metrics| metrics.executions),
        numbers(|metrics| metrics.failures),
        numbers(|metrics| metrics.total_us),
        numbers(|metrics| metrics.min_us),
        numbers(|metrics| metrics.max_us),
        numbers(|metrics| metrics.last_at),
    ]
}

fn buckets_params<'d>(deltas: &[&'d MetricDelta]) -> Vec<Param<'d>> {
    let rows = || {
        deltas.iter().flat_map(|delta| delta.metrics.buckets.iter().map(move |pair| (delta, pair)))
    };
    vec![
        Param::Texts(rows().map(|(delta, _)| delta.entity.as_str()).collect()),
        Param::Texts(rows().map(|(delta, _)| delta.id.as_str()).collect()),
        Param::Numbers(rows().map(|(_, (bucket, _))| i64::from(*bucket)).collect()),
        Param::Numbers(rows().map(|(_, (_, count))| *count).collect()),
    ]
}

/// The counts of the first reply with the buckets of the second, by the key in the first column.
fn joined(replies: &[Reply]) -> Result<HashMap<String, Metrics>, StoreError> {
    let mut found = HashMap::new();
    for row in &replies[0].rows {
        let metrics = Metrics {
            executions: cell_of(row, 1)?,
            failures: cell_of(row, 2)?,
            total_us: cell_of(row, 3)?,
            min_us: cell_of(row, 4)?,
            max_us: cell_of(row, 5)?,
            last_at: cell_of(row, 6)?,
            buckets: Vec::new(),
        };
        found.insert(cell_of(row, 0)?, metrics);
    }
    for row in &replies[1].rows {
        let key: &str = cell_of(row, 0)?;
        let bucket: i64 = cell_of(row, 1)?;
        if let (Some(metrics), Ok(bucket)) = (found.get_mut(key), u16::try_from(bucket)) {
            metrics.buckets.push((bucket, cell_of(row, 2)?));
        }
    }
    Ok(found)
}
