//! Everything that routing and lists need, as an immutable snapshot.

mod upstream;

pub use upstream::Upstream;
