//! `ringway add`: registers an upstream and shows what it brought.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::client::{Client, ClientArgs, ClientError};
use super::print::{self, Spinner};
use crate::settings::Settings;

/// Registers an upstream MCP server.
#[derive(Debug, Default, clap::Args)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["upstream", "command"]))]
pub struct AddArgs {
    /// What to call it; the names of its tools begin with that.
    pub name: String,
    /// Where it answers, as http://127.0.0.1:9000/mcp or ws://127.0.0.1:9000.
    #[arg(value_name = "URL")]
    pub upstream: Option<String>,
    /// The command line that the gateway runs to start it, instead of a URL.
    #[arg(long, value_name = "COMMAND")]
    pub command: Option<String>,
    /// A variable of the command's environment.
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "upstream")]
    pub env: Vec<String>,
    /// A header that proves the gateway to it.
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "command")]
    pub header: Vec<String>,
    /// A bearer token that does.
    #[arg(long, value_name = "TOKEN", conflicts_with = "command")]
    pub bearer: Option<String>,
    /// A user's name and password that do.
    #[arg(long, value_name = "NAME:PASSWORD", conflicts_with_all = ["command", "bearer"])]
    pub basic: Option<String>,
    /// How it is reached: streamablehttp, sse, http or websocket. Default: a WebSocket for ws:// and
    /// wss://; else streamable HTTP is tried, then SSE.
    #[arg(long, value_name = "TRANSPORT", conflicts_with = "command")]
    pub transport: Option<String>,
    /// The protocol era to speak: auto, legacy or modern.
    #[arg(long, value_name = "ERA")]
    pub protocol: Option<String>,
    /// Whether clients share its sessions and child processes: shared or per_client.
    #[arg(long, value_name = "MODE")]
    pub session_mode: Option<String>,
    /// A file with the certificate authority that it is trusted by, in PEM.
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub ca: Option<PathBuf>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Words to find it by.
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    pub tags: Vec<String>,
    /// Print what the gateway answers, as JSON.
    #[arg(long)]
    pub json: bool,
    /// The gateway to register it at.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Registers the upstream and prints its tools to `out`, and to `notes` what was left out.
///
/// # Errors
///
/// [`ClientError`]: print it to the standard error and exit with 1.
pub fn run(
    args: &AddArgs,
    settings: &Settings,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<(), ClientError> {
    let body = body(args)?;
    let client = Client::new(&args.client, settings)?;
    let spinner = Spinner::start(format!("asking {} what it offers", args.name));
    let added = client.post("/gateways", &body)?;
    drop(spinner);
    if args.json {
        return print::json(out, &added);
    }
    summarise(&added, out)?;
    for skipped in added["skippedTools"].as_array().into_iter().flatten() {
        writeln!(notes, "left out: {}", print::printable(skipped.as_str().unwrap_or_default()))?;
    }
    let id = added["id"].as_str().unwrap_or_default();
    let tools = client.list("tools", &format!("gateway_id={id}&"))?;
    super::tools::print_tools(&tools, out)
}

fn summarise(added: &Value, out: &mut impl Write) -> Result<(), ClientError> {
    let count = |name: &str, noun: &str| {
        let count = added[name].as_u64().unwrap_or(0);
        print::count(usize::try_from(count).unwrap_or(usize::MAX), noun)
    };
    let name = added["name"].as_str().unwrap_or_default();
    let transport = added["transport"].as_str().unwrap_or_default();
    let version = added["protocolVersion"].as_str().unwrap_or("an unknown revision");
    writeln!(
        out,
        "Added {name} ({transport}, MCP {version}): {}, {}, {}",
        count("toolCount", "tool"),
        count("resourceCount", "resource"),
        count("promptCount", "prompt"),
    )?;
    Ok(())
}

/// What was typed as the API's fields. The gateway checks them.
fn body(args: &AddArgs) -> Result<Value, ClientError> {
    let mut body = json!({ "name": args.name });
    let texts = [
        ("url", &args.upstream),
        ("command", &args.command),
        ("transport", &args.transport),
        ("protocol", &args.protocol),
        ("session_mode", &args.session_mode),
        ("description", &args.description),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body[name] = json!(text);
        }
    }
    if !args.tags.is_empty() {
        body["tags"] = json!(args.tags);
    }
    if !args.env.is_empty() {
        let pairs = args.env.iter().map(|pair| split(pair, &['='], "--env"));
        let pairs = pairs.map(|pair| pair.map(|(name, value)| (name, json!(value))));
        body["env"] = Value::Object(pairs.collect::<Result<Map<_, _>, _>>()?);
    }
    if let Some(path) = &args.ca {
        let text = fs::read_to_string(path)
            .map_err(|error| ClientError::Input(format!("--ca {}: {error}", path.display())))?;
        body["ca_certificate"] = json!(text);
    }
    add_auth(args, &mut body)?;
    Ok(body)
}

fn add_auth(args: &AddArgs, body: &mut Value) -> Result<(), ClientError> {
    let mut headers = Vec::new();
    for header in &args.header {
        // `Name: value` is how everybody else writes a header.
        let (key, value) = split(header, &['=', ':'], "--header")?;
        headers.push(json!({ "key": key.trim(), "value": value.trim() }));
    }
    if let Some(pair) = &args.basic {
        let (name, password) = split(pair, &[':'], "--basic")?;
        if headers.is_empty() {
            body["auth_type"] = json!("basic");
            body["auth_username"] = json!(name);
            body["auth_password"] = json!(password);
            return Ok(());
        }
        return Err(ClientError::Input("give --basic or --header, not both".to_owned()));
    }
    match (&args.bearer, headers.is_empty()) {
        (Some(token), true) => {
            body["auth_type"] = json!("bearer");
            body["auth_token"] = json!(token);
            return Ok(());
        }
        (Some(token), false) => {
            headers.push(json!({ "key": "Authorization", "value": format!("Bearer {token}") }));
        }
        (None, true) => return Ok(()),
        (None, false) => {}
    }
    body["auth_type"] = json!("authheaders");
    body["auth_headers"] = json!(headers);
    Ok(())
}

/// Splits at the first of the separators. An error does not repeat the text, which may be secret.
pub fn split(text: &str, separators: &[char], flag: &str) -> Result<(String, String), ClientError> {
    match text.split_once(separators) {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(ClientError::Input(format!(
            "{flag} takes a name and a value with {:?} between them",
            separators[0]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: AddArgs,
    }

    fn parse(words: &[&str]) -> Result<AddArgs, clap::Error> {
        Line::try_parse_from(std::iter::once(&"add").chain(words)).map(|line| line.args)
    }

    fn typed(words: &[&str]) -> Value {
        body(&parse(words).unwrap()).unwrap()
    }

    #[test]
    fn what_is_typed_becomes_the_fields_of_the_contract() {
        for (words, expected) in [
            (vec!["time", "http://h/mcp"], json!({"name": "time", "url": "http://h/mcp"})),
            (
                vec!["e", "--command", "npx -y x stdio", "--env", "KEY=a=b", "--env", "N=1"],
                json!({"name": "e", "command": "npx -y x stdio", "env": {"KEY": "a=b", "N": "1"}}),
            ),
            (
                vec![
                    "t",
                    "http://h/",
                    "--bearer",
                    "tok",
                    "--transport",
                    "sse",
                    "--protocol",
                    "legacy",
                ],
                json!({"name": "t", "url": "http://h/", "transport": "sse", "protocol": "legacy",
                       "auth_type": "bearer", "auth_token": "tok"}),
            ),
            (
                vec![
                    "t",
                    "http://h/",
                    "--header",
                    "X-A=1",
                    "--header",
                    "X-B: b:c",
                    "--bearer",
                    "t",
                ],
                json!({"name": "t", "url": "http://h/", "auth_type": "authheaders",
                       "auth_headers": [{"key": "X-A", "value": "1"}, {"key": "X-B", "value": "b:c"},
                                        {"key": "Authorization", "value": "Bearer t"}]}),
            ),
            (
                vec!["t", "http://h/", "--basic", "me:p:w", "--tags", "a,b", "--description", "d"],
                json!({"name": "t", "url": "http://h/", "description": "d", "tags": ["a", "b"],
                       "auth_type": "basic", "auth_username": "me", "auth_password": "p:w"}),
            ),
        ] {
            assert_eq!(typed(&words), expected, "{words:?}");
        }
    }

    #[test]
    fn a_url_or_a_command_is_wanted_and_not_both() {
        assert!(parse(&["time"]).is_err());
        assert!(parse(&["time", "http://h/", "--command", "x"]).is_err());
        assert!(parse(&["time", "http://h/", "--env", "A=b"]).is_err());
        assert!(parse(&["time", "--command", "x", "--bearer", "t"]).is_err());
        assert!(parse(&["time", "http://h/", "--bearer", "t", "--basic", "a:b"]).is_err());
    }

    #[test]
    fn a_secret_that_cannot_be_split_is_not_repeated() {
        for words in
            [["t", "http://h/", "--header", "hunter2"], ["t", "http://h/", "--basic", "hunter2"]]
        {
            let error = body(&parse(&words).unwrap()).unwrap_err().to_string();
            assert!(!error.contains("hunter2") && error.contains(words[2]), "{error}");
        }
    }
}
