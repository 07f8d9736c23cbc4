//! The rooms of the gateway.

#![forbid(unsafe_code)]

pub mod settings;
