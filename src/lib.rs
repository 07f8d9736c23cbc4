//! Ringway: a thread-per-core gateway for the Model Context Protocol.
//!
//! Start at [`gateway`], the path of a request; `docs/ARCHITECTURE.md` has the map.

#![forbid(unsafe_code)]

pub mod catalog;
pub mod failure;
pub mod upstream;
