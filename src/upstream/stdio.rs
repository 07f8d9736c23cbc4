//! The leg to a child process.
//!
//! A child belongs to one shard, its owner ([`owner`]); every shard reaches it through the owner's
//! mailbox, the owner itself too. A [`StdioLeg`] is the shard's end of that way, a [`StdioHost`]
//! the owner's. What travels is raw JSON and the two channels on which answers come back; when the
//! receiving ends are dropped, the owner tells the child that the request is cancelled.

mod charge;
mod command;
mod host;
mod ids;
mod letter;
pub(crate) mod lines;
mod listen;
mod session;
mod start;
pub(crate) mod stderr;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use shards::{
    mailbox::{self, SendError, oneshot},
    time::{self, Instant},
};
use storage::record::Era;

pub use command::{check as check_command, split as split_command};
pub use host::StdioHost;

use crate::{
    catalog::Upstream,
    failure::{Failure, UpstreamFailure, UpstreamKind},
    mcp::Capabilities,
    upstream::{
        Answer, Event, EventSource, Outgoing, Reply, Stream,
        discover::{Handshake, Requester},
        keyed::{KeyedLimits, SessionKey},
    },
};
use letter::Letter;
use session::{Notice, Waiting};

/// Notifications of one request that wait for its client; further ones are dropped.
const NOTICE_COUNT_MAX: usize = 64;

/// Bounds of a child and of those who wait for it.
#[derive(Clone, Copy, Debug)]
pub struct StdioLimits {
    /// Requests that one child may have unanswered.
    pub pending_count_max: usize,
    /// Bytes of a line that a child may send.
    pub line_size_max: usize,
    /// Bytes that may wait for a child to read them.
    pub queue_size_max: usize,
    /// How long a child may take from its start until it answered the handshake.
    pub start_within: Duration,
    /// How long it may take to answer `server/discover` until it is taken for a legacy one. A
    /// program that is fetched first needs some of that time.
    pub probe_within: Duration,
    /// The pause after a child's death; doubled each time another follows.
    pub restart_delay_min: Duration,
    /// The longest such pause.
    pub restart_delay_max: Duration,
    /// How long a child may take to end after its input was closed, and again after SIGTERM.
    pub stop_patience: Duration,
    /// How many children one upstream has beside its first, and how long.
    pub sessions: KeyedLimits,
}

impl Default for StdioLimits {
    fn default() -> StdioLimits {
        StdioLimits {
            pending_count_max: 1024,
            line_size_max: 16 * 1024 * 1024,
            queue_size_max: 16 * 1024 * 1024,
            start_within: Duration::from_secs(120),
            probe_within: Duration::from_secs(60),
            restart_delay_min: Duration::from_secs(1),
            restart_delay_max: Duration::from_secs(60),
            stop_patience: Duration::from_secs(3),
            sessions: KeyedLimits { count_max: 16, idle_within: Duration::from_secs(600) },
        }
    }
}

/// Returns which of `shard_count` shards owns the child of an upstream: the same on every shard and
/// in every run.
pub fn owner(upstream_id: &str, shard_count: usize) -> usize {
    // FNV-1a: stable, which the standard hasher does not promise.
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = upstream_id.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    (hash % shard_count.max(1) as u64) as usize
}

/// What a health check found of a child.
#[derive(Debug)]
pub enum Pulse {
    /// It runs and answered.
    Answered,
    /// It runs and did not answer as it should.
    Silent(Failure),
    /// It does not run, and that is no fault: nobody asked for it, or it is being started. Or its
    /// owner cannot be asked.
    Asleep,
    /// It ended this many times in a row and does not run.
    Died {
        /// How many times.
        count: u32,
        /// How it ended last.
        failure: UpstreamFailure,
    },
}

/// What an owner is asked for.
pub enum StdioMail {
    /// A request for a child.
    Request(Box<StdioRequest>),
    /// What a child said of itself; it is started if need be.
    Handshake(HandshakeRequest),
    /// A health check: it starts no child.
    Check(Box<CheckRequest>),
    /// Stop the child of this upstream, which is gone or switched off.
    Retire {
        /// The upstream's id.
        upstream_id: String,
        /// Told when the child is gone.
        done: Option<oneshot::Sender<()>>,
    },
}

/// A request on its way to the owner.
pub struct StdioRequest {
    upstream: Arc<Upstream>,
    /// Which child of the upstream it is for.
    key: SessionKey,
    letter: Letter,
    waiting: Waiting,
    /// Set once the request was given to the child.
    sent: Arc<AtomicBool>,
}

/// A question for the handshake on its way to the owner.
pub struct HandshakeRequest {
    upstream: Arc<Upstream>,
    answer: oneshot::Sender<Result<Handshake, Failure>>,
}

/// A health check on its way to the owner.
pub struct CheckRequest {
    upstream: Arc<Upstream>,
    letter: Letter,
    waiting: Waiting,
    found: oneshot::Sender<Found>,
}

/// What the owner of a child did with a health check.
enum Found {
    /// The child was asked.
    Running,
    Asleep,
    Dead {
        count: u32,
        failure: UpstreamFailure,
    },
}

/// The way to an owner's mailbox.
pub trait Post {
    /// Puts mail into it without waiting.
    ///
    /// # Errors
    ///
    /// The mail, if the mailbox is full or its shard gone.
    fn post(&self, mail: StdioMail) -> Result<(), SendError<StdioMail>>;
}

impl Post for mailbox::Sender<StdioMail> {
    fn post(&self, mail: StdioMail) -> Result<(), SendError<StdioMail>> {
        self.send(mail)
    }
}

/// A shard's end of the way to a child.
pub struct StdioLeg {
    upstream: Arc<Upstream>,
    post: Rc<dyn Post>,
    /// How long a client may take to answer a question.
    answer_within: Duration,
}

impl StdioLeg {
    /// Makes a leg to `upstream`; `post` leads to its owner. A client may take `answer_within` to
    /// answer a question.
    pub fn new(upstream: Arc<Upstream>, post: Rc<dyn Post>, answer_within: Duration) -> StdioLeg {
        StdioLeg { upstream, post, answer_within }
    }

    /// Which child a request is for: one of the stateless revision is told with each request what
    /// the client can do, and asks by its answers.
    fn key(&self, outgoing: &Outgoing<'_>) -> SessionKey {
        let mut key = SessionKey::of_shared(outgoing);
        if self.upstream.record.era == Some(Era::Modern) {
            key.capabilities = Capabilities::NONE;
        }
        key
    }

    /// Sends a request and waits until its answer, or the first notification before it, is there.
    /// Dropping the future, or the stream that it gives, cancels the request.
    ///
    /// # Errors
    ///
    /// An upstream failure: the child did not start, ended, is behind or did not answer in time.
    pub async fn request(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        let (answer, answered) = oneshot::channel();
        let key = self.key(outgoing);
        let asked = outgoing.asked();
        let can_be_asked = asked.is_some_and(|capabilities| !capabilities.is_empty());
        let wants_logs = outgoing.log_level.is_some();
        let hears = outgoing.progress_token.is_some() || can_be_asked || wants_logs;
        let (notices, noticed) = hears.then(|| mailbox::channel(NOTICE_COUNT_MAX)).unzip();
        let sent = Arc::new(AtomicBool::new(false));
        let mut incoming = Incoming {
            upstream: self.upstream.clone(),
            answered: Some(answered),
            noticed,
            reply: None,
            sent: sent.clone(),
            started: Instant::now(),
            within: outgoing.within,
            answer_within: self.answer_within,
        };
        self.post(StdioMail::Request(Box::new(StdioRequest {
            upstream: self.upstream.clone(),
            letter: Letter::new(outgoing),
            waiting: Waiting { answer, notices, asked, wants_logs },
            key,
            sent,
        })))?;
        match incoming.receive().await? {
            Event::Reply(reply) => Ok(Answer::Whole(reply)),
            notification => {
                let first = Some(notification);
                Ok(Answer::Stream(Stream::new(Box::new(Following { first, incoming }))))
            }
        }
    }

    /// Returns what the child said of itself when it was started, starting it if it does not run.
    ///
    /// # Errors
    ///
    /// An upstream failure: it did not start, or not within `within`.
    pub async fn handshake(&self, within: Duration) -> Result<Handshake, Failure> {
        let (answer, answered) = oneshot::channel();
        let upstream = self.upstream.clone();
        self.post(StdioMail::Handshake(HandshakeRequest { upstream, answer }))?;
        match time::timeout(within, answered).await {
            Ok(Ok(handshake)) => handshake,
            Ok(Err(_)) => Err(self.fail(UpstreamKind::Broken, "its shard is ending")),
            Err(_) => Err(self.fail(UpstreamKind::Timeout(within), "its command is starting")),
        }
    }

    /// Asks the child for a sign of life if it runs, and never starts it.
    pub async fn check(&self, outgoing: &Outgoing<'_>) -> Pulse {
        let started = Instant::now();
        let (answer, answered) = oneshot::channel();
        let (sender, found) = oneshot::channel();
        let upstream = self.upstream.clone();
        let (letter, waiting) = (Letter::new(outgoing), Waiting::for_answer(answer));
        let request = CheckRequest { upstream, letter, waiting, found: sender };
        if self.post(StdioMail::Check(Box::new(request))).is_err() {
            return Pulse::Asleep;
        }
        match time::timeout(outgoing.within, found).await {
            Ok(Ok(Found::Running)) => {}
            Ok(Ok(Found::Dead { count, failure })) => return Pulse::Died { count, failure },
            Ok(Ok(Found::Asleep) | Err(_)) | Err(_) => return Pulse::Asleep,
        }
        let left = outgoing.within.saturating_sub(started.elapsed());
        match time::timeout(left, answered).await {
            Ok(Ok(Ok(_))) => Pulse::Answered,
            Ok(Ok(Err(failure))) => Pulse::Silent(failure),
            Ok(Err(_)) => Pulse::Silent(self.fail(UpstreamKind::Broken, "its child was stopped")),
            Err(_) => {
                let kind = UpstreamKind::Timeout(outgoing.within);
                Pulse::Silent(self.fail(kind, "its command runs but does not answer"))
            }
        }
    }

    fn post(&self, mail: StdioMail) -> Result<(), Failure> {
        self.post.post(mail).map_err(|error| match error {
            SendError::Full(_) => {
                self.fail(UpstreamKind::Full, "its shard is behind with its mail")
            }
            SendError::Closed(_) => self.fail(UpstreamKind::Broken, "its shard is ending"),
        })
    }

    fn fail(&self, kind: UpstreamKind, detail: &str) -> Failure {
        Failure::upstream(&self.upstream.record.name, kind, detail, false)
    }
}

impl Requester for StdioLeg {
    async fn handshake(&self, within: Duration) -> Result<Handshake, Failure> {
        StdioLeg::handshake(self, within).await
    }

    async fn request(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failure> {
        StdioLeg::request(self, outgoing).await
    }
}

type Answered = oneshot::Receiver<Result<Reply, Failure>>;

/// The receiving ends of one request. Dropping them cancels it.
struct Incoming {
    upstream: Arc<Upstream>,
    answered: Option<Answered>,
    noticed: Option<mailbox::Receiver<Notice>>,
    /// An answer that came while notifications before it still waited.
    reply: Option<Result<Reply, Failure>>,
    sent: Arc<AtomicBool>,
    started: Instant,
    within: Duration,
    answer_within: Duration,
}

impl Incoming {
    async fn receive(&mut self) -> Result<Event, Failure> {
        let left = self.within.saturating_sub(self.started.elapsed());
        match time::timeout(left, self.wait()).await {
            Ok(event) => event,
            Err(_) => {
                // The owner sees it and tells the child.
                (self.answered, self.noticed) = (None, None);
                let sent = self.sent.load(Ordering::Relaxed);
                let text = if sent { "no answer came" } else { "its command is still starting" };
                Err(self.fail(UpstreamKind::Timeout(self.within), text, sent))
            }
        }
    }

    /// Waits for a notification or the answer; notifications that came before it come first.
    async fn wait(&mut self) -> Result<Event, Failure> {
        if self.reply.is_none() {
            match self.either().await {
                Either::Notice(notice) => return Ok(self.event(notice)),
                Either::Answer(reply) => self.reply = Some(reply),
            }
        }
        if let Some(notice) = self.noticed.as_mut().and_then(mailbox::Receiver::try_next) {
            return Ok(self.event(notice));
        }
        let reply = self.reply.take().expect("the answer was put there above");
        reply.map(Event::Reply)
    }

    fn event(&mut self, notice: Notice) -> Event {
        match notice {
            Notice::Notification(message) => Event::Notification(message),
            Notice::Question(asked) => {
                // Who is asked decides how long it takes; what comes after is the tool's time again.
                self.within += self.answer_within;
                Event::Question(asked.into_question())
            }
        }
    }

    async fn either(&mut self) -> Either {
        let Some(answered) = &mut self.answered else {
            return Either::Answer(Err(self.fail(UpstreamKind::Broken, "its answer came", true)));
        };
        let answer = match &mut self.noticed {
            None => answered.await,
            Some(noticed) => {
                let mut next = pin!(noticed.next());
                let mut notices_ended = false;
                let both = poll_fn(|context| {
                    if !notices_ended && let Poll::Ready(notice) = next.as_mut().poll(context) {
                        match notice {
                            Some(notice) => return Poll::Ready(Err(notice)),
                            None => notices_ended = true,
                        }
                    }
                    poll_answer(answered, context).map(Ok)
                });
                match both.await {
                    Err(notice) => return Either::Notice(notice),
                    Ok(answer) => answer,
                }
            }
        };
        self.answered = None;
        let lost = |_| {
            let sent = self.sent.load(Ordering::Relaxed);
            Err(self.fail(UpstreamKind::Broken, "its shard gave up the request", sent))
        };
        Either::Answer(answer.unwrap_or_else(lost))
    }

    fn fail(&self, kind: UpstreamKind, detail: &str, may_have_run: bool) -> Failure {
        Failure::upstream(&self.upstream.record.name, kind, detail, may_have_run)
    }
}

enum Either {
    Notice(Notice),
    Answer(Result<Reply, Failure>),
}

fn poll_answer(
    answered: &mut Answered,
    context: &mut Context<'_>,
) -> Poll<Result<Result<Reply, Failure>, oneshot::Canceled>> {
    Pin::new(answered).poll(context)
}

/// The rest of an answer that streams.
struct Following {
    first: Option<Event>,
    incoming: Incoming,
}

impl EventSource for Following {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Event, Failure>> + '_>> {
        Box::pin(async move {
            match self.first.take() {
                Some(event) => Ok(event),
                None => self.incoming.receive().await,
            }
        })
    }
}

#[cfg(test)]
mod tests;
