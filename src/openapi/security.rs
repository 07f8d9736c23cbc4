//! How an operation wants to know who calls: security schemes as the authentication of a tool.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{Document, Options, operation::Operation};

/// A proof that an operation asks for.
struct Demand<'d> {
    /// The name of the scheme.
    name: &'d str,
    kind: Kind<'d>,
}

/// How a secret travels.
enum Kind<'d> {
    Bearer,
    Basic,
    Header(&'d str),
    Query(&'d str),
    Cookie(&'d str),
    /// In a way that tools have not: mutual TLS, digest.
    Other(String),
}

/// Adds the authentication to a tool: of the alternatives that the document gives, the first for
/// which all secrets are known, or a note of what is missing.
///
/// # Errors
///
/// A sentence: the secrets cannot travel together, or one has no colon where it must.
pub fn apply(
    document: &Document,
    operation: &Operation<'_>,
    options: &Options,
    fields: &mut Map<String, Value>,
    notes: &mut Vec<String>,
) -> Result<(), String> {
    let own = asked(document, operation);
    let alternatives = alternatives(document, own)?;
    let known = |demand: &Demand<'_>| options.credentials.contains_key(demand.name);
    let of_known = |demands: &&Vec<Demand<'_>>| !demands.is_empty() && demands.iter().all(known);
    if let Some(demands) = alternatives.iter().find(of_known) {
        fields.extend(authentication(demands, options)?);
        return Ok(());
    }
    if alternatives.is_empty() && own.is_some() {
        return Ok(());
    }
    // A document that says nothing of security may still be of an API that asks for it.
    fields.extend(options.auth.clone());
    if options.auth.is_empty()
        && !alternatives.is_empty()
        && alternatives.iter().all(|d| !d.is_empty())
    {
        let texts: Vec<String> = alternatives.iter().map(|demands| spelled(demands)).collect();
        notes.push(format!("without credentials: it asks for {}", texts.join(", or ")));
    }
    Ok(())
}

/// What an operation, or else the document, asks for.
fn asked<'d>(document: &'d Document, operation: &Operation<'d>) -> Option<&'d Value> {
    operation.value.get("security").or_else(|| document.get("security"))
}

fn alternatives<'d>(
    document: &'d Document,
    asked: Option<&'d Value>,
) -> Result<Vec<Vec<Demand<'d>>>, String> {
    let requirements = asked.and_then(Value::as_array).into_iter().flatten();
    requirements.map(|requirement| demands(document, requirement)).collect()
}

/// Returns true if the parameter is the proof that the operation asks for: it is the gateway's to
/// send, not the model's.
pub fn is_proof<'d>(
    document: &'d Document,
    operation: &Operation<'d>,
    place: &str,
    name: &str,
) -> bool {
    let alternatives = alternatives(document, asked(document, operation)).unwrap_or_default();
    alternatives.iter().flatten().any(|demand| match demand.kind {
        Kind::Header(header) => place == "header" && header.eq_ignore_ascii_case(name),
        Kind::Query(key) => place == "query" && key == name,
        Kind::Cookie(cookie) => place == "cookie" && cookie == name,
        Kind::Bearer | Kind::Basic | Kind::Other(_) => false,
    })
}

fn demands<'d>(document: &'d Document, requirement: &'d Value) -> Result<Vec<Demand<'d>>, String> {
    let schemes = document.get("components").and_then(|all| all.get("securitySchemes"));
    let names = requirement.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    names
        .map(|name| {
            let scheme = schemes.and_then(|all| all.get(name));
            let kind = match scheme {
                Some(scheme) => kind(document.resolve(scheme)?),
                None => Kind::Other("a scheme that the document does not define".to_owned()),
            };
            Ok(Demand { name, kind })
        })
        .collect()
}

fn kind(scheme: &Value) -> Kind<'_> {
    let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "http" => match text("scheme").to_ascii_lowercase().as_str() {
            "bearer" => Kind::Bearer,
            "basic" => Kind::Basic,
            other => Kind::Other(format!("HTTP {other:.50}")),
        },
        "oauth2" | "openIdConnect" => Kind::Bearer,
        "apiKey" => match text("in") {
            "header" => Kind::Header(text("name")),
            "query" => Kind::Query(text("name")),
            "cookie" => Kind::Cookie(text("name")),
            other => Kind::Other(format!("a key in {other:.50}")),
        },
        other => Kind::Other(format!("{other:.50}")),
    }
}

fn spelled(demands: &[Demand<'_>]) -> String {
    let texts = demands.iter().map(|Demand { name, kind }| match kind {
        Kind::Bearer => format!("{name} (a bearer token)"),
        Kind::Basic => format!("{name} (user:password)"),
        Kind::Header(header) => format!("{name} (the header {header})"),
        Kind::Query(key) => format!("{name} (the query parameter {key})"),
        Kind::Cookie(cookie) => format!("{name} (the cookie {cookie})"),
        Kind::Other(what) => format!("{name} ({what}, which tools have not)"),
    });
    texts.collect::<Vec<_>>().join(" and ")
}

/// The fields of `POST /tools` that carry the secrets.
fn authentication(demands: &[Demand<'_>], options: &Options) -> Result<Map<String, Value>, String> {
    let mut headers = Vec::new();
    let mut query = None;
    for Demand { name, kind } in demands {
        let secret = options.credentials.get(*name).map(String::as_str).unwrap_or_default();
        match kind {
            Kind::Bearer => headers.push(("Authorization", format!("Bearer {secret}"))),
            Kind::Basic if !secret.contains(':') => {
                return Err(format!("the credentials of {name} need a colon: user:password"));
            }
            Kind::Basic => {
                headers.push(("Authorization", format!("Basic {}", STANDARD.encode(secret))));
            }
            Kind::Header(header) => headers.push((header, secret.to_owned())),
            Kind::Cookie(cookie) => headers.push(("Cookie", format!("{cookie}={secret}"))),
            Kind::Query(key) => query = Some((*key, secret)),
            Kind::Other(what) => return Err(format!("it asks for {what}, which tools have not")),
        }
    }
    let fields = match (query, headers.is_empty()) {
        (Some((key, secret)), true) => json!({"auth_type": "query_param",
            "auth_query_param_key": key, "auth_query_param_value": secret}),
        (Some(_), false) => {
            return Err("it asks for secrets in the query and in headers at once".to_owned());
        }
        (None, _) => {
            let headers: Vec<Value> = headers
                .into_iter()
                .map(|(key, value)| json!({"key": key, "value": value}))
                .collect();
            json!({"auth_type": "authheaders", "auth_headers": headers})
        }
    };
    Ok(fields.as_object().cloned().unwrap_or_default())
}
