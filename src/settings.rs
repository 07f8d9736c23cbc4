//! The settings of a process: what was typed, checked once before anything happens.
//!
//! Nothing here has an effect: no port is bound, no folder made, no name looked up. Whoever holds
//! a [`Settings`] need not check anything again.

pub mod authority;
mod check;
mod dotenv;
mod issuers;
pub mod network;
pub mod page;
mod raw;
mod relations;
mod rows;
mod table;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use storage::{Location, StoreError, StoreOptions};

pub use issuers::{ASYMMETRIC, ExternalIssuer};
use raw::{Raw, Reading};
pub use raw::{SettingError, Source};
use relations::warn_of_unknown;
pub use rows::{
    Audit, Auth, Cache, Catalog, Health, Http, Listen, Log, Metrics, Origins, Proof, RateLimits,
    Rest, Sessions, Sso, Storage, Teams, Upstreams, Web, rows,
};
pub use table::Row;
pub use values::{
    AuditArguments, AuditCalls, CertificateName, ForwardedBy, Framing, LogFormat, MASK, Rate,
    SameSite, Scope, Secret, ShardCount, Switch, TlsFiles, is_mask,
};

/// Variables of ContextForge that mean nothing to a gateway of this build, and why.
pub const IGNORED: &[(&str, &str)] = &[
    ("GUNICORN_TIMEOUT", "requests have their own limits: TOOL_TIMEOUT and FEDERATION_TIMEOUT"),
    ("GUNICORN_MAX_REQUESTS", "shards do not leak, so they are not recycled"),
    ("GUNICORN_MAX_REQUESTS_JITTER", "shards are not recycled"),
    ("MAX_TOOL_RETRIES", "RETRY_MAX_ATTEMPTS says how often a request is sent"),
    ("GUNICORN_PRELOAD_APP", "there is one process, so nothing is loaded twice"),
    ("METRICS_BUFFER_ENABLED", "metrics are always gathered before they are written"),
    ("METRICS_CACHE_ENABLED", "metrics are added up where they are stored, so none are cached"),
    (
        "METRICS_CLEANUP_ENABLED",
        "an entity has one row of metrics, so there is nothing to clean up",
    ),
    ("SKIP_SSL_VERIFY", "certificates are always checked; give an upstream its ca_certificate"),
    ("TRUST_PROXY_AUTH_DANGEROUSLY", "TRUSTED_PROXIES says which proxies are believed"),
    ("X_CONTENT_TYPE_OPTIONS_ENABLED", "SECURITY_HEADERS_ENABLED says whether it is sent"),
    ("X_XSS_PROTECTION_ENABLED", "SECURITY_HEADERS_ENABLED says whether it is sent"),
    ("X_DOWNLOAD_OPTIONS_ENABLED", "SECURITY_HEADERS_ENABLED says whether it is sent"),
    ("REMOVE_SERVER_HEADERS", "no answer says what made it"),
    ("CSRF_SECRET_KEY", "its tokens are made with a key of their own, from AUTH_ENCRYPTION_SECRET"),
    ("CSRF_COOKIE_SECURE", "SECURE_COOKIES holds for all cookies"),
    ("CSRF_COOKIE_SAMESITE", "its cookie is always strict"),
    ("CSRF_COOKIE_HTTPONLY", "pages must be able to read its cookie"),
    ("CSRF_ROTATE_ON_LOGIN", "its tokens always end with the session"),
    ("CSRF_CHECK_REFERER", "the origin of a page is always checked"),
    ("CSRF_TRUSTED_ORIGINS", "ALLOWED_ORIGINS says which pages may call"),
    ("CSRF_EXEMPT_PATHS", "only what a cookie alone proves needs such a token"),
    ("METRICS_ROLLUP_ENABLED", "an entity has one row of metrics, so there is nothing to roll up"),
];

/// Variables that `ringway add`, `tools` and `call` read as a client of a running gateway.
pub const CLIENT: &[(&str, &str)] = &[
    ("RINGWAY_URL", "the gateway that the client commands speak to"),
    ("RINGWAY_TOKEN", "the token that they show it"),
];

/// Everything that an operator can decide, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the gateway listens, and on how many cores.
    pub listen: Listen,
    /// What a client may send, and how slowly.
    pub http: Http,
    /// Who may speak to us.
    pub auth: Auth,
    /// Which teams there can be, and the roles that are there from the start.
    pub teams: Teams,
    /// Other ways to prove who one is than a token.
    pub proof: Proof,
    /// Logging in with another provider.
    pub sso: Sso,
    /// What the web and the proxies in front of us may do.
    pub web: Web,
    /// Which web pages and which names may reach us.
    pub origins: Origins,
    /// How upstreams are called.
    pub upstreams: Upstreams,
    /// How the services of REST tools are called.
    pub rest: Rest,
    /// How upstreams are watched.
    pub health: Health,
    /// What is said of the gateway, and how much is listed at once.
    pub catalog: Catalog,
    /// What is kept, and where.
    pub storage: Storage,
    /// Sessions of clients.
    pub sessions: Sessions,
    /// What several gateways share for a while.
    pub cache: Cache,
    /// What is counted of tools, resources, prompts, virtual servers and agents.
    pub metrics: Metrics,
    /// The audit trail.
    pub audit: Audit,
    /// How often callers may do things.
    pub rate_limits: RateLimits,
    /// What is written about it all.
    pub log: Log,
    /// What was set: names and values, secrets masked.
    pub shown: Vec<(String, String)>,
}

/// Checked settings, and what the operator should hear about them once there is a log.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Sentences about values that are hardly what was meant.
    pub warnings: Vec<String>,
}

/// Everything that is wrong with what was typed; at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingErrors(pub Vec<SettingError>);

impl fmt::Display for SettingErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for SettingErrors {}

/// Reads the command line's `overrides` (names of variables with their values), the environment
/// and the file `.env` of the working directory.
///
/// # Errors
///
/// [`SettingErrors`] with everything that is wrong, each naming the variable and the mend: print
/// it and end the process.
pub fn load(overrides: &[(&str, String)]) -> Result<Loaded, SettingErrors> {
    let file = read_file(Path::new(".env")).map_err(|error| SettingErrors(vec![error]))?;
    parse(&file, std::env::vars_os(), overrides)
}

/// Reads settings from given sources: [`load`] without its effects.
///
/// # Errors
///
/// As [`load`].
pub fn parse(
    file: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    overrides: &[(&str, String)],
) -> Result<Loaded, SettingErrors> {
    let mut reading = Reading::new(Raw::gather(file, environment, overrides));
    let settings = Settings::read(&mut reading);
    if let Some(settings) = &settings {
        settings.check_relations(&mut reading);
    }
    warn_of_unknown(&mut reading);
    match settings {
        Some(settings) if reading.errors.is_empty() => {
            settings.warn_of_secrets_apart(&mut reading.warnings);
            Ok(Loaded { settings, warnings: reading.warnings })
        }
        _ => Err(SettingErrors(reading.errors)),
    }
}

impl Settings {
    fn read(reading: &mut Reading) -> Option<Settings> {
        // Every group is read before the first `?`, so that every error is found at once.
        let listen = Listen::read(reading);
        let http = Http::read(reading);
        let auth = Auth::read(reading);
        let teams = Teams::read(reading);
        let proof = Proof::read(reading);
        let sso = Sso::read(reading);
        let web = Web::read(reading);
        let origins = Origins::read(reading);
        let upstreams = Upstreams::read(reading);
        let rest = Rest::read(reading);
        let health = Health::read(reading);
        let catalog = Catalog::read(reading);
        let storage = Storage::read(reading);
        let sessions = Sessions::read(reading);
        let cache = Cache::read(reading);
        let metrics = Metrics::read(reading);
        let audit = Audit::read(reading);
        let rate_limits = RateLimits::read(reading);
        let log = Log::read(reading);
        Some(Settings {
            shown: std::mem::take(&mut reading.shown),
            listen: listen?,
            http: http?,
            auth: auth?,
            teams: teams?,
            proof: proof?,
            sso: sso?,
            web: web?,
            origins: origins?,
            upstreams: upstreams?,
            rest: rest?,
            health: health?,
            catalog: catalog?,
            storage: storage?,
            sessions: sessions?,
            cache: cache?,
            metrics: metrics?,
            audit: audit?,
            rate_limits: rate_limits?,
            log: log?,
        })
    }

    /// The address to bind.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.listen.host, self.listen.port)
    }

    /// Whether only this machine can reach the gateway.
    pub fn is_loopback(&self) -> bool {
        self.listen.host.is_loopback()
    }

    /// How many shards to run where `core_count` cores are allowed; at least one.
    pub fn shard_count(&self, core_count: usize) -> usize {
        let core_count = core_count.max(1);
        match (self.listen.shards, self.listen.workers) {
            (ShardCount::Count(count), _) => count.get(),
            (ShardCount::Auto, ShardCount::Count(count)) => count.get().min(core_count),
            (ShardCount::Auto, ShardCount::Auto) => core_count,
        }
    }

    /// The files of TLS, if the gateway is to speak it.
    pub fn tls(&self) -> Option<TlsFiles<'_>> {
        let (certificate, key) =
            (self.listen.cert_file.as_deref()?, self.listen.key_file.as_deref()?);
        self.listen.ssl.is_on(true).then_some(TlsFiles { certificate, key })
    }

    /// Whether an administrator may register commands for the gateway to run.
    pub fn stdio_allowed(&self) -> bool {
        self.upstreams.stdio.is_on(self.is_loopback())
    }

    /// Whether upstreams may be on loopback.
    pub fn localhost_allowed(&self) -> bool {
        self.upstreams.localhost.is_on(self.is_loopback())
    }

    /// Whether upstreams may be in private networks.
    pub fn private_networks_allowed(&self) -> bool {
        self.upstreams.private_networks.is_on(self.is_loopback())
    }

    /// What kind of database it is and where, to be shown: without user and password.
    pub fn database_shown(&self) -> (&'static str, String) {
        match Location::parse(self.database_url().expose()) {
            Ok(location @ Location::Postgres(_)) => {
                ("postgresql", format!("postgresql://{location}"))
            }
            Ok(location) => ("sqlite", format!("sqlite:///{location}")),
            Err(_) => ("unknown", MASK.to_owned()),
        }
    }

    /// The database's URL: `DATABASE_URL`, or SQLite in the data folder. May hold a password.
    pub fn database_url(&self) -> Secret {
        self.storage.database_url.clone().unwrap_or_else(|| {
            let path = self.storage.data_dir.join("ringway.db");
            Secret::new(format!("sqlite:///{}", path.display()))
        })
    }
    /// How to open the database from a process of `shard_count` shards.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidUrl`] or [`StoreError::UnsupportedDatabase`]; not for settings that
    /// were read, which were checked.
    pub fn store_options(&self, shard_count: usize) -> Result<StoreOptions, StoreError> {
        let Storage {
            migrate_on_start,
            pool_size,
            pool_overflow,
            pool_timeout,
            pool_recycle,
            connect_timeout,
            statement_timeout,
            ..
        } = self.storage;
        let location = Location::parse(self.database_url().expose())?;
        Ok(StoreOptions {
            migrate_on_start,
            pool_size,
            pool_overflow,
            shard_count,
            pool_timeout,
            pool_recycle,
            connect_timeout,
            statement_timeout,
            retry_count_max: self.storage.retry_count_max.try_into().unwrap_or(u32::MAX),
            retry_interval: Duration::from_millis(self.storage.retry_interval_ms as u64),
            ..StoreOptions::new(location)
        })
    }
}

fn read_file(path: &Path) -> Result<String, SettingError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(SettingError {
            name: "The file .env".to_owned(),
            value: None,
            source: None,
            problem: format!("cannot be read: {error}"),
            mend: "Make it readable, or take it away.".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
