//! A resource of our own: its content, or that of a template for one URI.

use std::borrow::Cow;

use net::jsonrpc;
use storage::record::Resource;

/// The most variables of a template.
const VARIABLE_COUNT_MAX: usize = 64;

/// The most places that are tried for the literals between them: a template that fits needs about
/// one for each.
const TRY_COUNT_MAX: usize = 10_000;

/// The values that a URI gives to the variables of an RFC 6570 template of the first level
/// (`{name}`) or with an operator (`{+name}`); `None` if it does not fit.
///
/// A variable takes as little as it can before the next literal, and no slash; one with an operator
/// takes slashes too. A template that would take too long to try does not fit.
pub fn variables<'u>(template: &str, uri: &'u str) -> Option<Vec<(String, Cow<'u, str>)>> {
    let mut values = Vec::new();
    let mut try_count = 0;
    fit(template, uri, &mut values, &mut try_count).then_some(values)
}

fn fit<'u>(
    template: &str,
    uri: &'u str,
    values: &mut Vec<(String, Cow<'u, str>)>,
    try_count: &mut usize,
) -> bool {
    let Some((literal, rest)) = template.split_once('{') else { return template == uri };
    let Some(uri) = uri.strip_prefix(literal) else { return false };
    let Some((expression, rest)) = rest.split_once('}') else { return false };
    if values.len() >= VARIABLE_COUNT_MAX {
        return false;
    }
    let operators = ['+', '#', '/', '?', '&', '.', ';'];
    let reserved = expression.starts_with(operators);
    let name = expression.trim_start_matches(operators).trim_end_matches('*');
    let literal = rest.split_once('{').map_or(rest, |(literal, _)| literal);
    let longest = if reserved { uri.len() } else { uri.find('/').unwrap_or(uri.len()) };
    let ends = uri.match_indices(literal).map(|(at, _)| at);
    let ends = ends.take_while(|at| *at <= longest);
    // Without a literal behind it, a variable takes all that it may.
    let ends: Box<dyn Iterator<Item = usize>> =
        if literal.is_empty() { Box::new(std::iter::once(longest)) } else { Box::new(ends) };
    for end in ends {
        *try_count += 1;
        if *try_count > TRY_COUNT_MAX {
            return false;
        }
        let kept = values.len();
        values.push((name.to_owned(), decoded(&uri[..end])));
        if fit(rest, &uri[end..], values, try_count) {
            return true;
        }
        values.truncate(kept);
    }
    false
}

/// A part of a URI without its percent-encoding.
fn decoded(part: &str) -> Cow<'_, str> {
    if !part.contains('%') {
        return Cow::Borrowed(part);
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The raw result of `resources/read` of `uri`, which is that of the resource or fits its template;
/// the client has it as `asked`.
pub fn read(resource: &Resource, uri: &str, asked: &str) -> Vec<u8> {
    let content = resource.content.as_deref().unwrap_or_default();
    let filled = match &resource.uri_template {
        Some(template) if !resource.is_binary => {
            Cow::Owned(fill(content, &variables(template, uri).unwrap_or_default()))
        }
        _ => Cow::Borrowed(content),
    };
    let mut out = Vec::with_capacity(filled.len() + 128);
    out.extend_from_slice(b"{\"contents\":[{\"uri\":");
    jsonrpc::write_string(&mut out, asked);
    if let Some(mime_type) = &resource.mime_type {
        out.extend_from_slice(b",\"mimeType\":");
        jsonrpc::write_string(&mut out, mime_type);
    }
    let key: &[u8] = if resource.is_binary { b",\"blob\":" } else { b",\"text\":" };
    out.extend_from_slice(key);
    jsonrpc::write_string(&mut out, &filled);
    out.extend_from_slice(b"}]}");
    out
}

/// Puts the values in the places of `{name}`; what no variable is called stays as it is.
fn fill(content: &str, values: &[(String, Cow<'_, str>)]) -> String {
    let mut filled = String::with_capacity(content.len());
    let mut rest = content;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let named = after.split_once('}').and_then(|(name, behind)| {
            let value = values.iter().find(|(known, _)| known == name.trim())?;
            Some((&value.1, behind))
        });
        match named {
            Some((value, behind)) => {
                filled.push_str(value);
                rest = behind;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(resource: &Resource, uri: &str) -> Value {
        serde_json::from_slice(&read(resource, uri, uri)).unwrap()
    }

    #[test]
    fn a_uri_gives_values_to_the_variables_of_a_template() {
        for (template, uri, expected) in [
            ("t://{a}/x/{b}", "t://1/x/2", Some(vec![("a", "1"), ("b", "2")])),
            ("t://{a}/x", "t://1/2/x", None),
            ("f:///{+path}", "f:///a/b", Some(vec![("path", "a/b")])),
            ("t://{a}-{b}", "t://1-2-3", Some(vec![("a", "1"), ("b", "2-3")])),
            ("t://{a}", "t://a%20b%zz", Some(vec![("a", "a b%zz")])),
            ("t://x", "t://x", Some(vec![])),
            ("t://{a", "t://x", None),
        ] {
            let got = variables(template, uri);
            let got = got.map(|values| {
                values
                    .into_iter()
                    .map(|(name, value)| (name, value.into_owned()))
                    .collect::<Vec<_>>()
            });
            let expected = expected.map(|values| {
                let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
                values.into_iter().map(owned).collect::<Vec<_>>()
            });
            assert_eq!(got, expected, "{template} {uri}");
        }
    }

    #[test]
    fn a_template_of_many_variables_costs_little_when_it_does_not_fit() {
        let template = format!("t://{}!", "{a}-".repeat(60));
        let uri = format!("t://{}", "x-".repeat(59));
        assert_eq!(variables(&template, &uri), None);
    }

    #[test]
    fn a_resource_is_read_as_text_or_as_bytes() {
        let mut resource = Resource {
            uri: "t://x".to_owned(),
            mime_type: Some("text/plain".to_owned()),
            content: Some("a {b} \"c\"".to_owned()),
            ..Resource::default()
        };
        let expected = json!({"contents": [
            {"uri": "t://x", "mimeType": "text/plain", "text": "a {b} \"c\""}]});
        assert_eq!(shown(&resource, "t://x"), expected);
        resource.is_binary = true;
        resource.content = Some("AAE=".to_owned());
        assert_eq!(shown(&resource, "t://x")["contents"][0]["blob"], "AAE=");
        let template = Resource {
            uri_template: Some("t://{city}".to_owned()),
            content: Some("{city} {other} {city}".to_owned()),
            ..Resource::default()
        };
        let text = shown(&template, "t://Os%6Co")["contents"][0]["text"].clone();
        assert_eq!(text, "Oslo {other} Oslo");
    }
}
