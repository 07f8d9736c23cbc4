//! Cookies (RFC 6265): how ours are set, and how one is found among those that came.

use std::time::Duration;

use super::{Client, Scheme};
use crate::settings::{SameSite, Settings};

/// How cookies of ours are set.
#[derive(Debug, Clone)]
pub struct Cookies {
    is_secure: bool,
    same_site: SameSite,
    path: String,
}

/// Who may read a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Only we (`HttpOnly`).
    Ourselves,
    /// The scripts of our pages too.
    Pages,
}

impl Cookies {
    /// Takes what the settings say.
    pub fn new(settings: &Settings) -> Cookies {
        let root = settings.listen.root_path.as_str();
        Cookies {
            is_secure: settings.web.secure_cookies,
            same_site: settings.web.same_site,
            path: if root.is_empty() { "/".to_owned() } else { root.to_owned() },
        }
    }

    /// As these, but sent with no request that another site makes.
    pub fn strict(&self) -> Cookies {
        Cookies { same_site: SameSite::Strict, ..self.clone() }
    }

    /// As these, but sent too when another site brings a browser back to us by a link.
    pub fn crossing(&self) -> Cookies {
        let same_site = match self.same_site {
            SameSite::Strict => SameSite::Lax,
            other => other,
        };
        Cookies { same_site, ..self.clone() }
    }

    /// The value of `Set-Cookie` that gives `client` a cookie for so long.
    ///
    /// # Panics
    ///
    /// If name or value holds what no cookie can: both are ours.
    pub fn set(
        &self,
        client: &Client<'_>,
        name: &str,
        value: &str,
        age_max: Duration,
        readers: Readers,
    ) -> String {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
        assert!(value.bytes().all(is_plain), "the value of a cookie is plain");
        assert!(!name.is_empty() && name.bytes().all(|byte| is_plain(byte) && byte != b'='));
        let (path, age_max) = (&self.path, age_max.as_secs());
        let same_site = match self.same_site {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
            SameSite::None => "None",
        };
        let http_only = if readers == Readers::Ourselves { "; HttpOnly" } else { "" };
        let secure = if self.needs_https(client) { "; Secure" } else { "" };
        format!(
            "{name}={value}; Path={path}; Max-Age={age_max}; SameSite={same_site}{http_only}{secure}"
        )
    }

    /// The value of `Set-Cookie` that takes a cookie away again.
    pub fn clear(&self, client: &Client<'_>, name: &str, readers: Readers) -> String {
        self.set(client, name, "", Duration::ZERO, readers)
    }

    /// A browser on this machine may come without encryption, which some then lose a cookie over.
    fn needs_https(&self, client: &Client<'_>) -> bool {
        client.scheme == Scheme::Https
            || self.same_site == SameSite::None
            || (self.is_secure && !client.ip.is_loopback())
    }
}

/// Finds a cookie in the value of `Cookie`; the first, if it came twice.
pub fn find<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    header.split(|byte| *byte == b';').find_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let bare = rest.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\""));
        Some(bare.unwrap_or(rest)).filter(|value| !value.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(settings: &[(&str, &str)]) -> Cookies {
        let given: Vec<_> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Cookies::new(&crate::settings::parse("", [], &given).unwrap().settings)
    }

    fn set(cookies: &Cookies, scheme: Scheme, ip: &str) -> String {
        let client = Client { ip: ip.parse().unwrap(), scheme, host: None };
        cookies.set(&client, "jwt_token", "a.b.c", Duration::from_secs(60), Readers::Ourselves)
    }

    #[test]
    fn a_cookie_is_ours_alone_and_needs_https() {
        let text = set(&cookies(&[]), Scheme::Https, "192.0.2.1");
        assert_eq!(text, "jwt_token=a.b.c; Path=/; Max-Age=60; SameSite=Lax; HttpOnly; Secure");
        assert!(set(&cookies(&[]), Scheme::Http, "192.0.2.1").ends_with("; Secure"));
    }

    #[test]
    fn it_needs_https_as_scheme_and_settings_say() {
        let lax = cookies(&[("SECURE_COOKIES", "false")]);
        for (cookies, scheme, ip, expected) in [
            (&cookies(&[]), Scheme::Http, "127.0.0.1", false),
            (&cookies(&[]), Scheme::Http, "::1", false),
            (&cookies(&[]), Scheme::Https, "127.0.0.1", true),
            (&lax, Scheme::Http, "192.0.2.1", false),
            (&lax, Scheme::Https, "192.0.2.1", true),
            (&cookies(&[("COOKIE_SAMESITE", "none")]), Scheme::Http, "127.0.0.1", true),
        ] {
            let text = set(cookies, scheme, ip);
            assert_eq!(text.contains("; Secure"), expected, "{scheme:?} {ip}: {text}");
        }
    }

    #[test]
    fn it_belongs_to_our_path_and_can_be_taken_away() {
        let cookies = cookies(&[("APP_ROOT_PATH", "/gateway"), ("COOKIE_SAMESITE", "strict")]);
        let text = cookies.clear(&Client::LOCAL, "a", Readers::Pages);
        assert_eq!(text, "a=; Path=/gateway; Max-Age=0; SameSite=Strict");
    }

    #[test]
    #[should_panic(expected = "plain")]
    fn a_value_cannot_bring_attributes_of_its_own() {
        let value = "a; Domain=evil.example";
        cookies(&[]).set(&Client::LOCAL, "a", value, Duration::ZERO, Readers::Pages);
    }

    #[test]
    fn finds_one_among_others() {
        let found = |text: &'static str| find(text.as_bytes(), "a").map(<[u8]>::to_vec);
        assert_eq!(found("b=1; a=2;c=3"), Some(b"2".to_vec()));
        assert_eq!(found("a=\"2\"; a=3"), Some(b"2".to_vec()));
        assert_eq!(found("ba=1; a; ab=2; a="), None);
    }
}
