//! The end of a conversation at which its messages come out.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use shards::local::{Bell, First, OwnedTurn, Turns, first_of};

use super::Conversation;
use crate::{
    limits,
    serve::{
        feed::{Feed, Heard},
        streams::Place,
    },
};

/// The end of a conversation at which its messages come out. Dropping it ends the conversation.
pub struct Outlet {
    pub(super) conversation: Rc<Conversation>,
    pub(super) feed: Feed,
    pub(super) _place: Place,
}

/// What comes out.
#[derive(Debug, PartialEq, Eq)]
pub enum Out {
    /// A whole message.
    Message(Vec<u8>),
    /// Nothing, for so long that the client should see a sign of life.
    Silence,
    /// Nothing any more.
    End(Ending),
}

/// Why a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The gateway stops, and has answered what it was asked.
    Draining,
    /// The client may not talk here any more.
    Refused,
    /// The client does not take what it is sent.
    Deaf,
}

/// Messages on their way to the client.
pub(super) struct Outbox {
    /// What was waited with until there was room has a turn; refusals and news have none.
    pub(super) waiting: RefCell<VecDeque<(Vec<u8>, Option<OwnedTurn>)>>,
    pub(super) room: Rc<Turns>,
    /// Rung when there may be something to do for who sends them.
    pub(super) bell: Bell,
}

impl Outlet {
    /// The conversation that this is the end of.
    pub fn conversation(&self) -> &Rc<Conversation> {
        &self.conversation
    }

    /// Takes a message that waits.
    pub fn try_next(&mut self) -> Option<Vec<u8>> {
        self.conversation.outbox.take()
    }

    /// Waits for what comes out next, for `patience` at most. Dropping the future loses nothing.
    pub async fn next(&mut self, patience: Duration) -> Out {
        loop {
            if let Some(message) = self.try_next() {
                return Out::Message(message);
            }
            if self.conversation.is_over.get() {
                return Out::End(Ending::Deaf);
            }
            match self.wait(patience).await {
                Some(Heard::Silence) => return Out::Silence,
                Some(Heard::News(news)) if self.conversation.session.borrow().is_some() => {
                    news.iter().for_each(|one| self.conversation.tell(one.notification()));
                }
                // Before the handshake there is nothing that could have changed.
                Some(Heard::News(_)) | None => {}
                Some(Heard::End) if !self.conversation.shard.draining.is_open() => {
                    return Out::End(Ending::Refused);
                }
                Some(Heard::End) if self.conversation.calls.borrow().is_empty() => {
                    return Out::End(Ending::Draining);
                }
                // What runs still is answered, for as long as the shard waits.
                Some(Heard::End) => self.conversation.outbox.bell.wait().await,
            }
        }
    }

    /// Waits for something to tell; `None` if there may be a message.
    async fn wait(&mut self, patience: Duration) -> Option<Heard> {
        let session = self.conversation.session.borrow().clone();
        let wishes = session.map(|session| session.wishes()).unwrap_or_default();
        let bell = self.conversation.outbox.bell.wait();
        match first_of(bell, self.feed.wait(patience, &wishes.uris)).await {
            First::One(()) => None,
            First::Other(heard) => Some(heard),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.conversation.end();
    }
}

impl Outbox {
    pub(super) fn new() -> Outbox {
        let room = Rc::new(Turns::new(limits::STREAM_WAITING_COUNT_MAX));
        Outbox { waiting: RefCell::default(), room, bell: Bell::default() }
    }

    pub(super) fn put(&self, message: Vec<u8>, turn: Option<OwnedTurn>) {
        self.waiting.borrow_mut().push_back((message, turn));
        self.bell.ring();
    }

    pub(super) fn take(&self) -> Option<Vec<u8>> {
        self.waiting.borrow_mut().pop_front().map(|(message, _)| message)
    }
}
