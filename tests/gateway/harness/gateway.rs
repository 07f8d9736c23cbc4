//! The real binary, started for one test and ended with it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::eventually;
use super::port::Port;
use super::wire::{Answer, Wire, request};

/// The secret that signs the tokens of the tests.
pub const SECRET: &str = "a secret of the tests, long enough for HS256 and HS512 alike, 64 bytes";

/// How long the gateway may take to be ready, or to end after a signal.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running gateway. Killed when dropped; what it printed is shown when the test fails.
pub struct Gateway {
    child: Child,
    port: Port,
    data: Data,
    printed: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    token: String,
}

/// The data folder: the test's own for the time of the gateway, or one that outlives it.
enum Data {
    Own(TempDir),
    Given(PathBuf),
}

impl Data {
    fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Given(path) => path,
        }
    }
}

/// How a gateway is to be started.
#[derive(Default)]
pub struct Setup {
    settings: Vec<(String, String)>,
    data: Option<PathBuf>,
    wrapper: Option<Command>,
}

impl Setup {
    /// Sets one setting, as an environment variable.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Keeps the data in `folder`, which outlives the gateway.
    pub fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_owned());
        self
    }

    /// Starts the binary through another program, as that program's last arguments.
    pub fn through(mut self, wrapper: Command) -> Self {
        self.wrapper = Some(wrapper);
        self
    }

    /// Starts the gateway and waits until it is ready.
    pub fn start(self) -> Gateway {
        let mut gateway = self.launch();
        let ended = eventually("the gateway is ready", PATIENCE, || {
            if let Some(status) = gateway.child.try_wait().expect("the child can be asked") {
                return Some(Some(status));
            }
            let mut wire = Wire::try_connect(gateway.port()).ok()?;
            let answer = wire.send(request("GET", "/ready", &[], b"")).try_answer()?;
            (answer.status == 200).then_some(None)
        });
        assert!(ended.is_none(), "the gateway ended at once: {ended:?}");
        gateway
    }

    /// Starts the gateway without waiting for anything.
    pub fn launch(self) -> Gateway {
        let data = match self.data {
            Some(path) => Data::Given(path),
            None => Data::Own(TempDir::new().expect("a temporary folder")),
        };
        let port = Port::take();
        let mut settings = base_settings(data.path(), port.number);
        let token = token(&settings, &["--username", "admin@example.com", "--exp", "60"]);
        settings.extend(self.settings);
        let mut command = match self.wrapper {
            Some(mut wrapper) => {
                wrapper.arg(binary());
                wrapper
            }
            None => Command::new(binary()),
        };
        command.arg("serve").env_clear().envs(inherited()).envs(settings);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the gateway's binary starts");
        let printed = Arc::default();
        let out = child.stdout.take().expect("stdout is a pipe");
        let err = child.stderr.take().expect("stderr is a pipe");
        let readers = vec![collect(out, &printed), collect(err, &printed)];
        Gateway { child, port, data, printed, readers, token }
    }
}

/// The binary under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_ringway")
}

/// What a process needs of the outer environment; settings of the developer's shell must not leak.
fn inherited() -> Vec<(String, String)> {
    let wanted = ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "RUST_BACKTRACE"];
    std::env::vars().filter(|(name, _)| wanted.contains(&name.as_str())).collect()
}

fn base_settings(data: &Path, port: u16) -> Vec<(String, String)> {
    let pairs = [
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", port.to_string()),
        ("RINGWAY_DATA_DIR", data.display().to_string()),
        ("JWT_SECRET_KEY", SECRET.to_owned()),
        ("AUTH_ENCRYPTION_SECRET", SECRET.to_owned()),
        ("LOG_LEVEL", "DEBUG".to_owned()),
        ("LOG_FORMAT", "text".to_owned()),
        // Tests ask more often than people do; those of the limits switch them on.
        ("RATE_LIMITING_ENABLED", "false".to_owned()),
        // Once a day: tests that count what an upstream receives count no health checks.
        ("HEALTH_CHECK_INTERVAL", "86400".to_owned()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// Makes a token with the binary's own command.
fn token(settings: &[(String, String)], arguments: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.env_clear().envs(inherited()).envs(settings.iter().cloned());
    let output = command.arg("token").args(arguments).output();
    let output = output.expect("the gateway's binary starts");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "token: {}", String::from_utf8_lossy(&output.stderr));
    text
}

fn collect(pipe: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut text = into.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&line);
            text.push('\n');
        }
    })
}

impl Gateway {
    /// Starts a gateway with nothing set but its place.
    pub fn start() -> Self {
        Self::setup().start()
    }

    pub fn setup() -> Setup {
        Setup::default()
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// A URL on this gateway; `localhost`, as the conformance suite wants it.
    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port())
    }

    pub fn data_folder(&self) -> &Path {
        self.data.path()
    }

    /// An administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A token made with other arguments of `ringway token`.
    pub fn token_with(&self, arguments: &[&str]) -> String {
        token(&base_settings(self.data_folder(), self.port()), arguments)
    }

    /// Runs a subcommand of the binary against this gateway, as a person would.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.env_clear().envs(inherited());
        command.envs(base_settings(self.data_folder(), self.port()));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Everything that was printed so far, both streams.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn wire(&self) -> Wire {
        Wire::connect(self.port())
    }

    /// Sends one request as the administrator, on a connection of its own.
    pub fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Answer {
        self.ask_as(Some(&self.token), method, target, body)
    }

    /// Sends one request with this token or none.
    pub fn ask_as(
        &self,
        token: Option<&str>,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("Connection", "close"), ("Content-Type", "application/json")];
        headers.extend(bearer.as_deref().map(|value| ("Authorization", value)));
        let body = body.map(Value::to_string).unwrap_or_default();
        self.wire().send(request(method, target, &headers, body.as_bytes())).answer()
    }

    pub fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, None)
    }

    pub fn post(&self, target: &str, body: &Value) -> Answer {
        self.ask("POST", target, Some(body))
    }

    /// Registers an upstream and gives its read model.
    #[track_caller]
    pub fn add(&self, gateway: &Value) -> Value {
        self.post("/gateways", gateway).expect(200).json()
    }

    /// Makes an open virtual server of everything that these upstreams have, with their own names,
    /// and gives its path.
    #[track_caller]
    pub fn open_server(&self, upstreams: &[&Value]) -> String {
        let ids: Vec<&Value> = upstreams.iter().map(|upstream| &upstream["id"]).collect();
        let name = format!("open {}", ids.iter().map(|id| id.to_string()).collect::<String>());
        let server = json!({
            "name": name.replace('"', ""),
            "associated_gateways": ids,
            "tool_prefix": "",
            "auth_required": false,
        });
        let made = self.post("/servers", &json!({ "server": server })).expect(201).json();
        format!("/servers/{}/mcp", made["id"].as_str().expect("a server has an id"))
    }

    /// One JSON-RPC request to /rpc; gives the whole envelope.
    pub fn rpc(&self, method: &str, params: Value) -> Value {
        let envelope = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        self.post("/rpc", &envelope).expect(200).json()
    }

    /// The same, whatever the status is.
    pub fn rpc_answer(&self, method: &str, params: Value) -> Value {
        let envelope = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        self.post("/rpc", &envelope).json()
    }

    /// Calls a tool over /rpc and gives the result.
    #[track_caller]
    pub fn call(&self, tool: &str, arguments: Value) -> Value {
        let envelope = self.rpc("tools/call", json!({ "name": tool, "arguments": arguments }));
        assert!(envelope.get("error").is_none(), "{tool}: {envelope}");
        envelope["result"].clone()
    }

    /// The names of all tools, as /rpc lists them.
    pub fn tool_names(&self) -> Vec<String> {
        let envelope = self.rpc("tools/list", json!({}));
        let tools = envelope["result"]["tools"].as_array();
        let tools = tools.unwrap_or_else(|| panic!("no tools in {envelope}"));
        tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// The id of the process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// How much memory the process holds, in KiB.
    pub fn resident_size(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the gateway runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("a process has a size")
    }

    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.child);
        kill_process(id, signal).expect("our own child can be signalled");
    }

    /// Waits for the process to end.
    pub fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the gateway ends", PATIENCE, || child.try_wait().expect("it can be asked"))
    }

    /// Ends the gateway as a service manager would, and checks that it ends well.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "the gateway ended with {status}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // A child of the gateway may hold its pipes open, so the readers are not waited for.
            let ended = self.readers.iter().filter(|reader| reader.is_finished()).count();
            eprintln!("---- printed by the gateway ({ended} of 2 streams ended) ----");
            eprintln!("{}", self.printed());
        }
    }
}
