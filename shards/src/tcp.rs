//! TCP on the ring: listeners that share a port, and streams whose buffers the caller lends.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

use monoio::{
    buf::IoBufMut,
    io::{AsyncReadRent, AsyncWriteRentExt, CancelableAsyncReadRent, Canceller, IntoPollIo},
};

use crate::{local::Gate, poll_stream::PollStream, time, watch::Watch};

/// Connections that may wait in a listener's queue.
const BACKLOG: i32 = 4096;

/// How long accepting pauses when descriptors or memory ran out: long enough for some to close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that was bound but not yet given to a shard. Every shard has its own on the same port.
pub struct BoundSocket(OwnedFd, SocketAddr);

/// Binds `count` sockets to one address with SO_REUSEPORT, so that a port that is taken is an
/// error before any shard starts. A port of 0 is chosen once, for all.
///
/// The probe socket is bound without SO_REUSEPORT first: otherwise a second gateway of the same
/// user would silently share the port with the first.
///
/// # Errors
///
/// What `bind` or `listen` answered.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<BoundSocket>> {
    drop(open(address, false)?);
    let first = open(address, true)?;
    let actual = std::net::TcpListener::from(first.try_clone()?).local_addr()?;
    let mut sockets = vec![BoundSocket(first, actual)];
    for _ in 1..count {
        sockets.push(BoundSocket(open(actual, true)?, actual));
    }
    // Only now do they listen, so that no connection waits in the queue of a socket while a later
    // bind fails.
    for socket in &sockets {
        // SAFETY: listen takes no pointers; the descriptor is owned by `socket` and open.
        if unsafe { libc::listen(socket.0.as_raw_fd(), BACKLOG) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(sockets)
}

impl BoundSocket {
    /// Returns the address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.1
    }
}

fn open(address: SocketAddr, share_port: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(family, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just opened and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set_option(&socket, libc::SO_REUSEADDR)?;
    if share_port {
        set_option(&socket, libc::SO_REUSEPORT)?;
    }
    bind_to(&socket, address)?;
    Ok(socket)
}

fn set_option(socket: &OwnedFd, option: i32) -> io::Result<()> {
    let one: libc::c_int = 1;
    // SAFETY: the value is a c_int that lives through the call, and its size is what is passed.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const one).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn bind_to(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let code = match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: `raw` is a whole sockaddr_in that lives through the call; its size is passed.
            unsafe {
                libc::bind(
                    socket.as_raw_fd(),
                    (&raw const raw).cast(),
                    size_of::<libc::sockaddr_in>() as libc::socklen_t,
                )
            }
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: `raw` is a whole sockaddr_in6 that lives through the call; its size is
            // passed.
            unsafe {
                libc::bind(
                    socket.as_raw_fd(),
                    (&raw const raw).cast(),
                    size_of::<libc::sockaddr_in6>() as libc::socklen_t,
                )
            }
        }
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A listening socket of this shard.
pub struct Listener(monoio::net::TcpListener);

impl Listener {
    /// Takes a bound socket onto this shard's ring.
    ///
    /// # Errors
    ///
    /// What the driver answered when it registered the socket.
    pub fn new(socket: BoundSocket) -> io::Result<Listener> {
        let standard = std::net::TcpListener::from(socket.0);
        Ok(Listener(monoio::net::TcpListener::from_std(standard)?))
    }

    /// Accepts connections and hands each to `take` until `closing` opens; then it empties the
    /// queue of what had connected already and closes. Out of descriptors or memory, it pauses and
    /// calls `refused`.
    pub async fn accept_until(
        self,
        closing: &Gate,
        mut take: impl FnMut(TcpStream, SocketAddr),
        mut refused: impl FnMut(io::Error),
    ) {
        while !closing.is_open() {
            match self.accept_or_close(closing).await {
                Ok(Some((stream, peer))) => take(stream, peer),
                Ok(None) => break,
                Err(error) => {
                    refused(error);
                    let _ = time::timeout(ACCEPT_PAUSE, closing.passed()).await;
                }
            }
        }
        self.drain(take);
    }

    /// Accepts one connection; `None` once `closing` opened. The accept in flight is cancelled and
    /// awaited, since a dropped one would lose a connection and leak its descriptor.
    async fn accept_or_close(&self, closing: &Gate) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        let canceller = Canceller::new();
        let mut accept = std::pin::pin!(self.0.cancelable_accept(canceller.handle()));
        let mut passed = std::pin::pin!(closing.passed());
        let outcome = monoio::select! {
            outcome = &mut accept => outcome,
            _ = &mut passed => {
                canceller.cancel();
                match accept.await {
                    Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => return Ok(None),
                    outcome => outcome,
                }
            }
        };
        let (stream, peer) = outcome?;
        Ok(Some((TcpStream::new(stream), peer)))
    }

    /// Takes what the kernel had already queued: closing the socket would reset it.
    fn drain(self, mut take: impl FnMut(TcpStream, SocketAddr)) {
        loop {
            let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            // SAFETY: both pointers may be null, the peer's address is then not stored; the
            // descriptor is open because `self` owns it, and it is non-blocking.
            let fd = unsafe {
                libc::accept4(self.0.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags)
            };
            if fd < 0 {
                break;
            }
            // SAFETY: `fd` was just opened by accept4 and nobody else owns it.
            let standard = unsafe { std::net::TcpStream::from_raw_fd(fd) };
            let Ok(peer) = standard.peer_addr() else { continue };
            if let Ok(stream) = monoio::net::TcpStream::from_std(standard) {
                take(TcpStream::new(stream), peer);
            }
        }
        // A ring closes descriptors later; this refuses new connections from now on.
        // SAFETY: shutdown takes no pointers; `self` owns the open descriptor.
        unsafe { libc::shutdown(self.0.as_raw_fd(), libc::SHUT_RD) };
    }
}

/// A TCP connection of this shard, with its [`Watch`].
pub struct TcpStream {
    // Before the stream, so that it is dropped first: the sweep must not see a closed descriptor.
    watch: Watch,
    inner: monoio::net::TcpStream,
}

impl TcpStream {
    fn new(inner: monoio::net::TcpStream) -> TcpStream {
        let _ = inner.set_nodelay(true);
        TcpStream { watch: Watch::new(inner.as_raw_fd()), inner }
    }

    /// Connects to `address` within `within`.
    ///
    /// # Errors
    ///
    /// What `connect` answered; [`io::ErrorKind::TimedOut`] when time ran out.
    pub async fn connect(address: SocketAddr, within: Duration) -> io::Result<TcpStream> {
        // The connect in flight is not dropped: it runs in its own task, which closes a connection
        // that nobody waits for any more.
        let (sender, receiver) = futures_channel::oneshot::channel();
        crate::task::spawn(async move {
            let outcome = monoio::net::TcpStream::connect_addr(address).await;
            let _ = sender.send(outcome.map(TcpStream::new));
        });
        match time::timeout(within, receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(io::Error::other("the connecting task ended early")),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection to {address} within {within:?}"),
            )),
        }
    }

    /// Returns the connection's watch.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Returns the peer's address.
    ///
    /// # Errors
    ///
    /// What the kernel answered (the peer may be gone).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    /// Has the kernel ask a peer that was silent for `idle` for a sign of life, every `interval`,
    /// and end the connection after `count` questions without an answer.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn keep_alive(&self, idle: Duration, interval: Duration, count: u32) -> io::Result<()> {
        self.inner.set_tcp_keepalive(Some(idle), Some(interval), Some(count))
    }

    /// Waits until there is something to read (or the end), holding no buffer. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    ///
    /// What the driver answered.
    pub async fn readable(&self) -> io::Result<()> {
        self.watch.rest();
        self.inner.readable(false).await
    }

    /// Reads once, behind what `buffer` holds already; 0 bytes are the end. The buffer grows by
    /// [`crate::buffer::CAPACITY`] if less than 1 KiB of it is free. The future must be awaited to
    /// its end: the kernel writes into the buffer.
    pub async fn read(&mut self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let (start, end) = spare(&mut buffer);
        let (outcome, slice) = self.inner.read(buffer.slice_mut(start..end)).await;
        (outcome, slice.into_inner())
    }

    /// Reads what waits already, behind what `buffer` holds, without waiting; 0 bytes are the end.
    /// After [`TcpStream::readable`] it is a read whose wait may be dropped.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if nothing waits; else what the kernel answered.
    pub fn try_read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let (start, end) = spare(buffer);
        // SAFETY: `start..end` is the free capacity of `buffer`, which is ours alone through the
        // call; the flag makes the call return at once.
        let count = unsafe {
            let free = buffer.as_mut_ptr().add(start).cast();
            libc::recv(self.inner.as_raw_fd(), free, end - start, libc::MSG_DONTWAIT)
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: the kernel has just written `count` bytes from `start` on.
        unsafe { buffer.set_len(start + count) };
        Ok(count)
    }

    /// Like [`TcpStream::read`], but [`crate::watch::Action::ReleaseRead`] can end it: the error's
    /// code is then [`crate::watch::CANCELLED`] and nothing was read.
    pub async fn read_releasable(&mut self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let (start, end) = spare(&mut buffer);
        let handle = self.watch.cancel_handle();
        let read = self.inner.cancelable_read(buffer.slice_mut(start..end), handle);
        let (outcome, slice) = read.await;
        (outcome, slice.into_inner())
    }

    /// Writes all of `buffer`. The future must be awaited to its end.
    pub async fn write_all(&mut self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let (outcome, buffer) = self.inner.write_all(buffer).await;
        (outcome.map(|_| ()), buffer)
    }

    /// Turns the connection into a readiness-based one, as TLS and other poll-style libraries
    /// want it.
    ///
    /// # Errors
    ///
    /// What the driver answered when it registered the socket.
    pub fn into_poll(self) -> io::Result<PollStream> {
        Ok(PollStream::new(self.watch, self.inner.into_poll_io()?))
    }
}

/// Returns the range of free capacity, after making sure that there is some worth a read.
fn spare(buffer: &mut Vec<u8>) -> (usize, usize) {
    const WORTH_A_READ: usize = 1024;
    if buffer.capacity() - buffer.len() < WORTH_A_READ {
        buffer.reserve(crate::buffer::CAPACITY);
    }
    (buffer.len(), buffer.capacity())
}
