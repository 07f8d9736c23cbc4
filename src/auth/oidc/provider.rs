//! A provider that people log in with: who it is, where it is, and what its word counts for here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use storage::record::{self, TeamRole};
use storage::seal::Sealer;

use crate::auth::external::discovery::Metadata;
use crate::settings::{ExternalIssuer, Secret};

/// Under which name a sealed client secret stands.
const SECRET: &str = "client_secret";

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenID Connect: a signed token says who logged in.
    Oidc,
    /// OAuth 2.0 alone: it is asked who logged in, as GitHub is.
    OAuth2,
}

impl Protocol {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Oidc => "oidc",
            Protocol::OAuth2 => "oauth2",
        }
    }

    /// Reads what the API writes.
    pub fn of(word: &str) -> Option<Protocol> {
        [Protocol::Oidc, Protocol::OAuth2].into_iter().find(|known| known.as_str() == word)
    }
}

/// A provider that people log in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The id, as it stands in addresses.
    pub id: String,
    /// The name.
    pub name: String,
    /// The name for people.
    pub display_name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Who we are there.
    pub client_id: String,
    /// How we prove it.
    pub client_secret: Option<Secret>,
    /// Whose tokens it gives.
    pub issuer: Option<String>,
    /// Where users are sent.
    pub authorization_url: Option<String>,
    /// Where codes become tokens.
    pub token_url: Option<String>,
    /// Where it tells of a user.
    pub userinfo_url: Option<String>,
    /// Where its keys are.
    pub jwks_uri: Option<String>,
    /// What is asked for, words with spaces between.
    pub scope: String,
    /// The domains of addresses that may log in; none for all.
    pub trusted_domains: Vec<String>,
    /// Whether who logs in first becomes a user.
    pub auto_create_users: bool,
    /// Groups there to places in teams here.
    pub team_mapping: BTreeMap<String, Seat>,
    /// How it speaks of users.
    pub habits: Habits,
}

/// A place in a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The team.
    pub team_id: String,
    /// As what.
    pub role: TeamRole,
}

/// How a provider speaks of users, and whom it may make an administrator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Habits {
    /// The claim with the user's address of mail.
    pub email_claim: String,
    /// The claim with the user's groups.
    pub groups_claim: String,
    /// The groups whose members command the gateway.
    pub admin_groups: Vec<String>,
    /// The domains whose users do.
    pub admin_domains: Vec<String>,
    /// Whether an address counts of which the provider does not say whether it is verified.
    pub email_trusted: bool,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits {
            email_claim: "email".to_owned(),
            groups_claim: "groups".to_owned(),
            admin_groups: Vec::new(),
            admin_domains: Vec::new(),
            email_trusted: false,
        }
    }
}

/// Where a provider is asked for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Where users are sent.
    pub authorization: String,
    /// Where codes become tokens.
    pub token: String,
    /// Where it tells of a user.
    pub userinfo: Option<String>,
    /// Whether our secret goes into the form there, and not into a header.
    pub secret_in_form: bool,
}

impl Provider {
    /// A provider as the database keeps it.
    ///
    /// # Errors
    ///
    /// A few words: its secret cannot be opened, or what is kept cannot be read.
    pub fn stored(record: &record::Provider, sealer: &Sealer) -> Result<Provider, String> {
        let secret = record.client_secret_sealed.as_deref().map(|sealed| open(sealed, sealer));
        let mapping = record.team_mapping.as_deref().unwrap_or("{}");
        let habits = record.metadata.as_deref().unwrap_or("{}");
        let unreadable = |_| "what is kept of it cannot be read".to_owned();
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Provider {
            id: record.id.clone(),
            name: record.name.clone(),
            display_name: record.display_name.clone(),
            protocol: Protocol::of(&record.provider_type).unwrap_or(Protocol::Oidc),
            client_id: record.client_id.clone(),
            client_secret: secret.transpose()?,
            issuer: record.issuer.clone(),
            authorization_url: some(&record.authorization_url),
            token_url: some(&record.token_url),
            userinfo_url: record.userinfo_url.clone(),
            jwks_uri: record.jwks_uri.clone(),
            scope: record.scope.clone(),
            trusted_domains: record.trusted_domains.clone(),
            auto_create_users: record.auto_create_users,
            team_mapping: seats(&serde_json::from_str(mapping).map_err(unreadable)?)?,
            habits: serde_json::from_str(habits).map_err(unreadable)?,
        })
    }

    /// Seals a secret for the record of a provider.
    pub fn seal(secret: &str, sealer: &Sealer) -> String {
        sealer.seal(&BTreeMap::from([(SECRET.to_owned(), secret.to_owned())]))
    }

    /// The issuer whose metadata say where something is that is not known.
    pub fn described_by(&self) -> Option<&str> {
        let is_whole = self.authorization_url.is_some() && self.token_url.is_some();
        self.issuer.as_deref().filter(|_| self.protocol == Protocol::Oidc && !is_whole)
    }

    /// Where it is asked for what, by what is known and what its metadata say.
    ///
    /// # Errors
    ///
    /// A few words: which address is missing.
    pub fn endpoints(&self, metadata: Option<&Metadata>) -> Result<Endpoints, String> {
        let found = |own: &Option<String>, told: fn(&Metadata) -> &Option<String>| {
            own.clone().or_else(|| metadata.and_then(|metadata| told(metadata).clone()))
        };
        let missing = |what: &str| format!("it is not known where {what}");
        let methods = metadata.and_then(|it| it.token_endpoint_auth_methods_supported.as_ref());
        let takes = |name: &str| methods.is_some_and(|all| all.iter().any(|one| one == name));
        Ok(Endpoints {
            authorization: found(&self.authorization_url, |it| &it.authorization_endpoint)
                .ok_or_else(|| missing("users log in"))?,
            token: found(&self.token_url, |it| &it.token_endpoint)
                .ok_or_else(|| missing("codes become tokens"))?,
            userinfo: found(&self.userinfo_url, |it| &it.userinfo_endpoint),
            secret_in_form: match methods {
                Some(_) => takes("client_secret_post") && !takes("client_secret_basic"),
                // Whoever has no metadata follows what is in use, and ContextForge posts.
                None => true,
            },
        })
    }

    /// It as an issuer whose keys are looked for.
    pub fn as_issuer(&self) -> Option<ExternalIssuer> {
        let named = ExternalIssuer::named(self.issuer.as_deref()?);
        Some(ExternalIssuer { jwks_uri: self.jwks_uri.clone(), ..named })
    }
}

fn open(sealed: &str, sealer: &Sealer) -> Result<Secret, String> {
    let mut opened = sealer.open(sealed).map_err(|error| error.to_string())?;
    let secret = opened.remove(SECRET).ok_or("no secret is kept of it")?;
    Ok(Secret::new(secret))
}

/// Reads which groups are which places in teams: the id of a team, or an object with `team_id` and
/// perhaps `role`.
///
/// # Errors
///
/// A few words: which group is mapped to none.
pub fn seats(mapping: &serde_json::Map<String, Value>) -> Result<BTreeMap<String, Seat>, String> {
    let read = |(group, value): (&String, &Value)| {
        let team_id = value.as_str().or_else(|| value.get("team_id")?.as_str());
        let role = match value.get("role") {
            None => Some(TeamRole::default()),
            Some(word) => word.as_str().and_then(|word| word.parse().ok()),
        };
        match (team_id, role) {
            (Some(id), Some(role)) => Ok((group.clone(), Seat { team_id: id.to_owned(), role })),
            _ => Err(format!("{group} is mapped to no place in a team")),
        }
    };
    mapping.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stored_provider_has_its_secret_back_and_no_other_sealed_thing_is_one() {
        let sealer = Sealer::new("a secret that only tests have");
        let record = record::Provider {
            client_secret_sealed: Some(Provider::seal("hush", &sealer)),
            metadata: Some(r#"{"groups_claim": "g"}"#.to_owned()),
            provider_type: "oidc".to_owned(),
            ..record::Provider::default()
        };
        let provider = Provider::stored(&record, &sealer).unwrap();
        assert_eq!(provider.client_secret.as_ref().map(Secret::expose), Some("hush"));
        assert!(!format!("{provider:?}").contains("hush"));
        assert_eq!((&*provider.habits.groups_claim, &*provider.habits.email_claim), ("g", "email"));
        let headers = BTreeMap::from([("authorization".to_owned(), "x".to_owned())]);
        let other =
            record::Provider { client_secret_sealed: Some(sealer.seal(&headers)), ..record };
        assert!(Provider::stored(&other, &sealer).is_err());
        assert!(Provider::stored(&other, &Sealer::new("another")).is_err());
    }

    #[test]
    fn groups_are_places_in_teams_in_either_form() {
        let mapping = json!({"a": "t1", "b": {"team_id": "t2", "role": "owner"}});
        let seats = seats(mapping.as_object().unwrap()).unwrap();
        assert_eq!(seats["a"], Seat { team_id: "t1".to_owned(), role: TeamRole::Member });
        assert_eq!(seats["b"], Seat { team_id: "t2".to_owned(), role: TeamRole::Owner });
        for wrong in [json!({"a": 1}), json!({"a": {}}), json!({"a": {"team_id": "t", "role": 1}})]
        {
            assert!(super::seats(wrong.as_object().unwrap()).is_err(), "{wrong}");
        }
    }
}
