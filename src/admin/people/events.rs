//! What happened around logins, out of the audit trail: for each user about themselves, and for
//! administrators about all.

use schemars::JsonSchema;
use serde::Serialize;
use storage::audit::{AuditFilter, StoredEntry};

use super::{Ask, Backend, RestAnswer, answer};
use crate::admin::query::Query;
use crate::admin::show::Time;
use crate::failure::Failure;
use crate::limits;

/// How many events are shown of oneself, and of all, unless the request says otherwise.
const OWN_COUNT: usize = 50;
const ALL_COUNT: usize = 100;

/// The largest `offset`: what is left out is read all the same.
const OFFSET_MAX: usize = 10_000;

/// The area of the audit trail that is about logins.
const AREA: &str = "auth";

/// Something that happened around a login, in the contract's shape.
#[derive(Serialize, JsonSchema)]
pub struct AuthEventRead<'a> {
    id: i64,
    timestamp: Time,
    /// Whose login it was, or was meant to be.
    user_email: Option<&'a str>,
    /// `login`, `logout`, `refresh`, `registration`, `password_change`, or `refused` for a token
    /// that was not good.
    event_type: &'a str,
    success: bool,
    ip_address: Option<&'a str>,
    failure_reason: Option<&'a str>,
}

/// `GET /auth/email/events`: what happened around the logins of whoever asks, newest first.
pub async fn own_events<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let query = Query::parse(ask.request.query);
    events(ask, query, Some(ask.caller.email.to_lowercase()), OWN_COUNT).await
}

/// `GET /auth/email/admin/events`: the same of everybody, or of one user.
pub async fn all_events<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let query = Query::parse(ask.request.query);
    let actor = query.text("user_email").map(str::to_lowercase);
    events(ask, query, actor, ALL_COUNT).await
}

async fn events<B: Backend>(
    ask: &Ask<'_, B>,
    mut query: Query,
    actor: Option<String>,
    count_default: usize,
) -> Result<RestAnswer, Failure> {
    let limit = query.count("limit").filter(|count| *count > 0).unwrap_or(count_default);
    let offset = query.count("offset").unwrap_or(0);
    if offset > OFFSET_MAX {
        let message = format!("Input should be at most {OFFSET_MAX}; GET /audit has cursors");
        query.error("offset", message);
    }
    query.finish()?;
    let filter = AuditFilter {
        actor,
        action: Some(AREA.to_owned()),
        count_max: offset.saturating_add(limit.min(limits::AUDIT_PAGE_COUNT_MAX)),
        ..AuditFilter::default()
    };
    let found = ask.backend.read_audit(&filter).await?;
    Ok(answer::ok(&found.iter().skip(offset).map(event).collect::<Vec<_>>()))
}

fn event(stored: &StoredEntry) -> AuthEventRead<'_> {
    let entry = &stored.entry;
    let deed = entry.action.split_once('.').map_or(&*entry.action, |(_, deed)| deed);
    AuthEventRead {
        id: stored.id,
        timestamp: Time(entry.at),
        user_email: entry.actor.contains('@').then_some(&*entry.actor),
        event_type: match deed {
            "change_password" => "password_change",
            "register" => "registration",
            deed => deed,
        },
        success: entry.succeeded,
        ip_address: entry.ip.as_deref(),
        failure_reason: entry.reason.as_deref(),
    }
}
