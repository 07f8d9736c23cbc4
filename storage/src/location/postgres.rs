//! The address of a PostgreSQL database, as libpq, SQLAlchemy and most hosts write it.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::invalid;
use crate::error::StoreError;

/// The port that PostgreSQL listens on unless it is told otherwise.
const PORT: u16 = 5432;

/// Where a PostgreSQL database is and how to speak with it.
///
/// Neither `Display` nor `Debug` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) database: String,
    pub(crate) encryption: Encryption,
    /// A PEM file with the authorities that may sign the server's certificate.
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) application_name: String,
    /// Settings for the session, in the form of the server's command line (`-c name=value`).
    pub(crate) options: Option<String>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) pooler: Pooler,
}

/// The way to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A name or an address.
    Tcp(String),
    /// The folder of a Unix socket.
    Unix(PathBuf),
}

/// `sslmode`: how much of a proof the server must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// None: plain text.
    Disable,
    /// Encrypted if the server can, by whomever.
    Prefer,
    /// Encrypted, by whomever; with a file of authorities, as [`Encryption::VerifyCa`].
    Require,
    /// Encrypted by one whom an authority vouches for.
    VerifyCa,
    /// Encrypted by the one whom the address names.
    VerifyFull,
}

/// What stands between us and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooler {
    /// Nothing, or what keeps a session on one connection.
    None,
    /// What gives each transaction another connection, as PgBouncer does: nothing of a session
    /// lasts, so no prepared statements and no LISTEN.
    Transaction,
}

impl PostgresUrl {
    /// Reads what stands behind `postgresql://`.
    pub(super) fn parse(rest: &str) -> Result<PostgresUrl, StoreError> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (login, address),
            None => ("", authority),
        };
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (decode(user)?, Some(decode(password)?)),
            None => (decode(login)?, None),
        };
        let (host, port) = address_of(address)?;
        let mut url = PostgresUrl {
            host: Host::Tcp(host),
            port,
            user,
            password,
            database: decode(database)?,
            encryption: Encryption::Prefer,
            authorities: None,
            application_name: "ringway".to_owned(),
            options: None,
            connect_timeout: None,
            statement_timeout: None,
            pooler: Pooler::None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            url.set(&decode(name)?, decode(value)?)?;
        }
        url.complete()
    }

    /// Takes one parameter of the query.
    fn set(&mut self, name: &str, value: String) -> Result<(), StoreError> {
        match name {
            "host" => self.host = host_of(value),
            "port" => self.port = number(name, &value)?,
            "user" => self.user = value,
            "password" => self.password = Some(value),
            "dbname" => self.database = value,
            // The second is how asyncpg calls it.
            "sslmode" | "ssl" => self.encryption = encryption(name, &value)?,
            "sslrootcert" => self.authorities = Some(PathBuf::from(value)),
            "application_name" => self.application_name = value,
            "options" => self.options = Some(value),
            "connect_timeout" => {
                self.connect_timeout = Some(Duration::from_secs(number(name, &value)?));
            }
            // In milliseconds, as the server's setting of that name.
            "statement_timeout" => {
                self.statement_timeout = Some(Duration::from_millis(number(name, &value)?));
            }
            "pooler" if value == "transaction" => self.pooler = Pooler::Transaction,
            "pooler" if value == "none" => self.pooler = Pooler::None,
            "pgbouncer" if value == "true" => self.pooler = Pooler::Transaction,
            "pgbouncer" if value == "false" => self.pooler = Pooler::None,
            "pooler" => return Err(invalid("has a pooler that is neither transaction nor none")),
            "pgbouncer" => return Err(invalid("has a pgbouncer that is neither true nor false")),
            _ => return Err(invalid(&format!("has a parameter {name:?} that is not understood"))),
        }
        Ok(())
    }

    /// Checks what only the whole tells, and fills in what may be left out.
    fn complete(mut self) -> Result<PostgresUrl, StoreError> {
        if self.user.is_empty() {
            return Err(invalid("names no user: write it as postgresql://user:password@host/name"));
        }
        if self.database.is_empty() {
            self.database = self.user.clone();
        }
        if matches!(&self.host, Host::Tcp(host) if host.is_empty()) {
            self.host = Host::Tcp("localhost".to_owned());
        }
        if matches!(self.host, Host::Unix(_)) {
            // As libpq does: a socket of this machine needs no encryption, and PostgreSQL gives none.
            self.encryption = Encryption::Disable;
        }
        if self.encryption == Encryption::Require && self.authorities.is_some() {
            self.encryption = Encryption::VerifyCa;
        }
        let words = [&self.user, &self.database, &self.application_name];
        let zero = |word: &&String| word.contains('\0');
        if words.iter().any(zero) || self.password.as_ref().is_some_and(|p| zero(&p)) {
            return Err(invalid("holds a zero byte"));
        }
        Ok(self)
    }

    /// Whether nothing of a session lasts from one transaction to the next.
    pub(crate) fn is_pooled(&self) -> bool {
        self.pooler == Pooler::Transaction
    }
}

impl std::fmt::Display for PostgresUrl {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(out, "[{host}]:{}", self.port)?,
            Host::Tcp(host) => write!(out, "{host}:{}", self.port)?,
            Host::Unix(folder) => write!(out, "{}:{}", folder.display(), self.port)?,
        }
        write!(out, "/{}", self.database)
    }
}

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "PostgresUrl({self})")
    }
}

/// The host and the port of an address.
fn address_of(address: &str) -> Result<(String, u16), StoreError> {
    if address.contains(',') {
        return Err(invalid("names several hosts; name one, or a proxy before them"));
    }
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let Some((host, port)) = rest.split_once(']') else {
                return Err(invalid("has an IPv6 address without its closing bracket"));
            };
            (host, port.strip_prefix(':').unwrap_or_default())
        }
        None => address.split_once(':').unwrap_or((address, "")),
    };
    let port = if port.is_empty() { PORT } else { number("port", port)? };
    match host_of(decode(host)?) {
        Host::Tcp(host) => Ok((host, port)),
        Host::Unix(_) => Err(invalid("has a socket's folder as host: write it as ?host=/folder")),
    }
}

/// A path is the folder of a socket, all else a name.
fn host_of(text: String) -> Host {
    if text.starts_with('/') { Host::Unix(PathBuf::from(text)) } else { Host::Tcp(text) }
}

fn encryption(name: &str, value: &str) -> Result<Encryption, StoreError> {
    match value {
        "disable" | "false" => Ok(Encryption::Disable),
        "allow" | "prefer" => Ok(Encryption::Prefer),
        "require" | "true" => Ok(Encryption::Require),
        "verify-ca" => Ok(Encryption::VerifyCa),
        "verify-full" => Ok(Encryption::VerifyFull),
        _ => Err(invalid(&format!(
            "has {name}={value:?}: use disable, prefer, require, verify-ca or verify-full"
        ))),
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, StoreError> {
    value.parse().map_err(|_| invalid(&format!("has a {name} that is no number of that kind")))
}

fn decode(text: &str) -> Result<String, StoreError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid("holds what is no UTF-8 when its %xx are decoded")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;

    fn url(text: &str) -> PostgresUrl {
        match Location::parse(text) {
            Ok(Location::Postgres(url)) => *url,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refusal(text: &str) -> String {
        Location::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_spelling_of_the_scheme_names_the_same_database() {
        let plain = url("postgresql://me:pw@db:6000/mcp");
        assert_eq!(plain.to_string(), "db:6000/mcp");
        for scheme in
            ["postgres", "postgresql+asyncpg", "postgresql+psycopg", "PostgreSQL+psycopg2"]
        {
            assert_eq!(url(&format!("{scheme}://me:pw@db:6000/mcp")), plain, "{scheme}");
        }
    }

    #[test]
    fn what_is_left_out_is_what_libpq_takes() {
        let url = url("postgresql://me@/");
        assert_eq!(url.host, Host::Tcp("localhost".to_owned()));
        assert_eq!((url.port, url.database.as_str()), (5432, "me"));
        assert_eq!((url.password, url.encryption), (None, Encryption::Prefer));
        assert_eq!(url.application_name, "ringway");
    }

    #[test]
    fn percent_signs_are_decoded_and_an_at_sign_may_stand_in_a_password() {
        let url = url("postgresql://m%40e:p%3Aw%2F@x@db/a%20b?application_name=r%26d");
        assert_eq!((url.user.as_str(), url.password.as_deref()), ("m@e", Some("p:w/@x")));
        assert_eq!((url.database.as_str(), url.application_name.as_str()), ("a b", "r&d"));
    }

    #[test]
    fn a_folder_as_host_is_a_socket_and_is_not_encrypted() {
        for text in [
            "postgresql://me@/mcp?host=/var/run/postgresql&sslmode=require",
            "postgresql://me@localhost/mcp?host=%2Fvar%2Frun%2Fpostgresql",
        ] {
            let url = url(text);
            assert_eq!(url.host, Host::Unix(PathBuf::from("/var/run/postgresql")));
            assert_eq!(url.encryption, Encryption::Disable);
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        let url = url("postgresql://me@[::1]:6000/mcp");
        assert_eq!((&url.host, url.port), (&Host::Tcp("::1".to_owned()), 6000));
        assert_eq!(url.to_string(), "[::1]:6000/mcp");
    }

    #[test]
    fn parameters_say_how_to_speak_with_it() {
        let url =
            url("postgres://me@db/mcp?sslmode=verify-full&sslrootcert=/ca.pem&options=-c%20a%3Db\
                       &connect_timeout=3&statement_timeout=1500&pgbouncer=true");
        assert_eq!(url.encryption, Encryption::VerifyFull);
        assert_eq!(url.authorities, Some(PathBuf::from("/ca.pem")));
        assert_eq!(url.options.as_deref(), Some("-c a=b"));
        assert_eq!(url.connect_timeout, Some(Duration::from_secs(3)));
        assert_eq!(url.statement_timeout, Some(Duration::from_millis(1500)));
        assert!(url.is_pooled());
    }

    #[test]
    fn requiring_encryption_with_authorities_verifies_them_as_libpq_does() {
        let url = url("postgres://me@db/mcp?sslmode=require&sslrootcert=/ca.pem");
        assert_eq!(url.encryption, Encryption::VerifyCa);
    }

    #[test]
    fn what_cannot_be_read_is_named_and_the_password_is_not() {
        for (text, part) in [
            ("postgresql://me:hunter2@db/mcp?sslcert=x", "\"sslcert\""),
            ("postgresql://me:hunter2@db/mcp?sslmode=maybe", "\"maybe\""),
            ("postgresql://me:hunter2@db:port/mcp", "port"),
            ("postgresql://me:hunter2@a,b/mcp", "several hosts"),
            ("postgresql://:hunter2@db/mcp", "no user"),
            ("postgresql://me:hunter2%00@db/mcp", "zero byte"),
            ("postgresql://me:hunter2%ff@db/mcp", "UTF-8"),
            ("postgresql://me:hunter2@[::1/mcp", "bracket"),
            ("postgresql://me:hunter2@db/mcp?pooler=session", "pooler"),
        ] {
            let said = refusal(text);
            assert!(said.contains(part) && !said.contains("hunter2"), "{text}: {said}");
        }
    }

    #[test]
    fn no_rendering_shows_the_password() {
        let location = Location::parse("postgresql://me:hunter2@db/mcp").unwrap();
        assert!(!format!("{location} {location:?}").contains("hunter2"));
    }
}
