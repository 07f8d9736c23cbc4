//! How a store fails: whose fault, and the facts.

use std::time::Duration;

use crate::record::Entity;

/// Where the cause lies, and so who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What was asked cannot be done: it collides, is stale or names what is not there.
    Caller,
    /// The database: busy, away, full, of another version.
    Storage,
    /// The settings of this process.
    Settings,
    /// A bug of ours, or a database that something else wrote to.
    Ourselves,
}

/// How a request to the store, or its opening, ends badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// A record with this value exists already. Nothing was written.
    Conflict {
        /// What kind of record.
        entity: Entity,
        /// The field that must be unique.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A record that was to be deleted or referred to is not there. Nothing was written.
    NotFound {
        /// What kind of record.
        entity: Entity,
        /// The id that was looked for.
        id: String,
    },
    /// The record was changed since the caller read it. Nothing was written.
    VersionMismatch {
        /// What kind of record.
        entity: Entity,
        /// Its id.
        id: String,
        /// The version that the caller read.
        expected: i64,
        /// The version that is stored.
        found: i64,
    },
    /// The lease that the transaction leaned on has expired or is another's. Nothing was written:
    /// whoever believed to hold it stops what only a holder may do.
    Fenced {
        /// The name of the lease.
        name: String,
    },
    /// As many requests wait as may: answer 503, try again later. Nothing was written.
    Busy {
        /// How many requests may wait.
        queue_count_max: usize,
    },
    /// Another process held the database for longer than the wait. Nothing was written.
    Locked {
        /// What was being done.
        doing: &'static str,
    },
    /// All connections were in use for longer than the wait: answer 503. Nothing was written.
    Exhausted {
        /// How many connections the shard may have.
        connection_count_max: usize,
        /// How long the request waited.
        waited: Duration,
    },
    /// The database cannot be reached, or broke off: answer 503. Nothing was written.
    Away {
        /// What the system or the database said.
        reason: String,
    },
    /// A statement took longer than it may. Nothing was written.
    TimedOut {
        /// What was being done.
        doing: &'static str,
        /// How long it may take.
        within: Duration,
    },
    /// The database did not say whether it committed; the write may or may not have happened.
    Uncertain {
        /// What the system or the database said instead.
        reason: String,
    },
    /// The store was closed. Nothing was written.
    Closed,
    /// The request broke off inside the store; a write may or may not have happened.
    Interrupted,
    /// The address of the database cannot be read.
    InvalidUrl {
        /// What is wrong with it. Never holds the address itself, which may hold a password.
        reason: String,
    },
    /// The address names a kind of database that this build does not speak.
    UnsupportedDatabase {
        /// The scheme of the address.
        scheme: String,
    },
    /// The database could not be opened.
    Open {
        /// Where it was looked for.
        location: String,
        /// What the system or the database said.
        reason: String,
    },
    /// Another program made this database.
    DatabaseForeign {
        /// Where it is.
        location: String,
        /// A table in it that is not ours.
        table: String,
    },
    /// A newer program wrote this database.
    DatabaseNewer {
        /// The version of its tables.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// Migrations are missing, and start-up may not run them.
    MigrationsPending {
        /// Their names, in order.
        names: Vec<String>,
    },
    /// A migration that ran on this database is not the one that this program carries.
    MigrationChanged {
        /// Its name.
        name: String,
    },
    /// A migration failed; the database is as it was before.
    MigrationFailed {
        /// Its name.
        name: String,
        /// What the database said.
        reason: String,
    },
    /// A value in the database cannot be what was written there.
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The database failed in a way that has no variant of its own, such as a full disk.
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        reason: String,
    },
}

impl StoreError {
    /// Where the cause lies.
    pub fn side(&self) -> Side {
        match self {
            StoreError::Conflict { .. }
            | StoreError::NotFound { .. }
            | StoreError::VersionMismatch { .. } => Side::Caller,
            StoreError::InvalidUrl { .. }
            | StoreError::UnsupportedDatabase { .. }
            | StoreError::DatabaseForeign { .. }
            | StoreError::MigrationsPending { .. } => Side::Settings,
            StoreError::Interrupted
            | StoreError::Corrupt { .. }
            | StoreError::MigrationChanged { .. } => Side::Ourselves,
            StoreError::Busy { .. }
            | StoreError::Locked { .. }
            | StoreError::Exhausted { .. }
            | StoreError::Away { .. }
            | StoreError::TimedOut { .. }
            | StoreError::Uncertain { .. }
            | StoreError::Fenced { .. }
            | StoreError::Closed
            | StoreError::Open { .. }
            | StoreError::DatabaseNewer { .. }
            | StoreError::MigrationFailed { .. }
            | StoreError::Database { .. } => Side::Storage,
        }
    }

    /// Whether the same request may succeed a little later, unchanged.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            StoreError::Busy { .. }
                | StoreError::Locked { .. }
                | StoreError::Exhausted { .. }
                | StoreError::Away { .. }
                | StoreError::TimedOut { .. }
        )
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Conflict { entity, field, value } => {
                write!(out, "a {entity} with {field} {value:?} exists already")
            }
            StoreError::NotFound { entity, id } => write!(out, "there is no {entity} {id:?}"),
            StoreError::VersionMismatch { entity, id, expected, found } => write!(
                out,
                "{entity} {id:?} is at version {found}, not {expected}: it was changed meanwhile"
            ),
            StoreError::Fenced { name } => {
                write!(out, "the lease {name:?} has expired or is held by another")
            }
            StoreError::Busy { queue_count_max } => {
                write!(out, "the database is busy: {queue_count_max} requests wait already")
            }
            StoreError::Locked { doing } => {
                write!(out, "another process held the database too long while {doing}")
            }
            StoreError::Exhausted { connection_count_max, waited } => write!(
                out,
                "the database is busy: all {connection_count_max} connections of this shard were \
                 in use for {waited:?}"
            ),
            StoreError::Away { reason } => write!(out, "the database is away: {reason}"),
            StoreError::TimedOut { doing, within } => {
                write!(out, "the database took longer than {within:?} while {doing}")
            }
            StoreError::Uncertain { reason } => write!(
                out,
                "the database did not say whether it kept the change: {reason}; look before \
                 repeating it"
            ),
            StoreError::Closed => out.write_str("the store is closed"),
            StoreError::Interrupted => out.write_str("the request broke off inside the store"),
            _ => self.explain(out),
        }
    }
}

impl StoreError {
    /// The sentences that an operator reads.
    fn explain(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::InvalidUrl { reason } => write!(out, "DATABASE_URL {reason}"),
            StoreError::UnsupportedDatabase { scheme } => write!(
                out,
                "DATABASE_URL names the database {scheme:?}; this build supports sqlite and \
                 postgresql, as in sqlite:///./mcp.db or postgresql://user:password@host/name"
            ),
            StoreError::Open { location, reason } => {
                write!(out, "the database {location} could not be opened: {reason}")
            }
            StoreError::DatabaseForeign { location, table } => write!(
                out,
                "the database {location} was made by another program (it has a table {table:?} \
                 and none of ours): name another file or database in DATABASE_URL"
            ),
            StoreError::DatabaseNewer { found, known } => write!(
                out,
                "the database is at version {found}, and this program knows only up to {known}: \
                 start a program at least as new as the one that migrated it, or restore the \
                 backup that was made before"
            ),
            StoreError::MigrationsPending { names } => write!(
                out,
                "the database needs {} and MIGRATE_ON_START is false: run `ringway migrate`",
                names.join(", ")
            ),
            StoreError::MigrationChanged { name } => write!(
                out,
                "migration {name} was changed after it ran on this database: start the program \
                 that migrated it, or a release that follows it"
            ),
            StoreError::MigrationFailed { name, reason } => {
                write!(out, "migration {name} failed and was undone: {reason}")
            }
            StoreError::Corrupt { table, column, reason } => {
                write!(out, "{table}.{column} holds what was never written there: {reason}")
            }
            StoreError::Database { doing, reason } => {
                write!(out, "the database failed while {doing}: {reason}")
            }
            // The requests' variants have their sentences above.
            _ => write!(out, "{self:?}"),
        }
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_is_the_callers_and_says_what_collides() {
        let error = StoreError::Conflict {
            entity: Entity::Gateway,
            field: "slug",
            value: "fast-time".to_owned(),
        };
        assert_eq!(error.side(), Side::Caller);
        assert!(!error.is_transient());
        assert_eq!(error.to_string(), "a gateway with slug \"fast-time\" exists already");
    }

    #[test]
    fn pending_migrations_name_the_command_that_runs_them() {
        let error = StoreError::MigrationsPending { names: vec!["V0001__initial".to_owned()] };
        assert_eq!(error.side(), Side::Settings);
        assert!(error.to_string().contains("V0001__initial"));
        assert!(error.to_string().contains("`ringway migrate`"));
    }

    #[test]
    fn a_full_queue_is_worth_another_try_and_a_closed_store_is_not() {
        assert!(StoreError::Busy { queue_count_max: 1 }.is_transient());
        assert!(!StoreError::Closed.is_transient());
    }
}
