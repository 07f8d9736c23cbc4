//! What must hold between settings, and what is worth a warning.

use jsonwebtoken::AlgorithmFamily;

use super::raw::{Reading, SettingError};
use super::{CLIENT, IGNORED, Settings, Switch, rows};

/// Secrets that stand in examples and that everybody knows.
const KNOWN_SECRETS: &[&str] = &[
    "my-test-key",
    "my-test-key-but-now-longer-than-32-bytes",
    "my-test-salt",
    "changeme",
    "secret",
];

/// As many bytes as SHA-256 gives (RFC 7518 §3.2).
const SECRET_SIZE_MIN: usize = 32;

impl Settings {
    /// Notes what cannot hold together, though each value alone could.
    pub(super) fn check_relations(&self, reading: &mut Reading) {
        self.check_open_bind(reading);
        self.check_tls(reading);
        self.check_key(reading);
        self.check_bounds(reading);
    }

    fn check_open_bind(&self, reading: &mut Reading) {
        if self.auth.required || self.is_loopback() || self.auth.open_bind_allowed {
            return;
        }
        let problem = format!("would let everyone who reaches {} command it", self.address());
        let mend = "Set AUTH_REQUIRED=true or HOST=127.0.0.1; or, if something else guards the \
                    port, ALLOW_OPEN_BIND=true.";
        refuse(reading, "AUTH_REQUIRED", "false", problem, mend);
    }

    fn check_tls(&self, reading: &mut Reading) {
        let files = [("CERT_FILE", &self.listen.cert_file), ("KEY_FILE", &self.listen.key_file)];
        let is_any_set = files.iter().any(|(_, file)| file.is_some());
        let is_wanted = match self.listen.ssl {
            Switch::Auto => is_any_set,
            Switch::On => true,
            Switch::Off => false,
        };
        for (name, file) in files {
            if is_wanted && file.is_none() {
                let mend = format!("Set {name} to a file in PEM, or SSL=false.");
                refuse(reading, name, "", "is not set, and TLS needs it".to_owned(), &mend);
            }
        }
    }

    fn check_key(&self, reading: &mut Reading) {
        let is_hmac = self.auth.algorithm.family() == AlgorithmFamily::Hmac;
        if !is_hmac && self.auth.required && self.auth.public_key_path.is_none() {
            let problem =
                format!("is not set, and JWT_ALGORITHM={:?} needs it", self.auth.algorithm);
            let mend = "Set it to the file of the public key, or JWT_ALGORITHM=HS256.";
            refuse(reading, "JWT_PUBLIC_KEY_PATH", "", problem, mend);
        }
    }

    fn check_bounds(&self, reading: &mut Reading) {
        let pairs = [
            (
                ("MAX_HEADER_FIELD_SIZE_BYTES", self.http.field_size_max as u128),
                ("MAX_HEADER_TOTAL_SIZE_BYTES", self.http.head_size_max as u128),
            ),
            (
                ("VALIDATION_MAX_RPC_PARAM_SIZE", self.http.params_size_max as u128),
                ("MAX_BODY_SIZE_BYTES", self.http.body_size_max as u128),
            ),
            (
                ("PAGINATION_DEFAULT_PAGE_SIZE", self.catalog.page_count as u128),
                ("PAGINATION_MAX_PAGE_SIZE", self.catalog.page_count_max as u128),
            ),
            (
                ("STDIO_RESTART_DELAY", self.upstreams.restart_delay_min.as_millis()),
                ("STDIO_RESTART_MAX_DELAY", self.upstreams.restart_delay_max.as_millis()),
            ),
        ];
        for ((less, less_value), (more, more_value)) in pairs {
            if less_value > more_value {
                let problem = format!("is more than {more}, which can then never be reached");
                let mend = format!("Lower {less} or raise {more}.");
                refuse(reading, less, &less_value.to_string(), problem, &mend);
            }
        }
    }

    /// Notes secrets that are easily guessed. They work: scripts rely on them.
    pub fn warn_of_weakness(&self, warnings: &mut Vec<String>) {
        let secrets = [
            ("JWT_SECRET_KEY", &self.auth.secret_key),
            ("AUTH_ENCRYPTION_SECRET", &self.auth.encryption_secret),
        ];
        let is_shared = self.database_shown().0 == "postgresql";
        for (name, secret) in secrets {
            if is_shared && secret.is_none() {
                warnings.push(format!(
                    "{name} is not set, so one is made for this process alone; nodes that share a \
                     database need the same"
                ));
            }
            let Some(text) = secret.as_ref().map(|secret| secret.expose()) else { continue };
            if KNOWN_SECRETS.contains(&text) {
                warnings.push(format!(
                    "{name} is a value that everybody knows; leave it out and a \
                     strong one is made"
                ));
            } else if text.len() < SECRET_SIZE_MIN {
                warnings.push(format!(
                    "{name} is shorter than {SECRET_SIZE_MIN} bytes and can be \
                     guessed; leave it out and a strong one is made"
                ));
            }
        }
    }
}

/// Notes variables that are ours by name and that nobody reads: mostly slips of the pen.
pub(super) fn warn_of_unknown(reading: &mut Reading) {
    let rows = rows();
    let is_known = |name: &str| {
        rows.iter().any(|row| row.name == name || row.aliases.contains(&name))
            || CLIENT.iter().any(|(known, _)| *known == name)
    };
    let mut warnings = Vec::new();
    for name in reading.raw().names() {
        if name.starts_with("RINGWAY_") && !is_known(name) {
            warnings.push(format!("{name} is no setting of this version and does nothing"));
        }
        if let Some((_, why)) = IGNORED.iter().find(|(ignored, _)| *ignored == name) {
            warnings.push(format!("{name} is accepted and does nothing: {why}"));
        }
    }
    reading.warnings.extend(warnings);
}

fn refuse(reading: &mut Reading, name: &str, value: &str, problem: String, mend: &str) {
    let error = SettingError {
        name: name.to_owned(),
        value: (!value.is_empty()).then(|| value.to_owned()),
        source: reading.source(name),
        problem,
        mend: mend.to_owned(),
    };
    reading.errors.push(error);
}
