//! `ringway import`: what an export holds into the registry of a gateway.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::client::{Client, ClientArgs, ClientError};
use super::print;
use crate::settings::Settings;

/// Imports what an export holds.
#[derive(Debug, Default, clap::Args)]
pub struct ImportArgs {
    /// The file, of this gateway or of ContextForge; `-` reads the standard input.
    pub file: PathBuf,
    /// What happens with an entity whose name is taken.
    #[arg(long, value_name = "STRATEGY", default_value = "update",
          value_parser = ["skip", "update", "rename", "fail"])]
    pub conflict_strategy: String,
    /// Say what would be done and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The AUTH_ENCRYPTION_SECRET of the gateway that exported, if it is not that of this one.
    #[arg(long, value_name = "SECRET", env = "RINGWAY_REKEY_SECRET", hide_env_values = true)]
    pub rekey_secret: Option<String>,
    /// Only these entities: `tools:one,two;servers:three`.
    #[arg(long, value_name = "KIND:NAME,...;...")]
    pub include: Option<String>,
    /// Print every warning.
    #[arg(short, long)]
    pub verbose: bool,
    /// Print what the gateway answers, as JSON.
    #[arg(long)]
    pub json: bool,
    /// The gateway to import into.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Imports, and says to `out` what became of it and to `notes` what should be looked at.
///
/// # Errors
///
/// [`ClientError`]: a file that is no JSON, no gateway, its refusal, or entities that failed.
pub fn run(
    args: &ImportArgs,
    settings: &Settings,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<(), ClientError> {
    let order = order(args, &read(&args.file)?)?;
    let status = Client::new(&args.client, settings)?.post("/import", &order)?;
    if args.json {
        print::json(out, &status)?;
    } else {
        tell(args, &status, out, notes)?;
    }
    match status["progress"]["failed"].as_u64() {
        Some(0) | None => Ok(()),
        Some(failed) => Err(ClientError::Input(format!("{failed} entities were not imported"))),
    }
}

fn tell(
    args: &ImportArgs,
    status: &Value,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<(), ClientError> {
    let lines = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    for error in lines("errors") {
        writeln!(notes, "error: {}", error.as_str().unwrap_or_default())?;
    }
    if args.verbose || args.dry_run {
        for warning in lines("warnings") {
            writeln!(notes, "{}", warning.as_str().unwrap_or_default())?;
        }
    }
    let count = |name: &str| status["progress"][name].as_u64().unwrap_or_default();
    let would = if args.dry_run { " (nothing was changed)" } else { "" };
    let (created, updated) = (count("created"), count("updated"));
    let (skipped, failed) = (count("skipped"), count("failed"));
    Ok(writeln!(
        out,
        "{created} created, {updated} updated, {skipped} skipped, {failed} failed{would}"
    )?)
}

fn read(path: &Path) -> Result<Value, ClientError> {
    let told =
        |error: &dyn std::fmt::Display| ClientError::Input(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.map_err(|error| told(&error))?;
    serde_json::from_str(&text).map_err(|error| told(&error))
}

/// The request for an import.
fn order(args: &ImportArgs, data: &Value) -> Result<Value, ClientError> {
    let mut order = json!({
        "import_data": data,
        "conflict_strategy": args.conflict_strategy,
        "dry_run": args.dry_run,
    });
    if let Some(secret) = &args.rekey_secret {
        order["rekey_secret"] = json!(secret);
    }
    if let Some(text) = &args.include {
        order["selected_entities"] = Value::Object(selection(text)?);
    }
    Ok(order)
}

/// `tools:one,two;servers:three` as lists by kind; a kind without names is all of it.
fn selection(text: &str) -> Result<Map<String, Value>, ClientError> {
    let mut selected = Map::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (kind, names) = part.split_once(':').unwrap_or((part, ""));
        if kind.trim().is_empty() {
            let message = format!("{part:?} names no kind; write tools:one,two;servers:three");
            return Err(ClientError::Input(message));
        }
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        selected.insert(kind.trim().to_owned(), names.map(Value::from).collect());
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_the_request() {
        let args = ImportArgs {
            conflict_strategy: "rename".to_owned(),
            rekey_secret: Some("s".to_owned()),
            include: Some("tools: one, two ;servers".to_owned()),
            ..ImportArgs::default()
        };
        let expected = json!({
            "import_data": {"version": "1"}, "conflict_strategy": "rename", "dry_run": false,
            "rekey_secret": "s",
            "selected_entities": {"tools": ["one", "two"], "servers": []},
        });
        assert_eq!(order(&args, &json!({"version": "1"})).unwrap(), expected);
        assert!(selection(":x").is_err());
    }

    #[test]
    fn a_file_that_is_no_json_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        std::fs::write(&path, "{").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("x.json"), "{error}");
        assert!(read(&folder.path().join("none.json")).is_err());
    }
}
