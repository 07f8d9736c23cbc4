//! Unix sockets on the ring: connections to a service of the same machine.

use std::{
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::Duration,
};

use monoio::io::IntoPollIo;

use crate::{poll_stream::UnixPollStream, time, watch::Watch};

/// A connection to a Unix socket, with its [`Watch`].
pub struct UnixStream {
    // Before the stream, so that it is dropped first: the sweep must not see a closed descriptor.
    watch: Watch,
    inner: monoio::net::UnixStream,
}

impl UnixStream {
    fn new(inner: monoio::net::UnixStream) -> UnixStream {
        UnixStream { watch: Watch::new(inner.as_raw_fd()), inner }
    }

    /// Connects to the socket at `path` within `within`.
    ///
    /// # Errors
    ///
    /// What `connect` answered; [`io::ErrorKind::TimedOut`] when time ran out.
    pub async fn connect(path: &Path, within: Duration) -> io::Result<UnixStream> {
        // The connect in flight is not dropped: it runs in its own task, which closes a connection
        // that nobody waits for any more.
        let (sender, receiver) = futures_channel::oneshot::channel();
        let target: PathBuf = path.to_owned();
        crate::task::spawn(async move {
            let outcome = monoio::net::UnixStream::connect(target).await;
            let _ = sender.send(outcome.map(UnixStream::new));
        });
        match time::timeout(within, receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(io::Error::other("the connecting task ended early")),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection to {} within {within:?}", path.display()),
            )),
        }
    }

    /// Returns the connection's watch.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Turns the connection into a readiness-based one, as poll-style libraries want it.
    ///
    /// # Errors
    ///
    /// What the driver answered when it registered the socket.
    pub fn into_poll(self) -> io::Result<UnixPollStream> {
        Ok(UnixPollStream::new(self.watch, self.inner.into_poll_io()?))
    }
}
