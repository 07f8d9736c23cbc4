//! The kinds of requests that are limited as such, as ContextForge sorts them, and the limits that
//! a token has of its own.

use std::time::Duration;

use serde::Deserialize;

use super::Limit;
use crate::settings::{Rate, RateLimits};

/// A kind of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Logging in, registering, resetting a password.
    Critical,
    /// Tokens, OAuth and roles.
    High,
    /// MCP, and what it is about.
    Medium,
    /// Everything else.
    Low,
}

impl Tier {
    /// The kind of a path of the REST API, with or without `/v1`; `None` for what is never limited:
    /// signs of life.
    pub fn of_path(path: &str) -> Option<Tier> {
        let path = path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let mut parts = path.trim_start_matches('/').split('/');
        let first = parts.next().unwrap_or_default();
        Some(match (first, parts.next(), parts.next()) {
            ("health" | "healthz" | "ready", ..) => return None,
            ("auth", Some("login" | "sso"), _) => Tier::Critical,
            (
                "auth",
                Some("email"),
                Some("login" | "register" | "forgot-password" | "reset-password"),
            ) => Tier::Critical,
            ("tokens" | "oauth" | "rbac", ..) => Tier::High,
            ("tools" | "prompts" | "resources" | "servers" | "gateways" | "a2a", ..) => {
                Tier::Medium
            }
            _ => Tier::Low,
        })
    }
}

/// The limits of the tiers.
pub struct Limits([Option<Limit>; 4]);

impl Limits {
    /// As the settings have it.
    pub fn new(limits: &RateLimits) -> Limits {
        let limit = |name, count: Option<u32>, burst: usize| {
            let count = count.filter(|_| limits.enabled)?;
            let burst = u32::try_from(burst).unwrap_or(u32::MAX);
            Limit::of(name, Some(Rate { count, period: Duration::from_secs(60), burst }))
        };
        Limits([
            limit("critical", limits.critical_count, limits.critical_burst),
            limit("high", limits.high_count, limits.high_burst),
            limit("medium", limits.medium_count, limits.medium_burst),
            limit("low", limits.low_count, limits.low_burst),
        ])
    }

    /// The limit of a tier.
    pub fn of(&self, tier: Tier) -> Option<&Limit> {
        self.0[tier as usize].as_ref()
    }
}

#[derive(Deserialize)]
struct UsageLimits {
    #[serde(default)]
    requests_per_hour: Option<u32>,
    #[serde(default)]
    requests_per_day: Option<u32>,
}

/// The limits that the record of a token names. Text that is no such object names none.
pub fn of_token(usage_limits: &str) -> impl Iterator<Item = Limit> {
    let read: Option<UsageLimits> = serde_json::from_str(usage_limits).ok();
    let limit = |name, count: Option<u32>, hours: u64| {
        let count = count.filter(|count| *count > 0)?;
        let rate = Rate { count, period: Duration::from_secs(3600 * hours), burst: 0 };
        Some(Limit { name, rate })
    };
    let limits = read.map(|read| {
        [
            limit("token-hour", read.requests_per_hour, 1),
            limit("token-day", read.requests_per_day, 24),
        ]
    });
    limits.into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_paths_as_contextforge_does() {
        for (path, tier) in [
            ("/auth/login", Some(Tier::Critical)),
            ("/auth/email/login", Some(Tier::Critical)),
            ("/v1/auth/login", Some(Tier::Critical)),
            ("/v1/ready", None),
            ("/v1x/auth/login", Some(Tier::Low)),
            ("/auth/email/me", Some(Tier::Low)),
            ("/auth/sso/keycloak/callback", Some(Tier::Critical)),
            ("/tokens", Some(Tier::High)),
            ("/rbac/roles", Some(Tier::High)),
            ("/tools/abc", Some(Tier::Medium)),
            ("/toolsmith", Some(Tier::Low)),
            ("/version", Some(Tier::Low)),
            ("/health", None),
            ("/ready", None),
        ] {
            assert_eq!(Tier::of_path(path), tier, "{path}");
        }
    }

    #[test]
    fn reads_the_limits_of_a_token() {
        let names = |text| of_token(text).map(|limit| (limit.name, limit.rate.count));
        let both: Vec<_> = names(r#"{"requests_per_hour":5,"requests_per_day":9}"#).collect();
        assert_eq!(both, [("token-hour", 5), ("token-day", 9)]);
        for none in ["{}", r#"{"requests_per_hour":0}"#, "[]", "no JSON"] {
            assert_eq!(names(none).count(), 0, "{none}");
        }
    }
}
