//! A private PostgreSQL for the measurements: in a temporary folder, on a free port, behind a
//! password, gone with us.
//!
//! It runs with the settings that it comes with, so that a commit is on the disk.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Server, find_in_path, free_port, kept};

/// How long it has to start.
const START_WAIT_MAX: Duration = Duration::from_secs(30);
/// Every gateway of a run may have its whole pool, and several run at once.
const CONNECTION_COUNT_MAX: u32 = 300;
/// What is used of it, all in one folder.
const PROGRAMS: [&str; 4] = ["postgres", "initdb", "createdb", "pg_isready"];
/// Where packages put a folder for each version.
const PACKAGE_FOLDERS: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];
/// The user that packages make for the server, which does not run as root.
const USER: &str = "postgres";

/// Where its programs are and as whom they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    folder: PathBuf,
    /// Another user and group than ours, when we are root.
    user: Option<(u32, u32)>,
}

impl Programs {
    /// Finds them in `folder`, or without one in `PATH` and where packages put them.
    ///
    /// # Errors
    ///
    /// In words, what is missing.
    pub fn find(folder: Option<&Path>) -> Result<Programs, String> {
        let found = match folder {
            Some(folder) => is_complete(folder).then(|| folder.to_owned()),
            None => in_path().or_else(in_packages),
        };
        let folder = found.ok_or_else(|| {
            let place = folder.map_or_else(
                || "PATH and /usr/lib/postgresql".to_owned(),
                |folder| folder.display().to_string(),
            );
            format!("PostgreSQL is not in {place}: install it (Debian: postgresql) or give the folder of its programs by --postgres")
        })?;
        let user = match rustix::process::geteuid().is_root() {
            false => None,
            true => Some(server_user().ok_or_else(|| {
                format!("PostgreSQL does not run as root, and there is no user {USER}")
            })?),
        };
        Ok(Programs { folder, user })
    }

    /// One of the programs, as the server's user.
    fn command(&self, name: &str) -> Command {
        self.as_server(Command::new(self.folder.join(name)))
    }

    fn as_server(&self, mut command: Command) -> Command {
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir("/").stdin(Stdio::null());
        command
    }
}

fn is_complete(folder: &Path) -> bool {
    PROGRAMS.iter().all(|name| folder.join(name).is_file())
}

fn in_path() -> Option<PathBuf> {
    // The first program may be a link into the folder that has them all.
    let postgres = fs::canonicalize(find_in_path(&PROGRAMS[..1])?).ok()?;
    postgres.parent().filter(|folder| is_complete(folder)).map(Path::to_owned)
}

/// The newest version that a package installed.
fn in_packages() -> Option<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix) in PACKAGE_FOLDERS {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse().ok());
            let version: Option<u32> = version;
            let folder = entry.path().join("bin");
            found.extend(version.filter(|_| is_complete(&folder)).map(|version| (version, folder)));
        }
    }
    found.into_iter().max().map(|(_, folder)| folder)
}

fn server_user() -> Option<(u32, u32)> {
    let number = |option: &str| {
        let output = Command::new("id").args([option, USER]).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some((number("-u")?, number("-g")?))
}

/// A running PostgreSQL; dropping it stops it and removes its data.
pub struct Postgres {
    _server: Server,
    _data: TempDir,
    programs: Programs,
    port: u16,
    password: String,
}

impl Postgres {
    /// Makes and starts a server; `log_folder` takes its log.
    ///
    /// # Errors
    ///
    /// When it cannot be made or does not become ready; the text has what it said.
    pub fn start(programs: Programs, log_folder: &Path) -> io::Result<Postgres> {
        fs::create_dir_all(log_folder)?;
        // Not in the folder of the run, into which the server's user may not look.
        let data = tempfile::Builder::new().prefix("ringway-bench-").tempdir()?;
        let password = storage::record::new_id();
        initialise(&programs, data.path(), &password)?;
        let port = free_port()?;
        let mut server =
            Server::start("postgres", &mut serve(&programs, data.path(), port), log_folder)?;
        let mut ready = programs.command("pg_isready");
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        server.wait_until("ready", START_WAIT_MAX, || {
            ready.status().is_ok_and(|status| status.success())
        })?;
        Ok(Postgres { _server: server, _data: data, programs, port, password })
    }

    /// Makes an empty database; gives its address, as `DATABASE_URL` has it.
    ///
    /// # Errors
    ///
    /// When it is refused; the text has what the server said.
    pub fn database(&self, name: &str) -> io::Result<String> {
        let mut create = self.programs.command("createdb");
        create.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-w", name]);
        succeed(create.env("PGPASSWORD", &self.password))?;
        let (password, port) = (&self.password, self.port);
        Ok(format!("postgresql://{USER}:{password}@127.0.0.1:{port}/{name}?sslmode=disable"))
    }
}

/// Makes the data folder, with a password that only its owner can read.
fn initialise(programs: &Programs, folder: &Path, password: &str) -> io::Result<()> {
    let password_path = folder.join("password");
    fs::write(&password_path, password)?;
    if let Some((user, group)) = programs.user {
        chown(folder, Some(user), Some(group))?;
        chown(&password_path, Some(user), Some(group))?;
    }
    let mut initialise = programs.command("initdb");
    initialise.arg("-D").arg(folder.join("data")).arg("--pwfile").arg(&password_path);
    initialise.args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]);
    succeed(&mut initialise)?;
    fs::remove_file(password_path)
}

fn serve(programs: &Programs, folder: &Path, port: u16) -> Command {
    // At once: its data are thrown away.
    let mut command = programs.as_server(kept("QUIT", folder, &programs.folder.join(PROGRAMS[0])));
    command.arg("-D").arg(folder.join("data"));
    for setting in [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        "unix_socket_directories=".to_owned(),
        format!("max_connections={CONNECTION_COUNT_MAX}"),
    ] {
        command.args(["-c", &setting]);
    }
    command
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} ended with {}: {}", output.status, text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_all_of_its_programs_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("makes a folder");
        fs::write(folder.path().join("postgres"), "").expect("writes");
        let problem = Programs::find(Some(folder.path())).expect_err("is refused");
        assert!(problem.contains(&folder.path().display().to_string()), "{problem}");
        assert!(problem.contains("--postgres"), "{problem}");
    }

    #[test]
    fn a_program_that_fails_tells_what_it_said() {
        let mut command = Command::new("sh");
        let error = succeed(command.args(["-c", "echo no room >&2; exit 3"]));
        let text = error.expect_err("failed").to_string();
        assert!(text.contains("sh ended with exit status: 3: no room"), "{text}");
    }
}
