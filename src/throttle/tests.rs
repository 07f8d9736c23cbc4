use shards::{Driver, runtime};
use storage::shared::{MemoryBounds, Shared, SharedOptions};

use super::*;
use crate::settings;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let typed: Vec<_> = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    settings::parse("", [], &typed).unwrap().settings
}

/// Runs `test` with the limits of two shards of one process.
fn with_two<F: Future<Output = ()>>(
    pairs: &[(&str, &str)],
    test: impl FnOnce(Throttle, Throttle) -> F + 'static,
) {
    let settings = settings(pairs);
    let run = async move {
        let bounds = MemoryBounds { entry_count_max: 100, byte_count_max: 1 << 20 };
        let options = SharedOptions::memory(bounds);
        let counts = Counts::new(&settings);
        let shard = |index| {
            let state = Shared::start(&options, index).unwrap().state;
            Throttle::new(&settings.rate_limits, counts.clone(), Some(state))
        };
        test(shard(0), shard(1)).await;
    };
    runtime::block_on(Driver::Epoll, run).unwrap();
}

fn by(caller: &str) -> Use<'_> {
    Use { caller, team_id: None, token_id: None, usage_limits: None, tool_id: None, server_id: "" }
}

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[test]
fn only_what_guards_passwords_and_tokens_is_limited_unless_told() {
    with_two(&[], |one, _| async move {
        assert!(!one.limits_uses());
        let limits = [Tier::Critical, Tier::High, Tier::Medium, Tier::Low];
        assert_eq!(limits.map(|tier| one.tier(tier).is_some()), [true, true, false, false]);
        assert!(one.turn("tool").await.unwrap().is_none());
    });
    with_two(&[("RATE_LIMITING_ENABLED", "false")], |one, _| async move {
        assert!(one.tier(Tier::Critical).is_none());
    });
}

#[test]
fn shards_count_together_in_either_scope() {
    for scope in ["shared", "process"] {
        let pairs = [("RATE_LIMIT_PER_CALLER", "3/hour+1"), ("RATE_LIMIT_SCOPE", scope)];
        with_two(&pairs, move |one, two| async move {
            assert!(one.limits_uses());
            for throttle in [&one, &two, &one, &two] {
                throttle.admit(&by("a@b.c")).await.unwrap();
            }
            for throttle in [&one, &two] {
                let failure = throttle.admit(&by("a@b.c")).await.unwrap_err();
                assert_eq!((failure.status(), failure.code()), (429, -32005), "{scope}");
            }
            one.admit(&by("other@b.c")).await.unwrap();
        });
    }
}

#[test]
fn each_kind_of_limit_is_on_what_it_says() {
    let pairs = [
        ("RATE_LIMIT_PER_TEAM", "1/hour"),
        ("RATE_LIMIT_PER_TOKEN", "1/hour"),
        ("RATE_LIMIT_PER_TOOL", "1/hour"),
        ("RATE_LIMIT_PER_SERVER", "1/hour"),
    ];
    with_two(&pairs, |one, _| async move {
        let team = Use { team_id: Some("t"), ..by("a") };
        let token = Use { token_id: Some("t"), ..by("a") };
        let tool = Use { tool_id: Some("t"), ..by("a") };
        let server = Use { server_id: "t", ..by("a") };
        for (used, name) in [(team, "team"), (token, "token"), (tool, "tool"), (server, "server")] {
            one.admit(&used).await.unwrap();
            let refused = one.admit(&used).await.unwrap_err().to_string();
            let said = format!("Rate limit exceeded: 1 per hour for each {name}; retry in ");
            assert!(refused.starts_with(&said), "{refused}");
        }
        one.admit(&by("a")).await.unwrap();
    });
}

#[test]
fn a_token_may_have_limits_of_its_own() {
    with_two(&[], |one, _| async move {
        let limits = Some(r#"{"requests_per_hour":2,"requests_per_day":100}"#);
        let used = Use { token_id: Some("jti"), usage_limits: limits, ..by("a") };
        one.admit(&used).await.unwrap();
        one.admit(&used).await.unwrap();
        assert_eq!(one.admit(&used).await.unwrap_err().status(), 429);
    });
}

#[test]
fn requests_are_counted_by_caller_or_else_by_address() {
    with_two(&[("RATE_LIMIT_CRITICAL_RPM", "1")], |one, _| async move {
        let limit = *one.tier(Tier::Critical).unwrap();
        assert!(one.request(&limit, None, LOOPBACK).await.is_ok());
        assert!(one.request(&limit, None, LOOPBACK).await.is_err());
        let stand = one.request(&limit, Some("a@b.c"), LOOPBACK).await.unwrap();
        assert_eq!(stand.spent.remaining, 0);
    });
}

#[test]
fn a_network_of_64_bits_is_one_address() {
    let network = |text: &str| network(text.parse().unwrap());
    assert_eq!(network("2001:db8:1:2:3::1"), network("2001:db8:1:2:ffff::9"));
    assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
}

#[test]
fn while_shared_state_is_full_the_process_counts_alone() {
    let pairs = [("RATE_LIMIT_PER_CALLER", "1/hour")];
    with_two(&pairs, |one, two| async move {
        // The state of the test has room for a hundred keys.
        for number in 0..150 {
            one.admit(&by(&format!("{number}"))).await.unwrap();
        }
        assert!(one.fallback_count() >= 50);
        assert!(two.admit(&by("149")).await.is_err(), "the ledger is the process's");
    });
}
