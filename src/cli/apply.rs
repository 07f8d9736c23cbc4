//! `ringway apply`: makes the registry equal to what files say, and can keep it so.

mod compare;
mod kind;
mod manifest;
mod plan;

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::client::{Client, ClientArgs, ClientError};
use super::print;
use crate::settings::Settings;
use manifest::Manifest;
use plan::{Act, Plan};

/// How often the files are looked at when they are watched.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Makes the registry equal to YAML files.
#[derive(Debug, Default, clap::Args)]
pub struct ApplyArgs {
    /// A YAML file, or a folder of them; may be repeated.
    #[arg(short, long = "file", value_name = "FILE|DIR", required = true)]
    pub files: Vec<PathBuf>,
    /// Say what would be done and do nothing; exit with 2 if there is something to do.
    #[arg(long, conflicts_with = "watch")]
    pub dry_run: bool,
    /// Delete what the files do not name, of the kinds that they have a list of. What an upstream
    /// offers is never deleted: it goes with its upstream.
    #[arg(long)]
    pub prune: bool,
    /// Go on: apply again when a file changes, and every --interval seconds whatever changed.
    #[arg(long)]
    pub watch: bool,
    /// Seconds after which the registry is compared again, with --watch.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "watch",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub interval: u64,
    /// The gateway whose registry it is.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// How an apply ended that could be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The registry is as the files say.
    Equal,
    /// A dry run found something to do.
    Differs,
}

/// Compares and applies, and says to `out` what was done.
///
/// # Errors
///
/// [`ClientError`]: the files cannot be read, there is no gateway, or it refused a part; what could
/// be done was done then. With `watch` only what was typed wrongly ends it.
pub fn run(
    args: &ApplyArgs,
    settings: &Settings,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<Outcome, ClientError> {
    let client = Client::new(&args.client, settings)?;
    let mut applied = Applied::default();
    if !args.watch {
        let manifest = Manifest::read(&args.files)?;
        return apply(args, &client, &manifest, &mut applied, out, notes);
    }
    let interval = Duration::from_secs(args.interval);
    // What is wrong when it begins is the caller's to mend; what goes wrong later is waited for.
    let mut manifest = Manifest::read(&args.files)?;
    loop {
        if let Err(error) = apply(args, &client, &manifest, &mut applied, out, notes) {
            writeln!(notes, "ringway: {error}; trying again in {} s", args.interval)?;
        }
        let compared_at = Instant::now();
        while compared_at.elapsed() < interval {
            std::thread::sleep(LOOK_EVERY);
            match Manifest::read(&args.files) {
                Ok(read) if read != manifest => {
                    manifest = read;
                    break;
                }
                Ok(_) => {}
                Err(error) => {
                    writeln!(notes, "ringway: {error}; the files before it are kept to")?;
                    // Said once for each look that finds it would fill a log.
                    std::thread::sleep(interval.saturating_sub(compared_at.elapsed()));
                }
            }
        }
    }
}

/// What this process wrote that cannot be read back, so that it is not written again for nothing:
/// entry and its unreadable fields.
type Applied = HashMap<String, String>;

fn apply(
    args: &ApplyArgs,
    client: &Client,
    manifest: &Manifest,
    applied: &mut Applied,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<Outcome, ClientError> {
    let plan = Plan::make(client, manifest, args.prune, applied)?;
    for step in &plan.steps {
        writeln!(out, "{step}")?;
    }
    let unchanged = print::count(plan.unchanged_count, "entry").replace("entrys", "entries");
    if args.dry_run {
        let to_do = print::count(plan.steps.len(), "change");
        writeln!(out, "{to_do} to make, {unchanged} as the files say")?;
        let is_equal = plan.steps.is_empty();
        return Ok(if is_equal { Outcome::Equal } else { Outcome::Differs });
    }
    let mut failures = Vec::new();
    let mut done = [0; 3];
    for step in &plan.steps {
        match step.carry_out(client) {
            Ok(()) => {
                done[step.act as usize] += 1;
                applied.extend(step.opaque.clone().map(|opaque| (step.label(), opaque)));
            }
            Err(error) => {
                writeln!(notes, "{}: {error}", step.label())?;
                failures.push(step.label());
            }
        }
    }
    let [created, updated, deleted] = done;
    if !plan.steps.is_empty() || !args.watch {
        writeln!(
            out,
            "{created} created, {updated} updated, {deleted} deleted, {unchanged} as it was"
        )?;
    }
    if failures.is_empty() {
        return Ok(Outcome::Equal);
    }
    Err(ClientError::Input(format!(
        "{} could not be applied: {}",
        print::count(failures.len(), "change"),
        failures.join(", ")
    )))
}

const _: () = {
    // The counts are kept by these places.
    assert!(Act::Create as usize == 0 && Act::Update as usize == 1 && Act::Delete as usize == 2);
};
