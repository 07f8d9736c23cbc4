//! What other issuers say of themselves and their keys, read while somebody waits for it.

use std::{cell::RefCell, net::IpAddr, rc::Rc, sync::Arc};

use jsonwebtoken::Algorithm;
use shards::task;

use super::{Shard, now};
use crate::{
    auth::{
        AuthError, Caller, Fault, Resource,
        external::{
            discovery::Metadata,
            jwks::KeySet,
            keyring::{Missing, Slot},
        },
    },
    failure::Failure,
    settings::ExternalIssuer,
};

/// How many requests of a shard may wait for the keys of one issuer.
const WAITING_COUNT_MAX: usize = 256;

/// The most issuers whose metadata a shard keeps; beyond it, the oldest are forgotten.
const METADATA_COUNT_MAX: usize = 64;

/// The metadata of issuers, as a shard read them.
#[derive(Default)]
pub struct Directory(RefCell<Vec<Entry>>);

struct Entry {
    issuer: Arc<str>,
    read_at: u64,
    metadata: Rc<Metadata>,
}

impl Directory {
    fn find(&self, issuer: &str, since: u64) -> Option<Rc<Metadata>> {
        let entries = self.0.borrow();
        let found = entries.iter().find(|it| *it.issuer == *issuer && it.read_at >= since);
        found.map(|entry| entry.metadata.clone())
    }

    fn put(&self, issuer: &str, metadata: Rc<Metadata>, read_at: u64) {
        let mut entries = self.0.borrow_mut();
        entries.retain(|entry| *entry.issuer != *issuer);
        if entries.len() >= METADATA_COUNT_MAX {
            entries.remove(0);
        }
        entries.push(Entry { issuer: issuer.into(), read_at, metadata });
    }
}

impl Shard {
    /// Reads the keys of an issuer, once for all who wait for them.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if too many wait. That the issuer does not answer is for the operator: the
    /// token is refused, and its bearer told so, when it is looked at again.
    pub async fn read_keys(&self, slot: Slot) -> Result<(), Failure> {
        let since = now();
        let ring = &self.verifier.externals.keyring;
        let Some(errand) = ring.errand(slot) else { return Ok(()) };
        if errand.turns.waiting_count() >= WAITING_COUNT_MAX {
            return Err(Failure::Busy("Too many wait for the keys of the issuer".to_owned()));
        }
        let _turn = errand.turns.take().await;
        if !ring.is_unasked(slot, since) {
            return Ok(());
        }
        let jwks_uri = errand.jwks_uri.as_deref();
        let read = self.upstreams.issuer_keys(&errand.issuer, jwks_uri).await;
        if let Err(failure) = &read {
            tracing::warn!(issuer = &*errand.issuer, %failure, "cannot read the keys of an issuer");
        }
        ring.put((&errand.issuer, jwks_uri), read.ok(), now());
        Ok(())
    }

    /// Says again who sent a request to `resource` that was let in before. While the keys of the
    /// issuer of their token are read again, they stay who they were.
    pub fn identify_again(
        self: &Rc<Self>,
        resource: &Resource<'_>,
        (authorization, cookie): (Option<&[u8]>, Option<&[u8]>),
        ip: IpAddr,
        former: &RefCell<Option<Rc<Caller>>>,
    ) -> Option<Rc<Caller>> {
        match self.identify_at(resource, authorization, cookie, || ip) {
            Ok(caller) => {
                former.replace(Some(caller.clone()));
                Some(caller)
            }
            Err(AuthError::Keys(slot)) => {
                let shard = self.clone();
                task::spawn(async move { drop(shard.read_keys(slot).await) });
                former.borrow().clone()
            }
            Err(_) => None,
        }
    }

    /// The keys of an issuer, among them the one that a token of it names; read if need be.
    ///
    /// # Errors
    ///
    /// As [`Shard::read_keys`]; 401 if it has no such key.
    pub async fn keys_of(
        &self,
        issuer: &ExternalIssuer,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Rc<KeySet>, Failure> {
        let ring = &self.verifier.externals.keyring;
        let fault = |fault: Fault| Err(AuthError::Invalid(fault).into());
        let slot = match ring.find(issuer, id, algorithm, now()) {
            Ok((keys, _)) => return Ok(keys),
            Err(Missing::Fault(missing)) => return fault(missing),
            Err(Missing::Ask(slot)) => slot,
        };
        self.read_keys(slot).await?;
        match ring.find(issuer, id, algorithm, now()) {
            Ok((keys, _)) => Ok(keys),
            Err(Missing::Fault(missing)) => fault(missing),
            Err(Missing::Ask(_)) => fault(Fault::KeysAway),
        }
    }

    /// The metadata of an issuer, which are read again as often as keys are.
    ///
    /// # Errors
    ///
    /// An upstream failure.
    pub async fn metadata_of(&self, issuer: &str) -> Result<Rc<Metadata>, Failure> {
        let since = now().saturating_sub(self.settings.auth.keys_age_max.as_secs());
        if let Some(known) = self.directory.find(issuer, since) {
            return Ok(known);
        }
        let read = Rc::new(self.upstreams.issuer_metadata(issuer).await?);
        self.directory.put(issuer, read.clone(), now());
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_fresh_and_no_more_than_its_bound() {
        let directory = Directory::default();
        let metadata = |issuer: &str| {
            let text = format!("{{\"issuer\": \"{issuer}\"}}");
            Rc::new(Metadata::parse(text.as_bytes(), issuer).unwrap())
        };
        for number in 0..2 * METADATA_COUNT_MAX {
            let name = format!("https://{number}");
            directory.put(&name, metadata(&name), number as u64);
        }
        assert_eq!(directory.0.borrow().len(), METADATA_COUNT_MAX);
        let last = format!("https://{}", 2 * METADATA_COUNT_MAX - 1);
        assert_eq!(directory.find(&last, 10), Some(metadata(&last)));
        assert_eq!(directory.find(&last, 10_000), None);
        assert_eq!(directory.find("https://0", 0), None);
    }
}
