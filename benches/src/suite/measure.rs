//! Rounds of measurements that take turns between the servers, and their medians.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::cases::Kind;
use crate::account::{self, CpuReading, Memory};
use crate::http;
use crate::load::{self, Expected, Mark, Outcome, Plan, Requests};

/// How long the first answer of a case may take.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Rounds, of which the median counts.
    pub round_count: usize,
    /// The window of one server in one round.
    pub window: Duration,
    /// The time before each window.
    pub warmup: Duration,
    /// Threads of the load generator.
    pub thread_count: usize,
}

/// A server and the request that it gets in one case.
pub struct Contender {
    name: String,
    target: SocketAddr,
    request: Vec<u8>,
    expected: Expected,
    pids: Vec<u32>,
}

impl Contender {
    /// Asks once and takes the answer for the right one, if it looks right and comes again.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn new(
        name: String,
        target: SocketAddr,
        request: Vec<u8>,
        kind: Kind,
        pids: Vec<u32>,
    ) -> io::Result<Contender> {
        let refuse = |body: &[u8]| kind.refuse(body);
        Contender::checked(kind.name(), name, target, request, pids, &refuse)
    }

    /// As [`Contender::new`], for a case that is no [`Kind`]; `refuse` says what is wrong with a
    /// body.
    ///
    /// # Errors
    ///
    /// As [`Contender::new`].
    pub fn checked(
        case: &str,
        name: String,
        target: SocketAddr,
        request: Vec<u8>,
        pids: Vec<u32>,
        refuse: &dyn Fn(&[u8]) -> Option<&'static str>,
    ) -> io::Result<Contender> {
        let complain =
            |what: &str| io::Error::other(format!("{case}: the answer of {name} {what}"));
        let ask = || {
            let answer = http::ask(target, &request, ANSWER_WAIT_MAX);
            answer.map_err(|error| complain(&format!("did not come: {error}")))
        };
        let (first, second) = (ask()?, ask()?);
        let text = String::from_utf8_lossy(&first.body[..first.body.len().min(1000)]);
        if first.status != 200 {
            return Err(complain(&format!("has the status {}: {text}", first.status)));
        }
        if let Some(what) = refuse(&first.body) {
            return Err(complain(&format!("{what}: {text}")));
        }
        if first.body != second.body {
            return Err(complain("is not the same twice"));
        }
        let expected = Expected { status: first.status, body: Some(first.body) };
        Ok(Contender { name, target, request, expected, pids })
    }

    /// The body of the right answer.
    pub fn body(&self) -> &[u8] {
        self.expected.body.as_deref().unwrap_or_default()
    }

    /// Measures one window.
    fn sample(&self, timing: Timing, concurrency: usize) -> io::Result<Sample> {
        let plan = Plan {
            target: self.target,
            requests: Requests::Same(&self.request),
            expected: &self.expected,
            concurrency,
            thread_count: timing.thread_count,
            warmup: timing.warmup,
            window: timing.window,
        };
        sample(&self.name, &self.pids, &plan)
    }
}

/// Runs a plan and puts what it cost on the account of the server's processes.
///
/// # Errors
///
/// When the server breaks or is gone; the text names it.
pub fn sample(name: &str, pids: &[u32], plan: &Plan<'_>) -> io::Result<Sample> {
    let place = format!("{name} at c={}", plan.concurrency);
    account::forget_peak(pids);
    let mut readings = Vec::with_capacity(2);
    let mut mark = |_: Mark| readings.push(CpuReading::take(pids));
    let outcome = load::run(plan, &mut mark)
        .map_err(|error| io::Error::other(format!("{place}: {error}")))?;
    let closed = readings.pop().expect("the window was closed")?;
    let opened = readings.pop().expect("the window was opened")?;
    let memory = Memory::take(pids)?;
    if let Some(error) = &outcome.error_first {
        eprintln!("{place}: {error}");
    }
    Ok(Sample::new(&outcome, closed.since(&opened), memory))
}

/// Checks that all contenders answer the same bytes where a peer serves them from a file; a
/// proxied call may differ, since the gateway speaks for the upstream.
///
/// # Errors
///
/// When one does not.
pub fn require_same_bytes(contenders: &[Contender], kind: Kind) -> io::Result<()> {
    let is_static = kind == Kind::Health || kind.is_list();
    let is_same = contenders.windows(2).all(|pair| pair[0].body() == pair[1].body());
    if is_static && !is_same {
        let text = format!("{}: the servers answer different bytes", kind.name());
        return Err(io::Error::other(text));
    }
    Ok(())
}

/// What one window found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Right answers per second.
    pub rate: f64,
    /// The median latency.
    pub p50_us: f64,
    /// The latency that one in a hundred exceeds.
    pub p99_us: f64,
    /// Wrong answers and broken connections.
    pub error_count: u64,
    /// Processor time of the server for one right answer.
    pub cpu_us: f64,
    /// The most memory that was resident.
    pub rss_peak_mib: f64,
}

impl Sample {
    fn new(outcome: &Outcome, cpu: Duration, memory: Memory) -> Sample {
        let count = outcome.latencies.count() as f64;
        let quantile_us = |quantile| outcome.latencies.quantile(quantile).as_secs_f64() * 1e6;
        Sample {
            rate: count / outcome.elapsed.as_secs_f64(),
            p50_us: quantile_us(0.5),
            p99_us: quantile_us(0.99),
            error_count: outcome.error_count,
            cpu_us: cpu.as_secs_f64() * 1e6 / count,
            rss_peak_mib: memory.rss_peak as f64 / f64::from(1 << 20),
        }
    }

    /// The median of each number by itself, and the sum of the errors.
    fn median_of(samples: &[Sample]) -> Sample {
        let middle = |number: fn(&Sample) -> f64| {
            median(&mut samples.iter().map(number).collect::<Vec<_>>())
        };
        Sample {
            rate: middle(|sample| sample.rate),
            p50_us: middle(|sample| sample.p50_us),
            p99_us: middle(|sample| sample.p99_us),
            error_count: samples.iter().map(|sample| sample.error_count).sum(),
            cpu_us: middle(|sample| sample.cpu_us),
            rss_peak_mib: middle(|sample| sample.rss_peak_mib),
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The case.
    pub case: String,
    /// The server.
    pub server: String,
    /// Requests in flight.
    pub concurrency: usize,
    /// Bytes of the answer's body.
    pub answer_size: usize,
    /// The medians.
    pub sample: Sample,
    /// The median of the rounds' ratios of processor time to the base of the case.
    pub cpu_ratio: f64,
}

/// Measures the servers in turns; the ratios are to the one at `base`.
///
/// # Errors
///
/// When a server breaks.
pub fn rounds(
    timing: Timing,
    case: &str,
    contenders: &[Contender],
    base: usize,
    concurrency: usize,
) -> io::Result<Vec<Row>> {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contenders.len()];
    for _ in 0..timing.round_count.max(1) {
        for (contender, samples) in contenders.iter().zip(&mut samples) {
            samples.push(contender.sample(timing, concurrency)?);
        }
    }
    let rows = contenders.iter().zip(&samples).map(|(contender, own)| {
        let size = contender.body().len();
        row(case, &contender.name, concurrency, size, own, &samples[base])
    });
    Ok(rows.collect())
}

/// Makes a line of the table of what the rounds found, of a server and of the base of the case.
pub fn row(
    case: &str,
    server: &str,
    concurrency: usize,
    answer_size: usize,
    samples: &[Sample],
    base: &[Sample],
) -> Row {
    Row {
        case: case.to_owned(),
        server: server.to_owned(),
        concurrency,
        answer_size,
        sample: Sample::median_of(samples),
        cpu_ratio: ratio(samples, base),
    }
}

/// The median of the rounds' ratios: what drifts between rounds moves both sides of each.
fn ratio(samples: &[Sample], base: &[Sample]) -> f64 {
    let mut ratios: Vec<_> =
        samples.iter().zip(base).map(|(sample, base)| sample.cpu_us / base.cpu_us).collect();
    median(&mut ratios)
}

/// The middle of the values, or the mean of the two in the middle; NaN when there is none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::cases::nginx_request;
    use crate::upstream::{Options, spawn};

    fn contender(name: &str) -> Contender {
        let target = spawn(Options::default()).expect("listens");
        let request = nginx_request(target, Kind::CallModern);
        let pids = vec![std::process::id()];
        Contender::new(name.into(), target, request, Kind::CallModern, pids).expect("answers")
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 9.0]), 3.0);
        assert_eq!(median(&mut [4.0, 1.0]), 2.5);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn rounds_give_a_row_for_each_server_and_the_base_has_the_ratio_one() {
        let timing = Timing {
            round_count: 2,
            window: Duration::from_millis(40),
            warmup: Duration::from_millis(5),
            thread_count: 1,
        };
        let contenders = [contender("one"), contender("other")];
        let rows = rounds(timing, "case", &contenders, 1, 2).expect("measures");
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].cpu_ratio, 1.0);
        for row in rows {
            assert!(row.sample.rate > 0.0, "{row:?}");
            assert_eq!(row.sample.error_count, 0, "{row:?}");
        }
    }

    #[test]
    fn refuses_a_server_that_answers_wrongly_before_it_is_measured() {
        let target = spawn(Options { tool_count: 0, ..Options::default() }).expect("listens");
        let request = nginx_request(target, Kind::CallModern);
        let error = Contender::new("empty".into(), target, request, Kind::CallModern, vec![]);
        let text = error.err().expect("is refused").to_string();
        assert!(text.contains("the answer of empty has no result"), "{text}");
    }
}
