//! Watching an upstream: listening to what it says by itself, on a way of its own.

use std::{rc::Rc, sync::Arc};

use super::{Leg, Upstreams, era_of, same_way};
use crate::{
    catalog::Upstream,
    failure::Failure,
    upstream::watch::{Deaf, Ear, may_speak},
};

impl Upstreams {
    /// Listens to what an upstream says by itself, until that ends. A child process is listened to
    /// where it belongs (see [`super::stdio::owner`]), so this must be asked there.
    ///
    /// # Errors
    ///
    /// Why it ended, or did not begin: try again later.
    pub async fn watch(&self, upstream: &Arc<Upstream>, ear: &Rc<Ear>) -> Result<Deaf, Failure> {
        let record = &upstream.record;
        if !may_speak(record.capabilities.as_deref()) {
            return Ok(Deaf);
        }
        match self.open(upstream, record.transport, era_of(upstream))? {
            Leg::Http(leg) => leg.watch(ear).await,
            Leg::Link(leg) => leg.watch(ear).await,
            Leg::Stdio(_) => match self.host.watch(&record.id, ear).await {},
        }
    }

    /// Whether who watches `one` need not do anything else to watch `other`, a later version of it.
    pub fn is_watched_alike(one: &Upstream, other: &Upstream) -> bool {
        same_way(one, other)
            && one.record.capabilities == other.record.capabilities
            && one.record.server_info == other.record.server_info
    }
}
