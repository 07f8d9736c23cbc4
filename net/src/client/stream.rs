//! An answer that is handed on while it comes.

use std::time::Duration;

use shards::{buffer, task, watch::Action};

use super::{
    ClientError, Deadline, Lease, Progress,
    exchange::{Ending, body_failure},
};
use crate::http1::body::BodyDecoder;

/// How long the end of an answer is waited for when everything of interest was read.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);

/// An answer that is handed on while it comes. Dropped before its end, it closes the connection.
pub struct Streaming {
    lease: Lease,
    /// What was read and not handed on yet begins at `from`. While nothing comes there is no
    /// buffer.
    bytes: Vec<u8>,
    from: usize,
    decoder: BodyDecoder,
    within: Duration,
    server_idle: Option<Duration>,
    is_done: bool,
}

impl Streaming {
    pub(super) fn new(
        lease: Lease,
        bytes: Vec<u8>,
        from: usize,
        decoder: BodyDecoder,
        deadline: Deadline,
        server_idle: Option<Duration>,
    ) -> Streaming {
        let (within, is_done) = (deadline.within(), false);
        Streaming { lease, bytes, from, decoder, within, server_idle, is_done }
    }

    /// Gives the next bytes of the body to `take`, after waiting for them if need be. Returns
    /// false at the end; `take` may have been called before that.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; the stream is of no use after it.
    pub async fn next(&mut self, mut take: impl FnMut(&[u8])) -> Result<bool, ClientError> {
        if self.is_done {
            return Ok(false);
        }
        if self.from == self.bytes.len() && !self.read().await? {
            self.is_done = true;
            return if self.decoder.may_end() { Ok(false) } else { Err(self.broken()) };
        }
        self.feed(&mut take)?;
        Ok(!self.is_done)
    }

    /// Hands on what was read.
    fn feed(&mut self, take: &mut impl FnMut(&[u8])) -> Result<(), ClientError> {
        while self.from < self.bytes.len() {
            let piece = self.decoder.next(&self.bytes[self.from..]);
            let piece = piece.map_err(|error| body_failure(error, usize::MAX))?;
            self.from += piece.consumed;
            if !piece.data.is_empty() {
                take(piece.data);
            }
            if piece.done {
                self.is_done = true;
                break;
            }
        }
        Ok(())
    }

    /// Waits without a buffer, then reads once; returns false at the end of the connection.
    async fn read(&mut self) -> Result<bool, ClientError> {
        buffer::give(std::mem::take(&mut self.bytes));
        self.from = 0;
        let bytes = self.lease.link.connection.receive().await;
        self.bytes = bytes.map_err(|error| self.failure(error.into()))?;
        Ok(!self.bytes.is_empty())
    }

    #[cold]
    fn broken(&self) -> ClientError {
        self.failure(Ending::Closed)
    }

    #[cold]
    fn failure(&self, ending: Ending) -> ClientError {
        self.lease.failure(&ending, Progress::Answering, self.within)
    }

    /// Gives the rest of the stream this much time from now on, if it had less.
    pub fn extend(&mut self, within: Duration) {
        if within > self.within {
            self.within = within;
        }
        self.lease.link.connection.watch().arm(self.within, Action::Abort);
    }

    /// Lifts the deadline: the stream may stay open for ever.
    pub fn unbound(&mut self) {
        self.lease.link.connection.watch().disarm();
    }

    /// Gives the connection back to its pool; reads the rest of the answer in a task of its own if
    /// there is one, for a short while.
    pub fn finish(mut self) {
        if self.try_settle() {
            self.give_back();
        } else if self.lease.link.head.keep_alive() {
            task::spawn_if_running(self.drain());
        }
    }

    /// Looks whether the end of the answer is among what was read already.
    fn try_settle(&mut self) -> bool {
        self.feed(&mut |_| {}).is_ok() && self.is_done
    }

    async fn drain(mut self) {
        self.lease.link.connection.watch().arm(DRAIN_WITHIN, Action::Abort);
        // What an honest server sends behind the last event is little; more costs more than a
        // new connection.
        for _ in 0..4 {
            match self.next(|_| {}).await {
                Ok(true) => {}
                Ok(false) => return self.give_back(),
                Err(_) => return,
            }
        }
    }

    fn give_back(mut self) {
        let is_clean = self.from == self.bytes.len();
        buffer::give(std::mem::take(&mut self.bytes));
        let is_reusable = is_clean && self.lease.link.head.keep_alive();
        if is_reusable && !self.lease.link.connection.watch().fired() {
            self.lease.give_back(self.server_idle);
        }
    }
}
