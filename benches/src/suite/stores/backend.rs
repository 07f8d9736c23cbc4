//! The backends that the gateway is measured on, and the servers that they need.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::gateway::{Gateway, Program};
use crate::postgres::{Postgres, Programs};
use crate::redis::{self, Redis};
use crate::suite::Settings;

/// Where a gateway keeps what outlives a request, and how it tells others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// SQLite, which is read again at intervals.
    Sqlite,
    /// PostgreSQL alone, which tells by LISTEN and NOTIFY.
    Postgres,
    /// PostgreSQL with Redis beside it.
    PostgresRedis,
}

impl Backend {
    /// Its name among the servers of the tables.
    pub fn server(self) -> &'static str {
        match self {
            Backend::Sqlite => "ringway, SQLite",
            Backend::Postgres => "ringway, PostgreSQL",
            Backend::PostgresRedis => "ringway, PostgreSQL + Redis",
        }
    }

    /// Its name in a folder.
    pub fn folder_name(self) -> &'static str {
        match self {
            Backend::Sqlite => "sqlite",
            Backend::Postgres => "postgres",
            Backend::PostgresRedis => "postgres-redis",
        }
    }
}

/// The servers of a run, as far as they are installed.
pub struct Stores {
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    database_count: AtomicUsize,
}

impl Stores {
    /// Starts what is installed; says of the rest, a line for each, what is left out and why.
    pub fn start(settings: &Settings, folder: &Path) -> (Stores, Vec<String>) {
        let postgres = start_postgres(settings, folder);
        let redis = start_redis(settings, folder);
        let mut skipped = Vec::new();
        if let Err(why) = &postgres {
            skipped.push(skip("PostgreSQL, with Redis and without", why));
        }
        if let Err(why) = &redis {
            skipped.push(skip("PostgreSQL + Redis", why));
        }
        let (postgres, redis) = (postgres.ok(), redis.ok());
        (Stores { postgres, redis, database_count: 0.into() }, skipped)
    }

    /// Those of `backends` whose servers run.
    pub fn available(&self, backends: &[Backend]) -> Vec<Backend> {
        let is_there = |backend: &Backend| match backend {
            Backend::Sqlite => true,
            Backend::Postgres => self.postgres.is_some(),
            Backend::PostgresRedis => self.postgres.is_some() && self.redis.is_some(),
        };
        backends.iter().copied().filter(is_there).collect()
    }

    /// The program set to an empty database of its own on a backend; `folder` takes a file.
    ///
    /// # Errors
    ///
    /// When the database cannot be made.
    pub fn program(
        &self,
        program: &Program,
        backend: Backend,
        folder: &Path,
    ) -> io::Result<Program> {
        let number = self.database_count.fetch_add(1, Ordering::Relaxed);
        let name = format!("bench_{number}");
        let mut program = program.clone();
        match backend {
            Backend::Sqlite => {
                std::fs::create_dir_all(folder)?;
                let url = format!("sqlite:///{}", folder.join("stores.db").display());
                program.set("DATABASE_URL", url);
            }
            Backend::Postgres | Backend::PostgresRedis => {
                let postgres = self.postgres.as_ref();
                let postgres = postgres.ok_or_else(|| missing("PostgreSQL"))?;
                program.set("DATABASE_URL", postgres.database(&name)?);
            }
        }
        let is_redis = backend == Backend::PostgresRedis;
        program.set("CACHE_TYPE", if is_redis { "redis" } else { "memory" });
        if is_redis {
            let redis = self.redis.as_ref().ok_or_else(|| missing("Redis"))?;
            program.set("REDIS_URL", redis.url());
            program.set("CACHE_PREFIX", format!("{name}:"));
        }
        Ok(program)
    }
}

fn start_postgres(settings: &Settings, folder: &Path) -> Result<Postgres, String> {
    let programs = Programs::find(settings.postgres.as_deref())?;
    Postgres::start(programs, &folder.join("postgres")).map_err(|error| error.to_string())
}

fn start_redis(settings: &Settings, folder: &Path) -> Result<Redis, String> {
    let program = redis::find(settings.redis.as_deref())?;
    Redis::start(&program, &folder.join("redis")).map_err(|error| error.to_string())
}

/// Tells at once that something is left out; gives the line for the results.
fn skip(what: &str, why: &str) -> String {
    let why = why.lines().collect::<Vec<_>>().join(" | ");
    let line = format!("skipped: the stores on {what}. {why}");
    eprintln!("{line}");
    line
}

fn missing(server: &str) -> io::Error {
    io::Error::other(format!("{server} does not run"))
}

/// Makes sure that a gateway really works on a backend, and waits until it has all of it.
///
/// # Errors
///
/// When it does not within a while.
pub fn require(gateway: &mut Gateway, backend: Backend) -> io::Result<()> {
    let what = format!("on {}", backend.server());
    gateway.wait_for(&what, "/version", |about| {
        let dialect = about["database"]["dialect"].as_str().unwrap_or_default();
        let is_postgres = dialect.starts_with("postgres");
        let is_redis = about["redis"]["reachable"] == true;
        match backend {
            Backend::Sqlite => dialect == "sqlite" && !is_redis,
            Backend::Postgres => is_postgres && !is_redis,
            Backend::PostgresRedis => is_postgres && is_redis,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program { path: "/x".into(), environment: vec![("CACHE_TYPE".into(), "none".into())] }
    }

    #[test]
    fn without_servers_only_sqlite_is_there_and_it_wins_over_what_was_set() {
        let stores = Stores { postgres: None, redis: None, database_count: 0.into() };
        let all = [Backend::Postgres, Backend::Sqlite, Backend::PostgresRedis];
        assert_eq!(stores.available(&all), [Backend::Sqlite]);
        assert!(stores.program(&program(), Backend::Postgres, Path::new("/x")).is_err());
        let folder = tempfile::tempdir().expect("makes a folder");
        let set = stores.program(&program(), Backend::Sqlite, folder.path()).expect("is set");
        let value = |name: &str| {
            let mut all = set.environment.iter().rev();
            all.find(|(other, _)| other == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(value("CACHE_TYPE"), Some("memory"));
        assert!(value("DATABASE_URL").is_some_and(|url| url.starts_with("sqlite:////")));
    }

    #[test]
    fn what_is_not_installed_is_left_out_in_so_many_words() {
        let folder = tempfile::tempdir().expect("makes a folder");
        let mut settings = Settings::for_tests();
        settings.postgres = Some(folder.path().join("no-folder"));
        settings.redis = Some(folder.path().join("no-program"));
        let (stores, skipped) = Stores::start(&settings, folder.path());
        assert_eq!(stores.available(&[Backend::Postgres, Backend::PostgresRedis]), []);
        assert_eq!(skipped.len(), 2);
        assert!(skipped[0].contains("no-folder: install it"), "{skipped:?}");
        assert!(skipped[1].contains("no-program is not there"), "{skipped:?}");
    }
}
