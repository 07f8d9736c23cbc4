//! Asking sentinels who the primary of a service is.

use std::time::Duration;

use super::connect::{ask, open_sentinel};
use crate::shared::location::{Host, Place, RedisLocation};

/// Asks one sentinel after the other; the first that knows the service decides. Whether the server
/// that it names is a primary already is for the caller to check.
///
/// # Errors
///
/// What each sentinel answered.
pub(super) async fn find_primary(
    location: &RedisLocation,
    within: Duration,
) -> Result<Host, String> {
    let Place::Sentinel { hosts, service, .. } = &location.place else {
        return Err("there is no sentinel to ask".to_owned());
    };
    let mut tried = Vec::new();
    for host in hosts {
        match ask_one(host, service, location, within).await {
            Ok(primary) => return Ok(primary),
            Err(error) => tried.push(format!("sentinel {host}: {error}")),
        }
    }
    Err(tried.join("; "))
}

async fn ask_one(
    host: &Host,
    service: &str,
    location: &RedisLocation,
    within: Duration,
) -> Result<Host, String> {
    let opened = open_sentinel(host, location, within).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(service);
    let answer = ask(&opened, &command, within).await?;
    let pair: Option<(String, u16)> =
        redis::from_redis_value(answer).map_err(|error| error.to_string())?;
    match pair {
        Some((name, port)) => Ok(Host { name, port }),
        None => Err(format!("does not know the service {service:?}")),
    }
}
