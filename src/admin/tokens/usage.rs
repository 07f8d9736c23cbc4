//! How API tokens are used.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;
use storage::record::now;
use storage::usage::{DAYS_MAX, Usage, day_of};

use super::{Ask, Backend, RestAnswer, answer, find};
use crate::admin::query::Query;
use crate::failure::Failure;

/// How many days of usage are shown unless the request says otherwise.
const USAGE_DAYS: usize = 30;

/// How many parts of the API are shown that a token was used for most.
const TOP_COUNT: usize = 5;

/// How a token was used, in the contract's shape.
#[derive(Serialize, JsonSchema)]
pub struct UsageRead {
    /// Of how many days this tells, today besides.
    period_days: i64,
    total_requests: i64,
    /// Those that were answered below 400.
    successful_requests: i64,
    /// Those that the token might not: 401, 403 and 429.
    blocked_requests: i64,
    /// From 0 to 1.
    success_rate: f64,
    average_response_time_ms: f64,
    /// The parts of the API that it was used for most, each with how often.
    top_endpoints: Vec<(String, i64)>,
}

impl UsageRead {
    fn of(period_days: i64, used: HashMap<String, Usage>) -> UsageRead {
        let mut all = Usage::default();
        used.values().for_each(|usage| all.merge(usage));
        let successes = all.requests - all.failures;
        let share = |part: f64| if all.requests == 0 { 0.0 } else { part / all.requests as f64 };
        let mut top: Vec<_> =
            used.into_iter().map(|(endpoint, usage)| (endpoint, usage.requests)).collect();
        top.sort_by(|(a, most), (b, least)| least.cmp(most).then_with(|| a.cmp(b)));
        top.truncate(TOP_COUNT);
        UsageRead {
            period_days,
            total_requests: all.requests,
            successful_requests: successes,
            blocked_requests: all.refusals,
            success_rate: share(successes as f64),
            // To the hundredth, as the contract has it.
            average_response_time_ms: (share(all.total_us as f64) / 10.0).round() / 100.0,
            top_endpoints: top,
        }
    }
}

/// `GET /tokens/{id}/usage?days=`.
pub async fn usage<B: Backend>(ask: &Ask<'_, B>, id: &str) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let days = query.count("days").unwrap_or(USAGE_DAYS);
    let days = i64::try_from(days).ok().filter(|days| (1..=DAYS_MAX).contains(days));
    if days.is_none() {
        query.error("days", format!("Input should be from 1 to {DAYS_MAX}"));
    }
    query.finish()?;
    let days = days.unwrap_or(DAYS_MAX);
    let token = find(ask, id)?;
    let used = ask.backend.token_usage(token.id.clone(), day_of(now()) - days).await?;
    Ok(answer::ok(&UsageRead::of(days, used)))
}

/// When tokens were last used. While that cannot be read nobody is told: what the tokens are is
/// known all the same.
pub async fn last_uses<B: Backend>(ask: &Ask<'_, B>, ids: Vec<String>) -> HashMap<String, i64> {
    ask.backend.token_last_uses(ids).await.unwrap_or_else(|failure| {
        tracing::debug!(%failure, "it cannot be read when tokens were used");
        HashMap::new()
    })
}
