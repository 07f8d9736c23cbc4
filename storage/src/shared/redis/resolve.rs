//! Finding the addresses of a host, off the shard, without using up the threads that block.
//!
//! When the name service hangs, a resolution goes on in its thread long after its waiter has given
//! up, and every shard tries again and again. So only a few may be under way at once.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use shards::{blocking, time};

use crate::shared::location::Host;

/// Resolutions that may be under way in the process: half the threads of the blocking pool, whose
/// other half is for upstreams and files.
const RESOLVING_COUNT_MAX: usize = 2;

/// How often a shard looks whether it is its turn; a name takes a few milliseconds.
const TURN_PAUSE: Duration = Duration::from_millis(2);

static RESOLVING: Turns = Turns(AtomicUsize::new(0));

/// Returns the addresses of `host`: at once if it is an address itself.
///
/// # Errors
///
/// What the name service answered, or that it did not within `within`.
pub(super) async fn resolve(host: &Host, within: Duration) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = host.name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, host.port)]);
    }
    let pair = (host.name.clone(), host.port);
    let find = async {
        let turn = take_turn().await;
        blocking::run(move || {
            let _turn = turn;
            pair.to_socket_addrs().map(Iterator::collect::<Vec<_>>)
        })
        .await
    };
    match time::timeout(within, find).await {
        Err(_) => Err(format!("the name was not resolved within {within:?}")),
        Ok(Err(refused)) => Err(refused.to_string()),
        Ok(Ok(Err(error))) => Err(error.to_string()),
        Ok(Ok(Ok(addresses))) if addresses.is_empty() => Err("has no address".to_owned()),
        Ok(Ok(Ok(addresses))) => Ok(addresses),
    }
}

async fn take_turn() -> Turn {
    loop {
        if let Some(turn) = RESOLVING.try_take() {
            return turn;
        }
        time::sleep(TURN_PAUSE).await;
    }
}

struct Turns(AtomicUsize);

/// The right to resolve, given back when it is dropped, on whichever thread.
struct Turn(&'static Turns);

impl Turns {
    fn try_take(&'static self) -> Option<Turn> {
        let take = |count| (count < RESOLVING_COUNT_MAX).then_some(count + 1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.ok().map(|_| Turn(self))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_ends_on_another_thread_is_free_again() {
        static TURNS: Turns = Turns(AtomicUsize::new(0));
        let mut held: Vec<Turn> = std::iter::from_fn(|| TURNS.try_take()).collect();
        assert_eq!(held.len(), RESOLVING_COUNT_MAX);
        let turn = held.pop();
        std::thread::spawn(move || drop(turn)).join().unwrap();
        assert!(TURNS.try_take().is_some());
    }
}
