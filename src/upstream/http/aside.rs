//! What a legacy upstream says while it works on a request, but by the stream of its session that
//! belongs to none: some ask there only, and log there (2025-11-25, Transports, Listening for Messages
//! from the Server).
//!
//! The stream is opened before a call whose client can be asked something, or named a level of log
//! messages, and closed when there was none for a while. Whose it is what comes by it is found as on a
//! connection that many requests share.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use net::client::{Deadline, Streaming};
use shards::{local::Gate, task, time};

use super::{
    Session, Shared,
    answer::Message,
    listen::STEADY,
    stream::{Mark, RESUME_COUNT_MAX, decode_marking},
};
use crate::{
    failure::{Failure, UpstreamFailure, UpstreamKind},
    observe::held::Kind,
    upstream::{
        keyed::SessionKey,
        waiters::Waiters,
        watch::{AGES, First, Pace, first_of},
    },
};

/// How long a call waits for the stream to open; many servers send nothing before they have something
/// to say.
const WAIT: Duration = Duration::from_secs(1);

/// How long the stream is kept open without a call.
const LINGER: Duration = Duration::from_secs(30);

/// The stream of a session that belongs to no request.
pub(super) struct Aside {
    /// The calls that run meanwhile.
    pub(super) waiters: Waiters,
    stream: RefCell<Way>,
    /// Calls so far.
    call_count: Cell<u64>,
    /// Opened when the session is not used any more.
    over: Gate,
}

enum Way {
    Shut,
    /// The gate opens once the attempt is over.
    Opening(Rc<Gate>),
    Open,
    /// The upstream has none.
    None,
}

impl Aside {
    /// That of a new session with these clients.
    pub(super) fn new(key: &SessionKey) -> Rc<Aside> {
        Rc::new(Aside {
            waiters: Waiters::new(key.clone()),
            stream: RefCell::new(Way::Shut),
            call_count: Cell::new(0),
            over: Gate::default(),
        })
    }

    /// Lets go of the stream.
    pub(super) fn end(&self) {
        if task::is_running() {
            self.over.open();
        }
    }

    fn set(&self, way: Way) {
        *self.stream.borrow_mut() = way;
    }

    /// Waits until there was no call for a while.
    async fn unused(&self) {
        loop {
            let before = self.call_count.get();
            time::sleep(LINGER).await;
            if self.waiters.count() == 0 && self.call_count.get() == before {
                return;
            }
        }
    }
}

impl Shared {
    /// Has the stream open before a call, if there is one: what was said before is lost.
    pub(super) async fn listen_aside(self: &Rc<Self>, session: &Rc<Session>) {
        let aside = &session.aside;
        aside.call_count.set(aside.call_count.get() + 1);
        let opening = match &*aside.stream.borrow() {
            Way::Open | Way::None => return,
            Way::Opening(opening) => Some(opening.clone()),
            Way::Shut => None,
        };
        let opening = opening.unwrap_or_else(|| self.open_aside(session));
        if time::timeout(WAIT, opening.passed()).await.is_err() {
            // No other call waits; whatever comes of it does not depend on that.
            aside.set(Way::Open);
        }
    }

    /// Opens the stream in a task of its own, and listens to it there.
    fn open_aside(self: &Rc<Self>, session: &Rc<Session>) -> Rc<Gate> {
        let opened = Rc::<Gate>::default();
        let aside = session.aside.clone();
        aside.set(Way::Opening(opened.clone()));
        // Neither the leg nor its session lives longer for it.
        let source = Source { shared: Rc::downgrade(self), session: Rc::downgrade(session) };
        let tell = opened.clone();
        task::spawn(async move {
            let listening = Box::pin(source.listen(&aside, &tell));
            let ended = aside.over.unless(first_of(listening, aside.unused())).await;
            let has_none = matches!(ended, Some(First::One(Gone::Never)));
            aside.set(if has_none { Way::None } else { Way::Shut });
            tell.open();
        });
        opened
    }
}

/// How a stream went.
enum Gone {
    /// There is none.
    Never,
    /// It may be there later.
    ForNow,
}

/// Where the stream comes from.
struct Source {
    shared: Weak<Shared>,
    session: Weak<Session>,
}

impl Source {
    fn upgrade(&self) -> Option<(Rc<Shared>, Rc<Session>)> {
        Some((self.shared.upgrade()?, self.session.upgrade()?))
    }

    /// Listens until it is over, going on behind the last event when it breaks off.
    async fn listen(&self, aside: &Aside, opened: &Gate) -> Gone {
        let (mut mark, mut count) = (Mark::default(), 0);
        loop {
            let Some((shared, session)) = self.upgrade() else { return Gone::ForNow };
            // Some begin to answer when they have something to say.
            let followed = shared.follow(&session, &mark.id, Deadline::after(AGES)).await;
            drop((shared, session));
            let streaming = match followed {
                Ok(streaming) => streaming,
                Err(failure) if is_answer(&failure) => return Gone::Never,
                Err(_) => return Gone::ForNow,
            };
            aside.set(Way::Open);
            opened.open();
            let began = Instant::now();
            self.read(streaming, &mut mark).await;
            count = if began.elapsed() >= STEADY { 0 } else { count + 1 };
            if count > RESUME_COUNT_MAX {
                return Gone::ForNow;
            }
            time::sleep(mark.pause(count)).await;
        }
    }

    async fn read(&self, mut streaming: Streaming, mark: &mut Mark) {
        let _hold = Kind::UpstreamStream.hold();
        let Some(mut decoder) = self.shared.upgrade().map(|shared| shared.decoder()) else {
            return;
        };
        let (mut arrived, mut pace) = (VecDeque::new(), Pace::new());
        streaming.unbound();
        loop {
            let mut is_wrong = false;
            let more = streaming.next(|bytes| {
                is_wrong = decode_marking(&mut decoder, bytes, &mut arrived, mark).is_err();
            });
            let more = more.await;
            let Some((shared, session)) = self.upgrade() else { return };
            let count = arrived.len();
            arrived.drain(..).for_each(|message| take(&shared, &session, message));
            drop((shared, session));
            if is_wrong || !matches!(more, Ok(true)) {
                return;
            }
            pace.note(count).await;
        }
    }
}

fn take(shared: &Rc<Shared>, session: &Rc<Session>, message: Vec<u8>) {
    match shared.wire.message(&message) {
        Ok(Message::Request { id, method, params }) => {
            let (poster, within) = (shared.clone(), session.clone());
            let reply = move |message| poster.run_errand(&within, message);
            session.aside.waiters.ask(&id, method, params.as_deref(), reply);
        }
        Ok(Message::Notification) => session.aside.waiters.notify(message),
        // Answers come where they were asked for.
        Ok(Message::Reply { .. }) => {}
        Err(failure) => tracing::debug!(%failure, "a message of an upstream is dropped"),
    }
}

/// Whether the upstream answered, so that it answers no other way the next time.
fn is_answer(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Upstream(UpstreamFailure {
            kind: UpstreamKind::Status(_) | UpstreamKind::Nonsense,
            ..
        })
    )
}
