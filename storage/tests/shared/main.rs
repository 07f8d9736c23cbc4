//! State, bus and node registry as their users see them: in memory, and on real Redis servers that
//! the tests start on free ports and stop, freeze and kill.

#![forbid(unsafe_code)]
// Clippy exempts the functions marked as tests, and not the helpers beside them.
#![allow(clippy::unwrap_used)]

mod access;
mod bus;
mod cluster;
mod harness;
mod nodes;
mod outage;
mod sentinel;
mod server;
mod state;
