//! The claims of a token: JSON to a caller, with its time.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::access::Rights;
use super::caller::{Caller, Scopes, Teams};
use super::error::Fault;
use super::restrictions::Restrictions;

/// What is read of a token's claims. A key that stands twice is refused, and so is a `null` where
/// a number should be: either could mean "no end" to us and something else to the issuer.
#[derive(Debug, Deserialize)]
pub struct Claims {
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    aud: Audience,
    #[serde(default, deserialize_with = "present")]
    exp: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<f64>,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    token_use: Option<String>,
    #[serde(default)]
    is_admin: Option<bool>,
    #[serde(default)]
    user: Option<User>,
    #[serde(default, deserialize_with = "teams")]
    teams: TeamsClaim,
    #[serde(default)]
    scopes: Option<ScopesClaim>,
}

#[derive(Debug, Deserialize)]
struct User {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    is_admin: Option<bool>,
}

/// One audience or several (RFC 7519 §4.1.3).
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Audience {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Default)]
enum TeamsClaim {
    #[default]
    Absent,
    Null,
    Listed(Vec<Team>),
}

/// A team by its id, or as the login writes it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Team {
    Id(String),
    Whole { id: String },
}

/// The scopes of an API token, or a list as OAuth has it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ScopesClaim {
    Names(Vec<String>),
    Whole(ScopesObject),
}

#[derive(Debug, Deserialize)]
struct ScopesObject {
    #[serde(default)]
    server_id: Option<String>,
    #[serde(default)]
    permissions: Option<Vec<String>>,
    #[serde(default)]
    ip_restrictions: Option<Vec<String>>,
    #[serde(default)]
    time_restrictions: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What claims must be besides signed.
#[derive(Debug, Clone)]
pub struct Demands {
    /// The issuer, if it is checked.
    pub issuer: Option<String>,
    /// The audience, if it is checked.
    pub audience: Option<String>,
    /// Whether there must be an end.
    pub expiration_required: bool,
    /// The user who is an administrator without saying so.
    pub admin_email: String,
}

/// When a token is good: in seconds since the epoch, from the first to before the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first second.
    pub begins_at: u64,
    /// The first second in which it is good no more; `u64::MAX` for no end.
    pub ends_at: u64,
}

/// How far the issuer's clock may run ahead of ours for `nbf`; `exp` has no such grace, so that no
/// token is ever good after its end.
pub(super) const NBF_LEEWAY_S: u64 = 10;

impl Span {
    /// Refuses a token outside its time.
    pub fn check(self, now: u64) -> Result<(), Fault> {
        match now {
            _ if now >= self.ends_at => Err(Fault::Expired),
            _ if now < self.begins_at => Err(Fault::NotYet),
            _ => Ok(()),
        }
    }
}

impl Claims {
    /// Compares the claims with what is demanded and gives their caller and their time.
    pub fn into_caller(self, demands: &Demands) -> Result<(Caller, Span), Fault> {
        self.check_parties(demands)?;
        let span = self.span(demands)?;
        let scopes = self.scopes.map(ScopesClaim::into_scopes).transpose()?;
        let (user_email, user_is_admin) =
            self.user.map_or((None, None), |user| (user.email, user.is_admin));
        let is_admin = self.is_admin == Some(true)
            || user_is_admin == Some(true)
            || self.sub.as_ref() == Some(&demands.admin_email);
        let is_use = |word: &str| self.token_use.as_deref() == Some(word);
        let (is_session, is_api_token) = (is_use("session"), is_use("api"));
        // A login's `sub` is the id of the user, whose address then stands in `user`.
        let is_ours = |id: &&String| (is_session || is_api_token) && is_record_id(id);
        let user_id = self.sub.as_ref().filter(is_ours).cloned();
        let names = [user_email, self.sub, self.email, self.username];
        let email = names.into_iter().flatten().find(|name| !name.is_empty());
        let email = email.ok_or(Fault::Nobody)?;
        let expires_at = (span.ends_at != u64::MAX).then_some(span.ends_at);
        let caller = Caller {
            email,
            user_id,
            is_admin,
            is_session,
            is_api_token,
            api_token_id: None,
            teams: self.teams.into(),
            scopes,
            token_id: self.jti,
            expires_at,
            issued_at: self.iat.map(|iat| iat.floor() as i64),
            foreign: None,
            must_change_password: false,
            claims: None,
            rights: Rights::none(),
        };
        Ok((caller, span))
    }

    fn check_parties(&self, demands: &Demands) -> Result<(), Fault> {
        if let Some(issuer) = &demands.issuer
            && self.iss.as_ref() != Some(issuer)
        {
            return Err(Fault::Issuer);
        }
        let Some(audience) = &demands.audience else { return Ok(()) };
        let is_ours = match &self.aud {
            Audience::None => false,
            Audience::One(name) => name == audience,
            Audience::Several(names) => names.contains(audience),
        };
        if is_ours { Ok(()) } else { Err(Fault::Audience) }
    }

    fn span(&self, demands: &Demands) -> Result<Span, Fault> {
        if demands.expiration_required && self.exp.is_none() {
            return Err(Fault::Endless);
        }
        // A cast of a float saturates: below 0 is 0 (long past), above `u64::MAX` is no end.
        let begins_at = self.nbf.map_or(0, |nbf| nbf.ceil() as u64);
        let ends_at = self.exp.map_or(u64::MAX, |exp| exp.floor() as u64);
        Ok(Span { begins_at: begins_at.saturating_sub(NBF_LEEWAY_S), ends_at })
    }
}

/// Whether a text has the form of the ids that this gateway gives: those of others differ.
fn is_record_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|letter| matches!(letter, b'0'..=b'9' | b'a'..=b'f'))
}

impl From<TeamsClaim> for Teams {
    fn from(claim: TeamsClaim) -> Teams {
        match claim {
            TeamsClaim::Absent => Teams::Absent,
            TeamsClaim::Null => Teams::Null,
            TeamsClaim::Listed(teams) => Teams::Listed(
                teams.into_iter().map(|(Team::Id(id) | Team::Whole { id })| id).collect(),
            ),
        }
    }
}

impl ScopesClaim {
    fn into_scopes(self) -> Result<Scopes, Fault> {
        let whole = match self {
            ScopesClaim::Names(permissions) => {
                return Ok(Scopes { permissions, ..Scopes::default() });
            }
            ScopesClaim::Whole(whole) => whole,
        };
        let addresses = whole.ip_restrictions.unwrap_or_default();
        let bounds = Restrictions::read(&addresses, whole.time_restrictions.as_ref());
        let restrictions = bounds.map_err(|_| Fault::Restricted)?.map(Arc::new);
        let permissions = whole.permissions.unwrap_or_default();
        Ok(Scopes { server_id: whole.server_id, permissions, restrictions })
    }
}

/// Reads a value that may be absent and may not be `null`.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    f64::deserialize(from).map(Some)
}

/// Tells `null` from a list; absence is the default.
fn teams<'de, D: Deserializer<'de>>(from: D) -> Result<TeamsClaim, D::Error> {
    let list = Option::<Vec<Team>>::deserialize(from)?;
    Ok(list.map_or(TeamsClaim::Null, TeamsClaim::Listed))
}
