//! Real MCP servers as processes, and the script that shows faults over stdio.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::eventually;
use super::port::Port;
use super::tools::{tests_folder, tools};

/// The path of servers over WebSockets.
const SOCKET: &str = "/ws";

/// Node takes its time on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// A server process that listens on a port; killed when dropped.
pub struct Served {
    child: Child,
    port: Port,
    path: &'static str,
    printed: Arc<Mutex<String>>,
}

impl Served {
    /// npm's everything server over streamable HTTP.
    pub fn everything_http() -> Self {
        Self::everything("streamableHttp", "/mcp")
    }

    /// npm's everything server over HTTP+SSE.
    pub fn everything_sse() -> Self {
        Self::everything("sse", "/sse")
    }

    fn everything(transport: &str, path: &'static str) -> Self {
        let port = Port::take();
        let command = everything(transport, port.number);
        Self::start(command, port, path)
    }

    /// Starts the everything server again on its port, over the same transport.
    pub fn restart_everything(&mut self, transport: &str) {
        self.restart(everything(transport, self.port.number));
    }

    /// The reference upstream of the conformance suite.
    pub fn conformance() -> Self {
        let port = Port::take();
        let mut command = tools().python("upstreams/conformance.py");
        command.arg(port.number.to_string());
        Self::start(command, port, "/mcp")
    }

    /// An upstream whose tools become tasks.
    pub fn tasks() -> Self {
        let port = Port::take();
        let mut command = tools().python("upstreams/tasks.py");
        command.arg(port.number.to_string());
        Self::start(command, port, "/mcp")
    }

    /// A server that says what it says by the stream of its session that belongs to no request, of a
    /// kind that the script upstreams/aside.mjs knows.
    pub fn aside(kind: &str) -> Self {
        let port = Port::take();
        let mut command = tools().node("upstreams/aside.mjs");
        command.arg(port.number.to_string()).arg(kind);
        Self::start(command, port, "/mcp")
    }

    /// A server over WebSockets, of a kind that the script upstreams/socket.mjs knows.
    pub fn socket(kind: &str) -> Self {
        let port = Port::take();
        let command = socket(port.number, kind);
        Self::start(command, port, SOCKET)
    }

    /// The same over TLS.
    pub fn socket_over_tls(kind: &str, key: &Path, certificate: &Path) -> Self {
        let port = Port::take();
        let mut command = socket(port.number, kind);
        command.args([key, certificate]);
        Self::start(command, port, SOCKET)
    }

    /// Starts such a server again on its port.
    pub fn restart_socket(&mut self, kind: &str) {
        self.restart(socket(self.port.number, kind));
    }

    /// Starts a program that listens on `port`.
    pub fn start(command: Command, port: Port, path: &'static str) -> Self {
        let printed = Arc::default();
        let child = spawn(command, &printed);
        let mut served = Self { child, port, path, printed };
        served.wait_until_it_listens();
        served
    }

    /// Ends the program at once, whatever it does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Has the program do nothing any more, without letting go of anything.
    pub fn freeze(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP).expect("it can be stopped");
    }

    /// Ends the program and starts another on its port.
    pub fn restart(&mut self, command: Command) {
        self.kill();
        self.child = spawn(command, &self.printed);
        self.wait_until_it_listens();
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Everything that was printed so far.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait_until_it_listens(&mut self) {
        let ended = eventually("the upstream listens", START_MAX, || {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return Some(Some(status));
            }
            TcpStream::connect(("127.0.0.1", self.port.number)).is_ok().then_some(None)
        });
        assert!(ended.is_none(), "the upstream ended at once, {ended:?}");
    }

    pub fn url(&self) -> String {
        let scheme = if self.path == SOCKET { "ws" } else { "http" };
        format!("{scheme}://localhost:{}{}", self.port.number, self.path)
    }

    /// The body of `POST /gateways` that registers it under `name`.
    pub fn registration(&self, name: &str) -> Value {
        let transport = match self.path {
            "/sse" => "SSE",
            SOCKET => "WEBSOCKET",
            _ => "STREAMABLEHTTP",
        };
        json!({ "name": name, "url": self.url(), "transport": transport })
    }
}

/// The command of npm's everything server on a port.
fn everything(transport: &str, port: u16) -> Command {
    let script = tools().package_file("@modelcontextprotocol/server-everything/dist/index.js");
    let mut command = tools().node(script);
    command.arg(transport).env("PORT", port.to_string());
    command
}

/// The command of a server over WebSockets on a port.
fn socket(port: u16, kind: &str) -> Command {
    let mut command = tools().node("upstreams/socket.mjs");
    command.arg(port.to_string()).arg(kind);
    command
}

fn spawn(mut command: Command, printed: &Arc<Mutex<String>>) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the upstream's program starts");
    drain(child.stdout.take().expect("stdout is a pipe"), printed);
    drain(child.stderr.take().expect("stderr is a pipe"), printed);
    child
}

fn drain(pipe: impl Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut text = into.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&line);
            text.push('\n');
        }
    });
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let text = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("---- printed by the upstream {} ----\n{text}", self.url());
        }
    }
}

/// A registration of a command that speaks MCP over its standard streams.
pub fn stdio(name: &str, command: &str) -> Value {
    json!({ "name": name, "transport": "STDIO", "command": command })
}

/// npm's everything server over stdio.
pub fn everything_stdio(name: &str) -> Value {
    stdio(name, &tools().everything("stdio"))
}

/// PyPI's time server over stdio.
pub fn time_stdio(name: &str) -> Value {
    let program = tools().python.join("bin/mcp-server-time");
    stdio(name, &format!("{} --local-timezone UTC", program.display()))
}

/// The script that shows what a child process can do wrong.
pub fn wayward_stdio(name: &str, arguments: &str) -> Value {
    let script = tests_folder().join("upstreams/wayward.py");
    stdio(name, &format!("python3 -u {} {arguments}", script.display()))
}
