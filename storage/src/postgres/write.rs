//! Writing: mutations in one transaction, each with its row in the change feed.

use std::collections::HashMap;
use std::sync::Arc;

use super::lease::CLOCK;
use super::param::Param;
use super::read;
use super::session::{Call, Session};
use crate::change::{Applied, Current, Mutation};
use crate::error::StoreError;
use crate::record::{Entity, now};
use crate::table::Value;
use crate::write::{Answer, Clock, Plan, Refusal, Statement, TOUCH_SERVER, Writer};

/// The channel of the notices that the feed has moved.
pub(super) const CHANNEL: &str = "ringway_changes";

/// How many mutations are sent before their answers are read: enough that the way to the server
/// does not matter, few enough that neither side holds much.
const PLAN_COUNT: usize = 256;

/// Does all of the mutations or none, and keeps the feed to its bound.
pub async fn apply(
    session: &Session,
    mutations: Vec<Mutation>,
    change_count_max: i64,
) -> Result<Applied, StoreError> {
    // Whoever writes holds this row until the commit: sequences are committed in order.
    let lock = "SELECT sequence, pruned FROM feed WHERE id = 1 FOR UPDATE";
    let lock = Call { sql: lock, params: Vec::new() };
    let held = session.begin_writing("waiting for another process to write", &[lock]).await?;
    let (sequence, pruned) = read::ends(&held[0].rows)?;
    let mut writer = Writer::new(sequence, now());
    let mut mutations = mutations.into_iter();
    loop {
        let plans: Vec<Plan> = mutations.by_ref().take(PLAN_COUNT).map(Plan::from).collect();
        if plans.is_empty() {
            break;
        }
        run(session, &plans, &mut writer).await?;
    }
    touch_losers(session, &mut writer).await?;
    let at = writer.at;
    let applied = writer.finish();
    if applied.changes.is_empty() {
        session.commit("committing", &[]).await?;
    } else {
        let pruned = pruned.max(applied.sequence - change_count_max);
        commit_feed(session, &applied, at, pruned).await?;
    }
    Ok(applied)
}

/// Writes a small value.
pub async fn put_meta(session: &Session, key: &str, value: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta (key, value) VALUES ($1, $2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    let params = vec![Param::Text(key), Param::Text(value)];
    session.begin_writing("writing a value", &[Call { sql, params }]).await?;
    session.commit("writing a value", &[]).await.map(|_| ())
}

/// Runs the statements of the plans, all sent before the first answer is read.
async fn run(session: &Session, plans: &[Plan], writer: &mut Writer) -> Result<(), StoreError> {
    let statements: Vec<Statement<'_>> =
        plans.iter().flat_map(|plan| plan.statements(Clock::Database(CLOCK))).collect();
    let calls: Vec<Call<'_>> = statements
        .iter()
        .map(|statement| Call {
            sql: &statement.sql,
            params: statement.params.iter().map(Param::Value).collect(),
        })
        .collect();
    let replies = session.pipeline("writing records", &calls).await?;
    // After the first error the server refuses the rest, so the first is the one that counts.
    for (statement, reply) in statements.iter().zip(replies) {
        let answer = match reply {
            Ok(reply) => answer(&reply.rows, reply.count).map_err(Refusal::Other),
            Err(error) => Err(session.refusal(&error)),
        };
        writer.settle(statement, answer)?;
    }
    Ok(())
}

/// The first cell of each row.
fn answer(rows: &[tokio_postgres::Row], count: u64) -> Result<Answer, StoreError> {
    let cells = rows.iter().map(|row| match read::cell(row, 0) {
        Ok(Value::Text(text)) => Ok(Value::Text(text.into_owned().into())),
        Ok(Value::Integer(number)) => Ok(Value::Integer(number)),
        Ok(Value::Boolean(flag)) => Ok(Value::Boolean(flag)),
        Ok(Value::Null) => Ok(Value::Null),
        Err(reason) => Err(StoreError::Database { doing: "writing records", reason }),
    });
    Ok(Answer { cells: cells.collect::<Result<_, _>>()?, count })
}

/// Raises the version of the servers that lost a member.
async fn touch_losers(session: &Session, writer: &mut Writer) -> Result<(), StoreError> {
    let losers = writer.take_losers();
    if losers.is_empty() {
        return Ok(());
    }
    let at = writer.at;
    let touch = |id| Call { sql: TOUCH_SERVER, params: vec![Param::Number(at), Param::Text(id)] };
    let mut calls: Vec<Call<'_>> = losers.iter().map(|id| touch(id)).collect();
    let ids: Vec<&str> = losers.iter().map(String::as_str).collect();
    let sql = read::ServerSql::new();
    let touch_count = calls.len();
    calls.extend(sql.calls(&ids));
    let replies = session.all("changing servers", &calls).await?;
    let servers = read::servers(&replies[touch_count..])?;
    let mut found: HashMap<String, _> =
        servers.into_iter().map(|server| (server.id.clone(), server)).collect();
    for id in losers {
        writer.tell(match found.remove(&id) {
            Some(server) => Current::Server(Arc::new(server)),
            None => Current::Deleted { entity: Entity::Server, id },
        });
    }
    Ok(())
}

/// Writes the rows of the feed, moves both its ends, tells who listens, and commits.
async fn commit_feed(
    session: &Session,
    applied: &Applied,
    at: i64,
    pruned: i64,
) -> Result<(), StoreError> {
    let changes = &applied.changes;
    let rows = "INSERT INTO changes (sequence, entity, id, action, at)
                SELECT sequence, entity, id, action, $5::bigint
                FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
                AS row (sequence, entity, id, action)";
    let columns = vec![
        Param::Numbers(changes.iter().map(|change| change.sequence).collect()),
        Param::Texts(changes.iter().map(|change| change.current.entity().as_str()).collect()),
        Param::Texts(changes.iter().map(|change| change.current.id()).collect()),
        Param::Texts(changes.iter().map(|change| change.action()).collect()),
        Param::Number(at),
    ];
    let sequence = applied.sequence;
    let told = sequence.to_string();
    let calls = [
        Call { sql: rows, params: columns },
        Call {
            sql: "DELETE FROM changes WHERE sequence <= $1",
            params: vec![Param::Number(pruned)],
        },
        Call {
            sql: "UPDATE feed SET sequence = $1, pruned = $2 WHERE id = 1",
            params: vec![Param::Number(sequence), Param::Number(pruned)],
        },
        Call {
            sql: "SELECT pg_notify($1, $2)::text",
            params: vec![Param::Text(CHANNEL), Param::Text(&told)],
        },
    ];
    session.commit("writing the change feed", &calls).await.map(|_| ())
}
