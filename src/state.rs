//! What one shard holds while it runs, and the mailbox through which the others change it.

use std::{
    cell::{Cell, Ref, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use shards::{
    local::Gate,
    mailbox::{self, SendError, oneshot},
};

use storage::{record::Entity, seal::Sealer, shared::Shared};

use crate::{
    auth::{AuthError, Caller, Gate as OriginGate, Resource, Rules, Verifier},
    catalog::Catalog,
    limits,
    mcp::Pages,
    observe::{
        audit::{Noted, Trail},
        meters::{Meters, Taken},
    },
    own,
    policy::Book,
    schema,
    session::{Listeners, Sessions, Wants, parking::Parking},
    settings::Settings,
    throttle::{Counts, Throttle},
    upstream::{
        Upstreams,
        stdio::{Post, StdioMail},
    },
};

pub mod auditor;
pub mod health;
mod keeper;
mod keys;
pub mod neighbours;
mod options;
pub mod pruner;
pub mod recorder;
mod registry;
pub mod watch;

pub use auditor::AuditorHandle;
pub use keeper::{KeeperHandle, KeeperSeed};
pub use keys::Directory;
pub use options::Options;
pub use recorder::RecorderHandle;
pub use registry::Registry;
pub use watch::{News, Watchers};

/// A shard.
pub struct Shard {
    /// Its number, from 0.
    pub index: usize,
    /// The settings.
    pub settings: Arc<Settings>,
    /// The settings that the request path obeys.
    pub options: Options,
    /// Tokens to callers.
    pub verifier: Verifier,
    /// What other issuers say of themselves.
    pub directory: Directory,
    /// Which origins and hosts may reach us.
    pub origins: Arc<OriginGate>,
    /// The rendered lists.
    pub pages: Pages,
    /// The compiled schemas.
    pub schemas: schema::Cache,
    /// The compiled templates of our own prompts.
    pub prompts: own::Prompts,
    /// The way to the upstreams.
    pub upstreams: Upstreams,
    /// The way to the store.
    pub registry: Registry,
    /// What is shared with other nodes for a while.
    pub shared: Shared,
    /// The sessions of clients; none if every request stands alone.
    pub sessions: Option<Rc<Sessions>>,
    /// The same, for clients whose connection is their session.
    pub conversing: Rc<Sessions>,
    /// The calls that wait for their clients to come back.
    pub parking: Rc<Parking>,
    /// The streams that are told of what changes.
    pub listeners: Listeners,
    /// What the streams of all shards want to hear of.
    pub wants: Wants,
    /// Those who listen to upstreams.
    pub watchers: Rc<Watchers>,
    /// The rates.
    pub throttle: Throttle,
    /// What this shard counts of entities that are used.
    pub meters: Rc<Meters>,
    /// The way to what was counted.
    pub recorder: RecorderHandle,
    /// What this shard notes for the audit trail.
    pub trail: Rc<Trail>,
    /// The way to the audit trail.
    pub auditor: AuditorHandle,
    /// Open once the shard ends.
    pub draining: Rc<Gate>,
    /// Requests that are being answered.
    pub request_count: Cell<usize>,
    /// Connections that are open.
    pub connection_count: Cell<usize>,
    /// Streams of changes that are open.
    pub stream_count: Cell<usize>,
    catalog: RefCell<Arc<Catalog>>,
    policies: RefCell<Rc<Book>>,
    database_trouble: RefCell<Option<Arc<str>>>,
}

/// What is sent to a shard.
pub enum Message {
    /// A newer catalog; the sender waits until it is in place.
    Catalog(Arc<Catalog>, oneshot::Sender<()>),
    /// Mail for a child process that this shard owns.
    Stdio(StdioMail),
    /// What is wrong with the database, or that it is back.
    Database(Option<Arc<str>>),
    /// Hand over what was counted.
    Meters(oneshot::Sender<Taken>),
    /// Hand over what was noted for the audit trail.
    Audit(oneshot::Sender<Noted>),
    /// What an upstream said by itself.
    News(Arc<News>),
    /// Other resources are wanted of the upstream with this id, which this shard watches.
    Wanted(Box<str>),
    /// The process ends: finish what is in flight.
    Drain,
}

/// The senders to every shard's mailbox.
pub type Mailboxes = Arc<[mailbox::Sender<Message>]>;

/// The way to the mailbox of one shard, for those who know only of child processes.
pub struct Courier(mailbox::Sender<Message>);

impl Courier {
    /// A courier to every shard, in their order.
    pub fn all(mailboxes: &Mailboxes) -> Vec<Rc<dyn Post>> {
        mailboxes.iter().map(|sender| Rc::new(Courier(sender.clone())) as Rc<dyn Post>).collect()
    }
}

impl Post for Courier {
    fn post(&self, mail: StdioMail) -> Result<(), SendError<StdioMail>> {
        let unwrap = |message| match message {
            Message::Stdio(mail) => mail,
            _ => unreachable!("what comes back is what was sent"),
        };
        self.0.send(Message::Stdio(mail)).map_err(|error| match error {
            SendError::Full(message) => SendError::Full(unwrap(message)),
            SendError::Closed(message) => SendError::Closed(unwrap(message)),
        })
    }
}

/// Makes the mailboxes of `count` shards.
pub fn mailboxes(count: usize) -> (Mailboxes, Vec<mailbox::Receiver<Message>>) {
    let channels = (0..count).map(|_| mailbox::channel(limits::MAILBOX_COUNT_MAX));
    let (senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
    (senders.into(), receivers)
}

/// The time in seconds since the epoch.
pub fn now() -> u64 {
    // A clock before 1970 is broken: then no token is good, rather than every one.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}

impl Shard {
    /// Puts a shard together.
    #[allow(clippy::too_many_arguments, reason = "each is a part of its own, put together here")]
    pub fn new(
        index: usize,
        settings: Arc<Settings>,
        rules: Option<Arc<Rules>>,
        origins: Arc<OriginGate>,
        registry: Registry,
        recorder: RecorderHandle,
        auditor: AuditorHandle,
        catalog: Arc<Catalog>,
        upstreams: Upstreams,
        shared: Shared,
        sealer: Arc<Sealer>,
        counts: Counts,
        wants: Wants,
    ) -> Shard {
        let chosen = &settings.sessions;
        let listeners = Listeners::default();
        let parking = Rc::new(Parking::new(sealer.clone(), &shared.bus));
        let (ttl, message_ttl, listening) = (chosen.ttl, chosen.message_ttl, listeners.clone());
        let conversing = Rc::new(Sessions::new(sealer, &shared, ttl, message_ttl, listening));
        let sessions = chosen.is_on.then(|| conversing.clone());
        let meters = meters(&settings, recorder.clone());
        let crowded = auditor.clone();
        let trail = Trail::new(&settings.audit, move || crowded.crowded());
        let throttle = Throttle::new(&settings.rate_limits, counts, Some(shared.state.clone()));
        Shard {
            index,
            options: Options::of(&settings),
            verifier: Verifier::new(&settings.auth, rules),
            directory: Directory::default(),
            schemas: schema::Cache::new(settings.catalog.schema_count_max),
            prompts: own::Prompts::new(settings.catalog.prompt_count_max),
            settings,
            origins,
            pages: Pages::default(),
            throttle,
            policies: RefCell::new(Rc::new(Book::new(catalog.people().policies()))),
            upstreams,
            registry,
            meters: Rc::new(meters),
            recorder,
            trail: Rc::new(trail),
            auditor,
            shared,
            sessions,
            conversing,
            listeners,
            wants,
            watchers: Rc::default(),
            parking,
            draining: Rc::default(),
            request_count: Cell::new(0),
            connection_count: Cell::new(0),
            stream_count: Cell::new(0),
            catalog: RefCell::new(catalog),
            database_trouble: RefCell::default(),
        }
    }

    /// Hands over what was counted, unless nobody waits for it any more.
    pub fn hand_over_meters(&self, to: oneshot::Sender<Taken>) {
        if !to.is_canceled() {
            let _ = to.send(self.meters.take());
        }
    }

    /// Hands over what was noted, unless nobody waits for it any more.
    pub fn hand_over_trail(&self, to: oneshot::Sender<Noted>) {
        if !to.is_canceled()
            && let Err(noted) = to.send(self.trail.take())
        {
            self.trail.give_back(noted);
        }
    }

    /// The newest catalog that this shard has.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.borrow().clone()
    }

    /// The newest catalog, for as long as nothing is waited for.
    pub fn catalog_now(&self) -> Ref<'_, Arc<Catalog>> {
        self.catalog.borrow()
    }

    /// Says who sent a request to `resource` with these values of `Authorization` and `Cookie`, and
    /// what they may now.
    ///
    /// # Errors
    ///
    /// [`AuthError`]: answer 401 or 403; or read the keys that it asks for, and try again.
    pub fn identify_at(
        &self,
        resource: &Resource<'_>,
        authorization: Option<&[u8]>,
        cookie: Option<&[u8]>,
        from: impl FnOnce() -> IpAddr,
    ) -> Result<Rc<Caller>, AuthError> {
        let catalog = self.catalog.borrow();
        self.verifier.identify_at(resource, authorization, cookie, from, catalog.people(), now())
    }

    /// Says what a user may now for whom something else than a token vouches.
    ///
    /// # Errors
    ///
    /// [`AuthError`]: answer 401.
    pub fn vouch(&self, claimed: &Caller) -> Result<Rc<Caller>, AuthError> {
        self.verifier.vouch(claimed, self.catalog.borrow().people(), now())
    }

    /// What was wrong with the database when it was last asked; `None` if it answered.
    pub fn database_trouble(&self) -> Option<Arc<str>> {
        self.database_trouble.borrow().clone()
    }

    /// Notes what is wrong with the database, or that it is back.
    pub fn note_database(&self, trouble: Option<Arc<str>>) {
        self.database_trouble.replace(trouble);
    }

    /// The policies of the newest catalog, compiled.
    pub fn policies(&self) -> Rc<Book> {
        self.policies.borrow().clone()
    }

    /// Puts a newer catalog in the place of the former.
    pub fn put_catalog(&self, catalog: Arc<Catalog>) {
        if !self.policies.borrow().is_of(catalog.people().policies()) {
            self.policies.replace(Rc::new(Book::new(catalog.people().policies())));
        }
        self.pages.retain(|id| catalog.server(id).is_some());
        let former = self.catalog.replace(catalog.clone());
        self.upstreams.retain(&former, &catalog);
        self.listeners.ring();
        self.watchers.bell.ring();
    }
}

fn meters(settings: &Settings, recorder: RecorderHandle) -> Meters {
    if !settings.metrics.recorded {
        return Meters::off();
    }
    let meters = Meters::new(settings.metrics.entity_count_max, move || recorder.crowded());
    match settings.metrics.agents_recorded {
        true => meters,
        false => meters.without(Entity::Agent),
    }
}
