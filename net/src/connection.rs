//! A connection as HTTP sees it: plain TCP on the ring, or TLS over it.
//!
//! The plain path lends buffers to the kernel. TLS copies through rustls over readiness, which
//! costs more but is safe to stop and repeat (a read that was dropped loses nothing).

use std::{
    io::{
        self,
        ErrorKind::{Interrupted, WouldBlock},
    },
    net::SocketAddr,
};

use shards::{PollStream, TcpStream, Watch, buffer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::certificate::Holder;

/// A byte stream to a peer, either end.
pub enum Connection {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS whose server is us.
    TlsServer(Box<tokio_rustls::server::TlsStream<PollStream>>),
    /// TLS whose client is us.
    TlsClient(Box<tokio_rustls::client::TlsStream<PollStream>>),
}

impl Connection {
    /// The watch over the socket below.
    pub fn watch(&self) -> &Watch {
        match self {
            Connection::Tcp(stream) => stream.watch(),
            Connection::TlsServer(stream) => stream.get_ref().0.watch(),
            Connection::TlsClient(stream) => stream.get_ref().0.watch(),
        }
    }

    /// Returns true if the bytes are encrypted on their way.
    pub fn is_tls(&self) -> bool {
        !matches!(self, Connection::Tcp(_))
    }

    /// Whom the certificate that the client showed is made out to, by the authorities that the
    /// acceptor trusts; `None` if it showed none.
    pub fn client_holder(&self) -> Option<Holder> {
        let Connection::TlsServer(stream) = self else { return None };
        let certificate = stream.get_ref().1.peer_certificates()?.first()?;
        Some(Holder::read(certificate))
    }

    /// The peer's address, where it is still known.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Connection::Tcp(stream) => stream.peer_addr().ok(),
            _ => None,
        }
    }

    /// Waits for something to read without holding a buffer, where that is possible: over TLS it
    /// returns at once, since what rustls holds back does not show on the socket.
    ///
    /// # Errors
    ///
    /// What the driver answered.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) => stream.readable().await,
            _ => Ok(()),
        }
    }

    /// Reads once, behind what `buffer` holds; 0 bytes are the end. Must be awaited to its end.
    pub async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Connection::Tcp(stream) => stream.read(buffer).await,
            Connection::TlsServer(stream) => read_tls(stream.as_mut(), buffer).await,
            Connection::TlsClient(stream) => read_tls(stream.as_mut(), buffer).await,
        }
    }

    /// Waits for bytes and returns them in a pooled buffer; none are the end. Dropping the future
    /// loses nothing, and over plain TCP the wait holds no buffer.
    ///
    /// # Errors
    ///
    /// What the socket or rustls answered.
    pub async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let Connection::Tcp(stream) = self else {
            // A read over TLS takes bytes only when it is done.
            let (count, bytes) = self.read(buffer::take()).await;
            return count.map(|_| bytes);
        };
        loop {
            stream.readable().await?;
            let mut bytes = buffer::take();
            match stream.try_read(&mut bytes) {
                Ok(_) => return Ok(bytes),
                Err(error) => {
                    buffer::give(bytes);
                    if !matches!(error.kind(), WouldBlock | Interrupted) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Like [`Connection::read`], but [`shards::watch::Action::ReleaseRead`] can end it (plain TCP
    /// only: over TLS the deadline then has no effect).
    pub async fn read_releasable(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Connection::Tcp(stream) => stream.read_releasable(buffer).await,
            other => other.read(buffer).await,
        }
    }

    /// Writes all of `buffer` in one go. Must be awaited to its end.
    pub async fn write_all(&mut self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match self {
            Connection::Tcp(stream) => stream.write_all(buffer).await,
            Connection::TlsServer(stream) => write_tls(stream.as_mut(), buffer).await,
            Connection::TlsClient(stream) => write_tls(stream.as_mut(), buffer).await,
        }
    }

    /// Ends TLS politely; plain TCP needs nothing.
    pub async fn close(&mut self) {
        let _ = match self {
            Connection::Tcp(_) => Ok(()),
            Connection::TlsServer(stream) => stream.shutdown().await,
            Connection::TlsClient(stream) => stream.shutdown().await,
        };
    }
}

async fn read_tls<S>(stream: &mut S, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>)
where
    S: AsyncReadExt + Unpin,
{
    if buffer.capacity() == buffer.len() {
        buffer.reserve(buffer::CAPACITY);
    }
    let outcome = stream.read_buf(&mut buffer).await;
    // A peer that just hangs up without close_notify ends the stream; HTTP framing tells whether
    // something is missing.
    let outcome = match outcome {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        other => other,
    };
    (outcome, buffer)
}

async fn write_tls<S>(stream: &mut S, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>)
where
    S: AsyncWriteExt + Unpin,
{
    let mut outcome = stream.write_all(&buffer).await;
    if outcome.is_ok() {
        outcome = stream.flush().await;
    }
    (outcome, buffer)
}
