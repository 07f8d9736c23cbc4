//! The streams of a shard that wait for something to tell.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use ahash::AHashMap;
use shards::local::Bell;

use crate::{limits, mcp::Kind};

/// The end of a stream at which it hears what happens.
#[derive(Default)]
pub struct Listener {
    /// The session that it belongs to, if it is one of a session.
    key: Option<Box<str>>,
    /// Rung when there may be something to tell.
    pub bell: Bell,
    is_ended: Cell<bool>,
    updated: RefCell<VecDeque<(Rc<str>, Rc<str>)>>,
    changed: RefCell<Vec<(Rc<str>, Kind)>>,
}

impl Listener {
    /// Whether the stream has to end.
    pub fn is_ended(&self) -> bool {
        self.is_ended.get()
    }

    /// Takes a resource that changed: the id of its upstream, and its URI there.
    pub fn next_update(&self) -> Option<(Rc<str>, Rc<str>)> {
        self.updated.borrow_mut().pop_front()
    }

    /// Takes the lists of upstreams that changed by their own word: the id of each, and which list.
    pub fn take_changed(&self) -> Vec<(Rc<str>, Kind)> {
        std::mem::take(&mut *self.changed.borrow_mut())
    }

    fn end(&self) {
        self.is_ended.set(true);
        self.bell.ring();
    }
}

/// All of them. Clones share them.
#[derive(Clone, Default)]
pub struct Listeners(Rc<Table>);

#[derive(Default)]
struct Table {
    all: RefCell<AHashMap<u64, Rc<Listener>>>,
    last: Cell<u64>,
}

/// A listener that is told while this lives.
pub struct Listening {
    table: Rc<Table>,
    id: u64,
    listener: Rc<Listener>,
}

impl Listening {
    /// What tells it from the others of its shard.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The end at which it hears, for who tells it something else.
    pub fn listener(&self) -> Rc<Listener> {
        self.listener.clone()
    }
}

impl std::ops::Deref for Listening {
    type Target = Listener;

    fn deref(&self) -> &Listener {
        &self.listener
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.table.all.borrow_mut().remove(&self.id);
    }
}

impl Listeners {
    /// Listens from now on, for the session `key` if it is for one.
    pub fn listen(&self, key: Option<&str>) -> Listening {
        let id = self.0.last.get() + 1;
        self.0.last.set(id);
        let listener = Rc::new(Listener { key: key.map(Box::from), ..Listener::default() });
        self.0.all.borrow_mut().insert(id, listener.clone());
        Listening { table: self.0.clone(), id, listener }
    }

    /// Has every stream look whether there is something to tell.
    pub fn ring(&self) {
        self.0.all.borrow().values().for_each(|listener| listener.bell.ring());
    }

    /// Has the streams of one session look.
    pub fn ring_of(&self, key: &str) {
        self.of(key).for_each(|(_, listener)| listener.bell.ring());
    }

    /// Ends the streams of a session.
    pub fn end_of(&self, key: &str) {
        self.of(key).for_each(|(_, listener)| listener.end());
    }

    /// Ends the streams of a session but for one.
    pub fn end_others(&self, key: &str, stays: u64) {
        self.of(key).filter(|(id, _)| *id != stays).for_each(|(_, listener)| listener.end());
    }

    /// Tells every stream that a resource changed. Who is behind hears of it once, and who is far
    /// behind loses the oldest.
    pub fn updated(&self, upstream_id: &str, uri: &str) {
        let (upstream_id, uri): (Rc<str>, Rc<str>) = (upstream_id.into(), uri.into());
        for listener in self.0.all.borrow().values() {
            let mut updated = listener.updated.borrow_mut();
            if updated.iter().any(|one| *one.0 == *upstream_id && *one.1 == *uri) {
                continue;
            }
            if updated.len() >= limits::UPDATES_WAITING_COUNT_MAX {
                updated.pop_front();
            }
            updated.push_back((upstream_id.clone(), uri.clone()));
            listener.bell.ring();
        }
    }

    /// Tells every stream that an upstream said that a list of its changed.
    pub fn changed(&self, upstream_id: &str, kind: Kind) {
        let upstream_id: Rc<str> = upstream_id.into();
        for listener in self.0.all.borrow().values() {
            let mut changed = listener.changed.borrow_mut();
            let is_known = changed.iter().any(|one| *one.0 == *upstream_id && one.1 == kind);
            if !is_known && changed.len() < limits::UPDATES_WAITING_COUNT_MAX {
                changed.push((upstream_id.clone(), kind));
                listener.bell.ring();
            }
        }
    }

    fn of(&self, key: &str) -> impl Iterator<Item = (u64, Rc<Listener>)> {
        let all = self.0.all.borrow();
        let own = all.iter().filter(|(_, one)| one.key.as_deref() == Some(key));
        own.map(|(id, one)| (*id, one.clone())).collect::<Vec<_>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_stream_of_a_session_goes_on() {
        let listeners = Listeners::default();
        let (first, other) = (listeners.listen(Some("a")), listeners.listen(Some("b")));
        let second = listeners.listen(Some("a"));
        listeners.end_others("a", second.id());
        assert!(first.is_ended() && !second.is_ended() && !other.is_ended());
        listeners.end_of("b");
        assert!(other.is_ended());
    }

    #[test]
    fn a_resource_that_changes_twice_before_it_is_told_of_is_told_of_once() {
        let listeners = Listeners::default();
        let one = listeners.listen(None);
        for uri in ["a", "b", "a"] {
            listeners.updated("up", uri);
        }
        let told: Vec<_> =
            std::iter::from_fn(|| one.next_update()).map(|(_, uri)| uri.to_string()).collect();
        assert_eq!(told, ["a", "b"]);
        for count in 0..=limits::UPDATES_WAITING_COUNT_MAX {
            listeners.updated("up", &count.to_string());
        }
        assert_eq!(one.next_update().map(|(_, uri)| uri.to_string()), Some("1".to_owned()));
    }
}
