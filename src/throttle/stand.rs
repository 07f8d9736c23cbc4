//! How a caller stands with a limit, and how it is told: the fields `RateLimit` and
//! `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers) and `Retry-After`.

use std::time::Duration;

use storage::shared::Spent;

use super::Limit;
use crate::failure::{Failure, Limited};

/// How somebody stands with a limit after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// The limit.
    pub limit: Limit,
    /// What became of the request.
    pub spent: Spent,
}

impl Stand {
    /// The fields of the head that tell it.
    pub fn fields(&self) -> [(&'static str, String); 2] {
        let Limit { name, rate } = self.limit;
        let quota = rate.count.saturating_add(rate.burst);
        let window = seconds(rate.period).max(1);
        let (remaining, reset) = (self.spent.remaining, seconds(self.spent.reset_after));
        [
            ("ratelimit-policy", format!("\"{name}\";q={quota};w={window}")),
            ("ratelimit", format!("\"{name}\";r={remaining};t={reset}")),
        ]
    }

    /// The answer to a request that was too much.
    pub fn refusal(&self) -> Failure {
        let Limit { name, rate } = self.limit;
        let retry_after_s = seconds(self.spent.retry_after).max(1);
        Failure::Limited(Box::new(Limited {
            text: format!(
                "Rate limit exceeded: {rate} for each {name}; retry in {retry_after_s} s"
            ),
            retry_after_s,
            fields: self.fields(),
        }))
    }
}

/// Whole seconds, begun ones among them.
fn seconds(span: Duration) -> u64 {
    span.as_micros().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Rate;

    #[test]
    fn tells_the_limit_and_what_is_left_of_it() {
        let rate = Rate { count: 100, period: Duration::from_secs(60), burst: 20 };
        let limit = Limit { name: "caller", rate };
        let (_, spent) = limit.quota().spend(None, 0);
        let [policy, stand] = Stand { limit, spent }.fields();
        assert_eq!(policy, ("ratelimit-policy", "\"caller\";q=120;w=60".to_owned()));
        assert_eq!(stand, ("ratelimit", "\"caller\";r=119;t=1".to_owned()));
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let rate = Rate { count: 1, period: Duration::from_secs(60), burst: 0 };
        let limit = Limit { name: "tool", rate };
        let (due, _) = limit.quota().spend(None, 0);
        let (_, spent) = limit.quota().spend(Some(due), 1_500_000);
        let failure = Stand { limit, spent }.refusal();
        assert_eq!(failure.status(), 429);
        let said = "Rate limit exceeded: 1 per minute for each tool; retry in 59 s";
        assert_eq!(failure.to_string(), said);
    }
}
