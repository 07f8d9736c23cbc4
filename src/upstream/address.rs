//! Where an upstream is, and whether the gateway may go there.
//!
//! Whoever can register an upstream can make the gateway open connections. So every address that
//! a name stands for is checked, after resolution and each time, and the checked addresses
//! themselves are what is connected to: nobody resolves the name a second time.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    time::Duration,
};

use shards::{blocking, time};
use url::{Host, Url};

use crate::failure::{Failure, UpstreamKind};

/// Where upstreams may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Loopback is allowed (`SSRF_ALLOW_LOCALHOST`).
    pub allow_localhost: bool,
    /// Private and other not globally routed networks are allowed
    /// (`SSRF_ALLOW_PRIVATE_NETWORKS`).
    pub allow_private: bool,
}

/// What an upstream's URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The scheme is `https`.
    pub tls: bool,
    /// The name in lower case (punycode), or the address; an IPv6 one without brackets.
    pub host: String,
    /// The port, also if the URL leaves it out.
    pub port: u16,
    /// What stands in the first line of a request; begins with `/`.
    pub path_and_query: String,
}

/// The kind of an address that is not allowed, and what would allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// Never allowed; the word says why.
    Always(&'static str),
    /// Allowed by `SSRF_ALLOW_LOCALHOST`.
    Localhost,
    /// Allowed by `SSRF_ALLOW_PRIVATE_NETWORKS`.
    Private,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Forbidden::Always(what) => write!(f, "{what}, which is never allowed"),
            Forbidden::Localhost => f.write_str("loopback; SSRF_ALLOW_LOCALHOST=true allows it"),
            Forbidden::Private => {
                f.write_str("in a private network; SSRF_ALLOW_PRIVATE_NETWORKS=true allows it")
            }
        }
    }
}

/// Names of metadata services: refused before anything is resolved, since where they lead depends
/// on the cloud.
const METADATA_NAMES: [&str; 5] = [
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Addresses of metadata services that are not link-local: of Alibaba, Azure and Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Addresses of metadata services over IPv6: of AWS, Google, Oracle and Scaleway.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// Networks of IPv4 that are not globally routed and not refused always (IANA's registry of
/// special-purpose addresses).
const PRIVATE_V4: [(Ipv4Addr, u32); 10] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
];

/// The same of IPv6.
const PRIVATE_V6: [(Ipv6Addr, u32); 8] = [
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    // All of 2001::/23 is for protocols (Teredo, benchmarks, ORCHID), none of it for servers.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16),
];

impl AddressPolicy {
    /// Checks one address. An IPv6 address that carries an IPv4 one is as allowed as that is.
    ///
    /// # Errors
    ///
    /// [`Forbidden`] says what it is and what would allow it.
    pub fn check(&self, address: IpAddr) -> Result<(), Forbidden> {
        match address {
            IpAddr::V4(address) => self.check_v4(address),
            IpAddr::V6(address) => self.check_v6(address),
        }
    }

    fn check_v4(&self, address: Ipv4Addr) -> Result<(), Forbidden> {
        let within = |(network, size): &(Ipv4Addr, u32)| {
            (address.to_bits() ^ network.to_bits()) >> (32 - size) == 0
        };
        match address.octets() {
            _ if METADATA_V4.contains(&address) => Err(Forbidden::Always("a metadata service")),
            [169, 254, ..] => Err(Forbidden::Always("a link-local address")),
            // Linux connects 0.0.0.0 to this machine, whatever is said of loopback.
            [0, ..] => Err(Forbidden::Always("an unspecified address")),
            [224..=239, ..] => Err(Forbidden::Always("a multicast address")),
            [240..=255, ..] => Err(Forbidden::Always("a reserved or broadcast address")),
            [127, ..] => self.localhost(),
            _ if PRIVATE_V4.iter().any(within) => self.private(),
            _ => Ok(()),
        }
    }

    fn check_v6(&self, address: Ipv6Addr) -> Result<(), Forbidden> {
        let within = |(network, size): &(Ipv6Addr, u32)| {
            (address.to_bits() ^ network.to_bits()) >> (128 - size) == 0
        };
        if METADATA_V6.contains(&address) {
            return Err(Forbidden::Always("a metadata service"));
        }
        if address.is_unspecified() {
            return Err(Forbidden::Always("an unspecified address"));
        }
        if address.is_multicast() {
            return Err(Forbidden::Always("a multicast address"));
        }
        if address.is_unicast_link_local() {
            return Err(Forbidden::Always("a link-local address"));
        }
        if address.is_loopback() {
            return self.localhost();
        }
        if let Some(inner) = carried(address) {
            self.check_v4(inner)?;
        }
        if PRIVATE_V6.iter().any(within) { self.private() } else { Ok(()) }
    }

    fn localhost(&self) -> Result<(), Forbidden> {
        if self.allow_localhost { Ok(()) } else { Err(Forbidden::Localhost) }
    }

    fn private(&self) -> Result<(), Forbidden> {
        if self.allow_private { Ok(()) } else { Err(Forbidden::Private) }
    }
}

/// Returns the IPv4 address that an IPv6 address stands for, if a router or the kernel would take
/// it for one.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let last = v4(parts[6], parts[7]);
    match parts {
        // Compatible (RFC 4291 §2.5.5.1), mapped (§2.5.5.2) and translated (RFC 2765).
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => {
            Some(last)
        }
        // NAT64 (RFC 6052), and the local kind (RFC 8215).
        [0x64, 0xff9b, 0 | 1, ..] => Some(last),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(v4(high, low)),
        // Teredo (RFC 4380): the client's address, inverted.
        [0x2001, 0, ..] => Some(v4(!parts[6], !parts[7])),
        // ISATAP (RFC 5214).
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => Some(last),
        _ => None,
    }
}

/// Finds the addresses of `host` and checks every one of them, for the upstream called `upstream`.
///
/// If one address of several is forbidden, all are refused. A name that leads both outside and
/// inside is how DNS rebinding looks; dropping only the forbidden address would make the verdict
/// depend on which answer came this time, and hide from the operator that something is wrong.
///
/// # Errors
///
/// An upstream failure: refused, naming the setting that would allow it; unreachable if there is
/// no such name; timed out after `within`.
pub async fn resolve(
    policy: AddressPolicy,
    upstream: &str,
    host: &str,
    port: u16,
    within: Duration,
) -> Result<Vec<SocketAddr>, Failure> {
    let fail = |kind, detail: String| Failure::upstream(upstream, kind, detail, false);
    check_name(host).map_err(|text| fail(UpstreamKind::Refused, text))?;
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => match time::timeout(within, look_up(host, port)).await {
            Ok(found) => found.map_err(|text| fail(UpstreamKind::Unreachable, text))?,
            Err(_) => {
                let text = format!("the name {host} could not be resolved in time");
                return Err(fail(UpstreamKind::Timeout(within), text));
            }
        },
    };
    for address in &addresses {
        policy.check(address.ip()).map_err(|forbidden| {
            let address = address.ip();
            let text = if host.parse() == Ok(address) {
                format!("{host} is {forbidden}")
            } else {
                format!("{host} resolves to {address}, {forbidden}")
            };
            fail(UpstreamKind::Refused, text)
        })?;
    }
    Ok(addresses)
}

fn check_name(host: &str) -> Result<(), String> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if METADATA_NAMES.contains(&name.as_str()) {
        return Err(format!("{host} is a metadata service, which is never allowed"));
    }
    Ok(())
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let name = host.to_owned();
    let found = blocking::run(move || (name.as_str(), port).to_socket_addrs()).await;
    match found {
        Ok(Ok(found)) => {
            let addresses: Vec<_> = found.collect();
            let none = || format!("the name {host} has no address");
            if addresses.is_empty() { Err(none()) } else { Ok(addresses) }
        }
        Ok(Err(error)) => Err(format!("the name {host} cannot be resolved: {error}")),
        Err(refused) => Err(format!("the name {host} cannot be resolved: {refused}")),
    }
}

impl Endpoint {
    /// Reads an upstream's URL of at most `size_max` bytes. A fragment is left out.
    ///
    /// # Errors
    ///
    /// A sentence for whoever typed it: what is wrong and what would be right.
    pub fn parse(url: &str, size_max: usize) -> Result<Endpoint, String> {
        if url.len() > size_max {
            return Err(format!("The URL is longer than {size_max} bytes"));
        }
        // The parser would drop tabs and line ends without a word, and take \ for /.
        if url.chars().any(|letter| letter.is_control() || letter.is_whitespace() || letter == '\\')
        {
            return Err("The URL must have no spaces, control characters or backslashes".to_owned());
        }
        let parsed = Url::parse(url).map_err(|error| format!("This is no URL: {error}"))?;
        let tls = match parsed.scheme() {
            "https" => true,
            "http" => false,
            other => {
                return Err(format!("The URL must begin with http:// or https://, not {other}:"));
            }
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            let text = "The URL must have no user or password; use the authentication fields";
            return Err(text.to_owned());
        }
        let host = match parsed.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err("The URL needs a host".to_owned()),
        };
        let port = parsed.port_or_known_default().filter(|port| *port != 0);
        let port = port.ok_or("The port must be from 1 to 65535")?;
        let query = parsed.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Endpoint { tls, host, port, path_and_query: format!("{}{query}", parsed.path()) })
    }

    /// What the `Host` header says: the host, and the port unless it is the scheme's own.
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The scheme, host and port: equal for two URLs exactly if they have the same origin.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests;
