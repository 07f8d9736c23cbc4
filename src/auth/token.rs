//! Issuing and verifying tokens: signed JSON (JWT), with the one algorithm that is set.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};

use super::caller::Caller;
use super::claims::{Claims, Demands, Span};
use super::error::{Fault, KeyError};
use super::secret;
use crate::settings::{Auth, Secret, Settings};

/// The longest token, in bytes: a head has no room for more by default.
pub(super) const TOKEN_SIZE_MAX: usize = 16 * 1024;

/// Which tokens are good: the key, the algorithm and what the claims must say.
pub struct Rules {
    key: DecodingKey,
    validation: Validation,
    demands: Demands,
}

impl Rules {
    /// Makes rules of the settings; with an HMAC algorithm the key is their secret, or the one in
    /// the data folder. Reads, and perhaps makes, a file.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if there is no usable key: do not start.
    pub fn load(settings: &Settings) -> Result<Rules, KeyError> {
        Rules::for_algorithm(settings, settings.auth.algorithm, None)
    }

    /// As [`Rules::load`], with another algorithm and perhaps another secret.
    ///
    /// # Errors
    ///
    /// As [`Rules::load`].
    pub fn for_algorithm(
        settings: &Settings,
        algorithm: Algorithm,
        secret: Option<&Secret>,
    ) -> Result<Rules, KeyError> {
        let key = match algorithm.family() {
            AlgorithmFamily::Hmac => {
                let secret = secret.map_or_else(|| secret::signing(settings), |s| Ok(s.clone()))?;
                DecodingKey::from_secret(secret.expose().as_bytes())
            }
            family => {
                let path = key_path(&settings.auth.public_key_path, PUBLIC, algorithm)?;
                let key = decoding_key(family, &read_key(path)?);
                key.map_err(|_| KeyError::NoKey { path: path.clone(), algorithm })?
            }
        };
        Ok(Rules::new(&settings.auth, algorithm, key))
    }

    fn new(auth: &Auth, algorithm: Algorithm, key: DecodingKey) -> Rules {
        let mut validation = Validation::new(algorithm);
        // The library checks algorithm and signature. Claims are compared here, against a time
        // that is given, so that the cache and the first look decide alike.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let demands = Demands {
            issuer: auth.issuer_verified.then(|| auth.issuer.clone()),
            audience: auth.audience_verified.then(|| auth.audience.clone()),
            expiration_required: auth.expiration_required,
            admin_email: auth.admin_email.clone(),
        };
        Rules { key, validation, demands }
    }

    /// Says whose `token` is at `now`, in seconds since the epoch.
    ///
    /// # Errors
    ///
    /// [`Fault`]: what is wrong with it.
    pub fn verify(&self, token: &[u8], now: u64) -> Result<Caller, Fault> {
        let (caller, span) = self.read(token)?;
        span.check(now).map(|()| caller)
    }

    /// Says whose `token` is and when it is good, which is for the asker to compare.
    pub(super) fn read(&self, token: &[u8]) -> Result<(Caller, Span), Fault> {
        if token.len() > TOKEN_SIZE_MAX {
            return Err(Fault::Malformed);
        }
        let data = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| fault(error.kind()))?;
        // An extension that must be understood (RFC 7515 §4.1.11), and we understand none.
        if data.header.crit.is_some() {
            return Err(Fault::Malformed);
        }
        let (mut caller, span) = data.claims.into_caller(&self.demands)?;
        caller.claims = payload(token);
        Ok((caller, span))
    }
}

/// The claims of a token that was found good, as they stand in it.
pub(super) fn payload(token: &[u8]) -> Option<Arc<str>> {
    let part = token.split(|byte| *byte == b'.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    Some(String::from_utf8(bytes).ok()?.into())
}

/// Signs tokens.
pub struct Issuer {
    key: EncodingKey,
    algorithm: Algorithm,
}

impl Issuer {
    /// Makes an issuer of the settings, for `algorithm` and perhaps with another secret. Reads, and
    /// perhaps makes, a file.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if there is no usable key.
    pub fn load(
        settings: &Settings,
        algorithm: Algorithm,
        secret: Option<&Secret>,
    ) -> Result<Issuer, KeyError> {
        let key = match algorithm.family() {
            AlgorithmFamily::Hmac => {
                let secret = secret.map_or_else(|| secret::signing(settings), |s| Ok(s.clone()))?;
                EncodingKey::from_secret(secret.expose().as_bytes())
            }
            family => {
                let path = key_path(&settings.auth.private_key_path, PRIVATE, algorithm)?;
                let key = encoding_key(family, &read_key(path)?);
                key.map_err(|_| KeyError::NoKey { path: path.clone(), algorithm })?
            }
        };
        Ok(Issuer { key, algorithm })
    }

    /// Signs `claims` as they are.
    ///
    /// # Errors
    ///
    /// [`KeyError::Sign`] if the key is of another kind than the algorithm wants.
    pub fn issue(&self, claims: &Map<String, Value>) -> Result<String, KeyError> {
        jsonwebtoken::encode(&Header::new(self.algorithm), claims, &self.key)
            .map_err(|error| KeyError::Sign { reason: error.to_string() })
    }
}

/// Reads the claims of a token without believing them: for showing to a person, nothing else.
pub fn peek(token: &str) -> Option<Map<String, Value>> {
    jsonwebtoken::dangerous::insecure_decode_claims(token).ok()
}

const PUBLIC: &str = "JWT_PUBLIC_KEY_PATH";
const PRIVATE: &str = "JWT_PRIVATE_KEY_PATH";

fn key_path<'a>(
    path: &'a Option<PathBuf>,
    name: &'static str,
    algorithm: Algorithm,
) -> Result<&'a PathBuf, KeyError> {
    path.as_ref().ok_or(KeyError::Unset { name, algorithm })
}

fn read_key(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, KeyError> {
    let bytes = std::fs::read(path);
    let bytes = bytes.map_err(|error| KeyError::File { path: path.to_owned(), error })?;
    Ok(zeroize::Zeroizing::new(bytes))
}

fn decoding_key(family: AlgorithmFamily, pem: &[u8]) -> jsonwebtoken::errors::Result<DecodingKey> {
    match family {
        AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(pem),
        AlgorithmFamily::Ec => DecodingKey::from_ec_pem(pem),
        AlgorithmFamily::Ed => DecodingKey::from_ed_pem(pem),
        AlgorithmFamily::Hmac => Ok(DecodingKey::from_secret(pem)),
    }
}

fn encoding_key(family: AlgorithmFamily, pem: &[u8]) -> jsonwebtoken::errors::Result<EncodingKey> {
    match family {
        AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(pem),
        AlgorithmFamily::Ec => EncodingKey::from_ec_pem(pem),
        AlgorithmFamily::Ed => EncodingKey::from_ed_pem(pem),
        AlgorithmFamily::Hmac => Ok(EncodingKey::from_secret(pem)),
    }
}

pub(super) fn fault(kind: &jsonwebtoken::errors::ErrorKind) -> Fault {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidSignature => Fault::Signature,
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::MissingAlgorithm => Fault::Algorithm,
        _ => Fault::Malformed,
    }
}

#[cfg(test)]
pub mod tests;
