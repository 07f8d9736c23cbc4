//! The measurements of `make bench`, in the order they are made.

pub(crate) mod cases;
mod idle;
mod inside;
mod large;
mod measure;
mod rest;
mod stores;
mod streams;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::account::Memory;
use crate::gateway::{Gateway, Program};
use crate::nginx::{self, Site};
use crate::process::Server;
use crate::upstream::Era;
pub use cases::Kind;
pub use inside::{CALL_CROWD, LIST_CROWD, POLICY, TOKEN_AGAIN, TOKEN_FIRST};
pub use large::{LARGE_FIRST_ANSWER, LARGE_RSS};
use measure::median;
pub use measure::{Contender, Row, Sample, Timing, rounds};
pub use rest::{CASE as REST_CALL, CHECK_COST};
pub use stores::{CASE_SUFFIX as STORES, OWN_MISSES, READY_WITH_TOOLS, SECOND_POD_P99, TOOL_RSS};
pub use streams::{LISTEN_RSS, SOCKET_RSS, SSE_RSS};

/// What to measure and for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The gateway.
    pub program: Program,
    /// nginx.
    pub nginx: PathBuf,
    /// The folder of PostgreSQL's programs; without it, wherever they are found.
    pub postgres: Option<PathBuf>,
    /// Redis; without it, wherever it is found.
    pub redis: Option<PathBuf>,
    /// This program, which serves as the upstream when it is called with `upstream`.
    pub upstream: PathBuf,
    /// Which revisions the upstream speaks.
    pub upstream_era: Era,
    /// Rounds and windows.
    pub timing: Timing,
    /// Numbers of requests in flight.
    pub concurrencies: Vec<usize>,
    /// Numbers of registered tools; the first is what the others are compared with.
    pub tool_counts: Vec<usize>,
    /// Idle connections to open.
    pub idle_count: usize,
    /// Writes whose way to every shard and pod is timed.
    pub sample_count: usize,
    /// Only the cases whose names contain one of these; all when empty.
    pub only: Vec<String>,
}

impl Settings {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    #[cfg(test)]
    fn for_tests() -> Settings {
        let timing = Timing {
            round_count: 1,
            window: Duration::from_millis(40),
            warmup: Duration::ZERO,
            thread_count: 1,
        };
        Settings {
            program: Program { path: "ringway".into(), environment: Vec::new() },
            nginx: "nginx".into(),
            postgres: None,
            redis: None,
            upstream: "bench".into(),
            upstream_era: Era::Dual,
            timing,
            concurrencies: Vec::new(),
            tool_counts: Vec::new(),
            idle_count: 0,
            sample_count: 1,
            only: Vec::new(),
        }
    }
}

/// A number that is measured once for a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// The server.
    pub server: &'static str,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
}

/// All that a run found.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The cases, by concurrency and server.
    pub rows: Vec<Row>,
    /// Memory and start.
    pub figures: Vec<Figure>,
    /// What was left out, and why, a line for each.
    pub skipped: Vec<String>,
}

/// The name of the figure that counts resident memory before any request.
pub const IDLE_RSS: &str = "idle RSS, 20 tools";
/// The name of the figure that counts the memory of an idle connection.
pub const CONNECTION_RSS: &str = "RSS per idle connection";
/// The name of the figure that counts the time from exec to the first answer.
pub const FIRST_ANSWER: &str = "exec to first 200, 1,000 tools";
/// Tools in the cases that are compared with nginx.
const TOOL_COUNT: usize = 20;
/// Tools that are stored when the start is measured.
const START_TOOL_COUNT: usize = 1000;

/// Makes all measurements; `folder` takes what the servers write.
///
/// # Errors
///
/// When a server does not start, or answers wrongly so often that its speed means nothing.
pub fn run(settings: &Settings, folder: &Path) -> io::Result<Results> {
    let mut results = Results::default();
    inside::measure(settings, &mut results)?;
    compare_with_nginx(settings, &folder.join("peer"), &mut results)?;
    compare_tool_counts(settings, &folder.join("scale"), &mut results)?;
    rest::measure(settings, &folder.join("rest"), &mut results)?;
    streams::measure(settings, &folder.join("streams"), &mut results)?;
    large::measure(settings, &folder.join("large"), &mut results)?;
    measure_start(settings, &folder.join("start"), &mut results)?;
    stores::measure(settings, &folder.join("stores"), &mut results)?;
    Ok(results)
}

/// A gateway with an upstream behind it.
struct Stage {
    gateway: Gateway,
    upstream_address: SocketAddr,
    _upstream: Server,
}

impl Stage {
    fn build(settings: &Settings, folder: &Path, tool_count: usize) -> io::Result<Stage> {
        Stage::build_with(settings, &settings.program, folder, tool_count)
    }

    /// As [`Stage::build`], with a program that is set in another way.
    fn build_with(
        settings: &Settings,
        program: &Program,
        folder: &Path,
        tool_count: usize,
    ) -> io::Result<Stage> {
        let gateway = Gateway::start(program, folder)?;
        let (upstream, upstream_address) = start_upstream(settings, folder, tool_count)?;
        gateway.register("bench", upstream_address)?;
        Ok(Stage { gateway, upstream_address, _upstream: upstream })
    }

    fn contender(&self, kind: Kind, name: String) -> io::Result<Contender> {
        let request = cases::gateway_request(&self.gateway, kind)?;
        Contender::new(name, self.gateway.address(), request, kind, self.gateway.pids()?)
    }
}

fn start_upstream(
    settings: &Settings,
    folder: &Path,
    tool_count: usize,
) -> io::Result<(Server, SocketAddr)> {
    let era = clap::ValueEnum::to_possible_value(&settings.upstream_era)
        .expect("no era is hidden from the command line");
    let mut command = Command::new(&settings.upstream);
    command.args(["upstream", "--era", era.get_name(), "--tools", &tool_count.to_string()]);
    let mut server = Server::start("upstream", &mut command, folder)?;
    let address = server.read_address()?;
    Ok((server, address))
}

fn compare_with_nginx(settings: &Settings, folder: &Path, results: &mut Results) -> io::Result<()> {
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| settings.wants(kind.name())).collect();
    if kinds.is_empty() && !settings.wants("idle") {
        return Ok(());
    }
    let stage = Stage::build(settings, folder, TOOL_COUNT)?;
    let mut ours = Vec::new();
    for kind in Kind::ALL {
        ours.push(stage.contender(kind, "ringway".into())?);
    }
    let (nginx, nginx_address) = start_nginx(settings, folder, &stage, &ours)?;
    for (kind, ours) in Kind::ALL.into_iter().zip(ours) {
        if !kinds.contains(&kind) {
            continue;
        }
        let mut contenders = vec![ours];
        contenders.extend(nginx_contenders(&nginx, nginx_address, kind)?);
        measure::require_same_bytes(&contenders, kind)?;
        measure_case(settings, kind.name(), &contenders, 1, results)?;
    }
    if settings.wants("idle") {
        let cost = idle::connection_cost(nginx_address, &nginx.pids()?, settings.idle_count)?;
        results.figures.push(connection_figure("nginx", cost));
        measure_idle(settings, stage, results)?;
    }
    Ok(())
}

/// nginx at its best first, which is what the gateway is compared with.
fn nginx_contenders(nginx: &Server, address: SocketAddr, kind: Kind) -> io::Result<Vec<Contender>> {
    let mut requests = vec![("nginx", cases::nginx_request(address, kind))];
    if kind.is_list() {
        requests.push(("nginx, files reopened", cases::nginx_reopened_request(address, kind)));
    }
    let pids = nginx.pids()?;
    let contenders = requests
        .into_iter()
        .map(|(name, request)| Contender::new(name.into(), address, request, kind, pids.clone()));
    contenders.collect()
}

/// Starts nginx with the very bytes that the gateway answers.
fn start_nginx(
    settings: &Settings,
    folder: &Path,
    stage: &Stage,
    ours: &[Contender],
) -> io::Result<(Server, SocketAddr)> {
    let bodies = Kind::ALL.iter().zip(ours).map(|(kind, ours)| (*kind, ours.body()));
    let files: Vec<_> = bodies
        .clone()
        .filter(|(kind, _)| kind.is_list())
        .map(|(kind, body)| (kind.file_name(), body))
        .collect();
    let health = bodies.clone().find(|(kind, _)| *kind == Kind::Health).map(|(_, body)| body);
    let health = health.expect("Kind::ALL has Health");
    let site = Site { health, files: &files, upstream: stage.upstream_address };
    nginx::start(&settings.nginx, folder, &site)
}

/// Measures the memory of a gateway that was just started and of its idle connections.
fn measure_idle(settings: &Settings, stage: Stage, results: &mut Results) -> io::Result<()> {
    let (gateway, _) = stage.gateway.restart("/health")?;
    let pids = gateway.pids()?;
    let rss = idle::settled_rss(&pids)?;
    results.figures.push(Figure {
        name: IDLE_RSS,
        server: "ringway",
        value: rss as f64 / f64::from(1 << 20),
        unit: "MiB",
    });
    let cost = idle::connection_cost(gateway.address(), &pids, settings.idle_count)?;
    results.figures.push(connection_figure("ringway", cost));
    Ok(())
}

fn connection_figure(server: &'static str, cost: f64) -> Figure {
    Figure { name: CONNECTION_RSS, server, value: cost / 1024.0, unit: "KiB" }
}

/// Measures the same request with few and with many tools registered.
fn compare_tool_counts(
    settings: &Settings,
    folder: &Path,
    results: &mut Results,
) -> io::Result<()> {
    let kinds: Vec<_> = [Kind::ListRpc, Kind::CallRpc]
        .into_iter()
        .filter(|kind| settings.wants(&scale_name(*kind)))
        .collect();
    if kinds.is_empty() {
        return Ok(());
    }
    let mut stages = Vec::new();
    for count in &settings.tool_counts {
        stages.push((count, Stage::build(settings, &folder.join(count.to_string()), *count)?));
    }
    for kind in kinds {
        let mut contenders = Vec::new();
        for (count, stage) in &stages {
            contenders.push(stage.contender(kind, format!("ringway, {count} tools"))?);
        }
        measure_case(settings, &scale_name(kind), &contenders, 0, results)?;
    }
    Ok(())
}

fn scale_name(kind: Kind) -> String {
    format!("{}, many tools", kind.name())
}

fn measure_case(
    settings: &Settings,
    name: &str,
    contenders: &[Contender],
    base: usize,
    results: &mut Results,
) -> io::Result<()> {
    for concurrency in &settings.concurrencies {
        eprintln!("{name}, c={concurrency}");
        results.rows.extend(rounds(settings.timing, name, contenders, base, *concurrency)?);
    }
    Ok(())
}

/// Measures the time from exec to the first answer with tools stored.
fn measure_start(settings: &Settings, folder: &Path, results: &mut Results) -> io::Result<()> {
    if !settings.wants("start") {
        return Ok(());
    }
    let Stage { mut gateway, _upstream, .. } = Stage::build(settings, folder, START_TOOL_COUNT)?;
    let mut times_ms = Vec::new();
    for _ in 0..settings.timing.round_count {
        let first_answer_after: Duration;
        (gateway, first_answer_after) = gateway.restart("/health")?;
        times_ms.push(first_answer_after.as_secs_f64() * 1000.0);
    }
    let rss = Memory::take(&gateway.pids()?)?.rss as f64 / f64::from(1 << 20);
    let start = median(&mut times_ms);
    results.figures.extend([
        Figure { name: FIRST_ANSWER, server: "ringway", value: start, unit: "ms" },
        Figure { name: "idle RSS, 1,000 tools", server: "ringway", value: rss, unit: "MiB" },
    ]);
    Ok(())
}
