//! Everything that routing and lists need, as an immutable snapshot.

pub mod author;
pub mod inventory;
pub mod naming;
pub mod reconcile;
mod upstream;

pub use upstream::Upstream;
