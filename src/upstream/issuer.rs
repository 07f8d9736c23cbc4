//! What issuers of tokens say of themselves, asked for over the network.

use std::time::Duration;

use super::{Upstreams, fetch::Inquiry};
use crate::{
    auth::external::{
        discovery::{self, DOCUMENT_SIZE_MAX, Metadata},
        jwks::KeySet,
    },
    failure::{Failure, UpstreamKind},
};

/// How long one answer of an issuer may take: requests wait for it.
pub const ISSUER_WITHIN: Duration = Duration::from_secs(5);

impl Upstreams {
    /// Reads the keys of `issuer`, which lie at `jwks_uri`, or where its metadata say.
    ///
    /// # Errors
    ///
    /// An upstream failure.
    pub async fn issuer_keys(
        &self,
        issuer: &str,
        jwks_uri: Option<&str>,
    ) -> Result<KeySet, Failure> {
        let found;
        let jwks_uri = match jwks_uri {
            Some(url) => url,
            None => {
                let none = || nonsense(issuer, "its metadata do not say where its keys are");
                found = self.issuer_metadata(issuer).await?.jwks_uri.ok_or_else(none)?;
                &found
            }
        };
        let document = self.issuer_document(jwks_uri).await?;
        KeySet::parse(&document).map_err(|problem| nonsense(issuer, &problem))
    }

    /// Reads the metadata of `issuer`.
    ///
    /// # Errors
    ///
    /// An upstream failure: that of the first place where they may be, if they are at none.
    pub async fn issuer_metadata(&self, issuer: &str) -> Result<Metadata, Failure> {
        let mut failed = None;
        for place in discovery::places(issuer) {
            match self.issuer_document(&place).await {
                Ok(document) => {
                    return Metadata::parse(&document, issuer)
                        .map_err(|problem| nonsense(issuer, &problem));
                }
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        Err(failed.unwrap_or_else(|| nonsense(issuer, "its name is no URL of http or https")))
    }

    async fn issuer_document(&self, url: &str) -> Result<Vec<u8>, Failure> {
        let inquiry = Inquiry::get(url, DOCUMENT_SIZE_MAX, ISSUER_WITHIN);
        match self.inquire(&inquiry).await? {
            (200, document) => Ok(document),
            (status, _) => {
                let detail = format!("it answers with status {status}");
                Err(Failure::upstream("the issuer", UpstreamKind::Status(status), detail, false))
            }
        }
    }
}

fn nonsense(issuer: &str, problem: &str) -> Failure {
    Failure::upstream(issuer, UpstreamKind::Nonsense, problem, false)
}
