//! How API tokens are used on a shard: by token and by part of the API, until it is handed over.
//!
//! A token that goes on being used keeps its place, so that counting takes one look-up and, in a
//! steady state, no memory.

use ahash::AHashMap;
use storage::usage::{Usage, UsageDelta, day_of};

use super::audit::is_refusal;

/// A request that was shown with a token and is answered.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    /// The id of the token's record.
    pub token_id: &'a str,
    /// The part of the API: one of few, or this grows.
    pub endpoint: &'a str,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// What was counted of tokens since it was last taken.
#[derive(Default)]
pub struct Uses {
    tokens: AHashMap<Box<str>, Vec<(Box<str>, Usage)>>,
}

impl Uses {
    /// Counts a use that took `took_us` microseconds and ended `at`; false if there are
    /// `token_count_max` others already.
    pub fn count(&mut self, used: Use<'_>, took_us: i64, at: i64, token_count_max: usize) -> bool {
        if !self.tokens.contains_key(used.token_id) {
            if self.tokens.len() >= token_count_max {
                return false;
            }
            self.tokens.insert(used.token_id.into(), Vec::new());
        }
        let Some(endpoints) = self.tokens.get_mut(used.token_id) else { return false };
        let place = endpoints.iter().position(|(name, _)| **name == *used.endpoint);
        let place = place.unwrap_or_else(|| {
            endpoints.push((used.endpoint.into(), Usage::default()));
            endpoints.len() - 1
        });
        endpoints[place].1.merge(&Usage {
            requests: 1,
            failures: i64::from(used.status >= 400),
            refusals: i64::from(is_refusal(used.status)),
            total_us: took_us,
            last_at: at,
        });
        true
    }

    /// Takes what was counted; what was not used since the last time loses its place.
    pub fn take(&mut self) -> Vec<UsageDelta> {
        let mut deltas = Vec::new();
        self.tokens.retain(|token_id, endpoints| {
            endpoints.retain_mut(|(endpoint, usage)| {
                let counted = std::mem::take(usage);
                let is_used = counted.requests > 0;
                if is_used {
                    deltas.push(UsageDelta {
                        token_id: token_id.to_string(),
                        day: day_of(counted.last_at),
                        endpoint: endpoint.to_string(),
                        usage: counted,
                    });
                }
                is_used
            });
            !endpoints.is_empty()
        });
        deltas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(uses: &mut Uses, token_id: &str, endpoint: &str, status: u16) -> bool {
        uses.count(Use { token_id, endpoint, status }, 10, 5, 2)
    }

    /// What was taken, as short words: token, part, requests, failures, refusals, time.
    fn words(uses: &mut Uses) -> Vec<String> {
        let word = |delta: UsageDelta| {
            let Usage { requests, failures, refusals, total_us, .. } = delta.usage;
            let (id, part) = (delta.token_id, delta.endpoint);
            format!("{id} {part} {requests} {failures} {refusals} {total_us}")
        };
        let mut words: Vec<String> = uses.take().into_iter().map(word).collect();
        words.sort();
        words
    }

    #[test]
    fn counts_by_token_and_part_what_was_answered_and_how() {
        let mut uses = Uses::default();
        for (token, part, status) in [
            ("a", "/tools", 200),
            ("a", "/tools", 404),
            ("a", "/mcp", 403),
            ("b", "/mcp", 429),
            ("b", "/mcp", 500),
        ] {
            assert!(count(&mut uses, token, part, status));
        }
        assert_eq!(words(&mut uses), ["a /mcp 1 1 1 10", "a /tools 2 1 0 20", "b /mcp 2 2 1 20"]);
        assert!(words(&mut uses).is_empty());
    }

    #[test]
    fn has_room_for_so_many_tokens_and_those_in_it_go_on_being_counted() {
        let mut uses = Uses::default();
        assert!(count(&mut uses, "a", "/mcp", 200) && count(&mut uses, "b", "/mcp", 200));
        assert!(!count(&mut uses, "c", "/mcp", 200) && count(&mut uses, "a", "/rpc", 200));
        assert_eq!(words(&mut uses).len(), 3);
        assert!(count(&mut uses, "a", "/mcp", 200));
        assert_eq!(words(&mut uses), ["a /mcp 1 0 0 10"], "it counts anew");
        assert!(count(&mut uses, "c", "/mcp", 200), "b was not used again and gave way");
    }
}
