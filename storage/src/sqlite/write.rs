//! Writing: mutations in one transaction, each with its row in the change feed.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, TransactionBehavior, ffi};

use super::{failed, lease, read};
use crate::change::{Applied, Change, Current, Mutation};
use crate::error::StoreError;
use crate::record::{Entity, Server, now};
use crate::table::{MEMBERSHIPS, Membership, Table, Value, name_of};

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
    let changes = Vec::with_capacity(mutations.len());
    let servers = BTreeSet::new();
    let mut writer = Writer { transaction: &transaction, at: now(), sequence, changes, servers };
    for mutation in mutations {
        writer.step(mutation)?;
    }
    writer.touch_servers()?;
    let applied = Applied { sequence: writer.sequence, changes: writer.changes };
    if !applied.changes.is_empty() {
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

/// A transaction in the making.
struct Writer<'t> {
    transaction: &'t Transaction<'t>,
    at: i64,
    sequence: i64,
    changes: Vec<Change>,
    /// Servers that lost a member and were not written since. They are told of once, at the end:
    /// a refresh that drops a thousand tools must not rewrite a server a thousand times.
    servers: BTreeSet<String>,
}

impl Writer<'_> {
    fn step(&mut self, mutation: Mutation) -> Result<(), StoreError> {
        match mutation {
            Mutation::Expect { entity, id, version } => self.expect(entity, id, version),
            Mutation::Fence { name, token } => lease::fence(self.transaction, name, token),
            Mutation::PutGateway(record) => self.put(*record, Current::Gateway),
            Mutation::PutTool(record) => self.put(*record, Current::Tool),
            Mutation::PutResource(record) => self.put(*record, Current::Resource),
            Mutation::PutPrompt(record) => self.put(*record, Current::Prompt),
            Mutation::PutServer(record) => self.put_server(*record),
            Mutation::DeleteGateway(id) => self.delete_gateway(id),
            Mutation::DeleteTool(id) => self.delete(Entity::Tool, id),
            Mutation::DeleteResource(id) => self.delete(Entity::Resource, id),
            Mutation::DeletePrompt(id) => self.delete(Entity::Prompt, id),
            Mutation::DeleteServer(id) => {
                self.servers.remove(&id);
                self.delete(Entity::Server, id)
            }
        }
    }

    fn expect(&self, entity: Entity, id: String, expected: i64) -> Result<(), StoreError> {
        let sql = format!("SELECT version FROM {} WHERE id = ?1", name_of(entity));
        let found: Option<i64> = self
            .transaction
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row([&id], |row| row.get(0)).optional())
            .map_err(failed("comparing a version"))?;
        match found {
            None => Err(StoreError::NotFound { entity, id }),
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(StoreError::VersionMismatch { entity, id, expected, found }),
        }
    }

    fn put<T: Table>(&mut self, record: T, wrap: fn(Arc<T>) -> Current) -> Result<(), StoreError> {
        self.write(&record)?;
        self.tell(wrap(Arc::new(record)))
    }

    fn put_server(&mut self, mut server: Server) -> Result<(), StoreError> {
        self.write(&server)?;
        let id = server.id.clone();
        for membership in &MEMBERSHIPS {
            let list = (membership.list)(&mut server);
            let mut seen = HashSet::new();
            list.retain(|id| seen.insert(id.clone()));
            self.write_members(membership, &id, list)?;
        }
        self.servers.remove(&server.id);
        self.tell(Current::Server(Arc::new(server)))
    }

    fn write_members(
        &self,
        membership: &Membership,
        server_id: &str,
        members: &[String],
    ) -> Result<(), StoreError> {
        let doing = failed("writing what a server chose");
        let Membership { table, entity, .. } = membership;
        let clear = format!("DELETE FROM {table} WHERE server_id = ?1");
        let insert =
            format!("INSERT INTO {table} (server_id, member_id, position) VALUES (?1, ?2, ?3)");
        let cleared = self
            .transaction
            .prepare_cached(&clear)
            .and_then(|mut statement| statement.execute([server_id]));
        cleared.map_err(&doing)?;
        let mut statement = self.transaction.prepare_cached(&insert).map_err(&doing)?;
        for (position, id) in (0_i64..).zip(members) {
            statement.execute((server_id, id, position)).map_err(|error| {
                if extended_code(&error) == Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) {
                    return StoreError::NotFound { entity: *entity, id: id.clone() };
                }
                doing(error)
            })?;
        }
        Ok(())
    }

    fn write<T: Table>(&self, record: &T) -> Result<(), StoreError> {
        let written = self.transaction.prepare_cached(T::upsert()).and_then(|mut statement| {
            statement.execute(rusqlite::params_from_iter(record.encode()))
        });
        written.map(|_| ()).map_err(|error| refused(record, error))
    }

    /// Deletes a gateway with everything that it offers, the offers first.
    fn delete_gateway(&mut self, id: String) -> Result<(), StoreError> {
        for membership in MEMBERSHIPS.iter().filter(|each| each.entity != Entity::Gateway) {
            let owned = name_of(membership.entity);
            self.note_servers(
                &format!(
                    "SELECT DISTINCT server_id FROM {} WHERE member_id IN
                 (SELECT id FROM {owned} WHERE gateway_id = ?1)",
                    membership.table
                ),
                &id,
            )?;
            let mut gone = Vec::new();
            let sql = format!("DELETE FROM {owned} WHERE gateway_id = ?1 RETURNING id");
            read::each(self.transaction, &sql, &[&id], &mut |row| {
                gone.push(row.get(0)?);
                Ok(())
            })?;
            for id in gone {
                self.tell(Current::Deleted { entity: membership.entity, id })?;
            }
        }
        self.delete(Entity::Gateway, id)
    }

    fn delete(&mut self, entity: Entity, id: String) -> Result<(), StoreError> {
        for membership in MEMBERSHIPS.iter().filter(|each| each.entity == entity) {
            let table = membership.table;
            self.note_servers(&format!("SELECT server_id FROM {table} WHERE member_id = ?1"), &id)?;
        }
        let sql = format!("DELETE FROM {} WHERE id = ?1", name_of(entity));
        let count = self
            .transaction
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.execute([&id]))
            .map_err(failed("deleting a record"))?;
        if count == 0 {
            return Err(StoreError::NotFound { entity, id });
        }
        self.tell(Current::Deleted { entity, id })
    }

    /// Notes the servers that are about to lose a member.
    fn note_servers(&mut self, sql: &str, id: &str) -> Result<(), StoreError> {
        let servers = &mut self.servers;
        read::each(self.transaction, sql, &[id], &mut |row| {
            servers.insert(row.get(0)?);
            Ok(())
        })
    }

    /// Raises the version of the servers that lost a member, so that who read one before does not
    /// write the lost id back.
    fn touch_servers(&mut self) -> Result<(), StoreError> {
        for id in std::mem::take(&mut self.servers) {
            self.transaction
                .prepare_cached(
                    "UPDATE servers SET version = version + 1, updated_at = ?2 WHERE id = ?1",
                )
                .and_then(|mut statement| statement.execute((&id, self.at)))
                .map_err(failed("changing a server"))?;
            let current = read::current(self.transaction, Entity::Server, id)?;
            self.tell(current)?;
        }
        Ok(())
    }

    /// Adds a row to the change feed.
    fn tell(&mut self, current: Current) -> Result<(), StoreError> {
        self.sequence += 1;
        let action = if matches!(current, Current::Deleted { .. }) { "delete" } else { "put" };
        let sql = "INSERT INTO changes (sequence, entity, id, action, at)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let entity = current.entity().as_str();
        self.transaction
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement.execute((self.sequence, entity, current.id(), action, self.at))
            })
            .map_err(failed("writing the change feed"))?;
        self.changes.push(Change { sequence: self.sequence, current });
        Ok(())
    }
}

/// The error of a record that the database did not take.
fn refused<T: Table>(record: &T, error: rusqlite::Error) -> StoreError {
    if extended_code(&error) == Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) {
        return StoreError::NotFound { entity: Entity::Gateway, id: record.text_of("gateway_id") };
    }
    if extended_code(&error) == Some(ffi::SQLITE_CONSTRAINT_UNIQUE) {
        // SQLite says: UNIQUE constraint failed: index 'tools_name'.
        let message = error.to_string();
        let named = |index: &str| message.contains(&format!("'{index}'"));
        if let Some((_, field)) = T::UNIQUE.iter().find(|(index, _)| named(index)) {
            return StoreError::Conflict { entity: T::ENTITY, field, value: record.text_of(field) };
        }
    }
    failed("writing a record")(error)
}

fn extended_code(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
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
