//! `ringway import-openapi`: makes tools of an OpenAPI document, and brings them up to date.

use std::fs;
use std::io::{self, Read, Write};

use serde_json::{Map, Value, json};

use super::add::split;
use super::client::{Client, ClientArgs, ClientError};
use super::print::{self, Spinner};
use crate::limits;
use crate::settings::Settings;

/// Makes a tool of every operation of an OpenAPI document (3.0 or 3.1, JSON or YAML).
#[derive(Debug, Default, clap::Args)]
pub struct ImportOpenapiArgs {
    /// The document: a URL that the gateway can read, a file, or - for the standard input.
    #[arg(value_name = "URL|FILE")]
    pub document: String,
    /// Where the API answers, if not where the document says.
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// What the document is known by when it is imported again. Default: the title of the API.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// What the names of the tools begin with.
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Only operations with one of these tags.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Only operations under this path; with * for a part of it and ** for anything.
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<String>,
    /// Only operations with one of these methods.
    #[arg(long = "method", value_name = "METHOD")]
    pub methods: Vec<String>,
    /// The secret of a security scheme of the document: a token, a key, or user:password.
    #[arg(long = "credential", value_name = "SCHEME=SECRET")]
    pub credentials: Vec<String>,
    /// A bearer token for all tools.
    #[arg(long, value_name = "TOKEN")]
    pub bearer: Option<String>,
    /// A user's name and password for all tools.
    #[arg(long, value_name = "NAME:PASSWORD", conflicts_with = "bearer")]
    pub basic: Option<String>,
    /// A header with a secret for all tools.
    #[arg(long = "header", value_name = "NAME=VALUE", conflicts_with_all = ["bearer", "basic"])]
    pub headers: Vec<String>,
    /// Who sees the tools: public, team or private.
    #[arg(long, value_name = "VISIBILITY")]
    pub visibility: Option<String>,
    /// The team that they belong to.
    #[arg(long, value_name = "ID")]
    pub team_id: Option<String>,
    /// Leave out the schemas of answers.
    #[arg(long)]
    pub no_output_schemas: bool,
    /// Say what would be done and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Delete tools of an earlier import whose operations are gone.
    #[arg(long)]
    pub prune: bool,
    /// Print what the gateway answers, as JSON.
    #[arg(long)]
    pub json: bool,
    /// The gateway to import into.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Imports the document, and prints to `out` what was done and to `notes` what was left out.
///
/// # Errors
///
/// [`ClientError`]: print it to the standard error and exit with 1. A tool that the gateway does not
/// take is one too, after everything else was done.
pub fn run(
    args: &ImportOpenapiArgs,
    settings: &Settings,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<(), ClientError> {
    let body = body(args)?;
    let client = Client::new(&args.client, settings)?;
    let spinner = Spinner::start(format!("reading {}", args.document));
    let report = client.post("/tools/import-openapi", &body)?;
    drop(spinner);
    match args.json {
        true => print::json(out, &report)?,
        false => show(&report, out, notes)?,
    }
    match entries(&report, "failed").count() {
        0 => Ok(()),
        count => {
            let tools = print::count(count, "tool");
            Err(ClientError::Input(format!("the gateway did not take {tools}; see above")))
        }
    }
}

fn entries<'r>(report: &'r Value, list: &str) -> impl Iterator<Item = &'r Value> {
    report[list].as_array().into_iter().flatten()
}

fn show(report: &Value, out: &mut impl Write, notes: &mut impl Write) -> Result<(), ClientError> {
    let text = |entry: &Value, key: &str| {
        print::printable(entry[key].as_str().unwrap_or_default()).to_string()
    };
    let count = |list: &str| format!("{} {list}", entries(report, list).count());
    let counts = ["created", "updated", "unchanged", "removed"].map(count).join(", ");
    let done = if report["dry_run"] == true { "Would import" } else { "Imported" };
    writeln!(out, "{done} {}: {counts}", text(report, "source"))?;
    for refused in entries(report, "refused") {
        writeln!(notes, "refused: {}: {}", text(refused, "operation"), text(refused, "reason"))?;
    }
    for noted in entries(report, "notes") {
        for note in entries(noted, "notes") {
            let note = print::printable(note.as_str().unwrap_or_default());
            writeln!(notes, "note: {}: {note}", text(noted, "operation"))?;
        }
    }
    for failed in entries(report, "failed") {
        let error = failed["error"].to_string();
        writeln!(notes, "failed: {}: {}", text(failed, "operation"), print::printable(&error))?;
    }
    let rows = ["created", "updated", "removed"].into_iter().flat_map(|list| {
        entries(report, list)
            .map(move |tool| vec![text(tool, "name"), list.to_owned(), text(tool, "operation")])
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    print::table(out, &["TOOL", "", "OPERATION"], rows)
}

/// What was typed as the API's fields. The gateway checks them.
fn body(args: &ImportOpenapiArgs) -> Result<Value, ClientError> {
    let mut body = json!({});
    let is_url = ["http://", "https://"].iter().any(|scheme| args.document.starts_with(scheme));
    match is_url {
        true => body["url"] = json!(args.document),
        false => body["document"] = json!(read(&args.document)?),
    }
    let texts = [
        ("base_url", &args.base_url),
        ("source", &args.source),
        ("prefix", &args.prefix),
        ("visibility", &args.visibility),
        ("team_id", &args.team_id),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body[name] = json!(text);
        }
    }
    for (name, list) in [("tags", &args.tags), ("paths", &args.paths), ("methods", &args.methods)] {
        if !list.is_empty() {
            body[name] = json!(list);
        }
    }
    let flags = [("dry_run", args.dry_run), ("prune", args.prune)];
    for (name, _) in flags.into_iter().filter(|(_, is_set)| *is_set) {
        body[name] = json!(true);
    }
    if args.no_output_schemas {
        body["output_schemas"] = json!(false);
    }
    add_secrets(args, &mut body)?;
    Ok(body)
}

fn add_secrets(args: &ImportOpenapiArgs, body: &mut Value) -> Result<(), ClientError> {
    if !args.credentials.is_empty() {
        let pairs = args.credentials.iter().map(|pair| split(pair, &['='], "--credential"));
        let pairs = pairs.map(|pair| pair.map(|(name, secret)| (name, json!(secret))));
        body["credentials"] = Value::Object(pairs.collect::<Result<Map<_, _>, _>>()?);
    }
    if let Some(token) = &args.bearer {
        body["auth_type"] = json!("bearer");
        body["auth_token"] = json!(token);
    }
    if let Some(pair) = &args.basic {
        let (name, password) = split(pair, &[':'], "--basic")?;
        body["auth_type"] = json!("basic");
        body["auth_username"] = json!(name);
        body["auth_password"] = json!(password);
    }
    if !args.headers.is_empty() {
        let pairs = args.headers.iter().map(|pair| split(pair, &['=', ':'], "--header"));
        let headers = pairs
            .map(|pair| pair.map(|(key, value)| json!({"key": key.trim(), "value": value.trim()})));
        body["auth_type"] = json!("authheaders");
        body["auth_headers"] = Value::Array(headers.collect::<Result<_, _>>()?);
    }
    Ok(())
}

/// Reads a file, or the standard input.
fn read(name: &str) -> Result<String, ClientError> {
    let fault = |error: io::Error| ClientError::Input(format!("{name}: {error}"));
    let size_max = limits::OPENAPI_SIZE_MAX as u64;
    let mut bytes = Vec::new();
    let size = match name {
        "-" => io::stdin().take(size_max + 1).read_to_end(&mut bytes),
        name => {
            fs::File::open(name).and_then(|file| file.take(size_max + 1).read_to_end(&mut bytes))
        }
    };
    if size.map_err(fault)? as u64 > size_max {
        return Err(ClientError::Input(format!("{name} is larger than {size_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| ClientError::Input(format!("{name} is no UTF-8 text")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ImportOpenapiArgs,
    }

    fn parse(words: &[&str]) -> Result<ImportOpenapiArgs, clap::Error> {
        Line::try_parse_from(std::iter::once(&"import").chain(words)).map(|line| line.args)
    }

    #[test]
    fn what_is_typed_becomes_the_fields_of_the_api() {
        let url = "https://h/openapi.yaml";
        for (words, expected) in [
            (vec![url], json!({"url": url})),
            (
                vec![
                    url, "--tag", "a", "--tag", "b", "--path", "/p/*", "--method", "get", "--prune",
                ],
                json!({"url": url, "tags": ["a", "b"], "paths": ["/p/*"], "methods": ["get"], "prune": true}),
            ),
            (
                vec![
                    url,
                    "--credential",
                    "key=a=b",
                    "--base-url",
                    "http://api",
                    "--no-output-schemas",
                ],
                json!({"url": url, "credentials": {"key": "a=b"}, "base_url": "http://api", "output_schemas": false}),
            ),
            (
                vec![url, "--basic", "me:p:w", "--dry-run"],
                json!({"url": url, "auth_type": "basic", "auth_username": "me", "auth_password": "p:w", "dry_run": true}),
            ),
            (
                vec![url, "--header", "X-A: b", "--visibility", "private"],
                json!({"url": url, "auth_type": "authheaders", "visibility": "private",
                       "auth_headers": [{"key": "X-A", "value": "b"}]}),
            ),
        ] {
            assert_eq!(body(&parse(&words).unwrap()).unwrap(), expected, "{words:?}");
        }
    }

    #[test]
    fn a_file_is_sent_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("api.yaml");
        fs::write(&file, "openapi: 3.1.0\n").unwrap();
        let sent = body(&parse(&[file.to_str().unwrap()]).unwrap()).unwrap();
        assert_eq!(sent, json!({"document": "openapi: 3.1.0\n"}));
        let error = body(&parse(&["/no/such/file"]).unwrap()).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"), "{error}");
    }

    #[test]
    fn tells_what_was_done_and_what_was_not() {
        let report = json!({
            "source": "sums", "dry_run": false,
            "created": [{"operation": "GET /sums", "name": "sums-list"}], "updated": [],
            "unchanged": [{"operation": "GET /x", "name": "x"}], "removed": [],
            "refused": [{"operation": "HEAD /sums", "reason": "HEAD is no method of tools"}],
            "notes": [{"operation": "GET /sums", "notes": ["left out: the cookie c"]}],
            "failed": [{"operation": "GET /y", "error": {"detail": "taken"}}],
        });
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        show(&report, &mut out, &mut notes).unwrap();
        let [out, notes] = [out, notes].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(
            out.starts_with("Imported sums: 1 created, 0 updated, 1 unchanged, 0 removed\n"),
            "{out}"
        );
        assert!(out.contains("sums-list"), "{out}");
        for part in
            ["refused: HEAD /sums: HEAD is no", "note: GET /sums: left out", "failed: GET /y: "]
        {
            assert!(notes.contains(part), "{notes}");
        }
    }
}
