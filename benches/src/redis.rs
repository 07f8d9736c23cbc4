//! A private Redis for the measurements: on a free port, behind a password, gone with us.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Server, find_in_path, free_port, kept};

/// How long it has to start.
const START_WAIT_MAX: Duration = Duration::from_secs(20);

/// A running Redis; dropping it stops it.
pub struct Redis {
    _server: Server,
    address: SocketAddr,
    password: String,
}

/// Finds the server's program: the given one, or Redis' or Valkey's in `PATH`.
///
/// # Errors
///
/// In words, what is missing.
pub fn find(given: Option<&Path>) -> Result<PathBuf, String> {
    let found = match given {
        Some(path) if path.is_file() => Some(path.to_owned()),
        Some(path) => path.to_str().and_then(|name| find_in_path(&[name])),
        None => find_in_path(&["redis-server", "valkey-server"]),
    };
    found.ok_or_else(|| {
        let name = given.unwrap_or(Path::new("redis-server")).display();
        format!(
            "{name} is not there: install Redis (Debian: redis-server) or give its path by --redis"
        )
    })
}

impl Redis {
    /// Starts a server that keeps nothing; `folder`, which only we may enter, takes its settings
    /// and its log.
    ///
    /// # Errors
    ///
    /// When the program cannot be started or does not listen in time.
    pub fn start(program: &Path, folder: &Path) -> io::Result<Redis> {
        fs::create_dir_all(folder)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let password = storage::record::new_id();
        // In a file, since everybody may read the command line of a process.
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let settings_path = data.join("redis.conf");
        fs::write(&settings_path, settings(address, &data, &password))?;
        let mut command = kept("TERM", &data, program);
        let mut server = Server::start("redis", command.arg(settings_path), folder)?;
        server.wait_until("ready", START_WAIT_MAX, || TcpStream::connect(address).is_ok())?;
        Ok(Redis { _server: server, address, password })
    }

    /// Its address, as `REDIS_URL` has it.
    pub fn url(&self) -> String {
        format!("redis://:{}@{}/0", self.password, self.address)
    }
}

fn settings(address: SocketAddr, folder: &Path, password: &str) -> String {
    format!(
        "bind {}\nport {}\nrequirepass {password}\nsave \"\"\nappendonly no\ndir \"{}\"\n",
        address.ip(),
        address.port(),
        folder.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_path_or_its_name() {
        let shell = find(Some(Path::new("sh"))).expect("is in PATH");
        assert_eq!(find(Some(&shell)), Ok(shell));
        let problem = find(Some(Path::new("/no/such"))).expect_err("is refused");
        assert!(problem.starts_with("/no/such is not there: install"), "{problem}");
    }

    #[test]
    fn keeps_nothing_and_asks_for_its_password() {
        let address = SocketAddr::from(([127, 0, 0, 1], 81));
        let text = settings(address, Path::new("/x y"), "word");
        assert!(text.contains("requirepass word\nsave \"\"\nappendonly no\ndir \"/x y\"\n"));
        assert!(text.starts_with("bind 127.0.0.1\nport 81\n"), "{text}");
    }
}
