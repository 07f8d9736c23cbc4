//! All children that a shard owns.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use shards::{mailbox, task};

use super::{
    CheckRequest, Found, StdioLimits, StdioMail,
    charge::{Charge, Waiter},
    listen::Ears,
    start::Running,
};
use crate::{
    catalog::Upstream,
    failure::{UpstreamFailure, UpstreamKind},
};

/// Upstreams that one shard may have in its charge.
const CHARGE_COUNT_MAX: usize = 1024;

/// The owner's end of the way to its children.
pub struct StdioHost {
    limits: StdioLimits,
    charges: RefCell<HashMap<String, Rc<Charge>>>,
    stopped: Cell<bool>,
    pub(super) ears: Rc<Ears>,
}

impl StdioHost {
    /// Makes a host without children.
    pub fn new(limits: StdioLimits) -> Rc<StdioHost> {
        let (charges, ears) = Default::default();
        Rc::new(StdioHost { limits, charges, stopped: Cell::new(false), ears })
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
                let charge = self.charges.borrow_mut().remove(&upstream_id);
                task::spawn(async move {
                    if let Some(charge) = charge {
                        charge.retire().await;
                    }
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
        let charges = std::mem::take(&mut *self.charges.borrow_mut());
        let retire = |charge: Rc<Charge>| task::spawn(async move { charge.retire().await });
        let stopping: Vec<_> = charges.into_values().map(retire).collect();
        for stopping in stopping {
            let _ = stopping.join().await;
        }
    }

    /// The child of an upstream, if it runs.
    pub(super) fn running(&self, upstream_id: &str) -> Option<Running> {
        self.charges.borrow().get(upstream_id)?.running()
    }

    /// Hands a health check to the upstream's child, if there is one.
    fn check(&self, request: CheckRequest) {
        let charge = self.charges.borrow().get(&request.upstream.record.id).cloned();
        match charge.filter(|charge| charge.serves(&request.upstream)) {
            Some(charge) => charge.check(request),
            None => {
                let _ = request.found.send(Found::Asleep);
            }
        }
    }

    /// Hands a request to the upstream's child; one whose command has changed is replaced first.
    fn hand(&self, waiter: Waiter) {
        let upstream = waiter.upstream();
        let id = &upstream.record.id;
        let known = self.charges.borrow().get(id).cloned();
        let charge = match known {
            Some(charge) if charge.serves(upstream) => charge,
            former => {
                if let Some(failure) = self.refusal(upstream, former.is_none()) {
                    return waiter.fail(failure);
                }
                if let Some(former) = former {
                    task::spawn(async move { former.retire().await });
                }
                let charge = Charge::new(upstream.clone(), self.limits, self.ears.clone());
                self.charges.borrow_mut().insert(id.clone(), charge.clone());
                charge
            }
        };
        charge.take(waiter);
    }

    /// Says why no child may be started now.
    fn refusal(&self, upstream: &Upstream, is_new: bool) -> Option<UpstreamFailure> {
        let detail = if self.stopped.get() {
            "the gateway is stopping".to_owned()
        } else if is_new && self.charges.borrow().len() >= CHARGE_COUNT_MAX {
            format!("{CHARGE_COUNT_MAX} commands run on its shard already")
        } else {
            return None;
        };
        let (upstream, kind) = (upstream.record.name.clone(), UpstreamKind::Full);
        Some(UpstreamFailure { upstream, kind, detail, may_have_run: false })
    }
}
