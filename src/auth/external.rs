//! Tokens of other issuers: whose they are, by which key they are checked, whom they name here.
//!
//! A token counts only where it is meant for: everywhere, if its issuer is one of `JWT_ISSUERS` and
//! it is for the audience that stands there; at a protected resource, if its issuer is one of that
//! resource's authorization servers and it is for that resource (RFC 8707).

pub(super) mod claims;
pub mod discovery;
pub mod jwks;
pub mod keyring;

use std::borrow::Cow;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::Deserialize;

use super::caller::{Caller, Foreign};
use super::claims::Span;
use super::error::Fault;
use crate::catalog::protection::Protection;
use crate::settings::ExternalIssuer;
use keyring::{Keyring, Missing, Pace};

pub use claims::{is_verified, read_id_token};

/// What a token is shown to.
#[derive(Clone, Copy)]
pub struct Resource<'a> {
    /// What makes it a protected resource of its own.
    pub protection: Option<&'a Protection>,
    /// Its address, as clients know it; `None` if that cannot be said.
    pub uri: &'a dyn Fn() -> Option<String>,
}

impl Resource<'_> {
    /// What has no authorization servers of its own.
    pub const PLAIN: Resource<'static> = Resource { protection: None, uri: &|| None };
}

/// A token of another issuer that was checked.
pub struct Checked {
    /// Whom it names.
    pub caller: Caller,
    /// When it is good.
    pub span: Span,
    /// Until which second the key needs no other look.
    pub key_until: u64,
}

/// The other issuers, as one shard knows them.
pub struct Externals {
    issuers: Arc<[ExternalIssuer]>,
    /// Their keys.
    pub keyring: Keyring,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    iss: Option<String>,
}

impl Externals {
    /// Takes the issuers that are good everywhere, and how often keys are read.
    pub fn new(issuers: Arc<[ExternalIssuer]>, pace: Pace) -> Externals {
        Externals { issuers, keyring: Keyring::new(pace) }
    }

    /// Finds the issuer that `token` says it is of, if tokens of it may be shown to `resource`.
    pub fn issuer_of<'a>(
        &'a self,
        token: &[u8],
        resource: &Resource<'_>,
    ) -> Option<Cow<'a, ExternalIssuer>> {
        if self.issuers.is_empty() && resource.protection.is_none() {
            return None;
        }
        let named: Named = jsonwebtoken::dangerous::insecure_decode_claims(token).ok()?;
        self.issuer(named.iss.as_deref()?, resource)
    }

    fn issuer(&self, name: &str, resource: &Resource<'_>) -> Option<Cow<'_, ExternalIssuer>> {
        if let Some(known) = self.issuers.iter().find(|issuer| issuer.issuer == name) {
            return Some(Cow::Borrowed(known));
        }
        let servers = &resource.protection?.authorization_servers;
        let is_trusted = servers.iter().any(|issuer| issuer == name);
        is_trusted.then(|| Cow::Owned(ExternalIssuer::named(name)))
    }

    /// Checks `token`, which says that it is of `issuer`, but for its audience and the time.
    ///
    /// # Errors
    ///
    /// [`Missing`]: what is wrong, or whose keys must be read before that can be said.
    pub fn check(
        &self,
        token: &[u8],
        issuer: &ExternalIssuer,
        now: u64,
    ) -> Result<Checked, Missing> {
        let header = jsonwebtoken::decode_header(token)
            .map_err(|error| Missing::Fault(super::token::fault(error.kind())))?;
        let algorithm = header.alg;
        if algorithm.family() == AlgorithmFamily::Hmac || !issuer.algorithms.contains(&algorithm) {
            return Err(Missing::Fault(Fault::Algorithm));
        }
        let id = header.kid.as_deref();
        let (keys, key_until) = self.keyring.find(issuer, id, algorithm, now)?;
        let key = keys.find(id, algorithm).ok_or(Missing::Fault(Fault::UnknownKey))?;
        let read = claims::read(token, key, algorithm, issuer);
        let (caller, span) = read.map_err(Missing::Fault)?;
        Ok(Checked { caller, span, key_until })
    }

    /// Whether a token that was checked is good for `resource`.
    ///
    /// # Errors
    ///
    /// [`Fault::Issuer`] or [`Fault::Audience`].
    pub fn admit(&self, foreign: &Foreign, resource: &Resource<'_>) -> Result<(), Fault> {
        let is_for = |name: &str| foreign.audiences.iter().any(|audience| audience == name);
        let Some(protection) = resource.protection else {
            let known = self.issuers.iter().find(|issuer| *issuer.issuer == *foreign.issuer);
            let known = known.ok_or(Fault::Issuer)?;
            let is_ours = known.audience.iter().any(|audience| is_for(audience));
            return if is_ours { Ok(()) } else { Err(Fault::Audience) };
        };
        if !protection.authorization_servers.iter().any(|name| **name == *foreign.issuer) {
            return Err(Fault::Issuer);
        }
        let is_ours = protection.audiences.iter().any(|audience| is_for(audience))
            || (resource.uri)().is_some_and(|uri| is_for(&uri) || is_for(&format!("{uri}/")));
        if is_ours { Ok(()) } else { Err(Fault::Audience) }
    }
}

/// The algorithms that tokens of other issuers may be signed with unless something else is said.
pub const ALGORITHMS: [Algorithm; 9] = crate::settings::ASYMMETRIC;

#[cfg(test)]
pub mod tests;
