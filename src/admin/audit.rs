//! The audit trail, read: a page at a time, as lines of JSON, and in the contract's shape.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use storage::audit::{AuditCursor, AuditFilter, StoredEntry};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::query::Query;
use super::show::Time;
use super::{Ask, Backend, RestAnswer, answer};
use crate::failure::Failure;
use crate::limits;

/// How many entries a page has unless the request says otherwise.
const PAGE_COUNT: usize = 100;

/// The largest `offset` of the contract's list: what is left out is read all the same.
const OFFSET_MAX: usize = 10_000;

/// How lines of JSON are answered.
const LINES: &str = "content-type: application/x-ndjson\r\nx-content-type-options: nosniff\r\n";

/// An entry of the audit trail.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditEntry")]
pub struct EntryRead<'a> {
    /// Grows in the order in which entries were stored.
    id: i64,
    /// When it ended.
    at: Time,
    /// The place of this entry: what follows behind it is older.
    cursor: String,
    /// What the client called its request.
    request_id: Option<&'a str>,
    /// Who did it.
    actor: &'a str,
    /// `user`, `token`, `operator` (authentication is off), `anonymous` or `gateway`.
    actor_kind: &'a str,
    /// The id of the token that they showed.
    token_id: Option<&'a str>,
    ip: Option<&'a str>,
    user_agent: Option<&'a str>,
    /// What was done, as `tools.execute`.
    action: &'a str,
    /// The kind of what it was done to.
    entity: Option<&'a str>,
    entity_id: Option<&'a str>,
    entity_name: Option<&'a str>,
    team_id: Option<&'a str>,
    /// The virtual server that it was done through.
    server_id: Option<&'a str>,
    /// Whether the actor might.
    allowed: bool,
    /// Whether it was done.
    succeeded: bool,
    /// Why not.
    reason: Option<&'a str>,
    /// The HTTP status that was answered, or the code of an error of JSON-RPC.
    status: i64,
    /// How long it took, in microseconds; 0 where nobody looked.
    duration_us: i64,
    /// What it was done to, before, without its secrets.
    #[schemars(with = "Option<Value>")]
    before: Option<&'a RawValue>,
    /// What it was done to, after, without its secrets.
    #[schemars(with = "Option<Value>")]
    after: Option<&'a RawValue>,
    /// What a call was made with, without secrets; or the digest of it.
    #[schemars(with = "Option<Value>")]
    arguments: Option<&'a RawValue>,
}

/// A page of the audit trail, newest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage<'a> {
    entries: Vec<EntryRead<'a>>,
    /// The cursor of the next page; null after the last one.
    next_cursor: Option<String>,
}

/// An entry in the contract's shape.
#[derive(Serialize, JsonSchema)]
pub struct AuditTrailRead<'a> {
    id: String,
    timestamp: Time,
    correlation_id: Option<&'a str>,
    action: &'a str,
    resource_type: &'a str,
    resource_id: Option<&'a str>,
    resource_name: Option<&'a str>,
    user_id: &'a str,
    user_email: Option<&'a str>,
    success: bool,
    requires_review: bool,
    data_classification: Option<&'a str>,
}

/// `GET /audit`.
pub async fn list<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let filter = filter(ask, PAGE_COUNT, limits::AUDIT_PAGE_COUNT_MAX)?;
    let found = ask.backend.read_audit(&filter).await?;
    let last = found.last().filter(|_| found.len() == filter.count_max);
    let next_cursor = last.map(|stored| write_cursor(stored.cursor()));
    Ok(answer::ok(&AuditPage { entries: found.iter().map(shown).collect(), next_cursor }))
}

/// `GET /audit/export`: lines of JSON, newest first. One answer is bounded: what follows is asked
/// for with the `cursor` of the last line, until there are no more lines.
pub async fn export<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let count_max = limits::AUDIT_EXPORT_COUNT_MAX;
    let mut filter = filter(ask, count_max, count_max)?;
    let (mut left, mut body) = (filter.count_max, Vec::new());
    while left > 0 && body.len() < limits::AUDIT_EXPORT_SIZE_MAX {
        filter.count_max = left.min(EXPORT_STEP);
        let found = ask.backend.read_audit(&filter).await?;
        for stored in &found {
            body.append(&mut answer::ok(&shown(stored)).body);
            body.push(b'\n');
            filter.after = Some(stored.cursor());
            if body.len() >= limits::AUDIT_EXPORT_SIZE_MAX {
                break;
            }
        }
        if found.len() < filter.count_max {
            break;
        }
        left -= found.len();
    }
    Ok(RestAnswer { headers: LINES, ..RestAnswer::of(200, body) })
}

/// How many entries are read at once for an export: with two records of the largest size each, they
/// are as large as the answer may be.
const EXPORT_STEP: usize = limits::AUDIT_EXPORT_SIZE_MAX / (2 * limits::AUDIT_JSON_SIZE_MAX);

/// `GET /api/logs/audit-trails`, the contract's list.
pub async fn trails<B: Backend>(ask: &Ask<'_, B>) -> Result<RestAnswer, Failure> {
    let mut query = Query::parse(ask.request.query);
    let offset = query.count("offset").unwrap_or(0);
    if offset > OFFSET_MAX {
        let message = format!("Input should be at most {OFFSET_MAX}; GET /audit has cursors");
        query.error("offset", message);
    }
    let count = count(&mut query, PAGE_COUNT, limits::AUDIT_PAGE_COUNT_MAX);
    let needs_review = query.flag("requires_review", false);
    let filter = AuditFilter {
        from: time(&mut query, "start_time"),
        // The contract's end is part of the time.
        to: time(&mut query, "end_time").map(|at| at.saturating_add(1)),
        actor: query.text("user_id").map(str::to_owned),
        action: query.text("action").map(str::to_owned),
        entity: query.text("resource_type").map(str::to_owned),
        count_max: offset.saturating_add(count),
        ..AuditFilter::default()
    };
    query.finish()?;
    // Nobody is asked to review anything here.
    let found = if needs_review { Vec::new() } else { ask.backend.read_audit(&filter).await? };
    Ok(answer::ok(&found.iter().skip(offset).map(trail).collect::<Vec<_>>()))
}

/// Reads the parameters of the trail.
fn filter<B>(
    ask: &Ask<'_, B>,
    count_default: usize,
    count_max: usize,
) -> Result<AuditFilter, Failure> {
    let mut query = Query::parse(ask.request.query);
    let text = |query: &Query, name| query.text(name).map(str::to_owned);
    let flag = |query: &mut Query, name| query.text(name).is_some().then(|| query.flag(name, true));
    let after = query.text("cursor").map(read_cursor);
    if after == Some(None) {
        query.error("cursor", "This cursor was not given by this gateway; begin without one");
    }
    let tool = text(&query, "tool");
    let filter = AuditFilter {
        from: time(&mut query, "from"),
        to: time(&mut query, "to"),
        actor: text(&query, "actor"),
        action: text(&query, "action"),
        entity: tool.is_some().then(|| "tool".to_owned()).or(text(&query, "entity")),
        entity_id: text(&query, "entity_id"),
        entity_name: tool.or(text(&query, "entity_name")),
        team_id: text(&query, "team_id"),
        server_id: text(&query, "server_id"),
        allowed: flag(&mut query, "allowed"),
        succeeded: flag(&mut query, "succeeded"),
        after: after.flatten(),
        count_max: count(&mut query, count_default, count_max),
    };
    query.finish()?;
    Ok(filter)
}

fn count(query: &mut Query, count_default: usize, count_max: usize) -> usize {
    query.count("limit").filter(|count| *count > 0).unwrap_or(count_default).min(count_max)
}

/// A time in RFC 3339, in microseconds since the epoch.
fn time(query: &mut Query, name: &str) -> Option<i64> {
    let read = |text: &str| {
        // A plus in a query means a space, and zones begin with one.
        let text = text.replace(' ', "+");
        let at = OffsetDateTime::parse(&text, &Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos() / 1000).ok()
    };
    query.word(name, read, "a time like 2026-01-31T12:00:00Z")
}

fn write_cursor(cursor: AuditCursor) -> String {
    format!("{:x}-{:x}", cursor.at, cursor.id)
}

fn read_cursor(text: &str) -> Option<AuditCursor> {
    let (at, id) = text.split_once('-')?;
    let number = |text| i64::from_str_radix(text, 16).ok();
    Some(AuditCursor { at: number(at)?, id: number(id)? })
}

fn shown(stored: &StoredEntry) -> EntryRead<'_> {
    let entry = &stored.entry;
    EntryRead {
        id: stored.id,
        at: Time(entry.at),
        cursor: write_cursor(stored.cursor()),
        request_id: entry.request_id.as_deref(),
        actor: &entry.actor,
        actor_kind: &entry.actor_kind,
        token_id: entry.token_id.as_deref(),
        ip: entry.ip.as_deref(),
        user_agent: entry.user_agent.as_deref(),
        action: &entry.action,
        entity: entry.entity.as_deref(),
        entity_id: entry.entity_id.as_deref(),
        entity_name: entry.entity_name.as_deref(),
        team_id: entry.team_id.as_deref(),
        server_id: entry.server_id.as_deref(),
        allowed: entry.allowed,
        succeeded: entry.succeeded,
        reason: entry.reason.as_deref(),
        status: entry.status,
        duration_us: entry.duration_us,
        before: raw(entry.before.as_deref()),
        after: raw(entry.after.as_deref()),
        arguments: raw(entry.arguments.as_deref()),
    }
}

/// JSON as it is stored; what is none is not shown.
fn raw(text: Option<&str>) -> Option<&RawValue> {
    serde_json::from_str(text?).ok()
}

fn trail(stored: &StoredEntry) -> AuditTrailRead<'_> {
    let entry = &stored.entry;
    AuditTrailRead {
        id: stored.id.to_string(),
        timestamp: Time(entry.at),
        correlation_id: entry.request_id.as_deref(),
        action: &entry.action,
        resource_type: entry.entity.as_deref().unwrap_or("gateway"),
        resource_id: entry.entity_id.as_deref(),
        resource_name: entry.entity_name.as_deref(),
        user_id: &entry.actor,
        user_email: entry.actor.contains('@').then_some(&*entry.actor),
        success: entry.succeeded,
        requires_review: false,
        data_classification: None,
    }
}
