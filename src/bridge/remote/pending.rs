//! The requests that wait for their answers, by the ids that the local end gave them.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use shards::local::{Bell, Gate};

/// Most requests that wait at once, those included whose turn has not come.
const COUNT_MAX: usize = 1024;

/// A request that waits.
pub(super) struct Waiting {
    /// Opened when nobody waits for the answer any more.
    pub(super) cancelled: Gate,
    /// It belongs to the stateless era, in which closing the answer cancels.
    pub(super) is_modern: bool,
    /// It has no end of its own.
    pub(super) is_endless: bool,
}

/// The requests that wait.
#[derive(Default)]
pub(super) struct Pending {
    requests: RefCell<HashMap<String, Rc<Waiting>>>,
    settled: Bell,
}

impl Pending {
    /// Takes note of a request.
    ///
    /// # Errors
    ///
    /// A sentence for who sent it, if there are too many or its id is in use.
    pub(super) fn begin(
        &self,
        id: &str,
        is_modern: bool,
        is_endless: bool,
    ) -> Result<Rc<Waiting>, String> {
        let mut requests = self.requests.borrow_mut();
        if requests.len() >= COUNT_MAX {
            return Err(format!("{COUNT_MAX} requests wait for their answers"));
        }
        if requests.contains_key(id) {
            return Err("another request with this id waits for its answer".to_owned());
        }
        let waiting = Rc::new(Waiting { cancelled: Gate::default(), is_modern, is_endless });
        requests.insert(id.to_owned(), waiting.clone());
        Ok(waiting)
    }

    /// Forgets a request; true if it was waiting.
    pub(super) fn end(&self, id: &str) -> bool {
        let ended = self.requests.borrow_mut().remove(id).is_some();
        self.settled.ring();
        ended
    }

    /// The request with this id.
    pub(super) fn find(&self, id: &str) -> Option<Rc<Waiting>> {
        self.requests.borrow().get(id).cloned()
    }

    /// Forgets all and returns their ids.
    pub(super) fn take_all(&self) -> Vec<String> {
        let requests = std::mem::take(&mut *self.requests.borrow_mut());
        self.settled.ring();
        requests.into_keys().collect()
    }

    /// Cancels those that have no end, or all.
    pub(super) fn cancel(&self, all: bool) {
        for waiting in self.requests.borrow().values() {
            if all || waiting.is_endless {
                waiting.cancelled.open();
            }
        }
    }

    /// Waits until none waits.
    pub(super) async fn settled(&self) {
        while !self.requests.borrow().is_empty() {
            self.settled.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_waits_once_and_their_number_is_bounded() {
        let pending = Pending::default();
        assert!(pending.begin("1", false, false).is_ok());
        assert!(pending.begin("1", false, false).is_err());
        assert!(pending.end("1") && !pending.end("1"));
        for id in 0..COUNT_MAX {
            assert!(pending.begin(&id.to_string(), false, false).is_ok());
        }
        assert!(pending.begin("\"more\"", false, false).is_err());
    }
}
