//! A stream of changes on its way to a client: it compares the shard's snapshot with the one that it
//! told of last.

use std::{cell::Cell, future::Future, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use net::{http1::server::BodyStream, sse};
use shards::time;

use crate::{admin::Watched, auth::Caller, catalog::Catalog, failure::Failure, state::Shard};

/// How often the snapshot is looked at. A token that was revoked on another node ends its stream within
/// a second: half of it may pass until the snapshot of this node has that.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Says again who a client is, or nothing once its token is good no more.
pub type Identify = Rc<dyn Fn() -> Option<Rc<Caller>>>;

/// An open stream; dropping it makes room for another.
pub struct Changes {
    shard: Rc<Shard>,
    watched: Watched,
    former: Arc<Catalog>,
    identify: Identify,
    /// How long nothing was sent.
    silence: Duration,
    begun: bool,
}

impl Changes {
    /// Opens a stream of what changes from now on.
    ///
    /// # Errors
    ///
    /// 503 if as many are open on this shard as may be.
    pub fn open(
        shard: &Rc<Shard>,
        watched: Watched,
        identify: Identify,
    ) -> Result<Changes, Failure> {
        let open = &shard.stream_count;
        if open.get() >= shard.settings.http.stream_count_max {
            let text = "As many streams are open as STREAMS_MAX allows; try again";
            return Err(Failure::Busy(text.to_owned()));
        }
        add(open, 1);
        let (silence, begun) = (Duration::ZERO, false);
        let (shard, former) = (shard.clone(), shard.catalog());
        Ok(Changes { shard, watched, former, identify, silence, begun })
    }

    /// Waits until there is something to send; false once the stream ends.
    async fn wait(&mut self, out: &mut Vec<u8>) -> bool {
        if !self.begun {
            // Clients and proxies take a stream for open once something came.
            self.begun = true;
            out.extend_from_slice(b": open\n\n");
            return true;
        }
        loop {
            let draining = self.shard.draining.passed();
            if time::timeout(LOOK_INTERVAL, draining).await.is_ok() {
                return false;
            }
            self.silence += LOOK_INTERVAL;
            let Some(caller) = (self.identify)() else { return false };
            self.tell(&caller, out);
            if !out.is_empty() {
                self.silence = Duration::ZERO;
                return true;
            }
        }
    }

    fn tell(&mut self, caller: &Caller, out: &mut Vec<u8>) {
        let catalog = self.shard.catalog();
        if catalog.sequence != self.former.sequence {
            for event in self.watched.events(&self.former, &catalog, caller) {
                sse::encode(out, None, None, event.to_string().as_bytes());
            }
            self.former = catalog;
        }
        let keepalive = self.shard.settings.http.sse_keepalive;
        if out.is_empty() && !keepalive.is_zero() && self.silence >= keepalive {
            out.extend_from_slice(b": keepalive\n\n");
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        let open = &self.shard.stream_count;
        open.set(open.get() - 1);
    }
}

fn add(count: &Cell<usize>, one: usize) {
    count.set(count.get() + one);
}

impl BodyStream for Changes {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(self.wait(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_hears_of_what_another_node_revoked_within_a_second() {
        let settings = crate::settings::parse("", [], &[]).unwrap().settings;
        let longest = settings.storage.change_poll_interval + LOOK_INTERVAL;
        // The rest is for reading the change and handing it out.
        assert!(longest <= Duration::from_millis(750), "{longest:?}");
    }
}
