//! What drives a gateway from outside and says what a request cost it.
//!
//! A fake upstream, a load generator, the accounting of a process and the cases of `make bench`.
//! None of it runs inside `make test`, except the instruction guard, which needs no socket and no
//! clock. Everything here shares its cores with the server under test, so all of it is written to
//! cost little.

#![forbid(unsafe_code)]

pub mod account;
pub mod bars;
pub mod gateway;
pub mod guard;
pub mod histogram;
pub mod http;
pub mod load;
pub mod nginx;
pub mod paths;
pub mod poll;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod report;
pub mod suite;
pub mod upstream;
