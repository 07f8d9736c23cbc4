//! Code against token: the request that a provider is sent, and what it answers (RFC 6749 §4.1.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::flow::Flow;
use super::provider::{Endpoints, Provider};
use crate::auth::external::claims::plain_address;
use crate::settings::Secret;

/// What a provider is sent for a code.
pub struct TokenRequest {
    /// The body, a form.
    pub form: Secret,
    /// The header `Authorization`.
    pub authorization: Option<Secret>,
}

impl TokenRequest {
    /// The request for the code that came back with the user of `flow`.
    pub fn new(
        provider: &Provider,
        endpoints: &Endpoints,
        flow: &Flow,
        code: &str,
    ) -> TokenRequest {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &flow.redirect_uri)
            .append_pair("code_verifier", &flow.verifier);
        let in_header = provider.client_secret.as_ref().filter(|_| !endpoints.secret_in_form);
        if in_header.is_none() {
            form.append_pair("client_id", &provider.client_id);
            if let Some(secret) = &provider.client_secret {
                form.append_pair("client_secret", secret.expose());
            }
        }
        // Both parts are encoded as in a form before they are joined (RFC 6749 §2.3.1).
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let authorization = in_header.map(|secret| {
            let pair = format!("{}:{}", encoded(&provider.client_id), encoded(secret.expose()));
            Secret::new(format!("Basic {}", STANDARD.encode(pair)))
        });
        TokenRequest { form: Secret::new(form.finish()), authorization }
    }
}

/// What a provider gives for a code.
#[derive(Deserialize)]
pub struct Granted {
    /// Opens what the provider tells of the user.
    pub access_token: Option<String>,
    /// Says who logged in.
    pub id_token: Option<String>,
    error: Option<String>,
}

impl Granted {
    /// Reads what was answered with `status`.
    ///
    /// # Errors
    ///
    /// A few words, by which the provider says no.
    pub fn read(status: u16, body: &[u8]) -> Result<Granted, String> {
        let granted: Result<Granted, _> = serde_json::from_slice(body);
        // GitHub tells of errors with status 200.
        match granted {
            Ok(Granted { error: Some(error), .. }) => Err(format!("it says {}", word(&error))),
            Ok(granted) if status == 200 => Ok(granted),
            _ => Err(format!("it answers with status {status}")),
        }
    }
}

/// The code of an error, as far as it is one (RFC 6749 §5.2): others' texts go into our logs.
pub fn word(code: &str) -> String {
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "_-.".contains(*letter);
    code.chars().filter(is_plain).take(64).collect()
}

/// The address that a user calls their first, if it is verified, in the list that GitHub gives.
pub fn primary_address(list: &[u8]) -> Option<String> {
    let list: Vec<Value> = serde_json::from_slice(list).ok()?;
    let is_it = |entry: &&Value| entry["primary"] == true && entry["verified"] == true;
    plain_address(list.iter().find(is_it)?["email"].as_str()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::provider::{Habits, Protocol};
    use super::*;

    fn provider(secret: Option<&str>) -> Provider {
        Provider {
            id: "p".to_owned(),
            name: "p".to_owned(),
            display_name: "P".to_owned(),
            protocol: Protocol::Oidc,
            client_id: "we:us".to_owned(),
            client_secret: secret.map(Secret::new),
            issuer: None,
            authorization_url: None,
            token_url: None,
            userinfo_url: None,
            jwks_uri: None,
            scope: String::new(),
            trusted_domains: Vec::new(),
            auto_create_users: true,
            team_mapping: Default::default(),
            habits: Habits::default(),
        }
    }

    fn request(secret: Option<&str>, secret_in_form: bool) -> (String, Option<String>) {
        let endpoints = Endpoints {
            authorization: String::new(),
            token: String::new(),
            userinfo: None,
            secret_in_form,
        };
        let flow = Flow::begin("p", "https://us/cb".to_owned(), None, (0, Duration::ZERO));
        let request = TokenRequest::new(&provider(secret), &endpoints, &flow, "c&d");
        let authorization = request.authorization.map(|it| it.expose().to_owned());
        (request.form.expose().to_owned(), authorization)
    }

    #[test]
    fn the_secret_goes_where_the_provider_wants_it_and_nowhere_else() {
        let (form, header) = request(Some("s+s"), false);
        assert!(form.contains("code=c%26d") && !form.contains("client_secret"), "{form}");
        let pair = STANDARD.encode("we%3Aus:s%2Bs");
        assert_eq!(header.as_deref(), Some(&*format!("Basic {pair}")));
        let (form, header) = request(Some("s+s"), true);
        assert!(form.ends_with("&client_id=we%3Aus&client_secret=s%2Bs"), "{form}");
        assert_eq!(header, None);
        let (form, header) = request(None, false);
        assert!(form.ends_with("&client_id=we%3Aus") && header.is_none(), "{form}");
    }

    #[test]
    fn an_error_is_one_whatever_its_status() {
        let error = br#"{"error": "bad_code\r\nx", "access_token": "a"}"#;
        assert_eq!(Granted::read(200, error).err().unwrap(), "it says bad_codex");
        assert!(Granted::read(500, br#"{"access_token": "a"}"#).is_err());
        assert!(Granted::read(200, b"<html>").is_err());
        assert!(Granted::read(200, br#"{"access_token": "a"}"#).is_ok());
    }

    #[test]
    fn only_the_first_address_counts_and_only_if_verified() {
        let read = |text: &str| primary_address(text.as_bytes());
        let two = r#"[{"email": "x@y", "verified": true, "primary": false},
                      {"email": "A@b", "verified": true, "primary": true}]"#;
        assert_eq!(read(two).as_deref(), Some("a@b"));
        assert_eq!(read(r#"[{"email": "a@b", "verified": false, "primary": true}]"#), None);
        assert_eq!(read("{}"), None);
    }
}
