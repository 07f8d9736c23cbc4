//! The store as its users see it, on real database files.
//!
//! Nothing in here names a backend, except where a file is opened behind its back: the same tests
//! are meant for every database.

#![forbid(unsafe_code)]
// Clippy exempts the functions marked as tests, and not the helpers beside them.
#![allow(clippy::unwrap_used)]

mod apply;
mod crash;
mod feed;
mod harness;
mod lease;
mod queue;
mod records;
mod start;
