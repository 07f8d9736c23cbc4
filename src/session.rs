//! Sessions of clients of the legacy era, of which no process is the owner.
//!
//! The id of a session is sealed and says by itself whose it is and what its client can do
//! ([`Ticket`]), so any shard of any node serves it. That it still lives, and what its client wished
//! for, is in the shared state for as long as `SESSION_TTL`; whoever changes that tells the others
//! over the bus. Streams and questions belong to the shard that has them: an answer names its shard
//! and is sent there.

mod asks;
mod inlets;
mod letter;
mod listener;
mod log;
mod parcels;
pub mod parking;
pub mod task;
mod ticket;
mod uncancelled;
mod wanted;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use ahash::AHashMap;
use serde::{Deserialize, Serialize};
use shards::{
    local::Gate,
    time::{self, Instant},
};
use storage::{
    seal::Sealer,
    shared::{Bus, BusItem, Shared, State, StateError},
};

pub use asks::{Asked, Asks, Word};
pub use inlets::{Address, Inlet, Inlets, Owner};
use letter::Letter;
pub use listener::{Listener, Listeners, Listening};
pub use log::{Entry, EventId, Log};
use parcels::Parcels;
pub use ticket::Ticket;
pub use uncancelled::Naming;
pub use wanted::{Wanted, Wants};

use crate::{
    failure::Failure,
    limits,
    mcp::code,
    observe::held::{Hold, Kind},
};

/// The topic on which shards tell of what became of sessions.
const TOPIC: &str = "sessions";

/// The inbox of a shard for what concerns its sessions.
const INBOX: &str = "sessions";

/// How long a session is taken to live since the shared state was last asked.
const TRUST: Duration = Duration::from_secs(30);

/// How long to wait before subscribing again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Most bytes of an id that are looked at.
const ID_SIZE_MAX: usize = 2048;

/// What a client wished for, for as long as its session lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// The least level of log messages that it wants; `None` if it never said.
    pub level: Option<String>,
    /// The resources of whose changes it wants to hear.
    pub uris: BTreeSet<String>,
}

/// A session, as one shard knows it.
pub struct Session {
    /// What its id says.
    pub ticket: Ticket,
    /// Open once it was ended.
    pub ended: Gate,
    wishes: RefCell<Rc<Wishes>>,
    /// When the shared state last said that it lives.
    seen_at: Cell<Instant>,
    /// What is known of it may be old.
    is_stale: Cell<bool>,
    /// It lives by its connection, and nobody else knows of it.
    is_private: bool,
    _hold: Hold,
}

impl Session {
    fn new(ticket: Ticket, wishes: Wishes) -> Session {
        Session {
            ticket,
            ended: Gate::default(),
            wishes: RefCell::new(Rc::new(wishes)),
            seen_at: Cell::new(Instant::now()),
            is_stale: Cell::new(false),
            is_private: false,
            _hold: Kind::Session.hold(),
        }
    }

    /// What its client wished for.
    pub fn wishes(&self) -> Rc<Wishes> {
        self.wishes.borrow().clone()
    }
}

/// What the key of a session and the raw id of a request of it come to, on one shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct CallName(u64);

/// The sessions of a shard.
pub struct Sessions {
    sealer: Arc<Sealer>,
    state: State,
    bus: Bus,
    ttl: Duration,
    message_ttl: Duration,
    known: RefCell<AHashMap<Box<str>, Rc<Session>>>,
    calls: RefCell<AHashMap<CallName, Rc<Gate>>>,
    names: ahash::RandomState,
    /// The streams that are open.
    pub listeners: Listeners,
    /// The questions that wait for clients.
    pub asks: Rc<Asks>,
    /// Where messages for streams of this shard arrive.
    pub inlets: Inlets,
}

impl Sessions {
    /// Makes the sessions of a shard; `ttl` is how long one lives that is not used, `message_ttl` how
    /// long a message is kept for who comes back for it.
    pub fn new(
        sealer: Arc<Sealer>,
        shared: &Shared,
        ttl: Duration,
        message_ttl: Duration,
        listeners: Listeners,
    ) -> Sessions {
        Sessions {
            sealer,
            state: shared.state.clone(),
            bus: shared.bus.clone(),
            ttl,
            message_ttl,
            known: RefCell::default(),
            calls: RefCell::default(),
            names: ahash::RandomState::new(),
            listeners,
            asks: Rc::new(Asks::new(&shared.bus)),
            inlets: Inlets::default(),
        }
    }

    /// Begins a session that lives by its connection and has no id: nobody can come back to it.
    pub fn begin_private(&self, ticket: Ticket) -> Rc<Session> {
        Rc::new(Session { is_private: true, ..Session::new(ticket, Wishes::default()) })
    }

    /// The address of a new stream of `owner` on this shard, and the same sealed for its client.
    pub fn address(&self, owner: Owner) -> (Address, String) {
        let address = Address::new(&self.bus, owner);
        let sealed = address.seal(&self.sealer);
        (address, sealed)
    }

    /// Sends a message of `sender` to the stream that they call `id`, wherever it is.
    ///
    /// # Errors
    ///
    /// Status 404 if there is none, or it is somebody else's; 413 if the bus carries no such message, and
    /// 503 if it carries none now.
    pub async fn post(
        &self,
        id: &str,
        sender: &Owner,
        message: &[u8],
        ip: IpAddr,
    ) -> Result<(), Failure> {
        let address = Address::open(id, &self.sealer, sender)?;
        self.inlets.send(&self.bus, &address, message, ip).await
    }

    /// Opens a session; returns its id.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if the shared state has no room for more.
    pub async fn open(&self, ticket: Ticket) -> Result<String, Failure> {
        let id = ticket.seal(&self.sealer);
        let wishes = serde_json::to_vec(&Wishes::default()).expect("wishes are plain texts");
        match self.state.set(&key_of(&ticket.key), &wishes, self.ttl).await {
            Ok(()) => {}
            Err(StateError::Full { .. } | StateError::Busy { .. }) => {
                let text = "There is no room for another session; try again";
                return Err(Failure::Busy(text.to_owned()));
            }
            Err(error) => tracing::debug!(%error, "a session is not known to the other nodes"),
        }
        self.keep(&id, ticket, Wishes::default());
        Ok(id)
    }

    /// Finds the session of an id that `email` sent to the virtual server `server_id`.
    ///
    /// # Errors
    ///
    /// Status 404 if there is none: never opened, ended, expired, or somebody else's.
    pub async fn find(
        &self,
        id: &[u8],
        email: &str,
        server_id: &str,
    ) -> Result<Rc<Session>, Failure> {
        let id = std::str::from_utf8(id).ok().filter(|id| id.len() <= ID_SIZE_MAX);
        let id = id.ok_or_else(lost)?;
        let known = self.known.borrow().get(id).cloned();
        let session = match known {
            Some(session) => session,
            None => {
                let ticket = Ticket::open(id, &self.sealer).ok_or_else(lost)?;
                let wishes = self.read(&ticket.key).await?;
                self.keep(id, ticket, wishes)
            }
        };
        let ticket = &session.ticket;
        if ticket.email != email || ticket.server_id != server_id || session.ended.is_open() {
            return Err(lost());
        }
        if session.seen_at.get().elapsed() >= TRUST.min(self.ttl / 4) || session.is_stale.get() {
            self.look_again(id, &session).await?;
        }
        Ok(session)
    }

    /// Ends a session everywhere.
    pub async fn end(&self, session: &Session) {
        let key = &session.ticket.key;
        if let Err(error) = self.state.delete(&key_of(key)).await {
            tracing::debug!(%error, "the end of a session is not known to the other nodes");
        }
        self.forget(key);
        self.tell(format!("end {key}")).await;
    }

    /// Changes what the client of a session wishes for.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if the shared state cannot keep it now.
    pub async fn wish(
        &self,
        session: &Session,
        change: impl FnOnce(&mut Wishes),
    ) -> Result<(), Failure> {
        let key = &session.ticket.key;
        let mut wishes = match session.is_private {
            true => (*session.wishes()).clone(),
            false => self.read(key).await.unwrap_or_else(|_| (*session.wishes()).clone()),
        };
        change(&mut wishes);
        if wishes.uris.len() > limits::SESSION_URI_COUNT_MAX {
            let text = "A session can be subscribed to no more resources; unsubscribe from some";
            return Err(Failure::Busy(text.to_owned()));
        }
        let text = serde_json::to_vec(&wishes).expect("wishes are plain texts");
        session.wishes.replace(Rc::new(wishes));
        if !session.is_private {
            if let Err(error) = self.state.set(&key_of(key), &text, self.ttl).await {
                tracing::debug!(%error, "a wish of a session is not known to the other nodes");
            }
            self.tell(format!("wish {key}")).await;
        }
        self.listeners.ring_of(key);
        Ok(())
    }

    /// Says what the client of a session wishes for, asking again if it may have changed.
    pub async fn wishes(&self, session: &Session) -> Rc<Wishes> {
        if session.is_stale.replace(false)
            && let Ok(wishes) = self.read(&session.ticket.key).await
        {
            session.wishes.replace(Rc::new(wishes));
        }
        session.wishes()
    }

    /// Notes that a request of a session runs; what is returned opens when its client cancels it.
    pub fn begin_call(self: &Rc<Self>, session: &Session, id: &str) -> Call {
        self.begin(self.name(&session.ticket.key, id))
    }

    fn begin(self: &Rc<Self>, name: CallName) -> Call {
        let gate = Rc::<Gate>::default();
        self.calls.borrow_mut().insert(name, gate.clone());
        Call { sessions: self.clone(), name, cancelled: gate }
    }

    fn name(&self, key: &str, id: &str) -> CallName {
        CallName(self.names.hash_one((key, id)))
    }

    /// Cancels a request of a session, wherever it runs.
    pub async fn cancel(&self, session: &Session, id: &str) {
        let key = &session.ticket.key;
        if !self.cancel_here(key, id) {
            self.tell(format!("cancel {key} {id}")).await;
        }
    }

    /// Takes over the stream of unrelated messages: another one of the session ends.
    pub async fn take_over(&self, session: &Session, listening: &Listening) {
        let key = &session.ticket.key;
        self.listeners.end_others(key, listening.id());
        let (node, shard) = (self.bus.node_id(), self.bus.shard_index());
        self.tell(format!("take {key} {node} {shard}")).await;
    }

    /// The log of an answer that streams to a session.
    pub fn log(&self, session: &Session, stream_id: &str) -> Log {
        Log::new(&self.state, &self.bus, &session.ticket.key, stream_id, self.message_ttl)
    }

    /// Hears what the others tell of sessions, as long as the shard runs.
    pub async fn hear(self: Rc<Self>) {
        loop {
            let mut told = match self.bus.subscribe(TOPIC).await {
                Ok(told) => told,
                Err(error) => {
                    tracing::debug!(%error, "not subscribed to what becomes of sessions");
                    time::sleep(AGAIN_AFTER).await;
                    continue;
                }
            };
            loop {
                match told.next().await {
                    BusItem::Message(text) => {
                        std::str::from_utf8(&text).into_iter().for_each(|text| self.take(text));
                    }
                    // Whatever was missed: every session is looked up again before its next use.
                    BusItem::Lost => {
                        self.known.borrow_mut().clear();
                        self.listeners.ring();
                    }
                }
            }
        }
    }

    /// Hears what came to other shards and is for this one, as long as the shard runs.
    pub async fn hear_letters(self: Rc<Self>) {
        loop {
            let mut inbox = match self.bus.inbox(INBOX).await {
                Ok(inbox) => inbox,
                Err(error) => {
                    tracing::debug!(%error, "the inbox of this shard is not open");
                    time::sleep(AGAIN_AFTER).await;
                    continue;
                }
            };
            let mut parcels = Parcels::default();
            loop {
                if let BusItem::Message(part) = inbox.next().await
                    && let Some(letter) = parcels.take(&part)
                {
                    self.take_letter(&letter);
                }
            }
        }
    }

    fn take_letter(&self, letter: &[u8]) {
        match Letter::read(letter) {
            Some(Letter::Answer { number, secret, key, word }) => {
                self.asks.settle(number, secret, key, word);
            }
            Some(Letter::Message { key, ip, message }) => {
                if let Err(failure) = self.inlets.hand(key, message.to_vec(), ip) {
                    tracing::debug!(%failure, "a message for a stream was lost");
                }
            }
            None => tracing::debug!("a letter was not understood"),
        }
    }

    fn take(&self, text: &str) {
        let mut words = text.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("end"), Some(key), None) => self.forget(key),
            (Some("wish"), Some(key), None) => {
                for session in self.known.borrow().values().filter(|one| one.ticket.key == key) {
                    session.is_stale.set(true);
                }
                self.listeners.ring_of(key);
            }
            (Some("cancel"), Some(key), Some(id)) => drop(self.cancel_here(key, id)),
            (Some("take"), Some(key), Some(place)) => {
                let own = format!("{} {}", self.bus.node_id(), self.bus.shard_index());
                if place != own {
                    self.listeners.end_of(key);
                }
            }
            _ => tracing::debug!(text, "not understood"),
        }
    }

    fn cancel_here(&self, key: &str, id: &str) -> bool {
        let calls = self.calls.borrow();
        let call = calls.get(&self.name(key, id));
        call.map(|cancelled| cancelled.open()).is_some()
    }

    fn forget(&self, key: &str) {
        self.known.borrow_mut().retain(|_, session| {
            let stays = session.ticket.key != key;
            if !stays {
                session.ended.open();
            }
            stays
        });
        self.listeners.end_of(key);
    }

    fn keep(&self, id: &str, ticket: Ticket, wishes: Wishes) -> Rc<Session> {
        let session = Rc::new(Session::new(ticket, wishes));
        let mut known = self.known.borrow_mut();
        if known.len() >= limits::SESSION_KNOWN_COUNT_MAX {
            // They can be opened again by their ids.
            known.clear();
        }
        known.insert(id.into(), session.clone());
        session
    }

    /// What the shared state has of a session. While it cannot be asked, the id alone is enough.
    async fn read(&self, key: &str) -> Result<Wishes, Failure> {
        match self.state.get(&key_of(key)).await {
            Ok(Some(text)) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Ok(None) => Err(lost()),
            Err(error) => {
                tracing::debug!(%error, "a session cannot be looked up");
                Ok(Wishes::default())
            }
        }
    }

    async fn look_again(&self, id: &str, session: &Session) -> Result<(), Failure> {
        let key = &session.ticket.key;
        if session.is_stale.get() {
            self.wishes(session).await;
        }
        if matches!(self.state.touch(&key_of(key), self.ttl).await, Ok(false)) {
            self.known.borrow_mut().remove(id);
            session.ended.open();
            self.listeners.end_of(key);
            return Err(lost());
        }
        session.seen_at.set(Instant::now());
        Ok(())
    }

    async fn tell(&self, text: String) {
        if let Err(error) = self.bus.publish(TOPIC, text.as_bytes()).await {
            tracing::debug!(%error, "the other shards were not told of a session");
        }
    }
}

/// A request of a session while it runs.
pub struct Call {
    sessions: Rc<Sessions>,
    name: CallName,
    /// Opens when the client cancels.
    pub cancelled: Rc<Gate>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.sessions.calls.borrow_mut().remove(&self.name);
    }
}

fn key_of(session: &str) -> String {
    format!("session:{session}")
}

/// The answer to an id of no session (2025-11-25, Transports, Session Management): the client opens
/// another one.
fn lost() -> Failure {
    let text = "Session not found: it has ended, or never was; send initialize again";
    Failure::protocol(404, code::SESSION_NOT_FOUND, text)
}
