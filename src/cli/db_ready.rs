//! `ringway db-ready`: waits until the database serves, for start-up scripts and init containers.
//!
//! It takes what ContextForge's `db_isready` takes and ends with its codes: 0 when the database
//! serves, 1 when no attempt reached it, 2 when what was typed is wrong.

use std::{io::Write, time::Duration};

use storage::{Location, StoreOptions};

use super::readiness::{Attempts, NotReady, Notes};

/// The longest pause and the longest attempt, in seconds: an hour.
const SECONDS_MAX: f64 = 3600.0;

/// Waits until the database serves.
#[derive(clap::Args)]
pub struct DbReadyArgs {
    /// Where the database is. Without it and the setting DATABASE_URL it is embedded, and ready.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// How many attempts to make.
    #[arg(
        long,
        env = "DB_WAIT_MAX_TRIES",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..),
    )]
    pub max_tries: u32,
    /// How many seconds to wait between two attempts.
    #[arg(long, env = "DB_WAIT_INTERVAL", default_value_t = 2.0, value_parser = seconds)]
    pub interval: f64,
    /// How many seconds an attempt may take.
    #[arg(long, env = "DB_CONNECT_TIMEOUT", default_value_t = 2.0, value_parser = seconds)]
    pub timeout: f64,
    /// How much to say: with `warning` and above only the last failure.
    #[arg(long, env = "LOG_LEVEL", default_value = "INFO")]
    pub log_level: String,
    /// Means nothing: it chose between two drivers.
    #[arg(long, hide = true)]
    sync: bool,
}

/// Waits until the database serves, and says on `notes` how the attempts went.
///
/// # Errors
///
/// [`NotReady`]: print it and end with its code.
pub fn run(args: &DbReadyArgs, notes: &mut impl Write) -> Result<(), NotReady> {
    let mut notes = Notes::new(&args.log_level, notes)?;
    let Some(url) = args.database_url.as_deref().filter(|url| !url.is_empty()) else {
        notes.say(format_args!("the database is embedded: there is nothing to wait for"));
        return Ok(());
    };
    let mut options = StoreOptions::new(Location::parse(url).map_err(NotReady::usage)?);
    options.connect_timeout = Duration::from_secs_f64(args.timeout);
    options.statement_timeout = options.connect_timeout;
    let attempts = Attempts {
        what: "the database",
        count_max: args.max_tries,
        interval: Duration::from_secs_f64(args.interval),
    };
    attempts.run(&mut notes, || storage::is_ready(&options))?;
    notes.say(format_args!("the database {} is ready", options.location));
    Ok(())
}

/// Reads a span of time in seconds, fractions included.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= SECONDS_MAX => Ok(seconds),
        _ => Err(format!("not a number of seconds above 0 and up to {SECONDS_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, process::ExitCode};

    use super::*;

    fn args(url: Option<&str>) -> DbReadyArgs {
        DbReadyArgs {
            database_url: url.map(str::to_owned),
            max_tries: 2,
            interval: 0.001,
            timeout: 0.2,
            log_level: "INFO".to_owned(),
            sync: false,
        }
    }

    fn told(args: &DbReadyArgs) -> (Result<(), NotReady>, String) {
        let mut notes = Vec::new();
        let outcome = run(args, &mut notes);
        (outcome, String::from_utf8(notes).unwrap())
    }

    #[test]
    fn an_embedded_database_is_ready_at_once() {
        for url in [None, Some(""), Some("sqlite:///./mcp.db")] {
            assert!(told(&args(url)).0.is_ok(), "{url:?}");
        }
    }

    #[test]
    fn ends_after_its_attempts_and_says_what_the_last_one_met_without_the_password() {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut asked = args(Some(&format!("postgresql+psycopg://me:hunter2@{unused}/mcp")));
        let (outcome, notes) = told(&asked);
        let error = outcome.unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::FAILURE);
        assert!(error.to_string().contains("refused"), "{error}");
        assert!(notes.contains("attempt 1 of 2") && notes.contains("attempt 2 of 2"), "{notes}");
        assert!(!format!("{error}{error:?}{notes}").contains("hunter2"));
        asked.log_level = "critical".to_owned();
        assert_eq!(told(&asked).1, "");
    }

    /// It accepts, as a proxy before a dead database does, and never says a word.
    #[test]
    fn a_server_that_says_nothing_is_not_waited_for_beyond_the_timeout() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgresql://me@{}/mcp", silent.local_addr().unwrap());
        let error = told(&args(Some(&url))).0.unwrap_err();
        assert!(error.to_string().contains("no login within 200ms"), "{error}");
    }

    #[test]
    fn what_was_typed_wrongly_has_a_code_of_its_own() {
        let mut wrong_level = args(None);
        wrong_level.log_level = "loud".to_owned();
        for wrong in [args(Some("http://db")), args(Some("postgresql://db/mcp")), wrong_level] {
            let error = told(&wrong).0.unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::from(2), "{error}");
        }
        assert!(seconds("0").is_err() && seconds("nan").is_err() && seconds("4000").is_err());
        assert_eq!(seconds("0.5"), Ok(0.5));
    }
}
