//! The field `Forwarded` (RFC 7239), text to hops.

use std::net::{IpAddr, SocketAddr};

use super::client::Hop;

/// Reads the elements of a field, the last first: that is the one which the proxy next to us wrote.
/// Whatever a client wrote before it, an open quoted string too, cannot change how it is read.
pub(super) fn hops(line: &[u8]) -> impl Iterator<Item = Hop<'_>> {
    split_from_end(line, b',').into_iter().map(|element| hop(element).unwrap_or_default())
}

/// Reads `for=1.2.3.4;proto=https;host=a`; `None` if it is malformed or says something twice.
fn hop(element: &[u8]) -> Option<Hop<'_>> {
    let is_whole = element.iter().filter(|byte| **byte == b'"').count().is_multiple_of(2);
    if !is_whole || element.contains(&b'\\') {
        return None;
    }
    let (mut address_text, mut scheme, mut host) = (None, None, None);
    let pairs = split_from_end(element, b';').into_iter().map(text);
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let place = match name.to_ascii_lowercase().as_str() {
            "for" => &mut address_text,
            "proto" => &mut scheme,
            "host" => &mut host,
            _ => continue,
        };
        if place.replace(unquote(value)?).is_some() {
            return None;
        }
    }
    Some(Hop { ip: address_text.and_then(address), scheme, host })
}

/// Splits at a byte that stands in no quoted string, read from the end. No escape is known: nothing
/// that we look at has a reason for one, so whatever holds a backslash is refused.
fn split_from_end(text: &[u8], at: u8) -> Vec<&[u8]> {
    let (mut parts, mut end, mut is_quoted) = (Vec::new(), text.len(), false);
    for (index, byte) in text.iter().enumerate().rev() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            _ if *byte == at && !is_quoted => {
                parts.push(&text[index + 1..end]);
                end = index;
            }
            _ => {}
        }
    }
    parts.push(&text[..end]);
    parts
}

/// The text that bytes are, without the space around it; empty if they are none.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes.trim_ascii()).unwrap_or_default()
}

/// The inside of a quoted string, or a token as it is.
fn unquote(value: &str) -> Option<&str> {
    let inside = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    (!inside.is_empty() && !inside.contains('"')).then_some(inside)
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

    /// The hops as `ip scheme host`, with `-` for what is absent, the last first.
    fn hops_of(line: &str) -> Vec<String> {
        let show = |hop: Hop<'_>| {
            let ip = hop.ip.map_or("-".to_owned(), |ip| ip.to_string());
            format!("{ip} {} {}", hop.scheme.unwrap_or("-"), hop.host.unwrap_or("-"))
        };
        hops(line.as_bytes()).map(show).collect()
    }

    #[test]
    fn reads_the_examples_of_the_rfc() {
        for (line, expected) in [
            ("for=\"_gazonk\"", vec!["- - -"]),
            ("For=\"[2001:db8:cafe::17]:4711\"", vec!["2001:db8:cafe::17 - -"]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", vec!["192.0.2.60 http -"]),
            ("for=192.0.2.43, for=198.51.100.17", vec!["198.51.100.17 - -", "192.0.2.43 - -"]),
            ("for=192.0.2.43;host=\"a:1\" , for=unknown", vec!["- - -", "192.0.2.43 - a:1"]),
            ("for=192.0.2.43;", vec!["192.0.2.43 - -"]),
        ] {
            assert_eq!(hops_of(line), expected, "{line}");
        }
    }

    proptest::proptest! {
        /// Whatever a client writes, what a proxy puts behind it is read as it is.
        #[test]
        fn what_stands_before_cannot_change_what_is_read_behind(line in "[ -~é]{0,60}") {
            for (own, expected) in [
                ("for=192.0.2.1", "192.0.2.1 - -"),
                ("for=\"[2001:db8::1]:80\";proto=https", "2001:db8::1 https -"),
            ] {
                let all = hops_of(&format!("{line}, {own}"));
                proptest::prop_assert_eq!(all.first().map(String::as_str), Some(expected));
            }
            let _ = address(&line);
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
            "for=1.1.1.1;x=\"",
            "for=[1.1.1.1]",
            "for=1.1.1.1 ;x",
        ] {
            assert_eq!(hops_of(line), ["- - -"], "{line}");
        }
        assert_eq!(hops_of("for=\"a,for=6.6.6.6\", for=1.1.1.1"), ["1.1.1.1 - -", "- - -"]);
    }
}
