//! Safety on the web: who is at the other end, and what browsers are told and asked.
//!
//! It decides nothing about what a caller may do.

mod base;
pub mod client;
pub mod cookie;
pub mod cors;
pub mod csrf;
mod forwarded;
pub mod headers;
pub mod redirect;

pub use base::Base;
pub use client::{Client, Proxies, Scheme};
pub use cookie::Cookies;
pub use cors::Cors;
pub use csrf::Csrf;
pub use headers::Headers;
