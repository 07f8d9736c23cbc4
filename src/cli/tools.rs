//! `ringway tools`: lists the tools that can be called.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::Value;

use super::client::{Client, ClientArgs, ClientError};
use super::gateways::find_by_name;
use super::print;
use crate::settings::Settings;

/// Lists tools.
#[derive(Debug, Default, clap::Args)]
pub struct ToolsArgs {
    /// Those of one virtual server, under the names that they have there: its id or name.
    #[arg(long, value_name = "ID", conflicts_with = "gateway")]
    pub server: Option<String>,
    /// Those of one upstream: its name or id.
    #[arg(long, value_name = "NAME")]
    pub gateway: Option<String>,
    /// Also those that are switched off.
    #[arg(long)]
    pub all: bool,
    /// Print what the gateway answers, as JSON.
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Prints the tools to `out`.
///
/// # Errors
///
/// [`ClientError`]: print it to the standard error and exit with 1.
pub fn run(args: &ToolsArgs, settings: &Settings, out: &mut impl Write) -> Result<(), ClientError> {
    let client = Client::new(&args.client, settings)?;
    let tools = match &args.server {
        Some(server) => of_server(&client, server, args.all)?,
        None => of_registry(&client, args)?,
    };
    if args.json {
        return print::json(out, &Value::Array(tools));
    }
    if tools.is_empty() {
        let hint = "no tools yet; `ringway add NAME URL` registers an upstream";
        return Ok(writeln!(out, "{hint}")?);
    }
    print_tools(&tools, out)
}

fn of_registry(client: &Client, args: &ToolsArgs) -> Result<Vec<Value>, ClientError> {
    let mut query = format!("include_inactive={}&", args.all);
    if let Some(name) = &args.gateway {
        let gateway = find_by_name(client, "gateways", name)?;
        query.push_str(&format!("gateway_id={}&", gateway["id"].as_str().unwrap_or_default()));
    }
    client.list("tools", &query)
}

/// The tools of a virtual server, under the names that its prefix gives them.
fn of_server(client: &Client, server: &str, all: bool) -> Result<Vec<Value>, ClientError> {
    let server = find_by_name(client, "servers", server)?;
    let id = server["id"].as_str().unwrap_or_default();
    let mut tools = match client.get(&format!("/servers/{id}/tools?include_inactive={all}"))? {
        Value::Array(tools) => tools,
        _ => Vec::new(),
    };
    if let Some(prefix) = server["toolPrefix"].as_str() {
        for tool in &mut tools {
            let own = tool["originalName"].as_str().unwrap_or_default();
            tool["name"] = Value::from(format!("{prefix}{own}"));
        }
    }
    Ok(tools)
}

/// Prints a table of tools in the order of names.
pub fn print_tools(tools: &[Value], out: &mut impl Write) -> Result<(), ClientError> {
    let text = |tool: &Value, name: &str| tool[name].as_str().unwrap_or_default().to_owned();
    let rows: BTreeMap<String, Vec<String>> = tools
        .iter()
        .map(|tool| {
            let mut description = text(tool, "description");
            if tool["enabled"] == false {
                description = format!("(off) {description}");
            } else if tool["reachable"] == false {
                description = format!("(unreachable) {description}");
            }
            let name = text(tool, "name");
            (name.clone(), vec![name, text(tool, "gatewaySlug"), description])
        })
        .collect();
    print::table(out, &["TOOL", "GATEWAY", "DESCRIPTION"], rows.into_values())
}
