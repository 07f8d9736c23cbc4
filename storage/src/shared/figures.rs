//! What shared state did so far, counted for the metrics endpoint.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters that all shards of a process add to.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub commands: Count,
    pub errors: Count,
    pub timeouts: Count,
    pub refused_busy: Count,
    pub refused_away: Count,
    pub connects: Count,
    pub connect_failures: Count,
    pub disconnects: Count,
    pub published: Count,
    pub delivered: Count,
    pub lost: Count,
    pub in_flight: Count,
    pub links: Count,
    pub links_up: Count,
}

/// A number that many threads change.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub fn remove(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The figures of shared state at one moment, over all shards of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Commands that were sent to Redis, or done in memory.
    pub command_count: u64,
    /// Of those: ended in an error other than a timeout.
    pub error_count: u64,
    /// Of those: not answered in time.
    pub timeout_count: u64,
    /// Commands that were not sent since too many were in flight.
    pub busy_count: u64,
    /// Commands that were not sent since the breaker was open.
    pub away_count: u64,
    /// Connections that were made, first ones and replacements.
    pub connect_count: u64,
    /// Attempts to connect that failed.
    pub connect_failure_count: u64,
    /// Connections that were lost or given up.
    pub disconnect_count: u64,
    /// Messages that were published.
    pub published_count: u64,
    /// Messages that were put into the queue of a subscriber.
    pub delivered_count: u64,
    /// Times that a subscriber was told to check everything again.
    pub lost_count: u64,
    /// Commands in flight now: the length of the queue.
    pub in_flight_count: u64,
    /// Links to Redis now, one for each shard (and one for the cluster client).
    pub link_count: u64,
    /// Of those: up. The others have their breaker open.
    pub link_up_count: u64,
}

impl Counters {
    /// Reads all counters.
    pub fn read(&self) -> Figures {
        Figures {
            command_count: self.commands.get(),
            error_count: self.errors.get(),
            timeout_count: self.timeouts.get(),
            busy_count: self.refused_busy.get(),
            away_count: self.refused_away.get(),
            connect_count: self.connects.get(),
            connect_failure_count: self.connect_failures.get(),
            disconnect_count: self.disconnects.get(),
            published_count: self.published.get(),
            delivered_count: self.delivered.get(),
            lost_count: self.lost.get(),
            in_flight_count: self.in_flight.get(),
            link_count: self.links.get(),
            link_up_count: self.links_up.get(),
        }
    }
}
