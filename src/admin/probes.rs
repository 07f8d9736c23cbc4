//! What load balancers and operators ask: health, readiness, version.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use storage::record::now;

use super::show::Time;
use super::{Ask, Backend, RestAnswer, answer};

/// The newest protocol revision that the gateway speaks.
const PROTOCOL_VERSION: &str = "2026-07-28";

/// What `/version` tells of this process, besides what is the same for all.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// When it started, in microseconds since the epoch.
    pub started_at: i64,
    /// The name of the machine.
    pub host: String,
    /// How many shards run.
    pub shard_count: usize,
    /// The ring driver that runs them.
    pub ring_driver: String,
    /// The database.
    pub database: DatabaseAbout,
    /// Redis.
    pub redis: RedisAbout,
    /// The audit trail.
    pub audit: AuditAbout,
    /// Settings by name, secrets masked; shown to administrators.
    pub settings: Vec<(String, String)>,
}

/// What `/version` tells of the database.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct DatabaseAbout {
    /// `sqlite` or `postgresql`.
    pub dialect: String,
    /// Where it is, without a password.
    pub url: String,
    /// Whether it answers.
    pub reachable: bool,
    /// Its own version, if it tells.
    pub server_version: Option<String>,
}

/// What `/version` tells of Redis.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct RedisAbout {
    /// Whether the settings name it.
    pub available: bool,
    /// Whether it answers.
    pub reachable: bool,
}

/// What `/version` tells of the audit trail, since the process started.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct AuditAbout {
    /// Entries that were stored.
    pub stored: u64,
    /// Entries that were dropped, because too many waited for the database.
    pub dropped: u64,
}

/// `GET /health`: the process answers.
pub fn health() -> RestAnswer {
    answer::ok(&json!({ "status": "healthy" }))
}

/// `GET /ready`: requests can be served.
pub fn ready<B: Backend>(backend: &B) -> RestAnswer {
    match backend.ready() {
        Ok(()) => answer::ok(&json!({ "status": "ready" })),
        Err(reason) => RestAnswer {
            retry_after: true,
            ..answer::with_status(503, &json!({ "status": "not ready", "error": reason }))
        },
    }
}

/// `GET /health/security`: how safe the settings are, for administrators.
pub fn security<B: Backend>(ask: &Ask<'_, B>) -> RestAnswer {
    let report = &ask.backend.rules().security;
    let warnings: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    answer::ok(&json!({
        "status": report.status(),
        "score": report.score(),
        "checks": report.aspects(),
        "warning_count": warnings.len(),
        "warnings": warnings,
        "timestamp": Time(now()),
    }))
}

/// `GET /`: what this is, while there is no user interface to go to.
pub fn root<B: Backend>(backend: &B) -> RestAnswer {
    answer::ok(&json!({
        "name": backend.rules().app_name,
        "version": env!("CARGO_PKG_VERSION"),
        "description": env!("CARGO_PKG_DESCRIPTION"),
        "ui_enabled": false,
        "admin_api_enabled": false,
    }))
}

/// `GET /version`.
pub async fn version<B: Backend>(ask: &Ask<'_, B>) -> RestAnswer {
    let about = ask.backend.about().await;
    let mut body = json!({
        "timestamp": Time(now()),
        "host": about.host,
        "uptime_seconds": (now() - about.started_at).max(0) / 1_000_000,
        "app": {
            "name": ask.backend.rules().app_name,
            "version": env!("CARGO_PKG_VERSION"),
            "mcp_protocol_version": PROTOCOL_VERSION,
        },
        "platform": {
            "os": std::env::consts::OS,
            "architecture": std::env::consts::ARCH,
            "shards": about.shard_count,
            "ring_driver": about.ring_driver,
        },
        "database": about.database,
        "redis": about.redis,
        "audit": about.audit,
    });
    if ask.caller.is_admin
        && let Value::Object(fields) = &mut body
    {
        let settings = about.settings.into_iter().map(|(name, value)| (name, Value::from(value)));
        fields.insert("settings".to_owned(), Value::Object(settings.collect::<Map<_, _>>()));
    }
    answer::ok(&body)
}
