//! The keep-alive connections of one shard to one origin.

use std::{
    cell::{Cell, RefCell},
    fmt,
    net::SocketAddr,
    rc::{Rc, Weak},
    time::Duration,
};

use shards::{
    local::{OwnedTurn, Turns},
    task, time, watch,
};

use super::{Cause, ClientError, Deadline, Origin, Progress, connect};
use crate::{connection::Connection, http1::ResponseHead, tls::Connector};

/// What is kept back of the time for which a server says it keeps an idle connection: it may
/// already count while its answer is on its way.
const SERVER_IDLE_MARGIN: Duration = Duration::from_secs(1);

/// Bounds of a pool.
#[derive(Clone, Debug)]
pub struct PoolLimits {
    /// Most exchanges that run at once, each on a connection of its own.
    pub connection_count_max: usize,
    /// Most exchanges that wait for another to end.
    pub waiting_count_max: usize,
    /// How long an exchange may wait for another to end.
    pub wait_within: Duration,
    /// Most connections that are kept while idle.
    pub idle_count_max: usize,
    /// How long opening a connection may take, all addresses and TLS together.
    pub connect_within: Duration,
    /// How long an idle connection is kept; less if the server says that it closes earlier. A
    /// server that closes just when it is used again costs a call, so it should be below what
    /// servers commonly keep (Node and uvicorn: 5 seconds).
    pub idle_within: Duration,
}

/// The keep-alive connections of one shard to one origin. Clones share them.
#[derive(Clone)]
pub struct Pool(Rc<Shared>);

pub(super) struct Shared {
    origin: Origin,
    connector: Option<Connector>,
    limits: PoolLimits,
    turns: Rc<Turns>,
    /// The last one that was used is last: a few warm ones serve, the others grow old and go.
    #[expect(clippy::vec_box, reason = "a link moves between here and a lease with every call")]
    idle: RefCell<Vec<Box<Link>>>,
    reaping: Cell<bool>,
}

/// A connection with what belongs to it from exchange to exchange.
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) head: ResponseHead,
    /// Exchanges that it has carried.
    pub(super) served_count: u32,
    /// When it is too old to be used again.
    idle_until_ms: u64,
}

/// The right to one exchange, without a connection yet.
pub struct Place {
    pool: Rc<Shared>,
    turn: OwnedTurn,
}

/// A connection that is lent for one exchange. Dropped unused or half used, it is closed.
pub struct Lease {
    pub(super) link: Box<Link>,
    /// Where it goes back to; none for a connection that stands apart.
    home: Option<Place>,
}

impl Pool {
    /// Makes a pool without any connection. `connector` is needed for an origin with TLS.
    pub fn new(origin: Origin, connector: Option<Connector>, limits: PoolLimits) -> Pool {
        let turns = Rc::new(Turns::new(limits.connection_count_max));
        let (idle, reaping) = (RefCell::default(), Cell::new(false));
        Pool(Rc::new(Shared { origin, connector, limits, turns, idle, reaping }))
    }

    /// Returns the origin that it connects to.
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// Returns how many connections are idle.
    pub fn idle_count(&self) -> usize {
        self.0.idle.borrow().len()
    }

    /// Whether any idle connection looks good.
    #[cfg(test)]
    pub(super) fn has_quiet_idle(&self) -> bool {
        self.0.idle.borrow().iter().any(|link| link.connection.watch().is_quiet())
    }

    /// Waits for a turn, at most until `deadline`.
    ///
    /// # Errors
    ///
    /// [`Cause::Full`] if as many wait as may, or no turn came in time: the server is slow, not
    /// gone.
    pub async fn place(&self, deadline: Deadline) -> Result<Place, ClientError> {
        let turns = &self.0.turns;
        let turn = match turns.try_take_owned() {
            Some(turn) => turn,
            None if turns.waiting_count() >= self.0.limits.waiting_count_max => {
                return Err(self.0.full());
            }
            None => {
                time::timeout(deadline.left().min(self.0.limits.wait_within), turns.take_owned())
                    .await
                    .map_err(|_| self.0.full())?
            }
        };
        Ok(Place { pool: self.0.clone(), turn })
    }

    /// Opens a connection that takes no turn and never becomes idle: for streams that stay open.
    ///
    /// # Errors
    ///
    /// [`Cause::Connect`] with what each address answered.
    pub async fn connect_apart(&self, addresses: &[SocketAddr]) -> Result<Lease, ClientError> {
        let link = self.0.open(addresses, self.0.limits.connect_within).await?;
        Ok(Lease { link, home: None })
    }

    /// Closes every idle connection.
    pub fn clear(&self) {
        let idle = std::mem::take(&mut *self.0.idle.borrow_mut());
        drop(idle);
    }
}

impl Shared {
    #[cold]
    fn full(&self) -> ClientError {
        let PoolLimits { connection_count_max, waiting_count_max, .. } = self.limits;
        ClientError::new(Cause::Full { connection_count_max, waiting_count_max }, Progress::Unsent)
    }

    async fn open(
        &self,
        addresses: &[SocketAddr],
        within: Duration,
    ) -> Result<Box<Link>, ClientError> {
        let connector = self.connector.as_ref();
        let opened = connect::open(&self.origin, connector, addresses, within).await;
        match opened {
            Ok(connection) => Ok(Box::new(Link {
                connection,
                head: ResponseHead::default(),
                served_count: 0,
                idle_until_ms: 0,
            })),
            Err(tried) => Err(ClientError::new(Cause::Connect(tried), Progress::Unsent)),
        }
    }

    /// Takes back a connection, and sees to it that it does not stay for ever.
    fn keep(self: &Rc<Self>, mut link: Box<Link>, server_idle: Option<Duration>) {
        let idle_within = match server_idle {
            Some(server) => self.limits.idle_within.min(server.saturating_sub(SERVER_IDLE_MARGIN)),
            None => self.limits.idle_within,
        };
        let is_full = self.idle.borrow().len() >= self.limits.idle_count_max;
        if idle_within.is_zero() || is_full {
            return;
        }
        link.connection.watch().disarm();
        link.served_count = link.served_count.saturating_add(1);
        let now_ms = watch::clock_ms();
        link.idle_until_ms = now_ms.saturating_add(idle_within.as_millis() as u64);
        self.idle.borrow_mut().push(link);
        if !self.reaping.replace(true) {
            task::spawn(reap(Rc::downgrade(self), self.limits.idle_within));
        }
    }

    /// Takes the warmest idle connection that is still good.
    fn take_idle(&self) -> Option<Box<Link>> {
        let now_ms = watch::clock_ms();
        loop {
            let link = self.idle.borrow_mut().pop()?;
            if link.is_usable(now_ms) {
                return Some(link);
            }
        }
    }

    fn drop_old(&self) {
        let now_ms = watch::clock_ms();
        self.idle.borrow_mut().retain(|link| now_ms < link.idle_until_ms);
    }
}

impl Link {
    /// Whether the server most likely still reads from it.
    ///
    /// Asking the kernel costs a system call, and saves the call that would have been written to a
    /// server that had closed: nobody could tell whether it was executed.
    fn is_usable(&self, now_ms: u64) -> bool {
        now_ms < self.idle_until_ms && self.connection.watch().is_quiet()
    }
}

/// Closes what is idle for too long, until nothing is idle or the pool is gone.
async fn reap(pool: Weak<Shared>, every: Duration) {
    loop {
        time::sleep(every).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.drop_old();
        if pool.idle.borrow().is_empty() {
            pool.reaping.set(false);
            return;
        }
    }
}

impl Place {
    /// Takes an idle connection, if one is there that is still good.
    ///
    /// # Errors
    ///
    /// The place itself, to [`Place::connect`] with.
    pub fn idle(self) -> Result<Lease, Place> {
        match self.pool.take_idle() {
            Some(link) => Ok(Lease { link, home: Some(self) }),
            None => Err(self),
        }
    }

    /// Opens a connection to the first of `addresses` that takes it.
    ///
    /// # Errors
    ///
    /// [`Cause::Connect`] with what each address answered.
    pub async fn connect(
        self,
        addresses: &[SocketAddr],
        deadline: Deadline,
    ) -> Result<Lease, ClientError> {
        let within = self.pool.limits.connect_within.min(deadline.left());
        let link = self.pool.open(addresses, within).await?;
        Ok(Lease { link, home: Some(self) })
    }
}

impl Lease {
    /// Whether the connection has carried an exchange before, so that its server may just be
    /// closing it.
    pub fn is_reused(&self) -> bool {
        self.link.served_count > 0
    }

    /// Takes the connection away for good.
    pub(super) fn into_connection(self) -> Connection {
        self.link.connection
    }

    /// Gives the connection back for another exchange. `server_idle` is for how long the server
    /// said it would keep it.
    pub(super) fn give_back(self, server_idle: Option<Duration>) {
        if let Some(Place { pool, turn }) = self.home {
            pool.keep(self.link, server_idle);
            // Only now, so that who waits for the turn finds the connection.
            drop(turn);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("reused", &self.is_reused()).finish_non_exhaustive()
    }
}
