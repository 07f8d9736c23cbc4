//! The far end: an MCP server over HTTP, whichever of the two transports it speaks.

mod events;
mod http;
mod letter;
mod pending;
mod session;
mod sse;

use std::{rc::Rc, time::Duration};

use net::{
    client::{Deadline, Response},
    http1::{Method, encode},
    tls::Connector,
};
use url::Url;

pub(super) use http::Http;
pub(super) use sse::Sse;

use super::{BridgeError, MESSAGE_SIZE_MAX};
use crate::{
    failure::Failure,
    upstream::{
        KeyedLimits,
        address::{self, AddressPolicy},
        http::{
            LegLimits, Resolver, Setup,
            wire::{Shipment, Wire},
        },
    },
};

/// How long opening a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);

/// Most connections at once, streams of events included.
const CONNECTION_COUNT_MAX: usize = 256;

/// How long an idle connection is kept: below the 5 seconds that servers commonly keep theirs.
const IDLE_WITHIN: Duration = Duration::from_secs(4);

/// What failures call the far end.
const NAME: &str = "the server";

/// Makes what carries requests to `url`, each with these header fields; nothing is connected yet.
fn wire(url: &str, headers: &[(String, String)], within: Duration) -> Result<Wire, BridgeError> {
    let parsed = Url::parse(url).map_err(|_| BridgeError("the URL is none".to_owned()))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let text = "the URL holds a user or a password; pass them as an Authorization header";
        return Err(BridgeError(text.to_owned()));
    }
    let connector = match parsed.scheme() {
        "https" => Some(Connector::system().map_err(|error| BridgeError(error.to_string()))?),
        "http" => None,
        other => return Err(BridgeError(format!("{other} is neither http nor https"))),
    };
    let limits = LegLimits {
        connect_within: CONNECT_WITHIN,
        first_byte_within: within,
        answer_within: within,
        ping_after: Duration::ZERO,
        answer_size_max: MESSAGE_SIZE_MAX,
        connections_max: CONNECTION_COUNT_MAX,
        waiting_max: CONNECTION_COUNT_MAX,
        wait_within: within,
        idle_max: 8,
        idle_within: IDLE_WITHIN,
        sessions: KeyedLimits::default(),
        json_depth_max: 100,
    };
    let setup = Setup { limits, resolver: resolver(), connector };
    Wire::open(NAME, url, headers, setup).map_err(|failure| BridgeError(text(&failure)))
}

/// Finds addresses anywhere: whoever starts a bridge says where it leads.
fn resolver() -> Resolver {
    let policy = AddressPolicy { allow_localhost: true, allow_private: true };
    Rc::new(move |host, port| {
        Box::pin(async move { address::resolve(policy, NAME, &host, port, CONNECT_WITHIN).await })
    })
}

/// What went wrong, for a log line or a message.
fn text(failure: &Failure) -> String {
    match failure {
        Failure::Upstream(failure) => format!("{}: {}", failure.upstream, failure.detail),
        other => other.to_string(),
    }
}

/// Opens a stream of events by a GET with these lines in its head.
async fn get(wire: &Wire, lines: &[u8], within: Duration) -> Result<Response, Failure> {
    let write = |out: &mut Vec<u8>, path: &str| {
        encode::begin_request(out, "GET", path);
        out.extend_from_slice(wire.lines());
        encode::lines(out, "accept: text/event-stream\r\ncache-control: no-store\r\n");
        out.extend_from_slice(lines);
        encode::end(out);
    };
    let shipment = Shipment::post(&write, true).with_method(Method::Get).apart();
    wire.ship(shipment, Deadline::after(within)).await
}
