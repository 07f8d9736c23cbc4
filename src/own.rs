//! What the gateway offers by itself, with no upstream behind it: the text of its own prompts and
//! the content of its own resources.

pub mod prompt;
mod prompts;
pub mod resource;
mod sandbox;

pub use prompts::Prompts;
