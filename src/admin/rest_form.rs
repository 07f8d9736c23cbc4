//! What a request says of how a REST tool is called, laid over what is stored.
//!
//! Headers that carry secrets are kept sealed with the tool's credentials, and only their names
//! stand with the others.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Rules;
use super::credentials::{self, Auth, Stored, Ways};
use super::fields::Fields;
use crate::catalog::ToolEntry;
use crate::catalog::rest_tool::RestTool;
use crate::settings::{MASK, is_mask};

/// The most headers of one tool.
const HEADER_COUNT_MAX: usize = 100;

/// Where the names of those headers stand whose values are sealed.
const SECRET_HEADERS: &str = "secret_headers";

const TEXTS: [&str; 6] =
    ["url", "request_type", "jsonpath_filter", "base_url", "path_template", "body_format"];
const COUNTS: [&str; 3] = ["timeout_ms", "concurrency_limit", "response_size_max"];
const MAPS: [&str; 2] = ["query_mapping", "header_mapping"];
const LISTS: [&str; 3] = ["allowlist", "plugin_chain_pre", "plugin_chain_post"];

/// How a REST tool is called: the part that anybody may read, and the secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Specification {
    /// What is stored as `Tool::rest`.
    pub rest: Map<String, Value>,
    /// The headers and query parameters (`?name`) of authentication.
    pub auth: BTreeMap<String, String>,
    /// The headers that carry secrets besides.
    pub secret_headers: BTreeMap<String, String>,
}

/// The fields of a request.
#[derive(Default)]
pub struct RestForm {
    /// Those that were sent; null for one that is to be as if it had never been.
    settings: Map<String, Value>,
    headers: Option<BTreeMap<String, String>>,
    /// The new way to prove ourselves.
    pub auth: Option<Auth>,
}

impl Specification {
    /// What is stored of a tool.
    pub fn of(entry: &ToolEntry) -> Specification {
        let rest = entry.record.rest.as_deref().unwrap_or("{}");
        let rest: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
        let is_secret = |name: &str| secret_names(&rest).any(|other| other == name);
        let credentials = entry.credentials.iter().cloned();
        let (secret_headers, auth) = credentials.partition(|(name, _)| is_secret(name));
        Specification { rest, auth, secret_headers }
    }

    /// All secrets, as they are sealed.
    pub fn credentials(&self) -> BTreeMap<String, String> {
        self.auth.clone().into_iter().chain(self.secret_headers.clone()).collect()
    }

    /// The specification as it is stored.
    pub fn text(&self) -> String {
        Value::Object(self.rest.clone()).to_string()
    }
}

/// The headers whose values are sealed.
fn secret_names(rest: &Map<String, Value>) -> impl Iterator<Item = &str> {
    rest.get(SECRET_HEADERS)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// The headers of a stored specification, with a mask in the place of each secret; `None` if there
/// are none.
pub fn masked_headers(rest: &Map<String, Value>) -> Option<Map<String, Value>> {
    let plain = rest.get("headers").and_then(Value::as_object).cloned().unwrap_or_default();
    let masked = secret_names(rest).map(|name| (name.to_owned(), json!(MASK)));
    let headers: Map<String, Value> = plain.into_iter().chain(masked).collect();
    (!headers.is_empty()).then_some(headers)
}

impl RestForm {
    /// Reads the fields; `stored` is the tool that is to be changed.
    pub fn read(fields: &mut Fields, stored: Option<&ToolEntry>) -> RestForm {
        let former = stored.map(Specification::of).unwrap_or_default();
        let mut settings = Map::new();
        for name in TEXTS {
            let text = fields.text(name);
            note(&mut settings, name, text.map(|text| (text.is_empty(), json!(text))));
        }
        for name in COUNTS {
            note(&mut settings, name, fields.count(name).map(|count| (count == 0, json!(count))));
        }
        for name in MAPS {
            let map = texts(fields, name);
            note(&mut settings, name, map.map(|map| (map.is_empty(), json!(map))));
        }
        for name in LISTS {
            let list = fields.list(name);
            note(&mut settings, name, list.map(|list| (list.is_empty(), json!(list))));
        }
        let flag = fields.flag("expose_passthrough");
        note(&mut settings, "expose_passthrough", flag.map(|flag| (false, json!(flag))));
        let auth: Vec<(String, String)> = former.auth.into_iter().collect();
        let kind = stored.and_then(|entry| entry.record.auth_type);
        RestForm {
            settings,
            headers: headers(fields, &former.secret_headers),
            auth: read_auth(fields, Stored::new(kind, &auth)),
        }
    }

    /// Lays the fields over a specification, and checks that a tool could be called by it.
    pub fn apply(self, specification: &mut Specification, fields: &mut Fields, rules: &Rules) {
        let former = specification.rest.clone();
        for (name, value) in self.settings.clone() {
            match value {
                Value::Null => specification.rest.remove(&name),
                value => specification.rest.insert(name, value),
            };
        }
        address(&self.settings, &former, &mut specification.rest);
        if let Some(Value::String(method)) = specification.rest.get_mut("request_type") {
            method.make_ascii_uppercase();
        }
        if let Some(auth) = self.auth {
            specification.auth = auth.headers;
        }
        if let Some(headers) = self.headers {
            split(headers, specification);
        }
        check(specification, fields, rules);
    }
}

fn note(settings: &mut Map<String, Value>, name: &str, given: Option<(bool, Value)>) {
    if let Some((is_empty, value)) = given {
        settings.insert(name.to_owned(), if is_empty { Value::Null } else { value });
    }
}

/// An object of texts.
fn texts(fields: &mut Fields, name: &str) -> Option<BTreeMap<String, String>> {
    let object = fields.object(name)?;
    let text = |(name, value): (String, Value)| Some((name, value.as_str()?.to_owned()));
    let texts: Option<BTreeMap<_, _>> = object.into_iter().map(text).collect();
    if texts.is_none() {
        fields.error(name, "Input should be an object of texts");
    }
    texts
}

/// The headers of every request; a masked value stands for the stored one.
fn headers(
    fields: &mut Fields,
    stored: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, String>> {
    let object = fields.object("headers")?;
    if object.len() > HEADER_COUNT_MAX {
        fields.hidden_error("headers", format!("At most {HEADER_COUNT_MAX} headers are allowed"));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in object.into_iter().take(HEADER_COUNT_MAX) {
        let place = format!("headers.{name}");
        let same = |other: &String| other.eq_ignore_ascii_case(&name);
        match value.as_str() {
            None => fields.hidden_error(&place, "Input should be a valid string"),
            Some(text) if is_mask(text) => match stored.iter().find(|(other, _)| same(other)) {
                Some((_, value)) => drop(headers.insert(name, value.clone())),
                None => fields.hidden_error(&place, credentials::MASKED),
            },
            Some(value) => drop(headers.insert(name, value.to_owned())),
        }
    }
    Some(headers)
}

/// The way to prove ourselves, from the fields or from the object `auth`, whose names are shorter.
fn read_auth(fields: &mut Fields, stored: Stored<'_>) -> Option<Auth> {
    let long = |name: &str| match name {
        "username" | "password" | "token" => format!("auth_{name}"),
        _ => name.to_owned(),
    };
    let Some(mut inner) = fields.inner("auth", long) else {
        return credentials::read_auth(fields, stored, Ways::HeadersOrQuery);
    };
    let auth = credentials::read_auth(&mut inner, stored, Ways::HeadersOrQuery);
    fields.take_errors(inner);
    auth
}

/// Makes `url`, `base_url` and `path_template` say the same: the one that was changed counts, and
/// among several the whole URL.
fn address(sent: &Map<String, Value>, former: &Map<String, Value>, rest: &mut Map<String, Value>) {
    let text =
        |map: &Map<String, Value>, name| map.get(name).and_then(Value::as_str).map(str::to_owned);
    let is_changed = |name| sent.contains_key(name) && text(sent, name) != text(former, name);
    let is_moved = is_changed("base_url") || is_changed("path_template");
    let is_joined = !is_changed("url") && (is_moved || text(rest, "url").is_none());
    if let (true, Some(base)) = (is_joined, text(rest, "base_url")) {
        let path = text(rest, "path_template").unwrap_or_default();
        let url = match path.is_empty() {
            true => base,
            false => format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/')),
        };
        rest.insert("url".to_owned(), json!(url));
    }
    let Some(url) = text(rest, "url") else { return };
    let (base, path) = parts(&url);
    for (name, part) in [("base_url", base), ("path_template", path)] {
        if !is_changed(name) || is_changed("url") && text(sent, name).is_none() {
            rest.insert(name.to_owned(), json!(part));
        }
    }
}

/// A URL as what stands before its path, and the path without the query.
fn parts(url: &str) -> (&str, &str) {
    let host_from = url.find("://").map_or(0, |at| at + 3);
    let path_from = url[host_from..].find(['/', '?']).map_or(url.len(), |at| host_from + at);
    let (base, path) = url.split_at(path_from);
    (base, path.split('?').next().unwrap_or_default())
}

/// Keeps the headers that carry secrets apart from the others.
fn split(headers: BTreeMap<String, String>, specification: &mut Specification) {
    let (secret, plain): (BTreeMap<_, _>, BTreeMap<_, _>) =
        headers.into_iter().partition(|(name, _)| carries_secret(name));
    let rest = &mut specification.rest;
    rest.remove("headers");
    rest.remove(SECRET_HEADERS);
    if !plain.is_empty() {
        rest.insert("headers".to_owned(), json!(plain));
    }
    if !secret.is_empty() {
        rest.insert(SECRET_HEADERS.to_owned(), json!(secret.keys().collect::<Vec<_>>()));
    }
    specification.secret_headers = secret;
}

/// Whether a header of this name is likely to carry what must not be shown. One too many costs no
/// more than a mask.
fn carries_secret(name: &str) -> bool {
    const WORDS: [&str; 12] = [
        "authorization",
        "x-auth",
        "cookie",
        "token",
        "secret",
        "password",
        "passwd",
        "credential",
        "session",
        "signature",
        "apikey",
        "api-key",
    ];
    let name = name.to_ascii_lowercase().replace('_', "-");
    name.ends_with("-key") || WORDS.iter().any(|word| name.contains(word))
}

/// Checks each part by itself, so that all that is wrong is named, and then the whole.
fn check(specification: &Specification, fields: &mut Fields, rules: &Rules) {
    let mut is_sound = true;
    let alone = TEXTS.iter().chain(&COUNTS).chain(&MAPS).chain(&["headers"]);
    for name in alone.filter(|name| !["url", "base_url", "path_template"].contains(name)) {
        let Some(value) = specification.rest.get(*name) else { continue };
        let part = json!({ "url": "http://localhost/", *name: value }).to_string();
        if let Err(sentence) = RestTool::new(&part, &[]) {
            fields.hidden_error(name, sentence);
            is_sound = false;
        }
    }
    let url = specification.rest.get("url").and_then(Value::as_str).unwrap_or_default();
    let max = rules.url_length_max;
    if url.chars().count() > max {
        fields.hidden_error("url", format!("URL must have at most {max} characters"));
        is_sound = false;
    }
    for name in specification.secret_headers.keys() {
        if specification.auth.keys().any(|other| other.eq_ignore_ascii_case(name)) {
            let sentence = format!("Header {name} is what the auth fields already say");
            fields.hidden_error("headers", sentence);
            is_sound = false;
        }
    }
    let credentials: Vec<_> = specification.credentials().into_iter().collect();
    let whole = RestTool::new(&specification.text(), &credentials);
    if let Err(sentence) = whole.map(|_| ())
        && is_sound
    {
        let named = LISTS.iter().chain(&MAPS).chain(&["headers"]);
        let field = named.copied().find(|name| sentence.contains(name)).unwrap_or("url");
        fields.hidden_error(field, sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_carry_secrets_are_known_by_their_names() {
        for (name, expected) in [
            ("Authorization", true),
            ("X-API-Key", true),
            ("api_key", true),
            ("Cookie", true),
            ("X-Auth-Token", true),
            ("Ocp-Apim-Subscription-Key", true),
            ("Accept", false),
            ("X-Request-Id", false),
            ("Content-Type", false),
        ] {
            assert_eq!(carries_secret(name), expected, "{name}");
        }
    }

    #[test]
    fn a_url_falls_into_its_parts() {
        for (url, base, path) in [
            ("https://a.example:8/x/{id}?y=1", "https://a.example:8", "/x/{id}"),
            ("https://a.example", "https://a.example", ""),
            ("https://a.example?y=/", "https://a.example", ""),
        ] {
            assert_eq!(parts(url), (base, path), "{url}");
        }
    }

    #[test]
    fn the_address_that_was_changed_is_the_one_that_counts() {
        let old = json!({"url": "http://a/x", "base_url": "http://a", "path_template": "/x"});
        for (sent, expected) in [
            (json!({}), "http://a/x"),
            (json!({"path_template": "/y"}), "http://a/y"),
            (json!({"base_url": "http://b/"}), "http://b/x"),
            (json!({"url": "http://c/z"}), "http://c/z"),
            (
                json!({"url": "http://a/x", "base_url": "http://a", "path_template": "/y"}),
                "http://a/y",
            ),
        ] {
            let (sent, old) = (sent.as_object().unwrap(), old.as_object().unwrap());
            let mut rest = old.clone();
            rest.extend(sent.clone());
            address(sent, old, &mut rest);
            assert_eq!(rest["url"], expected, "{sent:?}");
        }
        let sent = json!({"url": "http://c/z"});
        let mut rest = old.as_object().unwrap().clone();
        rest.extend(sent.as_object().unwrap().clone());
        address(sent.as_object().unwrap(), old.as_object().unwrap(), &mut rest);
        assert_eq!((&rest["base_url"], &rest["path_template"]), (&json!("http://c"), &json!("/z")));
    }
}
