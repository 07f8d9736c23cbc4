//! The beginning of our own addresses, as those know us who are told one.

use super::Client;
use crate::settings::Settings;

/// What our own addresses begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// What `APP_DOMAIN` says, or where we listen.
    origin: String,
    /// Whether clients may say by which name they know us: only one of this machine can ask, and
    /// names that lead here from elsewhere were refused.
    is_asked: bool,
    root_path: String,
}

impl Base {
    /// Takes what the settings say.
    pub fn new(settings: &Settings) -> Base {
        // Without the port that goes without saying, as clients write it.
        let plain = |url: url::Url| url.origin().ascii_serialization();
        let named = settings.origins.app_domain.as_ref();
        let named = named.and_then(|it| url::Url::parse(&it.to_string()).ok()).map(plain);
        let scheme = if settings.tls().is_some() { "https" } else { "http" };
        Base {
            is_asked: named.is_none() && settings.is_loopback(),
            origin: named.unwrap_or_else(|| format!("{scheme}://{}", settings.address())),
            root_path: settings.listen.root_path.clone(),
        }
    }

    /// The beginning of the addresses that `client` is told, without a slash at its end.
    ///
    /// Tokens are compared with such addresses, so beyond loopback no client chooses them.
    pub fn of(&self, client: Option<&Client<'_>>) -> String {
        let asked = client.filter(|_| self.is_asked).and_then(Client::origin);
        format!("{}{}", asked.as_deref().unwrap_or(&self.origin), self.root_path)
    }

    /// The beginning of the address by which `client` itself reached us, without a slash at its end.
    ///
    /// Clients take no other for a part of us. It is good for whom it is told and for nobody else, so
    /// nothing may be decided by it.
    pub fn reached_by(&self, client: &Client<'_>) -> String {
        // What the operator says knows the scheme better than a proxy that nobody trusts.
        let is_named = |host: &str| self.origin.split_once("://").is_some_and(|own| own.1 == host);
        let asked = client.origin().filter(|_| !client.host.is_some_and(is_named));
        format!("{}{}", asked.as_deref().unwrap_or(&self.origin), self.root_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(settings: &[(&str, &str)], host: &'static str) -> String {
        let given: Vec<_> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let base = Base::new(&crate::settings::parse("", [], &given).unwrap().settings);
        base.of(Some(&Client { host: Some(host), ..Client::LOCAL }))
    }

    #[test]
    fn a_client_reaches_us_by_the_name_that_it_asked_for() {
        let reached = |settings: &[(&str, &str)], host| {
            let given: Vec<_> =
                settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            let base = Base::new(&crate::settings::parse("", [], &given).unwrap().settings);
            base.reached_by(&Client { host, ..Client::LOCAL })
        };
        let open = [("HOST", "0.0.0.0"), ("APP_ROOT_PATH", "/gw")];
        assert_eq!(reached(&open, Some("mcp.example:80")), "http://mcp.example:80/gw");
        let named = [("APP_DOMAIN", "https://mcp.example.com")];
        assert_eq!(reached(&named, Some("mcp.example.com")), "https://mcp.example.com");
        assert_eq!(reached(&named, Some("gateway.internal")), "http://gateway.internal");
        assert_eq!(reached(&named, None), "https://mcp.example.com");
    }

    #[test]
    fn is_what_the_operator_says_and_the_clients_word_on_loopback_only() {
        assert_eq!(base(&[], "localhost:4444"), "http://localhost:4444");
        let named = ("APP_DOMAIN", "https://mcp.example.com");
        assert_eq!(base(&[named], "evil.example"), "https://mcp.example.com");
        let open = [("HOST", "0.0.0.0"), ("APP_ROOT_PATH", "/gw")];
        assert_eq!(base(&open, "evil.example"), "http://0.0.0.0:4444/gw");
    }
}
