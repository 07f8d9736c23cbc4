//! A root: a place that clients may be told to work in.

use super::audit::{Audit, Ownership};

/// A root, as MCP has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Root {
    /// The id.
    pub id: String,
    /// Where it is; unique (see [`Ownership`]).
    pub uri: String,
    /// The name for people.
    pub name: Option<String>,
    /// Whose it is.
    pub ownership: Ownership,
    /// Who made and changed it.
    pub audit: Audit,
}
