//! The store as its users see it, on real database files.
//!
//! What a store promises is tested on SQLite and on two versions of PostgreSQL, by the same
//! functions: their answers must be equal. The rest is about one database alone.

#![forbid(unsafe_code)]
// Clippy exempts the functions marked as tests, and not the helpers beside them.
#![allow(clippy::unwrap_used)]

mod apply;
mod audit;
mod connection;
mod crash;
mod feed;
mod harness;
mod identity;
mod lease;
mod metrics;
mod outage;
#[path = "../support/postgres.rs"]
mod postgres;
mod queue;
mod records;
mod start;
