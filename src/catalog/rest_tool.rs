//! A REST tool as the data plane needs it: its specification read and checked once, when it enters
//! the catalog.
//!
//! Credentials are part of it, so it shows nothing of itself to a log.

use std::{collections::BTreeMap, fmt, time::Duration};

use net::http1::{Method, encode as http};
use serde::Deserialize;

mod template;

pub use template::{UrlTemplate, encode};

/// Longest filter, in bytes.
const FILTER_SIZE_MAX: usize = 16 * 1024;

/// Fields that the gateway itself writes, or that would break the framing of a request.
const RESERVED: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// How arguments that are nowhere else are written into a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// An object of JSON.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`, files among them.
    Multipart,
}

/// How a REST service is called.
pub struct RestTool {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: UrlTemplate,
    /// Arguments that become parameters of the query: the argument's name and the parameter's.
    pub query_names: Vec<(String, String)>,
    /// Arguments that become fields of the head: the argument's name and the field's.
    pub header_names: Vec<(String, String)>,
    /// The fields of every request, credentials among them, as lines of a head.
    pub lines: Vec<u8>,
    /// Parameters of the query that the operator chose, by the URL or as credentials: no argument
    /// may say them otherwise.
    pub fixed_names: Vec<String>,
    /// Credentials that travel in the query, encoded as `name=value` and joined by `&`.
    pub query_credentials: String,
    /// How the rest of the arguments is written; `None` if it goes to the query.
    pub body: Option<BodyFormat>,
    /// The content type that the operator chose for the body.
    pub has_content_type: bool,
    /// `Accept` is among [`RestTool::lines`].
    pub has_accept: bool,
    /// What is made of the answer: a program of jq.
    pub filter: Option<String>,
    /// How long a call may take in all.
    pub within: Option<Duration>,
    /// Most calls at once, on a shard.
    pub concurrency_max: Option<usize>,
    /// Most bytes of an answer.
    pub answer_size_max: Option<usize>,
    /// What must not be shown to anybody, should the service repeat it.
    pub secrets: Vec<String>,
}

impl fmt::Debug for RestTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestTool").field("origin", &self.url.origin).finish_non_exhaustive()
    }
}

/// The stored specification, as `Tool::rest` has it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Stored {
    url: Option<String>,
    request_type: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    jsonpath_filter: Option<String>,
    base_url: Option<String>,
    path_template: Option<String>,
    query_mapping: Option<BTreeMap<String, String>>,
    header_mapping: Option<BTreeMap<String, String>>,
    timeout_ms: Option<u64>,
    allowlist: Option<Vec<String>>,
    body_format: Option<String>,
    concurrency_limit: Option<usize>,
    response_size_max: Option<usize>,
}

impl RestTool {
    /// Reads a stored specification. `credentials` are names and values of header fields; a name
    /// that begins with `?` is that of a query parameter.
    ///
    /// # Errors
    ///
    /// A sentence for whoever typed it: what is wrong and what would be right. It holds no
    /// credential.
    pub fn new(rest: &str, credentials: &[(String, String)]) -> Result<RestTool, String> {
        let stored: Stored = serde_json::from_str(rest)
            .map_err(|error| format!("The specification of the tool cannot be read: {error}"))?;
        let url = UrlTemplate::parse(&stored.address()?)?;
        check_host(&url, stored.allowlist.as_deref().unwrap_or_default())?;
        let method = method(stored.request_type.as_deref())?;
        let headers = stored.headers.unwrap_or_default();
        let has = |name: &str| headers.keys().any(|other| other.eq_ignore_ascii_case(name));
        let body = body_format(method, stored.body_format.as_deref(), &headers)?;
        let has_content_type = has("content-type") && body != Some(BodyFormat::Multipart);
        let has_accept = has("accept");
        let (lines, query_credentials) = lines(&headers, credentials, has_content_type)?;
        let in_query = credentials.iter().filter_map(|(name, _)| name.strip_prefix('?'));
        let fixed_names: Vec<String> =
            url.query_names.iter().cloned().chain(in_query.map(str::to_owned)).collect();
        Ok(RestTool {
            method,
            url,
            query_names: query_names(stored.query_mapping.unwrap_or_default(), &fixed_names)?,
            fixed_names,
            header_names: header_names(stored.header_mapping.unwrap_or_default(), credentials)?,
            lines,
            query_credentials,
            body,
            has_content_type,
            has_accept,
            filter: filter(stored.jsonpath_filter)?,
            within: positive(stored.timeout_ms, "timeout_ms")?.map(Duration::from_millis),
            concurrency_max: positive(stored.concurrency_limit, "concurrency_limit")?,
            answer_size_max: positive(stored.response_size_max, "response_size_max")?,
            secrets: secrets(credentials),
        })
    }

    /// The method's name.
    pub fn method_name(&self) -> &'static str {
        METHODS.iter().find(|(_, method)| *method == self.method).map_or("GET", |(name, _)| name)
    }

    /// Whether a request that was executed twice has done no more than one that was executed once
    /// (RFC 9110 §9.2.2).
    pub fn is_idempotent(&self) -> bool {
        !matches!(self.method, Method::Post | Method::Patch)
    }
}

impl Stored {
    /// The URL: `url`, or else `base_url` and `path_template`.
    fn address(&self) -> Result<String, String> {
        let given = |field: &Option<String>| field.clone().filter(|text| !text.trim().is_empty());
        match (given(&self.url), given(&self.base_url), given(&self.path_template)) {
            (Some(url), _, _) => Ok(url),
            (None, Some(base), None) => Ok(base),
            (None, Some(base), Some(path)) => {
                Ok(format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/')))
            }
            (None, None, _) => Err("A REST tool needs a url, or a base_url".to_owned()),
        }
    }
}

const METHODS: [(&str, Method); 7] = [
    ("GET", Method::Get),
    ("POST", Method::Post),
    ("PUT", Method::Put),
    ("PATCH", Method::Patch),
    ("DELETE", Method::Delete),
    ("HEAD", Method::Head),
    ("OPTIONS", Method::Options),
];

fn method(text: Option<&str>) -> Result<Method, String> {
    let text = text.unwrap_or("GET");
    let found = METHODS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, method)| *method).ok_or_else(|| {
        let names = METHODS.map(|(name, _)| name).join(", ");
        format!("{text:?} is no method of a REST tool; it is one of {names}")
    })
}

/// Methods without a body send what is left of the arguments in the query, unless the tool says how
/// a body is to be written; only DELETE may have one then.
fn body_format(
    method: Method,
    chosen: Option<&str>,
    headers: &BTreeMap<String, String>,
) -> Result<Option<BodyFormat>, String> {
    let chosen = match chosen.map(str::to_ascii_lowercase).as_deref() {
        None | Some("") => None,
        Some("json") => Some(BodyFormat::Json),
        Some("form") => Some(BodyFormat::Form),
        Some("multipart") => Some(BodyFormat::Multipart),
        Some(other) => {
            return Err(format!("body_format is json, form or multipart, not {other:?}"));
        }
    };
    match method {
        Method::Get | Method::Head | Method::Options => Ok(None),
        Method::Delete => Ok(chosen),
        _ => Ok(chosen.or_else(|| Some(format_of(headers)))),
    }
}

/// The format that a `Content-Type` asks for, as ContextForge reads it.
fn format_of(headers: &BTreeMap<String, String>) -> BodyFormat {
    let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let value = found.map(|(_, value)| value.to_ascii_lowercase()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim() {
        "application/x-www-form-urlencoded" => BodyFormat::Form,
        "multipart/form-data" => BodyFormat::Multipart,
        _ => BodyFormat::Json,
    }
}

/// The lines of every head, and what is added to every query.
fn lines(
    headers: &BTreeMap<String, String>,
    credentials: &[(String, String)],
    has_content_type: bool,
) -> Result<(Vec<u8>, String), String> {
    let (mut lines, mut query) = (Vec::new(), String::new());
    for (name, value) in headers {
        let is_body = name.eq_ignore_ascii_case("content-type");
        let is_replaced = credentials.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        check_field(name, value)?;
        if !is_replaced && (!is_body || has_content_type) {
            http::header(&mut lines, name, value.as_bytes());
        }
    }
    for (name, value) in credentials {
        match name.strip_prefix('?') {
            Some(name) => {
                query.push_str(if query.is_empty() { "" } else { "&" });
                encode(&mut query, name);
                query.push('=');
                encode(&mut query, value);
            }
            None => {
                check_field(name, value)?;
                http::header(&mut lines, name, value.as_bytes());
            }
        }
    }
    Ok((lines, query))
}

fn check_field(name: &str, value: &str) -> Result<(), String> {
    check_field_name(name)?;
    if breaks_line(value) {
        return Err(format!("The value of the header {name} must have no control characters"));
    }
    Ok(())
}

fn check_field_name(name: &str) -> Result<(), String> {
    if !http::is_token(name.as_bytes()) {
        return Err(format!("The header name {name:?} is none"));
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(format!("The header {name} is the gateway's own to set"));
    }
    Ok(())
}

/// Whether a value would end its line, or is no text.
pub fn breaks_line(value: &str) -> bool {
    value.chars().any(|letter| letter.is_control() && letter != '\t')
}

fn query_names(
    mapping: BTreeMap<String, String>,
    fixed: &[String],
) -> Result<Vec<(String, String)>, String> {
    match mapping.values().find(|name| fixed.contains(name)) {
        Some(name) => Err(format!("No argument may set the query parameter {name}")),
        None => Ok(mapping.into_iter().collect()),
    }
}

fn header_names(
    mapping: BTreeMap<String, String>,
    credentials: &[(String, String)],
) -> Result<Vec<(String, String)>, String> {
    for name in mapping.values() {
        check_field_name(name)?;
        let is_credential = credentials.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        if is_credential || name.eq_ignore_ascii_case("content-type") {
            return Err(format!("No argument may set the header {name}"));
        }
    }
    Ok(mapping.into_iter().collect())
}

/// Reads the filter. The contract's field is called after JSONPath and means jq.
fn filter(text: Option<String>) -> Result<Option<String>, String> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if text.len() > FILTER_SIZE_MAX {
        return Err(format!("jsonpath_filter is longer than {FILTER_SIZE_MAX} bytes"));
    }
    let trimmed = text.trim();
    let is_path =
        trimmed == "$" || ["$.", "$[", "$ "].iter().any(|beginning| trimmed.starts_with(beginning));
    if is_path {
        let jq =
            trimmed[1..].trim().replace("..", ".. | .").replace("[*]", "[]").replace(".*", "[]");
        let jq = if jq.starts_with('.') { jq } else { format!(".{jq}") };
        return Err(format!("jsonpath_filter is a program of jq, not JSONPath; perhaps {jq}"));
    }
    Ok(Some(text))
}

/// A bound that is given must leave room for something.
fn positive<N: PartialEq + Default>(bound: Option<N>, name: &str) -> Result<Option<N>, String> {
    match bound {
        Some(bound) if bound == N::default() => Err(format!("{name} must be at least 1")),
        bound => Ok(bound),
    }
}

/// Checks the host against the list of those that are allowed; an empty one allows any. An entry is
/// a host, `*.` and a domain, or either with a scheme or a port.
fn check_host(url: &UrlTemplate, allowed: &[String]) -> Result<(), String> {
    let fits = |entry: &String| {
        let entry = entry.trim().to_ascii_lowercase();
        let (scheme, rest) = match entry.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, entry.as_str()),
        };
        let rest = rest.split('/').next().unwrap_or_default();
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (host, Some(port))
            }
            _ => (rest, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host_fits = match host.strip_prefix("*.") {
            Some(domain) => {
                url.host.strip_suffix(domain).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
            }
            None => url.host == host,
        };
        let scheme_fits = scheme.is_none_or(|scheme| (scheme == "https") == url.tls);
        host_fits && scheme_fits && port.is_none_or(|port| port.parse() == Ok(url.port))
    };
    if allowed.is_empty() || allowed.iter().any(fits) {
        return Ok(());
    }
    Err(format!("The host {} is not in the tool's allowlist", url.host))
}

/// What of the credentials proves something: whole values, and what stands behind `Bearer `.
pub fn secrets(credentials: &[(String, String)]) -> Vec<String> {
    let values = credentials.iter().map(|(_, value)| value.as_str());
    let parts = values.flat_map(|value| [Some(value), value.split_once(' ').map(|(_, part)| part)]);
    let mut secrets: Vec<String> =
        parts.flatten().filter(|part| part.len() >= 4).map(str::to_owned).collect();
    // The longest first, so that no part of it stays.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(rest: serde_json::Value) -> Result<RestTool, String> {
        let credentials = [
            ("Authorization".to_owned(), "Bearer tok-s3cret".to_owned()),
            ("?api key".to_owned(), "k&y".to_owned()),
        ];
        RestTool::new(&rest.to_string(), &credentials)
    }

    #[test]
    fn reads_a_specification_with_its_credentials() {
        let tool = read(json!({
            "base_url": "https://api.example.com/v1/", "path_template": "/users/{id}",
            "request_type": "patch", "headers": {"X-A": "b", "authorization": "mine"},
            "timeout_ms": 250, "query_mapping": {"page": "p"}, "unknown": [1],
            "allowlist": ["*.example.com"]
        }))
        .expect("a tool");
        assert_eq!((tool.method, tool.method_name()), (Method::Patch, "PATCH"));
        assert_eq!(tool.body, Some(BodyFormat::Json));
        let lines = String::from_utf8(tool.lines.clone()).expect("text");
        assert_eq!(lines, "X-A: b\r\nAuthorization: Bearer tok-s3cret\r\n");
        assert_eq!(tool.query_credentials, "api%20key=k%26y");
        assert_eq!(tool.within, Some(Duration::from_millis(250)));
        assert_eq!(tool.secrets, ["Bearer tok-s3cret", "tok-s3cret"]);
        assert!(!format!("{tool:?}").contains("s3cret"));
    }

    #[test]
    fn refuses_what_it_could_not_call_and_says_why() {
        let url = "https://a.example/x";
        for (rest, expected) in [
            (json!({}), "needs a url"),
            (json!({"url": url, "request_type": "TRACE"}), "no method"),
            (json!({"url": url, "headers": {"Host": "b"}}), "gateway's own"),
            (json!({"url": url, "headers": {"X": "a\r\nb: c"}}), "control characters"),
            (json!({"url": url, "headers": {"X Y": "a"}}), "is none"),
            (json!({"url": url, "header_mapping": {"a": "authorization"}}), "may set"),
            (json!({"url": url, "header_mapping": {"a": "content-length"}}), "gateway's own"),
            (json!({"url": url, "query_mapping": {"a": "api key"}}), "may set"),
            (json!({"url": "https://a/?x=1", "query_mapping": {"a": "x"}}), "may set"),
            (json!({"url": url, "body_format": "xml"}), "json, form or multipart"),
            (json!({"url": url, "timeout_ms": 0}), "at least 1"),
            (json!({"url": url, "jsonpath_filter": "$.a.b[*].c"}), "perhaps .a.b[].c"),
            (json!({"url": url, "jsonpath_filter": "$[0]"}), "perhaps .[0]"),
            (json!({"url": url, "allowlist": ["b.example", "*.a.example"]}), "allowlist"),
            (json!({"url": url, "allowlist": ["http://a.example"]}), "allowlist"),
            (json!({"url": url, "allowlist": ["a.example:8443"]}), "allowlist"),
        ] {
            let text = rest.to_string();
            let error = read(rest).expect_err(&text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        let allowed = json!({"url": url, "allowlist": ["https://A.example:443/"]});
        assert!(read(allowed).is_ok());
    }

    #[test]
    fn finds_how_a_body_is_written() {
        let body = |method: &str, rest: serde_json::Value| {
            let mut spec = json!({"url": "http://a/", "request_type": method});
            spec.as_object_mut()
                .expect("an object")
                .extend(rest.as_object().expect("an object").clone());
            let tool = read(spec).expect("a tool");
            (tool.body, tool.has_content_type)
        };
        let typed = |kind: &str| json!({"headers": {"content-type": kind}});
        assert_eq!(body("GET", json!({"body_format": "json"})), (None, false));
        assert_eq!(body("DELETE", json!({})), (None, false));
        assert_eq!(body("DELETE", json!({"body_format": "json"})).0, Some(BodyFormat::Json));
        assert_eq!(body("PUT", json!({})), (Some(BodyFormat::Json), false));
        let form = typed("application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(body("POST", form), (Some(BodyFormat::Form), true));
        assert_eq!(
            body("POST", typed("multipart/form-data")),
            (Some(BodyFormat::Multipart), false)
        );
        assert_eq!(body("POST", typed("application/merge-patch+json")).0, Some(BodyFormat::Json));
    }
}
