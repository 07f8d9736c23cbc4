//! Reading the keys of another issuer while its token waits.

use super::{Shard, now};
use crate::{auth::external::keyring::Slot, failure::Failure};

/// How many requests of a shard may wait for the keys of one issuer.
const WAITING_COUNT_MAX: usize = 256;

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
        let read = self.upstreams.issuer_keys(&errand.issuer, errand.jwks_uri.as_deref()).await;
        if let Err(failure) = &read {
            tracing::warn!(issuer = &*errand.issuer, %failure, "cannot read the keys of an issuer");
        }
        ring.put(&errand.issuer, read.ok(), now());
        Ok(())
    }
}
