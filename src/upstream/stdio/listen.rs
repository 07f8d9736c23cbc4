//! Listening to what children say by themselves. None is started for that.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use shards::{local::Bell, mailbox::oneshot, time};
use storage::record::Era;

use super::{
    StdioHost,
    letter::Letter,
    session::{Session, Waiting},
    start::Running,
};
use crate::{
    failure::Failure,
    upstream::{
        discover::plain,
        watch::{AGES, Ear, First, Told, WITHIN, attend, first_of, listen_params},
    },
};

/// Who listens to the children of a shard, by upstream.
#[derive(Default)]
pub(super) struct Ears(RefCell<HashMap<String, Rc<Listener>>>);

struct Listener {
    ear: Rc<Ear>,
    /// Rung when a child was started.
    born: Bell,
}

impl Ears {
    /// Has who listens to this upstream listen to its new child.
    pub(super) fn attach(&self, upstream_id: &str, session: &Session) {
        if let Some(listener) = self.0.borrow().get(upstream_id) {
            session.be_heard_by(&listener.ear);
            listener.born.ring();
        }
    }
}

/// A listener while it listens.
struct Listening<'a> {
    ears: &'a Ears,
    upstream_id: &'a str,
    listener: Rc<Listener>,
}

impl<'a> Listening<'a> {
    fn new(ears: &'a Ears, upstream_id: &'a str, ear: &Rc<Ear>) -> Listening<'a> {
        let listener = Rc::new(Listener { ear: ear.clone(), born: Bell::default() });
        ears.0.borrow_mut().insert(upstream_id.to_owned(), listener.clone());
        Listening { ears, upstream_id, listener }
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let mut ears = self.ears.0.borrow_mut();
        let is_own = |known: &Rc<Listener>| Rc::ptr_eq(known, &self.listener);
        if ears.get(self.upstream_id).is_some_and(is_own) {
            ears.remove(self.upstream_id);
        }
    }
}

impl StdioHost {
    /// Listens to the children of an upstream, one after the other, for as long as this is waited for.
    pub async fn watch(&self, upstream_id: &str, ear: &Rc<Ear>) -> std::convert::Infallible {
        let listening = Listening::new(&self.ears, upstream_id, ear);
        loop {
            match self.running(upstream_id) {
                Some(running) => {
                    running.session.be_heard_by(ear);
                    ear.hear(Told::Began);
                    first_of(running.session.gone(), listen(&running, ear)).await;
                    running.session.gone().await;
                }
                None => listening.listener.born.wait().await,
            }
        }
    }
}

/// Asks a child to tell of what is wanted, until it cannot be asked any more.
async fn listen(running: &Running, ear: &Ear) {
    let session = &*running.session;
    if running.handshake.era == Era::Modern {
        return subscribe(session, ear).await;
    }
    let subscribes = running.handshake.subscribes();
    let ask = async |method: &'static str, params: String| {
        match time::timeout(WITHIN, session.ask(method, &params)).await {
            Ok(Err(failure)) => Err(failure),
            // One that does not answer is the health check's to judge.
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    };
    let _: Failure = attend(ear, subscribes, ask).await;
}

/// Keeps a subscription of the stateless revision open. Its request is answered when it ends.
async fn subscribe(session: &Session, ear: &Ear) {
    let mut former = None;
    loop {
        let uris = ear.uris();
        let params = listen_params(&uris);
        let letter = Letter::new(&plain("subscriptions/listen", params.as_bytes(), AGES));
        let (answer, mut answered) = oneshot::channel();
        session.send(&letter, Waiting::for_answer(answer), Era::Modern);
        // Nobody waits for the former any more, which is what cancels it: once the new one is there.
        drop(former.take());
        match first_of(&mut answered, ear.others_than(&uris)).await {
            First::One(_) => return,
            First::Other(()) => former = Some(answered),
        }
    }
}
