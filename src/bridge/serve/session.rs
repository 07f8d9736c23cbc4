//! Sessions of the handshake era: a client, a child, and who waits for what the child says.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Duration,
};

use net::jsonrpc::{self, Message};
use shards::{task, time, watch};

use super::queue::{Item, Queue};
use crate::bridge::{
    Program,
    child::Child,
    local::Inlet,
    message::{self, Reply, UNREACHED},
};

/// How long a session lives that nobody uses.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);

/// How long a session is left alone at least when others want its place.
const PAUSE_MIN: Duration = Duration::from_secs(60);

/// How often idle sessions are looked for.
const REAP_EVERY: Duration = Duration::from_secs(60);

/// The sessions that are open, by their ids.
pub(super) struct Sessions {
    open: RefCell<HashMap<String, Rc<Session>>>,
    reaping: Cell<bool>,
}

/// A session.
pub(super) struct Session {
    /// Its id, which is the right to use it.
    pub(super) id: String,
    /// What the child says when no request is concerned.
    pub(super) own: Rc<Queue>,
    /// Somebody reads [`Session::own`].
    pub(super) is_followed: Cell<bool>,
    /// Everything goes to [`Session::own`], answers too.
    is_single: bool,
    child: Rc<Child>,
    posts: RefCell<Vec<Post>>,
    used_ms: Cell<u64>,
    is_over: Cell<bool>,
}

/// A request that waits for its answer.
struct Post {
    id: String,
    /// Its raw progress token.
    token: Option<String>,
    queue: Rc<Queue>,
}

/// A place among those who wait; dropped, it is free.
pub(super) struct Place {
    session: Rc<Session>,
    id: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.session.posts.borrow_mut().retain(|post| post.id != self.id);
        self.session.used_ms.set(watch::clock_ms());
    }
}

impl Sessions {
    pub(super) fn new() -> Rc<Sessions> {
        Rc::new(Sessions { open: RefCell::default(), reaping: Cell::new(false) })
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Opens a session: starts its child. With `is_single` everything goes by its own stream.
    ///
    /// # Errors
    ///
    /// A sentence, if the child cannot be started.
    pub(super) fn open(
        self: &Rc<Self>,
        program: &Program,
        is_single: bool,
    ) -> Result<Rc<Session>, String> {
        let (child, inlet) = Child::start(program)?;
        let session = Rc::new(Session {
            id: uuid::Uuid::new_v4().simple().to_string(),
            own: Rc::default(),
            is_followed: Cell::new(false),
            is_single,
            child,
            posts: RefCell::default(),
            used_ms: Cell::new(watch::clock_ms()),
            is_over: Cell::new(false),
        });
        self.open.borrow_mut().insert(session.id.clone(), session.clone());
        task::spawn(follow(self.clone(), session.clone(), inlet));
        if !self.reaping.replace(true) {
            task::spawn(reap(self.clone()));
        }
        Ok(session)
    }

    /// Finds a session, which counts as a use of it.
    pub(super) fn find(&self, id: &[u8]) -> Option<Rc<Session>> {
        let session = self.open.borrow().get(std::str::from_utf8(id).ok()?)?.clone();
        session.used_ms.set(watch::clock_ms());
        Some(session)
    }

    /// Ends a session; its child is stopped in a task of its own.
    pub(super) fn end(&self, session: &Rc<Session>) {
        self.open.borrow_mut().remove(&session.id);
        session.end("the session was ended");
        let child = session.child.clone();
        task::spawn_if_running(async move { child.stop().await });
    }

    /// Ends the session that was not used for the longest time, if nobody waits for anything of it
    /// and a pause went by; true if there was one.
    pub(super) fn end_idle(&self) -> bool {
        let open = self.open.borrow();
        let idle = open.values().filter(|session| session.is_idle(PAUSE_MIN));
        let oldest = idle.min_by_key(|session| session.used_ms.get()).cloned();
        drop(open);
        if let Some(session) = &oldest {
            self.end(session);
        }
        oldest.is_some()
    }

    /// Ends all and waits for their children.
    pub(super) async fn close(&self) {
        let open = std::mem::take(&mut *self.open.borrow_mut());
        let stopping = open.into_values().map(|session| {
            session.end("the bridge stops");
            task::spawn(async move { session.child.stop().await })
        });
        for stopped in stopping.collect::<Vec<_>>() {
            let _ = stopped.join().await;
        }
    }

    /// Ends every stream, so that its connection can close.
    pub(super) fn end_streams(&self) {
        for session in self.open.borrow().values() {
            session.own.close();
        }
    }
}

/// Gives what the child says to who waits for it, to the child's end.
async fn follow(sessions: Rc<Sessions>, session: Rc<Session>, mut inlet: Inlet) {
    while let Some(line) = inlet.next().await {
        match line {
            Ok(line) => session.route(line),
            Err(size) => tracing::warn!(size = size.0, "a message of the server is too long"),
        }
    }
    if !session.is_over.get() {
        tracing::warn!("the server of a session ended");
    }
    sessions.end(&session);
}

/// Ends sessions that nobody uses, until there is none.
async fn reap(sessions: Rc<Sessions>) {
    while sessions.count() > 0 {
        time::sleep(REAP_EVERY).await;
        let open: Vec<_> = sessions.open.borrow().values().cloned().collect();
        for session in open.iter().filter(|session| session.is_idle(IDLE_MAX)) {
            sessions.end(session);
        }
    }
    sessions.reaping.set(false);
}

impl Session {
    fn is_idle(&self, within: Duration) -> bool {
        let idle = watch::clock_ms().saturating_sub(self.used_ms.get());
        !self.is_followed.get()
            && self.posts.borrow().is_empty()
            && Duration::from_millis(idle) > within
    }

    /// Gives a message to the child.
    pub(super) async fn send(&self, message: &[u8]) {
        self.child.outlet.send(message).await;
    }

    /// Gives a request to the child; the queue brings what belongs to it, its answer last.
    ///
    /// # Errors
    ///
    /// A sentence, if its id is in use.
    pub(super) async fn ask(
        self: &Rc<Self>,
        request: &Message<'_>,
    ) -> Result<(Rc<Queue>, Place), String> {
        let id = request.id().unwrap_or_default().to_owned();
        let token = message::progress_token(request);
        let token = token.map(|place| place.of_text(request.text()).to_owned());
        let queue = Rc::<Queue>::default();
        if self.posts.borrow().iter().any(|post| post.id == id) {
            return Err("Another request with this id waits for its answer".to_owned());
        }
        if self.is_over.get() {
            return Err("The session has ended".to_owned());
        }
        self.posts.borrow_mut().push(Post { id: id.clone(), token, queue: queue.clone() });
        let place = Place { session: self.clone(), id };
        self.send(request.text().as_bytes()).await;
        Ok((queue, place))
    }

    fn route(self: &Rc<Self>, message: Vec<u8>) {
        let post = match message::reply(&message) {
            _ if self.is_single => None,
            Reply::To(id) => {
                let mut posts = self.posts.borrow_mut();
                match posts.iter().position(|post| post.id == id) {
                    Some(at) => Some(posts.swap_remove(at).queue),
                    // Nobody waits any more.
                    None => return,
                }
            }
            Reply::ToNobody => return,
            Reply::None => return self.push(message),
        };
        match post {
            Some(queue) => drop(queue.push(Item::Reply(message))),
            None => self.push(message),
        }
    }

    /// Puts a message of the child's own on exactly one stream: that of the request whose progress
    /// it tells, else the session's own, else that of the latest request.
    fn push(&self, message: Vec<u8>) {
        let posts = self.posts.borrow();
        let token = progress_token(&message);
        let by_token = |post: &&Post| token.is_some() && post.token.as_deref() == token;
        let post = posts.iter().find(by_token);
        let post = post.or(if self.is_followed.get() { None } else { posts.last() });
        let queue = post.map_or(&self.own, |post| &post.queue);
        if !queue.push(Item::Message(message)) {
            tracing::warn!("a client does not read; a message to it is dropped");
        }
    }

    /// Tells all who wait that nothing comes any more.
    fn end(&self, text: &str) {
        self.is_over.set(true);
        for post in self.posts.take() {
            post.queue.push(Item::Reply(message::error(Some(&post.id), UNREACHED, text)));
        }
        self.own.close();
    }
}

/// The raw token of a notification of progress.
fn progress_token(message: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(message).ok()?;
    let [method, params] = jsonrpc::pick(text, ["method", "params"]).ok()?;
    let params = params.filter(|_| method.is_some())?.of_text(text);
    let [token] = jsonrpc::pick(params, ["progressToken"]).ok()?;
    token.map(|place| place.of_text(params))
}
