//! Writing, for every database alike: the statements of a mutation, and what their answers mean.
//!
//! It knows no driver. A backend turns each mutation into a [`Plan`], runs its statements in order
//! in one transaction, and gives every answer to the [`Writer`], which says what changed or whose
//! fault it is that nothing did. No statement of a plan depends on the answer to another, so a
//! backend may send many before it reads the first answer.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::change::{Applied, Change, Current, Mutation};
use crate::error::StoreError;
use crate::lease::fence_sql;
use crate::record::{Agent, Entity, Gateway, Identity, Prompt, Resource, Root, Server, Tool, now};
use crate::table::{MEMBERSHIPS, Table, Value, name_of, owned_by};

/// Raises the version of a server that lost a member.
pub(crate) const TOUCH_SERVER: &str =
    "UPDATE servers SET updated_at = $1, version = version + 1 WHERE id = $2";

/// Whose time decides whether a lease has expired.
#[derive(Clone, Copy)]
pub(crate) enum Clock {
    /// Ours: only one process writes at a time, and all are on one machine.
    Ours,
    /// The database's, by this expression in microseconds.
    Database(&'static str),
}

/// One mutation, in the form that statements borrow from.
pub(crate) enum Plan {
    Expect { entity: Entity, id: String, version: i64 },
    Fence { name: String, token: i64 },
    Put(Current),
    Delete { entity: Entity, id: String },
}

/// A statement, its parameters in the order of their places, and what its answer means.
pub(crate) struct Statement<'p> {
    pub sql: Cow<'static, str>,
    pub params: Vec<Value<'p>>,
    meaning: Meaning<'p>,
    /// What changed once this statement is done.
    told: Option<&'p Current>,
}

/// What the answer to a statement means.
enum Meaning<'p> {
    /// The version of a record that must have this one.
    Version { entity: Entity, id: &'p str, expected: i64 },
    /// A row if the lease is held.
    Lease { name: &'p str },
    /// A record was written.
    Record(&'p Current),
    /// A member of a server was written.
    Member { entity: Entity, id: &'p str },
    /// The servers that are about to lose a member.
    Losers,
    /// The ids of what a gateway or an agent offered, now gone.
    Offers(Entity),
    /// So many records with this id were deleted.
    Deleted { entity: Entity, id: &'p str },
    /// Nothing.
    Nothing,
}

/// What the database answered: the first cell of each row, and how many rows were written.
pub(crate) struct Answer {
    pub cells: Vec<Value<'static>>,
    pub count: u64,
}

/// Why the database refused a statement.
pub(crate) enum Refusal {
    /// A row with this key exists in the unique index of this name.
    Unique { index: String },
    /// What the row refers to is not there.
    Dangling,
    /// Something else.
    Other(StoreError),
}

impl From<Mutation> for Plan {
    fn from(mutation: Mutation) -> Plan {
        let delete = |entity, id| Plan::Delete { entity, id };
        match mutation {
            Mutation::Expect { entity, id, version } => Plan::Expect { entity, id, version },
            Mutation::Fence { name, token } => Plan::Fence { name, token },
            Mutation::PutGateway(record) => Plan::Put(Current::Gateway(Arc::new(*record))),
            Mutation::PutTool(record) => Plan::Put(Current::Tool(Arc::new(*record))),
            Mutation::PutResource(record) => Plan::Put(Current::Resource(Arc::new(*record))),
            Mutation::PutPrompt(record) => Plan::Put(Current::Prompt(Arc::new(*record))),
            Mutation::PutServer(record) => {
                Plan::Put(Current::Server(Arc::new(each_member_once(*record))))
            }
            Mutation::PutAgent(record) => Plan::Put(Current::Agent(Arc::new(*record))),
            Mutation::PutRoot(record) => Plan::Put(Current::Root(Arc::new(*record))),
            Mutation::DeleteGateway(id) => delete(Entity::Gateway, id),
            Mutation::DeleteTool(id) => delete(Entity::Tool, id),
            Mutation::DeleteResource(id) => delete(Entity::Resource, id),
            Mutation::DeletePrompt(id) => delete(Entity::Prompt, id),
            Mutation::DeleteServer(id) => delete(Entity::Server, id),
            Mutation::DeleteAgent(id) => delete(Entity::Agent, id),
            Mutation::DeleteRoot(id) => delete(Entity::Root, id),
            Mutation::PutIdentity(identity) => Plan::Put(Current::Identity(identity)),
            Mutation::DeleteIdentity { entity, id } => delete(entity, id),
        }
    }
}

fn each_member_once(mut server: Server) -> Server {
    for membership in &MEMBERSHIPS {
        let mut seen = HashSet::new();
        (membership.list)(&mut server).retain(|id| seen.insert(id.clone()));
    }
    server
}

impl Plan {
    /// The statements, in order, to be run soon: they may bear the time.
    pub fn statements(&self, clock: Clock) -> Vec<Statement<'_>> {
        match self {
            Plan::Expect { entity, id, version } => {
                let sql = format!("SELECT version FROM {} WHERE id = $1", name_of(*entity));
                let meaning = Meaning::Version { entity: *entity, id, expected: *version };
                vec![statement(sql, vec![text(id)], meaning)]
            }
            Plan::Fence { name, token } => {
                let mut params = vec![text(name), Value::Integer(*token)];
                let sql = match clock {
                    Clock::Database(expression) => fence_sql(expression, " FOR SHARE"),
                    Clock::Ours => {
                        params.push(Value::Integer(now()));
                        fence_sql("$3", "")
                    }
                };
                vec![statement(sql, params, Meaning::Lease { name })]
            }
            Plan::Put(current) => put(current),
            Plan::Delete { entity, id } => delete(*entity, id),
        }
    }
}

fn statement<'p>(
    sql: impl Into<Cow<'static, str>>,
    params: Vec<Value<'p>>,
    meaning: Meaning<'p>,
) -> Statement<'p> {
    Statement { sql: sql.into(), params, meaning, told: None }
}

fn text(text: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(text))
}

fn put(current: &Current) -> Vec<Statement<'_>> {
    let mut statements = match current {
        Current::Gateway(record) => vec![upsert::<Gateway>(record, current)],
        Current::Tool(record) => vec![upsert::<Tool>(record, current)],
        Current::Resource(record) => vec![upsert::<Resource>(record, current)],
        Current::Prompt(record) => vec![upsert::<Prompt>(record, current)],
        Current::Server(record) => {
            let mut statements = vec![upsert::<Server>(record, current)];
            members(record, &mut statements);
            statements
        }
        Current::Agent(record) => vec![upsert::<Agent>(record, current)],
        Current::Root(record) => vec![upsert::<Root>(record, current)],
        Current::Identity(identity) => {
            vec![statement(identity.upsert(), identity.encode(), Meaning::Record(current))]
        }
        Current::Deleted { .. } => Vec::new(),
    };
    if let Some(last) = statements.last_mut() {
        last.told = Some(current);
    }
    statements
}

fn upsert<'p, T: Table>(record: &'p T, current: &'p Current) -> Statement<'p> {
    statement(T::upsert(), record.encode(), Meaning::Record(current))
}

/// Replaces what a server chose.
fn members<'p>(server: &'p Server, statements: &mut Vec<Statement<'p>>) {
    for membership in &MEMBERSHIPS {
        let table = membership.table;
        let clear = format!("DELETE FROM {table} WHERE server_id = $1");
        statements.push(statement(clear, vec![text(&server.id)], Meaning::Nothing));
        let insert =
            format!("INSERT INTO {table} (server_id, member_id, position) VALUES ($1, $2, $3)");
        for (position, id) in (0_i64..).zip((membership.members)(server)) {
            let params = vec![text(&server.id), text(id), Value::Integer(position)];
            let meaning = Meaning::Member { entity: membership.entity, id };
            statements.push(statement(insert.clone(), params, meaning));
        }
    }
}

/// Deletes a record, and before it what goes with it.
fn delete(entity: Entity, id: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    for (owned, column) in owned_by(entity) {
        let (table, which) = (name_of(*owned), format!("{column} = $1"));
        for membership in MEMBERSHIPS.iter().filter(|each| each.entity == *owned) {
            let losers = format!(
                "SELECT DISTINCT server_id FROM {} WHERE member_id IN
                 (SELECT id FROM {table} WHERE {which})",
                membership.table
            );
            statements.push(statement(losers, vec![text(id)], Meaning::Losers));
        }
        let sql = format!("DELETE FROM {table} WHERE {which} RETURNING id");
        statements.push(statement(sql, vec![text(id)], Meaning::Offers(*owned)));
    }
    for membership in MEMBERSHIPS.iter().filter(|each| each.entity == entity) {
        let losers = format!("SELECT server_id FROM {} WHERE member_id = $1", membership.table);
        statements.push(statement(losers, vec![text(id)], Meaning::Losers));
    }
    let sql = format!("DELETE FROM {} WHERE id = $1", name_of(entity));
    statements.push(statement(sql, vec![text(id)], Meaning::Deleted { entity, id }));
    statements
}

/// A transaction in the making: what changed so far.
pub(crate) struct Writer {
    /// The time that the transaction bears.
    pub at: i64,
    sequence: i64,
    changes: Vec<Change>,
    /// Servers that lost a member and were not written since. They are told of once, at the end:
    /// a refresh that drops a thousand tools must not rewrite a server a thousand times.
    losers: BTreeSet<String>,
}

impl Writer {
    /// Begins after `sequence`, the end of the feed.
    pub fn new(sequence: i64, at: i64) -> Writer {
        Writer { at, sequence, changes: Vec::new(), losers: BTreeSet::new() }
    }

    /// Takes the answer to a statement. Answers come in the order of the statements.
    pub fn settle(
        &mut self,
        statement: &Statement<'_>,
        answer: Result<Answer, Refusal>,
    ) -> Result<(), StoreError> {
        let answer = answer.map_err(|refusal| statement.meaning.explain(refusal))?;
        match statement.meaning {
            Meaning::Version { entity, id, expected } => {
                check_version(entity, id, expected, &answer)?;
            }
            Meaning::Lease { name } if answer.cells.is_empty() => {
                return Err(StoreError::Fenced { name: name.to_owned() });
            }
            Meaning::Losers => self.losers.extend(answer.texts()),
            Meaning::Offers(entity) => {
                for id in answer.texts() {
                    self.tell(Current::Deleted { entity, id });
                }
            }
            Meaning::Deleted { entity, id } if answer.count == 0 => {
                return Err(StoreError::NotFound { entity, id: id.to_owned() });
            }
            Meaning::Deleted { entity, id } => {
                self.tell(Current::Deleted { entity, id: id.to_owned() });
            }
            Meaning::Lease { .. }
            | Meaning::Record(_)
            | Meaning::Member { .. }
            | Meaning::Nothing => {}
        }
        if let Some(current) = statement.told {
            self.tell(current.clone());
        }
        Ok(())
    }

    /// The servers that lost a member: raise their versions (see [`TOUCH_SERVER`]), so that who
    /// read one before does not write the lost id back, and tell of each as it then stands.
    pub fn take_losers(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.losers)
    }

    /// Adds a row to the change feed.
    pub fn tell(&mut self, current: Current) {
        if current.entity() == Entity::Server {
            self.losers.remove(current.id());
        }
        self.sequence += 1;
        self.changes.push(Change { sequence: self.sequence, current });
    }

    /// What the transaction changed.
    pub fn finish(self) -> Applied {
        Applied { sequence: self.sequence, changes: self.changes }
    }
}

impl Change {
    /// The word for it in the table of the feed.
    pub(crate) fn action(&self) -> &'static str {
        if matches!(self.current, Current::Deleted { .. }) { "delete" } else { "put" }
    }
}

impl Answer {
    fn texts(self) -> impl Iterator<Item = String> {
        self.cells.into_iter().filter_map(|cell| match cell {
            Value::Text(text) => Some(text.into_owned()),
            _ => None,
        })
    }
}

fn check_version(
    entity: Entity,
    id: &str,
    expected: i64,
    answer: &Answer,
) -> Result<(), StoreError> {
    let id = || id.to_owned();
    match answer.cells.first() {
        Some(Value::Integer(found)) if *found == expected => Ok(()),
        Some(Value::Integer(found)) => {
            Err(StoreError::VersionMismatch { entity, id: id(), expected, found: *found })
        }
        _ => Err(StoreError::NotFound { entity, id: id() }),
    }
}

impl Meaning<'_> {
    /// Whose fault it is that the statement was refused.
    fn explain(&self, refusal: Refusal) -> StoreError {
        match (refusal, self) {
            (Refusal::Other(error), _) => error,
            (Refusal::Unique { index }, Meaning::Record(current)) => collision(current, &index),
            (Refusal::Dangling, Meaning::Record(current)) => {
                let (entity, id) = owner_of(current);
                StoreError::NotFound { entity, id }
            }
            (Refusal::Dangling, Meaning::Member { entity, id }) => {
                StoreError::NotFound { entity: *entity, id: (*id).to_owned() }
            }
            (Refusal::Unique { index }, _) => unforeseen(format!("{index} holds the key already")),
            (Refusal::Dangling, _) => unforeseen("a row refers to what is not there".to_owned()),
        }
    }
}

fn unforeseen(reason: String) -> StoreError {
    StoreError::Database { doing: "writing", reason }
}

/// The error of a record whose key stands in a unique index already.
fn collision(current: &Current, index: &str) -> StoreError {
    fn of<T: Table>(record: &T, index: &str) -> StoreError {
        match T::UNIQUE.iter().find(|(name, _)| *name == index) {
            Some((_, field)) => {
                StoreError::Conflict { entity: T::ENTITY, field, value: record.text_of(field) }
            }
            None => unforeseen(format!("{index} holds the key already")),
        }
    }
    match current {
        Current::Gateway(record) => of::<Gateway>(record, index),
        Current::Tool(record) => of::<Tool>(record, index),
        Current::Resource(record) => of::<Resource>(record, index),
        Current::Prompt(record) => of::<Prompt>(record, index),
        Current::Server(record) => of::<Server>(record, index),
        Current::Agent(record) => of::<Agent>(record, index),
        Current::Root(record) => of::<Root>(record, index),
        Current::Identity(identity) => match identity.unique(index) {
            Some((field, value)) => {
                StoreError::Conflict { entity: identity.entity(), field, value }
            }
            None => unforeseen(format!("{index} holds the key already")),
        },
        Current::Deleted { .. } => unforeseen(format!("{index} holds the key already")),
    }
}

/// What a record refers to and cannot be without: an agent, if it is the tool of one, or a gateway.
fn owner_of(current: &Current) -> (Entity, String) {
    let gateway_id = match current {
        Current::Tool(record) => match &record.agent_id {
            Some(id) => return (Entity::Agent, id.clone()),
            None => &record.gateway_id,
        },
        Current::Resource(record) => &record.gateway_id,
        Current::Prompt(record) => &record.gateway_id,
        Current::Identity(identity) => return owner_of_identity(identity),
        _ => &None,
    };
    (Entity::Gateway, gateway_id.clone().unwrap_or_default())
}

/// What a record of identity refers to and cannot be without.
fn owner_of_identity(identity: &Identity) -> (Entity, String) {
    let (entity, id) = match identity {
        Identity::Member(record) => (Entity::Team, Some(&record.team_id)),
        Identity::Invitation(record) => (Entity::Team, Some(&record.team_id)),
        Identity::JoinRequest(record) => (Entity::Team, Some(&record.team_id)),
        Identity::ApiToken(record) => (Entity::Team, record.team_id.as_ref()),
        Identity::Grant(record) => (Entity::Role, Some(&record.role_id)),
        Identity::Role(record) => (Entity::Role, record.inherits_from.as_ref()),
        Identity::Policy(record) => (Entity::Server, record.server_id.as_ref()),
        other => (other.entity(), None),
    };
    (entity, id.cloned().unwrap_or_default())
}
