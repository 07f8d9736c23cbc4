//! What an issuer says of itself (RFC 8414, OpenID Connect Discovery): JSON to addresses.

use serde::Deserialize;
use url::Url;

/// The largest document that is read of an issuer, in bytes.
pub const DOCUMENT_SIZE_MAX: usize = 256 * 1024;

/// The metadata of an issuer, as far as anybody here needs them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// Its name, which must be the one that it was asked by.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_uri: Option<String>,
    /// Where users log in.
    pub authorization_endpoint: Option<String>,
    /// Where codes become tokens.
    pub token_endpoint: Option<String>,
    /// Where it tells of a user.
    pub userinfo_endpoint: Option<String>,
    /// How clients prove there who they are; unset: by `client_secret_basic`.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    /// Reads the metadata of `issuer`.
    ///
    /// # Errors
    ///
    /// A few words: they are none, or another's, or lead from https to http.
    pub fn parse(document: &[u8], issuer: &str) -> Result<Metadata, String> {
        let metadata: Metadata = serde_json::from_slice(document)
            .map_err(|_| "its metadata cannot be read".to_owned())?;
        if metadata.issuer != issuer {
            return Err("its metadata are those of another issuer".to_owned());
        }
        let addresses = [&metadata.jwks_uri, &metadata.token_endpoint, &metadata.userinfo_endpoint];
        let is_open = |url: &&String| !url.starts_with("https://");
        if issuer.starts_with("https://")
            && addresses.into_iter().flatten().any(|url| is_open(&url))
        {
            return Err("its metadata lead to addresses without TLS".to_owned());
        }
        Ok(metadata)
    }
}

/// Where an issuer's metadata may be, the likeliest first; none if its name is no URL.
pub fn places(issuer: &str) -> Vec<String> {
    let Ok(url) = Url::parse(issuer) else { return Vec::new() };
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
        return Vec::new();
    }
    let base = issuer.trim_end_matches('/');
    let origin = url.origin().ascii_serialization();
    let path = url.path().trim_end_matches('/');
    let mut places = vec![
        format!("{base}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ];
    if !path.is_empty() {
        places.push(format!("{origin}/.well-known/openid-configuration{path}"));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_where_either_standard_says() {
        assert_eq!(
            places("https://a.example/realms/x"),
            [
                "https://a.example/realms/x/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server/realms/x",
                "https://a.example/.well-known/openid-configuration/realms/x",
            ]
        );
        assert_eq!(places("https://a.example/").len(), 2);
        assert!(places("a.example").is_empty() && places("file:///etc/passwd").is_empty());
    }

    #[test]
    fn takes_nothing_from_an_issuer_of_another_name() {
        let read = |text: &str| Metadata::parse(text.as_bytes(), "https://a.example");
        assert!(read(r#"{"issuer": "https://a.example", "jwks_uri": "https://k"}"#).is_ok());
        assert!(read(r#"{"issuer": "https://a.example/", "jwks_uri": "https://k"}"#).is_err());
        assert!(read(r#"{"issuer": "https://a.example", "jwks_uri": "http://k"}"#).is_err());
        assert!(read("{}").is_err() && read("").is_err());
    }
}
