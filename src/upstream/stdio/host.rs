//! All children that a shard owns.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use shards::{mailbox, task};

use super::{
    StdioLimits, StdioMail,
    charge::{Charge, Waiter},
};
use crate::failure::{UpstreamFailure, UpstreamKind};

/// Upstreams that one shard may have in its charge.
const CHARGE_COUNT_MAX: usize = 1024;

/// The owner's end of the way to its children.
pub struct StdioHost {
    limits: StdioLimits,
    charges: RefCell<HashMap<String, Rc<Charge>>>,
}

impl StdioHost {
    /// Makes a host without children.
    pub fn new(limits: StdioLimits) -> Rc<StdioHost> {
        Rc::new(StdioHost { limits, charges: RefCell::default() })
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

    /// Stops every child; returns when all are gone.
    pub async fn stop(&self) {
        let charges = std::mem::take(&mut *self.charges.borrow_mut());
        let retire = |charge: Rc<Charge>| task::spawn(async move { charge.retire().await });
        let stopping: Vec<_> = charges.into_values().map(retire).collect();
        for stopping in stopping {
            let _ = stopping.join().await;
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
                if former.is_none() && self.charges.borrow().len() >= CHARGE_COUNT_MAX {
                    let failure = UpstreamFailure {
                        upstream: upstream.record.name.clone(),
                        kind: UpstreamKind::Full,
                        detail: format!("{CHARGE_COUNT_MAX} commands run on its shard already"),
                        may_have_run: false,
                    };
                    return waiter.fail(failure);
                }
                if let Some(former) = former {
                    task::spawn(async move { former.retire().await });
                }
                let charge = Charge::new(upstream.clone(), self.limits);
                self.charges.borrow_mut().insert(id.clone(), charge.clone());
                charge
            }
        };
        charge.take(waiter);
    }
}
