//! Secrets of upstreams and agents: read from a request, masked in every answer, never in an error
//! or log.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use storage::record::AuthType;

use super::fields::Fields;
use crate::catalog::Upstream;
use crate::settings::{MASK, is_mask};

/// The most headers that prove us to one upstream: the contract's bound.
const HEADER_COUNT_MAX: usize = 100;

/// Headers that belong to the connection: written by us, and another copy could make two readers
/// see two requests.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// How we prove ourselves from now on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// In which way; `None` for not at all.
    pub kind: Option<AuthType>,
    /// The headers that do so; a key that begins with `?` is a query parameter.
    pub headers: BTreeMap<String, String>,
}

/// The stored secrets of a record that is being changed; none of a new one.
#[derive(Clone, Copy, Default)]
pub struct Stored<'a> {
    kind: Option<AuthType>,
    headers: &'a [(String, String)],
}

/// Where secrets of a record may travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// In headers alone.
    Headers,
    /// In headers, or in a parameter of the query.
    HeadersOrQuery,
}

/// Reads the fields of authentication; `None` if they say nothing new.
///
/// A value that is the mask stands for the stored one.
pub fn read_auth(fields: &mut Fields, stored: Stored<'_>, ways: Ways) -> Option<Auth> {
    match kind(fields, &stored, ways)? {
        None => Some(Auth::default()),
        Some(AuthType::Basic) => basic(fields, &stored),
        Some(AuthType::Bearer) => bearer(fields, &stored),
        Some(AuthType::QueryParam) => query_param(fields, &stored),
        Some(_) => headers(fields, &stored),
    }
}

/// The way that is meant: the one named, or the only one that the fields sent can mean.
fn kind(fields: &mut Fields, stored: &Stored<'_>, ways: Ways) -> Option<Option<AuthType>> {
    let in_query = ways == Ways::HeadersOrQuery;
    let read = |text: &str| match text.to_ascii_lowercase().as_str() {
        "" | "none" => Some(None),
        "basic" => Some(Some(AuthType::Basic)),
        "bearer" => Some(Some(AuthType::Bearer)),
        "authheaders" => Some(Some(AuthType::AuthHeaders)),
        "query_param" if in_query => Some(Some(AuthType::QueryParam)),
        // Of the contract's earlier line: a key that travels as a bearer token.
        "api_key" if in_query => Some(Some(AuthType::Bearer)),
        _ => None,
    };
    if fields.given("auth_type").is_some() {
        let form = match in_query {
            true => "basic, bearer, authheaders, query_param or none",
            false => "basic, bearer, authheaders or none",
        };
        return fields.word("auth_type", read, form);
    }
    let is_sent = |name: &str| fields.given(name).is_some_and(|value| value != "");
    let known = [
        (AuthType::Basic, ["auth_username", "auth_password"]),
        (AuthType::Bearer, ["auth_token", "auth_token"]),
        (AuthType::AuthHeaders, ["auth_headers", "auth_header_key"]),
        (AuthType::QueryParam, ["auth_query_param_key", "auth_query_param_value"]),
    ];
    let known = &known[..if in_query { 4 } else { 3 }];
    let sent = known.iter().filter(|(_, names)| names.iter().any(|name| is_sent(name)));
    let sent: Vec<AuthType> = sent.map(|(kind, _)| *kind).collect();
    match sent[..] {
        [] => None,
        [only] => Some(Some(only)),
        // Whoever sends back what was read sends the fields of every way.
        _ => stored.kind.map(Some),
    }
}

fn basic(fields: &mut Fields, stored: &Stored<'_>) -> Option<Auth> {
    let (former_name, former_password) = stored.basic().unzip();
    let name = fields.text("auth_username").filter(|text| !text.is_empty()).or(former_name);
    let password = unmasked(fields, "auth_password", former_password);
    if name.is_none() {
        fields.missing("auth_username");
    }
    let (name, password) = (name?, password?);
    if name.contains(':') || name.chars().any(char::is_control) {
        fields.error("auth_username", "A user name cannot contain a colon or control characters");
    }
    let pair = BASE64.encode(format!("{name}:{password}"));
    Some(Auth::authorization(AuthType::Basic, format!("Basic {pair}")))
}

fn bearer(fields: &mut Fields, stored: &Stored<'_>) -> Option<Auth> {
    // The contract's earlier line had one field for every kind of secret.
    let is_in_value = fields.given("auth_token").is_none() && fields.given("auth_value").is_some();
    let field = if is_in_value { "auth_value" } else { "auth_token" };
    let token = unmasked(fields, field, stored.bearer())?;
    if !is_header_value(&token) {
        fields.hidden_error("auth_token", "A token cannot contain control characters");
    }
    Some(Auth::authorization(AuthType::Bearer, format!("Bearer {token}")))
}

fn query_param(fields: &mut Fields, stored: &Stored<'_>) -> Option<Auth> {
    let (former_key, former_value) = stored.query_param().unzip();
    let key = fields.text("auth_query_param_key").filter(|key| !key.is_empty()).or(former_key);
    if key.is_none() {
        fields.missing("auth_query_param_key");
    }
    let value = unmasked(fields, "auth_query_param_value", former_value);
    let (key, value) = (key?, value?);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !key.bytes().all(is_name) {
        let message = "The name of a query parameter may contain letters, digits, - _ and . only";
        fields.error("auth_query_param_key", message);
    }
    let headers = BTreeMap::from([(format!("?{key}"), value)]);
    Some(Auth { kind: Some(AuthType::QueryParam), headers })
}

fn headers(fields: &mut Fields, stored: &Stored<'_>) -> Option<Auth> {
    let pairs = match fields.given("auth_headers") {
        Some(Value::Array(items)) if !items.is_empty() => Some(items.clone()),
        Some(Value::Array(_)) | None => None,
        Some(_) => {
            fields.hidden_error("auth_headers", "Input should be a list of {key, value}");
            return None;
        }
    };
    let mut headers = BTreeMap::new();
    let Some(items) = pairs else {
        let key = fields.text("auth_header_key").filter(|key| !key.is_empty());
        if key.is_none() {
            fields.missing("auth_headers");
        }
        let key = key?;
        let value = unmasked(fields, "auth_header_value", stored.header(&key));
        add(fields, &mut headers, "auth_header", &key, value?);
        return Some(Auth { kind: Some(AuthType::AuthHeaders), headers });
    };
    if items.len() > HEADER_COUNT_MAX {
        let message = format!("At most {HEADER_COUNT_MAX} headers are allowed");
        fields.hidden_error("auth_headers", message);
    }
    for (index, item) in items.iter().take(HEADER_COUNT_MAX).enumerate() {
        let place = format!("auth_headers.{index}");
        let text = |name: &str| item.get(name).and_then(Value::as_str);
        let Some(key) = text("key").map(str::trim).filter(|key| !key.is_empty()) else {
            fields.missing(&format!("{place}.key"));
            continue;
        };
        match text("value").map(str::to_owned) {
            Some(value) if is_mask(&value) => match stored.header(key) {
                Some(value) => add(fields, &mut headers, &place, key, value),
                None => fields.hidden_error(&format!("{place}.value"), MASKED),
            },
            Some(value) => add(fields, &mut headers, &place, key, value),
            None => fields.missing(&format!("{place}.value")),
        }
    }
    Some(Auth { kind: Some(AuthType::AuthHeaders), headers })
}

/// What is wrong with a mask that stands for nothing.
pub const MASKED: &str = "This is the mask of a secret, and none is stored that it could stand for";

/// A secret that was sent; the stored one if the mask was, or nothing.
fn unmasked(fields: &mut Fields, name: &str, stored: Option<String>) -> Option<String> {
    match fields.secret(name).filter(|text| !text.is_empty()) {
        Some(text) if !is_mask(&text) => return Some(text),
        Some(_) if stored.is_none() => fields.hidden_error(name, MASKED),
        None if stored.is_none() => fields.missing(name),
        _ => {}
    }
    stored
}

/// Adds one header, if name and value may travel.
fn add(
    fields: &mut Fields,
    headers: &mut BTreeMap<String, String>,
    place: &str,
    key: &str,
    value: String,
) {
    let separator = if place == "auth_header" { "_" } else { "." };
    let at = |part: &str| format!("{place}{separator}{part}");
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !key.bytes().all(is_name) {
        let message = format!("Header name {key:?} may contain letters, digits, - and _ only");
        fields.hidden_error(&at("key"), message);
    } else if RESERVED.iter().any(|name| name.eq_ignore_ascii_case(key)) {
        let message =
            format!("Header {key} belongs to the connection and is written by the gateway");
        fields.hidden_error(&at("key"), message);
    } else if headers.keys().any(|other| other.eq_ignore_ascii_case(key)) {
        fields.hidden_error(&at("key"), format!("Header {key} is there twice"));
    } else if !is_header_value(&value) {
        fields.hidden_error(&at("value"), "A header value cannot contain control characters");
    } else {
        headers.insert(key.to_owned(), value);
    }
}

fn is_header_value(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Reads the environment of a child process; `None` if none was sent.
pub fn read_environment(
    fields: &mut Fields,
    stored: Option<&Upstream>,
) -> Option<BTreeMap<String, String>> {
    let Value::Object(given) = fields.given("env")?.clone() else {
        fields.hidden_error("env", "Input should be an object of names and values");
        return None;
    };
    let mut environment = BTreeMap::new();
    for (name, value) in given {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => {
                fields.hidden_error("env", format!("The value of {name:?} should be a text"));
                continue;
            }
        };
        let former = stored.and_then(|stored| stored.environment.get(&name));
        match (is_mask(&text), former) {
            (true, Some(former)) => environment.insert(name, former.clone()),
            (true, None) => {
                fields.hidden_error("env", format!("{name}: {MASKED}"));
                None
            }
            _ if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') => {
                fields.hidden_error("env", format!("{name:?} cannot be set in an environment"));
                None
            }
            _ => environment.insert(name, text),
        };
    }
    Some(environment)
}

impl Auth {
    fn authorization(kind: AuthType, value: String) -> Auth {
        let headers = BTreeMap::from([("Authorization".to_owned(), value)]);
        Auth { kind: Some(kind), headers }
    }
}

impl<'a> Stored<'a> {
    /// What is stored of a record that proves us by `kind` with `headers`.
    pub fn new(kind: Option<AuthType>, headers: &'a [(String, String)]) -> Stored<'a> {
        Stored { kind, headers }
    }

    /// What is stored of an upstream; nothing of a new one.
    pub fn of(upstream: Option<&'a Upstream>) -> Stored<'a> {
        upstream.map_or_else(Stored::default, |upstream| {
            Stored::new(upstream.record.auth_type, &upstream.headers)
        })
    }

    /// The query parameter that proves us, and its value.
    pub fn query_param(&self) -> Option<(String, String)> {
        let found =
            self.headers.iter().find_map(|(key, value)| Some((key.strip_prefix('?')?, value)));
        found.map(|(key, value)| (key.to_owned(), value.clone()))
    }

    fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }

    fn bearer(&self) -> Option<String> {
        self.header("authorization")?.strip_prefix("Bearer ").map(str::to_owned)
    }

    /// The user name and password.
    pub fn basic(&self) -> Option<(String, String)> {
        let value = self.header("authorization")?;
        let pair = BASE64.decode(value.strip_prefix("Basic ")?).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (name, password) = pair.split_once(':')?;
        Some((name.to_owned(), password.to_owned()))
    }
}

/// How the secrets of an upstream are shown: that they are there, not what they are.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    auth_type: Option<&'static str>,
    auth_value: Option<&'static str>,
    auth_username: Option<String>,
    auth_password: Option<&'static str>,
    auth_token: Option<&'static str>,
    auth_header_key: Option<String>,
    auth_header_value: Option<&'static str>,
    auth_headers: Option<Vec<ShownHeader>>,
    env: Option<BTreeMap<String, &'static str>>,
}

#[derive(Serialize, JsonSchema)]
struct ShownHeader {
    key: String,
    value: &'static str,
}

impl Shown {
    /// Masks the secrets of an upstream.
    pub fn new(upstream: &Upstream) -> Shown {
        let environment: BTreeMap<_, _> =
            upstream.environment.keys().map(|name| (name.clone(), MASK)).collect();
        Shown {
            env: (!environment.is_empty()).then_some(environment),
            ..Shown::of(Stored::of(Some(upstream)))
        }
    }

    fn of(stored: Stored<'_>) -> Shown {
        let kind = stored.kind;
        let mask = |of: AuthType| (kind == Some(of)).then_some(MASK);
        let headers: Vec<ShownHeader> = (stored.headers.iter())
            .map(|(key, _)| ShownHeader { key: key.clone(), value: MASK })
            .collect();
        let first = headers.first().map(|header| header.key.clone());
        Shown {
            auth_type: kind.map(AuthType::as_str),
            auth_value: kind.map(|_| MASK),
            auth_username: mask(AuthType::Basic).and(stored.basic()).map(|(name, _)| name),
            auth_password: mask(AuthType::Basic),
            auth_token: mask(AuthType::Bearer),
            auth_header_key: mask(AuthType::AuthHeaders).and(first),
            auth_header_value: mask(AuthType::AuthHeaders),
            auth_headers: mask(AuthType::AuthHeaders).map(|_| headers),
            env: None,
        }
    }
}

/// The same of what has no environment, and may prove us in its query.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShownWithQuery {
    #[serde(flatten)]
    headers: Shown,
    auth_query_param_key: Option<String>,
    auth_query_param_value_masked: Option<&'static str>,
}

impl ShownWithQuery {
    /// Masks stored secrets.
    pub fn new(stored: Stored<'_>) -> ShownWithQuery {
        let key = stored.query_param().map(|(key, _)| key);
        ShownWithQuery {
            auth_query_param_value_masked: key.is_some().then_some(MASK),
            auth_query_param_key: key,
            headers: Shown::of(stored),
        }
    }
}

#[cfg(test)]
mod tests;
