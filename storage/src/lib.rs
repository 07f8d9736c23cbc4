//! What outlives a request: records, the store that keeps them, and the feed of their changes.
//!
//! It decides nothing about access: whoever holds a [`Store`] may read and write all of it.
//! The store answers by one-shot channels, so any thread may wait for it, whatever that runs: SQLite
//! has a thread of its own, PostgreSQL's connections are driven by the shards that use them. State
//! and bus ([`shared`]) live on the shard that made their handles.

#![forbid(unsafe_code)]

pub mod audit;
mod change;
mod error;
mod lease;
mod location;
pub mod metrics;
mod migrate;
mod postgres;
pub mod record;
pub mod seal;
pub mod shared;
mod sqlite;
mod store;
mod table;
pub mod usage;
mod write;

pub use change::{Applied, Change, Changes, Current, Feed, Mutation, Snapshot};
pub use error::{Side, StoreError};
pub use location::{Location, PostgresUrl};
pub use migrate::MigrationReport;
pub use postgres::Notices;
pub use store::{
    CHANGE_COUNT_MAX, CONNECT_TIMEOUT, LOCK_WAIT_MAX, POOL_RECYCLE, POOL_SIZE, POOL_TIMEOUT,
    PoolFigures, QUEUE_COUNT_MAX, STATEMENT_TIMEOUT, Store, StoreOptions, is_ready, migrate,
    pending,
};
