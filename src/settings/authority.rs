//! Hosts and origins: what settings allow, and how a header names one.

/// What may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed<T> {
    /// Everything.
    Any,
    /// What is listed, which may be nothing.
    Only(Vec<T>),
}

/// A host, on one port or on any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// The name or address in lower case, an IPv6 address in brackets.
    pub name: String,
    /// The port; `None` for any.
    pub port: Option<u16>,
}

/// Where a page came from (RFC 6454): a scheme and a host, and a port unless it is the scheme's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The scheme in lower case.
    pub scheme: String,
    /// The host and the port.
    pub host: HostRule,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}://{}", self.scheme, self.host.name)?;
        self.host.port.map_or(Ok(()), |port| write!(out, ":{port}"))
    }
}

impl HostRule {
    /// Reads `name`, `name:port`, `[address]` or `[address]:port`.
    pub fn parse(text: &str) -> Option<HostRule> {
        let (name, port) = split(text.as_bytes())?;
        let is_plain = |byte: &u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'[' | b']' | b':')
        };
        if name.is_empty() || !name.iter().all(is_plain) {
            return None;
        }
        let name = String::from_utf8(name.to_ascii_lowercase()).ok()?;
        Some(HostRule { name, port })
    }

    /// Whether a header's name and port are this host. A header leaves out the port that its
    /// scheme implies.
    pub fn matches(&self, name: &[u8], port: Option<u16>) -> bool {
        self.name.as_bytes().eq_ignore_ascii_case(name)
            && match (self.port, port) {
                (None, _) => true,
                (Some(wanted), Some(port)) => wanted == port,
                (Some(wanted), None) => wanted == 80 || wanted == 443,
            }
    }
}

impl Origin {
    /// Reads `scheme://host` or `scheme://host:port`; one slash at the end is forgiven.
    pub fn parse(text: &str) -> Option<Origin> {
        let (scheme, authority) = text.strip_suffix('/').unwrap_or(text).split_once("://")?;
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let mut host = HostRule::parse(authority)?;
        host.port = host.port.or_else(|| default_port(scheme.as_bytes()));
        Some(Origin { scheme, host })
    }

    /// Whether a header's scheme, name and port are this origin.
    pub fn matches(&self, scheme: &[u8], name: &[u8], port: Option<u16>) -> bool {
        self.host.port == port.or_else(|| default_port(scheme))
            && self.scheme.as_bytes().eq_ignore_ascii_case(scheme)
            && self.host.name.as_bytes().eq_ignore_ascii_case(name)
    }
}

/// Splits `host[:port]` as `Host` (RFC 9112 §3.2) and `Origin` have it. The name keeps the brackets
/// of an IPv6 address. `None` if it is neither.
pub fn split(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let from = match authority.first() {
        Some(b'[') => authority.iter().position(|byte| *byte == b']')? + 1,
        _ => authority.iter().position(|byte| *byte == b':').unwrap_or(authority.len()),
    };
    let (name, rest) = authority.split_at(from);
    match rest {
        [] => Some((name, None)),
        [b':', digits @ ..] => parse_port(digits).map(|port| (name, Some(port))),
        _ => None,
    }
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    // `parse` alone would take a plus sign.
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

fn default_port(scheme: &[u8]) -> Option<u16> {
    if scheme.eq_ignore_ascii_case(b"https") {
        Some(443)
    } else if scheme.eq_ignore_ascii_case(b"http") {
        Some(80)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_names_addresses_and_ports() {
        let read = |text: &'static str| split(text.as_bytes());
        assert_eq!(read("a.b"), Some((b"a.b".as_slice(), None)));
        assert_eq!(read("a.b:80"), Some((b"a.b".as_slice(), Some(80))));
        assert_eq!(read("[::1]:4444"), Some((b"[::1]".as_slice(), Some(4444))));
        assert_eq!(read("[::1]"), Some((b"[::1]".as_slice(), None)));
        for wrong in ["a:", "a:x", "a:+1", "a:70000", "a:1:2", "::1", "[::1", "[::1]x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn knows_an_origin_with_its_default_port_left_out_or_written() {
        let origin = Origin::parse("HTTPS://App.Example/").unwrap();
        assert_eq!(origin, Origin::parse("https://app.example:443").unwrap());
        assert!(origin.matches(b"https", b"APP.example", None));
        assert!(origin.matches(b"https", b"app.example", Some(443)));
        assert!(!origin.matches(b"http", b"app.example", Some(443)));
        assert!(!origin.matches(b"http", b"app.example", None));
        assert!(!origin.matches(b"https", b"app.example", Some(8443)));
        for wrong in ["app.example", "https://", "https://a/b", "://a", "https://a b", "null"] {
            assert_eq!(Origin::parse(wrong), None, "{wrong}");
        }
    }
}
