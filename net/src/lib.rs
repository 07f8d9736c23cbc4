//! Bytes to messages and back: HTTP/1.1, server-sent events, WebSockets, TLS, JSON-RPC.
//!
//! The codecs do no I/O: they are fed whatever arrived, however it was cut. Nothing here knows a
//! tool, a user or a table.

#![forbid(unsafe_code)]

pub mod certificate;
pub mod client;
pub mod connection;
pub mod error;
pub mod http1;
pub mod jsonrpc;
pub mod span;
pub mod sse;
pub mod tls;
pub mod websocket;

pub use span::Span;
