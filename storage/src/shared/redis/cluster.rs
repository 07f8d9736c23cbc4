//! The client of a Redis Cluster: one for the process, on a thread with tokio's runtime, which the
//! library asks for. Shards send it commands through a bounded mailbox.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, RedisResult, ServerErrorKind, TlsCertificates, Value,
    aio::ConnectionLike,
    cluster::{ClusterClient as Client, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cluster_routing::SingleNodeRoutingInfo,
};
use shards::mailbox::{self, oneshot};

use super::{link::jittered, verdict};
use crate::shared::{
    SharedOptions, StateError,
    figures::Counters,
    location::{Host, Place, RedisLocation, TlsTrust},
};

/// How often a command that was surely not executed is sent again, with a pause that doubles: 310
/// ms in all, time to learn where a slot has moved to. A longer outage is for the caller.
const RETRY_COUNT_MAX: u32 = 5;

/// The first of these pauses.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// The client of the process, made when the first shard asks for it.
#[derive(Default)]
pub(in crate::shared) struct ClusterSlot(Mutex<Option<ClusterClient>>);

/// A handle on the cluster's client.
#[derive(Clone)]
pub(super) struct ClusterClient {
    requests: mailbox::Sender<Request>,
    status: Arc<Status>,
    counters: Arc<Counters>,
    queue_count_max: usize,
    command_timeout: Duration,
}

/// What shards may know without asking.
struct Status {
    is_up: AtomicBool,
    why_away: Mutex<String>,
}

struct Request {
    command: Cmd,
    key: String,
    reply: oneshot::Sender<Result<Value, StateError>>,
}

impl ClusterSlot {
    /// Returns the client of the process; starts it at the first call.
    ///
    /// # Errors
    ///
    /// [`StateError::Settings`] if the client or its thread cannot be made.
    pub(super) fn client(
        &self,
        options: &SharedOptions,
        location: &RedisLocation,
    ) -> Result<ClusterClient, StateError> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let client = start(options, location)
            .map_err(|reason| StateError::Settings { reason: format!("(cluster): {reason}") })?;
        *slot = Some(client.clone());
        Ok(client)
    }
}

impl ClusterClient {
    pub fn is_up(&self) -> bool {
        self.status.is_up.load(Ordering::Relaxed)
    }

    /// Sends a command and waits for its answer.
    pub async fn call(&self, command: Cmd, key: &str) -> Result<Value, StateError> {
        if !self.is_up() {
            self.counters.refused_away.add();
            return Err(self.status.away());
        }
        let (reply, answer) = oneshot::channel();
        let request = Request { command, key: key.to_owned(), reply };
        if let Err(refused) = self.requests.send(request) {
            return Err(match refused {
                mailbox::SendError::Full(_) => {
                    self.counters.refused_busy.add();
                    StateError::Busy { count_max: self.queue_count_max }
                }
                mailbox::SendError::Closed(_) => self.status.away(),
            });
        }
        self.counters.commands.add();
        // The thread has its own timeout; this one is for a thread that does not come to it.
        let within = self.command_timeout + self.command_timeout / 4;
        match shards::time::timeout(within, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StateError::Interrupted),
            Err(_) => {
                self.counters.timeouts.add();
                Err(StateError::TimedOut { waited: within })
            }
        }
    }
}

impl Status {
    fn away(&self) -> StateError {
        let reason = self.why_away.lock().unwrap_or_else(PoisonError::into_inner).clone();
        StateError::Away { reason }
    }

    fn set_away(&self, reason: String) {
        *self.why_away.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        self.is_up.store(false, Ordering::Relaxed);
    }
}

fn start(options: &SharedOptions, location: &RedisLocation) -> Result<ClusterClient, String> {
    let library = build(options, location)?;
    let (sender, requests) = mailbox::channel(options.queue_count_max);
    let why_away = Mutex::new("not connected yet".to_owned());
    let status = Arc::new(Status { is_up: AtomicBool::new(false), why_away });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let cluster = Cluster {
        library,
        connection: RefCell::default(),
        is_stale: Cell::new(false),
        timeouts_in_row: Cell::new(0),
        status: status.clone(),
        counters: options.counters.clone(),
        command_timeout: options.command_timeout,
        timeout_count_max: options.timeout_count_max,
        retry_interval: options.retry_interval,
        places: tokio::sync::Semaphore::new(options.queue_count_max),
    };
    thread::Builder::new()
        .name("redis-cluster".to_owned())
        .spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, Rc::new(cluster).run(requests));
        })
        .map_err(|error| error.to_string())?;
    Ok(ClusterClient {
        requests: sender,
        status,
        counters: options.counters.clone(),
        queue_count_max: options.queue_count_max,
        command_timeout: options.command_timeout,
    })
}

fn build(options: &SharedOptions, location: &RedisLocation) -> Result<Client, String> {
    let Place::Cluster(hosts) = &location.place else {
        return Err("no cluster is named".to_owned());
    };
    let nodes: Result<Vec<ConnectionInfo>, RedisError> =
        hosts.iter().map(|host| node(host, location)).collect();
    let mut builder = ClusterClientBuilder::new(nodes.map_err(|error| error.to_string())?)
        // The library would also repeat what may have been executed: increments would count twice.
        .retries(0)
        .connection_timeout(options.command_timeout)
        .response_timeout(options.command_timeout)
        .overall_response_timeout(Some(options.command_timeout));
    if let Some(username) = &location.username {
        builder = builder.username(username);
    }
    if let Some(password) = &location.password {
        builder = builder.password(password);
    }
    if let Some(TlsTrust::File(path)) = &location.tls {
        let fail = |error: std::io::Error| format!("CA file {}: {error}", path.display());
        let root_cert = Some(std::fs::read(path).map_err(fail)?);
        builder = builder.certs(TlsCertificates { client_tls: None, root_cert });
    }
    builder.build().map_err(|error| error.to_string())
}

fn node(host: &Host, location: &RedisLocation) -> Result<ConnectionInfo, RedisError> {
    let name = host.name.clone();
    let address = match &location.tls {
        None => ConnectionAddr::Tcp(name, host.port),
        Some(_) => ConnectionAddr::TcpTls {
            host: name,
            port: host.port,
            insecure: false,
            tls_params: None,
        },
    };
    let mut login = RedisConnectionInfo::default();
    if let Some(username) = &location.username {
        login = login.set_username(username);
    }
    if let Some(password) = &location.password {
        login = login.set_password(password);
    }
    Ok(address.into_connection_info()?.set_redis_settings(login))
}

/// What lives on the thread.
struct Cluster {
    library: Client,
    connection: RefCell<Option<ClusterConnection>>,
    /// A command timed out or a node was lost: the slots may have other owners by now, which the
    /// library does not ask for while the other nodes answer.
    is_stale: Cell<bool>,
    timeouts_in_row: Cell<u32>,
    status: Arc<Status>,
    counters: Arc<Counters>,
    command_timeout: Duration,
    timeout_count_max: u32,
    retry_interval: Duration,
    places: tokio::sync::Semaphore,
}

impl Cluster {
    /// Answers requests until no shard can send one any more.
    async fn run(self: Rc<Self>, mut requests: mailbox::Receiver<Request>) {
        self.counters.links.add();
        let keeper = tokio::task::spawn_local(self.clone().keep_connected());
        while let Some(request) = requests.next().await {
            let cluster = self.clone();
            tokio::task::spawn_local(async move {
                let Request { command, key, reply } = request;
                let _ = reply.send(cluster.answer(&command, &key).await);
            });
            // Bounds what is in flight: the next request is fetched when there is a place.
            let _place = self.places.acquire().await;
        }
        keeper.abort();
        self.give_up("closing".to_owned());
        self.counters.links.remove();
    }

    /// Connects, and connects anew when there is a reason to ask for the slots again; what is in
    /// flight goes on with the connections that it has.
    async fn keep_connected(self: Rc<Self>) {
        loop {
            if self.connection.borrow().is_none() || self.is_stale.get() {
                self.connect().await;
            }
            tokio::time::sleep(jittered(self.retry_interval)).await;
        }
    }

    async fn connect(&self) {
        // The library asks several nodes in turn, each with its own timeout.
        let within = self.command_timeout * 4;
        let outcome = tokio::time::timeout(within, self.library.get_async_connection()).await;
        match outcome {
            Ok(Ok(connection)) => {
                self.is_stale.set(false);
                self.timeouts_in_row.set(0);
                self.counters.connects.add();
                if self.connection.borrow_mut().replace(connection).is_none() {
                    self.counters.links_up.add();
                }
                self.status.is_up.store(true, Ordering::Relaxed);
            }
            Ok(Err(error)) => self.not_connected(error.to_string()),
            Err(_) => self.not_connected(format!("no connection within {within:?}")),
        }
    }

    fn not_connected(&self, reason: String) {
        self.counters.connect_failures.add();
        if self.connection.borrow().is_none() {
            self.status.set_away(reason);
        }
    }

    async fn answer(&self, command: &Cmd, key: &str) -> Result<Value, StateError> {
        let Ok(_place) = self.places.acquire().await else { return Err(self.status.away()) };
        let Some(mut connection) = self.connection.borrow().clone() else {
            return Err(self.status.away());
        };
        let answer = settle(&mut connection, command);
        let answer = tokio::time::timeout(self.command_timeout, answer).await;
        match answer {
            Ok(Ok(value)) => {
                self.timeouts_in_row.set(0);
                Ok(value)
            }
            Ok(Err(error)) if error.is_timeout() => Err(self.timed_out()),
            Ok(Err(error)) => {
                self.counters.errors.add();
                let verdict = verdict::judge(&error, key);
                if verdict.replace {
                    // A node has gone; the others serve on, so only many such errors in a row
                    // mean that the whole client is of no use.
                    self.count_against(error.to_string());
                }
                Err(verdict.error)
            }
            Err(_) => Err(self.timed_out()),
        }
    }

    fn timed_out(&self) -> StateError {
        self.counters.timeouts.add();
        let waited = self.command_timeout;
        self.count_against(format!("commands were not answered within {waited:?}"));
        StateError::TimedOut { waited }
    }

    fn count_against(&self, reason: String) {
        self.is_stale.set(true);
        self.timeouts_in_row.set(self.timeouts_in_row.get() + 1);
        if self.timeouts_in_row.get() >= self.timeout_count_max {
            self.give_up(reason);
        }
    }

    fn give_up(&self, reason: String) {
        if self.connection.borrow_mut().take().is_some() {
            self.counters.disconnects.add();
            self.counters.links_up.remove();
            self.status.set_away(reason);
        }
    }
}

/// Sends a command, again if it was surely not executed, until it is answered.
async fn settle(connection: &mut ClusterConnection, command: &Cmd) -> RedisResult<Value> {
    let mut pause = RETRY_PAUSE;
    for _ in 0..RETRY_COUNT_MAX {
        let answer = connection.req_packed_command(command).await;
        let answer = match answer.and_then(Value::extract_error) {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) => {
                follow(connection, command, &error).await
            }
            answer => answer,
        };
        match answer {
            Err(error) if is_unexecuted(&error) => tokio::time::sleep(pause).await,
            settled => return settled,
        }
        pause *= 2;
    }
    connection.req_packed_command(command).await.and_then(Value::extract_error)
}

/// Sends a command to the node that its slot is moving to.
async fn follow(
    connection: &mut ClusterConnection,
    command: &Cmd,
    redirect: &RedisError,
) -> RedisResult<Value> {
    let Some((address, _)) = redirect.redirect_node() else { return Err(redirect.clone()) };
    let Some((host, port)) = address.rsplit_once(':') else { return Err(redirect.clone()) };
    let Ok(port) = port.parse() else { return Err(redirect.clone()) };
    // In one write, since the permission is for the next command of the connection.
    let mut pipeline = redis::pipe();
    pipeline.cmd("ASKING").ignore().add_command(command.clone());
    let node = SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port };
    let mut answers = connection.route_pipeline(pipeline, 1, 1, node).await?;
    answers.pop().map_or_else(|| Err(redirect.clone()), Value::extract_error)
}

/// Whether a command that ended so was surely not executed, and may be later or elsewhere.
fn is_unexecuted(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::ClusterConnectionNotFound => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::BusyLoading
        ),
        _ => error.is_connection_refusal(),
    }
}
