//! The statements about the audit trail, and its rows, which are the same for every database.

use std::borrow::Cow;

use super::{AuditEntry, AuditFilter, StoredEntry};
use crate::error::StoreError;
use crate::metrics::sql::Step;
use crate::table::Value;

/// How long the last batch of a process is remembered: longer than a process may keep what it could
/// not store, in microseconds.
const REMEMBERED_US: i64 = 7 * 86_400 * 1_000_000;

/// The columns of numbers and of yes and no, in the order of [`numbers`].
pub(crate) const NUMBERS: [&str; 5] = ["at", "allowed", "succeeded", "status", "duration_us"];

/// The columns of text, in the order of [`texts`].
pub(crate) const TEXTS: [&str; 17] = [
    "request_id",
    "actor",
    "actor_kind",
    "token_id",
    "ip",
    "user_agent",
    "action",
    "area",
    "entity",
    "entity_id",
    "entity_name",
    "team_id",
    "server_id",
    "reason",
    "state_before",
    "state_after",
    "arguments",
];

/// Notes the batch `$2` of the process `$1` at the time `$3`, and gives a row if it is new.
pub(crate) const NOTE_BATCH: &str = "INSERT INTO audit_writers (writer, batch, at)
     VALUES ($1, $2, $3)
     ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, at = excluded.at
     WHERE audit_writers.batch < excluded.batch
     RETURNING batch";

/// Takes `$1` ids and gives the last of them. Whoever appends waits here for who appended before,
/// so ids grow in the order of commits.
pub(crate) const TAKE_IDS: &str =
    "UPDATE audit_sequence SET last = last + $1 RETURNING CAST(last AS BIGINT)";

/// The cells of [`NUMBERS`].
pub(crate) fn numbers(entry: &AuditEntry) -> [i64; NUMBERS.len()] {
    let AuditEntry { at, allowed, succeeded, status, duration_us, .. } = *entry;
    [at, i64::from(allowed), i64::from(succeeded), status, duration_us]
}

/// The cells of [`TEXTS`].
pub(crate) fn texts(entry: &AuditEntry) -> [Option<&str>; TEXTS.len()] {
    [
        entry.request_id.as_deref(),
        Some(&entry.actor),
        Some(&entry.actor_kind),
        entry.token_id.as_deref(),
        entry.ip.as_deref(),
        entry.user_agent.as_deref(),
        Some(&entry.action),
        Some(area(&entry.action)),
        entry.entity.as_deref(),
        entry.entity_id.as_deref(),
        entry.entity_name.as_deref(),
        entry.team_id.as_deref(),
        entry.server_id.as_deref(),
        entry.reason.as_deref(),
        entry.before.as_deref(),
        entry.after.as_deref(),
        entry.arguments.as_deref(),
    ]
}

/// The part of an action before its first dot.
fn area(action: &str) -> &str {
    action.split_once('.').map_or(action, |(area, _)| area)
}

/// The query of the newest entries that a filter lets through: the id, [`NUMBERS`] and [`TEXTS`].
pub(crate) fn read(filter: &AuditFilter) -> Step {
    let mut query = Query::default();
    query.time("at >=", filter.from);
    query.time("at <", filter.to);
    query.text("actor", filter.actor.as_deref());
    if let Some(action) = filter.action.as_deref() {
        let area = action.trim_end_matches('*').trim_end_matches('.');
        match area.contains('.') {
            true => query.text("action", Some(action)),
            false => query.text("area", Some(area)),
        }
    }
    query.text("entity", filter.entity.as_deref());
    query.text("entity_id", filter.entity_id.as_deref());
    query.text("entity_name", filter.entity_name.as_deref());
    query.text("team_id", filter.team_id.as_deref());
    query.text("server_id", filter.server_id.as_deref());
    query.flag("allowed", filter.allowed);
    query.flag("succeeded", filter.succeeded);
    if let Some(cursor) = filter.after {
        let at = query.place(Value::Integer(cursor.at));
        let id = query.place(Value::Integer(cursor.id));
        query.conditions.push(format!("(at, id) < ({at}, {id})"));
    }
    let count_max =
        query.place(Value::Integer(i64::try_from(filter.count_max).unwrap_or(i64::MAX)));
    let conditions = match query.conditions.is_empty() {
        true => "1 = 1".to_owned(),
        false => query.conditions.join(" AND "),
    };
    let columns = [NUMBERS.join(", "), TEXTS.join(", ")].join(", ");
    let sql = format!(
        "SELECT id, {columns} FROM audit_log WHERE {conditions}
         ORDER BY at DESC, id DESC LIMIT {count_max}"
    );
    Step { sql: sql.into(), params: query.params }
}

/// Deletes at most `count_max` entries before `at`, the oldest first, and then what is no longer
/// needed of processes that ended.
pub(crate) fn prune(at: i64, count_max: usize, now: i64) -> [Step; 2] {
    let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
    let entries = Step {
        sql: "DELETE FROM audit_log WHERE (at, id) IN
                  (SELECT at, id FROM audit_log WHERE at < $1 ORDER BY at, id LIMIT $2)"
            .into(),
        params: vec![Value::Integer(at), Value::Integer(count_max)],
    };
    let writers = Step {
        sql: "DELETE FROM audit_writers WHERE at < $1".into(),
        params: vec![Value::Integer(now.saturating_sub(REMEMBERED_US))],
    };
    [entries, writers]
}

/// A query as it grows. Parameters are named in the order in which they come, which SQLite needs.
#[derive(Default)]
struct Query {
    conditions: Vec<String>,
    params: Vec<Value<'static>>,
}

impl Query {
    fn place(&mut self, value: Value<'static>) -> String {
        self.params.push(value);
        format!("${}", self.params.len())
    }

    fn time(&mut self, condition: &str, at: Option<i64>) {
        if let Some(at) = at {
            let place = self.place(Value::Integer(at));
            self.conditions.push(format!("{condition} {place}"));
        }
    }

    fn text(&mut self, column: &str, text: Option<&str>) {
        if let Some(text) = text {
            let place = self.place(Value::Text(Cow::Owned(text.to_owned())));
            self.conditions.push(format!("{column} = {place}"));
        }
    }

    fn flag(&mut self, column: &str, flag: Option<bool>) {
        if let Some(flag) = flag {
            let place = self.place(Value::Boolean(flag));
            self.conditions.push(format!("{column} = {place}"));
        }
    }
}

/// The entry of a row of [`read`], whose cells `cell` gives by index.
pub(crate) fn decode<'r>(
    cell: impl Fn(usize) -> Result<Value<'r>, String>,
) -> Result<StoredEntry, StoreError> {
    let mut row = Row { cell, next: 0 };
    let id = row.number("id")?;
    let at = row.number("at")?;
    let (allowed, succeeded) = (row.number("allowed")? != 0, row.number("succeeded")? != 0);
    let (status, duration_us) = (row.number("status")?, row.number("duration_us")?);
    let request_id = row.text("request_id")?;
    let actor = row.text("actor")?.unwrap_or_default();
    let actor_kind = row.text("actor_kind")?.unwrap_or_default();
    let (token_id, ip) = (row.text("token_id")?, row.text("ip")?);
    let user_agent = row.text("user_agent")?;
    let action = row.text("action")?.unwrap_or_default();
    row.text("area")?;
    let entry = AuditEntry {
        request_id,
        token_id,
        ip,
        user_agent,
        entity: row.text("entity")?.map(Cow::Owned),
        entity_id: row.text("entity_id")?,
        entity_name: row.text("entity_name")?,
        team_id: row.text("team_id")?,
        server_id: row.text("server_id")?,
        allowed,
        succeeded,
        reason: row.text("reason")?,
        status,
        duration_us,
        before: row.text("state_before")?,
        after: row.text("state_after")?,
        arguments: row.text("arguments")?,
        ..AuditEntry::new(at, actor, Cow::Owned(actor_kind), action)
    };
    Ok(StoredEntry { id, entry })
}

/// A row that is read cell by cell.
struct Row<F> {
    cell: F,
    next: usize,
}

impl<'r, F: Fn(usize) -> Result<Value<'r>, String>> Row<F> {
    fn take(&mut self, column: &'static str) -> Result<Value<'r>, StoreError> {
        let index = self.next;
        self.next += 1;
        (self.cell)(index).map_err(|reason| corrupt(column, reason))
    }

    fn number(&mut self, column: &'static str) -> Result<i64, StoreError> {
        match self.take(column)? {
            Value::Integer(number) => Ok(number),
            Value::Boolean(flag) => Ok(i64::from(flag)),
            other => Err(corrupt(column, format!("{other:?} is not a number"))),
        }
    }

    fn text(&mut self, column: &'static str) -> Result<Option<String>, StoreError> {
        match self.take(column)? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text.into_owned())),
            other => Err(corrupt(column, format!("{other:?} is not text"))),
        }
    }
}

fn corrupt(column: &'static str, reason: String) -> StoreError {
    StoreError::Corrupt { table: "audit_log", column, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql_of(action: &str) -> (String, Vec<Value<'static>>) {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        let Step { sql, params } = read(&filter);
        (sql.into_owned(), params)
    }

    #[test]
    fn an_action_is_asked_for_alone_and_an_area_with_all_that_it_holds() {
        for (action, column, text) in [
            ("tools.execute", "action", "tools.execute"),
            ("auth", "area", "auth"),
            ("auth.", "area", "auth"),
            ("auth.*", "area", "auth"),
        ] {
            let (sql, params) = sql_of(action);
            assert!(sql.contains(&format!("WHERE {column} = $1")), "{sql}");
            assert_eq!(params[0], Value::Text(text.into()), "{action}");
        }
    }

    #[test]
    fn parameters_are_numbered_as_they_appear() {
        let filter = AuditFilter {
            from: Some(1),
            actor: Some("a".to_owned()),
            allowed: Some(false),
            after: Some(super::super::AuditCursor { at: 5, id: 6 }),
            count_max: 7,
            ..AuditFilter::default()
        };
        let Step { sql, params } = read(&filter);
        let expected = "WHERE at >= $1 AND actor = $2 AND allowed = $3 AND (at, id) < ($4, $5)";
        assert!(sql.contains(expected), "{sql}");
        assert!(sql.ends_with("LIMIT $6"), "{sql}");
        assert_eq!(params.len(), 6);
    }
}
