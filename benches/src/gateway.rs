//! Ringway as the server under test: started on a fresh data folder, given a token and an
//! upstream, and asked as its clients ask.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::process::{Server, free_port};
use crate::upstream::REVISION_LEGACY;

/// How long the gateway has to be ready.
const START_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long one answer may take outside the measurements: 20,000 tools are stored in one.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(120);
/// The pause between two attempts to reach a gateway that starts.
const ATTEMPT_EVERY: Duration = Duration::from_micros(200);
/// The key that signs the tokens of the run.
const JWT_SECRET_KEY: &str = "a-key-for-measurements-on-loopback-only-0123456789";
/// The fields that every client of MCP over HTTP sends with a message.
const MESSAGE_FIELDS: [(&str, &str); 2] =
    [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];

/// The program and how it is set.
#[derive(Clone, Debug)]
pub struct Program {
    /// The release binary.
    pub path: PathBuf,
    /// Settings on top of the ones that every run has.
    pub environment: Vec<(String, String)>,
}

impl Program {
    /// Sets a setting over whatever it was.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Puts more behind the value of a setting that was set.
    pub fn extend(&mut self, name: &str, more: &str) {
        let setting = self.environment.iter_mut().find(|(other, _)| other == name);
        if let Some((_, value)) = setting {
            value.push_str(more);
        }
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.path);
        // A measurement must not depend on what the caller's shell has set.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RINGWAY_DATA_DIR", folder.join("data"))
            .env("JWT_SECRET_KEY", JWT_SECRET_KEY)
            .env("LOG_LEVEL", "ERROR")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder);
        command
    }

    /// Makes a token that never expires and may do everything.
    fn token(&self, folder: &Path) -> io::Result<String> {
        let arguments = ["token", "--username", "admin@example.com", "--admin", "--exp", "0"];
        let output = self.command(folder).args(arguments).stdin(Stdio::null()).output()?;
        let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || token.split('.').count() != 3 {
            let log = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("ringway token printed {token:?}; {log}")));
        }
        Ok(token)
    }
}

/// A running gateway.
pub struct Gateway {
    program: Program,
    folder: PathBuf,
    server: Server,
    address: SocketAddr,
    token: String,
}

impl Gateway {
    /// Starts a gateway that keeps its data in `folder`.
    ///
    /// # Errors
    ///
    /// When the program is missing, makes no token or does not become ready.
    pub fn start(program: &Program, folder: &Path) -> io::Result<Gateway> {
        fs::create_dir_all(folder)?;
        let token = program.token(folder)?;
        let (server, address) = launch(program, folder)?;
        let (program, folder) = (program.clone(), folder.to_owned());
        let mut gateway = Gateway { program, folder, server, address, token };
        gateway.wait_ready()?;
        Ok(gateway)
    }

    /// Stops the gateway and starts it again on the same data; gives the time from exec to the
    /// first 200 on `path`, which is open to all.
    ///
    /// # Errors
    ///
    /// When it does not come back.
    pub fn restart(self, path: &str) -> io::Result<(Gateway, Duration)> {
        let Gateway { program, folder, server, token, .. } = self;
        server.stop();
        let started_at = Instant::now();
        let (server, address) = launch(&program, &folder)?;
        let mut gateway = Gateway { program, folder, server, address, token };
        while !gateway.is_ok(path) {
            if started_at.elapsed() > START_WAIT_MAX {
                return Err(gateway.server.complain("did not come back"));
            }
            std::thread::sleep(ATTEMPT_EVERY);
        }
        let first_answer_after = started_at.elapsed();
        gateway.wait_ready()?;
        Ok((gateway, first_answer_after))
    }

    fn wait_ready(&mut self) -> io::Result<()> {
        let address = self.address;
        self.server.wait_until("ready", START_WAIT_MAX, || is_ok(address, "/ready"))
    }

    fn is_ok(&self, path: &str) -> bool {
        is_ok(self.address, path)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its processes.
    ///
    /// # Errors
    ///
    /// When /proc cannot be read.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        self.server.pids()
    }

    /// Registers an upstream under a name.
    ///
    /// # Errors
    ///
    /// When it is refused; the text has the answer.
    pub fn register(&self, name: &str, upstream: SocketAddr) -> io::Result<()> {
        let url = format!("http://{upstream}/mcp");
        let body = json!({"name": name, "url": url, "transport": "STREAMABLEHTTP"});
        self.ask_for(&self.message("/gateways", &[], &body.to_string()), 200)?;
        Ok(())
    }

    /// The name that the gateway gave the first tool of its list.
    ///
    /// # Errors
    ///
    /// When it lists no tool.
    pub fn first_tool(&self) -> io::Result<String> {
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let answer = self.ask(&self.message("/rpc", &[], list))?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let name = body["result"]["tools"][0]["name"].as_str();
        name.map(str::to_owned)
            .ok_or_else(|| self.server.complain(&format!("lists no tool: {body}")))
    }

    /// Opens a legacy session on /mcp as a client does; gives its id when the gateway gave one.
    ///
    /// # Errors
    ///
    /// When the gateway does not answer as the revision says.
    pub fn open_session(&self) -> io::Result<Option<String>> {
        let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": REVISION_LEGACY, "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"}}});
        let answer = self.ask(&self.message("/mcp", &[], &initialize.to_string()))?;
        if answer.status != 200 {
            return Err(self.server.complain(&format!("answered initialize with {answer:?}")));
        }
        let session = answer.field("mcp-session-id").map(str::to_owned);
        let mut fields = vec![("MCP-Protocol-Version", REVISION_LEGACY)];
        fields.extend(session.as_deref().map(|session| ("Mcp-Session-Id", session)));
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        self.ask(&self.message("/mcp", &fields, initialized))?;
        Ok(session)
    }

    /// Makes the request that carries a message with the token of the run.
    pub fn message(&self, path: &str, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
        message(self.address, &self.token, path, fields, body)
    }

    /// Makes a request without a body, with the token of the run.
    pub fn plain(&self, method: &str, path: &str) -> Vec<u8> {
        let bearer = format!("Bearer {}", self.token);
        http::request(method, path, self.address, &[("Authorization", &bearer)], "")
    }

    /// Asks for what is at `path` and reads it as JSON.
    ///
    /// # Errors
    ///
    /// When the answer is another status than 200 or no JSON.
    pub fn get(&self, path: &str) -> io::Result<Value> {
        let answer = self.ask_for(&self.plain("GET", path), 200)?;
        serde_json::from_slice(&answer.body).map_err(io::Error::other)
    }

    /// Posts a record, which is to be answered with `status`; gives the one that was made.
    ///
    /// # Errors
    ///
    /// When the answer is another status or no JSON.
    pub fn post(&self, path: &str, record: &Value, status: u16) -> io::Result<Value> {
        let answer = self.ask_for(&self.message(path, &[], &record.to_string()), status)?;
        serde_json::from_slice(&answer.body).map_err(io::Error::other)
    }

    /// Sends a request that is to be answered with `status`.
    ///
    /// # Errors
    ///
    /// When it is answered with another; the text has the answer.
    pub fn ask_for(&self, request: &[u8], status: u16) -> io::Result<Answer> {
        let answer = self.ask(request)?;
        if answer.status == status {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(&answer.body);
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        Err(self.server.complain(&format!("answered {line} with {}: {text}", answer.status)))
    }

    /// Waits until what is at `path` is as `is_right` says.
    ///
    /// # Errors
    ///
    /// When that takes too long, or the gateway ended; the text has `what`.
    pub fn wait_for(
        &mut self,
        what: &str,
        path: &str,
        is_right: impl Fn(&Value) -> bool,
    ) -> io::Result<()> {
        let (address, request) = (self.address, self.plain("GET", path));
        self.server.wait_until(what, START_WAIT_MAX, || {
            let answer = http::ask(address, &request, ANSWER_WAIT_MAX);
            let body = answer.ok().and_then(|answer| serde_json::from_slice(&answer.body).ok());
            body.is_some_and(|body| is_right(&body))
        })
    }

    fn ask(&self, request: &[u8]) -> io::Result<Answer> {
        http::ask(self.address, request, ANSWER_WAIT_MAX)
    }
}

/// Makes the request that carries a message with a token.
pub fn message(
    target: SocketAddr,
    token: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let own = [("Authorization", bearer.as_str())];
    let all: Vec<_> = own.iter().chain(fields).copied().collect();
    open_message(target, path, &all, body)
}

/// Makes the request that carries a message to a server that asks for no token.
pub fn open_message(
    target: SocketAddr,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Vec<u8> {
    let all: Vec<_> = MESSAGE_FIELDS.iter().chain(fields).copied().collect();
    http::request("POST", path, target, &all, body)
}

fn launch(program: &Program, folder: &Path) -> io::Result<(Server, SocketAddr)> {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut command = program.command(folder);
    command.arg("serve").env("HOST", "127.0.0.1").env("PORT", address.port().to_string());
    Ok((Server::start("ringway", &mut command, folder)?, address))
}

fn is_ok(target: SocketAddr, path: &str) -> bool {
    let request = http::request("GET", path, target, &[], "");
    http::ask(target, &request, START_WAIT_MAX).is_ok_and(|answer| answer.status == 200)
}
