//! Secrets in JSON that is kept: found by the names of what holds them, and by how they look.

use serde_json::{Map, Value};
use url::Url;

use crate::settings::MASK;

/// What the name of a secret has in it, in small letters and without what stands between words.
const SECRET_NAMES: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "apikey",
    "accesskey",
    "privatekey",
    "clientkey",
    "encryptionkey",
    "signingkey",
    "credential",
    "cookie",
    "authvalue",
    "authheader",
    "bearer",
];

/// How a text begins that is a secret by itself.
const SECRET_SCHEMES: [&str; 3] = ["bearer ", "basic ", "digest "];

/// Masks every secret in a value, however deep it lies.
pub fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => mask_fields(fields),
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(text) => mask_text(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether what has this name is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let bare: String = name
        .chars()
        .filter(|letter| letter.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    // A count of tokens is none of them.
    let is_count = bare.ends_with("tokens") || bare.ends_with("count");
    !is_count && SECRET_NAMES.iter().any(|secret| bare.contains(secret))
}

fn mask_fields(fields: &mut Map<String, Value>) {
    // Headers are listed as pairs of a name and a value.
    let named = ["key", "name", "header"].iter().find_map(|field| fields.get(*field)?.as_str());
    let is_pair_of_secret = named.is_some_and(is_secret_name);
    for (name, value) in fields.iter_mut() {
        let is_secret = is_secret_name(name) || (is_pair_of_secret && name == "value");
        match (is_secret, value) {
            (true, Value::Null | Value::Bool(_)) => {}
            (true, value) => *value = Value::from(MASK),
            (false, value) => mask(value),
        }
    }
}

fn mask_text(text: &mut String) {
    let begins = |scheme: &str| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    if SECRET_SCHEMES.iter().any(|scheme| begins(scheme)) {
        *text = MASK.to_owned();
    } else if text.contains("://")
        && let Some(masked) = mask_url(text)
    {
        *text = masked;
    }
}

/// The URL without what only its owner should know; `None` if there is nothing of that kind.
fn mask_url(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    let has_secret = url.query_pairs().any(|(name, _)| is_secret_name(&name));
    if !has_user && !has_secret {
        return None;
    }
    if has_user {
        url.set_username("").ok()?;
        url.set_password(Some(MASK)).ok()?;
    }
    if has_secret {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let masked = pairs.iter().map(|(name, value)| match is_secret_name(name) {
            true => (name.as_str(), MASK),
            false => (name.as_str(), value.as_str()),
        });
        url.query_pairs_mut().clear().extend_pairs(masked);
    }
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_at_any_depth_and_the_rest_stays() {
        let mut value = json!({
            "name": "weather",
            "authType": "bearer",
            "authToken": "hunter2",
            "auth_headers": [{"key": "X-API-Key", "value": "hunter2"}],
            "nested": [{"Authorization": {"scheme": "hunter2"}, "API-KEY": 12345, "limit": 5}],
            "headers": [{"key": "X-Secret", "value": "hunter2"}, {"key": "Accept", "value": "a"}],
            "password": null,
            "has_password": true,
            "max_tokens": 100,
            "note": "Bearer hunter2",
            "arguments": {"client_secret": ["hunter2"]},
        });
        mask(&mut value);
        assert!(!value.to_string().contains("hunter2"), "{value}");
        assert!(!value.to_string().contains("12345"), "{value}");
        assert_eq!(value["name"], "weather");
        assert_eq!(value["nested"][0]["limit"], 5);
        assert_eq!(value["headers"][1]["value"], "a");
        assert_eq!(value["password"], Value::Null);
        assert_eq!(value["has_password"], true);
        assert_eq!(value["max_tokens"], 100);
    }

    #[test]
    fn a_url_loses_its_password_and_the_secrets_of_its_query() {
        for (url, expected) in [
            ("https://a.example/mcp?limit=1", "https://a.example/mcp?limit=1"),
            ("https://user:hunter2@a.example/mcp", "https://:*****@a.example/mcp"),
            ("https://a.example/?api_key=hunter2&q=x", "https://a.example/?api_key=*****&q=x"),
            ("see https://a.example", "see https://a.example"),
        ] {
            let mut value = Value::from(url);
            mask(&mut value);
            assert_eq!(value, expected);
        }
    }
}
