//! Deadlines of connections, swept by one timer per shard instead of one per request.
//!
//! A ring operation in flight must not be dropped, so a deadline never drops a future. It acts on
//! the socket: the read ends as if the peer had closed, and the task sees why. Each connection
//! pays a store per deadline; the sweep pays a few nanoseconds per connection and tick.

use std::{
    cell::{Cell, RefCell},
    os::fd::RawFd,
    rc::{Rc, Weak},
    time::Duration,
};

use monoio::io::{CancelHandle, Canceller};

use crate::{buffer, local::Bell, task, time};

/// How often deadlines are looked at: they fire up to this much late.
pub const TICK: Duration = Duration::from_millis(100);

/// Ticks between two looks at the buffers that nobody wants: a second.
const TICKS_PER_TRIM: u32 = 10;

/// What happens to the connection when its deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The pending read fails with [`CANCELLED`]; the connection stays as it is.
    ReleaseRead,
    /// The receiving side is shut: the pending read returns no bytes, writing still works.
    StopReading,
    /// Both sides are shut: whatever is pending ends at once.
    Abort,
}

/// A marker for the error of a read that [`Action::ReleaseRead`] ended.
pub const CANCELLED: i32 = libc::ECANCELED;

const NEVER: u64 = u64::MAX;

struct State {
    fd: RawFd,
    deadline_ms: Cell<u64>,
    action: Cell<Action>,
    fired: Cell<bool>,
    idle: Cell<bool>,
    peer_watched: Cell<bool>,
    peer_gone: Cell<bool>,
    bell: Bell,
    canceller: RefCell<Option<Canceller>>,
}

/// The deadline of one connection. It ends with the stream that made it.
#[derive(Clone)]
pub struct Watch(Rc<State>);

thread_local! {
    static WATCHED: RefCell<Vec<Weak<State>>> = const { RefCell::new(Vec::new()) };
    static SWEEPING: Cell<bool> = const { Cell::new(false) };
}

impl Watch {
    /// Starts to watch `fd`, which must stay open as long as the watch: [`crate::TcpStream`] holds
    /// both.
    pub(crate) fn new(fd: RawFd) -> Watch {
        let state = Rc::new(State {
            fd,
            deadline_ms: Cell::new(NEVER),
            action: Cell::new(Action::Abort),
            fired: Cell::new(false),
            idle: Cell::new(false),
            peer_watched: Cell::new(false),
            peer_gone: Cell::new(false),
            bell: Bell::default(),
            canceller: RefCell::new(None),
        });
        WATCHED.with(|watched| watched.borrow_mut().push(Rc::downgrade(&state)));
        if !SWEEPING.with(|sweeping| sweeping.replace(true)) {
            time::refresh_coarse();
            task::spawn(sweep_forever());
        }
        Watch(state)
    }

    /// Sets the deadline `after` from now; the former one is forgotten.
    pub fn arm(&self, after: Duration, action: Action) {
        let at = time::coarse_ms().saturating_add(after.as_millis() as u64);
        self.0.deadline_ms.set(at);
        self.0.action.set(action);
        self.0.fired.set(false);
    }

    /// Forgets the deadline.
    pub fn disarm(&self) {
        self.0.deadline_ms.set(NEVER);
    }

    /// Returns true if the last deadline passed before it was forgotten or replaced.
    pub fn fired(&self) -> bool {
        self.0.fired.get()
    }

    /// Marks the connection as waiting for its next request (true) or busy (false); [`stop_idle`]
    /// ends those that wait.
    pub fn set_idle(&self, idle: bool) {
        self.0.idle.set(idle);
    }

    /// Shuts the writing side: the peer reads to the end of what was written, then sees the end.
    pub fn stop_writing(&self) {
        shut(self.0.fd, libc::SHUT_WR);
    }

    /// Returns true if the peer has closed and nothing of it waits to be read. One system call.
    pub fn looks_closed(&self) -> bool {
        peer_closed(self.0.fd)
    }

    /// Returns true if the connection is open and nothing of the peer waits to be read, as it must
    /// be between two exchanges. One system call.
    pub fn is_quiet(&self) -> bool {
        peek(self.0.fd).is_err_and(|error| is_only_empty(&error))
    }

    /// Shuts both sides of the connection now: whatever is pending on it ends.
    pub fn abort(&self) {
        shut(self.0.fd, libc::SHUT_RDWR);
    }

    /// Waits until the peer has closed its side while nothing is read from the connection.
    /// Noticed within a [`TICK`] or two; bytes that wait unread hide it until they are read.
    pub async fn peer_gone(&self) {
        self.0.peer_watched.set(true);
        let _unwatch = Unwatch(&self.0);
        while !self.0.peer_gone.get() {
            self.0.bell.wait().await;
        }
    }

    /// The handle that makes a read endable by [`Action::ReleaseRead`].
    pub(crate) fn cancel_handle(&self) -> CancelHandle {
        self.0.canceller.borrow_mut().get_or_insert_with(Canceller::new).handle()
    }

    /// Frees what only an active connection needs.
    pub(crate) fn rest(&self) {
        self.0.canceller.borrow_mut().take();
    }
}

struct Unwatch<'a>(&'a State);

impl Drop for Unwatch<'_> {
    fn drop(&mut self) {
        self.0.peer_watched.set(false);
    }
}

impl State {
    fn sweep(&self, now_ms: u64) {
        if self.peer_watched.get() && peer_closed(self.fd) {
            self.peer_gone.set(true);
            self.bell.ring();
        }
        if now_ms < self.deadline_ms.get() {
            return;
        }
        self.deadline_ms.set(NEVER);
        self.fired.set(true);
        match self.action.get() {
            Action::ReleaseRead => {
                if let Some(canceller) = self.canceller.borrow_mut().take() {
                    canceller.cancel();
                }
            }
            Action::StopReading => shut(self.fd, libc::SHUT_RD),
            Action::Abort => shut(self.fd, libc::SHUT_RDWR),
        }
    }
}

/// Sweeps every [`TICK`] until nothing is watched any more.
async fn sweep_forever() {
    let mut tick_count = 0_u32;
    loop {
        time::sleep(TICK).await;
        tick_count = tick_count.wrapping_add(1);
        if tick_count.is_multiple_of(TICKS_PER_TRIM) {
            buffer::trim();
        }
        let now_ms = time::refresh_coarse();
        let mut index = 0;
        // An index instead of an iterator: a cancelled read may wake nothing else here, but the
        // list must not stay borrowed while it is acted on.
        while let Some(watched) = WATCHED.with(|watched| watched.borrow().get(index).cloned()) {
            match watched.upgrade() {
                Some(state) => {
                    state.sweep(now_ms);
                    index += 1;
                }
                None => {
                    WATCHED.with(|watched| watched.borrow_mut().swap_remove(index));
                }
            }
        }
        if index == 0 {
            SWEEPING.with(|sweeping| sweeping.set(false));
            return;
        }
    }
}

/// Returns the shard's coarse clock in milliseconds, at most [`TICK`] old also when nothing was
/// watched for a while: deadlines that are reckoned before a connection is opened need that.
pub fn clock_ms() -> u64 {
    if SWEEPING.with(Cell::get) { time::coarse_ms() } else { time::refresh_coarse() }
}

/// Ends every connection of this shard that waits for a request: its pending read sees the end.
pub fn stop_idle() {
    let watched: Vec<_> = WATCHED.with(|watched| watched.borrow().clone());
    for state in watched.iter().filter_map(Weak::upgrade).filter(|state| state.idle.get()) {
        shut(state.fd, libc::SHUT_RD);
    }
}

fn shut(fd: RawFd, how: i32) {
    // SAFETY: shutdown takes no pointers; `fd` is open because the stream that owns it also owns
    // the watch's last strong reference, and the sweep upgrades before it acts.
    unsafe { libc::shutdown(fd, how) };
}

fn peer_closed(fd: RawFd) -> bool {
    match peek(fd) {
        Ok(count) => count == 0,
        Err(error) => !is_only_empty(&error),
    }
}

/// Looks at the next byte that waits in the socket and leaves it there; never waits for one.
fn peek(fd: RawFd) -> std::io::Result<usize> {
    let mut byte = 0_u8;
    // SAFETY: the buffer is one byte long, as said, and lives through the call; the flags make the
    // call return at once and leave what waits in the socket.
    let count =
        unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| std::io::Error::last_os_error())
}

/// Whether a peek failed only because nothing waits on a connection that is open.
fn is_only_empty(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR))
}
