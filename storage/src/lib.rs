//! What outlives a request: records, the store that keeps them, and the feed of their changes.
//!
//! It decides nothing about access: whoever holds a [`Store`] may read and write all of it.
//! Nothing here knows a runtime: answers come from the store's own thread by one-shot channels.

#![forbid(unsafe_code)]

mod change;
mod error;
mod location;
mod migrate;
pub mod record;
pub mod seal;
mod sqlite;
mod store;
mod table;
mod write;

pub use change::{Applied, Change, Changes, Current, Feed, Mutation, Snapshot};
pub use error::{Side, StoreError};
pub use location::Location;
pub use migrate::MigrationReport;
pub use store::{
    CHANGE_COUNT_MAX, LOCK_WAIT_MAX, QUEUE_COUNT_MAX, Store, StoreOptions, migrate, pending,
};
