//! The endpoints of MCP as protected resources of OAuth 2.1: what a client without a good token is
//! told (RFC 6750 §3, RFC 9728 §5.1).

use crate::{
    admin::endpoint,
    auth::{Caller, Foreign},
    catalog::Protection,
    failure::Failure,
};

/// Where the metadata of a resource are.
pub fn metadata_url(base: &str, server_id: &str) -> String {
    format!("{base}/.well-known/oauth-protected-resource{}", endpoint(server_id))
}

/// A refusal that also says where to get a token; others are left as they are.
pub fn point(failure: Failure, protection: &Protection, metadata_url: &str) -> Failure {
    let Failure::Unauthorized { detail, challenge } = failure else { return failure };
    let Some(rest) = challenge.strip_prefix("Bearer") else { return failure };
    let mut pointed = format!("Bearer resource_metadata=\"{metadata_url}\"");
    push_scope(&mut pointed, protection.scopes_wanted());
    if !rest.is_empty() {
        pointed.push(',');
        pointed.push_str(rest);
    }
    Failure::Challenged { status: 401, detail: detail.to_owned(), challenge: pointed }
}

/// Refuses a token of an authorization server that lacks a scope, and names all that are needed.
pub fn check_scopes(
    caller: &Caller,
    protection: &Protection,
    metadata_url: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if bears_scopes(caller, protection) {
        return Ok(());
    }
    let mut challenge = "Bearer error=\"insufficient_scope\"".to_owned();
    push_scope(&mut challenge, &protection.scopes_required);
    challenge.push_str(&format!(", resource_metadata=\"{}\"", metadata_url()));
    let detail = format!("The token needs the scopes {}", protection.scopes_required.join(" "));
    Err(Failure::Challenged { status: 403, detail, challenge })
}

/// Whether a caller has every scope that is needed; one who came with no token of an authorization
/// server needs none.
pub fn bears_scopes(caller: &Caller, protection: &Protection) -> bool {
    let has = |foreign: &Foreign, scope| foreign.scopes.contains(scope);
    let mut needed = protection.scopes_required.iter();
    caller.foreign.as_ref().is_none_or(|foreign| needed.all(|scope| has(foreign, scope)))
}

fn push_scope(challenge: &mut String, scopes: &[String]) {
    if !scopes.is_empty() {
        challenge.push_str(&format!(", scope=\"{}\"", scopes.join(" ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{AuthError, Fault};

    fn protection() -> Protection {
        let text = r#"{"issuer": "https://as.example", "scopes_required": ["a", "b"]}"#;
        Protection::parse(text).unwrap()
    }

    fn challenge(failure: &Failure) -> (u16, &str) {
        match failure {
            Failure::Challenged { status, challenge, .. } => (*status, challenge),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whoever_has_no_good_token_is_told_where_to_get_one() {
        let url = metadata_url("https://mcp.example", "x");
        let told = point(AuthError::Missing.into(), &protection(), &url);
        let expected = "Bearer resource_metadata=\"https://mcp.example/.well-known/\
                        oauth-protected-resource/servers/x/mcp\", scope=\"a b\"";
        assert_eq!(challenge(&told), (401, expected));
        let told = point(AuthError::Invalid(Fault::Expired).into(), &protection(), "u");
        let expected = "Bearer resource_metadata=\"u\", scope=\"a b\", error=\"invalid_token\", \
                        error_description=\"The token has expired\"";
        assert_eq!(challenge(&told), (401, expected));
    }

    #[test]
    fn a_token_with_too_few_scopes_is_told_all_that_are_needed() {
        let with = |scopes: &[&str]| {
            let foreign = Foreign {
                issuer: "i".into(),
                audiences: Vec::new(),
                scopes: scopes.iter().map(ToString::to_string).collect(),
            };
            let caller = Caller { foreign: Some(foreign.into()), ..Caller::nobody() };
            check_scopes(&caller, &protection(), || "u".to_owned())
        };
        assert!(with(&["b", "c", "a"]).is_ok());
        let refused = with(&["a"]).unwrap_err();
        let expected =
            "Bearer error=\"insufficient_scope\", scope=\"a b\", resource_metadata=\"u\"";
        assert_eq!(challenge(&refused), (403, expected));
        assert!(check_scopes(&Caller::nobody(), &protection(), String::new).is_ok());
    }
}
