//! A stdio server made reachable over HTTP: as HTTP+SSE, as streamable HTTP, or both.
//!
//! Every session of the handshake era has a child of its own, so that no message need be changed and
//! no client sees what another does. Requests without a session, those of the stateless revision
//! and all with `--stateless`, share a child.

mod front;
mod queue;
mod session;
mod shared;
mod streamable;

use std::{net::IpAddr, rc::Rc, time::Duration};

use net::{
    connection::Connection,
    http1::{HeadLimits, server},
};
use shards::{Listener, local::Gate, task, tcp, time, watch};

use super::{BridgeError, Program, run};
use crate::settings::{self, Settings};
use front::Front;

/// How long requests that are under way may take when the bridge stops.
const GRACE: Duration = Duration::from_secs(5);

/// How often the end of the last connection is looked for.
const POLL: Duration = Duration::from_millis(50);

/// Most connections at once.
const CONNECTION_COUNT_MAX: usize = 4096;

/// What a server over HTTP runs with.
#[derive(Clone)]
pub struct ServeOptions {
    /// The stdio server.
    pub program: Program,
    /// Serve HTTP+SSE.
    pub sse: bool,
    /// Serve streamable HTTP, at `/mcp`.
    pub http: bool,
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 for any.
    pub port: u16,
    /// Origins whose pages may call.
    pub origins: Vec<String>,
    /// Where streams of HTTP+SSE are opened.
    pub sse_path: String,
    /// Where messages of HTTP+SSE are posted.
    pub message_path: String,
    /// How often a quiet stream gets a sign of life.
    pub keep_alive: Duration,
    /// Header fields, in lower case, whose values become variables of a child's environment.
    pub header_to_env: Vec<(String, String)>,
    /// Streamable HTTP without sessions.
    pub stateless: bool,
    /// Answer requests of streamable HTTP by JSON, never by a stream.
    pub json_response: bool,
    /// Most children at once.
    pub children_max: usize,
}

/// Serves until a signal comes. [`shards::signal::block`] must have been called before any other
/// thread was started.
///
/// # Errors
///
/// [`BridgeError`] if the program cannot be run or nobody can listen there.
pub fn serve(options: ServeOptions) -> Result<(), BridgeError> {
    let settings = web_settings(&options)?;
    let bound = tcp::bind(settings.address(), 1).map_err(|error| {
        BridgeError(format!("cannot listen on {}: {error}", settings.address()))
    })?;
    run(move |stop| async move {
        let address = bound.first().map(tcp::BoundSocket::local_addr);
        let socket = bound.into_iter().next().expect("one was asked for");
        let listener = Listener::new(socket).map_err(|error| BridgeError(error.to_string()))?;
        let (sse, http) = (options.sse, options.http);
        let front = Rc::new(Front::new(options, &settings, stop.clone()));
        if let Some(address) = address {
            tracing::info!(%address, sse, streamable_http = http, "serving");
        }
        accept(listener, &front, &stop).await;
        front.close().await;
        Ok(())
    })
}

/// The rules of the gateway for browsers, with what was typed here.
fn web_settings(options: &ServeOptions) -> Result<Settings, BridgeError> {
    let overrides = [
        ("HOST", options.host.to_string()),
        ("PORT", options.port.to_string()),
        ("ALLOWED_ORIGINS", options.origins.join(",")),
    ];
    let loaded = settings::parse("", [], &overrides);
    loaded.map(|loaded| loaded.settings).map_err(|errors| BridgeError(errors.to_string()))
}

async fn accept(listener: Listener, front: &Rc<Front>, stop: &Gate) {
    let limits = Rc::new(limits());
    let count = Rc::new(());
    let take = |stream, peer| {
        if Rc::strong_count(&count) > CONNECTION_COUNT_MAX {
            return drop(stream);
        }
        let (front, limits, counted) = (front.clone(), limits.clone(), count.clone());
        task::spawn(async move {
            let _counted = counted;
            let mut connection = Connection::Tcp(stream);
            server::serve(&mut connection, peer, &*front, &limits).await;
        });
    };
    let refused = |error| tracing::warn!(%error, "cannot accept connections");
    listener.accept_until(stop, take, refused).await;
    front.end_streams();
    let started = time::Instant::now();
    while Rc::strong_count(&count) > 1 && started.elapsed() < GRACE {
        watch::stop_idle();
        time::sleep(POLL).await;
    }
}

fn limits() -> server::Limits {
    let patience = Duration::from_secs(60);
    server::Limits {
        head: HeadLimits::default(),
        first_byte_within: patience,
        head_within: patience,
        body_within: patience,
        idle_within: patience,
        write_within: patience,
    }
}
