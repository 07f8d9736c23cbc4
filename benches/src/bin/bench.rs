//! Measures the gateway against nginx and against its own promises: `make bench`.

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use benches::bars::{self, Bar};
use benches::gateway::Program;
use benches::suite::{self, Results, Settings, Timing};
use benches::upstream::{self, Era, Options};
use benches::{process, report};
use clap::{Args, Parser, Subcommand};

/// What is measured inside this process allocates as the gateway does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Starts the gateway, an upstream and nginx, and compares what a request costs.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Subject>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Subject {
    /// Be the upstream of a run
    #[command(hide = true)]
    Upstream(Options),
}

#[derive(Args)]
struct Run {
    /// The gateway's release binary; without it, the one beside this program
    #[arg(long)]
    ringway: Option<PathBuf>,
    /// nginx
    #[arg(long, default_value = "nginx")]
    nginx: PathBuf,
    /// The folder of PostgreSQL's programs; without it, PATH and where packages put them
    #[arg(long)]
    postgres: Option<PathBuf>,
    /// Redis or Valkey; without it, the one in PATH
    #[arg(long)]
    redis: Option<PathBuf>,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each server is measured in each round
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How long each server is warmed up before
    #[arg(long, default_value_t = 0.5)]
    warmup_seconds: f64,
    /// One short round: shows that everything runs, measures nothing well
    #[arg(long)]
    quick: bool,
    /// Requests in flight
    #[arg(long, value_delimiter = ',', default_value = "1,32,200")]
    concurrency: Vec<usize>,
    /// Registered tools; the first is what the others are compared with
    #[arg(long, value_delimiter = ',', default_value = "10,1000,20000")]
    tools: Vec<usize>,
    /// Idle connections
    #[arg(long, default_value_t = 5000)]
    connections: usize,
    /// Writes whose way to every shard and to a second pod is timed
    #[arg(long, default_value_t = 200)]
    samples: usize,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1)]
    load_threads: usize,
    /// Which revisions the upstream speaks
    #[arg(long, value_enum, default_value_t = Era::Dual)]
    upstream_era: Era,
    /// Only cases whose names contain this (also: "many tools", "idle", "start", "stores", and of
    /// those "registry", "visible", "memory"); may be repeated
    #[arg(long)]
    only: Vec<String>,
    /// A setting of the gateway, as NAME=value; may be repeated
    #[arg(long = "env", value_parser = parse_setting)]
    environment: Vec<(String, String)>,
    /// The folder for bench.csv and bench.md; without it, `bench` in Cargo's target folder
    #[arg(long)]
    out: Option<PathBuf>,
    /// A page whose table is replaced by this run's
    #[arg(long)]
    write: Option<PathBuf>,
    /// Fail when a bar is missed
    #[arg(long)]
    enforce: bool,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("is not NAME=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Subject::Upstream(options)) => be_upstream(&options),
        None => measure(&arguments.run),
    };
    done.unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::from(2)
    })
}

fn be_upstream(options: &Options) -> io::Result<ExitCode> {
    process::end_with_parent();
    upstream::run(options, |address| println!("listening on {address}"))?;
    Ok(ExitCode::SUCCESS)
}

fn measure(run: &Run) -> io::Result<ExitCode> {
    let program = std::env::current_exe()?;
    let settings = settings(run, &program)?;
    check_descriptors(run.connections)?;
    let folder = tempfile::tempdir()?;
    let results = suite::run(&settings, folder.path())?;
    let bars = bars::check(&results);
    publish(run, &program, &results, &bars)?;
    let is_missed = bars.iter().any(|bar| !bar.is_kept());
    Ok(if run.enforce && is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn settings(run: &Run, program: &Path) -> io::Result<Settings> {
    let ringway = run.ringway.clone().unwrap_or_else(|| program.with_file_name("ringway"));
    let ringway = fs::canonicalize(&ringway).map_err(|error| {
        let path = ringway.display();
        io::Error::new(error.kind(), format!("{path}: {error}; build it or give --ringway"))
    })?;
    let seconds = |number: f64| {
        Duration::try_from_secs_f64(number).map_err(|error| io::Error::other(error.to_string()))
    };
    let timing = Timing {
        round_count: if run.quick { 1 } else { run.rounds.max(1) },
        window: seconds(if run.quick { 0.3 } else { run.seconds })?,
        warmup: seconds(if run.quick { 0.1 } else { run.warmup_seconds })?,
        thread_count: run.load_threads,
    };
    Ok(Settings {
        program: Program { path: ringway, environment: run.environment.clone() },
        nginx: run.nginx.clone(),
        postgres: run.postgres.clone(),
        redis: run.redis.clone(),
        upstream: program.to_owned(),
        upstream_era: run.upstream_era,
        timing,
        concurrencies: run.concurrency.clone(),
        tool_counts: run.tools.clone(),
        idle_count: run.connections,
        sample_count: if run.quick { run.samples.min(20) } else { run.samples },
        only: run.only.clone(),
    })
}

/// Makes sure that the idle connections fit, on this side and on the servers', which inherit the
/// limit.
fn check_descriptors(connection_count: usize) -> io::Result<()> {
    let limit = process::raise_descriptor_limit()?;
    let needed = connection_count as u64 + 500;
    if limit < needed {
        let text = format!("{needed} descriptors are needed, {limit} allowed: see ulimit -n");
        return Err(io::Error::other(text));
    }
    Ok(())
}

fn publish(run: &Run, program: &Path, results: &Results, bars: &[Bar]) -> io::Result<()> {
    let tables = report::markdown(results, bars, &report::host());
    println!("{tables}");
    let target = program.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let out = run.out.clone().unwrap_or_else(|| target.join("bench"));
    fs::create_dir_all(&out)?;
    fs::write(out.join("bench.csv"), report::csv(results))?;
    fs::write(out.join("bench.md"), &tables)?;
    eprintln!("wrote {}", out.join("bench.csv").display());
    if let Some(path) = &run.write {
        let page = fs::read_to_string(path)?;
        let filled = report::fill(&page, &tables).ok_or_else(|| {
            io::Error::other(format!("{} has no place for the table", path.display()))
        })?;
        fs::write(path, filled)?;
    }
    Ok(())
}
