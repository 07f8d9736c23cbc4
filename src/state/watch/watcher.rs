//! One upstream that is watched: what it says is gathered for a moment, and then handed on.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    convert::Infallible,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use shards::{
    local::{Bell, Gate, Turns},
    time::{self, Instant},
};

use super::{
    News, World,
    refresh::{Outcome, Refresh},
};
use crate::{
    catalog::{Catalog, Upstream},
    limits,
    mcp::Kind,
    upstream::watch::{Ear, Told, first_of},
};

/// The pause after a watch that ended; it doubles with each that does not last.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A watch that lasted as long did well.
const STEADY: Duration = Duration::from_secs(10);

/// How long is waited for more before streams are told of resources.
const TELL_AFTER: Duration = Duration::from_millis(20);

/// How long an upstream must say nothing more of its lists before they are read.
const QUIET: Duration = Duration::from_millis(200);

/// How long that is waited for.
const BURST_MAX: Duration = Duration::from_secs(2);

/// Readings that an upstream may cause at once, and how long it takes until it may cause one more.
const ALLOWANCE_COUNT: u32 = 10;
/// See [`ALLOWANCE_COUNT`].
const ALLOWANCE_PERIOD: Duration = Duration::from_secs(6);

/// How long lists are not read again since the watch was interrupted: some upstreams close their
/// streams all the time.
const SUSPICION_PAUSE: Duration = Duration::from_secs(60);

/// How often reading the lists is tried.
const ATTEMPT_COUNT_MAX: u32 = 10;

/// Watches one upstream.
pub(super) struct Watcher<W> {
    world: Rc<W>,
    upstream: Arc<Upstream>,
    turns: Rc<Turns>,
    inbox: Rc<Inbox>,
    ear: Rc<Ear>,
}

/// What was heard and not handed on yet.
#[derive(Default)]
struct Inbox {
    began_count: Cell<u32>,
    updated: RefCell<BTreeSet<String>>,
    to_tell: Bell,
    stale: RefCell<Option<Stale>>,
    to_refresh: Bell,
}

/// What may have changed.
#[derive(Clone)]
pub(super) struct Stale {
    /// The lists that the upstream said have changed; none if it is only suspected.
    pub(super) kinds: Vec<Kind>,
    /// The catalog before any of that was read.
    pub(super) former: Arc<Catalog>,
    /// Another process was reading it, and nothing was heard since.
    pub(super) is_elsewhere: bool,
    since: Instant,
    last: Instant,
}

impl Inbox {
    fn note_stale(&self, kind: Option<Kind>, catalog: impl FnOnce() -> Arc<Catalog>) {
        let mut stale = self.stale.borrow_mut();
        let now = Instant::now();
        let stale = stale.get_or_insert_with(|| {
            let (kinds, is_elsewhere) = Default::default();
            Stale { kinds, former: catalog(), is_elsewhere, since: now, last: now }
        });
        stale.last = now;
        if let Some(kind) = kind.filter(|kind| !stale.kinds.contains(kind)) {
            stale.kinds.push(kind);
        }
        self.to_refresh.ring();
    }

    /// Puts back what could not be read; `is_elsewhere` if since another process reads it.
    fn put_back(&self, former: Stale, is_elsewhere: bool) {
        let mut stale = self.stale.borrow_mut();
        let mut merged = Stale { is_elsewhere: is_elsewhere && stale.is_none(), ..former };
        for kind in stale.take().into_iter().flat_map(|later| later.kinds) {
            if !merged.kinds.contains(&kind) {
                merged.kinds.push(kind);
            }
        }
        *stale = Some(merged);
        self.to_refresh.ring();
    }
}

impl<W: World> Watcher<W> {
    pub(super) fn new(world: Rc<W>, upstream: Arc<Upstream>, turns: Rc<Turns>) -> Watcher<W> {
        let inbox = Rc::<Inbox>::default();
        let id = upstream.record.id.clone();
        let (heard, around, of) = (inbox.clone(), world.clone(), id.clone());
        let hear = move |told| match told {
            Told::Began => {
                heard.began_count.set(heard.began_count.get().saturating_add(1));
                // What it said while nobody listened is lost.
                if heard.began_count.get() > 1 {
                    heard.note_stale(None, || around.catalog());
                }
            }
            Told::Changed(kind) => heard.note_stale(Some(kind), || around.catalog()),
            Told::Updated(uri) => {
                let mut updated = heard.updated.borrow_mut();
                let is_told = updated.len() < limits::WATCHED_URI_COUNT_MAX;
                if is_told && around.wants().has(&of, &uri) {
                    updated.insert(uri);
                    heard.to_tell.ring();
                }
            }
        };
        let around = world.clone();
        let wanted = move || around.wants().of(&id);
        let ear = Rc::new(Ear::new(hear, wanted));
        Watcher { world, upstream, turns, inbox, ear }
    }

    pub(super) fn ear(&self) -> Rc<Ear> {
        self.ear.clone()
    }

    /// Watches until it is stopped.
    pub(super) async fn run(self, stop: &Gate) {
        let handing_on = first_of(Box::pin(self.tell()), Box::pin(self.refresh()));
        let working = first_of(Box::pin(self.listen()), handing_on);
        stop.unless(working).await;
    }

    /// Listens, again and again.
    async fn listen(&self) -> Infallible {
        let name = &self.upstream.record.name;
        let mut failed_count = 0;
        loop {
            let (began, opened) = (Instant::now(), self.inbox.began_count.get());
            // On the heap, like what follows it: these are large, and of no hurry.
            match Box::pin(self.world.watch(&self.upstream, &self.ear)).await {
                Ok(_) => {
                    tracing::debug!(upstream = name, "says nothing by itself");
                    std::future::pending::<Infallible>().await;
                }
                Err(failure) => tracing::debug!(upstream = name, %failure, "not listened to"),
            }
            let was_open = self.inbox.began_count.get() != opened;
            if was_open && began.elapsed() >= STEADY {
                failed_count = 0;
            }
            time::sleep(pause(failed_count)).await;
            failed_count += 1;
        }
    }

    /// Tells streams of resources that changed.
    async fn tell(&self) -> Infallible {
        loop {
            self.inbox.to_tell.wait().await;
            time::sleep(TELL_AFTER).await;
            let updated: Vec<_> = self.inbox.updated.take().into_iter().collect();
            if !updated.is_empty() {
                let upstream_id = self.upstream.record.id.clone();
                self.world.tell(News { upstream_id, updated, ..News::default() }).await;
            }
        }
    }

    /// Reads the lists again once they may have changed.
    async fn refresh(&self) -> Infallible {
        let mut allowance = Allowance::new();
        let (mut suspected_from, mut attempt_count) = (Instant::now(), 0);
        loop {
            self.quiet(suspected_from).await;
            time::sleep(allowance.spend(Instant::now())).await;
            let Some(stale) = self.inbox.stale.take() else { continue };
            let turn = self.turns.take().await;
            let refresh = Refresh { world: &*self.world, id: &self.upstream.record.id };
            let outcome = Box::pin(refresh.run(&stale)).await;
            drop(turn);
            if matches!(outcome, Outcome::Changed | Outcome::Same) {
                attempt_count = 0;
                if stale.kinds.is_empty() {
                    suspected_from = Instant::now() + SUSPICION_PAUSE;
                }
                continue;
            }
            attempt_count += 1;
            if attempt_count < ATTEMPT_COUNT_MAX {
                time::sleep(pause(attempt_count)).await;
                self.inbox.put_back(stale, outcome == Outcome::Elsewhere);
            } else {
                attempt_count = 0;
                let name = &self.upstream.record.name;
                tracing::warn!(upstream = name, "its lists may have changed and cannot be read");
            }
        }
    }

    /// Waits until lists may have changed, and the upstream has said so to the end. What is only
    /// suspected waits until `suspected_from`.
    async fn quiet(&self, suspected_from: Instant) {
        loop {
            let due = self.inbox.stale.borrow().as_ref().map(|stale| {
                let due = (stale.last + QUIET).min(stale.since + BURST_MAX);
                if stale.kinds.is_empty() { due.max(suspected_from) } else { due }
            });
            match due.map(|due| due.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return,
                // A word for what was only suspected makes it due sooner.
                Some(left) => drop(time::timeout(left, self.inbox.to_refresh.wait()).await),
                None => self.inbox.to_refresh.wait().await,
            }
        }
    }
}

/// How often an upstream may cause its lists to be read: a few times at once, then once in a period,
/// whatever it says and however often they do change.
struct Allowance {
    spent_until: Instant,
}

impl Allowance {
    fn new() -> Allowance {
        Allowance { spent_until: Instant::now() }
    }

    /// Counts a reading; returns how long it has to wait.
    fn spend(&mut self, now: Instant) -> Duration {
        self.spent_until = self.spent_until.max(now) + ALLOWANCE_PERIOD;
        self.spent_until.saturating_duration_since(now + ALLOWANCE_PERIOD * ALLOWANCE_COUNT)
    }
}

/// The pause after this many failures.
fn pause(failed_count: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << failed_count.min(10)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_allowed_a_few_times_at_once_and_then_now_and_then() {
        let (mut allowance, now) = (Allowance::new(), Instant::now());
        for _ in 0..ALLOWANCE_COUNT {
            assert_eq!(allowance.spend(now), Duration::ZERO);
        }
        let waits = allowance.spend(now);
        assert!(waits > Duration::ZERO && waits <= ALLOWANCE_PERIOD, "{waits:?}");
        let later = now + ALLOWANCE_PERIOD * (2 * ALLOWANCE_COUNT);
        assert_eq!(allowance.spend(later), Duration::ZERO);
    }
}
