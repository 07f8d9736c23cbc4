//! What an operator sees of the gateway.

pub mod audit;
pub mod held;
pub mod log;
pub mod mask;
pub mod meters;
pub mod usage;
