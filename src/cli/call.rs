//! `ringway call`: calls a tool through the gateway, as any MCP client would.

use std::io::Write;

use serde_json::Value;

use super::client::{Client, ClientArgs, ClientError, ToolCall};
use super::print::{self, Spinner};
use super::{arguments, gateways};
use crate::settings::Settings;

/// Calls a tool.
#[derive(Debug, Default, clap::Args)]
pub struct CallArgs {
    /// The tool, as `ringway tools` lists it.
    pub tool: String,
    /// Arguments as `name=value`, read by the tool's schema, or `name:=json`.
    #[arg(value_name = "NAME=VALUE")]
    pub arguments: Vec<String>,
    /// All arguments as one JSON object.
    #[arg(long, value_name = "JSON")]
    pub args: Option<String>,
    /// Call it through this virtual server: its id or name.
    #[arg(long, value_name = "ID")]
    pub server: Option<String>,
    /// Print the whole result, as JSON.
    #[arg(long)]
    pub json: bool,
    /// The gateway to call it through.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Calls the tool and prints its result to `out`.
///
/// # Errors
///
/// [`ClientError`]: print it to the standard error and exit with 1. A tool that reports an error
/// is one, after its result was printed.
pub fn run(args: &CallArgs, settings: &Settings, out: &mut impl Write) -> Result<(), ClientError> {
    let client = Client::new(&args.client, settings)?;
    let server = match &args.server {
        Some(name) => Some(gateways::find_by_name(&client, "servers", name)?),
        None => None,
    };
    let server_id = server.as_ref().and_then(|server| server["id"].as_str());
    let spinner = Spinner::start(format!("calling {}", args.tool));
    let definition = client.find_tool(server_id, &args.tool)?;
    let arguments =
        arguments::read(args.args.as_deref(), &args.arguments, &definition["inputSchema"])?;
    let result = client.call_tool(ToolCall { server_id, definition: &definition, arguments })?;
    drop(spinner);
    match args.json {
        true => print::json(out, &result)?,
        false => print_result(&result, out)?,
    }
    match result["isError"] {
        Value::Bool(true) => Err(ClientError::Tool { name: args.tool.clone() }),
        _ => Ok(()),
    }
}

/// Prints what a person wants to see of a result: its texts, and what else it holds in a word.
fn print_result(result: &Value, out: &mut impl Write) -> Result<(), ClientError> {
    let content = result["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    for part in content {
        writeln!(out, "{}", describe(part))?;
    }
    match &result["structuredContent"] {
        Value::Null => Ok(()),
        structured if content.is_empty() => print::json(out, structured),
        // The texts say the same, by the specification.
        _ => Ok(()),
    }
}

fn describe(part: &Value) -> String {
    let text = |value: &Value| print::printable(value.as_str().unwrap_or_default());
    // Base64 has four characters for three bytes.
    let size = |value: &Value| value.as_str().map_or(0, str::len) / 4 * 3;
    match part["type"].as_str() {
        Some("text") => text(&part["text"]),
        Some(kind @ ("image" | "audio")) => {
            let (mime, size) = (text(&part["mimeType"]), size(&part["data"]));
            format!("[{kind}: {mime}, about {size} bytes; --json shows it]")
        }
        Some("resource_link") => format!("[resource: {}]", text(&part["uri"])),
        Some("resource") => match &part["resource"]["text"] {
            Value::String(body) => print::printable(body),
            _ => {
                let resource = &part["resource"];
                let (uri, size) = (text(&resource["uri"]), size(&resource["blob"]));
                format!("[resource: {uri}, about {size} bytes; --json shows it]")
            }
        },
        _ => print::printable(&part.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(result: Value) -> String {
        let mut out = Vec::new();
        print_result(&result, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_printed_and_the_rest_is_named() {
        let result = json!({"content": [
            {"type": "text", "text": "Echo: hello\u{1b}[2J"},
            {"type": "image", "mimeType": "image/png", "data": "AAAA"},
            {"type": "resource_link", "uri": "demo://x"},
            {"type": "resource", "resource": {"uri": "demo://y", "text": "inside"}},
            {"type": "resource", "resource": {"uri": "demo://z", "blob": "AAAAAAAA"}},
            {"type": "new", "a": 1},
        ], "structuredContent": {"a": 1}});
        assert_eq!(
            printed(result),
            "Echo: hello\u{fffd}[2J\n[image: image/png, about 3 bytes; --json shows it]\n\
             [resource: demo://x]\ninside\n[resource: demo://z, about 6 bytes; --json shows it]\n\
             {\"type\":\"new\",\"a\":1}\n"
        );
    }

    #[test]
    fn structured_content_is_printed_where_there_is_no_other() {
        let result = json!({"content": [], "structuredContent": {"a": [1]}});
        assert_eq!(printed(result), "{\n  \"a\": [\n    1\n  ]\n}\n");
        assert_eq!(printed(json!({})), "");
    }
}
