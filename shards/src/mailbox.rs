//! Messages between shards and other threads: bounded, never waited on by the sender.
//!
//! This is the only way anything crosses from one shard to another.

pub use futures_channel::oneshot;

use crate::task;

/// The sending half: cheap to clone, usable from any thread.
pub struct Sender<T>(async_channel::Sender<T>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

/// The receiving half, owned by one task of one shard.
pub struct Receiver<T>(async_channel::Receiver<T>);

/// Why a message was not taken; it comes back with the answer.
#[derive(Debug)]
pub enum SendError<T> {
    /// The mailbox holds as many messages as it may: the receiver is behind.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

/// Makes a mailbox that holds at most `count_max` messages.
pub fn channel<T>(count_max: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = async_channel::bounded(count_max);
    (Sender(sender), Receiver(receiver))
}

impl<T> Sender<T> {
    /// Puts `message` into the mailbox without waiting.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] when the bound is met (answer 503), [`SendError::Closed`] when the
    /// receiver is gone.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0.try_send(message).map_err(|error| match error {
            async_channel::TrySendError::Full(message) => SendError::Full(message),
            async_channel::TrySendError::Closed(message) => SendError::Closed(message),
        })
    }

    /// Returns true once the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> Receiver<T> {
    /// Waits for the next message; `None` when every sender is gone and the mailbox is empty.
    /// Dropping the future loses nothing. A wait that outlives its shard never ends.
    pub async fn next(&mut self) -> Option<T> {
        task::while_running(self.0.recv()).await.ok()
    }

    /// Takes the next message if one is there.
    pub fn try_next(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_over_its_bound_and_gives_it_back() {
        let (sender, mut receiver) = channel(1);
        sender.send(1).expect("there is room for one");
        assert!(matches!(sender.send(2), Err(SendError::Full(2))));
        assert_eq!(receiver.try_next(), Some(1));
        drop(receiver);
        assert!(matches!(sender.send(3), Err(SendError::Closed(3))));
    }
}
