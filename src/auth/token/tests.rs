//! Tokens that are good and tokens that are not, in every algorithm.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::*;
use crate::auth::{Outside, Scopes, Teams};

/// A moment in November 2026, in seconds since the epoch: the clock of these tests is held.
pub const NOW: u64 = 1_795_000_000;

const SECRET: &str = "a secret of these tests, and long enough";

/// Checked settings with a fixed secret.
pub fn settings(overrides: &[(&str, &str)]) -> Settings {
    let mut given = vec![("JWT_SECRET_KEY", SECRET.to_owned())];
    given.extend(overrides.iter().map(|(name, value)| (*name, (*value).to_owned())));
    crate::settings::parse("", [], &given).unwrap().settings
}

/// Makes tokens for tests, with the issuer and the audience that are expected.
pub struct Forge {
    issuer: Issuer,
}

impl Forge {
    /// Signs with HS256 and the secret of the settings.
    pub fn new(settings: &Settings) -> Forge {
        Forge { issuer: Issuer::load(settings, Algorithm::HS256, None).unwrap() }
    }

    /// Signs claims, given as JSON, that may leave out `iss` and `aud`.
    pub fn token(&self, claims: &str) -> String {
        let mut all: Map<String, Value> =
            [("iss".into(), json!("mcpgateway")), ("aud".into(), json!("mcpgateway-api"))]
                .into_iter()
                .collect();
        all.extend(serde_json::from_str::<Map<String, Value>>(claims).unwrap());
        self.issuer.issue(&all).unwrap()
    }
}

fn verify_with(overrides: &[(&str, &str)], claims: &str) -> Result<Caller, Fault> {
    let settings = settings(overrides);
    let token = Forge::new(&settings).token(claims);
    Rules::load(&settings).unwrap().verify(token.as_bytes(), NOW)
}

fn verify(claims: &str) -> Result<Caller, Fault> {
    verify_with(&[], claims)
}

/// A token of raw parts, signed with the secret whatever its header says.
fn raw_token(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = aws_lc_rs::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn verify_raw(token: &str) -> Result<Caller, Fault> {
    Rules::load(&settings(&[])).unwrap().verify(token.as_bytes(), NOW)
}

const GOOD: &str = r#"{"sub":"a@b","iss":"mcpgateway","aud":"mcpgateway-api"}"#;

#[test]
fn takes_the_minimal_token_of_the_command_line() {
    let claims = r#"{"username":"a@b","sub":"a@b","iat":1,"jti":"7"}"#;
    let caller = verify(claims).unwrap();
    assert!(caller.claims.as_deref().unwrap().contains(r#""username":"a@b""#));
    let expected = Caller {
        foreign: None,
        email: "a@b".into(),
        user_id: None,
        is_admin: false,
        teams: Teams::Absent,
        scopes: None,
        token_id: Some("7".into()),
        expires_at: None,
        issued_at: Some(1),
        is_session: false,
        is_api_token: false,
        api_token_id: None,
        must_change_password: false,
        claims: caller.claims.clone(),
        rights: crate::auth::access::Rights::none(),
    };
    assert_eq!(caller, expected);
}

#[test]
fn a_login_names_the_record_of_its_user_and_other_issuers_subjects_are_theirs() {
    let id = "0123456789abcdef0123456789abcdef";
    let of = |sub: &str, token_use: &str| {
        let user = r#""user":{"email":"a@b"}"#;
        let claims = format!(r#"{{"sub":"{sub}","token_use":"{token_use}",{user}}}"#);
        let caller = verify(&claims).unwrap();
        assert_eq!(caller.email, "a@b");
        caller.user_id
    };
    assert_eq!((of(id, "session"), of(id, "api")), (Some(id.into()), Some(id.into())));
    assert_eq!(of(id, "other"), None);
    for foreign in ["a@b", "01234567-89ab-cdef-0123-456789abcdef", &id.to_uppercase(), &id[1..]] {
        assert_eq!(of(foreign, "session"), None, "{foreign}");
    }
}

#[test]
fn knows_an_administrator_by_address_or_by_either_claim() {
    assert!(verify(r#"{"sub":"admin@example.com"}"#).unwrap().is_admin);
    assert!(verify(r#"{"sub":"a","is_admin":true}"#).unwrap().is_admin);
    assert!(verify(r#"{"sub":"a","user":{"is_admin":true}}"#).unwrap().is_admin);
    assert!(!verify(r#"{"sub":"a","is_admin":false,"user":{"is_admin":false}}"#).unwrap().is_admin);
    assert!(!verify(r#"{"sub":"a","username":"admin@example.com"}"#).unwrap().is_admin);
    assert_eq!(verify(r#"{"sub":"a","is_admin":"true"}"#), Err(Fault::Malformed));
}

#[test]
fn reads_the_claims_of_a_login() {
    let caller = verify(
        r#"{"sub":"0b5f","user":{"email":"a@b","full_name":"A","is_admin":false,"auth_provider":"local"},
            "teams":[{"id":"t1","name":"T","slug":"t","is_personal":true,"role":"owner"},"t2"],
            "namespaces":["public"],
            "scopes":{"server_id":"s","permissions":["*"],"ip_restrictions":[],"time_restrictions":{}}}"#,
    )
    .unwrap();
    assert_eq!(caller.email, "a@b");
    assert_eq!(caller.teams, Teams::Listed(vec!["t1".into(), "t2".into()]));
    let (server_id, permissions) = (Some("s".into()), vec!["*".into()]);
    let scopes = Scopes { server_id, permissions, ..Scopes::default() };
    assert_eq!(caller.scopes, Some(scopes));
}

#[test]
fn tells_null_teams_from_none() {
    assert_eq!(verify(r#"{"sub":"a","teams":null}"#).unwrap().teams, Teams::Null);
    assert_eq!(verify(r#"{"sub":"a"}"#).unwrap().teams, Teams::Absent);
    assert_eq!(verify(r#"{"sub":"a","teams":[]}"#).unwrap().teams, Teams::Listed(vec![]));
}

#[test]
fn keeps_restrictions_and_refuses_what_it_does_not_understand() {
    let by = |scopes: &str| verify(&format!(r#"{{"sub":"a","scopes":{scopes}}}"#));
    let bound = by(r#"{"ip_restrictions":["10.0.0.0/8"]}"#).unwrap();
    assert_eq!(bound.check_place(|| [10, 0, 0, 1].into(), 0), Ok(()));
    assert_eq!(bound.check_place(|| [11, 0, 0, 1].into(), 0), Err(Outside::Address));
    let bound = by(r#"{"time_restrictions":{"business_hours_only":true}}"#).unwrap();
    assert_eq!(bound.check_place(|| [10, 0, 0, 1].into(), 0), Err(Outside::Time));
    assert_eq!(by(r#"{"ip_restrictions":["somewhere"]}"#), Err(Fault::Restricted));
    assert_eq!(by(r#"{"ip_restrictions":[7]}"#), Err(Fault::Malformed));
    assert_eq!(by(r#"{"time_restrictions":{"moon":"full"}}"#), Err(Fault::Restricted));
    assert!(by(r#"{"ip_restrictions":null,"permissions":["tools.read"]}"#).is_ok());
    assert!(by(r#"["tools.read"]"#).is_ok());
    assert_eq!(by("7"), Err(Fault::Malformed));
}

#[test]
fn is_good_from_its_beginning_to_before_its_end() {
    let at =
        |nbf: u64, exp: u64| verify(&format!(r#"{{"sub":"a","nbf":{nbf},"exp":{exp}}}"#)).err();
    assert_eq!(at(NOW, NOW + 1), None);
    assert_eq!(at(NOW, NOW), Some(Fault::Expired));
    assert_eq!(at(NOW + 10, NOW + 99), None);
    assert_eq!(at(NOW + 11, NOW + 99), Some(Fault::NotYet));
}

#[test]
fn takes_no_odd_end_for_none() {
    let by = |exp: &str| verify(&format!(r#"{{"sub":"a","exp":{exp}}}"#));
    assert_eq!(by("null"), Err(Fault::Malformed));
    assert_eq!(by("\"soon\""), Err(Fault::Malformed));
    assert_eq!(by("-5"), Err(Fault::Expired));
    assert_eq!(by(&format!("{NOW}.9")), Err(Fault::Expired));
    assert_eq!(by(&format!("{}.0", NOW + 1)).unwrap().expires_at, Some(NOW + 1));
}

#[test]
fn wants_an_end_only_where_that_is_set() {
    let strict = [("REQUIRE_TOKEN_EXPIRATION", "true")];
    assert_eq!(verify_with(&strict, r#"{"sub":"a"}"#), Err(Fault::Endless));
    assert!(verify_with(&strict, &format!(r#"{{"sub":"a","exp":{}}}"#, NOW + 1)).is_ok());
    assert!(verify(r#"{"sub":"a"}"#).is_ok());
}

#[test]
fn refuses_other_issuers_and_audiences_unless_told_not_to_look() {
    let cases = [
        (r#"{"sub":"a","iss":"other"}"#, "JWT_ISSUER_VERIFICATION", Fault::Issuer),
        (r#"{"sub":"a","iss":null}"#, "JWT_ISSUER_VERIFICATION", Fault::Issuer),
        (r#"{"sub":"a","aud":"other"}"#, "JWT_AUDIENCE_VERIFICATION", Fault::Audience),
        (r#"{"sub":"a","aud":null}"#, "JWT_AUDIENCE_VERIFICATION", Fault::Audience),
        (r#"{"sub":"a","aud":["x"]}"#, "JWT_AUDIENCE_VERIFICATION", Fault::Audience),
    ];
    for (claims, setting, fault) in cases {
        assert_eq!(verify(claims), Err(fault), "{claims}");
        assert!(verify_with(&[(setting, "false")], claims).is_ok(), "{claims}");
    }
    assert!(verify(r#"{"sub":"a","aud":["x","mcpgateway-api"]}"#).is_ok());
    assert!(verify_with(&[("JWT_ISSUER", "other")], r#"{"sub":"a","iss":"other"}"#).is_ok());
}

#[test]
fn refuses_a_token_that_names_nobody() {
    assert_eq!(verify("{}"), Err(Fault::Nobody));
    assert_eq!(verify(r#"{"sub":""}"#), Err(Fault::Nobody));
    assert_eq!(verify(r#"{"username":"a"}"#).unwrap().email, "a");
}

#[test]
fn refuses_a_claim_that_stands_twice() {
    let claims =
        r#"{"sub":"a","sub":"admin@example.com","iss":"mcpgateway","aud":"mcpgateway-api"}"#;
    assert_eq!(verify_raw(&raw_token(r#"{"alg":"HS256"}"#, claims)), Err(Fault::Malformed));
}

/// Every letter of the signature is changed in turn, and every letter of the claims.
#[test]
fn refuses_a_token_that_was_tampered_with_anywhere() {
    let rules = Rules::load(&settings(&[])).unwrap();
    let token = raw_token(r#"{"alg":"HS256"}"#, GOOD);
    assert!(rules.verify(token.as_bytes(), NOW).is_ok());
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        assert!(rules.verify(&bytes, NOW).is_err(), "byte {index}");
    }
    for size in 0..token.len() {
        assert!(rules.verify(&token.as_bytes()[..size], NOW).is_err(), "first {size} bytes");
    }
}

#[test]
fn refuses_every_algorithm_but_the_one_that_is_set() {
    for (header, fault) in [
        (r#"{"alg":"none"}"#, Fault::Malformed),
        (r#"{"alg":"None","typ":"JWT"}"#, Fault::Malformed),
        (r#"{"alg":"HS384"}"#, Fault::Algorithm),
        (r#"{"alg":"RS256"}"#, Fault::Algorithm),
        (r#"{"alg":"EdDSA"}"#, Fault::Algorithm),
        (r#"{}"#, Fault::Malformed),
    ] {
        assert_eq!(verify_raw(&raw_token(header, GOOD)), Err(fault), "{header}");
    }
    let unsigned = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        URL_SAFE_NO_PAD.encode(GOOD)
    );
    assert!(verify_raw(&unsigned).is_err());
}

#[test]
fn refuses_an_extension_that_must_be_understood() {
    let header = r#"{"alg":"HS256","crit":["b64"],"b64":false}"#;
    assert_eq!(verify_raw(&raw_token(header, GOOD)), Err(Fault::Malformed));
}

#[test]
fn refuses_another_secret_and_what_is_no_token() {
    let other = settings(&[("JWT_SECRET_KEY", "another secret, no less long than that")]);
    let token = Forge::new(&other).token(r#"{"sub":"a"}"#);
    assert_eq!(verify_raw(&token), Err(Fault::Signature));
    let long = "a.".repeat(TOKEN_SIZE_MAX);
    for token in ["", ".", "..", "...", "a.b.c", "é.é.é", &long] {
        assert_eq!(verify_raw(token), Err(Fault::Malformed));
    }
}

#[test]
fn signs_and_checks_with_every_secret_algorithm() {
    for name in ["HS256", "HS384", "HS512"] {
        let settings = settings(&[("JWT_ALGORITHM", name)]);
        let issuer = Issuer::load(&settings, settings.auth.algorithm, None).unwrap();
        let token = issuer.issue(&serde_json::from_str(GOOD).unwrap()).unwrap();
        assert!(Rules::load(&settings).unwrap().verify(token.as_bytes(), NOW).is_ok(), "{name}");
    }
}

/// Writes a key pair as two files in PEM and names them by settings.
fn with_key_pair(folder: &std::path::Path, name: &str, private: &[u8], public: &[u8]) -> Settings {
    let pem = |label: &str, der: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label} KEY-----\n{text}\n-----END {label} KEY-----\n")
    };
    let (private_path, public_path) = (folder.join("private"), folder.join("public"));
    std::fs::write(&private_path, pem("PRIVATE", private)).unwrap();
    std::fs::write(&public_path, pem("PUBLIC", public)).unwrap();
    let (private_path, public_path) =
        (private_path.to_str().unwrap(), public_path.to_str().unwrap());
    settings(&[
        ("JWT_ALGORITHM", name),
        ("JWT_PRIVATE_KEY_PATH", private_path),
        ("JWT_PUBLIC_KEY_PATH", public_path),
    ])
}

/// A private key and its public one, in DER.
fn key_pair(name: &str) -> (Vec<u8>, Vec<u8>) {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair,
    };
    let public = |der: PublicKeyX509Der<'_>| der.as_ref().to_vec();
    match name {
        "EdDSA" => {
            let pair = Ed25519KeyPair::generate().unwrap();
            let private = pair.to_pkcs8().unwrap().as_ref().to_vec();
            (private, public(pair.public_key().as_der().unwrap()))
        }
        "ES256" | "ES384" => {
            let kind = match name {
                "ES256" => &ECDSA_P256_SHA256_FIXED_SIGNING,
                _ => &ECDSA_P384_SHA384_FIXED_SIGNING,
            };
            let pair = EcdsaKeyPair::generate(kind).unwrap();
            let private = pair.to_pkcs8v1().unwrap().as_ref().to_vec();
            (private, public(pair.public_key().as_der().unwrap()))
        }
        _ => {
            let size = aws_lc_rs::rsa::KeySize::Rsa2048;
            let pair = aws_lc_rs::rsa::KeyPair::generate(size).unwrap();
            let private = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
            (private.as_ref().to_vec(), public(pair.public_key().as_der().unwrap()))
        }
    }
}

#[test]
fn signs_and_checks_with_key_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ES256", "ES384", "EdDSA", "RS256", "PS256"] {
        let (private, public) = key_pair(name);
        let settings = with_key_pair(folder.path(), name, &private, &public);
        let issuer = Issuer::load(&settings, settings.auth.algorithm, None).unwrap();
        let token = issuer.issue(&serde_json::from_str(GOOD).unwrap()).unwrap();
        let rules = Rules::load(&settings).unwrap();
        assert!(rules.verify(token.as_bytes(), NOW).is_ok(), "{name}");
        assert!(rules.verify(&token.as_bytes()[1..], NOW).is_err(), "{name}");
    }
}

/// The old confusion: the public key, which everybody has, taken for an HMAC secret.
#[test]
fn a_public_key_is_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = key_pair("ES256");
    let keyed = with_key_pair(folder.path(), "ES256", &private, &public);
    let pem = std::fs::read_to_string(folder.path().join("public")).unwrap();
    let forged = Forge::new(&settings(&[("JWT_SECRET_KEY", &pem)])).token(r#"{"sub":"a"}"#);
    let rules = Rules::load(&keyed).unwrap();
    assert_eq!(rules.verify(forged.as_bytes(), NOW), Err(Fault::Algorithm));
}

#[test]
fn names_the_file_that_holds_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = key_pair("ES256");
    let keyed = with_key_pair(folder.path(), "RS256", &private, &public);
    let error = Rules::load(&keyed).err().unwrap().to_string();
    assert!(error.contains("public holds no key in PEM for RS256"), "{error}");
    std::fs::remove_file(folder.path().join("public")).unwrap();
    assert!(matches!(Rules::load(&keyed), Err(KeyError::File { .. })));
}
