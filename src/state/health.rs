//! The health checks: a task of shard 0 that asks every upstream for signs of life, while this
//! process holds the lease on doing so.
//!
//! Upstreams that fail leave the lists, and come back with their lists read anew. All that it
//! writes names the token of its lease, so that a process that froze and thawed changes nothing
//! once another has taken over. Each check runs in a task of its own, so none waits for another;
//! how many run at once is bounded.
//!
//! `last_seen` is written only along with a change of state: a write for every check of every
//! upstream would be work for all processes and news for nobody.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use shards::{
    local::{Bell, Gate, OwnedTurn, Turns},
    task,
    time::{self, Instant},
};
use storage::Mutation;

use crate::{
    catalog::{Catalog, Upstream, inventory::Inventory},
    failure::Failure,
    settings,
    state::Shard,
    upstream::Health,
};

mod errand;
mod ledger;
#[cfg(test)]
mod tests;

use errand::{Errand, Report};
use ledger::{Ledger, Tally};

/// The name of the lease.
pub const LEASE: &str = "health";

/// How long the database may take to answer about the lease: a shard that ends waits for it.
const HOLD_WITHIN: Duration = Duration::from_secs(2);

/// How long giving the lease back may take: if it fails, another waits for its end.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);

/// The longest rest of the task while it is the one that checks: a new upstream is noticed then.
const REST_MAX: Duration = Duration::from_secs(1);

/// What the checks obey.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Who we are to the others: the node's id, so that they can release what a dead one held.
    pub holder: String,
    /// How often each upstream is checked.
    pub interval: Duration,
    /// How many checks in a row must fail.
    pub threshold: u32,
    /// How many checks run at once.
    pub concurrency: usize,
    /// The length of the lease.
    pub lease: Duration,
    /// What stands between the words of tool names.
    pub separator: &'static str,
}

/// The surroundings of the checks: the shard, or what a test makes of it.
pub(crate) trait World: 'static {
    /// The newest catalog.
    fn catalog(&self) -> Arc<Catalog>;
    /// Asks for a sign of life.
    fn check(&self, upstream: &Arc<Upstream>) -> impl Future<Output = Health>;
    /// Reads an upstream that was away.
    fn revive(&self, upstream: &Arc<Upstream>) -> impl Future<Output = Result<Inventory, Failure>>;
    /// Ends a child that hangs.
    fn retire_child(&self, upstream: &Upstream);
    /// Takes or renews the lease.
    fn hold(
        &self,
        holder: &str,
        ttl: Duration,
    ) -> impl Future<Output = Result<Option<i64>, Failure>>;
    /// Gives the lease back.
    fn release(&self, holder: &str) -> impl Future<Output = Result<(), Failure>>;
    /// Writes, and has every shard serve it.
    fn apply(&self, mutations: Vec<Mutation>) -> impl Future<Output = Result<(), Failure>>;
    /// Looks for what others wrote.
    fn catch_up(&self) -> impl Future<Output = ()>;
}

/// Checks the upstreams until the shard drains; returns when the lease is given back. Does nothing
/// if checks are switched off.
pub async fn run(shard: Rc<Shard>) {
    let settings::Health { interval, threshold, concurrency, lease, .. } = shard.settings.health;
    let Some(threshold) = threshold else { return };
    let separator = shard.settings.catalog.separator;
    let holder = shard.shared.bus.node_id().to_owned();
    let options = Options { holder, interval, threshold, concurrency, lease, separator };
    let stopping = shard.draining.clone();
    Checker::new(Rc::new(shard), options, stopping).run().await;
}

/// Where checks leave what they found.
#[derive(Default)]
struct Desk {
    /// At most one for each turn, and those are bounded.
    reports: RefCell<Vec<Report>>,
    bell: Bell,
}

/// The time during which this process holds the lease.
struct Reign {
    token: i64,
    /// The lease may have expired then, as far as this process can know.
    until: Instant,
}

pub(crate) struct Checker<W> {
    world: Rc<W>,
    options: Options,
    stopping: Rc<Gate>,
    opened: Instant,
    renewal: Instant,
    reign: Option<Reign>,
    ledger: Ledger,
    followed: Option<Arc<Catalog>>,
    turns: Rc<Turns>,
    desk: Rc<Desk>,
}

impl<W: World> Checker<W> {
    pub(crate) fn new(world: Rc<W>, options: Options, stopping: Rc<Gate>) -> Checker<W> {
        let now = Instant::now();
        Checker {
            world,
            stopping,
            opened: now,
            renewal: now,
            reign: None,
            ledger: Ledger::new(options.interval),
            followed: None,
            turns: Rc::new(Turns::new(options.concurrency)),
            desk: Rc::default(),
            options,
        }
    }

    pub(crate) async fn run(mut self) {
        let (stopping, desk) = (self.stopping.clone(), self.desk.clone());
        task::spawn(async move {
            stopping.passed().await;
            desk.bell.ring();
        });
        while !self.stopping.is_open() {
            if Instant::now() >= self.renewal {
                self.renew_lease().await;
            }
            self.take_reports();
            self.begin_checks();
            let _ = time::timeout(self.rest(), self.desk.bell.wait()).await;
        }
        if self.reign.is_some() {
            let _ = time::timeout(RELEASE_WITHIN, self.world.release(&self.options.holder)).await;
        }
    }

    /// Takes the lease or renews it. It is counted from before the question was asked, so that we
    /// never believe to hold it for longer than the database does.
    async fn renew_lease(&mut self) {
        let third = self.options.lease / 3;
        let asked = Instant::now();
        self.renewal = asked + third;
        let hold = self.world.hold(&self.options.holder, self.options.lease);
        match time::timeout(third.min(HOLD_WITHIN), hold).await {
            Ok(Ok(Some(token))) => {
                if self.reign.as_ref().is_none_or(|reign| reign.token != token) {
                    self.abdicate();
                    tracing::info!(token, "this process checks the health of the upstreams");
                }
                self.reign = Some(Reign { token, until: asked + self.options.lease });
            }
            Ok(Ok(None)) => self.lose("another process has it"),
            // The lease holds for a while yet; whether the database is away is told by the keeper.
            Ok(Err(failure)) => tracing::debug!(%failure, "cannot ask for the lease"),
            Err(_) => tracing::debug!("no answer about the lease in time"),
        }
    }

    fn lose(&mut self, why: &str) {
        if self.reign.is_some() {
            tracing::warn!(why, "lost the lease on health checks");
            self.abdicate();
        }
    }

    /// Forgets all that was counted: who takes the lease again begins anew.
    fn abdicate(&mut self) {
        self.reign = None;
        self.ledger = Ledger::new(self.options.interval);
        self.followed = None;
    }

    fn take_reports(&mut self) {
        let reports = std::mem::take(&mut *self.desk.reports.borrow_mut());
        for report in reports {
            // One of a reign that is over says nothing of this one.
            if self.reign.as_ref().is_none_or(|reign| reign.token != report.token) {
                continue;
            }
            self.ledger.put_back(&report.id, report.tally);
            if report.is_fenced {
                self.lose("a write was refused");
            }
        }
    }

    fn begin_checks(&mut self) {
        if self.reign.as_ref().is_some_and(|reign| Instant::now() >= reign.until) {
            self.lose("it could not be renewed in time");
        }
        let Some(token) = self.reign.as_ref().map(|reign| reign.token) else { return };
        let now = self.opened.elapsed();
        self.follow(now);
        while let Some(turn) = self.turns.try_take_owned() {
            let Some((id, tally)) = self.ledger.take_due(now) else { return };
            self.begin(token, id, tally, turn);
        }
    }

    /// Takes note of upstreams that came, went or were switched, if any may have been.
    fn follow(&mut self, now: Duration) {
        let catalog = self.world.catalog();
        if self.followed.as_ref().is_some_and(|followed| Arc::ptr_eq(followed, &catalog)) {
            return;
        }
        let enabled = catalog.upstreams().filter(|upstream| upstream.record.enabled);
        self.ledger.follow(enabled.map(|upstream| upstream.record.id.as_str()), now);
        self.followed = Some(catalog);
    }

    fn begin(&self, token: i64, id: String, tally: Tally, turn: OwnedTurn) {
        let errand = Errand { world: self.world.clone(), options: self.options.clone(), token };
        let desk = self.desk.clone();
        task::spawn(async move {
            let report = match task::guard(errand.run(&id, tally)).await {
                Ok(report) => report,
                Err(panic) => {
                    tracing::error!(upstream_id = id, ?panic, "a health check panicked");
                    Report { token, id, tally, is_fenced: false }
                }
            };
            desk.reports.borrow_mut().push(report);
            drop(turn);
            desk.bell.ring();
        });
    }

    /// How long nothing is to be done unless the bell rings.
    fn rest(&self) -> Duration {
        let now = Instant::now();
        let renewal = self.renewal.saturating_duration_since(now);
        if self.reign.is_none() {
            return renewal;
        }
        // While every turn is taken only the bell makes a difference.
        let is_busy = self.turns.try_take().is_none();
        let due = self.ledger.pause(self.opened.elapsed()).filter(|_| !is_busy);
        renewal.min(due.unwrap_or(REST_MAX)).min(REST_MAX)
    }
}

impl World for Rc<Shard> {
    fn catalog(&self) -> Arc<Catalog> {
        Shard::catalog(self)
    }

    async fn check(&self, upstream: &Arc<Upstream>) -> Health {
        self.upstreams.check(upstream, self.settings.health.timeout).await
    }

    async fn revive(&self, upstream: &Arc<Upstream>) -> Result<Inventory, Failure> {
        self.upstreams.revive(upstream, self.settings.health.timeout).await
    }

    fn retire_child(&self, upstream: &Upstream) {
        self.upstreams.retire_child(upstream);
    }

    async fn hold(&self, holder: &str, ttl: Duration) -> Result<Option<i64>, Failure> {
        self.registry.hold_lease(LEASE, holder, ttl).await
    }

    async fn release(&self, holder: &str) -> Result<(), Failure> {
        self.registry.release_lease(LEASE, holder).await
    }

    async fn apply(&self, mutations: Vec<Mutation>) -> Result<(), Failure> {
        self.registry.apply(mutations).await.map(|_| ())
    }

    async fn catch_up(&self) {
        self.registry.hint();
    }
}
