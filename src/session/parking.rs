//! Calls that wait for their clients to come back with an answer: an upstream of the revisions with a
//! handshake asked something while it worked for a client of the stateless revision, which is told by
//! `input_required` and sends its request again (2026-07-28, Multi Round-Trip Requests).
//!
//! A parked call stays on its shard. What the client is given, `requestState`, is sealed and says
//! which that is; whoever gets the next request sends the answers there, and hears from there how it
//! goes on.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use ahash::AHashMap;
use serde::{Deserialize, Serialize};
use shards::{mailbox, time};
use storage::{
    record::new_id,
    seal::Sealer,
    shared::{Bus, BusItem, Reach, StateError},
};

use super::parcels::{self, Parcels};
use crate::{
    failure::Failure,
    limits,
    observe::held::{Hold, Kind},
};

/// What states are sealed for.
const PURPOSE: &str = "mcp-request-state";

/// What ours begin with; those of upstreams are handed on as they are.
const PREFIX: &str = "ringway1.";

/// The inbox of a shard for what concerns its parked calls.
const INBOX: &str = "parked";

/// How long to wait before subscribing again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often somebody who waits looks whether the node of the call is still there.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// How often in a row it is not there before it is given up: right after Redis lost its data, no
/// node is.
const MISSING_COUNT_MAX: usize = 3;

/// What a `requestState` of ours says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    node: String,
    shard: usize,
    number: u64,
    secret: String,
    /// Which question it belongs to, of those that the call leads to.
    pub round: u64,
    /// Whose call it is.
    pub email: String,
    /// What is called: method, upstream and name.
    pub call: String,
}

/// Answers for a parked call, on their way to it.
pub struct Resume {
    /// Which question they belong to.
    pub round: u64,
    /// The raw `inputResponses` object.
    pub responses: String,
    /// Who waits for what comes of it.
    pub ear: Ear,
}

/// What becomes of a parked call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// A whole notification.
    Notification(String),
    /// The raw result object.
    Result(String),
    /// The raw error object.
    Error(String),
}

/// The parked calls of a shard.
pub struct Parking {
    sealer: Arc<Sealer>,
    bus: Bus,
    parked: RefCell<AHashMap<u64, Parked>>,
    ears: RefCell<AHashMap<u64, mailbox::Sender<Told>>>,
    last: Cell<u64>,
}

struct Parked {
    secret: String,
    resumes: mailbox::Sender<Resume>,
}

/// A place in the parking; nobody finds the call any more once it is dropped.
pub struct Place {
    parking: Rc<Parking>,
    ticket: Ticket,
    /// Where answers come.
    pub resumes: mailbox::Receiver<Resume>,
    _hold: Hold,
}

/// Where it is told how a parked call goes on.
pub struct Ear {
    bus: Bus,
    node: String,
    shard: usize,
    number: u64,
}

/// Hears how a parked call goes on.
pub struct Hearing {
    parking: Rc<Parking>,
    number: u64,
    told: mailbox::Receiver<Told>,
    /// The node of the call.
    node: String,
}

#[derive(Serialize, Deserialize)]
enum Letter {
    Resume { number: u64, secret: String, round: u64, responses: String, ear: (String, usize, u64) },
    Told { ear: u64, told: Told },
}

impl Parking {
    /// Makes the parking of a shard.
    pub fn new(sealer: Arc<Sealer>, bus: &Bus) -> Parking {
        let (parked, ears, last) = Default::default();
        Parking { sealer, bus: bus.clone(), parked, ears, last }
    }

    /// What is given to clients and comes back is sealed by this.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Takes a place for a call of `email`.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if there is none.
    pub fn take(self: &Rc<Self>, email: &str, call: &str) -> Result<Place, Failure> {
        self.take_for(1, email, call)
    }

    /// The same for what several may ask at once.
    ///
    /// # Errors
    ///
    /// As [`Parking::take`].
    pub fn take_many(self: &Rc<Self>, email: &str, call: &str) -> Result<Place, Failure> {
        self.take_for(limits::STREAM_WAITING_COUNT_MAX, email, call)
    }

    fn take_for(
        self: &Rc<Self>,
        waiting_count_max: usize,
        email: &str,
        call: &str,
    ) -> Result<Place, Failure> {
        if self.parked.borrow().len() >= limits::PARKED_COUNT_MAX {
            Kind::ParkedCall.refuse();
            return Err(Failure::Busy("Too many calls wait for their clients".to_owned()));
        }
        let number = self.number();
        let (resumes, taken) = mailbox::channel(waiting_count_max);
        let secret = new_id();
        self.parked.borrow_mut().insert(number, Parked { secret: secret.clone(), resumes });
        let ticket = Ticket {
            node: self.bus.node_id().to_owned(),
            shard: self.bus.shard_index(),
            number,
            secret,
            round: 0,
            email: email.to_owned(),
            call: call.to_owned(),
        };
        let hold = Kind::ParkedCall.hold();
        Ok(Place { parking: self.clone(), ticket, resumes: taken, _hold: hold })
    }

    /// Reads a `requestState`; `None` if it is none of ours.
    ///
    /// # Errors
    ///
    /// `Some(Err(()))` if it pretends to be.
    pub fn read(&self, state: &str) -> Option<Result<Ticket, ()>> {
        let sealed = state.strip_prefix(PREFIX)?;
        let opened = self.sealer.open_for(PURPOSE, sealed).map_err(drop);
        Some(opened.and_then(|bytes| serde_json::from_slice(&bytes).map_err(drop)))
    }

    /// Sends answers to a parked call. If there is none any more, nothing is ever heard: the call
    /// ended, or its node did.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if they cannot be sent now.
    pub async fn resume(
        self: &Rc<Self>,
        ticket: &Ticket,
        responses: &str,
    ) -> Result<Option<Hearing>, Failure> {
        let (sender, told) = mailbox::channel(limits::STREAM_WAITING_COUNT_MAX);
        let ear = self.number();
        self.ears.borrow_mut().insert(ear, sender);
        let hearing =
            Hearing { parking: self.clone(), number: ear, told, node: ticket.node.clone() };
        let Ticket { node, shard, number, secret, round, .. } = ticket.clone();
        let own = (self.bus.node_id().to_owned(), self.bus.shard_index(), ear);
        if node == own.0 && shard == own.1 {
            let is_there = self.hand(number, &secret, round, responses.to_owned(), own);
            return Ok(is_there.then_some(hearing));
        }
        let responses = responses.to_owned();
        let letter = Letter::Resume { number, secret, round, responses, ear: own };
        match post(&self.bus, &node, shard, &letter).await {
            Ok(Reach::Nobody) => Ok(None),
            Ok(_) => Ok(Some(hearing)),
            Err(error) => Err(Failure::Busy(format!("The call cannot be reached: {error}"))),
        }
    }

    /// Hears of calls that are parked here and answered elsewhere, as long as the shard runs.
    pub async fn hear(self: Rc<Self>) {
        loop {
            let mut letters = match self.bus.inbox(INBOX).await {
                Ok(letters) => letters,
                Err(error) => {
                    tracing::debug!(%error, "not subscribed to the answers for parked calls");
                    time::sleep(AGAIN_AFTER).await;
                    continue;
                }
            };
            let mut parcels = Parcels::default();
            loop {
                if let BusItem::Message(part) = letters.next().await
                    && let Some(bytes) = parcels.take(&part)
                    && let Ok(letter) = serde_json::from_slice(&bytes)
                {
                    self.take_letter(letter);
                }
            }
        }
    }

    fn take_letter(self: &Rc<Self>, letter: Letter) {
        match letter {
            Letter::Resume { number, secret, round, responses, ear } => {
                let (node, shard, listener) = ear.clone();
                if !self.hand(number, &secret, round, responses, ear) {
                    let (bus, told) = (self.bus.clone(), gone());
                    shards::task::spawn(async move {
                        Ear { bus, node, shard, number: listener }.send(told).await;
                    });
                }
            }
            Letter::Told { ear, told } => self.tell(ear, told),
        }
    }

    /// Hands answers to a call; false if it is not there, or is not waiting.
    fn hand(
        &self,
        number: u64,
        secret: &str,
        round: u64,
        responses: String,
        ear: (String, usize, u64),
    ) -> bool {
        let parked = self.parked.borrow();
        let Some(parked) = parked.get(&number).filter(|parked| parked.secret == secret) else {
            return false;
        };
        let (node, shard, listener) = ear;
        let ear = Ear { bus: self.bus.clone(), node, shard, number: listener };
        parked.resumes.send(Resume { round, responses, ear }).is_ok()
    }

    fn tell(&self, ear: u64, told: Told) {
        if let Some(sender) = self.ears.borrow().get(&ear) {
            // A client that does not read loses notifications, and none of them is promised.
            let _ = sender.send(told);
        }
    }

    fn number(&self) -> u64 {
        let number = self.last.get() + 1;
        self.last.set(number);
        number
    }
}

impl Place {
    /// What leads to it.
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// The `requestState` for the question of this round.
    pub fn state(&self, round: u64) -> String {
        let ticket = Ticket { round, ..self.ticket.clone() };
        let text = serde_json::to_vec(&ticket).expect("a ticket is plain texts and numbers");
        format!("{PREFIX}{}", self.parking.sealer.seal_for(PURPOSE, text))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.parking.parked.borrow_mut().remove(&self.ticket.number);
    }
}

impl Ear {
    /// Tells who waits; the last is a result or an error.
    pub async fn tell(&self, parking: &Parking, told: Told) {
        if self.node == self.bus.node_id() && self.shard == self.bus.shard_index() {
            return parking.tell(self.number, told);
        }
        self.send(told).await;
    }

    async fn send(&self, told: Told) {
        let letter = Letter::Told { ear: self.number, told };
        if let Err(error) = post(&self.bus, &self.node, self.shard, &letter).await {
            tracing::debug!(%error, "what became of a parked call was not told");
        }
    }
}

impl Hearing {
    /// Waits for what is told next: that the call is gone, if its node is.
    pub async fn next(&mut self) -> Told {
        let mut missing_count = 0;
        loop {
            match time::timeout(LOOK_WITHIN, self.told.next()).await {
                Ok(told) => return told.unwrap_or_else(gone),
                // What is not known now is looked at again.
                Err(time::Elapsed) => match self.parking.bus.is_alive(&self.node).await {
                    Ok(false) => missing_count += 1,
                    Ok(true) | Err(_) => missing_count = 0,
                },
            }
            if missing_count == MISSING_COUNT_MAX {
                return gone();
            }
        }
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.parking.ears.borrow_mut().remove(&self.number);
    }
}

/// What is told of a call that is not there any more.
pub fn gone() -> Told {
    let text = "requestState: the call does not wait for this any more; send it without";
    Told::Error(serde_json::json!({"code": -32602, "message": text}).to_string())
}

async fn post(bus: &Bus, node: &str, shard: usize, letter: &Letter) -> Result<Reach, StateError> {
    let letter = serde_json::to_vec(letter).expect("letters are plain texts and numbers");
    parcels::send(&letter, async |part: &[u8]| bus.send(INBOX, node, shard, part).await).await
}
