//! Checks of addresses, hosts and origins.

use std::net::IpAddr;

use super::Check;
use crate::settings::authority::{Allowed, HostRule, Origin};
use crate::settings::network::Network;

/// An address to listen on. Names are not looked up: that would be an effect.
pub struct Address;

impl Check for Address {
    type Value = IpAddr;

    fn read(&self, text: &str) -> Result<IpAddr, String> {
        if text.eq_ignore_ascii_case("localhost") {
            return Ok(IpAddr::from([127, 0, 0, 1]));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        bare.parse().map_err(|_| "is not an IP address".to_owned())
    }

    fn form(&self) -> String {
        "an IP address (`0.0.0.0` and `::` for all) or `localhost`".to_owned()
    }
}

/// Hosts, or `*` for any.
pub struct Hosts;

impl Check for Hosts {
    type Value = Allowed<HostRule>;

    fn read(&self, text: &str) -> Result<Self::Value, String> {
        allowed(text, HostRule::parse)
    }

    fn form(&self) -> String {
        "a list of hosts, as `mcp.example.com,10.0.0.5:4444`, or `*`".to_owned()
    }
}

/// Origins, or `*` for any.
pub struct OriginList;

impl Check for OriginList {
    type Value = Allowed<Origin>;

    fn read(&self, text: &str) -> Result<Self::Value, String> {
        allowed(text, Origin::parse)
    }

    fn form(&self) -> String {
        "a list of origins, as `https://a.example,http://b.example:8080`, or `*`".to_owned()
    }
}

/// URIs.
pub struct UriList;

impl Check for UriList {
    type Value = Vec<String>;

    fn read(&self, text: &str) -> Result<Vec<String>, String> {
        let uri = |text: &str| url::Url::parse(text).ok().map(|_| text.to_owned());
        match allowed(text, uri)? {
            Allowed::Only(uris) => Ok(uris),
            Allowed::Any => Err("holds \"*\", which is none".to_owned()),
        }
    }

    fn form(&self) -> String {
        "a list of URIs, as `file:///srv/data,https://example.com/docs`".to_owned()
    }
}

/// Networks. There is no word for all of them: whoever trusts everybody must write it out.
pub struct Networks;

impl Check for Networks {
    type Value = Vec<Network>;

    fn read(&self, text: &str) -> Result<Vec<Network>, String> {
        match allowed(text, |item| item.parse().ok())? {
            Allowed::Only(networks) => Ok(networks),
            Allowed::Any => Err("holds \"*\", which is none".to_owned()),
        }
    }

    fn form(&self) -> String {
        "a list of addresses and networks, as `10.0.0.0/8,192.0.2.7`".to_owned()
    }
}

/// One origin.
pub struct OneOrigin;

impl Check for OneOrigin {
    type Value = Origin;

    fn read(&self, text: &str) -> Result<Origin, String> {
        Origin::parse(text).ok_or("is not an origin".to_owned())
    }

    fn form(&self) -> String {
        "an origin, as `https://mcp.example.com`".to_owned()
    }
}

/// Reads a list, as JSON or separated by commas, in which one `*` stands for everything.
fn allowed<T>(text: &str, parse: fn(&str) -> Option<T>) -> Result<Allowed<T>, String> {
    let items = if text.starts_with('[') {
        serde_json::from_str::<Vec<String>>(text)
            .map_err(|_| "is not a JSON array of texts".to_owned())?
    } else {
        text.split(',').map(str::to_owned).collect()
    };
    let items: Vec<&str> =
        items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).collect();
    if items.contains(&"*") {
        return Ok(Allowed::Any);
    }
    let read = |item: &&str| parse(item).ok_or(format!("holds {item:?}, which is none"));
    items.iter().map(read).collect::<Result<_, _>>().map(Allowed::Only)
}
