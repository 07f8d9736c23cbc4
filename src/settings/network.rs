//! Networks of addresses, as settings and tokens name them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A block of addresses (RFC 4632): an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bit_count: u32,
}

/// A text that names no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNetwork;

impl Network {
    /// Whether `address` belongs to it. An IPv4 address that came in the clothes of IPv6 is taken
    /// for what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                let bits = (mine.to_bits() ^ other.to_bits()).leading_zeros();
                bits >= self.bit_count
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                let bits = (mine.to_bits() ^ other.to_bits()).leading_zeros();
                bits >= self.bit_count
            }
            _ => false,
        }
    }

    /// Whether it holds every address of its family.
    pub fn is_everything(&self) -> bool {
        self.bit_count == 0
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    /// Reads `10.0.0.0/8`, or one address alone.
    fn from_str(text: &str) -> Result<Network, NoNetwork> {
        let (address, digits) = match text.split_once('/') {
            Some((address, digits)) => (address, Some(digits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let bit_count_max = if address.is_ipv4() { 32 } else { 128 };
        let Some(digits) = digits else {
            return Ok(Network { address, bit_count: bit_count_max });
        };
        // `parse` alone would take a plus sign.
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let bit_count = digits.parse().ok().filter(|_| is_number).ok_or(NoNetwork)?;
        if bit_count > bit_count_max {
            return Err(NoNetwork);
        }
        Ok(Network { address, bit_count })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.bit_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn holds_the_addresses_that_begin_alike_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "::ffff:192.0.2.8"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("10.9.8.7/8", "10.0.0.1", "9.255.255.255"),
        ] {
            assert!(holds(network, inside), "{network} holds {inside}");
            assert!(!holds(network, outside), "{network} does not hold {outside}");
        }
    }

    #[test]
    fn refuses_what_names_no_network() {
        for text in
            ["", "*", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0/8", "a.example"]
        {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
        assert_eq!("10.0.0.0/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }
}
