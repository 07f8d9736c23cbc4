//! `ringway translate`: a bridge between stdio and HTTP, either way, without a gateway.

use std::{
    net::{IpAddr, Ipv4Addr, ToSocketAddrs},
    time::Duration,
};

use super::stdio::{authorization, header, level, seconds, with_log};
use crate::{
    bridge::{BridgeError, Link, Program, RelayOptions, ServeOptions, relay, serve},
    upstream::stdio::split_command,
};

/// What is bridged to what. Holds a secret, so it has no `Debug`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("mode").required(true)))]
pub struct TranslateArgs {
    /// Serve a stdio server over HTTP: the command that starts it.
    #[arg(long, value_name = "COMMAND", group = "mode")]
    pub stdio: Option<String>,
    /// Speak stdio for a server over HTTP+SSE: the URL of its stream.
    #[arg(long, value_name = "URL", group = "mode")]
    pub connect_sse: Option<String>,
    /// Speak stdio for a server over streamable HTTP: its URL.
    #[arg(long, value_name = "URL", group = "mode")]
    pub connect_streamable_http: Option<String>,
    /// Serve HTTP+SSE; also what happens when no transport is named.
    #[arg(long)]
    pub expose_sse: bool,
    /// Serve streamable HTTP, at /mcp.
    #[arg(long)]
    pub expose_streamable_http: bool,
    /// The port to listen on.
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Origins whose pages may call.
    #[arg(long, value_name = "ORIGIN", num_args = 0..)]
    pub cors: Vec<String>,
    /// Where streams of HTTP+SSE are opened.
    #[arg(long = "ssePath", alias = "sse-path", default_value = "/sse")]
    pub sse_path: String,
    /// Where messages of HTTP+SSE are posted.
    #[arg(long = "messagePath", alias = "message-path", default_value = "/message")]
    pub message_path: String,
    /// Seconds after which a quiet stream gets a sign of life.
    #[arg(long = "keepAlive", alias = "keep-alive", default_value = "30", value_parser = seconds)]
    pub keep_alive: Duration,
    /// Streamable HTTP without sessions: all clients share one server.
    #[arg(long)]
    pub stateless: bool,
    /// Answer requests of streamable HTTP by JSON, never by a stream.
    #[arg(long = "jsonResponse", alias = "json-response")]
    pub json_response: bool,
    /// Most servers that run at once, one for each session.
    #[arg(long, default_value_t = 64, value_name = "COUNT",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub max_servers: u16,
    /// Take variables of a server's environment from header fields (--header-to-env).
    #[arg(long)]
    pub enable_dynamic_env: bool,
    /// A header field that becomes a variable, as `Header=VARIABLE`; may be given several times.
    #[arg(long, value_name = "HEADER=VARIABLE", requires = "enable_dynamic_env")]
    pub header_to_env: Vec<String>,
    /// The bearer token for a server over HTTP.
    #[arg(
        long = "oauth2Bearer",
        alias = "oauth2-bearer",
        value_name = "TOKEN",
        env = "OAUTH2_BEARER",
        hide_env_values = true
    )]
    pub oauth2_bearer: Option<String>,
    /// A further header field of every request to it, as `Name: value`; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// The stdio end, if it is not whoever started this: a command, whose requests go to the server
    /// over HTTP.
    #[arg(long = "stdioCommand", alias = "stdio-command", value_name = "COMMAND")]
    pub stdio_command: Option<String>,
    /// Seconds that a server over HTTP may be silent while an answer is waited for.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub timeout: Duration,
    /// Requests to it that run at once; more wait.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// What is worth a line on the standard error: debug, info, warning, error or off.
    #[arg(long = "logLevel", alias = "log-level", default_value = "info", value_parser = level)]
    pub log_level: String,
}

/// Bridges until a signal comes or one end leaves.
///
/// # Errors
///
/// [`BridgeError`]: print it to the standard error and exit with 1.
pub fn run(args: TranslateArgs) -> Result<(), BridgeError> {
    let level = args.log_level.clone();
    match args.stdio.clone() {
        Some(command) => {
            let options = serve_options(args, &command)?;
            with_log(level, || serve(options))
        }
        None => {
            let options = relay_options(args)?;
            with_log(level, || relay(options))
        }
    }
}

fn serve_options(args: TranslateArgs, command: &str) -> Result<ServeOptions, BridgeError> {
    Ok(ServeOptions {
        program: program(command)?,
        sse: args.expose_sse || !args.expose_streamable_http,
        http: args.expose_streamable_http,
        host: address(&args.host)?,
        port: args.port,
        origins: args.cors,
        sse_path: path(args.sse_path)?,
        message_path: path(args.message_path)?,
        keep_alive: args.keep_alive,
        header_to_env: mappings(&args.header_to_env)?,
        stateless: args.stateless,
        json_response: args.json_response,
        children_max: usize::from(args.max_servers),
    })
}

fn relay_options(args: TranslateArgs) -> Result<RelayOptions, BridgeError> {
    let (link, url) = match (args.connect_sse, args.connect_streamable_http) {
        (Some(url), _) => (Link::Sse, url),
        (None, Some(url)) => (Link::StreamableHttp, url),
        (None, None) => return Err(BridgeError("name one end to bridge".to_owned())),
    };
    let mut headers = args.headers;
    headers.extend(args.oauth2_bearer.as_deref().and_then(authorization));
    Ok(RelayOptions {
        link,
        url,
        headers,
        timeout: args.timeout,
        concurrency: usize::from(args.concurrency),
        program: args.stdio_command.as_deref().map(program).transpose()?,
    })
}

fn program(command: &str) -> Result<Program, BridgeError> {
    let words = split_command(command).map_err(BridgeError)?;
    Ok(Program { words, ..Program::default() })
}

/// The address of a host; a name may be given, as `localhost`.
fn address(host: &str) -> Result<IpAddr, BridgeError> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let found = (host, 0).to_socket_addrs().ok().and_then(|mut found| found.next());
    found.map(|found| found.ip()).ok_or_else(|| BridgeError(format!("there is no host {host:?}")))
}

fn path(path: String) -> Result<String, BridgeError> {
    match path.starts_with('/') && !path.contains(['?', '#', ' ']) {
        true => Ok(path),
        false => Err(BridgeError(format!("{path:?} is no path; it begins with /"))),
    }
}

/// Reads which header fields become which variables; a field may be named once.
fn mappings(texts: &[String]) -> Result<Vec<(String, String)>, BridgeError> {
    let mut mappings: Vec<(String, String)> = Vec::new();
    for text in texts {
        let pair = text.split_once('=').map(|(header, variable)| (header.trim(), variable.trim()));
        let Some((header, variable)) = pair.filter(|(header, variable)| {
            net::http1::encode::is_token(header.as_bytes()) && is_variable(variable)
        }) else {
            return Err(BridgeError(format!("--header-to-env {text:?}: write Header=VARIABLE")));
        };
        let header = header.to_ascii_lowercase();
        if mappings.iter().any(|(known, _)| *known == header) {
            return Err(BridgeError(format!("--header-to-env names {header} twice")));
        }
        mappings.push((header, variable.to_owned()));
    }
    Ok(mappings)
}

fn is_variable(name: &str) -> bool {
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    name.chars().all(is_good) && name.starts_with(|first: char| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TranslateArgs,
    }

    fn parse(line: &str) -> Option<TranslateArgs> {
        Line::try_parse_from(["translate"].into_iter().chain(line.split(' ')))
            .ok()
            .map(|line| line.args)
    }

    #[test]
    fn serves_sse_unless_another_transport_is_named() {
        let options = |line| serve_options(parse(line).unwrap(), "server a 'b c'").unwrap();
        let plain = options("--stdio x");
        assert_eq!((plain.sse, plain.http), (true, false));
        assert_eq!(plain.program.words, ["server", "a", "b c"]);
        let http = options("--stdio x --expose-streamable-http --cors http://a http://b");
        assert_eq!((http.sse, http.http), (false, true));
        assert_eq!(http.origins, ["http://a", "http://b"]);
        let both = options("--stdio x --expose-streamable-http --expose-sse --ssePath /s");
        assert_eq!((both.sse, both.http, both.sse_path.as_str()), (true, true, "/s"));
    }

    #[test]
    fn bridges_from_one_end_only() {
        assert!(parse("--port 1").is_none());
        assert!(parse("--stdio x --connect-sse http://h").is_none());
        assert!(parse("--stdio x --header-to-env A=B").is_none());
        let options = relay_options(parse("--connect-sse http://h --oauth2Bearer t").unwrap());
        let options = options.unwrap();
        assert_eq!(options.link, Link::Sse);
        assert_eq!(options.headers, [("authorization".to_owned(), "Bearer t".to_owned())]);
    }

    #[test]
    fn header_fields_become_variables_once_each() {
        let read = |texts: &[&str]| {
            mappings(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        let good = read(&["Authorization=TOKEN", "X-Tenant = TENANT"]).unwrap();
        assert_eq!(good[0], ("authorization".to_owned(), "TOKEN".to_owned()));
        assert_eq!(good[1], ("x-tenant".to_owned(), "TENANT".to_owned()));
        for wrong in [&["A"][..], &["A="], &["=B"], &["A=1B"], &["A=B", "a=C"], &["A B=C"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
