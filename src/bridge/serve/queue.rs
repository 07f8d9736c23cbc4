//! Messages on their way to one reader, and the stream of events that carries them.

use std::{any::Any, cell::Cell, cell::RefCell, collections::VecDeque, pin::Pin, rc::Rc};

use net::{
    http1::server::{BodyStream, Responder},
    sse,
};
use shards::{local::Bell, time};

use std::time::Duration;

/// Most messages that wait for a reader.
const COUNT_MAX: usize = 1024;

/// The head of a stream of events; proxies must hand it on as it comes.
const EVENTS: &str =
    "content-type: text/event-stream\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n";

/// A message for a reader.
pub(super) enum Item {
    /// Another comes behind it.
    Message(Vec<u8>),
    /// The answer, behind which nothing comes.
    Reply(Vec<u8>),
}

/// Messages on their way to one reader.
#[derive(Default)]
pub(super) struct Queue {
    items: RefCell<VecDeque<Item>>,
    bell: Bell,
    is_closed: Cell<bool>,
}

impl Queue {
    /// Puts in a message; false if the reader is so far behind that it is lost.
    pub(super) fn push(&self, item: Item) -> bool {
        let mut items = self.items.borrow_mut();
        let has_room = items.len() < COUNT_MAX || matches!(item, Item::Reply(_));
        if has_room {
            items.push_back(item);
            self.bell.ring();
        }
        has_room
    }

    /// Says that nothing more comes.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.bell.ring();
    }

    /// Waits for the next message; none when the queue is closed and empty. Dropping the future
    /// loses nothing.
    pub(super) async fn next(&self) -> Option<Item> {
        loop {
            let item = self.items.borrow_mut().pop_front();
            if item.is_some() || self.is_closed.get() {
                return item;
            }
            self.bell.wait().await;
        }
    }
}

/// A queue as a body.
pub(super) struct Events {
    /// What is sent before all else.
    pub(super) first: Vec<u8>,
    /// What comes then.
    pub(super) queue: Rc<Queue>,
    /// How often a quiet stream gets a sign of life.
    pub(super) keep_alive: Duration,
    /// Dropped when the stream ends, however it does.
    pub(super) guard: Box<dyn Any>,
}

impl Events {
    /// Answers with this stream.
    pub(super) fn answer(self, responder: &mut Responder) {
        // Nobody reads any more: what the guard holds is let go at once.
        responder.cancel_on_disconnect();
        responder.begin(200);
        responder.lines(EVENTS);
        responder.finish_stream(Box::new(self));
    }
}

/// Answers with a single event.
pub(super) fn answer_event(responder: &mut Responder, message: &[u8]) {
    let mut event = Vec::with_capacity(message.len() + 32);
    encode(&mut event, message);
    responder.begin(200);
    responder.lines(EVENTS);
    responder.finish(&[&event]);
}

/// Appends a message as an event.
pub(super) fn encode(out: &mut Vec<u8>, message: &[u8]) {
    sse::encode(out, Some("message"), None, message);
}

impl BodyStream for Events {
    fn next<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        let _ = &self.guard;
        Box::pin(async move {
            if !self.first.is_empty() {
                out.append(&mut self.first);
                return true;
            }
            match time::timeout(self.keep_alive, self.queue.next()).await {
                Err(_) => sse::comment(out),
                Ok(None) => return false,
                Ok(Some(Item::Message(message))) => encode(out, &message),
                Ok(Some(Item::Reply(message))) => {
                    encode(out, &message);
                    return false;
                }
            }
            true
        })
    }
}
