//! The public keys of an issuer (RFC 7517): JSON to keys that check signatures.
//!
//! Only asymmetric keys get in. A shared secret in a public document is none, and a key that checks
//! one family of algorithms is never found for another, so nobody can sign with what is public.

use std::str::FromStr;

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The most keys that are kept of an issuer; it signs with one or two.
pub const KEY_COUNT_MAX: usize = 64;

/// The keys of an issuer.
#[derive(Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    family: AlgorithmFamily,
    /// The one algorithm that it is for, if it says so.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set of keys. Those that cannot check signatures of ours are left out, as the
    /// standard wants it (RFC 7517 §5).
    ///
    /// # Errors
    ///
    /// A few words: it is no set of keys, or holds too many or none that can be used.
    pub fn parse(document: &[u8]) -> Result<KeySet, String> {
        let document: Document =
            serde_json::from_slice(document).map_err(|_| "it is no set of keys".to_owned())?;
        if document.keys.len() > KEY_COUNT_MAX {
            return Err(format!("it has more than {KEY_COUNT_MAX} keys"));
        }
        let keys: Vec<Key> = document.keys.into_iter().filter_map(Key::read).collect();
        match keys.is_empty() {
            true => Err("it has no key that checks signatures".to_owned()),
            false => Ok(KeySet { keys }),
        }
    }

    /// Finds the key that a token names. One that names none is checked with the only key that
    /// fits; among several nobody guesses.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(algorithm));
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)).map(|key| &key.key),
            None => {
                let only = fitting.next()?;
                fitting.next().is_none().then_some(&only.key)
            }
        }
    }
}

impl Key {
    fn read(value: Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let purpose = jwk.common.public_key_use.as_ref();
        if purpose.is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
            return None;
        }
        let algorithm = match &jwk.common.key_algorithm {
            Some(named) => Some(Algorithm::from_str(&named.to_string()).ok()?),
            None => None,
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let family = key.family();
        (family != AlgorithmFamily::Hmac).then_some(Key {
            id: jwk.common.key_id,
            family,
            algorithm,
            key,
        })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.family == algorithm.family() && self.algorithm.is_none_or(|only| only == algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::external::tests::{Signer, jwks};

    #[test]
    fn finds_the_key_that_is_named_and_guesses_among_none() {
        let (one, two) = (Signer::new("one"), Signer::new("two"));
        let set = KeySet::parse(&jwks(&[&one, &two])).unwrap();
        assert!(set.find(Some("one"), Algorithm::ES256).is_some());
        assert!(set.find(Some("three"), Algorithm::ES256).is_none());
        assert!(set.find(None, Algorithm::ES256).is_none());
        let set = KeySet::parse(&jwks(&[&one])).unwrap();
        assert!(set.find(None, Algorithm::ES256).is_some());
    }

    #[test]
    fn no_key_serves_another_algorithm_than_its_own() {
        let set = KeySet::parse(&jwks(&[&Signer::new("one")])).unwrap();
        for algorithm in [Algorithm::HS256, Algorithm::RS256, Algorithm::EdDSA, Algorithm::ES384] {
            assert!(set.find(Some("one"), algorithm).is_none(), "{algorithm:?}");
        }
    }

    #[test]
    fn leaves_out_secrets_and_keys_for_something_else() {
        let secret = br#"{"keys": [{"kty": "oct", "k": "AAAA", "kid": "s", "alg": "HS256"}]}"#;
        assert!(KeySet::parse(secret).is_err());
        let mut other: Value = serde_json::from_slice(&jwks(&[&Signer::new("e")])).unwrap();
        other["keys"][0]["use"] = "enc".into();
        assert!(KeySet::parse(other.to_string().as_bytes()).is_err());
    }

    #[test]
    fn refuses_what_is_no_set_or_too_large_a_one() {
        for text in ["", "[]", "{}", r#"{"keys": 1}"#, r#"{"keys": []}"#, r#"{"keys": [1, {}]}"#] {
            assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
        }
        let signer = Signer::new("k");
        let many = vec![&signer; KEY_COUNT_MAX + 1];
        assert!(KeySet::parse(&jwks(&many)).is_err());
    }
}
