//! The claims of another issuer's token: whom they name here, and what for.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use crate::auth::access::Rights;
use crate::auth::caller::{Caller, Foreign, Scopes, Teams};
use crate::auth::claims::{NBF_LEEWAY_S, Span};
use crate::auth::error::Fault;
use crate::auth::token;
use crate::permission::Permission;
use crate::settings::ExternalIssuer;

/// The longest address of mail (RFC 5321 §4.5.3.1).
const ADDRESS_SIZE_MAX: usize = 254;

/// How many groups of a token are looked at.
const GROUP_COUNT_MAX: usize = 1000;

/// Checks the signature of `token` and reads what it says. The key must be `issuer`'s.
pub fn read(
    token: &[u8],
    key: &DecodingKey,
    algorithm: Algorithm,
    issuer: &ExternalIssuer,
) -> Result<(Caller, Span), Fault> {
    let claims = verified(token, key, algorithm, &issuer.issuer)?;
    let span = span(&claims)?;
    let email = address(&claims, &issuer.email_claim)?;
    let groups = issuer.groups_claim.as_deref().map(|name| groups(&claims, name));
    let groups = groups.unwrap_or_default();
    let scopes = words(&claims);
    let is_admin = groups.iter().any(|group| issuer.admin_groups.contains(group));
    let mapped: Vec<String> =
        groups.iter().filter_map(|group| issuer.team_mapping.get(group).cloned()).collect();
    let foreign =
        Foreign { issuer: issuer.issuer.as_str().into(), audiences: audiences(&claims), scopes };
    let caller = Caller {
        email,
        is_admin,
        // Where groups mean nothing, its user's teams are those of the database.
        is_session: issuer.team_mapping.is_empty(),
        teams: match issuer.team_mapping.is_empty() {
            true => Teams::Absent,
            false => Teams::Listed(mapped),
        },
        scopes: permissions(&foreign.scopes),
        token_id: None,
        expires_at: Some(span.ends_at),
        issued_at: seconds(&claims, "iat"),
        rights: Rights::none(),
        foreign: Some(foreign.into()),
        claims: token::payload(token),
        ..Caller::nobody()
    };
    Ok((caller, span))
}

/// Checks a token that says who logged in (OpenID Connect Core §3.1.3.7), but for its nonce, and
/// gives its claims.
///
/// # Errors
///
/// [`Fault`]: what is wrong with it.
pub fn read_id_token(
    token: &[u8],
    key: &DecodingKey,
    algorithm: Algorithm,
    (issuer, client_id): (&str, &str),
    now: u64,
) -> Result<Map<String, Value>, Fault> {
    let claims = verified(token, key, algorithm, issuer)?;
    span(&claims)?.check(now)?;
    let audiences = audiences(&claims);
    let party = claims.get("azp").and_then(Value::as_str);
    let is_ours = audiences.iter().any(|name| name == client_id)
        && (audiences.len() == 1 || party.is_some())
        && party.is_none_or(|party| party == client_id);
    if is_ours { Ok(claims) } else { Err(Fault::Audience) }
}

fn verified(
    token: &[u8],
    key: &DecodingKey,
    algorithm: Algorithm,
    issuer: &str,
) -> Result<Map<String, Value>, Fault> {
    let data = jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation(algorithm))
        .map_err(|error| token::fault(error.kind()))?;
    if data.header.crit.is_some() {
        return Err(Fault::Malformed);
    }
    match data.claims.get("iss").and_then(Value::as_str) == Some(issuer) {
        true => Ok(data.claims),
        false => Err(Fault::Issuer),
    }
}

/// The library checks algorithm and signature; claims are compared here.
fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

/// Others' tokens always end: nobody here could revoke one that does not.
fn span(claims: &Map<String, Value>) -> Result<Span, Fault> {
    if claims.get("exp").is_none() {
        return Err(Fault::Endless);
    }
    let ends_at = seconds(claims, "exp").ok_or(Fault::Malformed)?;
    let begins_at = match claims.get("nbf") {
        Some(_) => seconds(claims, "nbf").ok_or(Fault::Malformed)?,
        None => 0,
    };
    let unsigned = |at: i64| u64::try_from(at).unwrap_or(0);
    let begins_at = unsigned(begins_at).saturating_sub(NBF_LEEWAY_S);
    Ok(Span { begins_at, ends_at: unsigned(ends_at) })
}

fn seconds(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    claims.get(name)?.as_f64().map(|at| at.floor() as i64)
}

fn audiences(claims: &Map<String, Value>) -> Vec<String> {
    match claims.get("aud") {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// The address that a token names, which its issuer must not call unverified.
fn address(claims: &Map<String, Value>, name: &str) -> Result<String, Fault> {
    let text = find(claims, name).and_then(Value::as_str).unwrap_or_default();
    let email = plain_address(text).ok_or(Fault::Nobody)?;
    if is_verified(claims) == Some(false) { Err(Fault::Unverified) } else { Ok(email) }
}

/// An address of mail in lower case, if the text can be one.
pub fn plain_address(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let is_plain = |letter: char| !letter.is_control() && !letter.is_whitespace();
    let is_whole = |(name, domain): (&str, &str)| {
        !name.is_empty() && !domain.is_empty() && !domain.contains('@')
    };
    let is_sound = email.len() <= ADDRESS_SIZE_MAX
        && email.chars().all(is_plain)
        && email.split_once('@').is_some_and(is_whole);
    is_sound.then_some(email)
}

/// Whether claims call their address verified; `None` if they do not say.
pub fn is_verified(claims: &Map<String, Value>) -> Option<bool> {
    match claims.get("email_verified")? {
        Value::Bool(verified) => Some(*verified),
        // Some providers write it as a text.
        Value::String(verified) => Some(verified == "true"),
        Value::Null => None,
        _ => Some(false),
    }
}

/// The groups of a token: a list of texts, or a text of words.
pub fn groups(claims: &Map<String, Value>, name: &str) -> Vec<String> {
    let texts: Vec<&str> = match find(claims, name) {
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(words)) => words.split_whitespace().collect(),
        _ => Vec::new(),
    };
    texts.into_iter().take(GROUP_COUNT_MAX).map(str::to_owned).collect()
}

/// A claim by its name, or by a path of names with dots between (`realm_access.roles`); one that is
/// null is none.
pub fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = claims.get(name).or_else(|| {
        let mut parts = name.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    });
    found.filter(|value| !value.is_null())
}

/// The scopes of a token (RFC 9068 §2.2.3), which some issuers write as the list `scp`.
fn words(claims: &Map<String, Value>) -> Vec<String> {
    let mut words = groups(claims, "scope");
    words.extend(groups(claims, "scp"));
    words
}

/// Scopes that are permissions of ours bound the token to them; others say nothing here.
fn permissions(scopes: &[String]) -> Option<Scopes> {
    let ours: Vec<String> = scopes
        .iter()
        .filter(|scope| Permission::ALL.iter().any(|known| known.as_str() == scope.as_str()))
        .cloned()
        .collect();
    (!ours.is_empty()).then_some(Scopes { permissions: ours, ..Scopes::default() })
}
