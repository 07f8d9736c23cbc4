//! The client side of HTTP/1.1: keep-alive connections to one origin, and exchanges over them.
//!
//! A [`Pool`] belongs to one shard and one origin. Who wants to send asks it for a [`Place`], takes
//! an idle connection or opens one, and gets a [`Lease`]. A lease is used up by an exchange; the
//! connection goes back to the pool only when the whole answer was read and nothing is left over.
//! Whatever is dropped on the way, by an error or because nobody waits any more, closes its
//! connection: a read that was cut off may have taken bytes with it.
//!
//! Time is kept by the connection's watch, so an exchange costs no timer.

mod connect;
mod error;
mod exchange;
mod pool;
mod stream;
#[cfg(test)]
mod tests;

pub use error::{Cause, ClientError, Progress};
pub use exchange::{Body, Deadline, Response, Sending};
pub use pool::{Lease, Place, Pool, PoolLimits};
pub use stream::Streaming;

/// Where a server is: what one pool connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The host's name or address, an IPv6 address without its brackets: what its certificate is
    /// checked for.
    pub host: String,
    /// The port.
    pub port: u16,
}
