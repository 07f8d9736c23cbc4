//! Questions of upstreams to clients: each waits on the shard where it was asked, and its id says
//! which that is, so that an answer finds it from wherever it comes.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use ahash::AHashMap;
use net::jsonrpc;
use shards::mailbox::oneshot;
use storage::{record::new_id, shared::Bus};

use super::{INBOX, Letter, parcels};
use crate::{
    failure::Failure,
    limits,
    observe::held::{Hold, Kind},
};

/// What ids of questions begin with.
const PREFIX: &str = "ringway";

/// What a client answered: its raw result or error object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// `result`.
    Result(String),
    /// `error`.
    Error(String),
}

/// The questions of a shard.
pub struct Asks {
    bus: Bus,
    waiting: RefCell<AHashMap<u64, Waiting>>,
    last: Cell<u64>,
}

struct Waiting {
    /// What nobody can guess who was not asked.
    secret: String,
    /// Whom it was asked: the key of a session.
    key: Box<str>,
    answer: oneshot::Sender<Word>,
}

/// A question that waits for its answer; nobody can answer it any more once this is dropped.
pub struct Asked {
    asks: Rc<Asks>,
    number: u64,
    /// Its id, for the client.
    pub id: String,
    answer: oneshot::Receiver<Word>,
    _hold: Hold,
}

impl Asked {
    /// Waits for the answer; `None` if there will be none.
    pub async fn answer(&mut self) -> Option<Word> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.asks.waiting.borrow_mut().remove(&self.number);
    }
}

/// Where an answer goes.
struct Address<'a> {
    node: &'a str,
    shard: usize,
    number: u64,
    secret: &'a str,
}

impl<'a> Address<'a> {
    fn parse(id: &'a str) -> Option<Address<'a>> {
        let mut parts = id.split('-');
        let is_ours = parts.next()? == PREFIX;
        let (node, shard, number) = (parts.next()?, parts.next()?, parts.next()?);
        let (shard, number) = (shard.parse().ok()?, number.parse().ok()?);
        let secret = parts.next().filter(|_| is_ours)?;
        parts.next().is_none().then_some(Address { node, shard, number, secret })
    }
}

impl Asks {
    pub(super) fn new(bus: &Bus) -> Asks {
        Asks { bus: bus.clone(), waiting: RefCell::default(), last: Cell::default() }
    }

    /// Asks the client of the session `key` something.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if as many questions wait as may.
    pub fn ask(self: &Rc<Self>, key: &str) -> Result<Asked, Failure> {
        if self.waiting.borrow().len() >= limits::ASK_COUNT_MAX {
            Kind::Question.refuse();
            return Err(Failure::Busy("Too many questions wait for clients".to_owned()));
        }
        let number = self.last.get() + 1;
        self.last.set(number);
        let (sender, answer) = oneshot::channel();
        let secret = new_id();
        let (node, shard) = (self.bus.node_id(), self.bus.shard_index());
        let id = format!("{PREFIX}-{node}-{shard}-{number}-{secret}");
        let waiting = Waiting { secret, key: key.into(), answer: sender };
        self.waiting.borrow_mut().insert(number, waiting);
        Ok(Asked { asks: self.clone(), number, id, answer, _hold: Kind::Question.hold() })
    }

    /// Takes an answer of the client of the session `key`: `id` is its raw id. What answers nothing
    /// that this client was asked changes nothing.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if it cannot be delivered now.
    pub async fn answer(&self, key: &str, id: &str, word: Word) -> Result<(), Failure> {
        let Ok(id) = jsonrpc::unescape(id) else { return Ok(()) };
        let Some(address) = Address::parse(&id) else { return Ok(()) };
        let Address { node, shard, number, secret } = address;
        if node == self.bus.node_id() && shard == self.bus.shard_index() {
            self.settle(number, secret, key, word);
            return Ok(());
        }
        let letter = Letter::Answer { number, secret, key, word }.write();
        let send = async |part: &[u8]| self.bus.send(INBOX, node, shard, part).await;
        match parcels::send(&letter, send).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::Busy(format!("Who asked cannot be reached: {error}"))),
        }
    }

    /// Takes an answer to a question of this shard, wherever it came to.
    pub(super) fn settle(&self, number: u64, secret: &str, key: &str, word: Word) {
        let mut waiting = self.waiting.borrow_mut();
        let is_it = |one: &Waiting| one.secret == secret && *one.key == *key;
        if waiting.get(&number).is_some_and(is_it)
            && let Some(one) = waiting.remove(&number)
        {
            let _ = one.answer.send(word);
        }
    }
}
