//! The statements about metrics that are the same for every database.

use std::borrow::Cow;

use super::MEASURED;
use crate::record::Entity;
use crate::table::{Value, name_of};
use crate::usage;

/// How long a reset and the last batch of a process are remembered: longer than a process may keep
/// what it could not hand over, in microseconds.
const REMEMBERED_US: i64 = 7 * 86_400 * 1_000_000;

/// Notes the batch `$2` of the process `$1` at the time `$3`, and gives a row if it is new.
pub(crate) const NOTE_BATCH: &str =
    "INSERT INTO metric_writers (writer, batch, at) VALUES ($1, $2, $3)
     ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, at = excluded.at
     WHERE metric_writers.batch < excluded.batch
     RETURNING batch";

/// The resets after `$1`.
pub(crate) const RESETS: &str = "SELECT entity, id, at FROM metric_resets WHERE at > $1";

/// The columns of the counts.
pub(crate) const COUNTS: &str = "executions, failures, total_us, min_us, max_us, last_at";

/// Adds the row that is inserted to the one that is there.
pub(crate) const ADD_COUNTS: &str = "ON CONFLICT (entity, id) DO UPDATE SET
         executions = entity_metrics.executions + excluded.executions,
         failures = entity_metrics.failures + excluded.failures,
         total_us = entity_metrics.total_us + excluded.total_us,
         min_us = CASE WHEN excluded.min_us < entity_metrics.min_us
             THEN excluded.min_us ELSE entity_metrics.min_us END,
         max_us = CASE WHEN excluded.max_us > entity_metrics.max_us
             THEN excluded.max_us ELSE entity_metrics.max_us END,
         last_at = CASE WHEN excluded.last_at > entity_metrics.last_at
             THEN excluded.last_at ELSE entity_metrics.last_at END";

/// Adds the bucket that is inserted to the one that is there.
pub(crate) const ADD_BUCKETS: &str = "ON CONFLICT (entity, id, bucket) DO UPDATE SET
         executions = entity_metric_buckets.executions + excluded.executions";

/// The counts of each kind together, of what is still registered.
pub(crate) fn total_counts() -> String {
    format!(
        "SELECT entity, CAST(SUM(executions) AS BIGINT), CAST(SUM(failures) AS BIGINT),
             CAST(SUM(total_us) AS BIGINT), MIN(min_us), MAX(max_us), MAX(last_at)
         FROM entity_metrics WHERE {} GROUP BY entity",
        registered()
    )
}

/// The buckets of each kind together, of what is still registered.
pub(crate) fn total_buckets() -> String {
    format!(
        "SELECT entity, bucket, CAST(SUM(executions) AS BIGINT)
         FROM entity_metric_buckets WHERE {} GROUP BY entity, bucket ORDER BY entity, bucket",
        registered()
    )
}

fn registered() -> String {
    let each = MEASURED.map(|entity| {
        format!("(entity = '{}' AND id IN (SELECT id FROM {}))", entity.as_str(), name_of(entity))
    });
    each.join(" OR ")
}

/// A statement and its parameters; what it answers does not matter.
pub(crate) struct Step {
    pub sql: Cow<'static, str>,
    pub params: Vec<Value<'static>>,
}

fn step(sql: impl Into<Cow<'static, str>>, params: Vec<Value<'static>>) -> Step {
    Step { sql: sql.into(), params }
}

fn text(text: impl Into<Cow<'static, str>>) -> Value<'static> {
    Value::Text(text.into())
}

/// Sets the metrics of a kind, or of one of it, to nothing, and notes when.
pub(crate) fn reset(entity: Entity, id: Option<&str>, at: i64) -> Vec<Step> {
    let kind = || text(entity.as_str());
    let own = || text(id.unwrap_or_default().to_owned());
    let mut steps = vec![step(
        "INSERT INTO metric_resets (entity, id, at) VALUES ($1, $2, $3)
         ON CONFLICT (entity, id) DO UPDATE SET at = excluded.at
         WHERE metric_resets.at < excluded.at",
        vec![kind(), own(), Value::Integer(at)],
    )];
    for table in ["entity_metrics", "entity_metric_buckets"] {
        steps.push(match id {
            None => step(format!("DELETE FROM {table} WHERE entity = $1"), vec![kind()]),
            Some(_) => step(
                format!("DELETE FROM {table} WHERE entity = $1 AND id = $2"),
                vec![kind(), own()],
            ),
        });
    }
    steps
}

/// Deletes what was counted of records that are gone, and what is too old to be asked for.
pub(crate) fn sweep(now: i64) -> Vec<Step> {
    let old = || vec![Value::Integer(now.saturating_sub(REMEMBERED_US))];
    let mut steps = vec![
        step("DELETE FROM metric_resets WHERE at < $1 AND entity <> ''", old()),
        step("DELETE FROM metric_writers WHERE at < $1", old()),
    ];
    for entity in MEASURED {
        for table in ["entity_metrics", "entity_metric_buckets"] {
            let records = name_of(entity);
            let sql = format!(
                "DELETE FROM {table} WHERE entity = $1 AND id NOT IN (SELECT id FROM {records})"
            );
            steps.push(step(sql, vec![text(entity.as_str())]));
        }
    }
    steps.push(usage::sweep(now));
    steps
}
