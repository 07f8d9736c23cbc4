//! Where the database is: `DATABASE_URL`, SQLAlchemy's way of writing it, to a checked value.

mod postgres;

use std::path::{Path, PathBuf};

pub use postgres::PostgresUrl;
pub(crate) use postgres::{Encryption, Host};

use crate::error::StoreError;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// SQLite in a file.
    SqliteFile(PathBuf),
    /// SQLite in memory: gone with the store, for tests.
    SqliteMemory,
    /// PostgreSQL.
    Postgres(Box<PostgresUrl>),
}

impl Location {
    /// Reads a database URL.
    ///
    /// `sqlite:///name.db` and `sqlite:///./name.db` are relative to the working directory,
    /// `sqlite:////var/name.db` is absolute, `sqlite://` and `sqlite:///:memory:` are in memory.
    /// A driver (`sqlite+aiosqlite:`) and query parameters are Python's business and are ignored.
    ///
    /// `postgresql://user:password@host:port/name` (or `postgres://`, with any driver) takes the
    /// parameters `host` (also the folder of a Unix socket), `port`, `user`, `password`, `dbname`,
    /// `sslmode`, `sslrootcert`, `application_name`, `options`, `connect_timeout` in seconds,
    /// `statement_timeout` in milliseconds, and `pooler=transaction` (or `pgbouncer=true`) for a
    /// pooler that gives each transaction another connection.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnsupportedDatabase`] for another kind of database,
    /// [`StoreError::InvalidUrl`] for what cannot be read. Neither repeats the URL, which may
    /// hold a password.
    pub fn parse(url: &str) -> Result<Location, StoreError> {
        let Some((scheme, rest)) = url.trim().split_once("://") else {
            return Err(invalid("has no scheme: write it as sqlite:///./mcp.db"));
        };
        let scheme = scheme.split('+').next().unwrap_or_default().to_ascii_lowercase();
        match scheme.as_str() {
            "sqlite" => Location::parse_sqlite(rest),
            "postgresql" | "postgres" => {
                PostgresUrl::parse(rest).map(|url| Location::Postgres(Box::new(url)))
            }
            _ => Err(StoreError::UnsupportedDatabase { scheme }),
        }
    }

    fn parse_sqlite(rest: &str) -> Result<Location, StoreError> {
        let rest = rest.split('?').next().unwrap_or_default();
        if rest.is_empty() {
            return Ok(Location::SqliteMemory);
        }
        let Some(path) = rest.strip_prefix('/') else {
            return Err(invalid("names a host, which SQLite has not: begin it with sqlite:///"));
        };
        match path {
            "" | ":memory:" => Ok(Location::SqliteMemory),
            _ if path.ends_with('/') => Err(invalid("names a folder, not a file")),
            _ if path.contains('\0') => Err(invalid("holds a zero byte")),
            _ => Ok(Location::SqliteFile(PathBuf::from(path))),
        }
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Location::SqliteFile(path) => Some(path),
            Location::SqliteMemory | Location::Postgres(_) => None,
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::SqliteFile(path) => write!(out, "{}", path.display()),
            Location::SqliteMemory => out.write_str("in memory"),
            Location::Postgres(url) => url.fmt(out),
        }
    }
}

impl std::str::FromStr for Location {
    type Err = StoreError;

    fn from_str(url: &str) -> Result<Location, StoreError> {
        Location::parse(url)
    }
}

fn invalid(reason: &str) -> StoreError {
    StoreError::InvalidUrl { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Result<Location, StoreError> {
        Ok(Location::SqliteFile(PathBuf::from(path)))
    }

    #[test]
    fn three_slashes_are_relative_and_four_are_absolute() {
        assert_eq!(Location::parse("sqlite:///./mcp.db"), file("./mcp.db"));
        assert_eq!(Location::parse("sqlite:///mcp.db"), file("mcp.db"));
        assert_eq!(Location::parse("sqlite:////var/lib/mcp.db"), file("/var/lib/mcp.db"));
    }

    #[test]
    fn nothing_or_the_word_memory_is_in_memory() {
        for url in ["sqlite://", "sqlite:///", "sqlite:///:memory:"] {
            assert_eq!(Location::parse(url), Ok(Location::SqliteMemory), "{url}");
        }
    }

    #[test]
    fn pythons_driver_and_parameters_are_ignored() {
        let url = "SQLite+aiosqlite:///./mcp.db?check_same_thread=false";
        assert_eq!(Location::parse(url), file("./mcp.db"));
    }

    #[test]
    fn another_database_is_named_without_its_password() {
        let error = Location::parse("mariadb+pymysql://me:hunter2@db/mcp").unwrap_err();
        assert_eq!(error, StoreError::UnsupportedDatabase { scheme: "mariadb".to_owned() });
        assert!(error.to_string().contains("this build supports sqlite and postgresql"));
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_read_says_what_is_wrong() {
        for (url, part) in [
            ("mcp.db", "no scheme"),
            ("sqlite://host/mcp.db", "names a host"),
            ("sqlite:///data/", "names a folder"),
        ] {
            let error = Location::parse(url).unwrap_err();
            assert!(error.to_string().contains(part), "{url}: {error}");
        }
    }
}
