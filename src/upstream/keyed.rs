//! The sessions of one leg, each opened once for the clients that share it, and no more of them than
//! may be.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use ahash::AHashMap;
use shards::watch;

use super::{Outgoing, http::single::Single};
use crate::mcp::Capabilities;

/// Which session with an upstream a request belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// What the client can be asked: the upstream is told just that, and may offer more to who can
    /// do more.
    pub capabilities: Capabilities,
    /// Whose it is; `None` if all share it who can be asked the same.
    pub client: Option<Arc<str>>,
}

impl SessionKey {
    /// The key of a request.
    pub fn of(outgoing: &Outgoing<'_>) -> SessionKey {
        SessionKey { capabilities: outgoing.capabilities, client: outgoing.client.clone() }
    }

    /// The key of a request on a connection that many requests share at a time: there all clients
    /// have one session, but for those who have their own.
    pub fn of_shared(outgoing: &Outgoing<'_>) -> SessionKey {
        match outgoing.client {
            Some(_) => SessionKey::of(outgoing),
            None => SessionKey::default(),
        }
    }

    /// What the upstream is told that can be asked, where many requests share a connection.
    pub fn declared(&self) -> Capabilities {
        if self.client.is_some() { self.capabilities } else { Capabilities::RELAYED }
    }

    /// Whether it is the one session that there always may be.
    pub fn is_plain(&self) -> bool {
        self.capabilities.is_empty() && self.client.is_none()
    }
}

/// How many sessions an upstream has on a shard, and how long.
#[derive(Clone, Copy, Debug)]
pub struct KeyedLimits {
    /// The most sessions, or child processes, beside the gateway's own.
    pub count_max: usize,
    /// How long one is kept that nobody uses.
    pub idle_within: Duration,
}

impl Default for KeyedLimits {
    fn default() -> KeyedLimits {
        KeyedLimits { count_max: 1000, idle_within: Duration::from_secs(600) }
    }
}

/// Sessions by whose they are.
pub struct Keyed<T> {
    limits: KeyedLimits,
    all: RefCell<AHashMap<SessionKey, Slot<T>>>,
}

struct Slot<T> {
    single: Rc<Single<T>>,
    /// When it was last asked for, by the shard's coarse clock.
    used_ms: u64,
}

/// A place for a session.
pub struct Place<T> {
    /// The session, open or not.
    pub single: Rc<Single<T>>,
    /// Others, which had to go for it.
    pub ended: Vec<Rc<T>>,
}

impl<T: 'static> Keyed<T> {
    /// Makes room for as many as `limits` say.
    pub fn new(limits: KeyedLimits) -> Keyed<T> {
        Keyed { limits, all: RefCell::default() }
    }

    /// The place of `key`. Those that nobody used for long are ended when another is added, and the
    /// longest unused of those that `is_idle` if there are too many; `None` if none of them is.
    pub fn place(&self, key: &SessionKey, is_idle: impl Fn(&Rc<T>) -> bool) -> Option<Place<T>> {
        let mut all = self.all.borrow_mut();
        let now_ms = watch::clock_ms();
        if let Some(slot) = all.get_mut(key) {
            slot.used_ms = now_ms;
            return Some(Place { single: slot.single.clone(), ended: Vec::new() });
        }
        let mut ended = Vec::new();
        if !key.is_plain() {
            let idle_ms = self.limits.idle_within.as_millis() as u64;
            let is_over = |key: &SessionKey, slot: &mut Slot<T>| {
                !key.is_plain()
                    && slot.used_ms.saturating_add(idle_ms) < now_ms
                    && slot.single.is_open_and(&is_idle)
            };
            ended.extend(all.extract_if(is_over).filter_map(|(_, slot)| slot.single.take()));
            let count = all.keys().filter(|key| !key.is_plain()).count();
            if count >= self.limits.count_max {
                let idle = all
                    .iter()
                    .filter(|(key, slot)| !key.is_plain() && slot.single.is_open_and(&is_idle));
                let oldest = idle.min_by_key(|(_, slot)| slot.used_ms).map(|(key, _)| key.clone());
                ended.extend(all.remove(&oldest?).and_then(|slot| slot.single.take()));
            }
        }
        let single = Rc::<Single<T>>::default();
        all.insert(key.clone(), Slot { single: single.clone(), used_ms: now_ms });
        Some(Place { single, ended })
    }

    /// Takes all that are open.
    pub fn take(&self) -> Vec<Rc<T>> {
        let all = std::mem::take(&mut *self.all.borrow_mut());
        all.into_values().filter_map(|slot| slot.single.take()).collect()
    }
}
