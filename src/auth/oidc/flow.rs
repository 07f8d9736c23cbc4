//! One login from its beginning to the user's return: what only the browser that began it has.
//!
//! It goes with the browser, sealed, so that nobody fills our memory by beginning logins.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use storage::seal::Sealer;
use url::Url;

use super::provider::{Endpoints, Protocol, Provider};

/// What tells it from everything else that is sealed.
const PURPOSE: &str = "login with another provider";

/// A login that was begun.
#[derive(Clone, PartialEq, Eq)]
pub struct Flow {
    /// The id of the provider.
    pub provider: String,
    /// What comes back with the user.
    pub state: String,
    /// What stands in the signed token.
    pub nonce: String,
    /// What only we can show with the code (RFC 7636).
    pub verifier: String,
    /// Where the user comes back to.
    pub redirect_uri: String,
    /// The page of ours where they go then.
    pub target: Option<String>,
    /// Until when they may take, in seconds since the epoch.
    pub ends_at: u64,
}

impl Flow {
    /// Begins a login at `now`, in seconds since the epoch.
    pub fn begin(
        provider: &str,
        redirect_uri: String,
        target: Option<String>,
        (now, within): (u64, Duration),
    ) -> Flow {
        Flow {
            provider: provider.to_owned(),
            state: random(),
            nonce: random(),
            verifier: random(),
            redirect_uri,
            target,
            ends_at: now.saturating_add(within.as_secs()),
        }
    }

    /// What the browser keeps of it.
    pub fn seal(&self, sealer: &Sealer) -> String {
        let fields = [
            ("purpose", PURPOSE.to_owned()),
            ("provider", self.provider.clone()),
            ("state", self.state.clone()),
            ("nonce", self.nonce.clone()),
            ("verifier", self.verifier.clone()),
            ("redirect_uri", self.redirect_uri.clone()),
            ("target", self.target.clone().unwrap_or_default()),
            ("ends_at", self.ends_at.to_string()),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
        sealer.seal(&fields.collect::<BTreeMap<_, _>>())
    }

    /// Opens what a browser kept; `None` if it is no such thing of ours.
    pub fn open(sealed: &[u8], sealer: &Sealer) -> Option<Flow> {
        let mut fields = sealer.open(std::str::from_utf8(sealed).ok()?).ok()?;
        let mut take = |name: &str| fields.remove(name);
        take("purpose").filter(|purpose| purpose == PURPOSE)?;
        Some(Flow {
            provider: take("provider")?,
            state: take("state")?,
            nonce: take("nonce")?,
            verifier: take("verifier")?,
            redirect_uri: take("redirect_uri")?,
            target: take("target").filter(|target| !target.is_empty()),
            ends_at: take("ends_at")?.parse().ok()?,
        })
    }

    /// Whether the user who came back to `provider` with `state` at `now` is whoever began it.
    pub fn is_of(&self, provider: &str, state: &str, now: u64) -> bool {
        self.provider == provider
            && now < self.ends_at
            && verify_slices_are_equal(self.state.as_bytes(), state.as_bytes()).is_ok()
    }

    /// Where the user is sent.
    ///
    /// # Errors
    ///
    /// A few words: the provider is at no URL.
    pub fn authorization_url(
        &self,
        provider: &Provider,
        endpoints: &Endpoints,
    ) -> Result<String, String> {
        let mut url = Url::parse(&endpoints.authorization)
            .map_err(|_| "it is no URL where users log in".to_owned())?;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()));
        let mut pairs = url.query_pairs_mut();
        pairs
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &provider.scope)
            .append_pair("state", &self.state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if provider.protocol == Protocol::Oidc {
            pairs.append_pair("nonce", &self.nonce);
        }
        drop(pairs);
        Ok(url.into())
    }
}

/// A text that nobody guesses: 32 random bytes.
fn random() -> String {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        let within = (1000, Duration::from_secs(60));
        Flow::begin("okta", "https://us/cb".to_owned(), Some("/page".to_owned()), within)
    }

    #[test]
    fn comes_back_as_it_went_and_opens_for_nobody_else() {
        let (sealer, flow) = (Sealer::new("one"), flow());
        let sealed = flow.seal(&sealer);
        assert!(Flow::open(sealed.as_bytes(), &sealer).unwrap() == flow);
        assert!(Flow::open(sealed.as_bytes(), &Sealer::new("two")).is_none());
        assert!(Flow::open(&sealed.as_bytes()[1..], &sealer).is_none());
        let other = sealer.seal(&BTreeMap::from([("state".to_owned(), "x".to_owned())]));
        assert!(Flow::open(other.as_bytes(), &sealer).is_none());
    }

    #[test]
    fn is_that_of_its_provider_its_state_and_its_time() {
        let flow = flow();
        let state = flow.state.clone();
        assert!(flow.is_of("okta", &state, 1059));
        assert!(!flow.is_of("okta", &state, 1060));
        assert!(!flow.is_of("google", &state, 1001));
        assert!(!flow.is_of("okta", &state[1..], 1001) && !flow.is_of("okta", "", 1001));
    }

    #[test]
    fn no_two_are_alike() {
        let (one, two) = (flow(), flow());
        let texts = [one.state, one.nonce, one.verifier, two.state, two.nonce, two.verifier];
        let unique: std::collections::BTreeSet<_> = texts.iter().collect();
        assert_eq!(unique.len(), texts.len());
        assert!(texts.iter().all(|text| text.len() == 43), "RFC 7636 wants 43 characters at least");
    }
}
