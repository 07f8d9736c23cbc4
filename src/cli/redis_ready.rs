//! `ringway redis-ready`: waits until Redis serves, for start-up scripts and init containers.
//!
//! It takes what ContextForge's `redis_isready` takes and ends with its codes: 0 when Redis serves
//! or is not asked for, 1 when no attempt reached it, 2 when what was typed is wrong.

use std::{io::Write, time::Duration};

use shards::{Driver, runtime, time};
use storage::shared::{CacheType, RedisLocation, SharedOptions, StateError, probe};

use super::readiness::{Attempts, NotReady, Notes};

/// Waits until Redis serves.
#[derive(clap::Args)]
pub struct RedisReadyArgs {
    /// Where Redis is. Default: the setting REDIS_URL, if CACHE_TYPE is redis.
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<String>,
    /// How many attempts to make.
    #[arg(
        long,
        env = "REDIS_MAX_RETRIES",
        default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..),
    )]
    pub max_retries: u32,
    /// How many milliseconds to wait between two attempts.
    #[arg(
        long,
        env = "REDIS_RETRY_INTERVAL_MS",
        default_value_t = 2000,
        value_parser = clap::value_parser!(u64).range(1..=3_600_000),
    )]
    pub retry_interval_ms: u64,
    /// How much to say: with `warning` and above only the last failure.
    #[arg(long, env = "LOG_LEVEL", default_value = "INFO")]
    pub log_level: String,
    /// Where state is kept; asked only if no URL is given.
    #[arg(long, hide = true, env = "CACHE_TYPE")]
    cache_type: Option<String>,
    /// The setting, apart from the argument: it counts only if CACHE_TYPE is redis.
    #[arg(long = "redis-url-setting", hide = true, hide_env_values = true, env = "REDIS_URL")]
    redis_url_setting: Option<String>,
}

/// Waits until Redis serves, and says on `notes` how the attempts went.
///
/// # Errors
///
/// [`NotReady`]: print it and end with its code.
pub fn run(args: &RedisReadyArgs, notes: &mut impl Write) -> Result<(), NotReady> {
    let mut notes = Notes::new(&args.log_level, notes)?;
    let Some(url) = chosen_url(args)? else {
        notes.say(format_args!("CACHE_TYPE is not redis: there is nothing to wait for"));
        return Ok(());
    };
    let location = RedisLocation::parse(&url).map_err(NotReady::usage)?;
    let shown = location.to_string();
    let options = SharedOptions::redis(location);
    let attempts = Attempts {
        what: "Redis",
        count_max: args.max_retries,
        interval: Duration::from_millis(args.retry_interval_ms),
    };
    let version = attempts.run(&mut notes, || attempt_once(&options))?;
    notes.say(format_args!("{shown} is ready: Redis {version}"));
    Ok(())
}

/// Asks the server once, on a shard of its own.
fn attempt_once(options: &SharedOptions) -> Result<String, String> {
    let options = options.clone();
    // The probe bounds each of its steps; this bounds them together, however many hosts there are.
    let within = options.command_timeout * 10;
    let waited = StateError::TimedOut { waited: within };
    let ask = async move { time::timeout(within, probe(&options)).await };
    let answer = runtime::block_on(Driver::Epoll, ask).map_err(|error| error.to_string())?;
    answer.unwrap_or(Err(waited)).map_err(|error| error.to_string())
}

/// The argument, or the setting if Redis is asked for; `None` if it is not.
fn chosen_url(args: &RedisReadyArgs) -> Result<Option<String>, NotReady> {
    if let Some(url) = &args.redis_url {
        return Ok(Some(url.clone()));
    }
    let cache_type = match &args.cache_type {
        None => CacheType::Database,
        Some(text) => {
            let parsed: Result<CacheType, String> = text.parse();
            parsed.map_err(|reason| NotReady::Usage(format!("CACHE_TYPE {reason}")))?
        }
    };
    let usual = || "redis://localhost:6379/0".to_owned();
    let is_asked_for = cache_type == CacheType::Redis;
    Ok(is_asked_for.then(|| args.redis_url_setting.clone().unwrap_or_else(usual)))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write as _},
        net::TcpListener,
        process::ExitCode,
        thread,
    };

    use super::*;

    fn args(url: Option<&str>) -> RedisReadyArgs {
        RedisReadyArgs {
            redis_url: url.map(str::to_owned),
            max_retries: 2,
            retry_interval_ms: 1,
            log_level: "INFO".to_owned(),
            cache_type: None,
            redis_url_setting: None,
        }
    }

    fn told(args: &RedisReadyArgs) -> (Result<(), NotReady>, String) {
        let mut notes = Vec::new();
        let outcome = run(args, &mut notes);
        (outcome, String::from_utf8(notes).unwrap())
    }

    #[test]
    fn is_ready_at_once_when_redis_is_not_asked_for() {
        let mut unasked = args(None);
        unasked.redis_url_setting = Some("redis://127.0.0.1:1/0".to_owned());
        for cache_type in [None, Some("memory"), Some("database"), Some("none")] {
            unasked.cache_type = cache_type.map(str::to_owned);
            let (outcome, notes) = told(&unasked);
            assert!(outcome.is_ok());
            assert!(notes.contains("nothing to wait for"), "{notes}");
        }
    }

    #[test]
    fn ends_after_its_attempts_and_says_what_the_last_one_met_without_the_password() {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut asked = args(Some(&format!("redis://me:hunter2@{unused}/0")));
        let (outcome, notes) = told(&asked);
        let error = outcome.unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::FAILURE);
        assert!(error.to_string().contains("refused"), "{error}");
        assert!(notes.contains("attempt 1 of 2") && notes.contains("attempt 2 of 2"), "{notes}");
        assert!(!format!("{error}{error:?}{notes}").contains("hunter2"));
        asked.log_level = "critical".to_owned();
        assert_eq!(told(&asked).1, "");
    }

    #[test]
    fn what_was_typed_wrongly_has_a_code_of_its_own() {
        let mut wrong_level = args(None);
        wrong_level.log_level = "loud".to_owned();
        let mut wrong_type = args(None);
        wrong_type.cache_type = Some("disk".to_owned());
        for wrong in [args(Some("http://cache")), wrong_level, wrong_type] {
            let error = told(&wrong).0.unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::from(2), "{error}");
        }
    }

    /// A server that answers what the probe asks, in the order it asks.
    #[test]
    fn waits_for_a_server_that_answers_and_tells_its_version() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}/0", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let info = "# Server\r\nredis_version:7.9.1\r\n";
            let answers = [
                ("HELLO", "%1\r\n+proto\r\n:3\r\n".to_owned()),
                ("PING", "+PONG\r\n".to_owned()),
                ("INFO", format!("${}\r\n{info}\r\n", info.len())),
            ];
            let mut seen = Vec::new();
            for (command, answer) in answers {
                let mut buffer = [0; 1024];
                while !String::from_utf8_lossy(&seen).contains(command) {
                    let count = stream.read(&mut buffer).unwrap();
                    assert!(count > 0, "the probe ended before {command}");
                    seen.extend_from_slice(&buffer[..count]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut asked = args(None);
        asked.cache_type = Some("redis".to_owned());
        asked.redis_url_setting = Some(url);
        let (outcome, notes) = told(&asked);
        assert!(outcome.is_ok(), "{notes}");
        assert!(notes.contains("is ready: Redis 7.9.1"), "{notes}");
        server.join().unwrap();
    }
}
