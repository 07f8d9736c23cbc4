//! How often somebody may do something, and how much of it at once.
//!
//! Rates are counted by GCRA (see [`storage::shared::Quota`]): exactly over all nodes through
//! shared state, or by this process alone, which also counts while shared state is away. Nothing is
//! counted, and nothing looked up, for what has no limit.

mod ledger;
mod stand;
mod tier;
mod turns;

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use storage::shared::{Quota, Spent, State};

pub use ledger::Ledger;
pub use stand::Stand;
pub use tier::Tier;
pub use turns::{Turn, Turns};

use crate::failure::Failure;
use crate::settings::{Rate, RateLimits, Scope, Settings};

/// A rate with the name that callers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What it is on, as `caller`.
    pub name: &'static str,
    /// How often.
    pub rate: Rate,
}

impl Limit {
    fn of(name: &'static str, rate: Option<Rate>) -> Option<Limit> {
        rate.map(|rate| Limit { name, rate })
    }

    fn quota(&self) -> Quota {
        let Rate { count, period, burst } = self.rate;
        Quota::new(count, period, count.saturating_add(burst))
    }
}

/// What all shards of a process count in.
#[derive(Clone)]
pub struct Counts {
    ledger: Arc<Ledger>,
    turns: Option<Arc<Turns>>,
    turn_within: Duration,
}

impl Counts {
    /// Counts nothing yet.
    pub fn new(settings: &Settings) -> Counts {
        let count_max = settings.rate_limits.call_count_max;
        Counts {
            ledger: Arc::default(),
            turns: count_max.map(|count_max| Arc::new(Turns::new(count_max))),
            turn_within: settings.upstreams.pool_timeout.min(settings.upstreams.tool_timeout),
        }
    }
}

/// A use of a tool, a resource or a prompt, by what limits may be on.
pub struct Use<'a> {
    /// The caller's address.
    pub caller: &'a str,
    /// The one team that the caller's token acts for.
    pub team_id: Option<&'a str>,
    /// The id of the token.
    pub token_id: Option<&'a str>,
    /// What the record of the token says of its use: JSON text of an object.
    pub usage_limits: Option<&'a str>,
    /// The tool.
    pub tool_id: Option<&'a str>,
    /// The virtual server; empty for none.
    pub server_id: &'a str,
}

/// The limits of a shard.
pub struct Throttle {
    tiers: tier::Limits,
    by_caller: Option<Limit>,
    by_team: Option<Limit>,
    by_token: Option<Limit>,
    by_tool: Option<Limit>,
    by_server: Option<Limit>,
    limits_uses: bool,
    counts: Counts,
    state: Option<State>,
    is_state_away: Cell<bool>,
    fallback_count: Cell<u64>,
}

impl Throttle {
    /// As the settings have it; `state` is what nodes share, if they do.
    pub fn new(limits: &RateLimits, counts: Counts, state: Option<State>) -> Throttle {
        let chosen = |name, rate| Limit::of(name, rate).filter(|_| limits.enabled);
        let by_caller = chosen("caller", limits.by_caller);
        let by_team = chosen("team", limits.by_team);
        let by_token = chosen("token", limits.by_token);
        let by_tool = chosen("tool", limits.by_tool);
        let by_server = chosen("server", limits.by_server);
        let all = [by_caller, by_team, by_token, by_tool, by_server];
        Throttle {
            tiers: tier::Limits::new(limits),
            by_caller,
            by_team,
            by_token,
            by_tool,
            by_server,
            limits_uses: all.iter().any(Option::is_some) || counts.turns.is_some(),
            counts,
            state: state.filter(|_| limits.scope == Scope::Shared),
            is_state_away: Cell::new(false),
            fallback_count: Cell::new(0),
        }
    }

    /// Whether uses are limited by a setting: nothing of [`Throttle::admit`] and
    /// [`Throttle::turn`] needs to be asked without, but for tokens with limits of their own.
    pub fn limits_uses(&self) -> bool {
        self.limits_uses
    }

    /// The limit on requests of a kind.
    pub fn tier(&self, tier: Tier) -> Option<&Limit> {
        self.tiers.of(tier)
    }

    /// Counts a request of a kind against its caller, or against the address of who has not said who
    /// they are.
    ///
    /// # Errors
    ///
    /// [`Failure::Limited`] if there were too many.
    pub async fn request(
        &self,
        limit: &Limit,
        caller: Option<&str>,
        address: IpAddr,
    ) -> Result<Stand, Failure> {
        match caller {
            Some(caller) => self.spend(limit, "caller", caller).await,
            None => self.spend(limit, "address", &network(address)).await,
        }
    }

    /// Counts a use against every limit that there is on it.
    ///
    /// # Errors
    ///
    /// [`Failure::Limited`] by the first that is reached.
    pub async fn admit(&self, used: &Use<'_>) -> Result<(), Failure> {
        let server_id = Some(used.server_id).filter(|id| !id.is_empty());
        let limited = [
            (&self.by_caller, Some(used.caller)),
            (&self.by_token, used.token_id),
            (&self.by_team, used.team_id),
            (&self.by_server, server_id),
            (&self.by_tool, used.tool_id),
        ];
        for (limit, who) in limited {
            if let (Some(limit), Some(who)) = (limit, who) {
                self.spend(limit, limit.name, who).await?;
            }
        }
        if let (Some(text), Some(token_id)) = (used.usage_limits, used.token_id) {
            for limit in tier::of_token(text) {
                self.spend(&limit, limit.name, token_id).await?;
            }
        }
        Ok(())
    }

    /// Waits for a turn to call a tool; `None` if calls are not limited.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if none came in time.
    pub async fn turn(&self, tool_id: &str) -> Result<Option<Turn>, Failure> {
        let Counts { turns, turn_within, .. } = &self.counts;
        match turns {
            Some(turns) => Turns::take(turns, tool_id, *turn_within).await.map(Some),
            None => Ok(None),
        }
    }

    /// How often this shard counted alone because shared state was away.
    pub fn fallback_count(&self) -> u64 {
        self.fallback_count.get()
    }

    async fn spend(&self, limit: &Limit, kind: &str, who: &str) -> Result<Stand, Failure> {
        let key = ledger::key(limit.name, kind, who);
        let spent = self.spent(&key, limit.quota()).await;
        let stand = Stand { limit: *limit, spent };
        if stand.spent.is_allowed { Ok(stand) } else { Err(stand.refusal()) }
    }

    async fn spent(&self, key: &str, quota: Quota) -> Spent {
        if let Some(state) = &self.state {
            match state.spend(key, quota).await {
                Ok(spent) => {
                    self.is_state_away.set(false);
                    return spent;
                }
                Err(error) => self.note_fallback(&error),
            }
        }
        self.counts.ledger.spend(key, quota, storage::record::now())
    }

    /// Says once that shared state is away.
    fn note_fallback(&self, error: &storage::shared::StateError) {
        self.fallback_count.set(self.fallback_count.get() + 1);
        if !self.is_state_away.replace(true) {
            tracing::warn!(%error, "rates are counted by this process alone for now");
        }
    }
}

/// What stands for an address: whoever has an IPv6 address has its network of 64 bits.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [one, two, three, four, ..] = address.segments();
            format!("{one:x}:{two:x}:{three:x}:{four:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests;
