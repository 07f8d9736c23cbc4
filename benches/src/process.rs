//! The servers under test as child processes that end with us.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::account;

/// How long a server has to end by itself before it is killed.
const STOP_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a server has to print its address.
const ANNOUNCE_WAIT_MAX: Duration = Duration::from_secs(10);
/// The pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What keeps a program: it sends it a signal once its own standard input is closed, which the
/// kernel does for us even when we are killed, and then removes what the program left.
const KEEPER: &str = r#"
trap : INT TERM
signal=$1; rubbish=$2; shift 2
"$@" &
cat >/dev/null
kill -"$signal" $!
while kill -0 $! 2>/dev/null; do wait $!; done
rm -rf "$rubbish"
"#;

/// A running server; dropping it stops it.
pub struct Server {
    name: String,
    child: Child,
    log_path: PathBuf,
}

impl Server {
    /// Starts a program whose output goes to a file in `folder`.
    ///
    /// # Errors
    ///
    /// When the program cannot be started; the text names it.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> io::Result<Server> {
        let log_path = folder.join(format!("{name}.log"));
        let log = File::create(&log_path)?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        Ok(Server { name: name.to_owned(), child, log_path })
    }

    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes that do the server's work: itself and all its children.
    ///
    /// # Errors
    ///
    /// When /proc cannot be read.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        account::family(self.child.id())
    }

    /// Reads the address that the server prints as the last word of its first line.
    ///
    /// # Errors
    ///
    /// When it ends or prints something else first.
    pub fn read_address(&mut self) -> io::Result<SocketAddr> {
        let log_path = self.log_path.clone();
        self.wait_until("announced", ANNOUNCE_WAIT_MAX, || first_line(&log_path).is_some())?;
        let line = first_line(&self.log_path).unwrap_or_default();
        let word = line.split_whitespace().last().unwrap_or_default();
        word.parse().map_err(|_| self.complain("printed no address"))
    }

    /// Waits until `is_ready`, for up to `wait_max`.
    ///
    /// # Errors
    ///
    /// When it ended or took too long; the text has the end of what it logged.
    pub fn wait_until(
        &mut self,
        what: &str,
        wait_max: Duration,
        mut is_ready: impl FnMut() -> bool,
    ) -> io::Result<()> {
        let started_at = Instant::now();
        while !is_ready() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.complain(&format!("ended with {status}")));
            }
            if started_at.elapsed() > wait_max {
                return Err(self.complain(&format!("was not {what} within {wait_max:?}")));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Asks the server to end and waits for it.
    pub fn stop(self) {
        drop(self);
    }

    /// An error about this server, with the end of its log.
    pub fn complain(&self, what: &str) -> io::Error {
        // A log that is gone or no text only makes the message shorter.
        let log = fs::read_to_string(&self.log_path).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(10).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        io::Error::other(format!("{} {what}; its log: {}", self.name, tail.join("\n")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What is kept (see `kept`) ends by this alone.
        drop(self.child.stdin.take());
        // SIGTERM first: nginx's master takes its workers along only when it is asked.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let started_at = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if started_at.elapsed() > STOP_WAIT_MAX {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// The first line of a file, once it is whole.
fn first_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.split_once('\n').map(|(line, _)| line.to_owned())
}

/// Makes a command for a program that would outlive us: it is sent `signal` when the [`Server`] is
/// dropped and when this process ends, however it does. Then `rubbish` is removed, with all that
/// is in it.
pub fn kept(signal: &str, rubbish: &Path, program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, "keeper", signal]).arg(rubbish).arg(program);
    command
}

/// Finds the first of some programs that is in `PATH`.
pub fn find_in_path(names: &[&str]) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&folders).collect();
    let all = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter().find(|path| path.is_file())
}

/// Finds a port of 127.0.0.1 that is free now.
///
/// # Errors
///
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Raises the number of descriptors that this process and its children may have to what is
/// allowed; gives that number.
///
/// # Errors
///
/// When the kernel refuses.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Ends this process once whoever started it closed its standard input, that is: ended itself.
pub fn end_with_parent() {
    thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = io::stdin().read_to_end(&mut rest);
        std::process::exit(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> (tempfile::TempDir, Server) {
        let folder = tempfile::tempdir().expect("makes a folder");
        let mut command = Command::new("sh");
        let server = Server::start("probe", command.args(["-c", script]), folder.path());
        (folder, server.expect("starts"))
    }

    #[test]
    fn reads_the_address_that_a_server_prints() {
        let (_folder, mut server) = start("echo listening on 127.0.0.1:81; sleep 60");
        let address = server.read_address().expect("prints one");
        assert_eq!(address, SocketAddr::from(([127, 0, 0, 1], 81)));
    }

    #[test]
    fn says_what_a_server_logged_before_it_ended() {
        let (_folder, mut server) = start("echo 'no such port' >&2; exit 3");
        let error = server.wait_until("ready", Duration::from_secs(20), || false);
        let text = error.expect_err("ended").to_string();
        assert!(text.contains("exit status: 3") && text.contains("no such port"), "{text}");
    }

    #[test]
    fn dropping_a_server_ends_it() {
        let (_folder, server) = start("exec sleep 60");
        let pid = server.child.id();
        drop(server);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_kept_program_ends_with_its_server_and_leaves_nothing() {
        let rubbish = tempfile::tempdir().expect("makes a folder");
        let folder = tempfile::tempdir().expect("makes a folder");
        let shell = find_in_path(&["no-such-program", "sh"]).expect("there is a shell");
        let mut command = kept("TERM", rubbish.path(), &shell);
        let script = "echo $$ 127.0.0.1:81; while :; do sleep 0.01; done";
        command.args(["-c", script]);
        let mut server = Server::start("kept", &mut command, folder.path()).expect("starts");
        server.read_address().expect("prints one");
        let line = first_line(&folder.path().join("kept.log")).expect("was printed");
        let pid = line.split(' ').next().expect("has a word").to_owned();
        assert!(Path::new("/proc").join(&pid).exists());
        drop(server);
        assert!(!Path::new("/proc").join(&pid).exists());
        assert!(!rubbish.path().exists());
    }
}
