//! Connections read and written through readiness, as TLS and other poll-style libraries want it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use monoio::{
    io::poll_io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{tcp::stream_poll::TcpStreamPoll, unix::stream_poll::UnixStreamPoll},
};

use crate::watch::Watch;

/// A connection that speaks tokio's I/O traits, with its [`Watch`].
pub struct Polled<S> {
    // Before the stream, so that it is dropped first: the sweep must not see a closed descriptor.
    watch: Watch,
    inner: S,
}

/// A TCP connection read and written through readiness.
pub type PollStream = Polled<TcpStreamPoll>;

/// A connection to a Unix socket read and written through readiness.
pub type UnixPollStream = Polled<UnixStreamPoll>;

impl<S> Polled<S> {
    pub(crate) fn new(watch: Watch, inner: S) -> Polled<S> {
        Polled { watch, inner }
    }

    /// Returns the connection's watch.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Polled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Polled<S> {
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
