//! The field `Forwarded` (RFC 7239), text to hops.

use std::net::{IpAddr, SocketAddr};

use super::client::Hop;

/// Reads the elements of a field in the order in which they stand. One that is malformed is empty,
/// and so is everything before it: where it begins cannot be known.
pub(super) fn hops(line: &str) -> Vec<Hop<'_>> {
    let Some(elements) = split(line, b',') else { return vec![Hop::default()] };
    elements.into_iter().map(|element| hop(element).unwrap_or_default()).collect()
}

/// Reads `for=1.2.3.4;proto=https;host=a`; `None` if it is malformed or says something twice.
fn hop(element: &str) -> Option<Hop<'_>> {
    let mut hop = Hop::default();
    let (mut has_for, mut pairs) = (false, split(element, b';')?);
    pairs.retain(|pair| !pair.trim().is_empty());
    for pair in pairs {
        let (name, value) = pair.trim().split_once('=')?;
        let value = unquote(value)?;
        match name {
            _ if name.eq_ignore_ascii_case("for") => {
                if has_for {
                    return None;
                }
                (has_for, hop.ip) = (true, address(value));
            }
            _ if name.eq_ignore_ascii_case("proto") => {
                hop.scheme = hop.scheme.is_none().then_some(value);
                hop.scheme?;
            }
            _ if name.eq_ignore_ascii_case("host") => {
                hop.host = hop.host.is_none().then_some(value);
                hop.host?;
            }
            _ => {}
        }
    }
    Some(hop)
}

/// Splits at a byte that stands in no quoted string; `None` if a quoted string does not end.
fn split(text: &str, at: u8) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ if byte == at && !is_quoted => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!is_quoted).then_some(parts)
}

/// The inside of a quoted string, or a token as it is. No value that we look at has a reason to
/// escape anything, so one that does is refused.
fn unquote(value: &str) -> Option<&str> {
    let inside = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    (!inside.is_empty() && !inside.contains(['"', '\\'])).then_some(inside)
}

/// Reads an address, with a port or without, an IPv6 address in brackets or bare.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    let bare = text.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hops as `ip scheme host`, with `-` for what is absent.
    fn read(line: &str) -> Vec<String> {
        let show = |hop: Hop<'_>| {
            let ip = hop.ip.map_or("-".to_owned(), |ip| ip.to_string());
            format!("{ip} {} {}", hop.scheme.unwrap_or("-"), hop.host.unwrap_or("-"))
        };
        hops(line).into_iter().map(show).collect()
    }

    #[test]
    fn reads_the_examples_of_the_rfc() {
        for (line, expected) in [
            ("for=\"_gazonk\"", vec!["- - -"]),
            ("For=\"[2001:db8:cafe::17]:4711\"", vec!["2001:db8:cafe::17 - -"]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", vec!["192.0.2.60 http -"]),
            ("for=192.0.2.43, for=198.51.100.17", vec!["192.0.2.43 - -", "198.51.100.17 - -"]),
            ("for=192.0.2.43;host=\"a:1\" , for=unknown", vec!["192.0.2.43 - a:1", "- - -"]),
            ("for=192.0.2.43;", vec!["192.0.2.43 - -"]),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn nothing_is_read_out_of_what_is_malformed() {
        for line in [
            "for=\"1.1.1.1",
            "for=1.1.1.1;for=2.2.2.2",
            "proto=http;proto=https",
            "host=a;host=b",
            "for",
            "for=",
            "for=\"1.1.1.1\\\"\"",
            "for=1.1.1.1\"",
            "for=[1.1.1.1]",
            "for=1.1.1.1 ;x",
        ] {
            assert_eq!(read(line), ["- - -"], "{line}");
        }
        assert_eq!(read("for=\"a,for=6.6.6.6\", for=1.1.1.1"), ["- - -", "1.1.1.1 - -"]);
    }
}
