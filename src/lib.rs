//! Ringway: a thread-per-core gateway for the Model Context Protocol.
//!
//! Start at [`gateway`], the path of a request; `docs/ARCHITECTURE.md` has the map.

#![cfg_attr(test, recursion_limit = "256")]
#![forbid(unsafe_code)]

pub mod admin;
pub mod auth;
pub mod bridge;
pub mod catalog;
pub mod cli;
pub mod failure;
pub mod gateway;
pub mod limits;
pub mod mcp;
pub mod observe;
pub mod openapi;
pub mod own;
pub mod permission;
pub mod policy;
pub mod reply;
pub mod route;
pub mod safety;
pub mod schema;
pub mod serve;
pub mod session;
pub mod settings;
pub mod state;
pub mod throttle;
pub mod upstream;
pub mod web;
pub mod yaml;
