//! Reading: everything at once, what changed, the records of some ids.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::param::Param;
use super::session::{Call, Reply, Session};
use crate::change::{Change, Changes, Current, Feed, Snapshot};
use crate::error::StoreError;
use crate::record::{
    Agent, Entity, Gateway, Identity, Prompt, Resource, Root, Server, Tool, UnknownText,
};
use crate::table::{IDENTITY_TABLES, MEMBERSHIPS, Table, Value};

/// The end of the feed, and the highest sequence that was pruned.
const FEED_ENDS: &str = "SELECT sequence, pruned FROM feed WHERE id = 1";

/// Where the servers stand among what is loaded; their members follow.
const SERVERS_PLACE: usize = 7;

/// Reads every record, at one point of the change feed.
pub async fn load(session: &Session) -> Result<Snapshot, StoreError> {
    let members: Vec<String> = MEMBERSHIPS.iter().map(|each| all_members(each.table)).collect();
    let mut calls: Vec<Call<'_>> = vec![
        bare(FEED_ENDS),
        bare(Gateway::select()),
        bare(Tool::select()),
        bare(Resource::select()),
        bare(Prompt::select()),
        bare(Agent::select()),
        bare(Root::select()),
        bare(Server::select()),
    ];
    calls.extend(members.iter().map(|sql| bare(sql)));
    let identities_place = calls.len();
    calls.extend(IDENTITY_TABLES.iter().map(|table| bare((table.select)())));
    let replies = session.read("loading records", &calls).await?;
    let (sequence, _) = ends(&replies[0].rows)?;
    let servers = servers(&replies[SERVERS_PLACE..identities_place])?;
    Ok(Snapshot {
        sequence,
        gateways: shared::<Gateway>(&replies[1].rows)?,
        tools: shared::<Tool>(&replies[2].rows)?,
        resources: shared::<Resource>(&replies[3].rows)?,
        prompts: shared::<Prompt>(&replies[4].rows)?,
        agents: shared::<Agent>(&replies[5].rows)?,
        roots: shared::<Root>(&replies[6].rows)?,
        servers: servers.into_iter().map(Arc::new).collect(),
        identities: identities(&replies[identities_place..])?,
    })
}

/// Tells what changed after `since`, from at most `limit` rows.
pub async fn changes_since(
    session: &Session,
    since: i64,
    limit: usize,
) -> Result<Feed, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = "SELECT sequence, entity, id FROM changes WHERE sequence > $1
                ORDER BY sequence LIMIT $2";
    let calls = [
        bare(FEED_ENDS),
        Call { sql: rows, params: vec![Param::Number(since), Param::Number(limit)] },
    ];
    let replies = session.begin_reading("reading the change feed", &calls).await?;
    let (sequence, pruned) = ends(&replies[0].rows)?;
    if since < pruned || since > sequence {
        session.end_reading("reading the change feed", &[]).await?;
        return Ok(Feed::Lost { from: pruned, sequence });
    }
    let rows = replies[1].rows.iter().map(feed_row).collect::<Result<Vec<_>, _>>()?;
    let end = rows.last().map_or(since, |row| row.sequence);
    let rows = last_of_each(rows);
    let mut found = currents(session, &rows).await?;
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
    let replies = session.read("reading a value", &[call]).await?;
    replies[0].rows.first().map(|row| cell_of(row, 0)).transpose()
}

/// Reads one row that is always there.
pub async fn ping(session: &Session) -> Result<(), StoreError> {
    let replies = session.read("reading the end of the feed", &[bare(FEED_ENDS)]).await?;
    ends(&replies[0].rows).map(|_| ())
}

/// The statements that read the servers with some ids, each with its lists.
pub struct ServerSql {
    servers: String,
    members: [String; MEMBERSHIPS.len()],
}

impl ServerSql {
    pub fn new() -> ServerSql {
        let members = MEMBERSHIPS.map(|membership| some_members(membership.table));
        ServerSql { servers: some_of::<Server>(), members }
    }

    pub fn calls<'a>(&'a self, ids: &[&'a str]) -> Vec<Call<'a>> {
        let sqls = std::iter::once(&self.servers).chain(&self.members);
        sqls.map(|sql| Call { sql, params: vec![Param::Texts(ids.to_vec())] }).collect()
    }
}

/// The servers that came of the calls of a [`ServerSql`].
pub fn servers(replies: &[Reply]) -> Result<Vec<Server>, StoreError> {
    let mut servers = records::<Server>(&replies[0].rows)?;
    fill(&mut servers, replies[1..].iter().map(|reply| reply.rows.as_slice()))?;
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

/// The records that came of statements on the tables of identity, in their order.
fn identities(replies: &[Reply]) -> Result<Vec<Identity>, StoreError> {
    let mut records = Vec::new();
    for (table, reply) in IDENTITY_TABLES.iter().zip(replies) {
        for row in &reply.rows {
            records.push((table.decode)(&|index| cell(row, index))?);
        }
    }
    Ok(records)
}

/// Puts the members of each table into the servers that chose them.
fn fill<'r>(
    servers: &mut [Server],
    members: impl Iterator<Item = &'r [Row]>,
) -> Result<(), StoreError> {
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

/// The records of the rows that are still there; ends the transaction.
async fn currents(
    session: &Session,
    rows: &[FeedRow],
) -> Result<HashMap<(Entity, String), Current>, StoreError> {
    let ids = |entity: Entity| -> Vec<&str> {
        rows.iter().filter(|row| row.entity == entity).map(|row| row.id.as_str()).collect()
    };
    let kinds = [
        (Entity::Gateway, some_of::<Gateway>()),
        (Entity::Tool, some_of::<Tool>()),
        (Entity::Resource, some_of::<Resource>()),
        (Entity::Prompt, some_of::<Prompt>()),
        (Entity::Agent, some_of::<Agent>()),
        (Entity::Root, some_of::<Root>()),
    ];
    let server_ids = ids(Entity::Server);
    let server_sql = ServerSql::new();
    let mut calls = server_sql.calls(&server_ids);
    let server_count = calls.len();
    let some = kinds.iter();
    calls.extend(some.map(|(kind, sql)| Call { sql, params: vec![Param::Texts(ids(*kind))] }));
    let identity_sql: Vec<String> = IDENTITY_TABLES
        .iter()
        .map(|table| format!("{} WHERE id = ANY($1)", (table.select)()))
        .collect();
    let of_kinds = IDENTITY_TABLES.iter().zip(&identity_sql);
    calls.extend(
        of_kinds.map(|(table, sql)| Call { sql, params: vec![Param::Texts(ids(table.entity))] }),
    );
    let replies = session.end_reading("reading records", &calls).await?;
    let (of_servers, others) = replies.split_at(server_count);
    let mut found: Vec<Current> = Vec::with_capacity(rows.len());
    found.extend(shared(&others[0].rows)?.into_iter().map(Current::Gateway));
    found.extend(shared(&others[1].rows)?.into_iter().map(Current::Tool));
    found.extend(shared(&others[2].rows)?.into_iter().map(Current::Resource));
    found.extend(shared(&others[3].rows)?.into_iter().map(Current::Prompt));
    found.extend(shared(&others[4].rows)?.into_iter().map(Current::Agent));
    found.extend(shared(&others[5].rows)?.into_iter().map(Current::Root));
    found.extend(identities(&others[kinds.len()..])?.into_iter().map(Current::Identity));
    let servers = servers(of_servers)?.into_iter();
    found.extend(servers.map(|server| Current::Server(Arc::new(server))));
    let keyed = found.into_iter().map(|current| {
        let key = (current.entity(), current.id().to_owned());
        (key, current)
    });
    Ok(keyed.collect())
}
