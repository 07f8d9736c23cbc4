//! `ringway doctor`: what is wrong with the settings of this gateway, and the mend.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::safety::{Report, Weight, checks};
use crate::settings::Settings;

/// Judges the settings of this gateway, with the environment that it would start with.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Judge how safe it is. So far there is nothing else to judge, so it may be left out.
    #[arg(long)]
    pub security: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Writes the judgement; true if nothing was found.
///
/// # Errors
///
/// What `out` answers.
pub fn run(args: &DoctorArgs, settings: &Settings, out: &mut impl Write) -> io::Result<bool> {
    let report = Report::new(settings);
    if args.json {
        writeln!(out, "{:#}", json(&report))?;
    } else {
        text(&report, out)?;
    }
    Ok(report.findings.is_empty())
}

fn text(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for check in checks() {
        match report.findings.iter().find(|finding| finding.check == check.name) {
            None => writeln!(out, "  ok     {}", check.promise)?,
            Some(finding) => {
                writeln!(out, "  {:5}  {}", word(finding.fault.weight), finding.fault.sentence)?;
                writeln!(out, "         Mend: {}", finding.fault.mend)?;
            }
        }
    }
    let count = report.findings.len();
    let findings = if count == 1 { "finding" } else { "findings" };
    writeln!(out, "\n{}: {count} {findings}, {} of 100", report.status(), report.score())
}

fn json(report: &Report) -> Value {
    let findings = report.findings.iter().map(|finding| {
        json!({
            "check": finding.check,
            "aspect": finding.aspect.name(),
            "weight": word(finding.fault.weight),
            "problem": finding.fault.sentence,
            "mend": finding.fault.mend,
        })
    });
    json!({
        "status": report.status(),
        "score": report.score(),
        "checks": report.aspects(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

/// How bad it is, in a word: with what is fatal the gateway does not start.
fn word(weight: Weight) -> &'static str {
    match weight {
        Weight::Minor => "minor",
        Weight::Grave => "grave",
        Weight::Fatal => "fatal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(json: bool, settings: &[(&str, &str)]) -> (bool, String) {
        let given = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let given: Vec<_> = given.chain([("RINGWAY_DATA_DIR", "/nowhere".to_owned())]).collect();
        let settings = crate::settings::parse("", [], &given).unwrap().settings;
        let mut out = Vec::new();
        let args = DoctorArgs { security: true, json };
        let is_good = run(&args, &settings, &mut out).unwrap();
        (is_good, String::from_utf8(out).unwrap())
    }

    #[test]
    fn tells_of_every_check_and_of_the_mend_of_what_failed() {
        let (is_good, text) = printed(false, &[("JWT_SECRET_KEY", "my-test-key")]);
        assert!(!is_good);
        assert_eq!(text.matches("\n  ok ").count() + 1, checks().len() - 1, "{text}");
        assert!(
            text.contains("  minor  JWT_SECRET_KEY is a value that everybody knows\n"),
            "{text}"
        );
        assert!(text.contains("         Mend: Leave JWT_SECRET_KEY out"), "{text}");
        assert!(text.ends_with("\nhealthy: 1 finding, 90 of 100\n"), "{text}");
    }

    #[test]
    fn says_so_if_nothing_is_wrong() {
        let (is_good, text) = printed(false, &[]);
        assert!(is_good && text.ends_with("\nhealthy: 0 findings, 100 of 100\n"), "{text}");
    }

    #[test]
    fn programs_read_the_same() {
        let settings = [("HOST", "0.0.0.0"), ("JWT_SECRET_KEY", "my-test-key")];
        let (_, text) = printed(true, &settings);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["checks"]["secure_secrets"], false);
        assert_eq!(value["findings"][0]["check"], "jwt_secret_key");
        assert_eq!(value["findings"][0]["weight"], "fatal");
        assert_eq!(value["score"], 30);
    }
}
