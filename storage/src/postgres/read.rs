//! Reading: everything at once, what changed, the records of some ids.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::session::{Call, Param, Session};
use crate::change::{Change, Changes, Current, Feed, Snapshot};
use crate::error::StoreError;
use crate::record::{Entity, Gateway, Prompt, Resource, Server, Tool, UnknownText};
use crate::table::{MEMBERSHIPS, Table, Value};

/// The end of the feed, and the highest sequence that was pruned.
const FEED_ENDS: &str = "SELECT sequence, pruned FROM feed WHERE id = 1";

/// Reads every record, at one point of the change feed.
pub async fn load(session: &Session) -> Result<Snapshot, StoreError> {
    session.begin_reading().await?;
    let members: Vec<String> = MEMBERSHIPS.iter().map(|each| all_members(each.table)).collect();
    let mut calls: Vec<Call<'_>> = vec![
        bare(FEED_ENDS),
        bare(Gateway::select()),
        bare(Tool::select()),
        bare(Resource::select()),
        bare(Prompt::select()),
        bare(Server::select()),
    ];
    calls.extend(members.iter().map(|sql| bare(sql)));
    let replies = session.all("loading records", &calls).await?;
    session.end_reading().await?;
    let mut replies = replies.into_iter().map(|reply| reply.rows);
    let mut next = || replies.next().expect("each call has its reply");
    let (sequence, _) = ends(&next())?;
    let gateways = shared::<Gateway>(&next())?;
    let tools = shared::<Tool>(&next())?;
    let resources = shared::<Resource>(&next())?;
    let prompts = shared::<Prompt>(&next())?;
    let mut servers = records::<Server>(&next())?;
    fill(&mut servers, &MEMBERSHIPS.map(|_| next()))?;
    let servers = servers.into_iter().map(Arc::new).collect();
    Ok(Snapshot { sequence, gateways, tools, resources, prompts, servers })
}

/// Tells what changed after `since`, from at most `limit` rows.
pub async fn changes_since(
    session: &Session,
    since: i64,
    limit: usize,
) -> Result<Feed, StoreError> {
    session.begin_reading().await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = "SELECT sequence, entity, id FROM changes WHERE sequence > $1
                ORDER BY sequence LIMIT $2";
    let calls = [
        bare(FEED_ENDS),
        Call { sql: rows, params: vec![Param::Number(since), Param::Number(limit)] },
    ];
    let replies = session.all("reading the change feed", &calls).await?;
    let (sequence, pruned) = ends(&replies[0].rows)?;
    if since < pruned || since > sequence {
        session.end_reading().await?;
        return Ok(Feed::Lost { from: pruned, sequence });
    }
    let rows = replies[1].rows.iter().map(feed_row).collect::<Result<Vec<_>, _>>()?;
    let end = rows.last().map_or(since, |row| row.sequence);
    let rows = last_of_each(rows);
    let mut found = currents(session, &rows).await?;
    session.end_reading().await?;
    let items = rows.into_iter().map(|FeedRow { sequence, entity, id }| {
        let current = found.remove(&(entity, id.clone()));
        Change { sequence, current: current.unwrap_or(Current::Deleted { entity, id }) }
    });
    Ok(Feed::Changes(Changes { sequence: end, items: items.collect(), more: end < sequence }))
}

/// Reads a small value.
pub async fn meta(session: &Session, key: &str) -> Result<Option<String>, StoreError> {
    let call =
        Call { sql: "SELECT value FROM meta WHERE key = $1", params: vec![Param::Text(key)] };
    session.begin_reading().await?;
    let reply = session.call("reading a value", call).await?;
    session.end_reading().await?;
    reply.rows.first().map(|row| cell_of(row, 0)).transpose()
}

/// Reads one row that is always there.
pub async fn ping(session: &Session) -> Result<(), StoreError> {
    session.begin_reading().await?;
    let reply = session.call("reading the end of the change feed", bare(FEED_ENDS)).await?;
    session.end_reading().await?;
    ends(&reply.rows).map(|_| ())
}

/// The servers with these ids as they stand, each with its lists.
pub async fn servers(session: &Session, ids: &[&str]) -> Result<Vec<Server>, StoreError> {
    let members: Vec<String> = MEMBERSHIPS.iter().map(|each| some_members(each.table)).collect();
    let one = some_of::<Server>();
    let some = |sql| Call { sql, params: vec![Param::Texts(ids.to_vec())] };
    let mut calls = vec![some(one.as_str())];
    calls.extend(members.iter().map(|sql| some(sql.as_str())));
    let mut replies = session.all("reading servers", &calls).await?;
    let members: Vec<Vec<Row>> = replies.drain(1..).map(|reply| reply.rows).collect();
    let mut servers = records::<Server>(&replies[0].rows)?;
    fill(&mut servers, &members)?;
    Ok(servers)
}

/// The end of the feed and the highest pruned sequence, from the row that holds them.
pub fn ends(rows: &[Row]) -> Result<(i64, i64), StoreError> {
    match rows.first() {
        Some(row) => Ok((cell_of(row, 0)?, cell_of(row, 1)?)),
        None => Err(StoreError::Corrupt {
            table: "feed",
            column: "id",
            reason: "its only row is missing".to_owned(),
        }),
    }
}

/// A cell as the records' tables know it.
pub fn cell(row: &Row, index: usize) -> Result<Value<'_>, String> {
    let kind = row.columns().get(index).map(|column| column.type_());
    let value = match kind {
        Some(&Type::INT8) => row.try_get(index).map(|cell: Option<i64>| cell.map(Value::Integer)),
        Some(&Type::BOOL) => row.try_get(index).map(|cell: Option<bool>| cell.map(Value::Boolean)),
        _ => row.try_get(index).map(|cell: Option<&str>| cell.map(|text| Value::Text(text.into()))),
    };
    value.map(|value| value.unwrap_or(Value::Null)).map_err(|error| error.to_string())
}

/// A cell of a kind that is known.
pub fn cell_of<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    index: usize,
) -> Result<T, StoreError> {
    row.try_get(index)
        .map_err(|error| StoreError::Database { doing: "reading a row", reason: error.to_string() })
}

fn bare(sql: &str) -> Call<'_> {
    Call { sql, params: Vec::new() }
}

fn all_members(table: &str) -> String {
    format!("SELECT server_id, member_id FROM {table} ORDER BY server_id, position")
}

fn some_members(table: &str) -> String {
    format!(
        "SELECT server_id, member_id FROM {table} WHERE server_id = ANY($1)
         ORDER BY server_id, position"
    )
}

fn some_of<T: Table>() -> String {
    format!("{} WHERE id = ANY($1)", T::select())
}

fn records<T: Table>(rows: &[Row]) -> Result<Vec<T>, StoreError> {
    rows.iter().map(|row| T::decode(|index| cell(row, index))).collect()
}

fn shared<T: Table>(rows: &[Row]) -> Result<Vec<Arc<T>>, StoreError> {
    rows.iter().map(|row| T::decode(|index| cell(row, index)).map(Arc::new)).collect()
}

/// Puts the members of each table into the servers that chose them.
fn fill(servers: &mut [Server], members: &[Vec<Row>]) -> Result<(), StoreError> {
    let places: HashMap<String, usize> =
        servers.iter().enumerate().map(|(index, server)| (server.id.clone(), index)).collect();
    for (membership, rows) in MEMBERSHIPS.iter().zip(members) {
        for row in rows {
            let server_id: &str = cell_of(row, 0)?;
            if let Some(index) = places.get(server_id) {
                (membership.list)(&mut servers[*index]).push(cell_of(row, 1)?);
            }
        }
    }
    Ok(())
}

/// A row of the change feed.
struct FeedRow {
    sequence: i64,
    entity: Entity,
    id: String,
}

fn feed_row(row: &Row) -> Result<FeedRow, StoreError> {
    let word: &str = cell_of(row, 1)?;
    let entity = word.parse().map_err(|error: UnknownText| StoreError::Corrupt {
        table: "changes",
        column: "entity",
        reason: error.to_string(),
    })?;
    Ok(FeedRow { sequence: cell_of(row, 0)?, entity, id: cell_of(row, 2)? })
}

/// Each record once, at the place of its last row.
fn last_of_each(mut rows: Vec<FeedRow>) -> Vec<FeedRow> {
    let mut seen = HashSet::new();
    rows.reverse();
    rows.retain(|row| seen.insert((row.entity, row.id.clone())));
    rows.reverse();
    rows
}

/// The records of the rows that are still there.
async fn currents(
    session: &Session,
    rows: &[FeedRow],
) -> Result<HashMap<(Entity, String), Current>, StoreError> {
    let ids = |entity: Entity| -> Vec<&str> {
        rows.iter().filter(|row| row.entity == entity).map(|row| row.id.as_str()).collect()
    };
    let sqls =
        [some_of::<Gateway>(), some_of::<Tool>(), some_of::<Resource>(), some_of::<Prompt>()];
    let kinds = [Entity::Gateway, Entity::Tool, Entity::Resource, Entity::Prompt];
    let calls: Vec<Call<'_>> = kinds
        .iter()
        .zip(&sqls)
        .map(|(kind, sql)| Call { sql, params: vec![Param::Texts(ids(*kind))] })
        .collect();
    let replies = session.all("reading records", &calls).await?;
    let mut found: Vec<Current> = Vec::with_capacity(rows.len());
    found.extend(shared(&replies[0].rows)?.into_iter().map(Current::Gateway));
    found.extend(shared(&replies[1].rows)?.into_iter().map(Current::Tool));
    found.extend(shared(&replies[2].rows)?.into_iter().map(Current::Resource));
    found.extend(shared(&replies[3].rows)?.into_iter().map(Current::Prompt));
    let server_ids = ids(Entity::Server);
    if !server_ids.is_empty() {
        let servers = servers(session, &server_ids).await?;
        found.extend(servers.into_iter().map(|server| Current::Server(Arc::new(server))));
    }
    let keyed = found.into_iter().map(|current| {
        let key = (current.entity(), current.id().to_owned());
        (key, current)
    });
    Ok(keyed.collect())
}
