//! The legs of one shard: made when an upstream is first called, made anew when its record changes
//! in what concerns the way to it.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use ahash::AHashMap;
use net::tls::Connector;
use storage::record::{Era, ProtocolPin, Transport};

use super::{
    Answer, Outgoing, Relay,
    address::{self, AddressPolicy},
    discover::{self, Introduction, Requester, Verdict},
    http::{HttpLeg, LegLimits, Resolver, Setup},
};
use crate::{
    catalog::{Catalog, Upstream, inventory::Inventory},
    failure::{Failure, UpstreamKind},
    settings::Settings,
};

/// As good as no limit of its own: every exchange has one in all.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The way of one shard to all upstreams.
pub struct Upstreams {
    limits: LegLimits,
    policy: AddressPolicy,
    discover_within: Duration,
    system_roots: RefCell<Option<Connector>>,
    legs: RefCell<AHashMap<Box<str>, Entry>>,
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
}

impl Upstreams {
    /// Makes the ways of a shard; nothing is connected yet.
    pub fn new(settings: &Settings) -> Upstreams {
        let upstreams = &settings.upstreams;
        Upstreams {
            limits: LegLimits {
                connect_within: upstreams.connect_timeout,
                first_byte_within: upstreams.first_byte_timeout.unwrap_or(DAY),
                answer_size_max: upstreams.answer_size_max,
                connections_max: upstreams.connection_count_max,
                waiting_max: upstreams.waiting_count_max,
                idle_within: upstreams.idle_timeout,
                json_depth_max: settings.http.json_depth_max,
            },
            policy: AddressPolicy {
                allow_localhost: settings.localhost_allowed(),
                allow_private: settings.private_networks_allowed(),
            },
            discover_within: upstreams.request_timeout,
            system_roots: RefCell::default(),
            legs: RefCell::default(),
        }
    }

    /// Drops the legs of upstreams that are gone or are reached otherwise now; what is in flight on
    /// them runs to its end.
    pub fn retain(&self, catalog: &Catalog) {
        let mut legs = self.legs.borrow_mut();
        legs.retain(|id, entry| {
            catalog.upstream(id).is_some_and(|upstream| same_way(upstream, &entry.upstream))
        });
    }

    /// Returns the leg to `upstream`, making it if need be.
    fn leg(&self, upstream: &Arc<Upstream>) -> Result<Leg, Failure> {
        let mut legs = self.legs.borrow_mut();
        if let Some(entry) = legs.get(upstream.record.id.as_str())
            && (Arc::ptr_eq(&entry.upstream, upstream) || same_way(&entry.upstream, upstream))
        {
            return Ok(entry.leg.clone());
        }
        let era = era_of(upstream);
        let leg = self.open(upstream, upstream.record.transport, era)?;
        let entry = Entry { upstream: upstream.clone(), leg: leg.clone() };
        legs.insert(upstream.record.id.as_str().into(), entry);
        Ok(leg)
    }

    /// Makes a leg of its own, as discovery needs one.
    pub(super) fn open(
        &self,
        upstream: &Upstream,
        transport: Transport,
        era: Era,
    ) -> Result<Leg, Failure> {
        let setup = self.setup(upstream)?;
        match transport {
            Transport::StreamableHttp | Transport::Http => {
                Ok(Leg::Http(HttpLeg::new(upstream, era, setup)?))
            }
            Transport::Sse | Transport::Stdio => {
                let detail = "its transport is not spoken";
                let name = &upstream.record.name;
                Err(Failure::upstream(name, UpstreamKind::Refused, detail, false))
            }
        }
    }

    fn setup(&self, upstream: &Upstream) -> Result<Setup, Failure> {
        let record = &upstream.record;
        let https = record.url.as_deref().is_some_and(|url| url.starts_with("https:"));
        let connector = match (&record.ca_certificate, https) {
            (_, false) => None,
            (Some(pem), true) => Some(Connector::with_roots(pem)),
            (None, true) => Some(self.system_roots()),
        };
        let connector = connector.transpose().map_err(|error| {
            let detail = error.to_string();
            Failure::upstream(&record.name, UpstreamKind::Refused, detail, false)
        })?;
        Ok(Setup { limits: self.limits.clone(), resolver: self.resolver(&record.name), connector })
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

    /// Ends sessions and children.
    pub async fn close(&self) {
        let legs: Vec<Leg> = self.legs.borrow_mut().drain().map(|(_, entry)| entry.leg).collect();
        for leg in legs {
            leg.close().await;
        }
    }
}

impl Relay for Upstreams {
    async fn request(
        &self,
        upstream: &Arc<Upstream>,
        outgoing: &Outgoing<'_>,
    ) -> Result<Answer, Failure> {
        let leg = self.leg(upstream)?;
        leg.request(outgoing).await
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
        }
    }

    /// The raw result of `initialize`, as far as the upstream knows one.
    async fn initialize_result(&self, within: Duration) -> Result<Option<String>, Failure> {
        let raw = match self {
            Leg::Http(leg) => leg.initialize_result(within).await?,
        };
        Ok(raw.map(|raw| String::from_utf8_lossy(&raw).into_owned()))
    }

    async fn close(&self) {
        match self {
            Leg::Http(leg) => leg.close().await,
        }
    }
}

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

impl Requester for Leg {
    async fn request(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        Leg::request(self, outgoing).await
    }
}

impl Upstreams {
    /// Asks an upstream, stored or not, what it is and what it offers, by the transport of its
    /// record and in its pinned era, or in whichever it speaks.
    ///
    /// # Errors
    ///
    /// An upstream failure that says what was tried and what came back.
    pub async fn discover(&self, upstream: &Upstream) -> Result<Inventory, Failure> {
        let name = &upstream.record.name;
        let within = self.discover_within;
        let (leg, introduction) = self.introduce(upstream).await?;
        let outcome = discover::inventory(&leg, name, introduction, within).await;
        leg.close().await;
        outcome
    }

    /// Opens the conversation: probes the era unless it is pinned.
    async fn introduce(&self, upstream: &Upstream) -> Result<(Leg, Introduction), Failure> {
        let (name, within) = (&upstream.record.name, self.discover_within);
        let transport = upstream.record.transport;
        let pin = upstream.record.protocol;
        if pin != ProtocolPin::Legacy && transport != Transport::Sse {
            let leg = self.open(upstream, transport, Era::Modern)?;
            match discover::probe(&leg, name, within).await {
                Ok(Some(raw)) => return Ok((leg, Introduction { era: Era::Modern, raw })),
                Ok(None) if pin == ProtocolPin::Modern => {
                    let detail = "it does not speak the revision that it is pinned to";
                    return Err(Failure::upstream(name, UpstreamKind::Nonsense, detail, false));
                }
                Err(failure)
                    if pin == ProtocolPin::Modern
                        || discover::judge(&failure) != Verdict::Legacy =>
                {
                    return Err(failure);
                }
                Ok(None) | Err(_) => {}
            }
        }
        let leg = self.open(upstream, transport, Era::Legacy)?;
        let raw = leg.initialize_result(within).await?.unwrap_or_else(|| "{}".to_owned());
        Ok((leg, Introduction { era: Era::Legacy, raw }))
    }
}
