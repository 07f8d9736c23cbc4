//! JSON Schema: what callers send and what REST tools answer, against what a tool declares.
//!
//! A schema is what somebody else wrote. It is bounded in size, depth and effort, its references
//! lead nowhere outside itself, and its patterns run in linear time. One that cannot be used checks
//! nothing: a fault of an upstream's schema is no reason to withhold its tool.

mod cache;
mod compile;
mod effort;
mod parts;
mod plain;
mod violations;

pub use cache::Cache;
pub use compile::drop_unreadable_patterns;
pub use parts::{parts, parts_mut};
pub use violations::Violations;

/// Checks that a raw schema can be used: that it is one, that every reference leads somewhere
/// inside it, and that it is neither too large nor too costly.
///
/// Patterns that need more than linear time (look-around, back references) pass, for other readers
/// of the schema understand them; the gateway leaves them unchecked.
///
/// # Errors
///
/// A sentence that names the place: refuse the tool with it.
pub fn check(raw: &str) -> Result<(), String> {
    compile::check(raw)
}

#[cfg(test)]
mod tests;
