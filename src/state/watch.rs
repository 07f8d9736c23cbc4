//! Watching upstreams: a task for each that listens to what it says by itself, on the shard that its
//! child belongs to, or would.
//!
//! Every process watches for itself, so what it hears needs no way between nodes. A list that changed is
//! read again by one of them, which takes a lease for that; all learn of it from the change feed.
//! A resource that changed is told to the streams of the own process, by the mailboxes of its shards.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use ahash::AHashMap;
use shards::{
    local::{Bell, Gate, Turns},
    mailbox::SendError,
    task, time,
};
use storage::Mutation;

use crate::{
    catalog::{Catalog, Upstream, inventory::Inventory},
    failure::Failure,
    limits,
    mcp::Kind,
    observe::held::{self, Hold},
    session::Wants,
    state::{Mailboxes, Message, Shard},
    upstream::{
        Upstreams, stdio,
        watch::{Deaf, Ear},
    },
};

mod refresh;
#[cfg(test)]
mod tests;
mod watcher;

use refresh::Refresh;
use watcher::Watcher;

/// How long is waited for a mailbox that is full.
const MAILBOX_PAUSE: Duration = Duration::from_millis(10);

/// Upstreams of a shard whose lists are read at once.
const REFRESH_COUNT_MAX: usize = 8;

/// What an upstream said by itself, on its way to the streams of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Whose word it is.
    pub upstream_id: String,
    /// Lists that it said have changed, and which look the same as before to us.
    pub changed: Vec<Kind>,
    /// The URIs of resources that changed.
    pub updated: Vec<String>,
}

/// The surroundings of the watchers: the shard, or what a test makes of it.
pub(crate) trait World: 'static {
    /// The newest catalog.
    fn catalog(&self) -> Arc<Catalog>;
    /// Listens to an upstream until that ends.
    fn watch(
        &self,
        upstream: &Arc<Upstream>,
        ear: &Rc<Ear>,
    ) -> impl Future<Output = Result<Deaf, Failure>>;
    /// Asks an upstream what it offers now.
    fn read(&self, upstream: &Arc<Upstream>) -> impl Future<Output = Result<Inventory, Failure>>;
    /// Takes the lease on reading one.
    fn hold(&self, lease: &str) -> impl Future<Output = Result<Option<i64>, Failure>>;
    /// Gives it back.
    fn release(&self, lease: &str) -> impl Future<Output = Result<(), Failure>>;
    /// Writes, and has every shard serve it.
    fn apply(&self, mutations: Vec<Mutation>) -> impl Future<Output = Result<(), Failure>>;
    /// Looks for what others wrote.
    fn catch_up(&self);
    /// What stands between the words of tool names.
    fn separator(&self) -> &'static str;
    /// What the streams of the process want to hear of.
    fn wants(&self) -> &Wants;
    /// Tells every stream of the process.
    fn tell(&self, news: News) -> impl Future<Output = ()>;
}

/// The watchers of a shard, as those know them who have something to say to them.
#[derive(Default)]
pub struct Watchers {
    ears: RefCell<AHashMap<Box<str>, Rc<Ear>>>,
    /// Rung with every new catalog.
    pub bell: Bell,
}

impl Watchers {
    /// Has the watcher of an upstream look at what is wanted of it.
    pub fn look(&self, upstream_id: &str) {
        if let Some(ear) = self.ears.borrow().get(upstream_id) {
            ear.bell.ring();
        }
    }
}

/// What all shards of a process want, and a letter to who watches when that changes.
pub fn wants(mailboxes: &Mailboxes) -> Wants {
    let mailboxes = mailboxes.clone();
    Wants::new(move |upstream_id| {
        let owner = &mailboxes[stdio::owner(upstream_id, mailboxes.len())];
        // Behind a full mailbox the watcher looks again when it next sends a sign of life.
        let _ = owner.send(Message::Wanted(upstream_id.into()));
    })
}

/// A shard with the way to the others.
struct Surroundings {
    shard: Rc<Shard>,
    mailboxes: Mailboxes,
}

/// Reads an upstream again that turned out to speak another era than its record says. If that fails,
/// the shard knows, and the next health check is another chance.
fn follow_moved(shard: &Rc<Shard>, mailboxes: &Mailboxes) {
    let (weak, mailboxes) = (Rc::downgrade(shard), mailboxes.clone());
    shard.upstreams.tell_of_moved(move |id| {
        let Some(shard) = weak.upgrade() else { return };
        let (id, mailboxes) = (id.to_owned(), mailboxes.clone());
        task::spawn(async move {
            let world = Surroundings { shard, mailboxes };
            let refresh = Refresh { world: &world, id: &id };
            if let Err(panic) = task::guard(refresh.renew(false)).await {
                tracing::error!(upstream_id = id, ?panic, "it cannot be read again");
            }
        });
    });
}

/// Watches the upstreams that are this shard's to watch, until it drains; only follows those that speak
/// otherwise than before if that is switched off.
pub async fn run(shard: Rc<Shard>, mailboxes: Mailboxes) {
    follow_moved(&shard, &mailboxes);
    if !shard.settings.upstreams.watched {
        return;
    }
    let (index, count) = (shard.index, mailboxes.len());
    let (watchers, stopping) = (shard.watchers.clone(), shard.draining.clone());
    let world = Rc::new(Surroundings { shard, mailboxes });
    let is_ours = move |id: &str| stdio::owner(id, count) == index;
    Warden::new(world, watchers, stopping).run(is_ours).await;
}

/// Starts and stops watchers as upstreams come and go.
pub(crate) struct Warden<W> {
    world: Rc<W>,
    watchers: Rc<Watchers>,
    stopping: Rc<Gate>,
    watched: AHashMap<String, Watched>,
    /// The catalog that was followed last.
    followed: Option<Arc<Catalog>>,
    turns: Rc<Turns>,
    /// It was said that not all can be watched.
    is_crowded: bool,
}

/// An upstream that is watched; stops being so when this is dropped.
struct Watched {
    upstream: Arc<Upstream>,
    stop: Rc<Gate>,
    _hold: Hold,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.open();
    }
}

impl<W: World> Warden<W> {
    pub(crate) fn new(world: Rc<W>, watchers: Rc<Watchers>, stopping: Rc<Gate>) -> Warden<W> {
        let turns = Rc::new(Turns::new(REFRESH_COUNT_MAX));
        let (watched, followed) = Default::default();
        Warden { world, watchers, stopping, watched, followed, turns, is_crowded: false }
    }

    pub(crate) async fn run(mut self, is_ours: impl Fn(&str) -> bool) {
        let (stopping, watchers) = (self.stopping.clone(), self.watchers.clone());
        task::spawn(async move {
            stopping.passed().await;
            watchers.bell.ring();
        });
        while !self.stopping.is_open() {
            self.follow(&is_ours);
            self.watchers.bell.wait().await;
        }
        self.watchers.ears.borrow_mut().clear();
    }

    /// Has those watched that should be, in the newest catalog.
    fn follow(&mut self, is_ours: &impl Fn(&str) -> bool) {
        let catalog = self.world.catalog();
        let former = self.followed.replace(catalog.clone());
        if former.is_some_and(|former| former.all_upstreams().is(catalog.all_upstreams())) {
            return;
        }
        let should = |upstream: &Upstream| {
            upstream.record.enabled && upstream.record.reachable && is_ours(&upstream.record.id)
        };
        let watchers = &self.watchers;
        self.watched.retain(|id, watched| {
            let now = catalog.upstream(id).filter(|upstream| should(upstream));
            let stays = now.is_some_and(|now| {
                let stays = Arc::ptr_eq(now, &watched.upstream)
                    || Upstreams::is_watched_alike(now, &watched.upstream);
                watched.upstream = now.clone();
                stays
            });
            if !stays {
                watchers.ears.borrow_mut().remove(id.as_str());
            }
            stays
        });
        for upstream in catalog.upstreams().filter(|upstream| should(upstream)) {
            if self.watched.contains_key(&upstream.record.id) {
                continue;
            }
            if self.watched.len() >= limits::WATCH_COUNT_MAX {
                if !std::mem::replace(&mut self.is_crowded, true) {
                    let count = self.watched.len();
                    held::Kind::Watch.refuse();
                    tracing::warn!(count, "as many upstreams are watched as may be: not all are");
                }
                return;
            }
            self.begin(upstream);
        }
    }

    fn begin(&mut self, upstream: &Arc<Upstream>) {
        let (id, stop) = (upstream.record.id.clone(), Rc::<Gate>::default());
        let watcher = Watcher::new(self.world.clone(), upstream.clone(), self.turns.clone());
        self.watchers.ears.borrow_mut().insert(id.as_str().into(), watcher.ear());
        let hold = held::Kind::Watch.hold();
        let watched = Watched { upstream: upstream.clone(), stop: stop.clone(), _hold: hold };
        self.watched.insert(id, watched);
        let name = upstream.record.name.clone();
        task::spawn(async move {
            if let Err(panic) = task::guard(watcher.run(&stop)).await {
                tracing::error!(upstream = name, ?panic, "it is not watched any more");
            }
        });
    }
}

impl World for Surroundings {
    fn catalog(&self) -> Arc<Catalog> {
        self.shard.catalog()
    }

    async fn watch(&self, upstream: &Arc<Upstream>, ear: &Rc<Ear>) -> Result<Deaf, Failure> {
        self.shard.upstreams.watch(upstream, ear).await
    }

    async fn read(&self, upstream: &Arc<Upstream>) -> Result<Inventory, Failure> {
        self.shard.upstreams.revive(upstream, self.shard.settings.health.timeout).await
    }

    async fn hold(&self, lease: &str) -> Result<Option<i64>, Failure> {
        let settings = &self.shard.settings;
        // As long as reading may take.
        let ttl = settings.health.timeout + settings.upstreams.request_timeout;
        self.shard.registry.hold_lease(lease, self.shard.shared.bus.node_id(), ttl).await
    }

    async fn release(&self, lease: &str) -> Result<(), Failure> {
        self.shard.registry.release_lease(lease, self.shard.shared.bus.node_id()).await
    }

    async fn apply(&self, mutations: Vec<Mutation>) -> Result<(), Failure> {
        self.shard.registry.apply(mutations).await.map(|_| ())
    }

    fn catch_up(&self) {
        self.shard.registry.hint();
    }

    fn separator(&self) -> &'static str {
        self.shard.settings.catalog.separator
    }

    fn wants(&self) -> &Wants {
        &self.shard.wants
    }

    async fn tell(&self, news: News) {
        let news = Arc::new(news);
        for mailbox in self.mailboxes.iter() {
            let mut message = Message::News(news.clone());
            while let Err(SendError::Full(refused)) = mailbox.send(message) {
                message = refused;
                time::sleep(MAILBOX_PAUSE).await;
            }
        }
    }
}

impl Shard {
    /// Tells the streams of this shard what an upstream said by itself.
    pub fn hear(&self, news: &News) {
        for kind in &news.changed {
            self.listeners.changed(&news.upstream_id, *kind);
        }
        for uri in &news.updated {
            self.listeners.updated(&news.upstream_id, uri);
        }
    }
}
