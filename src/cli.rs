//! The subcommands that are not `serve`.

pub mod settings;
pub mod token;
