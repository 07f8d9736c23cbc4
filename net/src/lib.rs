//! Bytes to messages and back: HTTP/1.1, server-sent events, TLS, JSON-RPC envelopes.
//!
//! It knows no tool, no user and no table, and its codecs do no I/O.

#![forbid(unsafe_code)]

pub mod connection;
pub mod span;
pub mod tls;
