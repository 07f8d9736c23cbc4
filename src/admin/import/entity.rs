//! An entity of an export as the body of the request that makes it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use storage::seal::Sealer;

use super::super::portable::Kind;
use crate::settings::is_mask;

/// What an export says of an entity and no form takes, or takes under another name.
const TAKEN_OUT: [&str; 9] = [
    "auth_value",
    "env_sealed",
    "created_at",
    "updated_at",
    "last_modified",
    "is_active",
    "health_check",
    "rate_limit",
    "original_description",
];

/// The secrets under which credentials may be sealed, in the order in which they are tried.
pub struct Keys<'a> {
    /// The one that the request names, of the gateway that exported.
    pub given: Option<Sealer>,
    /// Our own.
    pub own: &'a Sealer,
}

impl Keys<'_> {
    fn open(&self, sealed: &str) -> Option<BTreeMap<String, String>> {
        let given = self.given.as_ref().and_then(|sealer| sealer.open(sealed).ok());
        given.or_else(|| self.own.open(sealed).ok())
    }
}

/// The body of a request, and what somebody should look at.
pub struct Body {
    /// The fields, not wrapped.
    pub fields: Map<String, Value>,
    /// What could not be taken over.
    pub warnings: Vec<String>,
}

/// Makes the body of an entity.
///
/// # Errors
///
/// A sentence, if its credentials cannot be opened.
pub fn body(kind: Kind, entity: &Map<String, Value>, keys: &Keys<'_>) -> Result<Body, String> {
    let mut fields = entity.clone();
    let mut warnings = Vec::new();
    for name in TAKEN_OUT {
        fields.remove(name);
    }
    let sealed = |name: &str| entity.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
    if let Some(sealed) = sealed("auth_value") {
        let headers = keys.open(sealed).ok_or_else(|| UNOPENED.to_owned())?;
        let way = entity.get("auth_type").and_then(Value::as_str).unwrap_or("authheaders");
        credentials(&mut fields, way, headers);
    } else if let Some(way) = fields.remove("auth_type").filter(|way| !way.is_null() && way != "") {
        let way = way.as_str().unwrap_or_default();
        warnings.push(format!("its credentials ({way}) are not in the export; enter them again"));
    }
    let masked = unmasked_headers(&mut fields);
    if !masked.is_empty() {
        let names = masked.join(", ");
        warnings.push(format!("its headers {names} are masked in the export; enter them again"));
    }
    if let Some(sealed) = sealed("env_sealed") {
        let environment = keys.open(sealed).ok_or_else(|| UNOPENED.to_owned())?;
        fields.insert("env".to_owned(), json!(environment));
    }
    match kind {
        Kind::Prompts => arguments(&mut fields),
        Kind::Resources if fields.remove("is_binary") == Some(json!(true)) => {
            if let Some(content) = fields.remove("content") {
                fields.insert("blob".to_owned(), content);
            }
        }
        Kind::Gateways if fields.get("transport") == Some(&json!("STDIO")) => {
            fields.remove("url");
        }
        _ => {}
    }
    if let Some(Value::String(schema)) = fields.get("output_schema")
        && schema.is_empty()
    {
        fields.remove("output_schema");
    }
    fields.retain(|_, value| !value.is_null());
    Ok(Body { fields, warnings })
}

/// Takes out the headers of a tool of which an export has but the mask, and names them.
fn unmasked_headers(fields: &mut Map<String, Value>) -> Vec<String> {
    let Some(Value::Object(headers)) = fields.get_mut("headers") else { return Vec::new() };
    let stands_for = |value: &Value| value.as_str().is_some_and(is_mask);
    let masked: Vec<String> = headers
        .iter()
        .filter(|(_, value)| stands_for(value))
        .map(|(name, _)| name.clone())
        .collect();
    headers.retain(|name, _| !masked.contains(name));
    masked
}

const UNOPENED: &str = "its credentials cannot be opened: they are sealed under another \
     AUTH_ENCRYPTION_SECRET; give that of the gateway that exported as rekey_secret";

/// Headers as the fields of the way that they belong to.
fn credentials(fields: &mut Map<String, Value>, way: &str, headers: BTreeMap<String, String>) {
    let authorization = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let authorization = authorization.map(|(_, value)| value.as_str()).unwrap_or_default();
    let mut set = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    if let Some((name, value)) = headers.iter().find(|(name, _)| name.starts_with('?')) {
        set("auth_type", json!("query_param"));
        set("auth_query_param_key", json!(name[1..]));
        set("auth_query_param_value", json!(value));
        return;
    }
    let basic = authorization.strip_prefix("Basic ").and_then(|pair| BASE64.decode(pair).ok());
    let basic = basic.and_then(|pair| String::from_utf8(pair).ok());
    match (way, basic.as_deref().and_then(|pair| pair.split_once(':'))) {
        ("basic", Some((name, password))) if headers.len() == 1 => {
            set("auth_type", json!("basic"));
            set("auth_username", json!(name));
            set("auth_password", json!(password));
        }
        ("bearer", _) if headers.len() == 1 && authorization.starts_with("Bearer ") => {
            set("auth_type", json!("bearer"));
            set("auth_token", json!(authorization["Bearer ".len()..]));
        }
        _ => {
            let pairs = headers.iter().map(|(key, value)| json!({"key": key, "value": value}));
            set("auth_type", json!("authheaders"));
            set("auth_headers", pairs.collect());
        }
    }
}

/// The contract's exports have the arguments of a prompt as a schema.
fn arguments(fields: &mut Map<String, Value>) {
    let schema = fields.remove("input_schema");
    if fields.contains_key("arguments") {
        return;
    }
    let Some(schema) = schema else { return };
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let argument = |(name, property): (String, Value)| {
        let required = required.contains(&json!(name));
        json!({"name": name, "description": property["description"], "required": required})
    };
    fields.insert("arguments".to_owned(), properties.into_iter().map(argument).collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `encode_auth` of the package `mcp-contextforge-gateway` 1.0.7.
    const SECRET: &str = "contextforge-source-secret-0123456789";
    const BEARER: &str = "jYr5NfxZmgGu3cfoPmEsIehp_w46qroLJbqZkWtTUet8fNzQ7I5rOEdy4bnhoghuWJjcMCCEorQGUa7YTSY5YqYV6nJG";
    const BASIC: &str =
        "pXG8eR6z97vpcCYnK2zV2ZZ-NybdSmf2NK_XiUNNZA5yZ71Ww6p_Y-_MCLeCu7TT1rU75lyX1rvujWi2GmFqHzsn";
    const HEADERS: &str =
        "GYwhMRRzR-oYLFY6dtINrTHkRHjXf9Hv4OTXvZKAqafeXqQY_elq79jpRcg9_259MckAzOVgyUJ7-UTyPVc";

    fn read(kind: Kind, entity: Value, secret: Option<&str>) -> Result<Map<String, Value>, String> {
        let own = Sealer::new("our own secret");
        let keys = Keys { given: secret.map(Sealer::new), own: &own };
        let Value::Object(entity) = entity else { panic!("no object") };
        body(kind, &entity, &keys).map(|body| body.fields)
    }

    #[test]
    fn credentials_of_contextforge_are_opened_with_its_secret_and_no_other() {
        let entity = |way: &str, value: &str| json!({"auth_type": way, "auth_value": value});
        let opened = |way: &str, value: &str| {
            Value::Object(read(Kind::Gateways, entity(way, value), Some(SECRET)).unwrap())
        };
        let expected = json!({"auth_type": "bearer", "auth_token": "upstream-token"});
        assert_eq!(opened("bearer", BEARER), expected);
        let expected =
            json!({"auth_type": "basic", "auth_username": "me", "auth_password": "pass"});
        assert_eq!(opened("basic", BASIC), expected);
        let pairs =
            json!([{"key": "X-Api-Key", "value": "k-1"}, {"key": "X-Tenant", "value": "t"}]);
        let expected = json!({"auth_type": "authheaders", "auth_headers": pairs});
        assert_eq!(opened("authheaders", HEADERS), expected);
        for secret in [None, Some("another")] {
            let refused = read(Kind::Tools, entity("bearer", BEARER), secret).unwrap_err();
            assert!(refused.contains("rekey_secret"), "{refused}");
        }
    }

    #[test]
    fn a_prompt_of_contextforge_has_its_arguments_in_a_schema() {
        let entity = json!({"name": "greet", "template": "Hi {{ who }}", "is_active": true,
            "input_schema": {"type": "object", "required": ["who"], "properties": {
                "who": {"type": "string", "description": "whom"}, "how": {"type": "string"}}}});
        let fields = read(Kind::Prompts, entity, None).unwrap();
        assert_eq!(
            fields["arguments"],
            json!([
                {"name": "who", "description": "whom", "required": true},
                {"name": "how", "description": null, "required": false},
            ])
        );
        assert!(fields.get("is_active").is_none());
    }
}
