//! Starting and stopping: settings to shards, signals to drain.

use std::{
    fmt,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use net::{
    connection::Connection,
    http1::server,
    tls::{Acceptor, ClientAuth},
};
use shards::{
    Driver, Listener, TcpStream, cores, driver, mailbox, process, runtime, signal, task, tcp,
    tcp::BoundSocket, time, watch,
};
use storage::{Store, seal::Sealer};

use crate::{
    admin::Rules,
    auth,
    catalog::{Catalog, author::Author, reconcile},
    session::Wants,
    settings::Settings,
    state::{
        self, AuditorHandle, Courier, KeeperSeed, Mailboxes, Message, RecorderHandle, Registry,
        Shard,
        auditor::{self, AuditorSeed},
        neighbours::Moved,
        recorder::{self, Leftover, Leftovers, RecorderSeed},
    },
    throttle::Counts,
    upstream,
};

mod backend;
mod batch;
mod changes;
mod conversation;
mod door;
mod feed;
mod first_admin;
mod front;
mod legacy;
mod neighbourhood;
mod protected;
mod replay;
mod seeds;
mod sse;
mod streams;
mod task_news;
mod websocket;

use backend::Facts;
use door::Door;
use front::Front;
use neighbourhood::Neighbourhood;
use seeds::Seeds;

/// Why the gateway did not start: a sentence that names the mend.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// What happens if a bound is leaned on: how often a draining shard looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// How long a stopping node tries to give back what it holds and to take its leave of the others,
/// who would notice anyway.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// How long storing what is left may take at the end.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// Everything that shards share before they start: it is cloned into each.
#[derive(Clone)]
struct Common {
    settings: Arc<Settings>,
    rules: Option<Arc<auth::Rules>>,
    issuer: Option<Arc<auth::Issuer>>,
    origins: Arc<auth::Gate>,
    acceptor: Option<Acceptor>,
    door: Arc<Door>,
    started_at: i64,
    parts: Parts,
}

/// The parts of it that were made before.
#[derive(Clone)]
struct Parts {
    registry: Registry,
    sealer: Arc<Sealer>,
    recorder: RecorderHandle,
    auditor: AuditorHandle,
    leftovers: Leftovers,
    neighbourhood: Neighbourhood,
    catalog: Arc<Catalog>,
    mailboxes: Mailboxes,
    counts: Counts,
    wants: Wants,
    driver: Driver,
}

/// What only one shard gets.
struct Own {
    socket: BoundSocket,
    mailbox: mailbox::Receiver<Message>,
    /// What one shard does for all.
    tasks: Option<Tasks>,
}

/// What only the first shard does.
struct Tasks {
    keeper: KeeperSeed,
    recorder: RecorderSeed,
    auditor: AuditorSeed,
}

/// Runs the gateway until a signal stops it. [`signal::block`] must have been called before any
/// other thread was started.
///
/// # Errors
///
/// [`StartError`] if a part of it cannot start; nothing runs then.
pub fn run(settings: Settings) -> Result<(), StartError> {
    process::raise_file_limit();
    let settings = Arc::new(settings);
    let fail = |error: &dyn fmt::Display| StartError(error.to_string());
    let cores = chosen_cores(&settings);
    let (store, sealer) = open_store(&settings, cores.len())?;
    let chosen = &settings.catalog;
    let seeds = Seeds::gather(&settings).map_err(|error| fail(&error))?;
    let loading = load(store.clone(), sealer.clone(), chosen.separator, seeds);
    let catalog = runtime::block_on(Driver::Epoll, loading)
        .map_err(|error| fail(&error))?
        .map_err(|error| fail(&error))?;
    let catalog = match settings.catalog.a2a_enabled {
        true => catalog,
        false => catalog.without_agents(),
    };
    let choice = driver::choose(settings.listen.ring_driver).map_err(|error| fail(&error))?;
    let sockets = bind(settings.address(), cores.len())?;
    let address = sockets[0].local_addr();
    let (mailboxes, receivers) = state::mailboxes(cores.len());
    let keeper_store = store.clone();
    let poll = settings.storage.change_poll_interval;
    let (keeper, handle) =
        KeeperSeed::new(keeper_store, sealer.clone(), catalog.clone(), mailboxes.clone(), poll);
    let (leftovers, left) = mpsc::channel();
    let (recorder, recorder_handle) =
        RecorderSeed::new(&settings, store.clone(), mailboxes.clone(), leftovers.clone());
    let (auditor, auditor_handle) =
        AuditorSeed::new(&settings, store.clone(), mailboxes.clone(), leftovers.clone());
    let neighbourhood = Neighbourhood::new(&settings, address, cores.len(), handle.clone())
        .map_err(|error| fail(&error))?;
    let parts = Parts {
        registry: Registry::new(store.clone(), handle, sealer.clone()),
        sealer,
        recorder: recorder_handle,
        auditor: auditor_handle,
        leftovers,
        neighbourhood,
        catalog: Arc::new(catalog),
        mailboxes: mailboxes.clone(),
        counts: Counts::new(&settings),
        wants: state::watch::wants(&mailboxes),
        driver: choice.driver,
    };
    let common = common(&settings, parts)?;
    announce(&settings, address, &cores, &choice);
    let tasks = Tasks { keeper, recorder, auditor };
    let shards = start(common, sockets, receivers, tasks, &cores, choice.driver)?;
    stop_on_signal(mailboxes);
    shards.join().map_err(|error| fail(&error))?;
    close(store, left);
    tracing::info!("stopped");
    Ok(())
}

fn open_store(settings: &Settings, shard_count: usize) -> Result<(Store, Arc<Sealer>), StartError> {
    let fail = |error: &dyn fmt::Display| StartError(error.to_string());
    auth::secret::make_folder(&settings.storage.data_dir).map_err(|error| fail(&error))?;
    let secret = auth::secret::encryption(settings).map_err(|error| fail(&error))?;
    let options = settings.store_options(shard_count).map_err(|error| fail(&error))?;
    let (store, report) = Store::open(&options).map_err(|error| fail(&error))?;
    if !report.applied.is_empty() {
        tracing::info!(from = report.from, to = report.to, "migrated the database");
    }
    Ok((store, Arc::new(Sealer::new(secret.expose()))))
}

/// Under which the store keeps the separator that its names were written with.
const SEPARATOR_KEY: &str = "tool_name_separator";

/// Reads the catalog; where `GATEWAY_TOOL_NAME_SEPARATOR` was changed since the names were
/// written, writes them anew before.
async fn load(
    store: Store,
    sealer: Arc<Sealer>,
    separator: &str,
    seeds: Seeds,
) -> Result<Catalog, storage::StoreError> {
    let mut snapshot = store.load().await?;
    let former = store.get_meta(SEPARATOR_KEY).await?;
    if former.as_deref() != Some(separator) {
        if former.is_some() {
            let author = Author { at: storage::record::now(), ..Author::default() };
            let mutations = reconcile::respell(&snapshot, separator, &author);
            tracing::info!(separator, changes = mutations.len(), "wrote the names anew");
            store.apply(mutations).await?;
            snapshot = store.load().await?;
        }
        store.put_meta(SEPARATOR_KEY, separator).await?;
    }
    let seeded = seeds.plant(&store, &snapshot).await?;
    if seeded {
        snapshot = store.load().await?;
    }
    Ok(Catalog::load(snapshot, &sealer))
}

/// The core of every shard: more shards than cores share them in turn.
fn chosen_cores(settings: &Settings) -> Vec<usize> {
    let allowed = cores::allowed();
    let paid = cores::quota().map_or(allowed.len(), |quota| quota.min(allowed.len()));
    let count = settings.shard_count(paid);
    allowed.iter().copied().cycle().take(count).collect()
}

fn bind(address: SocketAddr, count: usize) -> Result<Vec<BoundSocket>, StartError> {
    tcp::bind(address, count).map_err(|error| {
        let mend = match error.kind() {
            std::io::ErrorKind::AddrInUse => "; stop what listens there, or set PORT to another",
            std::io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges, set PORT",
            _ => "; check HOST and PORT",
        };
        StartError(format!("cannot listen on {address}: {error}{mend}"))
    })
}

fn common(settings: &Arc<Settings>, parts: Parts) -> Result<Common, StartError> {
    let fail = |error: &dyn fmt::Display| StartError(error.to_string());
    let rules = auth::shared_rules(settings).map_err(|error| fail(&error))?;
    // Whoever has the public key alone checks tokens and makes none.
    let issuer = auth::Issuer::load(settings, settings.auth.algorithm, None).ok().map(Arc::new);
    let acceptor = settings
        .tls()
        .map(|files| Acceptor::from_files(files.certificate, files.key, client_auth(settings)))
        .transpose()
        .map_err(|error| fail(&error))?;
    let secret = auth::secret::encryption(settings).map_err(|error| fail(&error))?;
    Ok(Common {
        rules,
        issuer,
        origins: Arc::new(auth::Gate::new(settings)),
        acceptor,
        door: Arc::new(Door::new(settings, &secret)),
        started_at: storage::record::now(),
        parts,
        settings: settings.clone(),
    })
}

/// What clients are to show of themselves, if anything.
fn client_auth(settings: &Settings) -> Option<ClientAuth<'_>> {
    let proof = &settings.proof;
    let authorities = proof.client_authorities.as_deref()?;
    Some(ClientAuth { authorities, required: proof.certificate_required })
}

fn start(
    common: Common,
    sockets: Vec<BoundSocket>,
    receivers: Vec<mailbox::Receiver<Message>>,
    tasks: Tasks,
    cores: &[usize],
    driver: Driver,
) -> Result<runtime::Shards, StartError> {
    let mut tasks = Some(tasks);
    let own: Vec<_> = sockets
        .into_iter()
        .zip(receivers)
        .map(|(socket, mailbox)| Some(Own { socket, mailbox, tasks: tasks.take() }))
        .collect();
    let own = Arc::new(Mutex::new(own));
    let main = move |index: usize| {
        let common = common.clone();
        let own = own.lock().ok().and_then(|mut own| own[index].take());
        async move {
            match own {
                Some(own) => shard_main(index, common, own).await,
                None => tracing::error!(shard = index, "was started twice"),
            }
        }
    };
    runtime::start(cores, driver, main)
        .map_err(|error| StartError(format!("cannot start the shards: {error}")))
}

/// The life of a shard.
async fn shard_main(index: usize, common: Common, own: Own) {
    let listener = match Listener::new(own.socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(shard = index, %error, "cannot listen");
            return;
        }
    };
    let grace = common.settings.listen.shutdown_grace;
    let acceptor = common.acceptor.clone();
    let limits = Rc::new(connection_limits(&common.settings));
    let parts = common.parts;
    let facts = Rc::new(Facts {
        issuer: common.issuer.clone(),
        rules: Rules::new(&common.settings),
        door: common.door,
        started_at: common.started_at,
        shard_count: parts.mailboxes.len(),
        driver: parts.driver,
    });
    let shared = match parts.neighbourhood.join(index) {
        Ok(shared) => shared,
        Err(error) => {
            tracing::error!(shard = index, %error, "cannot join the other nodes");
            return;
        }
    };
    let upstreams = upstream::Upstreams::new(&common.settings, Courier::all(&parts.mailboxes));
    let shard = Rc::new(Shard::new(
        index,
        common.settings,
        common.rules,
        common.origins,
        parts.registry,
        parts.recorder,
        parts.auditor,
        parts.catalog,
        upstreams,
        shared,
        parts.sealer,
        parts.counts,
        parts.wants,
    ));
    let mut closing = Vec::new();
    let has_tasks = own.tasks.is_some();
    if let Some(Tasks { keeper, recorder, auditor }) = own.tasks {
        let moved = Rc::<Moved>::default();
        task::spawn(keeper.grow(moved.clone()).run());
        task::spawn(shard.registry.clone().hear_notices());
        closing.push(task::spawn(state::health::run(shard.clone())));
        closing.extend(parts.neighbourhood.keep(&shard, moved));
        closing.push(task::spawn(recorder.grow().run()));
        closing.push(task::spawn(auditor.grow().run()));
        task::spawn(first_admin::run(shard.clone(), facts.clone()));
        task::spawn(state::pruner::run(shard.clone()));
    }
    task::spawn(shard.parking.clone().hear());
    task::spawn(state::watch::run(shard.clone(), parts.mailboxes));
    if let Some(sessions) = &shard.sessions {
        task::spawn(sessions.clone().hear());
    }
    task::spawn(shard.conversing.clone().hear_letters());
    task::spawn(read_mailbox(shard.clone(), own.mailbox));
    let take = |stream: TcpStream, peer: SocketAddr| {
        accept(&shard, &facts, stream, peer, acceptor.clone(), limits.clone());
    };
    let refused = |error| tracing::warn!(%error, "cannot accept; waiting for connections to end");
    listener.accept_until(&shard.draining, take, refused).await;
    drain(&shard, grace).await;
    if has_tasks {
        shard.recorder.end();
        shard.auditor.end();
    }
    for task in closing {
        let _ = time::timeout(LEAVE_WITHIN, task.join()).await;
    }
    let counted = recorder::last_batch(shard.meters.take()).map(Leftover::Metrics);
    let noted = auditor::last_batch(shard.trail.take()).map(Leftover::Audit);
    for leftover in counted.into_iter().chain(noted) {
        let _ = parts.leftovers.send(leftover);
    }
}

fn connection_limits(settings: &Settings) -> server::Limits {
    let http = &settings.http;
    server::Limits {
        head: net::http1::HeadLimits {
            head_size_max: http.head_size_max,
            field_count_max: http.field_count_max,
            field_size_max: http.field_size_max,
            ..net::http1::HeadLimits::default()
        },
        first_byte_within: http.first_byte_timeout,
        head_within: http.head_timeout,
        body_within: http.body_timeout,
        idle_within: http.idle_timeout,
        write_within: http.write_timeout,
    }
}

async fn read_mailbox(shard: Rc<Shard>, mut mailbox: mailbox::Receiver<Message>) {
    while let Some(message) = mailbox.next().await {
        match message {
            Message::Catalog(catalog, done) => {
                shard.put_catalog(catalog);
                let _ = done.send(());
            }
            Message::Meters(recorder) => shard.hand_over_meters(recorder),
            Message::Audit(auditor) => shard.hand_over_trail(auditor),
            Message::Stdio(mail) => shard.upstreams.take_mail(mail),
            Message::News(news) => shard.hear(&news),
            Message::Wanted(upstream_id) => shard.watchers.look(&upstream_id),
            Message::Database(trouble) => shard.note_database(trouble),
            Message::Drain => {
                shard.draining.open();
                shard.listeners.ring();
            }
        }
    }
}

fn accept(
    shard: &Rc<Shard>,
    facts: &Rc<Facts>,
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<Acceptor>,
    limits: Rc<server::Limits>,
) {
    if shard.connection_count.get() >= shard.settings.http.connection_count_max {
        tracing::debug!(%peer, "too many connections; closed one");
        return;
    }
    shard.connection_count.set(shard.connection_count.get() + 1);
    let counted = Counted(shard.clone());
    let mut front = Front { shard: shard.clone(), facts: facts.clone(), certified: None };
    // The plain connection has a task of its own kind, made in place: a connection that idles
    // costs little more than its task, which should have no room for what it does not do.
    match acceptor {
        None => {
            let mut connection = Connection::Tcp(stream);
            task::spawn(async move {
                let _counted = &counted;
                server::serve(&mut connection, peer, &front, &limits).await;
            });
        }
        Some(acceptor) => {
            task::spawn(async move {
                let _counted = &counted;
                if let Some(mut connection) = shake_hands(stream, acceptor, &limits).await {
                    front.certified = front.facts.door.certified(connection.client_holder());
                    server::serve(&mut connection, peer, &front, &limits).await;
                }
            });
        }
    }
}

async fn shake_hands(
    stream: TcpStream,
    acceptor: Acceptor,
    limits: &server::Limits,
) -> Option<Connection> {
    stream.watch().arm(limits.first_byte_within, watch::Action::Abort);
    // On the heap, and gone with the handshake: its state is large.
    match Box::pin(acceptor.accept(stream)).await {
        Ok(connection) => {
            connection.watch().disarm();
            Some(connection)
        }
        Err(error) => {
            tracing::debug!(%error, "no TLS handshake");
            None
        }
    }
}

/// A connection that is counted while it lives.
struct Counted(Rc<Shard>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connection_count.set(self.0.connection_count.get() - 1);
    }
}

/// Waits for the requests in flight, then ends what is left.
async fn drain(shard: &Rc<Shard>, grace: Duration) {
    let started = time::Instant::now();
    while shard.connection_count.get() > 0 && started.elapsed() < grace {
        watch::stop_idle();
        time::sleep(DRAIN_POLL).await;
    }
    let left = shard.connection_count.get();
    if left > 0 {
        tracing::warn!(shard = shard.index, connections = left, "not done within SHUTDOWN_GRACE");
    }
    shard.upstreams.close().await;
}

/// One thread waits for signals: the first drains, the second ends the process at once.
fn stop_on_signal(mailboxes: Mailboxes) {
    let wait = move || {
        let signal = signal::wait();
        tracing::info!(signal, "stopping: finishing what is in flight");
        for mailbox in mailboxes.iter() {
            let _ = mailbox.send(Message::Drain);
        }
        signal::wait();
        std::process::exit(1);
    };
    let spawned = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread for signals: only SIGKILL ends this process");
    }
}

/// Stores what was counted and noted last, and closes the store.
fn close(store: Store, left: mpsc::Receiver<Leftover>) {
    let _ = runtime::block_on(Driver::Epoll, async move {
        let keep = async {
            for leftover in left.try_iter() {
                let (what, kept) = match leftover {
                    Leftover::Metrics(batch) => {
                        ("metrics", store.add_metrics(Arc::new(batch)).await)
                    }
                    Leftover::Audit(batch) => {
                        ("entries of the audit trail", store.append_audit(Arc::new(batch)).await)
                    }
                };
                if let Err(error) = kept {
                    tracing::warn!(%error, "the last {what} are lost");
                }
            }
        };
        if time::timeout(LAST_WITHIN, keep).await.is_err() {
            tracing::warn!("the last metrics or entries of the audit trail are lost: no answer");
        }
        let _ = store.close().await;
    });
}

/// Says on the standard output where it listens and how to get in.
fn announce(settings: &Settings, address: SocketAddr, cores: &[usize], choice: &driver::Choice) {
    let scheme = if settings.tls().is_some() { "https" } else { "http" };
    let list = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let count = cores.len();
    let plural = if count == 1 { "shard on core" } else { "shards on cores" };
    println!("Ringway {} listens on {scheme}://{address}", env!("CARGO_PKG_VERSION"));
    println!("  {count} {plural} {list}; ring driver: {}", choice.driver);
    if let Some(why) = &choice.why_not_better {
        tracing::warn!(driver = %choice.driver, why, "a faster ring driver was refused");
        println!("  a faster driver was refused: {why}");
    }
    if let Some(line) = neighbourhood::announcement(settings) {
        println!("  {line}");
    }
    if settings.auth.required {
        let email = &settings.auth.admin_email;
        println!("  an admin token: ringway token --username {email} --exp 60");
    } else {
        println!("  authentication is off: every caller is an administrator");
    }
}
