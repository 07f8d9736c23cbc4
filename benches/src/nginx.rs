//! nginx as the peer: the same bytes as a static file, and a keep-alive proxy to the upstream.
//!
//! It is set up as its own documentation recommends for this work: one pinned worker per core
//! with its own listening socket, files kept open, no access log, connections to the upstream
//! kept. Under one path it opens its files anew, which is its default and costs more.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::account;
use crate::http;
use crate::process::{Server, free_port};

/// How long nginx has to start.
const START_WAIT_MAX: Duration = Duration::from_secs(10);

/// The path under which nginx opens a file anew for every request, as it does by default.
pub const REOPENED: &str = "/reopened";

/// What nginx serves.
pub struct Site<'a> {
    /// The body of GET /health.
    pub health: &'a [u8],
    /// Static files by name.
    pub files: &'a [(&'a str, &'a [u8])],
    /// Where POST /mcp and all under /rest go.
    pub upstream: SocketAddr,
}

/// Starts nginx on a free port; `folder` holds its configuration and files.
///
/// # Errors
///
/// When the program is missing or refuses its configuration.
pub fn start(program: &Path, folder: &Path, site: &Site<'_>) -> io::Result<(Server, SocketAddr)> {
    let html = folder.join("html");
    fs::create_dir_all(&html)?;
    for (name, body) in site.files {
        fs::write(html.join(name), body)?;
    }
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let worker_count = thread::available_parallelism().map_or(1, usize::from);
    let config_path = folder.join("nginx.conf");
    fs::write(&config_path, config(folder, address, worker_count, site)?)?;
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).arg("-c").arg(&config_path);
    let mut server = Server::start("nginx", &mut command, folder).map_err(explain)?;
    let health = http::request("GET", "/health", address, &[], "");
    server.wait_until("ready", START_WAIT_MAX, || {
        http::ask(address, &health, START_WAIT_MAX).is_ok_and(|answer| answer.status == 200)
    })?;
    // The first worker answers before the last is forked, and all of them are to be accounted.
    let master = server.pid();
    server.wait_until("complete", START_WAIT_MAX, || {
        account::family(master).is_ok_and(|family| family.len() == worker_count + 1)
    })?;
    Ok((server, address))
}

fn explain(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::NotFound {
        return error;
    }
    let text = format!("{error}: install it (Debian: nginx-light) or give its path by --nginx");
    io::Error::new(io::ErrorKind::NotFound, text)
}

/// Writes the configuration.
fn config(
    folder: &Path,
    address: SocketAddr,
    worker_count: usize,
    site: &Site<'_>,
) -> io::Result<String> {
    let health = std::str::from_utf8(site.health).map_err(io::Error::other)?;
    if health.contains(['\'', '$', '\\']) {
        return Err(io::Error::other(format!("nginx cannot quote the health answer {health}")));
    }
    let folder = folder.display();
    let upstream = site.upstream;
    // The workers have to read files in a folder that only its owner may enter.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    Ok(format!(
        "daemon off; {user}
worker_processes {worker_count}; worker_cpu_affinity auto; worker_rlimit_nofile 16384;
pid {folder}/nginx.pid; error_log {folder}/error.log error;
events {{ worker_connections 8192; use epoll; }}
http {{
  access_log off; server_tokens off; etag off; default_type application/json;
  sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_timeout 1h; keepalive_requests 1000000000; reset_timedout_connection on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream mcp {{
    server {upstream}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 1h;
  }}
  server {{
    listen {address} backlog=4096;
    location / {{ root {folder}/html; open_file_cache max=64 inactive=1h; }}
    location {REOPENED}/ {{ alias {folder}/html/; open_file_cache off; }}
    location = /health {{ return 200 '{health}'; }}
    location = /mcp {{
      proxy_pass http://mcp; proxy_http_version 1.1; proxy_set_header Connection \"\";
    }}
    location /rest/ {{
      proxy_pass http://mcp; proxy_http_version 1.1; proxy_set_header Connection \"\";
    }}
  }}
}}
"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_with(health: &[u8]) -> io::Result<String> {
        let address = SocketAddr::from(([127, 0, 0, 1], 81));
        let upstream = SocketAddr::from(([127, 0, 0, 1], 82));
        config(Path::new("/x"), address, 2, &Site { health, files: &[], upstream })
    }

    #[test]
    fn keeps_its_connections_to_the_upstream() {
        let text = config_with(br#"{"status":"healthy"}"#).expect("is written");
        assert!(text.contains("server 127.0.0.1:82; keepalive 256;"));
        assert!(text.contains("proxy_http_version 1.1; proxy_set_header Connection \"\";"));
        assert!(text.contains(r#"return 200 '{"status":"healthy"}';"#));
    }

    #[test]
    fn refuses_a_health_answer_that_it_would_change() {
        assert!(config_with(b"costs $1").is_err());
    }
}
