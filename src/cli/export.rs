//! `ringway export`: the registry of a gateway as one file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use time::OffsetDateTime;
use url::form_urlencoded::Serializer;

use super::client::{Client, ClientArgs, ClientError};
use crate::settings::Settings;

/// Writes the registry of a gateway into a file.
#[derive(Debug, Default, clap::Args)]
pub struct ExportArgs {
    /// The file; `-` prints. Default: mcpgateway-export-YYYYMMDD-HHMMSS.json.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Only these kinds, with commas: gateways, a2a_agents, tools, resources, prompts, servers,
    /// roots.
    #[arg(long, alias = "type", value_name = "KINDS")]
    pub types: Option<String>,
    /// All kinds but these.
    #[arg(long, value_name = "KINDS")]
    pub exclude_types: Option<String>,
    /// Only what has one of these tags.
    #[arg(long, value_name = "TAGS")]
    pub tags: Option<String>,
    /// Also what is switched off.
    #[arg(long)]
    pub include_inactive: bool,
    /// Leave out what refers to what.
    #[arg(long)]
    pub no_dependencies: bool,
    /// Say how many of each kind there are.
    #[arg(short, long)]
    pub verbose: bool,
    /// The gateway whose registry it is.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Exports to the file, or to `out`; says to `notes` what was done.
///
/// # Errors
///
/// [`ClientError`]: no gateway, its refusal, or a file that cannot be written.
pub fn run(
    args: &ExportArgs,
    settings: &Settings,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<(), ClientError> {
    let client = Client::new(&args.client, settings)?;
    let export = client.get(&format!("/export?{}", query(args)))?;
    let mut text = serde_json::to_string_pretty(&export).unwrap_or_default();
    text.push('\n');
    if args.output.as_deref() == Some(Path::new("-")) {
        return Ok(out.write_all(text.as_bytes())?);
    }
    let path = args.output.clone().unwrap_or_else(|| default_name().into());
    write(&path, &text)?;
    writeln!(notes, "exported {} entities to {}", count(&export), path.display())?;
    if args.verbose {
        let counts = export["metadata"]["entity_counts"].as_object();
        for (kind, count) in counts.into_iter().flatten() {
            writeln!(notes, "  {kind}: {count}")?;
        }
    }
    Ok(())
}

/// Writes a file that its owner alone may read: what is sealed in it is as good as the secret.
fn write(path: &Path, text: &str) -> Result<(), ClientError> {
    let told = |error| ClientError::Input(format!("{}: {error}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder).map_err(told)?;
    }
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
    let mut file = options.open(path).map_err(told)?;
    file.write_all(text.as_bytes()).map_err(told)
}

fn query(args: &ExportArgs) -> String {
    let mut query = Serializer::new(String::new());
    let texts =
        [("types", &args.types), ("exclude_types", &args.exclude_types), ("tags", &args.tags)];
    for (name, text) in texts {
        if let Some(text) = text {
            query.append_pair(name, text);
        }
    }
    query.append_pair("include_inactive", if args.include_inactive { "true" } else { "false" });
    query.append_pair("include_dependencies", if args.no_dependencies { "false" } else { "true" });
    query.finish()
}

fn count(export: &Value) -> u64 {
    let counts = export["metadata"]["entity_counts"].as_object();
    counts.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

/// The contract's name for a file that was not named.
fn default_name() -> String {
    let now = OffsetDateTime::now_utc();
    let (date, time) = (now.date(), now.time());
    format!(
        "mcpgateway-export-{:04}{:02}{:02}-{:02}{:02}{:02}.json",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_the_query() {
        let args = ExportArgs {
            types: Some("tools,servers".to_owned()),
            tags: Some("a b".to_owned()),
            include_inactive: true,
            no_dependencies: true,
            ..ExportArgs::default()
        };
        let expected =
            "types=tools%2Cservers&tags=a+b&include_inactive=true&include_dependencies=false";
        assert_eq!(query(&args), expected);
        let expected = "include_inactive=false&include_dependencies=true";
        assert_eq!(query(&ExportArgs::default()), expected);
    }

    #[test]
    fn the_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/export.json");
        write(&path, "{}").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
        let name = default_name();
        assert!(name.starts_with("mcpgateway-export-20") && name.len() == 38, "{name}");
    }
}
