//! Tokens of other issuers, good and forged.

use std::rc::Rc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::auth::token::tests::{Forge, NOW, settings};
use crate::auth::{AuthError, Verifier, shared_rules};
use crate::catalog::People;

/// Whoever signs tokens of another issuer.
pub struct Signer {
    id: String,
    key: EncodingKey,
    public: Vec<u8>,
}

impl Signer {
    /// Makes a key with this id.
    pub fn new(id: &str) -> Signer {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
        Signer { id: id.to_owned(), key, public: pair.public_key().as_ref().to_vec() }
    }

    fn jwk(&self) -> Value {
        // An uncompressed point: 4, then both coordinates.
        let (x, y) = self.public[1..].split_at(32);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "alg": "ES256",
               "x": text(x), "y": text(y)})
    }

    /// Signs claims.
    pub fn token(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// The set of their keys, as an issuer publishes it.
pub fn jwks(signers: &[&Signer]) -> Vec<u8> {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

/// An issuer whose tokens are for us.
pub fn issuer(name: &str) -> ExternalIssuer {
    ExternalIssuer { audience: vec!["us".to_owned()], ..ExternalIssuer::named(name) }
}

const ISSUERS: &str = r#"[{"issuer": "https://id.example", "audience": "us",
    "groups_claim": "realm.groups", "team_mapping": {"eng": "t1"}, "admin_groups": ["root"]}]"#;

struct Stage {
    verifier: Verifier,
    own: Forge,
    signer: Signer,
}

impl Stage {
    fn new() -> Stage {
        let settings = settings(&[("JWT_ISSUERS", ISSUERS), ("JWKS_CACHE_TTL", "300")]);
        let verifier = Verifier::new(&settings.auth, shared_rules(&settings).unwrap());
        let stage = Stage { verifier, own: Forge::new(&settings), signer: Signer::new("k1") };
        stage.learn("https://id.example", &[&stage.signer]);
        stage
    }

    fn learn(&self, name: &str, signers: &[&Signer]) {
        let ring = &self.verifier.externals.keyring;
        let _ = ring.find(&issuer(name), None, Algorithm::ES256, NOW);
        ring.put(
            (name, None),
            Some(jwks::KeySet::parse(&super::tests::jwks(signers)).unwrap()),
            NOW,
        );
    }

    fn ask_at(&self, resource: &Resource<'_>, token: &str) -> Result<Rc<Caller>, AuthError> {
        let header = format!("Bearer {token}");
        let people = People::default();
        self.verifier.identify_at(resource, Some(header.as_bytes()), None, here, &people, NOW)
    }

    fn ask(&self, token: &str) -> Result<Rc<Caller>, AuthError> {
        self.ask_at(&Resource::PLAIN, token)
    }

    fn fault(&self, token: &str) -> Fault {
        match self.ask(token) {
            Err(AuthError::Invalid(fault)) => fault,
            other => panic!("{other:?}"),
        }
    }
}

fn here() -> std::net::IpAddr {
    [127, 0, 0, 1].into()
}

/// Claims that are good, with some of them laid over.
fn claims(over: Value) -> Value {
    let mut claims = json!({"iss": "https://id.example", "aud": ["us", "them"], "sub": "17",
        "email": "Ann@Example.com", "email_verified": true, "exp": NOW + 60, "iat": NOW});
    for (name, value) in over.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[test]
fn a_token_of_another_issuer_names_its_user_by_address_with_the_teams_of_their_groups() {
    let stage = Stage::new();
    let token = stage.signer.token(&claims(json!({"realm": {"groups": ["eng", "other"]}})));
    let caller = stage.ask(&token).unwrap();
    assert_eq!(caller.email, "ann@example.com");
    assert_eq!(caller.teams, crate::auth::Teams::Listed(vec!["t1".to_owned()]));
    assert!(!caller.is_admin);
    assert!(Rc::ptr_eq(&caller, &stage.ask(&token).unwrap()), "it is remembered");
    let token = stage.signer.token(&claims(json!({"realm": {"groups": ["root"]}})));
    assert!(stage.ask(&token).unwrap().is_admin);
}

#[test]
fn our_own_tokens_stay_good_beside_those_of_others() {
    let stage = Stage::new();
    assert_eq!(stage.ask(&stage.own.token(r#"{"sub":"a@b"}"#)).unwrap().email, "a@b");
}

#[test]
fn says_what_is_wrong_with_each_kind_of_bad_token() {
    let stage = Stage::new();
    let fault = |over: Value| stage.fault(&stage.signer.token(&claims(over)));
    assert_eq!(fault(json!({"aud": "them"})), Fault::Audience);
    assert_eq!(fault(json!({"aud": null})), Fault::Audience);
    assert_eq!(fault(json!({"exp": NOW})), Fault::Expired);
    assert_eq!(fault(json!({"exp": "never"})), Fault::Malformed);
    assert_eq!(fault(json!({"nbf": NOW + 60})), Fault::NotYet);
    assert_eq!(fault(json!({"email": "ann"})), Fault::Nobody);
    assert_eq!(fault(json!({"email": "a@b\r\nx: y"})), Fault::Nobody);
    assert_eq!(fault(json!({"email_verified": false})), Fault::Unverified);
    assert_eq!(fault(json!({"email_verified": "false"})), Fault::Unverified);
    // Who claims to be of us must be signed by us.
    assert_ne!(fault(json!({"iss": "mcpgateway"})), Fault::Audience);
    let mut endless = claims(json!({}));
    endless.as_object_mut().unwrap().remove("exp");
    assert_eq!(stage.fault(&stage.signer.token(&endless)), Fault::Endless);
    let token = stage.signer.token(&claims(json!({})));
    let short = &token[..token.len() - 4];
    assert!(matches!(stage.fault(short), Fault::Signature | Fault::Malformed));
    let long = claims(json!({"pad": "x".repeat(20_000)}));
    assert_eq!(stage.fault(&stage.signer.token(&long)), Fault::Malformed);
}

#[test]
fn nobody_signs_with_what_is_public_or_not_at_all() {
    let stage = Stage::new();
    let claims = claims(json!({}));
    // The classic: HS256 with the bytes of the public key.
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
    for secret in [stage.signer.public.clone(), jwks(&[&stage.signer])] {
        let key = EncodingKey::from_secret(&secret);
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        assert_eq!(stage.fault(&token), Fault::Algorithm);
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for name in ["none", "None", "NONE"] {
        let header = json!({"alg": name, "kid": "k1"});
        let token = format!("{}.{}.", encode(&header), encode(&claims));
        assert_eq!(stage.fault(&token), Fault::Malformed, "{name}");
    }
}

#[test]
fn a_key_of_another_issuer_or_none_of_its_keys_signs_for_nobody_else() {
    let stage = Stage::new();
    let stranger = Signer::new("k1");
    assert_eq!(stage.fault(&stranger.token(&claims(json!({})))), Fault::Signature);
    let unknown = Signer::new("k2");
    assert_eq!(stage.fault(&unknown.token(&claims(json!({})))), Fault::UnknownKey);
    // The same key id at another issuer, which nobody trusts here.
    let token = stage.signer.token(&claims(json!({"iss": "https://evil.example"})));
    assert!(matches!(stage.ask(&token), Err(AuthError::Invalid(_))));
}

#[test]
fn a_protected_resource_takes_tokens_of_its_servers_that_are_for_it() {
    let stage = Stage::new();
    stage.learn("https://as.example", &[&stage.signer]);
    let protection = Protection {
        authorization_servers: vec!["https://as.example".to_owned()],
        ..Protection::default()
    };
    let uri = || Some("https://mcp.example/servers/a/mcp".to_owned());
    let resource = Resource { protection: Some(&protection), uri: &uri };
    let token =
        |aud: &str| stage.signer.token(&claims(json!({"iss": "https://as.example", "aud": aud})));
    assert!(stage.ask_at(&resource, &token("https://mcp.example/servers/a/mcp")).is_ok());
    for aud in ["https://mcp.example/servers/b/mcp", "https://mcp.example", "us", ""] {
        let refused = stage.ask_at(&resource, &token(aud));
        assert_eq!(refused, Err(AuthError::Invalid(Fault::Audience)), "{aud}");
    }
    // What is good there is good nowhere else, remembered or not.
    let good = token("https://mcp.example/servers/a/mcp");
    assert_eq!(stage.fault(&good), Fault::Algorithm, "it is no token of ours");
    assert!(stage.ask_at(&resource, &good).is_ok());
    assert_eq!(stage.fault(&good), Fault::Issuer);
    // And an issuer that is good elsewhere does not open it.
    let other = stage.signer.token(&claims(json!({"aud": uri().unwrap()})));
    let refused = stage.ask_at(&resource, &other);
    assert_eq!(refused, Err(AuthError::Invalid(Fault::Issuer)));
}

#[test]
fn a_remembered_token_is_looked_at_again_when_its_key_is_old() {
    let stage = Stage::new();
    let token = stage.signer.token(&claims(json!({"exp": NOW + 10_000})));
    assert!(stage.ask(&token).is_ok());
    let header = format!("Bearer {token}");
    let later =
        stage.verifier.identify(Some(header.as_bytes()), None, here, &People::default(), NOW + 300);
    assert!(matches!(later, Err(AuthError::Keys(_))), "{later:?}");
    let next = Signer::new("k2");
    let set = jwks::KeySet::parse(&super::tests::jwks(&[&next])).unwrap();
    stage.verifier.externals.keyring.put(("https://id.example", None), Some(set), NOW + 300);
    let gone =
        stage.verifier.identify(Some(header.as_bytes()), None, here, &People::default(), NOW + 301);
    assert_eq!(gone, Err(AuthError::Invalid(Fault::UnknownKey)));
}
