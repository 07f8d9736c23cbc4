//! `ringway why`: says why somebody may do something, or may not.

use std::io::Write;

use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::client::{Client, ClientArgs, ClientError};
use super::print;
use crate::settings::Settings;

/// Whom and what to ask about.
#[derive(Debug, Default, clap::Args)]
pub struct WhyArgs {
    /// The user, by their address.
    pub user: String,
    /// What they would do: a permission, as tools.execute, or a deed, as call.
    pub action: String,
    /// What they would do it to, as tool:NAME or server:ID; nothing for what is about no thing.
    pub entity: Option<String>,
    /// Ask as the user is with this API token (its id), and not with a login.
    #[arg(long, value_name = "ID")]
    pub with: Option<String>,
    /// Print what the gateway answers, as JSON.
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Prints the rule that decides and, if it refuses, those that would allow.
///
/// # Errors
///
/// [`ClientError`]: print it to the standard error and exit with 1.
pub fn run(args: &WhyArgs, settings: &Settings, out: &mut impl Write) -> Result<(), ClientError> {
    let client = Client::new(&args.client, settings)?;
    let mut query = Serializer::new(String::new());
    query.append_pair("user", &args.user).append_pair("action", &args.action);
    for (name, value) in [("entity", &args.entity), ("token", &args.with)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let told = client.get(&format!("/rbac/explain?{}", query.finish()))?;
    match args.json {
        true => print::json(out, &told),
        false => tell(&told, out),
    }
}

fn tell(told: &Value, out: &mut impl Write) -> Result<(), ClientError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let word = if told["allowed"] == true { "may" } else { "may not" };
    let entity = &told["entity"];
    let thing = match entity.is_object() {
        true => format!(" on the {} {}", text(&entity["type"]), text(&entity["name"])),
        false => String::new(),
    };
    writeln!(out, "{} {word} {}{thing}", text(&told["user"]), text(&told["action"]))?;
    writeln!(out, "  because {}", text(&told["explanation"]))?;
    let remedies: Vec<&Value> = told["would_allow"].as_array().into_iter().flatten().collect();
    if !remedies.is_empty() {
        writeln!(out, "  what would allow it:")?;
    }
    for remedy in remedies {
        writeln!(out, "  - {}", text(remedy))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_told_in_lines() {
        let told = json!({
            "user": "ann@x", "action": "tools.execute", "allowed": false,
            "entity": {"type": "tool", "name": "own"}, "explanation": "it is private",
            "would_allow": ["making it public", "being an administrator"],
        });
        let mut out = Vec::new();
        tell(&told, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ann@x may not tools.execute on the tool own\n  because it is private\n  what would allow \
             it:\n  - making it public\n  - being an administrator\n"
        );
        let told = json!({
            "user": "ann@x", "action": "tools.read", "allowed": true, "entity": null,
            "explanation": "so it is", "would_allow": [],
        });
        let mut out = Vec::new();
        tell(&told, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ann@x may tools.read\n  because so it is\n");
    }
}
