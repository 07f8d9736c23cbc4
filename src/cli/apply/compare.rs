//! Whether the registry has of an entry what a file says.

use std::collections::BTreeSet;

use serde_json::Value;

/// Finds the ids that names refer to: list of the file's kind, name or id.
pub type Resolve<'a> = &'a dyn Fn(&str, &str) -> Option<String>;

/// The field of the registry's entry that a file calls `name`, if it has one.
pub fn field_of<'a>(entry: &'a Value, name: &str) -> Option<&'a Value> {
    let alias = match name {
        "jsonpath_filter" => "jsonpathFilter",
        _ => "",
    };
    entry.get(name).or_else(|| entry.get(camel(name))).or_else(|| entry.get(alias))
}

/// Whether a field of the registry holds what the file says.
pub fn is_same(name: &str, wanted: &Value, entry: &Value, resolve: Resolve<'_>) -> bool {
    if let Some((kind, ids)) = choice(name) {
        return is_same_choice(kind, wanted, &entry[ids], resolve);
    }
    let Some(found) = field_of(entry, name) else { return wanted.is_null() };
    match (name, wanted, found) {
        ("tags", wanted, found) => words(wanted) == words(found),
        ("url" | "endpoint_url" | "icon", Value::String(wanted), Value::String(found)) => {
            url_form(wanted) == url_form(found)
        }
        ("transport" | "request_type" | "integration_type", Value::String(wanted), found) => {
            found.as_str().is_some_and(|found| found.eq_ignore_ascii_case(wanted))
        }
        ("command", Value::String(wanted), Value::Array(found)) => {
            let words = shlex::split(wanted).unwrap_or_default();
            words.iter().map(String::as_str).eq(found.iter().filter_map(Value::as_str))
        }
        (_, Value::String(wanted), Value::String(found)) => wanted.trim() == found.trim(),
        (_, Value::Object(wanted), Value::Null) => wanted.is_empty(),
        (_, Value::Array(wanted), Value::Null) => wanted.is_empty(),
        (_, wanted, found) => wanted == found,
    }
}

/// The kind of what a virtual server chose by a field, and where the registry has the ids.
pub fn choice(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "associated_tools" | "associatedTools" => ("tools", "associatedToolIds"),
        "associated_resources" | "associatedResources" => ("resources", "associatedResources"),
        "associated_prompts" | "associatedPrompts" => ("prompts", "associatedPrompts"),
        "associated_gateways" | "associatedGateways" => ("gateways", "associatedGateways"),
        "associated_a2a_agents" | "associatedA2aAgents" => ("a2a_agents", "associatedA2aAgents"),
        _ => return None,
    })
}

/// Whether the ids are those of what a file names, by names or by ids.
fn is_same_choice(kind: &str, wanted: &Value, ids: &Value, resolve: Resolve<'_>) -> bool {
    let wanted = texts(wanted);
    let resolved: Vec<Option<String>> = wanted.iter().map(|name| resolve(kind, name)).collect();
    let found: BTreeSet<&str> =
        ids.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let wanted: Option<BTreeSet<&str>> = resolved.iter().map(Option::as_deref).collect();
    wanted == Some(found)
}

/// The texts of a list, or those between the commas of one text.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        }
        Value::Array(items) => {
            items.iter().filter_map(Value::as_str).map(|text| text.trim().to_owned()).collect()
        }
        _ => Vec::new(),
    }
}

/// The tags of a file or of an entry, which may have each as an object.
fn words(tags: &Value) -> BTreeSet<String> {
    let word = |tag: &Value| {
        let text = tag.as_str().or_else(|| tag["label"].as_str()).unwrap_or_default();
        text.trim().to_lowercase()
    };
    match tags {
        Value::Array(tags) => tags.iter().map(word).collect(),
        other => texts(other).into_iter().map(|tag| tag.to_lowercase()).collect(),
    }
}

/// A URL as the registry keeps it.
fn url_form(url: &str) -> String {
    let url = url.trim();
    let parsed = url::Url::parse(url).map_or_else(|_| url.to_owned(), String::from);
    parsed.replacen("//127.0.0.1", "//localhost", 1).trim_end_matches('/').to_owned()
}

fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    for (index, part) in name.split('_').enumerate() {
        let mut letters = part.chars();
        match letters.next() {
            Some(first) if index > 0 => {
                camel.extend(first.to_uppercase());
                camel.push_str(letters.as_str());
            }
            _ => camel.push_str(part),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nothing(_: &str, _: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_field_is_compared_as_the_registry_keeps_it() {
        let entry = json!({
            "name": "s", "description": "d", "url": "http://localhost:9/mcp", "transport": "SSE",
            "tags": [{"id": "b", "label": "b"}, {"id": "a", "label": "a"}], "inputSchema": {"a": 1},
            "timeoutMs": 5, "annotations": null, "command": ["npx", "a b"], "title": null,
        });
        for (name, wanted, expected) in [
            ("description", json!(" d\n"), true),
            ("description", json!("e"), false),
            ("url", json!("http://127.0.0.1:9/mcp/"), true),
            ("url", json!("http://127.0.0.1:8/mcp"), false),
            ("transport", json!("sse"), true),
            ("tags", json!(["A", "b"]), true),
            ("tags", json!("a, b"), true),
            ("tags", json!(["a"]), false),
            ("inputSchema", json!({"a": 1}), true),
            ("input_schema", json!({"a": 1}), true),
            ("input_schema", json!({"a": 2}), false),
            ("timeout_ms", json!(5), true),
            ("annotations", json!({}), true),
            ("title", json!(null), true),
            ("command", json!("npx 'a b'"), true),
            ("command", json!("npx a b"), false),
            ("unknown", json!(null), true),
            ("unknown", json!(1), false),
        ] {
            assert_eq!(is_same(name, &wanted, &entry, &nothing), expected, "{name}: {wanted}");
        }
    }

    #[test]
    fn a_choice_is_the_same_by_names_and_by_ids_in_any_order() {
        let resolve = |kind: &str, name: &str| {
            let known = kind == "tools" && matches!(name, "one" | "two" | "1" | "2");
            known.then(|| name.replace("one", "1").replace("two", "2"))
        };
        let entry = json!({"associatedTools": ["one", "two"], "associatedToolIds": ["1", "2"],
            "associatedA2aAgents": []});
        for (wanted, expected) in [
            (json!(["two", "1"]), true),
            (json!("one,two"), true),
            (json!(["one"]), false),
            (json!(["one", "two", "three"]), false),
        ] {
            assert_eq!(
                is_same("associated_tools", &wanted, &entry, &resolve),
                expected,
                "{wanted}"
            );
            assert_eq!(is_same("associatedTools", &wanted, &entry, &resolve), expected, "{wanted}");
        }
        assert!(is_same("associated_a2a_agents", &json!([]), &entry, &resolve));
        assert!(is_same("associatedA2aAgents", &json!([]), &entry, &resolve));
    }
}
