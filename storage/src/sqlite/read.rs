//! Reading: everything at once, one record, what changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::failed;
use crate::change::{Change, Changes, Current, Feed, Snapshot};
use crate::error::StoreError;
use crate::record::{Agent, Entity, Gateway, Identity, Prompt, Resource, Root, Server, Tool};
use crate::table::{IDENTITY_TABLES, MEMBERSHIPS, Membership, Table, Value};

/// Reads every record, at one point of the change feed.
pub fn load(connection: &mut Connection) -> Result<Snapshot, StoreError> {
    let transaction = connection.transaction().map_err(failed("beginning to load"))?;
    let (sequence, _) = feed_ends(&transaction)?;
    Ok(Snapshot {
        sequence,
        gateways: all::<Gateway>(&transaction)?.into_iter().map(Arc::new).collect(),
        tools: all::<Tool>(&transaction)?.into_iter().map(Arc::new).collect(),
        resources: all::<Resource>(&transaction)?.into_iter().map(Arc::new).collect(),
        prompts: all::<Prompt>(&transaction)?.into_iter().map(Arc::new).collect(),
        servers: servers(&transaction)?.into_iter().map(Arc::new).collect(),
        agents: all::<Agent>(&transaction)?.into_iter().map(Arc::new).collect(),
        roots: all::<Root>(&transaction)?.into_iter().map(Arc::new).collect(),
        identities: identities(&transaction)?,
    })
}

/// Tells what changed after `since`, from at most `limit` rows.
pub fn changes_since(
    connection: &mut Connection,
    since: i64,
    limit: usize,
) -> Result<Feed, StoreError> {
    let transaction = connection.transaction().map_err(failed("beginning to read changes"))?;
    let (sequence, pruned) = feed_ends(&transaction)?;
    if since < pruned || since > sequence {
        return Ok(Feed::Lost { from: pruned, sequence });
    }
    let rows = feed_rows(&transaction, since, limit)?;
    let end = rows.last().map_or(since, |row| row.sequence);
    let mut seen = HashSet::new();
    let mut items = Vec::with_capacity(rows.len());
    for row in rows.into_iter().rev() {
        if seen.insert((row.entity, row.id.clone())) {
            let current = current(&transaction, row.entity, row.id)?;
            items.push(Change { sequence: row.sequence, current });
        }
    }
    items.reverse();
    Ok(Feed::Changes(Changes { sequence: end, items, more: end < sequence }))
}

/// Reads a small value.
pub fn meta(connection: &mut Connection, key: &str) -> Result<Option<String>, StoreError> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")
        .and_then(|mut statement| statement.query_row([key], |row| row.get(0)).optional())
        .map_err(failed("reading a value"))
}

/// Reads one row that is always there.
pub fn ping(connection: &mut Connection) -> Result<(), StoreError> {
    feed_ends(connection).map(|_| ())
}

/// The end of the feed, and the highest sequence that was pruned.
pub fn feed_ends(connection: &Connection) -> Result<(i64, i64), StoreError> {
    connection
        .prepare_cached("SELECT sequence, pruned FROM feed WHERE id = 1")
        .and_then(|mut statement| statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
        .map_err(failed("reading the end of the change feed"))
}

/// The record with this id as it stands, or the news that it is gone.
pub fn current(connection: &Connection, entity: Entity, id: String) -> Result<Current, StoreError> {
    let found = match entity {
        Entity::Gateway => one(connection, &id)?.map(|record| Current::Gateway(Arc::new(record))),
        Entity::Tool => one(connection, &id)?.map(|record| Current::Tool(Arc::new(record))),
        Entity::Resource => one(connection, &id)?.map(|record| Current::Resource(Arc::new(record))),
        Entity::Prompt => one(connection, &id)?.map(|record| Current::Prompt(Arc::new(record))),
        Entity::Server => server(connection, &id)?.map(|record| Current::Server(Arc::new(record))),
        Entity::Agent => one(connection, &id)?.map(|record| Current::Agent(Arc::new(record))),
        Entity::Root => one(connection, &id)?.map(|record| Current::Root(Arc::new(record))),
        other => identity(connection, other, &id)?.map(Current::Identity),
    };
    Ok(found.unwrap_or(Current::Deleted { entity, id }))
}

/// A row of the change feed.
struct FeedRow {
    sequence: i64,
    entity: Entity,
    id: String,
}

fn feed_rows(
    connection: &Connection,
    since: i64,
    limit: usize,
) -> Result<Vec<FeedRow>, StoreError> {
    let doing = "reading the change feed";
    let sql = "SELECT sequence, entity, id FROM changes WHERE sequence > ?1
               ORDER BY sequence LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).map_err(failed(doing))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((since, limit)).map_err(failed(doing))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed(doing))? {
        let word: String = row.get(1).map_err(failed(doing))?;
        found.push(FeedRow {
            sequence: row.get(0).map_err(failed(doing))?,
            entity: word.parse().map_err(|error: crate::record::UnknownText| {
                let reason = error.to_string();
                StoreError::Corrupt { table: "changes", column: "entity", reason }
            })?,
            id: row.get(2).map_err(failed(doing))?,
        });
    }
    Ok(found)
}

fn all<T: Table>(connection: &Connection) -> Result<Vec<T>, StoreError> {
    let doing = "loading records";
    let mut statement = connection.prepare_cached(T::select()).map_err(failed(doing))?;
    let mut rows = statement.query([]).map_err(failed(doing))?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(failed(doing))? {
        records.push(record(row)?);
    }
    Ok(records)
}

/// Every record of every table of identity.
fn identities(connection: &Connection) -> Result<Vec<Identity>, StoreError> {
    let doing = "loading records";
    let mut records = Vec::new();
    for table in &IDENTITY_TABLES {
        let mut statement = connection.prepare_cached((table.select)()).map_err(failed(doing))?;
        let mut rows = statement.query([]).map_err(failed(doing))?;
        while let Some(row) = rows.next().map_err(failed(doing))? {
            records.push((table.decode)(&|index| cell(row, index))?);
        }
    }
    Ok(records)
}

fn identity(
    connection: &Connection,
    entity: Entity,
    id: &str,
) -> Result<Option<Identity>, StoreError> {
    let doing = "reading a record";
    let table = IDENTITY_TABLES.iter().find(|table| table.entity == entity);
    let table = table.expect("every kind of record has a table");
    let sql = format!("{} WHERE id = ?1", (table.select)());
    let mut statement = connection.prepare_cached(&sql).map_err(failed(doing))?;
    let mut rows = statement.query([id]).map_err(failed(doing))?;
    let row = rows.next().map_err(failed(doing))?;
    row.map(|row| (table.decode)(&|index| cell(row, index))).transpose()
}

fn one<T: Table>(connection: &Connection, id: &str) -> Result<Option<T>, StoreError> {
    let doing = "reading a record";
    let sql = format!("{} WHERE id = ?1", T::select());
    let mut statement = connection.prepare_cached(&sql).map_err(failed(doing))?;
    let mut rows = statement.query([id]).map_err(failed(doing))?;
    rows.next().map_err(failed(doing))?.map(record).transpose()
}

/// All virtual servers with their lists: one pass over each table.
fn servers(connection: &Connection) -> Result<Vec<Server>, StoreError> {
    let mut servers: Vec<Server> = all(connection)?;
    let places: HashMap<String, usize> =
        servers.iter().enumerate().map(|(index, server)| (server.id.clone(), index)).collect();
    for membership in &MEMBERSHIPS {
        let sql = format!(
            "SELECT server_id, member_id FROM {} ORDER BY server_id, position",
            membership.table
        );
        let mut fill = |row: &Row<'_>| -> rusqlite::Result<()> {
            let server_id: String = row.get(0)?;
            // The foreign key says that the server is there, and the transaction that both were
            // read at one time.
            if let Some(index) = places.get(&server_id) {
                (membership.list)(&mut servers[*index]).push(row.get(1)?);
            }
            Ok(())
        };
        each(connection, &sql, &[], &mut fill)?;
    }
    Ok(servers)
}

fn server(connection: &Connection, id: &str) -> Result<Option<Server>, StoreError> {
    let Some(mut server) = one::<Server>(connection, id)? else { return Ok(None) };
    for Membership { table, list, .. } in &MEMBERSHIPS {
        let sql = format!("SELECT member_id FROM {table} WHERE server_id = ?1 ORDER BY position");
        each(connection, &sql, &[id], &mut |row| {
            list(&mut server).push(row.get(0)?);
            Ok(())
        })?;
    }
    Ok(Some(server))
}

/// Hands every row of a query to `take`.
pub fn each(
    connection: &Connection,
    sql: &str,
    params: &[&str],
    take: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> Result<(), StoreError> {
    let doing = failed("reading rows");
    let mut statement = connection.prepare_cached(sql).map_err(&doing)?;
    let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(&doing)?;
    while let Some(row) = rows.next().map_err(&doing)? {
        take(row).map_err(&doing)?;
    }
    Ok(())
}

fn record<T: Table>(row: &Row<'_>) -> Result<T, StoreError> {
    T::decode(|index| cell(row, index))
}

/// A cell as the records' tables know it.
pub fn cell<'r>(row: &'r Row<'_>, index: usize) -> Result<Value<'r>, String> {
    match row.get_ref(index) {
        Ok(ValueRef::Null) => Ok(Value::Null),
        Ok(ValueRef::Integer(number)) => Ok(Value::Integer(number)),
        Ok(ValueRef::Text(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(text.into())),
            Err(error) => Err(error.to_string()),
        },
        Ok(ValueRef::Real(_) | ValueRef::Blob(_)) => Err("a float or a blob".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
