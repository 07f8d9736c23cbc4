//! A fake MCP server over streamable HTTP that costs as little as an answer can cost.
//!
//! It speaks both eras, keeps its connections alive, answers in plain JSON and renders every
//! answer once, at its start. It measures nothing and checks only what keeps a gateway honest:
//! the era, the session when it demands one, and the name of the called tool.

mod listener;
mod script;
mod wire;

use std::io;
use std::net::SocketAddr;

pub use listener::{serve, spawn};
pub use script::{REST_ANSWER, REST_PATH, Script, tool_definition};
pub use wire::{Malformed, Request, parse};

/// The newest legacy revision of MCP, which begins with `initialize`.
pub const REVISION_LEGACY: &str = "2025-11-25";
/// The modern revision of MCP, which has no sessions.
pub const REVISION_MODERN: &str = "2026-07-28";

/// Which revisions the upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Era {
    /// Only the revisions that begin with `initialize`.
    Legacy,
    /// Only the revision without sessions.
    Modern,
    /// Both on one address, told apart by each request.
    Dual,
}

/// What kind of server to be.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// The revisions to speak
    #[arg(long, value_enum, default_value_t = Era::Dual)]
    pub era: Era,
    /// How many tools to list, about 400 bytes each
    #[arg(long = "tools", default_value_t = 20)]
    pub tool_count: usize,
    /// How many tools to list on one page
    #[arg(long, default_value_t = 1000)]
    pub page_size: usize,
    /// Hand out a session to legacy clients, and demand it
    #[arg(long)]
    pub sessions: bool,
    /// Threads that answer
    #[arg(long = "threads", default_value_t = 1)]
    pub thread_count: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            port: 0,
            era: Era::Dual,
            tool_count: 20,
            page_size: 1000,
            sessions: false,
            thread_count: 1,
        }
    }
}

/// Serves until the process ends, after giving the address to `announce`.
///
/// # Errors
///
/// When the port is taken or the process may have no more descriptors.
pub fn run(options: &Options, announce: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let (address, threads) = serve(options)?;
    announce(address);
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a thread of the upstream panicked"))??;
    }
    Ok(())
}
