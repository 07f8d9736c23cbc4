//! What the commands that wait for a store have in common: how they try, what they say, how they
//! end.

use std::{
    fmt,
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

/// The exit code for arguments that cannot be used; clap uses the same.
const USAGE: u8 = 2;

/// Why a store is not ready.
#[derive(Debug)]
pub enum NotReady {
    /// What was typed or set cannot be used.
    Usage(String),
    /// No attempt reached it.
    Away {
        /// What was waited for.
        what: &'static str,
        /// How many attempts were made.
        attempt_count: u32,
        /// How long they took.
        waited: Duration,
        /// What the last one met.
        last: String,
    },
}

impl NotReady {
    /// What was typed or set cannot be used, for this reason.
    pub fn usage(reason: impl fmt::Display) -> NotReady {
        NotReady::Usage(reason.to_string())
    }

    /// The code that the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            NotReady::Usage(_) => ExitCode::from(USAGE),
            NotReady::Away { .. } => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReady::Usage(reason) => out.write_str(reason),
            NotReady::Away { what, attempt_count, waited, last } => write!(
                out,
                "{what} is not ready after {attempt_count} attempts in {:.1} s: {last}",
                waited.as_secs_f64()
            ),
        }
    }
}

impl std::error::Error for NotReady {}

/// Where the attempts are told of, if they are worth a line.
pub struct Notes<'a, W> {
    out: &'a mut W,
    is_talkative: bool,
}

impl<'a, W: Write> Notes<'a, W> {
    /// Makes notes at Python's log level `level`: with `warning` and above none.
    ///
    /// # Errors
    ///
    /// [`NotReady::Usage`] if there is no such level.
    pub fn new(level: &str, out: &'a mut W) -> Result<Notes<'a, W>, NotReady> {
        let is_talkative = match level.to_ascii_lowercase().as_str() {
            "trace" | "debug" | "info" => true,
            "warn" | "warning" | "error" | "critical" => false,
            _ => {
                return Err(NotReady::Usage(format!(
                    "--log-level is DEBUG, INFO, WARNING, ERROR or CRITICAL, not {level:?}"
                )));
            }
        };
        Ok(Notes { out, is_talkative })
    }

    /// Writes a line.
    pub fn say(&mut self, text: fmt::Arguments<'_>) {
        if self.is_talkative {
            let _ = writeln!(self.out, "{text}");
        }
    }
}

/// How often to try.
pub struct Attempts {
    /// What is waited for, to be named.
    pub what: &'static str,
    /// How many attempts, at least one.
    pub count_max: u32,
    /// The pause between two.
    pub interval: Duration,
}

impl Attempts {
    /// Tries until an attempt gives a value.
    ///
    /// # Errors
    ///
    /// [`NotReady::Away`] with what the last attempt met.
    pub fn run<T, E: fmt::Display>(
        &self,
        notes: &mut Notes<'_, impl Write>,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, NotReady> {
        let began = Instant::now();
        let mut attempt_count = 0;
        loop {
            attempt_count += 1;
            let last = match attempt() {
                Ok(value) => return Ok(value),
                Err(last) => last.to_string(),
            };
            notes.say(format_args!("attempt {attempt_count} of {} failed: {last}", self.count_max));
            if attempt_count >= self.count_max {
                let (what, waited) = (self.what, began.elapsed());
                return Err(NotReady::Away { what, attempt_count, waited, last });
            }
            std::thread::sleep(self.interval);
        }
    }
}
