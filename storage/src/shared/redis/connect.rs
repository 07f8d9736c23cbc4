//! Opening a connection: every address is tried, then the server is asked who it is.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Value,
    aio::MultiplexedConnection,
};
use shards::{Pinned, TcpStream, UnixStream, local::Gate, task, time};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{resolve::resolve, sentinel, tls};
use crate::shared::{
    fanout::Fanout,
    location::{Host, Place, RedisLocation, TlsTrust},
};

/// A connection that is driven by a task of its own.
pub(super) struct Opened {
    /// Sends commands; all clones share the connection.
    pub connection: MultiplexedConnection,
    /// Opened from outside, it ends the connection at once, with all that is in flight.
    pub end: Rc<Gate>,
    /// Open when the connection has ended.
    pub ended: Rc<Gate>,
}

/// Where a connection's messages go, and the prefix that its topics have on the server.
#[derive(Clone)]
pub(super) struct Messages {
    pub fanout: Arc<Fanout>,
    pub prefix: String,
}

impl Drop for Opened {
    fn drop(&mut self) {
        open_gate(&self.end);
    }
}

/// Whatever bytes go over.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Connects to the server that `location` leads to, logs in, and makes sure that it serves.
///
/// Of the nodes of a cluster the first that serves is taken; `turn` says where to begin, so that
/// shards spread over them. Each step takes at most `within`.
///
/// # Errors
///
/// What was met, for an operator; without a password.
pub(super) async fn open(
    location: &RedisLocation,
    turn: usize,
    within: Duration,
    messages: Option<Messages>,
) -> Result<Opened, String> {
    match &location.place {
        Place::Server(host) => open_server(host, location, within, messages).await,
        Place::Unix(path) => {
            let stream = UnixStream::connect(path, within).await.and_then(UnixStream::into_poll);
            let stream = stream.map_err(|error| format!("{}: {error}", path.display()))?;
            settle(Box::new(stream), location, within, messages).await
        }
        Place::Sentinel { .. } => {
            let host = sentinel::find_primary(location, within).await?;
            open_server(&host, location, within, messages).await
        }
        Place::Cluster(hosts) => {
            let mut tried = Vec::new();
            for offset in 0..hosts.len() {
                let host = &hosts[turn.wrapping_add(offset) % hosts.len()];
                match open_server(host, location, within, messages.clone()).await {
                    Ok(opened) => return Ok(opened),
                    Err(error) => tried.push(error),
                }
            }
            Err(tried.join("; "))
        }
    }
}

async fn open_server(
    host: &Host,
    location: &RedisLocation,
    within: Duration,
    messages: Option<Messages>,
) -> Result<Opened, String> {
    let stream = open_host(host, location.tls.as_ref(), within).await?;
    settle(stream, location, within, messages).await.map_err(|error| format!("{host}: {error}"))
}

/// Logs in over `stream` and makes sure that the server is one to ask.
async fn settle(
    stream: Box<dyn Stream>,
    location: &RedisLocation,
    within: Duration,
    messages: Option<Messages>,
) -> Result<Opened, String> {
    let opened = greet(stream, &login(location), within, messages).await?;
    check(&opened, &location.place, within).await?;
    Ok(opened)
}

/// Who we are, and the protocol that carries pub/sub beside answers.
fn login(location: &RedisLocation) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(location.database)
        .set_skip_set_lib_name();
    if let Some(username) = &location.username {
        login = login.set_username(username);
    }
    if let Some(password) = &location.password {
        login = login.set_password(password);
    }
    login
}

/// Connects to the first address of `host` that takes it, TLS included.
async fn open_host(
    host: &Host,
    trust: Option<&TlsTrust>,
    within: Duration,
) -> Result<Box<dyn Stream>, String> {
    let addresses = resolve(host, within).await.map_err(|error| format!("{host}: {error}"))?;
    let mut tried = Vec::new();
    let mut left = within;
    for (index, address) in addresses.iter().enumerate() {
        // An equal share for each, so that one that swallows everything leaves some to the others.
        let share = left / (addresses.len() - index) as u32;
        left -= share;
        match open_address(host, *address, trust, share).await {
            Ok(stream) => return Ok(stream),
            Err(error) => tried.push(format!("{address}: {error}")),
        }
    }
    Err(format!("{host}: {}", tried.join("; ")))
}

async fn open_address(
    host: &Host,
    address: SocketAddr,
    trust: Option<&TlsTrust>,
    within: Duration,
) -> Result<Box<dyn Stream>, String> {
    let stream = TcpStream::connect(address, within).await.map_err(|error| error.to_string())?;
    let stream = stream.into_poll().map_err(|error| error.to_string())?;
    let Some(trust) = trust else { return Ok(Box::new(stream)) };
    // A poll stream has nothing in flight on the ring, so this wait may be dropped.
    match time::timeout(within, tls::connect(trust, &host.name, stream)).await {
        Ok(shaken) => Ok(Box::new(shaken?)),
        Err(_) => Err(format!("TLS: not done within {within:?}")),
    }
}

/// Shakes hands over `stream` and starts the task that drives the connection.
async fn greet(
    stream: Box<dyn Stream>,
    login: &RedisConnectionInfo,
    within: Duration,
    messages: Option<Messages>,
) -> Result<Opened, String> {
    // The client's own timers would ask for a runtime that is not here.
    let mut config =
        AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    if let Some(messages) = messages {
        config = config.set_push_sender(move |push: PushInfo| {
            messages.take(&push);
            Ok::<(), redis::aio::SendError>(())
        });
    }
    let greeting = MultiplexedConnection::new_with_config(login, Pinned::new(stream), config);
    let (connection, driver) = time::timeout(within, greeting)
        .await
        .map_err(|_| format!("no greeting within {within:?}"))?
        .map_err(|error| error.to_string())?;
    let (end, ended) = (Rc::new(Gate::default()), Rc::new(Gate::default()));
    let gates = (end.clone(), ended.clone());
    task::spawn(async move {
        let (end, ended) = gates;
        let _ended = OpenOnDrop(ended);
        futures_util::future::select(std::pin::pin!(driver), std::pin::pin!(end.passed())).await;
    });
    Ok(Opened { connection, end, ended })
}

/// Opens a gate however the task that holds it ends.
struct OpenOnDrop(Rc<Gate>);

impl Drop for OpenOnDrop {
    fn drop(&mut self) {
        open_gate(&self.0);
    }
}

/// Opens a gate, unless the shard has ended and there is nobody to wake.
pub(super) fn open_gate(gate: &Gate) {
    if task::is_running() {
        gate.open();
    }
}

impl Messages {
    fn take(&self, push: &PushInfo) {
        if push.kind != PushKind::Message {
            return;
        }
        if let [Value::BulkString(channel), Value::BulkString(payload)] = push.data.as_slice()
            && let Ok(channel) = std::str::from_utf8(channel)
            && let Some(topic) = channel.strip_prefix(&self.prefix)
        {
            self.fanout.deliver(topic, payload);
        }
    }
}

/// Makes sure that the server is one to ask: alive, a primary where sentinels tell which one is,
/// part of a cluster that serves.
///
/// # Errors
///
/// What it answered, or that it did not.
pub(super) async fn check(opened: &Opened, place: &Place, within: Duration) -> Result<(), String> {
    match place {
        Place::Server(_) | Place::Unix(_) => {
            ask(opened, &redis::cmd("PING"), within).await.map(|_| ())
        }
        Place::Sentinel { .. } => {
            let role = ask(opened, &redis::cmd("ROLE"), within).await?;
            match role.as_sequence().and_then(|parts| parts.first()) {
                Some(Value::BulkString(role)) if role == b"master" => Ok(()),
                _ => Err("the server is no primary".to_owned()),
            }
        }
        Place::Cluster(_) => {
            let mut command = redis::cmd("CLUSTER");
            command.arg("INFO");
            match text(ask(opened, &command, within).await?)? {
                info if info.contains("cluster_state:ok") => Ok(()),
                _ => Err("the cluster is not ready, or this node has lost it".to_owned()),
            }
        }
    }
}

/// Sends a command and waits for its answer, for at most `within`.
pub(super) async fn ask(opened: &Opened, command: &Cmd, within: Duration) -> Result<Value, String> {
    let mut connection = opened.connection.clone();
    match time::timeout(within, connection.send_packed_command(command)).await {
        Err(_) => Err(format!("no answer within {within:?}")),
        Ok(answer) => answer.and_then(Value::extract_error).map_err(|error| error.to_string()),
    }
}

pub(super) fn text(value: Value) -> Result<String, String> {
    redis::from_redis_value(value).map_err(|error| error.to_string())
}

/// Connects once and tells the version of the server.
pub(super) async fn probe(location: &RedisLocation, within: Duration) -> Result<String, String> {
    let opened = open(location, 0, within, None).await?;
    let mut command = redis::cmd("INFO");
    command.arg("server");
    let info = text(ask(&opened, &command, within).await?)?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Ok(version.unwrap_or("of an unknown version").trim().to_owned())
}

/// Opens a connection to a sentinel: no RESP3, no database, its own login.
pub(super) async fn open_sentinel(
    host: &Host,
    location: &RedisLocation,
    within: Duration,
) -> Result<Opened, String> {
    let mut login =
        RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    if let Place::Sentinel { login: Some(sentinel), .. } = &location.place {
        login = login.set_password(&sentinel.password);
        if let Some(username) = &sentinel.username {
            login = login.set_username(username);
        }
    }
    let stream = open_host(host, location.tls.as_ref(), within).await?;
    greet(stream, &login, within, None).await
}
