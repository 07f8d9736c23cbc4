//! A Redis server of its own on a free port, with its files in a temporary folder.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// A server, or a sentinel by `--sentinel`.
const PROGRAM: &str = "redis-server";

/// How long anything that surely comes is waited for.
pub const SURELY: Duration = Duration::from_secs(30);

/// A running server; killed when dropped, also by a panic, and when the test program is killed.
pub struct Server {
    pub folder: tempfile::TempDir,
    pub port: u16,
    arguments: Vec<String>,
    child: Child,
    watchdog: Child,
}

impl Server {
    /// Starts a plain server.
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// Starts a server with more arguments, on another port if somebody was quicker.
    pub fn with(arguments: &[&str]) -> Server {
        let all = with_usual(arguments);
        let mut started = Server::spawn(free_port(), &[], &all);
        for _ in 0..2 {
            started = started.or_else(|_| Server::spawn(free_port(), &[], &all));
        }
        started.unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Starts a server on `port`. In the arguments, `{dir}` stands for its folder.
    pub fn on(port: u16, arguments: &[&str]) -> Server {
        let started = Server::spawn(port, &[], &with_usual(arguments));
        started.unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Starts a sentinel that begins with the lines of `config`.
    pub fn sentinel(port: u16, config: &[String]) -> Server {
        let started = Server::spawn(port, config, &["--sentinel", "--bind", "127.0.0.1"]);
        started.unwrap_or_else(|reason| panic!("{reason}"))
    }

    fn spawn(port: u16, config: &[String], arguments: &[&str]) -> Result<Server, String> {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap().to_owned();
        let file = folder.path().join("redis.conf");
        std::fs::write(&file, config.join("\n")).unwrap();
        let mut all = vec![file.to_str().unwrap().to_owned()];
        all.extend(["--port".to_owned(), port.to_string(), "--dir".to_owned(), dir.clone()]);
        all.extend(arguments.iter().map(|argument| argument.replace("{dir}", &dir)));
        let (child, watchdog) = run(&all);
        let mut server = Server { folder, port, arguments: all, child, watchdog };
        server.wait()?;
        Ok(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends a line of Redis' inline protocol and returns the beginning of the answer.
    pub fn ask(&self, line: &str) -> String {
        ask(self.port, line).unwrap()
    }

    /// Whether the answer to a line holds `part`; false while there is no answer, as when the
    /// server ends all connections since its role changes.
    pub fn says(&self, line: &str, part: &str) -> bool {
        says(self.port, line, part)
    }

    /// Kills the server and waits for its end.
    pub fn kill(&mut self) {
        // First, lest it kill another process that is given the same number.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts a server that was killed once more, on the same port.
    pub fn restart(&mut self) {
        (self.child, self.watchdog) = run(&self.arguments);
        self.wait().unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// Stops the server's clock: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the server answers; fails if it has ended, as it does when its port is taken.
    fn wait(&mut self) -> Result<(), String> {
        let until = Instant::now() + SURELY;
        loop {
            // With a password any answer is a sign of life.
            let answers = ask(self.port, "PING").is_ok();
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(format!("redis-server ended with {status}: {:?}", self.arguments));
            }
            if answers {
                return Ok(());
            }
            assert!(Instant::now() < until, "redis-server does not answer");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn with_usual<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let usual = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"];
    usual.iter().chain(arguments).copied().collect()
}

/// Starts a server, and a watchdog that kills it when this program ends in whatever way.
fn run(arguments: &[String]) -> (Child, Child) {
    let spawned =
        Command::new(PROGRAM).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = spawned.unwrap_or_else(|error| {
        panic!("{PROGRAM}: {error}; `make test` installs it, or apt-get install {PROGRAM}")
    });
    let watchdog = Command::new("sh")
        .args(["-c", r#"cat >/dev/null; kill -KILL "$1""#, "sh", &child.id().to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    (child, watchdog)
}

/// Asks a server by Redis' inline protocol.
pub fn ask(port: u16, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(SURELY))?;
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    let mut answer = vec![0; 16384];
    let count = stream.read(&mut answer)?;
    if count == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
}

/// Whether the answer of a server to a line holds `part`.
pub fn says(port: u16, line: &str, part: &str) -> bool {
    ask(port, line).is_ok_and(|answer| answer.contains(part))
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits on this thread, which is no shard, until `holds` does.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + SURELY;
    while !holds() {
        assert!(Instant::now() < until, "in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
