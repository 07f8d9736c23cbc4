//! Health checks: whether an upstream that is thought to answer still does, and whether one that
//! did not does again.
//!
//! A check asks the cheapest thing that proves life, on the way that calls take too: `ping` in the
//! legacy era, `server/discover` in the modern one. It never starts a child process; only the
//! attempt to bring back an upstream that is away does.

use std::{sync::Arc, time::Duration};

use shards::time::Instant;
use storage::record::Era;

use super::{Leg, Upstreams, era_of};
use crate::{
    catalog::{Upstream, inventory::Inventory},
    failure::{Failure, UpstreamFailure, UpstreamKind},
    upstream::{
        Outgoing,
        discover::{self, DiscoverLimits},
        eras,
        stdio::{self, Pulse, StdioMail},
    },
};

/// What a check found.
#[derive(Debug)]
pub enum Health {
    /// It answers.
    Alive,
    /// It answers, and otherwise than it was found before: read it again.
    Changed,
    /// It does not answer as it should.
    Failed(Failure),
    /// Its child process ended this many times in a row and does not run.
    Died {
        /// How many times.
        count: u32,
        /// How it ended last.
        failure: Failure,
    },
    /// Nothing can be said: its child does not run since nobody asked for it, or we are busy.
    Unknown,
}

impl Upstreams {
    /// Asks an upstream for a sign of life, for at most `within`.
    pub async fn check(&self, upstream: &Arc<Upstream>, within: Duration) -> Health {
        let began = Instant::now();
        let era = era_of(upstream);
        let (method, params): (_, &[u8]) = match era {
            Era::Legacy => ("ping", b"{}"),
            Era::Modern => ("server/discover", b"{}"),
        };
        let outgoing = discover::plain(method, params, within);
        let failure = match self.leg(upstream) {
            Ok(Leg::Stdio(leg)) => return judge_pulse(leg.check(&outgoing).await),
            Ok(leg) => match ask(&leg, &outgoing).await {
                Ok(()) => return Health::Alive,
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        let is_misunderstood =
            matches!(&failure, Failure::Upstream(failure) if eras::is_misunderstood(failure));
        if !is_misunderstood {
            return judge(failure);
        }
        // It answered, if not that question: some servers know only what the handshake needs.
        let left = within.saturating_sub(began.elapsed());
        match self.greet(upstream, left).await {
            Ok(greeted) => {
                greeted.leg.close().await;
                if greeted.handshake.era == era { Health::Alive } else { Health::Changed }
            }
            Err(failure) => judge(failure),
        }
    }

    /// Asks an upstream that was away what it is and what it offers now. It has `within` to answer
    /// the handshake; then its lists are read, within the time of one usual request in all. Its
    /// child is started if it does not run.
    ///
    /// # Errors
    ///
    /// An upstream failure: it is away still.
    pub async fn revive(
        &self,
        upstream: &Arc<Upstream>,
        within: Duration,
    ) -> Result<Inventory, Failure> {
        let greeted = self.greet(upstream, within).await?;
        let limits = DiscoverLimits { whole_within: self.discovery.within, ..self.discovery };
        let outcome = discover::discover(&greeted, &upstream.record.name, &limits).await;
        greeted.leg.close().await;
        outcome
    }

    /// Ends the child of an upstream that runs and does not answer: the next to ask starts another.
    pub fn retire_child(&self, upstream: &Upstream) {
        let upstream_id = upstream.record.id.clone();
        let owner = stdio::owner(&upstream_id, self.couriers.len());
        // A mailbox that is full loses nothing but this attempt; the next check is another.
        let _ = self.couriers[owner].post(StdioMail::Retire { upstream_id, done: None });
    }
}

/// Asks, and takes every answer for a sign of life: also the error that the method is unknown.
async fn ask(leg: &Leg, outgoing: &Outgoing<'_>) -> Result<(), Failure> {
    match leg.request(outgoing).await {
        Ok(_) | Err(Failure::Protocol(_)) => Ok(()),
        Err(failure) => Err(failure),
    }
}

fn judge(failure: Failure) -> Health {
    match failure {
        // As many calls as may run already: that says nothing of its health.
        Failure::Upstream(UpstreamFailure { kind: UpstreamKind::Full, .. }) => Health::Unknown,
        failure @ Failure::Upstream(_) => Health::Failed(failure),
        other => {
            tracing::error!(%other, "a health check failed in a way that none should");
            Health::Unknown
        }
    }
}

fn judge_pulse(pulse: Pulse) -> Health {
    match pulse {
        Pulse::Answered => Health::Alive,
        Pulse::Asleep => Health::Unknown,
        Pulse::Silent(failure) => judge(failure),
        Pulse::Died { count, failure } => {
            Health::Died { count, failure: Failure::Upstream(failure) }
        }
    }
}

#[cfg(test)]
mod tests;
