//! Topics and their subscribers within a process: who gets a message that has arrived.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use shards::mailbox::{self, oneshot};

use super::{StateError, figures::Counters};

/// Topics that a process (a shard with Redis) may be subscribed to.
pub const TOPIC_COUNT_MAX: usize = 4096;

/// Subscribers that a topic may have in a process (a shard with Redis).
pub const SUBSCRIBER_COUNT_MAX: usize = 4096;

/// Bytes that may wait in the queue of one subscriber.
pub const QUEUE_SIZE_MAX: usize = 8 << 20;

/// What a subscriber is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusItem {
    /// A message that was published.
    Message(Arc<[u8]>),
    /// Messages may have been missed since the last item: check again all that they would have
    /// told. It comes as soon as it is known, before messages that were queued already.
    Lost,
}

/// A subscription to one topic. It ends when it is dropped; nothing comes any more when the last
/// [`Shared`](super::Shared) of its shard has gone.
pub struct Subscription {
    queue: mailbox::Receiver<Option<Arc<[u8]>>>,
    inbox: Arc<Inbox>,
    topic: String,
    fanout: Arc<Fanout>,
}

/// The end of a subscription that messages are put into.
struct Inbox {
    queue: mailbox::Sender<Option<Arc<[u8]>>>,
    size: AtomicUsize,
    lost: AtomicBool,
    /// Who waits for the subscription to begin; gone once it has begun.
    beginning: Mutex<Option<oneshot::Sender<()>>>,
}

/// The topics of a process (of a shard with Redis).
pub(super) struct Fanout {
    topics: Mutex<HashMap<String, Vec<Arc<Inbox>>>>,
    queue_count_max: usize,
    counters: Arc<Counters>,
    /// Called when a topic gets its first subscriber or loses its last one.
    changed: Box<dyn Fn() + Send + Sync>,
}

impl Fanout {
    /// Makes a fan-out without topics. `queue_count_max` messages may wait for a subscriber;
    /// `changed` is called when the set of topics changes, from any thread.
    pub fn new(
        queue_count_max: usize,
        counters: Arc<Counters>,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> Fanout {
        let changed = Box::new(changed);
        Fanout { topics: Mutex::default(), queue_count_max, counters, changed }
    }

    /// Adds a subscriber. The receiver is told when [`Fanout::begin`] was called for the topic; if
    /// it was dropped before, the subscriber gets a [`BusItem::Lost`] then.
    pub fn subscribe(
        self: &Arc<Fanout>,
        topic: &str,
    ) -> Result<(Subscription, oneshot::Receiver<()>), StateError> {
        let (sender, queue) = mailbox::channel(self.queue_count_max);
        let (begin, begun) = oneshot::channel();
        let inbox = Arc::new(Inbox {
            queue: sender,
            size: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            beginning: Mutex::new(Some(begin)),
        });
        let mut topics = self.lock();
        if topics.len() >= TOPIC_COUNT_MAX && !topics.contains_key(topic) {
            return Err(StateError::Full { what: "the table of topics" });
        }
        let inboxes = topics.entry(topic.to_owned()).or_default();
        if inboxes.len() >= SUBSCRIBER_COUNT_MAX {
            return Err(StateError::Full { what: "a topic" });
        }
        inboxes.push(inbox.clone());
        let is_new = inboxes.len() == 1;
        drop(topics);
        if is_new {
            (self.changed)();
        }
        let subscription =
            Subscription { queue, inbox, topic: topic.to_owned(), fanout: self.clone() };
        Ok((subscription, begun))
    }

    /// Puts a message into the queue of each subscriber of `topic`; returns how many there are.
    pub fn deliver(&self, topic: &str, payload: &[u8]) -> usize {
        let topics = self.lock();
        let Some(inboxes) = topics.get(topic) else { return 0 };
        let payload: Arc<[u8]> = payload.into();
        for inbox in inboxes {
            self.deliver_one(inbox, payload.clone());
        }
        inboxes.len()
    }

    fn deliver_one(&self, inbox: &Inbox, payload: Arc<[u8]>) {
        let size = payload.len();
        let before = inbox.size.fetch_add(size, Ordering::Relaxed);
        if before + size <= QUEUE_SIZE_MAX && inbox.queue.send(Some(payload)).is_ok() {
            self.counters.delivered.add();
        } else {
            inbox.size.fetch_sub(size, Ordering::Relaxed);
            self.lose(inbox);
        }
    }

    /// Says that messages of `topic` come from now on: tells who waits for that, and tells the
    /// other subscribers that they may have missed some.
    pub fn begin(&self, topic: &str) {
        for inbox in self.lock().get(topic).into_iter().flatten() {
            let waiting = inbox.lock_beginning().take();
            if waiting.is_none_or(|waiting| waiting.send(()).is_err()) {
                self.lose(inbox);
            }
        }
    }

    /// Says that messages of `topic` will not come: ends the wait of who waits for that.
    pub fn refuse(&self, topic: &str) {
        for inbox in self.lock().get(topic).into_iter().flatten() {
            inbox.lock_beginning().take();
        }
    }

    fn lose(&self, inbox: &Inbox) {
        if !inbox.lost.swap(true, Ordering::AcqRel) {
            self.counters.lost.add();
        }
        // Wakes the subscriber; a full queue does too.
        let _ = inbox.queue.send(None);
    }

    /// Returns the topics that have a subscriber.
    pub fn topics(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn remove(&self, topic: &str, inbox: &Arc<Inbox>) {
        let mut topics = self.lock();
        let Some(inboxes) = topics.get_mut(topic) else { return };
        inboxes.retain(|other| !Arc::ptr_eq(other, inbox));
        let is_last = inboxes.is_empty();
        if is_last {
            topics.remove(topic);
        }
        drop(topics);
        if is_last {
            (self.changed)();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<Inbox>>>> {
        // Nobody leaves the table half-changed, so a panic spoils nothing.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn lock_beginning(&self) -> MutexGuard<'_, Option<oneshot::Sender<()>>> {
        self.beginning.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Waits for the next item. Dropping the future loses nothing.
    pub async fn next(&mut self) -> BusItem {
        loop {
            if self.inbox.lost.swap(false, Ordering::AcqRel) {
                return BusItem::Lost;
            }
            // The sender lives in `self.inbox`, so the queue does not end before the subscription.
            if let Some(Some(payload)) = self.queue.next().await {
                self.inbox.size.fetch_sub(payload.len(), Ordering::Relaxed);
                return BusItem::Message(payload);
            }
        }
    }

    /// Takes the next item if one is there.
    pub fn try_next(&mut self) -> Option<BusItem> {
        loop {
            if self.inbox.lost.swap(false, Ordering::AcqRel) {
                return Some(BusItem::Lost);
            }
            if let Some(payload) = self.queue.try_next()? {
                self.inbox.size.fetch_sub(payload.len(), Ordering::Relaxed);
                return Some(BusItem::Message(payload));
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.fanout.remove(&self.topic, &self.inbox);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fanout(queue_count_max: usize) -> Arc<Fanout> {
        Arc::new(Fanout::new(queue_count_max, Arc::default(), || {}))
    }

    fn message(bytes: &[u8]) -> Option<BusItem> {
        Some(BusItem::Message(bytes.into()))
    }

    #[test]
    fn every_subscriber_of_the_topic_gets_the_message_and_no_other_does() {
        let fanout = fanout(4);
        let (mut one, _) = fanout.subscribe("t").unwrap();
        let (mut two, _) = fanout.subscribe("t").unwrap();
        let (mut other, _) = fanout.subscribe("u").unwrap();
        assert_eq!(fanout.deliver("t", b"hello"), 2);
        assert_eq!(fanout.deliver("nobody", b"hello"), 0);
        assert_eq!(one.try_next(), message(b"hello"));
        assert_eq!(two.try_next(), message(b"hello"));
        assert_eq!((one.try_next(), other.try_next()), (None, None));
    }

    #[test]
    fn a_subscriber_that_is_behind_is_told_so_once_and_keeps_what_it_had() {
        let fanout = fanout(2);
        let (mut slow, _) = fanout.subscribe("t").unwrap();
        for payload in [b"1", b"2", b"3", b"4"] {
            fanout.deliver("t", payload);
        }
        assert_eq!(slow.try_next(), Some(BusItem::Lost));
        assert_eq!((slow.try_next(), slow.try_next()), (message(b"1"), message(b"2")));
        assert_eq!(slow.try_next(), None);
        fanout.deliver("t", b"5");
        assert_eq!(slow.try_next(), message(b"5"));
        assert_eq!(fanout.counters.read().lost_count, 1);
    }

    #[test]
    fn large_messages_are_bounded_by_their_bytes() {
        let fanout = fanout(1000);
        let (mut slow, _) = fanout.subscribe("t").unwrap();
        let large = vec![0; QUEUE_SIZE_MAX / 2];
        fanout.deliver("t", &large);
        fanout.deliver("t", &large);
        assert!(matches!(slow.try_next(), Some(BusItem::Message(_))));
        fanout.deliver("t", b"x");
        fanout.deliver("t", &large);
        assert_eq!(slow.try_next(), Some(BusItem::Lost));
    }

    #[test]
    fn a_beginning_is_told_to_who_waits_and_is_a_loss_for_who_does_not() {
        let fanout = fanout(4);
        let (mut waiting, mut begun) = fanout.subscribe("t").unwrap();
        let (mut gone, _) = fanout.subscribe("t").unwrap();
        fanout.begin("t");
        assert_eq!(begun.try_recv(), Ok(Some(())));
        assert_eq!(waiting.try_next(), None);
        assert_eq!(gone.try_next(), Some(BusItem::Lost));
        fanout.begin("t");
        assert_eq!(waiting.try_next(), Some(BusItem::Lost), "this was a reconnection");
    }

    #[test]
    fn topics_come_with_their_first_subscriber_and_go_with_their_last() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let changed = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let fanout = Arc::new(Fanout::new(4, Arc::default(), changed));
        let one = fanout.subscribe("t").unwrap();
        let two = fanout.subscribe("t").unwrap();
        assert_eq!(fanout.topics(), ["t"]);
        drop(one);
        assert_eq!(fanout.topics(), ["t"]);
        drop(two);
        assert!(fanout.topics().is_empty());
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
