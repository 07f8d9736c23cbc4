//! What carries requests to an upstream, whatever they say: addresses, connections, the lines that
//! every head has, repeating what may be repeated, and redirects.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use net::{
    client::{
        Cause, ClientError, Deadline, Lease, Origin, Place, Pool, PoolLimits, Progress, Response,
        Sending,
    },
    http1::{HeadLimits, Method, encode},
};
use shards::{buffer, local::Turns, time, watch};
use url::Url;

use super::{LegLimits, Setup};
use crate::{
    catalog::Upstream,
    failure::{Failure, UpstreamFailure, UpstreamKind},
};

/// How long found addresses are used before they are looked up again.
const ADDRESSES_FRESH: Duration = Duration::from_secs(30);

/// Most redirects that are followed for one request.
const REDIRECT_COUNT_MAX: usize = 3;

/// Largest bound of an answer's size: places in it have 32 bits.
const ANSWER_SIZE_CAP: usize = 1 << 30;

/// Header fields that the leg itself writes, or that would break its framing.
const RESERVED: [&str; 18] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
];

/// What carries requests to one upstream from one shard.
pub(crate) struct Wire {
    name: String,
    url: Url,
    pub(crate) pool: Pool,
    pub(crate) limits: LegLimits,
    /// The target of requests: that of the URL, until a redirect says otherwise.
    path: RefCell<Rc<str>>,
    /// The lines of every request: host, program, credentials.
    lines: Vec<u8>,
    head_limits: HeadLimits,
    setup: Setup,
    addresses: RefCell<Option<Rc<[SocketAddr]>>>,
    addresses_until_ms: Cell<u64>,
    lookup: Turns,
}

/// A request that can be written as often as it must be sent.
pub(crate) struct Shipment<'a> {
    method: Method,
    /// Writes head and body for a target.
    write: &'a dyn Fn(&mut Vec<u8>, &str),
    /// Another target than the upstream's own.
    path: Option<Rc<str>>,
    harmless_twice: bool,
    /// Whether it goes over a connection of its own, which does not count.
    apart: bool,
}

impl<'a> Shipment<'a> {
    /// A request that `write` writes: a POST to the upstream's own target.
    pub(crate) fn post(
        write: &'a dyn Fn(&mut Vec<u8>, &str),
        harmless_twice: bool,
    ) -> Shipment<'a> {
        Shipment { method: Method::Post, write, path: None, harmless_twice, apart: false }
    }

    /// The same with another method, which `write` must write.
    pub(crate) fn with_method(self, method: Method) -> Shipment<'a> {
        Shipment { method, ..self }
    }

    /// The same over a connection of its own, for an answer that stays open.
    pub(crate) fn apart(self) -> Shipment<'a> {
        Shipment { apart: true, ..self }
    }

    /// The same to another target.
    pub(crate) fn to(self, path: Rc<str>) -> Shipment<'a> {
        Shipment { path: Some(path), ..self }
    }
}

impl Wire {
    pub(crate) fn new(upstream: &Upstream, setup: Setup) -> Result<Wire, Failure> {
        let url = upstream.record.url.as_deref().unwrap_or_default();
        Wire::open(&upstream.record.name, url, &upstream.headers, setup)
    }

    /// Makes what carries requests to `url`, which every failure calls `name`.
    pub(crate) fn open(
        name: &str,
        url: &str,
        headers: &[(String, String)],
        setup: Setup,
    ) -> Result<Wire, Failure> {
        let refuse = |detail: String| Failure::upstream(name, UpstreamKind::Refused, detail, false);
        let url = Url::parse(url).map_err(|error| refuse(format!("its URL: {error}")))?;
        let origin = origin(&url).map_err(refuse)?;
        let lines = common_lines(&url, headers).map_err(refuse)?;
        let mut limits = setup.limits.clone();
        limits.answer_size_max = limits.answer_size_max.min(ANSWER_SIZE_CAP);
        let pool_limits = PoolLimits {
            connection_count_max: limits.connections_max,
            waiting_count_max: limits.waiting_max,
            wait_within: limits.wait_within,
            idle_count_max: limits.idle_max,
            connect_within: limits.connect_within,
            idle_within: limits.idle_within,
        };
        Ok(Wire {
            pool: Pool::new(origin, setup.connector.clone(), pool_limits),
            path: RefCell::new(target(&url)),
            lines,
            limits,
            head_limits: HeadLimits::default(),
            setup,
            addresses: RefCell::default(),
            addresses_until_ms: Cell::new(0),
            lookup: Turns::new(1),
            name: name.to_owned(),
            url,
        })
    }

    /// The lines of every request.
    pub(crate) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Where the upstream answers.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// A failure of this upstream.
    pub(crate) fn failure(
        &self,
        kind: UpstreamKind,
        detail: impl Into<String>,
        may_have_run: bool,
    ) -> Failure {
        Failure::Upstream(self.upstream_failure(kind, detail, may_have_run))
    }

    /// The failure of who needs a session while there are as many as may be.
    pub(crate) fn all_used(&self) -> Failure {
        let count_max = self.limits.sessions.count_max;
        let detail = format!("{count_max} sessions with it are in use (UPSTREAM_SESSIONS_MAX)");
        self.failure(UpstreamKind::Full, detail, false)
    }

    pub(crate) fn upstream_failure(
        &self,
        kind: UpstreamKind,
        detail: impl Into<String>,
        may_have_run: bool,
    ) -> UpstreamFailure {
        let (upstream, detail) = (self.name.clone(), detail.into());
        UpstreamFailure { upstream, kind, detail, may_have_run }
    }

    /// The failure that an exchange's error is.
    #[cold]
    pub(crate) fn broken(&self, error: &ClientError) -> Failure {
        let kind = match error.cause {
            Cause::Full { .. } => UpstreamKind::Full,
            Cause::Connect(_) => UpstreamKind::Unreachable,
            Cause::Timeout { within } => UpstreamKind::Timeout(within),
            Cause::Broken(_) => UpstreamKind::Broken,
            Cause::Head(_) | Cause::Body(_) => UpstreamKind::Nonsense,
            Cause::TooLarge { .. } => UpstreamKind::TooLarge,
        };
        self.failure(kind, error.to_string(), error.may_have_run())
    }

    /// Sends a request and waits for the head of its answer, which is no redirect any more.
    ///
    /// # Errors
    ///
    /// An upstream failure; it says whether the request may have been executed.
    pub(crate) async fn ship(
        &self,
        shipment: Shipment<'_>,
        deadline: Deadline,
    ) -> Result<Response, Failure> {
        let mut path = shipment.path.clone().unwrap_or_else(|| self.path.borrow().clone());
        for _ in 0..=REDIRECT_COUNT_MAX {
            let response = self.ship_to(&path, &shipment, deadline).await?;
            if !matches!(response.status(), 301 | 302 | 307 | 308) {
                return Ok(response);
            }
            path = self.redirect(&path, &response, shipment.path.is_none())?;
        }
        let detail = format!("more than {REDIRECT_COUNT_MAX} redirects, the last to {path}");
        Err(self.failure(UpstreamKind::Nonsense, detail, false))
    }

    /// Sends a request to the target `path` and waits for the head of its answer, whatever it is.
    ///
    /// # Errors
    ///
    /// As [`Wire::ship`].
    pub(crate) async fn ship_to(
        &self,
        path: &str,
        shipment: &Shipment<'_>,
        deadline: Deadline,
    ) -> Result<Response, Failure> {
        // What is rare is on the heap, here and below: every request would be as large otherwise.
        let lease = match shipment.apart {
            true => Box::pin(self.lease_apart(deadline)).await?,
            false => self.lease(deadline).await?,
        };
        let is_reused = lease.is_reused();
        match self.exchange(lease, path, shipment, deadline).await {
            Ok(response) => Ok(response),
            Err(error) if is_reused && may_repeat(&error, shipment) => {
                Box::pin(self.repeat(path, shipment, deadline)).await
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Sends a request on a connection of its own.
    async fn repeat(
        &self,
        path: &str,
        shipment: &Shipment<'_>,
        deadline: Deadline,
    ) -> Result<Response, Failure> {
        let lease = self.fresh_lease(deadline).await?;
        let outcome = self.exchange(lease, path, shipment, deadline).await;
        outcome.map_err(|error| self.broken(&error))
    }

    async fn exchange(
        &self,
        lease: Lease,
        path: &str,
        shipment: &Shipment<'_>,
        deadline: Deadline,
    ) -> Result<Response, ClientError> {
        let mut request = buffer::take();
        (shipment.write)(&mut request, path);
        let first_byte_within = self.limits.first_byte_within;
        let sending = Sending { request, method: shipment.method, deadline, first_byte_within };
        lease.exchange(sending, &self.head_limits).await
    }

    /// Takes an idle connection, or opens one.
    async fn lease(&self, deadline: Deadline) -> Result<Lease, Failure> {
        let place = self.pool.place(deadline).await.map_err(|error| self.broken(&error))?;
        match place.idle() {
            Ok(lease) => Ok(lease),
            Err(place) => Box::pin(self.connect(place, deadline)).await,
        }
    }

    async fn fresh_lease(&self, deadline: Deadline) -> Result<Lease, Failure> {
        let place = self.pool.place(deadline).await.map_err(|error| self.broken(&error))?;
        self.connect(place, deadline).await
    }

    async fn connect(&self, place: Place, deadline: Deadline) -> Result<Lease, Failure> {
        let addresses = self.addresses(deadline).await?;
        let connected = place.connect(&addresses, deadline).await;
        connected.map_err(|error| self.unreachable(&error))
    }

    async fn lease_apart(&self, deadline: Deadline) -> Result<Lease, Failure> {
        let addresses = self.addresses(deadline).await?;
        let connected = self.pool.connect_apart(&addresses).await;
        connected.map_err(|error| self.unreachable(&error))
    }

    #[cold]
    fn unreachable(&self, error: &ClientError) -> Failure {
        // The name may point elsewhere by now.
        self.addresses.take();
        self.broken(error)
    }

    /// Returns the upstream's addresses, looked up by one task at a time.
    async fn addresses(&self, deadline: Deadline) -> Result<Rc<[SocketAddr]>, Failure> {
        if let Some(addresses) = self.fresh_addresses() {
            return Ok(addresses);
        }
        let lookup = async {
            let _turn = self.lookup.take().await;
            if let Some(addresses) = self.fresh_addresses() {
                return Ok(addresses);
            }
            self.look_up().await
        };
        let within = self.limits.connect_within.min(deadline.left());
        time::timeout(within, lookup).await.unwrap_or_else(|_| {
            let host = &self.pool.origin().host;
            let detail = format!("no address of {host} within {within:?}");
            Err(self.failure(UpstreamKind::Unreachable, detail, false))
        })
    }

    async fn look_up(&self) -> Result<Rc<[SocketAddr]>, Failure> {
        let Origin { host, port, .. } = self.pool.origin();
        let found: Rc<[SocketAddr]> = (self.setup.resolver)(host.clone(), *port).await?.into();
        let until_ms = watch::clock_ms() + ADDRESSES_FRESH.as_millis() as u64;
        self.addresses_until_ms.set(until_ms);
        *self.addresses.borrow_mut() = Some(found.clone());
        Ok(found)
    }

    fn fresh_addresses(&self) -> Option<Rc<[SocketAddr]>> {
        let addresses = self.addresses.borrow().clone();
        addresses.filter(|_| watch::clock_ms() < self.addresses_until_ms.get())
    }

    /// Returns the target that a redirect names, if it is of the same origin; remembers it where
    /// it stays so.
    #[cold]
    fn redirect(
        &self,
        path: &str,
        response: &Response,
        is_own_path: bool,
    ) -> Result<Rc<str>, Failure> {
        let status = response.status();
        let location = response.header("location").unwrap_or_default();
        let location = String::from_utf8_lossy(location).into_owned();
        let refuse = |kind, detail: String| Err(self.failure(kind, detail, false));
        let base = self.url.join(path).unwrap_or_else(|_| self.url.clone());
        let Ok(url) = base.join(&location) else {
            return refuse(UpstreamKind::Nonsense, format!("a redirect ({status}) to nowhere"));
        };
        if url.origin() != self.url.origin() {
            let detail = format!("it redirects ({status}) to another origin, {location}");
            return refuse(UpstreamKind::Refused, detail);
        }
        let target = target(&url);
        // Frameworks send a temporary redirect for a missing slash, which is as lasting as any.
        let is_slash = target.trim_end_matches('/') == path.trim_end_matches('/');
        if is_own_path && (matches!(status, 301 | 308) || is_slash) {
            *self.path.borrow_mut() = target.clone();
        }
        Ok(target)
    }
}

/// Whether a request that failed on a kept connection may be sent once more, on a fresh one.
fn may_repeat(error: &ClientError, shipment: &Shipment<'_>) -> bool {
    matches!(error.cause, Cause::Broken(_))
        && match error.progress {
            Progress::Unsent => true,
            Progress::Silent => shipment.harmless_twice,
            Progress::Answering => false,
        }
}

fn origin(url: &Url) -> Result<Origin, String> {
    let tls = match url.scheme() {
        "http" | "ws" => false,
        "https" | "wss" => true,
        other => return Err(format!("{other} is neither http nor https, nor that of a WebSocket")),
    };
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port_or_known_default().unwrap_or_default();
    Ok(Origin { tls, host, port })
}

/// The request target of a URL: path and query.
pub(crate) fn target(url: &Url) -> Rc<str> {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()).into(),
        None => url.path().into(),
    }
}

fn common_lines(url: &Url, headers: &[(String, String)]) -> Result<Vec<u8>, String> {
    let mut lines = Vec::new();
    let host = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    encode::header(&mut lines, "host", host.as_bytes());
    encode::lines(&mut lines, concat!("user-agent: ringway/", env!("CARGO_PKG_VERSION"), "\r\n"));
    for (name, value) in headers {
        if !encode::is_token(name.as_bytes()) {
            return Err(format!("the header name {name:?} is none"));
        }
        if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return Err(format!("the header {name} is the gateway's own to set"));
        }
        encode::header(&mut lines, name, value.as_bytes());
    }
    Ok(lines)
}
