//! What an upstream lists, compared with what is stored of it: the mutations that make both equal.
//!
//! Pure: nothing is read or written here. An offer that did not change gives no mutation, so that
//! a refresh that brings nothing new costs the change feed nothing; one that changed keeps its id,
//! and with it its place in every virtual server.

mod offering;
mod renew;
mod respell;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use storage::Mutation;
use storage::record::{Gateway, Ownership, Prompt, Resource, Tool};

use super::author::Author;
use super::inventory::{Inventory, Listed};
use offering::Offering;
pub use renew::{is_listed, names, owned, renew};
pub use respell::respell;

/// What is stored of one gateway.
#[derive(Debug, Clone, Default)]
pub struct Owned {
    /// Its tools.
    pub tools: Vec<Arc<Tool>>,
    /// Its resources and templates.
    pub resources: Vec<Arc<Resource>>,
    /// Its prompts.
    pub prompts: Vec<Arc<Prompt>>,
}

/// The names that are not free, and how names are joined.
pub struct Names<'a> {
    /// What stands between the words of a name.
    pub separator: &'a str,
    /// Names of tools of other gateways in the same [`super::naming::Circle`].
    pub tools: HashSet<&'a str>,
    /// Names of prompts of other gateways in the same circle.
    pub prompts: HashSet<&'a str>,
    /// Whose the gateway was until now: an offer of another ownership was given it by people, and
    /// keeps it.
    pub former: Option<&'a Ownership>,
}

/// What has to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// To be applied in this order, behind the gateway's own put.
    pub mutations: Vec<Mutation>,
    /// What is offered and cannot be had, each with the reason.
    pub skipped: Vec<String>,
    /// What becomes of the tools.
    pub tools: Counts,
    /// What becomes of the resources and templates.
    pub resources: Counts,
    /// What becomes of the prompts.
    pub prompts: Counts,
}

/// How many offers of one kind change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// New ones.
    pub added: usize,
    /// Those whose record changes.
    pub updated: usize,
    /// Those that are gone.
    pub removed: usize,
}

/// Compares what `gateway` lists now with what is `owned`, matching tools and prompts by the
/// upstream's own name and resources by URI.
pub fn reconcile(
    owned: &Owned,
    inventory: &Inventory,
    gateway: &Gateway,
    names: &Names<'_>,
    author: &Author,
) -> Reconciled {
    let resources: Vec<&Listed> = inventory.resources.iter().chain(&inventory.templates).collect();
    let templates_from = inventory.resources.len();
    let mut work = Work { gateway, names, author, done: Reconciled::default() };
    work.done.skipped.extend(inventory.skipped.iter().cloned());
    let tools: Vec<&Listed> = inventory.tools.iter().collect();
    work.done.tools = work.merge(&owned.tools, &tools, tools.len());
    work.done.resources = work.merge(&owned.resources, &resources, templates_from);
    let prompts: Vec<&Listed> = inventory.prompts.iter().collect();
    work.done.prompts = work.merge(&owned.prompts, &prompts, prompts.len());
    work.done
}

/// Makes what is stored follow its gateway, which was renamed or given away: names, visibility and
/// owner. Without asking the upstream.
///
/// What is skipped here has a name that another gateway's offer has: refuse the change then, since
/// the mutations would delete it.
pub fn follow(owned: &Owned, gateway: &Gateway, names: &Names<'_>, author: &Author) -> Reconciled {
    let mut work = Work { gateway, names, author, done: Reconciled::default() };
    work.done.tools = work.keep(&owned.tools);
    work.done.resources = work.keep(&owned.resources);
    work.done.prompts = work.keep(&owned.prompts);
    work.done
}

/// Notes in `gateway` what the upstream said of itself, and that it answered at `at`.
pub fn describe(gateway: &mut Gateway, inventory: &Inventory, at: i64) {
    gateway.era = Some(inventory.era);
    gateway.protocol_version = Some(inventory.protocol_version.clone());
    gateway.capabilities = inventory.capabilities.clone();
    gateway.server_info = inventory.server_info.clone();
    gateway.instructions = inventory.instructions.clone();
    gateway.reachable = true;
    gateway.last_seen = Some(at);
    gateway.last_refresh_at = Some(at);
    gateway.last_error = None;
}

/// The comparison of one gateway, in the making.
struct Work<'a> {
    gateway: &'a Gateway,
    names: &'a Names<'a>,
    author: &'a Author,
    done: Reconciled,
}

/// One offer as it should be stored, and as it is.
struct Candidate<'a, T> {
    wanted: T,
    stored: Option<&'a T>,
}

impl Work<'_> {
    /// Offers of one kind: those from `templates_from` on are templates.
    fn merge<T: Offering>(
        &mut self,
        stored: &[Arc<T>],
        listed: &[&Listed],
        templates_from: usize,
    ) -> Counts {
        let by_key: HashMap<&str, &T> =
            stored.iter().map(|record| (record.key(), &**record)).collect();
        let mut seen = HashSet::new();
        let mut candidates = Vec::with_capacity(listed.len());
        for (position, entry) in listed.iter().enumerate() {
            let key = T::key_of(entry);
            if !seen.insert(key) {
                self.skip::<T>(key, "it is listed twice, and the first is kept");
                continue;
            }
            let stored = by_key.get(key).copied();
            let mut wanted = stored.cloned().unwrap_or_else(|| self.fresh(position));
            wanted.absorb(entry, position as i64, position >= templates_from);
            candidates.push(Candidate { wanted, stored });
        }
        self.settle(stored, candidates)
    }

    /// A new offer. A microsecond between one and the next keeps the upstream's order in lists of the
    /// newest first, whose places must never change.
    fn fresh<T: Offering>(&self, position: usize) -> T {
        let mut audit = self.author.made("federation");
        audit.created_at -= position as i64;
        T::fresh(self.gateway, audit)
    }

    fn keep<T: Offering>(&mut self, stored: &[Arc<T>]) -> Counts {
        let candidates = stored
            .iter()
            .map(|record| Candidate { wanted: T::clone(record), stored: Some(&**record) });
        let candidates = candidates.collect();
        self.settle(stored, candidates)
    }

    /// Gives the candidates their names and notes what has to be done, in an order that the store
    /// can follow.
    fn settle<T: Offering>(
        &mut self,
        stored: &[Arc<T>],
        mut candidates: Vec<Candidate<'_, T>>,
    ) -> Counts {
        // Who is stored already keeps its name, whatever place it has in the list now.
        candidates.sort_by_key(|candidate| candidate.stored.is_none());
        let mut claimed = HashMap::new();
        let mut kept = Vec::with_capacity(candidates.len());
        for mut candidate in candidates {
            match self.claim(&mut candidate.wanted, &mut claimed) {
                Ok(()) => kept.push(candidate),
                Err(reason) => self.skip::<T>(candidate.wanted.key(), &reason),
            }
        }
        self.note(stored, kept)
    }

    /// Gives one offer its name, if that is free.
    fn claim<T: Offering>(
        &self,
        wanted: &mut T,
        claimed: &mut HashMap<String, String>,
    ) -> Result<(), String> {
        wanted.follow(self.gateway, self.names.separator)?;
        if self.names.former.is_none_or(|former| former == wanted.ownership()) {
            wanted.ownership().clone_from(&self.gateway.ownership);
        }
        let Some(name) = wanted.name() else { return Ok(()) };
        if T::taken(self.names).contains(name) {
            return Err(format!("its name {name} is that of another gateway's {}", T::WORD));
        }
        if let Some(other) = claimed.get(name) {
            return Err(format!("its name {name} would be that of {other} too"));
        }
        claimed.insert(name.to_owned(), wanted.key().to_owned());
        Ok(())
    }

    fn note<T: Offering>(&mut self, stored: &[Arc<T>], kept: Vec<Candidate<'_, T>>) -> Counts {
        let mut counts = Counts::default();
        let ids: HashSet<&str> = kept.iter().map(|candidate| candidate.wanted.id()).collect();
        for gone in stored.iter().filter(|record| !ids.contains(record.id())) {
            counts.removed += 1;
            self.done.mutations.push(T::delete(gone.id().to_owned()));
        }
        let (old, new): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|candidate| candidate.stored.is_some());
        let mut changed: Vec<_> = old.into_iter().filter_map(Candidate::changed).collect();
        changed.sort_by_key(|(wanted, growth)| rank(wanted.name(), *growth));
        counts.updated = changed.len();
        for (mut wanted, _) in changed {
            self.author.change(wanted.audit(), "federation");
            self.done.mutations.push(wanted.put());
        }
        counts.added = new.len();
        self.done.mutations.extend(new.into_iter().map(|candidate| candidate.wanted.put()));
        counts
    }

    fn skip<T: Offering>(&mut self, key: &str, reason: &str) {
        self.done.skipped.push(format!("{} {key}: {reason}", T::WORD));
    }
}

impl<T: Offering> Candidate<'_, T> {
    /// The wanted record and by how much its name grows, if it is not as stored.
    fn changed(self) -> Option<(T, isize)> {
        let stored = self.stored?;
        let length = |record: &T| record.name().map_or(0, str::len) as isize;
        let growth = length(&self.wanted) - length(stored);
        (self.wanted != *stored).then_some((self.wanted, growth))
    }
}

/// The order of renames: the store compares names step by step, so what gives a name up must come
/// before what takes it.
///
/// When prefix P becomes Q, the name of one takes that of another only if P+s = Q+t. Where names
/// grow, s is then longer than t, so the longest goes first; where they shrink, the shortest. Where
/// they stay as long, P would be Q. So there is no ring, and this order is always right.
fn rank(name: Option<&str>, growth: isize) -> isize {
    let length = name.map_or(0, str::len) as isize;
    if growth > 0 { -length } else { length }
}

#[cfg(test)]
mod tests;
