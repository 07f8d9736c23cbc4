//! Counts the instructions of every guarded path and compares them with the record.
//!
//! Builds nothing: `instructions` has to be there, built as the record was (profile `guard`).

#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use benches::guard::{COUNTED, Count, Record, Verdict, parse_collected};
use clap::Parser;

/// Fails when a request executes more instructions than is recorded.
#[derive(Parser)]
struct Arguments {
    /// The program that does the work; without it, `instructions` beside this one
    #[arg(long)]
    program: Option<PathBuf>,
    /// The record
    #[arg(long, default_value = "benches/instructions.json")]
    record: PathBuf,
    /// How many requests to count for each path
    #[arg(long, default_value_t = 500)]
    requests: u64,
    /// Write what was counted into the record, for this reason
    #[arg(long, value_name = "REASON")]
    record_because: Option<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("guard: {error}");
            ExitCode::from(2)
        }
    }
}

/// Counts every path; gives whether all of them passed.
fn run(arguments: &Arguments) -> io::Result<bool> {
    let beside = std::env::current_exe()?.with_file_name("instructions");
    let program = arguments.program.as_deref().unwrap_or(&beside);
    let mut record = read_record(&arguments.record)?;
    let mut is_passed = true;
    for path in guarded_paths(program)? {
        let instructions = count(program, &path, arguments.requests.max(1))?;
        match &arguments.record_because {
            Some(reason) => note(&mut record, path, instructions, reason),
            None => {
                let verdict = Verdict::of(&record, &path, instructions);
                println!("{path}: {instructions} instructions a request, {verdict}");
                is_passed &= verdict.is_passed();
            }
        }
    }
    if arguments.record_because.is_some() {
        let text = serde_json::to_string_pretty(&record)?;
        fs::write(&arguments.record, text + "\n")?;
    }
    Ok(is_passed)
}

/// Puts a count into the record, unless what stands there still holds.
fn note(record: &mut Record, path: String, instructions: u64, reason: &str) {
    let verdict = Verdict::of(record, &path, instructions);
    println!("{path}: {instructions} instructions a request");
    if !matches!(verdict, Verdict::Kept(_)) {
        record.paths.insert(path, Count { instructions, reason: reason.to_owned() });
    }
}

fn read_record(path: &Path) -> io::Result<Record> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
        Err(error) => Err(error),
    }
}

fn guarded_paths(program: &Path) -> io::Result<Vec<String>> {
    let output = Command::new(program).output().map_err(|error| {
        let text = format!("{}: {error}; build it with the profile `guard`", program.display());
        io::Error::new(error.kind(), text)
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Counts the instructions of one request of a path.
fn count(program: &Path, path: &str, requests: u64) -> io::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(program)
        .args([path, &requests.to_string()])
        .output()
        .map_err(|error| {
            io::Error::new(error.kind(), format!("valgrind: {error}; is it installed?"))
        })?;
    let log = String::from_utf8_lossy(&output.stderr);
    let total = parse_collected(&log).filter(|total| output.status.success() && *total > 0);
    let total = total.ok_or_else(|| io::Error::other(format!("{path} was not counted: {log}")))?;
    Ok(total / requests)
}
