//! The connections of one shard: lent to one request at a time, in the order they come.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select;
use shards::local::{OwnedTurn, Turns};
use shards::{task, time};

use super::connect::{self, Link};
use super::hub::{Counted, Hub};
use super::session::Session;
use crate::error::StoreError;

/// An idle connection is asked for a sign of life before it is lent after this long: something
/// between may have forgotten it without telling.
const IDLE_TRUSTED: Duration = Duration::from_secs(15);

thread_local! {
    static POOLS: RefCell<HashMap<u64, Rc<Pool>>> = RefCell::default();
}

/// The connections of one shard to one store's database.
struct Pool {
    generation: u64,
    turns: Rc<Turns>,
    idle: RefCell<Vec<Link>>,
}

/// Runs `work` on a connection of this shard.
pub(super) async fn serve<T>(
    hub: &Arc<Hub>,
    work: impl AsyncFnOnce(&Session) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let pool = of(hub);
    let _turn = pool.turn(hub).await?;
    let link = pool.link(hub).await?;
    let _used = Counted::new(&hub.figures.in_use);
    let outcome = work(&link.session).await;
    link.session.tidy().await;
    if matches!(outcome, Err(StoreError::TimedOut { .. } | StoreError::Uncertain { .. }))
        && link.session.is_spoilt()
    {
        // The server stands still: the other connections would each cost their caller as long.
        pool.idle.borrow_mut().clear();
    }
    pool.take_back(hub, link);
    outcome
}

/// This shard's pool; made on first use, and gone when the store is closed.
fn of(hub: &Arc<Hub>) -> Rc<Pool> {
    let generation = task::generation();
    let found = POOLS.with(|pools| pools.borrow().get(&hub.id).cloned());
    if let Some(pool) = found.filter(|pool| pool.generation == generation) {
        return pool;
    }
    let turns = Rc::new(Turns::new(hub.bounds.connection_count_max));
    let pool = Rc::new(Pool { generation, turns, idle: RefCell::default() });
    let former = POOLS.with(|pools| pools.borrow_mut().insert(hub.id, pool.clone()));
    drop(former);
    let (closing, id) = (hub.closing(), hub.id);
    task::spawn(async move {
        // Whether by an answer or by the end of the channel, the store is closed; or the shard is.
        let _ = select(closing, pin!(task::ending())).await;
        let gone = POOLS.with(|pools| pools.borrow_mut().remove(&id));
        drop(gone);
    });
    pool
}

impl Pool {
    /// Waits for the right to use a connection.
    async fn turn(&self, hub: &Hub) -> Result<OwnedTurn, StoreError> {
        if let Some(turn) = self.turns.try_take_owned() {
            return Ok(turn);
        }
        if self.turns.waiting_count() >= hub.bounds.waiting_count_max {
            return Err(StoreError::Busy { queue_count_max: hub.bounds.waiting_count_max });
        }
        let _waiting = Counted::new(&hub.figures.waiting);
        let within = hub.bounds.pool_timeout;
        let turn = time::timeout(within, self.turns.take_owned()).await;
        turn.map_err(|_| StoreError::Exhausted {
            connection_count_max: hub.bounds.connection_count_max,
            waited: within,
        })
    }

    /// The connection that was used last, or a new one.
    async fn link(&self, hub: &Arc<Hub>) -> Result<Link, StoreError> {
        while let Some(link) = self.pop() {
            if is_sound(hub, &link).await {
                return Ok(link);
            }
        }
        Ok(connect::open(hub, None).await?)
    }

    fn pop(&self) -> Option<Link> {
        self.idle.borrow_mut().pop()
    }

    fn take_back(&self, hub: &Hub, mut link: Link) {
        let is_kept = !link.session.is_spoilt()
            && link.opened.elapsed() < hub.bounds.pool_recycle
            && self.idle.borrow().len() < hub.bounds.kept_count;
        if is_kept {
            link.used = time::Instant::now();
            self.idle.borrow_mut().push(link);
        }
    }
}

/// Whether a connection that was idle may be lent.
async fn is_sound(hub: &Hub, link: &Link) -> bool {
    if link.is_ended() || link.session.is_spoilt() {
        return false;
    }
    if link.opened.elapsed() >= hub.bounds.pool_recycle {
        return false;
    }
    link.used.elapsed() < IDLE_TRUSTED || link.session.answers().await
}
