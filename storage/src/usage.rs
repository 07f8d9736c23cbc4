//! What is counted of API tokens: how often each was used on a day, for what, and how that ended.
//!
//! It is handed over with the metrics of entities, in the same batches.

use std::borrow::Cow;

use crate::metrics::sql::Step;
use crate::table::Value;

/// How many days are remembered: a year, for whoever looks which tokens nobody needs.
pub const DAYS_MAX: i64 = 366;

/// A day, in microseconds.
const DAY_US: i64 = 86_400 * 1_000_000;

/// How a token was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many requests it was shown with.
    pub requests: i64,
    /// How many of these were answered with 400 or more.
    pub failures: i64,
    /// How many of these because the token might not (401, 403, 429).
    pub refusals: i64,
    /// How long the answers took together, in microseconds.
    pub total_us: i64,
    /// When the last was answered, in microseconds since the epoch; 0 without any.
    pub last_at: i64,
}

/// How a token was used on a day, for one part of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageDelta {
    /// The id of the token's record.
    pub token_id: String,
    /// Days since the epoch.
    pub day: i64,
    /// The part of the API, as `/tools`.
    pub endpoint: String,
    /// What was counted.
    pub usage: Usage,
}

impl Usage {
    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Usage) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.refusals += other.refusals;
        self.total_us = self.total_us.saturating_add(other.total_us);
        self.last_at = self.last_at.max(other.last_at);
    }
}

/// The day of a time in microseconds since the epoch.
pub fn day_of(at: i64) -> i64 {
    at.div_euclid(DAY_US)
}

/// The columns of the counts.
pub(crate) const COLUMNS: &str = "requests, failures, refusals, total_us, last_at";

/// Adds the row that is inserted to the one that is there.
pub(crate) const ADD: &str = "ON CONFLICT (token_id, day, endpoint) DO UPDATE SET
         requests = token_usage.requests + excluded.requests,
         failures = token_usage.failures + excluded.failures,
         refusals = token_usage.refusals + excluded.refusals,
         total_us = token_usage.total_us + excluded.total_us,
         last_at = CASE WHEN excluded.last_at > token_usage.last_at
             THEN excluded.last_at ELSE token_usage.last_at END";

/// How the token `$1` was used since the day `$2`, by part of the API.
pub(crate) const READ: &str = "SELECT endpoint, CAST(SUM(requests) AS BIGINT),
         CAST(SUM(failures) AS BIGINT), CAST(SUM(refusals) AS BIGINT),
         CAST(SUM(total_us) AS BIGINT), MAX(last_at)
     FROM token_usage WHERE token_id = $1 AND day >= $2 GROUP BY endpoint";

/// Deletes what is too old at `now`, and what is of tokens that are gone.
pub(crate) fn sweep(now: i64) -> Step {
    let oldest = day_of(now).saturating_sub(DAYS_MAX);
    Step {
        sql: Cow::Borrowed(
            "DELETE FROM token_usage
             WHERE day < $1 OR token_id NOT IN (SELECT id FROM api_tokens)",
        ),
        params: vec![Value::Integer(oldest)],
    }
}
