//! Opening a connection: every address is tried, within one time.

use std::{net::SocketAddr, time::Duration};

use shards::{TcpStream, watch::Action};

use super::{Deadline, Origin};
use crate::{connection::Connection, tls::Connector};

/// Connects to the first of `addresses` that takes it, TLS included, all of it within `within`.
///
/// An address gets an equal share of the time that is left, so that one that swallows everything
/// does not use up what the others need.
pub(super) async fn open(
    origin: &Origin,
    connector: Option<&Connector>,
    addresses: &[SocketAddr],
    within: Duration,
) -> Result<Connection, String> {
    let deadline = Deadline::after(within);
    let mut tried = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let share = deadline.left() / (addresses.len() - index) as u32;
        match open_one(origin, connector, *address, share).await {
            Ok(connection) => return Ok(connection),
            Err(error) => tried.push(format!("{address}: {error}")),
        }
    }
    if tried.is_empty() {
        return Err(format!("{} has no address", origin.host));
    }
    Err(tried.join("; "))
}

async fn open_one(
    origin: &Origin,
    connector: Option<&Connector>,
    address: SocketAddr,
    within: Duration,
) -> Result<Connection, String> {
    let deadline = Deadline::after(within);
    let stream = TcpStream::connect(address, within).await.map_err(|error| error.to_string())?;
    if !origin.tls {
        return Ok(Connection::Tcp(stream));
    }
    let Some(connector) = connector else {
        return Err("https is asked for, and there is nobody to trust".to_owned());
    };
    stream.watch().arm(deadline.left(), Action::Abort);
    let connection = connector.connect(&origin.host, stream).await;
    let connection = connection.map_err(|error| format!("TLS: {error}"))?;
    let in_time = !connection.watch().fired();
    connection.watch().disarm();
    if in_time { Ok(connection) } else { Err(format!("TLS: not done within {within:?}")) }
}
