//! A shard's one connection to Redis: kept up, replaced when it is of no use, and never waited for
//! while it is known to be away.
//!
//! The keeper is the task that opens connections and begins and ends subscriptions. While there is
//! no connection the breaker is open: commands fail at once, and the keeper's attempts, one per
//! retry interval, are the probes that close it.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, HashSet},
    future::{Future, poll_fn},
    hash::{BuildHasher, Hasher, RandomState},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use redis::{Arg, Cmd, RedisError, Value, aio::MultiplexedConnection};
use shards::{
    local::Gate,
    mailbox::{self, oneshot},
    task,
    time::{self, Instant},
};

use super::{
    connect::{self, Messages, Opened},
    verdict,
};
use crate::shared::{SharedOptions, StateError, fanout::Fanout, location::RedisLocation};

/// Bytes of commands that may be in flight on a shard: a frozen server must not make us keep a
/// thousand of the largest values.
const IN_FLIGHT_SIZE_MAX: usize = 32 << 20;

/// A shard's way to its server, until [`Link::close`].
pub(super) struct Link {
    options: SharedOptions,
    location: RedisLocation,
    shard_index: usize,
    fanout: Arc<Fanout>,
    live: RefCell<Option<Rc<Live>>>,
    /// Topics that the server sends to the present connection.
    active: RefCell<HashSet<String>>,
    /// Topics that the server forbids, and what it said.
    refused: RefCell<Vec<(String, String)>>,
    in_flight: Cell<usize>,
    in_flight_size: Cell<usize>,
    why_away: RefCell<String>,
    /// Open once a first connection was tried, however that ended.
    tried: Gate,
    closing: Gate,
}

/// A connection that is in use.
struct Live {
    opened: Opened,
    /// Whether the server has answered anything since the last check.
    has_answered: Cell<bool>,
    timeouts_in_row: Cell<u32>,
}

/// What the keeper woke up for.
enum Wake {
    Ended,
    Closing,
    TopicsChanged,
    CheckDue,
}

impl Link {
    /// Starts the keeper on this shard.
    pub fn start(options: SharedOptions, location: RedisLocation, shard_index: usize) -> Rc<Link> {
        // One note is enough: the keeper looks at all topics at once.
        let (note, changed) = mailbox::channel::<()>(1);
        let tell = move || {
            // Subscriptions that outlive their shard end when nothing can be woken any more.
            if task::is_running() {
                let _ = note.send(());
            }
        };
        let queue_count_max = options.subscriber_queue_count_max;
        let link = Rc::new(Link {
            fanout: Arc::new(Fanout::new(queue_count_max, options.counters.clone(), tell)),
            options,
            location,
            shard_index,
            live: RefCell::default(),
            active: RefCell::default(),
            refused: RefCell::default(),
            in_flight: Cell::new(0),
            in_flight_size: Cell::new(0),
            why_away: RefCell::new("not connected yet".to_owned()),
            tried: Gate::default(),
            closing: Gate::default(),
        });
        task::spawn(keep(link.clone(), changed));
        link
    }

    pub fn fanout(&self) -> &Arc<Fanout> {
        &self.fanout
    }

    /// Ends the keeper and closes the connection.
    pub fn close(&self) {
        connect::open_gate(&self.closing);
    }

    pub fn is_up(&self) -> bool {
        self.live.borrow().is_some()
    }

    /// The error of a command while there is no connection.
    pub fn away(&self) -> StateError {
        StateError::Away { reason: self.why_away.borrow().clone() }
    }

    /// Sends a command and waits for its answer. `key` is what errors name. What is asked before the
    /// first connection was tried waits for that, for at most a command's time.
    pub async fn call(&self, command: &Cmd, key: &str) -> Result<Value, StateError> {
        if !self.tried.is_open() {
            let _ = time::timeout(self.options.command_timeout, self.tried.passed()).await;
        }
        let Some(live) = self.live.borrow().clone() else {
            self.options.counters.refused_away.add();
            return Err(self.away());
        };
        let _place = self.enter(command)?;
        self.options.counters.commands.add();
        let mut connection: MultiplexedConnection = live.opened.connection.clone();
        let within = self.options.command_timeout;
        let answer = time::timeout(within, connection.send_packed_command(command)).await;
        match answer.map(|answer| answer.and_then(Value::extract_error)) {
            Ok(Ok(value)) => {
                live.has_answered.set(true);
                live.timeouts_in_row.set(0);
                Ok(value)
            }
            Ok(Err(error)) => Err(self.failed(&live, &error, key)),
            Err(time::Elapsed) => Err(self.timed_out(&live)),
        }
    }

    /// Takes a place among the commands in flight, for as long as the place is held.
    ///
    /// # Errors
    ///
    /// [`StateError::Busy`] if as many commands, or their bytes, are in flight as may be.
    pub fn enter(&self, command: &Cmd) -> Result<Place<'_>, StateError> {
        let size = command.args_iter().map(|argument| match argument {
            Arg::Simple(bytes) => bytes.len(),
            _ => 0,
        });
        let size: usize = size.sum();
        let count_max = self.options.queue_count_max;
        let (count, sizes) = (self.in_flight.get(), self.in_flight_size.get());
        if count >= count_max || (count > 0 && sizes + size > IN_FLIGHT_SIZE_MAX) {
            self.options.counters.refused_busy.add();
            return Err(StateError::Busy { count_max });
        }
        self.in_flight.set(count + 1);
        self.in_flight_size.set(sizes + size);
        self.options.counters.in_flight.add();
        Ok(Place { link: self, size })
    }

    fn failed(&self, live: &Rc<Live>, error: &RedisError, key: &str) -> StateError {
        self.options.counters.errors.add();
        live.timeouts_in_row.set(0);
        let verdict = verdict::judge(error, key);
        if verdict.replace {
            self.give_up(live, error.to_string());
        }
        verdict.error
    }

    fn timed_out(&self, live: &Rc<Live>) -> StateError {
        self.options.counters.timeouts.add();
        live.timeouts_in_row.set(live.timeouts_in_row.get() + 1);
        let waited = self.options.command_timeout;
        if live.timeouts_in_row.get() >= self.options.timeout_count_max {
            self.give_up(live, format!("commands were not answered within {waited:?}"));
        }
        StateError::TimedOut { waited }
    }

    /// Opens the breaker and ends the connection, with what is in flight on it.
    fn give_up(&self, live: &Rc<Live>, reason: String) {
        let mut present = self.live.borrow_mut();
        if present.as_ref().is_some_and(|present| Rc::ptr_eq(present, live)) {
            *present = None;
            *self.why_away.borrow_mut() = reason;
            self.options.counters.links_up.remove();
            self.options.counters.disconnects.add();
        }
        connect::open_gate(&live.opened.end);
    }

    /// Waits until the subscription to `topic` has begun, for at most a command's time.
    pub async fn begun(&self, topic: &str, begun: oneshot::Receiver<()>) -> Result<(), StateError> {
        if self.active.borrow().contains(topic) || !self.is_up() {
            return Ok(());
        }
        match time::timeout(self.options.command_timeout, begun).await {
            // The keeper drops the sender of a topic that the server forbids.
            Ok(Err(_)) => Err(StateError::Refused { reason: self.refusal(topic) }),
            Ok(Ok(())) | Err(time::Elapsed) => Ok(()),
        }
    }

    fn refusal(&self, topic: &str) -> String {
        let refused = self.refused.borrow();
        let found = refused.iter().find(|(other, _)| other == topic);
        found.map_or_else(String::new, |(_, reason)| reason.clone())
    }

    /// Serves one connection until it ends, or until the link closes.
    async fn serve(&self, live: &Rc<Live>, changed: &mut mailbox::Receiver<()>) {
        if let Err(reason) = self.follow_topics(live).await {
            return self.give_up(live, reason);
        }
        loop {
            let done = match self.wait(live, changed).await {
                Wake::Ended => Err("the server closed the connection".to_owned()),
                Wake::Closing => Err("closing".to_owned()),
                Wake::TopicsChanged => self.follow_topics(live).await,
                Wake::CheckDue => self.check(live).await,
            };
            if let Err(reason) = done {
                return self.give_up(live, reason);
            }
        }
    }

    async fn wait(&self, live: &Rc<Live>, changed: &mut mailbox::Receiver<()>) -> Wake {
        let mut ended = pin!(live.opened.ended.passed());
        let mut closing = pin!(self.closing.passed());
        let mut changed = pin!(changed.next());
        let mut check_due = pin!(time::sleep(self.options.ping_interval));
        poll_fn(|context| {
            if closing.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Closing);
            }
            if ended.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Ended);
            }
            if changed.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::TopicsChanged);
            }
            check_due.as_mut().poll(context).map(|()| Wake::CheckDue)
        })
        .await
    }

    /// Asks the server whether it is still the one to ask. One answer that does not come is enough
    /// to leave it: subscribers would wait in vain.
    async fn check(&self, live: &Rc<Live>) -> Result<(), String> {
        let has_answered = live.has_answered.replace(false);
        let is_plain = matches!(
            self.location.place,
            crate::shared::Place::Server(_) | crate::shared::Place::Unix(_)
        );
        if is_plain && has_answered && live.timeouts_in_row.get() == 0 {
            return Ok(());
        }
        let within = self.options.command_timeout;
        connect::check(&live.opened, &self.location.place, within).await
    }

    /// Begins and ends subscriptions until the server sends what this shard wants, and no more.
    async fn follow_topics(&self, live: &Rc<Live>) -> Result<(), String> {
        loop {
            let wanted: BTreeSet<String> = self.fanout.topics().into_iter().collect();
            self.refused.borrow_mut().retain(|(topic, _)| wanted.contains(topic));
            let surplus: Vec<String> = {
                let active = self.active.borrow();
                active.iter().filter(|topic| !wanted.contains(*topic)).cloned().collect()
            };
            let missing: Vec<String> =
                wanted.into_iter().filter(|topic| self.is_missing(topic)).collect();
            if surplus.is_empty() && missing.is_empty() {
                return Ok(());
            }
            self.unsubscribe(live, surplus).await?;
            self.subscribe(live, missing).await?;
        }
    }

    fn is_missing(&self, topic: &str) -> bool {
        let is_refused = self.refused.borrow().iter().any(|(other, _)| other == topic);
        !is_refused && !self.active.borrow().contains(topic)
    }

    async fn unsubscribe(&self, live: &Rc<Live>, topics: Vec<String>) -> Result<(), String> {
        if topics.is_empty() {
            return Ok(());
        }
        // Before the command: whoever subscribes from now on must wait for a new beginning.
        self.active.borrow_mut().retain(|topic| !topics.contains(topic));
        let mut connection = live.opened.connection.clone();
        self.within(connection.unsubscribe(self.channels(&topics))).await?.map_err(say)
    }

    async fn subscribe(&self, live: &Rc<Live>, topics: Vec<String>) -> Result<(), String> {
        if topics.is_empty() {
            return Ok(());
        }
        let mut connection = live.opened.connection.clone();
        match self.within(connection.subscribe(self.channels(&topics))).await? {
            Ok(()) => topics.iter().for_each(|topic| self.begin(topic)),
            Err(error) if verdict::judge(&error, "").replace => return Err(say(error)),
            // One forbidden topic fails them all, so each is tried by itself.
            Err(_) => {
                for topic in &topics {
                    self.subscribe_one(live, topic).await?;
                }
            }
        }
        Ok(())
    }

    async fn subscribe_one(&self, live: &Rc<Live>, topic: &String) -> Result<(), String> {
        let mut connection = live.opened.connection.clone();
        let channel = self.channels(std::slice::from_ref(topic));
        match self.within(connection.subscribe(channel)).await? {
            Ok(()) => self.begin(topic),
            Err(error) if verdict::judge(&error, "").replace => return Err(say(error)),
            Err(error) => self.refuse(topic, say(error)),
        }
        Ok(())
    }

    fn begin(&self, topic: &str) {
        self.active.borrow_mut().insert(topic.to_owned());
        self.fanout.begin(topic);
    }

    fn refuse(&self, topic: &str, reason: String) {
        self.options.counters.errors.add();
        self.refused.borrow_mut().push((topic.to_owned(), reason));
        self.fanout.refuse(topic);
    }

    fn channels(&self, topics: &[String]) -> Vec<String> {
        topics.iter().map(|topic| format!("{}{topic}", self.options.prefix)).collect()
    }

    async fn within<F: Future>(&self, command: F) -> Result<F::Output, String> {
        let within = self.options.command_timeout;
        let done = time::timeout(within, command).await;
        done.map_err(|_| format!("no answer within {within:?}"))
    }

    /// Opens a connection; `turn` counts the attempts.
    async fn open(&self, turn: usize) -> Result<Rc<Live>, String> {
        let messages =
            Messages { fanout: self.fanout.clone(), prefix: self.options.prefix.clone() };
        let within = self.options.command_timeout;
        let opened = connect::open(&self.location, turn, within, Some(messages)).await?;
        Ok(Rc::new(Live { opened, has_answered: Cell::new(false), timeouts_in_row: Cell::new(0) }))
    }

    /// Closes the breaker.
    fn put(&self, live: &Rc<Live>) {
        // The server knows nothing of the topics of the connection before.
        self.active.borrow_mut().clear();
        self.refused.borrow_mut().clear();
        self.why_away.borrow_mut().clear();
        *self.live.borrow_mut() = Some(live.clone());
        connect::open_gate(&self.tried);
        self.options.counters.connects.add();
        self.options.counters.links_up.add();
    }
}

/// A command's place among those in flight.
pub(super) struct Place<'a> {
    link: &'a Link,
    size: usize,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.link.in_flight.set(self.link.in_flight.get() - 1);
        self.link.in_flight_size.set(self.link.in_flight_size.get() - self.size);
        self.link.options.counters.in_flight.remove();
    }
}

/// Counts for as long as it lives.
struct Counted(Arc<crate::shared::figures::Counters>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.links.remove();
    }
}

/// Keeps a connection open until the link closes.
async fn keep(link: Rc<Link>, mut changed: mailbox::Receiver<()>) {
    link.options.counters.links.add();
    let _counted = Counted(link.options.counters.clone());
    let interval = link.options.retry_interval;
    let mut turn = link.shard_index;
    while !link.closing.is_open() {
        let began = Instant::now();
        match link.open(turn).await {
            Ok(live) => {
                link.put(&live);
                link.serve(&live, &mut changed).await;
            }
            Err(reason) => {
                link.options.counters.connect_failures.add();
                *link.why_away.borrow_mut() = reason;
                connect::open_gate(&link.tried);
            }
        }
        turn += 1;
        // A connection that had held for a while is replaced at once; attempts have their pause.
        if began.elapsed() < interval {
            let _ = time::timeout(jittered(interval), link.closing.passed()).await;
        }
    }
}

/// Adds up to a quarter, so that the shards of many nodes do not come all at once.
pub(super) fn jittered(interval: Duration) -> Duration {
    let chance = RandomState::new().build_hasher().finish() % 256;
    // Below 256, so it fits.
    interval + interval * chance as u32 / 1024
}

fn say(error: RedisError) -> String {
    error.to_string()
}
