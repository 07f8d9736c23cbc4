//! Other issuers of tokens, as a setting lists them.

use std::collections::BTreeMap;

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::check::Check;

/// The algorithms with a private and a public key: nobody can sign with what is public.
pub const ASYMMETRIC: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The most issuers that a setting may list.
const ISSUER_COUNT_MAX: usize = 32;

/// An issuer of tokens besides us.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalIssuer {
    /// Its name, as it stands in the claim `iss`.
    pub issuer: String,
    /// Where its keys are; unset: where its metadata say.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// Whom its tokens must be for to be good here.
    #[serde(alias = "audiences", deserialize_with = "one_or_several")]
    pub audience: Vec<String>,
    /// The algorithms that it may sign with.
    #[serde(default = "asymmetric")]
    pub algorithms: Vec<Algorithm>,
    /// The claim with the user's address of mail.
    #[serde(default = "email")]
    pub email_claim: String,
    /// The claim with the user's groups.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// Groups there to ids of teams here. If there are any, a token reaches those teams only.
    #[serde(default)]
    pub team_mapping: BTreeMap<String, String>,
    /// Groups whose members command the gateway.
    #[serde(default)]
    pub admin_groups: Vec<String>,
}

impl ExternalIssuer {
    /// An issuer of which nothing but the name is known.
    pub fn named(issuer: &str) -> ExternalIssuer {
        ExternalIssuer {
            issuer: issuer.to_owned(),
            jwks_uri: None,
            audience: Vec::new(),
            algorithms: asymmetric(),
            email_claim: email(),
            groups_claim: None,
            team_mapping: BTreeMap::new(),
            admin_groups: Vec::new(),
        }
    }

    fn problem(&self) -> Option<String> {
        let issuer = &self.issuer;
        let is_url = |text: &String| {
            Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        };
        if self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            return Some(format!("names no audience for {issuer}"));
        }
        if self.algorithms.is_empty() || self.algorithms.iter().any(|it| !ASYMMETRIC.contains(it)) {
            return Some(format!("names an algorithm with a shared secret, or none, for {issuer}"));
        }
        if !is_url(self.jwks_uri.as_ref().unwrap_or(issuer)) {
            return Some(format!("does not say where the keys of {issuer} are"));
        }
        let needs_groups = !self.team_mapping.is_empty() || !self.admin_groups.is_empty();
        (needs_groups && self.groups_claim.is_none())
            .then(|| format!("maps groups of {issuer} and names no groups_claim"))
    }
}

fn asymmetric() -> Vec<Algorithm> {
    ASYMMETRIC.to_vec()
}

fn email() -> String {
    "email".to_owned()
}

fn one_or_several<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Names::deserialize(from)? {
        Names::One(name) => vec![name],
        Names::Several(names) => names,
    })
}

/// A list of issuers, in JSON.
pub struct Issuers;

impl Check for Issuers {
    type Value = Vec<ExternalIssuer>;

    fn read(&self, text: &str) -> Result<Self::Value, String> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let issuers: Vec<ExternalIssuer> =
            serde_json::from_str(text).map_err(|error| format!("cannot be read: {error}"))?;
        if issuers.len() > ISSUER_COUNT_MAX {
            return Err(format!("lists more than {ISSUER_COUNT_MAX} issuers"));
        }
        let is_twice = |(index, one): (usize, &ExternalIssuer)| {
            issuers[..index].iter().any(|other| other.issuer == one.issuer)
        };
        if issuers.iter().enumerate().any(is_twice) {
            return Err("lists an issuer twice".to_owned());
        }
        match issuers.iter().find_map(ExternalIssuer::problem) {
            Some(problem) => Err(problem),
            None => Ok(issuers),
        }
    }

    fn form(&self) -> String {
        "a JSON list, as `[{\"issuer\": \"https://id.example.com\", \"audience\": \
         \"https://mcp.example.com\"}]`; besides `jwks_uri`, `algorithms`, `email_claim`, \
         `groups_claim`, `team_mapping`, `admin_groups`"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_said_and_fills_in_the_rest() {
        let read = Issuers.read(r#"[{"issuer": "https://a", "audience": "b"}]"#).unwrap();
        assert_eq!(
            read,
            [ExternalIssuer {
                audience: vec!["b".to_owned()],
                ..ExternalIssuer::named("https://a")
            }]
        );
        assert_eq!(Issuers.read(""), Ok(Vec::new()));
    }

    #[test]
    fn refuses_what_would_open_too_much() {
        for text in [
            r#"[{"issuer": "https://a"}]"#,
            r#"[{"issuer": "https://a", "audience": []}]"#,
            r#"[{"issuer": "https://a", "audience": "b", "algorithms": ["HS256"]}]"#,
            r#"[{"issuer": "https://a", "audience": "b", "algorithms": []}]"#,
            r#"[{"issuer": "a", "audience": "b"}]"#,
            r#"[{"issuer": "https://a", "audience": "b", "admin_groups": ["x"]}]"#,
            r#"[{"issuer": "https://a", "audience": "b", "typo": 1}]"#,
            r#"[{"issuer": "https://a", "audience": "b"}, {"issuer": "https://a", "audience": "c"}]"#,
        ] {
            assert!(Issuers.read(text).is_err(), "{text}");
        }
    }
}
