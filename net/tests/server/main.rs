//! The HTTP/1.1 server on real sockets, on every driver of this machine.

#![forbid(unsafe_code)]
// Clippy exempts the functions marked as tests, and not the helpers beside them.
#![allow(clippy::unwrap_used)]

mod endings;
mod harness;
mod refusals;
mod requests;
