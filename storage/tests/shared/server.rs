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

/// How long anything that surely comes is waited for.
pub const SURELY: Duration = Duration::from_secs(30);

/// A running server; killed when dropped, also by a panic.
pub struct Server {
    pub folder: tempfile::TempDir,
    pub port: u16,
    program: &'static str,
    arguments: Vec<String>,
    child: Child,
}

impl Server {
    /// Starts a plain server.
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// Starts a server with more arguments.
    pub fn with(arguments: &[&str]) -> Server {
        Server::on(free_port(), arguments)
    }

    /// Starts a server on `port`. In the arguments, `{dir}` stands for its folder.
    pub fn on(port: u16, arguments: &[&str]) -> Server {
        let usual = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"];
        let all: Vec<&str> = usual.iter().chain(arguments).copied().collect();
        Server::spawn("redis-server", port, &[], &all)
    }

    /// Starts a sentinel that begins with the lines of `config`.
    pub fn sentinel(port: u16, config: &[String]) -> Server {
        Server::spawn("redis-sentinel", port, config, &["--bind", "127.0.0.1"])
    }

    fn spawn(program: &'static str, port: u16, config: &[String], arguments: &[&str]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap().to_owned();
        let file = folder.path().join("redis.conf");
        std::fs::write(&file, config.join("\n")).unwrap();
        let mut all = vec![file.to_str().unwrap().to_owned()];
        all.extend(["--port".to_owned(), port.to_string(), "--dir".to_owned(), dir.clone()]);
        all.extend(arguments.iter().map(|argument| argument.replace("{dir}", &dir)));
        let child = run(program, &all);
        let mut server = Server { folder, port, program, arguments: all, child };
        server.wait();
        server
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

    /// Kills the server and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts a server that was killed once more, on the same port.
    pub fn restart(&mut self) {
        self.child = run(self.program, &self.arguments);
        self.wait();
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

    fn wait(&mut self) {
        let until = Instant::now() + SURELY;
        // With a password any answer is a sign of life.
        while ask(self.port, "PING").is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended with {status}: {:?}", self.program, self.arguments);
            }
            assert!(Instant::now() < until, "{} does not answer", self.program);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(program: &str, arguments: &[String]) -> Child {
    let spawned =
        Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    spawned.unwrap_or_else(|error| {
        panic!("{program}: {error}; `make test` installs it, or apt-get install {program}")
    })
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
