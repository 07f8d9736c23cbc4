//! `ringway stdio`: what a client that speaks only stdio starts to reach a server over HTTP.

use std::time::Duration;

use shards::signal;

use crate::{
    bridge::{BridgeError, Link, RelayOptions, relay},
    observe::log,
    settings::{Log, LogFormat},
};

/// Longest time that may be given, in seconds.
const SECONDS_MAX: f64 = 86_400.0;

/// Where the server is, and who we are. Holds a secret, so it has no `Debug`.
#[derive(clap::Args)]
pub struct StdioArgs {
    /// The gateway or one of its virtual servers, as http://HOST/servers/ID; `/mcp` is added, also
    /// in the place of `/sse`.
    #[arg(long, env = "MCP_SERVER_URL")]
    pub url: String,
    /// The value of the Authorization header; a bare token is sent as a bearer.
    #[arg(long, value_name = "TOKEN", env = "MCP_AUTH", hide_env_values = true)]
    pub auth: Option<String>,
    /// Seconds that the server may be silent while an answer is waited for.
    #[arg(long, default_value = "60", env = "MCP_TOOL_CALL_TIMEOUT", value_parser = seconds)]
    pub timeout: Duration,
    /// Requests that run at once; more wait.
    #[arg(long, default_value_t = 10, env = "CONCURRENCY",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// What is worth a line on the standard error: DEBUG, INFO, WARNING, ERROR or OFF.
    #[arg(long, default_value = "INFO", env = "MCP_WRAPPER_LOG_LEVEL", value_parser = level)]
    pub log_level: String,
    /// A further header field of every request, as `Name: value`; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
}

/// Relays until the standard input ends and everything is answered.
///
/// # Errors
///
/// [`BridgeError`]: print it to the standard error and exit with 1.
pub fn run(args: StdioArgs) -> Result<(), BridgeError> {
    let mut headers = args.headers;
    headers.extend(args.auth.as_deref().and_then(authorization));
    let options = RelayOptions {
        link: Link::StreamableHttp,
        url: mcp_url(&args.url),
        headers,
        timeout: args.timeout,
        concurrency: usize::from(args.concurrency),
        program: None,
    };
    with_log(args.log_level, || relay(options))
}

/// Runs a bridge with the log on the standard error.
pub(super) fn with_log(
    level: String,
    act: impl FnOnce() -> Result<(), BridgeError>,
) -> Result<(), BridgeError> {
    // Before any thread starts, that of the log included: every thread inherits what is blocked.
    signal::block();
    let log = Log { level, format: LogFormat::Text };
    let _log = log::start(&log).map_err(|error| BridgeError(error.to_string()))?;
    act()
}

/// Where a gateway serves streamable HTTP, of what people write for it.
fn mcp_url(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    let base = url.strip_suffix("/sse").or(url.strip_suffix("/mcp")).unwrap_or(url);
    format!("{base}/mcp")
}

/// The field that shows who we are.
pub(super) fn authorization(auth: &str) -> Option<(String, String)> {
    let value = match auth.trim() {
        "" => return None,
        bare if !bare.contains(' ') => format!("Bearer {bare}"),
        whole => whole.to_owned(),
    };
    Some(("authorization".to_owned(), value))
}

/// Reads a time in seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= SECONDS_MAX => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!("must be a number of seconds above 0, at most {SECONDS_MAX}")),
    }
}

/// Reads the name of a level, as Python has them, or as we do.
pub(super) fn level(text: &str) -> Result<String, String> {
    let level = match text.trim().to_ascii_lowercase().as_str() {
        "" | "off" | "none" | "disable" | "false" | "0" => "off",
        "warning" | "warn" => "warn",
        "error" | "critical" => "error",
        "info" => "info",
        "debug" => "debug",
        "trace" => "trace",
        _ => return Err("must be DEBUG, INFO, WARNING, ERROR or OFF".to_owned()),
    };
    Ok(level.to_owned())
}

/// Reads a header field.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':').or_else(|| text.split_once('=')) {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("must be `Name: value`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_made_that_of_streamable_http() {
        for url in ["http://h/servers/1", "http://h/servers/1/", "http://h/servers/1/mcp"] {
            assert_eq!(mcp_url(url), "http://h/servers/1/mcp");
        }
        assert_eq!(mcp_url("http://h:1/servers/1/sse"), "http://h:1/servers/1/mcp");
        assert_eq!(mcp_url("http://h/mcp/"), "http://h/mcp");
    }

    #[test]
    fn a_bare_token_is_a_bearer_and_a_whole_value_stays() {
        let value = |auth| authorization(auth).map(|(_, value)| value);
        assert_eq!(value("abc").as_deref(), Some("Bearer abc"));
        assert_eq!(value(" Bearer abc ").as_deref(), Some("Bearer abc"));
        assert_eq!(value("Basic eA==").as_deref(), Some("Basic eA=="));
        assert_eq!(value(" "), None);
    }

    #[test]
    fn times_levels_and_fields_are_checked() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for wrong in ["0", "-1", "x", "nan", "1e9"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(level("CRITICAL").as_deref(), Ok("error"));
        assert!(level("loud").is_err());
        assert_eq!(header("X-A: b:c"), Ok(("X-A".to_owned(), "b:c".to_owned())));
        assert!(header(": b").is_err());
    }
}
