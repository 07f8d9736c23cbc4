//! The keys of issuers, as one shard knows them: which are fresh, and when to ask again.
//!
//! It asks nobody itself: it says when somebody should, and is told what came of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use jsonwebtoken::Algorithm;
use shards::local::Turns;

use super::jwks::KeySet;
use crate::auth::error::Fault;
use crate::settings::ExternalIssuer;

/// The most issuers whose keys are kept; beyond it, the one that was asked longest ago is forgotten.
const ISSUER_COUNT_MAX: usize = 64;

/// How many times its usual age a set of keys is still used while its issuer does not answer.
const STALE_FACTOR: u64 = 12;

/// How often the keys of an issuer are read, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// After how long they are read again.
    pub age_max_s: u64,
    /// How long at least between two readings, whatever keys tokens name.
    pub pause_s: u64,
}

/// An issuer whose keys should be read before its token can be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(usize);

/// Why a key was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Its issuer should be asked.
    Ask(Slot),
    /// Its issuer was asked a moment ago.
    Fault(Fault),
}

/// The keys of issuers.
pub struct Keyring {
    pace: Pace,
    holders: RefCell<Vec<Holder>>,
}

struct Holder {
    issuer: Arc<str>,
    /// Where the keys are, if that need not be found out.
    jwks_uri: Option<Arc<str>>,
    keys: Option<Rc<KeySet>>,
    read_at: u64,
    asked_at: Option<u64>,
    turns: Rc<Turns>,
}

impl Holder {
    fn is_of(&self, (issuer, jwks_uri): (&str, Option<&str>)) -> bool {
        *self.issuer == *issuer && self.jwks_uri.as_deref() == jwks_uri
    }
}

/// Whom to ask for keys.
pub struct Errand {
    /// The issuer.
    pub issuer: Arc<str>,
    /// Where its keys are; `None` if its metadata say so.
    pub jwks_uri: Option<Arc<str>>,
    /// One asks at a time.
    pub turns: Rc<Turns>,
}

impl Keyring {
    /// An empty ring.
    pub fn new(pace: Pace) -> Keyring {
        Keyring { pace, holders: RefCell::default() }
    }

    /// Finds the keys of `issuer` among which is the one that a token names, and until when they
    /// need not be looked at again.
    ///
    /// # Errors
    ///
    /// [`Missing`]: whom to ask, or that it is of no use.
    pub fn find(
        &self,
        issuer: &ExternalIssuer,
        id: Option<&str>,
        algorithm: Algorithm,
        now: u64,
    ) -> Result<(Rc<KeySet>, u64), Missing> {
        let slot = self.slot(issuer);
        let holders = self.holders.borrow();
        let holder = &holders[slot.0];
        let may_ask = holder.asked_at.is_none_or(|at| now >= at.saturating_add(self.pace.pause_s));
        let stale_at = holder.read_at.saturating_add(self.pace.age_max_s * STALE_FACTOR);
        let Some(keys) = holder.keys.as_ref().filter(|_| now < stale_at) else {
            let gone = Missing::Fault(Fault::KeysAway);
            return Err(if may_ask { Missing::Ask(slot) } else { gone });
        };
        let fresh_until = holder.read_at.saturating_add(self.pace.age_max_s);
        match keys.find(id, algorithm) {
            Some(_) if now < fresh_until => Ok((keys.clone(), fresh_until)),
            _ if may_ask => Err(Missing::Ask(slot)),
            Some(_) => Ok((keys.clone(), now.saturating_add(self.pace.pause_s).min(stale_at))),
            None => Err(Missing::Fault(Fault::UnknownKey)),
        }
    }

    /// Says whom to ask for the keys of a slot.
    pub fn errand(&self, slot: Slot) -> Option<Errand> {
        let holders = self.holders.borrow();
        let holder = holders.get(slot.0)?;
        let (issuer, jwks_uri) = (holder.issuer.clone(), holder.jwks_uri.clone());
        Some(Errand { issuer, jwks_uri, turns: holder.turns.clone() })
    }

    /// Whether the issuer of a slot was not asked yet since `since`.
    pub fn is_unasked(&self, slot: Slot, since: u64) -> bool {
        let holders = self.holders.borrow();
        holders.get(slot.0).is_some_and(|holder| holder.asked_at.is_none_or(|at| at < since))
    }

    /// Notes that an issuer was asked, with where its keys are, and what it answered; without keys,
    /// the former stay.
    pub fn put(&self, asked: (&str, Option<&str>), keys: Option<KeySet>, now: u64) {
        let mut holders = self.holders.borrow_mut();
        let found = holders.iter_mut().find(|holder| holder.is_of(asked));
        let Some(holder) = found else { return };
        holder.asked_at = Some(now);
        if let Some(keys) = keys {
            holder.keys = Some(Rc::new(keys));
            holder.read_at = now;
        }
    }

    fn slot(&self, issuer: &ExternalIssuer) -> Slot {
        let mut holders = self.holders.borrow_mut();
        // The keys of one place are not taken for those of another, though one issuer is named.
        let wanted = (issuer.issuer.as_str(), issuer.jwks_uri.as_deref());
        if let Some(index) = holders.iter().position(|holder| holder.is_of(wanted)) {
            return Slot(index);
        }
        let holder = Holder {
            issuer: issuer.issuer.as_str().into(),
            jwks_uri: issuer.jwks_uri.as_deref().map(Into::into),
            keys: None,
            read_at: 0,
            asked_at: None,
            turns: Rc::new(Turns::new(1)),
        };
        if holders.len() < ISSUER_COUNT_MAX {
            holders.push(holder);
            return Slot(holders.len() - 1);
        }
        let ages = holders.iter().enumerate().min_by_key(|(_, holder)| holder.asked_at);
        let index = ages.map_or(0, |(index, _)| index);
        holders[index] = holder;
        Slot(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::external::tests::{Signer, issuer, jwks};

    const PACE: Pace = Pace { age_max_s: 100, pause_s: 10 };

    fn keys(ids: &[&str]) -> KeySet {
        let signers: Vec<_> = ids.iter().map(|id| Signer::new(id)).collect();
        KeySet::parse(&jwks(&signers.iter().collect::<Vec<_>>())).unwrap()
    }

    fn find(ring: &Keyring, id: &str, now: u64) -> Result<u64, Missing> {
        let found = ring.find(&issuer("https://i"), Some(id), Algorithm::ES256, now);
        found.map(|(_, until)| until)
    }

    const ASK: Result<u64, Missing> = Err(Missing::Ask(Slot(0)));

    #[test]
    fn asks_once_and_then_not_again_for_a_while_whatever_is_named() {
        let ring = Keyring::new(PACE);
        assert_eq!(find(&ring, "a", 1000), ASK);
        ring.put(("https://i", None), Some(keys(&["a"])), 1000);
        assert_eq!(find(&ring, "a", 1001), Ok(1100));
        for (index, name) in ["b", "c", "d"].iter().enumerate() {
            let refused = find(&ring, name, 1001 + index as u64);
            assert_eq!(refused, Err(Missing::Fault(Fault::UnknownKey)));
        }
        assert_eq!(find(&ring, "b", 1010), ASK);
        ring.put(("https://i", None), Some(keys(&["b"])), 1010);
        assert_eq!(find(&ring, "b", 1011), Ok(1110));
        assert_eq!(find(&ring, "a", 1011), Err(Missing::Fault(Fault::UnknownKey)));
    }

    #[test]
    fn keeps_old_keys_for_a_while_when_the_issuer_is_away_and_not_for_ever() {
        let ring = Keyring::new(PACE);
        find(&ring, "a", 1000).unwrap_err();
        ring.put(("https://i", None), Some(keys(&["a"])), 1000);
        assert_eq!(find(&ring, "a", 1100), ASK);
        ring.put(("https://i", None), None, 1100);
        assert_eq!(find(&ring, "a", 1101), Ok(1111));
        ring.put(("https://i", None), None, 2199);
        assert_eq!(find(&ring, "a", 2200), Err(Missing::Fault(Fault::KeysAway)));
    }

    #[test]
    fn holds_no_more_issuers_than_its_bound() {
        let ring = Keyring::new(PACE);
        for number in 0..3 * ISSUER_COUNT_MAX {
            let name = format!("https://{number}");
            let _ = ring.find(&issuer(&name), None, Algorithm::ES256, 5);
            ring.put((&name, None), None, number as u64);
        }
        assert_eq!(ring.holders.borrow().len(), ISSUER_COUNT_MAX);
    }
}
