//! `ringway audit`: who did what, and who was refused.

use std::io::Write;

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use url::form_urlencoded;

use super::client::{Client, ClientArgs, ClientError};
use super::print;
use crate::settings::Settings;

/// How many entries are asked for at once.
const PAGE_COUNT: usize = 1000;

/// Lists the audit trail, newest first.
#[derive(Debug, Default, clap::Args)]
pub struct AuditArgs {
    /// Only what ended then or later: a time like 2026-01-31T12:00:00Z, or how long ago: 30m, 12h,
    /// 7d.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only what ended before then.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only what this user did.
    #[arg(long, value_name = "EMAIL")]
    pub actor: Option<String>,
    /// Only this action, as tools.execute, or all of an area, as auth.
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Only what was done to this kind, as gateway.
    #[arg(long, value_name = "KIND")]
    pub entity: Option<String>,
    /// Only what was done to what has this id.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Only what was done to what has this name.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Only what was done to this tool.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["entity", "name"])]
    pub tool: Option<String>,
    /// Only what was done through this virtual server.
    #[arg(long, value_name = "ID")]
    pub server: Option<String>,
    /// Only what belongs to this team.
    #[arg(long, value_name = "ID")]
    pub team: Option<String>,
    /// Only what was refused.
    #[arg(long)]
    pub denied: bool,
    /// Only what was not done, for whatever reason.
    #[arg(long)]
    pub failed: bool,
    /// The most entries; 0 for all.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub limit: usize,
    /// Print every entry as a line of JSON.
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Prints the entries to `out`.
///
/// # Errors
///
/// [`ClientError`]: print it to the standard error and exit with 1.
pub fn run(args: &AuditArgs, settings: &Settings, out: &mut impl Write) -> Result<(), ClientError> {
    let client = Client::new(&args.client, settings)?;
    let query = query(args)?;
    let mut left = if args.limit == 0 { usize::MAX } else { args.limit };
    let mut rows = Vec::new();
    let mut cursor = String::new();
    while left > 0 {
        let count = left.min(PAGE_COUNT);
        let page = client.get(&format!("/audit?{query}limit={count}{cursor}"))?;
        let entries = page["entries"].as_array().into_iter().flatten();
        for entry in entries.take(left) {
            left -= 1;
            match args.json {
                true => writeln!(out, "{entry}")?,
                false => rows.push(row(entry)),
            }
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    if args.json {
        return Ok(());
    }
    if rows.is_empty() {
        return Ok(writeln!(out, "nothing of that kind is in the audit trail")?);
    }
    print::table(out, &["TIME", "ACTOR", "ACTION", "WHAT", "OUTCOME", "REASON"], rows)
}

/// The query that the arguments mean; ends with `&` unless it is empty.
fn query(args: &AuditArgs) -> Result<String, ClientError> {
    let since = args.since.as_deref().map(time_of).transpose()?;
    let until = args.until.as_deref().map(time_of).transpose()?;
    let texts = [
        ("from", &since),
        ("to", &until),
        ("actor", &args.actor),
        ("action", &args.action),
        ("entity", &args.entity),
        ("entity_id", &args.id),
        ("entity_name", &args.name),
        ("tool", &args.tool),
        ("server_id", &args.server),
        ("team_id", &args.team),
    ];
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, text) in texts {
        query.extend_pairs(text.iter().map(|text| (name, text)));
    }
    query.extend_pairs(args.denied.then_some(("allowed", "false")));
    query.extend_pairs(args.failed.then_some(("succeeded", "false")));
    let query = query.finish();
    Ok(if query.is_empty() { query } else { format!("{query}&") })
}

/// A time in RFC 3339: as it is written, or so long ago.
fn time_of(text: &str) -> Result<String, ClientError> {
    let wrong = || {
        let form = "write 2026-01-31T12:00:00Z, or how long ago: 30m, 12h, 7d";
        ClientError::Input(format!("{text:?} is no time; {form}"))
    };
    let at = match ago(text) {
        Some(ago) => OffsetDateTime::now_utc().checked_sub(ago).ok_or_else(wrong)?,
        None => OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?,
    };
    at.format(&Rfc3339).map_err(|_| wrong())
}

fn ago(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let count: i64 = text[..text.len() - 1].parse().ok().filter(|count| *count >= 0)?;
    Some(Duration::seconds(count.checked_mul(seconds)?))
}

fn row(entry: &Value) -> Vec<String> {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let what = match (text("entity"), text("entityName"), text("entityId")) {
        ("", ..) => String::new(),
        (kind, "", id) => format!("{kind} {id}"),
        (kind, name, _) => format!("{kind} {name}"),
    };
    let outcome = match (&entry["allowed"], &entry["succeeded"]) {
        (Value::Bool(false), _) => "denied",
        (_, Value::Bool(false)) => "failed",
        _ => "ok",
    };
    let at = text("at");
    vec![
        at.get(..19).unwrap_or(at).replace('T', " "),
        text("actor").to_owned(),
        text("action").to_owned(),
        what,
        outcome.to_owned(),
        text("reason").to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_a_query_whose_values_are_escaped() {
        let args = AuditArgs {
            since: Some("2026-01-31T12:00:00+02:00".to_owned()),
            tool: Some("a b&c".to_owned()),
            denied: true,
            ..AuditArgs::default()
        };
        let expected = "from=2026-01-31T12%3A00%3A00%2B02%3A00&tool=a+b%26c&allowed=false&";
        assert_eq!(query(&args).unwrap(), expected);
        assert_eq!(query(&AuditArgs::default()).unwrap(), "");
    }

    #[test]
    fn a_time_is_told_as_it_is_written_or_as_a_span_before_now() {
        let before = OffsetDateTime::now_utc() - Duration::hours(12);
        let told = OffsetDateTime::parse(&time_of("12h").unwrap(), &Rfc3339).unwrap();
        assert!(told >= before && told - before < Duration::minutes(1));
        for wrong in ["", "h", "12", "yesterday", "-5m", "9999999999999d"] {
            assert!(time_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_row_says_what_was_done_and_how_it_ended() {
        let entry = serde_json::json!({
            "at": "2026-01-31T12:00:00.123456Z", "actor": "a@example.com",
            "action": "tools.execute", "entity": "tool", "entityName": "time", "entityId": "x",
            "allowed": false, "succeeded": false, "reason": "because",
        });
        let expected = [
            "2026-01-31 12:00:00",
            "a@example.com",
            "tools.execute",
            "tool time",
            "denied",
            "because",
        ];
        assert_eq!(row(&entry), expected);
    }
}
