//! Basic authentication (RFC 7617) of the one user that the settings name.

use aws_lc_rs::{constant_time, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Caller;
use crate::settings::Settings;

/// What a browser is told to ask its user for.
pub const CHALLENGE: &str = "Basic realm=\"Ringway\", charset=\"UTF-8\", Bearer";

/// The user and the password, as a digest: what is compared has the same length whatever was sent.
#[derive(Clone)]
pub struct Basic {
    expected: digest::Digest,
    user: String,
    is_for_api: bool,
    is_for_docs: bool,
}

/// User and password of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrong;

impl Basic {
    /// Takes what the settings say; `None` if they allow it nowhere.
    pub fn new(settings: &Settings) -> Option<Basic> {
        let proof = &settings.proof;
        let password = proof.basic_password.as_ref()?;
        let pair = zeroize::Zeroizing::new(format!("{}:{}", proof.basic_user, password.expose()));
        let is_allowed = proof.basic_allowed || proof.docs_basic_allowed;
        is_allowed.then(|| Basic {
            expected: digest::digest(&digest::SHA256, pair.as_bytes()),
            user: proof.basic_user.clone(),
            is_for_api: proof.basic_allowed,
            is_for_docs: proof.docs_basic_allowed,
        })
    }

    /// Whether the path of the REST API takes it.
    pub fn is_for(&self, path: &str) -> bool {
        self.is_for_api || (self.is_for_docs && Basic::is_docs(path))
    }

    /// Whether a browser that comes to this path should ask its user.
    pub fn is_asked_at(&self, path: &str) -> bool {
        self.is_for_docs && Basic::is_docs(path)
    }

    fn is_docs(path: &str) -> bool {
        path == "/openapi.json"
    }

    /// Says who shows this value of `Authorization`; `None` if its scheme is another.
    pub fn identify(&self, authorization: &[u8]) -> Option<Result<Caller, Wrong>> {
        let (scheme, rest) = authorization.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let pair = BASE64.decode(rest.trim_ascii()).map(zeroize::Zeroizing::new);
        // What is no Base64 takes as long as what is.
        let pair = pair.unwrap_or_default();
        let shown = digest::digest(&digest::SHA256, &pair);
        let same = constant_time::verify_slices_are_equal(shown.as_ref(), self.expected.as_ref());
        Some(same.map(|()| self.caller()).map_err(|_| Wrong))
    }

    fn caller(&self) -> Caller {
        Caller { email: self.user.clone(), ..Caller::operator() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(settings: &[(&str, &str)]) -> Option<Basic> {
        let given: Vec<_> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Basic::new(&crate::settings::parse("", [], &given).unwrap().settings)
    }

    const PASSWORD: (&str, &str) = ("BASIC_AUTH_PASSWORD", "pass:word");
    const API: (&str, &str) = ("API_ALLOW_BASIC_AUTH", "true");

    fn ask(text: &str) -> Option<Result<String, Wrong>> {
        let found = basic(&[API, PASSWORD]).unwrap().identify(text.as_bytes());
        found.map(|found| found.map(|caller| caller.email))
    }

    #[test]
    fn is_nowhere_unless_it_is_allowed() {
        assert!(basic(&[PASSWORD]).is_none());
        let api = basic(&[API, PASSWORD]).unwrap();
        assert!(api.is_for("/tools") && api.is_for("/openapi.json"));
        assert!(!api.is_asked_at("/openapi.json"));
        let docs = basic(&[("DOCS_ALLOW_BASIC_AUTH", "true"), PASSWORD]).unwrap();
        assert!(
            docs.is_for("/openapi.json") && !docs.is_for("/tools") && !docs.is_for("/OPENAPI.JSON")
        );
        assert!(docs.is_asked_at("/openapi.json") && !docs.is_asked_at("/tools"));
    }

    #[test]
    fn knows_its_user_and_nobody_else() {
        let shown = |pair: &str| format!("Basic {}", BASE64.encode(pair));
        assert_eq!(ask(&shown("admin:pass:word")), Some(Ok("admin".to_owned())));
        assert_eq!(
            ask(&shown("admin:pass:word").replace("Basic", "bAsIc ")),
            Some(Ok("admin".into()))
        );
        for pair in ["admin:", "admin:pass", "Admin:pass:word", "admin:pass:word ", ":", ""] {
            assert_eq!(ask(&shown(pair)), Some(Err(Wrong)), "{pair}");
        }
        assert_eq!(ask("Basic !"), Some(Err(Wrong)));
        assert_eq!(ask("Basic "), Some(Err(Wrong)));
        for other in ["", "Basic", "Bearer YTpi"] {
            assert_eq!(ask(other), None, "{other}");
        }
    }
}
