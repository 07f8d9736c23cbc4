//! What outlives a request: records, the store that keeps them, and the feed of their changes.
//!
//! It decides nothing about access: whoever holds a [`Store`] may read and write all of it.
//! Nothing here knows a runtime: answers come from the store's own thread by one-shot channels.

#![forbid(unsafe_code)]

mod change;
mod error;
pub mod record;

pub use change::{Applied, Change, Changes, Current, Feed, Mutation, Snapshot};
pub use error::{Side, StoreError};
