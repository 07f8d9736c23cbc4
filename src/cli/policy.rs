//! `ringway policy test`: says what policies would decide, and why.

use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};
use storage::record::PolicyEffect;

use super::client::{Client, ClientArgs, ClientError};
use super::print;
use crate::policy::{Action, Program, Question, Sample, Trial, tried};
use crate::settings::Settings;

/// What is done about policies.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum PolicyCommand {
    /// Say what policies would decide; exits with 2 if they deny.
    Test(TestArgs),
}

/// Says what policies would decide. An expression with a `--context` needs no gateway; anything else
/// is asked of one.
#[derive(Debug, Default, clap::Args)]
pub struct TestArgs {
    /// An expression of CEL, or a file that holds one. Without: the policies of the gateway.
    #[arg(value_name = "EXPR|FILE")]
    pub expression: Option<String>,
    /// What the expression does when it is true: `allow` or `deny`.
    #[arg(long, default_value = "deny", value_parser = effect)]
    pub effect: PolicyEffect,
    /// One policy of the gateway: its name or id.
    #[arg(long, value_name = "NAME", conflicts_with = "expression")]
    pub policy: Option<String>,
    /// What is done: `tools.execute`, `tools.read`, `resources.read` or `prompts.read`.
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Who does it: the address of a user.
    #[arg(long = "as", value_name = "EMAIL")]
    pub user: Option<String>,
    /// The tool that is called: its name or id.
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
    /// The resource that is read: its URI or id.
    #[arg(long, value_name = "URI")]
    pub resource: Option<String>,
    /// The prompt that is got: its name or id.
    #[arg(long, value_name = "NAME")]
    pub prompt: Option<String>,
    /// The virtual server that it is done through: its id.
    #[arg(long, value_name = "ID")]
    pub server: Option<String>,
    /// The arguments, as a JSON object.
    #[arg(long, value_name = "JSON")]
    pub arguments: Option<String>,
    /// What expressions may name, as a JSON object or a file that holds one:
    /// `{"caller": {"email": "a@example.com"}, "tool": {"name": "echo"}}`.
    #[arg(long, value_name = "JSON|FILE")]
    pub context: Option<String>,
    /// Print the whole answer, as JSON.
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

fn effect(text: &str) -> Result<PolicyEffect, String> {
    text.parse().map_err(|_| "it is neither allow nor deny".to_owned())
}

/// Does what `ringway policy` is told; gives whether policies allow.
///
/// # Errors
///
/// [`ClientError`]: print it to the standard error and exit with 1.
pub fn run(
    args: &PolicyArgs,
    settings: &Settings,
    out: &mut impl Write,
) -> Result<bool, ClientError> {
    let PolicyCommand::Test(args) = &args.command;
    let trial = match (args.expression.as_deref().map(text_of), &args.context) {
        (Some(expression), Some(context)) if args.is_alone() => {
            offline(args, expression?, context)?
        }
        (expression, _) => online(args, expression.transpose()?, settings)?,
    };
    match args.json {
        true => print::json(out, &trial)?,
        false => print_trial(&trial, out)?,
    }
    Ok(trial["decision"] == "allow")
}

impl TestArgs {
    /// Whether nothing is named that only a gateway knows.
    fn is_alone(&self) -> bool {
        let named = [&self.user, &self.tool, &self.resource, &self.prompt, &self.server];
        named.into_iter().all(Option::is_none)
    }
}

/// A text, or what is in the file of that name.
fn text_of(text: &str) -> Result<String, ClientError> {
    if !Path::new(text).is_file() {
        return Ok(text.to_owned());
    }
    let read = std::fs::read_to_string(text);
    read.map_err(|error| ClientError::Input(format!("cannot read {text}: {error}")))
}

fn object(what: &str, text: &str) -> Result<Map<String, Value>, ClientError> {
    let wrong = |why: String| ClientError::Input(format!("{what} is no JSON object: {why}"));
    serde_json::from_str(text).map_err(|error| wrong(error.to_string()))
}

fn offline(args: &TestArgs, expression: String, context: &str) -> Result<Value, ClientError> {
    let usage = |error: String| ClientError::Input(error);
    let mut context = object("--context", &text_of(context)?)?;
    if let Some(arguments) = &args.arguments {
        context.insert("arguments".to_owned(), object("--arguments", arguments)?.into());
    }
    let action = match args.action.as_deref() {
        Some(word) => Action::of_word(word).ok_or_else(|| usage(format!("no action {word}")))?,
        None => Action::CallTool,
    };
    if let Err(error) = Program::compile(&expression) {
        return Err(usage(format!("this is no expression of CEL: {error}")));
    }
    let sample = Sample::new(Value::Object(context)).map_err(|error| usage(error.to_string()))?;
    let policies = [tried(expression, args.effect, action)];
    Ok(json!(Trial::of(&policies, Question { action, server_id: "" }, &sample)))
}

fn online(
    args: &TestArgs,
    expression: Option<String>,
    settings: &Settings,
) -> Result<Value, ClientError> {
    let mut body = Map::new();
    let texts = [
        ("expression", &expression),
        ("policy_id", &args.policy),
        ("action", &args.action),
        ("user", &args.user),
        ("tool", &args.tool),
        ("resource", &args.resource),
        ("prompt", &args.prompt),
        ("server_id", &args.server),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body.insert(name.to_owned(), text.as_str().into());
        }
    }
    body.insert("effect".to_owned(), args.effect.as_str().into());
    if let Some(arguments) = &args.arguments {
        body.insert("arguments".to_owned(), object("--arguments", arguments)?.into());
    }
    if let Some(context) = &args.context {
        body.insert("context".to_owned(), object("--context", &text_of(context)?)?.into());
    }
    Client::new(&args.client, settings)?.post("/policies/test", &Value::Object(body))
}

/// Prints what a person wants to know: the decision, why, and what was looked at.
fn print_trial(trial: &Value, out: &mut impl Write) -> Result<(), ClientError> {
    let text = |value: &Value| print::printable(value.as_str().unwrap_or_default());
    writeln!(out, "{}: {}", text(&trial["decision"]), text(&trial["reason"]))?;
    if trial["message"].is_string() {
        writeln!(out, "the caller is told: Access denied: {}", text(&trial["message"]))?;
    }
    for said in trial["policies"].as_array().into_iter().flatten() {
        let result = match (&said["result"], &said["error"]) {
            (Value::Bool(result), _) => result.to_string(),
            (_, error) => format!("failed, {}", text(error)),
        };
        let (name, effect) = (text(&said["name"]), text(&said["effect"]));
        let trial = if said["enforcement"] == "dry_run" { " (dry run)" } else { "" };
        writeln!(out, "  {effect} {name}{trial}: {result}")?;
    }
    for (name, value) in trial["variables"].as_object().into_iter().flatten() {
        writeln!(out, "  {} = {}", print::printable(name), print::printable(&value.to_string()))?;
    }
    writeln!(out, "  {} of {} steps", trial["cost"], trial["cost_max"])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(expression: &str, context: &str) -> Result<(bool, String), String> {
        let test = TestArgs {
            expression: Some(expression.to_owned()),
            context: Some(context.to_owned()),
            arguments: Some("{\"n\": 5}".to_owned()),
            ..TestArgs::default()
        };
        let args = PolicyArgs { command: PolicyCommand::Test(test) };
        let settings = crate::settings::parse("", [], &[]).unwrap().settings;
        let mut out = Vec::new();
        let allowed = run(&args, &settings, &mut out).map_err(|error| error.to_string())?;
        Ok((allowed, String::from_utf8(out).unwrap()))
    }

    #[test]
    fn tries_an_expression_without_a_gateway() {
        let context = r#"{"tool": {"name": "echo"}}"#;
        let (allowed, told) = tried("tool.name == 'echo' && arguments.n > 4", context).unwrap();
        assert!(!allowed);
        for line in [
            "deny: policy (this expression) denies it",
            "  deny (this expression): true",
            "  tool.name = \"echo\"",
        ] {
            assert!(told.lines().any(|told| told == line), "{line} in {told}");
        }
        assert!(tried("arguments.n > 9", context).unwrap().0);
    }

    #[test]
    fn says_what_is_wrong_with_what_was_typed() {
        for (expression, context, said) in [
            ("tool.", "{}", "this is no expression of CEL"),
            ("true", "[]", "--context is no JSON object"),
            ("true", r#"{"tol": {}}"#, "policies know of no tol"),
        ] {
            let error = tried(expression, context).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
