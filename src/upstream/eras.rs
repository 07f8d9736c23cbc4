//! Upstreams that turn out to speak another era than their records say: another version of the program
//! answers there by now.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use ahash::AHashMap;
use shards::{local::Turns, time::Instant};
use storage::record::{Era, Gateway, ProtocolPin, Transport};

use super::discover::Handshake;
use crate::{
    catalog::{Catalog, Upstream},
    failure::{Failure, UpstreamFailure, UpstreamKind},
};

/// How long an upstream is not probed again, whatever it answers.
const PAUSE: Duration = Duration::from_secs(10);

/// How long a probe may take.
pub(super) const WITHIN: Duration = Duration::from_secs(10);

/// Codes by which an upstream disagrees about headers or the revision.
const DISAGREES: [i32; 2] = [-32020, -32022];

/// Told of each upstream that speaks another era, by its id.
type Tell = Box<dyn Fn(&str)>;

/// What was found on a shard, until the records say so too.
#[derive(Default)]
pub(super) struct Eras {
    probes: RefCell<AHashMap<Box<str>, Rc<Probe>>>,
    moved: RefCell<AHashMap<Box<str>, Arc<Upstream>>>,
    tell: RefCell<Option<Tell>>,
}

/// When an upstream was probed, and whether it is.
pub(super) struct Probe {
    pub(super) turns: Turns,
    last: Cell<Option<Instant>>,
    version: i64,
}

impl Probe {
    /// Takes note of a probe that is about to be, unless the last one was a moment ago.
    pub(super) fn begin(&self) -> bool {
        let is_due = self.last.get().is_none_or(|last| last.elapsed() >= PAUSE);
        if is_due {
            self.last.set(Some(Instant::now()));
        }
        is_due
    }
}

impl Eras {
    /// Has `tell` told of what is found.
    pub(super) fn tell(&self, tell: impl Fn(&str) + 'static) {
        *self.tell.borrow_mut() = Some(Box::new(tell));
    }

    /// The upstream as it was found to be, if that is otherwise than its record says.
    pub(super) fn moved(&self, upstream: &Upstream) -> Option<Arc<Upstream>> {
        let moved = self.moved.borrow();
        if moved.is_empty() {
            return None;
        }
        let moved = moved.get(upstream.record.id.as_str())?;
        let is_same = moved.record.audit.version == upstream.record.audit.version;
        (is_same && moved.record.era != upstream.record.era).then(|| moved.clone())
    }

    /// The probes of an upstream.
    pub(super) fn probe(&self, upstream: &Upstream) -> Rc<Probe> {
        let version = upstream.record.audit.version;
        let make = || Rc::new(Probe { turns: Turns::new(1), last: Cell::new(None), version });
        let mut probes = self.probes.borrow_mut();
        probes.entry(upstream.record.id.as_str().into()).or_insert_with(make).clone()
    }

    /// Takes note of what an upstream said; returns it as it is now if that is otherwise than before.
    pub(super) fn note(&self, upstream: &Upstream, said: Handshake) -> Option<Arc<Upstream>> {
        if Some(said.era) == upstream.record.era {
            return None;
        }
        tracing::info!(upstream = upstream.record.name, era = ?said.era, "speaks another era now");
        let record = Gateway {
            era: Some(said.era),
            protocol_version: Some(said.protocol_version),
            ..Gateway::clone(&upstream.record)
        };
        let id = upstream.record.id.as_str();
        let now = Arc::new(Upstream {
            record: Arc::new(record),
            headers: upstream.headers.clone(),
            environment: upstream.environment.clone(),
        });
        self.moved.borrow_mut().insert(id.into(), now.clone());
        if let Some(tell) = &*self.tell.borrow() {
            tell(id);
        }
        Some(now)
    }

    /// Forgets what was found of upstreams whose records are newer.
    pub(super) fn retain(&self, catalog: &Catalog) {
        let is_newest = |id: &str, version: i64| {
            catalog.upstream(id).is_some_and(|upstream| upstream.record.audit.version == version)
        };
        self.probes.borrow_mut().retain(|id, probe| is_newest(id, probe.version));
        self.moved.borrow_mut().retain(|id, moved| is_newest(id, moved.record.audit.version));
    }
}

/// Whether an upstream that failed so may speak another era than it is spoken to in, and did not
/// execute what it was asked.
pub(super) fn may_have_moved(upstream: &Upstream, failure: &Failure) -> bool {
    let record = &upstream.record;
    let can_move = record.protocol == ProtocolPin::Auto
        && !matches!(record.transport, Transport::Sse | Transport::Stdio);
    can_move
        && match failure {
            Failure::Protocol(error) => {
                // By the other code a modern upstream says that its lists are to be read again.
                let is_modern = record.era == Some(Era::Modern);
                DISAGREES[usize::from(is_modern)..].contains(&error.code)
            }
            Failure::Upstream(failure) => !failure.may_have_run && is_misunderstood(failure),
            _ => false,
        }
}

/// Whether an upstream answered and did not understand the question.
pub(super) fn is_misunderstood(failure: &UpstreamFailure) -> bool {
    match failure.kind {
        UpstreamKind::Status(401 | 403 | 407 | 408 | 425 | 429) => false,
        UpstreamKind::Status(status) => (400..500).contains(&status) || status == 501,
        UpstreamKind::Nonsense => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::ProtocolError;

    fn upstream(era: Era, pin: ProtocolPin, transport: Transport) -> Upstream {
        let record = Gateway {
            id: "a".to_owned(),
            name: "up".to_owned(),
            era: Some(era),
            protocol: pin,
            transport,
            ..Gateway::default()
        };
        Upstream {
            record: Arc::new(record),
            headers: Default::default(),
            environment: Default::default(),
        }
    }

    fn refused(code: i32) -> Failure {
        let (message, data) = ("no".to_owned(), None);
        Failure::Protocol(ProtocolError { status: 400, code, message, data })
    }

    fn failed(kind: UpstreamKind, may_have_run: bool) -> Failure {
        Failure::upstream("up", kind, "", may_have_run)
    }

    #[test]
    fn suspects_only_what_was_not_executed_and_not_understood() {
        let http = Transport::StreamableHttp;
        for era in [Era::Legacy, Era::Modern] {
            let auto = upstream(era, ProtocolPin::Auto, http);
            let suspected = |failure| may_have_moved(&auto, &failure);
            assert!(suspected(refused(-32022)));
            assert_eq!(suspected(refused(-32020)), era == Era::Legacy);
            assert!(!suspected(refused(-32602)));
            assert!(suspected(failed(UpstreamKind::Status(400), false)));
            assert!(!suspected(failed(UpstreamKind::Status(401), false)));
            assert!(!suspected(failed(UpstreamKind::Status(500), true)));
            assert!(!suspected(failed(UpstreamKind::Nonsense, true)));
            assert!(!suspected(failed(UpstreamKind::Unreachable, false)));
            // What people fixed stays, and these two transports say it by themselves.
            for fixed in [
                upstream(era, ProtocolPin::Legacy, http),
                upstream(era, ProtocolPin::Modern, http),
                upstream(era, ProtocolPin::Auto, Transport::Sse),
                upstream(era, ProtocolPin::Auto, Transport::Stdio),
            ] {
                assert!(!may_have_moved(&fixed, &refused(-32022)));
            }
        }
    }

    #[test]
    fn an_upstream_is_what_it_was_found_to_be_until_its_record_is_newer() {
        let (eras, told) = (Eras::default(), Rc::new(Cell::new(0)));
        let tally = told.clone();
        eras.tell(move |id| tally.set(tally.get() + id.len()));
        let modern = upstream(Era::Modern, ProtocolPin::Auto, Transport::Http);
        assert!(eras.note(&modern, Handshake::modern()).is_none());
        assert!(eras.moved(&modern).is_none());
        let legacy = Handshake { era: Era::Legacy, ..Handshake::modern() };
        assert!(eras.note(&modern, legacy).is_some());
        assert_eq!(told.get(), 1);
        let now = eras.moved(&modern).expect("it was noted");
        assert_eq!(now.record.era, Some(Era::Legacy));
        assert!(eras.moved(&now).is_none());
        eras.retain(&Catalog::default());
        assert!(eras.moved(&modern).is_none());
    }

    #[test]
    fn an_upstream_is_probed_once_in_a_while() {
        let eras = Eras::default();
        let modern = upstream(Era::Modern, ProtocolPin::Auto, Transport::Http);
        assert!(eras.probe(&modern).begin());
        assert!(!eras.probe(&modern).begin());
    }
}
