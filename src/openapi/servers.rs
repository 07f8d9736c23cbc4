//! Where an API answers: the first server, its variables at their defaults.

use serde_json::Value;
use url::Url;

use super::{Document, Options, operation::Operation};

/// The address that the path of an operation is appended to, without a slash at its end.
///
/// # Errors
///
/// A sentence: the document names none, or one that cannot be completed.
pub fn base_url(
    document: &Document,
    operation: &Operation<'_>,
    options: &Options,
) -> Result<String, String> {
    if let Some(base) = &options.base_url {
        return Ok(base.trim_end_matches('/').to_owned());
    }
    let lists =
        [operation.value.get("servers"), operation.item.get("servers"), document.get("servers")];
    let server = lists.into_iter().flatten().find_map(|list| list.as_array()?.first());
    let text = server.map_or(Ok("/".to_owned()), filled)?;
    let parsed = match Url::parse(&text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            let base = options.document_url.as_deref().and_then(|url| Url::parse(url).ok());
            let base = base.ok_or("the document names no server; give base_url")?;
            base.join(&text)
                .map_err(|error| format!("its server {text:.200} is no URL: {error}"))?
        }
        Err(error) => return Err(format!("its server {text:.200} is no URL: {error}")),
    };
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(format!("its server speaks {}, not HTTP", parsed.scheme()));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("its server has user or password in its URL; give base_url".to_owned());
    }
    Ok(parsed
        .as_str()
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .trim_end_matches('/')
        .to_owned())
}

/// A server's URL with the defaults of its variables.
fn filled(server: &Value) -> Result<String, String> {
    let mut url = server.get("url").and_then(Value::as_str).unwrap_or("/").to_owned();
    let variables = server.get("variables").and_then(Value::as_object);
    for (name, variable) in variables.into_iter().flatten() {
        let default = variable.get("default").or_else(|| variable.get("enum")?.get(0));
        let text = match default {
            Some(Value::String(text)) => text.clone(),
            Some(value @ Value::Number(_)) => value.to_string(),
            _ => continue,
        };
        url = url.replace(&format!("{{{name}}}"), &text);
    }
    match url.contains('{') {
        true => Err(format!("its server {url:.200} has a variable without default; give base_url")),
        false => Ok(url),
    }
}
