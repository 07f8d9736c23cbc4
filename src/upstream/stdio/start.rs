//! The start of a child: the process, then the first question that settles the era.

use std::{rc::Rc, time::Duration};

use shards::{
    task,
    time::{self, Instant},
};
use storage::record::{Era, ProtocolPin};

use super::{
    StdioLimits, command,
    letter::{self, Letter},
    session::{Session, Waiting},
};
use crate::{
    catalog::Upstream,
    failure::{Failure, UpstreamFailure, UpstreamKind},
    upstream::{
        Outcome, Reply,
        discover::{Handshake, Verdict, judge_discover},
        http::session::initialize_params,
        keyed::SessionKey,
        levels::Levels,
    },
};

/// A child that answered its handshake.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) session: Rc<Session>,
    pub(super) handshake: Handshake,
    /// Of log messages.
    levels: Rc<Levels>,
}

impl Running {
    fn new(session: Rc<Session>, handshake: Handshake) -> Running {
        let levels = match handshake.era {
            Era::Legacy => Levels::new(handshake.capabilities.as_deref()),
            Era::Modern => Levels::default(),
        };
        Running { session, handshake, levels: Rc::new(levels) }
    }

    /// Hands it a request. If its client wants more log messages than any before, it is told so first.
    pub(super) fn send(&self, letter: &Letter, waiting: Waiting) {
        if let Some(params) = self.levels.due(letter.log_level) {
            self.session.tell("logging/setLevel", &params);
        }
        self.session.send(letter, waiting, self.handshake.era);
    }
}

/// Starts the child of `upstream` and greets it in the era that it is pinned to, or else in the one
/// that a probe finds. An era found before spares the probe or its haste, but it binds nobody: the
/// program may have been replaced since.
///
/// # Errors
///
/// What was tried and what came back; the child is being stopped then.
pub(super) async fn start(
    upstream: &Upstream,
    limits: StdioLimits,
    key: &SessionKey,
) -> Result<Running, UpstreamFailure> {
    let starting = Starting { upstream, limits, key, started: Instant::now() };
    let record = &upstream.record;
    match (record.protocol, record.era) {
        (ProtocolPin::Modern, _) => {
            let session = starting.open()?;
            starting.or_stop(&session, starting.modern(&session).await)
        }
        (ProtocolPin::Legacy, _) | (ProtocolPin::Auto, Some(Era::Legacy)) => {
            let session = starting.open()?;
            starting.or_stop(&session, starting.legacy(&session).await)
        }
        (ProtocolPin::Auto, Some(Era::Modern)) => starting.probe(limits.start_within).await,
        (ProtocolPin::Auto, None) => starting.probe(limits.probe_within).await,
    }
}

struct Starting<'a> {
    upstream: &'a Upstream,
    limits: StdioLimits,
    key: &'a SessionKey,
    started: Instant,
}

impl Starting<'_> {
    fn open(&self) -> Result<Rc<Session>, UpstreamFailure> {
        let words = &self.upstream.record.command;
        command::check(words).map_err(|text| self.fail(UpstreamKind::Unreachable, text))?;
        let command = command::command(words, &self.upstream.environment);
        let name = self.upstream.record.name.as_str();
        Session::open(name.into(), command, self.limits, self.key.clone()).map_err(|error| {
            let text = format!("its command {:?} cannot be started: {error}", words[0]);
            self.fail(UpstreamKind::Unreachable, text)
        })
    }

    /// Asks a first process `server/discover`, for `within` at most. If that gives no good evidence for the stateless
    /// revision, a second process is greeted by `initialize`: some servers end, or are confused for
    /// good, after a request before it.
    async fn probe(&self, within: Duration) -> Result<Running, UpstreamFailure> {
        let session = self.open()?;
        let params = letter::modern_params();
        let asked = session.ask("server/discover", &params);
        let verdict = match time::timeout(within, asked).await {
            Ok(Ok(reply)) => judge(&reply),
            Ok(Err(_)) | Err(_) => Verdict::Legacy,
        };
        match verdict {
            Verdict::Modern(handshake) => return Ok(Running::new(session, handshake)),
            Verdict::Hopeless(text) => {
                let failure = self.fail(UpstreamKind::Nonsense, text);
                return self.or_stop(&session, Err(failure));
            }
            Verdict::Legacy => session.stop().await,
        }
        let session = self.open()?;
        let greeted = self.legacy(&session).await;
        self.or_stop(&session, greeted)
    }

    async fn modern(&self, session: &Rc<Session>) -> Result<Running, UpstreamFailure> {
        let reply = self.ask(session, "server/discover", &letter::modern_params()).await?;
        match judge(&reply) {
            Verdict::Modern(handshake) => Ok(Running::new(session.clone(), handshake)),
            Verdict::Hopeless(text) => Err(self.fail(UpstreamKind::Nonsense, text)),
            Verdict::Legacy => {
                let text = format!("it does not speak the stateless revision: {}", shown(&reply));
                Err(self.fail(UpstreamKind::Nonsense, text))
            }
        }
    }

    async fn legacy(&self, session: &Rc<Session>) -> Result<Running, UpstreamFailure> {
        let params = initialize_params(self.key.declared());
        let reply = self.ask(session, "initialize", &params).await?;
        if reply.outcome == Outcome::Error {
            // A server that was too slow for the probe may turn out to be modern here.
            if self.upstream.record.protocol == ProtocolPin::Auto
                && matches!(judge(&reply), Verdict::Modern(_))
            {
                return self.modern(session).await;
            }
            let text = format!("it answered initialize with an error: {}", shown(&reply));
            return Err(self.fail(UpstreamKind::Nonsense, text));
        }
        let raw = String::from_utf8_lossy(reply.raw());
        let handshake = Handshake::from_initialize(&raw)
            .map_err(|text| self.fail(UpstreamKind::Nonsense, text))?;
        session.notify("notifications/initialized", "{}");
        Ok(Running::new(session.clone(), handshake))
    }

    /// Asks within what is left of the time.
    async fn ask(
        &self,
        session: &Session,
        method: &str,
        params: &str,
    ) -> Result<Reply, UpstreamFailure> {
        let within = self.limits.start_within;
        let left = within.saturating_sub(self.started.elapsed());
        match time::timeout(left.max(Duration::from_millis(1)), session.ask(method, params)).await {
            Ok(Ok(reply)) => Ok(reply),
            // However it ended, for the caller it never began.
            Ok(Err(Failure::Upstream(failure))) => {
                Err(self.fail(UpstreamKind::Unreachable, failure.detail))
            }
            Ok(Err(other)) => Err(self.fail(UpstreamKind::Unreachable, other.to_string())),
            Err(_) => {
                let words = session.last_words();
                let said = if words.is_empty() {
                    String::new()
                } else {
                    format!("; it said last: {words}")
                };
                let text = format!("its command runs but did not answer {method}{said}");
                Err(self.fail(UpstreamKind::Timeout(within), text))
            }
        }
    }

    fn or_stop(
        &self,
        session: &Rc<Session>,
        outcome: Result<Running, UpstreamFailure>,
    ) -> Result<Running, UpstreamFailure> {
        if outcome.is_err() {
            let session = session.clone();
            task::spawn(async move { session.stop().await });
        }
        outcome
    }

    fn fail(&self, kind: UpstreamKind, detail: impl Into<String>) -> UpstreamFailure {
        let upstream = self.upstream.record.name.clone();
        UpstreamFailure { upstream, kind, detail: detail.into(), may_have_run: false }
    }
}

fn judge(reply: &Reply) -> Verdict {
    judge_discover(reply.outcome, &String::from_utf8_lossy(reply.raw()))
}

/// The beginning of an answer, for a sentence.
fn shown(reply: &Reply) -> String {
    String::from_utf8_lossy(reply.raw()).chars().take(300).collect()
}
