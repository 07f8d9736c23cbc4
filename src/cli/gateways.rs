//! `ringway gateways`, `ringway refresh` and `ringway remove`: upstreams that are registered.

use std::io::Write;

use serde_json::Value;

use super::client::{Client, ClientArgs, ClientError};
use super::print::{self, Spinner};
use crate::settings::Settings;

/// Lists upstreams.
#[derive(Debug, Default, clap::Args)]
pub struct GatewaysArgs {
    /// Print what the gateway answers, as JSON.
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Names one upstream.
#[derive(Debug, Default, clap::Args)]
pub struct GatewayArgs {
    /// The upstream: its name or id.
    pub name: String,
    /// Print what the gateway answers, as JSON.
    #[arg(long)]
    pub json: bool,
    /// The gateway that it is registered at.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Prints every upstream to `out`, those that are switched off included.
///
/// # Errors
///
/// [`ClientError`]: print it to the standard error and exit with 1.
pub fn list(
    args: &GatewaysArgs,
    settings: &Settings,
    out: &mut impl Write,
) -> Result<(), ClientError> {
    let client = Client::new(&args.client, settings)?;
    let gateways = client.list("gateways", "include_inactive=true&")?;
    if args.json {
        return print::json(out, &Value::Array(gateways));
    }
    if gateways.is_empty() {
        let hint = "no upstreams yet; `ringway add NAME URL` registers one";
        return Ok(writeln!(out, "{hint}")?);
    }
    let head = ["NAME", "TARGET", "TRANSPORT", "MCP", "STATE", "TOOLS"];
    print::table(out, &head, gateways.iter().map(row))
}

fn row(gateway: &Value) -> Vec<String> {
    let text = |name: &str| gateway[name].as_str().unwrap_or_default().to_owned();
    let command = gateway["command"].as_array().into_iter().flatten();
    let command: Vec<_> = command.filter_map(Value::as_str).collect();
    let state = match (&gateway["enabled"], &gateway["reachable"]) {
        (Value::Bool(false), _) => "off",
        (_, Value::Bool(false)) => "unreachable",
        _ => "on",
    };
    vec![
        text("name"),
        if command.is_empty() { text("url") } else { command.join(" ") },
        text("transport"),
        text("protocolVersion"),
        state.to_owned(),
        gateway["toolCount"].to_string(),
    ]
}

/// Has the gateway read again what an upstream offers, and prints to `out` what changed.
///
/// # Errors
///
/// As [`list`].
pub fn refresh(
    args: &GatewayArgs,
    settings: &Settings,
    out: &mut impl Write,
) -> Result<(), ClientError> {
    let client = Client::new(&args.client, settings)?;
    let id = id_of(&client, &args.name)?;
    let spinner = Spinner::start(format!("asking {} what it offers", args.name));
    let done = client.post(&format!("/gateways/{id}/tools/refresh"), &Value::Null)?;
    drop(spinner);
    if args.json {
        return print::json(out, &done);
    }
    let of = |kind: &str| {
        let count = |what: &str| done[format!("{kind}{what}")].as_u64().unwrap_or(0);
        format!("{kind} +{} ~{} -{}", count("Added"), count("Updated"), count("Removed"))
    };
    let [tools, resources, prompts] = ["tools", "resources", "prompts"].map(of);
    writeln!(out, "Refreshed {}: {tools}, {resources}, {prompts}", args.name)?;
    for skipped in done["validationErrors"].as_array().into_iter().flatten() {
        let skipped = skipped.as_str().unwrap_or_default();
        writeln!(out, "left out: {}", print::printable(skipped))?;
    }
    Ok(())
}

/// Removes an upstream and all that it offers.
///
/// # Errors
///
/// As [`list`].
pub fn remove(
    args: &GatewayArgs,
    settings: &Settings,
    out: &mut impl Write,
) -> Result<(), ClientError> {
    let client = Client::new(&args.client, settings)?;
    let id = id_of(&client, &args.name)?;
    let done = client.delete(&format!("/gateways/{id}"))?;
    if args.json {
        return print::json(out, &done);
    }
    Ok(writeln!(out, "Removed {}", args.name)?)
}

fn id_of(client: &Client, name: &str) -> Result<String, ClientError> {
    let gateway = find_by_name(client, "gateways", name)?;
    Ok(gateway["id"].as_str().unwrap_or_default().to_owned())
}

/// Finds an upstream or a virtual server by its id, its name or its slug.
///
/// # Errors
///
/// [`ClientError::Input`] if there is none, or more than one; else as [`Client::get`].
pub fn find_by_name(client: &Client, kind: &str, name: &str) -> Result<Value, ClientError> {
    let mut entries = client.list(kind, "include_inactive=true&")?;
    if let Some(index) = entries.iter().position(|entry| entry["id"] == name) {
        return Ok(entries.swap_remove(index));
    }
    entries.retain(|entry| entry["name"] == name || entry["slug"] == name);
    match entries.len() {
        1 => Ok(entries.remove(0)),
        0 => {
            let one = kind.trim_end_matches('s');
            Err(ClientError::Input(format!("there is no {one} {name:?} at {}", client.base())))
        }
        count => Err(ClientError::Input(format!("{count} {kind} are called {name:?}; use an id"))),
    }
}
