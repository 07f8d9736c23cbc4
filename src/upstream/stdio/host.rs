//! All children that a shard owns.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use shards::{mailbox, task, time};

use super::{
    CheckRequest, Found, StdioLimits, StdioMail,
    charge::{Charge, Waiter},
    listen::Ears,
    start::Running,
};
use crate::{
    catalog::Upstream,
    failure::{UpstreamFailure, UpstreamKind},
    upstream::keyed::SessionKey,
};

/// Upstreams that one shard may have in its charge.
const CHARGE_COUNT_MAX: usize = 1024;

/// The owner's end of the way to its children.
pub struct StdioHost {
    limits: StdioLimits,
    /// The children of each upstream, by its id.
    families: RefCell<HashMap<String, Family>>,
    stopped: Cell<bool>,
    pub(super) ears: Rc<Ears>,
    /// Itself, for the tasks that look after its children.
    this: Weak<StdioHost>,
}

type Family = HashMap<SessionKey, Rc<Charge>>;

impl StdioHost {
    /// Makes a host without children.
    pub fn new(limits: StdioLimits) -> Rc<StdioHost> {
        Rc::new_cyclic(|this| StdioHost {
            limits,
            families: RefCell::default(),
            stopped: Cell::new(false),
            ears: Rc::default(),
            this: this.clone(),
        })
    }

    /// Takes mail until every sender is gone.
    pub async fn serve(&self, mut mailbox: mailbox::Receiver<StdioMail>) {
        while let Some(mail) = mailbox.next().await {
            self.take(mail);
        }
    }

    /// Takes one piece of mail. It never waits: what takes time goes on in tasks of its own.
    pub fn take(&self, mail: StdioMail) {
        match mail {
            StdioMail::Request(request) => self.hand(Waiter::Request(request)),
            StdioMail::Handshake(request) => self.hand(Waiter::Handshake(request)),
            StdioMail::Check(request) => self.check(*request),
            StdioMail::Retire { upstream_id, done } => {
                let family = self.families.borrow_mut().remove(&upstream_id);
                task::spawn(async move {
                    retire(family.into_iter().flat_map(HashMap::into_values)).await;
                    if let Some(done) = done {
                        let _ = done.send(());
                    }
                });
            }
        }
    }

    /// Stops every child and starts none any more; returns when all are gone.
    pub async fn stop(&self) {
        self.stopped.set(true);
        let families = std::mem::take(&mut *self.families.borrow_mut());
        retire(families.into_values().flat_map(HashMap::into_values)).await;
    }

    fn charge(&self, upstream_id: &str, key: &SessionKey) -> Option<Rc<Charge>> {
        self.families.borrow().get(upstream_id)?.get(key).cloned()
    }

    /// The child of an upstream that its clients share, if it runs.
    pub(super) fn running(&self, upstream_id: &str) -> Option<Running> {
        self.charge(upstream_id, &SessionKey::default())?.running()
    }

    /// Hands a health check to the upstream's first child, if there is one.
    fn check(&self, request: CheckRequest) {
        let charge = self.charge(&request.upstream.record.id, &SessionKey::default());
        match charge.filter(|charge| charge.serves(&request.upstream)) {
            Some(charge) => charge.check(request),
            None => {
                let _ = request.found.send(Found::Asleep);
            }
        }
    }

    /// Hands a request to the child that it is for; one whose command has changed is replaced first.
    fn hand(&self, waiter: Waiter) {
        let (upstream, key) = (waiter.upstream().clone(), waiter.key());
        let charge = match self.charge(&upstream.record.id, &key) {
            Some(charge) if charge.serves(&upstream) => charge,
            former => match self.adopt(&upstream, key, former) {
                Ok(charge) => charge,
                Err(failure) => return waiter.fail(failure),
            },
        };
        charge.take(waiter);
    }

    /// Takes charge of another child, in the place of `former` if there was one.
    fn adopt(
        &self,
        upstream: &Arc<Upstream>,
        key: SessionKey,
        former: Option<Rc<Charge>>,
    ) -> Result<Rc<Charge>, UpstreamFailure> {
        self.make_room(upstream, &key, former.is_none())?;
        task::spawn(retire(former));
        let charge = Charge::new(upstream.clone(), self.limits, key.clone(), self.ears.clone());
        if !key.is_plain() {
            let (host, id) = (self.this.clone(), upstream.record.id.clone());
            task::spawn(look_after(host, id, key.clone(), Rc::downgrade(&charge)));
        }
        let mut families = self.families.borrow_mut();
        families.entry(upstream.record.id.clone()).or_default().insert(key, charge.clone());
        Ok(charge)
    }

    /// Says why no child may be started now. The longest idle one of an upstream goes for a new one.
    fn make_room(
        &self,
        upstream: &Upstream,
        key: &SessionKey,
        is_new: bool,
    ) -> Result<(), UpstreamFailure> {
        let full = |detail: String| {
            let (upstream, kind) = (upstream.record.name.clone(), UpstreamKind::Full);
            Err(UpstreamFailure { upstream, kind, detail, may_have_run: false })
        };
        if self.stopped.get() {
            return full("the gateway is stopping".to_owned());
        }
        let mut families = self.families.borrow_mut();
        if is_new && families.values().map(HashMap::len).sum::<usize>() >= CHARGE_COUNT_MAX {
            return full(format!("{CHARGE_COUNT_MAX} commands run on its shard already"));
        }
        let Some(family) = families.get_mut(&upstream.record.id) else { return Ok(()) };
        let count_max = self.limits.sessions.count_max;
        let others = family.iter().filter(|(key, _)| !key.is_plain());
        if key.is_plain() || !is_new || others.clone().count() < count_max {
            return Ok(());
        }
        let idle = others.filter_map(|(key, charge)| Some((key, charge.idle_for()?)));
        let longest = idle.max_by_key(|(_, idle_for)| *idle_for).map(|(key, _)| key.clone());
        match longest.and_then(|key| family.remove(&key)) {
            Some(charge) => {
                task::spawn(retire(Some(charge)));
                Ok(())
            }
            None => full(format!(
                "{count_max} processes of its command are in use (STDIO_PROCESSES_MAX)"
            )),
        }
    }

    /// Forgets a child that nobody uses.
    fn dismiss(&self, upstream_id: &str, key: &SessionKey, charge: &Rc<Charge>) {
        let mut families = self.families.borrow_mut();
        let Some(family) = families.get_mut(upstream_id) else { return };
        if family.get(key).is_some_and(|known| Rc::ptr_eq(known, charge)) {
            family.remove(key);
        }
    }
}

/// Ends children for good, all at once; returns when they are gone.
async fn retire(charges: impl IntoIterator<Item = Rc<Charge>>) {
    let retire = |charge: Rc<Charge>| task::spawn(async move { charge.retire().await });
    let retiring: Vec<_> = charges.into_iter().map(retire).collect();
    for retiring in retiring {
        let _ = retiring.join().await;
    }
}

/// Ends the child of a few clients once none of them has used it for long.
async fn look_after(
    host: Weak<StdioHost>,
    upstream_id: String,
    key: SessionKey,
    charge: Weak<Charge>,
) {
    loop {
        let (Some(host), Some(charge)) = (host.upgrade(), charge.upgrade()) else { return };
        let within = host.limits.sessions.idle_within;
        match charge.idle_for() {
            Some(idle_for) if idle_for >= within => {
                host.dismiss(&upstream_id, &key, &charge);
                return charge.retire().await;
            }
            idle_for => {
                drop((host, charge));
                let left = within.saturating_sub(idle_for.unwrap_or_default());
                time::sleep(left.max(Duration::from_millis(10))).await;
            }
        }
    }
}
