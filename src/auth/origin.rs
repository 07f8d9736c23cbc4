//! Which pages and which names may reach us.
//!
//! A page that a user happens to visit can make the browser call a gateway on the user's machine,
//! even under the page's own name by turning that name to a local address (DNS rebinding). The
//! browser cannot be made to lie in `Origin` and `Host`, so both are held against lists.

use std::net::IpAddr;

use crate::settings::Settings;
use crate::settings::authority::{Allowed, HostRule, Origin, split};

/// The lists, ready to compare.
#[derive(Debug, Clone)]
pub struct Gate {
    any_host: bool,
    hosts: Vec<HostRule>,
    any_origin: bool,
    origins: Vec<Origin>,
}

/// A request that may not pass: answer 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// `Host` names something that we are not.
    Host,
    /// `Origin` names a page that we do not know.
    Origin,
}

impl Foreign {
    /// The text for the field `detail`, which says what would let the request pass.
    pub fn detail(self) -> &'static str {
        match self {
            Foreign::Host => "Host not allowed: the gateway's ALLOWED_HOSTS does not name it",
            Foreign::Origin => "Origin not allowed: the gateway's ALLOWED_ORIGINS does not name it",
        }
    }
}

impl Gate {
    /// Makes the lists that the settings mean.
    pub fn new(settings: &Settings) -> Gate {
        let origins = &settings.origins;
        let mut hosts = vec![named("localhost"), named("127.0.0.1"), named("[::1]")];
        if !settings.listen.host.is_unspecified() {
            hosts.push(HostRule { name: literal(settings.listen.host), port: None });
        }
        if let Some(domain) = &origins.app_domain {
            hosts.push(HostRule { name: domain.host.name.clone(), port: None });
        }
        let listed_hosts = listed(&origins.allowed_hosts);
        let any_host = match listed_hosts {
            None => true,
            Some(listed) => listed.is_empty() && !settings.is_loopback(),
        };
        hosts.extend_from_slice(listed_hosts.unwrap_or_default());
        let listed_origins = listed(&origins.allowed_origins);
        Gate {
            any_host,
            hosts,
            any_origin: listed_origins.is_none(),
            origins: listed_origins.unwrap_or_default().to_vec(),
        }
    }

    /// Lets a request with these headers pass. What is absent is not refused: a browser always
    /// sends `Host`, and `Origin` with everything that could change something.
    ///
    /// # Errors
    ///
    /// [`Foreign`]: answer 403.
    pub fn admit(&self, host: Option<&[u8]>, origin: Option<&[u8]>) -> Result<(), Foreign> {
        if host.is_some_and(|host| !self.is_host_allowed(host)) {
            return Err(Foreign::Host);
        }
        if origin.is_some_and(|origin| !self.is_origin_allowed(origin)) {
            return Err(Foreign::Origin);
        }
        Ok(())
    }

    /// Whether a page of this origin may call.
    pub fn is_origin_allowed(&self, origin: &[u8]) -> bool {
        self.any_origin || self.is_origin_listed(origin).unwrap_or(false)
    }

    fn is_host_allowed(&self, host: &[u8]) -> bool {
        if self.any_host {
            return true;
        }
        split(host).is_some_and(|(name, port)| self.is_host_listed(name, port) || is_address(name))
    }

    fn is_host_listed(&self, name: &[u8], port: Option<u16>) -> bool {
        self.hosts.iter().any(|rule| rule.matches(name, port))
    }

    fn is_origin_listed(&self, origin: &[u8]) -> Option<bool> {
        let at = memchr::memmem::find(origin, b"://")?;
        let scheme = &origin[..at];
        let (name, port) = split(&origin[at + 3..])?;
        let is_web = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
        let is_ours = is_web && self.is_host_listed(name, port);
        Some(is_ours || self.origins.iter().any(|known| known.matches(scheme, name, port)))
    }
}

/// `None` for "any".
fn listed<T>(allowed: &Allowed<T>) -> Option<&[T]> {
    match allowed {
        Allowed::Any => None,
        Allowed::Only(list) => Some(list),
    }
}

fn named(name: &str) -> HostRule {
    HostRule { name: name.to_owned(), port: None }
}

fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Whether a name is an address. Whoever writes one meant to reach it: there is no name to rebind.
/// This lets probes in, which know a container by its address only.
fn is_address(name: &[u8]) -> bool {
    let bare = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    std::str::from_utf8(bare.unwrap_or(name)).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(settings: &[(&str, &str)], host: &str, origin: &str) -> Result<(), Foreign> {
        let given: Vec<_> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let gate = Gate::new(&crate::settings::parse("", [], &given).unwrap().settings);
        // An empty text stands for a header that is not there.
        let header = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        gate.admit(header(host).as_deref(), header(origin).as_deref())
    }

    #[test]
    fn lets_local_names_pass_on_any_port() {
        for host in ["localhost", "LOCALHOST:4444", "127.0.0.1:1", "[::1]:4444", "10.0.0.5", ""] {
            assert_eq!(admit(&[], host, ""), Ok(()), "{host}");
        }
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:4444"] {
            assert_eq!(admit(&[], "localhost:4444", origin), Ok(()), "{origin}");
        }
    }

    #[test]
    fn refuses_names_that_were_rebound() {
        for host in [
            "evil.example",
            "evil.example:4444",
            "localhost.evil.example",
            "local host",
            "localhost:",
            "localhost:x",
            "localhost@evil.example",
            "127.0.0.1.evil.example",
        ] {
            assert_eq!(admit(&[], host, ""), Err(Foreign::Host), "{host}");
        }
    }

    #[test]
    fn refuses_pages_that_it_does_not_know() {
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost.evil.example",
            "localhost",
            "ftp://localhost",
            "http://10.0.0.5",
            "http://localhost@evil.example",
            "http://",
        ] {
            assert_eq!(admit(&[], "localhost", origin), Err(Foreign::Origin), "{origin}");
        }
    }

    #[test]
    fn beyond_loopback_any_host_passes_until_some_are_named_but_no_unknown_page() {
        let open = [("HOST", "0.0.0.0")];
        assert_eq!(admit(&open, "gateway.corp:4444", ""), Ok(()));
        let rebound = admit(&open, "evil.example:4444", "http://evil.example:4444");
        assert_eq!(rebound, Err(Foreign::Origin));
        let named = [("HOST", "0.0.0.0"), ("ALLOWED_HOSTS", "gateway.corp, b:81")];
        assert_eq!(admit(&named, "gateway.corp:4444", "https://gateway.corp"), Ok(()));
        assert_eq!(admit(&named, "b:81", ""), Ok(()));
        assert_eq!(admit(&named, "b:82", ""), Err(Foreign::Host));
        assert_eq!(admit(&named, "evil.example", ""), Err(Foreign::Host));
    }

    #[test]
    fn lets_listed_pages_and_the_public_name_pass() {
        let set = [
            ("ALLOWED_ORIGINS", r#"["https://app.example", "vscode-webview://abc"]"#),
            ("APP_DOMAIN", "https://mcp.example.com"),
        ];
        for origin in [
            "https://app.example",
            "https://app.example:443",
            "vscode-webview://abc",
            "https://mcp.example.com",
        ] {
            assert_eq!(admit(&set, "mcp.example.com", origin), Ok(()), "{origin}");
        }
        for origin in ["http://app.example", "https://app.example:444", "https://x.app.example"] {
            assert_eq!(admit(&set, "localhost", origin), Err(Foreign::Origin), "{origin}");
        }
    }

    #[test]
    fn a_star_lets_everything_pass() {
        let set = [("ALLOWED_ORIGINS", "*"), ("ALLOWED_HOSTS", "*")];
        assert_eq!(admit(&set, "evil.example", "null"), Ok(()));
    }
}
