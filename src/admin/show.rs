//! Records as the API shows them: the contract's fields in camelCase, computed ones beside the
//! stored.

mod agent;
mod gateway;
mod metrics;
mod offering;
mod role;
mod server;
mod team;
mod tool;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use storage::record::{Audit, Ownership, Visibility};
use time::OffsetDateTime;

use super::{RestAnswer, answer};
use crate::catalog::Catalog;

pub use agent::{AgentRead, agent};
pub use gateway::{GatewayRead, gateway, gateway_in_snake_case};
pub use metrics::{AgentMetricsRead, MetricsRead};
pub use offering::{PromptRead, ResourceRead, prompt, resource};
pub use role::{RoleRead, UserRoleRead, role, user_role};
pub use server::{ServerRead, server};
pub use team::{
    Discovered, InvitationRead, Invited, JoinRequestRead, MemberRead, Seated, TeamMade, TeamRead,
    Teams, discovered, invitation, join_request, member, team,
};
pub use tool::{ToolRead, tool, tool_in_snake_case};

/// A time as RFC 3339 in UTC, from microseconds since the epoch.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
pub struct Time(#[schemars(with = "String", extend("format" = "date-time"))] pub i64);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nanoseconds = i128::from(self.0) * 1000;
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (date, time) = (at.date(), at.time());
        serializer.collect_str(&format_args!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.microsecond()
        ))
    }
}

/// Tags as the contract's later line shows them.
#[derive(JsonSchema)]
#[schemars(inline, transparent)]
struct Tags<'a>(#[schemars(with = "Vec<Tag<'a>>")] &'a [String]);

#[derive(Serialize, JsonSchema)]
struct Tag<'a> {
    id: &'a str,
    label: &'a str,
}

impl Serialize for Tags<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|tag| Tag { id: tag, label: tag }))
    }
}

/// Who made and changed a record.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AuditRead<'a> {
    created_at: Time,
    updated_at: Time,
    created_by: Option<&'a str>,
    created_from_ip: Option<&'a str>,
    created_via: Option<&'a str>,
    created_user_agent: Option<&'a str>,
    modified_by: Option<&'a str>,
    modified_from_ip: Option<&'a str>,
    modified_via: Option<&'a str>,
    modified_user_agent: Option<&'a str>,
    import_batch_id: Option<&'a str>,
    federation_source: Option<&'a str>,
    version: i64,
}

impl<'a> From<&'a Audit> for AuditRead<'a> {
    fn from(audit: &'a Audit) -> Self {
        AuditRead {
            created_at: Time(audit.created_at),
            updated_at: Time(audit.updated_at),
            created_by: audit.created_by.as_deref(),
            created_from_ip: audit.created_from_ip.as_deref(),
            created_via: audit.created_via.as_deref(),
            created_user_agent: audit.created_user_agent.as_deref(),
            modified_by: audit.modified_by.as_deref(),
            modified_from_ip: audit.modified_from_ip.as_deref(),
            modified_via: audit.modified_via.as_deref(),
            modified_user_agent: audit.modified_user_agent.as_deref(),
            import_batch_id: audit.import_batch_id.as_deref(),
            federation_source: audit.federation_source.as_deref(),
            version: audit.version,
        }
    }
}

/// Whose a record is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OwnershipRead<'a> {
    team_id: Option<&'a str>,
    /// The team's name.
    team: Option<String>,
    owner_email: Option<&'a str>,
    visibility: &'static str,
}

impl<'a> OwnershipRead<'a> {
    fn of(ownership: &'a Ownership, catalog: &Catalog) -> OwnershipRead<'a> {
        let team = ownership.team_id.as_deref().and_then(|id| catalog.people().team(id));
        OwnershipRead {
            team_id: ownership.team_id.as_deref(),
            team: team.map(|team| team.name.clone()),
            owner_email: ownership.owner_email.as_deref(),
            visibility: Visibility::as_str(ownership.visibility),
        }
    }
}

/// What is shown, with its own fields in snake_case; those inside them stay.
pub fn snake_case(shown: &impl Serialize) -> Value {
    let Ok(Value::Object(fields)) = serde_json::to_value(shown) else { return Value::Null };
    Value::Object(
        fields.into_iter().map(|(name, value)| (snake(&name), value)).collect::<Map<_, _>>(),
    )
}

/// The answer to switching a record on or off: what was done, and the record under `key`.
pub fn switched(word: &str, key: &str, id: &str, activate: bool, record: Value) -> RestAnswer {
    let done = if activate { "activated" } else { "deactivated" };
    answer::ok(&json!({
        "status": "success",
        "message": format!("{word} {id} {done}"),
        key: record,
    }))
}

fn snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Stored JSON text as it is; `None` if it should not be JSON after all.
fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc_to_the_microsecond() {
        for (microseconds, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_795_341_600_000_001, "2026-11-22T10:00:00.000001Z"),
            (951_782_400_999_999, "2000-02-29T00:00:00.999999Z"),
        ] {
            let text = serde_json::to_string(&Time(microseconds)).unwrap();
            assert_eq!(text, format!("{expected:?}"));
        }
    }
}
