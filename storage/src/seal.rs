//! Secrets at rest: headers sealed into one line of text, and opened again.
//!
//! The recipe is the contract's, so that its databases and exports can be read: AES-256-GCM under
//! SHA-256 of the secret, a random nonce of 12 bytes before the ciphertext and its tag, all in
//! URL-safe base64 without padding; the plaintext is a JSON object of header names and values.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Writes without padding and reads either way: Python's own decoder wants it and some tools put
/// it back.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Seals and opens with one secret. Share it by reference or in an `Arc`.
pub struct Sealer {
    key: RandomizedNonceKey,
}

/// Why a sealed text does not open. No variant holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// It is no URL-safe base64, or too short to hold a nonce and a tag.
    Malformed,
    /// It was sealed under another secret, or changed since.
    Refused,
    /// It opened, and is no JSON object of header names and values.
    NotHeaders,
}

impl std::fmt::Display for SealError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            SealError::Malformed => "a sealed value is not in the form that sealing gives",
            SealError::Refused => {
                "a sealed value does not open: AUTH_ENCRYPTION_SECRET is not the one it was \
                 sealed with, or the value was changed"
            }
            SealError::NotHeaders => "a sealed value holds no JSON object of headers",
        })
    }
}

impl std::error::Error for SealError {}

impl Sealer {
    /// Makes a sealer from the secret of `AUTH_ENCRYPTION_SECRET`.
    pub fn new(secret: &str) -> Sealer {
        let key = digest::digest(&digest::SHA256, secret.as_bytes());
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.as_ref())
            .expect("SHA-256 gives the 32 bytes that AES-256 takes");
        Sealer { key }
    }

    /// Seals headers; each call gives another text.
    pub fn seal(&self, headers: &BTreeMap<String, String>) -> String {
        let text = serde_json::to_vec(headers).expect("a map of strings is always valid JSON");
        self.seal_for("", text)
    }

    /// Seals bytes for one purpose into URL-safe text: what was sealed for another does not open.
    pub fn seal_for(&self, purpose: &str, mut bytes: Vec<u8>) -> String {
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut bytes)
            .expect("what is sealed is far below the 64 GiB that one nonce may seal");
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut bytes);
        BASE64.encode(sealed)
    }

    /// Opens what [`Sealer::seal_for`] gave for the same purpose.
    ///
    /// # Errors
    ///
    /// [`SealError`]: it was changed, made up, or sealed for something else.
    pub fn open_for(&self, purpose: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let mut bytes = BASE64.decode(sealed).map_err(|_| SealError::Malformed)?;
        if bytes.len() < NONCE_LEN + AES_256_GCM.tag_len() {
            return Err(SealError::Malformed);
        }
        let (nonce, text) = bytes.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Malformed)?;
        let opened = self.key.open_in_place(nonce, Aad::from(purpose.as_bytes()), text);
        opened.map(|opened| opened.to_vec()).map_err(|_| SealError::Refused)
    }

    /// Opens what [`Sealer::seal`] gave, here or in Python.
    ///
    /// # Errors
    ///
    /// [`SealError`]; the record stays as it is and its credential must be entered again, or the
    /// former secret set.
    pub fn open(&self, sealed: &str) -> Result<BTreeMap<String, String>, SealError> {
        let opened = self.open_for("", sealed)?;
        serde_json::from_slice(&opened).map_err(|_| SealError::NotHeaders)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Sealer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Python's `cryptography`, `AESGCM(sha256(secret)).encrypt(nonce, json, None)`, with
    /// the nonce 00 01 .. 0b.
    const VECTOR_SECRET: &str = "my-test-salt";
    const VECTOR: &str = "AAECAwQFBgcICQoL72zAaEClJ0Btesn21u4mifPWmEvrMsuIgO2C7apNsbFx9LRs0DJ4pjfGDogiRV39RFZ7L75ocZRhy9QeZy-D8p2M6LRaQ0whwlq8tuBc9g";

    fn headers() -> BTreeMap<String, String> {
        BTreeMap::from([
            ("Authorization".to_owned(), "Bearer tökén".to_owned()),
            ("X-Tenant".to_owned(), "a\"b".to_owned()),
        ])
    }

    #[test]
    fn what_was_sealed_for_one_purpose_opens_for_no_other() {
        let sealer = Sealer::new("secret");
        let sealed = sealer.seal_for("session", b"whose".to_vec());
        assert_eq!(sealer.open_for("session", &sealed), Ok(b"whose".to_vec()));
        assert_eq!(sealer.open_for("state", &sealed), Err(SealError::Refused));
        assert_eq!(Sealer::new("other").open_for("session", &sealed), Err(SealError::Refused));
        assert_eq!(sealer.open_for("session", "AAAA"), Err(SealError::Malformed));
        let mut changed = sealed.clone().into_bytes();
        changed[20] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        assert!(sealer.open_for("session", &changed).is_err());
    }

    #[test]
    fn opens_what_python_sealed() {
        assert_eq!(Sealer::new(VECTOR_SECRET).open(VECTOR), Ok(headers()));
    }

    #[test]
    fn opens_what_it_sealed_with_padding_or_without() {
        let sealer = Sealer::new("secret");
        for count in 0..4 {
            let headers = BTreeMap::from([("n".to_owned(), "x".repeat(count))]);
            let sealed = sealer.seal(&headers);
            assert!(!sealed.contains(['=', '+', '/']));
            assert_eq!(sealer.open(&sealed), Ok(headers.clone()));
            let padding = "=".repeat((4 - sealed.len() % 4) % 4);
            assert_eq!(sealer.open(&(sealed + &padding)), Ok(headers));
        }
    }

    #[test]
    fn the_same_headers_never_give_the_same_text() {
        let sealer = Sealer::new("secret");
        assert_ne!(sealer.seal(&headers()), sealer.seal(&headers()));
    }

    #[test]
    fn refuses_another_secret_and_every_changed_byte() {
        let sealed = Sealer::new("secret").seal(&headers());
        assert_eq!(Sealer::new("other").open(&sealed), Err(SealError::Refused));
        let bytes = BASE64.decode(&sealed).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let opened = Sealer::new("secret").open(&BASE64.encode(changed));
            assert_eq!(opened, Err(SealError::Refused), "byte {index}");
        }
    }

    #[test]
    fn refuses_every_cut() {
        let sealer = Sealer::new("secret");
        let sealed = sealer.seal(&headers());
        for cut in 0..sealed.len() {
            assert!(sealer.open(&sealed[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(sealer.open("not sealed at all!"), Err(SealError::Malformed));
    }

    #[test]
    fn its_debug_form_shows_nothing() {
        assert_eq!(format!("{:?}", Sealer::new("hunter2")), "Sealer(..)");
    }
}
