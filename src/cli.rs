//! The command line: what was typed, and what is done about it.

use std::{
    fmt,
    io::{self, Write, stderr, stdout},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    observe::log,
    safety, serve,
    settings::{self, Settings},
    upstream::rest,
};

pub mod add;
pub mod apply;
mod arguments;
pub mod audit;
pub mod call;
pub mod client;
pub mod db_ready;
pub mod doctor;
pub mod export;
pub mod gateways;
pub mod import;
pub mod import_openapi;
pub mod migrate;
pub mod openapi;
pub mod policy;
mod print;
pub mod readiness;
pub mod redis_ready;
pub mod settings_page;
pub mod stdio;
pub mod token;
pub mod tools;
pub mod translate;
pub mod user;
pub mod why;

use readiness::NotReady;

/// A thread-per-core gateway for the Model Context Protocol.
#[derive(Parser)]
#[command(name = "ringway", version, about, long_about = None)]
struct Arguments {
    #[command(flatten)]
    listen: ListenArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway; also what happens without a command.
    Serve(ListenArgs),
    /// Bring the database up to date, or check whether it is.
    Migrate(migrate::MigrateArgs),
    /// Tell what is wrong with the settings, and how to mend it.
    Doctor(doctor::DoctorArgs),
    /// Wait until the database serves.
    DbReady(db_ready::DbReadyArgs),
    /// Wait until Redis serves.
    RedisReady(redis_ready::RedisReadyArgs),
    /// Make a token, or show what is in one.
    Token(token::TokenArgs),
    /// List, make and change the users of the database.
    User(user::UserArgs),
    /// List every setting.
    Settings(settings_page::SettingsArgs),
    /// Register an upstream: its URL, or the command that starts it.
    Add(add::AddArgs),
    /// List the upstreams.
    Gateways(gateways::GatewaysArgs),
    /// Ask an upstream again what it offers.
    Refresh(gateways::GatewayArgs),
    /// Forget an upstream and all that it offers.
    Remove(gateways::GatewayArgs),
    /// Make tools of the operations of an OpenAPI document.
    ImportOpenapi(import_openapi::ImportOpenapiArgs),
    /// List the tools.
    Tools(tools::ToolsArgs),
    /// Call a tool.
    Call(call::CallArgs),
    /// Be a stdio server to a client that speaks only stdio, and a client to an MCP server over HTTP.
    Stdio(stdio::StdioArgs),
    /// Bridge between a stdio server and HTTP, either way, without a gateway.
    Translate(translate::TranslateArgs),
    /// Say why somebody may do something, or may not.
    Why(why::WhyArgs),
    /// Try policies.
    Policy(policy::PolicyArgs),
    /// Print the OpenAPI document of the REST API.
    Openapi,
    /// Run the filters of REST tools for a gateway, which starts this by itself.
    #[command(hide = true)]
    FilterWorker,
    /// Write the registry into a file.
    Export(export::ExportArgs),
    /// Take into the registry what an export holds.
    Import(import::ImportArgs),
    /// Make the registry equal to YAML files.
    Apply(apply::ApplyArgs),
    /// List who did what, and who was refused.
    Audit(audit::AuditArgs),
}

/// What `serve` takes on the command line; everything else is a setting of the environment.
#[derive(clap::Args, Default)]
struct ListenArgs {
    /// The address to listen on (HOST).
    #[arg(long)]
    host: Option<String>,
    /// The port to listen on (PORT).
    #[arg(long)]
    port: Option<String>,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        None => serve(&arguments.listen),
        Some(Command::Serve(listen)) => serve(&listen),
        Some(Command::Migrate(args)) => with_settings(|settings| migrate::run(&args, settings)),
        Some(Command::Doctor(args)) => doctor(&args),
        Some(Command::DbReady(args)) => readiness(db_ready::run(&args, &mut stderr())),
        Some(Command::RedisReady(args)) => readiness(redis_ready::run(&args, &mut stderr())),
        Some(Command::Token(args)) => {
            with_settings(|settings| token::run(&args, settings, &mut stdout(), &mut stderr()))
        }
        Some(Command::User(args)) => with_settings(|settings| {
            user::run(&args, settings, &mut io::stdin().lock(), &mut stdout())
        }),
        Some(Command::FilterWorker) => rest::work().map_err(say),
        Some(Command::Settings(args)) => settings_page::run(&args, &mut stdout()).map_err(say),
        Some(Command::Openapi) => openapi::run(&mut stdout()).map_err(say),
        Some(Command::Apply(args)) => apply(&args),
        Some(Command::Policy(args)) => policy(&args),
        Some(Command::Stdio(args)) => stdio::run(args).map_err(say),
        Some(Command::Translate(args)) => translate::run(args).map_err(say),
        Some(command) => with_settings(|settings| client(command, settings)),
    };
    outcome.err().unwrap_or(ExitCode::SUCCESS)
}

/// Does what the clients of a running gateway do.
fn client(command: Command, settings: &Settings) -> Result<(), client::ClientError> {
    let (mut out, mut notes) = (stdout(), stderr());
    let done = match command {
        Command::Add(args) => add::run(&args, settings, &mut out, &mut notes),
        Command::Gateways(args) => gateways::list(&args, settings, &mut out),
        Command::Refresh(args) => gateways::refresh(&args, settings, &mut out),
        Command::Remove(args) => gateways::remove(&args, settings, &mut out),
        Command::ImportOpenapi(args) => import_openapi::run(&args, settings, &mut out, &mut notes),
        Command::Tools(args) => tools::run(&args, settings, &mut out),
        Command::Call(args) => call::run(&args, settings, &mut out),
        Command::Why(args) => why::run(&args, settings, &mut out),
        Command::Export(args) => export::run(&args, settings, &mut out, &mut notes),
        Command::Import(args) => import::run(&args, settings, &mut out, &mut notes),
        Command::Audit(args) => audit::run(&args, settings, &mut out),
        Command::Serve(_)
        | Command::Migrate(_)
        | Command::Doctor(_)
        | Command::DbReady(_)
        | Command::RedisReady(_)
        | Command::Token(_)
        | Command::User(_)
        | Command::FilterWorker
        | Command::Settings(_)
        | Command::Openapi
        | Command::Policy(_)
        | Command::Stdio(_)
        | Command::Translate(_)
        | Command::Apply(_) => {
            unreachable!("these were done already")
        }
    };
    done.or_else(client::ClientError::unless_closed)
}

/// What was found has an exit code of its own, 2.
fn doctor(args: &doctor::DoctorArgs) -> Result<(), ExitCode> {
    let mut is_good = true;
    with_settings(|settings| -> io::Result<()> {
        is_good = doctor::run(args, settings, &mut stdout())?;
        Ok(())
    })?;
    if is_good { Ok(()) } else { Err(ExitCode::from(2)) }
}

/// A dry run that found something to do has an exit code of its own.
fn apply(args: &apply::ApplyArgs) -> Result<(), ExitCode> {
    let mut outcome = apply::Outcome::Equal;
    with_settings(|settings| -> Result<(), client::ClientError> {
        outcome = apply::run(args, settings, &mut stdout(), &mut stderr())?;
        Ok(())
    })?;
    match outcome {
        apply::Outcome::Equal => Ok(()),
        apply::Outcome::Differs => Err(ExitCode::from(2)),
    }
}

/// What policies deny has an exit code of its own.
fn policy(args: &policy::PolicyArgs) -> Result<(), ExitCode> {
    let mut is_allowed = true;
    with_settings(|settings| -> Result<(), client::ClientError> {
        is_allowed = policy::run(args, settings, &mut stdout())?;
        Ok(())
    })?;
    if is_allowed { Ok(()) } else { Err(ExitCode::from(2)) }
}

fn serve(listen: &ListenArgs) -> Result<(), ExitCode> {
    // Before any thread starts, that of the log included: signals go to the thread that waits for
    // them, and every thread inherits what is blocked.
    shards::signal::block();
    let mut overrides = Vec::new();
    overrides.extend(listen.host.clone().map(|host| ("HOST", host)));
    overrides.extend(listen.port.clone().map(|port| ("PORT", port)));
    let loaded = settings::load(&overrides).map_err(say)?;
    let _log = log::start(&loaded.settings.log).map_err(say)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    check_safety(&loaded.settings).map_err(say)?;
    serve::run(loaded.settings).map_err(say)
}

/// Warns of what is not safe.
///
/// # Errors
///
/// What is too unsafe to start with, a sentence a line.
fn check_safety(settings: &Settings) -> Result<(), String> {
    let report = safety::Report::new(settings);
    let fatal: Vec<_> = report.fatal().map(ToString::to_string).collect();
    if !fatal.is_empty() {
        return Err(format!("too unsafe to start.\n{}", fatal.join("\n")));
    }
    for finding in report.findings {
        tracing::warn!(check = finding.check, "{finding}");
    }
    Ok(())
}

fn with_settings<E: fmt::Display>(
    act: impl FnOnce(&Settings) -> Result<(), E>,
) -> Result<(), ExitCode> {
    let loaded = settings::load(&[]).map_err(say)?;
    act(&loaded.settings).map_err(say)
}

/// A command that waits for a store needs none of the gateway's settings, and has exit codes of its
/// own.
fn readiness(outcome: Result<(), NotReady>) -> Result<(), ExitCode> {
    outcome.map_err(|error| {
        let code = error.exit_code();
        say(error);
        code
    })
}

/// Says on the standard error what went wrong; the exit code is 1.
fn say(error: impl fmt::Display) -> ExitCode {
    let _ = writeln!(stderr(), "ringway: {error}");
    ExitCode::FAILURE
}
