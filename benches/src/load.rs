//! The load generator: a fixed number of keep-alive connections, each asking again as soon as it
//! was answered.
//!
//! Every answer's status and length are checked, and every so many answers the whole body, so a
//! server cannot look fast by answering wrongly. The window is opened and closed between two
//! turns of one loop, where nothing is half done, and the caller reads the server's clock there.

mod connection;
mod requests;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::poll::Poller;
use connection::{Connection, Wrong};
pub use requests::{Numbered, Requests};

/// Errors after which a run is given up: the server is broken, and its speed means nothing.
const ERROR_COUNT_MAX: u64 = 1000;
/// How long a turn waits for an answer before it looks at the clock.
const TURN_WAIT_MAX: Duration = Duration::from_millis(20);
/// How long the answers that are still to come may take once nothing more is asked.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(60);
/// A read takes this much at once, so that an answer of a few kilobytes is one read.
const READ_SIZE: usize = 256 * 1024;

/// What to ask, how often at once and for how long.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The server.
    pub target: SocketAddr,
    /// What is asked. When it has an end, the window closes there at the latest, and whatever was
    /// asked is answered before [`run`] returns.
    pub requests: Requests<'a>,
    /// What every answer must be.
    pub expected: &'a Expected,
    /// Connections, which is also the number of requests in flight.
    pub concurrency: usize,
    /// Threads that share the connections; one is enough on a few cores.
    pub thread_count: usize,
    /// How long to ask before the window opens.
    pub warmup: Duration,
    /// How long the window is open.
    pub window: Duration,
}

/// The only right answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its status code.
    pub status: u16,
    /// Its body, byte for byte; `None` where every answer has one of its own.
    pub body: Option<Vec<u8>>,
}

/// An end of the measured window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The window opens now.
    Opened,
    /// The window closes now.
    Closed,
}

/// What happened inside the window.
#[derive(Default)]
pub struct Outcome {
    /// The latency of every right answer.
    pub latencies: Histogram,
    /// Wrong answers and broken connections.
    pub error_count: u64,
    /// The first of them, in words.
    pub error_first: Option<String>,
    /// How long the window was open.
    pub elapsed: Duration,
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const FINISHED: u8 = 2;

/// Runs a plan, and calls `mark` as the window opens and as it closes.
///
/// # Errors
///
/// When a connection cannot be opened, or after so many errors that the rest means nothing.
pub fn run(plan: &Plan<'_>, mark: &mut dyn FnMut(Mark)) -> io::Result<Outcome> {
    let thread_count = plan.thread_count.clamp(1, plan.concurrency.max(1));
    let phase = AtomicU8::new(WARMING);
    thread::scope(|scope| {
        let helpers: Vec<_> = (1..thread_count)
            .map(|index| {
                let share = share_of(plan.concurrency, thread_count, index);
                let phase = &phase;
                scope.spawn(move || follow(plan, share, phase))
            })
            .collect();
        let outcome = lead(plan, share_of(plan.concurrency, thread_count, 0), &phase, mark);
        phase.store(FINISHED, Ordering::Release);
        let mut outcome = outcome?;
        for helper in helpers {
            let more = helper.join().map_err(|_| io::Error::other("a load thread panicked"))??;
            outcome.latencies.merge(&more.latencies);
            outcome.error_count += more.error_count;
            outcome.error_first = outcome.error_first.or(more.error_first);
        }
        Ok(outcome)
    })
}

/// How many of `total` connections the thread with this index keeps.
fn share_of(total: usize, thread_count: usize, index: usize) -> usize {
    total / thread_count + usize::from(index < total % thread_count)
}

/// Keeps a share of the connections busy and decides when the window opens and closes.
fn lead(
    plan: &Plan<'_>,
    share: usize,
    phase: &AtomicU8,
    mark: &mut dyn FnMut(Mark),
) -> io::Result<Outcome> {
    let mut worker = Worker::connect(plan, share)?;
    let started_at = Instant::now();
    while started_at.elapsed() < plan.warmup {
        worker.turn()?;
    }
    mark(Mark::Opened);
    phase.store(MEASURING, Ordering::Release);
    let outcome = worker.measure(|opened_at| opened_at.elapsed() < plan.window)?;
    mark(Mark::Closed);
    phase.store(FINISHED, Ordering::Release);
    worker.finish(outcome)
}

/// Keeps a share of the connections busy for as long as the leader says.
fn follow(plan: &Plan<'_>, share: usize, phase: &AtomicU8) -> io::Result<Outcome> {
    let mut worker = Worker::connect(plan, share)?;
    while phase.load(Ordering::Acquire) == WARMING {
        worker.turn()?;
    }
    let outcome = worker.measure(|_| phase.load(Ordering::Acquire) == MEASURING)?;
    worker.finish(outcome)
}

/// One thread's connections and what they saw.
struct Worker<'a> {
    plan: &'a Plan<'a>,
    poller: Poller,
    connections: Vec<Connection>,
    /// Connections with a request in flight.
    busy_count: usize,
    /// Whether nothing more is asked.
    is_finishing: bool,
    ready: Vec<usize>,
    buffer: Vec<u8>,
    seen: Outcome,
}

impl<'a> Worker<'a> {
    fn connect(plan: &'a Plan<'a>, count: usize) -> io::Result<Worker<'a>> {
        let poller = Poller::new()?;
        let mut connections = Vec::with_capacity(count);
        for token in 0..count {
            let connection = Connection::open(plan.target)?;
            poller.add(connection.stream(), token)?;
            connections.push(connection);
        }
        let mut worker = Worker {
            plan,
            poller,
            connections,
            busy_count: count,
            is_finishing: false,
            ready: Vec::new(),
            buffer: vec![0; READ_SIZE],
            seen: Outcome::default(),
        };
        for token in 0..count {
            worker.ask(token).map_err(io::Error::other)?;
        }
        Ok(worker)
    }

    /// Sends the next request on a connection that waits for no answer, or lets it rest when there
    /// is none.
    fn ask(&mut self, token: usize) -> Result<(), Wrong> {
        let request = if self.is_finishing { None } else { self.plan.requests.next() };
        match request {
            Some(request) => self.connections[token].send(&request),
            None => {
                self.busy_count -= 1;
                Ok(())
            }
        }
    }

    /// Forgets what was seen, and takes turns for as long as `is_open` says and there is something
    /// to ask.
    fn measure(&mut self, is_open: impl Fn(Instant) -> bool) -> io::Result<Outcome> {
        self.seen = Outcome::default();
        let opened_at = Instant::now();
        while is_open(opened_at) && self.busy_count > 0 {
            self.turn()?;
        }
        self.seen.elapsed = opened_at.elapsed();
        Ok(std::mem::take(&mut self.seen))
    }

    /// Takes the answers that are still to come, where none may be left behind. They belong to no
    /// window, but a wrong one is counted.
    fn finish(mut self, mut outcome: Outcome) -> io::Result<Outcome> {
        if !self.plan.requests.are_numbered() {
            return Ok(outcome);
        }
        self.is_finishing = true;
        let started_at = Instant::now();
        while self.busy_count > 0 {
            if started_at.elapsed() > DRAIN_WAIT_MAX {
                let text = format!("{} answers did not come", self.busy_count);
                return Err(io::Error::other(text));
            }
            self.turn()?;
        }
        outcome.error_count += self.seen.error_count;
        outcome.error_first = outcome.error_first.or(self.seen.error_first);
        Ok(outcome)
    }

    /// Waits for answers and asks again on every connection that was answered.
    fn turn(&mut self) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(&mut ready, Some(TURN_WAIT_MAX))?;
        for token in &ready {
            self.serve(*token)?;
        }
        self.ready = ready;
        Ok(())
    }

    fn serve(&mut self, token: usize) -> io::Result<()> {
        let connection = &mut self.connections[token];
        let asked_again = match connection.receive(&mut self.buffer, self.plan.expected) {
            Ok(None) => Ok(()),
            Ok(Some(latency)) => {
                self.seen.latencies.record(latency);
                self.ask(token)
            }
            Err(wrong) => Err(wrong),
        };
        asked_again.or_else(|wrong| self.replace(token, wrong.to_string()))
    }

    /// Counts an error and opens the connection anew.
    fn replace(&mut self, token: usize, error: String) -> io::Result<()> {
        self.seen.error_count += 1;
        if self.seen.error_count > ERROR_COUNT_MAX {
            return Err(io::Error::other(format!(
                "gave up after {ERROR_COUNT_MAX} errors: {error}"
            )));
        }
        self.seen.error_first.get_or_insert(error);
        let connection = Connection::open(self.plan.target)?;
        self.poller.add(connection.stream(), token)?;
        self.connections[token] = connection;
        self.ask(token).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;
    use crate::upstream::{self, Options};

    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

    fn expect_of(target: SocketAddr, request: &[u8]) -> Expected {
        let answer = http::ask(target, request, Duration::from_secs(5)).expect("is answered");
        Expected { status: answer.status, body: Some(answer.body) }
    }

    fn run_briefly(
        target: SocketAddr,
        requests: Requests<'_>,
        expected: &Expected,
    ) -> io::Result<Outcome> {
        let plan = Plan {
            target,
            requests,
            expected,
            concurrency: 3,
            thread_count: 2,
            warmup: Duration::from_millis(5),
            window: Duration::from_millis(50),
        };
        let mut marks = Vec::new();
        let outcome = run(&plan, &mut |mark| marks.push(mark));
        if outcome.is_ok() {
            assert_eq!(marks, [Mark::Opened, Mark::Closed]);
        }
        outcome
    }

    #[test]
    fn counts_right_answers_and_their_latencies() {
        let target = upstream::spawn(Options::default()).expect("listens");
        let request = http::request("POST", "/mcp", target, &[], LIST);
        let expected = expect_of(target, &request);
        let outcome = run_briefly(target, Requests::Same(&request), &expected).expect("runs");
        assert!(outcome.latencies.count() > 0);
        assert_eq!((outcome.error_count, outcome.error_first), (0, None));
        assert!(outcome.elapsed >= Duration::from_millis(50));
    }

    #[test]
    fn a_wrong_body_of_the_right_length_is_an_error() {
        let target = upstream::spawn(Options::default()).expect("listens");
        let request = http::request("POST", "/mcp", target, &[], LIST);
        let mut expected = expect_of(target, &request);
        let last = expected.body.as_mut().and_then(|body| body.last_mut());
        *last.expect("has a body") ^= 1;
        let outcome = run_briefly(target, Requests::Same(&request), &expected);
        let error = outcome.map_or_else(
            |error| error.to_string(),
            |outcome| outcome.error_first.expect("counted an error"),
        );
        assert!(error.contains("body"), "{error}");
    }

    #[test]
    fn the_window_closes_when_every_number_was_asked_and_answered() {
        let target = upstream::spawn(Options::default()).expect("listens");
        let make = |number: usize| {
            let call = format!(
                r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"tool_0"}}}}"#
            );
            http::request("POST", "/mcp", target, &[], &call)
        };
        let numbered = Numbered::new(0..10, &make);
        let expected = Expected { status: 200, body: None };
        let plan = Plan {
            target,
            requests: Requests::Numbered(&numbered),
            expected: &expected,
            concurrency: 3,
            thread_count: 1,
            warmup: Duration::ZERO,
            window: Duration::from_secs(60),
        };
        let outcome = run(&plan, &mut |_| {}).expect("runs");
        assert_eq!((outcome.latencies.count(), outcome.error_first), (10, None));
        assert!(outcome.elapsed < plan.window);
        assert_eq!(numbered.upcoming(), 10);
    }

    #[test]
    fn every_connection_has_its_thread() {
        let shares: Vec<_> = (0..3).map(|index| share_of(200, 3, index)).collect();
        assert_eq!(shares, [67, 67, 66]);
    }
}
