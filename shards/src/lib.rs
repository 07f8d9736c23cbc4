//! What one core runs: a pinned thread with its own ring, executor, sockets, timers, buffers and
//! mailboxes, the blocking pool beside it, signals, and the pipes of child processes.
//!
//! It knows nothing of HTTP, MCP or SQL. It is the only crate that names monoio or io_uring, and
//! the only one with `unsafe`: to move to another runtime is to write this crate anew, no other.

pub mod blocking;
pub mod buffer;
pub mod child;
pub mod cores;
pub mod driver;
pub mod local;
pub mod mailbox;
pub mod pinned;
mod poll_stream;
pub mod process;
pub mod runtime;
pub mod signal;
pub mod task;
pub mod tcp;
pub mod time;
pub mod unix;
pub mod watch;

pub use driver::{Driver, Preference};
pub use pinned::Pinned;
pub use poll_stream::{PollStream, Polled, UnixPollStream};
pub use tcp::{Listener, TcpStream};
pub use unix::UnixStream;
pub use watch::Watch;
