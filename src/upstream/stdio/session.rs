//! One running child: its three streams, and the requests that wait for its answers.
//!
//! Four tasks serve it: one writes, one reads, one follows the standard error, one keeps watch over
//! the process and buries it. Whoever sends never waits: what is not taken at once is refused.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    process::{Command, ExitStatus},
    rc::Rc,
    time::Duration,
};

use net::{
    Span,
    jsonrpc::{self, Answer, AnswerKind, EnvelopeLimits},
};
use shards::{
    child::{self, Child, Input, Output},
    local::{Bell, Gate},
    mailbox::{self, oneshot},
    task,
    time::{self, Instant},
};
use storage::record::Era;

use super::{
    StdioLimits,
    ids::{number, outer_id},
    letter::{self, Letter},
    lines::{Line, Lines},
    stderr::{Stderr, printable},
};
use crate::{
    failure::{Failure, UpstreamFailure, UpstreamKind},
    mcp::Capabilities,
    observe::held::{Hold, Kind},
    upstream::{
        Edit, Outcome, Question, Reply,
        keyed::SessionKey,
        levels::whose,
        question::{OwnAnswer, whom},
        splice,
        watch::{Ear, MESSAGE_SIZE_MAX},
    },
};

/// How often the process itself is looked at: its streams usually tell first.
const EXIT_POLL: Duration = Duration::from_secs(1);

/// How long the exit status and the last words are waited for once the output ended.
const EPITAPH_WITHIN: Duration = Duration::from_millis(500);

/// How often requests are looked for that nobody waits for any more.
const SWEEP: Duration = Duration::from_millis(100);

/// The largest notification that is relayed: they are progress, not content.
const NOTICE_SIZE_MAX: usize = 256 * 1024;

/// Answers of clients that wait to be written.
const CLIENT_ANSWER_COUNT_MAX: usize = 256;

/// Lines that are no messages and are logged, per child.
const STRAY_COUNT_MAX: u32 = 20;

/// A request that waits for its answer.
pub(super) struct Waiting {
    /// Where the answer goes. When nobody holds the other end, the request is cancelled.
    pub(super) answer: oneshot::Sender<Result<Reply, Failure>>,
    /// Where what comes before the answer goes, if anything is wanted.
    pub(super) notices: Option<mailbox::Sender<Notice>>,
    /// What the client can be asked meanwhile; `None` if it is not for the upstream to ask.
    pub(super) asked: Option<Capabilities>,
    /// Whether the client hears of log messages.
    pub(super) wants_logs: bool,
}

impl Waiting {
    /// Who wants the answer alone.
    pub(super) fn for_answer(answer: oneshot::Sender<Result<Reply, Failure>>) -> Waiting {
        Waiting { answer, notices: None, asked: None, wants_logs: false }
    }
}

/// What comes before an answer.
pub(super) enum Notice {
    /// A notification, as the whole raw message.
    Notification(Vec<u8>),
    /// A question for the client.
    Question(Asked),
}

/// A question on its way to the shard of the client that is asked.
pub(super) struct Asked {
    method: String,
    params: Option<String>,
    /// The raw id.
    id: String,
    /// Where the child is answered.
    answers: mailbox::Sender<Vec<u8>>,
}

impl Asked {
    /// Makes it one that is answered by itself when nobody does.
    pub(super) fn into_question(self) -> Question {
        let Asked { method, params, id, answers } = self;
        Question::new(method, params.as_deref(), id, move |message| {
            // A child that is over waits for nothing.
            let _ = answers.send(message);
        })
    }
}

struct Pending {
    waiting: Waiting,
    /// The client's own raw progress token.
    token: Option<Vec<u8>>,
    /// The child may be told that nobody waits any more.
    cancellable: bool,
}

/// One running child.
pub(super) struct Session {
    upstream: Rc<str>,
    limits: StdioLimits,
    key: SessionKey,
    /// Where clients' answers to its questions are taken.
    client_answers: mailbox::Sender<Vec<u8>>,
    pending: RefCell<HashMap<u64, Pending>>,
    last_id: Cell<u64>,
    outbox: RefCell<Vec<u8>>,
    /// Rung when there is something to write, or nothing ever again.
    to_write: Bell,
    /// Rung when the sweeper has something to watch, or nothing ever again.
    to_sweep: Bell,
    stderr: Rc<Stderr>,
    stray_count: Cell<u32>,
    /// It was asked to stop, as opposed to ending by itself.
    stopped: Cell<bool>,
    over: Gate,
    gone: Gate,
    epitaph: RefCell<String>,
    ear: RefCell<Option<Rc<Ear>>>,
    started: Instant,
    _hold: Hold,
}

impl Session {
    /// Starts the child.
    pub(super) fn open(
        upstream: Rc<str>,
        command: Command,
        limits: StdioLimits,
        key: SessionKey,
    ) -> io::Result<Rc<Session>> {
        let spawned = child::spawn(command)?;
        let (client_answers, answered) = mailbox::channel(CLIENT_ANSWER_COUNT_MAX);
        let session = Rc::new(Session {
            stderr: Rc::new(Stderr::new(upstream.clone())),
            upstream,
            limits,
            key,
            client_answers,
            pending: RefCell::default(),
            last_id: Cell::new(0),
            outbox: RefCell::default(),
            to_write: Bell::default(),
            to_sweep: Bell::default(),
            stray_count: Cell::new(0),
            stopped: Cell::new(false),
            over: Gate::default(),
            gone: Gate::default(),
            epitaph: RefCell::default(),
            ear: RefCell::default(),
            started: Instant::now(),
            _hold: Kind::Child.hold(),
        });
        tracing::info!(upstream = %session.upstream, pid = spawned.child.id(), "child started");
        task::spawn(session.clone().write(spawned.input));
        task::spawn(session.clone().read(spawned.output));
        task::spawn(session.stderr.clone().follow(spawned.errors));
        task::spawn(session.clone().sweep());
        task::spawn(session.clone().answer_questions(answered));
        task::spawn(session.clone().keep(spawned.child));
        Ok(session)
    }

    /// Returns true once nothing can be asked of the child any more.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_open()
    }

    /// Waits until the process is gone and everybody was told.
    pub(super) async fn gone(&self) {
        self.gone.passed().await;
    }

    /// Gives what it says by itself to `ear`.
    pub(super) fn be_heard_by(&self, ear: &Rc<Ear>) {
        *self.ear.borrow_mut() = Some(ear.clone());
    }

    /// Returns true if it was asked to stop.
    pub(super) fn was_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Returns how long ago it was started.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns true if nobody waits for an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.borrow().is_empty()
    }

    /// Returns how it ended; empty while it runs.
    pub(super) fn epitaph(&self) -> String {
        self.epitaph.borrow().clone()
    }

    /// Returns the last lines of its standard error; empty if there were none.
    pub(super) fn last_words(&self) -> String {
        self.stderr.last_words()
    }

    /// Sends a request; the answer goes to whoever waits, also when it is that this was refused.
    pub(super) fn send(&self, letter: &Letter, waiting: Waiting, era: Era) {
        let token = letter.token().map(<[u8]>::to_vec);
        self.enqueue(Pending { waiting, token, cancellable: true }, |out, id| {
            letter.write(out, id, era);
        });
    }

    /// Asks something of our own and waits for the answer. Dropping the future forgets the answer
    /// and tells the child nothing: an `initialize` must not be cancelled.
    pub(super) async fn ask(&self, method: &str, params: &str) -> Result<Reply, Failure> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting::for_answer(answer);
        self.enqueue(Pending { waiting, token: None, cancellable: false }, |out, id| {
            letter::write_own(out, Some(id), method, params);
        });
        answered.await.unwrap_or_else(|_| Err(Failure::Upstream(self.broken())))
    }

    /// Asks something of our own, the answer to which makes no difference.
    pub(super) fn tell(&self, method: &str, params: &str) {
        let (answer, _) = oneshot::channel();
        let waiting = Waiting::for_answer(answer);
        self.enqueue(Pending { waiting, token: None, cancellable: false }, |out, id| {
            letter::write_own(out, Some(id), method, params);
        });
    }

    /// Sends a notification of our own, unless the child is behind with reading.
    pub(super) fn notify(&self, method: &str, params: &str) {
        self.push(|out| letter::write_own(out, None, method, params));
    }

    /// Stops the child: its standard input is closed, then come signals. Returns when it is gone.
    pub(super) async fn stop(&self) {
        self.stopped.set(true);
        self.end();
        self.gone().await;
    }

    /// Waits until no request is pending, for `within` at most.
    pub(super) async fn drained(&self, within: Duration) {
        let started = Instant::now();
        while !self.pending.borrow().is_empty() && !self.is_over() && started.elapsed() < within {
            time::sleep(SWEEP).await;
        }
    }

    fn enqueue(&self, pending: Pending, write: impl FnOnce(&mut Vec<u8>, u64)) {
        let full = |detail: String| self.failure(UpstreamKind::Full, detail, false);
        let failure = if self.is_over() {
            Some(self.broken())
        } else if self.pending.borrow().len() >= self.limits.pending_count_max {
            Some(full(format!("{} requests wait for it already", self.limits.pending_count_max)))
        } else {
            None
        };
        if let Some(failure) = failure {
            let _ = pending.waiting.answer.send(Err(Failure::Upstream(failure)));
            return;
        }
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        if !self.push(|out| write(out, id)) {
            let text = "its command does not read what is sent to it".to_owned();
            let _ = pending.waiting.answer.send(Err(Failure::Upstream(full(text))));
            return;
        }
        self.pending.borrow_mut().insert(id, pending);
        self.to_sweep.ring();
    }

    /// Puts one line into the outbox, unless that holds as much as it may. A line over the bound
    /// passes while nothing else waits.
    fn push(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut outbox = self.outbox.borrow_mut();
        let before = outbox.len();
        write(&mut outbox);
        if before > 0 && outbox.len() > self.limits.queue_size_max {
            outbox.truncate(before);
            return false;
        }
        self.to_write.ring();
        true
    }

    /// Writes what is in the outbox, all of it at a time, and closes the input at the end.
    async fn write(self: Rc<Self>, mut input: Input) {
        loop {
            let bytes = std::mem::take(&mut *self.outbox.borrow_mut());
            if !bytes.is_empty() {
                if input.write_all(bytes).await.0.is_err() {
                    break;
                }
            } else if self.is_over() {
                break;
            } else {
                self.to_write.wait().await;
            }
        }
        input.close().await;
        self.end();
    }

    /// Hands clients' answers on to the child.
    async fn answer_questions(self: Rc<Self>, mut answered: mailbox::Receiver<Vec<u8>>) {
        while let Some(Some(message)) = self.over.unless(answered.next()).await {
            self.push(|out| {
                out.extend_from_slice(&one_line(message));
                out.push(b'\n');
            });
        }
    }

    async fn read(self: Rc<Self>, mut output: Output) {
        let mut lines = Lines::new(self.limits.line_size_max);
        loop {
            let (count, buffer) = output.read(lines.lend()).await;
            lines.feed(buffer, |line| self.take(&line));
            if !matches!(count, Ok(1..)) {
                break;
            }
        }
        lines.finish(|line| self.take(&line));
        self.end();
    }

    /// Tells the child of requests that nobody waits for any more.
    async fn sweep(self: Rc<Self>) {
        while !self.is_over() {
            if self.pending.borrow().is_empty() {
                self.to_sweep.wait().await;
                continue;
            }
            time::sleep(SWEEP).await;
            let abandoned = |_: &u64, pending: &mut Pending| pending.waiting.answer.is_canceled();
            let left: Vec<_> = self.pending.borrow_mut().extract_if(abandoned).collect();
            for (id, _) in left.into_iter().filter(|(_, pending)| pending.cancellable) {
                let params = format!("{{\"requestId\":{id},\"reason\":\"nobody waits for it\"}}");
                self.notify("notifications/cancelled", &params);
            }
        }
    }

    /// Watches the process to its end and buries it.
    async fn keep(self: Rc<Self>, mut child: Child) {
        let mut status = None;
        while status.is_none() && !self.is_over() {
            let _ = time::timeout(EXIT_POLL, self.over.passed()).await;
            status = child.ended(Duration::ZERO).await;
        }
        self.end();
        if !self.stopped.get() {
            status = match status {
                None => child.ended(EPITAPH_WITHIN).await,
                some => some,
            };
            let _ = time::timeout(EPITAPH_WITHIN, self.stderr.ended.passed()).await;
        }
        self.bury(status);
        child.stop(self.limits.stop_patience).await;
        self.gone.open();
    }

    fn end(&self) {
        self.over.open();
        self.to_write.ring();
        self.to_sweep.ring();
    }

    /// Writes the epitaph and tells everybody who waits.
    fn bury(&self, status: Option<ExitStatus>) {
        let last_words = self.stderr.last_words();
        let cause = match status {
            _ if self.stopped.get() => "the gateway stopped its command".to_owned(),
            Some(status) => format!("its command ended ({status})"),
            None => "its command closed its output".to_owned(),
        };
        let text = if last_words.is_empty() || self.stopped.get() {
            cause
        } else {
            format!("{cause}; it said last: {last_words}")
        };
        match self.stopped.get() {
            true => tracing::info!(upstream = %self.upstream, "child stopped"),
            false => tracing::warn!(upstream = %self.upstream, "child ended: {text}"),
        }
        *self.epitaph.borrow_mut() = text;
        let pending = std::mem::take(&mut *self.pending.borrow_mut());
        for pending in pending.into_values() {
            let failure = UpstreamFailure { may_have_run: true, ..self.broken() };
            let _ = pending.waiting.answer.send(Err(Failure::Upstream(failure)));
        }
    }

    /// One line of the child.
    fn take(&self, line: &Line<'_>) {
        match *line {
            Line::Whole(bytes) => match Answer::parse(bytes, &EnvelopeLimits::default()) {
                Ok(message) => self.dispatch(bytes, &message),
                Err(error) => self.misfit(bytes, bytes, UpstreamKind::Nonsense, error.to_string()),
            },
            Line::TooLong { head, tail, size } => {
                let size_max = self.limits.line_size_max;
                let text = format!("a line of {size} bytes, more than the {size_max} allowed");
                self.misfit(head, tail, UpstreamKind::TooLarge, text);
            }
        }
    }

    /// A line that cannot be taken. If it looks like an answer, its request fails now and not when
    /// its time is over; else it is a stray print, usually.
    fn misfit(&self, head: &[u8], tail: &[u8], kind: UpstreamKind, problem: String) {
        match outer_id(head, tail).and_then(|id| self.settle(id)) {
            Some(pending) => {
                let failure = self.failure(kind, problem, true);
                let _ = pending.waiting.answer.send(Err(Failure::Upstream(failure)));
            }
            None => self.stray(head, &problem),
        }
    }

    fn dispatch(&self, bytes: &[u8], message: &Answer<'_>) {
        match message.kind() {
            AnswerKind::Result => self.answer(bytes, message, message.result_place()),
            AnswerKind::Error => self.answer(bytes, message, message.error_place()),
            AnswerKind::Request => self.question(message),
            AnswerKind::Notification => self.notice(bytes, message),
        }
    }

    fn answer(&self, bytes: &[u8], message: &Answer<'_>, place: Option<Span>) {
        let pending = message.id().and_then(number).and_then(|id| self.settle(id));
        let (Some(pending), Some(span)) = (pending, place) else {
            // Late answers to cancelled requests are no fault.
            tracing::debug!(upstream = %self.upstream, id = message.id(), "answer nobody waits for");
            return;
        };
        let is_error = message.kind() == AnswerKind::Error;
        let outcome = if is_error { Outcome::Error } else { Outcome::Result };
        let _ = pending.waiting.answer.send(Ok(Reply { bytes: bytes.to_vec(), span, outcome }));
    }

    fn settle(&self, id: u64) -> Option<Pending> {
        self.pending.borrow_mut().remove(&id)
    }

    /// A request of the child: for the client on whose behalf it works, or for us.
    fn question(&self, message: &Answer<'_>) {
        let Some(id) = message.id() else { return };
        let method = message.method();
        let params = message.params_place().map(|place| place.of_text(message.text()));
        if let Err(answer) = self.ask_client(id, method, params) {
            tracing::debug!(upstream = %self.upstream, method, "answered the child's request");
            self.push(|out| {
                answer.write(out, id);
                out.push(b'\n');
            });
        }
    }

    fn ask_client(&self, id: &str, method: &str, params: Option<&str>) -> Result<(), OwnAnswer> {
        let pending = self.pending.borrow();
        let waiting = pending.iter().filter_map(|(number, pending)| {
            Some((*number, pending.waiting.asked?, &pending.waiting.notices))
        });
        let client = whom(&self.key, method, params, waiting)?.as_ref();
        let client = client.expect("who can be asked something hears it");
        let (method, params) = (method.to_owned(), params.map(str::to_owned));
        let answers = self.client_answers.clone();
        let asked = Asked { method, params, id: id.to_owned(), answers };
        let behind = |_| OwnAnswer::Error(-32603, "The client is behind with what it is told");
        client.send(Notice::Question(asked)).map_err(behind)
    }

    /// Hands a notification to the request that it belongs to.
    fn notice(&self, bytes: &[u8], message: &Answer<'_>) {
        let token = message.params_place().and_then(|params| {
            let [token] = jsonrpc::pick(params.of_text(message.text()), ["progressToken"]).ok()?;
            token.map(|token| token.shifted(params.start as usize))
        });
        let Some(token) = token else { return self.unclaimed(message) };
        let pending = self.pending.borrow();
        let id = number(token.of_text(message.text()));
        let Some(pending) = id.and_then(|id| pending.get(&id)) else { return };
        let (Some(original), Some(notices)) = (&pending.token, &pending.waiting.notices) else {
            return;
        };
        if bytes.len() > NOTICE_SIZE_MAX {
            tracing::debug!(upstream = %self.upstream, size = bytes.len(), "dropped a notification");
            return;
        }
        let mut text = Vec::with_capacity(bytes.len() + original.len());
        splice(&mut text, bytes, &[Edit { span: token, replacement: original.into() }]);
        // A client that reads more slowly than the child reports loses some of its progress.
        let _ = notices.send(Notice::Notification(text));
    }

    /// A notification that names no request: logs and changed lists.
    fn unclaimed(&self, message: &Answer<'_>) {
        if message.method() == "notifications/message" && self.log(message.text()) {
            return;
        }
        let ear = self.ear.borrow().clone();
        if let Some(ear) = ear.filter(|_| message.text().len() <= MESSAGE_SIZE_MAX) {
            ear.take(message.text().as_bytes());
        }
        let text = printable(&message.text().as_bytes()[..message.text().len().min(1024)]);
        tracing::debug!(upstream = %self.upstream, method = message.method(), "notification: {text}");
    }

    /// Hands a log message to whom it can only be for; false if it is nobody's.
    fn log(&self, text: &str) -> bool {
        let pending = self.pending.borrow();
        let waiting = pending.iter().filter(|(_, pending)| pending.waiting.asked.is_some());
        let waiting = waiting.map(|(number, pending)| (*number, &pending.waiting));
        let client = whose(&self.key, waiting).filter(|waiting| waiting.wants_logs);
        let Some(notices) = client.and_then(|waiting| waiting.notices.as_ref()) else {
            return false;
        };
        if text.len() <= NOTICE_SIZE_MAX {
            let _ = notices.send(Notice::Notification(text.as_bytes().to_vec()));
        }
        true
    }

    /// A line that is no message: a stray print, usually.
    fn stray(&self, bytes: &[u8], problem: &str) {
        let count = self.stray_count.get().saturating_add(1);
        self.stray_count.set(count);
        if count <= STRAY_COUNT_MAX {
            let text = printable(&bytes[..bytes.len().min(200)]);
            tracing::warn!(upstream = %self.upstream, problem, "no message on the output: {text}");
        }
    }

    fn failure(
        &self,
        kind: UpstreamKind,
        detail: impl Into<String>,
        may_have_run: bool,
    ) -> UpstreamFailure {
        let (upstream, detail) = (self.upstream.to_string(), detail.into());
        UpstreamFailure { upstream, kind, detail, may_have_run }
    }

    fn broken(&self) -> UpstreamFailure {
        let epitaph = self.epitaph();
        let text = if epitaph.is_empty() { "its command is ending".to_owned() } else { epitaph };
        self.failure(UpstreamKind::Broken, text, false)
    }
}

/// A message without line ends: between tokens they are blanks, and within strings JSON has none.
fn one_line(mut message: Vec<u8>) -> Vec<u8> {
    for byte in message.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    message
}
