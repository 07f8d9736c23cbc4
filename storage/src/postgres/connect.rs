//! Opening a connection: the socket, encryption, the login, the settings of the session.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::select;
use rustls::pki_types::ServerName;
use shards::local::Gate;
use shards::{TcpStream, UnixStream, blocking, mailbox, task, time};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls};

use super::failure::{NoConnection, refused};
use super::hub::Hub;
use super::session::Session;
use super::tls::Encrypt;
use crate::location::Host;

/// A silent server is asked for a sign of life after this long, every tenth of it, five times.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Where hints about changes go: where the feed ends, if that was told.
pub(super) type Hints = mailbox::Sender<Option<i64>>;

/// A connection of this shard, with the task that drives it. Dropping it ends both at once; the
/// server then undoes what was not committed.
pub(super) struct Link {
    pub session: Session,
    pub opened: time::Instant,
    pub used: time::Instant,
    gate: Rc<Gate>,
    ended: Rc<Gate>,
    hub: Arc<Hub>,
}

impl Link {
    /// Whether the connection has ended by itself.
    pub fn is_ended(&self) -> bool {
        self.ended.is_open()
    }

    /// Waits until the connection ends by itself.
    pub async fn ended(&self) {
        self.ended.passed().await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.hub.figures.open.fetch_sub(1, Relaxed);
        // A shard that has ended took its tasks with it, and nothing can be woken there.
        if task::is_running() {
            self.gate.open();
        }
    }
}

/// Opens a connection, unless the database is known to be away.
pub(super) async fn open(hub: &Arc<Hub>, hints: Option<Hints>) -> Result<Link, NoConnection> {
    hub.may_connect()?;
    let within = hub.bounds.connect_timeout;
    let opened = match time::timeout(within, log_in(hub, hints)).await {
        Ok(opened) => opened,
        Err(_) => Err(away(format!("no login within {within:?}"))),
    };
    hub.note(opened.as_ref().err());
    let (client, gate, ended) = opened?;
    let link = Link {
        session: Session::new(client, hub.clone()),
        opened: time::Instant::now(),
        used: time::Instant::now(),
        gate,
        ended,
        hub: hub.clone(),
    };
    let prepared = link.session.prepare().await;
    prepared.map_err(|error| away(error.to_string()))?;
    Ok(link)
}

type LoggedIn = (Client, Rc<Gate>, Rc<Gate>);

async fn log_in(hub: &Arc<Hub>, hints: Option<Hints>) -> Result<LoggedIn, NoConnection> {
    let port = hub.url.port;
    match &hub.url.host {
        Host::Unix(folder) => {
            let stream = unix(folder, port, hub.bounds.connect_timeout).await;
            drive(hub, stream.map_err(unreachable)?, NoTls, hints).await
        }
        Host::Tcp(host) => {
            let stream = tcp(host, port, hub.bounds.connect_timeout).await.map_err(unreachable)?;
            match &hub.tls {
                None => drive(hub, stream, NoTls, hints).await,
                Some(config) => {
                    let name = ServerName::try_from(host.clone());
                    let name = name.map_err(|error| lasting(format!("{host}: {error}")))?;
                    drive(hub, stream, Encrypt { config: config.clone(), name }, hints).await
                }
            }
        }
    }
}

/// Connects to the socket as PostgreSQL names it.
async fn unix(folder: &Path, port: u16, within: Duration) -> io::Result<shards::UnixPollStream> {
    let path = folder.join(format!(".s.PGSQL.{port}"));
    UnixStream::connect(&path, within).await?.into_poll()
}

/// Connects to the first address of `host` that answers.
async fn tcp(host: &str, port: u16, within: Duration) -> io::Result<shards::PollStream> {
    let name = host.to_owned();
    let resolved = blocking::run(move || {
        (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>)
    });
    let addresses = resolved.await.map_err(io::Error::other)??;
    let mut last = io::Error::other("the host has no address");
    for address in addresses {
        match TcpStream::connect(address, within).await {
            Ok(stream) => {
                stream.keep_alive(KEEP_ALIVE, KEEP_ALIVE / 10, 5)?;
                return stream.into_poll();
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Logs in, and starts the task that moves bytes between the client and the socket.
async fn drive<S, T>(
    hub: &Hub,
    stream: S,
    tls: T,
    hints: Option<Hints>,
) -> Result<LoggedIn, NoConnection>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: TlsConnect<S>,
    T::Stream: 'static,
{
    let connected = hub.login.connect_raw(stream, tls).await;
    let (client, connection) = connected.map_err(|error| refused(&error))?;
    let (gate, ended) = (Rc::new(Gate::default()), Rc::new(Gate::default()));
    let (told, at_end) = (gate.clone(), ended.clone());
    task::spawn(async move {
        // What is dropped here waits for readiness only: nothing is in flight on the ring.
        let moving = std::pin::pin!(move_bytes(connection, hints));
        let passed = std::pin::pin!(told.passed());
        let _ = select(moving, passed).await;
        at_end.open();
    });
    Ok((client, gate, ended))
}

/// Drives a connection to its end; notices become hints. Why it ended is told to the requests that
/// wait on it.
async fn move_bytes<S, T>(mut connection: Connection<S, T>, hints: Option<Hints>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let (AsyncMessage::Notification(told), Some(hints)) = (message, &hints) {
            // Whoever is so far behind that the mailbox is full reads the feed anyway.
            let _ = hints.send(told.payload().parse().ok());
        }
    }
}

fn away(reason: String) -> NoConnection {
    NoConnection { reason, is_lasting: false }
}

fn lasting(reason: String) -> NoConnection {
    NoConnection { reason, is_lasting: true }
}

fn unreachable(error: io::Error) -> NoConnection {
    away(error.to_string())
}
