//! What makes an endpoint a protected resource of OAuth 2.1: whose tokens open it, and what for.

use serde::Deserialize;
use storage::record::Server;

/// A protected resource as RFC 9728 describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protection {
    /// The issuers whose tokens open it; at least one.
    pub authorization_servers: Vec<String>,
    /// The scopes that clients may ask for.
    pub scopes_supported: Vec<String>,
    /// The scopes that a token must have, all of them.
    pub scopes_required: Vec<String>,
    /// Whom tokens may be for besides the address of the endpoint: a name of the resource, or the
    /// id of a client where an issuer knows no resources.
    pub audiences: Vec<String>,
}

/// The field `oauth_config`, as ContextForge has it. What else stands there is kept and not read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    authorization_servers: Vec<String>,
    #[serde(alias = "issuer")]
    authorization_server: Option<String>,
    #[serde(alias = "scopes")]
    scopes_supported: Vec<String>,
    scopes_required: Vec<String>,
    resource: Option<String>,
    client_id: Option<String>,
}

impl Protection {
    /// Reads what a virtual server says; `None` if it is open to no authorization server.
    pub fn of(server: &Server) -> Option<Protection> {
        let text = server.oauth_config.as_deref().filter(|_| server.oauth_enabled)?;
        Protection::parse(text).ok()
    }

    /// Reads the JSON of `oauth_config`.
    ///
    /// # Errors
    ///
    /// A sentence for whoever wrote it.
    pub fn parse(text: &str) -> Result<Protection, String> {
        let config: Config = serde_json::from_str(text)
            .map_err(|_| "it should be an object; lists hold texts".to_owned())?;
        let mut authorization_servers = config.authorization_servers;
        authorization_servers.extend(config.authorization_server);
        authorization_servers.retain(|issuer| !issuer.is_empty());
        authorization_servers.dedup();
        if authorization_servers.is_empty() {
            return Err("it needs authorization_servers".to_owned());
        }
        // A server named its audience exactly; only who did not is known by the id of a client.
        let audiences = match config.resource.filter(|name| !name.is_empty()) {
            Some(name) => vec![name],
            None => config.client_id.into_iter().filter(|id| !id.is_empty()).collect(),
        };
        let mut scopes_supported = config.scopes_supported;
        // A client asks for it by itself (OpenID Connect Core §11); a resource does not.
        scopes_supported.retain(|scope| scope != "offline_access");
        let scopes_required = config.scopes_required;
        let words = scopes_supported.iter().chain(&scopes_required);
        if words.into_iter().any(|word| !is_scope(word)) {
            return Err("a scope is one word of visible letters without \" and \\".to_owned());
        }
        Ok(Protection { authorization_servers, scopes_supported, scopes_required, audiences })
    }

    /// What a client should ask for: what is needed, or else all that there is.
    pub fn scopes_wanted(&self) -> &[String] {
        match self.scopes_required.is_empty() {
            true => &self.scopes_supported,
            false => &self.scopes_required,
        }
    }
}

/// A word that may stand in a scope (RFC 6749 §3.3), and so in a quoted text of a challenge.
fn is_scope(word: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    !word.is_empty() && word.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_spellings_of_contextforge() {
        let read = |text| Protection::parse(text).unwrap();
        let one = read(r#"{"authorization_server": "https://a.example", "client_id": "c"}"#);
        assert_eq!(one.authorization_servers, ["https://a.example"]);
        assert_eq!(one.audiences, ["c"]);
        let several = read(
            r#"{"authorization_servers": ["https://a.example", "https://b.example"],
                "scopes": ["read", "offline_access"], "resource": "urn:r", "client_id": "c"}"#,
        );
        assert_eq!(several.authorization_servers.len(), 2);
        assert_eq!(several.scopes_wanted(), ["read"]);
        assert_eq!(several.audiences, ["urn:r"]);
    }

    #[test]
    fn takes_nothing_that_names_no_server_or_breaks_a_challenge() {
        for text in [
            "[]",
            "{}",
            r#"{"authorization_servers": []}"#,
            r#"{"issuer": "https://a.example", "scopes_required": ["a\" error=\"x"]}"#,
            r#"{"issuer": "https://a.example", "scopes_supported": ["a b"]}"#,
        ] {
            assert!(Protection::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_server_that_is_switched_off_for_oauth_has_none() {
        let mut server =
            Server { oauth_config: Some(r#"{"issuer": "i"}"#.to_owned()), ..Server::default() };
        assert_eq!(Protection::of(&server), None);
        server.oauth_enabled = true;
        assert!(Protection::of(&server).is_some());
    }
}
