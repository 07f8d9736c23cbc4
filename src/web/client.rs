//! Who is at the other end of a request, seen through the proxies that are trusted.
//!
//! Everybody can write `X-Forwarded-For`. It is believed as far as it was written by somebody in
//! `TRUSTED_PROXIES`: read from its end, each trusted proxy vouches for the one before it.

use std::net::IpAddr;

use net::http1::server::Request;

use super::forwarded;
use crate::settings::authority::HostRule;
use crate::settings::network::Network;
use crate::settings::{ForwardedBy, Settings};

/// The most proxies in a row that are looked at.
const HOP_COUNT_MAX: usize = 32;

/// Who is at the other end, and by which address they know us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client<'a> {
    /// Their address.
    pub ip: IpAddr,
    /// How they came.
    pub scheme: Scheme,
    /// The host, perhaps with a port, that they asked for; a name that could stand in a URL.
    pub host: Option<&'a str>,
}

/// How a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Encrypted.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn read(text: &str) -> Option<Scheme> {
        match text {
            _ if text.eq_ignore_ascii_case("https") => Some(Scheme::Https),
            _ if text.eq_ignore_ascii_case("http") => Some(Scheme::Http),
            _ => None,
        }
    }
}

impl<'a> Client<'a> {
    /// Whoever comes by no network: in clear, from here.
    pub const LOCAL: Client<'static> =
        Client { ip: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), scheme: Scheme::Http, host: None };

    /// The beginning of our own URLs as this client knows us, as `https://mcp.example.com`; `None`
    /// if the client named no host.
    pub fn origin(&self) -> Option<String> {
        self.host.map(|host| format!("{}://{host}", self.scheme.name()))
    }
}

/// The proxies that are trusted, and how they say for whom they speak.
#[derive(Debug, Clone)]
pub struct Proxies {
    networks: Vec<Network>,
    by: ForwardedBy,
}

/// One step of the way that a request took, as a proxy tells it. What is unreadable is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hop<'a> {
    pub ip: Option<IpAddr>,
    pub scheme: Option<&'a str>,
    pub host: Option<&'a str>,
}

impl Proxies {
    /// Takes the proxies from the settings.
    pub fn new(settings: &Settings) -> Proxies {
        let web = &settings.web;
        Proxies { networks: web.trusted_proxies.clone(), by: web.forwarded_by }
    }

    /// Whether `ip` is one of the proxies.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(ip))
    }

    /// Says who sent a request.
    pub fn client_of<'a>(&self, request: &Request<'a>) -> Client<'a> {
        let direct = Client {
            ip: request.peer.ip().to_canonical(),
            scheme: if request.tls { Scheme::Https } else { Scheme::Http },
            host: request.head.authority(request.bytes),
        };
        if !self.trusts(direct.ip) {
            return direct;
        }
        let hops = match self.by {
            ForwardedBy::XForwarded => by_x_forwarded(request),
            ForwardedBy::Forwarded => by_forwarded(request),
        };
        self.follow(direct, hops)
    }

    /// Goes back from hop to hop while who tells of it is trusted.
    fn follow<'a>(&self, direct: Client<'a>, hops: Vec<Hop<'a>>) -> Client<'a> {
        let mut client = direct;
        for hop in hops {
            if !self.trusts(client.ip) {
                break;
            }
            // A proxy that does not tell how its client came says nothing of it; what an inner one
            // told holds on.
            client.scheme = hop.scheme.and_then(Scheme::read).unwrap_or(client.scheme);
            client.host = hop.host.filter(|host| is_host(host)).or(client.host);
            let Some(ip) = hop.ip else { break };
            client.ip = ip.to_canonical();
        }
        client
    }
}

/// Whether a text can be a host in a URL of ours.
fn is_host(text: &str) -> bool {
    HostRule::parse(text).is_some()
}

/// The last hop first. A proxy that writes one of the fields for the whole way, as many do with
/// `-Proto` and `-Host`, tells it at the last hop and so for all of them.
fn by_x_forwarded<'a>(request: &Request<'a>) -> Vec<Hop<'a>> {
    let addresses = values(request, "x-forwarded-for");
    let mut schemes = values(request, "x-forwarded-proto").into_iter();
    let mut hosts = values(request, "x-forwarded-host").into_iter();
    let (first_scheme, first_host) = (schemes.next(), hosts.next());
    let rest = addresses.iter().skip(1).map(|address| Hop {
        ip: forwarded::address(address),
        scheme: schemes.next(),
        host: hosts.next(),
    });
    let first = Hop {
        ip: addresses.first().and_then(|address| forwarded::address(address)),
        scheme: first_scheme,
        host: first_host,
    };
    std::iter::once(first).chain(rest).collect()
}

fn by_forwarded<'a>(request: &Request<'a>) -> Vec<Hop<'a>> {
    let lines = lines_from_last(request, "forwarded");
    lines.into_iter().flat_map(forwarded::hops).take(HOP_COUNT_MAX).collect()
}

/// The members of a list that may be spread over several fields, the last first. One that is no text
/// is empty: what somebody wrote before others must not hide these.
fn values<'a>(request: &Request<'a>, name: &str) -> Vec<&'a str> {
    let lines = lines_from_last(request, name).into_iter();
    let members = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
    members.map(forwarded::text).take(HOP_COUNT_MAX).collect()
}

fn lines_from_last<'a>(request: &Request<'a>, name: &str) -> Vec<&'a [u8]> {
    let mut lines: Vec<_> = request.head.fields().all(request.bytes, name).collect();
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use net::http1::{HeadLimits, RequestHead};

    use super::*;

    /// Who sent this head from this address, as `ip scheme host`.
    fn seen(settings: &[(&str, &str)], peer: &str, fields: &str) -> String {
        let given: Vec<_> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let proxies = Proxies::new(&crate::settings::parse("", [], &given).unwrap().settings);
        let text = format!("GET / HTTP/1.1\r\nHost: inner:4444\r\n{fields}\r\n");
        // A letter of Latin-1 stands for a byte, so that there can be bytes that are no text.
        let bytes: Vec<u8> = text.chars().map(|letter| u8::try_from(letter).unwrap()).collect();
        let mut head = RequestHead::default();
        head.parse(&bytes, &HeadLimits::default()).unwrap().unwrap();
        let peer = SocketAddr::new(peer.parse().unwrap(), 5555);
        let request = Request { head: &head, bytes: &bytes, peer, tls: false };
        let Client { ip, scheme, host } = proxies.client_of(&request);
        format!("{ip} {} {}", scheme.name(), host.unwrap_or("-"))
    }

    const PROXY: (&str, &str) = ("TRUSTED_PROXIES", "10.0.0.0/8");
    const RFC: (&str, &str) = ("TRUSTED_PROXY_HEADERS", "forwarded");

    #[test]
    fn nobody_is_believed_unless_named() {
        let fields = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n\
                      X-Forwarded-Host: a.example\r\nForwarded: for=1.1.1.1;proto=https\r\n";
        assert_eq!(seen(&[], "10.0.0.1", fields), "10.0.0.1 http inner:4444");
        assert_eq!(seen(&[], "127.0.0.1", fields), "127.0.0.1 http inner:4444");
        assert_eq!(seen(&[PROXY], "11.0.0.1", fields), "11.0.0.1 http inner:4444");
        assert_eq!(seen(&[PROXY, RFC], "11.0.0.1", fields), "11.0.0.1 http inner:4444");
    }

    #[test]
    fn a_trusted_proxy_tells_address_scheme_and_host() {
        let fields = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: HTTPS\r\n\
                      X-Forwarded-Host: a.example\r\n";
        assert_eq!(seen(&[PROXY], "10.0.0.1", fields), "1.1.1.1 https a.example");
        assert_eq!(seen(&[PROXY], "::ffff:10.0.0.1", fields), "1.1.1.1 https a.example");
        let fields = "Forwarded: for=1.1.1.1;proto=https;host=a.example\r\n";
        assert_eq!(seen(&[PROXY, RFC], "10.0.0.1", fields), "1.1.1.1 https a.example");
    }

    #[test]
    fn what_the_client_itself_wrote_is_not_believed() {
        for (fields, expected) in [
            ("X-Forwarded-For: 10.0.0.9, 6.6.6.6, 1.1.1.1\r\n", "1.1.1.1"),
            ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1"),
            ("X-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.0.0.2\r\n", "1.1.1.1"),
            ("X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3"),
            ("X-Forwarded-For: \u{fe}, 1.1.1.1\r\n", "1.1.1.1"),
            // The other kind of field was handed on by a proxy that does not write it.
            ("Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1"),
            ("Forwarded: for=6.6.6.6\r\n", "10.0.0.1"),
        ] {
            let seen = seen(&[PROXY], "10.0.0.1", fields);
            assert_eq!(seen.split(' ').next(), Some(expected), "{fields}");
        }
        for forged in [
            "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=9.9.9.9, for=1.1.1.1\r\n",
            "Forwarded: for=\"\r\nForwarded: for=1.1.1.1\r\n",
            "Forwarded: for=\", for=1.1.1.1\r\n",
            "Forwarded: for=\u{fe}, for=1.1.1.1\r\n",
        ] {
            assert!(seen(&[PROXY, RFC], "10.0.0.1", forged).starts_with("1.1.1.1 "), "{forged}");
        }
    }

    #[test]
    fn scheme_and_host_are_those_of_the_hop_that_the_client_made() {
        let fields = "X-Forwarded-For: 1.1.1.1, 10.0.0.2\r\nX-Forwarded-Proto: https, http\r\n\
                      X-Forwarded-Host: a.example, inner\r\n";
        assert_eq!(seen(&[PROXY], "10.0.0.1", fields), "1.1.1.1 https a.example");
        let once = "X-Forwarded-For: 1.1.1.1, 10.0.0.2\r\nX-Forwarded-Proto: https\r\n";
        assert_eq!(seen(&[PROXY], "10.0.0.1", once), "1.1.1.1 https inner:4444");
        let forged = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https, http\r\n";
        assert_eq!(seen(&[PROXY], "10.0.0.1", forged), "1.1.1.1 http inner:4444");
        let fields = "Forwarded: for=1.1.1.1;proto=https;host=a.example, \
                      for=10.0.0.2;proto=http;host=inner\r\n";
        assert_eq!(seen(&[PROXY, RFC], "10.0.0.1", fields), "1.1.1.1 https a.example");
    }

    #[test]
    fn what_cannot_be_read_is_left_at_the_last_that_could() {
        for (fields, expected) in [
            ("X-Forwarded-For: unknown\r\n", "10.0.0.1 http inner:4444"),
            ("X-Forwarded-For: 1.1.1.1, unknown\r\n", "10.0.0.1 http inner:4444"),
            ("X-Forwarded-For: 1.1.1.1,\r\n", "10.0.0.1 http inner:4444"),
            ("X-Forwarded-For:\r\n", "10.0.0.1 http inner:4444"),
            ("X-Forwarded-For: 1.1.1.1'--\r\n", "10.0.0.1 http inner:4444"),
            ("X-Forwarded-For: \u{e9}.1.1.1\r\n", "10.0.0.1 http inner:4444"),
            ("X-Forwarded-Proto: javascript\r\n", "10.0.0.1 http inner:4444"),
            ("X-Forwarded-Host: a.example/evil\r\n", "10.0.0.1 http inner:4444"),
            ("X-Forwarded-Host: a b\r\n", "10.0.0.1 http inner:4444"),
            ("X-Forwarded-Host: a@b\r\n", "10.0.0.1 http inner:4444"),
            ("X-Forwarded-For: 1.1.1.1:80\r\n", "1.1.1.1 http inner:4444"),
            ("X-Forwarded-For: [2001:db8::1]:80\r\n", "2001:db8::1 http inner:4444"),
            ("X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1 http inner:4444"),
            ("X-Forwarded-For: ::ffff:1.1.1.1\r\n", "1.1.1.1 http inner:4444"),
        ] {
            assert_eq!(seen(&[PROXY], "10.0.0.1", fields), expected, "{fields}");
        }
    }

    #[test]
    fn looks_at_no_more_hops_than_the_bound() {
        let chain = "10.0.0.2, ".repeat(200);
        let fields = format!("X-Forwarded-For: 1.1.1.1, {chain}10.0.0.2\r\n");
        assert_eq!(seen(&[PROXY], "10.0.0.1", &fields), "10.0.0.2 http inner:4444");
    }

    #[test]
    fn our_own_address_is_the_one_that_the_client_knows() {
        let client = Client { scheme: Scheme::Https, host: Some("a.example"), ..Client::LOCAL };
        assert_eq!(client.origin().as_deref(), Some("https://a.example"));
        assert_eq!(Client::LOCAL.origin(), None);
    }
}
