//! Compares what the bare loop costs on each runtime: `make bench-runtimes`.
//!
//! The same answer of 4 KB to tools/list, on one pinned thread per core, with each set of ring
//! flags of monoio, with its epoll driver, with glommio and with tokio and hyper; and nginx
//! serving the same bytes. Run it on any host to check the choice of the runtime there.

#![forbid(unsafe_code)]

mod answer;
mod on_glommio;
mod on_hyper;
mod on_monoio;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use benches::gateway::open_message;
use benches::nginx::{self, Site};
use benches::process::{self, Server, free_port};
use benches::report;
use benches::suite::{Contender, Kind, Row, Timing, rounds};
use clap::{Args, Parser, Subcommand, ValueEnum};

use answer::Answer;

/// How long a loop has to listen.
const START_WAIT_MAX: Duration = Duration::from_secs(10);

/// The case, as the table names it.
const CASE: &str = "bare loop, 4 KB";

/// A runtime and how it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Loop {
    /// monoio on io_uring, SINGLE_ISSUER and DEFER_TASKRUN: what the gateway uses
    MonoioDefer,
    /// monoio on io_uring, default flags
    MonoioPlain,
    /// monoio on io_uring, COOP_TASKRUN and SINGLE_ISSUER
    MonoioCoop,
    /// monoio on epoll
    MonoioEpoll,
    /// glommio
    Glommio,
    /// tokio, many threads, with hyper
    Hyper,
}

/// Compares the runtimes that the gateway could stand on.
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
    /// Be one of the loops, on a port of 127.0.0.1
    Serve {
        /// Which
        kind: Loop,
        /// Where
        port: u16,
    },
}

#[derive(Args)]
struct Run {
    /// Only these loops
    #[arg(long, value_enum)]
    only: Vec<Loop>,
    /// nginx, or "none"
    #[arg(long, default_value = "nginx")]
    nginx: PathBuf,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each loop is measured in each round
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Requests in flight
    #[arg(long, value_delimiter = ',', default_value = "1,32,200")]
    concurrency: Vec<usize>,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1)]
    load_threads: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Subject::Serve { kind, port }) => serve(kind, port),
        None => measure(&arguments.run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runtimes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(kind: Loop, port: u16) -> io::Result<()> {
    process::end_with_parent();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    match kind {
        Loop::MonoioDefer => on_monoio::serve_uring(address, on_monoio::Flags::Defer),
        Loop::MonoioPlain => on_monoio::serve_uring(address, on_monoio::Flags::Plain),
        Loop::MonoioCoop => on_monoio::serve_uring(address, on_monoio::Flags::Coop),
        Loop::MonoioEpoll => on_monoio::serve_epoll(address),
        Loop::Glommio => on_glommio::serve(address),
        Loop::Hyper => on_hyper::serve(address),
    }
}

/// Runs every loop in a process of its own and measures them in turns.
fn measure(run: &Run) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut servers = Vec::new();
    let mut contenders = Vec::new();
    for kind in Loop::value_variants() {
        if !run.only.is_empty() && !run.only.contains(kind) {
            continue;
        }
        match start(*kind, folder.path()) {
            Ok((server, contender)) => {
                servers.push(server);
                contenders.push(contender);
            }
            // A host may forbid io_uring: the others are still worth comparing.
            Err(error) => eprintln!("left out: {error}"),
        }
    }
    if run.nginx != Path::new("none") {
        let (server, contender) = start_nginx(&run.nginx, folder.path())?;
        servers.push(server);
        contenders.push(contender);
    }
    println!("{}\n\n{}", report::host(), report::table(&compare(run, &contenders)?));
    Ok(())
}

fn compare(run: &Run, contenders: &[Contender]) -> io::Result<Vec<Row>> {
    let window = Duration::try_from_secs_f64(run.seconds).map_err(io::Error::other)?;
    let timing = Timing {
        round_count: run.rounds,
        window,
        warmup: window / 4,
        thread_count: run.load_threads,
    };
    let mut rows = Vec::new();
    for concurrency in &run.concurrency {
        eprintln!("{CASE}, c={concurrency}");
        rows.extend(rounds(timing, CASE, contenders, 0, *concurrency)?);
    }
    Ok(rows)
}

fn start(kind: Loop, folder: &Path) -> io::Result<(Server, Contender)> {
    let value = kind.to_possible_value().expect("no loop is hidden from the command line");
    let name = value.get_name();
    let target = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", name, &target.port().to_string()]);
    let mut server = Server::start(name, &mut command, folder)?;
    server
        .wait_until("listening", START_WAIT_MAX, || std::net::TcpStream::connect(target).is_ok())?;
    let request = open_message(target, "/mcp", &[], answer::LIST);
    let contender =
        Contender::new(name.to_owned(), target, request, Kind::ListRpc, server.pids()?)?;
    Ok((server, contender))
}

fn start_nginx(program: &Path, folder: &Path) -> io::Result<(Server, Contender)> {
    let body = Answer::new().body(b"1");
    let unused = SocketAddr::from(([127, 0, 0, 1], 1));
    let site = Site { health: b"up", files: &[("list", &body)], upstream: unused };
    let (server, target) = nginx::start(program, folder, &site)?;
    let request = benches::http::request("GET", "/list", target, &[], "");
    let contender = Contender::new("nginx".into(), target, request, Kind::ListRpc, server.pids()?)?;
    Ok((server, contender))
}
