//! What an operator sees of the gateway.

pub mod log;
pub mod meters;
