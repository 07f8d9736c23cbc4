//! Unix sockets on the ring: connections to a service of the same machine.

use std::{
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use monoio::{
    io::{
        IntoPollIo,
        poll_io::{AsyncRead, AsyncWrite, ReadBuf},
    },
    net::unix::stream_poll::UnixStreamPoll,
};

use crate::{time, watch::Watch};

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
        Ok(UnixPollStream { watch: self.watch, inner: self.inner.into_poll_io()? })
    }
}

/// A Unix connection read and written through readiness (tokio's I/O traits).
pub struct UnixPollStream {
    watch: Watch,
    inner: UnixStreamPoll,
}

impl UnixPollStream {
    /// Returns the connection's watch.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }
}

impl AsyncRead for UnixPollStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for UnixPollStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
