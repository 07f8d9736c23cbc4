//! A call of a REST tool against nginx as a proxy to the same service, and what checking the
//! arguments adds to it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::measure::{Contender, Row, rounds};
use super::{Figure, Results, Settings, Stage};
use crate::gateway::open_message;
use crate::nginx::{self, Site};
use crate::process::Server;
use crate::upstream::{REST_ANSWER, REST_PATH};

/// The name of the case.
pub const CASE: &str = "REST tool call on /rpc";
/// The name of the figure that counts what checking the arguments costs.
pub const CHECK_COST: &str = "checking the arguments of a call, 5 fields";

/// The name of the contender whose arguments are not checked.
const UNCHECKED: &str = "ringway, arguments unchecked";

/// Measures calls of a REST tool of five fields, with and without the check of its arguments.
///
/// # Errors
///
/// When a server does not start, or answers wrongly.
pub fn measure(settings: &Settings, folder: &Path, results: &mut Results) -> io::Result<()> {
    if !settings.wants(CASE) {
        return Ok(());
    }
    let stage = Stage::build(settings, folder, 1)?;
    let checked = register(&stage, "weather", true)?;
    let unchecked = register(&stage, "weather-unchecked", false)?;
    let (nginx, nginx_address) = start_nginx(settings, folder, &stage)?;
    let contenders = [
        ours(&stage, "ringway", &checked)?,
        proxied(&nginx, nginx_address)?,
        ours(&stage, UNCHECKED, &unchecked)?,
    ];
    for concurrency in &settings.concurrencies {
        eprintln!("{CASE}, c={concurrency}");
        let rows = rounds(settings.timing, CASE, &contenders, 1, *concurrency)?;
        results.figures.extend(check_cost(&rows).filter(|_| *concurrency == 32));
        results.rows.extend(rows);
    }
    Ok(())
}

/// What a call costs more when its arguments are checked.
fn check_cost(rows: &[Row]) -> Option<Figure> {
    let cost = |server| rows.iter().find(|row| row.server == server).map(|row| row.sample.cpu_us);
    let value = cost("ringway")? - cost(UNCHECKED)?;
    Some(Figure { name: CHECK_COST, server: "ringway", value, unit: "µs" })
}

/// Registers the service as a tool; gives the name that clients call.
fn register(stage: &Stage, name: &str, is_checked: bool) -> io::Result<String> {
    let tool = json!({"tool": {
        "name": name,
        "description": "Looks up the weather at a place.",
        "integration_type": "REST",
        "request_type": "POST",
        "url": format!("http://{}{REST_PATH}", stage.upstream_address),
        "validate_arguments": is_checked,
        "inputSchema": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "minLength": 1, "maxLength": 200},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "detailed": {"type": "boolean"},
                "hours": {"type": "array", "items": {"type": "integer"}, "maxItems": 24},
            },
            "required": ["place", "days"],
            "additionalProperties": false,
        },
    }});
    let made = stage.gateway.post("/tools", &tool, 200)?;
    let name = made["name"].as_str().map(str::to_owned);
    name.ok_or_else(|| io::Error::other(format!("the tool has no name: {made}")))
}

/// The arguments of every call.
fn arguments() -> Value {
    json!({"place": "Oslo", "days": 3, "unit": "celsius", "detailed": true, "hours": [6, 12, 18]})
}

fn ours(stage: &Stage, server: &str, tool: &str) -> io::Result<Contender> {
    let gateway = &stage.gateway;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": tool, "arguments": arguments()}});
    let request = gateway.message("/rpc", &[], &call.to_string());
    let (pids, address) = (gateway.pids()?, gateway.address());
    Contender::checked(CASE, server.to_owned(), address, request, pids, &refuse)
}

fn proxied(nginx: &Server, address: SocketAddr) -> io::Result<Contender> {
    let request = open_message(address, REST_PATH, &[], &arguments().to_string());
    let is_answer = |body: &[u8]| (body != REST_ANSWER.as_bytes()).then_some("is another");
    Contender::checked(CASE, "nginx".to_owned(), address, request, nginx.pids()?, &is_answer)
}

fn refuse(body: &[u8]) -> Option<&'static str> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let result = &body["result"];
    match result["structuredContent"]["unit"].as_str() {
        Some("celsius") if result["isError"] != Value::Bool(true) => None,
        _ => Some("has not what the service answered"),
    }
}

fn start_nginx(
    settings: &Settings,
    folder: &Path,
    stage: &Stage,
) -> io::Result<(Server, SocketAddr)> {
    let folder = folder.join("nginx");
    let site = Site { health: b"ok", files: &[], upstream: stage.upstream_address };
    nginx::start(&settings.nginx, &folder, &site)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_with_what_the_service_said() {
        let right = br#"{"result":{"content":[],"structuredContent":{"unit":"celsius"}}}"#;
        assert_eq!(refuse(right), None);
        let failed = br#"{"result":{"structuredContent":{"unit":"celsius"},"isError":true}}"#;
        assert!(refuse(failed).is_some());
        assert!(refuse(br#"{"error":{"code":-32602}}"#).is_some());
    }
}
