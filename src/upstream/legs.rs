//! The legs of one shard: made when an upstream is first called, made anew when its record changes
//! in what concerns the way to it.

use std::{cell::RefCell, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use ahash::AHashMap;
use net::tls::Connector;
use serde_json::value::RawValue;
use shards::time::Instant;
use storage::record::{Era, ProtocolPin, Transport};

use super::{
    Answer, Held, Outcome, Outgoing, Relay,
    a2a::{self, AgentCall, Agents},
    address::{self, AddressPolicy},
    discover::{self, DiscoverLimits, Handshake, Requester, Verdict},
    eras::{self, Eras},
    http::{HttpLeg, LegLimits, Resolver, Setup},
    keyed::KeyedLimits,
    link::{LinkLeg, Medium},
    rest::{Rest, RestCall, RestLimits},
    stdio::{self, Post, StdioHost, StdioLeg, StdioLimits, StdioMail},
};
use crate::{
    catalog::{AgentEntry, Catalog, Upstream, inventory::Inventory},
    failure::{Failure, UpstreamFailure, UpstreamKind},
    settings::Settings,
};

mod health;
mod watching;

pub use health::Health;

/// How long an upstream over a WebSocket may take to answer `server/discover` until it is taken for a
/// legacy one.
const SOCKET_PROBE_WITHIN: Duration = Duration::from_secs(10);

/// As good as no limit of its own: every exchange has one in all.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The way of one shard to all upstreams.
pub struct Upstreams {
    pub(super) limits: LegLimits,
    policy: AddressPolicy,
    discovery: DiscoverLimits,
    host: Rc<StdioHost>,
    couriers: Vec<Rc<dyn Post>>,
    system_roots: RefCell<Option<Connector>>,
    legs: RefCell<AHashMap<Box<str>, Entry>>,
    rest: Rest,
    agents: Agents,
    eras: Eras,
}

struct Entry {
    upstream: Arc<Upstream>,
    leg: Leg,
}

/// The way to one upstream, by its transport. Clones share it.
#[derive(Clone)]
pub enum Leg {
    /// Streamable HTTP.
    Http(HttpLeg),
    /// HTTP+SSE, of revision 2024-11-05, or a WebSocket.
    Link(LinkLeg),
    /// A child process.
    Stdio(Rc<StdioLeg>),
}

impl Upstreams {
    /// Makes the ways of a shard; nothing is connected yet. `couriers` lead to the mailbox of every
    /// shard, in their order: a child process belongs to one of them.
    pub fn new(settings: &Settings, couriers: Vec<Rc<dyn Post>>) -> Upstreams {
        let upstreams = &settings.upstreams;
        Upstreams {
            limits: LegLimits {
                connect_within: upstreams.connect_timeout,
                first_byte_within: upstreams.first_byte_timeout.unwrap_or(DAY),
                answer_size_max: upstreams.answer_size_max,
                connections_max: upstreams.connection_count_max,
                waiting_max: upstreams.waiting_count_max,
                wait_within: upstreams.pool_timeout,
                idle_max: upstreams.idle_count_max,
                idle_within: upstreams.idle_timeout,
                ping_after: settings.http.websocket_ping,
                answer_within: settings.sessions.answer_timeout,
                sessions: KeyedLimits {
                    count_max: upstreams.session_count_max,
                    idle_within: upstreams.session_idle_timeout,
                },
                json_depth_max: settings.http.json_depth_max,
            },
            policy: AddressPolicy {
                allow_localhost: settings.localhost_allowed(),
                allow_private: settings.private_networks_allowed(),
            },
            discovery: DiscoverLimits {
                within: upstreams.request_timeout,
                ..DiscoverLimits::default()
            },
            host: StdioHost::new(StdioLimits {
                line_size_max: upstreams.answer_size_max,
                start_within: upstreams.request_timeout,
                restart_delay_min: upstreams.restart_delay_min,
                restart_delay_max: upstreams.restart_delay_max,
                sessions: KeyedLimits {
                    count_max: upstreams.child_count_max,
                    idle_within: upstreams.session_idle_timeout,
                },
                ..StdioLimits::default()
            }),
            couriers,
            system_roots: RefCell::default(),
            legs: RefCell::default(),
            rest: Rest::new(RestLimits::of(settings)),
            agents: Agents::new(upstreams.answer_size_max),
            eras: Eras::default(),
        }
    }

    /// Drops the legs of upstreams that are gone or are reached otherwise now; what is in flight on
    /// them runs to its end.
    pub fn retain(&self, former: &Catalog, catalog: &Catalog) {
        for upstream in former.upstreams() {
            let id = upstream.record.id.as_str();
            let serves = |now: &Arc<Upstream>| {
                now.record.enabled && now.record.transport == Transport::Stdio
            };
            if serves(upstream) && !catalog.upstream(id).is_some_and(serves) {
                self.host.take(StdioMail::Retire { upstream_id: id.to_owned(), done: None });
            }
        }
        let mut legs = self.legs.borrow_mut();
        legs.retain(|id, entry| {
            catalog.upstream(id).is_some_and(|upstream| same_way(upstream, &entry.upstream))
        });
        self.eras.retain(catalog);
        self.rest.retain(|id| catalog.tool(id).is_some());
        self.agents.retain(|id| catalog.agent(id));
    }

    /// Returns the leg to `upstream`, making it if need be.
    fn leg(&self, upstream: &Arc<Upstream>) -> Result<Leg, Failure> {
        let mut legs = self.legs.borrow_mut();
        if let Some(entry) = legs.get(upstream.record.id.as_str())
            && (Arc::ptr_eq(&entry.upstream, upstream) || same_way(&entry.upstream, upstream))
        {
            return Ok(entry.leg.clone());
        }
        let leg = self.open(upstream, upstream.record.transport, era_of(upstream))?;
        let entry = Entry { upstream: upstream.clone(), leg: leg.clone() };
        legs.insert(upstream.record.id.as_str().into(), entry);
        Ok(leg)
    }

    /// Makes a leg of its own, as discovery needs one.
    fn open(
        &self,
        upstream: &Arc<Upstream>,
        transport: Transport,
        era: Era,
    ) -> Result<Leg, Failure> {
        match transport {
            Transport::StreamableHttp | Transport::Http => {
                Ok(Leg::Http(HttpLeg::new(upstream, era, self.setup(upstream)?)?))
            }
            Transport::Stdio => {
                let owner = stdio::owner(&upstream.record.id, self.couriers.len());
                let courier = self.couriers[owner].clone();
                let answer_within = self.limits.answer_within;
                Ok(Leg::Stdio(Rc::new(StdioLeg::new(upstream.clone(), courier, answer_within))))
            }
            Transport::Sse => {
                let setup = self.setup(upstream)?;
                Ok(Leg::Link(LinkLeg::new(upstream, Medium::Sse, Era::Legacy, setup)?))
            }
            Transport::WebSocket => {
                let setup = self.setup(upstream)?;
                Ok(Leg::Link(LinkLeg::new(upstream, Medium::Socket, era, setup)?))
            }
        }
    }

    pub(super) fn setup(&self, upstream: &Upstream) -> Result<Setup, Failure> {
        let record = &upstream.record;
        let url = record.url.as_deref().and_then(|url| url::Url::parse(url).ok());
        let has_tls = url.is_some_and(|url| matches!(url.scheme(), "https" | "wss"));
        self.setup_for(&record.name, has_tls, record.ca_certificate.as_deref())
    }

    /// What a leg needs to what every failure calls `name`.
    fn setup_for(&self, name: &str, https: bool, roots: Option<&str>) -> Result<Setup, Failure> {
        let connector = match (roots, https) {
            (_, false) => None,
            (Some(pem), true) => Some(Connector::with_roots(pem)),
            (None, true) => Some(self.system_roots()),
        };
        let connector = connector.transpose().map_err(|error| {
            Failure::upstream(name, UpstreamKind::Refused, error.to_string(), false)
        })?;
        Ok(Setup { limits: self.limits.clone(), resolver: self.resolver(name), connector })
    }

    /// The system's roots, read once per shard and only if some upstream needs them.
    fn system_roots(&self) -> Result<Connector, net::tls::TlsError> {
        let mut kept = self.system_roots.borrow_mut();
        if let Some(connector) = &*kept {
            return Ok(connector.clone());
        }
        let connector = Connector::system()?;
        *kept = Some(connector.clone());
        Ok(connector)
    }

    fn resolver(&self, name: &str) -> Resolver {
        let (policy, within) = (self.policy, self.limits.connect_within);
        let name: Rc<str> = name.into();
        Rc::new(move |host, port| {
            let name = name.clone();
            Box::pin(async move { address::resolve(policy, &name, &host, port, within).await })
        })
    }

    /// Has `tell` told of each upstream that turns out to speak another era than its record says, by
    /// its id.
    pub fn tell_of_moved(&self, tell: impl Fn(&str) + 'static) {
        self.eras.tell(tell);
    }

    /// Takes mail for the children that this shard owns.
    pub fn take_mail(&self, mail: StdioMail) {
        self.host.take(mail);
    }

    /// Ends sessions and children.
    pub async fn close(&self) {
        self.host.stop().await;
        self.rest.close();
        self.agents.close();
        let legs: Vec<Leg> = self.legs.borrow_mut().drain().map(|(_, entry)| entry.leg).collect();
        for leg in legs {
            leg.close().await;
        }
    }
}

impl Held for Leg {
    fn request<'a>(
        &'a self,
        outgoing: Outgoing<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<Answer, Failure>> + 'a>> {
        Box::pin(async move { Leg::request(self, &outgoing).await })
    }
}

impl Relay for Upstreams {
    fn hold(&self, upstream: &Arc<Upstream>) -> Result<Box<dyn Held>, Failure> {
        Ok(Box::new(self.leg(upstream)?))
    }

    async fn request(
        &self,
        upstream: &Arc<Upstream>,
        outgoing: &Outgoing<'_>,
    ) -> Result<Answer, Failure> {
        let leg = self.leg(upstream)?;
        leg.request(outgoing).await
    }

    fn moved(&self, upstream: &Arc<Upstream>) -> Option<Arc<Upstream>> {
        self.eras.moved(upstream)
    }

    async fn probe_again(
        &self,
        upstream: &Arc<Upstream>,
        failure: &Failure,
    ) -> Option<Arc<Upstream>> {
        if !eras::may_have_moved(upstream, failure) {
            return None;
        }
        let probe = self.eras.probe(upstream);
        let _turn = probe.turns.take().await;
        // Somebody else may have found it out meanwhile.
        if let Some(moved) = self.eras.moved(upstream) {
            return Some(moved);
        }
        if !probe.begin() {
            return None;
        }
        let greeted = Box::pin(self.greet(upstream, eras::WITHIN)).await.ok()?;
        greeted.leg.close().await;
        self.eras.note(upstream, greeted.handshake)
    }

    async fn call_rest(&self, call: &RestCall<'_>) -> Result<Vec<u8>, Failure> {
        self.rest.call(call, |name, https| self.setup_for(name, https, None)).await
    }

    async fn call_agent(&self, call: &AgentCall<'_>) -> Result<Vec<u8>, Failure> {
        self.agents.call(call, |name, https| self.setup_for(name, https, None)).await
    }
}

impl Upstreams {
    /// Sends a request to an agent and returns what it answers, byte for byte.
    ///
    /// # Errors
    ///
    /// An upstream failure, which names the agent.
    pub async fn invoke(
        &self,
        agent: &Arc<AgentEntry>,
        request: &a2a::Request,
        within: Duration,
    ) -> Result<Box<RawValue>, Failure> {
        let setup = |name: &str, https| self.setup_for(name, https, None);
        self.agents.send(agent, request, within, setup).await
    }

    /// Looks whether `program` can be the filter of a REST tool.
    ///
    /// # Errors
    ///
    /// A sentence for whoever typed it.
    pub async fn check_filter(&self, program: &str) -> Result<(), String> {
        self.rest.check_filter(program).await
    }
}

impl Leg {
    /// Sends one request.
    ///
    /// # Errors
    ///
    /// An upstream failure.
    pub async fn request(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        match self {
            Leg::Http(leg) => leg.request(outgoing).await,
            Leg::Link(leg) => leg.request(outgoing).await,
            Leg::Stdio(leg) => leg.request(outgoing).await,
        }
    }

    /// What the upstream said of itself in the handshake of its legacy era, or at its start.
    async fn handshake(&self, name: &str, within: Duration) -> Result<Handshake, Failure> {
        let raw = match self {
            Leg::Http(leg) => leg.initialize_result(within).await?,
            Leg::Link(leg) => Some(leg.initialize_result(within).await?),
            Leg::Stdio(leg) => return leg.handshake(within).await,
        };
        // Servers that know no `initialize` are taken for legacy ones that said nothing.
        let raw = raw.unwrap_or_else(|| NO_HANDSHAKE.as_bytes().to_vec());
        let read = std::str::from_utf8(&raw).map_err(|error| error.to_string());
        read.and_then(Handshake::from_initialize)
            .map_err(|detail| Failure::upstream(name, UpstreamKind::Nonsense, detail, false))
    }

    async fn close(&self) {
        match self {
            Leg::Http(leg) => leg.close().await,
            Leg::Link(leg) => leg.close(),
            Leg::Stdio(_) => {}
        }
    }
}

/// What stands for the handshake of a server that has none.
const NO_HANDSHAKE: &str = r#"{"protocolVersion":"2025-03-26","capabilities":{}}"#;

/// The era to speak: pinned, else found, else the one that every server speaks.
fn era_of(upstream: &Upstream) -> Era {
    match upstream.record.protocol {
        ProtocolPin::Legacy => Era::Legacy,
        ProtocolPin::Modern => Era::Modern,
        ProtocolPin::Auto => upstream.record.era.unwrap_or(Era::Legacy),
    }
}

/// Whether two versions of an upstream are reached the same way.
fn same_way(one: &Upstream, other: &Upstream) -> bool {
    let (a, b) = (&one.record, &other.record);
    a.url == b.url
        && a.transport == b.transport
        && a.command == b.command
        && era_of(one) == era_of(other)
        && a.ca_certificate == b.ca_certificate
        && one.headers == other.headers
        && one.environment == other.environment
        && a.name == b.name
}

/// A leg whose handshake is done.
struct Greeted {
    leg: Leg,
    handshake: Handshake,
}

impl Requester for Greeted {
    async fn handshake(&self, _: Duration) -> Result<Handshake, Failure> {
        Ok(self.handshake.clone())
    }

    async fn request(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        self.leg.request(outgoing).await
    }
}

impl Upstreams {
    /// Asks an upstream, `stored` or not, what it is and what it offers, by the transport of its
    /// record and in its pinned era, or in whichever it speaks.
    ///
    /// # Errors
    ///
    /// An upstream failure that says what was tried and what came back.
    pub async fn discover(
        &self,
        upstream: &Arc<Upstream>,
        stored: bool,
    ) -> Result<Inventory, Failure> {
        let outcome = match self.greet(upstream, self.discovery.within).await {
            Ok(greeted) => {
                let name = &upstream.record.name;
                let outcome = discover::discover(&greeted, name, &self.discovery).await;
                greeted.leg.close().await;
                outcome
            }
            Err(failure) => Err(failure),
        };
        // The child of one that is stored serves on; of one that will not be, nobody asks again.
        if outcome.is_err() && !stored && upstream.record.transport == Transport::Stdio {
            let owner = stdio::owner(&upstream.record.id, self.couriers.len());
            let upstream_id = upstream.record.id.clone();
            let _ = self.couriers[owner].post(StdioMail::Retire { upstream_id, done: None });
        }
        outcome
    }

    /// Opens the conversation, within `within` in all: probes the era unless it is pinned. A child
    /// is probed by its owner.
    async fn greet(&self, upstream: &Arc<Upstream>, within: Duration) -> Result<Greeted, Failure> {
        let (name, began) = (&upstream.record.name, Instant::now());
        let (transport, pin) = (upstream.record.transport, upstream.record.protocol);
        let probed = match transport {
            Transport::StreamableHttp | Transport::Http => Some(within),
            // One of the legacy era may say nothing to what comes before `initialize`.
            Transport::WebSocket => Some(within.min(SOCKET_PROBE_WITHIN)),
            Transport::Sse | Transport::Stdio => None,
        };
        if pin != ProtocolPin::Legacy
            && let Some(within) = probed
        {
            let leg = self.open(upstream, transport, Era::Modern)?;
            match probe(&leg, name, within).await {
                Ok(Some(handshake)) => return Ok(Greeted { leg, handshake }),
                Err(failure) if transport != Transport::WebSocket || !is_mute(&failure) => {
                    return Err(failure);
                }
                // It may have ended the session for what it took to be out of place.
                Ok(None) | Err(_) => leg.close().await,
            }
            if pin == ProtocolPin::Modern {
                let detail = "it does not speak the stateless revision that it is pinned to";
                return Err(Failure::upstream(name, UpstreamKind::Nonsense, detail, false));
            }
        }
        let leg = self.open(upstream, transport, Era::Legacy)?;
        let left = within.saturating_sub(began.elapsed());
        let handshake = leg.handshake(name, left).await?;
        Ok(Greeted { leg, handshake })
    }
}

/// Whether an upstream could be reached and gave no answer.
fn is_mute(failure: &Failure) -> bool {
    let Failure::Upstream(UpstreamFailure { kind, .. }) = failure else { return false };
    matches!(kind, UpstreamKind::Timeout(_) | UpstreamKind::Broken)
}

/// Asks by `server/discover` whether an upstream is modern; `None` if it is not.
async fn probe(leg: &Leg, name: &str, within: Duration) -> Result<Option<Handshake>, Failure> {
    let verdict = match ask_for_era(leg, within).await? {
        // Modern, but it refused the question. Who names our revision among those that it speaks
        // may well answer the next time.
        Verdict::Modern(silent) if silent.capabilities.is_none() => {
            match ask_for_era(leg, within).await {
                Ok(Verdict::Modern(handshake)) => Verdict::Modern(handshake),
                _ => Verdict::Modern(silent),
            }
        }
        verdict => verdict,
    };
    match verdict {
        Verdict::Modern(handshake) => Ok(Some(handshake)),
        Verdict::Legacy => Ok(None),
        Verdict::Hopeless(detail) => {
            Err(Failure::upstream(name, UpstreamKind::Nonsense, detail, false))
        }
    }
}

/// What an upstream's answer to one `server/discover` says of its era.
async fn ask_for_era(leg: &Leg, within: Duration) -> Result<Verdict, Failure> {
    let outgoing = discover::plain("server/discover", b"{}", within);
    Ok(match leg.request(&outgoing).await {
        Ok(Answer::Whole(reply)) => {
            let raw = String::from_utf8_lossy(reply.raw()).into_owned();
            discover::judge_discover(reply.outcome, &raw)
        }
        Ok(Answer::Stream(_)) => Verdict::Legacy,
        Err(failure) => match &failure {
            Failure::Protocol(error) => {
                let data = error.data.as_deref().and_then(|raw| serde_json::from_str(raw).ok());
                let data: Option<serde_json::Value> = data;
                let raw = serde_json::json!({
                    "code": error.code, "message": error.message, "data": data,
                });
                discover::judge_discover(Outcome::Error, &raw.to_string())
            }
            Failure::Upstream(UpstreamFailure { kind: UpstreamKind::Status(status), .. }) => {
                match (status, discover::judge_probe(*status, b"")) {
                    // Who asks is the question there, not what is spoken.
                    (401 | 403 | 407, _) | (_, Verdict::Hopeless(_)) => return Err(failure),
                    (_, verdict) => verdict,
                }
            }
            Failure::Upstream(UpstreamFailure {
                kind: UpstreamKind::Nonsense | UpstreamKind::SessionLost,
                ..
            }) => Verdict::Legacy,
            _ => return Err(failure),
        },
    })
}
