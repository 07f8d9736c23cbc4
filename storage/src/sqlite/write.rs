//! Writing: mutations in one transaction, each with its row in the change feed.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, Transaction, TransactionBehavior, ffi};

use super::{failed, read};
use crate::change::{Applied, Mutation};
use crate::error::StoreError;
use crate::record::{Entity, now};
use crate::table::Value;
use crate::write::{Answer, Clock, Plan, Refusal, Statement, TOUCH_SERVER, Writer};

/// Does all of the mutations or none, and keeps the feed to its bound.
pub fn apply(
    connection: &mut Connection,
    mutations: Vec<Mutation>,
    change_count_max: i64,
) -> Result<Applied, StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("beginning to write"))?;
    let (sequence, pruned) = read::feed_ends(&transaction)?;
    let mut writer = Writer::new(sequence, now());
    for mutation in mutations {
        let plan = Plan::from(mutation);
        for statement in plan.statements(Clock::Ours) {
            writer.settle(&statement, run(&transaction, &statement))?;
        }
    }
    touch_losers(&transaction, &mut writer)?;
    let at = writer.at;
    let applied = writer.finish();
    if !applied.changes.is_empty() {
        write_feed(&transaction, &applied, at)?;
        advance(&transaction, applied.sequence, pruned.max(applied.sequence - change_count_max))?;
    }
    transaction.commit().map_err(failed("committing"))?;
    Ok(applied)
}

/// Writes a small value.
pub fn put_meta(connection: &mut Connection, key: &str, value: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    let written = connection.execute(sql, [key, value]);
    written.map(|_| ()).map_err(failed("writing a value"))
}

/// Runs one statement to its end.
fn run(transaction: &Transaction<'_>, statement: &Statement<'_>) -> Result<Answer, Refusal> {
    let run = || {
        let mut prepared = transaction.prepare_cached(&statement.sql)?;
        let mut rows = prepared.query(rusqlite::params_from_iter(&statement.params))?;
        let mut cells = Vec::new();
        while let Some(row) = rows.next()? {
            cells.push(match row.get_ref(0)? {
                ValueRef::Integer(number) => Value::Integer(number),
                _ => Value::Text(row.get::<_, String>(0)?.into()),
            });
        }
        Ok(Answer { cells, count: transaction.changes() })
    };
    run().map_err(refusal)
}

/// Raises the version of the servers that lost a member.
fn touch_losers(transaction: &Transaction<'_>, writer: &mut Writer) -> Result<(), StoreError> {
    for id in writer.take_losers() {
        transaction
            .prepare_cached(TOUCH_SERVER)
            .and_then(|mut statement| statement.execute((writer.at, &id)))
            .map_err(failed("changing a server"))?;
        writer.tell(read::current(transaction, Entity::Server, id)?);
    }
    Ok(())
}

fn write_feed(transaction: &Transaction<'_>, applied: &Applied, at: i64) -> Result<(), StoreError> {
    let write = || {
        let mut statement = transaction.prepare_cached(
            "INSERT INTO changes (sequence, entity, id, action, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for change in &applied.changes {
            let entity = change.current.entity().as_str();
            let id = change.current.id();
            statement.execute((change.sequence, entity, id, change.action(), at))?;
        }
        Ok(())
    };
    write().map_err(failed("writing the change feed"))
}

/// Moves both ends of the feed. Its rows are dense, so the lower end is a plain subtraction.
fn advance(transaction: &Transaction<'_>, sequence: i64, pruned: i64) -> Result<(), StoreError> {
    let write = || {
        transaction
            .prepare_cached("DELETE FROM changes WHERE sequence <= ?1")?
            .execute([pruned])?;
        transaction
            .prepare_cached("UPDATE feed SET sequence = ?1, pruned = ?2 WHERE id = 1")?
            .execute([sequence, pruned])
    };
    write().map(|_| ()).map_err(failed("moving the change feed"))
}

fn refusal(error: rusqlite::Error) -> Refusal {
    match error.sqlite_error().map(|error| error.extended_code) {
        Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Refusal::Dangling,
        Some(ffi::SQLITE_CONSTRAINT_UNIQUE) => {
            // SQLite says: UNIQUE constraint failed: index 'tools_name'.
            let message = error.to_string();
            Refusal::Unique { index: message.split('\'').nth(1).unwrap_or_default().to_owned() }
        }
        _ => Refusal::Other(failed("writing")(error)),
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Boolean(flag) => ValueRef::Integer(i64::from(*flag)),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}
