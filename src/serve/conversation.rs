//! A conversation: a connection that is a client's session, whatever carries it. Messages of the
//! client go in, messages for it come out, in no other order than that in which they are made.
//!
//! Its requests run at the same time, each in a task of its own, and end with it. What is made for a
//! client that does not read waits, and is bounded; the carrier ends a connection that takes nothing.

mod outlet;

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use net::jsonrpc::{self, Message, MessageKind};
use shards::{local::Gate, task};

use outlet::Outbox;
pub use outlet::{Ending, Out, Outlet};

use crate::{
    auth::Caller,
    failure::Failure,
    gateway::{self, Agreed, Parts},
    limits,
    mcp::{HeaderSource, Transport, code},
    observe::held::Kind,
    reply::{self, Accepts, Filter, Reply},
    serve::{
        backend::parts,
        batch,
        changes::Identify,
        feed::Feed,
        front::Room,
        streams::{Listen, Place, Told},
    },
    session::{Session, Ticket},
    state::{self, Shard},
};

/// Who talks, and how they came.
pub struct Partner {
    /// Says again who they are.
    pub identify: Identify,
    /// Their user.
    pub email: String,
    /// The virtual server that they talk with; empty for everything.
    pub server_id: String,
    /// What carries the messages.
    pub transport: Transport,
    /// What their program calls itself.
    pub user_agent: Option<Vec<u8>>,
}

/// A conversation, as those see it who bring messages of the client.
pub struct Conversation {
    shard: Rc<Shard>,
    partner: Partner,
    key: String,
    /// There from the handshake on.
    session: RefCell<Option<Rc<Session>>>,
    /// The requests that run.
    calls: RefCell<Vec<Rc<Call>>>,
    /// Other messages that are being looked at.
    noting_count: Cell<usize>,
    outbox: Outbox,
    is_over: Cell<bool>,
}

/// A request that runs.
struct Call {
    /// Its raw id.
    id: Box<str>,
    /// Open once the client wants no answer any more.
    cancelled: Gate,
}

impl Conversation {
    /// Begins a conversation; `key` tells it from every other.
    ///
    /// # Errors
    ///
    /// 503 if as many streams are open on this shard as may be; 403 or 404 if its endpoint is not for
    /// the client.
    pub fn begin(shard: &Rc<Shard>, partner: Partner, key: &str) -> Result<Outlet, Failure> {
        let kind = match partner.transport {
            Transport::WebSocket => Kind::WebSocket,
            _ => Kind::Sse,
        };
        let place = Place::take(shard, kind)?;
        let caller = (partner.identify)().ok_or_else(gone)?;
        gateway::enter(&shard.catalog(), &caller, &partner.server_id)?;
        let listening = shard.listeners.listen(Some(key));
        let feed = Feed::new(shard, listening, partner.identify.clone(), &partner.server_id);
        let feed = feed.ok_or_else(gone)?;
        let conversation = Rc::new(Conversation {
            shard: shard.clone(),
            partner,
            key: key.to_owned(),
            session: RefCell::default(),
            calls: RefCell::default(),
            noting_count: Cell::default(),
            outbox: Outbox::new(),
            is_over: Cell::default(),
        });
        Ok(Outlet { conversation, feed, _place: place })
    }

    /// Takes a message of the client, or a batch of them, which came from `ip`. What it is answered
    /// with comes out.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if it is one too many; 404 if the conversation is over.
    pub fn take(self: &Rc<Self>, message: Vec<u8>, ip: IpAddr) -> Result<(), Failure> {
        let caller = (self.partner.identify)().filter(|_| !self.is_over.get());
        let caller = caller.ok_or_else(gone)?;
        if !batch::is_batch(&message) {
            return self.take_one(caller, message, ip);
        }
        let session = self.session.borrow().clone();
        let revision = session.as_ref().map_or("none", |session| session.ticket.revision);
        match batch::split(&message, None, Some(revision.as_bytes())) {
            Ok(messages) => messages.into_iter().try_for_each(|message| {
                self.take_one(caller.clone(), message.get().as_bytes().to_vec(), ip)
            }),
            Err(failure) => {
                self.tell(reply::error_message(None, &failure));
                Ok(())
            }
        }
    }

    fn take_one(
        self: &Rc<Self>,
        caller: Rc<Caller>,
        message: Vec<u8>,
        ip: IpAddr,
    ) -> Result<(), Failure> {
        let parsed = match Message::parse(&message, &self.shard.options.envelope) {
            Ok(parsed) => parsed,
            Err(error) => {
                let id = error.id.and_then(|id| std::str::from_utf8(id.of_bytes(&message)).ok());
                let failure = Failure::protocol(400, error.code(), error.to_string());
                self.tell(reply::error_message(id, &failure));
                return Ok(());
            }
        };
        match parsed.kind() {
            MessageKind::Request => {
                let id: Box<str> = parsed.id().unwrap_or("null").into();
                self.answer(id, caller, message, ip);
            }
            MessageKind::Notification if parsed.method() == "notifications/cancelled" => {
                self.cancel(&parsed);
            }
            MessageKind::Notification | MessageKind::Response => {
                let noting = Noting::begin(self)?;
                task::spawn(async move { noting.0.note(&caller, &message, ip).await });
            }
        }
        Ok(())
    }

    /// Answers a message with a failure instead of taking it, if it is one that is answered.
    pub fn refuse(&self, message: &[u8], failure: &Failure) {
        if let Ok(parsed) = Message::parse(message, &self.shard.options.envelope)
            && parsed.kind() == MessageKind::Request
        {
            self.tell(reply::error_message(parsed.id(), failure));
        }
    }

    fn cancel(&self, notification: &Message<'_>) {
        let params = notification.params().unwrap_or("{}");
        let Ok([Some(place)]) = jsonrpc::pick(params, ["requestId"]) else { return };
        let id = place.of_text(params);
        let calls = self.calls.borrow();
        calls.iter().filter(|call| *call.id == *id).for_each(|call| call.cancelled.open());
    }

    /// Runs a request in a task of its own.
    fn answer(self: &Rc<Self>, id: Box<str>, caller: Rc<Caller>, message: Vec<u8>, ip: IpAddr) {
        let room = Room::take(&self.shard).filter(|_| {
            !self.shard.draining.is_open()
                && self.calls.borrow().len() < limits::CONVERSATION_CALL_COUNT_MAX
        });
        let Some(room) = room else {
            let failure = Failure::Busy("Too many requests are in flight; try again".to_owned());
            return self.tell(reply::error_message(Some(&id), &failure));
        };
        let call = Rc::new(Call { id, cancelled: Gate::default() });
        self.calls.borrow_mut().push(call.clone());
        let running = Running { conversation: self.clone(), call, _room: room };
        task::spawn(async move {
            let Running { conversation, call, .. } = &running;
            let work = task::guard(conversation.work(&call.id, &caller, &message, ip));
            if let Some(Err(_)) = call.cancelled.unless(work).await {
                let failure = Failure::protocol(500, code::INTERNAL, "Internal error");
                conversation.tell(reply::error_message(Some(&call.id), &failure));
            }
        });
    }

    async fn work(self: &Rc<Self>, id: &str, caller: &Caller, message: &[u8], ip: IpAddr) {
        let catalog = self.shard.catalog();
        let parts = self.parts(&catalog);
        let session = self.session.borrow().clone();
        let headers = self.headers(session.as_ref());
        let request = self.request(session.as_ref(), caller, &headers, message, ip);
        let answered = gateway::answer(&parts, &request, &|_, _| {}).await;
        if let Some(agreed) = answered.handshake {
            self.shake_hands(agreed);
        }
        match answered.outcome {
            Ok(Reply::Stream(mut messages)) => loop {
                let mut message = Vec::new();
                let more = messages.next(&mut message).await;
                if !message.is_empty() {
                    self.say(message).await;
                }
                if !more {
                    break;
                }
            },
            Ok(Reply::Listen(filter)) => self.listen(id, *filter).await,
            outcome => {
                let mut message = Vec::new();
                reply::write_message(&mut message, id, outcome);
                if !message.is_empty() {
                    self.say(message).await;
                }
            }
        }
    }

    /// Takes what is no request.
    async fn note(&self, caller: &Caller, message: &[u8], ip: IpAddr) {
        let catalog = self.shard.catalog();
        let parts = self.parts(&catalog);
        let session = self.session.borrow().clone();
        let headers = self.headers(session.as_ref());
        let request = self.request(session.as_ref(), caller, &headers, message, ip);
        if let Err(failure) = gateway::answer(&parts, &request, &|_, _| {}).await.outcome {
            tracing::debug!(%failure, "a message of a client is good for nothing");
        }
    }

    /// Tells the client of what it wants to hear of, until it does not any more.
    async fn listen(&self, id: &str, filter: Filter) {
        let Partner { identify, server_id, .. } = &self.partner;
        let opened = Place::take(&self.shard, Kind::Listen).and_then(|place| {
            let listen = Listen::open(&self.shard, server_id, id, filter, identify.clone())?;
            Ok((place, listen))
        });
        let (_place, mut listen) = match opened {
            Ok(opened) => opened,
            Err(failure) => return self.say(reply::error_message(Some(id), &failure)).await,
        };
        loop {
            match listen.next(Duration::MAX).await {
                Told::Messages(messages) => {
                    for message in messages {
                        self.say(message).await;
                    }
                }
                Told::Silence => {}
                Told::End(result) => return self.say(result).await,
            }
        }
    }

    fn parts<'a>(
        &'a self,
        catalog: &'a crate::catalog::Catalog,
    ) -> Parts<'a, crate::upstream::Upstreams> {
        Parts { sessions: Some(&self.shard.conversing), ..parts(&self.shard, catalog) }
    }

    fn headers<'a>(&'a self, session: Option<&'a Rc<Session>>) -> Headers<'a> {
        let revision = session.map(|session| session.ticket.revision);
        Headers { user_agent: self.partner.user_agent.as_deref(), revision }
    }

    fn request<'a>(
        &'a self,
        session: Option<&'a Rc<Session>>,
        caller: &'a Caller,
        headers: &'a Headers<'a>,
        body: &'a [u8],
        ip: IpAddr,
    ) -> gateway::Request<'a> {
        gateway::Request {
            session,
            caller,
            client_ip: Some(ip),
            server_id: &self.partner.server_id,
            transport: self.partner.transport,
            headers,
            accepts: Accepts { json: true, events: true },
            body,
        }
    }

    fn shake_hands(&self, agreed: Agreed) {
        let Partner { email, server_id, .. } = &self.partner;
        let Agreed { revision, capabilities } = agreed;
        let mut ticket = Ticket::new(revision, capabilities, email, server_id, state::now());
        ticket.key.clone_from(&self.key);
        let session = self.shard.conversing.begin_private(ticket);
        self.session.replace(Some(session));
    }

    /// Sends a message to the client once there is room for it.
    async fn say(&self, message: Vec<u8>) {
        let turn = self.outbox.room.take_owned().await;
        self.outbox.put(message, Some(turn));
    }

    /// Sends a message to the client at once; one that is far behind does not read, and loses its
    /// connection.
    fn tell(&self, message: Vec<u8>) {
        let waiting_count = self.outbox.waiting.borrow().len();
        match waiting_count < 2 * limits::STREAM_WAITING_COUNT_MAX {
            true => self.outbox.put(message, None),
            false => self.end(),
        }
    }

    /// Ends all that runs.
    fn end(&self) {
        self.is_over.set(true);
        self.calls.borrow().iter().for_each(|call| call.cancelled.open());
        if let Some(session) = &*self.session.borrow() {
            session.ended.open();
        }
        self.outbox.bell.ring();
    }
}

/// A request that runs, as long as this lives.
struct Running {
    conversation: Rc<Conversation>,
    call: Rc<Call>,
    _room: Room,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.conversation.calls.borrow_mut().retain(|call| !Rc::ptr_eq(call, &self.call));
        self.conversation.outbox.bell.ring();
    }
}

/// A message that is no request and is being looked at.
struct Noting(Rc<Conversation>);

impl Noting {
    fn begin(conversation: &Rc<Conversation>) -> Result<Noting, Failure> {
        let count = &conversation.noting_count;
        if count.get() >= limits::CONVERSATION_NOTE_COUNT_MAX {
            return Err(Failure::Busy("Too many messages at once; try again".to_owned()));
        }
        count.set(count.get() + 1);
        Ok(Noting(conversation.clone()))
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        self.0.noting_count.set(self.0.noting_count.get() - 1);
    }
}

/// What the messages of a conversation have in the place of header fields.
struct Headers<'a> {
    user_agent: Option<&'a [u8]>,
    revision: Option<&'static str>,
}

impl HeaderSource for Headers<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        match name {
            "user-agent" => self.user_agent,
            "mcp-protocol-version" => self.revision.map(str::as_bytes),
            _ => None,
        }
    }

    fn count(&self, name: &str) -> usize {
        usize::from(self.get(name).is_some())
    }
}

fn gone() -> Failure {
    Failure::NotFound("Not Found".to_owned())
}
